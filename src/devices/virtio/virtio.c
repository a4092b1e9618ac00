/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device's life as its driver leads it (virtio 1.2, chapter 3.1), whatever the transport: features, status, queues,
 * configuration space, reset; and the doorbell, by which a vCPU tells the I/O thread which queues to look at.
 *
 * The doorbell costs the vCPU two atomic operations, and a system call only if the I/O thread has not been told yet. The I/O
 * thread takes the word back before it looks at the queues, so a ring during the look brings another look. A guest that fills
 * a queue faster than it is emptied does not keep the I/O thread: after some buffers the queue has to wait for its next turn.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/virtio/transport.h"
#include "machine/offload.h"

#define TRANSPORT_FEATURES                                                                        \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | \
	 BIT(VIRTIO_RING_F_EVENT_IDX))
#define STATUS_DRIVERS (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FAILED)

void virtio_lock(struct virtio_device *d)
{
	struct ram_tap *tap = d->machine->tap;

	if (unlikely(tap && tap->enter) && !vcpu_current())
		tap->enter(tap);
	pthread_mutex_lock(&d->lock);
}

void virtio_unlock(struct virtio_device *d)
{
	struct ram_tap *tap = d->machine->tap;

	pthread_mutex_unlock(&d->lock);
	if (unlikely(tap && tap->leave) && !vcpu_current())
		tap->leave(tap);
}

bool virtio_running(const struct virtio_device *d)
{
	const struct virtio_transport *t = d->transport;

	return t &&
	       (t->status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)) == VIRTIO_CONFIG_S_DRIVER_OK;
}

struct virtq *virtio_queue(struct virtio_device *d, unsigned q)
{
	return virtio_running(d) && q < d->queues && d->transport->queue[q].enabled ? &d->transport->queue[q] : NULL;
}

/* 2.1.2: the driver learns of it by a configuration change, once it is up. */
void virtio_broken(struct virtio_device *d)
{
	struct virtio_transport *t = d->transport;

	if (!t || t->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	t->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	if (t->status & VIRTIO_CONFIG_S_DRIVER_OK)
		t->ops->interrupt(t->arg, -1);
}

void virtio_config_changed(struct virtio_device *d)
{
	struct virtio_transport *t = d->transport;

	if (!t)
		return;
	t->generation++;
	if (virtio_running(d))
		t->ops->interrupt(t->arg, -1);
}

/* ---- notifications: on the I/O thread, or (deterministic) the vCPU's ---- */
static void notify(struct virtio_device *d, unsigned index, s32 budget)
{
	struct virtq *q = virtio_queue(d, index);

	if (!q)
		return;
	q->budget = budget;
	d->ops->notify(d, index);
	q->budget = -1;
}

static void silence(int fd)
{
	u64 count;

	/* Nothing to read is as quiet. */
	if (read(fd, &count, sizeof(count)) < 0)
		return;
}

/* ---- bells of queues: where the engine's kernel signals an eventfd, the vCPU does not come out for a notification ---- */
static void bell_rung(void *arg, u32 events)
{
	struct virtq *q = arg;

	virtio_lock(q->d);
	if (q->bell) {
		silence(q->bell);
		notify(q->d, q->index, VIRTQ_SIZE_MAX);
	}
	virtio_unlock(q->d);
}

static void take_bell(struct virtq *q)
{
	loop_unwatch(q->d->machine->loop, q->bell);
	close(q->bell);
	q->bell = 0;
}

static void hang_bell(struct virtq *q)
{
	struct virtio_transport *t = q->d->transport;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd <= 0)
		return;
	q->bell = fd;
	if (loop_watch(q->d->machine->loop, fd, EPOLLIN, bell_rung, q, NULL) ||
	    t->ops->doorbell(t->arg, q->index, fd, true))
		take_bell(q);
}

static void bells_hang(struct virtio_device *d)
{
	struct virtio_transport *t = d->transport;
	const struct offload_ops *kernel = d->machine->offload;

	for (unsigned i = 0; i < d->queues && t->ops->doorbell && kernel && kernel->doorbell; i++)
		if (t->queue[i].enabled && !t->queue[i].bell)
			hang_bell(&t->queue[i]);
}

static void bells_take_down(struct virtio_device *d)
{
	struct virtio_transport *t = d->transport;

	for (unsigned i = 0; i < d->queues; i++) {
		if (!t->queue[i].bell)
			continue;
		t->ops->doorbell(t->arg, i, t->queue[i].bell, false);
		take_bell(&t->queue[i]);
	}
}

/* ---- features and status ---- */

static u64 offered(const struct virtio_device *d)
{
	return d->offered | d->ops->features | TRANSPORT_FEATURES;
}

u32 transport_read_features(struct virtio_device *d, unsigned half)
{
	return half < 2 ? (u32)(offered(d) >> (32 * half)) : 0;
}

void transport_write_features(struct virtio_device *d, unsigned half, u32 value)
{
	struct virtio_transport *t = d->transport;

	if (half < 2 && !(t->status & VIRTIO_CONFIG_S_FEATURES_OK))
		t->driver_features = (t->driver_features & ~(0xffffffffull << (32 * half))) | (u64)value << (32 * half);
}

/* 3.1.1 step 5, 6.1: what we did not offer, and drivers of the legacy interface, are refused by leaving the bit clear. */
static void choose_features(struct virtio_device *d)
{
	struct virtio_transport *t = d->transport;

	if (t->driver_features & ~offered(d) || !(t->driver_features & BIT(VIRTIO_F_VERSION_1)))
		return;
	d->features = t->driver_features;
	t->status |= VIRTIO_CONFIG_S_FEATURES_OK;
	if (d->ops->features_chosen)
		d->ops->features_chosen(d);
}

static void start(struct virtio_device *d)
{
	d->transport->status |= VIRTIO_CONFIG_S_DRIVER_OK;
	bells_hang(d);
	if (d->ops->started && virtio_running(d))
		d->ops->started(d);
}

/* Bits are only ever added; but for 0, which resets. */
void transport_write_status(struct virtio_device *d, u8 value)
{
	struct virtio_transport *t = d->transport;
	u8 added;

	if (!value) {
		transport_reset(d);
		return;
	}
	virtio_lock(d);
	added = value & ~t->status;
	t->status |= value & STATUS_DRIVERS;
	if (added & VIRTIO_CONFIG_S_FEATURES_OK)
		choose_features(d);
	if (added & VIRTIO_CONFIG_S_DRIVER_OK && t->status & VIRTIO_CONFIG_S_FEATURES_OK)
		start(d);
	virtio_unlock(d);
}

u8 transport_read_status(struct virtio_device *d)
{
	u8 status;

	virtio_lock(d);
	status = d->transport->status;
	virtio_unlock(d);
	return status;
}

static void reset_queue(struct virtq *q)
{
	virtq_disable(q);
	q->size = q->max;
	q->vector = VIRTIO_NO_VECTOR;
	q->desc_gpa = q->avail_gpa = q->used_gpa = 0;
}

/* First nothing is running and no queue is there, so that whatever the type does while it waits finds no ring. */
void transport_reset(struct virtio_device *d)
{
	struct virtio_transport *t = d->transport;

	virtio_lock(d);
	t->status = 0;
	bells_take_down(d);
	for (unsigned i = 0; i < d->queues; i++)
		reset_queue(&t->queue[i]);
	for (unsigned i = 0; i < KICK_WORDS; i++)
		atomic_store(&t->kicked[i], 0);
	if (d->ops->reset)
		d->ops->reset(d);
	d->features = t->driver_features = 0;
	virtio_unlock(d);
}

/* ---- configuration space ---- */

static bool in_config(const struct virtio_device *d, u64 offset, unsigned len)
{
	return offset < d->ops->config_len && len <= d->ops->config_len - offset;
}

void transport_read_config(struct virtio_device *d, u64 offset, void *buf, unsigned len)
{
	memset(buf, 0xff, len);
	if (!in_config(d, offset, len) || !d->ops->config_read)
		return;
	virtio_lock(d);
	d->ops->config_read(d, (unsigned)offset, buf, len);
	virtio_unlock(d);
}

void transport_write_config(struct virtio_device *d, u64 offset, const void *buf, unsigned len)
{
	if (!in_config(d, offset, len) || !d->ops->config_write)
		return;
	virtio_lock(d);
	d->ops->config_write(d, (unsigned)offset, buf, len);
	virtio_unlock(d);
}

/* ---- queues ---- */

void transport_set_queue_size(struct virtq *q, u16 size)
{
	virtio_lock(q->d);
	if (!q->enabled && size && size <= q->max && !(size & (size - 1)))
		q->size = size;
	virtio_unlock(q->d);
}

void transport_set_queue_address(struct virtq *q, u64 *address, unsigned half, u32 value)
{
	virtio_lock(q->d);
	if (!q->enabled)
		*address = (*address & ~(0xffffffffull << (32 * half))) | (u64)value << (32 * half);
	virtio_unlock(q->d);
}

void transport_enable_queue(struct virtq *q)
{
	virtio_lock(q->d);
	if (!q->enabled) {
		q->ring = virtio_has(q->d, VIRTIO_F_RING_PACKED) ? &ring_packed : &ring_split;
		q->next_avail = q->used_idx = q->signalled = q->under_way = 0;
		q->unsignalled = q->quiet = false;
		q->enabled = q->ring->enable(q);
		if (!q->enabled)
			virtio_broken(q->d);
	}
	virtio_unlock(q->d);
}

/* ---- the doorbell ---- */

static void ring(int fd)
{
	u64 one = 1;

	/* A full counter is readable as well: nothing to do about a failure. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

void transport_kick(struct virtio_device *d, unsigned q)
{
	struct virtio_transport *t = d->transport;

	if (q >= d->queues)
		return;
	if (clock_deterministic(d->machine->clock)) {
		virtio_lock(d);
		notify(d, q, -1); /* the guest stands still meanwhile */
		virtio_unlock(d);
	} else {
		atomic_fetch_or(&t->kicked[q / 64], BIT(q % 64));
		if (!atomic_exchange(&t->rung, true))
			ring(t->bell);
	}
}

/* On the I/O thread. */
static void answer(void *arg, u32 events)
{
	struct virtio_transport *t = arg;

	silence(t->bell);
	atomic_store(&t->rung, false);
	virtio_lock(t->d);
	for (unsigned i = 0; i < KICK_WORDS; i++)
		for (u64 bits = atomic_exchange(&t->kicked[i], 0); bits; bits &= bits - 1)
			notify(t->d, i * 64 + (unsigned)__builtin_ctzll(bits), VIRTQ_SIZE_MAX);
	virtio_unlock(t->d);
}

/* ---- making and releasing ---- */

static void device_was_reset(struct device *dev)
{
	struct virtio_device *d = container_of(dev, struct virtio_device, dev);

	pthread_mutex_lock(&d->transport->registers);
	transport_reset(d);
	pthread_mutex_unlock(&d->transport->registers);
}

static void release(struct virtio_transport *t)
{
	if (t->bell >= 0)
		close(t->bell);
	pthread_mutex_destroy(&t->registers);
	free(t->queue);
	free(t);
}

void transport_detach(struct virtio_device *d)
{
	struct virtio_transport *t = d->transport;

	device_was_reset(&d->dev);
	loop_unwatch(d->machine->loop, t->bell);
	if (t->ops->destroy)
		t->ops->destroy(t->arg);
	virtio_lock(d);
	d->transport = NULL;
	virtio_unlock(d);
	release(t);
}

static void destroy(struct device *dev)
{
	struct virtio_device *d = container_of(dev, struct virtio_device, dev);

	transport_detach(d);
	d->ops->destroy(d);
}

static const struct device_ops virtio_ops = { .name = "virtio", .reset = device_was_reset, .destroy = destroy };

static int make_queues(struct virtio_transport *t)
{
	struct virtio_device *d = t->d;
	u16 max = d->queue_size ? MIN(d->queue_size, VIRTQ_SIZE_MAX) : VIRTQ_SIZE_MAX;

	t->queue = calloc(d->queues, sizeof(*t->queue));
	if (!t->queue)
		return -ENOMEM;
	for (unsigned i = 0; i < d->queues; i++)
		t->queue[i] = (struct virtq){
			.d = d, .index = (u16)i, .size = max, .max = max, .vector = VIRTIO_NO_VECTOR, .budget = -1
		};
	return 0;
}

int transport_attach(struct virtio_device *d, const struct transport_ops *ops, void *arg, struct error *err)
{
	struct virtio_transport *t;
	int r;

	if (!d->queues || d->queues > VIRTIO_QUEUES_MAX)
		return error_set(err, EINVAL, "%s has %u queues, not 1 to %d", d->ops->name, d->queues,
				 VIRTIO_QUEUES_MAX);
	t = calloc(1, sizeof(*t));
	if (!t)
		return error_set(err, ENOMEM, "no memory for %s", d->ops->name);
	*t = (struct virtio_transport){ .d = d, .ops = ops, .arg = arg };
	pthread_mutex_init(&t->registers, NULL);
	t->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->bell < 0)
		r = error_set(err, errno, "cannot make the doorbell of %s: %s", d->ops->name, strerror(errno));
	else if (make_queues(t))
		r = error_set(err, ENOMEM, "no memory for the queues of %s", d->ops->name);
	else
		r = loop_watch(d->machine->loop, t->bell, EPOLLIN, answer, t, err);
	if (r) {
		release(t);
		return r;
	}
	d->dev.ops = &virtio_ops;
	d->transport = t;
	return 0;
}
