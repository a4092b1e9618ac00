/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PV guest's network card, by a front end that plays netfront and a back end of the test's: frames in both directions in any number of
 * slots, offloads, a lack of room on either side, and slots, rings and grants that make no sense.
 */
#include "xen-front.h"

#include "machine/netdev.h"
#include "platform/xen/ring.h"
#include "platform/xen/vif.h"

#include <xen/io/netif.h>

#define DEV    "vif/0"
#define TX     50u /* frames */
#define RX     51u
#define DATA   100u
#define REF(i) (8u + (i)) /* grants DATA + i: sent from 0 to 99, received into from 100 on */
#define FRAMES 256

static struct back {
	struct netdev dev;
	unsigned sent, room, resumed; /* room: how many more frames it takes */
	struct virtio_net_hdr hdr[FRAMES];
	u32 len[FRAMES];
	u8 frame[FRAMES][2048]; /* as much of each as fits */
} back;
static struct vif *vif;
static struct netif_tx_front_ring tx;
static struct netif_rx_front_ring rx;
static u32 tx_port, rx_port;
static u8 packet[NET_FRAME_MAX + 64];

static bool back_send(struct netdev *n, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	if (!back.room)
		return false;
	back.room--;
	assert_true(back.sent < FRAMES);
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

/* ---- connecting ---- */

static void open_card(u32 takes)
{
	struct error err = { 0 };

	guest_start(1);
	front_start();
	memset(&back, 0, sizeof(back));
	back.dev = (struct netdev){ .ops = &back_ops, .takes = takes, .mtu = 1400, .mac = { 2, 0, 0, 0, 0, 1 } };
	back.room = FRAMES;
	for (unsigned i = 0; i < 300; i++)
		front_grant(REF(i), DATA + i, i < 100);
	vif = vif_create(d, 0, &back.dev, &err);
	if (!vif)
		fail_msg("%s", err.text);
}

static void connect(bool offloads, bool split)
{
	SHARED_RING_INIT((struct netif_tx_sring *)frame(TX));
	FRONT_RING_INIT(&tx, (struct netif_tx_sring *)frame(TX), PAGE_SIZE);
	SHARED_RING_INIT((struct netif_rx_sring *)frame(RX));
	FRONT_RING_INIT(&rx, (struct netif_rx_sring *)frame(RX), PAGE_SIZE);
	tx_port = rx_port = front_port();
	front_grant(6, TX, false);
	front_grant(7, RX, false);
	front_write_number(DEV, "tx-ring-ref", 6);
	front_write_number(DEV, "rx-ring-ref", 7);
	if (split) {
		rx_port = front_port();
		front_write_number(DEV, "event-channel-tx", tx_port);
		front_write_number(DEV, "event-channel-rx", rx_port);
	} else {
		front_write_number(DEV, "event-channel", tx_port);
	}
	front_write(DEV, "request-rx-copy", "1");
	front_write(DEV, "feature-rx-notify", "1");
	if (offloads) {
		front_write(DEV, "feature-sg", "1");
		front_write(DEV, "feature-gso-tcpv4", "1");
		front_write(DEV, "feature-gso-tcpv6", "1");
		front_write(DEV, "feature-ipv6-csum-offload", "1");
	}
	front_state(DEV, XenbusStateConnected);
	assert_int_equal(back_state(DEV), XenbusStateConnected);
}

static int setup(void **state)
{
	open_card(0);
	connect(true, true);
	return 0;
}

static int teardown(void **state)
{
	vif_destroy(vif);
	assert_null(back.dev.front.receive);
	front_stop();
	return 0;
}

/* ---- sending ---- */

static void put_tx(u32 ref, u16 offset, u16 size, u16 flags, u16 id)
{
	*RING_GET_REQUEST(&tx, tx.req_prod_pvt) = (struct netif_tx_request){ ref, offset, flags, id, size };
	tx.req_prod_pvt++;
}

static void put_gso(u8 type, u16 size, u8 flags)
{
	struct netif_extra_info x = { .type = XEN_NETIF_EXTRA_TYPE_GSO, .flags = flags };

	x.u.gso.size = size;
	x.u.gso.type = type;
	memcpy(RING_GET_REQUEST(&tx, tx.req_prod_pvt++), &x, sizeof(x));
}

static void push_tx(void)
{
	int notify;

	RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&tx, notify);
	if (notify)
		guest_send(tx_port);
}

/* The next response's status; 99: none has come. */
static int tx_status(u16 id)
{
	struct netif_tx_response r;

	if (!RING_HAS_UNCONSUMED_RESPONSES(&tx))
		return 99;
	RING_COPY_RESPONSE(&tx, tx.rsp_cons, &r);
	tx.rsp_cons++;
	if (r.status != NETIF_RSP_NULL)
		assert_int_equal(r.id, id);
	return r.status;
}

/* packet[0..len) in pages; how many. */
static u16 store_packet(u32 len)
{
	u16 pages = 0;

	for (u32 at = 0; at < len; at += PAGE_SIZE)
		memcpy(frame(DATA + pages++), packet + at, MIN(len - at, PAGE_SIZE));
	return pages;
}

static void send_packet(u32 len, u16 flags, u16 gso)
{
	u16 pages = store_packet(len);

	for (u16 i = 0; i < pages; i++) {
		put_tx(REF(i), 0, (u16)(i ? MIN(len - i * PAGE_SIZE, PAGE_SIZE) : len),
		       (u16)((i ? 0 : flags | (gso ? NETTXF_extra_info : 0)) | (i + 1 < pages ? NETTXF_more_data : 0)),
		       i);
		if (!i && gso)
			put_gso(XEN_NETIF_GSO_TYPE_TCPV4, gso, 0);
	}
	push_tx();
}

/* TCP over IPv4 with `payload` bytes; the frame's length. */
static u32 make_tcp(unsigned payload)
{
	memset(packet, 0, sizeof(packet));
	packet[12] = 8;
	packet[14] = 0x45;
	packet[23] = 6;
	packet[46] = 0x50;
	for (unsigned k = 0; k < payload; k++)
		packet[54 + k] = (u8)k;
	return 54 + payload;
}

static void handshake(void **state)
{
	open_card(0);
	assert_int_equal(back_state(DEV), XenbusStateInitWait);
	assert_string_equal(back_read(DEV, "feature-rx-copy"), "1");
	assert_string_equal(client_ask(XS_READ, "device/" DEV "/mac"), "02:00:00:00:00:01");
	for (unsigned i = 0; i < 3; i++) {
		connect(i, false);
		assert_int_equal(back.dev.front.takes & NET_TSO4, i ? NET_TSO4 : 0);
		front_state(DEV, XenbusStateClosing);
		front_state(DEV, XenbusStateClosed);
		assert_int_equal(back_state(DEV), XenbusStateClosed);
		front_check_idle();
		assert_true(back.dev.front.receive(back.dev.front.arg, &(struct virtio_net_hdr){ 0 },
						   &(struct iovec){ packet, 60 }, 1)); /* and drops it */
		front_state(DEV, XenbusStateInitialising);
	}
}

static void bad_handshakes(void **state)
{
	open_card(0);
	front_grant(6, TX, false);
	front_grant(7, RX, true);
	front_state(DEV, XenbusStateConnected);
	assert_int_equal(back_state(DEV), XenbusStateClosing); /* nothing is there */
	front_write(DEV, "request-rx-copy", "1");
	front_write(DEV, "tx-ring-ref", "6");
	front_write(DEV, "rx-ring-ref", "6");
	front_write(DEV, "event-channel", "1");
	front_state(DEV, XenbusStateInitialising);
	front_state(DEV, XenbusStateConnected);
	assert_int_equal(back_state(DEV), XenbusStateClosing); /* two rings in a page */
	front_write(DEV, "rx-ring-ref", "7");
	front_state(DEV, XenbusStateInitialising);
	front_state(DEV, XenbusStateConnected);
	assert_int_equal(back_state(DEV), XenbusStateClosing); /* a page that is to be read only */
	front_grant(7, RX, false);
	front_state(DEV, XenbusStateInitialising);
	front_state(DEV, XenbusStateConnected);
	assert_int_equal(back_state(DEV), XenbusStateClosing); /* the store's port */
	front_check_idle();
	front_state(DEV, XenbusStateInitialising);
	connect(true, false);
}

static void sends(void **state)
{
	u32 len = make_tcp(9000);

	send_packet(60, 0, 0);
	assert_int_equal(back.sent, 1);
	assert_int_equal(back.len[0], 60);
	assert_memory_equal(back.frame[0], packet, 60);
	assert_int_equal(tx_status(0), NETIF_RSP_OKAY);
	assert_true(guest_raised(tx_port));
	send_packet(len, 0, 0); /* three slots */
	assert_int_equal(back.len[1], len);
	assert_memory_equal(back.frame[1], packet, 2048);
	for (u16 i = 0; i < 3; i++)
		assert_int_equal(tx_status(i), NETIF_RSP_OKAY);
	assert_int_equal(tx_status(0), 99);
	/* From the middle of a page. */
	memcpy((u8 *)frame(DATA + 5) + 100, packet, 80);
	put_tx(REF(5), 100, 80, 0, 9);
	push_tx();
	assert_memory_equal(back.frame[2], packet, 80);
	assert_int_equal(tx_status(9), NETIF_RSP_OKAY);
}

static void offloads(void **state)
{
	u32 len = make_tcp(3500);

	/* The back end takes none: it is done here. */
	send_packet(60, NETTXF_csum_blank | NETTXF_data_validated, 0);
	assert_int_equal(back.hdr[0].flags, 0);
	assert_true(back.frame[0][50] || back.frame[0][51]); /* a checksum */
	make_tcp(3500);
	send_packet(len, NETTXF_csum_blank | NETTXF_data_validated, 1000);
	assert_int_equal(back.sent, 5);
	for (unsigned i = 1; i < 5; i++) {
		assert_int_equal(back.len[i], i < 4 ? 1054 : 554);
		assert_int_equal(back.frame[i][54 + 7], (u8)((i - 1) * 1000 + 7));
		assert_int_equal(back.hdr[i].gso_type, 0);
	}
	assert_int_equal(tx_status(0), NETIF_RSP_OKAY);
	assert_int_equal(tx_status(0), NETIF_RSP_OKAY);
	assert_int_equal(tx_status(0), NETIF_RSP_NULL); /* the extra slot's */
	assert_int_equal(tx_status(0), 99);
}

static void offloads_pass_through(void **state)
{
	u32 len;

	open_card(NET_CSUM | NET_TSO4);
	connect(true, true);
	len = make_tcp(20000);
	send_packet(len, NETTXF_csum_blank, 1448);
	assert_int_equal(back.sent, 1);
	assert_int_equal(back.len[0], len);
	assert_int_equal(back.hdr[0].gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(back.hdr[0].gso_size, 1448);
	assert_int_equal(back.hdr[0].csum_start, 34);
	assert_int_equal(back.hdr[0].csum_offset, 16);
	assert_int_equal(back.hdr[0].hdr_len, 54);
}

static void waits_for_room(void **state)
{
	make_tcp(100);
	back.room = 1;
	for (unsigned i = 0; i < 3; i++)
		send_packet(100, 0, 0);
	assert_int_equal(back.sent, 1);
	back.room = 10;
	back.dev.front.writable(back.dev.front.arg);
	guest_settle();
	assert_int_equal(back.sent, 3);
	/* A ring of more than one turn. */
	for (unsigned round = 0; round < 3; round++) {
		while (tx_status(0) != 99)
			;
		back.sent = 0;
		back.room = FRAMES;
		for (unsigned i = 0; i < 256; i++)
			put_tx(REF(0), 0, 60, 0, 0);
		push_tx();
		assert_int_equal(back.sent, 256);
	}
}

static void bad_frames(void **state)
{
	static const struct {
		u32 ref;
		u16 offset, size;
	} bad[] = { { REF(0), 0, 13 }, { REF(0), 4000, 97 }, { REF(0), 0xffff, 60 }, { REF(0), 0, 5000 },
		    { 511, 0, 60 },    { ~0u, 0, 60 },	     { REF(0), 0, 0 },	     { 4000000, 0, 60 } };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		put_tx(bad[i].ref, bad[i].offset, bad[i].size, 0, 3);
		push_tx();
		assert_int_equal(tx_status(3), NETIF_RSP_ERROR);
	}
	/* Slots that sum up to more than the frame. */
	put_tx(REF(0), 0, 100, NETTXF_more_data, 1);
	put_tx(REF(1), 0, 100, 0, 2);
	push_tx();
	assert_int_equal(tx_status(1), NETIF_RSP_ERROR);
	assert_int_equal(tx_status(2), NETIF_RSP_ERROR);
	/* A checksum where there is none to be, segments of what is no TCP. */
	memset(frame(DATA), 0, 200);
	put_tx(REF(0), 0, 100, NETTXF_csum_blank, 3);
	push_tx();
	assert_int_equal(tx_status(3), NETIF_RSP_ERROR);
	make_tcp(100);
	store_packet(154);
	for (unsigned type = 0; type < 5; type++) {
		put_tx(REF(0), 0, 154, NETTXF_csum_blank | NETTXF_extra_info, 3);
		put_gso((u8)type, type == 1 ? 0 : 50, 0);
		push_tx();
		assert_int_equal(tx_status(3), NETIF_RSP_ERROR);
		assert_int_equal(tx_status(3), NETIF_RSP_NULL);
	}
	assert_int_equal(back.sent, 0);
	send_packet(60, 0, 0);
	assert_int_equal(back.sent, 1);
}

/* After what no driver does the ring is not listened to any more, and nothing is lost but it. */
static void bad_slots(void **state)
{
	for (unsigned trick = 0; trick < 5; trick++) {
		switch (trick) {
		case 0: /* no end */ put_tx(REF(0), 0, 60, NETTXF_more_data, 0); break;
		case 1: /* too many */
			for (unsigned i = 0; i < 40; i++)
				put_tx(REF(0), 0, 60, NETTXF_more_data, 0);
			break;
		case 2: /* extras without end */
			put_tx(REF(0), 0, 60, NETTXF_extra_info, 0);
			for (unsigned i = 0; i < 200; i++)
				put_gso(XEN_NETIF_GSO_TYPE_TCPV4, 5, XEN_NETIF_EXTRA_FLAG_MORE);
			break;
		case 3: /* behind the second slot */
			put_tx(REF(0), 0, 600, NETTXF_more_data, 0);
			put_tx(REF(1), 0, 60, NETTXF_extra_info, 0);
			put_gso(XEN_NETIF_GSO_TYPE_TCPV4, 5, 0);
			break;
		case 4: tx.req_prod_pvt += 1000; break;
		}
		push_tx();
		guest_send(tx_port);
		assert_int_equal(back.sent, 0);
		send_packet(60, 0, 0);
		guest_send(tx_port);
		assert_int_equal(back.sent, 0);
		front_state(DEV, XenbusStateClosed);
		assert_int_equal(back_state(DEV), XenbusStateClosed);
		front_check_idle();
		front_state(DEV, XenbusStateInitialising);
		connect(true, true);
	}
}

/* ---- receiving ---- */

static void offer(unsigned n)
{
	int notify;

	for (unsigned i = 0; i < n; i++) {
		u32 slot = rx.req_prod_pvt % 128;

		*RING_GET_REQUEST(&rx, rx.req_prod_pvt) = (struct netif_rx_request){ (u16)slot, 0, REF(100 + slot) };
		rx.req_prod_pvt++;
	}
	RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&rx, notify);
	if (notify)
		guest_send(rx_port);
}

static bool receive(const struct virtio_net_hdr *h, u32 len)
{
	const struct iovec iov[2] = { { packet, MIN(len, 20) }, { packet + MIN(len, 20), len - MIN(len, 20) } };

	return back.dev.front.receive(back.dev.front.arg, h, iov, 2);
}

static struct netif_rx_response next_rx(void)
{
	struct netif_rx_response r;

	assert_true(RING_HAS_UNCONSUMED_RESPONSES(&rx));
	RING_COPY_RESPONSE(&rx, rx.rsp_cons, &r);
	rx.rsp_cons++;
	return r;
}

static void receives(void **state)
{
	const struct virtio_net_hdr none = { 0 };
	struct netif_rx_response r;

	make_tcp(9000);
	offer(8);
	assert_true(receive(&none, 60));
	assert_true(guest_raised(rx_port));
	r = next_rx();
	assert_int_equal(r.status, 60);
	assert_int_equal(r.flags, 0);
	assert_int_equal(r.offset, 0);
	assert_memory_equal(frame(DATA + 100 + r.id), packet, 60);
	assert_true(receive(&none, 9054));
	for (unsigned i = 0; i < 3; i++) {
		r = next_rx();
		assert_int_equal(r.flags, i < 2 ? NETRXF_more_data : 0);
		assert_int_equal(r.status, i < 2 ? 4096 : 9054 - 8192);
		assert_memory_equal(frame(DATA + 100 + r.id), packet + i * PAGE_SIZE, (size_t)r.status);
	}
	/* Too few: it waits until there are. */
	assert_true(receive(&none, 9054));
	assert_false(receive(&none, 9054));
	assert_int_equal(back.resumed, 0);
	offer(2);
	assert_int_equal(back.resumed, 1);
	assert_true(receive(&none, 9054));
	assert_false(receive(&none, 60));
}

static void receives_offloads(void **state)
{
	const struct virtio_net_hdr gso = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					    .gso_size = 1000,
					    .csum_start = 34,
					    .csum_offset = 16 };
	struct netif_extra_info x;
	struct netif_rx_response r;

	make_tcp(5000);
	offer(20);
	assert_true(receive(&gso, 5054));
	r = next_rx();
	assert_int_equal(r.flags, NETRXF_csum_blank | NETRXF_data_validated | NETRXF_extra_info | NETRXF_more_data);
	memcpy(&x, RING_GET_RESPONSE(&rx, rx.rsp_cons++), sizeof(x));
	assert_int_equal(x.type, XEN_NETIF_EXTRA_TYPE_GSO);
	assert_int_equal(x.flags, 0);
	assert_int_equal(x.u.gso.size, 1000);
	assert_int_equal(x.u.gso.type, XEN_NETIF_GSO_TYPE_TCPV4);
	r = next_rx();
	assert_int_equal(r.status, 5054 - 4096);
	assert_int_equal(r.flags, 0);
}

/* A driver that takes nothing gets plain frames. */
static void receives_without_offloads(void **state)
{
	const struct virtio_net_hdr gso = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					    .gso_size = 1000,
					    .csum_start = 34,
					    .csum_offset = 16 };
	struct netif_rx_response r;

	open_card(0);
	connect(false, false);
	make_tcp(2500);
	offer(20);
	assert_true(receive(&gso, 2554));
	for (unsigned i = 0; i < 3; i++) {
		r = next_rx();
		assert_int_equal(r.status, i < 2 ? 1054 : 554);
		assert_int_equal(r.flags, 0);
	}
	assert_true(receive(&(struct virtio_net_hdr){ 0 }, 5000)); /* more than a page: dropped */
	assert_false(RING_HAS_UNCONSUMED_RESPONSES(&rx));
}

static void bad_pages(void **state)
{
	const struct virtio_net_hdr none = { 0 };
	struct netif_rx_response r;

	front_grant(REF(100), DATA + 100, true); /* read-only */
	frame_table[DATA + 101] = true;
	front_table()[REF(102)].flags = 0;
	offer(4);
	make_tcp(100);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(receive(&none, 60));
		r = next_rx();
		assert_int_equal(r.id, i);
		assert_int_equal(r.status, i < 3 ? NETIF_RSP_ERROR : 60);
	}
	rx.sring->req_prod += 5000;
	assert_true(receive(&none, 60)); /* it is gone, with the ring */
	assert_true(receive(&none, 60));
	assert_false(RING_HAS_UNCONSUMED_RESPONSES(&rx));
}

static void rings_that_change(void **state)
{
	const struct virtio_net_hdr none = { 0 };

	make_tcp(100);
	store_packet(154);
	for (unsigned i = 0; i < 600; i++) {
		memset(&tx.sring->ring[i % 256], (int)(i * 7), sizeof(tx.sring->ring[0]));
		memset(&rx.sring->ring[i % 256], (int)(i * 5), sizeof(rx.sring->ring[0]));
		tx.sring->rsp_prod = rx.sring->rsp_event = i * 99;
		tx.sring->req_prod += i % 3;
		rx.sring->req_prod += i % 4;
		guest_send(tx_port);
		receive(&none, 60 + i * 20);
		back.sent = 0;
		back.room = FRAMES;
		if (i % 100 == 99) {
			front_state(DEV, XenbusStateClosed);
			front_state(DEV, XenbusStateInitialising);
			connect(true, true);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(handshake, teardown),
		cmocka_unit_test_teardown(bad_handshakes, teardown),
		cmocka_unit_test_setup_teardown(sends, setup, teardown),
		cmocka_unit_test_setup_teardown(offloads, setup, teardown),
		cmocka_unit_test_teardown(offloads_pass_through, teardown),
		cmocka_unit_test_setup_teardown(waits_for_room, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_slots, setup, teardown),
		cmocka_unit_test_setup_teardown(receives, setup, teardown),
		cmocka_unit_test_setup_teardown(receives_offloads, setup, teardown),
		cmocka_unit_test_teardown(receives_without_offloads, teardown),
		cmocka_unit_test_setup_teardown(bad_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(rings_that_change, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
