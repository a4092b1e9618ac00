/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs that come and go (vcpu_op), and what they do while they are there: wait, shut the domain down (sched_op).
 *
 * A vCPU that is not up waits as one does for a SIPI, and is given one when another says "up". What "initialise" prepared it loads
 * itself then, on its own thread.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "emulate/emulate.h"
#include "platform/xen/build.h"
#include "platform/xen/events.h"
#include "platform/xen/hypercall.h"
#include "platform/xen/mm.h"
#include "platform/xen/traps.h"

/* ---- initialise, up, down ---- */

static s64 initialise(struct vcpu *v, struct xen_cpu *c, u64 gla)
{
	struct xen_domain *d = xen_of(v);
	struct vcpu_guest_context *ctx = malloc(sizeof(*ctx));
	s64 r = 0;

	if (!ctx)
		return -XEN_ENOMEM;
	if (guest_read(v, gla, ctx, sizeof(*ctx))) {
		free(ctx);
		return -XEN_EFAULT;
	}
	pthread_mutex_lock(&d->lock);
	if (c->initialised) {
		r = -XEN_EEXIST;
		free(ctx);
	} else {
		c->initial = ctx;
		c->initialised = true;
	}
	pthread_mutex_unlock(&d->lock);
	return r;
}

static s64 up(struct xen_domain *d, struct xen_cpu *c)
{
	s64 r = 0;
	bool wake = false;

	pthread_mutex_lock(&d->lock);
	if (!c->initialised) {
		r = -XEN_EINVAL;
	} else if (!c->up) {
		c->up = true;
		wake = true;
	}
	pthread_mutex_unlock(&d->lock);
	if (wake)
		vcpu_post(c->v, EV_SIPI);
	return r;
}

/* The vCPU sees it when it looks at its events: intc_ops.acknowledge. Without any there is nobody left to say "up": the domain is off. */
static s64 down(struct vcpu *v, struct xen_domain *d, struct xen_cpu *c)
{
	unsigned left = 0;

	pthread_mutex_lock(&d->lock);
	c->up = false;
	for (unsigned k = 0; k < d->cpus; k++)
		left += d->cpu[k].up;
	pthread_mutex_unlock(&d->lock);
	if (!left) {
		machine_end(v->machine, END_POWEROFF, 0);
		v->stop_now = true;
	}
	vcpu_post(c->v, EV_INTR);
	return 0;
}

static void set_segments(struct vcpu *v, const struct vcpu_guest_context *ctx)
{
	/* Data segments are null, as far as 64-bit kernels are concerned. */
	v->seg[SEG_FS].base = ctx->fs_base;
	v->seg[SEG_GS].base = ctx->gs_base_kernel;
	v->msr.kernel_gs_base = ctx->gs_base_user;
}

static bool canonical_bases(const struct vcpu_guest_context *ctx)
{
	return is_canonical(ctx->fs_base) && is_canonical(ctx->gs_base_kernel) && is_canonical(ctx->gs_base_user);
}

static void set_entries(struct xen_cpu *c, const struct vcpu_guest_context *ctx)
{
	memcpy(c->traps, ctx->trap_ctxt, sizeof(c->traps));
	c->kernel_ss = ctx->kernel_ss;
	c->kernel_sp = ctx->kernel_sp;
	c->event = (struct xen_entry){ ctx->event_callback_eip, true };
	c->failsafe = (struct xen_entry){ ctx->failsafe_callback_eip, ctx->flags & VGCF_failsafe_disables_events };
	c->syscall = (struct xen_entry){ ctx->syscall_callback_eip, ctx->flags & VGCF_syscall_disables_events };
}

static void set_registers(struct vcpu *v, const struct cpu_user_regs *r)
{
	v->r[RAX] = r->rax;
	v->r[RBX] = r->rbx;
	v->r[RCX] = r->rcx;
	v->r[RDX] = r->rdx;
	v->r[RSI] = r->rsi;
	v->r[RDI] = r->rdi;
	v->r[RBP] = r->rbp;
	v->r[RSP] = r->rsp;
	v->r[R8] = r->r8;
	v->r[R9] = r->r9;
	v->r[R10] = r->r10;
	v->r[R11] = r->r11;
	v->r[R12] = r->r12;
	v->r[R13] = r->r13;
	v->r[R14] = r->r14;
	v->r[R15] = r->r15;
	v->rip = r->rip;
}

/* It begins in its kernel, whatever the context's flags say: there is no other use. */
static int load(struct vcpu *v, const struct vcpu_guest_context *ctx)
{
	u64 frames[ARRAY_SIZE(ctx->gdt_frames)];
	int r;

	if (!canonical_bases(ctx) || !is_canonical(ctx->user_regs.rip))
		return -XEN_EINVAL;
	build_reset_cpu(v);
	mm_reset_cpu(v);
	for (unsigned k = 0; k < ARRAY_SIZE(frames); k++)
		frames[k] = ctx->gdt_frames[k];
	r = ctx->gdt_ents > 8192 ? -XEN_EINVAL : mm_set_gdt(v, frames, (unsigned)ctx->gdt_ents);
	if (!r)
		r = mm_set_roots(v, ctx->ctrlreg[3] >> PAGE_SHIFT, ctx->ctrlreg[1] >> PAGE_SHIFT);
	set_entries(xen_cpu_of(v), ctx);
	set_registers(v, &ctx->user_regs);
	set_segments(v, ctx);
	mmu_update_view(v);
	return r;
}

void cpus_start(struct vcpu *v)
{
	struct xen_domain *d = xen_of(v);
	struct xen_cpu *c = xen_cpu_of(v);
	struct vcpu_guest_context *ctx;

	pthread_mutex_lock(&d->lock);
	ctx = c->initial;
	c->initial = NULL;
	pthread_mutex_unlock(&d->lock);
	if (ctx && load(v, ctx))
		xen_crash(v, "CPU %u cannot start with the state that its kernel has given it", v->id);
	free(ctx);
	time_publish(d, v->id);
	runstate_enter(v, RUNSTATE_running);
	events_recheck(v);
}

/* ---- vcpu_info ---- */

/* Once, to a place of the guest's choice within a page; what was pending stays so. */
static s64 register_info(struct vcpu *v, struct xen_cpu *c, u64 gla)
{
	struct xen_domain *d = xen_of(v);
	struct vcpu_register_vcpu_info reg;
	struct vcpu_info *old = atomic_load(&c->info), *info;
	u8 *page;
	s64 r = 0;

	if (guest_read(v, gla, &reg, sizeof(reg)))
		return -XEN_EFAULT;
	if (reg.offset > PAGE_SIZE - sizeof(struct vcpu_info) || reg.offset & 7)
		return -XEN_EINVAL;
	page = mm_get(d, reg.mfn, FRAME_WRITABLE); /* held as long as the domain is */
	if (!page)
		return -XEN_EINVAL;
	info = (struct vcpu_info *)(page + reg.offset);
	pthread_mutex_lock(&d->lock);
	if (c->info_mfn || (c != xen_cpu_of(v) && c->up)) {
		r = c->info_mfn ? -XEN_EINVAL : -XEN_EBUSY;
	} else {
		memcpy(info, old, sizeof(*info));
		machine_written(d->machine, info, sizeof(*info));
		atomic_store(&c->info, info);
		c->info_mfn = reg.mfn;
		/* What was raised to the old place while it was copied. */
		if (__atomic_load_n(&old->evtchn_upcall_pending, __ATOMIC_SEQ_CST)) {
			__atomic_fetch_or(&info->evtchn_pending_sel, ~0ull, __ATOMIC_SEQ_CST);
			__atomic_store_n(&info->evtchn_upcall_pending, 1, __ATOMIC_SEQ_CST);
		}
	}
	pthread_mutex_unlock(&d->lock);
	if (r) {
		mm_put(d, reg.mfn, FRAME_WRITABLE);
		return r;
	}
	time_publish(d, c->v->id);
	events_recheck(c->v);
	return 0;
}

s64 hypercall_vcpu_op(struct vcpu *v, const u64 arg[6])
{
	struct xen_domain *d = xen_of(v);
	u64 cmd = arg[0], cpu = arg[1], gla = arg[2];

	if (cpu >= d->cpus)
		return -XEN_ENOENT;
	struct xen_cpu *c = &d->cpu[cpu];
	switch (cmd) {
	case VCPUOP_initialise: return initialise(v, c, gla);
	case VCPUOP_up: return up(d, c);
	case VCPUOP_down: return down(v, d, c);
	case VCPUOP_is_up: return c->up;
	case VCPUOP_register_vcpu_info: return register_info(v, c, gla);
	default: return timer_vcpu_op(v, (unsigned)MIN(cmd, ~0u), (unsigned)cpu, gla);
	}
}

/* ---- sched_op ---- */

static void yield(struct vcpu *v)
{
	if (v->machine->config.cpus > 1)
		sched_yield();
}

/* Opens the mask; a halted vCPU goes on when an upcall is deliverable. */
static void block(struct vcpu *v)
{
	struct vcpu_info *info = atomic_load(&xen_cpu_of(v)->info);

	__atomic_store_n(&info->evtchn_upcall_mask, 0, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&info->evtchn_upcall_pending, __ATOMIC_SEQ_CST))
		return;
	runstate_enter(v, RUNSTATE_blocked);
	v->halted = true;
	v->stop_now = true;
}

static s64 shut_down(struct vcpu *v, u64 gla)
{
	struct sched_shutdown s;

	if (guest_read(v, gla, &s, sizeof(s)))
		return -XEN_EFAULT;
	switch (s.reason) {
	case SHUTDOWN_poweroff: machine_end(v->machine, END_POWEROFF, 0); break;
	case SHUTDOWN_reboot: machine_end(v->machine, END_REBOOT, 0); break;
	case SHUTDOWN_crash: machine_end(v->machine, END_CRASHED, 0); break;
	case SHUTDOWN_suspend: return -XEN_EOPNOTSUPP;
	default: return -XEN_EINVAL;
	}
	v->stop_now = true;
	return 0;
}

static s64 poll(struct vcpu *v, u64 gla)
{
	struct sched_poll p;

	if (guest_read(v, gla, &p, sizeof(p)))
		return -XEN_EFAULT;
	s64 r = events_poll(v, (u64)p.ports.p, p.nr_ports, p.timeout);
	if (v->halted)
		v->stop_now = true;
	return r;
}

s64 hypercall_sched_op(struct vcpu *v, const u64 arg[6])
{
	switch (arg[0]) {
	case SCHEDOP_yield: yield(v); return 0;
	case SCHEDOP_block: block(v); return 0;
	case SCHEDOP_shutdown: return shut_down(v, arg[1]);
	case SCHEDOP_poll: return poll(v, arg[1]);
	default: return -XEN_ENOSYS;
	}
}
