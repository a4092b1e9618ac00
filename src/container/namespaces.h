/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's namespaces: which are made, which are joined, and the id maps of a user namespace. */
#pragma once
#include <jansson.h>
#include <sched.h>
#include <sys/types.h>

#include "util/error.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#define NS_COUNT 8

struct ns_kind {
	const char *name, *file; /* the specification's, /proc's */
	u64 flag;
};
extern const struct ns_kind ns_kinds[NS_COUNT];

struct namespaces {
	u64 make; /* CLONE_NEW* */
	int join[NS_COUNT]; /* by ns_kinds; -1 */
	bool joins;
	u64 has; /* CLONE_NEW*: made or joined */
};
int ns_parse(const json_t *config, struct namespaces *n, struct error *err);
void ns_close(struct namespaces *n);
bool ns_has(const struct namespaces *n, u64 flag); /* made or joined */
bool ns_joins(const struct namespaces *n, u64 flag);
/* Joins all; a user namespace last, if its members may be joined with the privileges of now, else first. */
int ns_join(struct namespaces *n, struct error *err);
/* Before clone(): a time namespace for children. */
int ns_time(const json_t *config, struct error *err);

/* idmap.c: from the runtime's side. Uses newuidmap(1) and newgidmap(1) where the maps are more than a user may write. */
/* A descriptor of a new user namespace with these maps, or a negative errno. */
int idmap_userns(const json_t *uid, const json_t *gid, struct error *err);
int idmap_write(const json_t *config, pid_t pid, struct error *err);
