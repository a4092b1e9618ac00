/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of a container's start share. Two processes: the runtime, and the init that becomes the container's program.
 * Everything about the container's inside is done by init (init.c has the order); what needs the host's eyes by the runtime
 * (create.c). They talk over a socket of whole messages. Nothing that init opens outlives its execve().
 */
#pragma once
#include "container/container.h"
#include "container/json.h"
#include "container/namespaces.h"

/* ---- sync.c: between the runtime and init ---- */

enum sync_type {
	SYNC_PID, /* init's parent to the runtime: value is init's process id */
	SYNC_MAPPED, /* runtime: the id maps are written; value is init's process id */
	SYNC_HOOKS, /* init: the mount namespace is ready, prestart and createRuntime hooks may run; runtime: they have */
	SYNC_CONSOLE, /* init: here is the terminal's other end (with a descriptor) */
	SYNC_READY, /* init: all is done but the program */
	SYNC_GO, /* runtime: execute the program */
	SYNC_ERROR, /* init: it failed; value is the errno, then the text */
};
struct sync_message {
	u32 type;
	s32 value;
	char text[504];
};
int sync_send(int sock, enum sync_type type, int value, int fd);
/* What failed, for the runtime's user. */
void sync_fail(int sock, const struct error *err);
/* Waits for one message. fd may be NULL. 0; -EPIPE at the end of the stream; or init's own error in err. */
int sync_receive(int sock, struct sync_message *m, int *fd, struct error *err);
int sync_expect(int sock, enum sync_type type, struct error *err);

/* ---- what init is started with ---- */

struct launch {
	struct container *c;
	const json_t *config, *process; /* process: the configuration's, or that of `exec` */
	bool exec; /* a further process of a container that runs */
	int sync; /* our end of the socket */
	const char *below; /* exec: a control group below the container's; NULL */
	bool meets; /* init meets the runtime before its root changes (SYNC_HOOKS) */
	bool stays; /* init is to end with the runtime */
	bool reaper; /* create_options.init */
	bool waits; /* create: for `fifo`, not for SYNC_GO */
	int console; /* connected --console-socket, or -1: a terminal goes to the runtime */
	int listener; /* connected seccomp listener, or -1 */
	int fifo,
		failed; /* create: what start writes to, and where an error of the last steps goes; -1: SYNC_GO instead */
	int target; /* exec: a pidfd of the container's init */
	unsigned preserve_fds;
	bool no_pivot, no_new_keyring;
	struct namespaces ns;
	int *trees; /* by mount: its source, cloned by the runtime; -1: init looks it up. NULL: all */
	pid_t pid; /* init's, as the host sees it; set by init's parent or found in /proc */
};
/* Never returns; it is the child's whole life. */
void init_main(struct launch *l) __attribute__((noreturn));
void init_exec_main(struct launch *l) __attribute__((noreturn));

/* ---- create.c: what the command line or the configuration has init connected to; -1: nothing ---- */
int console_open(const json_t *process, const char *path, bool detached, int *fd, struct error *err);
int listener_open(const json_t *config, int *fd, struct error *err);

/* ---- launch.c: clone ---- */

/* Starts init in new namespaces, its cgroup, and what it has to join. pid is init's. */
int launch_process(struct launch *l, void (*run)(struct launch *), pid_t *pid, struct error *err);

/* ---- rootfs.c, mounts.c, devices.c: the file system; init's ---- */

struct rootfs {
	const struct launch *launch;
	int fd; /* the root directory */
	bool dev_readonly; /* /dev is to be so, once its nodes are made */
};
int rootfs_prepare(struct rootfs *r, const struct launch *l, struct error *err);
int rootfs_pivot(struct rootfs *r, struct error *err);
void rootfs_unmount(const struct container *c); /* the runtime, when the container goes */
int rootfs_finish(struct rootfs *r, struct error *err); /* after it: read-only, propagation */
int mounts_all(struct rootfs *r, struct error *err);
int mounts_mask(struct rootfs *r, struct error *err); /* masked and read-only paths */
/* A clone of `from` (a path, or what fd is when it is NULL) with attributes set, put onto `target`. */
int mount_bind_fd(int from, const char *path, int target, bool recursive, u64 attr_set);
/* The ids of a cloned tree, if the mount asks for it. */
struct mount_options;
int mount_idmap(const json_t *config, const json_t *mount, const struct mount_options *o, int tree, struct error *err);
int mount_cgroups(struct rootfs *r, const char *destination, unsigned long flags, struct error *err);
int devices_make(struct rootfs *r, struct error *err);
int devices_links(struct rootfs *r, struct error *err);

/* ---- process.c and relatives: from init to program ---- */

/* The label's hold on execve(), its rlimits, its user; capabilities and filter last. Returns only on errors. */
int process_prepare(struct launch *l, struct error *err);
/* no_new_privs and what it allows without privileges, the filter: the last thing before programs of the container's run. */
int process_confine(struct launch *l, struct error *err);
int process_execute(struct launch *l, const char *path, char **argv, char **envp, struct error *err);
/* How many descriptors from 3 on are the program's: those of --preserve-fds, and those that systemd's protocol has passed. */
unsigned kept_fds(const struct launch *l);
/* init.c's caller goes on as a child of a process that ends as it does. */
void reaper_fork(void);
/* Where the program is, by PATH, in the root that is ours by now. NULL and err. */
char *process_find(const json_t *process, struct error *err);
int caps_check(const json_t *process, struct error *err);
int caps_bound(const json_t *process, struct error *err); /* the bounding set; while there is CAP_SETPCAP */
int caps_apply(const json_t *process, struct error *err); /* the rest, after the user has changed */
int rlimits_apply(const json_t *process, struct error *err);
int lsm_prepare(const json_t *process, bool exec, struct error *err);
int schedule_apply(const json_t *process, struct error *err); /* scheduler, io priority */
int personality_apply(const json_t *config, struct error *err);
int sysctl_apply(const json_t *config, const struct namespaces *ns, struct error *err);
int seccomp_apply(const struct launch *l, struct error *err);
int seccomp_check(const json_t *config, struct error *err);
/* The pty, its other end sent away; the slave is standard input, output and error after it, and our controlling terminal. */
int terminal_make(struct launch *l, int root, struct error *err);

/* ---- hooks.c ---- */

bool hooks_any(const json_t *config, const char *kind);
/* Runs them in order, each with the state on its standard input; stops at the first that fails. Those that come after the fact
 * are all run, and a failure leaves 0 and a text in err: a warning. */
int hooks_run(const struct container *c, const char *kind, enum status status, pid_t pid, struct error *err);
