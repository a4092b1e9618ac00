/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owners, modes, times and attributes of what layers bring. Whoever may not set them for real keeps them beside the file
 * (override.h), so that a guest finds them as they should be, and has at least the access that unpacking and reading takes.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "image/tree.h"
#include "util/cleanup.h"
#include "util/override.h"

#define PERMISSIONS 07777u
#define PROBE_ID    1u

void tree_probe(struct tree *t, int scratch)
{
	static const char name[] = "probe";

	t->can_own = t->can_make_devices = false;
	if (!mknodat(scratch, name, S_IFREG | 0600, 0)) {
		t->can_own = !fchownat(scratch, name, PROBE_ID, PROBE_ID, AT_SYMLINK_NOFOLLOW);
		unlinkat(scratch, name, 0);
	}
	if (t->can_own && !mknodat(scratch, name, S_IFCHR | 0600, makedev(1, 3))) { /* /dev/null */
		t->can_make_devices = true;
		unlinkat(scratch, name, 0);
	}
}

/* chown() first: it takes set-user-ID bits away. */
static int set_for_real(int fd, int parent, const char *name, const struct stat *st)
{
	mode_t mode = st->st_mode & PERMISSIONS;

	if (fd >= 0)
		return fchown(fd, st->st_uid, st->st_gid) || fchmod(fd, mode);
	if (fchownat(parent, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW))
		return -1;
	/* What it is has just been made, by us, and nobody else is here: it is no link. */
	return S_ISLNK(st->st_mode) ? 0 : fchmodat(parent, name, mode, 0);
}

static int set_override(int fd, int parent, const char *name, const struct stat *st)
{
	mode_t mode = st->st_mode & PERMISSIONS, least = S_ISDIR(st->st_mode) ? 0700 : 0600;
	char text[OVERRIDE_LENGTH];
	bool plain = (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)) && !st->st_uid && !st->st_gid &&
		     (mode & least) == least;

	if (fd < 0)
		return S_ISLNK(st->st_mode) ? 0 : fchmodat(parent, name, mode, 0);
	/* A file system without such attributes: then all is root's. */
	if (plain)
		fremovexattr(fd, OVERRIDE_NAME);
	else
		fsetxattr(fd, OVERRIDE_NAME, text, override_format(text, st), 0);
	return fchmod(fd, mode | least);
}

int tree_set_owner(const struct tree *t, int fd, int parent, const char *name, const struct stat *st, struct error *err)
{
	if (!(t->can_own ? set_for_real : set_override)(fd, parent, name, st))
		return 0;
	return error_set(err, errno, "owner %u:%u: %s", st->st_uid, st->st_gid, strerror(errno));
}

/* What overlay file systems, containers/storage and security modules keep for themselves is not a layer's to say. */
static bool welcome(const char *name, bool can_own)
{
	if (!strncmp(name, "user.", 5))
		return strncmp(name, "user.overlay.", 13) != 0 && strncmp(name, "user.containers.", 16) != 0;
	return can_own && !strcmp(name, "security.capability");
}

/* A file system that has no room for them, or does not know them, does without. */
void tree_set_xattrs(const struct tree *t, int fd, struct archive_entry *e)
{
	const char *name;
	const void *value;
	size_t len;

	archive_entry_xattr_reset(e);
	while (archive_entry_xattr_next(e, &name, &value, &len) == ARCHIVE_OK)
		if (name && welcome(name, t->can_own))
			fsetxattr(fd, name, value, len, 0);
}

/* ---- directories' times ---- */

int tree_later(struct tree *t, const char *path, struct timespec mtime)
{
	struct tree_times *l = &t->times;

	if (!(l->count & (l->count - 1))) { /* full at each power of two */
		size_t room = MAX(2 * l->count, 1);
		char **path_room = realloc(l->path, room * sizeof(*l->path));
		if (path_room)
			l->path = path_room;
		struct timespec *mtime_room = realloc(l->mtime, room * sizeof(*l->mtime));
		if (mtime_room)
			l->mtime = mtime_room;
		if (!path_room || !mtime_room)
			return -ENOMEM;
	}
	l->path[l->count] = strdup(path);
	if (!l->path[l->count])
		return -ENOMEM;
	l->mtime[l->count++] = mtime;
	return 0;
}

void tree_settle(struct tree *t)
{
	struct tree_times *l = &t->times;

	while (l->count) {
		struct timespec both[2] = { l->mtime[l->count - 1], l->mtime[l->count - 1] };
		_cleanup_fd_ int fd = tree_open(t, l->path[--l->count], O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
		if (fd >= 0)
			futimens(fd, both);
		free(l->path[l->count]);
	}
	free(l->path);
	free(l->mtime);
	*l = (struct tree_times){ 0 };
}
