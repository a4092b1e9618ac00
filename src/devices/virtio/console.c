/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Console device (virtio 1.2, 5.3) with its one port: queue 0 takes what the host has for the guest, queue 1 what the guest
 * writes. A buffer that the back end does not take whole is kept, and the rest goes when there is room; input stays with the
 * back end until the guest has a buffer for it. A byte written to emerg_wr comes out at once, for drivers without queues.
 */
#include <errno.h>
#include <linux/virtio_console.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/devices.h"

enum { RECEIVE, TRANSMIT, QUEUES };
#define CHUNK 512

struct console {
	struct virtio_device d;
	struct chardev *back;
	struct virtq_buffer out; /* being written, while writing */
	u64 written;
	bool writing;
	bool starved; /* the back end holds input for us */
};

/* Whether the buffer is written whole. */
static bool write_out(struct console *c)
{
	u8 bytes[CHUNK];

	while (c->written < c->out.out_len) {
		size_t n = virtq_read(&c->out, c->written, bytes, sizeof(bytes));
		size_t taken = c->back->ops->write(c->back, bytes, n);

		c->written += taken;
		if (taken < n)
			return false;
	}
	return true;
}

static void transmit(struct console *c)
{
	struct virtq *q = virtio_queue(&c->d, TRANSMIT);

	while (q) {
		if (!c->writing && virtq_pop(q, &c->out) <= 0)
			break;
		if (!c->writing)
			c->written = 0;
		c->writing = !write_out(c);
		if (c->writing)
			break;
		virtq_push(q, &c->out, 0);
	}
	if (q)
		virtq_signal(q);
}

static size_t receive(void *arg, const u8 *data, size_t len)
{
	struct console *c = arg;
	struct virtq_buffer b;
	struct virtq *q;
	size_t done = 0;

	virtio_lock(&c->d);
	q = virtio_queue(&c->d, RECEIVE);
	while (q && done < len && virtq_pop(q, &b) > 0) {
		size_t n = virtq_write(&b, 0, data + done, len - done);

		virtq_push(q, &b, (u32)n);
		done += n;
	}
	if (q)
		virtq_signal(q);
	c->starved = c->starved || done < len;
	virtio_unlock(&c->d);
	return done;
}

static void writable(void *arg)
{
	struct console *c = arg;

	virtio_lock(&c->d);
	transmit(c);
	virtio_unlock(&c->d);
}

static void notify(struct virtio_device *d, unsigned q)
{
	struct console *c = container_of(d, struct console, d);

	if (q == TRANSMIT) {
		transmit(c);
	} else if (c->starved) {
		c->starved = false;
		c->back->ops->resume(c->back);
	}
}

static void config_read(struct virtio_device *d, unsigned offset, void *buf, unsigned len)
{
	memset(buf, 0, len);
}

static void config_write(struct virtio_device *d, unsigned offset, const void *buf, unsigned len)
{
	struct console *c = container_of(d, struct console, d);

	if (offset == offsetof(struct virtio_console_config, emerg_wr))
		c->back->ops->write(c->back, buf, 1);
}

static void reset(struct virtio_device *d)
{
	container_of(d, struct console, d)->writing = false;
}

static void destroy(struct virtio_device *d)
{
	struct console *c = container_of(d, struct console, d);

	c->back->front = (struct chardev_front){ 0 };
	free(c);
}

static const struct virtio_ops console_ops = {
	.name = "virtio-console",
	.id = 3,
	.pci_class = 0x078000,
	.features = BIT(VIRTIO_CONSOLE_F_EMERG_WRITE),
	.config_len = sizeof(struct virtio_console_config),
	.config_read = config_read,
	.config_write = config_write,
	.notify = notify,
	.reset = reset,
	.destroy = destroy,
};

struct virtio_device *virtio_console_new(struct machine *m, struct chardev *back, struct error *err)
{
	struct console *c = calloc(1, sizeof(*c));

	if (!c) {
		error_set(err, ENOMEM, "no memory for a console");
		return NULL;
	}
	c->d = (struct virtio_device){ .ops = &console_ops, .machine = m, .queues = QUEUES };
	c->back = back;
	c->starved = true;
	back->front = (struct chardev_front){ receive, writable, c };
	return &c->d;
}
