/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile driver of virtio devices: the first byte chooses one, then come steps of eight bytes, some with data behind them:
 * buffers, doorbells, writes into the rings, new negotiations, configuration, frames from the network.
 *
 * The sockets' host end is the real one, with a program that listens and never reads, and no event loop.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/virtio/devices.h"
#include "devices/virtio/transport.h"
#include "host/vsock.h"
#include "x86/cpuid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_SIZE   (4ull << 20)
#define RINGS	   0x100000ull /* a 4 KiB area a queue */
#define RING	   0x1000ull
#define BUFFERS	   0x200000ull
#define QUEUE_SIZE 16
#define PORT	   5000

enum step_kind {
	ADD,
	ADD_AND_KICK,
	KICK,
	RING_WRITE,
	NEGOTIATE,
	CONFIG_READ,
	CONFIG_WRITE,
	PASS,
	RECEIVE,
	LINK,
	KINDS
};
struct step {
	u8 kind, queue;
	u16 len; /* bytes behind it */
	u32 value;
} __attribute__((packed));

struct fuzz {
	struct machine *m;
	struct blockdev disk;
	struct disk_request *request[QUEUE_SIZE]; /* under way */
	unsigned requests;
	bool packed; /* the rings */
	struct virtio_device *d;
	struct netdev net;
	unsigned sent;
	u16 added[VIRTIO_QUEUES_MAX];
	u64 heap;
};

/* ---- back ends ---- */

/* A disk that does nothing, after the step that asked for it. */
static void disk_submit(struct blockdev *b, struct disk_request *r)
{
	struct fuzz *f = container_of(b, struct fuzz, disk);

	assert(r->offset + r->len <= b->info.size && r->offset + r->len >= r->offset);
	assert(f->requests < QUEUE_SIZE);
	f->request[f->requests++] = r;
}

static const struct blockdev_ops disk_ops = { .name = "nothing", .submit = disk_submit };

static void disk_complete(struct fuzz *f)
{
	while (f->requests) {
		struct disk_request *r = f->request[--f->requests];

		r->done(r, 0);
	}
}

static size_t console_write(struct chardev *c, const u8 *data, size_t len)
{
	return len / 2;
}

static void console_resume(struct chardev *c)
{
}

static const struct chardev_ops console_ops = { console_write, console_resume };
static struct chardev console = { .ops = &console_ops };

static bool net_send(struct netdev *n, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	static u8 copy[NET_FRAME_MAX];
	size_t at = 0;

	for (unsigned k = 0; k < iovs; at += iov[k++].iov_len) {
		assert(iov[k].iov_len <= sizeof(copy) - at);
		memcpy(copy + at, iov[k].iov_base, iov[k].iov_len);
	}
	assert(at >= 14 && (!h->gso_type || h->hdr_len <= at));
	return container_of(n, struct fuzz, net)->sent++ % 5 != 4;
}
static void net_resume(struct netdev *n)
{
}
static const struct netdev_ops net_ops = { .name = "fuzz", .send = net_send, .resume = net_resume };

static struct sockaddr_un address;

static void remove_listener(void)
{
	unlink(address.sun_path);
}

/* One for all inputs, at PATH_5000. */
static const char *listen_path(int *fd)
{
	static char path[64];
	static int listener;
	struct sockaddr_un *a = &address;

	if (!path[0]) {
		snprintf(path, sizeof(path), "/tmp/sextant-fuzz-%d", getpid());
		a->sun_family = AF_UNIX;
		snprintf(a->sun_path, sizeof(a->sun_path), "%s_%d", path, PORT);
		listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		remove_listener();
		assert(!bind(listener, (struct sockaddr *)a, sizeof(*a)) && !listen(listener, 16));
		atexit(remove_listener);
	}
	*fd = listener;
	return path;
}

static void close_sockets(struct vsockdev *sockets)
{
	int listener, fd;

	listen_path(&listener);
	while ((fd = accept(listener, NULL, NULL)) >= 0)
		close(fd);
	vsockdev_destroy(sockets);
}

/* ---- the driver ---- */
static void interrupt(void *arg, int q)
{
}
static const struct transport_ops transport = { .interrupt = interrupt };

static u64 ring_of(unsigned q)
{
	return RINGS + q * RING;
}

/* Without the highest bit the rings are packed ones. */
static void negotiate(struct fuzz *f, u32 features)
{
	struct virtio_transport *t = f->d->transport;

	f->packed = !(features >> 31);
	memset(ram_ptr(f->m, RINGS, 8 * RING), 0, 8 * RING);
	memset(f->added, 0, sizeof(f->added));
	f->heap = BUFFERS;
	transport_write_status(f->d, 0);
	transport_write_status(f->d, 3);
	transport_write_features(f->d, 0, features & transport_read_features(f->d, 0));
	transport_write_features(f->d, 1, f->packed ? 1 | 1u << (VIRTIO_F_RING_PACKED - 32) : 1);
	transport_write_status(f->d, 0xb);
	for (unsigned k = 0; k < f->d->queues; k++) {
		struct virtq *q = &t->queue[k];

		transport_set_queue_size(q, QUEUE_SIZE);
		transport_set_queue_address(q, &q->desc_gpa, 0, (u32)ring_of(k));
		transport_set_queue_address(q, &q->avail_gpa, 0, (u32)ring_of(k) + 0x400);
		transport_set_queue_address(q, &q->used_gpa, 0, (u32)ring_of(k) + 0x800);
		transport_enable_queue(q);
	}
	transport_write_status(f->d, 0xf);
}

/* The same pair of descriptors in a packed ring, the first one's flags last. */
static void add_packed(struct vring_packed_desc *desc, u16 added, const struct vring_desc *pair)
{
	unsigned slot = 2 * (added % (QUEUE_SIZE / 2));
	u16 round = added / (QUEUE_SIZE / 2) & 1 ? 1u << VRING_PACKED_DESC_F_USED : 1u << VRING_PACKED_DESC_F_AVAIL;

	for (int i = 1; i >= 0; i--)
		desc[slot + i] = (struct vring_packed_desc){ pair[i].addr, pair[i].len, added, pair[i].flags | round };
}

/* A buffer of `len` bytes to be read and value % 8192 to be written. */
static void add(struct fuzz *f, const struct step *s, const u8 *data)
{
	unsigned q = s->queue % f->d->queues, slot = f->added[q] % (QUEUE_SIZE / 2);
	struct vring_desc *desc = (void *)ram_ptr(f->m, ring_of(q), RING);
	u16 *avail = (void *)ram_ptr(f->m, ring_of(q) + 0x400, 4 + 2 * QUEUE_SIZE);
	u32 in = s->value % 8192;

	if (f->heap + s->len + in > RAM_SIZE)
		f->heap = BUFFERS;
	memcpy(ram_ptr(f->m, f->heap, s->len), data, s->len);
	struct vring_desc pair[2] = { { f->heap, s->len, VRING_DESC_F_NEXT, (u16)(2 * slot + 1) },
				      { f->heap + s->len, in, VRING_DESC_F_WRITE, 0 } };
	f->heap += s->len + in;
	if (f->packed) {
		add_packed((void *)desc, f->added[q]++, pair);
		return;
	}
	memcpy(desc + 2 * slot, pair, sizeof(pair));
	avail[2 + f->added[q] % QUEUE_SIZE] = (u16)(2 * slot);
	avail[1] = ++f->added[q];
}

static void pass(struct machine *m, u64 ns)
{
	u64 until = clock_now(m->clock) + ns, next;

	for (unsigned fired = 0; fired < 64 && (next = clock_next_deadline(m->clock)) <= until; fired++) {
		clock_set(m->clock, next);
		clock_run_timers(m->clock);
	}
	clock_set(m->clock, until);
}

static void receive(struct fuzz *f, const u8 *data, unsigned len)
{
	struct virtio_net_hdr h = { 0 };
	struct iovec iov;

	memcpy(&h, data, MIN(len, sizeof(h)));
	iov = (struct iovec){ (void *)data, len };
	if (f->net.front.receive)
		f->net.front.receive(f->net.front.arg, &h, &iov, 1);
}

static void take(struct fuzz *f, const struct step *s, const u8 *data)
{
	unsigned bytes = 1u << (s->queue & 3);
	u8 buf[8];

	switch (s->kind % KINDS) {
	case ADD: add(f, s, data); break;
	case ADD_AND_KICK: add(f, s, data); /* fall through */
	case KICK: transport_kick(f->d, s->queue % (f->d->queues + 1)); break;
	case RING_WRITE:
		memcpy(ram_ptr(f->m, ring_of(s->queue % f->d->queues) + (s->value >> 16) % (RING - 4), 4), &s->value,
		       2);
		break;
	case NEGOTIATE: negotiate(f, s->value); break;
	case CONFIG_READ: transport_read_config(f->d, s->value, buf, bytes); break;
	case CONFIG_WRITE: transport_write_config(f->d, s->len, &s->value, MIN(bytes, 4u)); break;
	case PASS: pass(f->m, s->value % 1000); break;
	case RECEIVE: receive(f, data, s->len); break;
	default:
		if (f->net.front.arg) {
			virtio_net_set_link(f->d, s->value & 1);
			f->net.front.writable(f->net.front.arg);
		}
	}
}

static struct virtio_device *make(struct fuzz *f, unsigned which, struct vsockdev **sockets)
{
	int listener;

	if (which & 8) {
		f->disk = (struct blockdev){ &disk_ops, { 1 << 20, 512, 0, which & 1, true, true, "disk" } };
		return virtio_blk_new(f->m, &f->disk, NULL);
	}
	if (which & 16)
		return virtio_console_new(f->m, &console, NULL);
	switch (which % 4) {
	case 0: return virtio_rng_new(f->m, NULL);
	case 1:
		f->net = (struct netdev){ .ops = &net_ops, .takes = which & 4 ? NET_CSUM | NET_TSO4 | NET_UFO : 0 };
		return virtio_net_new(f->m, &f->net, NULL);
	case 2: return virtio_balloon_new(f->m, NULL);
	default:
		*sockets = vsock_host_new(f->m, 3, listen_path(&listener), NULL);
		assert(*sockets);
		return virtio_vsock_new(f->m, *sockets, NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine_config config = {
		.ram_size = RAM_SIZE, .cpus = 1, .model = cpu_model_find(NULL, NULL), .deterministic = true
	};
	struct fuzz f = { .m = machine_new(&config, NULL) };
	struct vsockdev *sockets = NULL;
	struct step s;

	if (!size) {
		machine_free(f.m);
		return 0;
	}
	f.d = make(&f, *data++, &sockets);
	size--;
	assert(f.d && !transport_attach(f.d, &transport, NULL, NULL));
	negotiate(&f, ~0u);
	while (size >= sizeof(s)) {
		memcpy(&s, data, sizeof(s));
		data += sizeof(s);
		size -= sizeof(s);
		s.len = (u16)MIN(s.len, size);
		take(&f, &s, data);
		disk_complete(&f);
		if (s.kind % KINDS == ADD || s.kind % KINDS == ADD_AND_KICK || s.kind % KINDS == RECEIVE) {
			data += s.len;
			size -= s.len;
		}
	}
	device_destroy(&f.d->dev);
	if (sockets)
		close_sockets(sockets);
	machine_free(f.m);
	return 0;
}
