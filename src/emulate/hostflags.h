/* SPDX-License-Identifier: Apache-2.0 */
/* Flags that are undefined, as this host's CPU has them: hostflags.c. */
#pragma once
#include "emulate/emulate.h"

/* All arithmetic flags after op on operands of `size` bytes, from the flags that v has now. a: destination, or the source of what
 * has one; b: count, or the other source; c: count of SHLD and SHRD. */
u32 host_flags(const struct vcpu *v, u16 op, unsigned size, u64 a, u64 b, u64 c);
/* Of MUL, IMUL, DIV and IDIV with one operand, on high:low (AX is low for bytes). A quotient must fit. */
u32 host_flags_wide(const struct vcpu *v, u16 op, unsigned size, u64 low, u64 high, u64 by);
