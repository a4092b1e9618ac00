/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of snapshots, and what is written down about each. Only for this folder; see snapshot.h. */
#pragma once
#include "image/json.h"
#include "snapshot/snapshot.h"

struct store {
	char *path;
	int fd; /* locked exclusively */
};
int store_path(char **path, struct error *err); /* allocated */
int store_open(struct store *s, struct error *err);
void store_close(struct store *s);

#define SNAPSHOT_NAME_MAX 64
int snapshot_check_name(const char *name, struct error *err);
/* Into s, whose name, path and fd are there. */
int snapshot_load(struct snapshot *s, struct error *err);
/* dir: of the snapshot's folder. */
int snapshot_save(const struct snapshot *s, int dir, struct error *err);
/* An upper and a work that are there, whatever was interrupted; the caller has the snapshot for itself. */
int snapshot_mend(struct snapshot *s, const struct store *store, struct error *err);
/* Its changes become a layer, if there are any. */
int snapshot_freeze(struct snapshot *s, const struct store *store, struct error *err);
/* Moves store/name out of sight and deletes it. */
int store_discard(const struct store *s, const char *name, struct error *err);
/* What interrupted runs have left in tmp. */
void store_sweep(const struct store *s);
/* Layers that no snapshot stands on. */
void store_collect(const struct store *s);
/* What the upper of s lies on, for its root's owner and mode; allocated. */
char *snapshot_below(const struct snapshot *s, const struct store *store);
