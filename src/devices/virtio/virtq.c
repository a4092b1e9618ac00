/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues, whatever the format of their rings (ring_split.c, ring_packed.c): taking buffers and giving them back, when to notify
 * whom, what a buffer's parts may be. These three files are the one place that reads what a guest's driver wrote to a
 * ring. The guest may write any of it at any time, from another CPU while we look: so each field is read exactly once,
 * into a local, and checked there. What breaks the rules marks the device broken.
 *
 * Departure from 2.7.4.2: parts of length 0 are skipped, as nothing forbids them and there is nothing to get wrong.
 */
#include <string.h>

#include "devices/virtio/transport.h"

static bool usable(const struct virtq *q)
{
	return q->enabled && virtio_running(q->d);
}

/* ---- for the formats ---- */

void virtq_disable(struct virtq *q)
{
	q->enabled = false;
	q->epoch++;
}

u8 *virtq_memory(const struct virtq *q, u64 gpa, u64 len, u64 alignment)
{
	return gpa % alignment ? NULL : ram_ptr(q->d->machine, gpa, len);
}

bool virtq_add_part(const struct virtq *q, struct virtq_buffer *b, u64 gpa, u32 len, bool writable)
{
	u8 *host;

	if (!writable && b->ins)
		return false;
	if (!len)
		return true;
	host = ram_ptr(q->d->machine, gpa, len);
	if (!host)
		return false;
	b->iov[b->outs + b->ins] = (struct iovec){ host, len };
	if (writable) {
		b->ins++;
		b->in_len += len;
	} else {
		b->outs++;
		b->out_len += len;
	}
	return true;
}

const u8 *virtq_indirect(const struct virtq *q, u64 gpa, u32 len, bool chained, u32 *entries)
{
	if (!virtio_has(q->d, VIRTIO_RING_F_INDIRECT_DESC) || chained || !len || len % DESC_BYTES)
		return NULL;
	*entries = len / DESC_BYTES;
	return ram_ptr(q->d->machine, gpa, len);
}

/* ---- taking ---- */

/* What is left is looked at again after others have had their turn. */
static bool turn_is_over(struct virtq *q)
{
	if (q->budget < 0 || q->budget--)
		return false;
	q->budget = 0;
	transport_kick(q->d, q->index);
	return true;
}

/* The driver looks at what we want after it has written its index; we look at that again after we have said it. */
static int ask_for_more(struct virtq *q)
{
	q->ring->want(q, true);
	atomic_thread_fence(memory_order_seq_cst);
	return q->ring->waiting(q);
}

int virtq_pop(struct virtq *q, struct virtq_buffer *b)
{
	int n;

	if (!usable(q))
		return -1;
	if (turn_is_over(q))
		return 0;
	n = q->ring->waiting(q);
	if (!n)
		n = ask_for_more(q);
	else
		q->ring->want(q, false);
	if (!n)
		return 0;
	b->outs = b->ins = 0;
	b->out_len = b->in_len = 0;
	b->epoch = q->epoch;
	/* More buffers than descriptors: then a slow disk would have any number of requests to keep. */
	if (n < 0 || q->under_way == q->size || !q->ring->take(q, b) || MAX(b->in_len, b->out_len) > UINT32_MAX) {
		virtio_broken(q->d);
		return -1;
	}
	q->under_way++;
	return 1;
}

void virtq_unpop(struct virtq *q, const struct virtq_buffer *b)
{
	if (b->epoch != q->epoch)
		return;
	q->under_way--;
	q->ring->untake(q, b);
}

/* ---- giving back ---- */

/* Also of a buffer that was forgotten meanwhile: its bytes may have been written all the same. */
static void tell_engines(const struct virtq *q, const struct virtq_buffer *b)
{
	for (unsigned i = b->outs; i < b->outs + b->ins; i++)
		machine_written(q->d->machine, b->iov[i].iov_base, b->iov[i].iov_len);
}

void virtq_push(struct virtq *q, const struct virtq_buffer *b, u32 written)
{
	tell_engines(q, b);
	if (b->epoch != q->epoch || !usable(q))
		return;
	q->under_way--;
	q->unsignalled = true;
	q->ring->give(q, b, written);
}

void virtq_signal(struct virtq *q)
{
	struct virtio_transport *t = q->d->transport;
	bool wanted;

	if (!usable(q) || !q->unsignalled)
		return;
	/* The driver writes what it wants and then looks at the ring; we have written that and now look. */
	atomic_thread_fence(memory_order_seq_cst);
	wanted = q->ring->wants_interrupt(q);
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
