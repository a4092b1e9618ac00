/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of virtio-vsock: the listening socket, the table of connections, packets to and from them (vsock_conn.c).
 * See vsock.h for what a program on the host does.
 *
 * Connections take turns at the guest's buffers, a packet each. A packet of the guest's for which there is no connection is
 * answered with a reset; while too many of these wait, its packets wait too. When all slots are taken, a connection that is
 * being closed, or whose program never said what it wants, makes room for a new one.
 */
#include "host/vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/vsock-internal.h"
#include "util/cleanup.h"

#define BACKLOG	   128
#define PORT_FIRST 0x40000000u /* of our end of the host's connections */

static struct vsock_host *host_of(struct vsockdev *s)
{
	return container_of(s, struct vsock_host, dev);
}

/* ---- the table ---- */
static struct vsock_conn **bucket_of(const struct vsock_host *h, u32 guest_port, u32 host_port)
{
	return (struct vsock_conn **)&h->bucket[(guest_port * 31 + host_port) % VSOCK_BUCKET];
}

struct vsock_conn *vsock_conn_find(const struct vsock_host *h, u32 guest_port, u32 host_port)
{
	struct vsock_conn *c = *bucket_of(h, guest_port, host_port);

	while (c && (c->guest_port != guest_port || c->host_port != host_port))
		c = c->bucket;
	return c;
}

void vsock_conn_name(struct vsock_conn *c, u32 guest_port, u32 host_port)
{
	struct vsock_conn **b = bucket_of(c->host, guest_port, host_port);

	c->guest_port = guest_port;
	c->host_port = host_port;
	c->bucket = *b;
	*b = c;
}

u32 vsock_new_port(struct vsock_host *h, u32 guest_port)
{
	do
		h->next_port = MAX(h->next_port + 1, PORT_FIRST);
	while (vsock_conn_find(h, guest_port, h->next_port));
	return h->next_port;
}

static void unname(struct vsock_conn *c)
{
	struct vsock_conn **p = bucket_of(c->host, c->guest_port, c->host_port);

	while (*p && *p != c)
		p = &(*p)->bucket;
	if (*p)
		*p = c->bucket;
}

void vsock_conn_queue(struct vsock_conn *c)
{
	struct vsock_host *h = c->host;

	if (c->queued)
		return;
	c->queued = true;
	c->next = NULL;
	*h->last = c;
	h->last = &c->next;
}

static struct vsock_conn *unqueue_first(struct vsock_host *h)
{
	struct vsock_conn *c = h->first;

	if (!c)
		return NULL;
	h->first = c->next;
	if (!h->first)
		h->last = &h->first;
	c->queued = false;
	return c;
}

static void unqueue(struct vsock_conn *c)
{
	struct vsock_host *h = c->host;
	struct vsock_conn **p = &h->first;

	if (!c->queued)
		return;
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	if (h->last == &c->next)
		h->last = p;
	c->queued = false;
}

static void clear(struct vsock_conn *c)
{
	memset((u8 *)c + offsetof(struct vsock_conn, bucket), 0, sizeof(*c) - offsetof(struct vsock_conn, bucket));
	c->fd = -1;
}

void vsock_conn_free(struct vsock_conn *c)
{
	unname(c);
	unqueue(c);
	loop_unwatch(c->host->machine->loop, c->fd);
	close(c->fd);
	free(c->buf);
	clear(c);
}

static bool add_stray(struct vsock_host *h, u32 guest_port, u32 host_port);

static struct vsock_conn *make_room(struct vsock_host *h)
{
	for (unsigned k = 0; k < VSOCK_CONNS; k++) {
		struct vsock_conn *c = &h->conn[k];

		if (!vsock_conn_expendable(c) ||
		    (c->state != CONN_GREETING && !add_stray(h, c->guest_port, c->host_port)))
			continue;
		vsock_conn_free(c);
		return c;
	}
	return NULL;
}

/* ---- sockets ---- */
static void tell_device(struct vsock_host *h)
{
	if (h->dev.front.ready)
		h->dev.front.ready(h->dev.front.arg);
}

static bool has_packets(const struct vsock_host *h)
{
	return h->first || h->strays;
}

static void on_socket(void *arg, u32 events)
{
	struct vsock_conn *c = arg;
	struct vsock_host *h = c->host;
	bool ready;

	pthread_mutex_lock(&h->lock);
	vsock_conn_event(c);
	ready = has_packets(h);
	pthread_mutex_unlock(&h->lock);
	if (ready)
		tell_device(h);
}

struct vsock_conn *vsock_conn_take(struct vsock_host *h, int fd)
{
	struct vsock_conn *c = NULL;

	for (unsigned k = 0; k < VSOCK_CONNS && !c; k++)
		c = h->conn[k].state == CONN_FREE ? &h->conn[k] : NULL;
	if (!c)
		c = make_room(h);
	if (!c || loop_watch(h->machine->loop, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, on_socket, c, NULL)) {
		close(fd);
		return NULL;
	}
	clear(c);
	c->fd = fd;
	c->state = CONN_GREETING;
	c->writable = true;
	return c;
}

/* Edge-triggered as well: when descriptors have run out, connections wait for the next one. */
static void on_listener(void *arg, u32 events)
{
	struct vsock_host *h = arg;
	int fd;

	pthread_mutex_lock(&h->lock);
	while ((fd = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0 || errno == EINTR ||
	       errno == ECONNABORTED)
		if (fd >= 0)
			vsock_conn_take(h, fd);
	pthread_mutex_unlock(&h->lock);
}

/* ---- packets from the guest ---- */
static bool add_stray(struct vsock_host *h, u32 guest_port, u32 host_port)
{
	if (h->strays == VSOCK_STRAYS)
		return false;
	h->stray[h->strays++] = (struct virtio_vsock_hdr){
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = h->dev.guest_cid,
		.src_port = host_port,
		.dst_port = guest_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = VIRTIO_VSOCK_OP_RST,
	};
	return true;
}

/* The socket PATH_PORT; -1: nobody listens there, or too many wait already. */
static int connect_to(const struct vsock_host *h, u32 port)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a = h->address;
	size_t len = strlen(a.sun_path);

	if (fd < 0)
		return -1;
	snprintf(a.sun_path + len, sizeof(a.sun_path) - len, "_%u", port);
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		return -1;
	return steal_fd(fd);
}

static void open_from_guest(struct vsock_host *h, const struct virtio_vsock_hdr *p)
{
	int fd = connect_to(h, p->dst_port);
	struct vsock_conn *c = fd < 0 ? NULL : vsock_conn_take(h, fd);

	if (!c) {
		add_stray(h, p->src_port, p->dst_port);
		return;
	}
	c->state = CONN_OPEN;
	c->owes = OWE_RESPONSE;
	c->peer_alloc = p->buf_alloc;
	c->peer_fwd = p->fwd_cnt;
	vsock_conn_name(c, p->src_port, p->dst_port);
	vsock_conn_queue(c);
}

/* Other contexts' packets are dropped, 5.10.6.4.1; of other types than ours refused, 5.10.6.6. A new connection can cost two
 * answers: its own, and that of one that makes room for it. */
static bool take(struct vsock_host *h, const struct virtio_vsock_hdr *p, const struct iovec *iov, unsigned iovs)
{
	struct vsock_conn *c = NULL;

	if (p->src_cid != h->dev.guest_cid || p->dst_cid != VSOCK_HOST_CID)
		return true;
	if (h->strays + 2 > VSOCK_STRAYS)
		return false;
	if (p->type == VIRTIO_VSOCK_TYPE_STREAM)
		c = vsock_conn_find(h, p->src_port, p->dst_port);
	if (c)
		vsock_conn_packet(c, p, iov, iovs);
	else if (p->op == VIRTIO_VSOCK_OP_REQUEST && p->type == VIRTIO_VSOCK_TYPE_STREAM)
		open_from_guest(h, p);
	else if (p->op != VIRTIO_VSOCK_OP_RST)
		add_stray(h, p->src_port, p->dst_port);
	return true;
}

static bool host_take(struct vsockdev *s, const struct virtio_vsock_hdr *p, const struct iovec *iov, unsigned iovs)
{
	struct vsock_host *h = host_of(s);
	bool taken;

	pthread_mutex_lock(&h->lock);
	taken = take(h, p, iov, iovs);
	pthread_mutex_unlock(&h->lock);
	return taken;
}

/* ---- packets to the guest ---- */
static bool give(struct vsock_host *h, struct virtio_vsock_hdr *p, const struct iovec *iov, unsigned iovs)
{
	struct vsock_conn *c;
	bool later, given;

	if (h->strays) {
		*p = h->stray[--h->strays];
		return true;
	}
	while ((c = unqueue_first(h))) {
		given = vsock_conn_give(c, p, iov, iovs, &later);
		if ((given && c->state != CONN_FREE) || later || (!given && c->state == CONN_DEAD))
			vsock_conn_queue(c);
		if (given || later)
			return given;
	}
	return false;
}

static bool host_give(struct vsockdev *s, struct virtio_vsock_hdr *p, const struct iovec *iov, unsigned iovs)
{
	struct vsock_host *h = host_of(s);
	bool given;

	pthread_mutex_lock(&h->lock);
	given = give(h, p, iov, iovs);
	pthread_mutex_unlock(&h->lock);
	return given;
}

/* Connections that the guest has never heard of wait for its driver. */
static void host_reset(struct vsockdev *s)
{
	struct vsock_host *h = host_of(s);

	pthread_mutex_lock(&h->lock);
	h->strays = 0;
	for (unsigned k = 0; k < VSOCK_CONNS; k++) {
		struct vsock_conn *c = &h->conn[k];
		bool unheard = c->state == CONN_GREETING || (c->state == CONN_ASKED && c->owes & OWE_REQUEST);

		if (c->state != CONN_FREE && !unheard)
			vsock_conn_free(c);
	}
	pthread_mutex_unlock(&h->lock);
}

/* ---- making and releasing ---- */
static void host_destroy(struct vsockdev *s)
{
	struct vsock_host *h = host_of(s);

	for (unsigned k = 0; k < VSOCK_CONNS; k++)
		if (h->conn[k].state != CONN_FREE)
			vsock_conn_free(&h->conn[k]);
	if (h->listener >= 0) {
		loop_unwatch(h->machine->loop, h->listener);
		close(h->listener);
	}
	if (h->bound)
		unlink(h->address.sun_path);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static const struct vsockdev_ops host_ops = {
	.name = "unix", .take = host_take, .give = host_give, .reset = host_reset, .destroy = host_destroy
};

/* A socket that nobody listens at is what a killed process left behind. */
static bool is_stale(const struct sockaddr_un *a)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	return fd >= 0 && !lstat(a->sun_path, &st) && S_ISSOCK(st.st_mode) &&
	       connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 && errno == ECONNREFUSED;
}

static int listen_at(struct vsock_host *h, const char *path, struct error *err)
{
	const struct sockaddr *a = (const struct sockaddr *)&h->address;
	int e;

	h->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->listener < 0)
		return error_set(err, errno, "cannot make a socket: %s", strerror(errno));
	e = bind(h->listener, a, sizeof(h->address)) ? errno : 0;
	if (e == EADDRINUSE && is_stale(&h->address) && !unlink(path))
		e = bind(h->listener, a, sizeof(h->address)) ? errno : 0;
	h->bound = !e;
	if (!e)
		e = listen(h->listener, BACKLOG) ? errno : 0;
	if (e)
		return error_set(err, e, "cannot listen at %s: %s", path, strerror(e));
	return loop_watch(h->machine->loop, h->listener, EPOLLIN | EPOLLET, on_listener, h, err);
}

static int check(u64 cid, const char *path, struct error *err)
{
	if (cid < VSOCK_CID_MIN || cid > VSOCK_CID_MAX)
		return error_set(err, EINVAL, "a guest's context ID is a number from %u to %u, not %llu", VSOCK_CID_MIN,
				 VSOCK_CID_MAX, (unsigned long long)cid);
	if (!*path || strlen(path) > VSOCK_PATH_MAX)
		return error_set(err, EINVAL, "the path of a socket has 1 to %zu characters: '%s'", VSOCK_PATH_MAX,
				 path);
	return 0;
}

struct vsockdev *vsock_host_new(struct machine *m, u64 cid, const char *path, struct error *err)
{
	struct vsock_host *h = NULL;

	if (check(cid, path, err))
		return NULL;
	h = calloc(1, sizeof(*h));
	if (!h) {
		error_set(err, ENOMEM, "no memory for sockets to the guest");
		return NULL;
	}
	h->dev = (struct vsockdev){ .ops = &host_ops, .guest_cid = cid };
	h->machine = m;
	h->last = &h->first;
	for (unsigned k = 0; k < VSOCK_CONNS; k++)
		h->conn[k] = (struct vsock_conn){ .host = h, .fd = -1 };
	pthread_mutex_init(&h->lock, NULL);
	h->address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(h->address.sun_path, path, strlen(path));
	if (listen_at(h, path, err)) {
		host_destroy(&h->dev);
		return NULL;
	}
	return &h->dev;
}
