/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames as a guest and its peers send them, made and checked byte by byte without the code under test, and a network with
 * a policy between two recorders.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>

#include "host/net/policy.h"

#define SECOND 1000000000ull
enum { ICMP4 = 1, TCP = 6, UDP = 17, ICMP6 = 58 };
enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

struct bytes {
	u32 len;
	u8 b[70000];
};

static inline u16 rd16(const u8 *p)
{
	return (u16)(p[0] << 8 | p[1]);
}
static inline u32 rd32(const u8 *p)
{
	return (u32)rd16(p) << 16 | rd16(p + 2);
}
static inline void wr16(u8 *p, u32 v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}
static inline void wr32(u8 *p, u32 v)
{
	wr16(p, v >> 16);
	wr16(p + 2, v & 0xffff);
}

/* The plainest Internet checksum: big-endian words, one by one. 0 over what is right. */
static u32 sum16(u32 sum, const u8 *p, u32 len)
{
	for (u32 i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (u32)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static bool is6(const u8 *frame)
{
	return rd16(frame + 12) == 0x86dd;
}

static u32 l4_sum(const u8 *frame, u32 l4_len)
{
	const u8 *ip = frame + 14;
	u32 sum = is6(frame) ? sum16(0, ip + 8, 32) : sum16(0, ip + 12, 8);
	u8 protocol = is6(frame) ? ip[6] : ip[9];

	if (protocol == ICMP4)
		sum = 0;
	else
		sum = sum16(sum + protocol + l4_len, NULL, 0);
	return sum16(sum, frame + 14 + (is6(frame) ? 40 : 20), l4_len);
}

/* The right checksum in each header. */
static inline void finish(struct bytes *f)
{
	u8 *ip = f->b + 14, *l4 = ip + (is6(f->b) ? 40 : 20);
	u32 l4_len = f->len - (u32)(l4 - f->b);
	u8 protocol = is6(f->b) ? ip[6] : ip[9];
	u8 *field = l4 + (protocol == TCP ? 16 : protocol == UDP ? 6 : 2);

	if (!is6(f->b)) {
		wr16(ip + 10, 0);
		wr16(ip + 10, ~sum16(0, ip, 20) & 0xffff);
	}
	wr16(field, 0);
	wr16(field, ~l4_sum(f->b, l4_len) & 0xffff);
}

static inline void assert_checksums(const struct bytes *f)
{
	u32 header = is6(f->b) ? 40 : 20;

	if (!is6(f->b))
		assert_int_equal(sum16(0, f->b + 14, 20), 0xffff);
	assert_int_equal(l4_sum(f->b, f->len - 14 - header), 0xffff);
}

static const u8 guest_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 }, host_mac[6] = { 0x52, 0x55, 10, 0, 2, 2 };

/* An IP frame with `len` bytes behind its IP header, which the caller fills in. */
static inline u8 *ip_frame(struct bytes *f, const char *src, const char *dst, u8 protocol, u32 len)
{
	u8 *ip = f->b + 14;
	bool six = strchr(src, ':');

	memset(f->b, 0, 14 + 40 + len);
	memcpy(f->b, host_mac, 6);
	memcpy(f->b + 6, guest_mac, 6);
	f->len = 14 + (six ? 40 : 20) + len;
	wr16(f->b + 12, six ? 0x86dd : 0x0800);
	if (six) {
		ip[0] = 0x60;
		wr16(ip + 4, len);
		ip[6] = protocol;
		ip[7] = 64;
		assert_int_equal(inet_pton(AF_INET6, src, ip + 8), 1);
		assert_int_equal(inet_pton(AF_INET6, dst, ip + 24), 1);
		return ip + 40;
	}
	ip[0] = 0x45;
	wr16(ip + 2, 20 + len);
	ip[8] = 64;
	ip[9] = protocol;
	assert_int_equal(inet_pton(AF_INET, src, ip + 12), 1);
	assert_int_equal(inet_pton(AF_INET, dst, ip + 16), 1);
	return ip + 20;
}

static inline void tcp_frame(struct bytes *f, const char *src, u16 sport, const char *dst, u16 dport, u8 flags, u32 seq,
			     u32 ack, u32 len)
{
	u8 *t = ip_frame(f, src, dst, TCP, 20 + len);

	wr16(t, sport);
	wr16(t + 2, dport);
	wr32(t + 4, seq);
	wr32(t + 8, ack);
	t[12] = 5 << 4;
	t[13] = flags;
	wr16(t + 14, 65535);
	for (u32 i = 0; i < len; i++)
		t[20 + i] = (u8)i;
	finish(f);
}

static inline void udp_frame(struct bytes *f, const char *src, u16 sport, const char *dst, u16 dport, const void *data,
			     u32 len)
{
	u8 *u = ip_frame(f, src, dst, UDP, 8 + len);

	wr16(u, sport);
	wr16(u + 2, dport);
	wr16(u + 4, 8 + len);
	memcpy(u + 8, data, len);
	finish(f);
}

static inline void echo_frame(struct bytes *f, const char *src, const char *dst, u8 type, u16 id)
{
	u8 *i = ip_frame(f, src, dst, strchr(src, ':') ? ICMP6 : ICMP4, 16);

	i[0] = type;
	wr16(i + 4, id);
	finish(f);
}

/* ---- a policy between two recorders ---- */
#define RECORDS 64
struct record {
	unsigned count;
	struct bytes frame[RECORDS];
};
struct net {
	struct netdev inner, *policy;
	struct record out, in; /* what left towards the host; what the guest got */
	char log[8192];
	unsigned lines;
	bool inner_full, guest_full, destroyed;
	unsigned writable, resumed;
};
static u64 fake_now;

static u64 fake_clock(void)
{
	return fake_now;
}

static void record(struct record *r, const struct iovec *iov, unsigned iovs)
{
	struct bytes *f = &r->frame[r->count % RECORDS];

	f->len = 0;
	for (unsigned i = 0; i < iovs; i++) {
		memcpy(f->b + f->len, iov[i].iov_base, iov[i].iov_len);
		f->len += (u32)iov[i].iov_len;
	}
	r->count++;
}

static bool inner_send(struct netdev *n, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	struct net *t = container_of(n, struct net, inner);

	assert_int_equal(h->flags | h->gso_type, 0);
	if (!t->inner_full)
		record(&t->out, iov, iovs);
	return !t->inner_full;
}

static void inner_resume(struct netdev *n)
{
	container_of(n, struct net, inner)->resumed++;
}

static void inner_destroy(struct netdev *n)
{
	container_of(n, struct net, inner)->destroyed = true;
}

static bool guest_receive(void *arg, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	struct net *t = arg;

	if (!t->guest_full)
		record(&t->in, iov, iovs);
	return !t->guest_full;
}

static void guest_writable(void *arg)
{
	((struct net *)arg)->writable++;
}

static void log_line(void *arg, const char *text)
{
	struct net *t = arg;

	snprintf(t->log + strlen(t->log), sizeof(t->log) - strlen(t->log), "%s\n", text);
	t->lines++;
}

static const struct netdev_ops inner_ops = { "recorder", inner_send, inner_resume, inner_destroy };

/* rules: separated by blanks. */
static inline void net_start_with(struct net *t, const char *rules, const struct net_forward *forward,
				  unsigned forwards)
{
	struct policy_config c = {
		.now = fake_clock, .forward = forward, .forwards = forwards, .log = { log_line, t }
	};
	struct error err = { 0 };
	char copy[1024], *rest = copy, *word;

	memset(t, 0, sizeof(*t));
	fake_now = 1000 * SECOND;
	lan_default(&c.lan);
	strcpy(copy, rules);
	while ((word = strsep(&rest, " ")))
		if (*word && rules_add(&c.rules, word, &err))
			fail_msg("%s", err.text);
	t->inner.ops = &inner_ops;
	t->inner.mtu = 1400;
	t->policy = policy_new(&c, &t->inner, &err);
	rules_clear(&c.rules);
	assert_non_null(t->policy);
	t->policy->front = (struct netdev_front){ guest_receive, guest_writable, t, 0 };
}

static inline struct net *net_start(const char *rules)
{
	static struct net t;

	net_start_with(&t, rules, NULL, 0);
	return &t;
}

static inline void net_end(struct net *t)
{
	netdev_destroy(t->policy);
	assert_true(t->destroyed);
}

/* The guest sends; afterwards what the policy had to say has been said. */
static inline bool guest_sends(struct net *t, const struct bytes *f, const struct virtio_net_hdr *h)
{
	static const struct virtio_net_hdr none;
	/* In pieces of odd sizes, as a guest may lay it out. */
	struct iovec iov[3] = { { (void *)f->b, MIN(f->len, 13) } };
	bool taken;

	iov[1] = (struct iovec){ (u8 *)f->b + iov[0].iov_len, MIN(f->len - iov[0].iov_len, 8) };
	iov[2].iov_base = (u8 *)iov[1].iov_base + iov[1].iov_len;
	iov[2].iov_len = f->len - iov[0].iov_len - iov[1].iov_len;
	taken = t->policy->ops->send(t->policy, h ? h : &none, iov, 3);
	policy_deliver(t->policy);
	return taken;
}

static inline bool host_sends(struct net *t, const struct bytes *f)
{
	static const struct virtio_net_hdr none;
	struct iovec iov = { (void *)f->b, f->len };
	bool taken = t->inner.front.receive(t->inner.front.arg, &none, &iov, 1);

	policy_deliver(t->policy);
	return taken;
}

/* From the host's side: the same maker, with MAC addresses the other way round. */
static inline bool host_sends_back(struct net *t, struct bytes *f)
{
	memcpy(f->b, guest_mac, 6);
	memcpy(f->b + 6, host_mac, 6);
	return host_sends(t, f);
}

static inline const struct bytes *last(const struct record *r)
{
	assert_true(r->count);
	return &r->frame[(r->count - 1) % RECORDS];
}

static inline void assert_logged(const struct net *t, const char *text)
{
	if (!strstr(t->log, text))
		fail_msg("'%s' is not in the log:\n%s", text, t->log);
}
