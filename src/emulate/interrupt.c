/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery of interrupts and exceptions through the IVT or the IDT (SDM vol. 3 ch. 6, 20.1.4 and 20.3), and the
 * software interrupts INT n, INT3, INTO and INT1.
 *
 * Delivery checks and pushes first and commits CS, RIP, SS, RSP and RFLAGS last, so that a fault on the way unwinds
 * with the interrupted context whole. Errors of the IDT itself carry vector * 8 + 2 (+ 1 when the event is not the
 * program's own).
 */
#include "emulate/descriptor.h"

struct delivery {
	const struct cpu_event *ev;
	u64 return_ip;
	u64 image; /* RFLAGS to push */
	u32 ext;
	u32 idt_error;
	bool software; /* INT n, INT3, INTO: the gate's DPL counts */
};

/*
 * RF in the pushed image: set for faults, so that a code breakpoint does not fire again on return (SDM vol. 3,
 * 18.3.1.1).
 */
static bool is_fault(const struct cpu_event *ev)
{
	return ev->type == EVENT_EXCEPTION && ev->vector != EXC_DB && ev->vector != EXC_DF && ev->vector != EXC_MC;
}

static void deliver_real(struct vcpu *v, const struct delivery *d)
{
	unsigned entry = d->ev->vector * 4;

	if (entry + 3 > v->idtr.limit)
		vcpu_raise_error(v, EXC_GP, d->idt_error);
	u32 target = (u32)mmu_load(v, (u32)(v->idtr.base + entry), 4, MMU_SUPERVISOR);
	struct stack s = stack_current(v);
	stack_push(v, &s, d->image, 2);
	stack_push(v, &s, v->seg[SEG_CS].selector, 2);
	stack_push(v, &s, d->return_ip, 2);
	stack_commit(v, &s);
	set_rflags(v, 0, FL_IF | FL_TF | FL_AC | FL_RF);
	segment_set_real(v, SEG_CS, (u16)(target >> 16));
	v->rip = (u16)target;
	vcpu_update_mode(v);
}

/* The gate's target: a present code segment, at this level or inward of it. */
static void read_target(struct vcpu *v, u16 selector, u32 ext, struct descriptor *cs)
{
	if (selector_null(selector))
		vcpu_raise_error(v, EXC_GP, ext);
	descriptor_need(v, selector, cs, EXC_GP, ext);
	u32 ar = desc_ar(cs);
	bool bad_size = long_active(v) && (ar & (AR_L | AR_DB)) != AR_L;
	if (!ar_is_code(ar) || ar_dpl(ar) > v->cpl || bad_size)
		raise_selector(v, EXC_GP, selector, ext);
	if (!(ar & AR_P))
		raise_selector(v, EXC_NP, selector, ext);
	descriptor_set_accessed(v, cs);
}

static bool goes_inward(const struct vcpu *v, u32 cs_ar)
{
	return !ar_is_conforming(cs_ar) && ar_dpl(cs_ar) < v->cpl;
}

static void enter_handler(struct vcpu *v, const struct descriptor *cs, unsigned cpl, u64 ip, bool interrupt_gate)
{
	set_rflags(v, 0, FL_TF | FL_NT | FL_VM | FL_RF | (interrupt_gate ? FL_IF : 0));
	segment_commit_cs(v, cs, cpl);
	v->rip = ip;
}

static void push_frame(struct vcpu *v, struct stack *s, const struct delivery *d, unsigned size)
{
	stack_push(v, s, d->image, size);
	stack_push(v, s, v->seg[SEG_CS].selector, size);
	stack_push(v, s, d->return_ip, size);
	if (d->ev->has_error)
		stack_push(v, s, d->ev->error, size);
}

/* SDM vol. 3, 6.12.1.2 and 20.3.1: the handler runs at an inner level, on the stack that the TSS names. */
static struct stack inner_frame(struct vcpu *v, const struct delivery *d, unsigned dpl, unsigned size)
{
	static const u8 v86_order[] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };
	struct stack s = stack_for_level(v, dpl, d->ext);

	if (v->mode == MODE_V86)
		for (unsigned k = 0; k < ARRAY_SIZE(v86_order); k++)
			stack_push(v, &s, v->seg[v86_order[k]].selector, size);
	stack_push(v, &s, v->seg[SEG_SS].selector, size);
	stack_push(v, &s, v->r[RSP], size);
	push_frame(v, &s, d, size);
	return s;
}

static void leave_v86_segments(struct vcpu *v)
{
	v->seg[SEG_DS] = v->seg[SEG_ES] = v->seg[SEG_FS] = v->seg[SEG_GS] = segment_null(0);
}

static void through_gate(struct vcpu *v, const struct delivery *d, const struct descriptor *gate)
{
	unsigned type = ar_type(desc_ar(gate));
	unsigned size = type & 8 ? 4 : 2;
	u16 selector = gate_selector(gate);
	u64 ip = gate_offset(gate, false) & mask_size(size);
	struct descriptor cs;

	read_target(v, selector, d->ext, &cs);
	unsigned dpl = ar_dpl(desc_ar(&cs));
	bool inner = goes_inward(v, desc_ar(&cs));
	bool v86 = v->mode == MODE_V86;
	if (v86 && (!inner || dpl != 0))
		raise_selector(v, EXC_GP, selector, d->ext);

	struct stack s;
	if (inner) {
		s = inner_frame(v, d, dpl, size);
	} else {
		s = stack_current(v);
		s.error = d->ext;
		push_frame(v, &s, d, size);
	}
	check_entry_point(v, &cs, ip, d->ext);
	if (v86)
		leave_v86_segments(v);
	v->seg[SEG_SS] = s.ss;
	stack_commit(v, &s);
	enter_handler(v, &cs, inner ? dpl : v->cpl, ip, (type & ~8u) == SYS_INT16);
}

static void through_task_gate(struct vcpu *v, const struct delivery *d, const struct descriptor *gate)
{
	struct task_event ev = { d->ext, d->ev->has_error, d->ev->error };

	task_switch(v, gate_selector(gate), TASK_INT, d->return_ip, &ev);
}

static void check_gate(struct vcpu *v, const struct delivery *d, u32 ar)
{
	if (d->software && ar_dpl(ar) < v->cpl)
		vcpu_raise_error(v, EXC_GP, d->idt_error);
	if (!(ar & AR_P))
		vcpu_raise_error(v, EXC_NP, d->idt_error);
}

static void deliver_legacy(struct vcpu *v, const struct delivery *d)
{
	struct descriptor gate = { 0 };
	unsigned entry = d->ev->vector * 8;

	if (entry + 7 > v->idtr.limit)
		vcpu_raise_error(v, EXC_GP, d->idt_error);
	gate.low = mmu_load(v, (u32)(v->idtr.base + entry), 8, MMU_SUPERVISOR);
	u32 ar = desc_ar(&gate);
	switch (ar & (AR_S | AR_TYPE)) {
	case SYS_TASK_GATE:
		check_gate(v, d, ar);
		through_task_gate(v, d, &gate);
		break;
	case SYS_INT16:
	case SYS_TRAP16:
	case SYS_INT32:
	case SYS_TRAP32:
		check_gate(v, d, ar);
		through_gate(v, d, &gate);
		break;
	default: vcpu_raise_error(v, EXC_GP, d->idt_error);
	}
}

/* SDM vol. 3, 6.14.2 and 6.14.5: where a 64-bit frame goes. */
static u64 long_stack_top(struct vcpu *v, const struct delivery *d, unsigned ist, bool inner, unsigned dpl)
{
	u64 sp = v->r[RSP];
	u16 ss;

	if (ist) {
		u32 offset = 28 + 8 * ist;
		if (offset + 7 > v->tr.limit)
			raise_selector(v, EXC_TS, v->tr.selector, d->ext);
		sp = mmu_load(v, v->tr.base + offset, 8, MMU_SUPERVISOR);
	} else if (inner) {
		tss_stack(v, dpl, d->ext, &ss, &sp);
	}
	return sp & ~15ull;
}

static u64 push_long_frame(struct vcpu *v, const struct delivery *d, u64 top, bool inner)
{
	u64 frame[6] = { d->ev->error, d->return_ip, v->seg[SEG_CS].selector,
			 d->image,     v->r[RSP],    v->seg[SEG_SS].selector };
	unsigned skip = d->ev->has_error ? 0 : 1;
	unsigned len = (6 - skip) * 8;
	u64 sp = top - len;

	if (!is_canonical(sp) || !is_canonical(top - 1))
		vcpu_raise_error(v, EXC_SS, d->ext);
	mmu_write(v, sp, frame + skip, len, inner ? MMU_SUPERVISOR : MMU_EXPLICIT);
	return sp;
}

static void deliver_long(struct vcpu *v, const struct delivery *d)
{
	struct descriptor gate = { 0 }, cs;
	unsigned entry = d->ev->vector * 16;

	if (entry + 15 > v->idtr.limit)
		vcpu_raise_error(v, EXC_GP, d->idt_error);
	gate.low = mmu_load(v, v->idtr.base + entry, 8, MMU_SUPERVISOR);
	gate.high = (u32)mmu_load(v, v->idtr.base + entry + 8, 8, MMU_SUPERVISOR);
	u32 ar = desc_ar(&gate);
	unsigned type = ar & (AR_S | AR_TYPE);
	if (type != SYS_INT32 && type != SYS_TRAP32)
		vcpu_raise_error(v, EXC_GP, d->idt_error);
	check_gate(v, d, ar);
	read_target(v, gate_selector(&gate), d->ext, &cs);

	unsigned dpl = ar_dpl(desc_ar(&cs));
	bool inner = goes_inward(v, desc_ar(&cs));
	u64 ip = gate_offset(&gate, true);
	u64 top = long_stack_top(v, d, gate.low >> 32 & 7, inner, dpl);
	check_entry_point(v, &cs, ip, d->ext);
	u64 sp = push_long_frame(v, d, top, inner);
	if (inner)
		v->seg[SEG_SS] = segment_null_ss(dpl);
	v->r[RSP] = sp;
	enter_handler(v, &cs, inner ? dpl : v->cpl, ip, type == SYS_INT32);
}

static void deliver(struct vcpu *v, const struct cpu_event *ev, u64 return_ip)
{
	struct delivery d = { .ev = ev, .return_ip = return_ip };

	if (unlikely(v->machine->deprivileged)) {
		v->machine->deprivileged->deliver(v, ev, return_ip);
		v->halted = v->shadow = false;
		return;
	}
	d.software = ev->type == EVENT_SOFTINT || ev->type == EVENT_SOFTEXC;
	d.ext = d.software ? 0 : ERR_EXT;
	d.idt_error = ev->vector * 8u | ERR_IDT | d.ext;
	d.image = flags_settle(v);
	if (is_fault(ev))
		d.image |= FL_RF;
	if (v->mode == MODE_REAL)
		deliver_real(v, &d);
	else if (long_active(v))
		deliver_long(v, &d);
	else
		deliver_legacy(v, &d);
	v->halted = false;
	v->shadow = false;
}

void deliver_event(struct vcpu *v)
{
	struct cpu_event ev = v->event;

	if (ev.type == EVENT_EXCEPTION) {
		if (ev.vector == EXC_PF)
			v->cr2 = ev.cr2;
		if (ev.vector == EXC_DB) { /* SDM vol. 3, 18.2.4 and 18.4.1 */
			v->dr[7] &= ~DR7_GD;
			v->msr.debugctl = 0;
		}
		v->pending_db = 0; /* traps of an instruction that did not complete */
	}
	if (ev.type == EVENT_NMI)
		v->nmi_blocked = true;
	deliver(v, &ev, v->rip);
	v->event.valid = false;
}

/* SDM vol. 3 tables 6-4 and 6-5. */
enum exception_class { BENIGN, CONTRIBUTORY, PAGE_FAULT };

static enum exception_class class_of(const struct cpu_event *ev)
{
	if (ev->type != EVENT_EXCEPTION)
		return BENIGN;
	switch (ev->vector) {
	case EXC_DE:
	case EXC_TS:
	case EXC_NP:
	case EXC_SS:
	case EXC_GP: return CONTRIBUTORY;
	case EXC_PF: return PAGE_FAULT;
	default: return BENIGN;
	}
}

bool combine_exceptions(struct vcpu *v, const struct cpu_event *first)
{
	enum exception_class a = class_of(first), b = class_of(&v->event);

	if (first->type == EVENT_EXCEPTION && first->vector == EXC_DF)
		return false;
	if ((a == CONTRIBUTORY && b == CONTRIBUTORY) || (a == PAGE_FAULT && b != BENIGN)) {
		if (b == PAGE_FAULT)
			v->cr2 = v->event.cr2;
		v->event = (struct cpu_event){
			.valid = true, .vector = EXC_DF, .type = EVENT_EXCEPTION, .has_error = true
		};
	}
	return true;
}

/* ---- software interrupts ---- */
static void software_interrupt(struct vcpu *v, const struct insn *i, u8 vector, enum event_type type)
{
	struct cpu_event ev = { .valid = true, .vector = vector, .type = (u8)type };

	deliver(v, &ev, vcpu_next_rip(v, i));
}

/* SDM vol. 3, 20.3.3: whether the TSS's redirection bitmap sends INT n to the task's own IVT. */
static bool redirected(struct vcpu *v, u8 vector)
{
	if (ar_type(v->tr.ar) != SYS_TSS32_BUSY || v->tr.limit < 103)
		vcpu_raise_error(v, EXC_GP, 0);
	u32 map = (u32)mmu_load(v, (u32)(v->tr.base + 102), 2, MMU_SUPERVISOR);
	u32 at = map - 32 + vector / 8;
	if (map < 32 || at > v->tr.limit)
		vcpu_raise_error(v, EXC_GP, 0);
	return !(mmu_load(v, (u32)(v->tr.base + at), 1, MMU_SUPERVISOR) >> (vector & 7) & 1);
}

/* INT n handled as a real-mode one within virtual-8086 mode; below IOPL 3, VIF takes IF's place. */
static void v86_interrupt(struct vcpu *v, const struct insn *i, u8 vector)
{
	bool virtual_if = (v->rflags & FL_IOPL) != FL_IOPL;
	u64 image = flags_settle(v);

	if (virtual_if)
		image = (image & ~(u64)FL_IF) | FL_IOPL | (image & FL_VIF ? FL_IF : 0);
	u32 target = (u32)mmu_load(v, vector * 4u, 4, MMU_EXPLICIT);
	struct stack s = stack_current(v);
	stack_push(v, &s, image, 2);
	stack_push(v, &s, v->seg[SEG_CS].selector, 2);
	stack_push(v, &s, vcpu_next_rip(v, i), 2);
	stack_commit(v, &s);
	set_rflags(v, 0, FL_TF | FL_RF | (virtual_if ? FL_VIF : FL_IF));
	segment_set_v86(v, SEG_CS, (u16)(target >> 16));
	v->rip = (u16)target;
}

void exec_int(struct vcpu *v, const struct insn *i)
{
	u8 vector = (u8)i->imm;

	if (v->mode == MODE_V86) {
		if (v->cr4 & CR4_VME && redirected(v, vector)) {
			v86_interrupt(v, i, vector);
			return;
		}
		if ((v->rflags & FL_IOPL) != FL_IOPL)
			vcpu_raise_error(v, EXC_GP, 0);
	}
	software_interrupt(v, i, vector, EVENT_SOFTINT);
}

void exec_int3(struct vcpu *v, const struct insn *i)
{
	software_interrupt(v, i, EXC_BP, EVENT_SOFTEXC);
}

void exec_into(struct vcpu *v, const struct insn *i)
{
	if (flags_get(v) & FL_OF)
		software_interrupt(v, i, EXC_OF, EVENT_SOFTEXC);
	else
		v->rip = vcpu_next_rip(v, i);
}

/* #DB without a look at the gate's DPL, nor at DR6 or DR7.GD. */
void exec_int1(struct vcpu *v, const struct insn *i)
{
	software_interrupt(v, i, EXC_DB, EVENT_ICEBP);
	v->pending_db = 0; /* traps that MOV SS held back until now are part of this one */
}
