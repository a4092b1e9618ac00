/* SPDX-License-Identifier: Apache-2.0 */
/* Queues of frames, and copying from scattered memory. */
#include "host/net/queue.h"

#include <stdlib.h>
#include <string.h>

struct frame *frame_new(u32 len)
{
	struct frame *f = malloc(sizeof(*f) + len);

	if (f)
		*f = (struct frame){ .len = len };
	return f;
}

void queue_put(struct frame_queue *q, struct frame *f)
{
	f->next = NULL;
	*(q->first ? q->end : &q->first) = f;
	q->end = &f->next;
	q->count++;
	q->bytes += f->len;
}

struct frame *queue_take(struct frame_queue *q)
{
	struct frame *f = q->first;

	if (f) {
		q->first = f->next;
		q->count--;
		q->bytes -= f->len;
	}
	return f;
}

void queue_put_back(struct frame_queue *q, struct frame *f)
{
	if (!q->first)
		q->end = &f->next;
	f->next = q->first;
	q->first = f;
	q->count++;
	q->bytes += f->len;
}

void queue_move(struct frame_queue *to, struct frame_queue *from)
{
	*to = *from;
	*from = (struct frame_queue){ 0 };
}

void queue_clear(struct frame_queue *q)
{
	struct frame *f;

	while ((f = queue_take(q)))
		free(f);
}

u32 iov_total(const struct iovec *iov, unsigned iovs, u32 max)
{
	u32 total = 0;

	for (unsigned i = 0; i < iovs; i++) {
		if (iov[i].iov_len > max - total)
			return ~0u;
		total += (u32)iov[i].iov_len;
	}
	return total;
}

u32 iov_gather(void *to, const struct iovec *iov, unsigned iovs, u32 max)
{
	u32 at = 0;

	for (unsigned i = 0; i < iovs && at < max; i++) {
		u32 n = (u32)MIN(iov[i].iov_len, max - at);

		memcpy((u8 *)to + at, iov[i].iov_base, n);
		at += n;
	}
	return at;
}
