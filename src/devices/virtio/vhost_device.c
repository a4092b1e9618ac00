/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers between the guest's rings and the back end's; see vhost_device.h. The device's lock guards all of it. A back end
 * that breaks the protocol, closes the connection or does not answer is dropped for good: what it held and what comes
 * after fails as the type says, so that the guest sees errors and not silence.
 */
#include "devices/virtio/vhost_device.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio/vhost_ring.h"
#include "util/cleanup.h"

#define VHOST_FEATURES BIT(VIRTIO_F_VERSION_1)
/* Where the back end finds the rings: no RAM reaches so far. */
#define RINGS_GPA      BIT(GPA_BITS)

/* ---- losing the back end ---- */

static void fail_buffer(struct vhost_device *d, unsigned q, const struct virtq_buffer *b)
{
	struct virtq *vq = virtio_queue(&d->vd, q);
	u32 written = d->type->fail(d, b);

	if (vq)
		virtq_push(vq, b, written);
}

static void fail_waiting(struct vhost_device *d, unsigned q)
{
	struct virtq *vq = virtio_queue(&d->vd, q);
	struct virtq_buffer b;

	if (!vq)
		return;
	while (virtq_pop(vq, &b) == 1)
		fail_buffer(d, q, &b);
	virtq_signal(vq);
}

static void lose(struct vhost_device *d, const char *why)
{
	if (d->dead)
		return;
	d->dead = true;
	d->started = false;
	loop_unwatch(d->vd.machine->loop, d->conn.fd);
	vhost_user_close(&d->conn);
	for (unsigned q = 0; q < d->vd.queues; q++) {
		struct virtq_buffer *b;
		while ((b = shadow_ring_take_any(d->ring[q]))) {
			fail_buffer(d, q, b);
			free(b);
		}
		fail_waiting(d, q);
	}
	if (d->lost)
		d->lost(d->lost_arg, why);
}

static void socket_event(void *arg, u32 events)
{
	struct vhost_device *d = arg;

	virtio_lock(&d->vd);
	/* What another thread asks and is answered happens under the lock, so anything here is unasked. */
	if (!d->dead && vhost_user_gone(&d->conn))
		lose(d, "the vhost-user back end has gone");
	virtio_unlock(&d->vd);
}

/* ---- buffers ---- */

void vhost_device_notify(struct virtio_device *vd, unsigned q)
{
	struct vhost_device *d = container_of(vd, struct vhost_device, vd);
	struct virtq *vq = virtio_queue(vd, q);
	struct virtq_buffer b;
	bool added = false;

	if (d->dead) {
		fail_waiting(d, q);
		return;
	}
	while (vq && d->started && virtq_pop(vq, &b) == 1) {
		if (!b.out_len && !b.in_len) { /* nothing to serve */
			virtq_push(vq, &b, 0);
			continue;
		}
		if (!shadow_ring_fits(d->ring[q], &b) || !shadow_ring_add(d->ring[q], vd->machine, &b)) {
			virtq_unpop(vq, &b); /* until something comes back */
			break;
		}
		added = true;
	}
	if (added)
		shadow_ring_kick(d->ring[q]);
}

static void give_back(struct vhost_device *d, unsigned q)
{
	struct virtq *vq = virtio_queue(&d->vd, q);
	bool pushed = false;

	for (;;) {
		_cleanup_free_ struct virtq_buffer *b = NULL;
		u32 written;
		if (shadow_ring_take(d->ring[q], &b, &written)) {
			lose(d, "the vhost-user back end has broken its ring");
			return;
		}
		if (!b)
			break;
		if (vq)
			virtq_push(vq, b, written);
		pushed = true;
	}
	if (pushed && vq)
		virtq_signal(vq);
	if (pushed)
		vhost_device_notify(&d->vd, q); /* what had no room has some now */
}

static void called(void *arg, u32 events)
{
	struct vhost_device *d = arg;
	u64 count;

	virtio_lock(&d->vd);
	for (unsigned q = 0; q < d->vd.queues && d->started; q++)
		if (read(d->ring[q]->call, &count, sizeof(count)) == sizeof(count))
			give_back(d, q);
	virtio_unlock(&d->vd);
}

/* ---- starting and stopping ---- */

static int share_memory(struct vhost_device *d, struct error *err)
{
	const struct machine *m = d->vd.machine;
	struct vhost_region r[3] = {
		{ .gpa = RINGS_GPA, .len = d->memory_len, .user = (u64)d->memory, .fd = d->memory_fd },
		{ .gpa = 0, .len = m->low_size, .user = (u64)m->ram, .fd = m->ram_fd },
		{ .gpa = HIGH_RAM_BASE,
		  .len = m->high_size,
		  .user = (u64)m->ram + m->low_size,
		  .offset = m->low_size,
		  .fd = m->ram_fd },
	};

	return vhost_user_set_memory(&d->conn, r, m->high_size ? 3 : 2, err);
}

static int start_ring(struct vhost_device *d, unsigned q, struct error *err)
{
	struct shadow_ring *s = d->ring[q];
	struct vhost_ring r = { .index = q,
				.size = SHADOW_SIZE,
				.desc = (u64)s->desc,
				.avail = (u64)s->avail,
				.used = (u64)s->used,
				.kick = s->kick,
				.call = s->call };

	shadow_ring_clear(s);
	return vhost_user_start_ring(&d->conn, &r, err);
}

void vhost_device_started(struct virtio_device *vd)
{
	struct vhost_device *d = container_of(vd, struct vhost_device, vd);
	struct error err = { 0 };

	for (unsigned q = 0; q < vd->queues && !d->dead; q++)
		if (start_ring(d, q, &err))
			lose(d, err.text);
	d->started = !d->dead;
	for (unsigned q = 0; q < vd->queues; q++)
		vhost_device_notify(vd, q);
}

void vhost_device_reset(struct virtio_device *vd)
{
	struct vhost_device *d = container_of(vd, struct vhost_device, vd);
	struct error err = { 0 };

	if (!d->started)
		return;
	d->started = false;
	for (unsigned q = 0; q < vd->queues && !d->dead; q++)
		if (vhost_user_stop_ring(&d->conn, q, &err))
			lose(d, err.text);
	for (unsigned q = 0; q < vd->queues; q++)
		shadow_ring_clear(d->ring[q]);
}

static int make_rings(struct vhost_device *d, struct error *err)
{
	d->memory_len = (u64)d->vd.queues * SHADOW_RING_BYTES;
	d->memory_fd = memfd_create("sextant-rings", MFD_CLOEXEC);
	if (d->memory_fd < 0 || ftruncate(d->memory_fd, (off_t)d->memory_len) < 0)
		return error_set(err, errno, "cannot make memory for rings: %s", strerror(errno));
	d->memory = mmap(NULL, d->memory_len, PROT_READ | PROT_WRITE, MAP_SHARED, d->memory_fd, 0);
	if (d->memory == MAP_FAILED) {
		d->memory = NULL;
		return error_set(err, errno, "cannot map memory for rings: %s", strerror(errno));
	}
	for (unsigned q = 0; q < d->vd.queues; q++) {
		d->ring[q] = shadow_ring_new(d->memory + q * SHADOW_RING_BYTES, err);
		if (!d->ring[q])
			return err->code;
	}
	return 0;
}

static int watch(struct vhost_device *d, struct error *err)
{
	struct loop *l = d->vd.machine->loop;

	for (unsigned q = 0; q < d->vd.queues; q++)
		if (loop_watch(l, d->ring[q]->call, EPOLLIN, called, d, err))
			return err->code;
	return loop_watch(l, d->conn.fd, EPOLLIN | EPOLLRDHUP, socket_event, d, err);
}

int vhost_device_init(struct vhost_device *d, int socket, struct error *err)
{
	d->memory_fd = -1;
	if (vhost_user_open(&d->conn, socket, VHOST_FEATURES, err))
		return err->code;
	if (make_rings(d, err) || share_memory(d, err) || watch(d, err)) {
		vhost_device_fini(d);
		return err->code;
	}
	return 0;
}

void vhost_device_fini(struct vhost_device *d)
{
	struct loop *l = d->vd.machine->loop;

	if (d->conn.fd >= 0)
		loop_unwatch(l, d->conn.fd);
	vhost_user_close(&d->conn);
	for (unsigned q = 0; q < d->vd.queues; q++) {
		if (d->ring[q])
			loop_unwatch(l, d->ring[q]->call);
		shadow_ring_free(d->ring[q]);
		d->ring[q] = NULL;
	}
	if (d->memory)
		munmap(d->memory, d->memory_len);
	if (d->memory_fd >= 0)
		close(d->memory_fd);
	d->memory = NULL;
	d->memory_fd = -1;
}
