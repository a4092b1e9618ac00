/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What --rootfs names: a directory, or a container image that is unpacked into one: an OCI image layout (a directory or a tar
 * of one) or what docker save writes. Engines see the directory only; an image's is a cache's, and must not be written to.
 *
 * Images are untrusted. All that is unpacked has the digest that its image says, stays inside the directory, and is bounded.
 */
#pragma once
#include "util/error.h"
#include "util/types.h"

struct image {
	char *path; /* the root file system */
	bool is_image; /* else a directory as it is, and what follows is absent */
	bool unpacked; /* just now; else it was there */
	bool owners_beside; /* some owners and modes are told by util/override.h, the others are root's */
	char digest[80]; /* what identifies it: of its manifest, or its configuration */
	char chain[72]; /* hexadecimal: of its layers; its name in the cache */
	/* Of its configuration. NULL: nothing. */
	char **argv, **env; /* NULL-terminated */
	char *workdir, *user;
	int lock;
};

/* spec: PATH, or PATH:TAG or PATH@DIGEST of an image that has several. err begins with spec. */
int image_open(struct image *im, const char *spec, struct error *err);
void image_close(struct image *im);
/* An image of the cache by its layers; -ENOENT: it is not there (any more). Its configuration is not known. */
int image_open_chain(struct image *im, const char *chain, struct error *err);
/* Whether spec names an image rather than a directory that is a root file system: false if it is neither. */
bool image_is(const char *spec);

/* ---- the cache of unpacked images ---- */
struct image_entry {
	char chain[72];
	char *name; /* what it was unpacked from; "?" if that is not known */
	u64 bytes;
	s64 unpacked; /* seconds since 1970; 0: unknown */
};
int image_list(struct image_entry **list, size_t *count, struct error *err); /* the last unpacked first */
void image_list_free(struct image_entry *list, size_t count);
/* By its chain. -EBUSY: a run or a snapshot uses it. */
int image_remove(const char *chain, struct error *err);
/* A snapshot of that name stands on it, or does no longer. */
int image_pin(const char *chain, const char *snapshot, bool pin, struct error *err);
