/* SPDX-License-Identifier: Apache-2.0 */
/* The network's policy, frame by frame: what passes, what is refused and how, what comes back in. */
#include "net-frames.h"
#include "host/net/flows.h"

#define ME  "10.0.2.15"
#define ME6 "fec0::5054:ff:fe12:3456"
#define WEB "93.184.216.34"
#define V6  "2001:db8::1"

static struct bytes f;

/* Frames that left, answers that the guest got: since the last call. */
static void assert_counts(struct net *t, unsigned out, unsigned in)
{
	assert_int_equal(t->out.count, out);
	assert_int_equal(t->in.count, in);
	t->out.count = t->in.count = 0;
}

static void assert_tcp(struct net *t, const char *dst, u16 port, bool passes)
{
	static u16 sport = 20000;

	tcp_frame(&f, strchr(dst, ':') ? ME6 : ME, ++sport, dst, port, SYN, 1, 0, 0);
	assert_true(guest_sends(t, &f, NULL));
	assert_counts(t, passes, !passes);
}

static void assert_udp(struct net *t, const char *dst, u16 port, bool passes, bool answered)
{
	static u16 sport = 20000;

	udp_frame(&f, strchr(dst, ':') ? ME6 : ME, ++sport, dst, port, "data", 4);
	assert_true(guest_sends(t, &f, NULL));
	assert_counts(t, passes, answered);
}

static void test_rules(void **state)
{
	struct net *t =
		net_start("93.184.216.0/24:80 10.1.0.0/16/udp 192.0.2.7 [2001:db8::/32]:443/tcp 203.0.113.1:1000-2000");

	assert_tcp(t, WEB, 80, true);
	assert_udp(t, WEB, 80, true, false);
	assert_tcp(t, WEB, 81, false);
	assert_tcp(t, "93.184.217.34", 80, false);
	assert_udp(t, "10.1.255.255", 9, true, false);
	assert_tcp(t, "10.1.2.3", 9, false);
	assert_udp(t, "10.2.0.0", 9, false, true);
	assert_tcp(t, "192.0.2.7", 1, true);
	assert_udp(t, "192.0.2.7", 65535, true, false);
	assert_tcp(t, "192.0.2.6", 1, false);
	assert_tcp(t, V6, 443, true);
	assert_udp(t, V6, 443, false, true);
	assert_tcp(t, "2001:db9::1", 443, false);
	assert_tcp(t, "203.0.113.1", 999, false);
	assert_tcp(t, "203.0.113.1", 1000, true);
	assert_tcp(t, "203.0.113.1", 2000, true);
	assert_tcp(t, "203.0.113.1", 2001, false);
	assert_logged(t, "net: refused tcp 93.184.216.34:81\n");
	assert_logged(t, "net: refused udp [2001:db8::1]:443\n");
	net_end(t);
}

static void test_nothing_is_listed(void **state)
{
	struct net *t = net_start("");

	assert_tcp(t, WEB, 80, false);
	assert_udp(t, WEB, 53, false, true);
	assert_tcp(t, "10.0.2.2", 22, false);
	assert_tcp(t, "10.0.2.3", 53, false);
	assert_tcp(t, V6, 80, false);
	net_end(t);
}

/* However wide a rule is: not the host itself in any of its disguises, not groups, not the virtual network. */
static void test_never(void **state)
{
	static const char *const addresses[] = {
		"10.0.2.2", "10.0.2.3",	       "10.0.2.200",  "10.0.2.255", "127.0.0.1", "127.9.9.9", "0.0.0.0",
		"0.1.2.3",  "255.255.255.255", "224.0.0.251", "240.0.0.1",  "::1",	 "::",	      "fe80::2",
		"fec0::2",  "fec0::3",	       "fec0::9",     "ff02::1",    "ff0e::1",	 "::7f00:1",  "::ffff:127.0.0.1"
	};
	struct net *t = net_start("0.0.0.0/0 ::/0");

	for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
		const char *me = strchr(addresses[i], ':') ? ME6 : ME;

		tcp_frame(&f, me, 1024, addresses[i], 80, SYN, 1, 0, 0);
		assert_true(guest_sends(t, &f, NULL));
		udp_frame(&f, me, 1024, addresses[i], 9, "x", 1);
		assert_true(guest_sends(t, &f, NULL));
		if (t->out.count)
			fail_msg("%s was let out", addresses[i]);
	}
	t->in.count = 0;
	assert_tcp(t, WEB, 80, true);
	assert_tcp(t, V6, 80, true);
	net_end(t);
}

static void test_host(void **state)
{
	struct net *t = net_start("host:8080");

	assert_tcp(t, "10.0.2.2", 8080, true);
	assert_tcp(t, "fec0::2", 8080, true);
	assert_tcp(t, "10.0.2.2", 8081, false);
	assert_tcp(t, "10.0.2.4", 8080, false);
	assert_tcp(t, "127.0.0.1", 8080, false);
	net_end(t);
}

/* ---- how a refusal looks ---- */
static void test_reset_of_syn(void **state)
{
	struct net *t = net_start("");
	const struct bytes *r;
	const u8 *ip, *tcp;

	tcp_frame(&f, ME, 40000, WEB, 443, SYN, 0xfffffff0, 0, 32); /* with data: RFC 7413 */
	assert_true(guest_sends(t, &f, NULL));
	assert_int_equal(t->in.count, 1);
	r = last(&t->in);
	ip = r->b + 14;
	tcp = ip + 20;
	assert_int_equal(r->len, 14 + 20 + 20);
	assert_memory_equal(r->b, guest_mac, 6);
	assert_memory_equal(r->b + 6, host_mac, 6);
	assert_memory_equal(ip + 12, f.b + 14 + 16, 4);
	assert_memory_equal(ip + 16, f.b + 14 + 12, 4);
	assert_int_equal(rd16(tcp), 443);
	assert_int_equal(rd16(tcp + 2), 40000);
	assert_int_equal(rd32(tcp + 4), 0);
	assert_int_equal(rd32(tcp + 8), (u32)(0xfffffff0 + 33));
	assert_int_equal(tcp[13], RST | ACK);
	assert_checksums(r);
	net_end(t);
}

static void test_reset_of_others(void **state)
{
	struct net *t = net_start(WEB);
	const u8 *tcp;

	/* No conversation: a listed destination does not help. */
	tcp_frame(&f, ME6, 40000, V6, 80, ACK, 77, 0x12345678, 5);
	assert_true(guest_sends(t, &f, NULL));
	tcp = last(&t->in)->b + 14 + 40;
	assert_int_equal(rd32(tcp + 4), 0x12345678);
	assert_int_equal(rd32(tcp + 8), 0);
	assert_int_equal(tcp[13], RST);
	assert_checksums(last(&t->in));
	assert_counts(t, 0, 1);
	tcp_frame(&f, ME, 40000, WEB, 80, ACK, 77, 1, 5);
	assert_true(guest_sends(t, &f, NULL));
	assert_counts(t, 0, 1);
	tcp_frame(&f, ME, 40000, WEB, 80, RST, 77, 1, 0);
	assert_true(guest_sends(t, &f, NULL));
	assert_counts(t, 0, 0);
	net_end(t);
}

static void test_prohibited(void **state)
{
	static const u8 large[1400];
	struct net *t = net_start("");
	const struct bytes *r;
	const u8 *ip, *icmp;

	udp_frame(&f, ME, 5000, WEB, 123, "0123456789abcdef", 16);
	assert_true(guest_sends(t, &f, NULL));
	r = last(&t->in);
	ip = r->b + 14;
	icmp = ip + 20;
	assert_int_equal(ip[9], ICMP4);
	assert_memory_equal(ip + 12, f.b + 14 + 16, 4);
	assert_int_equal(icmp[0], 3);
	assert_int_equal(icmp[1], 13);
	assert_memory_equal(icmp + 8, f.b + 14, 28);
	assert_int_equal(r->len, 14 + 20 + 8 + 28);
	assert_checksums(r);
	assert_counts(t, 0, 1);

	udp_frame(&f, ME6, 5000, V6, 123, "0123456789abcdef", 15);
	assert_true(guest_sends(t, &f, NULL));
	r = last(&t->in);
	icmp = r->b + 14 + 40;
	assert_int_equal(icmp[0], 1);
	assert_int_equal(icmp[1], 1);
	assert_memory_equal(icmp + 8, f.b + 14, f.len - 14);
	assert_checksums(r);
	assert_counts(t, 0, 1);

	udp_frame(&f, ME6, 5000, V6, 123, large, sizeof(large)); /* an error stays below the smallest MTU */
	assert_true(guest_sends(t, &f, NULL));
	assert_true(last(&t->in)->len <= 1280 + 14);
	assert_checksums(last(&t->in));
	net_end(t);
}

static void test_padding_is_cut(void **state)
{
	struct net *t = net_start(WEB);

	tcp_frame(&f, ME, 1, WEB, 80, SYN, 1, 0, 0);
	memset(f.b + f.len, 0xaa, 50);
	f.len += 50;
	assert_true(guest_sends(t, &f, NULL));
	assert_int_equal(last(&t->out)->len, f.len - 50);
	net_end(t);
}

/* ---- frames that are not what they seem ---- */
static void assert_stays(struct net *t, bool answered)
{
	assert_true(guest_sends(t, &f, NULL));
	assert_counts(t, 0, answered);
}

static void fix_ip(void)
{
	wr16(f.b + 14 + 10, 0);
	wr16(f.b + 14 + 10, ~sum16(0, f.b + 14, (f.b[14] & 15) * 4) & 0xffff);
}

static void test_fragments(void **state)
{
	struct net *t = net_start("0.0.0.0/0 ::/0");

	udp_frame(&f, ME, 1, WEB, 2, "xxxxxxxx", 8);
	wr16(f.b + 14 + 6, 0x2000); /* the first of several */
	fix_ip();
	assert_stays(t, true);
	wr16(f.b + 14 + 6, 1); /* one behind: no error about it */
	fix_ip();
	assert_stays(t, false);
	wr16(f.b + 14 + 6, 0x2001);
	fix_ip();
	assert_stays(t, false);
	wr16(f.b + 14 + 6, 0x4000); /* whole, not to be fragmented */
	fix_ip();
	assert_true(guest_sends(t, &f, NULL));
	assert_counts(t, 1, 0);
	net_end(t);
}

static void test_options(void **state)
{
	static const u8 extensions[] = { 0, 43, 44, 50, 51, 60, 135 };
	struct net *t = net_start("0.0.0.0/0 ::/0");
	u8 *payload;

	/* A loose source route (RFC 791) between the header and UDP. */
	payload = ip_frame(&f, ME, WEB, UDP, 8 + 8);
	f.b[14] = 0x47;
	payload[0] = 131;
	payload[1] = 7;
	payload[2] = 4;
	wr16(payload + 12, 8);
	fix_ip();
	assert_stays(t, true);
	for (unsigned i = 0; i < sizeof(extensions); i++) {
		payload = ip_frame(&f, ME6, V6, extensions[i], 8 + 8);
		payload[0] = UDP;
		wr16(payload + 12, 8);
		assert_stays(t, true);
	}
	ip_frame(&f, ME, WEB, 47, 30); /* GRE */
	fix_ip();
	assert_stays(t, true);
	ip_frame(&f, ME, WEB, 41, 60); /* IPv6 in IPv4 */
	fix_ip();
	assert_stays(t, true);
	ip_frame(&f, ME, WEB, ICMP6, 30); /* the other family's ICMP */
	fix_ip();
	assert_stays(t, true);
	net_end(t);
}

static void test_malformed(void **state)
{
	struct net *t = net_start("0.0.0.0/0 ::/0");

	for (u32 len = 0; len < 54; len++) { /* cut anywhere */
		tcp_frame(&f, ME, 1, WEB, 80, SYN, 1, 0, 0);
		f.len = len;
		assert_stays(t, false);
		tcp_frame(&f, ME6, 1, V6, 80, SYN, 1, 0, 0);
		f.len = len + 20;
		assert_stays(t, false);
	}
	tcp_frame(&f, ME, 1, WEB, 80, SYN, 1, 0, 0);
	f.b[14] = 0x44; /* a header of 16 bytes */
	assert_stays(t, false);
	tcp_frame(&f, ME, 1, WEB, 80, SYN, 1, 0, 0);
	f.b[14] = 0x65; /* version 6 in an IPv4 frame */
	assert_stays(t, false);
	tcp_frame(&f, ME, 1, WEB, 80, SYN, 1, 0, 0);
	f.b[14 + 10] ^= 1;
	assert_stays(t, false);
	tcp_frame(&f, ME, 1, WEB, 80, SYN, 1, 0, 0);
	wr16(f.b + 14 + 2, 19);
	fix_ip();
	assert_stays(t, false);
	tcp_frame(&f, ME, 1, WEB, 80, SYN, 1, 0, 0);
	f.b[14 + 20 + 12] = 4 << 4; /* a TCP header of 16 bytes */
	assert_stays(t, false);
	f.b[14 + 20 + 12] = 15 << 4; /* one longer than the packet */
	assert_stays(t, false);
	udp_frame(&f, ME, 1, WEB, 80, "abcd", 4);
	wr16(f.b + 14 + 20 + 4, 13); /* longer than the packet */
	assert_stays(t, false);
	wr16(f.b + 14 + 20 + 4, 7);
	assert_stays(t, false);
	wr16(f.b + 14 + 20 + 4, 0);
	assert_stays(t, false);
	udp_frame(&f, ME6, 1, V6, 80, "abcd", 4);
	wr16(f.b + 14 + 4, 0); /* a jumbogram, they say */
	assert_stays(t, false);
	net_end(t);
}

static void test_other_types(void **state)
{
	struct net *t = net_start("0.0.0.0/0 ::/0");
	static const u16 types[] = { 0x8100, 0x88a8, 0x8847, 0x88f8, 0x88cc, 0x0000, 0x05dc, 0x8863 };

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		tcp_frame(&f, ME, 1, WEB, 80, SYN, 1, 0, 0);
		wr16(f.b + 12, types[i]);
		assert_stays(t, false);
	}
	assert_logged(t, "type 0x8100");
	net_end(t);
}

static void test_sources(void **state)
{
	static const char *const addresses[] = { WEB,	    "10.0.2.2",	 "10.0.2.3",	   "127.0.0.1",
						 "0.0.0.0", "10.0.3.15", "255.255.255.255" };
	static const char *const addresses6[] = { V6, "fec0::2", "fec0::3", "::1", "::", "ff02::1", "fe80::1" };
	struct net *t = net_start("0.0.0.0/0 ::/0");

	for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
		tcp_frame(&f, addresses[i], 1, "198.51.100.1", 80, SYN, 1, 0, 0);
		assert_stays(t, false);
		tcp_frame(&f, addresses6[i], 1, "2001:db8::2", 80, SYN, 1, 0, 0);
		assert_stays(t, !strcmp(addresses6[i], "fe80::1")); /* honest, but nothing to be reached */
	}
	tcp_frame(&f, "fe80::1", 1, "fe80::2", 80, SYN, 1, 0, 0);
	assert_stays(t, true);
	net_end(t);
}

static void test_ethernet_group(void **state)
{
	struct net *t = net_start("");

	udp_frame(&f, ME, 1, "224.0.0.251", 5353, "x", 1);
	assert_stays(t, false);
	udp_frame(&f, ME6, 1, "ff02::fb", 5353, "x", 1);
	assert_stays(t, false);
	udp_frame(&f, ME, 1, "255.255.255.255", 9, "x", 1);
	assert_stays(t, false);
	udp_frame(&f, ME, 1, WEB, 9, "x", 1);
	memset(f.b, 0xff, 6);
	assert_stays(t, false);
	net_end(t);
}

/* ---- offloads ---- */

/* The header names where a checksum belongs. It must not be a way to change what was judged. */
static void test_checksum_is_filled_in(void **state)
{
	struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 14 + 16, .csum_offset = 0 };
	struct net *t = net_start(WEB);
	struct bytes right;

	tcp_frame(&f, ME, 1000, WEB, 80, SYN, 1, 0, 33);
	right = f;
	wr16(f.b + 14 + 20 + 16, 0x1234);
	assert_true(guest_sends(t, &f, &h));
	assert_int_equal(last(&t->out)->len, right.len);
	assert_memory_equal(last(&t->out)->b, right.b, right.len);
	udp_frame(&f, ME, 1000, WEB, 80, "abc", 3);
	right = f;
	wr16(f.b + 14 + 20 + 6, 0x1234);
	h = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				     .csum_start = 0xffff,
				     .csum_offset = 0xffff };
	assert_true(guest_sends(t, &f, &h));
	assert_memory_equal(last(&t->out)->b, right.b, right.len);
	net_end(t);
}

static void test_segments(void **state)
{
	struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				    .gso_size = 1460 };
	struct net *t = net_start(WEB);

	tcp_frame(&f, ME, 1000, WEB, 80, SYN, 1, 0, 0);
	assert_true(guest_sends(t, &f, NULL));
	tcp_frame(&f, ME, 1000, WEB, 80, ACK, 2, 1, 65535 - 40);
	assert_true(guest_sends(t, &f, &h));
	assert_counts(t, 2, 0);
	assert_checksums(&t->out.frame[1]);
	tcp_frame(&f, ME, 1000, "198.51.100.1", 80, ACK, 2, 1, 65535 - 40);
	assert_true(guest_sends(t, &f, &h));
	assert_counts(t, 0, 1);
	f.len = 69000; /* more than any frame */
	assert_true(guest_sends(t, &f, &h));
	assert_counts(t, 0, 0);
	net_end(t);
}

/* ---- the virtual network's own services ---- */
static void arp(u16 op, const char *sender, const char *target)
{
	u8 *a = f.b + 14;

	memset(f.b, 0, 60);
	memset(f.b, 0xff, 6);
	memcpy(f.b + 6, guest_mac, 6);
	wr16(f.b + 12, 0x0806);
	wr16(a, 1);
	wr16(a + 2, 0x0800);
	a[4] = 6;
	a[5] = 4;
	wr16(a + 6, op);
	inet_pton(AF_INET, sender, a + 14);
	inet_pton(AF_INET, target, a + 24);
	f.len = 42;
}

static void test_arp(void **state)
{
	struct net *t = net_start("");

	arp(1, ME, "10.0.2.2");
	assert_true(guest_sends(t, &f, NULL));
	arp(1, "0.0.0.0", ME); /* probing */
	assert_true(guest_sends(t, &f, NULL));
	arp(2, ME, "10.0.2.2");
	assert_true(guest_sends(t, &f, NULL));
	assert_counts(t, 3, 0);
	arp(1, "10.0.2.2", "10.0.2.2"); /* taking the host's place */
	assert_stays(t, false);
	arp(1, ME, WEB);
	assert_stays(t, false);
	arp(3, ME, "10.0.2.2");
	assert_stays(t, false);
	arp(1, ME, "10.0.2.2");
	f.b[14 + 5] = 16;
	assert_stays(t, false);
	arp(1, ME, "10.0.2.2");
	f.len = 41;
	assert_stays(t, false);
	net_end(t);
}

static void test_services(void **state)
{
	struct net *t = net_start("");
	u8 *nd;

	udp_frame(&f, "0.0.0.0", 68, "255.255.255.255", 67, "dhcp", 4);
	assert_true(guest_sends(t, &f, NULL));
	udp_frame(&f, ME, 68, "10.0.2.2", 67, "dhcp", 4);
	assert_true(guest_sends(t, &f, NULL));
	udp_frame(&f, "fe80::1", 546, "ff02::1:2", 547, "dhcp", 4);
	assert_true(guest_sends(t, &f, NULL));
	nd = ip_frame(&f, "::", "ff02::1:ff12:3456", ICMP6, 24);
	nd[0] = 135;
	f.b[14 + 7] = 255;
	finish(&f);
	assert_true(guest_sends(t, &f, NULL));
	nd = ip_frame(&f, "fe80::1", "ff02::2", ICMP6, 8);
	nd[0] = 133;
	f.b[14 + 7] = 255;
	finish(&f);
	assert_true(guest_sends(t, &f, NULL));
	echo_frame(&f, ME, "10.0.2.2", 8, 7);
	assert_true(guest_sends(t, &f, NULL));
	assert_counts(t, 6, 0);

	udp_frame(&f, "0.0.0.0", 68, WEB, 67, "dhcp", 4);
	assert_stays(t, false);
	udp_frame(&f, ME, 68, WEB, 67, "dhcp", 4);
	assert_stays(t, true);
	udp_frame(&f, ME, 1068, "255.255.255.255", 67, "dhcp", 4);
	assert_stays(t, false);
	udp_frame(&f, ME, 1069, "10.0.2.2", 69, "tftp", 4);
	assert_stays(t, true);
	nd = ip_frame(&f, ME6, V6, ICMP6, 24); /* discovery, aimed at the outside */
	nd[0] = 135;
	f.b[14 + 7] = 255;
	finish(&f);
	assert_stays(t, true);
	nd = ip_frame(&f, "fe80::1", "ff02::1", ICMP6, 24); /* a router's advertisement */
	nd[0] = 134;
	f.b[14 + 7] = 255;
	finish(&f);
	assert_stays(t, false);
	net_end(t);
}

static void test_ping(void **state)
{
	struct net *t = net_start(WEB " 192.0.2.1:80 192.0.2.2/udp");

	echo_frame(&f, ME, WEB, 8, 7);
	assert_true(guest_sends(t, &f, NULL));
	assert_counts(t, 1, 0);
	echo_frame(&f, WEB, ME, 0, 7);
	assert_true(host_sends_back(t, &f));
	assert_counts(t, 0, 1);
	echo_frame(&f, WEB, ME, 0, 8); /* nobody asked */
	assert_true(host_sends_back(t, &f));
	assert_counts(t, 0, 0);
	echo_frame(&f, ME, "192.0.2.1", 8, 7);
	assert_stays(t, true);
	echo_frame(&f, ME, "192.0.2.2", 8, 7);
	assert_stays(t, true);
	echo_frame(&f, ME, WEB, 13, 7); /* timestamp: may be listed, is no ping */
	assert_stays(t, true);
	net_end(t);
}

/* ---- what comes back ---- */
static void test_return_traffic(void **state)
{
	struct net *t = net_start(WEB);

	tcp_frame(&f, WEB, 80, ME, 1000, SYN | ACK, 9, 2, 0);
	assert_true(host_sends_back(t, &f));
	assert_counts(t, 0, 0); /* nobody asked */
	tcp_frame(&f, ME, 1000, WEB, 80, SYN, 1, 0, 0);
	assert_true(guest_sends(t, &f, NULL));
	tcp_frame(&f, WEB, 80, ME, 1000, SYN | ACK, 9, 2, 0);
	assert_true(host_sends_back(t, &f));
	assert_counts(t, 1, 1);
	tcp_frame(&f, WEB, 80, ME, 1001, ACK, 9, 2, 5);
	assert_true(host_sends_back(t, &f));
	tcp_frame(&f, WEB, 81, ME, 1000, ACK, 9, 2, 5);
	assert_true(host_sends_back(t, &f));
	tcp_frame(&f, "93.184.216.35", 80, ME, 1000, ACK, 9, 2, 5);
	assert_true(host_sends_back(t, &f));
	udp_frame(&f, WEB, 80, ME, 1000, "x", 1);
	assert_true(host_sends_back(t, &f));
	assert_counts(t, 0, 0);
	udp_frame(&f, ME, 1000, WEB, 80, "x", 1);
	assert_true(guest_sends(t, &f, NULL));
	udp_frame(&f, WEB, 80, ME, 1000, "x", 1);
	assert_true(host_sends_back(t, &f));
	assert_counts(t, 1, 1);
	/* A big answer in pieces, of whom we talk to and of another. */
	udp_frame(&f, WEB, 80, ME, 1000, "x", 1);
	wr16(f.b + 14 + 6, 100);
	fix_ip();
	assert_true(host_sends_back(t, &f));
	assert_counts(t, 0, 1);
	udp_frame(&f, "93.184.216.35", 80, ME, 1000, "x", 1);
	wr16(f.b + 14 + 6, 100);
	fix_ip();
	assert_true(host_sends_back(t, &f));
	assert_counts(t, 0, 0);
	net_end(t);
}

static void test_errors_come_back(void **state)
{
	struct net *t = net_start(WEB);
	struct bytes sent;
	u8 *icmp;

	udp_frame(&sent, ME, 1000, WEB, 80, "x", 1);
	icmp = ip_frame(&f, "10.0.2.2", ME, ICMP4, 8 + 28);
	icmp[0] = 3;
	icmp[1] = 3;
	memcpy(icmp + 8, sent.b + 14, 28);
	finish(&f);
	assert_true(host_sends_back(t, &f));
	assert_counts(t, 0, 0); /* about nothing that was said */
	assert_true(guest_sends(t, &sent, NULL));
	assert_true(host_sends_back(t, &f));
	assert_counts(t, 1, 1);
	for (u32 cut = 1; cut <= 36; cut++) { /* quotes that end early */
		f.len = 14 + 20 + 8 + 28 - cut;
		wr16(f.b + 14 + 2, f.len - 14);
		finish(&f);
		assert_true(host_sends_back(t, &f));
		assert_counts(t, 0, 0);
	}
	net_end(t);
}

static void test_forwarded_ports(void **state)
{
	static struct net t;
	struct net_forward fwd[2] = { { .guest_port = 22 }, { .guest_port = 53, .udp = true } };

	assert_true(ip_parse(ME, &fwd[0].guest));
	fwd[1].guest = fwd[0].guest;
	net_start_with(&t, "", fwd, 2);
	tcp_frame(&f, "10.0.2.2", 5555, ME, 22, ACK, 1, 0, 0); /* no beginning */
	assert_true(host_sends_back(&t, &f));
	tcp_frame(&f, "10.0.2.2", 5555, ME, 23, SYN, 1, 0, 0);
	assert_true(host_sends_back(&t, &f));
	assert_counts(&t, 0, 0);
	tcp_frame(&f, ME, 22, "10.0.2.2", 5555, SYN | ACK, 1, 2, 0); /* an answer to nothing */
	assert_true(guest_sends(&t, &f, NULL));
	assert_counts(&t, 0, 1);
	tcp_frame(&f, "10.0.2.2", 5555, ME, 22, SYN, 1, 0, 0);
	assert_true(host_sends_back(&t, &f));
	tcp_frame(&f, ME, 22, "10.0.2.2", 5555, SYN | ACK, 1, 2, 0);
	assert_true(guest_sends(&t, &f, NULL));
	assert_counts(&t, 1, 1);
	tcp_frame(&f, ME, 22, "10.0.2.2", 5555, SYN, 1, 0, 0); /* but nothing of its own */
	assert_true(guest_sends(&t, &f, NULL));
	assert_counts(&t, 0, 1);
	udp_frame(&f, "10.0.2.2", 5555, ME, 53, "x", 1);
	assert_true(host_sends_back(&t, &f));
	udp_frame(&f, ME, 53, "10.0.2.2", 5555, "x", 1);
	assert_true(guest_sends(&t, &f, NULL));
	assert_counts(&t, 1, 1);
	net_end(&t);
}

/* ---- flow control, and the log ---- */
static void test_no_room(void **state)
{
	struct net *t = net_start(WEB);

	t->inner_full = true;
	tcp_frame(&f, ME, 1000, WEB, 80, SYN, 1, 0, 0);
	assert_false(guest_sends(t, &f, NULL));
	t->inner_full = false;
	t->inner.front.writable(t->inner.front.arg);
	assert_int_equal(t->writable, 1);
	assert_true(guest_sends(t, &f, NULL));
	assert_counts(t, 1, 0);
	t->guest_full = true;
	tcp_frame(&f, ME, 1000, "192.0.2.9", 80, SYN, 1, 0, 0);
	assert_true(guest_sends(t, &f, NULL));
	tcp_frame(&f, WEB, 80, ME, 1000, SYN | ACK, 1, 2, 0);
	assert_false(host_sends_back(t, &f));
	assert_counts(t, 0, 0);
	t->guest_full = false;
	t->policy->ops->resume(t->policy);
	assert_int_equal(t->resumed, 1);
	policy_deliver(t->policy);
	assert_counts(t, 0, 1);
	net_end(t);
}

static void test_log_is_short(void **state)
{
	struct net *t = net_start("");

	for (unsigned i = 0; i < 1000; i++) {
		tcp_frame(&f, ME, 1000, WEB, 80, SYN, 1, 0, 0);
		assert_true(guest_sends(t, &f, NULL));
	}
	assert_int_equal(t->lines, 1);
	for (unsigned i = 1; i <= 1000; i++) {
		tcp_frame(&f, ME, 1000, WEB, (u16)(i + 1000), SYN, 1, 0, 0);
		assert_true(guest_sends(t, &f, NULL));
	}
	assert_int_equal(t->lines, 10);
	fake_now += 2 * SECOND;
	tcp_frame(&f, ME, 1000, WEB, 3000, SYN, 1, 0, 0);
	assert_true(guest_sends(t, &f, NULL));
	assert_int_equal(t->lines, 11);
	assert_logged(t, "refused tcp 93.184.216.34:3000 (and 991 more)");
	net_end(t);
}

static void test_flow_table_is_bounded(void **state)
{
	struct net *t = net_start(WEB);

	for (unsigned i = 0; i < 20000; i++) {
		tcp_frame(&f, ME, (u16)(i + 1), WEB, 80, SYN, 1, 0, 0);
		assert_true(guest_sends(t, &f, NULL));
	}
	assert_in_range(t->out.count, 4096, 4200);
	assert_logged(t, "too many");
	fake_now += 200 * SECOND; /* never answered: forgotten */
	t->out.count = t->in.count = 0;
	tcp_frame(&f, ME, 60000, WEB, 80, SYN, 1, 0, 0);
	assert_true(guest_sends(t, &f, NULL));
	assert_counts(t, 1, 0);
	net_end(t);
}

static void test_flows_end(void **state)
{
	struct net *t = net_start(WEB);

	tcp_frame(&f, ME, 1000, WEB, 80, SYN, 1, 0, 0);
	assert_true(guest_sends(t, &f, NULL));
	tcp_frame(&f, WEB, 80, ME, 1000, SYN | ACK, 1, 2, 0);
	assert_true(host_sends_back(t, &f));
	assert_counts(t, 1, 1);
	fake_now += 86400 * SECOND; /* idle for a day */
	tcp_frame(&f, WEB, 80, ME, 1000, ACK, 2, 2, 10);
	assert_true(host_sends_back(t, &f));
	assert_counts(t, 0, 1);
	tcp_frame(&f, WEB, 80, ME, 1000, FIN | ACK, 12, 2, 0);
	assert_true(host_sends_back(t, &f));
	tcp_frame(&f, ME, 1000, WEB, 80, FIN | ACK, 2, 13, 0);
	assert_true(guest_sends(t, &f, NULL));
	assert_counts(t, 1, 1);
	fake_now += 300 * SECOND;
	tcp_frame(&f, WEB, 80, ME, 1000, ACK, 13, 3, 1);
	assert_true(host_sends_back(t, &f));
	assert_counts(t, 0, 0);
	net_end(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_nothing_is_listed),
		cmocka_unit_test(test_never),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_reset_of_syn),
		cmocka_unit_test(test_reset_of_others),
		cmocka_unit_test(test_prohibited),
		cmocka_unit_test(test_padding_is_cut),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_other_types),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_ethernet_group),
		cmocka_unit_test(test_checksum_is_filled_in),
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_arp),
		cmocka_unit_test(test_services),
		cmocka_unit_test(test_ping),
		cmocka_unit_test(test_return_traffic),
		cmocka_unit_test(test_errors_come_back),
		cmocka_unit_test(test_forwarded_ports),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_log_is_short),
		cmocka_unit_test(test_flow_table_is_bounded),
		cmocka_unit_test(test_flows_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
