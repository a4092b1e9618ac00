/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFLAGS as a whole: CLI, STI, PUSHF, POPF, CLAC, STAC, with virtual-8086 extensions and protected-mode virtual
 * interrupts (SDM vol. 3, 20.3 and 20.4). Loads of single arithmetic flags are not here.
 */
#include "emulate/descriptor.h"

void set_rflags(struct vcpu *v, u64 value, u64 mask)
{
	if (mask & FL_ARITH)
		flags_settle(v);
	u64 old = v->rflags;
	u64 next = (old & ~mask) | (value & mask) | FL_1;
	u64 changed = old ^ next;

	v->rflags = next;
	if (changed & FL_VM)
		vcpu_update_mode(v);
	if (changed & (FL_AC | FL_VM))
		mmu_update_view(v);
	if (changed & next & FL_TF ||
	    (changed & next & FL_IF && atomic_load_explicit(&v->events, memory_order_relaxed)))
		v->stop_now = true;
}

static unsigned iopl(const struct vcpu *v)
{
	return (v->rflags & FL_IOPL) >> FL_IOPL_SHIFT;
}

/* IOPL keeps the real IF from this code, and virtual interrupts are on: it has VIF instead. */
static bool uses_vif(const struct vcpu *v)
{
	if (v->mode == MODE_V86)
		return v->cr4 & CR4_VME;
	return v->cpl == 3 && v->cr4 & CR4_PVI;
}

void exec_cli(struct vcpu *v, const struct insn *i)
{
	if (v->mode == MODE_REAL || v->cpl <= iopl(v))
		v->rflags &= ~(u64)FL_IF;
	else if (uses_vif(v))
		v->rflags &= ~(u64)FL_VIF;
	else
		vcpu_raise_error(v, EXC_GP, 0);
	v->rip = vcpu_next_rip(v, i);
}

static void interrupts_on(struct vcpu *v)
{
	if (v->rflags & FL_IF)
		return;
	set_rflags(v, FL_IF, FL_IF);
	v->shadow = true;
	v->shadow_ss = false;
}

void exec_sti(struct vcpu *v, const struct insn *i)
{
	if (v->mode == MODE_REAL || v->cpl <= iopl(v))
		interrupts_on(v);
	else if (uses_vif(v) && !(v->rflags & FL_VIP))
		v->rflags |= FL_VIF;
	else
		vcpu_raise_error(v, EXC_GP, 0);
	v->rip = vcpu_next_rip(v, i);
}

void exec_pushf(struct vcpu *v, const struct insn *i)
{
	u64 image = flags_settle(v) & ~(u64)(FL_VM | FL_RF);

	if (v->mode == MODE_V86 && iopl(v) < 3) {
		if (!(v->cr4 & CR4_VME) || i->osize != 1)
			vcpu_raise_error(v, EXC_GP, 0);
		image = (image & ~(u64)FL_IF) | FL_IOPL | (image & FL_VIF ? FL_IF : 0);
	}
	push(v, image, 1u << i->osize);
}

/* POPF in virtual-8086 mode below IOPL 3, with VME: IF stands for VIF. */
static void popf_vme(struct vcpu *v, const struct insn *i)
{
	struct stack s = stack_current(v);

	if (!(v->cr4 & CR4_VME) || i->osize != 1)
		vcpu_raise_error(v, EXC_GP, 0);
	u64 image = stack_pop(v, &s, 2);
	if (image & FL_TF || (image & FL_IF && v->rflags & FL_VIP))
		vcpu_raise_error(v, EXC_GP, 0);
	stack_commit(v, &s);
	set_rflags(v, image | (image & FL_IF ? FL_VIF : 0), FL_ARITH | FL_DF | FL_NT | FL_VIF);
}

void exec_popf(struct vcpu *v, const struct insn *i)
{
	u64 mask = FL_ARITH | FL_TF | FL_DF | FL_NT;

	if (v->mode == MODE_V86 && iopl(v) < 3) {
		popf_vme(v, i);
	} else {
		if (i->osize != 1)
			mask |= FL_AC | FL_ID;
		if (v->mode == MODE_REAL || v->cpl <= iopl(v))
			mask |= FL_IF;
		if (v->cpl == 0)
			mask |= FL_IOPL;
		set_rflags(v, pop(v, 1u << i->osize) & ~(u64)FL_RF, mask | FL_RF);
	}
	v->rip = vcpu_next_rip(v, i);
}

static void set_ac(struct vcpu *v, u64 ac)
{
	if (v->cpl) /* virtual-8086 code has CPL 3 */
		vcpu_raise(v, EXC_UD);
	set_rflags(v, ac, FL_AC);
}

void exec_clac(struct vcpu *v, const struct insn *i)
{
	set_ac(v, 0);
	v->rip = vcpu_next_rip(v, i);
}

void exec_stac(struct vcpu *v, const struct insn *i)
{
	set_ac(v, FL_AC);
	v->rip = vcpu_next_rip(v, i);
}
