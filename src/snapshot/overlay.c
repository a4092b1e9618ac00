/* SPDX-License-Identifier: Apache-2.0 */
/* Overlay mounts: see overlay.h. */
#include "snapshot/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/override.h"

#define DATA_MAX 4095 /* a page, less its end */

bool overlay_unprivileged(void)
{
	_cleanup_file_ FILE *f = fopen("/proc/self/uid_map", "re");
	unsigned inside, outside, count = 0;

	if (geteuid())
		return true;
	return !f || fscanf(f, "%u %u %u", &inside, &outside, &count) != 3 || count != UINT32_MAX;
}

/* ---- data ---- */

/* Commas end an option, colons a layer. */
static void put_path(FILE *f, const char *path)
{
	for (; *path; path++) {
		if (strchr(",:\\", *path))
			fputc('\\', f);
		fputc(*path, f);
	}
}

int overlay_data(char **data, const struct overlay *o, struct error *err)
{
	size_t len = 0;
	FILE *f = open_memstream(data, &len);

	*data = NULL;
	if (!f)
		return error_set(err, ENOMEM, "out of memory");
	for (unsigned i = 0; i < o->lowers; i++) {
		fputs(i ? ":" : "lowerdir=", f);
		put_path(f, o->lower[i]);
	}
	if (o->upper) {
		fputs(",upperdir=", f);
		put_path(f, o->upper);
		fputs(",workdir=", f);
		put_path(f, o->work);
	}
	if (overlay_unprivileged())
		fputs(",userxattr", f);
	if (fclose(f) || !*data)
		return error_set(err, ENOMEM, "out of memory");
	if (len <= DATA_MAX)
		return 0;
	free(*data);
	*data = NULL;
	return error_set(err, ENAMETOOLONG, "too many or too long paths for an overlay mount");
}

/* ---- a mount of our own ---- */

static int send_fd(int sock, int fd, int code)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { &code, sizeof(code) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		m.msg_control = control.room;
		m.msg_controllen = sizeof(control.room);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
				       .cmsg_level = SOL_SOCKET,
				       .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(sock, &m, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* The descriptor, or -1 and errno. */
static int receive_fd(int sock)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	int code = EIO, fd = -1;
	struct iovec iov = { &code, sizeof(code) };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)
	};
	ssize_t n;

	do
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	errno = code;
	return fd;
}

static int write_file(const char *path, const char *text)
{
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

/* Root of a user namespace that knows us only. */
static int enter_namespaces(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[64];

	if (!overlay_unprivileged())
		return unshare(CLONE_NEWNS);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return -1;
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	if (write_file("/proc/self/uid_map", map))
		return -1;
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return write_file("/proc/self/gid_map", map);
}

/* The child's whole life; mounts go with its namespace, but for the one that is handed over. */
static _Noreturn void mount_and_send(int sock, const char *data, const char *at)
{
	int fd = -1;

	if (!enter_namespaces() && !mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) &&
	    !mount("overlay", at, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, data))
		fd = (int)syscall(SYS_open_tree, AT_FDCWD, at, 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);
	send_fd(sock, fd, errno);
	_exit(0);
}

static int explain(struct error *err)
{
	switch (errno) {
	case EPERM:
	case EACCES:
		return error_set(err, errno,
				 "this host does not let you mount an overlay (it takes root, or user namespaces and "
				 "Linux 5.11)");
	case ENODEV: return error_set(err, errno, "this host's kernel has no overlay file system");
	default: return error_set(err, errno, "an overlay cannot be mounted: %s", strerror(errno));
	}
}

int overlay_tree(const struct overlay *o, const char *at, struct error *err)
{
	struct overlay below = *o;
	_cleanup_free_ char *data = NULL;
	int pair[2], fd, r;
	pid_t pid;

	if (o->upper) { /* as the uppermost of those that are not written to */
		memmove(below.lower + 1, o->lower, sizeof(o->lower[0]) * o->lowers);
		below.lower[0] = o->upper;
		below.lowers++;
		below.upper = below.work = NULL;
	}
	r = overlay_data(&data, &below, err);
	if (r)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return error_set(err, errno, "%s", strerror(errno));
	pid = fork();
	if (!pid)
		mount_and_send(pair[1], data, at);
	close(pair[1]);
	fd = pid < 0 ? -1 : receive_fd(pair[0]);
	r = errno;
	close(pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	errno = r;
	return fd >= 0 ? fd : explain(err);
}

/* ---- uppers ---- */

int overlay_make_upper(int parent, const char *name, const char *like, struct error *err)
{
	struct stat st;
	char text[OVERRIDE_LENGTH];
	ssize_t n;

	if (stat(like, &st))
		return error_set(err, errno, "%s: %s", like, strerror(errno));
	if (mkdirat(parent, name, 0700))
		return error_set(err, errno, "%s: %s", name, strerror(errno));
	_cleanup_fd_ int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || (fchown(fd, st.st_uid, st.st_gid) && errno != EPERM && errno != EINVAL) ||
	    fchmod(fd, st.st_mode & 07777))
		return error_set(err, errno, "%s: %s", name, strerror(errno));
	n = getxattr(like, OVERRIDE_NAME, text, sizeof(text));
	if (n > 0)
		fsetxattr(fd, OVERRIDE_NAME, text, (size_t)n, 0);
	return 0;
}
