/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypercall iret: from the kernel to a program, or to the kernel itself with events unmasked in the same step (struct iret_context).
 * Selectors mean descriptors, which the guest's tables have; a kernel returns to the same two all the time, so what they were
 * loaded as last is kept, and good while the descriptors are the same.
 */
#include "emulate/descriptor.h"
#include "platform/xen/mm.h"
#include "platform/xen/traps.h"

#define LOADED_FLAGS (FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID)

struct load {
	u16 cs, ss;
	struct segment cs_segment, ss_segment;
};

/* As IRET to CPL 3 checks them (SDM vol. 2, IRET). */
static void load_checked(struct vcpu *v, void *arg)
{
	struct load *l = arg;
	struct descriptor cs;

	check_return_cs(v, l->cs, &cs);
	check_return_ss(v, l->ss, 3, desc_ar(&cs) & AR_L, &l->ss_segment);
	l->cs_segment = descriptor_segment(&cs, l->cs);
}

/* False: no such segments, nothing has changed. */
static bool load_segments(struct vcpu *v, struct xen_selectors *last, u16 cs, u16 ss)
{
	u64 cs_now = mm_descriptor(v, cs), ss_now = mm_descriptor(v, ss);
	struct load l = { .cs = cs, .ss = ss };

	if (!cs_now || !ss_now || last->cs.selector != cs || last->ss.selector != ss || last->cs_descriptor != cs_now ||
	    last->ss_descriptor != ss_now) {
		if (!try_run(v, load_checked, &l))
			return false;
		*last = (struct xen_selectors){ cs_now, ss_now, l.cs_segment, l.ss_segment };
	}
	v->seg[SEG_CS] = last->cs;
	v->seg[SEG_SS] = last->ss;
	return true;
}

static void set_mode(struct vcpu *v)
{
	if (v->code_size != CODE_64 || !(v->seg[SEG_CS].ar & AR_L))
		vcpu_update_mode(v);
}

void hypercall_iret(struct vcpu *v)
{
	struct xen_cpu *c = xen_cpu_of(v);
	struct vcpu_info *info = atomic_load_explicit(&c->info, memory_order_relaxed);
	struct iret_context f;

	c->counts.irets++;
	if (guest_read(v, v->r[RSP], &f, sizeof(f))) {
		xen_crash(v, "iret without a frame at %#llx", (unsigned long long)v->r[RSP]);
		return;
	}
	bool user = (f.cs & SEL_RPL) == 3, by_syscall = f.flags & VGCF_in_syscall, ok = true;
	u16 cs = (u16)f.cs | SEL_RPL, ss = (u16)f.ss | SEL_RPL;

	if (by_syscall)
		traps_set_flat(v, FLAT_USER_CS, FLAT_USER_SS);
	else
		ok = load_segments(v, user ? &c->user : &c->kernel, cs, ss);
	traps_set_kernel(v, !user);
	v->rip = f.rip;
	v->r[RSP] = f.rsp;
	v->r[RAX] = f.rax;
	v->r[RCX] = by_syscall ? f.rip : f.rcx;
	v->r[R11] = by_syscall ? f.rflags : f.r11;
	/* RF matters to the next instruction only if there are breakpoints. */
	set_rflags(v, f.rflags & ~(u64)(debug_breakpoints_on(v) ? 0 : FL_RF), LOADED_FLAGS | FL_RF);
	__atomic_store_n(&info->evtchn_upcall_mask, !(f.rflags & FL_IF), __ATOMIC_RELAXED);
	if (likely(ok)) {
		set_mode(v);
	} else {
		/* What its kernel finds is the frame that failed, as if interrupted there. */
		v->seg[SEG_CS].selector = (u16)f.cs;
		v->seg[SEG_SS].selector = (u16)f.ss;
		traps_failsafe(v);
	}
}
