/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that wait, in order, in memory of their own. Bounded; not thread-safe. */
#pragma once
#include <sys/uio.h>

#include "util/types.h"

struct frame {
	struct frame *next;
	u32 len;
	u8 data[];
};
struct frame_queue {
	struct frame *first, **end; /* end NULL: as first */
	unsigned count;
	size_t bytes;
};

/* NULL: no memory. Its data is not set. */
struct frame *frame_new(u32 len);
void queue_put(struct frame_queue *q, struct frame *f);
struct frame *queue_take(struct frame_queue *q); /* NULL: empty */
void queue_put_back(struct frame_queue *q, struct frame *f); /* it is first again */
/* Everything that is in from becomes to's, which was empty. */
void queue_move(struct frame_queue *to, struct frame_queue *from);
void queue_clear(struct frame_queue *q);
/* Bytes of iov; ~0 when there are more than max. */
u32 iov_total(const struct iovec *iov, unsigned iovs, u32 max);
/* Copies at most max bytes to `to`: what the guest may change must be read once only. Returns how many. */
u32 iov_gather(void *to, const struct iovec *iov, unsigned iovs, u32 max);
