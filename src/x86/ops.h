/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instruction table: one row an instruction, in the four .def files beside this one.
 *     INSN(zydis mnemonic, feature, attributes, exec function in src/emulate)
 * The row drives decoding (Zydis' mnemonic to enum op), CPUID gating (feature), trace building (attributes), execution
 * (exec) and the differential tests, which take every row that user code can run. Flags read and written come from Zydis.
 */
#pragma once
#include "util/types.h"
#include "x86/feature.h"

/* Attributes. */
#define OP_END 0x01u	/* leaves the next address in vcpu.rip: control transfers, mode and mapping changes, I/O waits */
#define OP_BRANCH 0x02u /* direct or indirect near jump, call, return, Jcc, LOOP: implies OP_END */
#define OP_SYS 0x04u	/* privileged, sensitive or machine state: the differential tests leave it out */
#define OP_LOCK 0x08u	/* may carry LOCK with a memory destination */
#define OP_NEEDNT 0x10u /* result differs between CPUs (CPUID, RDTSC, RDRAND, RCPPS): compared loosely or not at all */

enum op {
	OP_NONE,
#define INSN(m, feature, attr, exec) OP_##m,
#include "x86/ops-int.def"
#include "x86/ops-sys.def"
#include "x86/ops-x87.def"
#include "x86/ops-vec.def"
#undef INSN
	NR_OPS,
};

/* What the decoder and CPU models need of a row. */
struct op_fact {
	u16 mnemonic; /* ZydisMnemonic */
	u8 feature;   /* enum feature */
	u8 attr;      /* OP_* */
	const char *name;
};
extern const struct op_fact op_facts[NR_OPS];
