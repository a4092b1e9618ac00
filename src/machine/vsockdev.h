/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections between guest and host that are no network (virtio 1.2, 5.10), between a device (the front end: virtio-vsock's
 * rings) and something on the host (the back end: Unix-domain sockets). What passes is the standard's packets; the back end
 * has the connections, their credit and their ends.
 *
 * Packets to the guest are pulled: the device asks for the next one when the guest has a buffer, so that nothing is kept in
 * between and bytes go straight into guest memory. Nothing blocks. Locking: the device calls ops with its own lock held; the
 * back end calls ready() with none of its locks held, on any thread, never from within an op; the device calls ops from there.
 */
#pragma once
#include <linux/virtio_vsock.h>
#include <sys/uio.h>

#include "util/error.h"

#define VSOCK_HOST_CID	 2
#define VSOCK_PACKET_MAX 65536 /* payload bytes */
#define VSOCK_CID_MIN	 3
#define VSOCK_CID_MAX	 0xfffffffe

struct vsockdev;
struct vsockdev_ops {
	const char *name;
	/* A packet from the guest, with h->len bytes of payload in iov, at most VSOCK_PACKET_MAX. h has been checked for nothing
	 * else. false: it would need answers that wait for too many others to be fetched; it is offered again. */
	bool (*take)(struct vsockdev *s, const struct virtio_vsock_hdr *h, const struct iovec *iov, unsigned iovs);
	/* The next packet for the guest: h, and h->len bytes put in iov (as much as there is room for). false: there is none. */
	bool (*give)(struct vsockdev *s, struct virtio_vsock_hdr *h, const struct iovec *iov, unsigned iovs);
	/* The guest's driver is gone: so are all connections. */
	void (*reset)(struct vsockdev *s);
	void (*destroy)(struct vsockdev *s);
};
struct vsockdev_front {
	void (*ready)(void *arg); /* give() may have something */
	void *arg;
};
struct vsockdev {
	const struct vsockdev_ops *ops;
	u64 guest_cid;
	struct vsockdev_front front; /* ready NULL: nobody listens */
};
static inline void vsockdev_destroy(struct vsockdev *s) /* NULL is fine */
{
	if (s)
		s->ops->destroy(s);
}
