/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image formats that are not raw are QEMU's business: a qemu-nbd of our own serves the file to one connection, and ends with it.
 *
 * The socket has no name when it starts: it is made in a private directory, connected to, and unlinked, all before the fork.
 * Nothing can be left behind, and nobody else can connect. qemu-nbd gets it as by systemd's socket activation (descriptor 3).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "host/disk/backend.h"
#include "host/disk/sandbox.h"
#include "util/cleanup.h"

#define PROGRAM	  "qemu-nbd"
#define LISTEN_FD 3
#define ARGS_MAX  16
#define POLL_MS	  5

struct qemu_nbd {
	pid_t pid;
	int errors; /* what it writes to its standard error; nobody reads until something has failed */
};

struct start { /* what the child needs; nothing is allocated behind fork() */
	char *program, *file; /* owned */
	char cache[24], format[24];
	char pid[32]; /* LISTEN_PID=..., filled in by the child */
	const char *argv[ARGS_MAX];
	const char *env[8];
	int socket, null, errors;
	struct sandbox sandbox;
};

static char *find_program(void)
{
	const char *path = getenv("PATH"), *end;

	for (path = path ? path : "/usr/bin"; *path; path = *end ? end + 1 : end) {
		char *name;

		end = strchrnul(path, ':');
		if (end > path && asprintf(&name, "%.*s/" PROGRAM, (int)(end - path), path) >= 0) {
			if (!access(name, X_OK))
				return name;
			free(name);
		}
	}
	return NULL;
}

static int move_up(int fd)
{
	int up = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, SANDBOX_FD_MIN);

	if (fd >= 0)
		close(fd);
	return up;
}

static int listen_at(const char *path, int *client)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	_cleanup_fd_ int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_fd_ int c = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (l < 0 || c < 0 || bind(l, (void *)&a, sizeof(a)) || listen(l, 1) || connect(c, (void *)&a, sizeof(a)))
		return -1;
	*client = steal_fd(c);
	return move_up(steal_fd(l));
}

/* A listening socket without a name, and a connection that waits in it. */
static int make_socket(struct start *st, int *client, struct error *err)
{
	char dir[] = "/tmp/sextant-XXXXXX", path[sizeof(dir) + 8];

	if (!mkdtemp(dir))
		return error_set(err, errno, "cannot make a directory in /tmp: %s", strerror(errno));
	snprintf(path, sizeof(path), "%s/nbd", dir);
	st->socket = listen_at(path, client);
	if (st->socket < 0)
		error_set(err, errno, "cannot make a socket in %s: %s", dir, strerror(errno));
	unlink(path);
	rmdir(dir);
	return st->socket < 0 ? -EIO : 0;
}

/* A name with a colon would be a protocol to QEMU. */
static char *plain_path(const char *path)
{
	char *p;

	return asprintf(&p, "%s%s", *path == '/' ? "" : "./", path) < 0 ? NULL : p;
}

static void arguments(struct start *st, const struct disk_spec *s, const char *format, bool writable)
{
	unsigned n = 0;

	snprintf(st->format, sizeof(st->format), "--format=%s", format);
	snprintf(st->cache, sizeof(st->cache), "--cache=%s", s->cache == DISK_CACHE_NONE ? "none" : "writeback");
	st->argv[n++] = PROGRAM;
	st->argv[n++] = st->format;
	st->argv[n++] = st->cache;
	st->argv[n++] = "--discard=unmap";
	if (!writable)
		st->argv[n++] = "--read-only";
	st->argv[n++] = "--";
	st->argv[n++] = st->file;
	st->env[0] = "LISTEN_FDS=1";
	st->env[1] = st->pid;
	st->env[2] = "PATH=/usr/bin:/bin";
	st->env[3] = "LC_ALL=C.UTF-8";
}

static void put_number(char *to, unsigned long n)
{
	char digits[24], *d = digits;

	do
		*d++ = (char)('0' + n % 10);
	while (n /= 10);
	while (d > digits)
		*to++ = *--d;
	*to = 0;
}

/* Only async-signal-safe calls: other threads may have held any lock when we were forked. */
static void __attribute__((noreturn)) child(struct start *st)
{
	static const char cannot[] = PROGRAM " could not be run\n";

	memcpy(st->pid, "LISTEN_PID=", 11);
	put_number(st->pid + 11, (unsigned long)getpid());
	if (dup2(st->null, 0) >= 0 && dup2(st->null, 1) >= 0 && dup2(st->errors, 2) >= 0 &&
	    dup2(st->socket, LISTEN_FD) >= 0) {
		sandbox_enter(&st->sandbox);
		/* What we were started with and cannot have marked; before 5.9 that stays open. */
		syscall(SYS_close_range, LISTEN_FD + 1, ~0u, 0);
		execve(st->program, (char *const *)st->argv, (char *const *)st->env);
	}
	(void)!write(2, cannot, sizeof(cannot) - 1);
	_exit(127);
}

/* A vmdk is often several files, of names that it tells. */
static char *writable_path(const char *file, const char *format)
{
	char *path = strdup(file), *slash = path && !strcmp(format, "vmdk") ? strrchr(path, '/') : NULL;

	if (slash)
		slash[slash == path] = 0;
	return path;
}

static int launch(struct qemu_nbd *q, struct start *st, struct error *err)
{
	int errors[2];

	st->null = move_up(open("/dev/null", O_RDWR | O_CLOEXEC));
	if (st->null < 0 || pipe2(errors, O_CLOEXEC | O_NONBLOCK))
		return error_set(err, errno, "cannot start " PROGRAM ": %s", strerror(errno));
	q->errors = errors[0];
	st->errors = move_up(errors[1]);
	q->pid = st->errors < 0 ? -1 : fork();
	if (!q->pid)
		child(st);
	return q->pid < 0 ? error_set(err, errno, "cannot start " PROGRAM ": %s", strerror(errno)) : 0;
}

static int prepare(struct start *st, const struct disk_spec *s, const char *format, bool writable, int *fd,
		   struct error *err)
{
	_cleanup_free_ char *may_write = NULL;

	st->program = find_program();
	if (!st->program)
		return error_set(err, ENOENT,
				 "%s: images of format %s are opened by " PROGRAM
				 ", which is not installed (Debian: qemu-utils)",
				 s->target, format);
	st->file = plain_path(s->target);
	may_write = st->file && writable ? writable_path(st->file, format) : NULL;
	if (!st->file || (writable && !may_write))
		return error_set(err, ENOMEM, "out of memory");
	arguments(st, s, format, writable);
	sandbox_prepare(&st->sandbox, may_write);
	return make_socket(st, fd, err);
}

static void release(struct start *st)
{
	const int fds[] = { st->socket, st->null, st->errors };

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	sandbox_release(&st->sandbox);
	free(st->program);
	free(st->file);
}

struct qemu_nbd *qemu_nbd_start(const struct disk_spec *s, const char *format, bool writable, int *fd,
				struct error *err)
{
	struct start st = { .socket = -1, .null = -1, .errors = -1, .sandbox = { .ruleset = -1 } };
	struct qemu_nbd *q = calloc(1, sizeof(*q));

	*fd = -1;
	if (!q) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	q->errors = -1;
	if (prepare(&st, s, format, writable, fd, err) || launch(q, &st, err)) {
		if (*fd >= 0)
			close(*fd);
		if (q->errors >= 0)
			close(q->errors);
		free(q);
		q = NULL;
	}
	release(&st);
	return q;
}

void qemu_nbd_words(struct qemu_nbd *q, char *to, size_t size)
{
	char text[4096], *line, *next;
	ssize_t n;

	*to = 0;
	/* It may be about to say it. */
	poll(&(struct pollfd){ .fd = q->errors, .events = POLLIN }, 1, 1000);
	n = read(q->errors, text, sizeof(text) - 1);
	text[MAX(n, (ssize_t)0)] = 0;
	for (line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
		for (char *c = line; *c; c++)
			if ((u8)*c < ' ')
				*c = '?'; /* names in an image are not ours to print as they are */
		snprintf(to, size, "%s", line);
	}
}

void qemu_nbd_stop(struct qemu_nbd *q, int patience_ms)
{
	for (; waitpid(q->pid, NULL, WNOHANG) == 0; patience_ms -= POLL_MS) {
		if (patience_ms <= 0) {
			kill(q->pid, SIGKILL);
			while (waitpid(q->pid, NULL, 0) < 0 && errno == EINTR)
				;
			break;
		}
		poll(NULL, 0, POLL_MS);
	}
	close(q->errors);
	free(q);
}
