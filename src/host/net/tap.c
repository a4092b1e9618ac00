/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface of the host (Documentation/networking/tuntap.rst). The kernel takes and gives virtio-net's header as it
 * is, checksums and segmentation included. Reading is done on the machine's event loop: a frame for which the guest has no
 * room stays here, and the interface's own queue fills up behind it, until resume().
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/net/queue.h"
#include "host/net/spec.h"

#define DEVICE	   "/dev/net/tun"
#define BATCH	   64 /* frames read before other descriptors get their turn */
#define SEND_PARTS 64

struct tap {
	struct netdev netdev;
	struct loop *loop;
	int fd, resume_fd;
	atomic_bool full; /* send() has refused a frame */
	/* The event loop's. */
	bool holds; /* buffer has a frame that the guest had no room for */
	u32 offloads; /* as TUNSETOFFLOAD was told */
	size_t len;
	u8 buffer[sizeof(struct virtio_net_hdr) + NET_FRAME_MAX];
};

static struct tap *tap_of(struct netdev *n)
{
	return container_of(n, struct tap, netdev);
}

static void watch(struct tap *t)
{
	loop_rewatch(t->loop, t->fd, (t->holds ? 0u : EPOLLIN) | (atomic_load(&t->full) ? EPOLLOUT : 0u));
}

/* ---- to the guest ---- */
static bool deliver(struct tap *t)
{
	struct netdev_front *f = &t->netdev.front;
	struct iovec iov = { .iov_base = t->buffer + sizeof(struct virtio_net_hdr),
			     .iov_len = t->len - sizeof(struct virtio_net_hdr) };

	return !f->receive || f->receive(f->arg, (const struct virtio_net_hdr *)t->buffer, &iov, 1);
}

/* What the guest takes decides what the kernel leaves undone; its driver may choose at any time. */
static void follow_offloads(struct tap *t)
{
	u32 takes = t->netdev.front.takes;
	u32 flags = takes & NET_CSUM
			    ? TUN_F_CSUM | (takes & NET_TSO4 ? TUN_F_TSO4 : 0) | (takes & NET_TSO6 ? TUN_F_TSO6 : 0)
			    : 0;

	if (takes & NET_ECN && flags & (TUN_F_TSO4 | TUN_F_TSO6))
		flags |= TUN_F_TSO_ECN;
	if (flags != t->offloads && !ioctl(t->fd, TUNSETOFFLOAD, (unsigned long)flags))
		t->offloads = flags;
}

static void read_frames(struct tap *t)
{
	for (unsigned i = 0; i < BATCH && !t->holds; i++) {
		ssize_t n = read(t->fd, t->buffer, sizeof(t->buffer));

		if (n < (ssize_t)sizeof(struct virtio_net_hdr))
			return; /* EAGAIN, or the interface is gone or down: EIO, EBADFD */
		t->len = (size_t)n;
		t->holds = !deliver(t);
	}
}

static void on_tap(void *arg, u32 events)
{
	struct tap *t = arg;

	follow_offloads(t);
	if (events & EPOLLOUT && atomic_exchange(&t->full, false) && t->netdev.front.writable)
		t->netdev.front.writable(t->netdev.front.arg);
	if (events & EPOLLIN)
		read_frames(t);
	/* An interface that was removed reports an error without end. */
	if (events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN))
		loop_unwatch(t->loop, t->fd);
	else
		watch(t);
}

static void on_resume(void *arg, u32 events)
{
	struct tap *t = arg;
	u64 n;

	if (read(t->resume_fd, &n, sizeof(n)) != sizeof(n))
		return;
	follow_offloads(t);
	if (t->holds)
		t->holds = !deliver(t);
	watch(t);
}

static void tap_resume(struct netdev *n)
{
	u64 one = 1;

	if (write(tap_of(n)->resume_fd, &one, sizeof(one)) < 0)
		return; /* the counter is at its maximum: it is readable */
}

/* ---- from the guest ---- */
static bool tap_send(struct netdev *n, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	struct tap *t = tap_of(n);
	struct iovec all[SEND_PARTS + 1] = { { .iov_base = (void *)h, .iov_len = sizeof(*h) } };
	ssize_t r;

	if (iovs > SEND_PARTS)
		return true;
	memcpy(all + 1, iov, iovs * sizeof(*iov));
	do
		r = writev(t->fd, all, (int)iovs + 1);
	while (r < 0 && errno == EINTR);
	if (r >= 0 || errno != EAGAIN)
		return true; /* malformed, or the link is down: lost, as on a cable that was pulled */
	atomic_store(&t->full, true);
	tap_resume(n); /* on the loop's thread, which knows what else is to be watched */
	return false;
}

static void tap_destroy(struct netdev *n)
{
	struct tap *t = tap_of(n);

	if (t->fd >= 0) {
		loop_unwatch(t->loop, t->fd);
		close(t->fd);
	}
	if (t->resume_fd >= 0) {
		loop_unwatch(t->loop, t->resume_fd);
		close(t->resume_fd);
	}
	free(t);
}

static const struct netdev_ops tap_ops = {
	.name = "tap", .send = tap_send, .resume = tap_resume, .destroy = tap_destroy
};

/* ---- set-up ---- */
static int open_device(const char *name, struct error *err)
{
	int fd = open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return error_set(err, errno, "tap=%s: this host has no %s (modprobe tun?)", name, DEVICE);
	if (errno == EACCES || errno == EPERM)
		return error_set(err, errno, "tap=%s: no permission to open %s", name, DEVICE);
	return error_set(err, errno, "tap=%s: cannot open %s: %s", name, DEVICE, strerror(errno));
}

static int attach(int fd, const char *name, struct error *err)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int header = sizeof(struct virtio_net_hdr);

	/* TUNSETIFF would make an interface that is not there, and remove it when we end: nobody could set it up. */
	if (!if_nametoindex(name))
		return error_set(err, ENODEV,
				 "tap=%s: no such interface; make one: ip tuntap add %s mode tap user $USER", name,
				 name);
	strcpy(r.ifr_name, name);
	if (!ioctl(fd, TUNSETIFF, &r) && !ioctl(fd, TUNSETVNETHDRSZ, &header) && !ioctl(fd, TUNSETOFFLOAD, 0ul))
		return 0;
	switch (errno) {
	case EPERM:
	case EACCES:
		return error_set(err, errno,
				 "tap=%s: no permission to use it (make it with: ip tuntap add %s mode tap user $USER)",
				 name, name);
	case EBUSY: return error_set(err, errno, "tap=%s: another program uses it", name);
	case EINVAL: return error_set(err, errno, "tap=%s: that interface is no tap", name);
	default: return error_set(err, errno, "tap=%s: cannot use it: %s", name, strerror(errno));
	}
}

static int set_up(struct tap *t, const char *name, struct error *err)
{
	int e;

	t->fd = open_device(name, err);
	if (t->fd < 0)
		return t->fd;
	e = attach(t->fd, name, err);
	if (e)
		return e;
	t->resume_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (t->resume_fd < 0)
		return error_set(err, errno, "tap=%s: %s", name, strerror(errno));
	e = loop_watch(t->loop, t->resume_fd, EPOLLIN, on_resume, t, err);
	return e ? e : loop_watch(t->loop, t->fd, EPOLLIN, on_tap, t, err);
}

struct netdev *tap_new(const struct net_spec *s, struct machine *m, struct error *err)
{
	struct tap *t = calloc(1, sizeof(*t));

	if (!t) {
		error_set(err, ENOMEM, "no memory for the network");
		return NULL;
	}
	t->netdev = (struct netdev){ .ops = &tap_ops, .takes = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN };
	t->loop = m->loop;
	t->fd = t->resume_fd = -1;
	if (set_up(t, s->interface, err)) {
		tap_destroy(&t->netdev);
		return NULL;
	}
	return &t->netdev;
}
