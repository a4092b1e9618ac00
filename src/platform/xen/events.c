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

static const struct channel_abi *abi_of(struct xen_events *e)
{
	return atomic_load_explicit(&e->abi, memory_order_acquire);
}

/* They look for themselves whether it was for them. The mark was set before we look who polls, and they look for marks after
 * they have said that they poll: one of us sees the other. */
static void wake_pollers(struct xen_events *e)
{
	u64 polling = atomic_load(&e->polling);

	for (; polling; polling &= polling - 1)
		vcpu_post(e->d->machine->vcpu[__builtin_ctzll(polling)], EV_INTR);
}

static void raise(struct xen_events *e, u32 port)
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
		raise(e, port);
	pthread_mutex_unlock(&e->lock);
}

void events_raise_virq(struct vcpu *v, unsigned virq)
{
	struct xen_events *e = xen_of(v)->events;

	pthread_mutex_lock(&e->lock);
	if (e->virq[v->id][virq])
		raise(e, e->virq[v->id][virq]);
	pthread_mutex_unlock(&e->lock);
}

/* ---- ports ---- */

/* A fresh one, told on vCPU 0; -ENOSPC. Port 0 is none. */
static int take_port(struct xen_events *e, enum channel_state state)
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

static struct channel *channel_of(struct xen_events *e, u32 port)
{
	return port && port < EVENTS_MAX && e->channel[port].state > CHANNEL_LEFT ? &e->channel[port] : NULL;
}

int events_offer(struct xen_domain *d, void (*notify)(void *arg), void *arg)
{
	struct xen_events *e = d->events;
	int port;

	pthread_mutex_lock(&e->lock);
	port = take_port(e, CHANNEL_BACKEND);
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
	c = channel_of(e, port);
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

/* Each of a vCPU's own, or the domain's, and then told on vCPU 0 first. */
static bool virq_is_per_cpu(u32 virq)
{
	return virq == VIRQ_TIMER || virq == VIRQ_DEBUG || virq == VIRQ_XENOPROF || virq == VIRQ_XENPMU;
}

static void close_port(struct xen_events *e, u32 port)
{
	struct channel *c = &e->channel[port];

	if (c->state == CHANNEL_VIRQ)
		e->virq[virq_is_per_cpu(c->virq) ? c->cpu : 0][c->virq] = 0;
	abi_of(e)->clear(e, port);
	c->pending = false;
	c->state = c->state == CHANNEL_BACKEND || c->state == CHANNEL_LEFT ? CHANNEL_LEFT : CHANNEL_CLOSED;
}

/* ---- the hypercall: sub-operations, lock held ---- */

static bool is_us(domid_t dom)
{
	return dom == DOMID_SELF || dom == XEN_DOMID;
}

static int bind_virq(struct xen_events *e, void *arg)
{
	struct evtchn_bind_virq *a = arg;
	int port;

	if (a->virq >= NR_VIRQS || (a->vcpu && !virq_is_per_cpu(a->virq)))
		return -EINVAL;
	if (a->vcpu >= e->d->cpus)
		return -ENOENT;
	if (e->virq[a->vcpu][a->virq])
		return -EEXIST;
	port = take_port(e, CHANNEL_VIRQ);
	if (port < 0)
		return port;
	e->channel[port].virq = (u8)a->virq;
	e->channel[port].cpu = (u8)a->vcpu;
	e->virq[a->vcpu][a->virq] = (u16)port;
	a->port = (u32)port;
	return 0;
}

static int bind_ipi(struct xen_events *e, void *arg)
{
	struct evtchn_bind_ipi *a = arg;
	int port;

	if (a->vcpu >= e->d->cpus)
		return -ENOENT;
	port = take_port(e, CHANNEL_IPI);
	if (port < 0)
		return port;
	e->channel[port].cpu = (u8)a->vcpu;
	a->port = (u32)port;
	return 0;
}

static int alloc_unbound(struct xen_events *e, void *arg)
{
	struct evtchn_alloc_unbound *a = arg;
	int port;

	if (!is_us(a->dom))
		return a->dom ? -ESRCH : -EPERM;
	port = take_port(e, CHANNEL_UNBOUND);
	if (port < 0)
		return port;
	e->channel[port].remote = a->remote_dom == DOMID_SELF ? XEN_DOMID : a->remote_dom;
	a->port = (u32)port;
	return 0;
}

/* Domain 0 has no port that would wait for us, and there is no other domain. */
static int bind_interdomain(struct xen_events *e, void *arg)
{
	const struct evtchn_bind_interdomain *a = arg;

	return is_us(a->remote_dom) || !a->remote_dom ? -EINVAL : -ESRCH;
}

static int bind_pirq(struct xen_events *e, void *arg)
{
	return -EPERM;
}

static int op_close(struct xen_events *e, void *arg)
{
	const struct evtchn_close *a = arg;

	if (!channel_of(e, a->port))
		return -EINVAL;
	close_port(e, a->port);
	return 0;
}

static int op_send(struct xen_events *e, void *arg)
{
	u32 port = ((const struct evtchn_send *)arg)->port;
	struct channel *c = channel_of(e, port);

	if (!c || c->state == CHANNEL_VIRQ)
		return -EINVAL;
	e->sent++;
	if (c->state == CHANNEL_IPI)
		raise(e, port);
	else if (c->state == CHANNEL_BACKEND)
		c->notify(c->arg);
	return 0;
}

static int op_status(struct xen_events *e, void *arg)
{
	static const u8 status[] = {
		[CHANNEL_CLOSED] = EVTCHNSTAT_closed,	[CHANNEL_LEFT] = EVTCHNSTAT_closed,
		[CHANNEL_UNBOUND] = EVTCHNSTAT_unbound, [CHANNEL_BACKEND] = EVTCHNSTAT_interdomain,
		[CHANNEL_VIRQ] = EVTCHNSTAT_virq,	[CHANNEL_IPI] = EVTCHNSTAT_ipi,
	};
	struct evtchn_status *a = arg;
	const struct channel *c;

	if (!is_us(a->dom))
		return a->dom ? -ESRCH : -EPERM;
	if (a->port >= EVENTS_MAX)
		return -EINVAL;
	c = &e->channel[a->port];
	a->status = status[c->state];
	a->vcpu = c->cpu;
	if (c->state == CHANNEL_UNBOUND)
		a->u.unbound.dom = c->remote;
	else if (c->state == CHANNEL_VIRQ)
		a->u.virq = c->virq;
	else if (c->state == CHANNEL_BACKEND) {
		a->u.interdomain.dom = 0;
		a->u.interdomain.port = a->port;
	}
	return 0;
}

static int bind_vcpu(struct xen_events *e, void *arg)
{
	const struct evtchn_bind_vcpu *a = arg;
	struct channel *c = channel_of(e, a->port);

	if (a->vcpu >= e->d->cpus)
		return -ENOENT;
	if (!c || c->state == CHANNEL_IPI || (c->state == CHANNEL_VIRQ && virq_is_per_cpu(c->virq)))
		return -EINVAL;
	c->cpu = (u8)a->vcpu;
	return 0;
}

static int op_unmask(struct xen_events *e, void *arg)
{
	const struct evtchn_unmask *a = arg;

	if (!channel_of(e, a->port))
		return -EINVAL;
	abi_of(e)->unmask(e, a->port);
	return 0;
}

static int set_priority(struct xen_events *e, void *arg)
{
	const struct evtchn_set_priority *a = arg;
	struct channel *c = channel_of(e, a->port);

	if (abi_of(e) != &abi_fifo)
		return -ENOSYS;
	if (!c || a->priority > EVTCHN_FIFO_PRIORITY_MIN)
		return -EINVAL;
	c->priority = (u8)a->priority;
	return 0;
}

/* ---- those that take the lock themselves, as they get frames or give them back ---- */

static int op_reset(struct xen_events *e, void *arg)
{
	const struct evtchn_reset *a = arg;

	if (!is_us(a->dom))
		return a->dom ? -ESRCH : -EPERM;
	pthread_mutex_lock(&e->lock);
	for (u32 p = 1; p < EVENTS_MAX; p++)
		if (e->channel[p].state != CHANNEL_CLOSED)
			close_port(e, p);
	pthread_mutex_unlock(&e->lock);
	fifo_reset(e);
	return 0;
}

static const struct op {
	u8 size;
	bool answers; /* the argument is written back */
	bool locks; /* itself */
	int (*fn)(struct xen_events *e, void *arg);
} ops[] = {
	[EVTCHNOP_bind_interdomain] = { sizeof(struct evtchn_bind_interdomain), true, false, bind_interdomain },
	[EVTCHNOP_bind_virq] = { sizeof(struct evtchn_bind_virq), true, false, bind_virq },
	[EVTCHNOP_bind_pirq] = { sizeof(struct evtchn_bind_pirq), true, false, bind_pirq },
	[EVTCHNOP_close] = { sizeof(struct evtchn_close), false, false, op_close },
	[EVTCHNOP_send] = { sizeof(struct evtchn_send), false, false, op_send },
	[EVTCHNOP_status] = { sizeof(struct evtchn_status), true, false, op_status },
	[EVTCHNOP_alloc_unbound] = { sizeof(struct evtchn_alloc_unbound), true, false, alloc_unbound },
	[EVTCHNOP_bind_ipi] = { sizeof(struct evtchn_bind_ipi), true, false, bind_ipi },
	[EVTCHNOP_bind_vcpu] = { sizeof(struct evtchn_bind_vcpu), false, false, bind_vcpu },
	[EVTCHNOP_unmask] = { sizeof(struct evtchn_unmask), false, false, op_unmask },
	[EVTCHNOP_reset] = { sizeof(struct evtchn_reset), false, true, op_reset },
	[EVTCHNOP_init_control] = { sizeof(struct evtchn_init_control), true, true, fifo_init_control },
	[EVTCHNOP_expand_array] = { sizeof(struct evtchn_expand_array), false, true, fifo_expand_array },
	[EVTCHNOP_set_priority] = { sizeof(struct evtchn_set_priority), false, false, set_priority },
};

/* (cmd, argument's address). A port whose number then cannot be written back stays the guest's, as with Xen. */
s64 hypercall_event_channel_op(struct vcpu *v, const u64 arg[6])
{
	struct xen_events *e = xen_of(v)->events;
	u64 a[8] = { 0 };
	const struct op *op;
	int r;

	if (arg[0] >= ARRAY_SIZE(ops))
		return -ENOSYS;
	op = &ops[arg[0]];
	if (guest_read(v, arg[1], a, op->size))
		return -EFAULT;
	if (!op->locks)
		pthread_mutex_lock(&e->lock);
	r = op->fn(e, a);
	if (!op->locks)
		pthread_mutex_unlock(&e->lock);
	if (!r && op->answers && guest_write(v, arg[1], a, op->size))
		r = -EFAULT;
	return r;
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
