/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC's timer (Intel SDM vol. 3, 11.5.4): one-shot, periodic, TSC deadline. Nothing counts: the count is
 * worked out from the clock when it is read, and the clock's timer is armed for the next expiry. The lock is held by
 * callers; only expire() takes it, as it comes from the thread that runs timers, and there it checks that the expiry
 * still stands.
 */
#include "devices/lapic.h"

#define IDLE (~0ull)
_Static_assert(CLOCK_TSC_HZ == NSEC_PER_SEC, "a tick of the undivided timer is a nanosecond");

static struct clock *clock_of(const struct lapic *l)
{
	return l->v->machine->clock;
}

static u32 mode(const struct lapic *l)
{
	return l->lvt[LVT_TIMER] & LVT_TIMER_MODE;
}

/* Divide configuration register: 0 is by 2, up to 6 by 128; 7 is by 1. */
static u64 tick(const struct lapic *l)
{
	unsigned code = (l->divide & 3) | (l->divide >> 1 & 4);

	return 1ull << ((code + 1) & 7);
}

static void arm(struct lapic *l, u64 deadline)
{
	l->deadline = deadline;
	timer_arm(clock_of(l), &l->timer, deadline);
}

void lapic_timer_stop(struct lapic *l)
{
	if (l->deadline == IDLE)
		return;
	l->deadline = IDLE;
	timer_cancel(clock_of(l), &l->timer);
}

/* The expiry is handled; a periodic timer goes on with the first period that ends in the future. */
static void fire(struct lapic *l, u64 now)
{
	u64 period = l->initial * tick(l);

	l->deadline = IDLE;
	if (mode(l) == LVT_TIMER_DEADLINE) {
		l->tsc_deadline = 0;
	} else if (mode(l) == LVT_TIMER_PERIODIC && period) {
		l->start += (now - l->start) / period * period;
		arm(l, l->start + period);
	}
	lapic_raise_lvt(l, LVT_TIMER);
}

static void expire(void *arg, u64 now)
{
	struct lapic *l = arg;

	pthread_mutex_lock(&l->lock);
	if (l->deadline <= now)
		fire(l, now);
	pthread_mutex_unlock(&l->lock);
}

void lapic_timer_init(struct lapic *l)
{
	l->timer = (struct timer){ .deadline = IDLE, .fire = expire, .arg = l };
	l->deadline = IDLE;
}

void lapic_timer_set_initial(struct lapic *l, u32 count)
{
	if (mode(l) == LVT_TIMER_DEADLINE)
		return;
	lapic_timer_stop(l);
	l->initial = count;
	l->start = clock_now(clock_of(l));
	if (count)
		arm(l, l->start + count * tick(l));
}

u32 lapic_timer_count(struct lapic *l)
{
	u64 gone;

	if (l->deadline == IDLE || mode(l) == LVT_TIMER_DEADLINE || !l->initial)
		return 0;
	gone = (clock_now(clock_of(l)) - l->start) / tick(l);
	if (mode(l) == LVT_TIMER_PERIODIC)
		return l->initial - (u32)(gone % l->initial);
	return gone < l->initial ? l->initial - (u32)gone : 0;
}

void lapic_timer_load(struct lapic *l, u32 count, u64 deadline, bool idle)
{
	u64 gone = (l->initial - MIN(count, l->initial)) * tick(l);

	lapic_timer_stop(l);
	if (mode(l) == LVT_TIMER_DEADLINE) {
		l->tsc_deadline = deadline;
		if (!idle)
			lapic_timer_set_deadline(l, deadline);
		return;
	}
	/* A periodic count of 0 is at its end, and begins again. */
	if (!count && mode(l) != LVT_TIMER_PERIODIC)
		return;
	if (!l->initial)
		return;
	l->start = clock_now(clock_of(l)) - (count ? gone : 0);
	l->deadline = l->start + l->initial * tick(l);
	if (!idle)
		arm(l, l->deadline);
}

/* The count goes on from where it is, at the new pace. */
void lapic_timer_set_divide(struct lapic *l, u32 value)
{
	u32 gone = l->initial - lapic_timer_count(l);

	l->divide = value & 0xb;
	if (l->deadline == IDLE || mode(l) == LVT_TIMER_DEADLINE)
		return;
	l->start = clock_now(clock_of(l)) - gone * tick(l);
	arm(l, l->start + l->initial * tick(l));
}

/* Into and out of deadline mode the timer is disarmed (11.5.4.1). */
void lapic_timer_mode_changed(struct lapic *l, u32 old)
{
	if ((old & LVT_TIMER_DEADLINE) == (mode(l) & LVT_TIMER_DEADLINE))
		return;
	lapic_timer_stop(l);
	l->tsc_deadline = 0;
	l->initial = 0;
}

u64 lapic_timer_get_deadline(struct lapic *l)
{
	return mode(l) == LVT_TIMER_DEADLINE ? l->tsc_deadline : 0;
}

/* One that has passed fires here and now: no other thread is needed for it. */
void lapic_timer_set_deadline(struct lapic *l, u64 tsc)
{
	u64 now = clock_now(clock_of(l)), now_tsc = now + (u64)l->v->tsc_offset;

	if (mode(l) != LVT_TIMER_DEADLINE)
		return;
	lapic_timer_stop(l);
	l->tsc_deadline = tsc;
	if (!tsc)
		return;
	if (tsc <= now_tsc)
		fire(l, now);
	else
		arm(l, MIN(tsc - now_tsc, IDLE - 1 - now) + now);
}
