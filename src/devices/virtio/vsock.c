/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket device (virtio 1.2, 5.10): the rings of it. Connections are the back end's (machine/vsockdev.h).
 *
 * A packet that the back end cannot take, as its answer would have to wait behind too many, stops the transmit queue until
 * the driver has fetched some: so memory is bounded, and a driver that wants its packets taken gives buffers for answers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/devices.h"
#include "devices/virtio/later.h"

#define RXQ	0
#define TXQ	1
#define EVENTQ	2 /* its buffers stay: nothing ever happens to the guest's context ID */
#define HDR_LEN sizeof(struct virtio_vsock_hdr)

struct vsock {
	struct virtio_device v; /* first */
	struct vsockdev *back;
	struct virtio_later later;
	struct virtq_buffer buf;
	struct iovec payload[VIRTQ_IOVS_MAX];
};

static struct vsock *vsock_of(struct virtio_device *v)
{
	return container_of(v, struct vsock, v);
}

/* What is behind the header in iov[0..n), at most `most` bytes, becomes s->payload; how many parts. */
static unsigned behind_header(struct vsock *s, const struct iovec *iov, unsigned n, u64 most)
{
	size_t skip = HDR_LEN;
	unsigned parts = 0;

	for (unsigned k = 0; k < n && most; k++) {
		size_t cut = MIN(skip, iov[k].iov_len), len = MIN(iov[k].iov_len - cut, most);

		skip -= cut;
		most -= len;
		if (len)
			s->payload[parts++] = (struct iovec){ (u8 *)iov[k].iov_base + cut, len };
	}
	return parts;
}

/* false: the back end is to be offered it again. A packet that is not whole is dropped. */
static bool take(struct vsock *s)
{
	struct virtio_vsock_hdr h;
	unsigned parts;

	if (virtq_read(&s->buf, 0, &h, HDR_LEN) != HDR_LEN || h.len > VSOCK_PACKET_MAX ||
	    h.len > s->buf.out_len - HDR_LEN)
		return true;
	parts = behind_header(s, s->buf.iov, s->buf.outs, h.len);
	return s->back->ops->take(s->back, &h, s->payload, parts);
}

/* Both count what they did down from *budget. */
static void transmit(struct vsock *s, unsigned *budget)
{
	struct virtq *q = virtio_queue(&s->v, TXQ);
	bool pushed = false;

	while (q && *budget && virtq_pop(q, &s->buf) > 0) {
		if (!take(s)) {
			virtq_unpop(q, &s->buf);
			break;
		}
		virtq_push(q, &s->buf, 0);
		pushed = true;
		--*budget;
	}
	if (pushed)
		virtq_signal(q);
}

static void receive(struct vsock *s, unsigned *budget)
{
	struct virtq *q = virtio_queue(&s->v, RXQ);
	struct virtio_vsock_hdr h;
	bool pushed = false;

	while (q && *budget && virtq_pop(q, &s->buf) > 0) {
		if (s->buf.in_len < HDR_LEN) {
			virtio_broken(&s->v);
			break;
		}
		unsigned parts = behind_header(s, s->buf.iov + s->buf.outs, s->buf.ins, VSOCK_PACKET_MAX);

		if (!s->back->ops->give(s->back, &h, s->payload, parts)) {
			virtq_unpop(q, &s->buf);
			break;
		}
		virtq_write(&s->buf, 0, &h, HDR_LEN);
		virtq_push(q, &s->buf, (u32)(HDR_LEN + h.len));
		pushed = true;
		--*budget;
	}
	if (pushed)
		virtq_signal(q);
}

/* Answers first, as they make room for what is sent, and again for what that was answered with. */
static void work(struct virtio_device *v)
{
	struct vsock *s = vsock_of(v);
	unsigned budget = VIRTIO_BUDGET;

	for (unsigned before = 0; budget && before != budget;) {
		before = budget;
		receive(s, &budget);
		transmit(s, &budget);
	}
	if (!budget)
		virtio_later(&s->later);
}

static void notify(struct virtio_device *v, unsigned q)
{
	if (q != EVENTQ)
		work(v);
}

static void on_ready(void *arg)
{
	struct vsock *s = arg;

	virtio_lock(&s->v);
	if (virtio_running(&s->v))
		work(&s->v);
	virtio_unlock(&s->v);
}

static void config_read(struct virtio_device *v, unsigned offset, void *buf, unsigned len)
{
	const struct virtio_vsock_config c = { .guest_cid = vsock_of(v)->back->guest_cid };

	memcpy(buf, (const u8 *)&c + offset, len);
}

static void reset(struct virtio_device *v)
{
	struct vsock *s = vsock_of(v);

	virtio_later_cancel(&s->later);
	s->back->ops->reset(s->back);
}

static void destroy(struct virtio_device *v)
{
	struct vsock *s = vsock_of(v);

	virtio_later_cancel(&s->later);
	s->back->front = (struct vsockdev_front){ 0 };
	free(s);
}

static const struct virtio_ops vsock_ops = {
	.name = "virtio-vsock",
	.id = 19,
	.pci_class = 0xff0000,
	.config_len = sizeof(struct virtio_vsock_config),
	.config_read = config_read,
	.started = work,
	.notify = notify,
	.reset = reset,
	.destroy = destroy,
};

struct virtio_device *virtio_vsock_new(struct machine *m, struct vsockdev *back, struct error *err)
{
	struct vsock *s = calloc(1, sizeof(*s));

	if (!s) {
		error_set(err, ENOMEM, "no memory for a socket device");
		return NULL;
	}
	s->v = (struct virtio_device){ .ops = &vsock_ops, .machine = m, .queues = 3 };
	s->back = back;
	virtio_later_init(&s->later, &s->v, work);
	back->front = (struct vsockdev_front){ on_ready, s };
	return &s->v;
}
