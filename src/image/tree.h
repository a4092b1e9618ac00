/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A root file system while layers are put into it. Layers are hostile: names are resolved by the kernel as if the tree were
 * the root directory (openat2, RESOLVE_IN_ROOT), so that no link, "..", or absolute name leads out, and no file that exists is
 * ever written to: it is moved away and made anew. Nobody else changes the tree meanwhile.
 */
#pragma once
#include <sys/stat.h>
#include <time.h>

#include "image/budget.h"
#include "image/stream.h"

struct inode_set { /* open addressing; 0 is an empty slot */
	u64 *slot;
	size_t used, room;
};

struct tree_times { /* of directories, set when all is in them */
	char **path;
	struct timespec *mtime;
	size_t count;
};

struct tree {
	int root; /* the root file system */
	int trash; /* a directory beside it: what was replaced or deleted */
	unsigned trashed;
	bool can_own, can_make_devices; /* as far as it is given to us to do so for any user; else override.h */
	struct budget *budget;
	struct inode_set fresh; /* what the layer that is being put in has brought */
	struct tree_times times;
};

struct archive;
struct archive_entry;

/* layer.c: an uncompressed tar, read to its end. */
int tree_add_layer(struct tree *t, struct stream *tar, struct error *err);

/* ---- resolve.c ---- */
/* A descriptor (O_PATH) of the directory `path`, with links followed inside the tree; -1 and errno. */
int tree_directory(const struct tree *t, const char *path);
/* As that, making what is missing. */
int tree_make_directory(const struct tree *t, const char *path);
int tree_open(const struct tree *t, const char *path, int flags);

/* ---- node.c: one entry of a layer ---- */
/* name: without "." and "..", and neither absolute nor with a slash at its end. */
int tree_add_entry(struct tree *t, struct archive *a, struct archive_entry *e, const char *name, struct error *err);

/* ---- owner.c ---- */
/* Finds out what we may do, by doing it in `scratch`. */
void tree_probe(struct tree *t, int scratch);
/* Owner, mode and extended attributes of parent/name; fd: it, open, or -1 if it is neither file nor directory. */
int tree_set_owner(const struct tree *t, int fd, int parent, const char *name, const struct stat *st,
		   struct error *err);
void tree_set_xattrs(const struct tree *t, int fd, struct archive_entry *e);
/* Now for files, at the layer's end for directories. */
int tree_later(struct tree *t, const char *path, struct timespec mtime);
void tree_settle(struct tree *t);

/* ---- trash.c ---- */
int tree_discard(struct tree *t, int parent, const char *name); /* 0 or -1 and errno */
/* Deletes all that is in the directory, however deep; not the directory. Best effort. */
void trash_empty(int fd);
/* Whiteouts: what lower layers have of that name, or in that directory. 0 or -1 and errno. */
int tree_hide(struct tree *t, int parent, const char *name);
int tree_hide_all(struct tree *t, int parent);

int inode_set_add(struct inode_set *s, u64 ino);
bool inode_set_has(const struct inode_set *s, u64 ino);
void inode_set_clear(struct inode_set *s);
