/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring: see uring.h. What does not fit into the ring waits in a list. */
#include "host/disk/uring.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/disk/request.h"

#define DEPTH 128

struct uring {
	struct io_uring ring;
	uring_done *done;
	void *arg;
	struct inbox inbox;
	struct request_list waiting;
	unsigned in_flight;
	bool watching; /* the inbox: a poll is in the ring */
	pthread_t thread;
};

static void prepare(struct uring *u, struct disk_request *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	int fd = (int)r->private[0];

	if (r->op == DISK_FLUSH)
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	else if (r->op == DISK_WRITE)
		io_uring_prep_writev(sqe, fd, r->iov, r->iovs, r->offset);
	else
		io_uring_prep_readv(sqe, fd, r->iov, r->iovs, r->offset);
	io_uring_sqe_set_data(sqe, r);
	u->in_flight++;
}

static void fill(struct uring *u)
{
	if (!u->watching) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

		if (sqe) {
			io_uring_prep_poll_add(sqe, u->inbox.fd, POLLIN);
			io_uring_sqe_set_data(sqe, NULL);
			u->watching = true;
		}
	}
	while (u->waiting.first && u->in_flight < DEPTH && io_uring_sq_space_left(&u->ring))
		prepare(u, request_list_take(&u->waiting));
}

static void reap(struct uring *u)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&u->ring, &cqe)) {
		struct disk_request *r = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&u->ring, cqe);
		if (!r) {
			u->watching = false;
			continue;
		}
		u->in_flight--;
		u->done(u->arg, r, result);
	}
}

static void *run(void *arg)
{
	struct uring *u = arg;

	while (!inbox_take(&u->inbox, &u->waiting).stop || u->waiting.first || u->in_flight) {
		fill(u);
		/* EAGAIN, EBUSY: the kernel is short of memory; what is prepared stays in the ring. */
		if (io_uring_submit_and_wait(&u->ring, 1) < 0)
			usleep(1000);
		reap(u);
	}
	return NULL;
}

static bool can(struct io_uring *ring)
{
	static const int needed[] = { IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_POLL_ADD };
	struct io_uring_probe *p = io_uring_get_probe_ring(ring);
	bool ok = p && (ring->features & IORING_FEAT_NODROP);

	for (unsigned i = 0; ok && i < ARRAY_SIZE(needed); i++)
		ok = io_uring_opcode_supported(p, needed[i]);
	io_uring_free_probe(p);
	return ok;
}

static int start(struct uring *u, struct error *err)
{
	int e = io_uring_queue_init(DEPTH + 1, &u->ring, 0);

	if (e)
		return error_set(err, e, "this host has no io_uring for us: %s", strerror(-e));
	e = can(&u->ring) ? inbox_init(&u->inbox) : -ENOSYS;
	if (!e) {
		e = thread_start(&u->thread, run, u);
		if (!e)
			return 0;
		inbox_release(&u->inbox);
	}
	io_uring_queue_exit(&u->ring);
	return error_set(err, e, "io_uring cannot be used: %s", strerror(-e));
}

struct uring *uring_new(uring_done *done, void *arg, struct error *err)
{
	struct uring *u = calloc(1, sizeof(*u));

	if (!u) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	u->done = done;
	u->arg = arg;
	if (!start(u, err))
		return u;
	free(u);
	return NULL;
}

void uring_submit(struct uring *u, struct disk_request *r, int fd)
{
	r->private[0] = (u64)fd;
	inbox_put(&u->inbox, r);
}

void uring_free(struct uring *u)
{
	if (!u)
		return;
	inbox_signal(&u->inbox, &u->inbox.stop);
	pthread_join(u->thread, NULL);
	inbox_release(&u->inbox);
	io_uring_queue_exit(&u->ring);
	free(u);
}
