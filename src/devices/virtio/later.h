/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work of a virtio device that is to be done soon, on the thread that runs timers and with the device's lock: what a back end
 * that is in the middle of a call asks for, and the rest of a ring that would keep the I/O thread too long.
 */
#pragma once
#include "devices/virtio/virtio.h"

#define VIRTIO_BUDGET 256 /* pieces of work (buffers, frames) before other devices have their turn */

struct virtio_later {
	struct timer timer;
	struct virtio_device *d;
	void (*fn)(struct virtio_device *d); /* lock held, the device runs */
};

static inline void virtio_later_fire(void *arg, u64 now)
{
	struct virtio_later *l = arg;

	virtio_lock(l->d);
	if (virtio_running(l->d))
		l->fn(l->d);
	virtio_unlock(l->d);
}

static inline void virtio_later_init(struct virtio_later *l, struct virtio_device *d,
				     void (*fn)(struct virtio_device *d))
{
	*l = (struct virtio_later){ .timer = { .deadline = ~0ull, .fire = virtio_later_fire, .arg = l },
				    .d = d,
				    .fn = fn };
}

static inline void virtio_later(struct virtio_later *l) /* any thread */
{
	timer_arm(l->d->machine->clock, &l->timer, clock_now(l->d->machine->clock));
}

static inline void virtio_later_cancel(struct virtio_later *l)
{
	timer_cancel(l->d->machine->clock, &l->timer);
}
