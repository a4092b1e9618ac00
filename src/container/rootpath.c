/* SPDX-License-Identifier: Apache-2.0 */
/* openat2 in a root, and mkdir -p that no link leads astray. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "container/rootpath.h"
#include "util/cleanup.h"

#define LINKS_MAX 40 /* as the kernel's own limit */
#define TRIES_MAX 128 /* EAGAIN: something was renamed during the look-up, which somebody could do for ever */

static int open_how(int root, const char *path, int flags, mode_t mode, u64 resolve)
{
	struct open_how how = { .flags = (u64)(flags | O_CLOEXEC),
				.mode = mode,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve };
	long fd = -1;

	for (int i = 0; i < TRIES_MAX; i++) {
		fd = syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd >= 0 ? (int)fd : -errno;
}

static int open_in_root(int root, const char *path, int flags, mode_t mode)
{
	return open_how(root, path, flags, mode, 0);
}

int root_open(int root, const char *path, int flags)
{
	return open_how(root, path, flags, 0, 0);
}

int root_open_plain(int root, const char *path, int flags)
{
	return open_how(root, path, flags, 0, RESOLVE_NO_SYMLINKS);
}

/* The state of a walk: `done` has no links in it, as far as one can know while others rename; `rest` is still to be walked. */
struct walk {
	int root;
	int links;
	char done[PATH_MAX], rest[PATH_MAX];
};

static void drop_last(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash)
		*slash = 0;
	else
		*path = 0;
}

/* A link: its target goes in front of what is left. */
static int follow(struct walk *w, int link)
{
	char target[PATH_MAX], rest[PATH_MAX];
	ssize_t n = readlinkat(link, "", target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = 0;
	if (++w->links > LINKS_MAX)
		return -ELOOP;
	if (target[0] == '/')
		w->done[0] = 0;
	if ((size_t)snprintf(rest, sizeof(rest), "%s/%s", target, w->rest) >= sizeof(rest))
		return -ENAMETOOLONG;
	strcpy(w->rest, rest);
	return 0;
}

static int make_one(struct walk *w, const char *name, mode_t mode)
{
	_cleanup_fd_ int parent = open_in_root(w->root, w->done, O_PATH | O_DIRECTORY, 0);

	if (parent < 0)
		return parent;
	return mkdirat(parent, name, mode) && errno != EEXIST ? -errno : 0;
}

/* One component. `last`: whether a link that is the last one is followed, too; it is, as mount(8) would. */
static int step(struct walk *w, const char *name, mode_t mode)
{
	size_t len = strlen(w->done);
	_cleanup_fd_ int fd = -1;
	struct stat st;

	if (!strcmp(name, ".") || !*name)
		return 0;
	if (!strcmp(name, "..")) {
		drop_last(w->done);
		return 0;
	}
	if (len + strlen(name) + 2 > sizeof(w->done))
		return -ENAMETOOLONG;
	for (int made = 0;; made++) {
		sprintf(w->done + len, "%s%s", len ? "/" : "", name);
		fd = open_in_root(w->root, w->done, O_PATH | O_NOFOLLOW, 0);
		if (fd != -ENOENT || made)
			break;
		w->done[len] = 0;
		int e = make_one(w, name, mode);
		if (e)
			return e;
	}
	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	if (S_ISLNK(st.st_mode)) {
		w->done[len] = 0;
		return follow(w, fd);
	}
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int root_make_dir(int root, const char *path, mode_t mode)
{
	_cleanup_free_ struct walk *w = NULL;
	int fd = open_in_root(root, path, O_PATH | O_DIRECTORY, 0);

	if (fd != -ENOENT)
		return fd;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->root = root;
	if (strlen(path) >= sizeof(w->rest))
		return -ENAMETOOLONG;
	strcpy(w->rest, path);
	while (w->rest[0]) {
		char name[NAME_MAX + 1];
		size_t n = strcspn(w->rest, "/");
		int e;

		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, w->rest, n);
		name[n] = 0;
		memmove(w->rest, w->rest + n + (w->rest[n] == '/'), strlen(w->rest + n + (w->rest[n] == '/')) + 1);
		e = step(w, name, mode);
		if (e)
			return e;
	}
	return open_in_root(root, w->done, O_PATH | O_DIRECTORY, 0);
}

int root_make_parent(int root, const char *path, char name[256])
{
	_cleanup_free_ char *copy = strdup(path);
	char *slash;
	size_t n;

	if (!copy)
		return -ENOMEM;
	for (n = strlen(copy); n && copy[n - 1] == '/'; n--)
		copy[n - 1] = 0;
	slash = strrchr(copy, '/');
	const char *last = slash ? slash + 1 : copy;
	if (!*last || !strcmp(last, ".") || !strcmp(last, "..") || strlen(last) > NAME_MAX)
		return -EINVAL;
	strcpy(name, last);
	if (slash)
		*slash = 0;
	return root_make_dir(root, slash ? copy : "", 0755);
}

int root_make_file(int root, const char *path)
{
	char name[NAME_MAX + 1];
	_cleanup_fd_ int parent = -1, fd = -1;
	int found = open_in_root(root, path, O_PATH, 0);

	if (found != -ENOENT)
		return found;
	parent = root_make_parent(root, path, name);
	if (parent < 0)
		return parent;
	/* O_EXCL: somebody's pipe or device that has appeared since must not be opened. */
	fd = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0644);
	if (fd < 0 && errno != EEXIST)
		return -errno;
	if (fd >= 0)
		return openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	/* A link to nowhere: what it names is made, inside the root. */
	fd = open_in_root(root, path, O_CREAT | O_RDONLY | O_NONBLOCK, 0644);
	return fd < 0 ? fd : open_in_root(root, path, O_PATH, 0);
}

const char *fd_path(int fd, char text[FD_PATH_MAX])
{
	snprintf(text, FD_PATH_MAX, "/proc/self/fd/%d", fd);
	return text;
}
