/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overlay mounts (the kernel's Documentation/filesystems/overlayfs.rst): directories that are seen as one, of which only the
 * uppermost is written to. Who may not mount does it in a user namespace of its own, from Linux 5.11 on.
 */
#pragma once
#include "util/error.h"
#include "util/types.h"

#define OVERLAY_LAYERS_MAX 24 /* directories below the upper one; what fits into a mount's data of a page */

struct overlay {
	const char *lower[OVERLAY_LAYERS_MAX + 2]; /* the uppermost first */
	unsigned lowers;
	const char *upper, *work; /* NULL: read-only */
};
/* Whether attributes of overlays are to be "user.": for whoever has no right to "trusted." ones. */
bool overlay_unprivileged(void);
/* What mount(2) takes as data; allocated. */
int overlay_data(char **data, const struct overlay *o, struct error *err);
/* The whole of it, read-only whatever o says, as a directory's descriptor that goes with the process. `at`: an empty directory
 * of ours, which is used for a moment and in a namespace of our own. */
int overlay_tree(const struct overlay *o, const char *at, struct error *err);
/* An empty directory with owner, mode and override (util/override.h) of another: an upper's root is what is seen of a root. */
int overlay_make_upper(int parent, const char *name, const char *like, struct error *err);
