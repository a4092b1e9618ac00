/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring between us and a vhost-user back end (virtio 1.2, 2.7: a split ring, of which we are the driver). Its three
 * parts lie in memory that the back end can write at any time: nothing is read from there but the used part, each
 * field once and checked; what must be true is kept beside it.
 */
#pragma once
#include "devices/virtio/virtio.h"

#define SHADOW_SIZE	  512u /* descriptors: more than the longest buffer has parts */
#define SHADOW_RING_BYTES 16384u /* of shared memory, a ring */
_Static_assert(SHADOW_SIZE > VIRTQ_IOVS_MAX &&
		       SHADOW_SIZE * 16 + 6 + SHADOW_SIZE * 2 + 8 + SHADOW_SIZE * 8 <= SHADOW_RING_BYTES,
	       "a ring holds the longest buffer and fits its memory");

struct shadow_ring {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	int kick, call;
	u16 avail_idx, used_idx;
	u16 free, frees; /* list of free descriptors, by next[] */
	u16 next[SHADOW_SIZE];
	struct virtq_buffer *under_way[SHADOW_SIZE]; /* by first descriptor */
	u16 length[SHADOW_SIZE]; /* descriptors of that buffer */
};

/* memory: SHADOW_RING_BYTES, page-aligned. */
struct shadow_ring *shadow_ring_new(u8 *memory, struct error *err);
void shadow_ring_free(struct shadow_ring *r); /* and what is under way */
void shadow_ring_clear(struct shadow_ring *r); /* as new: nothing under way */
static inline bool shadow_ring_fits(const struct shadow_ring *r, const struct virtq_buffer *b)
{
	return b->outs + b->ins <= r->frees;
}
/* Makes *b, which fits, available; a copy is kept. false: no memory. */
bool shadow_ring_add(struct shadow_ring *r, struct machine *m, const struct virtq_buffer *b);
void shadow_ring_kick(struct shadow_ring *r); /* after one or more */
/* The next buffer that the back end has used, the caller's to free; *written as it says, at most what the buffer
 * holds. 0: *b is set, or NULL when there is none; -1: the back end breaks the rules. */
int shadow_ring_take(struct shadow_ring *r, struct virtq_buffer **b, u32 *written);
/* Any buffer that is under way, taken back from a back end that is gone; NULL when there is none. The caller's to free. */
struct virtq_buffer *shadow_ring_take_any(struct shadow_ring *r);
