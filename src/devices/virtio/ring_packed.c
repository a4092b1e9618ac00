/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed rings (virtio 1.2, 2.8): one ring of descriptors that both sides write.
 *
 *   descriptors    addr 8, len 4, id 2, flags 2, at 16-byte boundaries
 *   driver events  place and round 2, flags 2: when we are to interrupt      device events  the same, when it is to notify
 *
 * In each round through the ring "available" and "used" of a descriptor's flags change their sense: available is when the one
 * is as this round's bit and the other is not, used when both are. A buffer's descriptors follow one another; it is given
 * back by one descriptor, in the order of giving back, after which as many are skipped as it had.
 */
#include "devices/virtio/transport.h"

#define FLAGS_AT    14u
#define ID_AT	    12u
#define LEN_AT	    8u
#define AVAILABLE   (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED	    (1u << VRING_PACKED_DESC_F_USED)
#define EVENT_BYTES 4u
#define EVENT_FLAGS 2u
#define ROUND	    (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

static bool enable(struct virtq *q)
{
	q->desc = virtq_memory(q, q->desc_gpa, (u64)DESC_BYTES * q->size, 16);
	q->avail = virtq_memory(q, q->avail_gpa, EVENT_BYTES, 4);
	q->used = virtq_memory(q, q->used_gpa, EVENT_BYTES, 4);
	q->avail_wrap = q->used_wrap = true;
	return q->desc && q->avail && q->used;
}

/* There is no count; the first one tells. */
static int waiting(const struct virtq *q)
{
	u16 flags = ring_load(q->desc + DESC_BYTES * q->next_avail + FLAGS_AT);

	return !(flags & AVAILABLE) != q->avail_wrap && !(flags & USED) == q->avail_wrap;
}

static void advance(const struct virtq *q, u16 *at, bool *wrap, u16 slots)
{
	*at += slots;
	if (*at < q->size)
		return;
	*at -= q->size;
	*wrap = !*wrap;
}

/* ---- one buffer ---- */

struct part {
	u64 addr;
	u32 len;
	u16 id, flags;
};

static struct part load_descriptor(const u8 *p)
{
	u64 addr, rest;

	ring_load_descriptor(p, &addr, &rest);
	return (struct part){ addr, (u32)rest, (u16)(rest >> 32), (u16)(rest >> 48) };
}

/* 2.8.7: all entries, one after the other; of their flags only "writable" counts, but a table is not nested. */
static bool walk_indirect(struct virtq *q, struct virtq_buffer *b, const u8 *table, u32 entries)
{
	if (!table || entries > VIRTQ_SIZE_MAX)
		return false;
	for (u32 i = 0; i < entries; i++) {
		struct part d = load_descriptor(table + DESC_BYTES * i);

		if (d.flags & VRING_DESC_F_INDIRECT ||
		    !virtq_add_part(q, b, d.addr, d.len, d.flags & VRING_DESC_F_WRITE))
			return false;
	}
	return true;
}

static bool take(struct virtq *q, struct virtq_buffer *b)
{
	u16 at = q->next_avail, slots = 0;
	bool wrap = q->avail_wrap;
	u32 entries = 0;
	struct part d;

	do {
		if (slots++ == q->size)
			return false;
		d = load_descriptor(q->desc + DESC_BYTES * at);
		advance(q, &at, &wrap, 1);
		if (d.flags & VRING_DESC_F_INDIRECT) { /* alone: 2.8.8 */
			const u8 *table = virtq_indirect(q, d.addr, d.len, d.flags & VRING_DESC_F_NEXT || slots > 1,
							 &entries);

			if (!walk_indirect(q, b, table, entries))
				return false;
		} else if (!virtq_add_part(q, b, d.addr, d.len, d.flags & VRING_DESC_F_WRITE)) {
			return false;
		}
	} while (d.flags & VRING_DESC_F_NEXT);
	b->head = d.id; /* of the last (2.8.6): the driver's affair */
	b->slots = slots;
	q->next_avail = at;
	q->avail_wrap = wrap;
	return true;
}

static void untake(struct virtq *q, const struct virtq_buffer *b)
{
	if (q->next_avail < b->slots) {
		q->next_avail += q->size;
		q->avail_wrap = !q->avail_wrap;
	}
	q->next_avail -= b->slots;
}

static void give(struct virtq *q, const struct virtq_buffer *b, u32 written)
{
	u8 *d = q->desc + DESC_BYTES * q->used_idx;

	__atomic_store_n((u32 *)(d + LEN_AT), written, __ATOMIC_RELAXED);
	__atomic_store_n((u16 *)(d + ID_AT), b->head, __ATOMIC_RELAXED);
	ring_store(d + FLAGS_AT, (q->used_wrap ? AVAILABLE | USED : 0) | (written ? VRING_DESC_F_WRITE : 0));
	machine_written(q->d->machine, d, DESC_BYTES);
	advance(q, &q->used_idx, &q->used_wrap, b->slots);
}

/* ---- who is to be told: 2.8.10 ---- */

/* Places become numbers that count on from the round before; the driver's may be of either. */
static bool wants_interrupt(const struct virtq *q)
{
	u16 flags = ring_load(q->avail + EVENT_FLAGS), event, at, old = q->signalled;

	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !virtio_has(q->d, VIRTIO_RING_F_EVENT_IDX))
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	event = ring_load(q->avail);
	at = event & (u16)~ROUND;
	if (!(event & ROUND) == q->used_wrap)
		at -= q->size;
	if (old >= q->used_idx) /* not equal: something was given */
		old -= q->size;
	return vring_need_event(at, q->used_idx, old);
}

static void want(struct virtq *q, bool notifications)
{
	bool by_place = virtio_has(q->d, VIRTIO_RING_F_EVENT_IDX);

	if (!notifications && q->quiet)
		return;
	if (notifications && by_place)
		ring_store(q->used, q->next_avail | (q->avail_wrap ? ROUND : 0));
	ring_store(q->used + EVENT_FLAGS, !notifications ? VRING_PACKED_EVENT_FLAG_DISABLE
					  : by_place	 ? VRING_PACKED_EVENT_FLAG_DESC
							 : VRING_PACKED_EVENT_FLAG_ENABLE);
	q->quiet = !notifications;
	machine_written(q->d->machine, q->used, EVENT_FLAGS + 2);
}

const struct ring_ops ring_packed = { enable, waiting, take, untake, give, wants_interrupt, want };
