/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's groups as directories and as sets of processes.
 *
 * Joining is cheap if it is done right. In a v2 hierarchy the child is born in its group (CLONE_INTO_CGROUP). In v1 the child
 * writes "0" into `tasks`: for the caller's own thread the kernel needs no lock over all forks of the system, while a pid
 * in cgroup.procs waits for an RCU grace period in each hierarchy.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "container/cgroup.h"
#include "container/fileio.h"
#include "util/cleanup.h"

#define SMALL_MAX    (1u << 20)
#define WAIT_TRIES   500
#define WAIT_STEP_NS 10000000

static void wait_a_little(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = WAIT_STEP_NS }, NULL);
}

static char *full_path(const struct hierarchy *h)
{
	char *p;

	return asprintf(&p, "%s/%s", h->mount, h->path) < 0 ? NULL : p;
}

/* A cpuset without CPUs or memory takes no process: a new one gets its parent's. cgroups(7), cpuset(7). */
static void inherit_cpuset(int parent, int child)
{
	static const char *const names[] = { "cpuset.cpus", "cpuset.mems" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *mine = file_read(child, names[i], SMALL_MAX);
		_cleanup_free_ char *theirs = NULL;

		if (mine && mine[strspn(mine, " \n")])
			continue;
		theirs = file_read(parent, names[i], SMALL_MAX);
		if (mine && theirs)
			file_write(child, names[i], theirs);
	}
}

/* v2: what the parent has its children get; what it refuses is found out by whoever needs it. */
static void pass_controllers(int parent)
{
	_cleanup_free_ char *has = file_read(parent, "cgroup.controllers", SMALL_MAX);
	_cleanup_free_ char *given = has ? file_read(parent, "cgroup.subtree_control", SMALL_MAX) : NULL;
	char *save = NULL;

	for (char *w = given ? strtok_r(has, " \n", &save) : NULL; w; w = strtok_r(NULL, " \n", &save)) {
		const char *at = strstr(given, w);

		if (!at || (at[strlen(w)] != ' ' && at[strlen(w)] != '\n'))
			file_writef(parent, "cgroup.subtree_control", "+%s", w);
	}
}

static int make_levels(const struct hierarchy *h)
{
	_cleanup_free_ char *rest = strdup(h->path);
	_cleanup_fd_ int at = open(h->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *save = NULL;

	if (at < 0 || !rest)
		return -errno;
	for (char *name = strtok_r(rest, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		int next;

		if (h->v2)
			pass_controllers(at);
		if (mkdirat(at, name, 0755) && errno != EEXIST)
			return -errno;
		next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (next < 0)
			return -errno;
		if (strstr(h->controllers, "cpuset"))
			inherit_cpuset(at, next);
		close(at);
		at = next;
	}
	return 0;
}

int cgroup_make(struct cgroup *c, const json_t *resources, struct error *err)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct hierarchy *h = &c->h[i];
		int e = make_levels(h);

		if (!e)
			continue;
		if (e != -EROFS && privileged())
			return error_set(err, -e, "control group %s/%s: %s", h->mount, h->path, strerror(-e));
		free(h->path); /* not for this user */
		h->path = NULL;
	}
	return resources ? cgroup_set(c, resources, err) : 0;
}

static int open_one(const struct hierarchy *h, const char *below, const char *file, int flags)
{
	_cleanup_free_ char *dir = full_path(h), *path = NULL;

	if (!dir || asprintf(&path, "%s/%s/%s", dir, below ? below : "", file) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	int fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int cgroup_open(const struct cgroup *c, const char *below, int *into, int files[CGROUP_HIERARCHIES], struct error *err)
{
	*into = -1;
	for (unsigned i = 0; i < CGROUP_HIERARCHIES; i++)
		files[i] = -1;
	for (unsigned i = 0; i < c->n; i++) {
		const struct hierarchy *h = &c->h[i];
		int fd;

		if (!h->path)
			continue;
		fd = h->v2 ? open_one(h, below, ".", O_RDONLY | O_DIRECTORY) : open_one(h, below, "tasks", O_WRONLY);
		if (fd < 0)
			return error_set(err, -fd, "control group %s/%s: %s", h->mount, h->path, strerror(-fd));
		*(h->v2 ? into : &files[i]) = fd;
	}
	return 0;
}

int cgroup_join(const int files[CGROUP_HIERARCHIES], struct error *err)
{
	for (unsigned i = 0; i < CGROUP_HIERARCHIES; i++) {
		if (files[i] < 0)
			continue;
		if (write(files[i], "0", 1) != 1)
			return error_set(err, errno, "joining a control group: %s", strerror(errno));
		close(files[i]);
	}
	return 0;
}

bool cgroup_exists(const struct cgroup *c)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->h[i].path)
			return true;
	return false;
}

/* ---- freezing ---- */

static int wait_for(int dir, const char *file, const char *word)
{
	for (unsigned i = 0; i < WAIT_TRIES; i++) {
		_cleanup_free_ char *text = file_read(dir, file, SMALL_MAX);

		if (!text)
			return -errno;
		if (strstr(text, word))
			return 0;
		wait_a_little();
	}
	return -ETIMEDOUT;
}

static int open_freezer(const struct cgroup *c, bool *v2)
{
	_cleanup_free_ char *dir = cgroup_dir(c, "freezer", v2);
	int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	return dir ? fd < 0 ? -errno : fd : -ENOENT;
}

int cgroup_freeze(const struct cgroup *c, bool freeze, struct error *err)
{
	bool v2;
	_cleanup_fd_ int dir = open_freezer(c, &v2);
	int e = dir;

	if (dir == -ENOENT)
		return error_set(err, ENOENT, "this host has no freezer, or the container no control group in it");
	if (dir >= 0 && v2) {
		e = file_write(dir, "cgroup.freeze", freeze ? "1" : "0");
		e = e ? e : wait_for(dir, "cgroup.events", freeze ? "frozen 1" : "frozen 0");
	} else if (dir >= 0) {
		e = file_write(dir, "freezer.state", freeze ? "FROZEN" : "THAWED");
		e = e ? e : wait_for(dir, "freezer.state", freeze ? "FROZEN" : "THAWED");
	}
	return e < 0 ? error_set(err, -e, "the freezer: %s", strerror(-e)) : 0;
}

bool cgroup_frozen(const struct cgroup *c)
{
	bool v2;
	_cleanup_fd_ int dir = open_freezer(c, &v2);
	_cleanup_free_ char *text = dir < 0 ? NULL : file_read(dir, v2 ? "cgroup.freeze" : "freezer.state", SMALL_MAX);

	return text && (v2 ? text[0] == '1' : !strncmp(text, "FROZEN", 6) || !strncmp(text, "FREEZING", 8));
}

/* ---- processes ---- */

static int each_below(int dir, int (*each)(void *arg, pid_t pid), void *arg)
{
	_cleanup_free_ char *text = file_read(dir, "cgroup.procs", SMALL_MAX);
	DIR *d = fdopendir(dup(dir));
	struct dirent *entry;
	char *save = NULL;
	int e = 0;

	for (char *p = text ? strtok_r(text, "\n", &save) : NULL; p && e >= 0; p = strtok_r(NULL, "\n", &save))
		e = each(arg, (pid_t)atoi(p));
	if (d)
		rewinddir(d);
	while (d && e >= 0 && (entry = readdir(d))) {
		_cleanup_fd_ int sub = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		sub = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (sub >= 0)
			e = each_below(sub, each, arg);
	}
	if (d)
		closedir(d);
	return e;
}

/* One hierarchy knows them all: v2's if there is one, else any with a controller. */
static int open_any(const struct cgroup *c)
{
	bool v2;
	_cleanup_free_ char *dir = cgroup_dir(c, "pids", &v2);

	for (unsigned i = 0; !dir && i < c->n; i++)
		dir = c->h[i].path ? full_path(&c->h[i]) : NULL;
	return dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

int cgroup_each(const struct cgroup *c, int (*each)(void *arg, pid_t pid), void *arg)
{
	_cleanup_fd_ int dir = open_any(c);

	return dir < 0 ? 0 : each_below(dir, each, arg);
}

static int kill_one(void *signal, pid_t pid)
{
	if (pid > 0)
		kill(pid, *(int *)signal);
	return 0;
}

static int kill_at_once(const struct cgroup *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		_cleanup_fd_ int dir = c->h[i].v2 && c->h[i].path
					       ? open_one(&c->h[i], NULL, ".", O_RDONLY | O_DIRECTORY)
					       : -1;

		if (dir >= 0 && !file_write(dir, "cgroup.kill", "1"))
			return 0;
	}
	return -ENOENT;
}

int cgroup_kill(const struct cgroup *c, int signal)
{
	struct error ignored = { 0 };
	bool freeze = signal == SIGKILL && !cgroup_frozen(c);
	int e;

	if (signal == SIGKILL && !kill_at_once(c)) {
		if (!freeze)
			cgroup_freeze(c, false, &ignored);
		return 0;
	}
	/* Frozen processes do not fork meanwhile. */
	freeze = freeze && !cgroup_freeze(c, true, &ignored);
	e = cgroup_each(c, kill_one, &signal);
	if (freeze || signal == SIGKILL)
		cgroup_freeze(c, false, &ignored);
	return e;
}

/* ---- the end ---- */

static int remove_below(int parent, const char *name)
{
	_cleanup_fd_ int dir = -1;
	struct dirent *entry;
	DIR *d;

	if (!unlinkat(parent, name, AT_REMOVEDIR) || errno == ENOENT)
		return 0;
	if (errno != EBUSY && errno != ENOTEMPTY)
		return -errno;
	dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = dir < 0 ? NULL : fdopendir(dup(dir));
	while (d && (entry = readdir(d)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			remove_below(dir, entry->d_name);
	if (d)
		closedir(d);
	return unlinkat(parent, name, AT_REMOVEDIR) && errno != ENOENT ? -errno : 0;
}

/* What has just been killed may take a moment to leave. */
static int remove_one(struct hierarchy *h)
{
	_cleanup_fd_ int mount = open(h->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *path = strdup(h->path);
	int e = mount < 0 || !path ? -errno : -EBUSY;

	if (mount < 0 || !path)
		return e;
	for (unsigned i = 0; e == -EBUSY && i < WAIT_TRIES; i++) {
		e = remove_below(mount, path);
		if (e == -EBUSY)
			wait_a_little();
	}
	for (unsigned i = 1; !e && i < h->made && strchr(path, '/'); i++) {
		*strrchr(path, '/') = 0;
		if (unlinkat(mount, path, AT_REMOVEDIR))
			break; /* somebody uses it */
	}
	return e;
}

int cgroup_remove(struct cgroup *c, struct error *err)
{
	int first = 0;

	if (c->unit)
		cgroup_systemd_stop(c);
	for (unsigned i = 0; i < c->n; i++) {
		int e = c->h[i].path && c->h[i].made ? remove_one(&c->h[i]) : 0;

		if (e && !first)
			first = error_set(err, -e, "removing control group %s/%s: %s", c->h[i].mount, c->h[i].path,
					  strerror(-e));
	}
	return first;
}
