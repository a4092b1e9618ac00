/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of a vCPU: events, interrupts, into the guest, and what it came out for.
 *
 * Nobody's post is lost: vcpu_post() sets the event before it kicks, and a kick sets kvm_run.immediate_exit before it
 * looks whether the vCPU is inside. The loop clears immediate_exit, says that it is inside, and only then looks at the
 * events a last time. So either it sees the event, or KVM_RUN returns at once, or the signal takes it out of the guest.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engines/kvm/kvm-internal.h"

static int call(struct vcpu *v, unsigned long request, void *arg, const char *what, struct error *err)
{
	if (ioctl(cpu_of(v)->fd, request, arg) < 0)
		return error_set(err, errno, "KVM cannot %s CPU %u: %s", what, v->id, strerror(errno));
	return 0;
}

/* ---- events ---- */

/* The vCPU gets INIT, which keeps part of its state. */
static int take_init(struct vcpu *v, struct error *err)
{
	int r = cpu_of(v)->stale ? 0 : state_save(v, err);

	atomic_fetch_and(&v->events, ~EV_INIT);
	if (!r)
		vcpu_init_signal(v);
	return r;
}

static void take_sipi(struct vcpu *v)
{
	u32 vector = atomic_load(&v->sipi_vector) & 0xff;

	atomic_fetch_and(&v->events, ~EV_SIPI);
	if (!v->wait_sipi)
		return;
	v->wait_sipi = false;
	v->seg[SEG_CS].selector = (u16)(vector << 8);
	v->seg[SEG_CS].base = (u64)vector << 12;
	v->rip = 0;
}

/* A halted vCPU takes interrupts if its flag says so; one that came out of the guest if the kernel says so. */
static bool can_interrupt(const struct vcpu *v)
{
	const struct kvm_run *run = cpu_of(v)->run;

	if (v->halted)
		return v->rflags & FL_IF;
	return run->ready_for_interrupt_injection && run->if_flag;
}

static int take_interrupt(struct vcpu *v, struct error *err)
{
	const struct intc_ops *ops = v->machine->intc;
	struct kvm_interrupt in;
	int vector;

	atomic_fetch_and(&v->events, ~EV_INTR);
	vector = ops ? ops->acknowledge(v) : -1;
	if (vector < 0)
		return 0;
	if (ops->pending(v))
		atomic_fetch_or(&v->events, EV_INTR);
	v->stats.intr++;
	v->stats.vec[vector & 255]++;
	v->halted = false;
	cpu_of(v)->run->ready_for_interrupt_injection = 0;
	in.irq = (u32)vector;
	return call(v, KVM_INTERRUPT, &in, "interrupt", err);
}

/* The kernel keeps them until they can be delivered: one more while one is being handled, as the CPU does. */
static int take_nmi(struct vcpu *v, struct error *err)
{
	u32 n;
	int r;

	if (v->halted && v->nmi_blocked && !cpu_of(v)->vm->irqchip)
		return 0;
	atomic_fetch_and(&v->events, ~EV_NMI);
	n = atomic_exchange(&v->nmis, 0);
	v->halted = false;
	v->stats.vec[EXC_NMI]++;
	r = call(v, KVM_NMI, NULL, "send an NMI to", err);
	return r || n < 2 ? r : call(v, KVM_NMI, NULL, "send an NMI to", err);
}

/* 1: go on; 0: leave run(). */
static int handle_events(struct vcpu *v, struct error *err)
{
	bool irqchip = cpu_of(v)->vm->irqchip;
	u32 ours = irqchip ? EV_INTR | EV_INIT | EV_SIPI : 0; /* from the project's local APIC, which is at rest */
	u32 events = atomic_fetch_and(&v->events, ~(EV_TLB | EV_CODE | EV_WRITES | EV_TIMER | ours)) & ~ours;
	int r = 0;

	if (events & EV_STOP) {
		atomic_fetch_and(&v->events, ~EV_STOP);
		return 0;
	}
	if (events & EV_INIT)
		r = take_init(v, err);
	if (!r && events & EV_SIPI)
		take_sipi(v);
	bool loads = !r && cpu_of(v)->stale && (irqchip || !v->wait_sipi);
	if (loads)
		r = state_load(v, err);
	if (loads && !r)
		r = debug_load(v, err);
	if (r || (v->wait_sipi && !irqchip) || debug_holds_off(v))
		return r ? r : 1;
	if (events & EV_NMI)
		r = take_nmi(v, err);
	if (!r && events & EV_INTR && can_interrupt(v))
		r = take_interrupt(v, err);
	return r ? r : 1;
}

/* ---- in and out ---- */
static void set_tpr(struct vcpu *v, u8 before)
{
	const struct kvm_run *run = cpu_of(v)->run;

	if (!cpu_of(v)->vm->irqchip && v->machine->intc && run->cr8 != before)
		v->machine->intc->set_tpr(v, run->cr8 & 15);
}

/* Whether something came up that the loop has to look at first. An interrupt that waits for its window has not. */
static bool wants_out(const struct vcpu *v)
{
	u32 events = atomic_load(&v->events);

	return events & ~EV_INTR || (events && !cpu_of(v)->run->request_interrupt_window);
}

/* Runs guest code until it comes out. 1: with an exit to handle; 0: kicked. */
static int enter(struct vcpu *v, struct error *err)
{
	struct kvm_cpu *k = cpu_of(v);
	struct kvm_run *run = k->run;
	const struct intc_ops *intc = v->machine->intc;
	u8 tpr = intc ? intc->get_tpr(v) : 0;
	int r = -1, code = EINTR;

	run->request_interrupt_window = (atomic_load(&v->events) & EV_INTR) != 0;
	run->cr8 = tpr;
	__atomic_store_n(&run->immediate_exit, 0, __ATOMIC_RELAXED);
	atomic_store(&k->inside, true);
	if (!wants_out(v)) {
		r = ioctl(k->fd, KVM_RUN, 0);
		code = r < 0 ? errno : 0;
		set_tpr(v, tpr);
	}
	atomic_store(&k->inside, false);
	if (r == 0)
		return 1;
	if (code == EINTR || code == EAGAIN)
		return 0;
	return error_set(err, code, "KVM cannot run CPU %u: %s", v->id, strerror(code));
}

/*
 * An access that came out is finished by the next KVM_RUN. Before the state is looked at, those that are under way are
 * finished, and no further instruction begun; each may come out in pieces.
 */
static int settle(struct vcpu *v, struct error *err)
{
	struct kvm_cpu *k = cpu_of(v);

	while (!k->stale) {
		__atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_RELAXED);
		if (ioctl(k->fd, KVM_RUN, 0) < 0)
			return errno == EINTR || errno == EAGAIN
				       ? 0
				       : error_set(err, errno, "KVM cannot run CPU %u: %s", v->id, strerror(errno));
		int r = exit_handle(v, err);
		if (r)
			return r;
	}
	return 0;
}

static int go(struct vcpu *v, struct error *err)
{
	int r;

	if ((v->halted || v->wait_sipi) && !cpu_of(v)->vm->irqchip) {
		machine_wait(v);
		return 0;
	}
	r = enter(v, err);
	return r > 0 ? exit_handle(v, err) : r;
}

int kvm_cpu_run(struct vcpu *v, struct error *err)
{
	int r = 0;

	cpu_of(v)->stale = true;
	debug_prepare(v);
	while (!r && !v->debug.stop && (r = handle_events(v, err)) > 0)
		r = go(v, err);
	if (!r)
		r = settle(v, err);
	if (!r && !cpu_of(v)->stale)
		r = state_save(v, err);
	return r;
}
