/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deletion. While layers are put in, what goes is renamed into a directory beside the tree: one system call, whatever is below
 * it. Emptying that takes no recursion: a directory in a directory is first renamed to the top, so depth costs nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "image/tree.h"
#include "util/cleanup.h"

#define NAME_ROOM 16
#define DEPTH_MAX 128 /* of directories that one layer has put over an opaque one; each costs a descriptor */

int tree_discard(struct tree *t, int parent, const char *name)
{
	char to[NAME_ROOM];

	snprintf(to, sizeof(to), "%u", t->trashed++);
	return renameat(parent, name, t->trash, to);
}

/* ---- emptying ---- */

/* Never what is mounted there: a mount that somebody left behind may be the host's own files. */
static DIR *open_dir(int parent, const char *name)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
				.resolve = RESOLVE_NO_XDEV | RESOLVE_BENEATH };
	int fd = (int)syscall(SYS_openat2, parent, name, &how, sizeof(how));
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Under a name that nothing has yet. False: it cannot be moved. */
static bool move_up(int from, const char *name, int top, unsigned *serial)
{
	char to[NAME_ROOM + 1];
	int r;

	do {
		snprintf(to, sizeof(to), "_%u", (*serial)++);
		r = renameat(from, name, top, to);
	} while (r && (errno == EEXIST || errno == ENOTEMPTY));
	return !r;
}

/* Deletes the files of top/name, moves its directories to the top; true if any was. A directory without permissions, such as
 * overlays leave, is neither entered nor moved by its owner: it gets some. */
static bool flatten(int top, const char *name, unsigned *serial)
{
	bool moved = false;
	struct dirent *e;
	DIR *d;

	fchmodat(top, name, 0700, AT_SYMLINK_NOFOLLOW);
	d = open_dir(top, name);
	while (d && (e = readdir(d))) {
		if (is_dots(e->d_name) || !unlinkat(dirfd(d), e->d_name, 0) ||
		    !unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR))
			continue;
		fchmodat(dirfd(d), e->d_name, 0700, AT_SYMLINK_NOFOLLOW);
		moved |= move_up(dirfd(d), e->d_name, top, serial);
	}
	if (d)
		closedir(d);
	unlinkat(top, name, AT_REMOVEDIR);
	return moved;
}

void trash_empty(int fd)
{
	unsigned serial = 0;
	bool moved;

	do {
		DIR *d = open_dir(fd, ".");
		struct dirent *e;

		moved = false;
		while (d && (e = readdir(d)))
			if (!is_dots(e->d_name) && unlinkat(fd, e->d_name, 0) && unlinkat(fd, e->d_name, AT_REMOVEDIR))
				moved |= flatten(fd, e->d_name, &serial);
		if (d)
			closedir(d);
	} while (moved); /* what came to the top meanwhile may not have been listed */
}

/* ---- whiteouts ---- */

static int hide(struct tree *t, int parent, const char *name, unsigned depth);

static int hide_all(struct tree *t, int parent, unsigned depth)
{
	DIR *d = open_dir(parent, ".");
	struct dirent *e;
	int r = d ? 0 : -1;

	if (depth == DEPTH_MAX) {
		errno = ELOOP;
		r = -1;
	}
	while (!r && (e = readdir(d)))
		if (!is_dots(e->d_name))
			r = hide(t, parent, e->d_name, depth);
	if (d)
		closedir(d);
	return r;
}

static int hide(struct tree *t, int parent, const char *name, unsigned depth)
{
	struct stat st;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -1;
	if (!inode_set_has(&t->fresh, st.st_ino))
		return tree_discard(t, parent, name);
	if (!S_ISDIR(st.st_mode))
		return 0;
	_cleanup_fd_ int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -1 : hide_all(t, fd, depth + 1);
}

int tree_hide(struct tree *t, int parent, const char *name)
{
	return hide(t, parent, name, 0);
}

int tree_hide_all(struct tree *t, int parent)
{
	return hide_all(t, parent, 0);
}
