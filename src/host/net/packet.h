/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading frames and making the few that a policy makes. packet_parse() reads nothing past `len` and takes nothing on trust:
 * what it calls PACKET_OK has complete headers whose lengths agree, so that whoever reads the frame later, by the same
 * standards or by laxer ones, finds the same addresses and ports.
 */
#pragma once
#include "host/net/address.h"

#define ETH_LEN	 14
#define IP4_LEN	 20
#define IP6_LEN	 40
#define TCP_LEN	 20
#define UDP_LEN	 8
#define ICMP_LEN 8

#define ETHERTYPE_IP4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_IP6 0x86dd

#define PROTO_HOPOPTS 0 /* IPv6 only */
#define PROTO_ICMP    1
#define PROTO_IGMP    2
#define PROTO_TCP     6
#define PROTO_UDP     17
#define PROTO_ICMP6   58

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

static inline u16 get16(const u8 *p)
{
	return (u16)(p[0] << 8 | p[1]);
}
static inline u32 get32(const u8 *p)
{
	return (u32)get16(p) << 16 | get16(p + 2);
}
static inline void put16(u8 *p, u16 v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}
static inline void put32(u8 *p, u32 v)
{
	put16(p, (u16)(v >> 16));
	put16(p + 2, (u16)v);
}

enum packet_state {
	PACKET_OK,
	PACKET_MALFORMED, /* lengths that do not agree: nothing in it can be relied upon */
	PACKET_UNKNOWN, /* no ethertype of ours (VLAN tags are that, too) */
	PACKET_OPTIONS, /* IPv4 options or IPv6 extension headers; addresses are valid */
	PACKET_FRAGMENT, /* a part of an IPv4 packet; addresses are valid */
	PACKET_PROTOCOL /* neither TCP, UDP nor the family's ICMP; addresses are valid */
};

struct packet {
	enum packet_state state;
	const u8 *frame;
	u32 len; /* without what pads the frame behind the IP packet */
	u16 ethertype;
	bool v6;
	u8 protocol, hops;
	u32 l4, payload; /* offsets; payload is where TCP's or UDP's data begins */
	u32 payload_len; /* TCP and UDP */
	struct net_ip src, dst;
	u16 sport, dport; /* TCP, UDP; an echo message has its identifier in both */
	u32 seq, ack; /* TCP */
	u8 flags; /* TCP */
	u8 type, code; /* ICMP */
};

void packet_parse(struct packet *p, const u8 *frame, u32 len);
/* The same for an IP packet without a frame around it, of which the end may be missing: what an ICMP error quotes. Only
 * addresses, protocol and ports are valid. False if there are none. */
bool packet_parse_quoted(struct packet *p, const u8 *data, u32 len, bool v6);
static inline bool packet_is_echo(const struct packet *p, bool reply)
{
	if (p->protocol == PROTO_ICMP)
		return !p->code && p->type == (reply ? 0 : 8);
	return p->protocol == PROTO_ICMP6 && !p->code && p->type == (reply ? 129 : 128);
}
/* ICMP messages that report a fate of another packet, which they quote. */
bool packet_is_error(const struct packet *p);

/* ---- making frames ---- */
#define REPLY_MAX 1280 /* bytes that any of these make, and more than enough for each */
/* "Administratively prohibited" for p, from where it was going to. Its length; 0 where none may be sent. */
u32 packet_prohibited(const struct packet *p, u8 out[static REPLY_MAX]);
/* What a closed port answers to p. Its length; 0 where p was a reset itself. */
u32 packet_reset(const struct packet *p, u8 out[static REPLY_MAX]);
/* A UDP frame between MAC addresses and endpoints. Its length. */
struct udp_ends {
	u8 dst_mac[6], src_mac[6];
	struct net_ip src, dst;
	u16 sport, dport;
};
u32 packet_udp(const struct udp_ends *e, const u8 *data, u32 len, u8 *out, u32 max);

/* The Internet checksum of data, continued from sum, not folded. */
u64 checksum_add(u64 sum, const void *data, size_t len);
u16 checksum_fold(u64 sum);
/* Fills in the TCP or UDP checksum of a frame that packet_parse() took. */
void packet_checksum(const struct packet *p, u8 *frame);
