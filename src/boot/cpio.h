/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a "newc" cpio archive into memory (Documentation/driver-api/early-userspace/buffer-format.rst), and trees into it. */
#pragma once
#include "boot/image.h"

struct cpio {
	struct blob *out;
	size_t room; /* allocated bytes of out->data */
	u64 limit; /* most that out may have */
};

struct cpio_entry {
	const char *name; /* relative, without a leading slash; "." is the root directory */
	u32 ino; /* entries with equal ino and nlink above 1 are one file; else it must be unique */
	u32 mode, uid, gid, nlink, mtime;
	u32 rdev_major, rdev_minor;
	u32 size;
};

/* Appends to out, from the next multiple of four bytes. */
int cpio_begin(struct cpio *c, struct blob *out, u64 limit, struct error *err);
/* Header and name. *data is where the caller puts size bytes, before anything else is added. */
int cpio_add(struct cpio *c, const struct cpio_entry *e, u8 **data, struct error *err);
int cpio_end(struct cpio *c, struct error *err);

/* ---- tree.c ---- */
/* Adds the directory and all below it. *next_ino: the inode number given out last. owners_beside: as in boot_config. */
int tree_pack(struct cpio *c, u32 *next_ino, const char *dir, bool owners_beside, struct error *err);
