/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames to the guest: copied into pages that its requests grant (rx-copy), one after the other until a frame is in, an extra slot for
 * what is left to do to it behind the first. What the guest's driver does not take is done before. When there are too few
 * requests the frame stays with the back end; the guest's next request brings it out.
 */
#include <string.h>

#include "platform/xen/events.h"
#include "platform/xen/vif-internal.h"

enum put { PUT_DONE, PUT_DROPPED, PUT_NO_ROOM };

static u32 available(struct vif *n)
{
	u32 prod = ring_index(&n->rx.sring->req_prod);

	xen_rmb();
	if (RING_REQUEST_PROD_OVERFLOW(&n->rx, prod)) {
		n->serving = false;
		return 0;
	}
	return prod - n->rx.req_cons;
}

/* Whether there are so many requests; if not, the guest is to tell us of the next. */
static bool have_slots(struct vif *n, u32 want)
{
	if (available(n) >= want)
		return true;
	if (n->serving) {
		n->rx.sring->req_event = n->rx.req_cons + want;
		xen_mb();
	}
	return n->serving && available(n) >= want;
}

/* Copies part of the frame to the page of the next request, and answers it. */
static void put_slot(struct vif *n, const u8 *data, u32 len, u16 flags)
{
	struct netif_rx_request q;
	struct netif_rx_response *r;
	struct grant g;
	s16 status = NETIF_RSP_ERROR;

	RING_COPY_REQUEST(&n->rx, n->rx.req_cons, &q);
	n->rx.req_cons++;
	if (!grant_get(n->bus.d, q.gref, true, &g)) {
		memcpy(g.host, data, len);
		machine_written(n->bus.d->machine, g.host, len);
		grant_put(n->bus.d, &g);
		status = (s16)len;
	}
	r = RING_GET_RESPONSE(&n->rx, n->rx.rsp_prod_pvt);
	n->rx.rsp_prod_pvt++;
	*r = (struct netif_rx_response){ .id = q.id, .flags = flags, .status = status };
}

/* In the place of a response; the request that is lost for it granted a page in vain. */
static void put_gso(struct vif *n, const struct virtio_net_hdr *h)
{
	bool v6 = (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV6;
	struct netif_extra_info x = { .type = XEN_NETIF_EXTRA_TYPE_GSO };

	x.u.gso.size = h->gso_size;
	x.u.gso.type = v6 ? XEN_NETIF_GSO_TYPE_TCPV6 : XEN_NETIF_GSO_TYPE_TCPV4;
	n->rx.req_cons++;
	memcpy(RING_GET_RESPONSE(&n->rx, n->rx.rsp_prod_pvt), &x, sizeof(x));
	n->rx.rsp_prod_pvt++;
}

static enum put put_frame(struct vif *n, const struct virtio_net_hdr *h, const struct iovec *frame)
{
	const u8 *data = frame->iov_base;
	u32 len = (u32)frame->iov_len, slots = (u32)((len + PAGE_SIZE - 1) / PAGE_SIZE);
	bool gso = h->gso_type != VIRTIO_NET_HDR_GSO_NONE;
	u16 flags = 0;
	int notify;

	if (slots > 1 && !n->sg)
		return PUT_DROPPED;
	if (!have_slots(n, slots + gso))
		return n->serving ? PUT_NO_ROOM : PUT_DROPPED;
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		flags = NETRXF_csum_blank | NETRXF_data_validated;
	else if (h->flags & VIRTIO_NET_HDR_F_DATA_VALID)
		flags = NETRXF_data_validated;
	for (u32 at = 0; at < len; at += PAGE_SIZE) {
		u32 here = MIN(len - at, (u32)PAGE_SIZE);

		put_slot(n, data + at, here,
			 (u16)((at ? 0 : flags | (gso ? NETRXF_extra_info : 0)) |
			       (at + here < len ? NETRXF_more_data : 0)));
		if (!at && gso)
			put_gso(n, h);
	}
	n->received++;
	n->received_bytes += len;
	RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&n->rx, notify);
	if (notify)
		events_raise(n->bus.d, n->rx_port);
	return PUT_DONE;
}

/* Of a frame in pieces that find no room after the first, the rest is lost, as on a wire. */
bool vif_receive(struct vif *n, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	u32 len = net_gather(n->in_frame, iov, iovs);
	struct iovec piece;

	if (len < ETH_LEN || net_offload_begin(&n->in, n->back->front.takes, h, n->in_frame, len))
		return true;
	for (bool first = true; net_offload_piece(&n->in, &piece); first = false) {
		enum put r = put_frame(n, &n->in.hdr, &piece);

		if (r == PUT_NO_ROOM)
			return !first;
		if (r == PUT_DROPPED)
			return true;
		net_offload_next(&n->in);
	}
	return true;
}
