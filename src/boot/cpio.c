/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The newc writer. Written here rather than through libarchive, which neither writes hard links' data where Linux wants it nor
 * keeps names that no character set has.
 */
#include "boot/cpio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN	   4
#define HEADER_LEN 110
#define FIRST_ROOM (1u << 20)
#define TRAILER	   "TRAILER!!!"

/* Adds len bytes and zeroes that align the end; the archive begins aligned, so that alignment in out is alignment in it. */
static int extend(struct cpio *c, size_t len, u8 **at, struct error *err)
{
	size_t start = c->out->len, end = (start + len + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (end > c->limit)
		return error_set(err, EFBIG, "does not fit into the machine's memory; try a larger --mem");
	if (end > c->room) {
		size_t want = MAX(MAX(c->room * 2, end), (size_t)FIRST_ROOM);
		u8 *p = realloc(c->out->data, want);
		if (!p)
			return error_set(err, ENOMEM, "no memory for an archive of %zu MiB", want >> 20);
		c->out->data = p;
		c->room = want;
	}
	*at = c->out->data ? c->out->data + start : NULL;
	for (size_t i = start + len; i < end; i++)
		c->out->data[i] = 0;
	c->out->len = end;
	return 0;
}

int cpio_begin(struct cpio *c, struct blob *out, u64 limit, struct error *err)
{
	*c = (struct cpio){ .out = out, .room = out->len, .limit = limit };
	u8 *pad;
	return extend(c, 0, &pad, err);
}

static void put_header(u8 *at, const struct cpio_entry *e, size_t name_len)
{
	char text[HEADER_LEN + 1];
	/* The archive's device is 0:0 throughout: inode numbers are its own. */
	snprintf(text, sizeof(text), "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", e->ino, e->mode,
		 e->uid, e->gid, e->nlink, e->mtime, e->size, 0, 0, e->rdev_major, e->rdev_minor, (unsigned)name_len,
		 0);
	memcpy(at, text, HEADER_LEN);
}

int cpio_add(struct cpio *c, const struct cpio_entry *e, u8 **data, struct error *err)
{
	/* A file of the trailer's name would end the archive. */
	const char *prefix = strcmp(e->name, TRAILER) ? "" : "./";
	size_t name_len = strlen(prefix) + strlen(e->name) + 1;
	u8 *at;
	int r = extend(c, HEADER_LEN + name_len, &at, err);
	if (r)
		return r;
	put_header(at, e, name_len);
	sprintf((char *)at + HEADER_LEN, "%s%s", prefix, e->name);
	return extend(c, e->size, data, err);
}

int cpio_end(struct cpio *c, struct error *err)
{
	u8 *at;
	int r = extend(c, HEADER_LEN + sizeof(TRAILER), &at, err);
	if (r)
		return r;
	put_header(at, &(struct cpio_entry){ .nlink = 1 }, sizeof(TRAILER));
	memcpy(at + HEADER_LEN, TRAILER, sizeof(TRAILER));
	return 0;
}
