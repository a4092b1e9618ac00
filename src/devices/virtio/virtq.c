/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split rings (virtio 1.2, 2.7): the one place that reads what a guest's driver wrote to them. The guest may write any of it
 * at any time, from another CPU while we look: so each field is read exactly once, into a local, and checked there.
 *
 *   descriptors  addr 8, len 4, flags 2, next 2                              at 16-byte boundaries
 *   available    flags 2, idx 2, ring 2 * size, used_event 2                 the driver writes
 *   used         flags 2, idx 2, ring (id 4, len 4) * size, avail_event 2    we write
 *
 * What breaks the rules marks the device broken. Departure from 2.7.4.2: parts of length 0 are skipped, as nothing forbids
 * them and there is nothing to get wrong.
 */
#include <string.h>

#include "devices/virtio/transport.h"

#define DESC_BYTES 16u
#define RING_AT	   4u /* flags, idx */
#define USED_ELEM  8u

static u16 load16(const u8 *p)
{
	return __atomic_load_n((const u16 *)p, __ATOMIC_ACQUIRE);
}

static void store16(u8 *p, u16 value)
{
	__atomic_store_n((u16 *)p, value, __ATOMIC_RELEASE);
}

/* An indirect table may be misaligned: halves of a descriptor, each read once. */
static void load_descriptor(struct vring_desc *d, const u8 *p)
{
	u64 addr = *(const volatile u64_una *)p, rest = *(const volatile u64_una *)(p + 8);

	d->addr = addr;
	d->len = (u32)rest;
	d->flags = (u16)(rest >> 32);
	d->next = (u16)(rest >> 48);
}

static bool usable(const struct virtq *q)
{
	return q->enabled && virtio_running(q->d);
}

/* ---- where the rings are ---- */

static u8 *ring_memory(const struct virtq *q, u64 gpa, u64 len, u64 alignment)
{
	return gpa % alignment ? NULL : ram_ptr(q->d->machine, gpa, len);
}

bool virtq_enable(struct virtq *q)
{
	u8 *desc = ring_memory(q, q->desc_gpa, (u64)DESC_BYTES * q->size, 16);
	u8 *avail = ring_memory(q, q->avail_gpa, RING_AT + 2ull * q->size + 2, 2);
	u8 *used = ring_memory(q, q->used_gpa, RING_AT + (u64)USED_ELEM * q->size + 2, 4);

	if (!desc || !avail || !used)
		return false;
	q->desc = desc;
	q->avail = avail;
	q->used = used;
	q->next_avail = q->used_idx = q->signalled = 0;
	q->unsignalled = q->quiet = false;
	q->enabled = true;
	return true;
}

void virtq_disable(struct virtq *q)
{
	q->enabled = false;
	q->epoch++;
}

/* ---- one buffer ---- */

/* Appends what a descriptor names; readable parts come first (2.7.4.2). */
static bool add_part(struct virtq *q, struct virtq_buffer *b, const struct vring_desc *d)
{
	bool in = d->flags & VRING_DESC_F_WRITE;
	u8 *host;

	if (!in && b->ins)
		return false;
	if (!d->len)
		return true;
	host = ram_ptr(q->d->machine, d->addr, d->len);
	if (!host)
		return false;
	b->iov[b->outs + b->ins] = (struct iovec){ host, d->len };
	if (in) {
		b->ins++;
		b->in_len += d->len;
	} else {
		b->outs++;
		b->out_len += d->len;
	}
	return true;
}

static bool walk_indirect(struct virtq *q, struct virtq_buffer *b, const struct vring_desc *d, unsigned budget);

/* Follows a chain; `budget` bounds its length, so that a loop ends. 2.7.5.3.1: a table is neither nested nor followed. */
static bool walk(struct virtq *q, struct virtq_buffer *b, const u8 *table, u32 entries, u16 first, bool indirect,
		 unsigned budget)
{
	struct vring_desc d = { .next = first };

	do {
		if (d.next >= entries || !budget--)
			return false;
		load_descriptor(&d, table + (u64)DESC_BYTES * d.next);
		if (d.flags & VRING_DESC_F_INDIRECT)
			return !indirect && walk_indirect(q, b, &d, budget);
		if (!add_part(q, b, &d))
			return false;
	} while (d.flags & VRING_DESC_F_NEXT);
	return true;
}

static bool walk_indirect(struct virtq *q, struct virtq_buffer *b, const struct vring_desc *d, unsigned budget)
{
	const u8 *table;

	if (!virtio_has(q->d, VIRTIO_RING_F_INDIRECT_DESC) || d->flags & VRING_DESC_F_NEXT || !d->len ||
	    d->len % DESC_BYTES)
		return false;
	table = ram_ptr(q->d->machine, d->addr, d->len);
	return table && walk(q, b, table, d->len / DESC_BYTES, 0, true, budget);
}

/* ---- the available ring ---- */

static u16 available_ring_index(const struct virtq *q)
{
	return load16(q->avail + 2);
}

/* How many buffers wait; -1 when the driver claims more than there can be. */
static int waiting(struct virtq *q)
{
	u16 n = (u16)(available_ring_index(q) - q->next_avail);

	return n > q->size ? -1 : n;
}

/* 2.7.7: by an index up to which there is no need to notify, or by a flag. */
static void want_notifications(struct virtq *q)
{
	if (virtio_has(q->d, VIRTIO_RING_F_EVENT_IDX))
		store16(q->used + RING_AT + USED_ELEM * q->size, q->next_avail);
	else if (q->quiet)
		store16(q->used, 0);
	q->quiet = false;
	/* The driver looks at this after it has written its index, we at that after we wrote this. */
	atomic_thread_fence(memory_order_seq_cst);
}

static void want_quiet(struct virtq *q)
{
	if (q->quiet || virtio_has(q->d, VIRTIO_RING_F_EVENT_IDX))
		return;
	q->quiet = true;
	store16(q->used, VRING_USED_F_NO_NOTIFY);
}

int virtq_pop(struct virtq *q, struct virtq_buffer *b)
{
	int n;

	if (!usable(q))
		return -1;
	n = waiting(q);
	if (!n) {
		want_notifications(q);
		n = waiting(q);
	} else {
		want_quiet(q);
	}
	if (!n)
		return 0;
	b->outs = b->ins = 0;
	b->out_len = b->in_len = 0;
	b->epoch = q->epoch;
	b->head = load16(q->avail + RING_AT + 2 * (q->next_avail % q->size));
	if (n < 0 || !walk(q, b, q->desc, q->size, b->head, false, VIRTQ_SIZE_MAX) ||
	    MAX(b->in_len, b->out_len) > UINT32_MAX) {
		virtio_broken(q->d);
		return -1;
	}
	q->next_avail++;
	return 1;
}

void virtq_unpop(struct virtq *q, const struct virtq_buffer *b)
{
	if (b->epoch == q->epoch)
		q->next_avail--;
}

/* ---- the used ring ---- */

/* Also of a buffer that was forgotten meanwhile: its bytes may have been written all the same. */
static void tell_engines(const struct virtq *q, const struct virtq_buffer *b)
{
	for (unsigned i = b->outs; i < b->outs + b->ins; i++)
		machine_written(q->d->machine, b->iov[i].iov_base, b->iov[i].iov_len);
}

void virtq_push(struct virtq *q, const struct virtq_buffer *b, u32 written)
{
	u8 *element;

	tell_engines(q, b);
	if (b->epoch != q->epoch || !usable(q))
		return;
	element = q->used + RING_AT + USED_ELEM * (q->used_idx % q->size);
	__atomic_store_n((u32 *)element, b->head, __ATOMIC_RELAXED);
	__atomic_store_n((u32 *)(element + 4), written, __ATOMIC_RELAXED);
	machine_written(q->d->machine, element, USED_ELEM);
	q->unsignalled = true;
	store16(q->used + 2, ++q->used_idx);
	machine_written(q->d->machine, q->used, RING_AT);
}

/* 2.7.7.2, 2.7.10: whether the driver wants to hear of what was pushed since it was told last. */
static bool wants_interrupt(const struct virtq *q)
{
	if (!virtio_has(q->d, VIRTIO_RING_F_EVENT_IDX))
		return !(load16(q->avail) & VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(load16(q->avail + RING_AT + 2 * q->size), q->used_idx, q->signalled);
}

void virtq_signal(struct virtq *q)
{
	struct virtio_transport *t = q->d->transport;
	bool wanted;

	if (!usable(q) || !q->unsignalled)
		return;
	/* The driver writes what it wants and then looks at our index; we have written that and now look. */
	atomic_thread_fence(memory_order_seq_cst);
	wanted = wants_interrupt(q);
	q->signalled = q->used_idx;
	q->unsignalled = false;
	if (wanted)
		t->ops->interrupt(t->arg, q->index);
}

/* ---- copies ---- */

/* Each part of [offset, offset + len) that lies in iov[0..n), with its place in a flat copy. */
static size_t copy(const struct iovec *iov, unsigned n, u64 offset, u8 *flat, size_t len, bool to_guest)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		u8 *guest = iov[i].iov_base;
		size_t here;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		here = MIN(iov[i].iov_len - offset, len - done);
		if (to_guest)
			memcpy(guest + offset, flat + done, here);
		else
			memcpy(flat + done, guest + offset, here);
		done += here;
		offset = 0;
	}
	return done;
}

size_t virtq_read(const struct virtq_buffer *b, u64 offset, void *to, size_t len)
{
	return copy(b->iov, b->outs, offset, to, len, false);
}

size_t virtq_write(const struct virtq_buffer *b, u64 offset, const void *from, size_t len)
{
	return copy(b->iov + b->outs, b->ins, offset, (u8 *)from, len, true);
}
