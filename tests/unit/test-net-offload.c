/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums and segmentation of frames in software, judged by a checksum routine of the test's own; and malformed frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "machine/net_offload.h"

#define PAYLOAD 5000
#define GSO	1400
#define SEQ	0xfffffff0u /* wraps */

static u8 frame[NET_FRAME_MAX + 64];
static struct net_offload o;

struct shape {
	bool ipv6;
	unsigned tags, ip_options, tcp_options;
};
static const struct shape shapes[] = {
	{ 0 },
	{ .tcp_options = 12 },
	{ .ip_options = 8 },
	{ .tags = 1, .tcp_options = 12 },
	{ .ipv6 = true },
	{ .ipv6 = true, .tags = 2 },
	{ .ipv6 = true, .ip_options = 16 },
};

static void be16(u8 *p, unsigned v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}
static unsigned get16(const u8 *p)
{
	return p[0] << 8 | p[1];
}
static u32 get32(const u8 *p)
{
	return (u32)get16(p) << 16 | get16(p + 2);
}

static u32 words(u32 sum, const u8 *p, unsigned len)
{
	for (unsigned k = 0; k < len; k++)
		sum += k & 1 ? p[k] : p[k] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static unsigned l3_of(const struct shape *s)
{
	return 14 + 4 * s->tags;
}
static unsigned l4_of(const struct shape *s)
{
	return l3_of(s) + (s->ipv6 ? 40 : 20) + s->ip_options;
}
static unsigned headers_of(const struct shape *s)
{
	return l4_of(s) + 20 + s->tcp_options;
}
static u8 pattern(unsigned k)
{
	return (u8)(k * 7 + k / 256);
}

/* A TCP segment of `payload` bytes as a driver hands it over, with FIN, PSH, CWR and ACK set; its length. */
static u32 make(const struct shape *s, unsigned payload, struct virtio_net_hdr *h)
{
	unsigned l3 = l3_of(s), l4 = l4_of(s), end = headers_of(s);

	memset(frame, 0, sizeof(frame));
	for (unsigned t = 0; t < s->tags; t++)
		be16(frame + 12 + 4 * t, t ? 0x8100 : s->tags > 1 ? 0x88a8 : 0x8100);
	be16(frame + l3 - 2, s->ipv6 ? 0x86dd : 0x0800);
	if (s->ipv6) {
		frame[l3] = 0x60;
		frame[l3 + 6] = s->ip_options ? 60 : 6; /* destination options */
		if (s->ip_options) {
			frame[l3 + 40] = 6;
			frame[l3 + 41] = (u8)(s->ip_options / 8 - 1);
		}
		for (unsigned k = 8; k < 40; k++)
			frame[l3 + k] = (u8)(k * 3);
	} else {
		frame[l3] = (u8)(0x45 + s->ip_options / 4);
		be16(frame + l3 + 4, 0xffff); /* the identification wraps */
		frame[l3 + 6] = 0x40;
		frame[l3 + 9] = 6;
		for (unsigned k = 12; k < 20; k++)
			frame[l3 + k] = (u8)(k * 3);
	}
	be16(frame + l4 + 4, SEQ >> 16);
	be16(frame + l4 + 6, SEQ & 0xffff);
	frame[l4 + 12] = (u8)((20 + s->tcp_options) / 4 << 4);
	frame[l4 + 13] = 0x80 | 0x10 | 0x08 | 0x01;
	for (unsigned k = 0; k < payload; k++)
		frame[end + k] = pattern(k);
	*h = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				      .gso_type = s->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
				      .gso_size = GSO,
				      .hdr_len = (u16)end,
				      .csum_start = (u16)l4,
				      .csum_offset = 16 };
	return end + payload;
}

/* The sum over a correct segment and its pseudo-header is ffffh. */
static void check_tcp_sum(const struct shape *s, const u8 *f, unsigned len)
{
	unsigned l3 = l3_of(s), l4 = l4_of(s);
	u32 sum = words(6 + (len - l4), f + (s->ipv6 ? l3 + 8 : l3 + 12), s->ipv6 ? 32 : 8);

	assert_int_equal(words(sum, f + l4, len - l4), 0xffff);
}

static void check_segment(const struct shape *s, const u8 *f, unsigned len, unsigned k, unsigned at)
{
	unsigned l3 = l3_of(s), l4 = l4_of(s), end = headers_of(s), payload = len - end;
	bool last = at + payload == PAYLOAD;

	if (s->ipv6) {
		assert_int_equal(get16(f + l3 + 4), len - l3 - 40);
	} else {
		assert_int_equal(get16(f + l3 + 2), len - l3);
		assert_int_equal(get16(f + l3 + 4), (0xffff + k) & 0xffff);
		assert_int_equal(words(0, f + l3, l4 - l3), 0xffff);
	}
	assert_true(get32(f + l4 + 4) == SEQ + at);
	assert_int_equal(f[l4 + 13], 0x10 | (k ? 0 : 0x80) | (last ? 0x09 : 0));
	assert_true(last ? payload <= GSO : payload == GSO);
	check_tcp_sum(s, f, len);
	for (unsigned b = 0; b < payload; b++)
		assert_int_equal(f[end + b], pattern(at + b));
}

static void segments(void **state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(shapes); n++) {
		const struct shape *s = &shapes[n];
		struct virtio_net_hdr h;
		struct iovec iov;
		unsigned at = 0, k = 0;

		assert_int_equal(net_offload_begin(&o, NET_CSUM, &h, frame, make(s, PAYLOAD, &h)), 0);
		for (; net_offload_piece(&o, &iov); net_offload_next(&o), k++) {
			assert_int_equal(o.hdr.flags | o.hdr.gso_type | o.hdr.gso_size, 0);
			check_segment(s, iov.iov_base, (unsigned)iov.iov_len, k, at);
			at += (unsigned)iov.iov_len - headers_of(s);
		}
		assert_int_equal(at, PAYLOAD);
		assert_int_equal(k, (PAYLOAD + GSO - 1) / GSO);
	}
}

/* gso_size smaller than the headers: each segment's headers are over payload that has been sent already. */
static void tiny_segments(void **state)
{
	const struct shape *s = &shapes[1];
	struct virtio_net_hdr h;
	struct iovec iov;
	u32 len = make(s, 300, &h);
	unsigned at = 0;

	h.gso_size = 1;
	assert_int_equal(net_offload_begin(&o, 0, &h, frame, len), 0);
	for (; net_offload_piece(&o, &iov); net_offload_next(&o), at++) {
		const u8 *f = iov.iov_base;

		assert_int_equal(iov.iov_len, headers_of(s) + 1);
		assert_int_equal(f[headers_of(s)], pattern(at));
		check_tcp_sum(s, f, (unsigned)iov.iov_len);
	}
	assert_int_equal(at, 300);
}

static void passed_on(void **state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(shapes); n++) {
		struct virtio_net_hdr h;
		struct iovec iov;
		u32 len = make(&shapes[n], PAYLOAD, &h);

		h.hdr_len = 1; /* a hint that nobody is to believe */
		h.flags |= VIRTIO_NET_HDR_F_DATA_VALID;
		assert_int_equal(net_offload_begin(&o, NET_CSUM | NET_TSO4 | NET_TSO6, &h, frame, len), 0);
		assert_true(net_offload_piece(&o, &iov));
		assert_int_equal(iov.iov_len, len);
		assert_int_equal(o.hdr.hdr_len, headers_of(&shapes[n]));
		assert_int_equal(o.hdr.gso_size, GSO);
		net_offload_next(&o);
		assert_false(net_offload_piece(&o, &iov));
	}
}

static void checksum_alone(void **state)
{
	for (unsigned payload = 0; payload < 9; payload++) {
		const struct shape *s = &shapes[3];
		struct virtio_net_hdr h;
		struct iovec iov;
		u32 len = make(s, payload, &h);
		unsigned l4 = l4_of(s);

		h.gso_type = h.gso_size = 0;
		be16(frame + l4 + 16, words(6 + (len - l4), frame + l3_of(s) + 12, 8)); /* the seed */
		assert_int_equal(net_offload_begin(&o, 0, &h, frame, len), 0);
		assert_true(net_offload_piece(&o, &iov));
		assert_int_equal(o.hdr.flags, 0);
		check_tcp_sum(s, iov.iov_base, (unsigned)iov.iov_len);
	}
	/* A sum of zero is sent as its other form. */
	u8 zero[20] = { [12] = 0, [14] = 0xff, [15] = 0xff };
	net_complete_checksum(zero, 20, 14, 2);
	assert_int_equal(get16(zero + 16), 0xffff);
}

static void refuse(const struct virtio_net_hdr *h, u32 takes, u32 len)
{
	struct iovec iov;

	assert_int_equal(net_offload_begin(&o, takes, h, frame, len), -22);
	assert_false(net_offload_piece(&o, &iov));
}

static void malformed(void **state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(shapes); n++) {
		const struct shape *s = &shapes[n];
		unsigned l3 = l3_of(s), l4 = l4_of(s);
		struct virtio_net_hdr good, h;
		u32 len = make(s, PAYLOAD, &good);

#define BAD_HEADER(change) (h = good, h.change, refuse(&h, 0, len))
		BAD_HEADER(gso_size = 0);
		BAD_HEADER(flags = 0);
		BAD_HEADER(gso_type = 2);
		BAD_HEADER(gso_type = VIRTIO_NET_HDR_GSO_ECN);
		BAD_HEADER(gso_type = s->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6);
		BAD_HEADER(gso_type = VIRTIO_NET_HDR_GSO_UDP);
		BAD_HEADER(csum_start = (u16)(l4 + 1));
		BAD_HEADER(csum_start = 0xffff);
		BAD_HEADER(csum_start = 0);
		BAD_HEADER(csum_offset = 6);
		BAD_HEADER(csum_offset = 0xffff);
#define BAD_BYTE(at, value) (make(s, PAYLOAD, &good), frame[at] = (value), refuse(&good, 0, len))
		BAD_BYTE(l4 + 12, 0x40); /* TCP header too short */
		BAD_BYTE(l3, s->ipv6 ? 0x45 : 0x44);
		BAD_BYTE(l3 - 1, 6); /* ARP */
		BAD_BYTE(s->ipv6 ? l3 + 6 : l3 + 9, 17);
		if (s->ipv6)
			BAD_BYTE(l3 + 6, 43); /* routing header */
		else
			BAD_BYTE(l3 + 6, 0x20); /* a fragment */
		for (u32 cut = 0; cut < headers_of(s); cut++) {
			make(s, PAYLOAD, &good);
			refuse(&good, 0, cut);
		}
		refuse(&good, 0, NET_FRAME_MAX + 1);
	}
}

/* Anything at all: pieces stay in the frame and come to an end. */
static void random_frames(void **state)
{
	srandom(1);
	for (unsigned n = 0; n < 30000; n++) {
		struct virtio_net_hdr h;
		struct iovec iov;
		u32 len = make(&shapes[(unsigned)random() % ARRAY_SIZE(shapes)], (unsigned)random() % 600, &h),
		    pieces = 0;
		u8 *exact;

		h.gso_size = (u16)(random() % 300);
		for (unsigned k = (unsigned)random() % 4; k; k--)
			frame[(unsigned)random() % 80] = (u8)random();
		for (unsigned k = (unsigned)random() % 3; k; k--)
			((u8 *)&h)[(unsigned)random() % sizeof(h)] = (u8)random();
		len -= (u32)random() % 8 ? 0 : (u32)random() % len;
		exact = malloc(len + 1);
		memcpy(exact, frame, len);
		if (net_offload_begin(&o, (u32)random() & 31, &h, exact, len) == 0)
			for (; net_offload_piece(&o, &iov); net_offload_next(&o), pieces++) {
				assert_true((u8 *)iov.iov_base >= exact);
				assert_true((u8 *)iov.iov_base + iov.iov_len <= exact + len);
				assert_true(pieces < 700);
			}
		free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments),	  cmocka_unit_test(tiny_segments), cmocka_unit_test(passed_on),
		cmocka_unit_test(checksum_alone), cmocka_unit_test(malformed),	   cmocka_unit_test(random_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
