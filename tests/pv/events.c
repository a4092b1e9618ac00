/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event channels, and the console at the end of one: storms, queues and indices that the guest has ruined.
 *
 * cpus: 2
 */
#include "kit.h"

#include <xen/io/console.h>

#define STORM 20000
#define PORTS 4096

static u64 page[512] __attribute__((aligned(4096))), array[4][512] __attribute__((aligned(4096))),
	data[512] __attribute__((aligned(4096)));
static volatile u32 ipi; /* of CPU 0, for CPU 1 to send on */
static volatile bool stormed;

static u32 bind_ipi(u32 cpu)
{
	struct evtchn_bind_ipi b = { .vcpu = cpu };

	EQ(0, event_op(EVTCHNOP_bind_ipi, &b));
	return b.port;
}
/* ---- ports ---- */

static void ports(void)
{
	static const u32 bad[] = { 0, 4095, 4096, 4097, 1u << 17, 1u << 31, ~0u };
	static const u32 cpus[] = { 2, 31, 32, 64, 255, 256, ~0u };
	u32 port, n = 0, first;

	for (unsigned k = 0; k < ARRAY(bad); k++) {
		struct evtchn_unmask unmask = { bad[k] };
		struct evtchn_bind_vcpu bind = { bad[k], 0 };
		EQ(-XEN_EINVAL, send_event(bad[k]));
		EQ(-XEN_EINVAL, close_port(bad[k]));
		EQ(-XEN_EINVAL, event_op(EVTCHNOP_unmask, &unmask));
		EQ(-XEN_EINVAL, event_op(EVTCHNOP_bind_vcpu, &bind));
	}
	for (unsigned k = 0; k < ARRAY(cpus); k++) {
		struct evtchn_bind_ipi i = { .vcpu = cpus[k] };
		struct evtchn_bind_virq timer = { VIRQ_TIMER, cpus[k], 0 }, none = { 24 + cpus[k], 0, 0 };
		EQ(-XEN_ENOENT, event_op(EVTCHNOP_bind_ipi, &i));
		EQ(-XEN_ENOENT, event_op(EVTCHNOP_bind_virq, &timer));
		EQ(-XEN_EINVAL, cpus[k] < ~23u ? event_op(EVTCHNOP_bind_virq, &none) : -XEN_EINVAL);
	}
	EQ(-XEN_EPERM, alloc_port(0, DOMID_SELF, &port));
	EQ(-XEN_ESRCH, alloc_port(7, 0, &port));
	struct evtchn_bind_virq timer = { VIRQ_TIMER, 0, 0 };
	EQ(0, event_op(EVTCHNOP_bind_virq, &timer));
	EQ(-XEN_EEXIST, event_op(EVTCHNOP_bind_virq, &timer));
	EQ(-XEN_EINVAL, send_event(timer.port));
	EQ(0, close_port(timer.port));
	/* As many as there are. */
	EQ(0, alloc_port(DOMID_SELF, 0, &first));
	while (!alloc_port(DOMID_SELF, 0, &port))
		CHECK(++n < PORTS);
	EQ(-XEN_ENOSPC, alloc_port(DOMID_SELF, 0, &port));
	for (port = first; port < PORTS; port++)
		close_port(port);
	EQ(0, alloc_port(DOMID_SELF, 0, &port));
	EQ(0, send_event(port)); /* nobody is there */
	EQ(0, close_port(port));
}

/* ---- storms ---- */

void guest_cpu(unsigned cpu)
{
	while (!ipi)
		relax();
	for (unsigned k = 0; k < STORM; k++)
		EQ(0, send_event(ipi));
	stormed = true;
}

static void storms(void)
{
	struct cpu *c = this_cpu();
	u32 port = bind_ipi(0);
	u64 before;

	ipi = port;
	boot_cpu(1);
	for (unsigned k = 0; k < STORM; k++) /* masked */
		EQ(0, send_event(port));
	EQ(0, c->upcalls);
	shared->vcpu_info[0].evtchn_upcall_mask = 0;
	for (unsigned k = 0; k < STORM; k++) {
		before = c->upcalls;
		memset(shared->evtchn_pending, 0, sizeof(shared->evtchn_pending));
		EQ(0, send_event(port));
		if (stormed && k > STORM / 2)
			CHECK(c->upcalls > before);
	}
	while (!stormed)
		relax();
	shared->vcpu_info[0].evtchn_upcall_mask = 1;
	CHECK(c->upcalls > 100);
	EQ(0, close_port(port));
}

/* ---- FIFO queues ---- */

static s64 init_control(u64 mfn, u32 offset, u32 cpu)
{
	struct evtchn_init_control a = { .control_gfn = mfn, .offset = offset, .vcpu = cpu };

	return event_op(EVTCHNOP_init_control, &a);
}
static s64 expand(u64 mfn)
{
	struct evtchn_expand_array a = { mfn };

	return event_op(EVTCHNOP_expand_array, &a);
}

static void queues(void)
{
	struct evtchn_fifo_control_block *block = (struct evtchn_fifo_control_block *)page;
	struct evtchn_reset reset = { DOMID_SELF };
	u32 port[64];

	EQ(-XEN_EOPNOTSUPP, expand(mfn_of(array[0])));
	EQ(-XEN_EINVAL, init_control(mfn_of(page), 4096 - 64, 0));
	EQ(-XEN_EINVAL, init_control(mfn_of(page), ~0u - 7, 0));
	EQ(-XEN_EINVAL, init_control(mfn_of(page), 4, 0));
	EQ(-XEN_ENOENT, init_control(mfn_of(page), 0, 2));
	EQ(-XEN_EINVAL, init_control(mfn_of(kernel_l4()), 0, 0));
	EQ(-XEN_EINVAL, init_control(0, 0, 0));
	EQ(-XEN_EINVAL, init_control(1ull << 40, 0, 0));
	EQ(0, init_control(mfn_of(page), 0, 0));
	EQ(-XEN_EINVAL, init_control(mfn_of(page), 0, 0));
	EQ(-XEN_EINVAL, expand(mfn_of(kernel_l4())));
	EQ(-XEN_EINVAL, expand(~0ull));
	for (unsigned k = 0; k < ARRAY(port); k++)
		port[k] = bind_ipi(k & 1); /* the other CPU has no queues */
	for (unsigned k = 0; k < 4; k++)
		EQ(0, expand(mfn_of(array[k])));
	EQ(-XEN_ENOSPC, expand(mfn_of(data)));
	/* What is in use is no table, and never was one meanwhile. */
	EQ(0, make_ro(page));
	EQ(0, make_ro(array[0]));
	EQ(-XEN_EINVAL, pin(1, page));
	EQ(-XEN_EINVAL, pin(1, array[0]));
	EQ(0, make_rw(page));
	EQ(0, make_rw(array[0]));
	for (unsigned round = 0; round < 2000; round++) {
		u32 *word = (u32 *)array[any() & 3] + (any() & 1023);
		*word = (u32)any(); /* pending, masked, linked, busy, a link to anywhere */
		word = (u32 *)array[0] + port[any() & 63];
		*word = any() & 1 ? 1u << EVTCHN_FIFO_LINKED | port[any() & 63] : (u32)any();
		block->ready = (u32)any();
		block->head[any() & 15] = (u32)any();
		EQ(0, send_event(port[any() & 63]));
		struct evtchn_unmask unmask = { port[any() & 63] };
		EQ(0, event_op(EVTCHNOP_unmask, &unmask));
		struct evtchn_set_priority priority = { port[any() & 63], any() & 15 };
		EQ(0, event_op(EVTCHNOP_set_priority, &priority));
		priority.priority = 16;
		EQ(-XEN_EINVAL, event_op(EVTCHNOP_set_priority, &priority));
	}
	/* All that again while the queue is in order: it is told. */
	memset(array, 0, sizeof(array));
	memset(page, 0, PAGE);
	shared->vcpu_info[0].evtchn_upcall_pending = 0;
	EQ(0, send_event(port[0]));
	EQ(1, shared->vcpu_info[0].evtchn_upcall_pending);
	for (unsigned k = 0; k < ARRAY(port); k++)
		EQ(0, close_port(port[k]));
	(void)reset;
}

/* ---- the console's ring ---- */

static void console(void)
{
	u64 va = PTR(data);
	struct xencons_interface *c = (struct xencons_interface *)data;
	u32 port = start_info->console.domU.evtchn;

	EQ(0, map_as((void *)va, start_info->console.domU.mfn * PAGE | RW));
	for (unsigned k = 0; k < 200; k++) {
		c->out_prod = (u32)any();
		c->out_cons = (u32)any();
		c->in_cons = (u32)any();
		c->in_prod = (u32)any();
		EQ(0, send_event(port));
		hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield);
	}
	c->out_prod = c->out_cons; /* what it was taken to be, once it has settled */
	EQ(-XEN_EINVAL, mmu_op(MMUEXT_PIN_L1_TABLE, start_info->console.domU.mfn, 0));
	EQ(0, make_rw(data));
}

void guest_main(const char *which)
{
	ports();
	storms();
	console();
	queues();
}
