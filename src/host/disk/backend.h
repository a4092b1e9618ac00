/* SPDX-License-Identifier: Apache-2.0 */
/* The back ends, as disk_open() puts them together. */
#pragma once
#include "host/disk/disk.h"

/* One line, whose odd characters become '?'. */
void disk_report(const struct disk_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A file or block device. */
struct disk_file {
	int fd; /* its open file description carries the locks */
	bool writable;
	const char *path;
};

/* raw.c: takes file->fd over, whether it succeeds or not. */
struct blockdev *raw_open(struct disk_file *file, const struct disk_spec *s, struct error *err);
/* A file that nobody else knows and nobody needs after us, `size` bytes of zeros: *b is its disk. */
struct blockdev *raw_open_scratch(u64 size, const struct disk_spec *s, struct error *err);
/* Completes r with error, but from a thread of b's. */
void raw_answer(struct blockdev *b, struct disk_request *r, int error);

/* nbd.c: the server that s->target names. */
struct blockdev *nbd_open_uri(const struct disk_spec *s, struct error *err);
/* A server of ours at the other end of a connected socket; all three are taken over, whether it succeeds or not: socket, the
 * descriptor that carries the lock, the server (NULL: none). */
struct qemu_nbd;
struct blockdev *nbd_open_socket(const struct disk_spec *s, int fd, int lock_fd, struct qemu_nbd *server,
				 struct error *err);

/* qemu_nbd.c: starts one that serves the file, in format, to *fd. */
struct qemu_nbd *qemu_nbd_start(const struct disk_spec *s, const char *format, bool writable, int *fd,
				struct error *err);
/* What it last had to say, one line; "" if nothing. */
void qemu_nbd_words(struct qemu_nbd *q, char *to, size_t size);
/* Its connection is closed: waits up to patience_ms for its end, then ends it. */
void qemu_nbd_stop(struct qemu_nbd *q, int patience_ms);

/* overlay.c: takes base over, whether it succeeds or not. */
struct blockdev *overlay_open(struct blockdev *base, const struct disk_spec *s, struct error *err);
