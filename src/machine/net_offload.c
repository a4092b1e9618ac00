/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See net_offload.h. Segments are made where they are: piece k consists of the headers and payload bytes [k * gso_size,
 * (k + 1) * gso_size), so its headers are written over the end of what the piece before it had, which is gone by then.
 *
 * Sums are of 16-bit words in the host's order; one's complement sums come out the same (RFC 1071, 2(B)).
 */
#include "machine/net_offload.h"

#include <errno.h>
#include <string.h>

#define ETH_LEN	     14u
#define VLAN_TAGS    2
#define TYPE_IPV4    0x0800
#define TYPE_IPV6    0x86dd
#define TYPE_VLAN    0x8100
#define TYPE_QINQ    0x88a8
#define IP_TCP	     6
#define IP_UDP	     17
#define IPV6_LEN     40u
#define IPV6_OPTIONS 4 /* extension headers that are walked over */
#define TCP_LEN	     20u
#define TCP_CHECKSUM 16u
#define UDP_LEN	     8u
#define UDP_CHECKSUM 6u
#define TCP_FIN	     0x01
#define TCP_PSH	     0x08
#define TCP_CWR	     0x80

static u16 get16(const u8 *p)
{
	return (u16)(p[0] << 8 | p[1]);
}
static void put16(u8 *p, u32 v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}
static u32 get32(const u8 *p)
{
	return (u32)get16(p) << 16 | get16(p + 2);
}
static void put32(u8 *p, u32 v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

/* ---- sums ---- */
static u64 add(u64 sum, const u8 *p, u32 len)
{
	for (; len >= 4; p += 4, len -= 4)
		sum += *(const u32_una *)p;
	if (len >= 2)
		sum += *(const u16_una *)p;
	if (len & 1)
		sum += p[len - 1];
	return sum;
}

static u16 complement(u64 sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (u16)~sum;
}

/* A sum of 0 is sent as ffffh: the same number, and not UDP's "no checksum" (RFC 768). */
static void store_checksum(u8 *at, u64 sum)
{
	u16 c = complement(sum);

	*(u16_una *)at = c ? c : 0xffff;
}

void net_complete_checksum(u8 *frame, u32 len, u32 start, u32 offset)
{
	store_checksum(frame + start + offset, add(0, frame + start, len - start));
}

/* The sum of the pseudo-header (RFC 793, 3.1; RFC 8200, 8.1) of a TCP segment of len bytes. */
static u64 pseudo_header(const struct net_offload *o, const u8 *f, u32 len)
{
	u8 rest[8] = { 0 };

	put32(rest, len);
	put32(rest + 4, IP_TCP);
	return o->ipv6 ? add(add(0, f + o->l3 + 8, 32), rest, 8) : add(add(0, f + o->l3 + 12, 8), rest, 8);
}

/* ---- parsing ---- */
struct headers {
	u32 l3, l4;
	u8 protocol;
	bool ipv6;
};

static int parse_ipv4(const u8 *f, u32 len, struct headers *p)
{
	u32 own;

	if (len - p->l3 < 20 || f[p->l3] >> 4 != 4)
		return -EINVAL;
	own = (f[p->l3] & 15) * 4u;
	if (own < 20 || len - p->l3 < own || get16(f + p->l3 + 6) & 0x3fff) /* a fragment has no whole segment */
		return -EINVAL;
	p->protocol = f[p->l3 + 9];
	p->l4 = p->l3 + own;
	return 0;
}

/* Hop-by-hop and destination options may come before TCP. With a routing header the checksum is for another address than
 * the header has, with a fragment header there is no whole segment: both are refused. */
static int parse_ipv6(const u8 *f, u32 len, struct headers *p)
{
	if (len - p->l3 < IPV6_LEN || f[p->l3] >> 4 != 6)
		return -EINVAL;
	p->protocol = f[p->l3 + 6];
	p->l4 = p->l3 + IPV6_LEN;
	p->ipv6 = true;
	for (unsigned k = 0; p->protocol == 0 || p->protocol == 60; k++) {
		if (k == IPV6_OPTIONS || len - p->l4 < 8)
			return -EINVAL;
		p->protocol = f[p->l4];
		p->l4 += 8 + f[p->l4 + 1] * 8u;
		if (p->l4 > len)
			return -EINVAL;
	}
	return 0;
}

static int parse(const u8 *f, u32 len, struct headers *p)
{
	u32 at = 12;

	*p = (struct headers){ 0 };
	for (unsigned tags = 0; tags < VLAN_TAGS && len >= at + 6; tags++, at += 4)
		if (get16(f + at) != TYPE_VLAN && get16(f + at) != TYPE_QINQ)
			break;
	if (len < at + 2)
		return -EINVAL;
	p->l3 = at + 2;
	switch (get16(f + at)) {
	case TYPE_IPV4: return parse_ipv4(f, len, p);
	case TYPE_IPV6: return parse_ipv6(f, len, p);
	default: return -EINVAL;
	}
}

u32 net_gather(u8 *to, const struct iovec *iov, unsigned iovs)
{
	size_t len = 0;

	for (unsigned k = 0; k < iovs; k++) {
		if (iov[k].iov_len > NET_FRAME_MAX - len)
			return 0;
		memcpy(to + len, iov[k].iov_base, iov[k].iov_len);
		len += iov[k].iov_len;
	}
	return (u32)len;
}

int net_find_checksum(struct virtio_net_hdr *h, const u8 *frame, u32 len)
{
	struct headers p;

	if (parse(frame, len, &p) || (p.protocol != IP_TCP && p.protocol != IP_UDP))
		return -EINVAL;
	h->flags |= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->csum_start = (u16)p.l4;
	h->csum_offset = p.protocol == IP_TCP ? TCP_CHECKSUM : UDP_CHECKSUM;
	return 0;
}

/* ---- what a header asks for ---- */
static u8 gso_type(const struct virtio_net_hdr *h)
{
	return h->gso_type & (u8)~VIRTIO_NET_HDR_GSO_ECN;
}

u32 net_offload_needs(const struct virtio_net_hdr *h)
{
	u32 needs = h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ? NET_CSUM : 0;

	switch (gso_type(h)) {
	case VIRTIO_NET_HDR_GSO_TCPV4: needs |= NET_TSO4; break;
	case VIRTIO_NET_HDR_GSO_TCPV6: needs |= NET_TSO6; break;
	case VIRTIO_NET_HDR_GSO_UDP: needs |= NET_UFO; break;
	default: return needs;
	}
	return needs | (h->gso_type & VIRTIO_NET_HDR_GSO_ECN ? NET_ECN : 0);
}

/* A frame to be segmented: are its headers those that the offload header speaks of? Notes where they are. */
static int check_segments(struct net_offload *o, const struct virtio_net_hdr *h)
{
	bool udp = gso_type(h) == VIRTIO_NET_HDR_GSO_UDP;
	u32 left;
	struct headers p;

	if (parse(o->frame, o->len, &p) || !h->gso_size || !(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return -EINVAL;
	left = o->len - p.l4;
	if (p.protocol != (udp ? IP_UDP : IP_TCP) || left < (udp ? UDP_LEN : TCP_LEN))
		return -EINVAL;
	if (!udp && p.ipv6 != (gso_type(h) == VIRTIO_NET_HDR_GSO_TCPV6))
		return -EINVAL;
	if (h->csum_start != p.l4 || h->csum_offset != (udp ? UDP_CHECKSUM : TCP_CHECKSUM))
		return -EINVAL;
	o->headers = p.l4 + (udp ? UDP_LEN : (o->frame[p.l4 + 12] >> 4) * 4u);
	if (o->headers < p.l4 + (udp ? UDP_LEN : TCP_LEN) || o->headers > MIN(o->len, NET_HEADERS_MAX))
		return -EINVAL;
	o->l3 = p.l3;
	o->l4 = p.l4;
	o->ipv6 = p.ipv6;
	return 0;
}

static int check_checksum(const struct net_offload *o, const struct virtio_net_hdr *h)
{
	u32 field = (u32)h->csum_start + h->csum_offset;

	return h->csum_start < ETH_LEN || h->csum_start >= o->len || field + 2 > o->len ? -EINVAL : 0;
}

/* ---- segmentation ---- */
static u32 piece_len(const struct net_offload *o)
{
	return MIN(o->len - o->at, o->headers + o->gso_size);
}

/* Puts the headers of the segment that begins at o->at in their place. */
static void write_headers(struct net_offload *o)
{
	u8 *f = o->frame + o->at, *tcp = f + o->l4, *ip = f + o->l3;
	u32 len = piece_len(o);
	u8 first_only = o->at ? TCP_CWR : 0, last_only = o->at + len < o->len ? TCP_FIN | TCP_PSH : 0;

	memcpy(f, o->template, o->headers);
	if (o->ipv6) {
		put16(ip + 4, len - o->l3 - IPV6_LEN);
	} else {
		put16(ip + 2, len - o->l3);
		put16(ip + 4, get16(ip + 4) + o->at / o->gso_size);
		put16(ip + 10, 0);
		*(u16_una *)(ip + 10) = complement(add(0, ip, o->l4 - o->l3));
	}
	put32(tcp + 4, get32(tcp + 4) + o->at);
	tcp[13] &= (u8) ~(first_only | last_only);
	put16(tcp + TCP_CHECKSUM, 0);
	store_checksum(tcp + TCP_CHECKSUM, add(pseudo_header(o, f, len - o->l4), tcp, len - o->l4));
}

static int begin_segments(struct net_offload *o, u32 needs, u32 takes, const struct virtio_net_hdr *h)
{
	int r = check_segments(o, h);

	if (r)
		return r;
	if (!(needs & ~takes)) { /* goes on whole */
		o->hdr.hdr_len = (u16)o->headers;
		o->headers = 0;
		return 0;
	}
	if (needs & NET_UFO)
		return -EINVAL;
	memcpy(o->template, o->frame, o->headers);
	o->gso_size = h->gso_size;
	o->hdr = (struct virtio_net_hdr){ 0 };
	write_headers(o);
	return 0;
}

int net_offload_begin(struct net_offload *o, u32 takes, const struct virtio_net_hdr *h, u8 *frame, u32 len)
{
	u32 needs = net_offload_needs(h);
	bool bad = len < ETH_LEN || len > NET_FRAME_MAX || (h->gso_type && !(needs & (NET_TSO4 | NET_TSO6 | NET_UFO)));
	int r = 0;

	o->frame = frame;
	o->len = len;
	o->hdr = *h;
	o->hdr.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM | (takes & NET_CSUM ? VIRTIO_NET_HDR_F_DATA_VALID : 0);
	o->at = o->headers = 0;
	if (bad || (needs & NET_CSUM && check_checksum(o, h)))
		r = -EINVAL;
	else if (needs & ~NET_CSUM)
		r = begin_segments(o, needs, takes, h);
	else if (needs & ~takes) {
		net_complete_checksum(frame, len, h->csum_start, h->csum_offset);
		o->hdr = (struct virtio_net_hdr){ 0 };
	}
	if (r)
		o->frame = NULL;
	return r;
}

bool net_offload_piece(const struct net_offload *o, struct iovec *iov)
{
	if (!o->frame)
		return false;
	*iov = (struct iovec){ o->frame + o->at, o->headers ? piece_len(o) : o->len };
	return true;
}

void net_offload_next(struct net_offload *o)
{
	u32 payload = o->headers ? piece_len(o) - o->headers : 0;

	if (!o->headers || o->at + o->headers + payload >= o->len) {
		o->frame = NULL;
		return;
	}
	o->at += payload;
	write_headers(o);
}
