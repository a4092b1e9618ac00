/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checksums and TCP segmentation in software, for a receiver of frames (a back end, or the guest's driver) that does not
 * take what a frame's header asks for (netdev.h, virtio 1.2, 5.1.6). One frame at a time: begin, then a piece after the other.
 *
 * The header may be hostile: begin() refuses what does not fit the frame. A frame that is handed on with an offload left to
 * do has a header that names what is there: TCP where it says TCP, hdr_len the length of its headers. UDP fragmentation is
 * passed on to those who take it, never done here.
 */
#pragma once
#include "machine/netdev.h"

#define NET_HEADERS_MAX 256 /* bytes of Ethernet, VLAN tags, IP and TCP together of a frame that is segmented */

struct net_offload {
	u8 *frame; /* NULL: no piece is left */
	u32 len;
	struct virtio_net_hdr hdr; /* of each piece */
	u32 at; /* where the piece begins in the frame */
	u32 headers; /* bytes before the TCP payload; 0: the frame is one piece */
	u32 gso_size; /* payload bytes of a piece */
	u32 l3, l4; /* offsets of IP and TCP */
	bool ipv6;
	u8 template[NET_HEADERS_MAX]; /* the headers as they came */
};

/* NET_* that a frame with this header needs from whoever gets it. */
u32 net_offload_needs(const struct virtio_net_hdr *h);
/* frame: memory of the caller's that nobody else changes; it is written to, and stays until the last piece. -EINVAL: drop it. */
int net_offload_begin(struct net_offload *o, u32 takes, const struct virtio_net_hdr *h, u8 *frame, u32 len);
/* The piece that is due, with o->hdr as its header; the same one until net_offload_next(). false: there is none. */
bool net_offload_piece(const struct net_offload *o, struct iovec *iov);
void net_offload_next(struct net_offload *o);
/* Copies a frame to `to`, which has room for NET_FRAME_MAX; its length, 0: it is longer than that. */
u32 net_gather(u8 *to, const struct iovec *iov, unsigned iovs);
/* For front ends whose frames say that a checksum is missing but not where: notes in h where TCP's or UDP's is. -EINVAL: there is none. */
int net_find_checksum(struct virtio_net_hdr *h, const u8 *frame, u32 len);
/* Fills in the checksum over [start, len) at start + offset, where the pseudo-header's sum is already. Inside the frame. */
void net_complete_checksum(u8 *frame, u32 len, u32 start, u32 offset);
