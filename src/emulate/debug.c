/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug registers, code and I/O breakpoints, single step, and debug traps between instructions (SDM vol. 3 ch. 18).
 * Data breakpoints are matched where memory is accessed, in src/mmu, and arrive here through v->pending_db.
 */
#include "emulate/debug.h"
#include "emulate/descriptor.h"
#include "machine/control.h"

/* A debug exception says which breakpoints it is of, and forgets those of earlier ones; what else is in DR6 stays (18.2.3). */
static void debug_conditions(struct vcpu *v, u32 bits)
{
	v->dr[6] = (v->dr[6] & ~DR6_ALL_B) | bits;
}

bool debug_code_breakpoint(struct vcpu *v)
{
	u64 at = v->code_size == CODE_64 ? v->rip : (u32)(v->seg[SEG_CS].base + v->rip);
	u32 hit = 0;

	if (v->rflags & FL_RF) {
		v->rflags &= ~(u64)FL_RF;
		return false;
	}
	if (v->shadow && v->shadow_ss)
		return false;
	for (unsigned n = 0; n < 4; n++)
		if (DR7_ENABLED(v->dr[7], n) && DR7_RW(v->dr[7], n) == 0 && v->dr[n] == at)
			hit |= DR6_B(n);
	if (hit)
		debug_conditions(v, hit);
	return hit;
}

/* Software interrupts and SYSCALL that clear TF take the step with them. */
static bool step_is_lost(const struct vcpu *v)
{
	switch (v->cur->op) {
	case OP_INT:
	case OP_INT3:
	case OP_INTO:
	case OP_INT1:
	case OP_SYSCALL: return !(v->rflags & FL_TF);
	default: return false;
	}
}

void debug_single_step(struct vcpu *v, u64 from)
{
	bool branched = v->rip != from + v->cur->len;

	if (step_is_lost(v) || (v->msr.debugctl & DEBUGCTL_BTF && !branched))
		return;
	v->pending_db |= DR6_BS;
	v->stop_now = true;
}

void debug_trap_check(struct vcpu *v)
{
	u32 due = v->pending_db;

	if (!due || (v->shadow && v->shadow_ss))
		return;
	v->pending_db = 0;
	debug_conditions(v, due);
	vcpu_raise(v, EXC_DB);
}

void debug_io(struct vcpu *v, u16 port, unsigned size)
{
	for (unsigned n = 0; n < 4; n++) {
		static const u8 length[] = { 1, 2, 8, 4 };
		unsigned width = length[DR7_LEN(v->dr[7], n)];
		u64 at = v->dr[n] & ~(u64)(width - 1);
		if (!DR7_ENABLED(v->dr[7], n) || DR7_RW(v->dr[7], n) != 2)
			continue;
		if (port < at + width && at < (u64)port + size) {
			v->pending_db |= DR6_B(n);
			v->stop_now = true;
		}
	}
}

/* Checks that both directions share; the register's number with DR4 and DR5 resolved. */
static unsigned debug_register(struct vcpu *v, unsigned n)
{
	if (v->cpl)
		vcpu_raise_error(v, EXC_GP, 0);
	if (n == 4 || n == 5) {
		if (v->cr4 & CR4_DE)
			vcpu_raise(v, EXC_UD);
		n += 2;
	}
	if (v->dr[7] & DR7_GD) {
		v->dr[6] |= DR6_BD;
		vcpu_raise(v, EXC_DB);
	}
	return n;
}

static unsigned width(const struct vcpu *v)
{
	return v->code_size == CODE_64 ? 8 : 4;
}

void exec_mov_to_dr(struct vcpu *v, const struct insn *i)
{
	unsigned n = debug_register(v, i->r[0]);
	u64 value = reg_read(v, i->r[1], width(v));

	if (n >= 6 && value >> 32)
		vcpu_raise_error(v, EXC_GP, 0);
	if (n == 6)
		value = (value & (0xf | DR6_BD | DR6_BS | DR6_BT)) | DR6_FIXED;
	else if (n == 7)
		value = (value & ~0xd800ull) | DR7_FIXED;
	v->dr[n] = value;
	if (n != 6) {
		mmu_update_watchpoints(v);
		v->stop_now = true;
	}
	v->rip = vcpu_next_rip(v, i);
}

void exec_mov_from_dr(struct vcpu *v, const struct insn *i)
{
	unsigned n = debug_register(v, i->r[1]);

	reg_write(v, i->r[0], width(v), v->dr[n]);
}

/* ---- a debugger from outside ---- */

bool debug_stops_at_breakpoint(struct vcpu *v)
{
	const struct machine *m = v->machine;
	bool passes = v->debug.step || v->debug.pass;

	v->debug.pass = false;
	if (passes || !m->debug.breaks || !machine_breaks_at(m, code_linear(v, v->rip)))
		return false;
	v->debug.stop = STOP_BREAK;
	return true;
}
