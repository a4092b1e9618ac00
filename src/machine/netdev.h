/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network link between a device (the front end: virtio-net) and something on the host (the back end: libslirp, a tap
 * interface, a policy in front of either). The back end embeds struct netdev and fills in ops; the device attaches `front`.
 *
 * Frames are Ethernet frames without FCS. The offload header is virtio-net's (virtio 1.2, 5.1.6: flags, gso_type, hdr_len,
 * gso_size, csum_start, csum_offset), as tap interfaces take it too. A back end says which offloads it takes in `takes`; the
 * front end hands it no frame that needs another, and accepts what it advertised through `front.takes`.
 *
 * Nothing blocks. Locking: a device calls ops with its own lock held; a back end calls the front with none of its locks held,
 * and neither calls back into the other from within a call, except that send() may be called from within receive() of
 * another netdev in a chain (a policy).
 */
#pragma once
#include <linux/virtio_net.h>
#include <sys/uio.h>

#include "util/error.h"

#define NET_CSUM      BIT(0) /* a checksum left to be filled in */
#define NET_TSO4      BIT(1)
#define NET_TSO6      BIT(2)
#define NET_ECN	      BIT(3) /* with TSO */
#define NET_UFO	      BIT(4)
#define NET_FRAME_MAX (65535 + 18) /* bytes, offloaded ones included */

struct netdev;
struct netdev_ops {
	const char *name;
	/* Takes one frame; false: no room, front.writable() is called once there is. A frame that cannot be sent for good (the
	 * link is down, it is malformed) is taken and dropped. Any thread. */
	bool (*send)(struct netdev *n, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs);
	/* The front end has room again after receive() returned false. Any thread. */
	void (*resume)(struct netdev *n);
	void (*destroy)(struct netdev *n);
};
struct netdev_front {
	/* false: no room; the back end keeps the frame (or drops it) and waits for resume(). Any thread. */
	bool (*receive)(void *arg, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs);
	void (*writable)(void *arg);
	void *arg;
	u32 takes; /* NET_* that the guest accepts; changes when its driver has chosen */
};
struct netdev {
	const struct netdev_ops *ops;
	u32 takes; /* NET_* that send() accepts; fixed */
	u16 mtu; /* largest payload; 0: 1500 */
	u8 mac[6]; /* address for the guest; all zero: the device chooses */
	struct netdev_front front; /* receive NULL: nobody listens, frames are dropped */
};
static inline void netdev_destroy(struct netdev *n) /* NULL is fine */
{
	if (n)
		n->ops->destroy(n);
}
