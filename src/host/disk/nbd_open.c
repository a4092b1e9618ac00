/* SPDX-License-Identifier: Apache-2.0 */
/* Connecting to an NBD server, and believing only what makes sense of what it says about its disk. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/disk/nbd.h"

#define PART_MAX    (1u << 20) /* of data in one command */
#define BLOCK_MAX   4096
/* Seconds until a silent server is taken for dead. Ours has no network between, and a slow disk is no reason. */
#define TIMEOUT	    30
#define OWN_TIMEOUT 120

static int refuse(struct error *err, const char *what)
{
	const char *why = nbd_get_error();

	if (why && !strncmp(why, "nbd_", 4) && strstr(why, ": ")) /* the function's name */
		why = strstr(why, ": ") + 2;
	return error_set(err, EIO, "%s%s%s", what, why ? ": " : "", why ? why : "");
}

static int wait_ready(struct nbd *n, struct error *err)
{
	u64 end = nbd_now() + n->timeout, now;

	while (!nbd_aio_is_ready(n->handle)) {
		if (nbd_aio_is_dead(n->handle) || nbd_aio_is_closed(n->handle))
			return refuse(err, "the NBD server does not serve us");
		now = nbd_now();
		if (now >= end)
			return error_set(err, ETIMEDOUT, "the NBD server has not answered for %llu s",
					 (unsigned long long)n->timeout / 1000);
		if (nbd_step(n->handle, -1, (int)MIN(end - now, (u64)INT32_MAX)))
			return refuse(err, "the NBD server does not serve us");
	}
	return 0;
}

static int block_sizes(struct nbd *n, struct error *err)
{
	s64 min = nbd_get_block_size(n->handle, LIBNBD_SIZE_MINIMUM);
	s64 best = nbd_get_block_size(n->handle, LIBNBD_SIZE_PREFERRED);
	s64 max = nbd_get_block_size(n->handle, LIBNBD_SIZE_MAXIMUM);

	n->min_block = (u32)MAX(min, (s64)SECTOR);
	if (min < 0 || min > BLOCK_MAX || (min & (min - 1)))
		return error_set(err, EINVAL, "the NBD server's blocks are of %lld bytes, more than a disk's",
				 (long long)min);
	if (max && max < BLOCK_MAX)
		return error_set(err, EINVAL, "the NBD server takes no more than %lld bytes", (long long)max);
	n->max_part = (u32)(max ? MIN(max, (s64)PART_MAX) : PART_MAX) / BLOCK_MAX * BLOCK_MAX;
	n->b.info.block_size = n->min_block > SECTOR ? BLOCK_MAX : SECTOR;
	n->b.info.optimal_io = best > 0 && best <= PART_MAX ? (u32)best : 0;
	return 0;
}

/* The server's disk ends with a whole block: what is behind cannot be read in sectors. */
static int geometry(struct nbd *n, bool writable, struct error *err)
{
	struct disk_info *info = &n->b.info;
	s64 size = nbd_get_size(n->handle);

	if (block_sizes(n, err))
		return err->code;
	info->size = size > 0 ? (u64)size / info->block_size * info->block_size : 0;
	if (!info->size)
		return error_set(err, EINVAL, "the NBD server's disk has no size that a disk can have");
	if (writable && nbd_is_read_only(n->handle))
		return error_set(err, EROFS,
				 "the NBD server's disk cannot be written (readonly=on or snapshot=on only reads it)");
	info->readonly = !writable;
	info->can_write_zeroes = writable;
	info->can_discard = writable && nbd_can_trim(n->handle) > 0;
	n->can_zero = nbd_can_zero(n->handle) > 0;
	n->can_flush = nbd_can_flush(n->handle) > 0;
	n->fua = !n->can_flush && nbd_can_fua(n->handle) > 0;
	return 0;
}

static struct nbd *nbd_new(const struct disk_spec *s, unsigned timeout, struct error *err)
{
	struct nbd *n;

	if (nbd_load(err))
		return NULL;
	n = calloc(1, sizeof(*n));
	if (n) {
		n->b.ops = &nbd_ops;
		n->lock_fd = -1;
		n->timeout = (s->timeout ? s->timeout : timeout) * 1000ull;
		n->log = s->log;
		n->name = strdup(s->target);
		n->handle = nbd_create();
		if (n->handle && n->name)
			return n;
		blockdev_destroy(&n->b);
	}
	error_set(err, ENOMEM, "out of memory");
	return NULL;
}

static int set_up(struct nbd *n, const struct disk_spec *s, struct error *err)
{
	int e = wait_ready(n, err);

	if (!e)
		e = geometry(n, !s->readonly && !s->snapshot, err);
	return e ? e : nbd_start(n, err);
}

/* Without either, libnbd takes whatever certificate it is shown (so do 1.14 and its neighbours), and anybody in between. */
static bool tls_is_checked(const char *uri)
{
	return strncmp(uri, "nbds", 4) || strstr(uri, "tls-certificates=") || strstr(uri, "tls-psk-file=");
}

struct blockdev *nbd_open_uri(const struct disk_spec *s, struct error *err)
{
	struct nbd *n;
	int e;

	if (!tls_is_checked(s->target)) {
		error_set(err, EINVAL,
			  "%s: TLS needs ?tls-certificates=DIRECTORY or ?tls-psk-file=FILE to know the server by",
			  s->target);
		return NULL;
	}
	n = nbd_new(s, TIMEOUT, err);
	if (!n)
		return NULL;
	/* The URI is the user's, who may name a file with a TLS key. */
	nbd_set_uri_allow_local_file(n->handle, true);
	e = nbd_aio_connect_uri(n->handle, s->target) ? refuse(err, "cannot connect") : set_up(n, s, err);
	if (!e)
		return &n->b;
	error_wrap(err, "%s", s->target);
	blockdev_destroy(&n->b);
	return NULL;
}

/* What our server has said is more use than what the connection then did. */
static void explain(struct nbd *n, const struct disk_spec *s, struct error *err)
{
	char words[256];

	n->failed = true;
	qemu_nbd_words(n->server, words, sizeof(words));
	if (*words)
		error_set(err, err->code, "%s", words);
	error_wrap(err, "%s", s->target);
}

struct blockdev *nbd_open_socket(const struct disk_spec *s, int fd, int lock_fd, struct qemu_nbd *server,
				 struct error *err)
{
	struct nbd *n = nbd_new(s, OWN_TIMEOUT, err);
	int e;

	if (!n) {
		close(fd);
		close(lock_fd);
		qemu_nbd_stop(server, 0);
		return NULL;
	}
	n->server = server;
	n->lock_fd = lock_fd;
	e = nbd_aio_connect_socket(n->handle, fd) ? refuse(err, "cannot connect") : set_up(n, s, err);
	if (!e)
		return &n->b;
	explain(n, s, err);
	blockdev_destroy(&n->b);
	return NULL;
}
