/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's side of a split ring; see vhost_ring.h. */
#include "devices/virtio/vhost_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define AVAIL_AT (SHADOW_SIZE * sizeof(struct vring_desc))
#define USED_AT	 ((AVAIL_AT + 6 + SHADOW_SIZE * 2 + 7) & ~7u)
#define NONE	 0xffffu

void shadow_ring_clear(struct shadow_ring *r)
{
	for (unsigned k = 0; k < SHADOW_SIZE; k++) {
		free(r->under_way[k]);
		r->under_way[k] = NULL;
		r->next[k] = (u16)(k + 1 < SHADOW_SIZE ? k + 1 : NONE);
	}
	memset(r->desc, 0, SHADOW_RING_BYTES);
	r->free = 0;
	r->frees = SHADOW_SIZE;
	r->avail_idx = r->used_idx = 0;
}

struct shadow_ring *shadow_ring_new(u8 *memory, struct error *err)
{
	struct shadow_ring *r = calloc(1, sizeof(*r));

	if (!r) {
		error_set(err, ENOMEM, "no memory for a ring");
		return NULL;
	}
	r->desc = (struct vring_desc *)memory;
	r->avail = (struct vring_avail *)(memory + AVAIL_AT);
	r->used = (struct vring_used *)(memory + USED_AT);
	r->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->kick < 0 || r->call < 0) {
		error_set(err, errno, "cannot make an eventfd: %s", strerror(errno));
		shadow_ring_free(r);
		return NULL;
	}
	shadow_ring_clear(r);
	return r;
}

void shadow_ring_free(struct shadow_ring *r)
{
	if (!r)
		return;
	for (unsigned k = 0; k < SHADOW_SIZE; k++)
		free(r->under_way[k]);
	if (r->kick >= 0)
		close(r->kick);
	if (r->call >= 0)
		close(r->call);
	free(r);
}

bool shadow_ring_add(struct shadow_ring *r, struct machine *m, const struct virtq_buffer *b)
{
	unsigned parts = b->outs + b->ins, head = r->free;
	struct virtq_buffer *copy = malloc(sizeof(*copy));

	if (!copy)
		return false;
	*copy = *b;
	for (unsigned k = 0, d = head; k < parts; k++, d = r->next[d]) {
		bool more = k + 1 < parts;
		r->desc[d] = (struct vring_desc){
			.addr = ram_gpa(m, b->iov[k].iov_base),
			.len = (u32)b->iov[k].iov_len,
			.flags = (u16)((more ? VRING_DESC_F_NEXT : 0) | (k >= b->outs ? VRING_DESC_F_WRITE : 0)),
			.next = more ? r->next[d] : 0,
		};
		if (!more)
			r->free = r->next[d];
	}
	r->frees = (u16)(r->frees - parts);
	r->under_way[head] = copy;
	r->length[head] = (u16)parts;
	r->avail->ring[r->avail_idx++ % SHADOW_SIZE] = (u16)head;
	return true;
}

void shadow_ring_kick(struct shadow_ring *r)
{
	u64 one = 1;

	__atomic_store_n(&r->avail->idx, r->avail_idx, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&r->used->flags, __ATOMIC_SEQ_CST) & VRING_USED_F_NO_NOTIFY)
		return;
	/* A counter that is full wakes the back end as well. */
	if (write(r->kick, &one, sizeof(one)) < 0)
		return;
}

/* Its descriptors go back in front of the free list, in the order that they have there already. */
static struct virtq_buffer *release(struct shadow_ring *r, unsigned head)
{
	struct virtq_buffer *b = r->under_way[head];
	unsigned last = head;

	for (unsigned k = 1; k < r->length[head]; k++)
		last = r->next[last];
	r->next[last] = r->free;
	r->free = (u16)head;
	r->frees = (u16)(r->frees + r->length[head]);
	r->under_way[head] = NULL;
	return b;
}

int shadow_ring_take(struct shadow_ring *r, struct virtq_buffer **b, u32 *written)
{
	u16 idx = __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE);
	volatile struct vring_used_elem *e = &r->used->ring[r->used_idx % SHADOW_SIZE];

	*b = NULL;
	if (idx == r->used_idx)
		return 0;
	if ((u16)(idx - r->used_idx) > SHADOW_SIZE)
		return -1;
	u32 id = e->id, len = e->len;
	if (id >= SHADOW_SIZE || !r->under_way[id])
		return -1;
	r->used_idx++;
	*b = release(r, id);
	*written = (u32)MIN(len, (*b)->in_len);
	return 0;
}

struct virtq_buffer *shadow_ring_take_any(struct shadow_ring *r)
{
	for (unsigned k = 0; k < SHADOW_SIZE; k++)
		if (r->under_way[k])
			return release(r, k);
	return NULL;
}
