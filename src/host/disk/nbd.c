/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to an NBD server, through libnbd, on one thread that alone touches the handle. The server is not trusted: a
 * connection that breaks, talks nonsense or keeps a request waiting for too long is dead from then on, and every request,
 * under way or yet to come, completes with -EIO.
 */
#include "host/disk/nbd.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ABANDONED_MS 5000
#define CLOSE_MS     5000
#define SERVER_MS    30000 /* for our own to write out what nobody flushed */
/* Parts of what carries no data: little enough to be done in time. */
#define PART_MAX     (128u << 20)

u64 nbd_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

int nbd_step(struct nbd_handle *h, int fd, int ms)
{
	unsigned direction = nbd_aio_get_direction(h);
	struct pollfd p[2] = { { .fd = nbd_aio_get_fd(h) }, { .fd = fd, .events = POLLIN } };
	int ready;

	if (p[0].fd < 0)
		return -ENOTCONN;
	p[0].events = (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
			      (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
	ready = poll(p, 2, ms);
	if (ready <= 0 || !p[0].revents)
		return 0;
	/* One of the two: after it, the direction may be another one. */
	if (direction & LIBNBD_AIO_DIRECTION_READ && p[0].revents & (POLLIN | POLLHUP | POLLERR))
		return nbd_aio_notify_read(h) ? -EIO : 0;
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		return nbd_aio_notify_write(h) ? -EIO : 0;
	return -ENOTCONN;
}

/* libnbd holds its lock: nothing but a note. 1: the command is done with. */
static int answered(void *arg, int *error)
{
	struct nbd_slot *s = arg;

	s->error = *error;
	s->answered = true;
	return 1;
}

static void slot_done(struct nbd_slot *s, int error)
{
	struct disk_request *r = s->r;

	s->r = NULL;
	s->nbd->busy--;
	r->done(r, error);
}

static void slot_failed(struct nbd_slot *s, int error)
{
	slot_done(s, error == ENOSPC ? -ENOSPC : error == EPERM ? -EROFS : error == ENOMEM ? -ENOMEM : -EIO);
}

/* The memory of the next part of a read or write: the guest's if it is one piece that is worth it, else the buffer. */
static void *part_memory(struct nbd_slot *s)
{
	struct iov_cursor c = iov_cursor_at(s->r, s->done);
	u64 left = s->r->len - s->done, bytes;
	struct iovec piece;

	if (iov_cursor_window(&c, &piece, 1, MIN(left, (u64)s->nbd->max_part), &bytes) &&
	    !(bytes % s->nbd->b.info.block_size) && (bytes == left || bytes >= NBD_BUFFER)) {
		s->bounced = false;
		s->part = bytes;
		return piece.iov_base;
	}
	s->bounced = true;
	s->part = MIN(left, (u64)MIN(s->nbd->max_part, NBD_BUFFER));
	if (!s->buffer)
		s->buffer = calloc(1, NBD_BUFFER);
	if (s->buffer && s->r->op == DISK_WRITE)
		iov_cursor_take(&c, s->buffer, s->part);
	return s->buffer;
}

/* Zeros where the server cannot make them. */
static void *zero_memory(struct nbd_slot *s)
{
	s->bounced = true;
	s->part = MIN(s->r->len - s->done, (u64)MIN(s->nbd->max_part, NBD_BUFFER));
	free(s->buffer);
	s->buffer = calloc(1, NBD_BUFFER);
	return s->buffer;
}

static s64 ask_data(struct nbd_slot *s, nbd_completion_callback cb)
{
	struct nbd *n = s->nbd;
	u64 at = s->r->offset + s->done;
	void *p = s->r->op == DISK_WRITE_ZEROES ? zero_memory(s) : part_memory(s);

	if (!p)
		return -1;
	if (s->r->op == DISK_READ)
		return nbd_aio_pread(n->handle, p, s->part, at, cb, 0);
	return nbd_aio_pwrite(n->handle, p, s->part, at, cb, n->fua ? LIBNBD_CMD_FLAG_FUA : 0);
}

static s64 ask(struct nbd_slot *s)
{
	nbd_completion_callback cb = { .callback = answered, .user_data = s };
	struct nbd *n = s->nbd;
	u64 at = s->r->offset + s->done;
	u32 flags;

	switch (s->r->op) {
	case DISK_FLUSH: return nbd_aio_flush(n->handle, cb, 0);
	case DISK_DISCARD:
		s->part = MIN(s->r->len - s->done, (u64)PART_MAX);
		return nbd_aio_trim(n->handle, s->part, at, cb, 0);
	case DISK_WRITE_ZEROES:
		if (!n->can_zero)
			return ask_data(s, cb);
		s->part = MIN(s->r->len - s->done, (u64)PART_MAX);
		flags = (s->r->may_unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE) | (n->fua ? LIBNBD_CMD_FLAG_FUA : 0);
		return nbd_aio_zero(n->handle, s->part, at, cb, flags);
	default: return ask_data(s, cb);
	}
}

static void ask_next(struct nbd_slot *s)
{
	s->answered = false;
	s->part = 0;
	s->since = nbd_now();
	if (ask(s) < 0 && !s->answered)
		slot_failed(s, EIO);
}

static void part_done(struct nbd_slot *s)
{
	s->answered = false;
	if (s->error) {
		slot_failed(s, s->error);
		return;
	}
	if (s->r->op == DISK_READ && s->bounced) {
		struct iov_cursor c = iov_cursor_at(s->r, s->done);

		iov_cursor_fill(&c, s->buffer, s->part);
	}
	s->done += s->part;
	if (s->r->op == DISK_FLUSH || s->done == s->r->len)
		slot_done(s, 0);
	else
		ask_next(s);
}

/* What can be answered without the server: true, and *e. */
static bool without_server(const struct nbd *n, const struct disk_request *r, int *e)
{
	*e = request_check(&n->b.info, r);
	if (!*e && (r->offset | r->len) % n->min_block && r->op != DISK_FLUSH)
		*e = -EINVAL;
	if (!*e && !n->handle)
		*e = -EIO;
	if (*e)
		return true;
	if (r->op == DISK_FLUSH)
		return n->b.info.readonly || !n->can_flush;
	return !r->len || (r->op == DISK_DISCARD && !n->b.info.can_discard);
}

static struct nbd_slot *free_slot(struct nbd *n)
{
	for (unsigned i = 0; i < NBD_DEPTH; i++)
		if (!n->slot[i].r)
			return &n->slot[i];
	return NULL;
}

static void begin_waiting(struct nbd *n)
{
	while (n->waiting.first && n->busy < NBD_DEPTH) {
		struct disk_request *r = request_list_take(&n->waiting);
		struct nbd_slot *s = free_slot(n);
		int e;

		if (without_server(n, r, &e)) {
			r->done(r, e);
			continue;
		}
		n->busy++;
		s->nbd = n;
		s->r = r;
		s->done = 0;
		ask_next(s);
	}
}

static void take_answers(struct nbd *n)
{
	for (unsigned i = 0; i < NBD_DEPTH; i++)
		if (n->slot[i].r && n->slot[i].answered)
			part_done(&n->slot[i]);
}

static void die(struct nbd *n, const char *why)
{
	if (why)
		disk_report(&n->log, "disk: %s: %s; the guest's requests fail from now on", n->name, why);
	nbd_close(n->handle); /* from here on nobody writes to a request's memory */
	n->handle = NULL;
	n->failed = true;
	for (unsigned i = 0; i < NBD_DEPTH; i++)
		if (n->slot[i].r)
			slot_failed(&n->slot[i], EIO);
}

/* How long the one that has waited for longest may still wait. -1: none waits. */
static s64 patience(const struct nbd *n, bool abandoned)
{
	u64 now = nbd_now(), limit = abandoned ? MIN(n->timeout, (u64)ABANDONED_MS) : n->timeout;
	s64 least = -1;

	for (unsigned i = 0; i < NBD_DEPTH; i++) {
		u64 age = now - n->slot[i].since;
		s64 left = age >= limit ? 0 : (s64)(limit - age);

		if (n->slot[i].r && (least < 0 || left < least))
			least = left;
	}
	return least;
}

static void work(struct nbd *n, bool abandoned)
{
	s64 ms = patience(n, abandoned);

	if (!ms)
		die(n, abandoned ? NULL : "the server has been silent for too long");
	else if (nbd_step(n->handle, n->inbox.fd, ms < 0 ? -1 : (int)MIN(ms, (s64)INT32_MAX)))
		die(n, "the server is lost");
	else
		take_answers(n);
}

static void *run(void *arg)
{
	struct nbd *n = arg;
	struct pollfd inbox = { .fd = n->inbox.fd, .events = POLLIN };

	for (;;) {
		struct inbox_flags f = inbox_take(&n->inbox, &n->waiting);

		begin_waiting(n);
		if (f.stop && !n->waiting.first && !n->busy)
			return NULL;
		if (n->handle)
			work(n, f.abandon);
		else
			poll(&inbox, 1, -1);
	}
}

int nbd_start(struct nbd *n, struct error *err)
{
	int e = inbox_init(&n->inbox);

	if (!e) {
		e = thread_start(&n->thread, run, n);
		if (!e) {
			n->started = true;
			return 0;
		}
		inbox_release(&n->inbox);
	}
	return error_set(err, e, "cannot start a thread for a disk: %s", strerror(-e));
}

static void submit(struct blockdev *b, struct disk_request *r)
{
	inbox_put(&container_of(b, struct nbd, b)->inbox, r);
}

static void abandon(struct blockdev *b)
{
	struct nbd *n = container_of(b, struct nbd, b);

	inbox_signal(&n->inbox, &n->inbox.abandon);
}

/* Says good-bye, so that the server need not guess, and waits for it to close. */
static void disconnect(struct nbd *n)
{
	u64 end = nbd_now() + CLOSE_MS, now;

	if (nbd_aio_is_ready(n->handle) <= 0 || nbd_aio_disconnect(n->handle, 0))
		return;
	while (!nbd_aio_is_closed(n->handle) && !nbd_aio_is_dead(n->handle) && (now = nbd_now()) < end)
		if (nbd_step(n->handle, -1, (int)(end - now)))
			return;
}

static void destroy(struct blockdev *b)
{
	struct nbd *n = container_of(b, struct nbd, b);

	if (n->started) {
		inbox_signal(&n->inbox, &n->inbox.stop);
		pthread_join(n->thread, NULL);
		inbox_release(&n->inbox);
	}
	if (n->handle) {
		disconnect(n);
		nbd_close(n->handle);
	}
	if (n->server)
		qemu_nbd_stop(n->server, n->failed ? 0 : SERVER_MS);
	if (n->lock_fd >= 0)
		close(n->lock_fd);
	for (unsigned i = 0; i < NBD_DEPTH; i++)
		free(n->slot[i].buffer);
	free(n->name);
	free(n);
}

const struct blockdev_ops nbd_ops = { .name = "nbd", .submit = submit, .abandon = abandon, .destroy = destroy };
