/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A first process for programs that are not made to be one: the kernel delivers it no signal without a handler, and orphans are its
 * to wait for. It has the program's rights, no descriptors, and cannot be looked into.
 */
#include <errno.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/internal.h"

static void reap(pid_t program)
{
	int status;
	pid_t got;

	syscall(SYS_close_range, 0, ~0u, 0);
	prctl(PR_SET_NAME, "init");
	for (;;) {
		got = wait(&status);
		if (got < 0 && errno != EINTR)
			_exit(1);
		if (got == program)
			_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
	}
}

void reaper_fork(void)
{
	pid_t pid = fork();

	prctl(PR_SET_DUMPABLE, 0);
	if (pid > 0)
		reap(pid);
}
