/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that a policy makes: what refuses a packet, and UDP. A packet is refused in the name of where it was going to, so
 * that the guest's sockets find the answer theirs.
 */
#include <string.h>

#include "host/net/packet.h"

#define HOPS		       64
#define QUOTE4		       8 /* bytes behind the IP header that an ICMP error quotes: RFC 792 */
#define QUOTE6_TOTAL	       1024 /* of the whole packet: less than the minimum MTU, RFC 4443 2.4 (c) */
#define TYPE4_UNREACHABLE      3
#define CODE4_ADMINISTRATIVELY 13 /* RFC 1812 5.2.7.1 */
#define TYPE6_UNREACHABLE      1
#define CODE6_ADMINISTRATIVELY 1

u64 checksum_add(u64 sum, const void *data, size_t len)
{
	const u8 *p = data;

	for (; len >= 4; p += 4, len -= 4)
		sum += *(const u32_una *)p;
	if (len >= 2) {
		sum += *(const u16_una *)p;
		p += 2;
		len -= 2;
	}
	if (len)
		sum += p[0]; /* little-endian: the byte of the lower address */
	return sum;
}

/* As bytes in memory: the sum of little-endian words has the right bytes in the right places, RFC 1071 2 (B). */
u16 checksum_fold(u64 sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (u16)~sum;
}

static void store_checksum(u8 *at, u64 sum)
{
	*(u16_una *)at = checksum_fold(sum);
}

/* RFC 8200 8.1, RFC 9293 3.1: the same sum for both families. */
static u64 pseudo_header(const u8 *ip, bool v6, u8 protocol, u32 len)
{
	u8 tail[4] = { 0, protocol, (u8)(len >> 8), (u8)len };
	u64 sum = v6 ? checksum_add(0, ip + 8, 32) : checksum_add(0, ip + 12, 8);

	return checksum_add(sum, tail, sizeof(tail));
}

void packet_checksum(const struct packet *p, u8 *frame)
{
	u32 len = p->len - p->l4;
	u8 *field = frame + p->l4 + (p->protocol == PROTO_TCP ? 16 : 6);

	if (p->protocol == PROTO_UDP)
		len = p->payload_len + UDP_LEN;
	put16(field, 0);
	store_checksum(field,
		       checksum_add(pseudo_header(frame + ETH_LEN, p->v6, p->protocol, len), frame + p->l4, len));
	if (p->protocol == PROTO_UDP && !get16(field)) /* 0 means none */
		put16(field, 0xffff);
}

/* Headers up to the IP one; returns where the rest begins. len: bytes behind the IP header. */
static u32 put_headers(u8 *out, const struct udp_ends *e, u8 protocol, u32 len)
{
	bool v6 = !ip_is4(&e->src);
	u8 *ip = out + ETH_LEN;

	memcpy(out, e->dst_mac, 6);
	memcpy(out + 6, e->src_mac, 6);
	put16(out + 12, v6 ? ETHERTYPE_IP6 : ETHERTYPE_IP4);
	memset(ip, 0, IP6_LEN);
	if (v6) {
		ip[0] = 0x60;
		put16(ip + 4, (u16)len);
		ip[6] = protocol;
		ip[7] = HOPS;
		memcpy(ip + 8, e->src.b, 16);
		memcpy(ip + 24, e->dst.b, 16);
		return ETH_LEN + IP6_LEN;
	}
	ip[0] = 0x45;
	put16(ip + 2, (u16)(IP4_LEN + len));
	put16(ip + 6, 0x4000); /* do not fragment */
	ip[8] = HOPS;
	ip[9] = protocol;
	memcpy(ip + 12, e->src.b + 12, 4);
	memcpy(ip + 16, e->dst.b + 12, 4);
	store_checksum(ip + 10, checksum_add(0, ip, IP4_LEN));
	return ETH_LEN + IP4_LEN;
}

/* Where an answer to p goes. A group's address is never a source, nor is anything said to one. */
static bool answer_ends(const struct packet *p, struct udp_ends *e)
{
	bool link_local = p->v6 && p->src.b[0] == 0xfe && (p->src.b[1] & 0xc0) == 0x80;

	if (p->frame[0] & 1 || (ip_never(&p->src) && !link_local) || (p->dst.b[0] == 0xff && p->v6))
		return false;
	if (!p->v6 && p->dst.b[12] >= 224)
		return false;
	*e = (struct udp_ends){ .src = p->dst, .dst = p->src };
	memcpy(e->dst_mac, p->frame + 6, 6);
	memcpy(e->src_mac, p->frame, 6);
	return true;
}

/* RFC 1122 3.2.2, RFC 4443 2.4 (e): no error about an error. */
static bool may_report(const struct packet *p)
{
	if (p->state == PACKET_FRAGMENT)
		return !(get16(p->frame + ETH_LEN + 6) & 0x1fff);
	if (p->state == PACKET_OK)
		return !packet_is_error(p);
	return p->state == PACKET_OPTIONS || p->state == PACKET_PROTOCOL;
}

u32 packet_prohibited(const struct packet *p, u8 out[static REPLY_MAX])
{
	u32 quote = p->len - ETH_LEN, at;
	struct udp_ends e;

	if (!may_report(p) || !answer_ends(p, &e))
		return 0;
	quote = MIN(quote, p->v6 ? QUOTE6_TOTAL : p->l4 - ETH_LEN + QUOTE4);
	at = put_headers(out, &e, p->v6 ? PROTO_ICMP6 : PROTO_ICMP, ICMP_LEN + quote);
	memset(out + at, 0, ICMP_LEN);
	out[at] = p->v6 ? TYPE6_UNREACHABLE : TYPE4_UNREACHABLE;
	out[at + 1] = p->v6 ? CODE6_ADMINISTRATIVELY : CODE4_ADMINISTRATIVELY;
	memcpy(out + at + ICMP_LEN, p->frame + ETH_LEN, quote);
	store_checksum(out + at + 2,
		       checksum_add(p->v6 ? pseudo_header(out + ETH_LEN, true, PROTO_ICMP6, ICMP_LEN + quote) : 0,
				    out + at, ICMP_LEN + quote));
	return at + ICMP_LEN + quote;
}

/* RFC 9293 3.10.7.1: what comes from no connection. */
u32 packet_reset(const struct packet *p, u8 out[static REPLY_MAX])
{
	struct packet made;
	struct udp_ends e;
	u32 at;
	u8 *t;

	if (p->flags & TCP_RST || !answer_ends(p, &e))
		return 0;
	at = put_headers(out, &e, PROTO_TCP, TCP_LEN);
	t = out + at;
	memset(t, 0, TCP_LEN);
	put16(t, p->dport);
	put16(t + 2, p->sport);
	t[12] = TCP_LEN / 4 << 4;
	if (p->flags & TCP_ACK) {
		put32(t + 4, p->ack);
		t[13] = TCP_RST;
	} else {
		put32(t + 8, p->seq + p->payload_len + !!(p->flags & TCP_SYN) + !!(p->flags & TCP_FIN));
		t[13] = TCP_RST | TCP_ACK;
	}
	packet_parse(&made, out, at + TCP_LEN);
	packet_checksum(&made, out);
	return at + TCP_LEN;
}

u32 packet_udp(const struct udp_ends *e, const u8 *data, u32 len, u8 *out, u32 max)
{
	u32 at = ETH_LEN + (ip_is4(&e->src) ? IP4_LEN : IP6_LEN);
	struct packet made;

	if (max < at + UDP_LEN || len > max - at - UDP_LEN)
		return 0;
	put_headers(out, e, PROTO_UDP, UDP_LEN + len);
	put16(out + at, e->sport);
	put16(out + at + 2, e->dport);
	put16(out + at + 4, (u16)(UDP_LEN + len));
	memcpy(out + at + UDP_LEN, data, len);
	packet_parse(&made, out, at + UDP_LEN + len);
	packet_checksum(&made, out);
	return at + UDP_LEN + len;
}
