/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PV guest's disk, by a front end that plays blkfront: requests of all kinds and every way to get one wrong, a ring of fancy indices,
 * grants that are none, and front ends that leave while requests are under way. And the grant table's hypercall.
 */
#include "xen-front.h"

#include "platform/xen/ring.h"
#include "platform/xen/vbd.h"

#include <xen/io/blkif.h>
#include <xen/io/protocols.h>

#define SECTORS 4096u
#define DEV	"vbd/51712"
#define RING	50u /* frames */
#define DATA	100u
#define REF(i)	(8u + (i)) /* grants DATA + i */

/* A disk in memory that completes when the test says so. */
static struct disk {
	struct blockdev b;
	u8 data[SECTORS * 512];
	struct disk_request *queue[64];
	unsigned queued;
	int error;
	char log[64]; /* a letter a request */
	u64 discarded;
} disk;
static struct vbd *vbd;
static struct blkif_front_ring ring;
static u32 port;
static u8 answered; /* the operation in the last response */

static void run(struct disk_request *r)
{
	u8 *at = disk.data + r->offset;

	disk.log[strlen(disk.log) % 63] = "rwfdz"[r->op];
	if (r->op == DISK_DISCARD)
		disk.discarded += r->len;
	if (r->op != DISK_READ && r->op != DISK_WRITE)
		return;
	assert_true(r->offset + r->len <= sizeof(disk.data));
	for (unsigned i = 0; i < r->iovs; at += r->iov[i++].iov_len) {
		if (r->op == DISK_READ)
			memcpy(r->iov[i].iov_base, at, r->iov[i].iov_len);
		else
			memcpy(at, r->iov[i].iov_base, r->iov[i].iov_len);
	}
	assert_ptr_equal(at, disk.data + r->offset + r->len);
}

static void submit(struct blockdev *b, struct disk_request *r)
{
	disk.queue[disk.queued++] = r;
}

static void complete(void)
{
	while (disk.queued) {
		struct disk_request *r = disk.queue[--disk.queued];

		if (!disk.error)
			run(r);
		r->done(r, disk.error);
	}
}

static void abandon(struct blockdev *b)
{
	disk.error = -EIO;
	complete();
}

static const struct blockdev_ops disk_ops = { .name = "memory", .submit = submit, .abandon = abandon };

static void connect(void)
{
	SHARED_RING_INIT((struct blkif_sring *)frame(RING));
	FRONT_RING_INIT(&ring, (struct blkif_sring *)frame(RING), PAGE_SIZE);
	port = front_port();
	front_grant(7, RING, false);
	front_write_number(DEV, "ring-ref", 7);
	front_write_number(DEV, "event-channel", port);
	front_write(DEV, "protocol", XEN_IO_PROTO_ABI_X86_64);
	front_state(DEV, XenbusStateInitialised);
	assert_int_equal(back_state(DEV), XenbusStateConnected);
	front_state(DEV, XenbusStateConnected);
}

static void open_disk(bool readonly)
{
	struct error err = { 0 };

	guest_start(1);
	front_start();
	memset(&disk, 0, sizeof(disk));
	disk.b = (struct blockdev){
		.ops = &disk_ops,
		.info = { .size = sizeof(disk.data), .block_size = 512, .readonly = readonly, .can_discard = true }
	};
	for (unsigned i = 0; i < sizeof(disk.data); i++)
		disk.data[i] = (u8)(i / 512 + i);
	for (unsigned i = 0; i < 200; i++)
		front_grant(REF(i), DATA + i, false);
	vbd = vbd_create(d, 0, &disk.b, &err);
	if (!vbd)
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	open_disk(false);
	connect();
	return 0;
}

static int teardown(void **state)
{
	if (m->end == END_NONE)
		complete();
	vbd_destroy(vbd);
	front_stop();
	return 0;
}

static void push(const void *request)
{
	int notify;

	memcpy(RING_GET_REQUEST(&ring, ring.req_prod_pvt), request, sizeof(struct blkif_request));
	ring.req_prod_pvt++;
	RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&ring, notify);
	if (notify)
		guest_send(port);
}

/* The next response's status; 99: none has come. */
static int response(u64 id)
{
	struct blkif_response r;

	complete();
	if (!RING_HAS_UNCONSUMED_RESPONSES(&ring))
		return 99;
	RING_COPY_RESPONSE(&ring, ring.rsp_cons, &r);
	ring.rsp_cons++;
	assert_int_equal(r.id, id);
	answered = r.operation;
	return r.status;
}

static int ask(const struct blkif_request *q)
{
	push(q);
	return response(q->id);
}

/* n segments of whole pages, first_sect and last_sect of all changed by the caller. */
static struct blkif_request request(u8 op, u64 sector, u8 n)
{
	struct blkif_request q = { .operation = op, .nr_segments = n, .id = 1000 + sector, .sector_number = sector };

	for (unsigned i = 0; i < n && i < BLKIF_MAX_SEGMENTS_PER_REQUEST; i++)
		q.seg[i] = (struct blkif_request_segment){ REF(i), 0, 7 };
	return q;
}

static void handshake(void **state)
{
	open_disk(false);
	assert_int_equal(back_state(DEV), XenbusStateInitWait);
	assert_string_equal(client_ask(XS_READ, "device/" DEV "/backend"), "/local/domain/0/backend/vbd/1/51712");
	assert_string_equal(client_ask(XS_READ, "device/" DEV "/virtual-device"), "51712");
	connect();
	assert_string_equal(back_read(DEV, "sectors"), "4096");
	assert_string_equal(back_read(DEV, "sector-size"), "512");
	assert_string_equal(back_read(DEV, "info"), "0");
	assert_string_equal(back_read(DEV, "feature-flush-cache"), "1");
	assert_string_equal(back_read(DEV, "feature-discard"), "1");
	assert_string_equal(back_read(DEV, "feature-persistent"), "ENOENT");
	/* Away and back again, twice. */
	for (unsigned i = 0; i < 2; i++) {
		front_state(DEV, XenbusStateClosing);
		assert_int_equal(back_state(DEV), XenbusStateClosing);
		front_state(DEV, XenbusStateClosed);
		assert_int_equal(back_state(DEV), XenbusStateClosed);
		front_check_idle();
		front_state(DEV, XenbusStateInitialising);
		assert_int_equal(back_state(DEV), XenbusStateInitWait);
		connect();
	}
	assert_int_equal(ask(&(struct blkif_request){ .operation = BLKIF_OP_FLUSH_DISKCACHE }), BLKIF_RSP_OKAY);
}

static void reads_and_writes(void **state)
{
	struct blkif_request q = request(BLKIF_OP_READ, 16, 3);

	q.seg[0].first_sect = 2;
	q.seg[2].last_sect = 0;
	memset(frame(DATA), 0xcc, 3 * PAGE_SIZE);
	assert_int_equal(ask(&q), BLKIF_RSP_OKAY);
	assert_memory_equal((u8 *)frame(DATA) + 1024, disk.data + 16 * 512, 6 * 512);
	assert_memory_equal(frame(DATA + 1), disk.data + 22 * 512, PAGE_SIZE);
	assert_memory_equal(frame(DATA + 2), disk.data + 30 * 512, 512);
	assert_int_equal(((u8 *)frame(DATA))[1023], 0xcc);
	assert_int_equal(((u8 *)frame(DATA + 2))[512], 0xcc);
	q = request(BLKIF_OP_WRITE, 100, 11);
	memset(frame(DATA), 0x5a, 11 * PAGE_SIZE);
	front_grant(REF(0), DATA, true); /* to be written from it is enough to read it */
	assert_int_equal(ask(&q), BLKIF_RSP_OKAY);
	for (unsigned i = 100 * 512; i < 188 * 512; i++)
		assert_int_equal(disk.data[i], 0x5a);
	assert_true(guest_raised(port));
	assert_string_equal(disk.log, "rw");
}

static void flushes(void **state)
{
	struct blkif_request q = request(BLKIF_OP_FLUSH_DISKCACHE, 8, 0);

	assert_int_equal(ask(&q), BLKIF_RSP_OKAY);
	assert_string_equal(disk.log, "f");
	q = request(BLKIF_OP_FLUSH_DISKCACHE, 8, 1);
	memset(frame(DATA), 0x77, PAGE_SIZE);
	assert_int_equal(ask(&q), BLKIF_RSP_OKAY);
	assert_string_equal(disk.log, "ffw");
	assert_int_equal(disk.data[8 * 512], 0x77);
	disk.error = -EIO;
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	disk.error = 0;
	q = request(BLKIF_OP_WRITE_BARRIER, 8, 1);
	assert_int_equal(ask(&q), BLKIF_RSP_EOPNOTSUPP);
	assert_string_equal(disk.log, "ffw");
}

static void discards(void **state)
{
	struct blkif_request_discard q = {
		.operation = BLKIF_OP_DISCARD, .id = 5, .sector_number = 8, .nr_sectors = 4000
	};
	struct blkif_request b = { 0 };

	memcpy(&b, &q, sizeof(q));
	assert_int_equal(ask(&b), BLKIF_RSP_OKAY);
	assert_int_equal(disk.discarded, 4000 * 512);
	q.nr_sectors = 4089;
	memcpy(&b, &q, sizeof(q));
	assert_int_equal(ask(&b), BLKIF_RSP_ERROR);
	q.nr_sectors = ~0ull;
	memcpy(&b, &q, sizeof(q));
	assert_int_equal(ask(&b), BLKIF_RSP_ERROR);
	q.nr_sectors = 0;
	memcpy(&b, &q, sizeof(q));
	assert_int_equal(ask(&b), BLKIF_RSP_OKAY);
	q.nr_sectors = 8;
	q.flag = BLKIF_DISCARD_SECURE;
	memcpy(&b, &q, sizeof(q));
	assert_int_equal(ask(&b), BLKIF_RSP_EOPNOTSUPP);
}

/* More than back ends take at a time goes on where it was. */
static void long_discards(void **state)
{
	struct blkif_request_discard q = { .operation = BLKIF_OP_DISCARD, .id = 5, .nr_sectors = (5ull << 30) / 512 };
	struct blkif_request b = { 0 };

	disk.b.info.size = 6ull << 30;
	memcpy(&b, &q, sizeof(q));
	assert_int_equal(ask(&b), BLKIF_RSP_OKAY);
	assert_int_equal(disk.discarded, 5ull << 30);
	assert_string_equal(disk.log, "ddd");
}

static struct blkif_request indirect(u8 op, u64 sector, u16 n)
{
	struct blkif_request_indirect q = { .operation = BLKIF_OP_INDIRECT,
					    .indirect_op = op,
					    .nr_segments = n,
					    .id = 9,
					    .sector_number = sector,
					    .indirect_grefs = { 6 } };
	struct blkif_request_segment *s = frame(90);
	struct blkif_request b = { 0 };

	front_grant(6, 90, true);
	for (unsigned i = 0; i < 512; i++)
		s[i] = (struct blkif_request_segment){ REF(i), 0, 7 };
	memcpy(&b, &q, sizeof(q));
	return b;
}

static void indirect_requests(void **state)
{
	struct blkif_request b = indirect(BLKIF_OP_READ, 8, 128);

	assert_int_equal(ask(&b), BLKIF_RSP_OKAY);
	assert_int_equal(answered, BLKIF_OP_READ);
	for (unsigned i = 0; i < 128; i++)
		assert_memory_equal(frame(DATA + i), disk.data + (8 + 8 * i) * 512, PAGE_SIZE);
	b = indirect(BLKIF_OP_READ, 8, 129);
	assert_int_equal(ask(&b), BLKIF_RSP_ERROR);
	b = indirect(BLKIF_OP_READ, 8, 0);
	assert_int_equal(ask(&b), BLKIF_RSP_ERROR);
	b = indirect(BLKIF_OP_FLUSH_DISKCACHE, 8, 1);
	assert_int_equal(ask(&b), BLKIF_RSP_ERROR);
	b = indirect(BLKIF_OP_INDIRECT, 8, 1);
	assert_int_equal(ask(&b), BLKIF_RSP_ERROR);
	b = indirect(BLKIF_OP_READ, 8, 128);
	((struct blkif_request_segment *)frame(90))[127].gref = 77777;
	assert_int_equal(ask(&b), BLKIF_RSP_ERROR);
	b = indirect(BLKIF_OP_WRITE, 8, 4);
	front_table()[6].flags = 0;
	assert_int_equal(ask(&b), BLKIF_RSP_ERROR);
}

static void bad_requests(void **state)
{
	static const u64 sectors[] = { SECTORS, SECTORS - 7, ~0ull, ~0ull - 7, 1ull << 55 };
	struct blkif_request q;

	for (unsigned i = 0; i < ARRAY_SIZE(sectors); i++) {
		q = request(BLKIF_OP_READ, sectors[i], 1);
		assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
		q = request(BLKIF_OP_WRITE, sectors[i], 1);
		assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
		q = request(BLKIF_OP_FLUSH_DISKCACHE, sectors[i], 1);
		assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	}
	q = request(BLKIF_OP_READ, 0, 0);
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	q = request(BLKIF_OP_READ, 0, 12);
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	q = request(BLKIF_OP_FLUSH_DISKCACHE, 0, 255);
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	q = request(99, 0, 1);
	assert_int_equal(ask(&q), BLKIF_RSP_EOPNOTSUPP);
	q = request(BLKIF_OP_READ, 0, 2);
	q.seg[1].first_sect = 5;
	q.seg[1].last_sect = 4;
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	q.seg[1].last_sect = 8;
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	assert_string_equal(disk.log, "");
}

static void bad_grants(void **state)
{
	struct blkif_request q = request(BLKIF_OP_READ, 0, 2);

	q.seg[1].gref = 512; /* beyond what the table has */
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	q.seg[1].gref = ~0u;
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	q.seg[1].gref = 300; /* nothing is granted by it */
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	q.seg[1].gref = REF(1);
	front_grant(REF(1), DATA + 1, true);
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR); /* to be read only */
	front_table()[REF(1)] = (struct grant_entry_v1){ GTF_permit_access, 7, DATA + 1 };
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR); /* to somebody else */
	front_table()[REF(1)] = (struct grant_entry_v1){ GTF_accept_transfer, 0, DATA + 1 };
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	front_grant(REF(1), GUEST_GRANTS, false); /* not its own frame to grant */
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	front_grant(REF(1), ~0u, false);
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	frame_table[DATA + 1] = true;
	front_grant(REF(1), DATA + 1, false);
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR); /* a page table */
	q.operation = BLKIF_OP_WRITE;
	assert_int_equal(ask(&q), BLKIF_RSP_OKAY); /* which may be read */
}

static void grants_are_marked(void **state)
{
	struct blkif_request read = request(BLKIF_OP_READ, 0, 1), write = request(BLKIF_OP_WRITE, 8, 1);

	push(&read);
	push(&write);
	assert_int_equal(disk.queued, 2);
	assert_int_equal(front_table()[REF(0)].flags, GTF_permit_access | GTF_reading | GTF_writing);
	assert_int_equal(frame_uses[DATA], 2);
	front_table()[REF(0)].frame = DATA + 9; /* too late */
	complete();
	assert_int_equal(front_table()[REF(0)].flags, GTF_permit_access);
	assert_int_equal(frame_uses[DATA], 0);
	assert_int_equal(frame_uses[DATA + 9], 0);
}

static void readonly_disk(void **state)
{
	struct blkif_request q = request(BLKIF_OP_WRITE, 0, 1);

	open_disk(true);
	connect();
	assert_string_equal(back_read(DEV, "info"), "4");
	assert_string_equal(back_read(DEV, "mode"), "r");
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	q.operation = BLKIF_OP_FLUSH_DISKCACHE;
	assert_int_equal(ask(&q), BLKIF_RSP_ERROR);
	q.operation = BLKIF_OP_READ;
	assert_int_equal(ask(&q), BLKIF_RSP_OKAY);
}

static void full_ring(void **state)
{
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 32; i++) {
			struct blkif_request q = request(BLKIF_OP_READ, i, 1);

			push(&q);
		}
		assert_int_equal(disk.queued, 32);
		complete();
		for (unsigned i = 32; i-- > 0;)
			assert_int_equal(response(1000 + i), BLKIF_RSP_OKAY);
		assert_int_equal(response(0), 99);
	}
}

/* The front end goes while requests are under way: the ring, and what is granted, stays until they are done. */
static void leaves_early(void **state)
{
	struct blkif_request q = request(BLKIF_OP_READ, 0, 1);

	push(&q);
	front_state(DEV, XenbusStateClosed);
	assert_int_equal(back_state(DEV), XenbusStateConnected);
	assert_int_equal(frame_uses[RING], 1);
	push(&q); /* nobody listens */
	assert_int_equal(disk.queued, 1);
	complete();
	assert_int_equal(back_state(DEV), XenbusStateClosed);
	assert_int_equal(frame_uses[RING], 0);
	front_check_idle();
	/* Its directory goes altogether. */
	front_state(DEV, XenbusStateInitialising);
	connect();
	assert_string_equal(client_ask(XS_RM, "device/" DEV), "OK");
	assert_int_equal(back_state(DEV), XenbusStateClosed);
}

static void bad_ring(void **state)
{
	struct blkif_request q = request(BLKIF_OP_READ, 0, 1);

	push(&q);
	ring.sring->req_prod = ring.req_prod_pvt + 33;
	guest_send(port);
	assert_int_equal(disk.queued, 1);
	ring.sring->req_prod = ring.req_prod_pvt; /* it is not listened to any more */
	push(&q);
	assert_int_equal(disk.queued, 1);
	complete();
	front_state(DEV, XenbusStateClosed);
	assert_int_equal(back_state(DEV), XenbusStateClosed);
}

static void ring_that_changes(void **state)
{
	struct blkif_request q = request(BLKIF_OP_READ, 0, 1);

	for (unsigned i = 0; i < 500; i++) {
		ring.sring->rsp_prod = i * 77;
		ring.sring->rsp_event = i * 13;
		ring.sring->req_event = i;
		memcpy(&ring.sring->ring[i % 32], &q, sizeof(q));
		ring.sring->req_prod++;
		guest_send(port);
		complete();
	}
	front_state(DEV, XenbusStateClosed);
	assert_int_equal(back_state(DEV), XenbusStateClosed);
}

static void bad_handshakes(void **state)
{
	static const char *const refs[] = { "", "x", "-1", "99999999999999999999", "300", "7 ", "4294967296" };

	open_disk(false);
	front_grant(7, RING, false);
	for (unsigned i = 0; i < ARRAY_SIZE(refs); i++) {
		front_write(DEV, "ring-ref", refs[i]);
		front_write_number(DEV, "event-channel", front_port());
		front_state(DEV, XenbusStateInitialised);
		assert_int_equal(back_state(DEV), XenbusStateClosing);
		assert_string_not_equal(back_read(DEV, "error"), "ENOENT");
		front_state(DEV, XenbusStateClosed);
		front_state(DEV, XenbusStateInitialising);
		assert_int_equal(back_state(DEV), XenbusStateInitWait);
	}
	front_write(DEV, "ring-ref", "7");
	front_write(DEV, "event-channel", "1"); /* the store's */
	front_state(DEV, XenbusStateInitialised);
	assert_int_equal(back_state(DEV), XenbusStateClosing);
	front_state(DEV, XenbusStateInitialising);
	front_write_number(DEV, "event-channel", front_port());
	front_write(DEV, "protocol", "x86_32-abi");
	front_state(DEV, XenbusStateInitialised);
	assert_int_equal(back_state(DEV), XenbusStateClosing);
	front_write(DEV, "state", "\x01rubbish");
	front_write(DEV, "state", "77");
	front_state(DEV, XenbusStateInitialising);
	connect();
}

/* The VMM ends with a request under way that nothing completes. */
static void ends_with_requests(void **state)
{
	struct blkif_request q = request(BLKIF_OP_READ, 0, 1);

	push(&q);
	assert_int_equal(disk.queued, 1);
	machine_end(m, END_USER, 0);
}

static void grant_hypercall(void **state)
{
	struct gnttab_query_size size = { .dom = DOMID_SELF };
	struct gnttab_setup_table setup_table = { .dom = DOMID_SELF, .nr_frames = 4 };
	struct gnttab_set_version version = { .version = 2 };
	struct gnttab_map_grant_ref map[2] = { 0 };
	struct grant g;
	u64 arg[6] = { GNTTABOP_query_size, 0x9000, 1 };

	machine_write(m, 0x9000, &size, sizeof(size));
	assert_int_equal(hypercall_grant_table_op(m->vcpu[0], arg), 0);
	machine_read(m, 0x9000, &size, sizeof(size));
	assert_int_equal(size.status, GNTST_okay);
	assert_int_equal(size.nr_frames, 1);
	assert_int_equal(size.max_nr_frames, 32);
	front_table()[3 * 512] = (struct grant_entry_v1){ GTF_permit_access, 0, DATA };
	assert_int_equal(grant_get(d, 3 * 512, true, &g), -EINVAL);
	arg[0] = GNTTABOP_setup_table;
	setup_table.frame_list.p = (void *)0xa000;
	machine_write(m, 0x9000, &setup_table, sizeof(setup_table));
	assert_int_equal(hypercall_grant_table_op(m->vcpu[0], arg), 0);
	assert_int_equal(((u64 *)frame(10))[3], GUEST_GRANTS + 3);
	assert_int_equal(grant_get(d, 3 * 512, true, &g), 0);
	grant_put(d, &g);
	assert_int_equal(grant_get(d, 4 * 512, true, &g), -EINVAL);
	setup_table.nr_frames = 33;
	machine_write(m, 0x9000, &setup_table, sizeof(setup_table));
	assert_int_equal(hypercall_grant_table_op(m->vcpu[0], arg), 0);
	machine_read(m, 0x9000, &setup_table, sizeof(setup_table));
	assert_int_equal(setup_table.status, GNTST_general_error);
	setup_table.nr_frames = 1;
	setup_table.frame_list.p = (void *)GUEST_UNMAPPED;
	machine_write(m, 0x9000, &setup_table, sizeof(setup_table));
	assert_int_equal(hypercall_grant_table_op(m->vcpu[0], arg), -EFAULT);
	setup_table.dom = 5;
	machine_write(m, 0x9000, &setup_table, sizeof(setup_table));
	assert_int_equal(hypercall_grant_table_op(m->vcpu[0], arg), 0);
	machine_read(m, 0x9000, &setup_table, sizeof(setup_table));
	assert_int_equal(setup_table.status, GNTST_bad_domain);
	arg[0] = GNTTABOP_set_version;
	machine_write(m, 0x9000, &version, sizeof(version));
	assert_int_equal(hypercall_grant_table_op(m->vcpu[0], arg), -ENOSYS);
	version.version = 1;
	machine_write(m, 0x9000, &version, sizeof(version));
	assert_int_equal(hypercall_grant_table_op(m->vcpu[0], arg), 0);
	arg[0] = GNTTABOP_map_grant_ref;
	arg[2] = 2;
	machine_write(m, 0x9000, map, sizeof(map));
	assert_int_equal(hypercall_grant_table_op(m->vcpu[0], arg), 0);
	machine_read(m, 0x9000, map, sizeof(map));
	assert_int_equal(map[1].status, GNTST_bad_domain);
	arg[2] = ~0ull;
	assert_int_equal(hypercall_grant_table_op(m->vcpu[0], arg), -EINVAL);
	arg[0] = 99;
	assert_int_equal(hypercall_grant_table_op(m->vcpu[0], arg), -ENOSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(handshake, teardown),
		cmocka_unit_test_setup_teardown(reads_and_writes, setup, teardown),
		cmocka_unit_test_setup_teardown(flushes, setup, teardown),
		cmocka_unit_test_setup_teardown(discards, setup, teardown),
		cmocka_unit_test_setup_teardown(long_discards, setup, teardown),
		cmocka_unit_test_setup_teardown(indirect_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_grants, setup, teardown),
		cmocka_unit_test_setup_teardown(grants_are_marked, setup, teardown),
		cmocka_unit_test_teardown(readonly_disk, teardown),
		cmocka_unit_test_setup_teardown(full_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(leaves_early, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(ring_that_changes, setup, teardown),
		cmocka_unit_test_teardown(bad_handshakes, teardown),
		cmocka_unit_test_setup_teardown(ends_with_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(grant_hypercall, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
