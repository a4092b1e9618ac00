/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk between a device (the front end: virtio-blk, an IDE drive) and something on the host (the back end: a raw file, an
 * NBD connection, an overlay). The back end embeds struct blockdev and fills in ops and info; requests complete asynchronously.
 *
 * Ordering: requests that are under way at the same time may complete in any order. DISK_FLUSH makes every write that had
 * completed before the flush was submitted durable on the host's disk before it completes; a write that completed without
 * a flush after it may be lost, never a flushed one. Locking: a back end calls done() with none of its locks held, on any
 * thread; done() may submit again. A request and its memory stay the front end's, unmoved, until done().
 */
#pragma once
#include <sys/uio.h>

#include "util/error.h"

enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_WRITE_ZEROES };

struct disk_request {
	enum disk_op op;
	u64 offset,
		len; /* bytes; multiples of 512; inside the disk: the back end refuses others with -EINVAL, -EROFS, -ENOSPC */
	const struct iovec *iov; /* read, write: total length is len; parts have any alignment and length */
	unsigned iovs;
	bool may_unmap; /* write zeroes: the space may be given back */
	/* error: 0 or negative errno. Called exactly once for each submitted request. */
	void (*done)(struct disk_request *r, int error);
	void *arg;
	/* The back end's, from submit to done. */
	struct disk_request *next;
	u64 private[4];
};

struct disk_info {
	u64 size; /* bytes, a multiple of 512 */
	u32 block_size; /* logical: 512 or 4096 */
	u32 optimal_io; /* bytes; 0: unknown */
	bool readonly, can_discard, can_write_zeroes;
	char id[21]; /* serial number for the guest, NUL-terminated */
};

struct blockdev;
struct blockdev_ops {
	const char *name;
	/* Never blocks for long, never calls done() from within. Any thread. */
	void (*submit)(struct blockdev *b, struct disk_request *r);
	/* Optional. The machine has ended: what waits for somebody who does not answer completes soon, with an error. Any
	 * thread; the owner still waits for all its requests afterwards. */
	void (*abandon)(struct blockdev *b);
	/* All requests have been completed (the owner waits); frees b. */
	void (*destroy)(struct blockdev *b);
};
struct blockdev {
	const struct blockdev_ops *ops;
	struct disk_info info; /* fixed after opening */
};
static inline void blockdev_abandon(struct blockdev *b) /* NULL is fine */
{
	if (b && b->ops->abandon)
		b->ops->abandon(b);
}
static inline void blockdev_destroy(struct blockdev *b) /* NULL is fine */
{
	if (b)
		b->ops->destroy(b);
}
