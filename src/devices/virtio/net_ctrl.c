/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network card's control queue (virtio 1.2, 5.1.6.5) and the filter of received frames that it sets: receive modes, tables
 * of unicast and multicast addresses, VLANs, the card's address, announcements, offloads.
 *
 * A command is a class, a number and data that the device reads, and one byte of status that it writes. What does not fit,
 * or belongs to a feature that was not agreed on, is answered with an error and changes nothing.
 */
#include <linux/virtio_net.h>
#include <string.h>

#include "devices/virtio/net-internal.h"

#define VLAN_TYPE 0x8100

struct command {
	struct net *n;
	u8 class, number;
	u64 at; /* of the data in the buffer */
};

void net_filter_reset(struct net *n)
{
	n->filter = (struct net_filter){ .promiscuous = true };
	memcpy(n->filter_mac, n->mac, ETH_ALEN);
}

/* ---- the filter ---- */
static bool in_table(const struct net_table *t, const u8 *mac)
{
	for (unsigned k = 0; k < t->count; k++)
		if (!memcmp(t->mac[k], mac, ETH_ALEN))
			return true;
	return t->overflow;
}

static bool vlan_accepted(const struct net *n, const u8 *frame, u32 len)
{
	unsigned id;

	if (!virtio_has(&n->v, VIRTIO_NET_F_CTRL_VLAN) || len < 16 || (frame[12] << 8 | frame[13]) != VLAN_TYPE)
		return true;
	id = (frame[14] << 8 | frame[15]) & 0xfff;
	return n->filter.vlans[id / 64] >> (id % 64) & 1;
}

bool net_filter_accepts(const struct net *n, const u8 *frame, u32 len)
{
	static const u8 broadcast[ETH_ALEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const struct net_filter *f = &n->filter;

	if (f->promiscuous)
		return true;
	if (!vlan_accepted(n, frame, len))
		return false;
	if (!memcmp(frame, broadcast, ETH_ALEN))
		return !f->no_broadcast;
	if (frame[0] & 1)
		return !f->no_multicast && (f->all_multicast || in_table(&f->multicast, frame));
	if (f->no_unicast)
		return false;
	return f->all_unicast || !memcmp(frame, n->filter_mac, ETH_ALEN) || in_table(&f->unicast, frame);
}

/* ---- commands: each returns whether it did what it was told ---- */
static bool data(struct command *c, void *to, size_t len)
{
	bool whole = virtq_read(&c->n->ctrl_buf, c->at, to, len) == len;

	c->at += len;
	return whole;
}

static bool set_mode(struct command *c)
{
	struct net_filter *f = &c->n->filter;
	bool *const modes[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &f->promiscuous, [VIRTIO_NET_CTRL_RX_ALLMULTI] = &f->all_multicast,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &f->all_unicast,	[VIRTIO_NET_CTRL_RX_NOMULTI] = &f->no_multicast,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &f->no_unicast,	[VIRTIO_NET_CTRL_RX_NOBCAST] = &f->no_broadcast,
	};
	bool extra = c->number > VIRTIO_NET_CTRL_RX_ALLMULTI;
	u8 on;

	if (!virtio_has(&c->n->v, extra ? VIRTIO_NET_F_CTRL_RX_EXTRA : VIRTIO_NET_F_CTRL_RX) ||
	    c->number >= ARRAY_SIZE(modes) || !data(c, &on, 1))
		return false;
	*modes[c->number] = on;
	return true;
}

static bool read_table(struct command *c, struct net_table *t)
{
	u32 count;

	if (!data(c, &count, sizeof(count)) || (u64)count * ETH_ALEN > c->n->ctrl_buf.out_len - c->at)
		return false;
	t->overflow = count > NET_MACS;
	t->count = t->overflow ? 0 : count;
	virtq_read(&c->n->ctrl_buf, c->at, t->mac, (size_t)t->count * ETH_ALEN);
	c->at += (u64)count * ETH_ALEN;
	return true;
}

static bool set_addresses(struct command *c)
{
	struct net_table unicast = { 0 }, multicast = { 0 };

	if (c->number == VIRTIO_NET_CTRL_MAC_ADDR_SET)
		return virtio_has(&c->n->v, VIRTIO_NET_F_CTRL_MAC_ADDR) && c->n->ctrl_buf.out_len - c->at >= ETH_ALEN &&
		       data(c, c->n->filter_mac, ETH_ALEN);
	if (c->number != VIRTIO_NET_CTRL_MAC_TABLE_SET || !virtio_has(&c->n->v, VIRTIO_NET_F_CTRL_RX) ||
	    !read_table(c, &unicast) || !read_table(c, &multicast))
		return false;
	c->n->filter.unicast = unicast;
	c->n->filter.multicast = multicast;
	return true;
}

static bool set_vlan(struct command *c)
{
	u64 *vlans = c->n->filter.vlans;
	u16 id;

	if (!virtio_has(&c->n->v, VIRTIO_NET_F_CTRL_VLAN) || !data(c, &id, sizeof(id)) || id >= 4096)
		return false;
	switch (c->number) {
	case VIRTIO_NET_CTRL_VLAN_ADD: vlans[id / 64] |= BIT(id % 64); return true;
	case VIRTIO_NET_CTRL_VLAN_DEL: vlans[id / 64] &= ~BIT(id % 64); return true;
	default: return false;
	}
}

static bool acknowledge_announce(struct command *c)
{
	if (!virtio_has(&c->n->v, VIRTIO_NET_F_GUEST_ANNOUNCE) || c->number != VIRTIO_NET_CTRL_ANNOUNCE_ACK)
		return false;
	c->n->announce = false;
	return true;
}

#define GUEST_OFFLOADS                                                                                \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | \
	 BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_UFO))

u32 net_guest_takes(u64 features)
{
	static const u8 bit[] = { VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
				  VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_UFO };
	u32 takes = 0;

	for (unsigned k = 0; k < ARRAY_SIZE(bit); k++) /* in NET_*'s order */
		takes |= (u32)(features >> bit[k] & 1) << k;
	return takes;
}

static bool set_offloads(struct command *c)
{
	u64 wanted;

	if (!virtio_has(&c->n->v, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
	    c->number != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || !data(c, &wanted, sizeof(wanted)) ||
	    wanted & ~(c->n->v.features & GUEST_OFFLOADS))
		return false;
	c->n->back->front.takes = net_guest_takes(wanted);
	return true;
}

static bool execute(struct net *n)
{
	struct command c = { .n = n };

	if (!data(&c, &c.class, 1) || !data(&c, &c.number, 1))
		return false;
	switch (c.class) {
	case VIRTIO_NET_CTRL_RX: return set_mode(&c);
	case VIRTIO_NET_CTRL_MAC: return set_addresses(&c);
	case VIRTIO_NET_CTRL_VLAN: return set_vlan(&c);
	case VIRTIO_NET_CTRL_ANNOUNCE: return acknowledge_announce(&c);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS: return set_offloads(&c);
	default: return false;
	}
}

bool net_control(struct net *n)
{
	struct virtq *q = virtio_queue(&n->v, NET_CTRLQ);
	unsigned done = 0;

	while (q && done < VIRTIO_BUDGET && virtq_pop(q, &n->ctrl_buf) > 0) {
		u8 status = execute(n) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;

		virtq_push(q, &n->ctrl_buf, (u32)virtq_write(&n->ctrl_buf, 0, &status, 1));
		done++;
	}
	if (done)
		virtq_signal(q);
	return done == VIRTIO_BUDGET;
}
