/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames from the guest. One is a slot a page or part of it, the first slot having the whole length as its size, and extra slots
 * behind the first. It is copied to memory of ours before it is looked at, so that nobody behind us judges bytes that the guest still
 * changes, and the slots are given back at once.
 */
#include <errno.h>
#include <string.h>

#include "platform/xen/events.h"
#include "platform/xen/vif-internal.h"

#define TCP_FLAGS 13u /* offset */
#define TCP_CWR	  0x80

/* As ring slots have it: an extra one is in the place of a request. */
_Static_assert(sizeof(struct netif_extra_info) <= sizeof(struct netif_tx_request), "extra slots fit");

struct frame {
	struct netif_tx_request slot[VIF_SLOTS];
	unsigned slots, extras;
	struct netif_extra_info gso; /* type NONE: it is none */
};

/* ---- responses ---- */

static void respond(struct vif *n, u16 id, s16 status)
{
	struct netif_tx_response *r = RING_GET_RESPONSE(&n->tx, n->tx.rsp_prod_pvt);

	*r = (struct netif_tx_response){ .id = id, .status = status };
	n->tx.rsp_prod_pvt++;
}

/* One a slot, in the slots' order: extra ones stand behind the first. */
static void respond_all(struct vif *n, const struct frame *f, s16 status)
{
	respond(n, f->slot[0].id, status);
	for (unsigned i = 0; i < f->extras; i++)
		respond(n, 0, NETIF_RSP_NULL);
	for (unsigned i = 1; i < f->slots; i++)
		respond(n, f->slot[i].id, status);
}

static void push(struct vif *n)
{
	int notify;

	RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&n->tx, notify);
	if (notify)
		events_raise(n->bus.d, n->tx_port);
}

/* ---- requests ---- */

/* Slots that the guest has made available and we have not taken. ~0: its index makes no sense. */
static u32 available(struct vif *n)
{
	u32 prod = ring_index(&n->tx.sring->req_prod);

	xen_rmb();
	return RING_REQUEST_PROD_OVERFLOW(&n->tx, prod) ? ~0u : prod - n->tx.req_cons;
}

static int take_extras(struct vif *n, struct frame *f, u32 *left)
{
	struct netif_extra_info x = { .flags = XEN_NETIF_EXTRA_FLAG_MORE };

	while (x.flags & XEN_NETIF_EXTRA_FLAG_MORE) {
		if (!*left)
			return -EINVAL;
		memcpy(&x, RING_GET_REQUEST(&n->tx, n->tx.req_cons), sizeof(x));
		atomic_signal_fence(memory_order_seq_cst);
		n->tx.req_cons++;
		f->extras++;
		--*left;
		if (x.type == XEN_NETIF_EXTRA_TYPE_GSO)
			f->gso = x;
		else if (!x.type || x.type >= XEN_NETIF_EXTRA_TYPE_MAX)
			return -EINVAL;
	}
	return 0;
}

/* All slots of a frame. -EINVAL: it has more than there are, or can be; that is from no driver, and where the next one begins
 * is not known. */
static int take_slots(struct vif *n, struct frame *f, u32 left)
{
	struct netif_tx_request *r;

	do {
		if (!left || f->slots == VIF_SLOTS)
			return -EINVAL;
		r = &f->slot[f->slots++];
		RING_COPY_REQUEST(&n->tx, n->tx.req_cons, r);
		n->tx.req_cons++;
		left--;
		if (r->flags & NETTXF_extra_info && (f->slots > 1 || take_extras(n, f, &left)))
			return -EINVAL;
	} while (r->flags & NETTXF_more_data);
	return 0;
}

/* ---- the frame ---- */

/* Copies it; its length, 0 if it cannot be sent. */
static u32 gather(struct vif *n, struct frame *f)
{
	u32 total = f->slot[0].size, rest = 0, len = 0;

	for (unsigned i = 1; i < f->slots; i++)
		rest += f->slot[i].size;
	if (total < ETH_LEN || rest >= total)
		return 0;
	f->slot[0].size = (u16)(total - rest);
	for (unsigned i = 0; i < f->slots; i++) {
		const struct netif_tx_request *r = &f->slot[i];
		struct grant g;

		if (r->offset + (u32)r->size > PAGE_SIZE || grant_get(n->bus.d, r->gref, false, &g))
			return 0;
		memcpy(n->out_frame + len, g.host + r->offset, r->size);
		len += r->size;
		grant_put(n->bus.d, &g);
	}
	return len;
}

/* What the slots say, in the words of the back end. false: it does not fit the frame. */
static bool describe(const struct vif *n, const struct frame *f, u32 len, struct virtio_net_hdr *h)
{
	bool gso = f->gso.type == XEN_NETIF_EXTRA_TYPE_GSO;
	const u8 *tcp;

	*h = (struct virtio_net_hdr){ 0 };
	if (!gso && !(f->slot[0].flags & NETTXF_csum_blank))
		return true;
	if (net_find_checksum(h, n->out_frame, len))
		return false;
	if (!gso)
		return true;
	switch (f->gso.u.gso.type) {
	case XEN_NETIF_GSO_TYPE_TCPV4: h->gso_type = VIRTIO_NET_HDR_GSO_TCPV4; break;
	case XEN_NETIF_GSO_TYPE_TCPV6: h->gso_type = VIRTIO_NET_HDR_GSO_TCPV6; break;
	default: return false;
	}
	h->gso_size = f->gso.u.gso.size;
	tcp = n->out_frame + h->csum_start;
	if (h->csum_start + TCP_FLAGS < len && tcp[TCP_FLAGS] & TCP_CWR)
		h->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	return true;
}

/* Takes the next frame. What is malformed is dropped: there is then no piece. */
static void take_frame(struct vif *n, u32 slots)
{
	struct frame f = { 0 };
	struct virtio_net_hdr h;
	u32 len;

	if (take_slots(n, &f, slots)) {
		n->serving = false;
		return;
	}
	len = gather(n, &f);
	if (len && !(describe(n, &f, len, &h) && !net_offload_begin(&n->out, n->back->takes, &h, n->out_frame, len)))
		len = 0;
	n->sent += len != 0;
	n->sent_bytes += len;
	respond_all(n, &f, len ? NETIF_RSP_OKAY : NETIF_RSP_ERROR);
}

/* false: the back end has no room. */
static bool send_pieces(struct vif *n, unsigned *budget)
{
	struct iovec iov;

	while (*budget && net_offload_piece(&n->out, &iov)) {
		if (!n->back->ops->send(n->back, &n->out.hdr, &iov, 1))
			return false;
		net_offload_next(&n->out);
		--*budget;
	}
	return true;
}

bool vif_transmit(struct vif *n)
{
	unsigned budget = VIF_BUDGET;
	bool pushed = false, room;
	int more = 0;
	u32 slots;

	while ((room = send_pieces(n, &budget)) && budget && n->serving && (slots = available(n))) {
		if (slots == ~0u) {
			n->serving = false;
			break;
		}
		budget--;
		take_frame(n, slots);
		pushed = true;
	}
	if (pushed)
		push(n);
	if (!room || !n->serving)
		return false;
	if (budget)
		RING_FINAL_CHECK_FOR_REQUESTS(&n->tx, more);
	return !budget || more;
}
