/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways into the guest kernel: system calls of its programs, exceptions, events. Each is a frame on the kernel's stack and a jump to
 * where the kernel has said (set_trap_table, callback_op). Kernel and programs both run at CPL 3; which of them runs decides about
 * the view of memory and the GS base, both of which change here and in iret.c alone.
 *
 * The frame, from the stack pointer up: RCX, R11, error code if there is one, RIP, CS, RFLAGS, RSP, SS. CS has RPL 0 if the kernel itself
 * was interrupted, and the event mask in its bits 32 to 39; RFLAGS.IF is its opposite.
 */
#include "platform/xen/traps.h"

#include "emulate/descriptor.h"
#include "platform/xen/events.h"
#include "platform/xen/hypercall.h"

#define CLEARED_FLAGS	 (FL_TF | FL_NT | FL_RF | FL_VM | FL_AC)
#define FRAME_MASK_SHIFT 32 /* of the event mask in the frame's CS */

void traps_set_kernel(struct vcpu *v, bool kernel)
{
	u64 base = v->seg[SEG_GS].base;

	if (v->guest_kernel == kernel)
		return;
	v->guest_kernel = kernel;
	v->seg[SEG_GS].base = v->msr.kernel_gs_base;
	v->msr.kernel_gs_base = base;
	mmu_update_view(v);
}

void traps_set_flat(struct vcpu *v, u16 cs, u16 ss)
{
	u32 dpl = 3 << AR_DPL_SHIFT;

	v->seg[SEG_CS] = (struct segment){ .limit = ~0u, .ar = AR_FLAT_CODE | AR_L | dpl, .selector = cs };
	v->seg[SEG_SS] = (struct segment){ .limit = ~0u, .ar = AR_FLAT_DATA | dpl, .selector = ss };
	if (v->code_size != CODE_64)
		vcpu_update_mode(v);
}

struct frame {
	const u64 *before; /* words in front of RIP, without RCX and R11 */
	unsigned nbefore;
	u64 rip, rcx, r11;
	u64 flags;
	bool was_open; /* events are masked for this entry already, and were not before */
};
#define FRAME_WORDS 12

/* Nothing of the vCPU changes before all of the frame is written; false: it could not be, and the domain has ended. */
static bool enter(struct vcpu *v, const struct frame *f, const struct xen_entry *to)
{
	struct vcpu_info *info = atomic_load_explicit(&xen_cpu_of(v)->info, memory_order_relaxed);
	u8 mask = f->was_open ? 0 : __atomic_load_n(&info->evtchn_upcall_mask, __ATOMIC_RELAXED);
	bool user = !v->guest_kernel;
	u64 words[FRAME_WORDS], sp = (user ? xen_cpu_of(v)->kernel_sp : v->r[RSP]) & ~15ull;
	unsigned n = 0;

	words[n++] = f->rcx;
	words[n++] = f->r11;
	for (unsigned k = 0; k < f->nbefore; k++)
		words[n++] = f->before[k];
	words[n++] = f->rip;
	words[n++] = (user ? v->seg[SEG_CS].selector : v->seg[SEG_CS].selector & ~3u) | (u64)mask << FRAME_MASK_SHIFT;
	words[n++] = (f->flags & ~(u64)(FL_IF | FL_IOPL)) | (mask ? 0 : FL_IF);
	words[n++] = v->r[RSP];
	words[n++] = v->seg[SEG_SS].selector;
	sp -= n * 8;
	traps_set_kernel(v, true);
	if (!to->rip || guest_write(v, sp, words, n * 8)) {
		xen_crash(v,
			  to->rip ? "no stack to enter its kernel on at %#llx"
				  : "a kernel without entry for what happened at %#llx",
			  (unsigned long long)(to->rip ? sp : f->rip));
		return false;
	}
	if (to->masks)
		__atomic_store_n(&info->evtchn_upcall_mask, 1, __ATOMIC_RELAXED);
	v->r[RSP] = sp;
	traps_set_flat(v, FLAT_KERNEL_CS, FLAT_KERNEL_SS);
	set_rflags(v, 0, CLEARED_FLAGS);
	v->rip = to->rip;
	return true;
}

/* ---- system calls ---- */

static void user_syscall(struct vcpu *v, u64 next)
{
	struct xen_cpu *c = xen_cpu_of(v);
	u64 flags = flags_settle(v) & ~(u64)FL_RF;
	struct frame f = { .rip = next, .rcx = next, .r11 = flags, .flags = flags };

	c->counts.syscalls++;
	if (!enter(v, &f, &c->syscall))
		return;
	v->r[RCX] = next;
	v->r[R11] = flags;
	set_rflags(v, 0, FL_DF);
}

void traps_syscall(struct vcpu *v, u64 next)
{
	if (likely(v->guest_kernel))
		hypercall(v, next);
	else
		user_syscall(v, next);
}

/* ---- exceptions and events ---- */

static void enter_trap(struct vcpu *v, const struct cpu_event *e, u64 return_ip)
{
	struct xen_cpu *c = xen_cpu_of(v);
	const struct trap_info *t = &c->traps[e->vector];
	struct xen_entry to = { .rip = t->address, .masks = TI_GET_IF(t) };
	u64 error = e->error;
	struct frame f = { .before = &error,
			   .nbefore = e->has_error,
			   .rip = return_ip,
			   .rcx = v->r[RCX],
			   .r11 = v->r[R11],
			   .flags = flags_settle(v) };

	if (e->type == EVENT_EXCEPTION && e->vector == EXC_PF)
		__atomic_store_n(&atomic_load(&c->info)->arch.cr2, e->cr2, __ATOMIC_RELAXED);
	if (!to.rip)
		xen_crash(v, "exception %u (error code %#x) at %#llx, which its kernel has no handler for", e->vector,
			  e->error, (unsigned long long)v->rip);
	else
		enter(v, &f, &to);
}

/* INT n needs a handler that is for programs too; a kernel's counts as ring 1. INT3 and INTO are always allowed. */
static void check_software(struct vcpu *v, const struct cpu_event *e)
{
	unsigned dpl = TI_GET_DPL(&xen_cpu_of(v)->traps[e->vector]);

	if (e->type == EVENT_SOFTINT && dpl < (v->guest_kernel ? 1 : 3))
		vcpu_raise_error(v, EXC_GP, e->vector * 8u + ERR_IDT);
}

static void enter_upcall(struct vcpu *v)
{
	struct xen_cpu *c = xen_cpu_of(v);
	struct frame f = {
		.rip = v->rip, .rcx = v->r[RCX], .r11 = v->r[R11], .flags = flags_settle(v), .was_open = true
	};
	struct xen_entry to = { .rip = c->event.rip, .masks = true };

	c->counts.upcalls++;
	runstate_enter(v, RUNSTATE_running);
	enter(v, &f, &to);
}

void traps_deliver(struct vcpu *v, const struct cpu_event *e, u64 return_ip)
{
	switch (e->type) {
	case EVENT_EXTINT: enter_upcall(v); return;
	case EVENT_NMI: return;
	case EVENT_EXCEPTION:
		if (e->vector == EXC_UD && emulate_cpuid(v))
			return;
		if (e->vector == EXC_GP && v->guest_kernel && emulate_privileged(v))
			return;
		break;
	default: check_software(v, e);
	}
	xen_cpu_of(v)->counts.exceptions++;
	enter_trap(v, e, return_ip);
}

/* ---- failsafe ---- */

void traps_failsafe(struct vcpu *v)
{
	struct xen_cpu *c = xen_cpu_of(v);
	u64 selectors[] = { v->seg[SEG_DS].selector, v->seg[SEG_ES].selector, v->seg[SEG_FS].selector,
			    v->seg[SEG_GS].selector };
	struct frame f = { .before = selectors,
			   .nbefore = ARRAY_SIZE(selectors),
			   .rip = v->rip,
			   .rcx = v->r[RCX],
			   .r11 = v->r[R11],
			   .flags = flags_settle(v) };

	enter(v, &f, &c->failsafe);
}

bool try_run(struct vcpu *v, void (*fn)(struct vcpu *v, void *arg), void *arg)
{
	jmp_buf *outer = v->unwind, landing;

	if (setjmp(landing)) {
		v->unwind = outer;
		v->event.valid = false;
		return false;
	}
	v->unwind = &landing;
	fn(v, arg);
	v->unwind = outer;
	return true;
}
