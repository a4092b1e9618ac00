/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device whose work another process does (a vhost-user back end): fs.c today.
 *
 * The guest's rings stay ours. What the guest makes available is taken by virtq.c, with all its checks, and put into a
 * ring of our own in memory that is shared with the back end; what the back end has used goes back the same way. So a
 * hostile guest meets one ring reader only, a hostile back end cannot touch the guest's rings, and engines hear which
 * guest memory was written, which caches of decoded code need. The price is a hop through the I/O thread each way.
 */
#pragma once
#include "devices/virtio/vhost_user.h"
#include "devices/virtio/virtio.h"

#define VHOST_QUEUES_MAX 8

struct vhost_device;
struct shadow_ring;

struct vhost_type {
	/* The back end is gone: answers a buffer with an error of the device's own kind; returns bytes written. */
	u32 (*fail)(struct vhost_device *d, const struct virtq_buffer *b);
};

struct vhost_device { /* first member of a type's state */
	struct virtio_device vd;
	const struct vhost_type *type;
	struct vhost_user conn;
	bool dead; /* the back end is gone; buffers fail */
	bool started; /* it has our rings */
	int memory_fd; /* holds the rings */
	u8 *memory;
	u64 memory_len;
	struct shadow_ring *ring[VHOST_QUEUES_MAX];
	/* Called once when the back end is lost, with one line that says how. Any thread, lock held. */
	void (*lost)(void *arg, const char *why);
	void *lost_arg;
};

/* The connected socket stays the caller's and outlives the device; vd.machine, vd.queues and type are set. */
int vhost_device_init(struct vhost_device *d, int socket, struct error *err);
void vhost_device_fini(struct vhost_device *d);

/* For struct virtio_ops. */
void vhost_device_started(struct virtio_device *vd);
void vhost_device_notify(struct virtio_device *vd, unsigned q);
void vhost_device_reset(struct virtio_device *vd);
