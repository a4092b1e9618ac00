/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports and their two ends (xen/event_channel.h). Raising a port marks it as its ABI has it, tells the vCPU that it is bound to,
 * and wakes vCPUs that poll.
 *
 * A vCPU that is told gets EV_INTR whether or not it has masked upcalls: it looks at its mask itself, between two instructions. So no
 * upcall is lost to a guest that unmasks by a plain store and then looks for what is pending.
 */
#include "platform/xen/events-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct vcpu_info *info_of(const struct xen_domain *d, unsigned cpu)
{
	return atomic_load_explicit(&d->cpu[cpu].info, memory_order_acquire);
}

/* ---- upcalls ---- */

void events_tell(struct xen_events *e, unsigned cpu)
{
	struct vcpu_info *info = info_of(e->d, cpu);

	if (info && !__atomic_exchange_n(&info->evtchn_upcall_pending, 1, __ATOMIC_SEQ_CST)) {
		e->told++;
		vcpu_post(e->d->machine->vcpu[cpu], EV_INTR);
	}
}

bool events_deliverable(const struct vcpu *v)
{
	const struct vcpu_info *info = info_of(xen_of(v), v->id);

	return info && __atomic_load_n(&info->evtchn_upcall_pending, __ATOMIC_SEQ_CST) &&
	       !__atomic_load_n(&info->evtchn_upcall_mask, __ATOMIC_RELAXED);
}

void events_recheck(struct vcpu *v)
{
	if (events_deliverable(v))
		vcpu_post(v, EV_INTR);
}

/* ---- 2-level ABI ---- */

#define WORD(port) ((port) / 64)
#define MASK(port) BIT((port) % 64)

static void select_2level(struct xen_events *e, u32 port)
{
	unsigned cpu = e->channel[port].cpu;
	struct vcpu_info *info = info_of(e->d, cpu);

	if (info &&
	    !(__atomic_fetch_or(&info->evtchn_pending_sel, BIT(WORD(port)), __ATOMIC_SEQ_CST) & BIT(WORD(port))))
		events_tell(e, cpu);
}

static void raise_2level(struct xen_events *e, u32 port)
{
	struct shared_info *s = e->d->shared;

	if (__atomic_fetch_or(&s->evtchn_pending[WORD(port)], MASK(port), __ATOMIC_SEQ_CST) & MASK(port))
		return;
	if (!(__atomic_load_n(&s->evtchn_mask[WORD(port)], __ATOMIC_SEQ_CST) & MASK(port)))
		select_2level(e, port);
}

static void clear_2level(struct xen_events *e, u32 port)
{
	__atomic_fetch_and(&e->d->shared->evtchn_pending[WORD(port)], ~MASK(port), __ATOMIC_SEQ_CST);
}

static bool pending_2level(struct xen_events *e, u32 port)
{
	return __atomic_load_n(&e->d->shared->evtchn_pending[WORD(port)], __ATOMIC_SEQ_CST) & MASK(port);
}

static void unmask_2level(struct xen_events *e, u32 port)
{
	u64 was = __atomic_fetch_and(&e->d->shared->evtchn_mask[WORD(port)], ~MASK(port), __ATOMIC_SEQ_CST);

	if (was & MASK(port) && pending_2level(e, port))
		select_2level(e, port);
}

const struct channel_abi abi_2level = { raise_2level, clear_2level, unmask_2level, pending_2level };

/* ---- raising ---- */

/* They look for themselves whether it was for them. The mark was set before we look who polls, and they look for marks after
 * they have said that they poll: one of us sees the other. */
static void wake_pollers(struct xen_events *e)
{
	u64 polling = atomic_load(&e->polling);

	for (; polling; polling &= polling - 1)
		vcpu_post(e->d->machine->vcpu[__builtin_ctzll(polling)], EV_INTR);
}

void events_mark(struct xen_events *e, u32 port)
{
	e->raised++;
	abi_of(e)->raise(e, port);
	wake_pollers(e);
}

void events_raise(struct xen_domain *d, u32 port)
{
	struct xen_events *e = d->events;

	pthread_mutex_lock(&e->lock);
	if (port < EVENTS_MAX && e->channel[port].state == CHANNEL_BACKEND)
		events_mark(e, port);
	pthread_mutex_unlock(&e->lock);
}

void events_raise_virq(struct vcpu *v, unsigned virq)
{
	struct xen_events *e = xen_of(v)->events;

	pthread_mutex_lock(&e->lock);
	if (e->virq[v->id][virq])
		events_mark(e, e->virq[v->id][virq]);
	pthread_mutex_unlock(&e->lock);
}

/* ---- ports ---- */

int events_take_port(struct xen_events *e, enum channel_state state)
{
	for (unsigned p = 1; p < EVENTS_MAX; p++) {
		if (e->channel[p].state == CHANNEL_CLOSED) {
			e->channel[p] = (struct channel){ .state = (u8)state,
							  .priority = EVTCHN_FIFO_PRIORITY_DEFAULT,
							  .last_priority = e->channel[p].last_priority,
							  .last_cpu = e->channel[p].last_cpu };
			return (int)p;
		}
	}
	return -ENOSPC;
}

struct channel *events_channel(struct xen_events *e, u32 port)
{
	return port && port < EVENTS_MAX && e->channel[port].state > CHANNEL_LEFT ? &e->channel[port] : NULL;
}

int events_offer(struct xen_domain *d, void (*notify)(void *arg), void *arg)
{
	struct xen_events *e = d->events;
	int port;

	pthread_mutex_lock(&e->lock);
	port = events_take_port(e, CHANNEL_BACKEND);
	if (port > 0) {
		e->channel[port].notify = notify;
		e->channel[port].arg = arg;
	}
	pthread_mutex_unlock(&e->lock);
	return port;
}

int events_bind(struct xen_domain *d, u32 port, void (*notify)(void *arg), void *arg)
{
	struct xen_events *e = d->events;
	struct channel *c;
	int r = -EINVAL;

	pthread_mutex_lock(&e->lock);
	c = events_channel(e, port);
	if (c && c->state == CHANNEL_UNBOUND && !c->remote) {
		c->state = CHANNEL_BACKEND;
		c->notify = notify;
		c->arg = arg;
		r = 0;
	}
	pthread_mutex_unlock(&e->lock);
	return r;
}

void events_unbind(struct xen_domain *d, u32 port)
{
	struct xen_events *e = d->events;
	struct channel *c = &e->channel[port];

	pthread_mutex_lock(&e->lock);
	if (c->state == CHANNEL_LEFT)
		c->state = CHANNEL_CLOSED;
	else if (c->state == CHANNEL_BACKEND)
		c->state = CHANNEL_UNBOUND;
	c->notify = NULL;
	pthread_mutex_unlock(&e->lock);
}

void events_close(struct xen_events *e, u32 port)
{
	struct channel *c = &e->channel[port];

	if (c->state == CHANNEL_VIRQ)
		e->virq[events_virq_per_cpu(c->virq) ? c->cpu : 0][c->virq] = 0;
	abi_of(e)->clear(e, port);
	c->pending = false;
	c->state = c->state == CHANNEL_BACKEND || c->state == CHANNEL_LEFT ? CHANNEL_LEFT : CHANNEL_CLOSED;
}

/* ---- SCHEDOP_poll ---- */

static void poll_time(void *arg, u64 now)
{
	struct poll *p = arg;

	atomic_store(&p->over, true);
	vcpu_post(p->v, EV_INTR);
}

static bool poll_over(struct xen_events *e, struct poll *p)
{
	if (atomic_load(&p->over))
		return true;
	for (unsigned i = 0; i < p->n; i++)
		if (abi_of(e)->pending(e, p->port[i]))
			return true;
	return false;
}

static bool polls(struct xen_events *e, const struct vcpu *v)
{
	return atomic_load_explicit(&e->polling, memory_order_relaxed) & BIT(v->id);
}

static void poll_end(struct xen_events *e, struct vcpu *v)
{
	timer_cancel(e->d->machine->clock, &e->poll[v->id].timer);
	atomic_fetch_and(&e->polling, ~BIT(v->id));
}

bool events_pending(struct vcpu *v)
{
	struct xen_events *e = xen_of(v)->events;
	bool deliverable = events_deliverable(v);

	if (!polls(e, v))
		return deliverable;
	if (!deliverable && !poll_over(e, &e->poll[v->id]))
		return false;
	poll_end(e, v);
	v->halted = false;
	return true;
}

s64 events_poll(struct vcpu *v, u64 ports_gla, unsigned n, u64 timeout)
{
	struct xen_events *e = xen_of(v)->events;
	struct poll *p = &e->poll[v->id];
	u32 port[POLL_MAX];

	if (n > POLL_MAX)
		return -EINVAL;
	if (guest_read(v, ports_gla, port, n * sizeof(port[0])))
		return -EFAULT;
	for (unsigned i = 0; i < n; i++)
		if (port[i] >= EVENTS_MAX)
			return -EINVAL;
	poll_end(e, v); /* one that something else than an event has ended */
	memcpy(p->port, port, n * sizeof(port[0]));
	p->n = n;
	atomic_store(&p->over, false);
	atomic_fetch_or(&e->polling, BIT(v->id));
	v->halted = true;
	if (!events_pending(v) && timeout)
		timer_arm(e->d->machine->clock, &p->timer, timeout);
	return 0;
}

/* ---- making and releasing ---- */

static void timer_fires(void *arg, u64 now)
{
	events_raise_virq(arg, VIRQ_TIMER);
}

int events_create(struct xen_domain *d, struct error *err)
{
	struct xen_events *e = calloc(1, sizeof(*e));

	if (!e)
		return error_set(err, ENOMEM, "no memory for event channels");
	e->d = d;
	e->abi = &abi_2level;
	pthread_mutex_init(&e->lock, NULL);
	for (unsigned i = 0; i < d->cpus; i++) {
		struct vcpu *v = d->machine->vcpu[i];

		e->poll[i].timer = (struct timer){ .deadline = ~0ull, .fire = poll_time, .arg = &e->poll[i] };
		e->poll[i].v = v;
		d->cpu[i].singleshot = (struct timer){ .deadline = ~0ull, .fire = timer_fires, .arg = v };
	}
	d->events = e;
	return 0;
}

void events_reset_cpu(struct xen_domain *d, unsigned cpu)
{
	timer_cancel(d->machine->clock, &d->cpu[cpu].singleshot);
	poll_end(d->events, d->machine->vcpu[cpu]);
}

void events_destroy(struct xen_domain *d)
{
	struct xen_events *e = d->events;

	if (!e)
		return;
	for (unsigned i = 0; i < d->cpus; i++)
		events_reset_cpu(d, i);
	fifo_reset(e);
	pthread_mutex_destroy(&e->lock);
	free(e);
	d->events = NULL;
}
