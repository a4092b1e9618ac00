/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request on a raw file or a block device, with calls that block: the whole of what may happen, short transfers,
 * interruptions, alignment, the file's end, file systems that cannot do what is asked. io_uring does only the plain cases.
 */
#pragma once
#include <stdatomic.h>

#include "host/disk/disk.h"

struct raw_file {
	int fd; /* through the page cache */
	int direct_fd; /* past it; -1: not asked for */
	u32 align; /* of offsets, lengths and memory on direct_fd */
	bool block; /* a block device */
	u64 bytes; /* when it was opened; the disk's size is that, rounded up to sectors */
	u32 block_size; /* of a block device */
	char *name; /* for reports; owned by raw.c */
	struct disk_log log;
	/* Once the host could not write back, it forgets about it after having said so: no later flush may claim success. */
	_Atomic int flush_error;
};

/* Which descriptor can do a read or write of len bytes at offset; *bounce: but not with this memory. */
int raw_file_pick(const struct raw_file *f, const struct disk_request *r, u64 offset, u64 len, bool *bounce);
/* 0 or negative errno. */
int raw_execute(struct raw_file *f, const struct disk_request *r);
/* The outcome of an fdatasync(): what to tell. */
int raw_flushed(struct raw_file *f, int error);
