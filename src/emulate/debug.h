/* SPDX-License-Identifier: Apache-2.0 */
/* What port I/O and the engines' stepping loops need of debugging; what instructions need is in emulate.h. */
#pragma once
#include "emulate/emulate.h"

#define DEBUGCTL_LBR BIT(0)
#define DEBUGCTL_BTF BIT(1) /* single-step on branches only */

/* Port [port, + size) was accessed while CR4.DE is set: I/O breakpoints. */
void debug_io(struct vcpu *v, u16 port, unsigned size);

/* ---- for loops that step, on the vCPU's own thread: a debugger from outside (vcpu.debug, machine.debug) ---- */
/* Before an instruction that is stepped: true, and v->debug.stop set, where a breakpoint is to be met first. */
bool debug_stops_at_breakpoint(struct vcpu *v);
/* After an instruction or a delivery: it was the step that was asked for. */
static inline void debug_step_done(struct vcpu *v)
{
	if (unlikely(v->debug.step) && !v->debug.stop)
		v->debug.stop = STOP_STEP;
}
