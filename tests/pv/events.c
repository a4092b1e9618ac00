/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event channels, and the pages that are shared with those at their other ends: storms, queues and indices that the guest has ruined, messages
 * that mean nothing, grants of what is nobody's.
 *
 * cpus: 2
 * options: --disk {guest},readonly=on,format=raw
 */
#include "kit.h"

#include <xen/io/blkif.h>
#include <xen/io/console.h>
#include <xen/io/xenbus.h>
#include <xen/io/xs_wire.h>

#define STORM 20000
#define PORTS 4096

static u64 page[512] __attribute__((aligned(4096))), array[4][512] __attribute__((aligned(4096))),
	data[512] __attribute__((aligned(4096)));
static volatile u32 ipi; /* of CPU 0, for CPU 1 to send on */
static volatile bool stormed;

static s64 send(u32 port)
{
	struct evtchn_send s = { port };

	return event_op(EVTCHNOP_send, &s);
}
static s64 close(u32 port)
{
	struct evtchn_close c = { port };

	return event_op(EVTCHNOP_close, &c);
}
static u32 bind_ipi(u32 cpu)
{
	struct evtchn_bind_ipi b = { .vcpu = cpu };

	EQ(0, event_op(EVTCHNOP_bind_ipi, &b));
	return b.port;
}
static s64 alloc(domid_t dom, domid_t remote, u32 *port)
{
	struct evtchn_alloc_unbound a = { .dom = dom, .remote_dom = remote };
	s64 r = event_op(EVTCHNOP_alloc_unbound, &a);

	*port = a.port;
	return r;
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
		EQ(-XEN_EINVAL, send(bad[k]));
		EQ(-XEN_EINVAL, close(bad[k]));
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
	EQ(-XEN_EPERM, alloc(0, DOMID_SELF, &port));
	EQ(-XEN_ESRCH, alloc(7, 0, &port));
	struct evtchn_bind_virq timer = { VIRQ_TIMER, 0, 0 };
	EQ(0, event_op(EVTCHNOP_bind_virq, &timer));
	EQ(-XEN_EEXIST, event_op(EVTCHNOP_bind_virq, &timer));
	EQ(-XEN_EINVAL, send(timer.port));
	EQ(0, close(timer.port));
	/* As many as there are. */
	EQ(0, alloc(DOMID_SELF, 0, &first));
	while (!alloc(DOMID_SELF, 0, &port))
		CHECK(++n < PORTS);
	EQ(-XEN_ENOSPC, alloc(DOMID_SELF, 0, &port));
	for (port = first; port < PORTS; port++)
		close(port);
	EQ(0, alloc(DOMID_SELF, 0, &port));
	EQ(0, send(port)); /* nobody is there */
	EQ(0, close(port));
}

/* ---- storms ---- */

void guest_cpu(unsigned cpu)
{
	while (!ipi)
		relax();
	for (unsigned k = 0; k < STORM; k++)
		EQ(0, send(ipi));
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
		EQ(0, send(port));
	EQ(0, c->upcalls);
	shared->vcpu_info[0].evtchn_upcall_mask = 0;
	for (unsigned k = 0; k < STORM; k++) {
		before = c->upcalls;
		memset(shared->evtchn_pending, 0, sizeof(shared->evtchn_pending));
		EQ(0, send(port));
		if (stormed && k > STORM / 2)
			CHECK(c->upcalls > before);
	}
	while (!stormed)
		relax();
	shared->vcpu_info[0].evtchn_upcall_mask = 1;
	CHECK(c->upcalls > 100);
	EQ(0, close(port));
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

static u64 noise = 88172645463325252ull;
static u64 any(void)
{
	noise ^= noise << 13;
	noise ^= noise >> 7;
	return noise ^= noise << 17;
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
		EQ(0, send(port[any() & 63]));
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
	EQ(0, send(port[0]));
	EQ(1, shared->vcpu_info[0].evtchn_upcall_pending);
	for (unsigned k = 0; k < ARRAY(port); k++)
		EQ(0, close(port[k]));
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
		EQ(0, send(port));
		hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield);
	}
	c->out_prod = c->out_cons; /* what it was taken to be, once it has settled */
	EQ(-XEN_EINVAL, mmu_op(MMUEXT_PIN_L1_TABLE, start_info->console.domU.mfn, 0));
	EQ(0, make_rw(data));
}

/* ---- xenstore ---- */

static struct xenstore_domain_interface *store = (struct xenstore_domain_interface *)page;

static void kick(void)
{
	EQ(0, send(start_info->store_evtchn));
	hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield);
}

static void put_bytes(const void *bytes, u32 n)
{
	for (u32 k = 0; k < n; k++) {
		while (store->req_prod - store->req_cons == XENSTORE_RING_SIZE)
			kick();
		store->req[MASK_XENSTORE_IDX(store->req_prod)] = ((const char *)bytes)[k];
		__atomic_fetch_add(&store->req_prod, 1, __ATOMIC_SEQ_CST);
	}
}

static void get_bytes(void *bytes, u32 n)
{
	for (u32 k = 0; k < n; k++) {
		while (__atomic_load_n(&store->rsp_prod, __ATOMIC_SEQ_CST) == store->rsp_cons)
			kick();
		if (bytes)
			((char *)bytes)[k] = store->rsp[MASK_XENSTORE_IDX(store->rsp_cons)];
		__atomic_fetch_add(&store->rsp_cons, 1, __ATOMIC_SEQ_CST);
	}
}

/* The type of the answer, whose first bytes go to `answer`; what watches have to say is skipped. */
static u32 ask(u32 type, u32 tx, const char *payload, u32 len, char answer[32])
{
	struct xsd_sockmsg h = { .type = type, .tx_id = tx, .len = len, .req_id = (u32)any() };
	u32 id = h.req_id;

	put_bytes(&h, sizeof(h));
	put_bytes(payload, len);
	kick();
	for (;;) {
		get_bytes(&h, sizeof(h));
		u32 keep = h.len < 31 ? h.len : 31;
		memset(answer, 0, 32);
		get_bytes(answer, keep);
		get_bytes(NULL, h.len - keep);
		if (h.type == XS_WATCH_EVENT)
			continue;
		EQ(id, h.req_id);
		return h.type;
	}
}
#define ASK(type, payload) ask(type, 0, payload, sizeof(payload), answer)

static void refused(u32 type, u32 tx, const char *payload, u32 len, const char *why)
{
	char answer[32];

	u32 got = ask(type, tx, payload, len, answer);
	if (got != XS_ERROR)
		print("request %d, %d bytes: %s\n", (u64)type, (u64)len, len < 100 ? payload : "");
	EQ(XS_ERROR, got);
	for (unsigned k = 0; why && k < 32 && why[k]; k++)
		EQ(why[k], answer[k]);
}
#define REFUSED(why, type, payload) refused(type, 0, payload, sizeof(payload), why)

static void messages(void)
{
	static char long_text[XENSTORE_PAYLOAD_MAX];
	char answer[32];

	EQ(0, map_as(page, start_info->store_mfn * PAGE | RW));
	EQ(XS_READ, ASK(XS_READ, "domid"));
	EQ('1', answer[0]);
	memset(long_text, 'a', sizeof(long_text));
	for (u32 type = 0; type < 40; type++) {
		if (type == XS_RESET_WATCHES || type == XS_TRANSACTION_START)
			continue;
		refused(type, 0, "", 0, NULL);
		refused(type, 0, long_text, sizeof(long_text), NULL);
		refused(type, 0, "no end", 6, type == XS_DIRECTORY_PART || type == XS_READ ? "EINVAL" : NULL);
		refused(type, 77, "domid", 6, "ENOENT");
	}
	refused(~0u, 0, "x", 2, "ENOSYS");
	REFUSED("EINVAL", XS_READ, "/local//domain");
	REFUSED("EINVAL", XS_READ, "a b");
	REFUSED("EACCES", XS_WRITE,
		"/local/domain/0/backend/vbd/1/51712/state\0"
		"4");
	REFUSED("EACCES", XS_WRITE,
		"/local/domain/1/memory/target\0"
		"1");
	REFUSED("EACCES", XS_RM, "/local/domain/1");
	REFUSED(NULL, XS_RM, "/");
	REFUSED("EACCES", XS_INTRODUCE,
		"1\0"
		"1\0"
		"1");
	REFUSED(NULL, XS_SET_PERMS,
		"data\0"
		"n0");
	REFUSED(NULL, XS_TRANSACTION_END, "X");
	/* As much as it will take: nodes, watches, transactions. */
	unsigned made = 0;
	for (unsigned k = 0; k < 5000; k++) {
		char path[] = "data/0000\0x";
		for (unsigned i = 0, n = k; i < 4; i++, n /= 10)
			path[8 - i] = (char)('0' + n % 10);
		if (ask(XS_WRITE, 0, path, sizeof(path) - 1, answer) == XS_ERROR)
			break;
		made++;
	}
	CHECK(made > 100 && made < 5000);
	for (made = 0; made < 5000; made++) {
		char token[] = "data\0"
			       "0000";
		for (unsigned i = 0, n = made; i < 4; i++, n /= 10)
			token[8 - i] = (char)('0' + n % 10);
		if (ask(XS_WATCH, 0, token, sizeof(token), answer) == XS_ERROR)
			break;
	}
	CHECK(made > 10 && made < 5000);
	for (made = 0; made < 5000; made++)
		if (ask(XS_TRANSACTION_START, 0, "", 1, answer) == XS_ERROR)
			break;
	CHECK(made > 2 && made < 5000);
	EQ(XS_RESET_WATCHES, ASK(XS_RESET_WATCHES, ""));
	EQ(XS_RM, ASK(XS_RM, "data"));
}

/* ---- a disk's front end ---- */

#define DEVICE "device/vbd/51712/"

static void write_key(const char *key, u64 value)
{
	char text[96] = DEVICE, digits[24], answer[32];
	unsigned n = sizeof(DEVICE) - 1, d = 0;

	while (*key)
		text[n++] = *key++;
	text[n++] = 0;
	do
		digits[d++] = (char)('0' + value % 10);
	while (value /= 10);
	while (d)
		text[n++] = digits[--d];
	EQ(XS_WRITE, ask(XS_WRITE, 0, text, n, answer));
}

/* Until the back end says so. */
static void wait_state(char state)
{
	char answer[32];

	for (unsigned k = 0; k < 200000; k++) {
		EQ(XS_READ, ASK(XS_READ, "/local/domain/0/backend/vbd/1/51712/state"));
		if (answer[0] == state)
			return;
	}
	print("state is %s, not %d", answer, (u64)(state - '0'));
	ASK(XS_READ, "/local/domain/0/backend/vbd/1/51712/error");
	print(", error: %s\n", answer);
	quit(1);
}

static grant_entry_v1_t *grants;

static void grant(u32 ref, u64 mfn, u16 flags)
{
	grants[ref].domid = 0;
	grants[ref].frame = (u32)mfn;
	__atomic_store_n(&grants[ref].flags, flags, __ATOMIC_SEQ_CST);
}

/* Tries to connect; the state it brings the back end to. */
static void connect(u32 ref, u32 port, char state)
{
	write_key("state", XenbusStateInitialising);
	wait_state('2');
	write_key("ring-ref", ref);
	write_key("event-channel", port);
	write_key("state", XenbusStateInitialised);
	wait_state(state);
}

static blkif_sring_t *sring;
static u32 disk_port;

static int request(u8 op, u64 sector, u8 segments, u32 ref, u8 first, u8 last)
{
	blkif_request_t *q = &sring->ring[sring->req_prod & 31].req;

	memset(q, 0, sizeof(*q));
	*q = (blkif_request_t){
		.operation = op, .nr_segments = segments, .sector_number = sector, .id = sring->req_prod
	};
	for (unsigned k = 0; k < segments && k < 11; k++)
		q->seg[k] = (struct blkif_request_segment){ ref, first, last };
	if (op == BLKIF_OP_INDIRECT) {
		blkif_request_indirect_t *i = (blkif_request_indirect_t *)q;
		i->indirect_op = BLKIF_OP_READ;
		i->nr_segments = (u16)(segments | (u16)first << 8);
		i->id = sring->req_prod;
		i->sector_number = sector;
		i->indirect_grefs[0] = ref;
	}
	__atomic_fetch_add(&sring->req_prod, 1, __ATOMIC_SEQ_CST);
	EQ(0, send(disk_port));
	while (__atomic_load_n(&sring->rsp_prod, __ATOMIC_SEQ_CST) != sring->req_prod)
		hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield);
	return sring->ring[(sring->rsp_prod - 1) & 31].rsp.status;
}

static void disk(void)
{
	struct gnttab_setup_table setup = { .dom = DOMID_SELF, .nr_frames = 33 };
	u64 mfns[33], grant_page = PTR(data);
	u32 port;

	set_xen_guest_handle(setup.frame_list, mfns);
	EQ(0, hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &setup, 1));
	CHECK(setup.status < 0);
	setup.nr_frames = ~0u;
	EQ(0, hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &setup, 1));
	CHECK(setup.status < 0);
	setup.nr_frames = 1;
	EQ(0, hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &setup, 1));
	EQ(0, setup.status);
	EQ(0, map_as(data, mfns[0] * PAGE | RW));
	grants = (grant_entry_v1_t *)grant_page;
	sring = (blkif_sring_t *)array[0];
	memset(array, 0, sizeof(array));
	sring->req_event = sring->rsp_event = 1;
	EQ(0, alloc(DOMID_SELF, 0, &port));
	disk_port = port;
	/* Rings in what was not granted, or may not be. */
	grant(8, 0, 0);
	connect(8, port, '5');
	connect(~0u, port, '5');
	connect(511, port, '5');
	connect(513, port, '5'); /* beyond the table */
	grant(8, mfn_of(kernel_l4()), GTF_permit_access);
	connect(8, port, '5');
	grant(8, 0, GTF_permit_access);
	connect(8, port, '5');
	grant(8, ~0u, GTF_permit_access);
	connect(8, port, '5');
	grant(8, mfn_of(array[0]), GTF_permit_access | GTF_readonly);
	connect(8, port, '5');
	grant(8, mfn_of(array[0]), GTF_permit_access);
	connect(8, 0, '5');
	connect(8, 4095, '5');
	connect(8, 1u << 20, '5');
	connect(8, start_info->store_evtchn, '5');
	connect(8, start_info->console.domU.evtchn, '5');
	connect(8, port, '4');
	/* Requests. */
	grant(9, mfn_of(array[1]), GTF_permit_access);
	EQ(BLKIF_RSP_OKAY, request(BLKIF_OP_READ, 0, 1, 9, 0, 7));
	EQ(0x464c457f, (u32)array[1][0]);
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 0, 9, 0, 7));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 12, 9, 0, 7));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 255, 9, 0, 7));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 9, 0, 8));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 9, 255, 255));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 9, 3, 2));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, ~0ull, 1, 9, 0, 0));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 1ull << 55, 1, 9, 0, 0));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, ~0ull - 6, 1, 9, 0, 7));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_WRITE, 0, 1, 9, 0, 7)); /* it is read-only */
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 10, 0, 7)); /* no grant */
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, ~0u, 0, 7));
	EQ(BLKIF_RSP_EOPNOTSUPP, request(77, 0, 1, 9, 0, 7));
	CHECK(request(BLKIF_OP_DISCARD, 0, 1, 9, 0, 7) < 0);
	grant(10, mfn_of(array[1]), GTF_permit_access | GTF_readonly);
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 10, 0, 7));
	grant(10, mfn_of(kernel_l4()), GTF_permit_access);
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 10, 0, 7));
	/* What it could be read to is a table while it is not in use, and the other way round. */
	EQ(0, make_ro(array[1]));
	memset(array[1], 0, 0);
	EQ(-XEN_EINVAL, pin(2, array[1])); /* the ELF file's bytes */
	EQ(0, make_rw(array[1]));
	memset(array[1], 0, PAGE);
	EQ(0, make_ro(array[1]));
	EQ(0, pin(1, array[1]));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 9, 0, 7));
	EQ(0, array[1][0]);
	EQ(0, unpin(array[1]));
	EQ(0, make_rw(array[1]));
	/* Indirect ones. */
	for (unsigned k = 0; k < 512; k++)
		((struct blkif_request_segment *)array[2])[k] = (struct blkif_request_segment){ 9, 0, 7 };
	grant(11, mfn_of(array[2]), GTF_permit_access | GTF_readonly);
	EQ(BLKIF_RSP_OKAY, request(BLKIF_OP_INDIRECT, 0, 8, 11, 0, 0));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_INDIRECT, 0, 0, 11, 0, 0));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_INDIRECT, 0, 129, 11, 0, 0));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_INDIRECT, 0, 0, 11, 2, 0)); /* 512 */
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_INDIRECT, 0, 255, 11, 255, 0));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_INDIRECT, 0, 8, 12, 0, 0));
	/* The ring's frame is in use: no table. */
	EQ(0, make_ro(array[0]));
	EQ(-XEN_EINVAL, pin(1, array[0]));
	EQ(0, make_rw(array[0]));
	/* An index that no ring holds ends it; closing and a new start bring it back. */
	sring->req_prod += 1000;
	for (unsigned k = 0; k < 20; k++)
		EQ(0, send(port));
	write_key("state", XenbusStateClosed);
	wait_state('6');
	memset(array[0], 0, PAGE);
	sring->req_event = sring->rsp_event = 1;
	connect(8, port, '4');
	EQ(BLKIF_RSP_OKAY, request(BLKIF_OP_READ, 0, 1, 9, 0, 7));
	EQ(0, close(port)); /* while it is in use */
	EQ(-XEN_EINVAL, send(port));
	write_key("state", XenbusStateClosed);
	wait_state('6');
	EQ(0, make_ro(array[0]));
	EQ(0, map_as(data, 0));
}

/* Not a conversation any more. */
static void ruin(void)
{
	static const u32 jumps[] = { 1025, 1u << 31, ~0u - 5 };

	store->req_prod = store->req_cons + jumps[any() % 3];
	for (unsigned k = 0; k < 20; k++)
		kick();
	while (!__atomic_load_n(&store->error, __ATOMIC_SEQ_CST))
		kick();
	for (unsigned k = 0; k < 100; k++) {
		store->req_prod = (u32)any();
		store->rsp_cons = (u32)any();
		kick();
	}
}

void guest_main(const char *which)
{
	ports();
	storms();
	console();
	messages();
	disk();
	ruin();
	EQ(0, make_rw(page));
	memset(page, 0, PAGE);
	EQ(0, make_rw(array[0]));
	memset(array, 0, sizeof(array));
	queues();
}
