/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's one clock and its timers. Host-paced: nanoseconds since the machine started, from CLOCK_MONOTONIC; timers
 * fire on the I/O thread; while the machine is held (control.h) it stands. Deterministic: one nanosecond an executed instruction of vCPU 0, plus what halts skip; timers fire
 * on vCPU 0's thread, between instructions. Functions are thread-safe unless they say otherwise.
 */
#pragma once
#include "util/types.h"

#define NSEC_PER_SEC 1000000000ull
/* Guest TSC and local APIC timer tick once a nanosecond: virtual time and TSC are one number. */
#define CLOCK_TSC_HZ 1000000000ull

struct clock;
struct timer {
	u64 deadline; /* clock_now() at which it fires; ~0 while idle */
	void (*fire)(void *arg, u64 now);
	void *arg;
	struct timer *next; /* the clock's list, by deadline */
};

struct clock *clock_new(bool deterministic);
void clock_free(struct clock *c);
bool clock_deterministic(const struct clock *c);
u64 clock_now(struct clock *c);
/* Seconds since 1970 that the guest's RTC starts from: the host's time, or a fixed one in a deterministic machine. */
u64 clock_wall_start(const struct clock *c);

/* (Re)arms; a deadline in the past fires at once, from the thread that runs timers, never from within this call. fire()
 * runs without the clock's lock and may arm timers, its own too. */
void timer_arm(struct clock *c, struct timer *t, u64 deadline);
/* After it returns the timer is idle, but fire() may still be under way on the thread that runs timers. */
void timer_cancel(struct clock *c, struct timer *t);

/* For the thread that runs timers. */
u64 clock_next_deadline(struct clock *c); /* ~0 if no timer is armed */
void clock_run_timers(struct clock *c); /* fires all that are due */
int clock_fd(const struct clock *c); /* host-paced: a timerfd that is readable when the first timer is due */

/* Host-paced: time stands from clock_stop() to clock_start(), and no timer fires; both twice are as once. A deterministic clock
 * stands by itself while nothing is executed. */
void clock_stop(struct clock *c);
void clock_start(struct clock *c);

/* Deterministic machines, vCPU 0's thread only: virtual time so far; advances it to at least `now`. */
void clock_set(struct clock *c, u64 now);
void clock_rewind(struct clock *c,
		  u64 now); /* to an earlier time, where something is done once more; timers stay as they are */
/* Deterministic machines: fn is called, from within timer_arm, when the first deadline has moved closer; it must not block.
 * The machine posts EV_TIMER to vCPU 0: time to run due timers and to look at clock_next_deadline() again. */
void clock_on_earlier(struct clock *c, void (*fn)(void *arg), void *arg);
