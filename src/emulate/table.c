/* SPDX-License-Identifier: Apache-2.0 */
/* The instruction table's last column: the exec function of every row. */
#include "emulate/emulate.h"

exec_fn *const op_exec[NR_OPS] = {
#define INSN(m, feature, attr, exec)		       [OP_##m] = exec,
#define INSN_AS(name, m, variant, feature, attr, exec) [OP_##name] = exec,
#include "x86/ops-int.def"
#include "x86/ops-sys.def"
#include "x86/ops-vec.def"
#include "x86/ops-x87.def"
};
