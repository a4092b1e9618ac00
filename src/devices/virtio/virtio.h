/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio 1.2: what a device type is to its transport, and rings. The transport (virtio_pci.c) does discovery, features, status and
 * interrupts; virtq.c and the two formats of rings below it, the one place that reads rings, treat every index, length and
 * address in them as hostile; a device (blk.c, net.c, ...) sees buffers only.
 *
 * Threads. notify(), and whatever a device does on its own (a disk request is done, a frame arrived), run with the device's
 * lock held: take it with virtio_lock(). notify() is called on the I/O thread, never on a vCPU's, except in a
 * deterministic machine, where it is called on vCPU 0's from within the register access.
 *
 * A ring that breaks the rules marks the device broken (DEVICE_NEEDS_RESET, 2.1.2): its queues give nothing more until the
 * guest resets it. Nothing else happens.
 */
#pragma once
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <sys/uio.h>

#include "devices/pci/pci.h"

struct virtio_device;
struct virtq;

#define VIRTQ_SIZE_MAX	  256 /* entries of a queue: a power of two */
#define VIRTIO_QUEUES_MAX 130

struct virtio_ops {
	const char *name;
	u16 id; /* 5: the virtio device ID */
	u32 pci_class;
	u64 features; /* what the type always offers, without VIRTIO_F_* of the transport and rings */
	u32 config_len; /* bytes of device configuration space */
	/* Configuration space: little-endian, inside config_len. Lock held. */
	void (*config_read)(struct virtio_device *d, unsigned offset, void *buf, unsigned len);
	void (*config_write)(struct virtio_device *d, unsigned offset, const void *buf, unsigned len); /* optional */
	/* The driver has set FEATURES_OK; d->features holds what was agreed. Optional. */
	void (*features_chosen)(struct virtio_device *d);
	/* The driver has set DRIVER_OK: queues may be used from now on. Optional. */
	void (*started)(struct virtio_device *d);
	/* The driver made buffers available in queue q. */
	void (*notify)(struct virtio_device *d, unsigned q);
	/* Status 0 was written, or the bus was reset: stop using guest memory before it returns. Buffers that are under way are
	 * forgotten; virtq_push() of one is ignored. Lock held; may drop it while it waits. */
	void (*reset)(struct virtio_device *d);
	void (*destroy)(struct virtio_device *d); /* frees what embeds d; its virtio part is gone already */
};

struct virtio_device { /* first member of each type's state */
	struct device dev;
	const struct virtio_ops *ops;
	struct machine *machine;
	unsigned queues; /* how many it has */
	u16 queue_size; /* 0: VIRTQ_SIZE_MAX */
	u64 offered, features; /* ops->features and what the instance adds; what was agreed */
	pthread_mutex_t lock; /* virtio_lock(); all zero is an unlocked one */
	struct virtio_transport *transport; /* private: transport.h */
};

/*
 * A type's constructor only makes the device; who wires the machine (or a test) then gives it its transport. From then on
 * d->dev is a whole device: device_destroy() takes the transport away and calls ops->destroy.
 *
 * Makes the PCI function. The type has filled in ops, machine, queues, queue_size, offered. On error the caller still owns d. */
int virtio_pci_add(struct device *pci_bus, struct virtio_device *d, struct error *err);

void virtio_lock(struct virtio_device *d);
void virtio_unlock(struct virtio_device *d);
static inline bool virtio_has(const struct virtio_device *d, unsigned bit)
{
	return d->features >> bit & 1;
}
bool virtio_running(const struct virtio_device *d); /* DRIVER_OK, and not broken */
void virtio_broken(struct virtio_device *d); /* the guest broke the rules */
void virtio_config_changed(struct virtio_device *d); /* interrupt: read the configuration again */

/* ---- rings: all with the device's lock held ---- */
struct virtq *virtio_queue(struct virtio_device *d, unsigned q); /* NULL while the guest has not enabled it; else always
								 * the same pointer, good for pushing for as long as d */

#define VIRTQ_IOVS_MAX (VIRTQ_SIZE_MAX + 8) /* a buffer that straddles the end of low RAM takes one more */
struct virtq_buffer { /* one buffer of a queue: what the device reads, and after it what it writes */
	u16 head; /* names it when it is pushed */
	u16 slots; /* packed rings: how many descriptors it has there */
	u32 epoch; /* of the queue; a buffer from before a reset is known by it */
	unsigned outs, ins; /* iov[0..outs) is device-readable, iov[outs..outs + ins) device-writable */
	u64 out_len, in_len; /* bytes */
	struct iovec iov[VIRTQ_IOVS_MAX]; /* host memory inside guest RAM */
};
/* Takes the next available buffer: 1; 0: none (notifications are on again); -1: the ring was broken, the device is now. */
int virtq_pop(struct virtq *q, struct virtq_buffer *b);
/* Gives it back with `written` bytes written to its device-writable part. Engines hear that those bytes changed. */
void virtq_push(struct virtq *q, const struct virtq_buffer *b, u32 written);
void virtq_unpop(struct virtq *q, const struct virtq_buffer *b); /* the one popped last: it is available again */
void virtq_signal(struct virtq *q); /* tells the driver of what was pushed, if it wants to know */

/* Copies between a buffer's parts and memory from byte `offset` on; returns how many bytes there were. */
size_t virtq_read(const struct virtq_buffer *b, u64 offset, void *to, size_t len);
size_t virtq_write(const struct virtq_buffer *b, u64 offset, const void *from, size_t len);
