/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the network back end share: vif.c is its life, vif-tx.c frames from the guest, vif-rx.c frames to it. */
#pragma once
#include "machine/net_offload.h"
#include "platform/xen/grants.h"
#include "platform/xen/ring.h"
#include "platform/xen/vif.h"
#include "platform/xen/xenbus.h"

#include <xen/io/netif.h>

#define VIF_BUDGET 256u /* requests that are served before others have their turn */
#define VIF_SLOTS \
	18u /* of a frame, extra ones aside: what front ends of all ages send at most (XEN_NETIF_NR_SLOTS_MIN) */
#define VIF_RX_SLOTS (NET_FRAME_MAX / PAGE_SIZE + 1)
#define ETH_LEN	     14u

struct vif {
	struct xenbus bus;
	struct netdev *back;
	u8 mac[6];
	pthread_mutex_t lock; /* what follows */
	bool serving; /* connected, and the rings make sense */
	struct work work; /* the guest has sent, or the back end has room */
	struct netif_tx_back_ring tx;
	struct netif_rx_back_ring rx;
	struct grant tx_page, rx_page;
	u32 tx_port, rx_port; /* one and the same, if the front end wants it so */
	bool sg; /* the guest takes frames in several slots */
	bool rx_waits; /* the back end has a frame that found no room */
	u64 sent, sent_bytes, received, received_bytes; /* figures: frames as the guest has them */
	struct net_offload out, in;
	u8 out_frame[NET_FRAME_MAX], in_frame[NET_FRAME_MAX];
};

/* Both with the lock held, while serving. vif_transmit: true: there may be more, which can wait. */
bool vif_transmit(struct vif *n);
/* false: no room; the back end keeps it. */
bool vif_receive(struct vif *n, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs);
