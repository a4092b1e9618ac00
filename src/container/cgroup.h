/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's control groups: one directory in each hierarchy that this host has mounted. With cgroup v2 that is one, with v1
 * one for each controller or group of controllers, on hybrid hosts those and a v2 one without controllers; what follows asks
 * a hierarchy what it has and never the host what it is.
 */
#pragma once
#include <jansson.h>
#include <sys/types.h>

#include "util/error.h"

#define CGROUP_HIERARCHIES 16

struct hierarchy {
	char *mount; /* where it is mounted */
	char *controllers; /* v1: "cpu,cpuacct" or "name=systemd" */
	char *own; /* our own group below the mount */
	char *path; /* the container's directory below the mount, no slash in front */
	unsigned
		made; /* how many levels of it were not there before: they are ours to remove; 0: not even the last is */
	bool v2;
};
struct cgroup {
	struct hierarchy h[CGROUP_HIERARCHIES];
	unsigned n;
	char *unit; /* systemd's scope; NULL: directories are made by us */
};

int cgroup_find(struct cgroup *c, struct error *err); /* the host's hierarchies */
void cgroup_free(struct cgroup *c);
/* Where the container's groups are going to be: `path` is linux.cgroupsPath, which may be NULL. Makes nothing yet. */
int cgroup_plan(struct cgroup *c, const char *path, const char *id, struct error *err);
json_t *cgroup_save(const struct cgroup *c);
int cgroup_load(struct cgroup *c, const json_t *saved, struct error *err);

/* Makes the directories. A user without a delegated tree gets none, unless `resources` are asked for. */
int cgroup_make(struct cgroup *c, const json_t *resources, struct error *err);
/* Descriptors to join by, before clone(): the v2 directory for CLONE_INTO_CGROUP in *into (-1), files for the child's "0". */
int cgroup_open(const struct cgroup *c, const char *below, int *into, int files[CGROUP_HIERARCHIES], struct error *err);
int cgroup_join(const int files[CGROUP_HIERARCHIES], struct error *err); /* the child; closes them */
bool cgroup_exists(const struct cgroup *c);
int cgroup_freeze(const struct cgroup *c, bool freeze, struct error *err);
bool cgroup_frozen(const struct cgroup *c);
/* Calls back for each process; a negative result ends it. */
int cgroup_each(const struct cgroup *c, int (*each)(void *arg, pid_t pid), void *arg);
int cgroup_kill(const struct cgroup *c, int signal);
int cgroup_remove(struct cgroup *c, struct error *err);
/* Directory of the hierarchy with that controller ("memory"); v2's otherwise; NULL. Allocated. */
char *cgroup_dir(const struct cgroup *c, const char *controller, bool *v2);

/* cgroup_set.c, cgroup_devices.c: linux.resources. */
int cgroup_set(const struct cgroup *c, const json_t *resources, struct error *err);
int cgroup_set_devices(const struct cgroup *c, const json_t *rules, struct error *err);
/* cgroup_stats.c: figures in the form of `events --stats`. */
json_t *cgroup_stats(const struct cgroup *c);
/* cgroup_systemd.c: a scope with the process in it, by systemd's manager. */
int cgroup_systemd_start(struct cgroup *c, const char *path, const char *id, pid_t pid, struct error *err);
void cgroup_systemd_leave(
	const struct cgroup *c); /* when the container is in it: the caller goes back to its own groups */
int cgroup_systemd_stop(const struct cgroup *c);
