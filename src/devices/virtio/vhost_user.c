/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages: a header of three words (request, flags, payload's size), the payload, descriptors beside it. Where the
 * back end can acknowledge (REPLY_ACK) every request is acknowledged, so that an error is known where it happened.
 */
#include "devices/virtio/vhost_user.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MS 20000 /* a back end on a loaded host is slow; one that does not answer at all is broken */

enum request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	SET_VRING_ENABLE = 18,
};

#define VERSION		    1u
#define FLAG_REPLY	    4u
#define FLAG_NEED_REPLY	    8u
#define F_PROTOCOL_FEATURES BIT(30)
#define PROTOCOL_REPLY_ACK  BIT(3)
#define OWN_ACK		    BIT(63) /* kept in vhost_user.features: REPLY_ACK was agreed */

struct header {
	u32 request, flags, size;
};
struct vring_state {
	u32 index, num;
};
struct vring_addr {
	u32 index, flags;
	u64 desc, used, avail, log;
};
struct mem_table {
	u32 count, padding;
	struct {
		u64 gpa, len, user, offset;
	} region[VHOST_REGIONS_MAX];
};
union payload {
	u64 number;
	struct vring_state state;
	struct vring_addr addr;
	struct mem_table mem;
};

/* ---- bytes ---- */

static int broken(struct error *err, int code, const char *what)
{
	return error_set(err, code ? code : EPIPE, "the vhost-user back end %s%s%s", what, code ? ": " : "",
			 code ? strerror(code) : "");
}

static int wait_for(const struct vhost_user *c, short events, struct error *err)
{
	struct pollfd p = { .fd = c->fd, .events = events };
	int n;

	do
		n = poll(&p, 1, ANSWER_MS);
	while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : broken(err, n ? errno : ETIMEDOUT, "does not answer");
}

static int receive(struct vhost_user *c, void *to, size_t len, struct error *err)
{
	u8 *p = to;

	while (len) {
		if (wait_for(c, POLLIN, err))
			return err->code;
		ssize_t n = recv(c->fd, p, len, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return broken(err, n ? errno : 0, "has gone");
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int transmit(struct vhost_user *c, const void *from, size_t len, const int *fds, unsigned count,
		    struct error *err)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(VHOST_REGIONS_MAX * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)from, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (count) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(h), fds, count * sizeof(int));
	}
	for (;;) {
		if (wait_for(c, POLLOUT, err))
			return err->code;
		ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n == (ssize_t)len)
			return 0;
		if (n >= 0) /* messages are far smaller than a socket's buffer: never in parts */
			return broken(err, EIO, "takes half a message");
		if (errno != EINTR && errno != EAGAIN)
			return broken(err, errno, "has gone");
	}
}

/* ---- messages ---- */

static int post(struct vhost_user *c, enum request what, u32 flags, const void *payload, u32 size, const int *fds,
		unsigned count, struct error *err)
{
	struct {
		struct header h;
		u8 payload[sizeof(union payload)];
	} __attribute__((packed)) msg = { .h = { what, VERSION | flags, size } };

	if (size)
		memcpy(msg.payload, payload, size);
	return transmit(c, &msg, sizeof(msg.h) + size, fds, count, err);
}

static int answer(struct vhost_user *c, enum request what, void *payload, u32 size, struct error *err)
{
	struct header h;

	if (receive(c, &h, sizeof(h), err))
		return err->code;
	if (h.request != (u32)what || !(h.flags & FLAG_REPLY) || h.size != size)
		return broken(err, 0, "answers what it was not asked");
	return receive(c, payload, size, err);
}

static int tell(struct vhost_user *c, enum request what, const void *payload, u32 size, const int *fds, unsigned count,
		struct error *err)
{
	bool ack = c->features & OWN_ACK;
	u64 status = 0;

	if (post(c, what, ack ? FLAG_NEED_REPLY : 0, payload, size, fds, count, err))
		return err->code;
	if (ack && answer(c, what, &status, sizeof(status), err))
		return err->code;
	return status ? broken(err, 0, "refuses a request") : 0;
}

static int tell_number(struct vhost_user *c, enum request what, u64 number, struct error *err)
{
	return tell(c, what, &number, sizeof(number), NULL, 0, err);
}

static int tell_state(struct vhost_user *c, enum request what, unsigned index, unsigned num, struct error *err)
{
	struct vring_state s = { index, num };

	return tell(c, what, &s, sizeof(s), NULL, 0, err);
}

static int tell_eventfd(struct vhost_user *c, enum request what, unsigned index, int fd, struct error *err)
{
	u64 number = index;

	return tell(c, what, &number, sizeof(number), &fd, 1, err);
}

static int ask_number(struct vhost_user *c, enum request what, u64 *number, struct error *err)
{
	int r = post(c, what, 0, NULL, 0, NULL, 0, err);

	return r ? r : answer(c, what, number, sizeof(*number), err);
}

/* ---- what a device does ---- */

static int greet(struct vhost_user *c, u64 features, struct error *err)
{
	u64 offered, protocol = 0;

	if (ask_number(c, GET_FEATURES, &offered, err))
		return err->code;
	if (features & ~offered)
		return broken(err, 0, "lacks features that are needed");
	if (offered & F_PROTOCOL_FEATURES) {
		if (ask_number(c, GET_PROTOCOL_FEATURES, &protocol, err))
			return err->code;
		protocol &= PROTOCOL_REPLY_ACK;
		if (tell_number(c, SET_PROTOCOL_FEATURES, protocol, err))
			return err->code;
	}
	if (tell(c, SET_OWNER, NULL, 0, NULL, 0, err))
		return err->code;
	c->features = offered & ~OWN_ACK;
	if (protocol)
		c->features |= OWN_ACK;
	return tell_number(c, SET_FEATURES, features | (offered & F_PROTOCOL_FEATURES), err);
}

int vhost_user_open(struct vhost_user *c, int fd, u64 features, struct error *err)
{
	*c = (struct vhost_user){ .fd = fd };
	int r = greet(c, features, err);
	if (r)
		vhost_user_close(c);
	return r;
}

void vhost_user_close(struct vhost_user *c)
{
	if (c->fd >= 0)
		shutdown(c->fd, SHUT_RDWR);
	c->fd = -1;
}

int vhost_user_set_memory(struct vhost_user *c, const struct vhost_region *r, unsigned count, struct error *err)
{
	struct mem_table t = { .count = count };
	int fds[VHOST_REGIONS_MAX];

	if (count > VHOST_REGIONS_MAX)
		return error_set(err, E2BIG, "%u regions are more than vhost-user takes", count);
	for (unsigned k = 0; k < count; k++) {
		t.region[k].gpa = r[k].gpa;
		t.region[k].len = r[k].len;
		t.region[k].user = r[k].user;
		t.region[k].offset = r[k].offset;
		fds[k] = r[k].fd;
	}
	return tell(c, SET_MEM_TABLE, &t, (u32)(offsetof(struct mem_table, region) + count * sizeof(t.region[0])), fds,
		    count, err);
}

int vhost_user_start_ring(struct vhost_user *c, const struct vhost_ring *r, struct error *err)
{
	struct vring_addr a = { .index = r->index, .desc = r->desc, .used = r->used, .avail = r->avail };
	int failed = tell_state(c, SET_VRING_NUM, r->index, r->size, err);

	failed = failed ? failed : tell_state(c, SET_VRING_BASE, r->index, 0, err);
	failed = failed ? failed : tell(c, SET_VRING_ADDR, &a, sizeof(a), NULL, 0, err);
	failed = failed ? failed : tell_eventfd(c, SET_VRING_CALL, r->index, r->call, err);
	/* The kick starts the ring, so it goes last. */
	failed = failed ? failed : tell_eventfd(c, SET_VRING_KICK, r->index, r->kick, err);
	if (!failed && c->features & F_PROTOCOL_FEATURES)
		failed = tell_state(c, SET_VRING_ENABLE, r->index, 1, err);
	return failed;
}

int vhost_user_stop_ring(struct vhost_user *c, unsigned index, struct error *err)
{
	struct vring_state s = { index, 0 };
	int r = post(c, GET_VRING_BASE, 0, &s, sizeof(s), NULL, 0, err);

	return r ? r : answer(c, GET_VRING_BASE, &s, sizeof(s), err);
}

bool vhost_user_gone(const struct vhost_user *c)
{
	u8 byte;
	ssize_t n = c->fd < 0 ? 0 : recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return !(n < 0 && (errno == EAGAIN || errno == EINTR));
}
