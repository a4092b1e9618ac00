/* SPDX-License-Identifier: Apache-2.0 */
/* The hypercall event_channel_op: what a guest asks of its ports (xen/event_channel.h), refused as Xen does. */
#include <errno.h>

#include "platform/xen/events-internal.h"

/* ---- the hypercall: sub-operations, lock held ---- */

static bool is_us(domid_t dom)
{
	return dom == DOMID_SELF || dom == XEN_DOMID;
}

static int bind_virq(struct xen_events *e, void *arg)
{
	struct evtchn_bind_virq *a = arg;
	int port;

	if (a->virq >= NR_VIRQS || (a->vcpu && !events_virq_per_cpu(a->virq)))
		return -EINVAL;
	if (a->vcpu >= e->d->cpus)
		return -ENOENT;
	if (e->virq[a->vcpu][a->virq])
		return -EEXIST;
	port = events_take_port(e, CHANNEL_VIRQ);
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
	port = events_take_port(e, CHANNEL_IPI);
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
	port = events_take_port(e, CHANNEL_UNBOUND);
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

	if (!events_channel(e, a->port))
		return -EINVAL;
	events_close(e, a->port);
	return 0;
}

static int op_send(struct xen_events *e, void *arg)
{
	u32 port = ((const struct evtchn_send *)arg)->port;
	struct channel *c = events_channel(e, port);

	if (!c || c->state == CHANNEL_VIRQ)
		return -EINVAL;
	e->sent++;
	if (c->state == CHANNEL_IPI)
		events_mark(e, port);
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
	struct channel *c = events_channel(e, a->port);

	if (a->vcpu >= e->d->cpus)
		return -ENOENT;
	if (!c || c->state == CHANNEL_IPI || (c->state == CHANNEL_VIRQ && events_virq_per_cpu(c->virq)))
		return -EINVAL;
	c->cpu = (u8)a->vcpu;
	return 0;
}

static int op_unmask(struct xen_events *e, void *arg)
{
	const struct evtchn_unmask *a = arg;

	if (!events_channel(e, a->port))
		return -EINVAL;
	abi_of(e)->unmask(e, a->port);
	return 0;
}

static int set_priority(struct xen_events *e, void *arg)
{
	const struct evtchn_set_priority *a = arg;
	struct channel *c = events_channel(e, a->port);

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
			events_close(e, p);
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
