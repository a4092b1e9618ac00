/* SPDX-License-Identifier: Apache-2.0 */
/* The network card: frames in both directions with a back end of the test's, offloads, the control queue, hostile drivers. */
#include "virtio-driver.h"

#include <linux/virtio_net.h>
#include <stdlib.h>

#include "devices/virtio/devices.h"

#define RX	0
#define TX	1
#define CTRL	2
#define HDR	12u
#define FRAMES	64
#define ALL	(dr.d->ops->features)
#define PLAIN	BIT(VIRTIO_NET_F_MAC)
#define OFFLOAD (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6))

struct back {
	struct netdev dev;
	unsigned sent, room, resumed; /* room: how many more frames it takes */
	struct virtio_net_hdr hdr[FRAMES];
	u32 len[FRAMES];
	u8 frame[FRAMES][2048]; /* as much of each as fits */
};

static struct machine *m;
static struct driver dr;
static struct back back;

static bool back_send(struct netdev *n, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	if (!back.room)
		return false;
	back.room--;
	assert_true(back.sent < FRAMES);
	assert_int_equal(iovs, 1);
	back.hdr[back.sent] = *h;
	back.len[back.sent] = (u32)iov->iov_len;
	memcpy(back.frame[back.sent++], iov->iov_base, MIN(iov->iov_len, sizeof(back.frame[0])));
	return true;
}

static void back_resume(struct netdev *n)
{
	back.resumed++;
}

static const struct netdev_ops back_ops = { .name = "test", .send = back_send, .resume = back_resume };

static void start(u64 features, u32 takes)
{
	m = fixture_machine(1);
	back = (struct back){ .dev = { .ops = &back_ops, .takes = takes, .mtu = 1400 }, .room = FRAMES };
	driver_start(&dr, virtio_net_new(m, &back.dev, NULL), features);
}

static int teardown(void **state)
{
	driver_stop(&dr);
	assert_null(back.dev.front.receive);
	machine_free(m);
	return 0;
}

/* ---- helpers ---- */
static void send_raw(const void *data, u32 len)
{
	u64 gpa = driver_alloc(&dr, len + 1);

	memcpy(driver_ptr(&dr, gpa, len + 1), data, len);
	driver_add(&dr, TX, &(struct part){ gpa, len }, 1, NULL, 0);
	driver_kick(&dr, TX);
}

static u8 packet[HDR + NET_FRAME_MAX + 64];

/* A frame of len bytes behind a header. */
static void send_frame(const struct virtio_net_hdr *h, u32 len)
{
	memset(packet, 0, HDR);
	memcpy(packet, h, sizeof(*h));
	send_raw(packet, HDR + len);
}

/* TCP over IPv4 with `payload` bytes in `packet`; the frame's length. */
static u32 make_tcp(unsigned payload)
{
	u8 *f = packet + HDR;

	memset(packet, 0, sizeof(packet));
	f[12] = 8;
	f[14] = 0x45;
	f[23] = 6;
	f[46] = 0x50;
	for (unsigned k = 0; k < payload; k++)
		f[54 + k] = (u8)k;
	return 54 + payload;
}

static const struct virtio_net_hdr tso = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					   .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					   .gso_size = 1000,
					   .csum_start = 34,
					   .csum_offset = 16 };
static const struct virtio_net_hdr none;

static bool receive(const struct virtio_net_hdr *h, const void *frame, u32 len)
{
	const struct iovec iov[2] = { { (void *)frame, MIN(len, 20) },
				      { (u8 *)frame + MIN(len, 20), len - MIN(len, 20) } };

	return back.dev.front.receive(back.dev.front.arg, h, iov, 2);
}

static u64 offer_rx(u32 len)
{
	u64 gpa = driver_alloc(&dr, len);

	driver_add(&dr, RX, NULL, 0, &(struct part){ gpa, len }, 1);
	driver_kick(&dr, RX);
	return gpa;
}

/* Status of a command; 0xcc: none was written. */
static u8 control(u8 class, u8 number, const void *data, u32 len)
{
	u64 head = driver_alloc(&dr, 2), body = driver_alloc(&dr, len + 1), ack = driver_alloc(&dr, 1);
	const struct part out[] = { { head, 2 }, { body, len } }, in = { ack, 1 };

	memcpy(driver_ptr(&dr, head, 2), (u8[]){ class, number }, 2);
	if (len)
		memcpy(driver_ptr(&dr, body, len), data, len);
	driver_add(&dr, CTRL, out, 2, &in, 1);
	driver_kick(&dr, CTRL);
	assert_true(driver_used(&dr, CTRL, NULL) >= 0);
	return *(u8 *)driver_ptr(&dr, ack, 1);
}

/* ---- tests ---- */
static void config(void **state)
{
	struct virtio_net_config c;
	u8 first[6];

	start(PLAIN | BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_STATUS), 0);
	transport_read_config(dr.d, 0, &c, 12);
	assert_int_equal(c.status, VIRTIO_NET_S_LINK_UP);
	assert_int_equal(c.mtu, 1400);
	assert_int_equal(c.mac[0] & 3, 2); /* locally administered, one card */
	memcpy(first, c.mac, 6);
	virtio_net_set_link(dr.d, false);
	assert_int_equal(dr.config_interrupts, 1);
	transport_read_config(dr.d, 0, &c, 12);
	assert_int_equal(c.status, 0);
	teardown(state);
	start(PLAIN, 0);
	transport_read_config(dr.d, 0, &c, 12);
	assert_memory_equal(c.mac, first, 6); /* a deterministic machine's is the same each time */
}

static void sends(void **state)
{
	u32 len;

	start(PLAIN, 0);
	len = make_tcp(10);
	send_frame(&none, len);
	assert_int_equal(back.sent, 1);
	assert_int_equal(back.len[0], len);
	assert_memory_equal(back.frame[0], packet + HDR, len);
	assert_int_equal(driver_used(&dr, TX, NULL), 0);
	assert_int_equal(dr.q[TX].interrupts, 1);
	virtio_net_set_link(dr.d, false);
	send_frame(&none, len);
	assert_int_equal(back.sent, 1);
	assert_int_equal(driver_used(&dr, TX, NULL), 1);
}

static void segments_what_the_back_end_does_not_take(void **state)
{
	start(PLAIN | OFFLOAD, 0);
	send_frame(&tso, make_tcp(2500));
	assert_int_equal(back.sent, 3);
	assert_int_equal(back.len[0], 54 + 1000);
	assert_int_equal(back.len[2], 54 + 500);
	assert_int_equal(back.hdr[0].gso_type | back.hdr[0].flags, 0);
	assert_int_equal(back.frame[2][54], (u8)2000);
	teardown(state);
	start(PLAIN | OFFLOAD, NET_CSUM | NET_TSO4);
	send_frame(&tso, make_tcp(2500));
	assert_int_equal(back.sent, 1);
	assert_int_equal(back.len[0], 54 + 2500);
	assert_int_equal(back.hdr[0].gso_size, 1000);
	assert_int_equal(back.hdr[0].hdr_len, 54);
}

static void goes_on_where_there_was_no_room(void **state)
{
	u32 len;

	start(PLAIN | OFFLOAD, 0);
	back.room = 2;
	send_frame(&tso, make_tcp(2500));
	len = make_tcp(7);
	send_frame(&none, len);
	assert_int_equal(back.sent, 2);
	back.room = 10;
	assert_int_equal(back.sent, 2);
	back.dev.front.writable(back.dev.front.arg);
	fixture_pass(m, 1);
	assert_int_equal(back.sent, 4);
	assert_int_equal(back.len[2], 54 + 500);
	assert_int_equal(back.len[3], len);
	assert_int_equal(driver_used(&dr, TX, NULL), 0);
	assert_int_equal(driver_used(&dr, TX, NULL), 1);
	/* A reset forgets what waits. */
	back.room = 0;
	send_frame(&none, len);
	driver_negotiate(&dr, PLAIN);
	back.room = 10;
	back.dev.front.writable(back.dev.front.arg);
	fixture_pass(m, 1);
	assert_int_equal(back.sent, 4);
}

static void refuses_what_was_not_agreed(void **state)
{
	struct virtio_net_hdr h = tso;

	start(PLAIN, NET_CSUM | NET_TSO4);
	send_frame(&tso, make_tcp(2500));
	h.gso_type = 0;
	send_frame(&h, make_tcp(100));
	assert_int_equal(back.sent, 0);
	assert_int_equal(driver_used(&dr, TX, NULL), 0);
	assert_int_equal(driver_used(&dr, TX, NULL), 1);
}

static void refuses_malformed(void **state)
{
	struct virtio_net_hdr h = tso;

	start(PLAIN | OFFLOAD, NET_CSUM | NET_TSO4);
	h.csum_start = 0xffff;
	send_frame(&h, make_tcp(100));
	h.gso_type = 0;
	send_frame(&h, make_tcp(100));
	h = tso;
	h.gso_size = 0;
	send_frame(&h, make_tcp(100));
	h.gso_type = 0x7f;
	send_frame(&h, make_tcp(100));
	for (u32 len = 0; len < HDR + 14; len++)
		send_raw(packet, len);
	send_frame(&none, NET_FRAME_MAX + 1);
	assert_int_equal(back.sent, 0);
	assert_false(driver_broken(&dr));
	send_frame(&none, make_tcp(1));
	assert_int_equal(back.sent, 1);
}

static void receives(void **state)
{
	const u8 *p;
	u32 len = 0, used;

	start(PLAIN, 0);
	len = make_tcp(100);
	assert_false(receive(&none, packet + HDR, len)); /* no buffer */
	assert_int_equal(back.resumed, 0);
	p = driver_ptr(&dr, offer_rx(2000), 2000);
	assert_int_equal(back.resumed, 1);
	assert_true(receive(&none, packet + HDR, len));
	assert_int_equal(driver_used(&dr, RX, &used), 0);
	assert_int_equal(used, HDR + len);
	assert_memory_equal(p + HDR, packet + HDR, len);
	assert_int_equal(p[10], 1); /* num_buffers */
	offer_rx(80);
	assert_true(receive(&none, packet + HDR, len)); /* does not fit: dropped, the buffer stays */
	assert_int_equal(driver_used(&dr, RX, &used), -1);
	assert_true(receive(&none, packet + HDR, 30));
	assert_int_equal(driver_used(&dr, RX, &used), 1);
	assert_int_equal(back.resumed, 1);
}

static void merges_buffers(void **state)
{
	u64 at[3];
	u32 len, used;

	start(PLAIN | BIT(VIRTIO_NET_F_MRG_RXBUF), 0);
	len = make_tcp(200);
	at[0] = offer_rx(100);
	at[1] = offer_rx(100);
	assert_false(receive(&none, packet + HDR, len));
	assert_int_equal(driver_used(&dr, RX, NULL), -1);
	at[2] = offer_rx(100);
	assert_int_equal(back.resumed, 1);
	assert_true(receive(&none, packet + HDR, len));
	for (int k = 0; k < 3; k++) {
		assert_int_equal(driver_used(&dr, RX, &used), k);
		assert_int_equal(used, k < 2 ? 100 : HDR + len - 200);
	}
	assert_int_equal(((u8 *)driver_ptr(&dr, at[0], 12))[10], 3);
	assert_memory_equal(driver_ptr(&dr, at[0] + HDR, 88), packet + HDR, 88);
	assert_memory_equal(driver_ptr(&dr, at[1], 100), packet + HDR + 88, 100);
	assert_memory_equal(driver_ptr(&dr, at[2], used), packet + HDR + 188, used);
	assert_int_equal(dr.q[RX].interrupts, 1);
	/* A frame that would take more buffers than we use is dropped, and uses none. */
	for (int k = 0; k < 60; k++)
		offer_rx(12);
	for (int k = 0; k < 4; k++)
		driver_offer(&dr, RX, 10);
	assert_true(receive(&none, packet + HDR, 1500));
	assert_int_equal(driver_used(&dr, RX, NULL), -1);
	assert_false(driver_broken(&dr));
}

static void completes_what_the_driver_does_not_take(void **state)
{
	u32 used;

	start(PLAIN, NET_CSUM);
	assert_int_equal(back.dev.front.takes, 0);
	make_tcp(2500);
	for (int k = 0; k < 3; k++)
		offer_rx(1600);
	assert_true(receive(&tso, packet + HDR, 54 + 2500));
	for (int k = 0; k < 3; k++) {
		assert_int_equal(driver_used(&dr, RX, &used), k);
		assert_int_equal(used, HDR + 54 + (k < 2 ? 1000 : 500));
	}
	teardown(state);
	start(PLAIN | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4), NET_CSUM);
	assert_int_equal(back.dev.front.takes, NET_CSUM | NET_TSO4);
	make_tcp(2500);
	const struct virtio_net_hdr *h = driver_ptr(&dr, offer_rx(4000), 12);
	assert_true(receive(&tso, packet + HDR, 54 + 2500));
	assert_int_equal(driver_used(&dr, RX, &used), 0);
	assert_int_equal(used, HDR + 54 + 2500);
	assert_int_equal(h->gso_size, 1000);
}

static void short_buffers_break_it(void **state)
{
	start(PLAIN, 0);
	offer_rx(11);
	assert_true(receive(&none, packet + HDR, make_tcp(1)));
	assert_true(driver_broken(&dr));
	driver_negotiate(&dr, PLAIN);
	offer_rx(500);
	assert_true(receive(&none, packet + HDR, make_tcp(1)));
	assert_int_equal(driver_used(&dr, RX, NULL), 0);
}

/* Whether a frame to this address, with a VLAN tag unless vlan is 0, gets through. */
static bool gets_through(const u8 mac[6], unsigned vlan)
{
	u8 f[64] = { [12] = 8 };

	memcpy(f, mac, 6);
	if (vlan)
		memcpy(f + 12, (u8[]){ 0x81, 0, (u8)(vlan >> 8), (u8)vlan }, 4);
	offer_rx(100);
	assert_true(receive(&none, f, sizeof(f)));
	return driver_used(&dr, RX, NULL) >= 0;
}

static const u8 one = 1, zero;
static const u8 broadcast[6] = { 255, 255, 255, 255, 255, 255 }, group[6] = { 1, 0, 0x5e, 0, 0, 1 },
		other_group[6] = { 1, 0, 0x5e, 0, 0, 2 }, stranger[6] = { 2, 9, 9, 9, 9, 9 },
		mine[6] = { 2, 1, 2, 3, 4, 5 };

static void filters_addresses(void **state)
{
	u8 table[4 + 6 + 4 + 6] = { [0] = 1, [10] = 1 };

	start(0, 0);
	driver_negotiate(&dr, ALL);
	assert_true(gets_through(stranger, 0)); /* promiscuous until told otherwise */
	assert_int_equal(control(0, VIRTIO_NET_CTRL_RX_PROMISC, &zero, 1), VIRTIO_NET_OK);
	assert_false(gets_through(stranger, 0));
	assert_false(gets_through(mine, 0));
	assert_true(gets_through(broadcast, 0));
	assert_false(gets_through(group, 0));
	assert_int_equal(control(1, VIRTIO_NET_CTRL_MAC_ADDR_SET, mine, 6), VIRTIO_NET_OK);
	assert_true(gets_through(mine, 0));
	memcpy(table + 4, stranger, 6);
	memcpy(table + 14, group, 6);
	assert_int_equal(control(1, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table)), VIRTIO_NET_OK);
	assert_true(gets_through(stranger, 0));
	assert_true(gets_through(group, 0));
	assert_false(gets_through(other_group, 0));
	assert_int_equal(control(0, VIRTIO_NET_CTRL_RX_ALLMULTI, &one, 1), VIRTIO_NET_OK);
	assert_true(gets_through(other_group, 0));
	assert_int_equal(control(0, VIRTIO_NET_CTRL_RX_NOMULTI, &one, 1), VIRTIO_NET_OK);
	assert_false(gets_through(group, 0));
	assert_int_equal(control(0, VIRTIO_NET_CTRL_RX_NOBCAST, &one, 1), VIRTIO_NET_OK);
	assert_false(gets_through(broadcast, 0));
	assert_int_equal(control(0, VIRTIO_NET_CTRL_RX_NOUNI, &one, 1), VIRTIO_NET_OK);
	assert_false(gets_through(mine, 0));
	driver_negotiate(&dr, ALL); /* a reset is a new card */
	assert_true(gets_through(group, 0));
}

static void filters_vlans(void **state)
{
	const u16 id = 0x123, bad = 4096;

	start(0, 0);
	driver_negotiate(&dr, ALL);
	assert_int_equal(control(0, VIRTIO_NET_CTRL_RX_PROMISC, &zero, 1), VIRTIO_NET_OK);
	assert_true(gets_through(broadcast, 0));
	assert_false(gets_through(broadcast, 0x123));
	assert_int_equal(control(2, VIRTIO_NET_CTRL_VLAN_ADD, &id, 2), VIRTIO_NET_OK);
	assert_true(gets_through(broadcast, 0x123));
	assert_false(gets_through(broadcast, 0x124));
	assert_int_equal(control(2, VIRTIO_NET_CTRL_VLAN_DEL, &id, 2), VIRTIO_NET_OK);
	assert_false(gets_through(broadcast, 0x123));
	assert_int_equal(control(2, VIRTIO_NET_CTRL_VLAN_ADD, &bad, 2), VIRTIO_NET_ERR);
}

static void many_addresses_let_all_through(void **state)
{
	static u8 table[4 + 65 * 6 + 4] = { [0] = 65 };

	start(0, 0);
	driver_negotiate(&dr, ALL);
	control(0, VIRTIO_NET_CTRL_RX_PROMISC, &zero, 1);
	assert_int_equal(control(1, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table)), VIRTIO_NET_OK);
	assert_true(gets_through(stranger, 0));
	assert_false(gets_through(group, 0));
}

static void bad_commands(void **state)
{
	const u32 huge[2] = { 0xffffffff, 0xffffffff };

	start(0, 0);
	driver_negotiate(&dr, ALL);
	for (unsigned class = 0; class < 9; class ++)
		for (unsigned number = 0; number < 9; number++) {
			assert_int_equal(control((u8) class, (u8)number, NULL, 0),
					 class == VIRTIO_NET_CTRL_ANNOUNCE && !number ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
		}
	assert_int_equal(control(1, VIRTIO_NET_CTRL_MAC_TABLE_SET, huge, 8), VIRTIO_NET_ERR);
	assert_int_equal(control(1, VIRTIO_NET_CTRL_MAC_ADDR_SET, mine, 5), VIRTIO_NET_ERR);
	control(0, VIRTIO_NET_CTRL_RX_PROMISC, &zero, 1);
	assert_false(gets_through(mine, 0));
	driver_add(&dr, CTRL, NULL, 0, NULL, 0);
	/* Nothing was agreed on: everything is an error. */
	driver_negotiate(&dr, 0);
	assert_int_equal(control(0, VIRTIO_NET_CTRL_RX_PROMISC, &zero, 1), VIRTIO_NET_ERR);
	assert_int_equal(control(1, VIRTIO_NET_CTRL_MAC_ADDR_SET, mine, 6), VIRTIO_NET_ERR);
	assert_int_equal(control(2, VIRTIO_NET_CTRL_VLAN_ADD, huge, 2), VIRTIO_NET_ERR);
	assert_int_equal(control(3, 0, NULL, 0), VIRTIO_NET_ERR);
	assert_int_equal(control(5, 0, huge, 8), VIRTIO_NET_ERR);
}

static void offloads_change(void **state)
{
	u64 wanted = BIT(VIRTIO_NET_F_GUEST_CSUM), unknown = BIT(VIRTIO_NET_F_MAC);

	start(0, 0);
	driver_negotiate(&dr, ALL);
	assert_int_equal(back.dev.front.takes, 31);
	assert_int_equal(control(5, 0, &wanted, 8), VIRTIO_NET_OK);
	assert_int_equal(back.dev.front.takes, NET_CSUM);
	assert_int_equal(control(5, 0, &unknown, 8), VIRTIO_NET_ERR);
	assert_int_equal(back.dev.front.takes, NET_CSUM);
}

static void announces(void **state)
{
	struct virtio_net_config c;

	start(0, 0);
	driver_negotiate(&dr, ALL);
	virtio_net_announce(dr.d);
	assert_int_equal(dr.config_interrupts, 1);
	transport_read_config(dr.d, 0, &c, 12);
	assert_int_equal(c.status, VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(control(3, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0), VIRTIO_NET_OK);
	transport_read_config(dr.d, 0, &c, 12);
	assert_int_equal(c.status, VIRTIO_NET_S_LINK_UP);
}

/* Random headers, frames, commands, buffers: nothing but answers, or a broken device. */
static void garbage(void **state)
{
	start(0, 0);
	srandom(7);
	for (unsigned round = 0; round < 300; round++) {
		back.sent = 0;
		back.room = (unsigned)random() % 20;
		driver_negotiate(&dr, (u64)random() & ALL);
		for (unsigned n = 0; n < 20; n++) {
			u8 bytes[200];
			u32 len = (u32)random() % sizeof(bytes);

			for (u32 k = 0; k < len; k++)
				bytes[k] = (u8)(random() % 6 ? random() % 8 : random());
			switch (random() % 4) {
			case 0: send_raw(bytes, len); break;
			case 1: send_frame((struct virtio_net_hdr *)bytes, make_tcp(len)); break;
			case 2: offer_rx(1 + len); break;
			default:
				receive((struct virtio_net_hdr *)bytes, packet, (u32)random() % 500);
				if (!driver_broken(&dr))
					control(bytes[0], bytes[1], bytes + 2, len % 100);
			}
			back.dev.front.writable(back.dev.front.arg);
			fixture_pass(m, 1);
			back.sent = 0;
		}
	}
}

#define TEST(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(config),
		TEST(sends),
		TEST(segments_what_the_back_end_does_not_take),
		TEST(goes_on_where_there_was_no_room),
		TEST(refuses_what_was_not_agreed),
		TEST(refuses_malformed),
		TEST(receives),
		TEST(merges_buffers),
		TEST(completes_what_the_driver_does_not_take),
		TEST(short_buffers_break_it),
		TEST(filters_addresses),
		TEST(filters_vlans),
		TEST(many_addresses_let_all_through),
		TEST(bad_commands),
		TEST(offloads_change),
		TEST(announces),
		TEST(garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
