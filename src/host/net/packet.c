/* SPDX-License-Identifier: Apache-2.0 */
/* Reading frames: packet.h has the rules. RFC 791, 8200, 9293, 768, 792, 4443. */
#include "host/net/packet.h"

#include <string.h>

#define IP4_MORE   0x2000
#define IP4_OFFSET 0x1fff

static void parse_tcp(struct packet *p, u32 end)
{
	const u8 *t = p->frame + p->l4;
	u32 header;

	if (end - p->l4 < TCP_LEN || (header = (u32)(t[12] >> 4) * 4) < TCP_LEN || header > end - p->l4) {
		p->state = PACKET_MALFORMED;
		return;
	}
	p->sport = get16(t);
	p->dport = get16(t + 2);
	p->seq = get32(t + 4);
	p->ack = get32(t + 8);
	p->flags = t[13];
	p->payload = p->l4 + header;
	p->payload_len = end - p->payload;
}

static void parse_udp(struct packet *p, u32 end)
{
	const u8 *u = p->frame + p->l4;
	u32 len;

	if (end - p->l4 < UDP_LEN || (len = get16(u + 4)) < UDP_LEN || len > end - p->l4) {
		p->state = PACKET_MALFORMED;
		return;
	}
	p->sport = get16(u);
	p->dport = get16(u + 2);
	p->payload = p->l4 + UDP_LEN;
	p->payload_len = len - UDP_LEN;
}

static void parse_icmp(struct packet *p, u32 end)
{
	const u8 *i = p->frame + p->l4;

	if (end - p->l4 < ICMP_LEN) {
		p->state = PACKET_MALFORMED;
		return;
	}
	p->type = i[0];
	p->code = i[1];
	if (packet_is_echo(p, true) || packet_is_echo(p, false))
		p->sport = p->dport = get16(i + 4);
}

static void parse_transport(struct packet *p, u32 end)
{
	if (p->protocol == PROTO_TCP)
		parse_tcp(p, end);
	else if (p->protocol == PROTO_UDP)
		parse_udp(p, end);
	else if (p->protocol == (p->v6 ? PROTO_ICMP6 : PROTO_ICMP))
		parse_icmp(p, end);
	else
		p->state = PACKET_PROTOCOL;
}

static void addresses4(struct packet *p, const u8 *ip)
{
	p->protocol = ip[9];
	p->hops = ip[8];
	p->src = ip_from4(ip + 12);
	p->dst = ip_from4(ip + 16);
}

static void parse_ip4(struct packet *p, u32 len)
{
	const u8 *ip = p->frame + ETH_LEN;
	u32 header, total;

	if (len - ETH_LEN < IP4_LEN || ip[0] >> 4 != 4 || (header = (ip[0] & 15u) * 4) < IP4_LEN ||
	    (total = get16(ip + 2)) < header || total > len - ETH_LEN || checksum_fold(checksum_add(0, ip, header))) {
		p->state = PACKET_MALFORMED;
		return;
	}
	addresses4(p, ip);
	p->l4 = ETH_LEN + header;
	p->len = ETH_LEN + total;
	if (header > IP4_LEN)
		p->state = PACKET_OPTIONS;
	else if (get16(ip + 6) & (IP4_MORE | IP4_OFFSET))
		p->state = PACKET_FRAGMENT;
	else
		parse_transport(p, p->len);
}

static void addresses6(struct packet *p, const u8 *ip)
{
	p->v6 = true;
	p->protocol = ip[6];
	p->hops = ip[7];
	memcpy(p->src.b, ip + 8, 16);
	memcpy(p->dst.b, ip + 24, 16);
}

static bool extension(u8 protocol)
{
	/* Hop-by-hop, routing, fragment, ESP, AH, destination, mobility, HIP, shim6, and two for experiments. */
	static const u8 numbers[] = { PROTO_HOPOPTS, 43, 44, 50, 51, 60, 135, 139, 140, 253, 254 };

	return memchr(numbers, protocol, sizeof(numbers)) != NULL;
}

static void parse_ip6(struct packet *p, u32 len)
{
	const u8 *ip = p->frame + ETH_LEN;
	u32 payload;

	if (len - ETH_LEN < IP6_LEN || ip[0] >> 4 != 6 || (payload = get16(ip + 4)) > len - ETH_LEN - IP6_LEN) {
		p->state = PACKET_MALFORMED;
		return;
	}
	addresses6(p, ip);
	/* Nobody's address on a wire: such a packet would pass for IPv4 in our tables. */
	if (ip_is4(&p->src) || ip_is4(&p->dst)) {
		p->state = PACKET_MALFORMED;
		return;
	}
	p->l4 = ETH_LEN + IP6_LEN;
	p->len = ETH_LEN + IP6_LEN + payload;
	if (extension(p->protocol))
		p->state = PACKET_OPTIONS;
	else
		parse_transport(p, p->len);
}

void packet_parse(struct packet *p, const u8 *frame, u32 len)
{
	*p = (struct packet){ .frame = frame, .len = len };
	if (len < ETH_LEN) {
		p->state = PACKET_MALFORMED;
		return;
	}
	p->ethertype = get16(frame + 12);
	switch (p->ethertype) {
	case ETHERTYPE_IP4: parse_ip4(p, len); break;
	case ETHERTYPE_IP6: parse_ip6(p, len); break;
	case ETHERTYPE_ARP: p->state = len < ETH_LEN + 28 ? PACKET_MALFORMED : PACKET_OK; break;
	default: p->state = PACKET_UNKNOWN; break;
	}
}

bool packet_parse_quoted(struct packet *p, const u8 *data, u32 len, bool v6)
{
	u32 header = IP6_LEN;

	*p = (struct packet){ .frame = data, .len = len };
	if (!v6) {
		if (len < IP4_LEN || data[0] >> 4 != 4)
			return false;
		header = (data[0] & 15u) * 4;
		addresses4(p, data);
	} else {
		if (len < IP6_LEN || data[0] >> 4 != 6)
			return false;
		addresses6(p, data);
		if (ip_is4(&p->src) || ip_is4(&p->dst))
			return false;
	}
	if (header < IP4_LEN || header > len || len - header < 8)
		return false;
	if (p->protocol == PROTO_TCP || p->protocol == PROTO_UDP) {
		p->sport = get16(data + header);
		p->dport = get16(data + header + 2);
		return true;
	}
	p->type = data[header];
	p->code = data[header + 1];
	if (!packet_is_echo(p, false))
		return false;
	p->sport = p->dport = get16(data + header + 4);
	return true;
}

bool packet_is_error(const struct packet *p)
{
	if (p->protocol == PROTO_ICMP)
		return p->type == 3 || p->type == 4 || p->type == 5 || p->type == 11 || p->type == 12;
	return p->protocol == PROTO_ICMP6 && p->type < 128;
}
