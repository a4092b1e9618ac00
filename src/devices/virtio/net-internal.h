/* SPDX-License-Identifier: Apache-2.0 */
/* What net.c and net_ctrl.c share: the card's state, the filter of received frames, the control queue. */
#pragma once
#include "devices/virtio/later.h"
#include "machine/net_offload.h"

#define NET_RXQ	      0
#define NET_TXQ	      1
#define NET_CTRLQ     2
#define NET_MACS      64 /* of each table; more, and the filter lets all through */
#define NET_MERGE_MAX 64 /* buffers that one frame is spread over: 64 KiB in buffers of a page and less */
#define ETH_ALEN      6

struct net_table {
	bool overflow;
	unsigned count;
	u8 mac[NET_MACS][ETH_ALEN];
};
struct net_filter { /* virtio 1.2, 5.1.6.5.1 to 5.1.6.5.3 */
	bool promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast;
	struct net_table unicast, multicast;
	u64 vlans[4096 / 64]; /* those that are let through, once the driver filters them */
};

struct net {
	struct virtio_device v; /* first */
	struct netdev *back;
	u8 mac[ETH_ALEN]; /* the card's own */
	u8 filter_mac[ETH_ALEN]; /* what the driver made of it */
	struct net_filter filter;
	bool link, announce;
	u32 sends; /* NET_* that the driver may ask of us */
	bool rx_waits; /* the back end keeps a frame for which there was no buffer */
	struct virtio_later later;
	struct net_offload out, in;
	struct virtq_buffer tx_buf, ctrl_buf, rx_buf[NET_MERGE_MAX];
	u8 tx[NET_FRAME_MAX], rx[NET_FRAME_MAX];
};

void net_filter_reset(struct net *n);
bool net_filter_accepts(const struct net *n, const u8 *frame, u32 len);
/* Answers what is in the control queue. true: there may be more, which can wait. */
bool net_control(struct net *n);
u32 net_guest_takes(u64 features); /* NET_* of VIRTIO_NET_F_GUEST_* bits */
