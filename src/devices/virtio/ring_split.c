/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split rings (virtio 1.2, 2.7).
 *
 *   descriptors  addr 8, len 4, flags 2, next 2                              at 16-byte boundaries
 *   available    flags 2, idx 2, ring 2 * size, used_event 2                 the driver writes
 *   used         flags 2, idx 2, ring (id 4, len 4) * size, avail_event 2    we write
 */
#include "devices/virtio/transport.h"

#define RING_AT	  4u /* flags, idx */
#define USED_ELEM 8u

static bool enable(struct virtq *q)
{
	q->desc = virtq_memory(q, q->desc_gpa, (u64)DESC_BYTES * q->size, 16);
	q->avail = virtq_memory(q, q->avail_gpa, RING_AT + 2ull * q->size + 2, 2);
	q->used = virtq_memory(q, q->used_gpa, RING_AT + (u64)USED_ELEM * q->size + 2, 4);
	return q->desc && q->avail && q->used;
}

static int waiting(const struct virtq *q)
{
	u16 n = (u16)(ring_load(q->avail + 2) - q->next_avail);

	return n > q->size ? -1 : n;
}

/* ---- one buffer ---- */

static void load_descriptor(struct vring_desc *d, const u8 *p)
{
	u64 addr, rest;

	ring_load_descriptor(p, &addr, &rest);
	*d = (struct vring_desc){ addr, (u32)rest, (u16)(rest >> 32), (u16)(rest >> 48) };
}

/* Follows a chain; `budget` bounds its length, so that a loop ends. 2.7.5.3.1: a table is neither nested nor followed. */
static bool walk(struct virtq *q, struct virtq_buffer *b, const u8 *table, u32 entries, u16 first, bool indirect,
		 unsigned budget)
{
	struct vring_desc d = { .next = first };

	do {
		if (d.next >= entries || !budget--)
			return false;
		load_descriptor(&d, table + (u64)DESC_BYTES * d.next);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			table = virtq_indirect(q, d.addr, d.len, d.flags & VRING_DESC_F_NEXT, &entries);
			return !indirect && table && walk(q, b, table, entries, 0, true, budget);
		}
		if (!virtq_add_part(q, b, d.addr, d.len, d.flags & VRING_DESC_F_WRITE))
			return false;
	} while (d.flags & VRING_DESC_F_NEXT);
	return true;
}

static bool take(struct virtq *q, struct virtq_buffer *b)
{
	b->head = ring_load(q->avail + RING_AT + 2 * (q->next_avail % q->size));
	if (!walk(q, b, q->desc, q->size, b->head, false, VIRTQ_SIZE_MAX))
		return false;
	q->next_avail++;
	return true;
}

static void untake(struct virtq *q, const struct virtq_buffer *b)
{
	q->next_avail--;
}

static void give(struct virtq *q, const struct virtq_buffer *b, u32 written)
{
	u8 *element = q->used + RING_AT + USED_ELEM * (q->used_idx % q->size);

	__atomic_store_n((u32 *)element, b->head, __ATOMIC_RELAXED);
	__atomic_store_n((u32 *)(element + 4), written, __ATOMIC_RELAXED);
	machine_written(q->d->machine, element, USED_ELEM);
	ring_store(q->used + 2, ++q->used_idx);
	machine_written(q->d->machine, q->used, RING_AT);
}

/* ---- who is to be told: 2.7.7, 2.7.10 ---- */

static bool wants_interrupt(const struct virtq *q)
{
	if (!virtio_has(q->d, VIRTIO_RING_F_EVENT_IDX))
		return !(ring_load(q->avail) & VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(ring_load(q->avail + RING_AT + 2 * q->size), q->used_idx, q->signalled);
}

/* By an index up to which there is no need to notify, or by a flag. */
static void want(struct virtq *q, bool notifications)
{
	if (virtio_has(q->d, VIRTIO_RING_F_EVENT_IDX)) {
		u8 *event = q->used + RING_AT + USED_ELEM * q->size;

		if (!notifications)
			return;
		ring_store(event, q->next_avail);
		machine_written(q->d->machine, event, 2);
	} else if (q->quiet == notifications) {
		q->quiet = !notifications;
		ring_store(q->used, notifications ? 0 : VRING_USED_F_NO_NOTIFY);
		machine_written(q->d->machine, q->used, 2);
	}
}

const struct ring_ops ring_split = { enable, waiting, take, untake, give, wants_interrupt, want };
