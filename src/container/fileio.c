/* SPDX-License-Identifier: Apache-2.0 */
/* Small files at one go, trees that go, descriptors that travel. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "container/fileio.h"
#include "util/cleanup.h"

char *file_read(int dirfd, const char *path, size_t max)
{
	_cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *buf = NULL;
	size_t size = 4096, len = 0;

	if (fd < 0)
		return NULL;
	for (;;) {
		char *more = !buf || len + 1 >= size ? realloc(buf, size *= 2) : buf;
		ssize_t n;

		if (!more)
			return NULL;
		buf = more;
		n = read(fd, buf + len, size - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return NULL;
		if (!n)
			break;
		len += (size_t)n;
		if (len > max) {
			errno = EFBIG;
			return NULL;
		}
	}
	buf[len] = 0;
	return steal_ptr(buf);
}

static int write_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		left -= (size_t)n;
	}
	return 0;
}

int file_write(int dirfd, const char *path, const char *text)
{
	_cleanup_fd_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : write_all(fd, text);
}

int file_writef(int dirfd, const char *path, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	return text ? file_write(dirfd, path, text) : -ENOMEM;
}

int file_new(int dirfd, const char *path, const char *text, mode_t mode)
{
	_cleanup_fd_ int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	return fd < 0 ? -errno : write_all(fd, text);
}

int file_replace(int dirfd, const char *path, const char *text, mode_t mode)
{
	_cleanup_free_ char *tmp = NULL;
	_cleanup_fd_ int fd = -1;
	int e;

	if (asprintf(&tmp, "%s.%d", path, (int)getpid()) < 0) {
		tmp = NULL;
		return -ENOMEM;
	}
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	e = write_all(fd, text);
	if (!e && renameat(dirfd, tmp, dirfd, path))
		e = -errno;
	if (e)
		unlinkat(dirfd, tmp, 0);
	return e;
}

static int empty_directory(int fd)
{
	DIR *d = fdopendir(fd); /* fd is the stream's then */
	struct dirent *each;
	int e = 0;

	if (!d) {
		e = -errno;
		close(fd);
		return e;
	}
	while (!e && (each = readdir(d)))
		if (strcmp(each->d_name, ".") && strcmp(each->d_name, ".."))
			e = tree_remove(dirfd(d), each->d_name);
	closedir(d);
	return e;
}

int tree_remove(int dirfd, const char *name)
{
	int fd, e;

	if (!unlinkat(dirfd, name, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	e = empty_directory(fd);
	return e ? e : unlinkat(dirfd, name, AT_REMOVEDIR) && errno != ENOENT ? -errno : 0;
}

int fd_send(int sock, int fd, const void *data, size_t len)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { (void *)data, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c = (struct cmsghdr *)control;

		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
				       .cmsg_type = SCM_RIGHTS,
				       .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	while (sendmsg(sock, &m, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

ssize_t fd_receive(int sock, int *fd, void *data, size_t len)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { data, len };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	ssize_t n;

	*fd = -1;
	/* ECONNRESET is told first, once, when the other end has not read all of ours: what it has sent is still there. */
	do
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len >= CMSG_LEN(sizeof(int)))
			memcpy(fd, CMSG_DATA(c), sizeof(int));
	return n;
}

bool privileged(void)
{
	_cleanup_free_ char *map = geteuid() ? NULL : file_read(AT_FDCWD, "/proc/self/uid_map", 65536);
	unsigned long inside, outside, n;

	return map && sscanf(map, "%lu %lu %lu", &inside, &outside, &n) == 3 && !inside && !outside &&
	       n == 4294967295ul;
}
