/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings as a driver uses them and as a hostile one would: every rule that it can break marks the device broken and does
 * nothing else; notifications and interrupts come when they are wanted and only then; nothing survives a reset.
 */
#include "virtio-driver.h"

#include <stdlib.h>

#define OUT VRING_DESC_F_WRITE /* flags of a descriptor, as the device sees it */
#define RAM BIT(24) /* of the fixture's machine */

/* A device that keeps what it pops until it is told to give it back. */
struct keeper {
	struct virtio_device d;
	struct virtq_buffer kept[64];
	unsigned count, resets, changed;
	int last; /* what virtq_pop() returned */
	bool destroyed;
};
static struct keeper k;
static struct machine *m;
static struct driver dr;

static void keep(struct virtio_device *d, unsigned index)
{
	struct virtq *q = virtio_queue(d, index);

	while (k.count < ARRAY_SIZE(k.kept) && (k.last = virtq_pop(q, &k.kept[k.count])) > 0)
		k.count++;
}

static void forget(struct virtio_device *d)
{
	k.resets++;
}

static void gone(struct virtio_device *d)
{
	k.destroyed = true;
}

static const struct virtio_ops keeper_ops = {
	.name = "keeper", .id = 63, .notify = keep, .reset = forget, .destroy = gone
};

static void begin(u64 features)
{
	m = fixture_machine(1);
	k = (struct keeper){ .d = { .ops = &keeper_ops, .machine = m, .queues = 2, .queue_size = 16 } };
	driver_start(&dr, &k.d, features);
}

static void end(void)
{
	driver_stop(&dr);
	assert_true(k.destroyed);
	machine_free(m);
}

static struct virtq *queue(unsigned q)
{
	return virtio_queue(&k.d, q);
}

static void give_back(u32 written)
{
	for (unsigned i = 0; i < k.count; i++)
		virtq_push(queue(0), &k.kept[i], written);
	k.count = 0;
	virtq_signal(queue(0));
}

/* ---- drivers that keep to the rules ---- */

static void buffers(void **state)
{
	begin(0);
	const struct part out[] = { { driver_alloc(&dr, 16), 16 }, { driver_alloc(&dr, 5), 5 } };
	const struct part in[] = { { driver_alloc(&dr, 100), 100 },
				   { driver_alloc(&dr, 7), 0 },
				   { driver_alloc(&dr, 9), 9 } };
	const struct virtq_buffer *b = k.kept;
	u8 bytes[128];
	u32 len;
	u16 head;

	for (unsigned round = 0; round < 70000; round++) { /* indices wrap */
		head = driver_add(&dr, 0, out, 2, in, 3);
		driver_kick(&dr, 0);
		if (k.count != 1 || b->head != head)
			fail_msg("round %u: %u buffers, head %u, not %u", round, k.count, b->head, head);
		virtq_push(queue(0), b, 42);
		k.count = 0;
		assert_int_equal(driver_used(&dr, 0, &len), head);
		assert_int_equal(len, 42);
	}
	assert_int_equal(k.last, 0);
	assert_int_equal(b->outs, 2);
	assert_int_equal(b->ins, 2); /* one was empty */
	assert_int_equal(b->out_len, 21);
	assert_int_equal(b->in_len, 109);
	assert_ptr_equal(b->iov[1].iov_base, driver_ptr(&dr, out[1].gpa, 5));
	memset(driver_ptr(&dr, out[0].gpa, 16), 1, 16);
	memset(driver_ptr(&dr, out[1].gpa, 5), 2, 5);
	assert_int_equal(virtq_read(b, 14, bytes, 100), 7);
	assert_memory_equal(bytes, "\1\1\2\2\2\2\2", 7);
	assert_int_equal(virtq_read(b, 21, bytes, 1), 0);
	assert_int_equal(virtq_write(b, 99, "abcde", 5), 5);
	assert_memory_equal((u8 *)driver_ptr(&dr, in[0].gpa, 100) + 98,
			    "\xcc"
			    "a",
			    2);
	assert_memory_equal(driver_ptr(&dr, in[2].gpa, 9), "bcde\xcc", 5);
	assert_int_equal(virtq_write(b, 106, "abcde", 5), 3);
	assert_false(driver_broken(&dr));
	end();
}

static void unpop(void **state)
{
	begin(0);
	const struct part in = { driver_alloc(&dr, 16), 16 };

	driver_add(&dr, 0, NULL, 0, &in, 1);
	driver_kick(&dr, 0);
	assert_int_equal(k.count, 1);
	virtq_unpop(queue(0), &k.kept[0]);
	k.count = 0;
	driver_kick(&dr, 0);
	assert_int_equal(k.count, 1);
	end();
}

static void indirect(void **state)
{
	begin(BIT(VIRTIO_RING_F_INDIRECT_DESC));
	u64 table = driver_alloc(&dr, 4096) + 1; /* of any alignment */
	u64 a = driver_alloc(&dr, 64);

	driver_descriptor(&dr, table, 0, (struct vring_desc){ a, 4, VRING_DESC_F_NEXT, 5 });
	driver_descriptor(&dr, table, 5, (struct vring_desc){ a + 8, 4, OUT, 0 });
	/* A direct part before it, and a write flag that means nothing. */
	driver_descriptor(&dr, dr.q[0].desc, 0, (struct vring_desc){ a + 16, 4, VRING_DESC_F_NEXT, 3 });
	driver_descriptor(&dr, dr.q[0].desc, 3, (struct vring_desc){ table, 96, VRING_DESC_F_INDIRECT | OUT, 0 });
	driver_offer(&dr, 0, 0);
	driver_kick(&dr, 0);
	assert_int_equal(k.count, 1);
	assert_int_equal(k.kept[0].outs, 2);
	assert_int_equal(k.kept[0].ins, 1);
	assert_ptr_equal(k.kept[0].iov[2].iov_base, driver_ptr(&dr, a + 8, 4));
	end();
}

/* Without event indices: flags. */
static void flags(void **state)
{
	begin(0);
	const struct part in = { driver_alloc(&dr, 16), 16 };
	u16 *used = driver_ptr(&dr, dr.q[0].used, 4), *avail = driver_ptr(&dr, dr.q[0].avail, 4);

	driver_add(&dr, 0, NULL, 0, &in, 1);
	driver_kick(&dr, 0);
	assert_int_equal(used[0], 0); /* all taken: it wants to hear of more */
	give_back(0);
	assert_int_equal(dr.q[0].interrupts, 1);
	virtq_signal(queue(0)); /* nothing new */
	assert_int_equal(dr.q[0].interrupts, 1);
	avail[0] = VRING_AVAIL_F_NO_INTERRUPT;
	driver_add(&dr, 0, NULL, 0, &in, 1);
	driver_kick(&dr, 0);
	give_back(0);
	assert_int_equal(dr.q[0].interrupts, 1);
	end();
}

static u16 *avail_event(void)
{
	return driver_ptr(&dr, dr.q[0].used + 4 + 8 * dr.q[0].size, 2);
}

static u16 *used_event(void)
{
	return driver_ptr(&dr, dr.q[0].avail + 4 + 2 * dr.q[0].size, 2);
}

static void event_index(void **state)
{
	begin(BIT(VIRTIO_RING_F_EVENT_IDX));
	const struct part in = { driver_alloc(&dr, 16), 16 };

	for (unsigned i = 0; i < 3; i++)
		driver_add(&dr, 0, NULL, 0, &in, 1);
	driver_kick(&dr, 0);
	assert_int_equal(*avail_event(), 3);
	*used_event() = 1; /* interrupt with the second */
	virtq_push(queue(0), &k.kept[0], 0);
	virtq_signal(queue(0));
	assert_int_equal(dr.q[0].interrupts, 0);
	virtq_push(queue(0), &k.kept[1], 0);
	virtq_signal(queue(0));
	assert_int_equal(dr.q[0].interrupts, 1);
	virtq_push(queue(0), &k.kept[2], 0);
	virtq_signal(queue(0));
	assert_int_equal(dr.q[0].interrupts, 1);
	end();
}

/* ---- drivers that do not ---- */

#define OK	 VRING_DESC_F_NEXT
#define INDIRECT VRING_DESC_F_INDIRECT
static const struct hostile {
	const char *what;
	struct vring_desc desc[4]; /* of the ring; a table of 4 more is at TABLE */
	u16 head;
	struct vring_desc table[4];
} hostile[] = {
	{ "head outside", { { 0x1000, 4, 0, 0 } }, 16 },
	{ "head far outside", { { 0x1000, 4, 0, 0 } }, 0xffff },
	{ "next outside", { { 0x1000, 4, OK, 16 } } },
	{ "a loop of one", { { 0x1000, 4, OK, 0 } } },
	{ "a loop of empty parts", { { 0x1000, 0, OK, 1 }, { 0x1000, 0, OK, 0 } } },
	{ "readable after writable", { { 0x1000, 4, OUT | OK, 1 }, { 0x1000, 4, 0, 0 } } },
	{ "outside RAM", { { RAM, 1, 0, 0 } } },
	{ "over the end of RAM", { { RAM - 4, 5, OUT, 0 } } },
	{ "wraps around", { { ~0ull - 1, 4, OUT, 0 } } },
	{ "the largest", { { 0, ~0u, OUT, 0 } } },
	{ "a device's registers", { { 0xfee00000, 4, OUT, 0 } } },
	{ "indirect and next", { { 0x2000, 16, INDIRECT | OK, 1 } }, 0, { { 0x1000, 4, 0, 0 } } },
	{ "indirect of no length", { { 0x2000, 0, INDIRECT, 0 } } },
	{ "indirect of odd length", { { 0x2000, 17, INDIRECT, 0 } }, 0, { { 0x1000, 4, 0, 0 } } },
	{ "indirect outside RAM", { { RAM, 16, INDIRECT, 0 } } },
	{ "indirect over the end", { { RAM - 16, 32, INDIRECT, 0 } } },
	{ "indirect of huge length", { { 0x2000, 0xfffffff0, INDIRECT, 0 } } },
	{ "indirect of indirect", { { 0x2000, 16, INDIRECT, 0 } }, 0, { { 0x2010, 16, INDIRECT, 0 } } },
	{ "indirect loop", { { 0x2000, 32, INDIRECT, 0 } }, 0, { { 0x1000, 4, OK, 1 }, { 0x1000, 4, OK, 0 } } },
	{ "indirect next outside", { { 0x2000, 16, INDIRECT, 0 } }, 0, { { 0x1000, 4, OK, 1 } } },
	{ "order across tables",
	  { { 0x1000, 4, OUT | OK, 1 }, { 0x2000, 16, INDIRECT, 0 } },
	  0,
	  { { 0x1000, 4, 0, 0 } } },
};

static void is_broken(const char *what)
{
	if (!driver_broken(&dr) || k.last != -1 || k.count)
		fail_msg("%s: status %#x, pop %d, %u buffers", what, transport_read_status(&k.d), k.last, k.count);
	assert_int_equal(dr.config_interrupts, 1);
	assert_null(queue(0));
	driver_kick(&dr, 0);
	driver_kick(&dr, 1);
	driver_kick(&dr, 2); /* which it does not have */
	driver_kick(&dr, ~0u);
	assert_int_equal(k.count, 0);
}

/* After a reset it is as good as new. */
static void heals(u64 features)
{
	driver_negotiate(&dr, features);
	const struct part in = { driver_alloc(&dr, 16), 16 };

	driver_add(&dr, 0, NULL, 0, &in, 1);
	driver_kick(&dr, 0);
	assert_int_equal(k.count, 1);
	k.count = 0;
}

static void hostile_chains(void **state)
{
	begin(0);
	for (unsigned i = 0; i < ARRAY_SIZE(hostile); i++) {
		driver_negotiate(&dr, BIT(VIRTIO_RING_F_INDIRECT_DESC));
		dr.config_interrupts = 0;
		for (unsigned j = 0; j < 4; j++) {
			driver_descriptor(&dr, dr.q[0].desc, j, hostile[i].desc[j]);
			driver_descriptor(&dr, 0x2000, j, hostile[i].table[j]);
		}
		driver_offer(&dr, 0, hostile[i].head);
		driver_kick(&dr, 0);
		is_broken(hostile[i].what);
		heals(0);
	}
	end();
}

static void indirect_unasked(void **state)
{
	begin(0);
	driver_descriptor(&dr, dr.q[0].desc, 0, (struct vring_desc){ 0x2000, 16, INDIRECT, 0 });
	driver_descriptor(&dr, 0x2000, 0, (struct vring_desc){ 0x1000, 4, 0, 0 });
	driver_offer(&dr, 0, 0);
	driver_kick(&dr, 0);
	is_broken("indirect that was not negotiated");
	end();
}

/* More parts than any queue has, all good, in one table. */
static void long_chain(void **state)
{
	begin(BIT(VIRTIO_RING_F_INDIRECT_DESC));
	for (unsigned n = VIRTQ_SIZE_MAX - 1; n <= VIRTQ_SIZE_MAX; n++) {
		driver_negotiate(&dr, BIT(VIRTIO_RING_F_INDIRECT_DESC));
		dr.config_interrupts = 0;
		u64 table = driver_alloc(&dr, 16 * n);

		for (unsigned i = 0; i < n; i++)
			driver_descriptor(&dr, table, i,
					  (struct vring_desc){ 0x1000, 4, i + 1 < n ? OK : 0, (u16)(i + 1) });
		driver_descriptor(&dr, dr.q[0].desc, 0, (struct vring_desc){ table, 16 * n, INDIRECT, 0 });
		driver_offer(&dr, 0, 0);
		driver_kick(&dr, 0);
		if (n < VIRTQ_SIZE_MAX) {
			assert_int_equal(k.count, 1);
			assert_int_equal(k.kept[0].outs, n);
			k.count = 0;
		}
	}
	is_broken("a chain too long");
	end();
}

static void index_jumps(void **state)
{
	static const u16 jumps[] = { 17, 100, 0x8000, 0xffff };

	begin(0);
	for (unsigned i = 0; i < ARRAY_SIZE(jumps); i++) {
		driver_negotiate(&dr, 0);
		dr.config_interrupts = 0;
		((u16 *)driver_ptr(&dr, dr.q[0].avail, 4))[1] = jumps[i];
		driver_kick(&dr, 0);
		is_broken("the index jumps");
		heals(0);
	}
	end();
}

/* Each offer is fine, but no ring holds as many. */
static void too_many_under_way(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		begin(packed ? BIT(VIRTIO_F_RING_PACKED) : 0);
		for (unsigned i = 0; i < 17; i++) {
			u16 flags = i < 16 ? 1u << VRING_PACKED_DESC_F_AVAIL : 1u << VRING_PACKED_DESC_F_USED;

			driver_descriptor(&dr, dr.q[0].desc, i % 16,
					  (struct vring_desc){ 0x1000, 4, 0, packed ? flags : 0 });
			if (!packed)
				driver_offer(&dr, 0, 3);
			driver_kick(&dr, 0);
			assert_int_equal(driver_broken(&dr), i == 16);
		}
		assert_int_equal(k.count, 16);
		end();
	}
}

static void bad_ring(u64 desc, u64 avail, u64 used)
{
	struct virtq *q = &k.d.transport->queue[1];
	u64 *field[] = { &q->desc_gpa, &q->avail_gpa, &q->used_gpa }, value[] = { desc, avail, used };

	transport_write_status(&k.d, 0);
	transport_write_status(&k.d, 3);
	transport_write_features(&k.d, 1, 1);
	transport_write_status(&k.d, 0xb);
	for (unsigned i = 0; i < 6; i++)
		transport_set_queue_address(q, field[i / 2], i % 2, (u32)(value[i / 2] >> 32 * (i % 2)));
	transport_enable_queue(q);
	assert_false(q->enabled);
	assert_true(driver_broken(&dr));
	transport_write_status(&k.d, 0xf);
	assert_null(queue(1));
	driver_kick(&dr, 1);
}

static void ring_places(void **state)
{
	begin(0);
	bad_ring(RAM, 0x1000, 0x2000);
	bad_ring(RAM - 16 * 15, 0x1000, 0x2000);
	bad_ring(0x8, 0x1000, 0x2000);
	bad_ring(0, 0x1001, 0x2000);
	bad_ring(0, RAM - 36, 0x2000); /* the event index does not fit */
	bad_ring(0, 0x1000, 0x2002);
	bad_ring(0, 0x1000, RAM - 132);
	bad_ring(~0ull & ~15ull, 0x1000, 0x2000);
	bad_ring(0xfee00000, 0x1000, 0x2000);
	assert_int_equal(k.count, 0);
	end();
}

static void queue_sizes(void **state)
{
	static const u16 bad[] = { 0, 3, 15, 17, 32, 0x8000, 0xffff };
	struct virtq *q;

	begin(0);
	q = &k.d.transport->queue[0];
	transport_write_status(&k.d, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		transport_set_queue_size(q, bad[i]);
		assert_int_equal(q->size, 16);
	}
	transport_set_queue_size(q, 1);
	assert_int_equal(q->size, 1);
	transport_set_queue_address(q, &q->used_gpa, 0, 0x2000);
	transport_set_queue_address(q, &q->avail_gpa, 0, 0x1000);
	transport_enable_queue(q);
	assert_true(q->enabled);
	transport_set_queue_size(q, 8); /* too late */
	transport_set_queue_address(q, &q->used_gpa, 0, 0x3000);
	assert_int_equal(q->size, 1);
	assert_int_equal(q->used_gpa, 0x2000);
	transport_write_status(&k.d, 0);
	assert_int_equal(q->size, 16);
	assert_false(q->enabled);
	end();
}

/* ---- status and features ---- */

static void refused(u64 features)
{
	transport_write_status(&k.d, 0);
	transport_write_status(&k.d, 3);
	transport_write_features(&k.d, 0, (u32)features);
	transport_write_features(&k.d, 1, (u32)(features >> 32));
	transport_write_features(&k.d, 2, ~0u);
	transport_write_status(&k.d, 0xb);
	assert_int_equal(transport_read_status(&k.d), 3);
	transport_write_status(&k.d, 0xf);
	assert_int_equal(transport_read_status(&k.d), 3);
	assert_false(virtio_running(&k.d));
	driver_kick(&dr, 0);
}

static void features(void **state)
{
	begin(0);
	assert_int_equal(transport_read_features(&k.d, 2), 0);
	assert_true(transport_read_features(&k.d, 1) & 1);
	refused(0); /* a legacy driver */
	refused(~0ull);
	refused(BIT(VIRTIO_F_VERSION_1) | 1);
	driver_negotiate(&dr, 0);
	transport_write_features(&k.d, 0, BIT(VIRTIO_RING_F_INDIRECT_DESC)); /* too late */
	assert_int_equal(k.d.features, BIT(VIRTIO_F_VERSION_1));
	transport_write_status(&k.d, 1); /* bits stay */
	assert_int_equal(transport_read_status(&k.d), 0xf);
	end();
}

/* A buffer from before a reset changes nothing after it, however late it comes. */
static void reset_under_way(void **state)
{
	begin(0);
	const struct part in = { driver_alloc(&dr, 16), 16 };
	struct virtq_buffer old;
	struct virtq *q;

	driver_add(&dr, 0, NULL, 0, &in, 1);
	driver_kick(&dr, 0);
	q = queue(0);
	old = k.kept[0];
	k.count = 0;
	k.resets = 0;
	transport_write_status(&k.d, 0);
	assert_int_equal(k.resets, 1);
	virtq_push(q, &old, 16);
	virtq_signal(q);
	driver_negotiate(&dr, 0);
	virtq_push(q, &old, 16);
	virtq_unpop(q, &old);
	virtq_signal(q);
	assert_int_equal(driver_used(&dr, 0, NULL), -1);
	assert_int_equal(dr.q[0].interrupts, 0);
	heals(0);
	end();
}

/* ---- anything at all ---- */

static u64 seed = 0x5e87a97;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull;
}

static struct vring_desc any_descriptor(void)
{
	static const u64 at[] = { 0x2000, 0x2100, 0x1000, RAM - 64, RAM, 0xfee00000, ~0ull - 15 };
	static const u32 len[] = { 16, 32, 64, 4, 0, 4096, ~0u };

	return (struct vring_desc){ at[rnd() % 7 % (1 + rnd() % 7)], len[rnd() % 7 % (1 + rnd() % 7)],
				    (u16)(rnd() % 8 & (rnd() % 8)), (u16)(rnd() % 18) };
}

static void random_rings(void **state)
{
	unsigned kept = 0;

	begin(0);
	for (unsigned i = 0; i < 40000; i++) {
		if (driver_broken(&dr) || i % 64 == 0)
			driver_negotiate(&dr, (u64)(rnd() % 4) << VIRTIO_RING_F_INDIRECT_DESC);
		for (unsigned j = 0; j < 4; j++)
			driver_descriptor(&dr, rnd() % 2 ? dr.q[0].desc : 0x2000, (unsigned)rnd() % 16,
					  any_descriptor());
		driver_offer(&dr, 0, (u16)(rnd() % 17));
		if (rnd() % 200 == 0)
			((u16 *)driver_ptr(&dr, dr.q[0].avail, 4))[1] = (u16)rnd();
		driver_kick(&dr, 0);
		kept += k.count;
		for (unsigned n = 0; n < k.count; n++) {
			virtq_write(&k.kept[n], rnd() % 64, &seed, 8);
			if (queue(0) && rnd() % 4)
				virtq_push(queue(0), &k.kept[n], (u32)rnd());
		}
		k.count = 0;
		if (queue(0))
			virtq_signal(queue(0));
	}
	assert_true(kept > 1000);
	end();
}

/* Another CPU rewrites the rings while they are read. */
static atomic_bool done;

static void *scribble(void *arg)
{
	struct driver copy = dr;
	u64 *desc = driver_ptr(&copy, copy.q[0].desc, 256), *table = driver_ptr(&copy, 0x2000, 256);

	while (!atomic_load(&done)) {
		struct vring_desc d = any_descriptor();
		u64 half[2];

		memcpy(half, &d, 16);
		for (unsigned i = 0; i < 2; i++) {
			__atomic_store_n(&desc[rnd() % 16 * 2 + i], half[i], __ATOMIC_RELAXED);
			__atomic_store_n(&table[rnd() % 16 * 2 + i], half[i], __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

static void changed_while_read(void **state)
{
	pthread_t other;

	begin(BIT(VIRTIO_RING_F_INDIRECT_DESC));
	atomic_store(&done, false);
	assert_int_equal(pthread_create(&other, NULL, scribble, NULL), 0);
	for (unsigned i = 0; i < 20000; i++) {
		if (driver_broken(&dr))
			driver_negotiate(&dr, BIT(VIRTIO_RING_F_INDIRECT_DESC));
		driver_offer(&dr, 0, i % 16);
		driver_kick(&dr, 0);
		for (unsigned n = 0; n < k.count; n++)
			virtq_write(&k.kept[n], 0, "x", 1);
		k.count = 0;
	}
	atomic_store(&done, true);
	pthread_join(other, NULL);
	end();
}

/* ---- packed rings ---- */

#define PACKED	   (BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define ROUND_BITS (1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED)

static struct packed { /* queue 0's driver: where it is, and its round's flags */
	u16 next, seen;
	u16 available, used;
} pk;

static void begin_packed(u64 features)
{
	begin(PACKED | features);
	pk = (struct packed){ .available = 1u << VRING_PACKED_DESC_F_AVAIL, .used = ROUND_BITS };
}

static struct vring_packed_desc *packed_desc(unsigned i)
{
	return (struct vring_packed_desc *)driver_ptr(&dr, dr.q[0].desc, 256) + i;
}

static struct vring_packed_desc_event *event(u64 gpa)
{
	return driver_ptr(&dr, gpa, 4);
}

/* One more descriptor; those that follow its first are there before it, as they are only looked at after it. */
static void packed_add(u64 addr, u32 len, u16 id, u16 flags)
{
	*packed_desc(pk.next) = (struct vring_packed_desc){ addr, len, id, flags | pk.available };
	if (++pk.next == dr.q[0].size) {
		pk.next = 0;
		pk.available ^= ROUND_BITS;
	}
}

/* The ID of what comes next, and how many descriptors it had; -1: nothing. */
static int packed_used(u32 *len, u16 slots)
{
	struct vring_packed_desc d = *packed_desc(pk.seen);

	if ((d.flags & ROUND_BITS) != pk.used)
		return -1;
	*len = d.len;
	pk.seen += slots;
	if (pk.seen >= dr.q[0].size) {
		pk.seen -= dr.q[0].size;
		pk.used ^= ROUND_BITS;
	}
	return d.id;
}

static void packed_buffers(void **state)
{
	u32 len;

	begin_packed(0);
	for (unsigned round = 0; round < 1000; round++) { /* 3, 1 and 2 descriptors; 16 is no multiple of 6 */
		packed_add(0x3000, 8, 0, VRING_DESC_F_NEXT);
		packed_add(0x3100, 4, 0, VRING_DESC_F_NEXT | OUT);
		packed_add(0x3200, 2, 7, OUT);
		packed_add(0x3300, 1, 0xffff, OUT);
		packed_add(0x3400, 16, 0, VRING_DESC_F_NEXT);
		packed_add(0x3500, 16, 9, 0);
		driver_kick(&dr, 0);
		if (k.count != 3)
			fail_msg("round %u: %u buffers", round, k.count);
		assert_int_equal(k.kept[0].out_len * 100 + k.kept[0].in_len, 806);
		assert_int_equal(k.kept[2].outs * 10 + k.kept[2].ins, 20);
		assert_ptr_equal(k.kept[0].iov[2].iov_base, driver_ptr(&dr, 0x3200, 2));
		virtq_push(queue(0), &k.kept[1], 1); /* in any order */
		virtq_push(queue(0), &k.kept[2], 0);
		virtq_push(queue(0), &k.kept[0], 6);
		k.count = 0;
		assert_int_equal(packed_used(&len, 1), 0xffff);
		assert_int_equal(len, 1);
		assert_int_equal(packed_used(&len, 2), 9);
		assert_int_equal(packed_used(&len, 3), 7);
		assert_int_equal(len, 6);
		assert_int_equal(packed_used(&len, 1), -1);
	}
	assert_false(driver_broken(&dr));
	end();
}

static void packed_unpop(void **state)
{
	u32 len;

	begin_packed(0);
	for (unsigned round = 0; round < 40; round++) { /* across the end of the ring too */
		for (unsigned i = 0; i < 3; i++)
			packed_add(0x3000, 8, (u16)round, i < 2 ? VRING_DESC_F_NEXT : 0);
		driver_kick(&dr, 0);
		assert_int_equal(k.count, 1);
		k.count = 0;
		virtq_unpop(queue(0), &k.kept[0]);
		driver_kick(&dr, 0);
		assert_int_equal(k.count, 1);
		assert_int_equal(k.kept[0].outs, 3);
		give_back(0);
		assert_int_equal(packed_used(&len, 3), round);
	}
	end();
}

static void packed_events(void **state)
{
	u32 len;
	unsigned before;

	begin_packed(BIT(VIRTIO_RING_F_EVENT_IDX));
	for (unsigned i = 0; i < 13; i++)
		packed_add(0x3000, 8, (u16)i, 0);
	driver_kick(&dr, 0);
	assert_int_equal(event(dr.q[0].used)->flags, VRING_PACKED_EVENT_FLAG_DESC);
	assert_int_equal(event(dr.q[0].used)->off_wrap, 13 | 1u << 15);
	event(dr.q[0].avail)->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	give_back(0);
	assert_int_equal(dr.q[0].interrupts, 0);
	for (unsigned i = 0; i < 13; i++)
		packed_used(&len, 1);
	/* The next is at place 13; interrupt with the one at place 1 of the next round. */
	event(dr.q[0].avail)->off_wrap = 1;
	event(dr.q[0].avail)->flags = VRING_PACKED_EVENT_FLAG_DESC;
	for (unsigned i = 0; i < 5; i++) {
		packed_add(0x3000, 8, (u16)i, 0);
		driver_kick(&dr, 0);
		assert_int_equal(dr.q[0].interrupts, 0);
		give_back(0);
		assert_int_equal(dr.q[0].interrupts, i == 4);
	}
	assert_int_equal(event(dr.q[0].used)->off_wrap, 2);
	/* The whole ring at once. */
	before = dr.q[0].interrupts;
	event(dr.q[0].avail)->off_wrap = 9;
	for (unsigned i = 0; i < 16; i++)
		packed_add(0x3000, 8, (u16)i, 0);
	driver_kick(&dr, 0);
	give_back(0);
	assert_int_equal(dr.q[0].interrupts, before + 1);
	event(dr.q[0].avail)->flags = VRING_PACKED_EVENT_FLAG_ENABLE;
	packed_add(0x3000, 8, 1, 0);
	driver_kick(&dr, 0);
	give_back(0);
	assert_int_equal(dr.q[0].interrupts, before + 2);
	end();
}

static void packed_indirect(void **state)
{
	struct vring_packed_desc *table;

	begin_packed(0);
	table = driver_ptr(&dr, 0x2000, 64);
	table[0] = (struct vring_packed_desc){ 0x3000, 4, 0, VRING_DESC_F_NEXT }; /* which means nothing here */
	table[1] = (struct vring_packed_desc){ 0x3100, 4, 0, OUT };
	packed_add(0x2000, 32, 3, VRING_DESC_F_INDIRECT);
	driver_kick(&dr, 0);
	assert_int_equal(k.count, 1);
	assert_int_equal(k.kept[0].outs * 10 + k.kept[0].ins, 11);
	assert_int_equal(k.kept[0].slots, 1);
	end();
}

static const struct {
	const char *what;
	struct vring_packed_desc desc[2], table[2];
} hostile_packed[] = {
	{ "outside RAM", { { RAM, 1, 0, 0 } }, { { 0 } } },
	{ "wraps around", { { ~0ull, 2, 0, 0 } }, { { 0 } } },
	{ "readable after writable", { { 0x3000, 1, 0, OUT | OK }, { 0x3000, 1, 0, 0 } }, { { 0 } } },
	{ "indirect and next", { { 0x2000, 16, 0, INDIRECT | OK }, { 0x3000, 1, 0, 0 } }, { { 0x3000, 4, 0, 0 } } },
	{ "indirect after another", { { 0x3000, 1, 0, OK }, { 0x2000, 16, 0, INDIRECT } }, { { 0x3000, 4, 0, 0 } } },
	{ "indirect of indirect", { { 0x2000, 16, 0, INDIRECT } }, { { 0x2010, 16, 0, INDIRECT } } },
	{ "indirect of no length", { { 0x2000, 0, 0, INDIRECT } }, { { 0 } } },
	{ "indirect of odd length", { { 0x2000, 24, 0, INDIRECT } }, { { 0x3000, 4, 0, 0 } } },
	{ "indirect of huge length", { { 0x2000, 0x10000, 0, INDIRECT } }, { { 0x3000, 4, 0, 0 } } },
	{ "indirect outside RAM", { { RAM - 16, 32, 0, INDIRECT } }, { { 0 } } },
};

static void packed_hostile(void **state)
{
	begin_packed(0);
	for (unsigned i = 0; i <= ARRAY_SIZE(hostile_packed); i++) {
		driver_negotiate(&dr, PACKED);
		dr.config_interrupts = 0;
		pk = (struct packed){ .available = 1u << VRING_PACKED_DESC_F_AVAIL };
		for (unsigned j = 0; j < dr.q[0].size; j++) /* last: a chain without an end */
			if (i == ARRAY_SIZE(hostile_packed))
				packed_add(0x3000, 1, 0, VRING_DESC_F_NEXT);
			else if (j < 2 && hostile_packed[i].desc[j].addr)
				packed_add(hostile_packed[i].desc[j].addr, hostile_packed[i].desc[j].len, 0,
					   hostile_packed[i].desc[j].flags);
		if (i < ARRAY_SIZE(hostile_packed))
			memcpy(driver_ptr(&dr, 0x2000, 32), hostile_packed[i].table, 32);
		driver_kick(&dr, 0);
		is_broken(i < ARRAY_SIZE(hostile_packed) ? hostile_packed[i].what : "endless");
		heals(0);
	}
	end();
}

static void packed_random(void **state)
{
	unsigned kept = 0;

	begin_packed(0);
	for (unsigned i = 0; i < 40000; i++) {
		if (driver_broken(&dr) || i % 64 == 0)
			driver_negotiate(&dr, BIT(VIRTIO_F_RING_PACKED) | (rnd() % 4) << VIRTIO_RING_F_INDIRECT_DESC);
		for (unsigned j = 0; j < 6; j++) {
			struct vring_desc d = any_descriptor();

			d.flags |= (u16)(rnd() & ROUND_BITS);
			driver_descriptor(&dr, rnd() % 3 ? dr.q[0].desc : 0x2000, (unsigned)rnd() % 16,
					  (struct vring_desc){ d.addr, d.len, d.next, d.flags });
		}
		driver_kick(&dr, 0);
		kept += k.count;
		for (unsigned n = 0; n < k.count; n++) {
			virtq_write(&k.kept[n], rnd() % 64, &seed, 8);
			if (queue(0) && rnd() % 4)
				virtq_push(queue(0), &k.kept[n], (u32)rnd());
		}
		if (k.count && queue(0) && rnd() % 8 == 0)
			virtq_unpop(queue(0), &k.kept[k.count - 1]);
		k.count = 0;
		if (queue(0))
			virtq_signal(queue(0));
	}
	assert_true(kept > 1000);
	end();
}

/* ---- a guest that never stops filling its queue leaves the I/O thread to others ---- */

/* As if another CPU made the next buffer available before this one is done. */
static void swallow(struct virtio_device *d, unsigned index)
{
	struct virtq *q = virtio_queue(d, index);
	struct virtq_buffer b;

	while (virtq_pop(q, &b) > 0) {
		virtq_push(q, &b, 0);
		if (!atomic_load(&done))
			driver_offer(&dr, 0, dr.q[0].added % 16);
	}
	virtq_signal(q);
}

static const struct virtio_ops swallow_ops = { .name = "swallow", .id = 63, .notify = swallow, .destroy = gone };

static void *io_thread(void *arg)
{
	loop_run(m->loop);
	return NULL;
}

static void other_work(void *arg, u64 now)
{
	atomic_store(&done, true);
	loop_quit(m->loop);
}

static void greedy_guest(void **state)
{
	const struct machine_config c = { .ram_size = BIT(24), .cpus = 1, .model = cpu_model_find(NULL, NULL) };
	struct timer t = { ~0ull, other_work, NULL };
	pthread_t io;

	m = machine_new(&c, NULL);
	k = (struct keeper){ .d = { .ops = &swallow_ops, .machine = m, .queues = 1, .queue_size = 16 } };
	driver_start(&dr, &k.d, 0);
	for (unsigned i = 0; i < 16; i++)
		driver_descriptor(&dr, dr.q[0].desc, i, (struct vring_desc){ 0x1000, 4, OUT, 0 });
	atomic_store(&done, false);
	driver_offer(&dr, 0, 0);
	driver_kick(&dr, 0);
	timer_arm(m->clock, &t, clock_now(m->clock) + 20 * MS);
	assert_int_equal(pthread_create(&io, NULL, io_thread, NULL), 0);
	pthread_join(io, NULL);
	assert_true(dr.q[0].added > VIRTQ_SIZE_MAX);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffers),
		cmocka_unit_test(unpop),
		cmocka_unit_test(indirect),
		cmocka_unit_test(flags),
		cmocka_unit_test(event_index),
		cmocka_unit_test(hostile_chains),
		cmocka_unit_test(indirect_unasked),
		cmocka_unit_test(long_chain),
		cmocka_unit_test(index_jumps),
		cmocka_unit_test(ring_places),
		cmocka_unit_test(queue_sizes),
		cmocka_unit_test(features),
		cmocka_unit_test(reset_under_way),
		cmocka_unit_test(random_rings),
		cmocka_unit_test(changed_while_read),
		cmocka_unit_test(packed_buffers),
		cmocka_unit_test(packed_unpop),
		cmocka_unit_test(packed_events),
		cmocka_unit_test(packed_indirect),
		cmocka_unit_test(packed_hostile),
		cmocka_unit_test(packed_random),
		cmocka_unit_test(too_many_under_way),
		cmocka_unit_test(greedy_guest),
	};
	const char *other = getenv("SEXTANT_SEED");

	if (other)
		seed = strtoull(other, NULL, 0) | 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
