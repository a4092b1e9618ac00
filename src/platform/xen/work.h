/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that somebody rings for and that is done soon after, on the thread that runs timers, however often it was rung for meanwhile. What
 * the guest's hypercalls and other locks' holders set off is done here. In a deterministic machine that is vCPU 0's thread.
 */
#pragma once
#include "machine/machine.h"

struct work {
	struct clock *clock;
	struct timer timer;
	_Atomic bool rung;
	void (*fn)(void *arg); /* no lock held */
	void *arg;
};

static inline void work_fire(void *arg, u64 now)
{
	struct work *w = arg;

	atomic_store(&w->rung, false);
	w->fn(w->arg);
}

static inline void work_init(struct work *w, struct machine *m, void (*fn)(void *arg), void *arg)
{
	*w = (struct work){
		.clock = m->clock, .timer = { .deadline = ~0ull, .fire = work_fire, .arg = w }, .fn = fn, .arg = arg
	};
}

/* Any thread, with any lock held; struct work as void, as a callback. */
static inline void work_ring(void *work)
{
	struct work *w = work;

	if (!atomic_exchange(&w->rung, true))
		timer_arm(w->clock, &w->timer, clock_now(w->clock));
}

/* fn may still be under way on the thread that runs timers: for that thread, and where there is none any more. */
static inline void work_cancel(struct work *w)
{
	if (w->clock)
		timer_cancel(w->clock, &w->timer);
}
