/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks (config.md, "POSIX-platform Hooks"): programs of the configuration's, told the container's state on standard input. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "util/cleanup.h"

static const json_t *of_kind(const json_t *config, const char *kind)
{
	return js_at(js_at(config, "hooks"), kind);
}

bool hooks_any(const json_t *config, const char *kind)
{
	return json_array_size(of_kind(config, kind)) > 0;
}

/* The state in a pipe: it is a few hundred bytes, and a hook need not read it. */
static int state_pipe(const char *text)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC))
		return -errno;
	fcntl(p[1], F_SETFL, O_NONBLOCK);
	ssize_t n = write(p[1], text, strlen(text));
	close(p[1]);
	if (n == (ssize_t)strlen(text))
		return p[0];
	close(p[0]);
	return -E2BIG;
}

static void become_hook(const json_t *hook, int in)
{
	const char *path = js_str(hook, "path");
	char **argv = js_vector(js_at(hook, "args")), **envp = js_vector(js_at(hook, "env"));
	char *alone[] = { (char *)path, NULL };

	dup2(in, 0);
	execve(path, argv && argv[0] ? argv : alone, envp ? envp : (char *[]){ NULL });
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

static int wait_for(pid_t pid, const char *path, s64 timeout, struct error *err)
{
	_cleanup_fd_ int fd = timeout > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int status;

	if (fd >= 0 && !poll(&p, 1, (int)MIN(timeout, 1000000) * 1000)) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return error_set(err, ETIMEDOUT, "hook %s has not ended within %lld s", path, (long long)timeout);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_set(err, errno, "hook %s: %s", path, strerror(errno));
	if (WIFSIGNALED(status))
		return error_set(err, ECANCELED, "hook %s was killed by signal %d", path, WTERMSIG(status));
	return WEXITSTATUS(status)
		       ? error_set(err, ECANCELED, "hook %s ended with status %d", path, WEXITSTATUS(status))
		       : 0;
}

static int run_one(const json_t *hook, const char *state, struct error *err)
{
	const char *path = js_str(hook, "path");
	int in;
	pid_t pid;

	if (path[0] != '/')
		return error_set(err, EINVAL, "config: the path of a hook, %s, is not absolute", path);
	in = state_pipe(state);
	if (in < 0)
		return error_set(err, -in, "hook %s: %s", path, strerror(-in));
	pid = fork();
	if (!pid)
		become_hook(hook, in);
	close(in);
	return pid < 0 ? error_set(err, errno, "hook %s: %s", path, strerror(errno))
		       : wait_for(pid, path, js_int(hook, "timeout", 0), err);
}

static bool after(const char *kind)
{
	return !strcmp(kind, "poststart") || !strcmp(kind, "poststop");
}

int hooks_run(const struct container *c, const char *kind, enum status status, pid_t pid, struct error *err)
{
	_cleanup_json_ json_t *o = NULL;
	_cleanup_free_ char *state = NULL;
	size_t i;
	json_t *each;

	if (!hooks_any(c->config, kind))
		return 0;
	o = container_state(c, status);
	if (status != STATUS_STOPPED)
		json_object_set_new(o, "pid", json_integer(pid));
	state = json_dumps(o, JSON_COMPACT);
	if (!state)
		return error_set(err, ENOMEM, "out of memory");
	json_array_foreach(of_kind(c->config, kind), i, each)
	{
		int e = run_one(each, state, err);

		if (!e)
			continue;
		error_wrap(err, "%s", kind);
		if (!after(kind))
			return e;
		/* The container has started, or is gone: that stays so. The text is a warning. */
		err->code = 0;
	}
	return 0;
}
