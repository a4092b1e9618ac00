/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual time and the timers that hang on it. Timers are few (a handful a device, one a local APIC), so they are a
 * sorted list under one mutex, which is a leaf: no callback runs under it. Reading the time takes no lock.
 *
 * The timerfd is programmed only when the first deadline moves closer; one that was cancelled or put off costs a
 * spurious wake-up instead of a system call each time.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "machine/clock.h"

#define IDLE		 (~0ull)
/* 2024-01-01 00:00:00 UTC: deterministic machines all begin on one day. */
#define FIXED_WALL_START 1704067200ull
/* Bounds the time spent in one clock_run_timers() however the guest programs its timers. */
#define FIRE_AT_MOST	 256

struct clock {
	bool deterministic;
	_Atomic u64 virtual_now; /* deterministic */
	_Atomic u64 start; /* CLOCK_MONOTONIC at time 0, as if the clock had never stood */
	_Atomic u64 stopped; /* time at which it stands; IDLE while it goes */
	u64 wall_start;
	int fd;
	pthread_mutex_t lock;
	struct timer *head;
	u64 programmed; /* deadline that the timerfd is set to */
	void (*earlier)(void *arg);
	void *earlier_arg;
};

static u64 host_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
}

struct clock *clock_new(bool deterministic)
{
	struct clock *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->deterministic = deterministic;
	c->fd = -1;
	c->programmed = IDLE;
	c->stopped = IDLE;
	c->start = host_now();
	c->wall_start = deterministic ? FIXED_WALL_START : (u64)time(NULL);
	pthread_mutex_init(&c->lock, NULL);
	if (!deterministic) {
		c->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		if (c->fd < 0) {
			clock_free(c);
			return NULL;
		}
	}
	return c;
}

void clock_free(struct clock *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

bool clock_deterministic(const struct clock *c)
{
	return c->deterministic;
}

u64 clock_now(struct clock *c)
{
	if (c->deterministic)
		return atomic_load_explicit(&c->virtual_now, memory_order_relaxed);
	u64 stopped = atomic_load(&c->stopped);
	if (unlikely(stopped != IDLE))
		return stopped;
	return host_now() - atomic_load_explicit(&c->start, memory_order_relaxed);
}

u64 clock_wall_start(const struct clock *c)
{
	return c->wall_start;
}

int clock_fd(const struct clock *c)
{
	return c->fd;
}

void clock_set(struct clock *c, u64 now)
{
	if (now > atomic_load_explicit(&c->virtual_now, memory_order_relaxed))
		atomic_store_explicit(&c->virtual_now, now, memory_order_relaxed);
}

void clock_rewind(struct clock *c, u64 now)
{
	atomic_store_explicit(&c->virtual_now, now, memory_order_relaxed);
}

void clock_on_earlier(struct clock *c, void (*fn)(void *arg), void *arg)
{
	c->earlier = fn;
	c->earlier_arg = arg;
}

/* Called locked. An absolute time of 0 would disarm; the sum is never 0, and a far deadline is capped so as not to
 * wrap. */
static void program(struct clock *c, u64 deadline)
{
	struct itimerspec at = { 0 };
	u64 t = c->start + MIN(deadline, BIT(62));

	if (c->stopped != IDLE)
		deadline = IDLE;
	c->programmed = deadline;
	if (deadline != IDLE) {
		at.it_value.tv_sec = (time_t)(t / NSEC_PER_SEC);
		at.it_value.tv_nsec = (long)(t % NSEC_PER_SEC);
	}
	timerfd_settime(c->fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void unlink_timer(struct clock *c, struct timer *t)
{
	if (t->deadline == IDLE)
		return;
	for (struct timer **p = &c->head; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			break;
		}
	}
	t->deadline = IDLE;
	t->next = NULL;
}

void timer_arm(struct clock *c, struct timer *t, u64 deadline)
{
	struct timer **p;
	bool earlier;

	pthread_mutex_lock(&c->lock);
	unlink_timer(c, t);
	t->deadline = MIN(deadline, IDLE - 1);
	for (p = &c->head; *p && (*p)->deadline <= t->deadline; p = &(*p)->next)
		;
	t->next = *p;
	*p = t;
	earlier = c->head == t;
	if (!c->deterministic && t->deadline < c->programmed)
		program(c, t->deadline);
	pthread_mutex_unlock(&c->lock);
	if (earlier && c->earlier)
		c->earlier(c->earlier_arg);
}

void timer_cancel(struct clock *c, struct timer *t)
{
	pthread_mutex_lock(&c->lock);
	unlink_timer(c, t);
	pthread_mutex_unlock(&c->lock);
}

void clock_stop(struct clock *c)
{
	if (c->deterministic)
		return;
	pthread_mutex_lock(&c->lock);
	if (c->stopped == IDLE) {
		c->stopped = clock_now(c);
		program(c, IDLE);
	}
	pthread_mutex_unlock(&c->lock);
}

void clock_start(struct clock *c)
{
	if (c->deterministic)
		return;
	pthread_mutex_lock(&c->lock);
	if (c->stopped != IDLE) {
		c->start = host_now() - c->stopped;
		c->stopped = IDLE;
		program(c, c->head ? c->head->deadline : IDLE);
	}
	pthread_mutex_unlock(&c->lock);
}

u64 clock_next_deadline(struct clock *c)
{
	u64 deadline;

	pthread_mutex_lock(&c->lock);
	deadline = c->head ? c->head->deadline : IDLE;
	pthread_mutex_unlock(&c->lock);
	return deadline;
}

void clock_run_timers(struct clock *c)
{
	u64 now = clock_now(c);

	pthread_mutex_lock(&c->lock);
	for (unsigned n = 0; n < FIRE_AT_MOST && c->head && c->head->deadline <= now; n++) {
		struct timer *t = c->head;
		void (*fire)(void *, u64) = t->fire;
		void *arg = t->arg;

		unlink_timer(c, t);
		pthread_mutex_unlock(&c->lock);
		fire(arg, now);
		pthread_mutex_lock(&c->lock);
	}
	/* Also clears the descriptor's readiness. */
	if (!c->deterministic)
		program(c, c->head ? c->head->deadline : IDLE);
	pthread_mutex_unlock(&c->lock);
}
