/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-fs from a guest's driver to a back end and back, without either trusting the other. The back end is a thread
 * of the test that maps what it is given, as virtiofsd does, and answers each request with its own bytes reversed, or
 * misbehaves.
 */
#include "virtio-driver.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio/devices.h"

enum manner { ANSWERS, KEEPS /* takes requests and never answers */, LEAVES /* closes at the first request */, LIES };

struct mapping {
	u64 gpa, len, user, offset;
	u8 *here;
};
struct queue {
	u64 desc, avail, used; /* the front end's addresses */
	unsigned size;
	int kick, call;
	u16 seen;
};
struct back_end {
	int fd;
	enum manner manner;
	struct mapping region[8];
	unsigned regions;
	struct queue q[2];
	_Atomic unsigned served;
	pthread_t thread;
};

static void *by_user(struct back_end *b, u64 user)
{
	for (unsigned k = 0; k < b->regions; k++)
		if (user - b->region[k].user < b->region[k].len)
			return b->region[k].here + (user - b->region[k].user);
	return NULL;
}

static u8 *by_gpa(struct back_end *b, u64 gpa, u32 len)
{
	for (unsigned k = 0; k < b->regions; k++)
		if (gpa - b->region[k].gpa < b->region[k].len && len <= b->region[k].len - (gpa - b->region[k].gpa))
			return b->region[k].here + (gpa - b->region[k].gpa);
	return NULL;
}

/* One readable part, one writable: the answer is the request backwards. */
static u32 answer(struct back_end *b, const struct vring_desc *table, u16 head)
{
	struct vring_desc out = table[head], in = table[out.next];
	const u8 *from = by_gpa(b, out.addr, out.len);
	u8 *to = by_gpa(b, in.addr, in.len);

	for (u32 k = 0; k < out.len && k < in.len; k++)
		to[k] = from[out.len - 1 - k];
	return MIN(out.len, in.len);
}

/* false: the back end leaves. */
static bool serve_queue(struct back_end *b, struct queue *q)
{
	struct vring_desc *desc = by_user(b, q->desc);
	struct vring_avail *avail = by_user(b, q->avail);
	struct vring_used *used = by_user(b, q->used);
	u64 one;

	if (read(q->kick, &one, 8) != 8)
		return true;
	if (b->manner == LEAVES)
		return false;
	while (q->seen != __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE)) {
		u16 head = avail->ring[q->seen++ % q->size];
		b->served++;
		if (b->manner == KEEPS)
			continue;
		u32 len = answer(b, desc, head);
		used->ring[used->idx % q->size] = (struct vring_used_elem){ b->manner == LIES ? head + 1u : head, len };
		__atomic_store_n(&used->idx, used->idx + 1, __ATOMIC_RELEASE);
	}
	one = 1;
	return write(q->call, &one, 8) == 8;
}

struct message {
	u32 request, flags, size;
	u8 payload[400];
} __attribute__((packed));

static void set_memory(struct back_end *b, const struct message *msg, const int *fds)
{
	u32 n;

	memcpy(&n, msg->payload, 4);
	for (b->regions = 0; b->regions < n; b->regions++) {
		struct mapping *r = &b->region[b->regions];
		memcpy(r, msg->payload + 8 + 32 * b->regions, 32);
		r->here = mmap(NULL, r->len, PROT_READ | PROT_WRITE, MAP_SHARED, fds[b->regions], (off_t)r->offset);
		close(fds[b->regions]);
	}
}

/* false: the front end has closed. */
static bool serve_message(struct back_end *b)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct message msg, reply = { 0 };
	struct iovec iov = { &msg, 12 };
	struct msghdr h = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int fds[8] = { -1 };
	u32 index;
	u64 number = 0;

	if (recvmsg(b->fd, &h, 0) != 12)
		return false;
	if (CMSG_FIRSTHDR(&h))
		memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&h)), CMSG_FIRSTHDR(&h)->cmsg_len - CMSG_LEN(0));
	if (msg.size && recv(b->fd, msg.payload, msg.size, MSG_WAITALL) != (ssize_t)msg.size)
		return false;
	memcpy(&index, msg.payload, 4);
	struct queue *q = &b->q[index & 1];
	switch (msg.request) {
	case 1: number = BIT(30) | BIT(32); break;
	case 15: number = BIT(3); break;
	case 5: set_memory(b, &msg, fds); break;
	case 8: memcpy(&q->size, msg.payload + 4, 4); break;
	case 9:
		memcpy(&q->desc, msg.payload + 8, 8);
		memcpy(&q->used, msg.payload + 16, 8);
		memcpy(&q->avail, msg.payload + 24, 8);
		break;
	case 10: q->seen = 0; break;
	case 11: close(q->kick), close(q->call), q->kick = q->call = -1; break;
	case 12: q->kick = fds[0]; break;
	case 13: q->call = fds[0]; break;
	}
	if (msg.request == 1 || msg.request == 15 || msg.request == 11 || msg.flags & 8) {
		reply.request = msg.request;
		reply.flags = 5;
		reply.size = 8;
		memcpy(reply.payload, &number, 8);
		return send(b->fd, &reply, 20, MSG_NOSIGNAL) == 20;
	}
	return true;
}

static void *back_end(void *arg)
{
	struct back_end *b = arg;
	bool open = true;

	while (open) {
		struct pollfd p[3] = { { b->fd, POLLIN, 0 }, { b->q[0].kick, POLLIN, 0 }, { b->q[1].kick, POLLIN, 0 } };
		poll(p, 3, -1);
		if (p[0].revents)
			open = serve_message(b);
		for (unsigned k = 0; k < 2 && open; k++)
			if (p[1 + k].revents)
				open = serve_queue(b, &b->q[k]);
	}
	shutdown(b->fd, SHUT_RDWR);
	for (unsigned k = 0; k < b->regions; k++)
		munmap(b->region[k].here, b->region[k].len);
	return NULL;
}

/* ---- the guest ---- */

static struct machine *m;
static struct back_end b;
static struct driver dr;
static pthread_t io;
static _Atomic unsigned losses;
static int pair[2];

static void *io_thread(void *arg)
{
	loop_run(m->loop);
	return NULL;
}

static void lost(void *arg, const char *why)
{
	losses++;
}

static void begin(enum manner manner)
{
	struct error err = { 0 };

	m = fixture_machine(1);
	losses = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	b = (struct back_end){ .fd = pair[1], .manner = manner, .q = { { .kick = -1 }, { .kick = -1 } } };
	assert_int_equal(pthread_create(&b.thread, NULL, back_end, &b), 0);
	struct fs_config c = { .tag = "work", .socket = pair[0], .lost = lost };
	struct virtio_device *d = virtio_fs_new(m, &c, &err);
	if (!d)
		fail_msg("%s", err.text);
	assert_int_equal(pthread_create(&io, NULL, io_thread, NULL), 0);
	driver_start(&dr, d, 0);
}

static void end(void)
{
	loop_quit(m->loop);
	pthread_join(io, NULL);
	driver_stop(&dr);
	pthread_join(b.thread, NULL);
	close(pair[0]);
	close(pair[1]);
	machine_free(m);
}

static u64 request(unsigned q, u64 unique)
{
	u64 gpa = driver_alloc(&dr, 128);
	struct fuse_in_header in = { .len = 64, .opcode = FUSE_GETATTR, .unique = unique };

	memcpy(driver_ptr(&dr, gpa, 64), &in, sizeof(in));
	driver_add(&dr, q, (struct part[]){ { gpa, 64 } }, 1, (struct part[]){ { gpa + 64, 64 } }, 1);
	driver_kick(&dr, q);
	return gpa;
}

/* Waits for the other threads; generously, as the host may be busy. */
static int used(unsigned q, u32 *len)
{
	for (unsigned k = 0; k < 20000; k++) {
		virtio_lock(dr.d);
		int head = driver_used(&dr, q, len);
		virtio_unlock(dr.d);
		if (head >= 0)
			return head;
		usleep(1000);
	}
	fail_msg("nothing came back");
	return -1;
}

static void requests_are_answered(void **state)
{
	u8 tag[40];
	u32 len;

	begin(ANSWERS);
	transport_read_config(dr.d, 0, tag, sizeof(tag));
	assert_string_equal((char *)tag, "work");
	assert_int_equal(tag[36], 1);
	for (unsigned k = 0; k < 300; k++) {
		u64 gpa = request(k & 1, k);
		used(k & 1, &len);
		assert_int_equal(len, 64);
		u8 *p = driver_ptr(&dr, gpa, 128);
		for (unsigned j = 0; j < 64; j++)
			assert_int_equal(p[64 + j], p[63 - j]);
		if (k % 100 == 99) /* as a driver that is loaded anew */
			driver_negotiate(&dr, 0);
	}
	assert_int_equal(losses, 0);
	end();
}

static void expect_error(unsigned q, u64 gpa, u64 unique)
{
	struct fuse_out_header out;
	u32 len;

	used(q, &len);
	assert_int_equal(len, sizeof(out));
	memcpy(&out, driver_ptr(&dr, gpa + 64, sizeof(out)), sizeof(out));
	assert_int_equal(out.len, sizeof(out));
	assert_int_equal(out.error, -ENOTCONN);
	assert_int_equal(out.unique, unique);
}

static void what_a_lost_back_end_held_fails(void **state)
{
	begin(KEEPS);
	u64 first = request(1, 7), second = request(0, 8);
	while (b.served < 2)
		usleep(1000);
	shutdown(b.fd, SHUT_RDWR);
	expect_error(1, first, 7);
	expect_error(0, second, 8);
	expect_error(1, request(1, 9), 9); /* and what comes after */
	assert_int_equal(losses, 1);
	driver_negotiate(&dr, 0);
	expect_error(1, request(1, 10), 10);
	assert_false(driver_broken(&dr));
	end();
}

static void a_back_end_that_leaves(void **state)
{
	begin(LEAVES);
	expect_error(1, request(1, 1), 1);
	assert_int_equal(losses, 1);
	end();
}

static void a_back_end_that_lies(void **state)
{
	begin(LIES);
	expect_error(1, request(1, 1), 1);
	assert_int_equal(losses, 1);
	end();
}

/* Reset while the back end holds requests: nothing of them reaches the rings that come after. */
static void reset_forgets(void **state)
{
	u32 len;

	begin(KEEPS);
	request(1, 1);
	while (b.served < 1)
		usleep(1000);
	b.manner = ANSWERS;
	driver_negotiate(&dr, 0);
	u64 gpa = request(1, 2);
	used(1, &len);
	assert_int_equal(len, 64);
	assert_int_equal(*(u8 *)driver_ptr(&dr, gpa, 1), 64);
	assert_int_equal(driver_used(&dr, 1, &len), -1);
	end();
}

static void hostile_rings_reach_no_back_end(void **state)
{
	begin(ANSWERS);
	driver_descriptor(&dr, dr.q[1].desc, 0, (struct vring_desc){ BIT(40), 64, 0, 0 });
	driver_offer(&dr, 1, 0);
	driver_kick(&dr, 1);
	for (unsigned k = 0; k < 20000 && !driver_broken(&dr); k++)
		usleep(1000);
	assert_true(driver_broken(&dr));
	assert_int_equal(b.served, 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_answered),  cmocka_unit_test(what_a_lost_back_end_held_fails),
		cmocka_unit_test(a_back_end_that_leaves), cmocka_unit_test(a_back_end_that_lies),
		cmocka_unit_test(reset_forgets),	  cmocka_unit_test(hostile_rings_reach_no_back_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
