/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device together with the host's end of it: connections both ways, credit, closing, limits, hostile drivers. */
#include "virtio-driver.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/virtio/devices.h"
#include "host/vsock.h"

#define RX	   0
#define TX	   1
#define CID	   42
#define HDR	   sizeof(struct virtio_vsock_hdr)
#define RX_LEN	   4096
#define GUEST_PORT 1000
#define HOST_PORT  5000
#define SLOTS	   512 /* connections at a time */
#define PATIENCE   30000 /* ms, on a machine that has a lot to do */

static struct machine *m;
static struct vsockdev *host;
static struct driver dr;
static pthread_t io;
static char path[64], listen_path[80];
static u64 tx_buf, rx_buf[DRIVER_QUEUE];
static unsigned rx_offered;

static void *io_thread(void *arg)
{
	loop_run(m->loop);
	return NULL;
}

static int setup(void **state)
{
	struct error err = { 0 };

	snprintf(path, sizeof(path), "/tmp/sextant-test-vsock-%d", getpid());
	snprintf(listen_path, sizeof(listen_path), "%s_%d", path, HOST_PORT);
	unlink(listen_path);
	m = fixture_machine(1);
	host = vsock_host_new(m, CID, path, &err);
	if (!host)
		fail_msg("%s", err.text);
	driver_start(&dr, virtio_vsock_new(m, host, NULL), 0);
	tx_buf = driver_alloc(&dr, 70000);
	for (unsigned k = 0; k < DRIVER_QUEUE; k++)
		rx_buf[k] = driver_alloc(&dr, RX_LEN);
	rx_offered = 0;
	assert_int_equal(pthread_create(&io, NULL, io_thread, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	loop_quit(m->loop);
	pthread_join(io, NULL);
	driver_stop(&dr);
	vsockdev_destroy(host);
	assert_int_not_equal(access(path, F_OK), 0);
	unlink(listen_path);
	machine_free(m);
	return 0;
}

/* ---- the guest's side ---- */
static const struct virtio_vsock_hdr blank = { .src_cid = CID,
					       .dst_cid = 2,
					       .src_port = GUEST_PORT,
					       .dst_port = HOST_PORT,
					       .type = VIRTIO_VSOCK_TYPE_STREAM,
					       .buf_alloc = 65536 };

/* Whether the device took it. */
static bool send_packet(const struct virtio_vsock_hdr *h, const void *data, u32 len)
{
	memcpy(driver_ptr(&dr, tx_buf, HDR), h, HDR);
	if (len)
		memcpy(driver_ptr(&dr, tx_buf + HDR, len), data, len);
	driver_add(&dr, TX, &(struct part){ tx_buf, (u32)HDR + len }, 1, NULL, 0);
	driver_kick(&dr, TX);
	return driver_used(&dr, TX, NULL) >= 0;
}

static void say(u16 op, const void *data, u32 len)
{
	struct virtio_vsock_hdr h = blank;

	h.op = op;
	h.len = len;
	assert_true(send_packet(&h, data, len));
}

static void offer(void)
{
	driver_add(&dr, RX, NULL, 0, &(struct part){ rx_buf[rx_offered++ % DRIVER_QUEUE], RX_LEN }, 1);
	driver_kick(&dr, RX);
}

/* The next packet to the guest, waiting for it; its payload behind it. */
static const struct virtio_vsock_hdr *hear(void)
{
	const struct virtio_vsock_hdr *h = driver_ptr(&dr, rx_buf[rx_offered % DRIVER_QUEUE], RX_LEN);
	u32 len;

	offer();
	for (unsigned ms = 0; driver_used(&dr, RX, &len) < 0; ms++) {
		if (ms == PATIENCE)
			fail_msg("no packet came");
		usleep(1000);
	}
	assert_int_equal(len, HDR + h->len);
	assert_true(h->src_cid == 2 && h->dst_cid == CID);
	return h;
}

static const struct virtio_vsock_hdr *hear_op(u16 op)
{
	const struct virtio_vsock_hdr *h = hear();

	assert_int_equal(h->op, op);
	return h;
}

/* ---- the host's side ---- */
static int connect_to(const char *where)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", where);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static int listen_at(const char *where)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", where);
	unlink(where);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 100), 0);
	return fd;
}

static void expect_bytes(int fd, const char *text)
{
	char got[64] = "";
	size_t len = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (len < strlen(text)) {
		assert_int_equal(poll(&p, 1, PATIENCE), 1);
		ssize_t n = read(fd, got + len, strlen(text) - len);
		assert_true(n > 0);
		len += (size_t)n;
	}
	assert_string_equal(got, text);
}

static void expect_end(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	assert_int_equal(poll(&p, 1, PATIENCE), 1);
	assert_true(read(fd, &c, 1) <= 0);
}

/* A connection that the guest made; the host's end of it. */
static int from_guest(void)
{
	int listener = listen_at(listen_path), fd;

	say(VIRTIO_VSOCK_OP_REQUEST, NULL, 0);
	hear_op(VIRTIO_VSOCK_OP_RESPONSE);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	close(listener);
	return fd;
}

static bool holds(const struct virtio_vsock_hdr *h, const char *text)
{
	return h->op == VIRTIO_VSOCK_OP_RW && h->len == strlen(text) && !memcmp(h + 1, text, h->len);
}

/* ---- tests ---- */
static void config(void **state)
{
	u64 cid;

	transport_read_config(dr.d, 0, &cid, 8);
	assert_int_equal(cid, CID);
}

static void guest_connects(void **state)
{
	int fd = from_guest();

	say(VIRTIO_VSOCK_OP_RW, "hello", 5);
	expect_bytes(fd, "hello");
	assert_int_equal(write(fd, "world", 5), 5);
	assert_true(holds(hear(), "world"));
	close(fd);
	const struct virtio_vsock_hdr *h = hear_op(VIRTIO_VSOCK_OP_SHUTDOWN);
	if (h->flags != 3)
		h = hear_op(VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(h->flags, 3);
	say(VIRTIO_VSOCK_OP_RST, NULL, 0);
	say(VIRTIO_VSOCK_OP_RW, "x", 1); /* to nobody */
	hear_op(VIRTIO_VSOCK_OP_RST);
}

static void nobody_listens(void **state)
{
	say(VIRTIO_VSOCK_OP_REQUEST, NULL, 0);
	const struct virtio_vsock_hdr *h = hear_op(VIRTIO_VSOCK_OP_RST);
	assert_int_equal(h->src_port, HOST_PORT);
	assert_int_equal(h->dst_port, GUEST_PORT);
}

static void host_connects(void **state)
{
	int fd = connect_to(path);
	struct virtio_vsock_hdr h = blank;
	char ok[32];

	assert_int_equal(write(fd, "CONN", 4), 4);
	usleep(20000);
	assert_int_equal(write(fd, "ECT 1000\nearly", 14), 14);
	h.dst_port = hear_op(VIRTIO_VSOCK_OP_REQUEST)->src_port;
	h.op = VIRTIO_VSOCK_OP_RESPONSE;
	assert_true(send_packet(&h, NULL, 0));
	snprintf(ok, sizeof(ok), "OK %u\n", h.dst_port);
	expect_bytes(fd, ok);
	assert_true(holds(hear(), "early"));
	h.op = VIRTIO_VSOCK_OP_RW;
	h.len = 3;
	assert_true(send_packet(&h, "abc", 3));
	expect_bytes(fd, "abc");
	h.op = VIRTIO_VSOCK_OP_SHUTDOWN; /* the guest sends no more, but still reads */
	h.len = 0;
	h.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
	assert_true(send_packet(&h, NULL, 0));
	expect_end(fd);
	assert_int_equal(write(fd, "last", 4), 4);
	assert_true(holds(hear(), "last"));
	h.flags = 3;
	assert_true(send_packet(&h, NULL, 0));
	hear_op(VIRTIO_VSOCK_OP_RST);
	close(fd);
}

static void guest_refuses(void **state)
{
	int fd = connect_to(path);
	struct virtio_vsock_hdr h = blank;

	assert_int_equal(write(fd, "CONNECT 7\n", 10), 10);
	const struct virtio_vsock_hdr *got = hear_op(VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(got->dst_port, 7);
	h.src_port = 7;
	h.dst_port = got->src_port;
	h.op = VIRTIO_VSOCK_OP_RST;
	assert_true(send_packet(&h, NULL, 0));
	expect_end(fd);
	close(fd);
}

static void bad_greetings(void **state)
{
	static const char *const bad[] = { "\n",
					   "CONNECT\n",
					   "CONNECT \n",
					   "CONNECT x\n",
					   "CONNECT 1 \n",
					   "CONNECT -1\n",
					   "CONNECT 4294967296\n",
					   "GET / HTTP/1.0\r\n",
					   "connect 1\n",
					   "CONNECT 00000000000000000000000000000001\n" };

	for (unsigned k = 0; k < ARRAY_SIZE(bad); k++) {
		int fd = connect_to(path);

		assert_int_equal(write(fd, bad[k], strlen(bad[k])), (ssize_t)strlen(bad[k]));
		expect_end(fd);
		close(fd);
	}
}

/* A program that reads nothing: its connection fills up to the credit and no further, others go on. */
static void slow_reader(void **state)
{
	static u8 block[4096];
	int slow = from_guest(), fd;
	struct virtio_vsock_hdr h = blank;
	u32 alloc = 0, sent = 0, fwd = 0, got = 0;
	struct pollfd p = { .fd = slow, .events = POLLIN };

	say(VIRTIO_VSOCK_OP_CREDIT_REQUEST, NULL, 0);
	const struct virtio_vsock_hdr *credit = hear_op(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	alloc = credit->buf_alloc;
	assert_true(alloc >= 65536);
	for (;;) { /* until there is no credit left */
		if (alloc - (sent - fwd) < sizeof(block)) {
			say(VIRTIO_VSOCK_OP_CREDIT_REQUEST, NULL, 0);
			u32 before = fwd;
			fwd = hear_op(VIRTIO_VSOCK_OP_CREDIT_UPDATE)->fwd_cnt;
			if (fwd == before)
				break;
			continue;
		}
		memset(block, (int)(sent / sizeof(block)), sizeof(block));
		say(VIRTIO_VSOCK_OP_RW, block, sizeof(block));
		sent += sizeof(block);
	}
	assert_true(sent - fwd > alloc - sizeof(block) && sent > alloc);
	/* Meanwhile: */
	int listener = listen_at(listen_path);
	h.src_port = 77;
	h.op = VIRTIO_VSOCK_OP_REQUEST;
	assert_true(send_packet(&h, NULL, 0));
	hear_op(VIRTIO_VSOCK_OP_RESPONSE);
	fd = accept(listener, NULL, NULL);
	h.op = VIRTIO_VSOCK_OP_RW;
	h.len = 2;
	assert_true(send_packet(&h, "hi", 2));
	expect_bytes(fd, "hi");
	close(listener);
	close(fd);
	hear_op(VIRTIO_VSOCK_OP_SHUTDOWN);
	/* Then it reads, and gets everything in order. */
	while (got < sent) {
		static u8 in[4096];

		assert_int_equal(poll(&p, 1, PATIENCE), 1);
		ssize_t n = read(slow, in, sizeof(in));
		assert_true(n > 0);
		for (ssize_t k = 0; k < n; k++, got++)
			assert_int_equal(in[k], (u8)(got / sizeof(block)));
	}
	close(slow);
}

/* More than the credit ends the connection. */
static void guest_overdraws(void **state)
{
	static u8 block[65536];
	int slow = from_guest();

	for (unsigned k = 0; k < 40; k++)
		say(VIRTIO_VSOCK_OP_RW, block, sizeof(block));
	for (;;) {
		const struct virtio_vsock_hdr *h = hear();
		if (h->op == VIRTIO_VSOCK_OP_RST)
			break;
		assert_int_equal(h->op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	}
	close(slow);
}

static void host_respects_credit(void **state)
{
	int fd = from_guest();
	struct virtio_vsock_hdr h = blank;

	h.op = VIRTIO_VSOCK_OP_CREDIT_UPDATE;
	h.buf_alloc = 3;
	assert_true(send_packet(&h, NULL, 0));
	assert_int_equal(write(fd, "abcdef", 6), 6);
	assert_true(holds(hear(), "abc"));
	hear_op(VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	offer();
	usleep(20000);
	assert_int_equal(driver_used(&dr, RX, NULL), -1);
	h.fwd_cnt = 2;
	assert_true(send_packet(&h, NULL, 0));
	assert_int_equal(driver_used(&dr, RX, NULL), (int)(rx_offered - 1) % DRIVER_QUEUE);
	assert_true(holds(driver_ptr(&dr, rx_buf[(rx_offered - 1) % DRIVER_QUEUE], RX_LEN), "de"));
	close(fd);
}

static void packets_for_others_are_dropped(void **state)
{
	struct virtio_vsock_hdr h = blank;

	h.op = VIRTIO_VSOCK_OP_REQUEST;
	h.src_cid = CID + 1;
	assert_true(send_packet(&h, NULL, 0));
	h = blank;
	h.op = VIRTIO_VSOCK_OP_REQUEST;
	h.dst_cid = 3;
	assert_true(send_packet(&h, NULL, 0));
	assert_true(send_packet(&h, NULL, 0));
	h.len = 1; /* more than there is */
	assert_true(send_packet(&h, NULL, 0));
	offer();
	assert_int_equal(driver_used(&dr, RX, NULL), -1);
	h = blank;
	h.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	h.op = VIRTIO_VSOCK_OP_REQUEST;
	assert_true(send_packet(&h, NULL, 0));
	assert_int_equal(driver_used(&dr, RX, NULL), 0);
}

/* Each operation on a connection in the wrong state ends it. */
static void wrong_operations(void **state)
{
	static const u16 ops[] = { 0, VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RESPONSE, 8, 0xffff };

	for (unsigned k = 0; k < ARRAY_SIZE(ops); k++) {
		int fd = from_guest();

		say(ops[k], NULL, 0);
		hear_op(VIRTIO_VSOCK_OP_RST);
		expect_end(fd);
		close(fd);
	}
}

/* Without buffers for answers the device stops taking packets, and goes on when it gets some. */
static void answers_need_buffers(void **state)
{
	struct virtio_vsock_hdr h = blank;
	unsigned n = 0;

	h.op = VIRTIO_VSOCK_OP_RW;
	for (; n < 1000 && send_packet(&h, NULL, 0); n++)
		h.src_port++;
	assert_true(n >= 100 && n < 1000);
	for (unsigned k = 0; k <= n; k++)
		hear_op(VIRTIO_VSOCK_OP_RST);
	assert_true(driver_used(&dr, TX, NULL) >= 0);
}

/* As many connections as there may be: one more is refused; one that is being closed makes room. */
static void limits(void **state)
{
	static int fd[SLOTS];
	struct virtio_vsock_hdr h = blank;
	int listener = listen_at(listen_path);

	h.op = VIRTIO_VSOCK_OP_REQUEST;
	for (unsigned k = 0; k < SLOTS; k++) {
		h.src_port = 10000 + k;
		assert_true(send_packet(&h, NULL, 0));
		hear_op(VIRTIO_VSOCK_OP_RESPONSE);
		fd[k] = accept(listener, NULL, NULL);
		assert_true(fd[k] >= 0);
	}
	h.src_port = 9;
	assert_true(send_packet(&h, NULL, 0));
	assert_int_equal(hear_op(VIRTIO_VSOCK_OP_RST)->dst_port, 9);
	close(accept(listener, NULL, NULL));
	int refused = connect_to(path);
	expect_end(refused);
	close(refused);
	close(fd[3]);
	hear_op(VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_true(send_packet(&h, NULL, 0));
	assert_int_equal(hear_op(VIRTIO_VSOCK_OP_RST)->dst_port, 10003);
	assert_int_equal(hear_op(VIRTIO_VSOCK_OP_RESPONSE)->dst_port, 9);
	for (unsigned k = 0; k < SLOTS; k++)
		if (k != 3)
			close(fd[k]);
	close(listener);
}

static void reset_closes(void **state)
{
	int fd = from_guest(), early = connect_to(path);

	assert_int_equal(write(early, "CONNECT 5\n", 10), 10);
	usleep(20000);
	driver_negotiate(&dr, 0);
	rx_offered = 0;
	expect_end(fd);
	/* One that the guest had not heard of is still there. */
	assert_int_equal(hear_op(VIRTIO_VSOCK_OP_REQUEST)->dst_port, 5);
	close(fd);
	close(early);
}

static void short_buffers_break_it(void **state)
{
	driver_add(&dr, RX, NULL, 0, &(struct part){ rx_buf[0], HDR - 1 }, 1);
	driver_kick(&dr, RX);
	assert_true(driver_broken(&dr));
}

static void bad_paths(void **state)
{
	struct error err = { 0 };
	char other[80], full[200];

	assert_null(vsock_host_new(m, CID, path, &err)); /* in use: this test's own */
	assert_non_null(strstr(err.text, path));
	assert_int_equal(access(path, F_OK), 0);
	assert_null(vsock_host_new(m, 2, "/tmp/x", &err));
	assert_null(vsock_host_new(m, 0xffffffff, "/tmp/x", &err));
	assert_null(vsock_host_new(m, CID, "", &err));
	memset(full, 'a', sizeof(full));
	full[97] = 0;
	assert_null(vsock_host_new(m, CID, full, &err));
	snprintf(other, sizeof(other), "%s-stale", path);
	close(listen_at(other)); /* what a killed process leaves */
	struct vsockdev *second = vsock_host_new(m, CID, other, &err);
	assert_non_null(second);
	vsockdev_destroy(second);
	assert_null(vsock_host_new(m, CID, "/tmp", &err));
	assert_int_equal(access("/tmp", F_OK), 0);
}

/* Random packets on few ports while programs come and go. */
static void garbage(void **state)
{
	int listener = listen_at(listen_path), clients[8];

	for (unsigned k = 0; k < 8; k++)
		clients[k] = connect_to(path);
	srandom(5);
	for (unsigned n = 0; n < 20000 && !driver_broken(&dr); n++) {
		struct virtio_vsock_hdr h = blank;
		unsigned k = (unsigned)random() % 8;
		static u8 data[600];

		h.op = (u16)(random() % 9);
		h.src_port = (u32)random() % 4;
		h.dst_port = random() % 2 ? HOST_PORT : 0x40000000u + (u32)random() % 8;
		h.flags = (u32)random() % 4;
		h.buf_alloc = (u32)random() >> random() % 32;
		h.fwd_cnt = (u32)random() >> random() % 32;
		h.len = random() % 20 ? (u32)random() % sizeof(data) : (u32)random();
		driver_used(&dr, TX, NULL);
		send_packet(&h, data, MIN(h.len, sizeof(data)));
		if (random() % 2) {
			offer();
			driver_used(&dr, RX, NULL);
		}
		if (random() % 50)
			continue;
		switch (random() % 4) {
		case 0:
			close(clients[k]);
			clients[k] = connect_to(path);
			break;
		case 1: dprintf(clients[k], "CONNECT %u\n", k % 4); break;
		case 2:
			if (poll(&(struct pollfd){ .fd = listener, .events = POLLIN }, 1, 0) == 1)
				close(accept(listener, NULL, NULL));
			break;
		default:
			if (send(clients[k], data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
				continue;
		}
	}
	for (unsigned k = 0; k < 8; k++)
		close(clients[k]);
	close(listener);
	assert_false(driver_broken(&dr));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(config),
		TEST(guest_connects),
		TEST(nobody_listens),
		TEST(host_connects),
		TEST(guest_refuses),
		TEST(bad_greetings),
		TEST(slow_reader),
		TEST(guest_overdraws),
		TEST(host_respects_credit),
		TEST(packets_for_others_are_dropped),
		TEST(wrong_operations),
		TEST(answers_need_buffers),
		TEST(limits),
		TEST(reset_closes),
		TEST(short_buffers_break_it),
		TEST(bad_paths),
		TEST(garbage),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
