/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers: processes with namespaces, a root file system and control groups of their own, made from an OCI runtime
 * configuration (runtime-spec 1.1, Linux) and kept under a name in a state directory. The caller is the runtime's command line,
 * or sextant run; neither printing nor exiting is done here.
 *
 * The directory STATE/ID is the container: whoever makes it owns the name, and whoever holds its lock changes it. Everything that
 * must be cleaned up is written down there before it is made, so that a runtime that is killed at any moment leaves nothing
 * that container_delete() does not find.
 */
#pragma once
#include <jansson.h>
#include <sys/types.h>

#include "container/cgroup.h"
#include "util/error.h"

enum status { STATUS_CREATING, STATUS_CREATED, STATUS_RUNNING, STATUS_PAUSED, STATUS_STOPPED };
const char *status_name(enum status s);

struct container {
	char *states; /* the directory of all */
	char *id;
	int dir; /* STATE/ID; -1 */
	bool locked;
	char *bundle, *rootfs; /* absolute */
	json_t *config;
	struct cgroup cgroup;
	pid_t pid; /* of init; 0: there is none yet */
	u64 started; /* its start time, in the kernel's ticks: a pid may be used again */
	char created[96]; /* RFC 3339 */
};

struct create_options {
	const char *bundle; /* a directory with config.json */
	json_t *config; /* instead of the file in the bundle; borrowed */
	const char *console_socket, *pid_file;
	unsigned preserve_fds;
	bool no_pivot, no_new_keyring, systemd;
	int late_fd; /* closed while init works, as that takes long; 0: none */
	bool init; /* a first process of ours, which waits for orphans, is the program's parent; it ends as the program did */
	bool stays; /* init ends when the caller does, however that happens */
	/* Called in the runtime when namespaces are there, before any hook: sextant run's network. Optional. */
	int (*connect)(void *arg, pid_t init, struct error *err);
	void *connect_arg;
};
struct exec_options {
	json_t *process; /* borrowed */
	const char *console_socket, *pid_file;
	unsigned preserve_fds;
	int late_fd;
	const char *cgroup; /* below the container's; NULL: its own */
};

/* `states` NULL: $XDG_RUNTIME_DIR/sextant for users, /run/sextant for root. */
int container_new(struct container *c, const char *states, const char *id, struct error *err);
int container_open(struct container *c, const char *states, const char *id, struct error *err); /* -ENOENT: no such */
void container_free(struct container *c);
char *container_states(const char *states); /* allocated */

/* Below, 0 with a text in err is a success with a warning. */
/* Up to init that waits for container_start(). */
int container_create(struct container *c, const struct create_options *o, struct error *err);
int container_start(struct container *c, struct error *err);
/* Both at once, without the wait. *terminal: the pty's master if the process wants a terminal and there is no console socket. */
int container_run(struct container *c, const struct create_options *o, int *terminal, struct error *err);
enum status container_status(const struct container *c);
/* The state of runtime-spec's "State", with more in it. */
json_t *container_state(const struct container *c, enum status status);
int container_kill(struct container *c, int signal, bool all, struct error *err);
int container_pause(struct container *c, bool pause, struct error *err);
int container_update(struct container *c, const json_t *resources, struct error *err);
/* Of what has ended; force: kills it first, and takes what a killed runtime has left. */
int container_delete(struct container *c, bool force, struct error *err);
int container_exec(struct container *c, const struct exec_options *o, pid_t *pid, int *terminal, struct error *err);

/* seal.c: before any of these that start processes. Returns when our executable cannot be written to through us; else executes it
 * anew, by argv, or errs. *mount is for late_fd. */
int seal_executable(char **argv, int *mount, struct error *err);

/* template.c: what `spec` writes; rootless: with a user namespace of the caller's. */
json_t *template_config(bool rootless);
/* features.c: what `features` writes. */
json_t *features(void);
int signal_number(const char *name); /* "TERM", "SIGTERM", "15"; -1 */

#define CONTAINER_NOT_FOUND 127 /* what a shell's status is for a command that is not there, or cannot be executed */
#define CONTAINER_NOT_RUN   126
