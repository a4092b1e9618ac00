/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --systemd-cgroup: the container's group is a scope that systemd makes. linux.cgroupsPath is "SLICE:PREFIX:NAME" then. Its
 * manager is asked by busctl(1), which is there wherever systemd is: nothing is linked, nothing loaded where it is not asked for.
 *
 * The runtime has itself put into the scope's processes first, finds the directories where systemd made them, and leaves; init is
 * born there as in any other group.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "container/cgroup.h"
#include "container/fileio.h"
#include "util/cleanup.h"

#define WAIT_TRIES   1000
#define WAIT_STEP_NS 10000000

extern char **environ;

static int busctl(char *const argv[])
{
	posix_spawn_file_actions_t quiet;
	pid_t pid;
	int status, e;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	e = posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	if (e)
		return -e;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status ? -EIO : 0;
}

/* The beginning of a command line that calls a method of the manager's. */
#define MANAGER                                                                                  \
	"busctl", bus_option(), "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", \
		"org.freedesktop.systemd1.Manager"

static char *bus_option(void)
{
	return geteuid() ? "--user" : "--system";
}

static bool arrived(const char *unit)
{
	_cleanup_free_ char *text = file_read(AT_FDCWD, "/proc/self/cgroup", 65536);

	return text && strstr(text, unit);
}

/* The groups are where our own are now: one look-up serves v1, v2 and users' managers. */
static int adopt(struct cgroup *c, struct error *err)
{
	struct cgroup now;
	int e = cgroup_find(&now, err);

	for (unsigned i = 0; !e && i < c->n && i < now.n; i++) {
		free(c->h[i].path);
		c->h[i].path = strstr(now.h[i].own, c->unit) ? strdup(now.h[i].own + strspn(now.h[i].own, "/")) : NULL;
		c->h[i].made = c->h[i].path ? 1 : 0;
	}
	cgroup_free(&now);
	return e;
}

void cgroup_systemd_leave(const struct cgroup *c)
{
	for (unsigned i = 0; c->unit && i < c->n; i++) {
		_cleanup_free_ char *procs = NULL;

		if (asprintf(&procs, "%s/%s/cgroup.procs", c->h[i].mount, c->h[i].own) < 0)
			procs = NULL;
		if (procs)
			file_write(AT_FDCWD, procs, "0");
	}
}

int cgroup_systemd_start(struct cgroup *c, const char *path, const char *id, pid_t pid, struct error *err)
{
	char slice[128] = "", prefix[128] = "sextant", name[256] = "", number[16];
	int e;

	if (path && sscanf(path, "%127[^:]:%127[^:]:%255s", slice, prefix, name) != 3)
		return error_set(err, EINVAL, "config: with --systemd-cgroup, cgroupsPath is SLICE:PREFIX:NAME, not %s",
				 path);
	if (!slice[0])
		strcpy(slice, geteuid() ? "user.slice" : "system.slice");
	if (asprintf(&c->unit, "%s-%s.scope", prefix, name[0] ? name : id) < 0) {
		c->unit = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	snprintf(number, sizeof(number), "%d", (int)pid);
	char *argv[] = { MANAGER,
			 "StartTransientUnit",
			 "ssa(sv)a(sa(sv))",
			 c->unit,
			 "fail",
			 "5",
			 "PIDs",
			 "au",
			 "1",
			 number,
			 "Slice",
			 "s",
			 slice,
			 "Delegate",
			 "b",
			 "true",
			 "DefaultDependencies",
			 "b",
			 "false",
			 "CollectMode",
			 "s",
			 "inactive-or-failed",
			 "0",
			 NULL };
	e = busctl(argv);
	if (e)
		return error_set(err, -e, "asking systemd for the scope %s by busctl: %s", c->unit, strerror(-e));
	for (unsigned i = 0; !arrived(c->unit); i++) {
		if (i == WAIT_TRIES)
			return error_set(err, ETIMEDOUT, "systemd has not made the scope %s", c->unit);
		nanosleep(&(struct timespec){ .tv_nsec = WAIT_STEP_NS }, NULL);
	}
	return adopt(c, err);
}

int cgroup_systemd_stop(const struct cgroup *c)
{
	char *argv[] = { MANAGER, "StopUnit", "ss", c->unit, "replace", NULL };

	return busctl(argv);
}
