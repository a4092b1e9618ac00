/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between a virtio device's transport-independent state (virtio.c), its rings (virtq.c) and a transport (virtio_pci.c, or a
 * test's); device types do not include it.
 *
 * Register accesses come from any vCPU's thread. Those that change state hold `registers` and inside it the device's lock, so
 * that a reset that drops the device's lock while it waits still excludes them. The doorbell takes neither.
 */
#pragma once
#include "devices/virtio/virtio.h"

#define VIRTIO_NO_VECTOR 0xffff
#define KICK_WORDS	 ((VIRTIO_QUEUES_MAX + 63) / 64)

struct virtq {
	struct virtio_device *d;
	u16 index;
	u16 size; /* as the guest chose: a power of two up to max */
	u16 max;
	u16 vector; /* the transport's */
	bool enabled;
	u64 desc_gpa, avail_gpa, used_gpa;
	/* While enabled: the rings in host memory. Every field of them may change at any time: each is read once. */
	const u8 *desc, *avail;
	u8 *used;
	u16 next_avail, used_idx, signalled; /* signalled: used_idx when the driver was last told */
	bool unsignalled; /* something was pushed since */
	bool quiet; /* without event indices: we have asked for no notifications */
	u32 epoch;
};

/* How a transport raises an interrupt: q, or -1 for the configuration. Device's lock held. */
struct transport_ops {
	void (*interrupt)(void *arg, int q);
	void (*destroy)(void *arg); /* the transport's own part; optional */
};

struct virtio_transport {
	struct virtio_device *d;
	const struct transport_ops *ops;
	void *arg;
	pthread_mutex_t registers;
	u8 status; /* VIRTIO_CONFIG_S_* */
	u8 generation; /* of the configuration space */
	u64 driver_features;
	struct virtq *queue; /* d->queues of them */
	/* The doorbell: which queues, and whether the I/O thread has been told. */
	int bell;
	atomic_bool rung;
	_Atomic u64 kicked[KICK_WORDS];
};

/* Gives d its rings and its doorbell. On error d is as before. */
int transport_attach(struct virtio_device *d, const struct transport_ops *ops, void *arg, struct error *err);

/* Takes them away again; d itself stays. */
void transport_detach(struct virtio_device *d);

/* ---- the guest's driver, `registers` held: any values ---- */
void transport_write_features(struct virtio_device *d, unsigned half,
			      u32 value); /* half: 0 low, 1 high, others: ignored */
u32 transport_read_features(struct virtio_device *d, unsigned half); /* offered */
void transport_write_status(struct virtio_device *d, u8 value);
u8 transport_read_status(struct virtio_device *d);
/* Configuration space; what is outside reads as ones and is not written. */
void transport_read_config(struct virtio_device *d, u64 offset, void *buf, unsigned len);
void transport_write_config(struct virtio_device *d, u64 offset, const void *buf, unsigned len);
/* While the queue is not enabled: size and, by halves, addresses. */
void transport_set_queue_size(struct virtq *q, u16 size);
void transport_set_queue_address(struct virtq *q, u64 *address, unsigned half, u32 value);
void transport_enable_queue(struct virtq *q);
void transport_reset(struct virtio_device *d);

/* ---- any thread, no lock held ---- */
void transport_kick(struct virtio_device *d, unsigned q);

/* ---- virtq.c ---- */
/* Finds the rings in RAM and starts at their beginning; false where the guest has put them elsewhere, or misaligned. */
bool virtq_enable(struct virtq *q);
void virtq_disable(struct virtq *q);
