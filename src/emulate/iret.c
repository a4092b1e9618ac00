/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IRET, IRETD, IRETQ in every mode: within real and virtual-8086 mode, to the same or an outer level, to
 * virtual-8086 mode, to the previous task, and in 64-bit mode (SDM vol. 2, IRET). Everything is popped and checked
 * before anything is stored.
 */
#include "emulate/descriptor.h"

/*
 * RF matters to the next instruction only if there are breakpoints: without any it need not be kept (and cleared) at
 * all.
 */
static u64 rf_if_watched(const struct vcpu *v)
{
	return debug_breakpoints_on(v) ? FL_RF : 0;
}

static u64 loadable_flags(const struct vcpu *v, unsigned size)
{
	u64 mask = FL_ARITH | FL_TF | FL_DF | FL_NT;

	if (size > 2)
		mask |= FL_AC | FL_ID | FL_RF;
	if (v->cpl <= (v->rflags & FL_IOPL) >> FL_IOPL_SHIFT)
		mask |= FL_IF;
	if (v->cpl == 0)
		mask |= FL_IOPL | (size > 2 ? FL_VIF | FL_VIP : 0);
	return mask;
}

static void load_flags(struct vcpu *v, u64 image, u64 mask)
{
	set_rflags(v, image & ~(FL_RF & ~rf_if_watched(v)), mask);
}

static void iret_real(struct vcpu *v, unsigned size)
{
	struct stack s = stack_current(v);
	u64 ip = stack_pop(v, &s, size);
	u16 cs = (u16)stack_pop(v, &s, size);
	u64 image = stack_pop(v, &s, size);
	u64 mask = loadable_flags(v, size) & ~(u64)(FL_VIF | FL_VIP);

	if (ip > v->seg[SEG_CS].limit)
		vcpu_raise_error(v, EXC_GP, 0);
	stack_commit(v, &s);
	segment_set_real(v, SEG_CS, cs);
	v->rip = ip;
	load_flags(v, image, mask);
	vcpu_update_mode(v);
}

static void iret_v86(struct vcpu *v, unsigned size)
{
	bool full = (v->rflags & FL_IOPL) == FL_IOPL;
	struct stack s = stack_current(v);

	if (!full && (!(v->cr4 & CR4_VME) || size != 2))
		vcpu_raise_error(v, EXC_GP, 0);
	u64 ip = stack_pop(v, &s, size);
	u16 cs = (u16)stack_pop(v, &s, size);
	u64 image = stack_pop(v, &s, size);
	if (!full && (image & FL_TF || (image & FL_IF && v->rflags & FL_VIP)))
		vcpu_raise_error(v, EXC_GP, 0);
	if (ip > v->seg[SEG_CS].limit)
		vcpu_raise_error(v, EXC_GP, 0);
	stack_commit(v, &s);
	segment_set_v86(v, SEG_CS, cs);
	v->rip = ip;
	if (full)
		load_flags(v, image, loadable_flags(v, size));
	else
		set_rflags(v, image | (image & FL_IF ? FL_VIF : 0), FL_ARITH | FL_TF | FL_DF | FL_NT | FL_VIF);
}

static void to_v86(struct vcpu *v, struct stack *s, u64 ip, u16 cs, u64 image)
{
	static const u8 order[] = { SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	u16 selector[ARRAY_SIZE(order)];
	u64 sp = stack_pop(v, s, 4);

	for (unsigned k = 0; k < ARRAY_SIZE(order); k++)
		selector[k] = (u16)stack_pop(v, s, 4);
	if ((u32)ip > 0xffff)
		vcpu_raise_error(v, EXC_GP, 0);
	for (unsigned k = 0; k < ARRAY_SIZE(order); k++)
		segment_set_v86(v, order[k], selector[k]);
	segment_set_v86(v, SEG_CS, cs);
	v->r[RSP] = sp;
	v->rip = (u16)ip;
	load_flags(v, image, FL_ALL);
	set_cpl(v, 3);
	vcpu_update_mode(v);
}

static void to_protected(struct vcpu *v, struct stack *s, u64 ip, u16 selector, u64 image, unsigned size)
{
	bool from_long = v->code_size == CODE_64;
	unsigned rpl = selector & SEL_RPL;
	u64 mask = loadable_flags(v, size);
	bool outer = rpl > v->cpl;
	struct descriptor cs;
	struct segment ss = v->seg[SEG_SS];

	check_return_cs(v, selector, &cs);
	bool to_long = long_active(v) && desc_ar(&cs) & AR_L;
	struct stack next = *s;
	if (outer || from_long) {
		u64 sp = stack_pop(v, s, size);
		u16 ss_selector = (u16)stack_pop(v, s, size);
		check_return_ss(v, ss_selector, rpl, to_long, &ss);
		next = stack_inner(&ss, sp, to_long, 0);
	}
	check_entry_point(v, &cs, ip, 0);

	v->seg[SEG_SS] = ss;
	stack_commit(v, &next);
	v->rip = ip;
	segment_commit_cs(v, &cs, rpl);
	load_flags(v, image, mask);
	if (outer)
		drop_inner_segments(v);
}

static void iret_protected(struct vcpu *v, const struct insn *i, unsigned size)
{
	struct stack s = stack_current(v);

	if (v->rflags & FL_NT) {
		if (long_active(v))
			vcpu_raise_error(v, EXC_GP, 0);
		u16 link = (u16)mmu_load(v, v->tr.base, 2, MMU_SUPERVISOR);
		task_switch(v, link, TASK_IRET, vcpu_next_rip(v, i), &(struct task_event){ 0 });
		return;
	}
	u64 ip = stack_pop(v, &s, size);
	u16 cs = (u16)stack_pop(v, &s, size);
	u64 image = stack_pop(v, &s, size);
	if (image & FL_VM && size == 4 && v->cpl == 0 && !long_active(v))
		to_v86(v, &s, ip, cs, image);
	else
		to_protected(v, &s, ip, cs, image, size);
}

void exec_iret(struct vcpu *v, const struct insn *i)
{
	unsigned size = 1u << i->osize;

	/* SDM vol. 3, 6.7.1: IRET ends the blocking of NMIs even if it faults. */
	if (v->nmi_blocked) {
		v->nmi_blocked = false;
		v->stop_now |= atomic_load_explicit(&v->events, memory_order_relaxed) & EV_NMI;
	}
	if (v->mode == MODE_REAL)
		iret_real(v, size);
	else if (v->mode == MODE_V86)
		iret_v86(v, size);
	else
		iret_protected(v, i, size);
}
