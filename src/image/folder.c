/* SPDX-License-Identifier: Apache-2.0 */
/* Folders of a user's: see folder.h. */
#include "image/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"

static int make_path(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		int r = mkdir(path, 0700);
		*slash = '/';
		if (r && errno != EEXIST)
			return -1;
	}
	return mkdir(path, 0700) && errno != EEXIST ? -1 : 0;
}

/* A relative path in the variable is to be ignored. */
char *folder_path(const char *variable, const char *under_home, const char *name, struct error *err)
{
	const char *xdg = getenv(variable), *home = getenv("HOME");
	bool use_xdg = xdg && *xdg == '/';
	char *path;

	if (!use_xdg && (!home || *home != '/')) {
		error_set(err, ENOENT, "no place for it: set HOME or %s", variable);
		return NULL;
	}
	if (asprintf(&path, "%s/%s%ssextant/%s", use_xdg ? xdg : home, use_xdg ? "" : under_home, use_xdg ? "" : "/",
		     name) < 0) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	return path;
}

static int check_owner(int fd, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st))
		return error_set(err, errno, "%s", strerror(errno));
	if (st.st_uid != geteuid())
		return error_set(err, EPERM, "belongs to user %u, not to %u", st.st_uid, geteuid());
	if (st.st_mode & 022 && fchmod(fd, 0700))
		return error_set(err, errno, "%s", strerror(errno));
	return 0;
}

int folder_open(const char *path, struct error *err)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_fd_ int fd = -1;

	if (!copy)
		return error_set(err, ENOMEM, "out of memory");
	fd = make_path(copy) ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "%s: %s", path, strerror(errno));
	return check_owner(fd, err) ? error_wrap(err, "%s", path) : steal_fd(fd);
}

int folder_write(int fd, const char *name, const char *text)
{
	_cleanup_free_ char *fresh = NULL;
	size_t len = strlen(text);

	if (asprintf(&fresh, "%s.new", name) < 0) {
		fresh = NULL;
		errno = ENOMEM;
		return -1;
	}
	_cleanup_fd_ int out = openat(fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (out < 0)
		return -1;
	while (len) {
		ssize_t n = write(out, text, len);
		if (n < 0 && errno != EINTR)
			return -1;
		text += MAX(n, 0);
		len -= (size_t)MAX(n, 0);
	}
	return fsync(out) ? -1 : renameat(fd, fresh, fd, name);
}
