/* SPDX-License-Identifier: Apache-2.0 */
/* A further process in a container that runs. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "container/state.h"
#include "util/cleanup.h"

static int check(const struct container *c, const struct exec_options *o, struct error *err)
{
	enum status s = container_status(c);
	int e = schema_check_process(o->process, err);

	if (s != STATUS_RUNNING && s != STATUS_CREATED)
		return error_set(err, EBUSY, "cannot execute in container '%s': it is %s", c->id, status_name(s));
	if (!e && !json_array_size(js_at(o->process, "args")))
		return error_set(err, EINVAL, "process.args is missing: there is nothing to execute");
	if (!e && o->cgroup && strstr(o->cgroup, ".."))
		return error_set(err, EINVAL, "the control group %s has .. in it", o->cgroup);
	return e;
}

/* A process that names no capabilities has the container's, as in other runtimes. */
static json_t *complete(const struct container *c, json_t *process)
{
	json_t *caps = js_at(c->config, "process.capabilities"), *p = json_copy(process);

	if (p && caps && !js_at(p, "capabilities"))
		json_object_set(p, "capabilities", caps);
	return p;
}

/* The end of the stream is the program's begin. */
static int accompany(struct launch *l, int *terminal, struct error *err)
{
	struct sync_message m = { 0 };
	struct error end = { 0 };
	int e = 0;

	while (!e) {
		int fd = -1;

		e = sync_receive(l->sync, &m, &fd, &end);
		if (!e && m.type == SYNC_CONSOLE && terminal)
			*terminal = steal_fd(fd);
		if (fd >= 0)
			close(fd);
	}
	if (e == -EPIPE)
		return 0;
	*err = end;
	return e;
}

static int write_pid(const char *path, pid_t pid, struct error *err)
{
	char text[16];
	int e;

	snprintf(text, sizeof(text), "%d", (int)pid);
	e = path ? file_replace(AT_FDCWD, path, text, 0644) : 0;
	return e ? error_set(err, -e, "%s: %s", path, strerror(-e)) : 0;
}

static int execute(struct launch *l, const struct exec_options *o, pid_t *pid, int *terminal, struct error *err)
{
	int e = console_open(o->process, o->console_socket, !terminal, &l->console, err);

	e = e ? e : listener_open(l->config, &l->listener, err);
	e = e ? e : launch_process(l, init_exec_main, pid, err);
	if (e)
		return e;
	sync_send(l->sync, SYNC_MAPPED, *pid, -1);
	e = write_pid(o->pid_file, *pid, err);
	if (!e)
		sync_send(l->sync, SYNC_GO, 0, -1);
	if (o->late_fd > 0)
		close(o->late_fd);
	e = e ? e : accompany(l, terminal, err);
	if (e) {
		kill(*pid, SIGKILL);
		while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return e;
}

int container_exec(struct container *c, const struct exec_options *o, pid_t *pid, int *terminal, struct error *err)
{
	struct launch l = { .c = c,
			    .config = c->config,
			    .exec = true,
			    .sync = -1,
			    .console = -1,
			    .listener = -1,
			    .fifo = -1,
			    .failed = -1,
			    .preserve_fds = o->preserve_fds,
			    .below = o->cgroup };
	_cleanup_json_ json_t *config = NULL, *process = NULL;
	int e = check(c, o, err);

	if (e)
		return e;
	for (unsigned i = 0; i < NS_COUNT; i++)
		l.ns.join[i] = -1;
	/* startContainer hooks are the first process's. */
	config = json_copy(c->config);
	process = complete(c, o->process);
	if (!config || !process)
		return error_set(err, ENOMEM, "out of memory");
	json_object_del(config, "hooks");
	l.config = config;
	l.process = process;
	l.target = (int)syscall(SYS_pidfd_open, c->pid, 0);
	if (l.target < 0 || !container_alive(c)) {
		e = error_set(err, ESRCH, "container '%s' has ended", c->id);
	} else {
		e = execute(&l, o, pid, terminal, err);
	}
	int fds[] = { l.target, l.console, l.listener, l.sync };
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return e;
}
