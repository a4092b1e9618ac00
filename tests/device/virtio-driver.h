/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver for tests of virtio devices: it lays out rings in guest RAM, goes through the status steps and offers buffers, by
 * calling the device's transport side directly. Interrupts are counted. In fixture_machine(), which is deterministic,
 * driver_kick() serves the queue before it returns.
 *
 *	struct driver dr;
 *	driver_start(&dr, virtio_rng_new(m, NULL), 0);
 *	u64 gpa = driver_alloc(&dr, 64);
 *	driver_add(&dr, 0, NULL, 0, (struct part[]){ { gpa, 64 } }, 1);
 *	driver_kick(&dr, 0);
 *	assert_int_equal(driver_used(&dr, 0, &len), 0);		(the chain's head)
 *	driver_stop(&dr);
 */
#pragma once
#include "fixture.h"

#include <string.h>

#include "devices/virtio/transport.h"

#define DRIVER_RINGS 0x100000ull /* where rings begin in guest RAM, a 16 KiB area each; then memory for buffers */
#define DRIVER_RING  0x4000ull
#define DRIVER_QUEUE 64 /* entries, or what the device has if that is fewer */

struct part {
	u64 gpa;
	u32 len;
};
struct driver_queue {
	u16 size, added, seen; /* available index written; used index looked at */
	u16 next; /* descriptor to use next: they are taken in turns */
	unsigned interrupts;
	u64 desc, avail, used;
};
struct driver {
	struct virtio_device *d;
	struct machine *m;
	unsigned config_interrupts;
	u64 heap;
	struct driver_queue q[VIRTIO_QUEUES_MAX];
};

static inline void driver_interrupt(void *arg, int q)
{
	struct driver *dr = arg;

	if (q < 0)
		dr->config_interrupts++;
	else
		dr->q[q].interrupts++;
}
static const struct transport_ops driver_transport = { .interrupt = driver_interrupt };

static inline void *driver_ptr(struct driver *dr, u64 gpa, u64 len)
{
	void *p = ram_ptr(dr->m, gpa, len);

	assert_non_null(p);
	return p;
}

/* Guest memory for a buffer, filled with 0xcc. */
static inline u64 driver_alloc(struct driver *dr, u64 len)
{
	u64 gpa = dr->heap;

	dr->heap += (len + 63) & ~63ull;
	memset(driver_ptr(dr, gpa, len), 0xcc, len);
	return gpa;
}

static inline void driver_set_queue(struct driver *dr, unsigned i)
{
	struct virtq *vq = &dr->d->transport->queue[i];
	struct driver_queue *q = &dr->q[i];
	u64 base = DRIVER_RINGS + i * DRIVER_RING;

	*q = (struct driver_queue){
		.size = MIN(vq->max, DRIVER_QUEUE), .desc = base, .avail = base + 0x1000, .used = base + 0x2000
	};
	memset(driver_ptr(dr, base, DRIVER_RING), 0, DRIVER_RING);
	transport_set_queue_size(vq, q->size);
	for (unsigned half = 0; half < 2; half++) {
		transport_set_queue_address(vq, &vq->desc_gpa, half, (u32)(q->desc >> 32 * half));
		transport_set_queue_address(vq, &vq->avail_gpa, half, (u32)(q->avail >> 32 * half));
		transport_set_queue_address(vq, &vq->used_gpa, half, (u32)(q->used >> 32 * half));
	}
	transport_enable_queue(vq);
}

/* Steps of 3.1.1, with these features and VERSION_1 accepted; asserts that the device goes along. Also after a reset. */
static inline void driver_negotiate(struct driver *dr, u64 features)
{
	struct virtio_device *d = dr->d;

	features |= BIT(VIRTIO_F_VERSION_1);
	dr->heap = DRIVER_RINGS + d->queues * DRIVER_RING;
	transport_write_status(d, 0);
	transport_write_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	transport_write_features(d, 0, (u32)features);
	transport_write_features(d, 1, (u32)(features >> 32));
	transport_write_status(d, 0x0b);
	assert_int_equal(transport_read_status(d), 0x0b);
	for (unsigned i = 0; i < d->queues; i++)
		driver_set_queue(dr, i);
	transport_write_status(d, 0x0f);
	assert_int_equal(transport_read_status(d), 0x0f);
}

/* Takes over d, which has no transport yet. */
static inline void driver_start(struct driver *dr, struct virtio_device *d, u64 features)
{
	struct error err = { 0 };

	assert_non_null(d);
	memset(dr, 0, sizeof(*dr));
	dr->d = d;
	dr->m = d->machine;
	if (transport_attach(d, &driver_transport, dr, &err))
		fail_msg("%s", err.text);
	driver_negotiate(dr, features);
}

static inline void driver_stop(struct driver *dr)
{
	device_destroy(&dr->d->dev);
}

static inline void driver_descriptor(struct driver *dr, u64 table, unsigned i, struct vring_desc desc)
{
	memcpy(driver_ptr(dr, table + 16 * i, 16), &desc, 16);
}

/* Makes a chain available that begins at `head`. */
static inline void driver_offer(struct driver *dr, unsigned qi, u16 head)
{
	struct driver_queue *q = &dr->q[qi];
	u16 *avail = driver_ptr(dr, q->avail, 4 + 2 * q->size);

	avail[2 + q->added % q->size] = head;
	__atomic_store_n(&avail[1], ++q->added, __ATOMIC_SEQ_CST);
}

/* Offers a buffer of direct descriptors; returns its head. */
static inline u16 driver_add(struct driver *dr, unsigned qi, const struct part *out, unsigned outs,
			     const struct part *in, unsigned ins)
{
	struct driver_queue *q = &dr->q[qi];
	u16 head = q->next;

	for (unsigned i = 0; i < outs + ins; i++) {
		const struct part *p = i < outs ? &out[i] : &in[i - outs];
		u16 flags = (i < outs ? 0 : VRING_DESC_F_WRITE) | (i + 1 < outs + ins ? VRING_DESC_F_NEXT : 0);
		u16 next = (u16)((q->next + 1) % q->size);

		driver_descriptor(dr, q->desc, q->next, (struct vring_desc){ p->gpa, p->len, flags, next });
		q->next = next;
	}
	driver_offer(dr, qi, head);
	return head;
}

static inline void driver_kick(struct driver *dr, unsigned q)
{
	transport_kick(dr->d, q);
}

/* The next buffer that came back: its head, and in *len what was written; -1: none. */
static inline int driver_used(struct driver *dr, unsigned qi, u32 *len)
{
	struct driver_queue *q = &dr->q[qi];
	u8 *used = driver_ptr(dr, q->used, 4 + 8 * q->size);
	u16 idx = __atomic_load_n((u16 *)(used + 2), __ATOMIC_SEQ_CST);
	u32 *element = (u32 *)(used + 4 + 8 * (q->seen % q->size));

	if (idx == q->seen)
		return -1;
	q->seen++;
	if (len)
		*len = element[1];
	return (int)element[0];
}

static inline bool driver_broken(struct driver *dr)
{
	return transport_read_status(dr->d) & VIRTIO_CONFIG_S_NEEDS_RESET;
}
