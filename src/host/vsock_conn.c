/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vsock connection: a socket of the host's and the guest's packets (virtio 1.2, 5.10.6).
 *
 * Either direction has its own flow control. What the guest sends and the host's program does not take waits in a buffer
 * whose size is the credit that the guest has: more is an offence, and ends the connection. What the host's program sends is
 * only read as far as the guest has given credit. Sockets are watched edge-triggered: a slow program costs nothing.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/vsock-internal.h"

#define SHUT_BOTH    (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)
#define GREETING_MAX 32 /* "CONNECT 4294967295\n" and some blanks */
#define PARTS_MAX    64 /* of an iovec that are used at a time */

/* The connection is over: the guest hears it from a RST, the host's program, after what it was sent, from the socket. */
static void end(struct vsock_conn *c)
{
	c->state = CONN_DEAD;
	shutdown(c->fd, SHUT_RDWR);
	vsock_conn_queue(c);
}

bool vsock_conn_expendable(const struct vsock_conn *c)
{
	return c->state == CONN_GREETING || c->state == CONN_DEAD || c->guest_shut == SHUT_BOTH ||
	       c->host_shut == SHUT_BOTH;
}

/* ---- guest to host ---- */
static u32 waiting(const struct vsock_conn *c)
{
	return c->head - c->tail;
}

/* Sends what the socket takes; -1: nobody will ever read. */
static ssize_t send_parts(struct vsock_conn *c, const struct iovec *iov, unsigned iovs)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = MIN(iovs, PARTS_MAX) };
	ssize_t n = sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0)
		return n;
	if (errno == EINTR)
		return 0;
	c->writable = false;
	return errno == EAGAIN ? 0 : -1;
}

/* The host's program reads no more: what waits for it, and what will still come, is gone. */
static void nobody_reads(struct vsock_conn *c)
{
	c->fwd = c->got;
	c->tail = c->head;
	c->host_shut |= VIRTIO_VSOCK_SHUTDOWN_RCV;
	c->owes |= OWE_SHUTDOWN;
	vsock_conn_queue(c);
}

static void update_credit(struct vsock_conn *c)
{
	if (c->fwd != c->told_fwd && c->got - c->told_fwd > VSOCK_BUFFER / 2) {
		c->owes |= OWE_CREDIT;
		vsock_conn_queue(c);
	}
}

/* The guest sends no more and all is passed on: so is that. */
static void pass_end(struct vsock_conn *c)
{
	if (waiting(c))
		return;
	if (c->guest_shut == SHUT_BOTH)
		end(c);
	else if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND)
		shutdown(c->fd, SHUT_WR);
}

/* Passes on what waits. */
static void flush(struct vsock_conn *c)
{
	while (c->state == CONN_OPEN && c->writable && waiting(c)) {
		u32 at = c->tail % VSOCK_BUFFER, len = MIN(waiting(c), VSOCK_BUFFER - at);
		const struct iovec iov = { c->buf + at, len };
		ssize_t n = send_parts(c, &iov, 1);

		if (n < 0) {
			nobody_reads(c);
			break;
		}
		c->tail += (u32)n;
		c->fwd += (u32)n;
	}
	if (c->state == CONN_OPEN) {
		update_credit(c);
		pass_end(c);
	}
}

static void keep(struct vsock_conn *c, const struct iovec *iov, unsigned iovs, size_t skip)
{
	for (unsigned k = 0; k < iovs; k++) {
		size_t cut = MIN(skip, iov[k].iov_len);
		const u8 *from = (const u8 *)iov[k].iov_base + cut;
		size_t left = iov[k].iov_len - cut;

		skip -= cut;
		while (left) {
			u32 at = c->head % VSOCK_BUFFER;
			size_t len = MIN(left, VSOCK_BUFFER - at);

			memcpy(c->buf + at, from, len);
			c->head += (u32)len;
			from += len;
			left -= len;
		}
	}
}

static void take_data(struct vsock_conn *c, u32 len, const struct iovec *iov, unsigned iovs)
{
	ssize_t n = 0;

	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND || len > VSOCK_BUFFER - waiting(c)) {
		end(c);
		return;
	}
	c->got += len;
	if (c->host_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		c->fwd = c->got;
		return;
	}
	if (!waiting(c) && c->writable)
		n = send_parts(c, iov, iovs);
	if (n < 0) {
		nobody_reads(c);
		return;
	}
	c->fwd += (u32)n;
	if ((u32)n < len && !c->buf && !(c->buf = malloc(VSOCK_BUFFER))) {
		end(c);
		return;
	}
	if ((u32)n < len)
		keep(c, iov, iovs, (size_t)n);
	flush(c);
}

/* ---- packets from the guest ---- */
static void take_credit(struct vsock_conn *c, const struct virtio_vsock_hdr *h)
{
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	c->asked = false;
	if (c->readable)
		vsock_conn_queue(c);
}

/* Its REQUEST was answered: the host's program learns it. */
static void opened(struct vsock_conn *c)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "OK %u\n", c->host_port);
	const struct iovec iov = { text, (size_t)len };

	c->state = CONN_OPEN;
	if (send_parts(c, &iov, 1) != len) /* into an empty socket buffer: it went away */
		end(c);
}

static void take_shutdown(struct vsock_conn *c, u32 flags)
{
	c->guest_shut |= flags & SHUT_BOTH;
	if (flags & VIRTIO_VSOCK_SHUTDOWN_RCV)
		shutdown(c->fd, SHUT_RD);
	pass_end(c);
}

void vsock_conn_packet(struct vsock_conn *c, const struct virtio_vsock_hdr *h, const struct iovec *iov, unsigned iovs)
{
	bool open = c->state == CONN_OPEN;

	take_credit(c, h);
	if (h->op == VIRTIO_VSOCK_OP_RST)
		vsock_conn_free(c);
	else if (c->state == CONN_DEAD)
		return;
	else if (h->op == VIRTIO_VSOCK_OP_RESPONSE && c->state == CONN_ASKED && !(c->owes & OWE_REQUEST))
		opened(c);
	else if (h->op == VIRTIO_VSOCK_OP_RW && open)
		take_data(c, h->len, iov, iovs);
	else if (h->op == VIRTIO_VSOCK_OP_SHUTDOWN && open)
		take_shutdown(c, h->flags);
	else if (h->op == VIRTIO_VSOCK_OP_CREDIT_REQUEST && open) {
		c->owes |= OWE_CREDIT;
		vsock_conn_queue(c);
	} else if (h->op != VIRTIO_VSOCK_OP_CREDIT_UPDATE || !open)
		end(c);
}

/* ---- packets to the guest ---- */
static bool packet(struct vsock_conn *c, struct virtio_vsock_hdr *h, u16 op, u32 owed)
{
	c->owes &= ~owed & ~(u32)OWE_CREDIT; /* every packet tells it */
	c->told_fwd = c->fwd;
	*h = (struct virtio_vsock_hdr){
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = c->host->dev.guest_cid,
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = VSOCK_BUFFER,
		.fwd_cnt = c->fwd,
	};
	return true;
}

static u32 credit(const struct vsock_conn *c)
{
	u32 under_way = c->sent - c->peer_fwd;

	return c->peer_alloc > under_way ? c->peer_alloc - under_way : 0;
}

/* iov[0..n), or as much of it as `most` bytes are; how many parts. */
static unsigned limit(struct iovec *to, const struct iovec *iov, unsigned n, size_t most)
{
	unsigned parts = 0;

	for (; parts < MIN(n, PARTS_MAX) && most; parts++) {
		to[parts] = (struct iovec){ iov[parts].iov_base, MIN(iov[parts].iov_len, most) };
		most -= to[parts].iov_len;
	}
	return parts;
}

/* Reads from the host's program into guest memory. false: it has nothing; what its end and errors mean is noted. */
static bool read_data(struct vsock_conn *c, struct virtio_vsock_hdr *h, const struct iovec *iov, unsigned iovs)
{
	struct iovec part[PARTS_MAX];
	struct msghdr msg = { .msg_iov = part };
	ssize_t n;

	msg.msg_iovlen = limit(part, iov, iovs, MIN(credit(c), VSOCK_PACKET_MAX));
	n = recvmsg(c->fd, &msg, MSG_DONTWAIT);
	if (n > 0) {
		c->sent += (u32)n;
		packet(c, h, VIRTIO_VSOCK_OP_RW, 0);
		h->len = (u32)n;
		return true;
	}
	if (n < 0 && errno == EINTR)
		return false;
	c->readable = false;
	if (n < 0 && errno != EAGAIN) {
		end(c);
	} else if (n == 0) {
		c->host_shut |= VIRTIO_VSOCK_SHUTDOWN_SEND;
		c->owes |= OWE_SHUTDOWN;
	}
	return false;
}

static bool wants_to_read(const struct vsock_conn *c)
{
	return c->state == CONN_OPEN && c->readable && !(c->host_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) &&
	       !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

static bool give_data(struct vsock_conn *c, struct virtio_vsock_hdr *h, const struct iovec *iov, unsigned iovs,
		      bool *later)
{
	if (!wants_to_read(c))
		return false;
	if (!credit(c)) {
		if (c->asked)
			return false;
		c->asked = true;
		return packet(c, h, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
	}
	*later = !iovs;
	return iovs && read_data(c, h, iov, iovs);
}

static bool give_shutdown(struct vsock_conn *c, struct virtio_vsock_hdr *h)
{
	c->owes &= ~(u32)OWE_SHUTDOWN;
	if (c->host_shut == c->told_shut)
		return false;
	packet(c, h, VIRTIO_VSOCK_OP_SHUTDOWN, 0);
	h->flags = c->told_shut = c->host_shut;
	return true;
}

bool vsock_conn_give(struct vsock_conn *c, struct virtio_vsock_hdr *h, const struct iovec *iov, unsigned iovs,
		     bool *later)
{
	*later = false;
	if (c->owes & OWE_REQUEST)
		return packet(c, h, VIRTIO_VSOCK_OP_REQUEST, OWE_REQUEST);
	if (c->owes & OWE_RESPONSE)
		return packet(c, h, VIRTIO_VSOCK_OP_RESPONSE, OWE_RESPONSE);
	if (give_data(c, h, iov, iovs, later))
		return true;
	if (c->state == CONN_DEAD) {
		packet(c, h, VIRTIO_VSOCK_OP_RST, 0);
		vsock_conn_free(c);
		return true;
	}
	if (c->owes & OWE_SHUTDOWN && give_shutdown(c, h))
		return true;
	return c->owes & OWE_CREDIT && packet(c, h, VIRTIO_VSOCK_OP_CREDIT_UPDATE, OWE_CREDIT);
}

/* ---- the socket ---- */

/* "CONNECT PORT\n": -1 when it never can be, 0 when there is more to come. What is behind the line stays in the socket. */
static int read_greeting(struct vsock_conn *c, u32 *port)
{
	char text[GREETING_MAX + 1], *newline, *rest;
	ssize_t n = recv(c->fd, text, GREETING_MAX, MSG_PEEK | MSG_DONTWAIT);
	unsigned long value;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	text[n] = 0;
	newline = strchr(text, '\n');
	if (!newline)
		return n == 0 || n == GREETING_MAX || strlen(text) < (size_t)n ? -1 : 0;
	if (recv(c->fd, text, (size_t)(newline + 1 - text), MSG_DONTWAIT) < 0 || strncmp(text, "CONNECT ", 8))
		return -1;
	*newline = 0;
	errno = 0;
	value = strtoul(text + 8, &rest, 10);
	if (errno || rest != newline || text[8] < '0' || text[8] > '9' || value > UINT32_MAX)
		return -1;
	*port = (u32)value;
	return 1;
}

static void greeting(struct vsock_conn *c)
{
	u32 port;
	int r = read_greeting(c, &port);

	if (r < 0) {
		vsock_conn_free(c);
	} else if (r > 0) {
		c->state = CONN_ASKED;
		c->owes = OWE_REQUEST;
		vsock_conn_name(c, port, vsock_new_port(c->host, port));
		vsock_conn_queue(c);
	}
}

/* The program may have gone before the guest answered: then nobody wants the answer. */
static void asker_gone(struct vsock_conn *c)
{
	if (c->owes & OWE_REQUEST)
		vsock_conn_free(c);
	else
		end(c);
}

void vsock_conn_event(struct vsock_conn *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN | POLLOUT | POLLRDHUP };
	bool gone;

	if (c->state == CONN_FREE || poll(&p, 1, 0) <= 0)
		return;
	gone = p.revents & (POLLHUP | POLLERR);
	c->readable |= gone || p.revents & (POLLIN | POLLRDHUP);
	c->writable |= (p.revents & POLLOUT) != 0;
	switch (c->state) {
	case CONN_GREETING: greeting(c); return;
	case CONN_ASKED:
		if (gone)
			asker_gone(c);
		return;
	case CONN_OPEN: break;
	default: return;
	}
	if (gone)
		nobody_reads(c);
	flush(c);
	if (c->state == CONN_OPEN && c->readable)
		vsock_conn_queue(c);
}
