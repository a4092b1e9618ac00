/* SPDX-License-Identifier: Apache-2.0 */
/* The container engine's row, and whether this host lets us make namespaces: asked by making them, in a child. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engines/container/container.h"
#include "container/fileio.h"

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)

static int try_namespaces(int flags)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(unshare(flags) ? MIN(errno, 255) : 0);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid < 0 ? errno : WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static int probe(struct error *why)
{
	int e = try_namespaces(privileged() ? NAMESPACES : NAMESPACES | CLONE_NEWUSER);

	if (!e)
		return 0;
	if (!privileged())
		return error_set(why, e, "this user may not make namespaces: %s (user.max_user_namespaces, AppArmor?)",
				 strerror(e));
	return error_set(why, e, "namespaces cannot be made here: %s", strerror(e));
}

const struct engine engine_container = {
	.name = "container",
	.technique = "operating-system-level virtualization",
	.summary = "the host's kernel, with namespaces and control groups",
	.probe = probe,
};
