/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holding, releasing and stepping vCPUs, breakpoints, reset. Everything under machine.lock; a vCPU thread passes
 * control_enter() and control_leave() around each stay in its engine, and whoever holds the machine posts EV_STOP and waits
 * until none is left inside.
 */
#include "machine/control.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- vCPU threads ---- */

static bool may_enter(const struct vcpu *v)
{
	const struct machine *m = v->machine;

	return !m->control.user && !m->control.looks && m->control.allowed >> v->id & 1;
}

bool control_enter(struct vcpu *v)
{
	struct machine *m = v->machine;
	bool enters;

	pthread_mutex_lock(&m->lock);
	while (m->end == END_NONE && !may_enter(v))
		pthread_cond_wait(&m->changed, &m->lock);
	enters = m->end == END_NONE;
	m->control.roaming += enters;
	pthread_mutex_unlock(&m->lock);
	return enters;
}

static void post_stop(struct machine *m)
{
	for (unsigned i = 0; i < m->config.cpus; i++)
		vcpu_post(m->vcpu[i], EV_STOP);
}

void control_leave(struct vcpu *v)
{
	struct machine *m = v->machine;
	u64 one = 1;
	bool stopped;

	pthread_mutex_lock(&m->lock);
	m->control.roaming--;
	stopped = v->debug.stop;
	if (stopped) {
		m->control.user = true;
		post_stop(m);
	}
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	/* A counter at its maximum is readable as well. */
	if (stopped && write(m->control.stop_fd, &one, sizeof(one)) < 0)
		return;
}

/* ---- holding ---- */

void machine_hold(struct machine *m, enum hold why)
{
	pthread_mutex_lock(&m->lock);
	if (why == HOLD_USER)
		m->control.user = true;
	m->control.looks += why == HOLD_LOOK;
	post_stop(m);
	while (m->control.roaming)
		pthread_cond_wait(&m->changed, &m->lock);
	clock_stop(m->clock);
	pthread_mutex_unlock(&m->lock);
}

void machine_release(struct machine *m, enum hold why)
{
	pthread_mutex_lock(&m->lock);
	if (why == HOLD_USER)
		m->control.user = false;
	m->control.looks -= why == HOLD_LOOK;
	if (!m->control.user && !m->control.looks)
		clock_start(m->clock);
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

void machine_go(struct machine *m, u64 run, u64 step, bool pass)
{
	machine_hold(m, HOLD_USER);
	for (unsigned i = 0; i < m->config.cpus; i++) {
		struct vcpu_debug *d = &m->vcpu[i]->debug;

		d->pass = pass && d->stop == STOP_BREAK;
		d->step = step >> i & 1;
		d->stop = STOP_NONE;
	}
	pthread_mutex_lock(&m->lock);
	m->control.allowed = run | step;
	pthread_mutex_unlock(&m->lock);
	machine_release(m, HOLD_USER);
}

/* ---- observers ---- */

void machine_observe_stops(struct machine *m, struct stop_observer *o)
{
	o->next = m->control.observers;
	m->control.observers = o;
}

void machine_unobserve_stops(struct machine *m, struct stop_observer *o)
{
	for (struct stop_observer **p = &m->control.observers; *p; p = &(*p)->next) {
		if (*p == o) {
			*p = o->next;
			break;
		}
	}
}

void machine_stop(struct machine *m, const struct stop_observer *except)
{
	machine_hold(m, HOLD_USER);
	for (struct stop_observer *o = m->control.observers; o; o = o->next)
		if (o != except)
			o->stopped(o->arg);
}

static void on_stop(void *arg, u32 events)
{
	struct machine *m = arg;
	u64 n;

	/* Whoever has let the machine go since has seen why it stood. */
	if (read(m->control.stop_fd, &n, sizeof(n)) == sizeof(n) && machine_held(m) && m->end == END_NONE)
		machine_stop(m, NULL);
}

int control_create(struct machine *m, struct error *err)
{
	m->control.allowed = ALL_VCPUS;
	m->control.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->control.stop_fd < 0)
		return error_set(err, errno, "cannot make an event descriptor: %s", strerror(errno));
	return loop_watch(m->loop, m->control.stop_fd, EPOLLIN, on_stop, m, err);
}

void control_destroy(struct machine *m)
{
	if (m->control.stop_fd >= 0)
		close(m->control.stop_fd);
}

/* ---- reset ---- */

static void reset_vcpu(struct vcpu *v)
{
	vcpu_reset(v);
	v->wait_sipi = v->id != 0;
	v->debug.stop = STOP_NONE;
	/* What is for the engine stays. */
	atomic_fetch_and(&v->events, ~(EV_INTR | EV_NMI | EV_INIT | EV_SIPI));
}

/* The loader writes all over RAM by pointers. */
static void forget_code(struct vcpu *v)
{
	struct machine *m = v->machine;

	if (!atomic_load(&m->running) || !m->vcpu_ops->memory_changed)
		return;
	m->vcpu_ops->memory_changed(v, 0, m->low_size);
	if (m->high_size)
		m->vcpu_ops->memory_changed(v, HIGH_RAM_BASE, m->high_size);
}

int machine_reset(struct machine *m)
{
	struct error err = { 0 };
	int r = 0;

	if (!m->boot)
		return -ENOSYS;
	machine_hold(m, HOLD_LOOK);
	for (unsigned i = 0; i < m->config.cpus; i++)
		reset_vcpu(m->vcpu[i]);
	if (m->boot(m->boot_arg, &err)) {
		error_wrap(&err, "cannot reset the machine");
		machine_fail(m, &err);
		r = err.code;
	}
	for (unsigned i = 0; i < m->config.cpus; i++) {
		machine_vcpu_changed(m->vcpu[i]);
		forget_code(m->vcpu[i]);
	}
	machine_release(m, HOLD_LOOK);
	return r;
}

void machine_vcpu_changed(struct vcpu *v)
{
	vcpu_update_mode(v);
	vcpu_post(v, EV_TLB);
}

/* ---- breakpoints and watchpoints ---- */

/* Names a set: sums do not depend on order, so taking a point out and putting it back ends where it began. */
static u64 point_number(const struct debug_point *p)
{
	u64 x = (p->gla + 1) * 0x9e3779b97f4a7c15ull ^ p->len << 48 ^ (u64)p->kind << 60;

	x = (x ^ x >> 32) * 0xd6e8feb86659fd93ull;
	return (x ^ x >> 32) | 1;
}

static u64 *set_of(struct machine *m, const struct debug_point *p)
{
	return point_breaks(p) ? &m->debug.breaks : &m->debug.watches;
}

static struct debug_point *find(struct machine *m, const struct debug_point *p)
{
	for (unsigned i = 0; i < m->debug.count; i++) {
		struct debug_point *q = &m->debug.point[i];

		if (q->gla == p->gla && q->len == p->len && q->kind == p->kind)
			return q;
	}
	return NULL;
}

int machine_add_point(struct machine *m, const struct debug_point *p)
{
	if (p->kind > POINT_ACCESS || !p->len || p->gla + (p->len - 1) < p->gla)
		return -EINVAL;
	if (find(m, p))
		return 0;
	if (m->debug.count == MACHINE_MAX_POINTS)
		return -ENOSPC;
	m->debug.point[m->debug.count++] = *p;
	*set_of(m, p) += point_number(p);
	return 0;
}

void machine_remove_point(struct machine *m, const struct debug_point *p)
{
	struct debug_point *q = find(m, p);

	if (!q)
		return;
	*set_of(m, p) -= point_number(p);
	*q = m->debug.point[--m->debug.count];
}

void machine_clear_points(struct machine *m)
{
	m->debug.count = 0;
	m->debug.breaks = m->debug.watches = 0;
}

bool machine_breaks_at(const struct machine *m, u64 gla)
{
	for (unsigned i = 0; i < m->debug.count; i++)
		if (m->debug.point[i].gla == gla && point_breaks(&m->debug.point[i]))
			return true;
	return false;
}

bool machine_breaks_at_offset(const struct machine *m, unsigned offset)
{
	for (unsigned i = 0; i < m->debug.count; i++)
		if ((m->debug.point[i].gla & ~PAGE_MASK) == offset && point_breaks(&m->debug.point[i]))
			return true;
	return false;
}
