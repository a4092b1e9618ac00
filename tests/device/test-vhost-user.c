/* SPDX-License-Identifier: Apache-2.0 */
/* The vhost-user protocol against back ends in a thread of the test: one that behaves, and ones that refuse, lie or leave. */
#include "fixture.h"

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio/vhost_user.h"

enum manner { BEHAVES, NO_ACKS, LACKS_FEATURES, REFUSES, LEAVES, ANSWERS_OTHERWISE, ANSWERS_SHORT };

struct back_end {
	int fd;
	enum manner manner;
	unsigned requests[64]; /* how often each came */
	unsigned fds; /* descriptors that came along */
	u64 user; /* of the last region; index << 32 | num of the last ring size */
	u64 ring;
};

struct message {
	u32 request, flags, size;
	u8 payload[400];
} __attribute__((packed));

static bool next_message(struct back_end *b, struct message *msg)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct iovec iov = { msg, 12 };
	struct msghdr h = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};

	if (recvmsg(b->fd, &h, 0) != 12)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
		for (unsigned k = 0; CMSG_LEN(k * sizeof(int)) < c->cmsg_len; k++, b->fds++)
			close(((int *)CMSG_DATA(c))[k]);
	return msg->size <= sizeof(msg->payload) &&
	       (!msg->size || recv(b->fd, msg->payload, msg->size, MSG_WAITALL) == (ssize_t)msg->size);
}

static void reply(struct back_end *b, const struct message *to, u64 number)
{
	struct message r = { to->request, 1 | 4, 8, { 0 } };
	size_t len = 20;

	memcpy(r.payload, &number, 8);
	if (b->manner == ANSWERS_OTHERWISE && to->request == 11)
		r.request = 12;
	if (b->manner == ANSWERS_SHORT && to->request == 11)
		len = 15;
	assert_int_equal(send(b->fd, &r, len, MSG_NOSIGNAL), len);
	if (len == 15)
		shutdown(b->fd, SHUT_RDWR);
}

static void *serve(void *arg)
{
	struct back_end *b = arg;
	struct message msg;

	while (next_message(b, &msg)) {
		b->requests[msg.request % 64]++;
		switch (msg.request) {
		case 1: reply(b, &msg, BIT(30) | (b->manner == LACKS_FEATURES ? 0 : BIT(32))); break;
		case 15: reply(b, &msg, b->manner == NO_ACKS ? 0 : ~0ull); break;
		case 5: memcpy(&b->user, msg.payload + 8 + 16, 8); break;
		case 8: memcpy(&b->ring, msg.payload, 8); break;
		case 11: reply(b, &msg, 0); break;
		}
		if (b->manner == LEAVES && msg.request == 10)
			break;
		if (msg.flags & 8)
			reply(b, &msg, b->manner == REFUSES && msg.request == 10);
	}
	shutdown(b->fd, SHUT_RDWR);
	return NULL;
}

/* Opens, shares memory, starts and stops a ring against a back end of that manner; the first error, or 0. */
static int talk(struct back_end *b, enum manner manner, char *text)
{
	int pair[2], memory = memfd_create("test", 0), event = eventfd(0, 0);
	struct error err = { 0 };
	struct vhost_user c;
	pthread_t thread;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	*b = (struct back_end){ .fd = pair[1], .manner = manner };
	assert_int_equal(pthread_create(&thread, NULL, serve, b), 0);
	struct vhost_region region = { .gpa = 0, .len = 4096, .user = 0x12340000, .fd = memory };
	struct vhost_ring ring = { .index = 1, .size = 256, .kick = event, .call = event };
	int r = vhost_user_open(&c, pair[0], BIT(32), &err);
	bool open = !r;
	if (!r)
		r = vhost_user_set_memory(&c, &region, 1, &err);
	if (!r)
		r = vhost_user_start_ring(&c, &ring, &err);
	if (!r)
		r = vhost_user_stop_ring(&c, 1, &err);
	if (!r) {
		assert_false(vhost_user_gone(&c));
		shutdown(b->fd, SHUT_RDWR);
		assert_true(vhost_user_gone(&c));
	}
	if (open)
		vhost_user_close(&c);
	pthread_join(thread, NULL);
	close(pair[0]);
	close(b->fd);
	close(memory);
	close(event);
	strcpy(text, err.text);
	return r;
}

static void behaves(void **state)
{
	struct back_end b;
	char text[512];

	assert_int_equal(talk(&b, BEHAVES, text), 0);
	assert_int_equal(b.requests[3], 1); /* owner */
	assert_int_equal(b.requests[16], 1); /* protocol features */
	assert_int_equal(b.requests[18], 1); /* enabled */
	assert_int_equal(b.fds, 3);
	assert_int_equal(b.user, 0x12340000);
	assert_int_equal(b.ring, 256ull << 32 | 1);
	assert_int_equal(talk(&b, NO_ACKS, text), 0);
}

static void misbehaves(void **state)
{
	static const struct {
		enum manner manner;
		const char *says;
	} cases[] = { { LACKS_FEATURES, "lacks features" },
		      { REFUSES, "refuses" },
		      { LEAVES, "has gone" },
		      { ANSWERS_OTHERWISE, "answers what it was not asked" },
		      { ANSWERS_SHORT, "has gone" } };

	for (unsigned k = 0; k < ARRAY_SIZE(cases); k++) {
		struct back_end b;
		char text[512];
		assert_true(talk(&b, cases[k].manner, text) < 0);
		if (!strstr(text, cases[k].says))
			fail_msg("'%s' does not say '%s'", text, cases[k].says);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(behaves), cmocka_unit_test(misbehaves) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
