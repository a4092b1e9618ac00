/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network card (virtio 1.2, 5.1): one pair of queues, as one I/O thread serves all, and the control queue (net_ctrl.c).
 *
 * Every frame is copied to memory of ours before it is looked at, in either direction. So nobody behind the card, a policy
 * least of all, sees a frame that changes; and it can be segmented in place: the driver may always leave checksums and TCP
 * segmentation to us, what the back end does not take is done here (net_offload.h), at the host's speed instead of the
 * guest's. The same goes for frames from a back end with more left to do than the driver takes.
 *
 * Sending stops at a frame, or a piece of one, for which the back end has no room, and goes on when it says that it has.
 */
#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "devices/virtio/devices.h"
#include "devices/virtio/net-internal.h"

#define ETH_LEN 14u
#define HDR_LEN sizeof(struct virtio_net_hdr_v1) /* in both directions, whatever was agreed on */

#define FEATURES                                                                                           \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) |   \
	 BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |             \
	 BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(VIRTIO_NET_F_HOST_TSO4) |         \
	 BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_MRG_RXBUF) |          \
	 BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |                \
	 BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | \
	 BIT(VIRTIO_NET_F_GUEST_ANNOUNCE))

static struct net *net_of(struct virtio_device *v)
{
	return container_of(v, struct net, v);
}

/* ---- sending ---- */

/* Reads the frame in tx_buf and makes ready to send it. What is malformed is dropped: there is then no piece. */
static void take_frame(struct net *n)
{
	struct virtio_net_hdr h = { 0 };
	u64 len = n->tx_buf.out_len;

	if (len < HDR_LEN + ETH_LEN || len - HDR_LEN > NET_FRAME_MAX)
		return;
	virtq_read(&n->tx_buf, 0, &h, sizeof(h));
	h.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	len = virtq_read(&n->tx_buf, HDR_LEN, n->tx, len - HDR_LEN);
	if (!(net_offload_needs(&h) & ~n->sends))
		net_offload_begin(&n->out, n->back->takes, &h, n->tx, (u32)len);
}

/* false: the back end has no room. Counts down *budget, which may end it early. */
static bool send_pieces(struct net *n, unsigned *budget)
{
	struct iovec iov;

	while (*budget && net_offload_piece(&n->out, &iov)) {
		if (n->link && !n->back->ops->send(n->back, &n->out.hdr, &iov, 1))
			return false;
		net_offload_next(&n->out);
		--*budget;
	}
	return true;
}

/* true: there may be more, which can wait. */
static bool transmit(struct net *n)
{
	struct virtq *q = virtio_queue(&n->v, NET_TXQ);
	unsigned budget = VIRTIO_BUDGET;
	bool pushed = false, room;

	while ((room = send_pieces(n, &budget)) && budget && q && virtq_pop(q, &n->tx_buf) > 0) {
		budget--;
		take_frame(n);
		virtq_push(q, &n->tx_buf, 0);
		pushed = true;
	}
	if (pushed)
		virtq_signal(q);
	return room && !budget;
}

static void work(struct virtio_device *v)
{
	struct net *n = net_of(v);
	bool more = net_control(n);

	if (transmit(n) || more)
		virtio_later(&n->later);
}

static void on_writable(void *arg)
{
	virtio_later(&((struct net *)arg)->later);
}

/* ---- receiving ---- */
enum put { PUT_DONE, PUT_DROPPED, PUT_NO_ROOM };

/* Takes buffers for len bytes, the header included; how many, 0 if it cannot be done: *why says. */
static unsigned take_buffers(struct net *n, struct virtq *q, u64 len, enum put *why)
{
	unsigned most = virtio_has(&n->v, VIRTIO_NET_F_MRG_RXBUF) ? NET_MERGE_MAX : 1, count = 0;
	u64 room = 0;

	*why = PUT_DROPPED;
	while (room < len && count < most) {
		int r = q ? virtq_pop(q, &n->rx_buf[count]) : 0;

		if (r <= 0) {
			*why = r < 0 ? PUT_DROPPED : PUT_NO_ROOM;
			break;
		}
		if (n->rx_buf[count].in_len < (count ? 1 : HDR_LEN)) { /* 5.1.6.3.1 */
			virtio_broken(&n->v);
			return 0;
		}
		room += n->rx_buf[count++].in_len;
	}
	if (room >= len)
		return count;
	while (count)
		virtq_unpop(q, &n->rx_buf[--count]);
	return 0;
}

static enum put put_frame(struct net *n, const struct virtio_net_hdr *h, const struct iovec *frame)
{
	struct virtq *q = virtio_queue(&n->v, NET_RXQ);
	struct virtio_net_hdr_v1 hdr = { 0 };
	enum put why;
	unsigned count = take_buffers(n, q, HDR_LEN + frame->iov_len, &why);
	size_t done = 0;

	if (!count)
		return why;
	memcpy(&hdr, h, sizeof(*h));
	hdr.num_buffers = (u16)count;
	virtq_write(&n->rx_buf[0], 0, &hdr, HDR_LEN);
	for (unsigned k = 0; k < count; k++) {
		u64 skip = k ? 0 : HDR_LEN, room = n->rx_buf[k].in_len - skip;
		size_t len = MIN(room, frame->iov_len - done);

		virtq_write(&n->rx_buf[k], skip, (const u8 *)frame->iov_base + done, len);
		virtq_push(q, &n->rx_buf[k], (u32)(skip + len));
		done += len;
	}
	virtq_signal(q);
	return PUT_DONE;
}

/* false: the back end is to keep it. Of a frame in pieces that find no room after the first, the rest is lost, as on a wire. */
static bool receive(struct net *n, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	u32 len = net_gather(n->rx, iov, iovs);
	struct iovec piece;

	if (len < ETH_LEN || !net_filter_accepts(n, n->rx, len))
		return true;
	if (net_offload_begin(&n->in, n->back->front.takes, h, n->rx, len))
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

static bool on_receive(void *arg, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	struct net *n = arg;
	bool taken;

	virtio_lock(&n->v);
	taken = !virtio_running(&n->v) || !n->link || receive(n, h, iov, iovs);
	n->rx_waits |= !taken;
	virtio_unlock(&n->v);
	return taken;
}

static void resume(struct net *n)
{
	bool waits = n->rx_waits;

	n->rx_waits = false;
	if (waits)
		n->back->ops->resume(n->back);
}

/* ---- virtio ---- */
static void config_read(struct virtio_device *v, unsigned offset, void *buf, unsigned len)
{
	const struct net *n = net_of(v);
	struct virtio_net_config c = { .max_virtqueue_pairs = 1, .mtu = n->back->mtu };

	memcpy(c.mac, n->mac, ETH_ALEN);
	c.status = (n->link ? VIRTIO_NET_S_LINK_UP : 0) | (n->announce ? VIRTIO_NET_S_ANNOUNCE : 0);
	memcpy(buf, (const u8 *)&c + offset, len);
}

static void features_chosen(struct virtio_device *v)
{
	static const u8 bit[] = { VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6,
				  VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_UFO };
	struct net *n = net_of(v);

	n->sends = 0;
	for (unsigned k = 0; k < ARRAY_SIZE(bit); k++) /* in NET_*'s order */
		n->sends |= virtio_has(v, bit[k]) ? 1u << k : 0;
	n->back->front.takes = net_guest_takes(v->features);
}

static void notify(struct virtio_device *v, unsigned q)
{
	if (q == NET_RXQ)
		resume(net_of(v));
	else
		work(v);
}

static void reset(struct virtio_device *v)
{
	struct net *n = net_of(v);

	virtio_later_cancel(&n->later);
	n->out.frame = NULL;
	n->announce = false;
	n->sends = n->back->front.takes = 0;
	net_filter_reset(n);
	resume(n);
}

static void destroy(struct virtio_device *v)
{
	struct net *n = net_of(v);

	virtio_later_cancel(&n->later);
	n->back->front = (struct netdev_front){ 0 };
	free(n);
}

static const struct virtio_ops net_ops = {
	.name = "virtio-net",
	.id = 1,
	.pci_class = 0x020000,
	.features = FEATURES,
	.config_len = offsetof(struct virtio_net_config, mtu) + sizeof(u16),
	.config_read = config_read,
	.features_chosen = features_chosen,
	.notify = notify,
	.reset = reset,
	.destroy = destroy,
};

void virtio_net_set_link(struct virtio_device *net, bool up)
{
	struct net *n = net_of(net);

	virtio_lock(&n->v);
	n->link = up;
	if (virtio_running(&n->v))
		virtio_config_changed(&n->v);
	resume(n);
	virtio_unlock(&n->v);
}

void virtio_net_announce(struct virtio_device *net)
{
	struct net *n = net_of(net);

	virtio_lock(&n->v);
	if (virtio_running(&n->v) && virtio_has(&n->v, VIRTIO_NET_F_GUEST_ANNOUNCE)) {
		n->announce = true;
		virtio_config_changed(&n->v);
	}
	virtio_unlock(&n->v);
}

/* The back end's choice, or a locally administered one: random, as two guests may meet on one network, but for a machine
 * that is to be the same each time. */
static void choose_mac(struct net *n)
{
	static const u8 none[ETH_ALEN], fixed[ETH_ALEN] = { 0x52, 0x58, 0x54, 0x00, 0x00, 0x01 };

	memcpy(n->mac, fixed, ETH_ALEN);
	if (memcmp(n->back->mac, none, ETH_ALEN))
		memcpy(n->mac, n->back->mac, ETH_ALEN);
	else if (!n->v.machine->config.deterministic && getrandom(n->mac + 3, 3, 0) != 3)
		n->mac[5] = 2;
}

struct virtio_device *virtio_net_new(struct machine *m, struct netdev *back, struct error *err)
{
	struct net *n = calloc(1, sizeof(*n));

	if (!n) {
		error_set(err, ENOMEM, "no memory for a network card");
		return NULL;
	}
	n->v = (struct virtio_device){ .ops = &net_ops, .machine = m, .queues = 3 };
	n->v.offered = (back->mtu ? BIT(VIRTIO_NET_F_MTU) : 0) |
		       (back->takes & NET_UFO ? BIT(VIRTIO_NET_F_HOST_UFO) : 0);
	n->back = back;
	n->link = true;
	virtio_later_init(&n->later, &n->v, work);
	choose_mac(n);
	net_filter_reset(n);
	back->front = (struct netdev_front){ .receive = on_receive, .writable = on_writable, .arg = n };
	return &n->v;
}
