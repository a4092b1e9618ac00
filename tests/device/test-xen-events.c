/* SPDX-License-Identifier: Apache-2.0 */
/* Event channels of a PV guest: ports of each kind, both ABIs, polling, timers, and numbers that make no sense. */
#include "xen-guest.h"

#include <xen/event_channel.h>
#include <xen/vcpu.h>

#define CPUS 4

static unsigned heard;

static void hear(void *arg)
{
	heard++;
}

static int setup(void **state)
{
	guest_start(CPUS);
	heard = 0;
	return 0;
}

static int teardown(void **state)
{
	guest_stop();
	return 0;
}

static u32 unbound(void)
{
	struct evtchn_alloc_unbound a = { .dom = DOMID_SELF, .remote_dom = 0 };

	assert_int_equal(guest_event_op(0, EVTCHNOP_alloc_unbound, &a), 0);
	return a.port;
}

static u32 ipi(u32 cpu)
{
	struct evtchn_bind_ipi a = { .vcpu = cpu };

	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_ipi, &a), 0);
	return a.port;
}

static u32 status(u32 port)
{
	struct evtchn_status a = { .dom = DOMID_SELF, .port = port };

	assert_int_equal(guest_event_op(0, EVTCHNOP_status, &a), 0);
	return a.status;
}

static s64 close_port(u32 port)
{
	struct evtchn_close a = { .port = port };

	return guest_event_op(0, EVTCHNOP_close, &a);
}

static s64 unmask(u32 port)
{
	struct evtchn_unmask a = { .port = port };

	return guest_event_op(0, EVTCHNOP_unmask, &a);
}

static void ipis_tell_their_cpu(void **state)
{
	u32 port = ipi(2);
	struct evtchn_bind_vcpu move = { .port = port, .vcpu = 1 };

	assert_int_equal(status(port), EVTCHNSTAT_ipi);
	guest_info(2)->evtchn_upcall_mask = 1;
	guest_send(port);
	assert_true(guest_info(2)->evtchn_upcall_pending);
	assert_int_equal(guest_info(2)->evtchn_pending_sel, BIT(port / 64));
	assert_false(guest_info(0)->evtchn_upcall_pending);
	assert_true(m->vcpu[2]->events & EV_INTR); /* it looks at its mask itself */
	assert_false(events_deliverable(m->vcpu[2]));
	guest_info(2)->evtchn_upcall_mask = 0;
	assert_true(events_deliverable(m->vcpu[2]));
	m->vcpu[2]->events = 0;
	events_recheck(m->vcpu[2]);
	assert_true(m->vcpu[2]->events & EV_INTR);
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_vcpu, &move), -EINVAL);
	assert_true(guest_raised(port));
}

static void masked_ports_wait(void **state)
{
	u32 port = ipi(0);

	d->shared->evtchn_mask[0] |= BIT(port);
	guest_send(port);
	assert_false(guest_info(0)->evtchn_upcall_pending);
	assert_int_equal(unmask(port), 0);
	assert_true(guest_info(0)->evtchn_upcall_pending);
	assert_int_equal(guest_info(0)->evtchn_pending_sel, 1);
	assert_int_equal(d->shared->evtchn_mask[0], 0);
	guest_info(0)->evtchn_upcall_pending = 0;
	guest_send(port); /* it is pending already */
	assert_false(guest_info(0)->evtchn_upcall_pending);
}

static void virqs(void **state)
{
	struct evtchn_bind_virq a = { .virq = VIRQ_TIMER, .vcpu = 1 };
	struct vcpu_set_singleshot_timer set = { .timeout_abs_ns = 5 * MS };
	struct evtchn_send send;
	u32 port;

	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_virq, &a), 0);
	port = a.port;
	assert_int_equal(status(port), EVTCHNSTAT_virq);
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_virq, &a), -EEXIST);
	send.port = port;
	assert_int_equal(guest_event_op(0, EVTCHNOP_send, &send), -EINVAL);
	machine_write(m, GUEST_ARG, &set, sizeof(set));
	assert_int_equal(timer_vcpu_op(m->vcpu[1], VCPUOP_set_singleshot_timer, 1, GUEST_ARG), 0);
	assert_int_equal(timer_vcpu_op(m->vcpu[1], VCPUOP_set_singleshot_timer, 2, GUEST_ARG), -EINVAL);
	fixture_pass(m, 4 * MS);
	assert_false(guest_raised(port));
	fixture_pass(m, 2 * MS);
	assert_true(guest_raised(port));
	assert_true(guest_info(1)->evtchn_upcall_pending);
	set.flags = VCPU_SSHOTTMR_future;
	machine_write(m, GUEST_ARG, &set, sizeof(set));
	assert_int_equal(timer_vcpu_op(m->vcpu[1], VCPUOP_set_singleshot_timer, 1, GUEST_ARG), -ETIME);
	assert_int_equal(hypercall_set_timer_op(m->vcpu[1], (u64[6]){ 1 }), 0); /* long past: now */
	guest_settle();
	assert_true(guest_raised(port));
	assert_int_equal(hypercall_set_timer_op(m->vcpu[1], (u64[6]){ clock_now(m->clock) + MS }), 0);
	assert_int_equal(timer_vcpu_op(m->vcpu[1], VCPUOP_stop_singleshot_timer, 1, 0), 0);
	fixture_pass(m, 2 * MS);
	assert_false(guest_raised(port));
	assert_int_equal(close_port(port), 0);
	events_raise_virq(m->vcpu[1], VIRQ_TIMER);
	assert_false(guest_raised(port));
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_virq, &a), 0);
}

static void global_virqs_are_vcpu_0s(void **state)
{
	struct evtchn_bind_virq a = { .virq = VIRQ_ENOMEM, .vcpu = 1 };
	struct evtchn_bind_vcpu move = { .vcpu = 3 };

	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_virq, &a), -EINVAL);
	a.vcpu = 0;
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_virq, &a), 0);
	move.port = a.port;
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_vcpu, &move), 0);
	assert_int_equal(close_port(a.port), 0);
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_virq, &a), 0); /* it was forgotten */
}

static void back_ends(void **state)
{
	int offered = events_offer(d, hear, NULL);
	u32 port = unbound(), other = ipi(0);
	struct evtchn_bind_vcpu move = { .port = port, .vcpu = 3 };

	assert_int_equal(offered, 1);
	guest_send(1);
	assert_int_equal(heard, 1);
	assert_int_equal(status(port), EVTCHNSTAT_unbound);
	guest_send(port); /* nobody is there */
	assert_int_equal(events_bind(d, other, hear, NULL), -EINVAL);
	assert_int_equal(events_bind(d, 77777, hear, NULL), -EINVAL);
	assert_int_equal(events_bind(d, 0, hear, NULL), -EINVAL);
	assert_int_equal(events_bind(d, port, hear, NULL), 0);
	assert_int_equal(events_bind(d, port, hear, NULL), -EINVAL);
	assert_int_equal(status(port), EVTCHNSTAT_interdomain);
	guest_send(port);
	assert_int_equal(heard, 2);
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_vcpu, &move), 0);
	events_raise(d, port);
	assert_true(guest_info(3)->evtchn_upcall_pending);
	assert_true(guest_raised(port));
	/* Closed by the guest it is nobody else's before the back end has let go of it. */
	assert_int_equal(close_port(port), 0);
	assert_int_equal(status(port), EVTCHNSTAT_closed);
	assert_int_not_equal(ipi(1), port);
	events_raise(d, port);
	assert_false(guest_raised(port));
	events_unbind(d, port);
	assert_int_equal(ipi(1), port);
	events_unbind(d, 1);
	guest_send(1);
	assert_int_equal(heard, 2);
}

static void polls(void **state)
{
	struct vcpu *v = m->vcpu[1];
	u32 ports[2] = { ipi(1), ipi(1) };

	d->shared->evtchn_mask[0] = ~0ull;
	guest_info(1)->evtchn_upcall_mask = 1;
	machine_write(m, GUEST_ARG, ports, sizeof(ports));
	assert_int_equal(events_poll(v, GUEST_ARG, 2, 0), 0);
	assert_true(v->halted);
	assert_false(events_pending(v));
	v->events = 0;
	guest_send(ports[1]);
	assert_true(v->events & EV_INTR);
	assert_true(events_pending(v));
	assert_false(v->halted);
	assert_false(events_pending(v)); /* it polls no more, and upcalls are masked */
	/* It is pending still. */
	assert_int_equal(events_poll(v, GUEST_ARG + sizeof(ports), 0, 0), 0);
	assert_true(v->halted);
	machine_write(m, GUEST_ARG, ports, sizeof(ports));
	assert_int_equal(events_poll(v, GUEST_ARG, 2, 0), 0);
	assert_false(v->halted);
	/* A time ends it. */
	assert_true(guest_raised(ports[1]));
	machine_write(m, GUEST_ARG, ports, sizeof(ports));
	assert_int_equal(events_poll(v, GUEST_ARG, 2, 3 * MS), 0);
	fixture_pass(m, 2 * MS);
	assert_false(events_pending(v));
	fixture_pass(m, 2 * MS);
	assert_true(events_pending(v));
	assert_false(v->halted);
	/* And so does an upcall. */
	assert_int_equal(events_poll(v, GUEST_ARG, 1, 0), 0);
	guest_info(1)->evtchn_upcall_mask = 0;
	guest_info(1)->evtchn_upcall_pending = 1;
	assert_true(events_pending(v));
	assert_false(v->halted);
	assert_true(events_pending(v));
	/* One that was left by something else than an event is not mixed up with the next. */
	guest_info(1)->evtchn_upcall_pending = 0;
	assert_int_equal(events_poll(v, GUEST_ARG, 1, 0), 0);
	v->halted = false;
	ports[0] = 0x700000;
	machine_write(m, GUEST_ARG, ports, sizeof(ports));
	assert_int_equal(events_poll(v, GUEST_ARG, 1, 0), -EINVAL);
	assert_false(events_pending(v));
	ports[0] = 4096;
	machine_write(m, GUEST_ARG, ports, sizeof(ports));
	assert_int_equal(events_poll(v, GUEST_ARG, 1, 0), -EINVAL);
	assert_int_equal(events_poll(v, GUEST_ARG, 129, 0), -EINVAL);
	assert_int_equal(events_poll(v, GUEST_UNMAPPED, 1, 0), -EFAULT);
	assert_false(v->halted);
}

static void nonsense(void **state)
{
	static const u32 bad[] = { 0, 4095, 4096, 0x20000, 0x7fffffff, ~0u };
	struct evtchn_bind_interdomain inter = { .remote_dom = 0, .remote_port = 1 };
	struct evtchn_bind_virq virq = { .virq = NR_VIRQS };
	struct evtchn_bind_ipi far_cpu = { .vcpu = CPUS };
	struct evtchn_alloc_unbound of = { .dom = 7 };
	struct evtchn_bind_pirq pirq = { .pirq = 1 };
	struct evtchn_status st = { .dom = 0, .port = 1 };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct evtchn_send send = { .port = bad[i] };
		struct evtchn_bind_vcpu move = { .port = bad[i], .vcpu = 0 };

		assert_int_equal(close_port(bad[i]), -EINVAL);
		assert_int_equal(unmask(bad[i]), -EINVAL);
		assert_int_equal(guest_event_op(0, EVTCHNOP_send, &send), -EINVAL);
		assert_int_equal(guest_event_op(0, EVTCHNOP_bind_vcpu, &move), -EINVAL);
		events_raise(d, bad[i]);
	}
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_interdomain, &inter), -EINVAL);
	inter.remote_dom = 5;
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_interdomain, &inter), -ESRCH);
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_virq, &virq), -EINVAL);
	virq = (struct evtchn_bind_virq){ .virq = VIRQ_TIMER, .vcpu = CPUS };
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_virq, &virq), -ENOENT);
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_ipi, &far_cpu), -ENOENT);
	assert_int_equal(guest_event_op(0, EVTCHNOP_alloc_unbound, &of), -ESRCH);
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_pirq, &pirq), -EPERM);
	assert_int_equal(guest_event_op(0, EVTCHNOP_status, &st), -EPERM);
	st = (struct evtchn_status){ .dom = DOMID_SELF, .port = ~0u };
	assert_int_equal(guest_event_op(0, EVTCHNOP_status, &st), -EINVAL);
	assert_int_equal(guest_event_op(0, 14, &st), -ENOSYS);
	assert_int_equal(guest_event_op(0, 1ull << 32, &st), -ENOSYS);
	for (u64 op = 0; op < 14; op++)
		assert_int_equal(hypercall_event_channel_op(m->vcpu[0], (u64[6]){ op, GUEST_UNMAPPED }), -EFAULT);
}

/* As many as there are, and all come back with a reset. */
static void runs_out_of_ports(void **state)
{
	struct evtchn_bind_ipi a = { .vcpu = 1 };
	struct evtchn_reset reset = { .dom = DOMID_SELF };
	unsigned count = 0;
	s64 r;

	while (!(r = guest_event_op(0, EVTCHNOP_bind_ipi, &a)))
		count++;
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(count, 4095);
	for (u32 p = 1; p < 4096; p++)
		guest_send(p);
	assert_int_equal(guest_info(1)->evtchn_pending_sel, ~0ull);
	assert_int_equal(guest_event_op(0, EVTCHNOP_reset, &reset), 0);
	assert_int_equal(status(17), EVTCHNSTAT_closed);
	assert_int_equal(d->shared->evtchn_pending[9], 0);
	assert_int_equal(ipi(0), 1);
}

/* A vCPU whose vcpu_info is nowhere yet is told nothing, and nothing is lost. */
static void no_vcpu_info(void **state)
{
	u32 port = ipi(3);

	d->cpu[3].info = NULL;
	guest_send(port);
	assert_false(events_deliverable(m->vcpu[3]));
	assert_true(guest_raised(port));
	assert_int_equal(unmask(port), 0);
}

/* ---- FIFO ---- */

#define CONTROL(cpu) (100u + (cpu)) /* frames */
#define ARRAY	     110u

static struct evtchn_fifo_control_block *control(unsigned cpu)
{
	return (void *)((u8 *)frame(CONTROL(cpu)) + 64);
}
static u32 *word(u32 port)
{
	return (u32 *)frame(ARRAY) + port;
}

static void start_fifo(unsigned cpus)
{
	struct evtchn_expand_array a = { .array_gfn = ARRAY };

	for (unsigned i = 0; i < cpus; i++) {
		struct evtchn_init_control c = { .control_gfn = CONTROL(i), .offset = 64, .vcpu = i };

		assert_int_equal(guest_event_op(0, EVTCHNOP_init_control, &c), 0);
		assert_int_equal(c.link_bits, 17);
	}
	assert_int_equal(guest_event_op(0, EVTCHNOP_expand_array, &a), 0);
}

/* As a guest does: takes the head of a queue off; 0: it is empty. */
static u32 take_head(unsigned cpu, unsigned priority)
{
	u32 port = control(cpu)->head[priority], w;

	if (!port)
		return 0;
	w = __atomic_fetch_and(word(port), ~(BIT(EVTCHN_FIFO_LINKED) | EVTCHN_FIFO_LINK_MASK), __ATOMIC_SEQ_CST);
	control(cpu)->head[priority] = w & EVTCHN_FIFO_LINK_MASK;
	__atomic_fetch_and(word(port), ~BIT(EVTCHN_FIFO_PENDING), __ATOMIC_SEQ_CST);
	return port;
}

static void fifo_queues(void **state)
{
	u32 a = ipi(0), b = ipi(0), c = ipi(0);
	struct evtchn_set_priority high = { .port = c, .priority = 2 };

	assert_int_equal(guest_event_op(0, EVTCHNOP_set_priority, &high), -ENOSYS);
	guest_send(b); /* pending before there are queues */
	start_fifo(1);
	assert_int_equal(guest_event_op(0, EVTCHNOP_set_priority, &high), 0);
	guest_send(a);
	guest_send(c);
	guest_send(a);
	assert_int_equal(control(0)->ready, BIT(7) | BIT(2));
	assert_true(guest_info(0)->evtchn_upcall_pending);
	assert_int_equal(take_head(0, 2), c);
	assert_int_equal(take_head(0, 2), 0);
	assert_int_equal(take_head(0, 7), b);
	guest_send(b); /* behind a, which is still there */
	assert_int_equal(take_head(0, 7), a);
	assert_int_equal(take_head(0, 7), b);
	assert_int_equal(take_head(0, 7), 0);
	control(0)->ready = 0;
	guest_info(0)->evtchn_upcall_pending = 0;
	*word(a) |= BIT(EVTCHN_FIFO_MASKED);
	guest_send(a);
	assert_int_equal(control(0)->ready, 0);
	assert_int_equal(unmask(a), 0);
	assert_int_equal(take_head(0, 7), a);
	assert_true(guest_info(0)->evtchn_upcall_pending);
}

static void fifo_moves_between_cpus(void **state)
{
	u32 port = unbound(), other = ipi(0);
	struct evtchn_bind_vcpu move = { .port = port, .vcpu = 1 };

	start_fifo(2);
	assert_int_equal(events_bind(d, port, hear, NULL), 0);
	events_raise(d, port);
	assert_int_equal(take_head(0, 7), port);
	assert_int_equal(guest_event_op(0, EVTCHNOP_bind_vcpu, &move), 0);
	events_raise(d, port);
	assert_int_equal(take_head(1, 7), port);
	guest_send(other); /* vCPU 0's queue does not think that port is in it */
	assert_int_equal(take_head(0, 7), other);
	assert_int_equal(close_port(port), 0);
	events_unbind(d, port);
}

static void fifo_nonsense(void **state)
{
	struct evtchn_expand_array more = { .array_gfn = ARRAY + 1 };
	struct evtchn_init_control c = { .control_gfn = CONTROL(0), .offset = 4096 - 64 };
	u32 a = ipi(0), b = ipi(0);

	assert_int_equal(guest_event_op(0, EVTCHNOP_expand_array, &more), -EOPNOTSUPP);
	assert_int_equal(guest_event_op(0, EVTCHNOP_init_control, &c), -EINVAL);
	c.offset = 4;
	assert_int_equal(guest_event_op(0, EVTCHNOP_init_control, &c), -EINVAL);
	c.offset = ~7u;
	assert_int_equal(guest_event_op(0, EVTCHNOP_init_control, &c), -EINVAL);
	c = (struct evtchn_init_control){ .control_gfn = CONTROL(0), .vcpu = CPUS };
	assert_int_equal(guest_event_op(0, EVTCHNOP_init_control, &c), -ENOENT);
	c = (struct evtchn_init_control){ .control_gfn = ~0ull };
	assert_int_equal(guest_event_op(0, EVTCHNOP_init_control, &c), -EINVAL);
	frame_table[200] = true;
	c.control_gfn = 200;
	assert_int_equal(guest_event_op(0, EVTCHNOP_init_control, &c), -EINVAL);
	start_fifo(1);
	c = (struct evtchn_init_control){ .control_gfn = CONTROL(0) };
	assert_int_equal(guest_event_op(0, EVTCHNOP_init_control, &c), -EINVAL); /* twice */
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(guest_event_op(0, EVTCHNOP_expand_array, &more), 0);
	assert_int_equal(guest_event_op(0, EVTCHNOP_expand_array, &more), -ENOSPC);
	/* A queue whose words and head are the guest's fancy. */
	for (unsigned i = 0; i < 1000; i++) {
		guest_send(a);
		guest_send(b);
		memset(frame(ARRAY), (int)(i * 37), PAGE_SIZE);
		memset(frame(CONTROL(0)), (int)(i * 91), PAGE_SIZE);
		unmask(a);
		unmask(b);
	}
	memset(frame(ARRAY), 0xff, PAGE_SIZE);
	guest_send(a);
}

static void fifo_can_be_refused(void **state)
{
	struct evtchn_init_control c = { .control_gfn = CONTROL(0) };
	struct evtchn_expand_array a = { .array_gfn = ARRAY };

	d->no_fifo = true;
	assert_int_equal(guest_event_op(0, EVTCHNOP_init_control, &c), -ENOSYS);
	assert_int_equal(guest_event_op(0, EVTCHNOP_expand_array, &a), -ENOSYS);
}

/* ---- time ---- */

static void times(void **state)
{
	struct vcpu_register_runstate_memory_area run = { .addr.p = 0x6000 };
	struct vcpu_register_time_memory_area area = { .addr.p = 0x7008 };
	struct vcpu_time_info *t = &guest_info(1)->time;
	struct vcpu_runstate_info *r = frame(6);
	struct vcpu *v = m->vcpu[1];

	fixture_pass(m, 10 * MS);
	time_publish(d, 1);
	assert_int_equal(t->version, 2);
	assert_int_equal(t->system_time, 10 * MS);
	/* The guest's arithmetic, 5 ms later. */
	assert_int_equal(t->system_time + (u64)((u128)((5 * MS) << t->tsc_shift) * t->tsc_to_system_mul >> 32),
			 15 * MS);
	assert_int_equal(d->shared->wc_sec, clock_wall_start(m->clock));
	machine_write(m, GUEST_ARG, &area, sizeof(area));
	assert_int_equal(timer_vcpu_op(v, VCPUOP_register_vcpu_time_memory_area, 1, GUEST_ARG), 0);
	assert_int_equal(((struct vcpu_time_info *)((u8 *)frame(7) + 8))->system_time, 10 * MS);
	machine_write(m, GUEST_ARG, &run, sizeof(run));
	assert_int_equal(timer_vcpu_op(m->vcpu[0], VCPUOP_register_runstate_memory_area, 1, GUEST_ARG), 0);
	runstate_enter(v, RUNSTATE_blocked);
	assert_int_equal(r->state, RUNSTATE_blocked);
	assert_int_equal(r->time[RUNSTATE_running], 10 * MS);
	fixture_pass(m, 7 * MS);
	d->vm_assist = BIT(VMASST_TYPE_runstate_update_flag);
	runstate_enter(v, RUNSTATE_running);
	assert_int_equal(r->time[RUNSTATE_blocked], 7 * MS);
	assert_int_equal(r->state_entry_time, 17 * MS);
	fixture_pass(m, MS);
	assert_int_equal(timer_vcpu_op(v, VCPUOP_get_runstate_info, 1, 0x8000), 0);
	assert_int_equal(((struct vcpu_runstate_info *)frame(8))->time[RUNSTATE_running], 11 * MS);
	assert_int_equal(timer_vcpu_op(v, VCPUOP_register_runstate_memory_area, 1, GUEST_UNMAPPED), -EFAULT);
	run.addr.p = ~0ull - 4;
	machine_write(m, GUEST_ARG, &run, sizeof(run));
	assert_int_equal(timer_vcpu_op(v, VCPUOP_register_runstate_memory_area, 1, GUEST_ARG), -EFAULT);
	assert_int_equal(timer_vcpu_op(v, VCPUOP_set_periodic_timer, 1, GUEST_ARG), -EINVAL);
	assert_int_equal(timer_vcpu_op(v, VCPUOP_stop_periodic_timer, 1, 0), 0);
	assert_int_equal(timer_vcpu_op(v, VCPUOP_stop_periodic_timer, CPUS, 0), -ENOENT);
	assert_int_equal(timer_vcpu_op(v, 99, 1, 0), -ENOSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ipis_tell_their_cpu, setup, teardown),
		cmocka_unit_test_setup_teardown(masked_ports_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(virqs, setup, teardown),
		cmocka_unit_test_setup_teardown(global_virqs_are_vcpu_0s, setup, teardown),
		cmocka_unit_test_setup_teardown(back_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(polls, setup, teardown),
		cmocka_unit_test_setup_teardown(nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(runs_out_of_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(no_vcpu_info, setup, teardown),
		cmocka_unit_test_setup_teardown(fifo_queues, setup, teardown),
		cmocka_unit_test_setup_teardown(fifo_moves_between_cpus, setup, teardown),
		cmocka_unit_test_setup_teardown(fifo_nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(fifo_can_be_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(times, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
