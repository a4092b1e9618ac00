/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry of a layer becomes one file. What is there of its name goes first, whatever it is: only a directory over a directory
 * keeps what is in it. So no byte and no mode is ever given to a file that a link of the layer's could have named.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "image/tree.h"
#include "util/cleanup.h"

#define ID_MAX	    (UINT32_MAX - 1ll)
#define WRITE_MAX   (1u << 30)
#define PERMISSIONS 07777u

struct node {
	struct tree *tree;
	struct archive *archive;
	struct archive_entry *entry;
	const char *path, *base; /* base: its last part */
	int parent;
	struct stat st; /* as it shall be */
	struct timespec mtime;
	struct error *err;
};

static int fail(struct node *n, const char *what)
{
	return error_set(n->err, errno, "%s: %s", what, strerror(errno));
}

static int describe(struct node *n)
{
	struct archive_entry *e = n->entry;
	la_int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);

	if (uid < 0 || uid > ID_MAX || gid < 0 || gid > ID_MAX)
		return error_set(n->err, EBADMSG, "owner %lld:%lld is no owner", (long long)uid, (long long)gid);
	n->st.st_uid = (uid_t)uid;
	n->st.st_gid = (gid_t)gid;
	n->st.st_mode = archive_entry_filetype(e) | (archive_entry_perm(e) & PERMISSIONS);
	n->st.st_rdev = makedev((unsigned)archive_entry_rdevmajor(e), (unsigned)archive_entry_rdevminor(e));
	n->mtime = (struct timespec){ archive_entry_mtime(e), archive_entry_mtime_nsec(e) };
	if (n->mtime.tv_nsec < 0 || n->mtime.tv_nsec > 999999999)
		n->mtime.tv_nsec = 0;
	return 0;
}

/* ---- data ---- */

static int write_block(struct node *n, int fd, const u8 *from, size_t len, off_t at)
{
	while (len) {
		ssize_t did = pwrite(fd, from, MIN(len, (size_t)WRITE_MAX), at);
		if (did < 0 && errno == EINTR)
			continue;
		if (did < 0)
			return fail(n, "cannot be written");
		from += did;
		at += did;
		len -= (size_t)did;
	}
	return 0;
}

static int write_data(struct node *n, int fd)
{
	la_int64_t size = archive_entry_size(n->entry), at;
	const void *block;
	size_t len;
	int got, r;

	if (size < 0)
		return error_set(n->err, EBADMSG, "no size");
	r = budget_bytes(n->tree->budget, (u64)size, n->err);
	while (!r && (got = archive_read_data_block(n->archive, &block, &len, &at)) != ARCHIVE_EOF) {
		if (got < ARCHIVE_WARN)
			return error_set(n->err, EBADMSG, "cannot be read: %s", archive_error_string(n->archive));
		if (at < 0 || at > size || (la_int64_t)len > size - at)
			return error_set(n->err, EBADMSG, "has more data than its size");
		r = write_block(n, fd, block, len, at);
	}
	if (!r && ftruncate(fd, size)) /* a hole at the end */
		r = fail(n, "cannot be written");
	return r;
}

/* ---- kinds ---- */

static int finish_open(struct node *n, int fd)
{
	struct timespec both[2] = { n->mtime, n->mtime };
	int r = tree_set_owner(n->tree, fd, n->parent, n->base, &n->st, n->err);

	if (r)
		return r;
	tree_set_xattrs(n->tree, fd, n->entry);
	if (!S_ISDIR(n->st.st_mode))
		futimens(fd, both);
	else if (tree_later(n->tree, n->path, n->mtime))
		return error_set(n->err, ENOMEM, "out of memory");
	return 0;
}

static int finish_closed(struct node *n)
{
	struct timespec both[2] = { n->mtime, n->mtime };
	int r = tree_set_owner(n->tree, -1, n->parent, n->base, &n->st, n->err);

	if (!r)
		utimensat(n->parent, n->base, both, AT_SYMLINK_NOFOLLOW);
	return r;
}

static int make_file(struct node *n)
{
	_cleanup_fd_ int fd = openat(n->parent, n->base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return fail(n, "cannot be made");
	r = S_ISREG(n->st.st_mode) ? write_data(n, fd) : 0;
	return r ? r : finish_open(n, fd);
}

static int make_directory(struct node *n)
{
	_cleanup_fd_ int fd = -1;

	if (mkdirat(n->parent, n->base, 0700) && errno != EEXIST)
		return fail(n, "cannot be made");
	fd = openat(n->parent, n->base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? fail(n, "cannot be opened") : finish_open(n, fd);
}

static int make_symlink(struct node *n)
{
	const char *target = archive_entry_symlink(n->entry);

	if (!target || !*target)
		return error_set(n->err, EBADMSG, "a link to nothing");
	return symlinkat(target, n->parent, n->base) ? fail(n, "cannot be made") : finish_closed(n);
}

/* A device that cannot be made is an empty file that says what it should be. 0:0 is overlayfs' way to say that something is
 * not there; no system has such a device. */
static int make_special(struct node *n)
{
	bool device = S_ISCHR(n->st.st_mode) || S_ISBLK(n->st.st_mode);

	if (S_ISCHR(n->st.st_mode) && !n->st.st_rdev)
		return 0;
	if (device && !n->tree->can_make_devices)
		return make_file(n);
	if (mknodat(n->parent, n->base, (n->st.st_mode & S_IFMT) | 0600, n->st.st_rdev))
		return fail(n, "cannot be made");
	return finish_closed(n);
}

static int make_any(struct node *n)
{
	switch (n->st.st_mode & S_IFMT) {
	case S_IFREG: return make_file(n);
	case S_IFDIR: return make_directory(n);
	case S_IFLNK: return make_symlink(n);
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK: return make_special(n);
	default: return error_set(n->err, EBADMSG, "of no kind that a file system has");
	}
}

/* ---- hard links ---- */

static bool split(const char *path, char dir[PATH_MAX], const char **base)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (len >= PATH_MAX)
		return false;
	memcpy(dir, path, len);
	dir[len] = 0;
	*base = slash ? slash + 1 : path;
	return **base && strcmp(*base, ".") != 0 && strcmp(*base, "..") != 0;
}

static int make_hardlink(struct node *n, const char *target)
{
	char dir[PATH_MAX];
	const char *base;
	struct stat is, there;
	_cleanup_fd_ int parent = -1;

	while (target[0] == '/' || (target[0] == '.' && target[1] == '/'))
		target++;
	if (!split(target, dir, &base))
		return error_set(n->err, EBADMSG, "a hard link to '%.200s'", target);
	parent = tree_directory(n->tree, dir);
	if (parent < 0 || fstatat(parent, base, &is, AT_SYMLINK_NOFOLLOW))
		return error_set(n->err, errno, "a hard link to %.200s: %s", target,
				 errno == ENOENT ? "not in the image" : strerror(errno));
	if (S_ISDIR(is.st_mode))
		return error_set(n->err, EBADMSG, "a hard link to a directory, %.200s", target);
	if (!fstatat(n->parent, n->base, &there, AT_SYMLINK_NOFOLLOW)) {
		if (there.st_ino == is.st_ino)
			return 0;
		if (tree_discard(n->tree, n->parent, n->base))
			return fail(n, "cannot be replaced");
	}
	if (linkat(parent, base, n->parent, n->base, 0))
		return error_set(n->err, errno, "a hard link to %.200s: %s", target, strerror(errno));
	return 0;
}

/* ---- one entry ---- */

/* It and the directories above it are the layer's now: a whiteout that comes later in the same layer does not mean them. */
static int mark_fresh(struct node *n)
{
	struct inode_set *fresh = &n->tree->fresh;
	struct stat st;
	char up[PATH_MAX] = ".";

	if (!fstatat(n->parent, n->base, &st, AT_SYMLINK_NOFOLLOW) && inode_set_add(fresh, st.st_ino))
		return error_set(n->err, ENOMEM, "out of memory");
	while (!fstatat(n->parent, up, &st, 0) && !inode_set_has(fresh, st.st_ino)) {
		struct stat root;
		if (inode_set_add(fresh, st.st_ino))
			return error_set(n->err, ENOMEM, "out of memory");
		if (fstat(n->tree->root, &root) || root.st_ino == st.st_ino || strlen(up) + 4 > sizeof(up))
			break;
		strcat(up, "/..");
	}
	return 0;
}

static int replace(struct node *n)
{
	struct stat there;

	if (fstatat(n->parent, n->base, &there, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : fail(n, "cannot be looked at");
	if (S_ISDIR(n->st.st_mode) && S_ISDIR(there.st_mode))
		return 0;
	return tree_discard(n->tree, n->parent, n->base) ? fail(n, "cannot be replaced") : 0;
}

static int add_root(struct node *n)
{
	_cleanup_fd_ int fd = tree_open(n->tree, "", O_RDONLY | O_DIRECTORY);

	if (!S_ISDIR(n->st.st_mode))
		return error_set(n->err, EBADMSG, "the root directory is not a directory");
	return fd < 0 ? fail(n, "cannot be opened") : finish_open(n, fd);
}

int tree_add_entry(struct tree *t, struct archive *a, struct archive_entry *e, const char *name, struct error *err)
{
	struct node n = { .tree = t, .archive = a, .entry = e, .path = name, .err = err };
	const char *hard = archive_entry_hardlink(e);
	char dir[PATH_MAX];
	_cleanup_fd_ int parent = -1;
	int r = budget_entry(t->budget, err);

	if (!r)
		r = describe(&n);
	if (r || !*name)
		return r ? r : add_root(&n);
	if (!split(name, dir, &n.base))
		return error_set(err, ENAMETOOLONG, "%s", strerror(ENAMETOOLONG));
	n.parent = parent = tree_make_directory(t, dir);
	if (parent < 0)
		return fail(&n, "its directory cannot be made");
	if (hard) {
		r = make_hardlink(&n, hard);
	} else {
		r = replace(&n);
		if (!r)
			r = make_any(&n);
	}
	return r ? r : mark_fresh(&n);
}
