/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events posted to a vCPU, and a halted vCPU's wait for them. The futex is vcpu.events itself. While a vCPU sleeps the
 * word has EVENTS_SLEEPING set, so that posting to one that runs costs no system call; and EV_INTR is clear, so that
 * each post of it changes the word: a wake-up cannot be lost between the last look and the sleep.
 */
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "machine/machine.h"

#define EVENTS_SLEEPING 0x80000000u /* never seen outside machine_wait */

static _Thread_local struct vcpu *current;

struct vcpu *vcpu_current(void)
{
	return current;
}

void vcpu_set_current(struct vcpu *v)
{
	current = v;
}

void vcpu_post(struct vcpu *v, u32 events)
{
	struct machine *m = v->machine;
	u32 old = atomic_fetch_or(&v->events, events);

	if (old & EVENTS_SLEEPING)
		syscall(SYS_futex, &v->events, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	else if (events & ~old && atomic_load(&m->running) && m->vcpu_ops->kick)
		m->vcpu_ops->kick(v);
}

/* The CPU takes one and latches one (SDM vol. 3, 6.7.1): a third is lost. */
void vcpu_nmi(struct vcpu *v)
{
	u32 n = atomic_load(&v->nmis);

	while (n < 2 && !atomic_compare_exchange_weak(&v->nmis, &n, n + 1))
		;
	vcpu_post(v, EV_NMI);
}

/* Sleeps until the word changes from `seen`, for at most ns (~0: no limit). */
static void sleep_on_events(struct vcpu *v, u32 seen, u64 ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / NSEC_PER_SEC), .tv_nsec = (long)(ns % NSEC_PER_SEC) };

	if (atomic_fetch_or(&v->events, EVENTS_SLEEPING) == seen)
		syscall(SYS_futex, &v->events, FUTEX_WAIT_PRIVATE, seen | EVENTS_SLEEPING, ns == ~0ull ? NULL : &ts,
			NULL, 0);
	atomic_fetch_and(&v->events, ~EVENTS_SLEEPING);
}

static bool interrupt_pending(struct vcpu *v)
{
	const struct intc_ops *intc = v->machine->intc;

	return intc && intc->pending(v);
}

/* Whether these events end the halt. TLB and code events wait: they matter only before the next guest instruction. */
static bool wakes(struct vcpu *v, u32 events)
{
	if (events & (EV_STOP | EV_INIT))
		return true;
	if (v->wait_sipi)
		return events & EV_SIPI;
	if (!v->halted || v->pending_db || (events & EV_NMI && !v->nmi_blocked))
		return true;
	return v->rflags & FL_IF && interrupt_pending(v);
}

/* How long vCPU 0 of a deterministic machine sleeps before time skips to the next timer: not at all. Where no timer's
 * interrupt can wake it, virtual time goes no faster than the host's, so that a dead guest does not keep a CPU busy. */
static u64 nap(const struct vcpu *v, u64 now, u64 deadline)
{
	bool deaf = v->wait_sipi || !(v->rflags & FL_IF);

	return deaf && deadline > now ? deadline - now : 0;
}

/* Deterministic: moves time to the next timer and fires it. false when none is armed. */
static bool skip_time(struct vcpu *v, u32 seen)
{
	struct clock *c = v->machine->clock;
	u64 deadline = clock_next_deadline(c), ns;

	atomic_fetch_and(&v->events, ~EV_TIMER);
	seen &= ~EV_TIMER;
	if (deadline == ~0ull)
		return false;
	ns = nap(v, clock_now(c), deadline);
	if (ns) {
		sleep_on_events(v, seen, ns);
		if (atomic_load(&v->events) & ~seen & ~EV_TIMER)
			return true;
	}
	clock_set(c, deadline);
	clock_run_timers(c);
	return true;
}

void machine_wait(struct vcpu *v)
{
	bool skips = v->id == 0 && clock_deterministic(v->machine->clock);
	u8 place = vcpu_at(v, PLACE_HALT);

	for (;;) {
		u32 events = atomic_fetch_and(&v->events, ~EV_INTR) & ~EV_INTR;

		if (wakes(v, events))
			break;
		if (!skips || !skip_time(v, events))
			sleep_on_events(v, events & (skips ? ~EV_TIMER : ~0u), ~0ull);
	}
	vcpu_at(v, place);
	if (interrupt_pending(v))
		atomic_fetch_or(&v->events, EV_INTR);
}
