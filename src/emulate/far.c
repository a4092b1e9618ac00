/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Far JMP, CALL and RET: in real and virtual-8086 mode, between code segments, through 16-, 32- and 64-bit call
 * gates with a change of stack and parameters copied, through task gates and TSSs, and back to outer levels (SDM
 * vol. 3, 5.8).
 */
#include "emulate/descriptor.h"

struct far_pointer {
	u16 selector;
	u64 offset;
};

static struct far_pointer far_operand(struct vcpu *v, const struct insn *i)
{
	unsigned size = 1u << i->osize;

	if (insn_kind(i, 0) != OPK_MEM)
		return (struct far_pointer){ (u16)i->disp, i->imm & mask_size(size) };
	u64 gla = op_linear(v, i, size + 2, SEG_READ);
	u64 offset = mmu_load(v, gla, size, MMU_EXPLICIT);
	return (struct far_pointer){ (u16)mmu_load(v, gla + size, 2, MMU_EXPLICIT), offset };
}

static void set_real_cs(struct vcpu *v, u16 selector)
{
	if (v->mode == MODE_V86)
		segment_set_v86(v, SEG_CS, selector);
	else
		segment_set_real(v, SEG_CS, selector);
}

static void check_real_ip(struct vcpu *v, u64 ip)
{
	if (ip > v->seg[SEG_CS].limit)
		vcpu_raise_error(v, EXC_GP, 0);
}

static void push_return(struct vcpu *v, struct stack *s, u64 next, unsigned size)
{
	stack_push(v, s, v->seg[SEG_CS].selector, size);
	stack_push(v, s, next, size);
}

/* A code segment that JMP or CALL names directly: no change of level. */
static void check_direct_cs(struct vcpu *v, struct descriptor *cs)
{
	u32 ar = desc_ar(cs);
	bool level_ok = ar_is_conforming(ar) ? ar_dpl(ar) <= v->cpl
					     : ar_dpl(ar) == v->cpl && (cs->selector & SEL_RPL) <= v->cpl;

	if (!level_ok || (long_active(v) && (ar & (AR_L | AR_DB)) == (AR_L | AR_DB)))
		raise_selector(v, EXC_GP, cs->selector, 0);
	if (!(ar & AR_P))
		raise_selector(v, EXC_NP, cs->selector, 0);
	descriptor_set_accessed(v, cs);
}

/* System descriptors: both the caller and the selector must be allowed to use them. */
static void check_system_level(struct vcpu *v, const struct descriptor *d)
{
	u32 ar = desc_ar(d);

	if (ar_dpl(ar) < MAX(v->cpl, d->selector & SEL_RPL))
		raise_selector(v, EXC_GP, d->selector, 0);
}

static void check_system_present(struct vcpu *v, const struct descriptor *d)
{
	if (!(desc_ar(d) & AR_P))
		raise_selector(v, EXC_NP, d->selector, 0);
}

/* The code segment behind a call gate. */
static void read_gate_cs(struct vcpu *v, u16 selector, bool call, struct descriptor *cs)
{
	if (selector_null(selector))
		vcpu_raise_error(v, EXC_GP, 0);
	descriptor_need(v, selector, cs, EXC_GP, 0);
	u32 ar = desc_ar(cs);
	bool level_ok = ar_is_conforming(ar) || call ? ar_dpl(ar) <= v->cpl : ar_dpl(ar) == v->cpl;
	bool size_ok = !long_active(v) || (ar & (AR_L | AR_DB)) == AR_L;
	if (!ar_is_code(ar) || !level_ok || !size_ok)
		raise_selector(v, EXC_GP, selector, 0);
	if (!(ar & AR_P))
		raise_selector(v, EXC_NP, selector, 0);
	descriptor_set_accessed(v, cs);
}

static void copy_parameters(struct vcpu *v, struct stack *to, unsigned count, unsigned size)
{
	struct stack from = stack_current(v);
	u64 value[31];

	for (unsigned k = 0; k < count; k++)
		value[k] = stack_pop(v, &from, size);
	while (count--)
		stack_push(v, to, value[count], size);
}

/* CALL through a gate to an inner level (SDM vol. 3, 5.8.5). */
static struct stack call_inner(struct vcpu *v, const struct descriptor *gate, unsigned dpl, unsigned size, u64 next)
{
	struct stack s;

	if (long_active(v)) {
		u16 ss;
		u64 sp;
		tss_stack(v, dpl, 0, &ss, &sp);
		struct segment null = segment_null_ss(dpl);
		s = stack_inner(&null, sp, true, 0);
	} else {
		s = stack_for_level(v, dpl, 0);
	}
	stack_push(v, &s, v->seg[SEG_SS].selector, size);
	stack_push(v, &s, v->r[RSP], size);
	if (!long_active(v))
		copy_parameters(v, &s, gate->low >> 32 & 31, size);
	push_return(v, &s, next, size);
	return s;
}

static void through_call_gate(struct vcpu *v, struct descriptor *gate, bool call, u64 next)
{
	bool wide = long_active(v);
	unsigned size = wide ? 8 : ar_type(desc_ar(gate)) & 8 ? 4 : 2;
	struct stack s = stack_current(v);
	struct descriptor cs;
	bool inner = false;

	check_system_level(v, gate);
	check_system_present(v, gate);
	if (wide && !descriptor_read_high(v, gate))
		raise_selector(v, EXC_GP, gate->selector, 0);
	read_gate_cs(v, gate_selector(gate), call, &cs);
	u64 ip = gate_offset(gate, wide) & mask_size(size);
	unsigned dpl = ar_dpl(desc_ar(&cs));
	if (call) {
		inner = !ar_is_conforming(desc_ar(&cs)) && dpl < v->cpl;
		if (inner)
			s = call_inner(v, gate, dpl, size, next);
		else
			push_return(v, &s, next, size);
	}
	check_entry_point(v, &cs, ip, 0);
	if (call) {
		v->seg[SEG_SS] = s.ss;
		stack_commit(v, &s);
	}
	v->rip = ip;
	segment_commit_cs(v, &cs, inner ? dpl : v->cpl);
}

static void through_system(struct vcpu *v, struct descriptor *d, bool call, u64 next)
{
	enum task_reason reason = call ? TASK_CALL : TASK_JMP;
	unsigned type = ar_type(desc_ar(d));
	bool legacy = !long_active(v);
	u16 tss = d->selector;

	if (type == SYS_CALL32 || (type == SYS_CALL16 && legacy)) {
		through_call_gate(v, d, call, next);
		return;
	}
	if (!legacy || (type != SYS_TASK_GATE && type != SYS_TSS16 && type != SYS_TSS32))
		raise_selector(v, EXC_GP, d->selector, 0);
	check_system_level(v, d);
	if (type == SYS_TASK_GATE) {
		check_system_present(v, d);
		tss = gate_selector(d);
	}
	task_switch(v, tss, reason, next, &(struct task_event){ 0 });
}

static void far_protected(struct vcpu *v, const struct insn *i, struct far_pointer to, bool call)
{
	u64 next = vcpu_next_rip(v, i);
	struct descriptor d;

	if (selector_null(to.selector))
		vcpu_raise_error(v, EXC_GP, 0);
	descriptor_need(v, to.selector, &d, EXC_GP, 0);
	if (!(desc_ar(&d) & AR_S)) {
		through_system(v, &d, call, next);
		return;
	}
	if (!ar_is_code(desc_ar(&d)))
		raise_selector(v, EXC_GP, to.selector, 0);
	check_direct_cs(v, &d);
	struct stack s = stack_current(v);
	if (call)
		push_return(v, &s, next, 1u << i->osize);
	check_entry_point(v, &d, to.offset, 0);
	if (call)
		stack_commit(v, &s);
	v->rip = to.offset;
	segment_commit_cs(v, &d, v->cpl);
}

void exec_jmp_far(struct vcpu *v, const struct insn *i)
{
	struct far_pointer to = far_operand(v, i);

	if (protected_mode(v)) {
		far_protected(v, i, to, false);
		return;
	}
	check_real_ip(v, to.offset);
	set_real_cs(v, to.selector);
	v->rip = to.offset;
}

void exec_call_far(struct vcpu *v, const struct insn *i)
{
	struct far_pointer to = far_operand(v, i);

	if (protected_mode(v)) {
		far_protected(v, i, to, true);
		return;
	}
	struct stack s = stack_current(v);
	push_return(v, &s, vcpu_next_rip(v, i), 1u << i->osize);
	check_real_ip(v, to.offset);
	stack_commit(v, &s);
	set_real_cs(v, to.selector);
	v->rip = to.offset;
}

static void stack_skip(struct stack *s, u64 bytes)
{
	s->sp = (s->sp + bytes) & s->mask;
}

static void return_outer(struct vcpu *v, struct stack *s, const struct descriptor *cs, u64 ip, unsigned rpl,
			 unsigned size, u64 parameters)
{
	bool to_long = long_active(v) && desc_ar(cs) & AR_L;
	struct segment ss;

	u64 sp = stack_pop(v, s, size);
	u16 selector = (u16)stack_pop(v, s, size);
	check_return_ss(v, selector, rpl, to_long, &ss);
	check_entry_point(v, cs, ip, 0);
	struct stack outer = stack_inner(&ss, sp, to_long, 0);
	stack_skip(&outer, parameters);
	v->seg[SEG_SS] = ss;
	stack_commit(v, &outer);
	v->rip = ip;
	segment_commit_cs(v, cs, rpl);
	drop_inner_segments(v);
}

void exec_ret_far(struct vcpu *v, const struct insn *i)
{
	u64 parameters = insn_kind(i, 0) == OPK_IMM ? (u16)i->imm : 0;
	unsigned size = 1u << i->osize;
	struct stack s = stack_current(v);
	struct descriptor cs;

	u64 ip = stack_pop(v, &s, size);
	u16 selector = (u16)stack_pop(v, &s, size);
	if (!protected_mode(v)) {
		check_real_ip(v, ip);
		stack_skip(&s, parameters);
		stack_commit(v, &s);
		set_real_cs(v, selector);
		v->rip = ip;
		return;
	}
	check_return_cs(v, selector, &cs);
	stack_skip(&s, parameters);
	unsigned rpl = selector & SEL_RPL;
	if (rpl > v->cpl) {
		return_outer(v, &s, &cs, ip, rpl, size, parameters);
		return;
	}
	check_entry_point(v, &cs, ip, 0);
	stack_commit(v, &s);
	v->rip = ip;
	segment_commit_cs(v, &cs, rpl);
}
