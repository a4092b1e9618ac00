/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's side of a start: from a bundle to an init that waits, or to a program that runs. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "container/mount_options.h"
#include "container/state.h"
#include "util/cleanup.h"

struct creation {
	struct container *c;
	const struct create_options *o;
	struct launch l;
	bool run; /* without waiting for a start */
	int terminal; /* the pty's master, if it came to us */
	int cwd; /* where relative paths of the command line are from */
	pid_t pid;
	char *text; /* of config.json */
};

/* ---- the configuration ---- */

static int check_version(const json_t *config, struct error *err)
{
	const char *v = js_str(config, "ociVersion");
	char *end;
	long major = strtol(v, &end, 10);

	if (end == v || *end != '.' || major != 1)
		return error_set(err, EINVAL, "config: ociVersion is %s; this runtime takes 1.x", v);
	return 0;
}

static int check_config(const json_t *config, struct error *err)
{
	int e = schema_check(config, err);

	e = e ? e : check_version(config, err);
	if (e)
		return e;
	if (!js_at(config, "root.path"))
		return error_set(err, EINVAL, "config: root.path is missing");
	if (!json_array_size(js_at(config, "process.args")))
		return error_set(err, EINVAL, "config: process.args is missing: there is nothing to run");
	if (js_at(config, "linux.intelRdt"))
		return error_set(err, ENOTSUP,
				 "config: linux.intelRdt is not supported: cache allocation is the host's to set");
	return seccomp_check(config, err);
}

static int load_config(struct creation *k, struct error *err)
{
	struct container *c = k->c;
	const char *bundle = k->o->bundle ? k->o->bundle : ".";
	const char *root;

	c->bundle = realpath(bundle, NULL);
	if (!c->bundle || chdir(c->bundle))
		return error_set(err, errno, "bundle %s: %s", bundle, strerror(errno));
	if (k->o->config) {
		c->config = json_incref(k->o->config);
		k->text = json_dumps(c->config, JSON_COMPACT);
	} else {
		c->config = js_load(AT_FDCWD, "config.json", &k->text, err);
	}
	if (!c->config || !k->text)
		return c->config ? error_set(err, ENOMEM, "out of memory") : err->code;
	int e = check_config(c->config, err);
	if (e)
		return e;
	root = js_str(c->config, "root.path");
	c->rootfs = realpath(root, NULL);
	return c->rootfs ? 0 : error_set(err, errno, "the root directory %s: %s", root, strerror(errno));
}

/* ---- what init is given ---- */

static int connect_socket(const char *path, struct error *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	_cleanup_fd_ int dir = -1;
	int fd;

	/* Engines' paths may be longer than a socket's address: by descriptor they are short. */
	if (strlen(path) >= sizeof(a.sun_path)) {
		dir = open(path, O_PATH | O_CLOEXEC);
		if (dir < 0)
			return error_set(err, errno, "%s: %s", path, strerror(errno));
		snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d", dir);
	} else {
		strcpy(a.sun_path, path);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	int e = errno;
	if (fd >= 0)
		close(fd);
	return error_set(err, e, "%s: %s", path, strerror(e));
}

int console_open(const json_t *process, const char *path, bool detached, int *fd, struct error *err)
{
	bool terminal = js_bool(process, "terminal", false);

	*fd = -1;
	if (path && !terminal)
		return error_set(err, EINVAL,
				 "a console socket is for processes with a terminal, which this one has not");
	if (terminal && !path && detached)
		return error_set(err, EINVAL, "a process with a terminal of its own needs --console-socket");
	if (!path)
		return 0;
	*fd = connect_socket(path, err);
	return *fd < 0 ? *fd : 0;
}

int listener_open(const json_t *config, int *fd, struct error *err)
{
	const char *path = js_str(config, "linux.seccomp.listenerPath");

	*fd = -1;
	if (!path)
		return 0;
	*fd = connect_socket(path, err);
	return *fd < 0 ? error_wrap(err, "the seccomp listener") : 0;
}

static int clone_source(struct creation *k, const json_t *mount, int *tree, struct error *err)
{
	const char *source = js_str(mount, "source"), *type = js_str(mount, "type");
	struct mount_options o;
	int e = mount_options_parse(js_at(mount, "options"), &o, err);
	bool bind = o.bind || (type && !strcmp(type, "bind"));

	*tree = -1;
	if (!e && source && bind && !o.remount) {
		*tree = open_tree(AT_FDCWD, source,
				  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (o.recursive ? AT_RECURSIVE : 0));
		/* What could not be opened init will complain of. */
		e = *tree < 0 ? 0 : mount_idmap(k->c->config, mount, &o, *tree, err);
	}
	mount_options_free(&o);
	return e;
}

/* Sources that only the host's root may see, and ids that only it may map: a root of a user namespace could not. */
static int clone_sources(struct creation *k, struct error *err)
{
	const json_t *mounts = js_at(k->c->config, "mounts");
	size_t n = json_array_size(mounts);
	int e = 0;

	if (geteuid() || !ns_has(&k->l.ns, CLONE_NEWUSER) || !n)
		return 0;
	k->l.trees = malloc(n * sizeof(int));
	if (!k->l.trees)
		return error_set(err, ENOMEM, "out of memory");
	memset(k->l.trees, 0xff, n * sizeof(int));
	for (size_t i = 0; !e && i < n; i++)
		e = clone_source(k, json_array_get(mounts, i), &k->l.trees[i], err);
	return e;
}

static int make_fifo(struct creation *k, struct error *err)
{
	k->l.waits = !k->run;
	if (k->run)
		return 0;
	if (mkfifoat(k->c->dir, "exec.fifo", 0600))
		return error_set(err, errno, "exec.fifo: %s", strerror(errno));
	k->l.fifo = openat(k->c->dir, "exec.fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	k->l.failed = openat(k->c->dir, "failed", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (k->l.fifo < 0 || k->l.failed < 0)
		return error_set(err, errno, "exec.fifo: %s", strerror(errno));
	return 0;
}

/* In this order: what is made has been written down before. */
static int prepare(struct creation *k, struct error *err)
{
	struct container *c = k->c;
	const json_t *config = c->config;
	const char *path = js_str(config, "linux.cgroupsPath");
	int e = statedir_make(c, err);

	if (e)
		return e;
	e = ns_parse(config, &k->l.ns, err);
	e = e ? e : cgroup_find(&c->cgroup, err);
	e = e ? e : cgroup_plan(&c->cgroup, k->o->systemd ? NULL : path, c->id, err);
	e = e ? e : statedir_save(c, k->text, err);
	e = e ? e : make_fifo(k, err);
	e = e ? e : console_open(js_at(config, "process"), k->o->console_socket, !k->run, &k->l.console, err);
	e = e ? e : listener_open(config, &k->l.listener, err);
	e = e ? e : clone_sources(k, err);
	if (!e && k->o->systemd) {
		e = cgroup_systemd_start(&c->cgroup, path, c->id, getpid(), err);
		e = e ? e : statedir_save(c, k->text, err);
		return e || !js_at(config, "linux.resources")
			       ? e
			       : cgroup_set(&c->cgroup, js_at(config, "linux.resources"), err);
	}
	return e ? e : cgroup_make(&c->cgroup, js_at(config, "linux.resources"), err);
}

/* ---- init is there ---- */

static int write_pid(const struct creation *k, struct error *err)
{
	char text[16];
	int e;

	if (!k->o->pid_file)
		return 0;
	snprintf(text, sizeof(text), "%d", (int)k->pid);
	e = file_replace(k->cwd, k->o->pid_file, text, 0644);
	return e ? error_set(err, -e, "%s: %s", k->o->pid_file, strerror(-e)) : 0;
}

/* Lower than ours takes a privilege of the host's, which a user namespace's root has not: it is set from here. */
static int set_oom_score(const struct creation *k, struct error *err)
{
	const json_t *score = js_at(k->c->config, "process.oomScoreAdj");
	char path[64];
	int e;

	if (!score)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)k->pid);
	e = file_writef(AT_FDCWD, path, "%lld", (long long)json_integer_value(score));
	return e ? error_set(err, -e, "oomScoreAdj %lld: %s", (long long)json_integer_value(score), strerror(-e)) : 0;
}

static int welcome(struct creation *k, struct error *err)
{
	struct container *c = k->c;
	char state;
	int e;

	c->pid = k->pid;
	c->started = process_start_time(k->pid, &state);
	e = statedir_save_pid(c, err);
	e = e ? e : set_oom_score(k, err);
	if (!e && k->l.ns.make & CLONE_NEWUSER) {
		e = idmap_write(c->config, k->pid, err);
		if (!e && sync_send(k->l.sync, SYNC_MAPPED, 0, -1))
			sync_expect(k->l.sync, SYNC_READY, err); /* it has failed already, and says why */
	}
	return e;
}

static int run_hooks(struct creation *k, struct error *err)
{
	int e = k->o->connect ? k->o->connect(k->o->connect_arg, k->pid, err) : 0;

	e = e ? e : hooks_run(k->c, "prestart", STATUS_CREATED, k->pid, err);
	e = e ? e : hooks_run(k->c, "createRuntime", STATUS_CREATING, k->pid, err);
	return e ? e : sync_send(k->l.sync, SYNC_HOOKS, 0, -1);
}

/* What init has to say until it waits for its start or, as the end of the stream tells, executes the program. */
static int accompany(struct creation *k, struct error *err)
{
	struct sync_message m = { 0 };
	struct error end = { 0 };
	int e = 0;

	while (!e && m.type != SYNC_READY) {
		int fd = -1;

		e = sync_receive(k->l.sync, &m, &fd, &end);
		if (!e && m.type == SYNC_HOOKS) {
			e = run_hooks(k, &end);
			e = e || !k->run ? e : sync_send(k->l.sync, SYNC_GO, 0, -1);
		}
		if (!e && m.type == SYNC_CONSOLE)
			k->terminal = steal_fd(fd);
		if (fd >= 0)
			close(fd);
	}
	if (e == -EPIPE && k->run)
		return 0;
	if (e)
		*err = end;
	return e;
}

static int start(struct creation *k, struct error *err)
{
	struct launch *l = &k->l;
	int e;

	l->c = k->c;
	l->config = k->c->config;
	l->process = js_at(l->config, "process");
	l->preserve_fds = k->o->preserve_fds;
	l->no_pivot = k->o->no_pivot;
	l->no_new_keyring = k->o->no_new_keyring;
	l->stays = k->o->stays;
	l->reaper = k->o->init;
	l->meets = k->o->connect || hooks_any(l->config, "prestart") || hooks_any(l->config, "createRuntime");
	e = launch_process(l, init_main, &k->pid, err);
	cgroup_systemd_leave(&k->c->cgroup);
	if (e)
		return e;
	e = welcome(k, err);
	e = e ? e : write_pid(k, err);
	/* Said before it asks, so that it need not wait: unless there are hooks, nothing more is to be done out here. */
	if (!e && k->run && !l->meets)
		sync_send(l->sync, SYNC_GO, 0, -1);
	if (k->o->late_fd > 0)
		close(k->o->late_fd);
	return e ? e : accompany(k, err);
}

/* After a failure: as if it had never been. */
static void undo(struct creation *k)
{
	struct error ignored = { 0 };
	struct container *c = k->c;

	cgroup_systemd_leave(&c->cgroup); /* we may still be in what is going to be killed */
	if (k->pid > 0) {
		kill(k->pid, SIGKILL);
		while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (c->dir < 0)
		return;
	if (cgroup_exists(&c->cgroup) && c->cgroup.h[0].made)
		cgroup_kill(&c->cgroup, SIGKILL);
	rootfs_unmount(c);
	cgroup_remove(&c->cgroup, &ignored);
	statedir_remove(c);
	c->pid = 0;
	hooks_run(c, "poststop", STATUS_STOPPED, 0, &ignored);
}

static void close_all(struct creation *k)
{
	int fds[] = { k->l.sync, k->l.console, k->l.listener, k->l.fifo, k->l.failed, k->cwd };

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	for (size_t i = 0; k->l.trees && i < json_array_size(js_at(k->c->config, "mounts")); i++)
		if (k->l.trees[i] >= 0)
			close(k->l.trees[i]);
	free(k->l.trees);
	free(k->text);
	ns_close(&k->l.ns);
}

static int create(struct container *c, const struct create_options *o, bool run, int *terminal, struct error *err)
{
	struct creation k = { .c = c, .o = o, .run = run, .terminal = -1 };
	bool named = false;
	int e;

	k.l.sync = k.l.console = k.l.listener = k.l.fifo = k.l.failed = k.l.target = -1;
	for (unsigned i = 0; i < NS_COUNT; i++)
		k.l.ns.join[i] = -1;
	k.cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	e = load_config(&k, err);
	if (!e) {
		e = prepare(&k, err);
		named = c->dir >= 0;
	}
	e = e ? e : start(&k, err);
	if (e && named)
		undo(&k);
	else if (!e)
		statedir_unlock(c);
	close_all(&k);
	if (terminal)
		*terminal = k.terminal;
	return e;
}

int container_create(struct container *c, const struct create_options *o, struct error *err)
{
	return create(c, o, false, NULL, err);
}

int container_run(struct container *c, const struct create_options *o, int *terminal, struct error *err)
{
	int e = create(c, o, true, terminal, err);

	return e ? e : hooks_run(c, "poststart", STATUS_RUNNING, c->pid, err);
}
