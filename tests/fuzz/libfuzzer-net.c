/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network's policy between a hostile guest and a hostile network. The input is a list of events: frames of either side,
 * time, links without room. An oracle that shares no code with the policy looks at each frame that leaves.
 *
 * Listed are 192.0.2.0/24:80/tcp, [2001:db8::/32]:80/tcp, 198.51.100.1 and www.example.org:443/tcp; port 22 is forwarded.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/net/dns.h"
#include "host/net/packet.h"
#include "host/net/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An event: its kind, two bytes of length (little-endian), that many bytes. */
enum {
	GUEST_FRAME, /* IPv4's header checksum is put right: a fuzzer does not guess it */
	GUEST_FRAME_AS_IS,
	GUEST_FRAME_OFFLOADED, /* the first ten bytes are its header */
	HOST_FRAME,
	HOST_ANSWER, /* a DNS message, answering the last query that left */
	TIME, /* two bytes: seconds */
	ROOM, /* one byte: 1 inner full, 2 guest full */
	KINDS
};

struct world {
	struct netdev inner, *policy;
	bool inner_full, guest_full;
	u64 now;
	u8 query_id[2], query_port[2]; /* of the last query that left */
};
static struct world world;

static u64 clock_now_fuzz(void)
{
	return world.now;
}

static u32 sum(const u8 *p, size_t len)
{
	u32 s = 0;

	for (size_t i = 0; i < len; i++)
		s += i & 1 ? p[i] : (u32)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

/* ---- the oracle ---- */
static void check_query(const u8 *udp, size_t len)
{
	static const u8 name[] = "\3www\7example\3org";

	assert(len == 8 + 12 + sizeof(name) + 4 + 11);
	assert(!memcmp(udp + 8 + 12, name, sizeof(name)));
	memcpy(world.query_id, udp + 8, 2);
	memcpy(world.query_port, udp, 2);
}

static void check_arp(const u8 *a, size_t len)
{
	assert(len >= 28 && a[0] == 0 && a[1] == 1 && a[2] == 8 && a[3] == 0 && a[4] == 6 && a[5] == 4);
	assert(a[24] == 10 && a[25] == 0 && a[26] == 2);
}

/* Whatever a name resolves to: these not. */
static void check_anywhere4(const u8 *d)
{
	assert(d[0] != 0 && d[0] != 127 && d[0] < 224);
	assert(!(d[0] == 10 && d[1] == 0 && d[2] == 2));
	assert(!(d[0] == 169 && d[1] == 254));
}

static void check_tcp4(const u8 *ip, const u8 *tcp)
{
	const u8 *d = ip + 16;
	unsigned sport = tcp[0] << 8 | tcp[1], dport = tcp[2] << 8 | tcp[3];

	if (d[0] == 198 && d[1] == 51 && d[2] == 100 && d[3] == 1)
		return;
	if (sport == 22 && ip[15] == 15) { /* an answer; it begins nothing */
		assert((tcp[13] & 0x17) != 2);
		return;
	}
	assert(dport == 80 || dport == 443);
	if (dport == 80)
		assert(d[0] == 192 && d[1] == 0 && d[2] == 2);
	else
		check_anywhere4(d);
}

static void check_udp4(const u8 *ip, const u8 *udp, size_t len)
{
	const u8 *d = ip + 16;
	unsigned dport = udp[2] << 8 | udp[3];
	bool all = d[0] == 255 && d[1] == 255 && d[2] == 255 && d[3] == 255, lan = d[0] == 10 && d[1] == 0 && d[2] == 2;

	assert((size_t)(udp[4] << 8 | udp[5]) <= len);
	if (d[0] == 198 && d[1] == 51 && d[2] == 100 && d[3] == 1)
		return;
	if (lan && d[3] == 3 && dport == 53)
		check_query(udp, len);
	else
		assert(dport == 67 && udp[0] == 0 && udp[1] == 68 && (all || (lan && d[3] == 2)));
}

static void check4(const u8 *ip, size_t len)
{
	assert(len >= 20 && ip[0] == 0x45 && (size_t)(ip[2] << 8 | ip[3]) == len);
	assert(!(ip[6] & 0x3f) && !ip[7]);
	assert(sum(ip, 20) == 0xffff);
	assert((ip[12] == 10 && ip[13] == 0 && ip[14] == 2 && ip[15] != 2 && ip[15] != 3) ||
	       (ip[9] == 17 && !ip[12] && !ip[13] && !ip[14] && !ip[15]));
	if (ip[9] == 6) {
		assert(len >= 40);
		check_tcp4(ip, ip + 20);
	} else if (ip[9] == 17) {
		assert(len >= 28);
		check_udp4(ip, ip + 20, len - 20);
	} else {
		bool lan = ip[16] == 10 && !ip[17] && ip[18] == 2 && (ip[19] == 2 || ip[19] == 3);

		assert(ip[9] == 1 && len >= 28 && ip[20] == 8);
		assert(lan || (ip[16] == 198 && ip[17] == 51 && ip[18] == 100 && ip[19] == 1));
	}
}

static void check6(const u8 *ip, size_t len)
{
	static const u8 lan[8] = { 0xfe, 0xc0 }, dns[16] = { 0xfe, 0xc0, [15] = 3 }, db8[4] = { 0x20, 1, 0xd, 0xb8 },
			zero[10];
	const u8 *d = ip + 24, *l4 = ip + 40;

	assert(len >= 48 && ip[0] >> 4 == 6 && (size_t)(ip[4] << 8 | ip[5]) == len - 40);
	if (ip[6] == 58 && l4[0] != 128) {
		assert(ip[7] == 255 && (l4[0] == 133 || l4[0] == 135 || l4[0] == 136));
		assert(d[0] == 0xff || (d[0] == 0xfe && (d[1] & 0xc0) == 0x80) || !memcmp(d, lan, 8));
		return;
	}
	if (ip[6] == 17 && d[0] == 0xff) {
		assert(l4[2] == 547 >> 8 && l4[3] == (547 & 0xff) && d[1] == 2 && d[13] == 1 && d[15] == 2);
		return;
	}
	assert(!memcmp(ip + 8, lan, 8));
	if (ip[6] == 17) {
		assert(!memcmp(d, dns, 16) && l4[2] == 0 && l4[3] == 53);
		check_query(l4, len - 40);
	} else if (ip[6] == 6) {
		unsigned dport = l4[2] << 8 | l4[3];

		assert(len >= 60 && (dport == 80 || dport == 443));
		if (dport == 80)
			assert(!memcmp(d, db8, 4));
		else
			assert(memcmp(d, zero, 10) != 0 && d[0] != 0xff && memcmp(d, lan, 8) != 0 &&
			       !(d[0] == 0xfe && (d[1] & 0xc0) == 0x80));
	} else {
		assert(ip[6] == 58 && !memcmp(d, lan, 8) && (d[15] == 2 || d[15] == 3));
	}
}

static void check_leaving(const u8 *frame, size_t len)
{
	assert(len >= 14);
	switch (frame[12] << 8 | frame[13]) {
	case 0x0806: check_arp(frame + 14, len - 14); break;
	case 0x0800: check4(frame + 14, len - 14); break;
	case 0x86dd: check6(frame + 14, len - 14); break;
	default: abort();
	}
}

/* ---- the two sides ---- */
static bool inner_send(struct netdev *n, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	assert(iovs == 1 && !h->flags && !h->gso_type);
	if (!world.inner_full)
		check_leaving(iov->iov_base, iov->iov_len);
	return !world.inner_full;
}

static void inner_resume(struct netdev *n)
{
}

static void inner_destroy(struct netdev *n)
{
}

static bool guest_receive(void *arg, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	assert(iovs == 1 && iov->iov_len >= 14 && iov->iov_len <= NET_FRAME_MAX);
	return !world.guest_full;
}

static void guest_writable(void *arg)
{
}

static void log_line(void *arg, const char *text)
{
	assert(strlen(text) < 512);
	for (; *text; text++)
		assert(*text >= ' ' && *text < 127);
}

static void set_up(void)
{
	static const struct netdev_ops ops = { "fuzz", inner_send, inner_resume, inner_destroy };
	static const char *const rules[] = { "192.0.2.0/24:80/tcp", "[2001:db8::/32]:80/tcp", "198.51.100.1",
					     "www.example.org:443/tcp" };
	struct net_forward forward = { .guest_port = 22 };
	struct policy_config c = {
		.now = clock_now_fuzz, .forward = &forward, .forwards = 1, .log = { log_line, NULL }
	};
	struct error err;

	world = (struct world){ .inner.ops = &ops, .now = 1000000000 };
	lan_default(&c.lan);
	forward.guest = c.lan.guest;
	for (unsigned i = 0; i < ARRAY_SIZE(rules); i++)
		assert(!rules_add(&c.rules, rules[i], &err));
	world.policy = policy_new(&c, &world.inner, &err);
	assert(world.policy);
	rules_clear(&c.rules);
	world.policy->front = (struct netdev_front){ guest_receive, guest_writable, NULL, 0 };
}

static void guest_frame(u8 *frame, size_t len, const struct virtio_net_hdr *h)
{
	struct iovec iov[2] = { { frame, len / 3 }, { frame + len / 3, len - len / 3 } };

	world.policy->ops->send(world.policy, h, iov, 2);
}

static void fix_checksum(u8 *frame, size_t len)
{
	size_t header = len > 14 ? (frame[14] & 15u) * 4 : 0;
	u32 s;

	if (len < 34 || frame[12] != 8 || frame[13] || header < 20 || len - 14 < header)
		return;
	frame[24] = frame[25] = 0;
	s = ~sum(frame + 14, header);
	frame[24] = (u8)(s >> 8);
	frame[25] = (u8)s;
}

static void host_frame(u8 *frame, size_t len)
{
	static const struct virtio_net_hdr none;
	struct iovec iov = { frame, len };

	fix_checksum(frame, len);
	world.inner.front.receive(world.inner.front.arg, &none, &iov, 1);
}

static void host_answer(const u8 *msg, size_t len)
{
	static const u8 head[42] = { 0x52, 0x54, 0,  0x12, 0x34, 0x56, 0x52, 0x55, 10, 0,  2, 2, 8,  0,
				     0x45, 0,	 0,  0,	   0,	 0,    0,    0,	   64, 17, 0, 0, 10, 0,
				     2,	   3,	 10, 0,	   2,	 15,   0,    53,   0,  0,  0, 0 };
	u8 frame[2048];

	len = len > 1400 ? 1400 : len;
	memcpy(frame, head, sizeof(head));
	memcpy(frame + 42, msg, len);
	memcpy(frame + 36, world.query_port, 2);
	if (len >= 2)
		memcpy(frame + 42, world.query_id, 2);
	frame[16] = (u8)((28 + len) >> 8);
	frame[17] = (u8)(28 + len);
	frame[38] = (u8)((8 + len) >> 8);
	frame[39] = (u8)(8 + len);
	host_frame(frame, 42 + len);
}

/* The readers alone, on memory that is exactly as long as the message: the policy's own buffers have room behind it. */
static void read_exactly(const u8 *data, size_t len)
{
	struct dns_query q, asked = { .type = DNS_A, .name = "www.example.org" };
	struct dns_answer a;
	struct packet k, quoted;
	u8 out[REPLY_MAX], msg[DNS_MESSAGE_MAX];
	int r = dns_read_query(data, (u32)len, &q);

	assert(r >= 0 || len < 12 || data[2] & 0x80);
	if (r >= 0) {
		a = (struct dns_answer){ .code = DNS_NO_SUCH_NAME };
		assert(dns_write_answer(&q, &a, msg) <= sizeof(msg) && strlen(q.name) <= 253);
	}
	if (r == DNS_OK)
		assert(dns_write_query(&q, 1, msg) <= sizeof(msg));
	if (len >= 2 && dns_read_answer(data, (u32)len, &asked, (u16)(data[0] << 8 | data[1]), &a)) {
		assert(a.count <= DNS_ADDRESSES && a.ttl <= 86400);
		q = asked;
		q.room = DNS_MESSAGE_MAX;
		assert(dns_write_answer(&q, &a, msg) <= sizeof(msg));
	}
	packet_parse(&k, data, (u32)len);
	assert(k.len <= len);
	if (k.state == PACKET_OK && (k.protocol == PROTO_TCP || k.protocol == PROTO_UDP))
		assert(k.payload <= k.len && k.payload_len <= k.len - k.payload);
	if (k.state != PACKET_MALFORMED && k.state != PACKET_UNKNOWN && k.ethertype != ETHERTYPE_ARP) {
		assert(packet_prohibited(&k, out) <= sizeof(out));
		if (k.state == PACKET_OK && k.protocol == PROTO_TCP)
			assert(packet_reset(&k, out) <= sizeof(out));
	}
	packet_parse_quoted(&quoted, data, (u32)len, false);
	packet_parse_quoted(&quoted, data, (u32)len, true);
}

static void event(unsigned kind, u8 *data, size_t len)
{
	struct virtio_net_hdr h = { 0 };

	switch (kind) {
	case GUEST_FRAME: fix_checksum(data, len); /* fall through */
	case GUEST_FRAME_AS_IS: guest_frame(data, len, &h); break;
	case GUEST_FRAME_OFFLOADED:
		if (len < sizeof(h))
			break;
		memcpy(&h, data, sizeof(h));
		fix_checksum(data + sizeof(h), len - sizeof(h));
		guest_frame(data + sizeof(h), len - sizeof(h), &h);
		break;
	case HOST_FRAME: host_frame(data, len); break;
	case HOST_ANSWER: host_answer(data, len); break;
	case TIME: world.now += len >= 2 ? (u64)(data[0] | data[1] << 8) * 1000000000 : 1; break;
	default:
		world.inner_full = len && data[0] & 1;
		world.guest_full = len && data[0] & 2;
		break;
	}
	policy_deliver(world.policy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	set_up();
	while (size >= 3) {
		size_t len = data[1] | data[2] << 8;
		unsigned kind = data[0] % KINDS;
		u8 *copy;

		data += 3;
		size -= 3;
		len = len > size ? size : len;
		copy = malloc(len ? len : 1); /* exactly as long: reading past its end shows */
		assert(copy);
		memcpy(copy, data, len);
		read_exactly(copy, len);
		event(kind, copy, len);
		free(copy);
		data += len;
		size -= len;
	}
	netdev_destroy(world.policy);
	return 0;
}
