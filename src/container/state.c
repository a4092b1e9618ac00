/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's name and what is known of it: the directory STATE/ID with
 *   state.json    where its control groups are, and the configuration as it was: later changes of the bundle's have no effect
 *   pid           init's process id and start time, once there is one
 *   exec.fifo     while it waits for its start
 *   failed        what init had to say after that
 * mkdir() decides who owns a name; whoever holds flock() on the directory changes the container.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "container/state.h"
#include "util/cleanup.h"

#define ID_MAX	  255
#define STATE_MAX (1u << 20)

static const char *const names[] = {
	[STATUS_CREATING] = "creating", [STATUS_CREATED] = "created", [STATUS_RUNNING] = "running",
	[STATUS_PAUSED] = "paused",	[STATUS_STOPPED] = "stopped",
};

const char *status_name(enum status s)
{
	return names[s];
}

char *container_states(const char *states)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	char *path;

	if (states)
		return strdup(states);
	if (!geteuid())
		return strdup("/run/sextant");
	if (run && *run ? asprintf(&path, "%s/sextant", run) < 0 : asprintf(&path, "/tmp/sextant-%u", geteuid()) < 0)
		return NULL;
	return path;
}

int container_new(struct container *c, const char *states, const char *id, struct error *err)
{
	*c = (struct container){ .dir = -1 };
	if (!*id || strlen(id) > ID_MAX || !strcmp(id, ".") || !strcmp(id, "..") ||
	    strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.") != strlen(id))
		return error_set(err, EINVAL, "'%s' is no container's name: letters, digits and _ + - . make one", id);
	c->id = strdup(id);
	c->states = container_states(states);
	return c->id && c->states ? 0 : error_set(err, ENOMEM, "out of memory");
}

void container_free(struct container *c)
{
	free(c->states);
	free(c->id);
	free(c->bundle);
	free(c->rootfs);
	json_decref(c->config);
	cgroup_free(&c->cgroup);
	if (c->dir >= 0)
		close(c->dir);
	*c = (struct container){ .dir = -1 };
}

u64 process_start_time(pid_t pid, char *state)
{
	char path[64];
	_cleanup_free_ char *text = NULL;
	const char *p;
	u64 ticks = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	text = file_read(AT_FDCWD, path, STATE_MAX);
	/* The name in parentheses may have anything in it. proc_pid_stat(5): the state is field 3, the start time field 22. */
	p = text ? strrchr(text, ')') : NULL;
	if (!p || sscanf(p, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lu", state,
			 &ticks) != 2)
		return 0;
	return ticks;
}

bool container_alive(const struct container *c)
{
	char state = 0;

	return c->pid > 0 && process_start_time(c->pid, &state) == c->started && state != 'Z' && state != 'X';
}

static int make_states(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *p = strchr(copy + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		if (mkdir(copy, 0755) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(copy, 0700) && errno != EEXIST ? -errno : 0;
}

static bool ours(const struct stat *st)
{
	return st->st_uid == geteuid() || !st->st_uid;
}

/*
 * Configurations in there have hooks that we run: whoever can write them is us. A directory in /tmp may have been made by somebody
 * who knew its name. 0, or -ENOENT without a text: there is none yet.
 */
static int check_states(const char *path, struct error *err)
{
	struct stat at, st;

	if (lstat(path, &at) || stat(path, &st))
		return errno == ENOENT ? -ENOENT
				       : error_set(err, errno, "the state directory %s: %s", path, strerror(errno));
	if (!ours(&at) || !ours(&st))
		return error_set(err, EPERM, "the state directory %s belongs to another user", path);
	if (st.st_mode & S_IWOTH || (st.st_mode & S_IWGRP && st.st_gid != getegid() && st.st_gid))
		return error_set(err, EPERM, "the state directory %s can be written to by other users", path);
	return 0;
}

static int state_path(const struct container *c, char path[4096])
{
	return (size_t)snprintf(path, 4096, "%s/%s", c->states, c->id) < 4096 ? 0 : -ENAMETOOLONG;
}

/* RFC 3339 in UTC. Not by gmtime(), which reads files about time zones first. Days to dates: years begin in March. */
static void note_time(struct container *c)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	long days = now.tv_sec / 86400 + 719468, seconds = now.tv_sec % 86400, era = days / 146097, day = days % 146097;
	long year = (day - day / 1460 + day / 36524 - day / 146096) / 365,
	     in_year = day - (365 * year + year / 4 - year / 100);
	long month = (5 * in_year + 2) / 153, date = in_year - (153 * month + 2) / 5 + 1;

	year += era * 400 + (month >= 10);
	snprintf(c->created, sizeof(c->created), "%04ld-%02ld-%02ldT%02ld:%02ld:%02ld.%09ldZ", year,
		 month < 10 ? month + 3 : month - 9, date, seconds / 3600, seconds / 60 % 60, seconds % 60,
		 now.tv_nsec);
}

int statedir_make(struct container *c, struct error *err)
{
	char path[4096];
	int e = state_path(c, path), bad = e ? 0 : check_states(c->states, err);

	if (bad == -ENOENT) {
		e = make_states(c->states);
		bad = e ? 0 : check_states(c->states, err);
	}
	if (bad == -ENOENT) /* a link to nowhere */
		e = bad;
	else if (bad)
		return bad;
	if (!e && mkdir(path, 0700))
		e = -errno;
	if (e == -EEXIST)
		return error_set(err, EEXIST, "container '%s' exists already", c->id);
	if (e)
		return error_set(err, -e, "the state directory %s: %s", path, strerror(-e));
	c->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir < 0 || flock(c->dir, LOCK_EX | LOCK_NB))
		return error_set(err, errno, "the state directory %s: %s", path, strerror(errno));
	c->locked = true;
	note_time(c);
	return 0;
}

/* The configuration is text already, and may be large: it goes in as it is. */
int statedir_save(const struct container *c, const char *config, struct error *err)
{
	_cleanup_json_ json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:i,s:o}", "id", c->id, "bundle", c->bundle, "rootfs",
					     c->rootfs ? c->rootfs : "", "created", c->created, "owner", (int)geteuid(),
					     "cgroup", cgroup_save(&c->cgroup));
	_cleanup_free_ char *head = o ? json_dumps(o, JSON_COMPACT) : NULL, *text = NULL;
	int e = -ENOMEM;

	if (head && asprintf(&text, "%.*s,\"config\":%s}", (int)strlen(head) - 1, head, config) >= 0)
		e = file_new(c->dir, "state.json", text, 0600);
	else
		text = NULL;
	return e ? error_set(err, -e, "saving the state: %s", strerror(-e)) : 0;
}

int statedir_save_pid(const struct container *c, struct error *err)
{
	char text[64];
	int e;

	snprintf(text, sizeof(text), "%d %llu\n", (int)c->pid, (unsigned long long)c->started);
	e = file_new(c->dir, "pid", text, 0600);
	return e ? error_set(err, -e, "saving the process id: %s", strerror(-e)) : 0;
}

static void load_pid(struct container *c)
{
	_cleanup_free_ char *text = file_read(c->dir, "pid", 64);
	unsigned long long started;
	int pid;

	if (text && sscanf(text, "%d %llu", &pid, &started) == 2 && strchr(text, '\n')) {
		c->pid = pid;
		c->started = started;
	}
}

static int load(struct container *c, struct error *err)
{
	struct error not_whole = { 0 };
	_cleanup_json_ json_t *o = js_load(c->dir, "state.json", NULL, &not_whole);

	/* Its maker has not come that far, or was killed before: nothing has been made that would have to be known. */
	if (!o && (not_whole.code == -ENOENT || not_whole.code == -EINVAL))
		return 0;
	if (!o)
		return *err = not_whole, err->code;
	c->config = json_incref(js_at(o, "config"));
	c->bundle = strdup(js_str(o, "bundle") ?: "");
	c->rootfs = strdup(js_str(o, "rootfs") ?: "");
	snprintf(c->created, sizeof(c->created), "%s", js_str(o, "created") ?: "");
	load_pid(c);
	return cgroup_load(&c->cgroup, js_at(o, "cgroup"), err);
}

int container_open(struct container *c, const char *states, const char *id, struct error *err)
{
	int e = container_new(c, states, id, err);
	char path[4096];

	if (e)
		return e;
	e = check_states(c->states, err);
	if (e && e != -ENOENT)
		return e;
	e = state_path(c, path);
	c->dir = e ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir < 0 && (e || errno == ENOENT || errno == ENOTDIR))
		return error_set(err, ENOENT, "container '%s' does not exist", id);
	if (c->dir < 0)
		return error_set(err, errno, "the state directory %s: %s", path, strerror(errno));
	return load(c, err);
}

int statedir_lock(struct container *c, struct error *err)
{
	while (!c->locked && flock(c->dir, LOCK_EX))
		if (errno != EINTR)
			return error_set(err, errno, "the lock of container '%s': %s", c->id, strerror(errno));
	c->locked = true;
	/* What its maker has written since we looked. */
	if (!c->config)
		return load(c, err);
	load_pid(c);
	return 0;
}

void statedir_unlock(struct container *c)
{
	flock(c->dir, LOCK_UN);
	c->locked = false;
}

int statedir_remove(struct container *c)
{
	_cleanup_fd_ int states = open(c->states, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return states < 0 ? -errno : tree_remove(states, c->id);
}

/* Whether somebody is making it at this moment. */
static bool being_made(const struct container *c)
{
	if (c->locked || !flock(c->dir, LOCK_SH | LOCK_NB)) {
		if (!c->locked)
			flock(c->dir, LOCK_UN);
		return false;
	}
	return true;
}

enum status container_status(const struct container *c)
{
	if (!c->pid && being_made(c))
		return STATUS_CREATING;
	if (!container_alive(c))
		return STATUS_STOPPED;
	if (!faccessat(c->dir, "exec.fifo", F_OK, 0))
		return STATUS_CREATED;
	return cgroup_frozen(&c->cgroup) ? STATUS_PAUSED : STATUS_RUNNING;
}

json_t *container_state(const struct container *c, enum status status)
{
	json_t *o = json_object(), *annotations = js_at(c->config, "annotations");

	json_object_set_new(o, "ociVersion", json_string(js_str(c->config, "ociVersion") ?: "1.1.0"));
	json_object_set_new(o, "id", json_string(c->id));
	json_object_set_new(o, "status", json_string(status_name(status)));
	json_object_set_new(o, "pid", json_integer(status == STATUS_STOPPED ? 0 : c->pid));
	json_object_set_new(o, "bundle", json_string(c->bundle ? c->bundle : ""));
	json_object_set_new(o, "rootfs", json_string(c->rootfs ? c->rootfs : ""));
	json_object_set_new(o, "created", json_string(c->created));
	if (annotations)
		json_object_set(o, "annotations", annotations);
	return o;
}
