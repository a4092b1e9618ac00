/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone(2). If nothing is to be joined, one call makes init in all its new namespaces and in its v2 control group. Else there
 * is a stage between, which joins first and then makes init as its own sibling, so that init's parent is always the runtime.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "container/internal.h"
#include "util/cleanup.h"

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ull
#endif

/* linux/sched.h has it, but not beside glibc's sched.h. */
struct clone_args_v2 {
	u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

static pid_t clone_process(u64 flags, int into)
{
	struct clone_args_v2 a = { .flags = flags, .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD };

	if (into >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (u64)into;
	}
	return (pid_t)syscall(SYS_clone3, &a, sizeof(a));
}

/* What clone3() takes of the namespaces to be made: a cgroup namespace would have the parent's group as its root, and the time
 * namespace is one for children. */
static u64 clone_flags(const struct launch *l)
{
	return l->exec ? 0 : l->ns.make & ~(u64)(CLONE_NEWCGROUP | CLONE_NEWTIME);
}

/* Which of its namespaces differ from ours: to join one's own user namespace is an error. */
static int join_target(struct launch *l, pid_t target, struct error *err)
{
	char name[64], mine[64], theirs[64];
	int flags = 0;

	for (unsigned i = 0; i < NS_COUNT; i++) {
		ssize_t a, b;

		snprintf(name, sizeof(name), "/proc/self/ns/%s", ns_kinds[i].file);
		a = readlink(name, mine, sizeof(mine));
		snprintf(name, sizeof(name), "/proc/%d/ns/%s", (int)target, ns_kinds[i].file);
		b = readlink(name, theirs, sizeof(theirs));
		if (a > 0 && b > 0 && (a != b || memcmp(mine, theirs, (size_t)a)))
			flags |= (int)ns_kinds[i].flag;
	}
	if (flags && setns(l->target, flags))
		return error_set(err, errno, "joining the container's namespaces: %s", strerror(errno));
	return 0;
}

static void stage(struct launch *l, const int files[CGROUP_HIERARCHIES], void (*run)(struct launch *))
{
	struct error err = { 0 };
	int e = cgroup_join(files, &err);
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (l->exec)
		e = e ? e : lsm_prepare(l->process, true, &err);
	/* From here on processes of a container may see us and, soon, init. */
	if (l->exec || ns_joins(&l->ns, CLONE_NEWPID))
		prctl(PR_SET_DUMPABLE, 0);
	e = e ? e : l->exec ? join_target(l, l->c->pid, &err) : ns_join(&l->ns, &err);
	if (!e && !l->exec && l->ns.make & CLONE_NEWTIME)
		e = ns_time(l->config, &err);
	pid = e ? -1 : clone_process(CLONE_PARENT | clone_flags(l), -1);
	if (!pid)
		run(l);
	if (pid < 0 && !e)
		e = error_set(&err, errno, "making the container's first process: %s", strerror(errno));
	if (e)
		sync_fail(l->sync, &err);
	else
		sync_send(l->sync, SYNC_PID, pid, -1);
	_exit(0);
}

static void child(struct launch *l, bool staged, const int files[CGROUP_HIERARCHIES], void (*run)(struct launch *))
{
	struct error err = { 0 };

	if (staged)
		stage(l, files, run);
	if (cgroup_join(files, &err)) {
		sync_fail(l->sync, &err);
		_exit(1);
	}
	run(l);
}

static int wait_for_stage(int sock, pid_t stage_pid, pid_t *pid, struct error *err)
{
	struct sync_message m;
	int e = sync_receive(sock, &m, NULL, err);

	while (waitpid(stage_pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (!e && m.type != SYNC_PID)
		e = error_set(err, EPROTO, "the container's first process is out of step");
	*pid = e ? 0 : m.value;
	return e;
}

static int clone_into(struct launch *l, const char *below, bool staged, void (*run)(struct launch *), pid_t *pid,
		      struct error *err)
{
	int files[CGROUP_HIERARCHIES], into, e = cgroup_open(&l->c->cgroup, below, &into, files, err);

	if (!e && !staged && l->ns.make & CLONE_NEWTIME)
		e = ns_time(l->config, err);
	if (!e) {
		*pid = clone_process(staged ? 0 : clone_flags(l), into);
		if (!*pid)
			child(l, staged, files, run);
		if (*pid < 0)
			e = error_set(err, errno, "making the container's first process: %s", strerror(errno));
	}
	if (into >= 0)
		close(into);
	for (unsigned i = 0; i < CGROUP_HIERARCHIES; i++)
		if (files[i] >= 0)
			close(files[i]);
	return e;
}

int launch_process(struct launch *l, void (*run)(struct launch *), pid_t *pid, struct error *err)
{
	bool staged = l->exec || l->ns.joins;
	int pair[2], e;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "a socket pair: %s", strerror(errno));
	l->sync = pair[1];
	e = clone_into(l, l->below, staged, run, pid, err);
	close(pair[1]);
	l->sync = pair[0];
	return e ? e : staged ? wait_for_stage(l->sync, *pid, pid, err) : 0;
}
