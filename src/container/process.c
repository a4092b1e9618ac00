/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From init to the container's program: limits, user, capabilities, filter, in the order in which each is still allowed; then
 * execve(). The root is the container's by now.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "container/rootpath.h"
#include "util/cleanup.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *path_of(const json_t *process)
{
	const char *path = DEFAULT_PATH;
	size_t i;
	json_t *each;

	json_array_foreach(js_at(process, "env"), i, each) if (!strncmp(json_string_value(each), "PATH=", 5))
		path = json_string_value(each) + 5;
	return path;
}

/* 0 if it can be executed, as far as that can be told without trying. */
static int executable(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return -EACCES;
	return 0;
}

char *process_find(const json_t *process, struct error *err)
{
	const char *name = json_string_value(json_array_get(js_at(process, "args"), 0));
	const char *dir = path_of(process);
	int e, worst = -ENOENT;
	char *path;

	if (!name || !*name) {
		error_set(err, EINVAL, "config: process.args has no command");
		return NULL;
	}
	if (strchr(name, '/')) {
		e = executable(name);
		if (!e)
			return strdup(name);
		error_set(err, -e, "executing %s: %s", name,
			  e == -ENOENT	 ? "no such file or directory"
			  : e == -EACCES ? "permission denied"
					 : strerror(-e));
		return NULL;
	}
	for (; dir; dir = strchr(dir, ':') ? strchr(dir, ':') + 1 : NULL) {
		int n = (int)strcspn(dir, ":");

		if (asprintf(&path, "%.*s%s%s", n, dir, n ? "/" : "./", name) < 0)
			break;
		e = executable(path);
		if (!e)
			return path;
		free(path);
		if (e == -EACCES)
			worst = e;
	}
	error_set(err, -worst, "executing %s: %s", name,
		  worst == -ENOENT ? "executable file not found in $PATH" : "permission denied");
	return NULL;
}

static int set_groups(const struct launch *l, struct error *err)
{
	const json_t *more = js_at(l->process, "user.additionalGids");
	size_t n = json_array_size(more);
	_cleanup_free_ gid_t *list = calloc(n + 1, sizeof(*list));

	if (!list)
		return error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		list[i] = (gid_t)json_integer_value(json_array_get(more, i));
	/* A user's own user namespace has given setgroups(2) up; no additional group can be had there, and none be lost. */
	if (setgroups(n, list) && (n || errno != EPERM))
		return error_set(err, errno, "additional groups: %s", strerror(errno));
	return 0;
}

/*
 * A pipe is opened once more by who writes to /dev/stdout, so it has to be the user's. Files and terminals of our caller's stay
 * whose they are. What cannot be given (an id that is not mapped) stays, too.
 */
static void give_pipes(uid_t uid)
{
	struct stat st;

	for (int fd = 0; fd < 3; fd++)
		if (!fstat(fd, &st) && S_ISFIFO(st.st_mode) && st.st_uid != uid)
			fchown(fd, uid, (gid_t)-1);
}

static int set_user(const struct launch *l, struct error *err)
{
	uid_t uid = (uid_t)js_int(l->process, "user.uid", 0);
	gid_t gid = (gid_t)js_int(l->process, "user.gid", 0);
	int e = set_groups(l, err);

	if (e)
		return e;
	give_pipes(uid);
	if (js_at(l->process, "user.umask"))
		umask((mode_t)js_int(l->process, "user.umask", 022));
	/* Capabilities are to survive until caps_apply() has the last word. */
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
		return error_set(err, errno, "PR_SET_KEEPCAPS: %s", strerror(errno));
	if (setresgid(gid, gid, gid))
		return error_set(err, errno, "group %u: %s", gid, strerror(errno));
	if (setresuid(uid, uid, uid))
		return error_set(err, errno, "user %u: %s", uid, strerror(errno));
	return 0;
}

static int enter_directory(const struct launch *l, struct error *err)
{
	const char *cwd = js_str(l->process, "cwd");

	if (!cwd || cwd[0] != '/')
		return error_set(err, EINVAL, "config: process.cwd has to be an absolute path");
	if (!chdir(cwd))
		return 0;
	/* runtime-spec has it made; the root may be read-only. */
	if (errno == ENOENT && !l->exec) {
		_cleanup_fd_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		_cleanup_fd_ int dir = root < 0 ? -1 : root_make_dir(root, cwd, 0755);

		if (dir >= 0 && !fchdir(dir))
			return 0;
		errno = ENOENT;
	}
	return error_set(err, errno, "the working directory %s: %s", cwd, strerror(errno));
}

/* A descriptor of the host's may be the working directory: then /proc/self/cwd would lead out of the container. */
static int inside(struct error *err)
{
	char path[4096];

	if (syscall(SYS_getcwd, path, sizeof(path)) < 0)
		return error_set(err, errno, "the working directory: %s", strerror(errno));
	return path[0] == '/' ? 0 : error_set(err, EPERM, "the working directory is outside of the container");
}

static void join_keyring(const struct launch *l)
{
	char name[300];

	snprintf(name, sizeof(name), "_ses.%s", l->c->id);
	/* Kernels and outer filters may not have keyrings: then there is nothing to separate. */
	if (!l->no_new_keyring)
		syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);
}

unsigned kept_fds(const struct launch *l)
{
	const char *n = getenv("LISTEN_FDS");

	return l->preserve_fds + (n ? (unsigned)atoi(n) : 0);
}

int process_prepare(struct launch *l, struct error *err)
{
	bool no_new_privs = js_bool(l->process, "noNewPrivileges", false), there;
	struct error ignored = { 0 };
	int e;

	join_keyring(l);
	e = rlimits_apply(l->process, err);
	e = e ? e : schedule_apply(l->process, err);
	e = e ? e : caps_bound(l->process, err);
	/* The directory may be one that only its user may enter, or only root: both get a chance. */
	there = !e && !enter_directory(l, &ignored);
	e = e ? e : inside(err);
	/* Without no_new_privs a filter takes CAP_SYS_ADMIN: it has to be there before that goes, and must let the rest pass. */
	e = e ? e : no_new_privs ? 0 : seccomp_apply(l, err);
	e = e ? e : set_user(l, err);
	if (!e && !there) {
		e = enter_directory(l, err);
		e = e ? e : inside(err);
	}
	return e ? e : caps_apply(l->process, err);
}

int process_confine(struct launch *l, struct error *err)
{
	if (!js_bool(l->process, "noNewPrivileges", false))
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return error_set(err, errno, "no_new_privs: %s", strerror(errno));
	return seccomp_apply(l, err);
}

int process_execute(struct launch *l, const char *path, char **argv, char **envp, struct error *err)
{
	unsigned keep = 3 + kept_fds(l);
	sigset_t none;

	if (syscall(SYS_close_range, keep, ~0u, CLOSE_RANGE_CLOEXEC))
		for (int fd = (int)keep; fd < 4096; fd++)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* We handle none; what our caller ignores the program would ignore, too. */
	for (int s = 1; s < SIGSYS; s++) {
		struct sigaction a;

		if (!sigaction(s, NULL, &a) && a.sa_handler == SIG_IGN)
			signal(s, SIG_DFL);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(path, argv, envp);
	return error_set(err, errno, "executing %s: %s", path,
			 errno == ENOENT   ? "no such file or directory"
			 : errno == EACCES ? "permission denied"
					   : strerror(errno));
}
