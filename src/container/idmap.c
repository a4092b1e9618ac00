/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Id maps of user namespaces. Root, or whoever has the privileges, writes them; a user may map only the own id and asks
 * newuidmap(1) and newgidmap(1), which know /etc/subuid, for more.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "util/cleanup.h"

#define MAPS_MAX 340 /* user_namespaces(7) */

extern char **environ;

struct map {
	const char *what, *file, *helper;
	unsigned own; /* our own id */
};

static int write_directly(const struct map *m, const json_t *maps, pid_t pid)
{
	char path[64];
	_cleanup_free_ char *text = calloc(json_array_size(maps) + 1, 64);
	char *p = text;
	size_t i;
	json_t *each;

	if (!text)
		return -ENOMEM;
	json_array_foreach(maps, i, each)
		p += sprintf(p, "%lld %lld %lld\n", (long long)js_int(each, "containerID", 0),
			     (long long)js_int(each, "hostID", 0), (long long)js_int(each, "size", 0));
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, m->file);
	return file_write(AT_FDCWD, path, text);
}

static int run_helper(const struct map *m, const json_t *maps, pid_t pid, struct error *err)
{
	size_t n = json_array_size(maps), i;
	_cleanup_free_ char **argv = calloc(3 * n + 3, sizeof(*argv));
	_cleanup_free_ char *words = calloc(3 * n + 1, 24);
	char *p = words;
	json_t *each;
	pid_t child;
	int status, a = 0, e;

	if (!argv || !words)
		return error_set(err, ENOMEM, "out of memory");
	argv[a++] = (char *)m->helper;
	argv[a++] = p;
	p += sprintf(p, "%d", (int)pid) + 1;
	json_array_foreach(maps, i, each)
	{
		static const char *const keys[] = { "containerID", "hostID", "size" };

		for (unsigned k = 0; k < 3; k++) {
			argv[a++] = p;
			p += sprintf(p, "%lld", (long long)js_int(each, keys[k], 0)) + 1;
		}
	}
	e = posix_spawnp(&child, m->helper, NULL, NULL, argv, environ);
	if (e)
		return error_set(err, e, "%s, which maps more than one id for a user: %s", m->helper, strerror(e));
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return error_set(err, EPERM, "%s refused the %s map of the configuration; see subuid(5)", m->helper,
				 m->what);
	return 0;
}

static bool only_own(const struct map *m, const json_t *maps)
{
	const json_t *first = json_array_get(maps, 0);

	return json_array_size(maps) == 1 && js_int(first, "size", 0) == 1 &&
	       js_int(first, "hostID", -1) == (s64)m->own;
}

static int write_map(const struct map *m, const json_t *maps, pid_t pid, struct error *err)
{
	int e;

	if (json_array_size(maps) > MAPS_MAX)
		return error_set(err, EINVAL, "config: more than %d %s mappings", MAPS_MAX, m->what);
	if (!json_array_size(maps))
		return 0;
	if (geteuid() && !only_own(m, maps))
		return run_helper(m, maps, pid, err);
	e = write_directly(m, maps, pid);
	return e ? error_set(err, -e, "writing the %s map: %s", m->what, strerror(-e)) : 0;
}

static int write_maps(const json_t *uids, const json_t *gids, pid_t pid, struct error *err)
{
	struct map uid = { "uid", "uid_map", "newuidmap", geteuid() },
		   gid = { "gid", "gid_map", "newgidmap", getegid() };
	char path[64];
	int e;

	/* user_namespaces(7): without privileges the group map may be written only after setgroups(2) is given up. */
	if (geteuid() && only_own(&gid, gids)) {
		snprintf(path, sizeof(path), "/proc/%d/setgroups", (int)pid);
		file_write(AT_FDCWD, path, "deny");
	}
	e = write_map(&gid, gids, pid, err);
	return e ? e : write_map(&uid, uids, pid, err);
}

int idmap_write(const json_t *config, pid_t pid, struct error *err)
{
	return write_maps(js_at(config, "linux.uidMappings"), js_at(config, "linux.gidMappings"), pid, err);
}

/* A namespace lives as long as it is open: the process that made it need not. */
int idmap_userns(const json_t *uid, const json_t *gid, struct error *err)
{
	struct clone_args_ {
		u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	} args = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	char path[64];
	int fd = -1, e;

	if (pid < 0)
		return error_set(err, errno, "making a user namespace: %s", strerror(errno));
	if (!pid)
		for (;;)
			pause();
	e = write_maps(uid, gid, pid, err);
	if (!e) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			e = error_set(err, errno, "%s: %s", path, strerror(errno));
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return e ? e : fd;
}
