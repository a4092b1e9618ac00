/* SPDX-License-Identifier: Apache-2.0 */
/* A disk behind an NBD server, between its two files: nbd_open.c connects and asks, nbd.c does the requests. */
#pragma once
#include <libnbd.h>

#include "host/disk/backend.h"
#include "host/disk/request.h"

#define NBD_DEPTH  64 /* requests at the server; others wait */
#define NBD_BUFFER (256u << 10)

struct nbd;

/* A request at the server, part after part. */
struct nbd_slot {
	struct nbd *nbd;
	struct disk_request *r; /* NULL: free */
	u64 done, part; /* bytes: answered, asked for */
	u64 since; /* when that part was asked for, ms */
	u8 *buffer; /* NBD_BUFFER bytes, once needed: NBD has no scatter and gather */
	bool bounced, answered;
	int error; /* of the part, positive; with answered */
};

struct nbd {
	struct blockdev b;
	struct nbd_handle *handle; /* NULL: dead, all requests fail */
	struct qemu_nbd *server; /* ours, or NULL */
	int lock_fd;
	char *name; /* for reports */
	struct disk_log log;
	u64 timeout; /* ms without an answer after which the server is taken for dead */
	bool can_flush, can_zero, fua; /* fua: each write is durable, as the server has no flush */
	u32 max_part, min_block;
	struct inbox inbox;
	struct request_list waiting;
	struct nbd_slot slot[NBD_DEPTH];
	unsigned busy;
	bool failed; /* it died or was silent: it is not asked to close */
	pthread_t thread;
	bool started;
};

int nbd_load(struct error *err); /* libnbd.c: before any of its functions */
u64 nbd_now(void); /* ms */
/* Waits until the socket or (fd >= 0) fd is ready, at most ms, and lets libnbd work. Negative: the connection is dead. */
int nbd_step(struct nbd_handle *h, int fd, int ms);
/* nbd.c: starts the thread of a connected handle. */
int nbd_start(struct nbd *n, struct error *err);
extern const struct blockdev_ops nbd_ops;
