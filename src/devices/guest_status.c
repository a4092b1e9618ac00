/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How our init (guest/init.c) tells the host the exit status of the command it ran: a register that remembers. The host reads
 * it once the machine has ended; writing ends nothing, so that power-off stays the guest's own, orderly one.
 *
 * offset 0  r   4 bytes  53h 58h 53h 54h, "SXST": a guest looks before it writes
 * offset 4  rw  1 byte   exit status; ffh until the first write, which guest_status_get() tells apart
 * offset 5  w   1 byte   anything: the console is set up, and what the host holds back for it may come
 */
#include "devices/guest_status.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/devices.h"

#define NOT_REPORTED (-1)

struct guest_status {
	struct device dev;
	_Atomic int status; /* 0..255 or NOT_REPORTED */
	void (*ready)(void *arg);
	void *ready_arg;
};

static u64 guest_status_read(void *dev, u64 offset, unsigned size)
{
	const struct guest_status *s = dev;
	u64 all = GUEST_STATUS_MAGIC_VALUE | (u64)(u8)s->status << (8 * GUEST_STATUS_VALUE) |
		  ~0ull << (8 * (GUEST_STATUS_VALUE + 1));
	return all >> (8 * offset);
}

static void guest_status_write(void *dev, u64 offset, unsigned size, u64 value)
{
	struct guest_status *s = dev;
	if (offset <= GUEST_STATUS_VALUE && GUEST_STATUS_VALUE < offset + size)
		s->status = (u8)(value >> (8 * (GUEST_STATUS_VALUE - offset)));
	if (offset <= GUEST_STATUS_READY && GUEST_STATUS_READY < offset + size && s->ready)
		s->ready(s->ready_arg);
}

static const struct region_ops guest_status_region = { .read = guest_status_read, .write = guest_status_write };

int guest_status_get(const struct device *d)
{
	return container_of(d, const struct guest_status, dev)->status;
}

void guest_status_on_ready(struct device *d, void (*ready)(void *arg), void *arg)
{
	struct guest_status *s = container_of(d, struct guest_status, dev);
	s->ready_arg = arg;
	s->ready = ready;
}

static void guest_status_reset(struct device *d)
{
	container_of(d, struct guest_status, dev)->status = NOT_REPORTED;
}

static void guest_status_destroy(struct device *d)
{
	free(d);
}

static const struct device_ops guest_status_ops = {
	.name = "guest status",
	.reset = guest_status_reset,
	.destroy = guest_status_destroy,
};

struct device *guest_status_new(struct machine *m, struct error *err)
{
	struct guest_status *s = calloc(1, sizeof(*s));
	if (!s) {
		error_set(err, ENOMEM, "no memory");
		return NULL;
	}
	s->dev.ops = &guest_status_ops;
	s->status = NOT_REPORTED;
	const struct region r = { .base = GUEST_STATUS_PORT,
				  .len = GUEST_STATUS_LEN,
				  .ops = &guest_status_region,
				  .dev = s,
				  .name = "guest status" };
	if (bus_add(&m->pio, &r, err)) {
		free(s);
		return NULL;
	}
	return &s->dev;
}
