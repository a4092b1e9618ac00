/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over a root file system's directory. Names are taken in byte order, so that one tree gives one archive.
 *
 * Nothing is followed: symbolic links are packed as such, and a mount point of a pseudo file system (/proc, /sys, ...) as an
 * empty directory, since its files have no end and are the host's. Other file systems below are packed.
 *
 * Where owners are beside the files (util/override.h), files of whoever unpacked them are root's unless it says otherwise.
 */
#include "boot/cpio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include "util/cleanup.h"
#include "util/override.h"

#define PATH_SHOWN 200

struct link { /* a file of several names */
	dev_t dev;
	ino_t host;
	u32 ino;
};

struct walk {
	struct cpio *cpio;
	int root;
	u32 *next_ino;
	bool owners_beside;
	uid_t uid; /* ours, and gid */
	gid_t gid;
	void *links; /* tsearch() tree of struct link */
	char path[PATH_MAX]; /* of the current entry, relative to root; Linux skips longer names silently */
	struct error *err;
};

/* A path can be longer than an error's text: its end is what tells files apart. */
static int fail_with(struct walk *w, int code, const char *why)
{
	size_t len = strlen(w->path);
	bool cut = len > PATH_SHOWN;
	return error_set(w->err, code, "%s%s: %s", cut ? "..." : "", w->path + (cut ? len - PATH_SHOWN : 0), why);
}

static int fail(struct walk *w, int code)
{
	return fail_with(w, code, strerror(code));
}

static int link_compare(const void *a, const void *b)
{
	const struct link *x = a, *y = b;
	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->host < y->host ? -1 : x->host > y->host;
}

/* The archive's inode number; *again when an earlier name had it already. 0: no memory. */
static u32 inode_number(struct walk *w, const struct stat *st, bool *again)
{
	*again = false;
	if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
		return ++*w->next_ino;
	struct link *l = malloc(sizeof(*l));
	if (!l)
		return 0;
	*l = (struct link){ .dev = st->st_dev, .host = st->st_ino };
	struct link **known = tsearch(l, &w->links, link_compare);
	*again = known && *known != l;
	if (!known || *again)
		free(l);
	else
		l->ino = ++*w->next_ino;
	return known ? (*known)->ino : 0;
}

static int add(struct walk *w, const struct stat *st, u32 size, u8 **data)
{
	bool again;
	u32 ino = inode_number(w, st, &again);
	if (!ino)
		return fail(w, ENOMEM);
	bool device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
	s64 mtime = st->st_mtim.tv_sec;
	struct cpio_entry e = {
		.name = w->path,
		.ino = ino,
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		/* Of a directory it says nothing that the archive's reader could use. */
		.nlink = S_ISDIR(st->st_mode) ? 2 : (u32)st->st_nlink,
		.mtime = mtime < 0 ? 0 : (u32)MIN(mtime, (s64)UINT32_MAX),
		.rdev_major = device ? major(st->st_rdev) : 0,
		.rdev_minor = device ? minor(st->st_rdev) : 0,
		/* A hard link's data goes with its first name. */
		.size = again ? 0 : size,
	};
	int r = cpio_add(w->cpio, &e, data, w->err);
	if (r)
		return r;
	if (again)
		*data = NULL;
	return 0;
}

/* fd: the open file or directory, -1 for what cannot have the attribute. */
static void find_owner(const struct walk *w, int fd, struct stat *st)
{
	char text[OVERRIDE_LENGTH];
	ssize_t n;

	if (!w->owners_beside)
		return;
	st->st_uid = st->st_uid == w->uid ? 0 : st->st_uid;
	st->st_gid = st->st_gid == w->gid ? 0 : st->st_gid;
	n = fd < 0 ? -1 : fgetxattr(fd, OVERRIDE_NAME, text, sizeof(text));
	if (n > 0)
		override_apply(st, text, (size_t)n);
}

static int read_exactly(struct walk *w, int fd, u8 *to, size_t len)
{
	while (len) {
		ssize_t n = read(fd, to, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(w, errno);
		if (n == 0)
			return fail_with(w, EAGAIN, "shrank while it was read");
		to += n;
		len -= (size_t)n;
	}
	return 0;
}

static int add_file(struct walk *w)
{
	/* Not blocking: it may have become a pipe since. */
	_cleanup_fd_ int fd = openat(w->root, w->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st))
		return fail(w, errno);
	if (!S_ISREG(st.st_mode))
		return fail(w, EAGAIN);
	if (st.st_size > (off_t)UINT32_MAX)
		return fail_with(w, EFBIG, "larger than 4 GiB, which an initial file system cannot hold");
	find_owner(w, fd, &st);
	u8 *data;
	int r = add(w, &st, S_ISREG(st.st_mode) ? (u32)st.st_size : 0, &data);
	return r || !data || !S_ISREG(st.st_mode) ? r : read_exactly(w, fd, data, (size_t)st.st_size);
}

static int add_symlink(struct walk *w, struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(w->root, w->path, target, sizeof(target));
	if (n < 0)
		return fail(w, errno);
	if ((size_t)n == sizeof(target))
		return fail(w, ENAMETOOLONG);
	/* Linux makes each name of a hard-linked symbolic link a link of its own, and wants the target with each. */
	st->st_nlink = 1;
	find_owner(w, -1, st);
	u8 *data;
	int r = add(w, st, (u32)n, &data);
	if (!r)
		memcpy(data, target, (size_t)n);
	return r;
}

static bool is_pseudo(int fd)
{
	static const u32 magics[] = { PROC_SUPER_MAGIC,	  SYSFS_MAGIC,	  CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
				      DEVPTS_SUPER_MAGIC, DEBUGFS_MAGIC,  TRACEFS_MAGIC,      SECURITYFS_MAGIC,
				      BPF_FS_MAGIC,	  BINFMTFS_MAGIC, PSTOREFS_MAGIC,     EFIVARFS_MAGIC,
				      AUTOFS_SUPER_MAGIC, NSFS_MAGIC,	  SELINUX_MAGIC };
	struct statfs fs;
	if (fstatfs(fd, &fs))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(magics); i++)
		if ((u32)fs.f_type == magics[i])
			return true;
	return false;
}

struct names {
	char **name;
	size_t count;
};

static void names_free(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->name[i]);
	free(n->name);
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_name(struct names *n, const char *name)
{
	if (!(n->count & (n->count - 1))) { /* full at each power of two */
		char **p = realloc(n->name, MAX(n->count * 2, 1) * sizeof(*p));
		if (!p)
			return ENOMEM;
		n->name = p;
	}
	n->name[n->count] = strdup(name);
	if (!n->name[n->count])
		return ENOMEM;
	n->count++;
	return 0;
}

/* All names at once, and the directory closed again: depth then costs no descriptors. */
static int list_names(struct walk *w, dev_t parent, struct names *n)
{
	int fd = openat(w->root, w->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int code = errno;
		if (fd >= 0)
			close(fd);
		return fail(w, code);
	}
	int code = fstat(fd, &st) ? errno : 0;
	struct dirent *e = NULL;
	if (!code && (st.st_dev == parent || !is_pseudo(fd)))
		while (!code && (errno = 0, e = readdir(d)))
			if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
				code = add_name(n, e->d_name);
	if (!code && !e)
		code = errno;
	closedir(d);
	if (code)
		return fail(w, code);
	if (n->count)
		qsort(n->name, n->count, sizeof(n->name[0]), name_compare);
	return 0;
}

static int add_any(struct walk *w, dev_t parent);

static int add_directory(struct walk *w, struct stat *st, dev_t parent)
{
	u8 *data;
	if (w->owners_beside) {
		_cleanup_fd_ int fd = openat(w->root, w->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		find_owner(w, fd, st);
	}
	int r = add(w, st, 0, &data);
	__attribute__((cleanup(names_free))) struct names n = { 0 };
	if (!r)
		r = list_names(w, parent, &n);
	size_t len = strcmp(w->path, ".") ? strlen(w->path) : 0;
	for (size_t i = 0; !r && i < n.count; i++) {
		int got = snprintf(w->path + len, sizeof(w->path) - len, "%s%s", len ? "/" : "", n.name[i]);
		if ((size_t)got >= sizeof(w->path) - len) {
			w->path[len] = 0;
			return fail(w, ENAMETOOLONG);
		}
		r = add_any(w, st->st_dev);
	}
	if (!r)
		w->path[len] = 0;
	return r;
}

static int add_any(struct walk *w, dev_t parent)
{
	struct stat st;
	if (fstatat(w->root, w->path, &st, AT_SYMLINK_NOFOLLOW))
		return fail(w, errno);
	u8 *data;
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR: return add_directory(w, &st, parent);
	case S_IFREG: return add_file(w);
	case S_IFLNK: return add_symlink(w, &st);
	default: find_owner(w, -1, &st); return add(w, &st, 0, &data);
	}
}

int tree_pack(struct cpio *c, u32 *next_ino, const char *dir, bool owners_beside, struct error *err)
{
	_cleanup_fd_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st))
		return error_set(err, errno, "%s", strerror(errno));
	struct walk w = { .cpio = c,
			  .root = fd,
			  .next_ino = next_ino,
			  .path = ".",
			  .owners_beside = owners_beside,
			  .uid = geteuid(),
			  .gid = getegid(),
			  .err = err };
	/* The directory itself counts as its own parent: what the user names is packed, whatever it is. */
	int r = add_any(&w, st.st_dev);
	tdestroy(w.links, free);
	return r;
}
