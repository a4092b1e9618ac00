/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and stopping virtiofsd. The child prepares what the server's own sandbox does not: in a mount namespace of
 * its own it mounts a copy of the shared tree, found by descriptor, so that no name is looked up twice, and read-only
 * where that is wanted, which then holds whatever the server does; it has no descriptor but the socket and a log; and
 * it dies with us. An ordinary user's server is root in a user namespace where only that user's files are known.
 */
#include "host/share.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util/cleanup.h"

#define SERVER_FD      3 /* the listening socket, in the server */
#define STOP_WAIT_MS   3000
#define LAST_WORDS_MS  500 /* for a server that is about to end */
#define TAG_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

/* ---- options ---- */

/* Copies up to a comma that is not doubled; *end is there or at the end. */
static char *until_comma(const char *from, const char **end)
{
	char *out = malloc(strlen(from) + 1), *p = out;

	for (; out && *from; from++) {
		if (*from == ',' && *++from != ',') {
			from--;
			break;
		}
		*p++ = *from;
	}
	if (out)
		*p = 0;
	*end = from;
	return out;
}

int share_parse(const char *spec, struct share_config *c, struct error *err)
{
	const char *equals = strchr(spec, '='), *rest;

	*c = (struct share_config){ 0 };
	if (!equals || equals == spec || !equals[1])
		return error_set(err, EINVAL, "'%s' is not TAG=DIR[,ro]", spec);
	/* The guest makes a directory of that name. */
	if ((size_t)(equals - spec) != strspn(spec, TAG_CHARACTERS) || equals - spec > SHARE_TAG_MAX || *spec == '.')
		return error_set(err, EINVAL,
				 "a tag has 1 to %d letters, digits, '_', '-' and '.', and begins with no '.'",
				 SHARE_TAG_MAX);
	c->tag = strndup(spec, (size_t)(equals - spec));
	c->dir = until_comma(equals + 1, &rest);
	if (!c->tag || !c->dir) {
		share_config_free(c);
		return error_set(err, ENOMEM, "no memory");
	}
	c->readonly = !strcmp(rest, ",ro");
	if (*rest && !c->readonly) {
		share_config_free(c);
		return error_set(err, EINVAL,
				 "'%s' is not an option of a share (ro is; a comma in DIR is written twice)", rest + 1);
	}
	return 0;
}

void share_config_free(struct share_config *c)
{
	free(c->tag);
	free(c->dir);
	*c = (struct share_config){ 0 };
}

/* ---- the child ---- */

static const char *find_server(void)
{
	static const char *const places[] = { "/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/virtiofsd",
					      "/usr/bin/virtiofsd", "/usr/local/bin/virtiofsd" };
	const char *own = getenv("SEXTANT_VIRTIOFSD");

	if (own && *own)
		return access(own, X_OK) ? NULL : own;
	for (unsigned k = 0; k < ARRAY_SIZE(places); k++)
		if (!access(places[k], X_OK))
			return places[k];
	return NULL;
}

static void child_fails(const char *what)
{
	dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
	_exit(1);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		child_fails(path);
	close(fd);
}

static void become_root_of_own(void)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(CLONE_NEWUSER))
		child_fails("cannot make a user namespace, which a share needs where you are not root");
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	write_file("/proc/self/gid_map", map);
}

/*
 * Mounts a copy of the tree below the current directory somewhere that has a name, as the server needs one; read-only all the way
 * down if so wanted. Returns the name. The mount namespace is this process's own, so nobody else sees it.
 */
static const char *mount_share(bool readonly)
{
	static const char *const places[] = { "/mnt", "/media", "/tmp" };
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	int tree;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		child_fails("cannot make a mount namespace, which a share needs");
	tree = open_tree(AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (tree < 0 || (readonly && mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr))))
		child_fails(readonly ? "cannot make a read-only mount" : "cannot make a mount");
	for (unsigned k = 0; k < ARRAY_SIZE(places); k++)
		if (!move_mount(tree, "", AT_FDCWD, places[k], MOVE_MOUNT_F_EMPTY_PATH))
			return places[k];
	child_fails("cannot mount the share");
	return NULL;
}

static _Noreturn void child(const char *server, const struct share_config *c, int dir, int socket, int log)
{
	char source[32];
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	dup2(log, STDERR_FILENO);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 || fchdir(dir))
		child_fails("cannot start");
	if (geteuid())
		become_root_of_own();
	snprintf(source, sizeof(source), "source=%s", mount_share(c->readonly));
	if (dup2(socket, SERVER_FD) < 0 || fcntl(SERVER_FD, F_SETFD, 0) || close_range(SERVER_FD + 1, ~0u, 0))
		child_fails("cannot start");
	execl(server, "virtiofsd", "--fd=3", "-o", source, "-o", "cache=auto", "-o", "xattr", NULL);
	child_fails(server);
	_exit(1);
}

/* ---- the parent ---- */

/* The server takes a listening socket and accepts one connection: ours, which is made before it runs. The socket's name, in a
 * directory that nobody else may enter, is gone by then. */
static int connect_ahead(int listener, int client, struct error *err)
{
	const char *tmp = getenv("TMPDIR");
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char dir[64];
	int failed = 0;

	snprintf(dir, sizeof(dir), "%s/sextant-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	if (!mkdtemp(dir))
		return error_set(err, errno, "cannot make a directory like %s: %s", dir, strerror(errno));
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/s", dir);
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) || listen(listener, 1) ||
	    connect(client, (struct sockaddr *)&a, sizeof(a)))
		failed = error_set(err, errno, "cannot make a socket in %s: %s", dir, strerror(errno));
	unlink(a.sun_path);
	rmdir(dir);
	return failed;
}

static int start(struct share *s, const struct share_config *c, const char *server, int dir, struct error *err)
{
	_cleanup_fd_ int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int log[2];

	s->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || s->socket < 0 || pipe2(log, O_CLOEXEC | O_NONBLOCK))
		return error_set(err, errno, "share %s: %s", c->tag, strerror(errno));
	s->log = log[0];
	_cleanup_fd_ int log_end = log[1];
	if (connect_ahead(listener, s->socket, err))
		return error_wrap(err, "share %s", c->tag);
	s->pid = fork();
	if (!s->pid)
		child(server, c, dir, listener, log_end);
	if (s->pid < 0) {
		s->pid = 0;
		return error_set(err, errno, "share %s: cannot start %s: %s", c->tag, server, strerror(errno));
	}
	return 0;
}

int share_start(struct share *s, const struct share_config *c, struct error *err)
{
	const char *server = find_server();
	_cleanup_fd_ int dir = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*s = (struct share){ .socket = -1, .log = -1 };
	if (dir < 0)
		return error_set(err, errno, "share %s: %s: %s", c->tag, c->dir, strerror(errno));
	if (!server)
		return error_set(
			err, ENOENT,
			"share %s: there is no virtiofsd on this host (Debian 12 has it in qemu-system-common, later "
			"ones in virtiofsd); $SEXTANT_VIRTIOFSD names another",
			c->tag);
	if (start(s, c, server, dir, err)) {
		share_stop(s);
		return err->code;
	}
	return 0;
}

/* The last line that is not empty. */
static char *last_line(char *text)
{
	char *end = text + strlen(text);

	while (end > text && end[-1] == '\n')
		*--end = 0;
	char *line = strrchr(text, '\n');
	return line ? line + 1 : text;
}

static bool ended(pid_t pid, int wait_ms)
{
	const struct timespec tick = { .tv_nsec = 5000000 };

	for (int waited = 0;; waited += 5) {
		pid_t r = waitpid(pid, NULL, WNOHANG);
		if (r == pid || (r < 0 && errno != EINTR))
			return true;
		if (waited >= wait_ms)
			return false;
		nanosleep(&tick, NULL);
	}
}

int share_explain(struct share *s, const struct share_config *c, struct error *err)
{
	char text[1024];
	size_t len = 0;
	ssize_t n;

	if (!s->pid || !ended(s->pid, LAST_WORDS_MS))
		return err->code;
	s->pid = 0;
	while (s->log >= 0 && (n = read(s->log, text + len, sizeof(text) - 1 - len)) > 0) {
		len += (size_t)n;
		if (len == sizeof(text) - 1) { /* keep the newer half */
			memmove(text, text + len / 2, len - len / 2);
			len -= len / 2;
		}
	}
	text[len] = 0;
	if (len)
		return error_set(err, err->code ? err->code : EIO, "share %s: virtiofsd: %s", c->tag, last_line(text));
	return error_wrap(err, "share %s", c->tag);
}

void share_stop(struct share *s)
{
	if (!s->pid && !s->socket)
		return;
	if (s->socket >= 0)
		close(s->socket);
	if (s->log >= 0)
		close(s->log);
	if (s->pid > 0 && !ended(s->pid, STOP_WAIT_MS)) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
	}
	*s = (struct share){ 0 };
}
