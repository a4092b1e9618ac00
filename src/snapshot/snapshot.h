/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: writable states of a root file system, each under a name. A snapshot stands on a base (a directory or an unpacked
 * image, which it never changes), on layers that it shares with others, and has what was changed since in a directory of its own.
 * To take one of another moves that other's changes into a layer, which both then stand on: no file is copied.
 *
 * $XDG_DATA_HOME/sextant/snapshots, else ~/.local/share/sextant/snapshots; locked while a snapshot is made, changed or deleted:
 *
 *   names/NAME/info.json    what it stands on
 *   names/NAME/upper, work  its own changes, and the overlay's scratch; NAME is locked exclusively by who writes to it
 *   layers/ID               changes that do not change any more
 *   tmp/ID                  what goes, and the uppers of runs that keep nothing; locked by whom it belongs to
 */
#pragma once
#include "image/image.h"
#include "snapshot/overlay.h"

#define SNAPSHOT_PREFIX "snapshot:" /* of a name, where a root file system is asked for */
#define SNAPSHOT_LAYERS 24

struct snapshot {
	char *name, *path; /* of its folder */
	int fd; /* of that, which is what is locked */
	/* What info.json says. */
	char *base, *chain; /* a directory, or an image: then what it was, and its layers in the cache */
	char *pending; /* a layer that its upper was becoming when somebody was interrupted; NULL */
	char **layer; /* of layers/, the lowest first; NULL-terminated */
	unsigned layers;
	s64 created;
	bool unprivileged; /* its overlays' attributes are "user." ones */
	/* The base, held while the snapshot is open, and how its image is to be run. */
	struct image image;
};

enum snapshot_use { SNAPSHOT_LOOK, SNAPSHOT_READ, SNAPSHOT_WRITE }; /* LOOK: without its base, and unlocked */

/* root: as image_open() takes it, or "snapshot:NAME". */
int snapshot_create(const char *name, const char *root, struct error *err);
int snapshot_open(struct snapshot *s, const char *name, enum snapshot_use use, struct error *err);
void snapshot_close(struct snapshot *s);
/* Valid while s is. For reading, no upper: it is the uppermost lower. */
int snapshot_overlay(const struct snapshot *s, bool write, struct overlay *o, char *room[SNAPSHOT_LAYERS + 3],
		     struct error *err);
/* Its files now, read-only: as overlay_tree(). */
int snapshot_tree(const struct snapshot *s, struct error *err);

/* Sorted by name; to be freed with its words (words_free()). */
int snapshot_names(char ***names, struct error *err);
/* As `from` is now; NULL: as it was when it was made or last taken a snapshot of. */
int snapshot_restore(const char *name, const char *from, struct error *err);
int snapshot_delete(const char *name, struct error *err);

/* difference.c: each change between two trees, in order of names: 'A' added, 'C' changed, 'D' deleted. */
typedef void difference_fn(void *arg, char what, const char *path);
int tree_differences(int before, int after, difference_fn *tell, void *arg, struct error *err);

/* scratch.c: an upper for a run that keeps nothing. */
struct scratch {
	char *path;
	char *upper, *work, *root; /* in it; root is empty: to mount on */
	int fd; /* of it, locked */
};
int scratch_make(struct scratch *s, const char *like, struct error *err);
void scratch_free(struct scratch *s);
