/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens between clone() and execve(), in init. It is in its control group already. The order is a matter of safety:
 * whatever looks at the root file system does so through rootpath.h, the process cannot be looked into once it is visible from
 * the container, privileges go last, and the runtime hears of errors as long as it listens.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "util/cleanup.h"

/* In a user namespace: its root. The ids that we came with mean nothing there. */
static int become_root(const struct launch *l, struct error *err)
{
	if (l->ns.make & CLONE_NEWUSER && sync_expect(l->sync, SYNC_MAPPED, err))
		return err->code;
	if (!ns_has(&l->ns, CLONE_NEWUSER))
		return 0;
	if (setresgid(0, 0, 0) || setresuid(0, 0, 0))
		return error_set(err, errno, "becoming root of the user namespace (is id 0 mapped?): %s",
				 strerror(errno));
	return 0;
}

static int raise_loopback(struct error *err)
{
	_cleanup_fd_ int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { .ifr_name = "lo" };

	if (sock < 0 || ioctl(sock, SIOCGIFFLAGS, &r))
		return error_set(err, errno, "the loopback interface: %s", strerror(errno));
	r.ifr_flags |= IFF_UP;
	return ioctl(sock, SIOCSIFFLAGS, &r) ? error_set(err, errno, "the loopback interface: %s", strerror(errno)) : 0;
}

static int set_names(const struct launch *l, struct error *err)
{
	const char *host = js_str(l->config, "hostname"), *domain = js_str(l->config, "domainname");

	if ((host || domain) && !ns_has(&l->ns, CLONE_NEWUTS))
		return error_set(err, EINVAL, "config: a host or domain name needs a uts namespace");
	if (host && sethostname(host, strlen(host)))
		return error_set(err, errno, "host name %s: %s", host, strerror(errno));
	if (domain && setdomainname(domain, strlen(domain)))
		return error_set(err, errno, "domain name %s: %s", domain, strerror(errno));
	return 0;
}

static int set_up_namespaces(const struct launch *l, struct error *err)
{
	int e = become_root(l, err);

	if (!e && l->ns.make & CLONE_NEWCGROUP && unshare(CLONE_NEWCGROUP))
		e = error_set(err, errno, "a cgroup namespace: %s", strerror(errno));
	e = e ? e : set_names(l, err);
	return e ? e : l->ns.make & CLONE_NEWNET ? raise_loopback(err) : 0;
}

/* The runtime's hooks see our namespaces; the container's run in them. Both before the root changes, as the specification says. */
static int meet_hooks(const struct launch *l, struct error *err)
{
	int e;

	if (l->meets) {
		e = sync_send(l->sync, SYNC_HOOKS, 0, -1);
		e = e ? error_set(err, -e, "the runtime is gone") : sync_expect(l->sync, SYNC_HOOKS, err);
		if (e)
			return e;
	}
	return hooks_run(l->c, "createContainer", STATUS_CREATING, l->pid, err);
}

static int set_up_root(struct launch *l, struct error *err)
{
	struct rootfs r;
	int e = rootfs_prepare(&r, l, err);

	e = e ? e : mounts_all(&r, err);
	e = e ? e : devices_make(&r, err);
	e = e ? e : devices_links(&r, err);
	e = e ? e : meet_hooks(l, err);
	e = e ? e : sysctl_apply(l->config, &l->ns, err);
	e = e ? e : lsm_prepare(l->process, false, err);
	if (!e && js_bool(l->process, "terminal", false))
		e = terminal_make(l, r.fd, err);
	e = e ? e : mounts_mask(&r, err);
	if (e)
		return e;
	/* proc(5): who is in there and has no privileges outside gets nothing of our memory, files or executable. */
	prctl(PR_SET_DUMPABLE, 0);
	e = rootfs_pivot(&r, err);
	e = e ? e : rootfs_finish(&r, err);
	close(r.fd);
	return e;
}

/* The user's directory of /etc/passwd, for a process whose environment does not say. */
static char *home_of(const json_t *process)
{
	uid_t uid = (uid_t)js_int(process, "user.uid", 0);
	_cleanup_fd_ int fd = open("/etc/passwd", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	_cleanup_file_ FILE *f = NULL;
	struct stat st;
	struct passwd *p;
	char *home = NULL;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || !(f = fdopen(fd, "r")))
		return strdup("HOME=/");
	steal_fd(fd); /* the stream's */
	while (!home && (p = fgetpwent(f)))
		if (p->pw_uid == uid && p->pw_dir[0] == '/' && asprintf(&home, "HOME=%s", p->pw_dir) < 0)
			home = NULL;
	return home ? home : strdup("HOME=/");
}

static char **environment(const json_t *process)
{
	const json_t *env = js_at(process, "env");
	size_t n = json_array_size(env);
	char **v = calloc(n + 2, sizeof(*v));
	bool has_home = false;

	for (size_t i = 0; v && i < n; i++) {
		v[i] = (char *)json_string_value(json_array_get(env, i));
		has_home |= !strncmp(v[i], "HOME=", 5) && v[i][5];
	}
	if (v && !has_home)
		v[n] = home_of(process);
	return v;
}

/* Until `start` writes a byte. poll() sees nothing in a pipe that has had no writer yet. */
static int wait_for_start(struct launch *l, struct error *err)
{
	struct pollfd p = { .fd = l->fifo, .events = POLLIN };
	char byte;

	while (poll(&p, 1, -1) < 0)
		if (errno != EINTR)
			return error_set(err, errno, "waiting for the start: %s", strerror(errno));
	/* A writer that was killed before it wrote has left the end of the file: nobody will write any more but another start. */
	if (read(l->fifo, &byte, 1) != 1)
		return error_set(err, EPIPE, "the start was broken off");
	return 0;
}

static int wait_for_go(struct launch *l, struct error *err)
{
	int e;

	if (!l->waits) {
		e = sync_expect(l->sync, SYNC_GO, err);
		prctl(PR_SET_PDEATHSIG, l->stays ? SIGKILL : 0);
		return e;
	}
	/* The runtime may be gone as soon as it has heard it. */
	prctl(PR_SET_PDEATHSIG, 0);
	e = sync_send(l->sync, SYNC_READY, 0, -1);
	if (e)
		return error_set(err, -e, "the runtime is gone");
	close(steal_fd(l->sync));
	return wait_for_start(l, err);
}

/* Where an error is told: to the runtime that waits, or to the start that has written the byte. */
static void fail(struct launch *l, const struct error *err)
{
	if (l->sync >= 0)
		sync_fail(l->sync, err);
	else if (l->failed >= 0)
		dprintf(l->failed, "%s", err->text);
	_exit(err->code == -ENOENT ? CONTAINER_NOT_FOUND : err->code == -EACCES ? CONTAINER_NOT_RUN : 1);
}

/* startContainer hooks are looked up in the container's root: they have no more privileges than what else comes from there. */
static int meet_start(struct launch *l, struct error *err)
{
	bool hooked = hooks_any(l->config, "startContainer");
	int e = hooked ? process_confine(l, err) : 0;

	e = e ? e : hooks_run(l->c, "startContainer", STATUS_CREATED, l->pid, err);
	if (!e && l->reaper)
		reaper_fork();
	return e || hooked ? e : process_confine(l, err);
}

static int finish(struct launch *l, struct error *err)
{
	char **argv = js_vector(js_at(l->process, "args")), **envp = environment(l->process);
	char *path;
	int e = process_prepare(l, err);

	if (!argv || !envp)
		return error_set(err, ENOMEM, "out of memory");
	if (e || !(path = process_find(l->process, err)))
		return err->code;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	e = wait_for_go(l, err);
	e = e ? e : meet_start(l, err);
	return e ? e : process_execute(l, path, argv, envp, err);
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/*
 * All descriptors but those of the process, of --preserve-fds, and those that we still need. The runtime's state directory is among
 * them: its lock must be free when the runtime is killed, and no directory of the host's may be open where a container could see it.
 */
static void close_others(const struct launch *l)
{
	size_t trees = l->trees ? json_array_size(js_at(l->config, "mounts")) : 0, n = 0;
	int fixed[] = { l->sync, l->console, l->listener, l->fifo, l->failed }, from = 3 + (int)kept_fds(l);
	int *keep = malloc((ARRAY_SIZE(fixed) + trees) * sizeof(*keep));

	if (!keep)
		return; /* they are closed by execve() at the latest */
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		keep[n++] = fixed[i];
	for (size_t i = 0; i < trees; i++)
		keep[n++] = l->trees[i];
	qsort(keep, n, sizeof(*keep), by_number);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] > from)
			syscall(SYS_close_range, from, keep[i] - 1, 0);
		from = MAX(from, keep[i] + 1);
	}
	syscall(SYS_close_range, from, ~0u, 0);
	free(keep);
}

/* Who we are for the host, whose /proc we still see: hooks and listeners are told. */
static void find_own_pid(struct launch *l)
{
	char text[16] = "";

	if (readlink("/proc/self", text, sizeof(text) - 1) > 0)
		l->pid = l->c->pid = atoi(text);
}

void init_main(struct launch *l)
{
	struct error err = { 0 };
	int e;

	find_own_pid(l);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_others(l);
	setsid();
	e = set_up_namespaces(l, &err);
	e = e ? e : personality_apply(l->config, &err);
	e = e ? e : set_up_root(l, &err);
	if (!e)
		finish(l, &err);
	fail(l, &err);
	__builtin_unreachable();
}

/* A further process: all is there; it has been joined. */
void init_exec_main(struct launch *l)
{
	struct sync_message m = { 0 };
	struct error err = { 0 };
	int e;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 0);
	close_others(l);
	setsid();
	e = sync_receive(l->sync, &m, NULL, &err);
	l->pid = m.value;
	e = e ? e
	    : setresgid(0, 0, 0) || setresuid(0, 0, 0)
		    ? error_set(&err, errno, "becoming the container's root: %s", strerror(errno))
		    : 0;
	e = e ? e : personality_apply(l->config, &err);
	if (!e && js_bool(l->process, "terminal", false)) {
		int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

		e = root < 0 ? error_set(&err, errno, "/: %s", strerror(errno)) : terminal_make(l, root, &err);
		if (root >= 0)
			close(root);
	}
	if (!e)
		finish(l, &err);
	fail(l, &err);
	__builtin_unreachable();
}
