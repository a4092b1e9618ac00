/* SPDX-License-Identifier: Apache-2.0 */
/* What can be done to a container that is there: start, kill, pause, update, delete. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "container/state.h"
#include "util/cleanup.h"

#define KILL_WAIT_MS 10000

static int wrong_status(const struct container *c, const char *what, enum status s, struct error *err)
{
	return error_set(err, EBUSY, "cannot %s container '%s': it is %s", what, c->id, status_name(s));
}

/* The read end closes at execve(), or when init has ended and left the reason. */
static int wait_until_started(const struct container *c, int fifo, struct error *err)
{
	struct pollfd p = { .fd = fifo };
	_cleanup_free_ char *why = NULL;

	while (poll(&p, 1, -1) < 0)
		if (errno != EINTR)
			return error_set(err, errno, "waiting for the start: %s", strerror(errno));
	why = file_read(c->dir, "failed", sizeof(err->text));
	return why && *why ? error_set(err, ECANCELED, "%s", why) : 0;
}

int container_start(struct container *c, struct error *err)
{
	_cleanup_fd_ int fifo = -1;
	enum status s;
	int e = statedir_lock(c, err);

	if (e)
		return e;
	s = container_status(c);
	if (s != STATUS_CREATED)
		return wrong_status(c, "start", s, err);
	fifo = openat(c->dir, "exec.fifo", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fifo < 0)
		return error_set(err, errno, "container '%s' does not wait for its start: %s", c->id, strerror(errno));
	/* From now on it counts as running. */
	unlinkat(c->dir, "exec.fifo", 0);
	if (write(fifo, "", 1) != 1)
		return error_set(err, errno, "starting container '%s': %s", c->id, strerror(errno));
	e = wait_until_started(c, fifo, err);
	statedir_unlock(c);
	return e ? e : hooks_run(c, "poststart", STATUS_RUNNING, c->pid, err);
}

/* Of init, by a descriptor that was opened before it was checked: the number cannot become somebody else's meanwhile. */
static int open_init(const struct container *c)
{
	int fd = c->pid > 0 ? (int)syscall(SYS_pidfd_open, c->pid, 0) : -1;

	if (fd >= 0 && !container_alive(c)) {
		close(fd);
		errno = ESRCH;
		return -1;
	}
	return fd;
}

int container_kill(struct container *c, int signal, bool all, struct error *err)
{
	_cleanup_fd_ int init = open_init(c);
	enum status s = container_status(c);

	if (all && cgroup_exists(&c->cgroup))
		return cgroup_kill(&c->cgroup, signal) < 0 ? error_set(err, errno, "killing container '%s'", c->id) : 0;
	if (init < 0)
		return wrong_status(c, "kill", s, err);
	if (syscall(SYS_pidfd_send_signal, init, signal, NULL, 0))
		return error_set(err, errno, "killing container '%s': %s", c->id, strerror(errno));
	/* v1's freezer holds even those who are to die. */
	if (signal == SIGKILL && s == STATUS_PAUSED)
		cgroup_freeze(&c->cgroup, false, err);
	return 0;
}

int container_pause(struct container *c, bool pause, struct error *err)
{
	enum status s, from = pause ? STATUS_RUNNING : STATUS_PAUSED;
	int e = statedir_lock(c, err);

	if (e)
		return e;
	s = container_status(c);
	if (s != from && !(pause && s == STATUS_CREATED))
		return wrong_status(c, pause ? "pause" : "resume", s, err);
	return cgroup_freeze(&c->cgroup, pause, err);
}

int container_update(struct container *c, const json_t *resources, struct error *err)
{
	enum status s;
	int e = statedir_lock(c, err);

	if (e)
		return e;
	s = container_status(c);
	if (s == STATUS_STOPPED)
		return wrong_status(c, "update", s, err);
	return cgroup_set(&c->cgroup, resources, err);
}

/* All that is in the groups that we made, and init wherever it is. */
static void kill_all(struct container *c)
{
	_cleanup_fd_ int init = open_init(c);
	struct pollfd p = { .fd = init, .events = POLLIN };
	struct error ignored = { 0 };
	bool ours = false;

	for (unsigned i = 0; i < c->cgroup.n; i++)
		ours |= c->cgroup.h[i].path && c->cgroup.h[i].made;
	if (init >= 0)
		syscall(SYS_pidfd_send_signal, init, SIGKILL, NULL, 0);
	if (ours)
		cgroup_kill(&c->cgroup, SIGKILL);
	else if (cgroup_frozen(&c->cgroup))
		cgroup_freeze(&c->cgroup, false, &ignored);
	if (init >= 0)
		poll(&p, 1, KILL_WAIT_MS);
}

int container_delete(struct container *c, bool force, struct error *err)
{
	enum status s;
	int e = statedir_lock(c, err);

	if (e)
		return e;
	s = container_status(c);
	if (s != STATUS_STOPPED && !force)
		return wrong_status(c, "delete", s, err);
	kill_all(c);
	rootfs_unmount(c);
	e = cgroup_remove(&c->cgroup, err);
	if (e)
		return e;
	if (statedir_remove(c))
		return error_set(err, errno, "removing the state of container '%s': %s", c->id, strerror(errno));
	return c->config ? hooks_run(c, "poststop", STATUS_STOPPED, 0, err) : 0;
}
