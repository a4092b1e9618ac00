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

struct virtq;
/* One format of rings: what differs between split and packed ones. All of it is the driver's memory, and hostile. */
struct ring_ops {
	/* Finds the rings in RAM and starts at their beginning; false where the guest has put them elsewhere, or misaligned. */
	bool (*enable)(struct virtq *q);
	/* How many buffers wait, at least: 0: none; -1: the driver claims more than there can be. */
	int (*waiting)(const struct virtq *q);
	/* Takes the next one of those, filling in all of b; false: it breaks the rules. */
	bool (*take)(struct virtq *q, struct virtq_buffer *b);
	void (*untake)(struct virtq *q, const struct virtq_buffer *b);
	void (*give)(struct virtq *q, const struct virtq_buffer *b, u32 written);
	/* Whether the driver wants to hear of what was given since `signalled`. */
	bool (*wants_interrupt)(const struct virtq *q);
	/* Asks the driver for notifications from here on, or for none. */
	void (*want)(struct virtq *q, bool notifications);
};
extern const struct ring_ops ring_split, ring_packed;

struct virtq {
	struct virtio_device *d;
	const struct ring_ops *ring;
	u16 index;
	u16 size; /* as the guest chose: a power of two up to max */
	u16 max;
	u16 vector; /* the transport's */
	bool enabled;
	u64 desc_gpa, avail_gpa, used_gpa;
	/* While enabled: the rings in host memory. Every field of them may change at any time: each is read once. */
	u8 *desc, *used;
	const u8 *avail;
	/* Split rings: free-running indices. Packed: places in the ring, and what the flags are there in this round. */
	u16 next_avail, used_idx, signalled; /* signalled: used_idx when the driver was last told */
	bool avail_wrap, used_wrap;
	bool unsignalled; /* something was pushed since */
	bool quiet; /* the driver has been asked for no notifications, by a flag */
	u32 epoch;
	u16 under_way; /* buffers taken and not given back */
	s32 budget; /* buffers that notify() may still take; negative: any number */
	int bell; /* eventfd that the engine's kernel signals for notifications; 0: none */
};

/* How a transport raises an interrupt: q, or -1 for the configuration. Device's lock held. */
struct transport_ops {
	void (*interrupt)(void *arg, int q);
	void (*destroy)(void *arg); /* the transport's own part; optional */
	/* Notifications of queue q may signal the eventfd from now on, or no longer; negative: they come by transport_kick().
	 * Device's lock held. Optional. */
	int (*doorbell)(void *arg, unsigned q, int fd, bool on);
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

/* ---- virtq.c, for the formats ---- */
void virtq_disable(struct virtq *q);
/* RAM of a ring; NULL: it is not all RAM, or misaligned. */
u8 *virtq_memory(const struct virtq *q, u64 gpa, u64 len, u64 alignment);
/* Appends a part to a buffer; false: not RAM, or a readable one after a writable one. */
bool virtq_add_part(const struct virtq *q, struct virtq_buffer *b, u64 gpa, u32 len, bool writable);
/* Host address of an indirect table with *entries descriptors; NULL: the driver must not do that. */
const u8 *virtq_indirect(const struct virtq *q, u64 gpa, u32 len, bool chained, u32 *entries);

#define DESC_BYTES 16u

static inline u16 ring_load(const u8 *p)
{
	return __atomic_load_n((const u16 *)p, __ATOMIC_ACQUIRE);
}
static inline void ring_store(u8 *p, u16 value)
{
	__atomic_store_n((u16 *)p, value, __ATOMIC_RELEASE);
}
/* Two halves of a descriptor, each read once; in an indirect table it may be misaligned. */
static inline void ring_load_descriptor(const u8 *p, u64 *addr, u64 *rest)
{
	*addr = *(const volatile u64_una *)p;
	*rest = *(const volatile u64_una *)(p + 8);
}
