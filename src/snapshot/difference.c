/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between two trees, found by looking at both: names, kinds, owners, modes, sizes and times. Of a file that was
 * rewritten with the same size and its old time nothing is seen. Links are compared, not followed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/snapshot.h"
#include "util/cleanup.h"

struct comparison {
	difference_fn *tell;
	void *arg;
	char path[PATH_MAX]; /* of the current entry */
	struct error *err;
};

struct names {
	struct dirent **entry;
	int count;
};

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int no_dots(const struct dirent *e)
{
	return strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
}

static void names_free(struct names *n)
{
	for (int i = 0; i < n->count; i++)
		free(n->entry[i]);
	free(n->entry);
}

static int fail(struct comparison *c)
{
	return error_set(c->err, errno, "%s: %s", c->path, strerror(errno));
}

/* fd -1: there is no such directory, so no names. */
static int list(struct comparison *c, int fd, struct names *n)
{
	*n = (struct names){ 0 };
	n->count = fd < 0 ? 0 : scandirat(fd, ".", &n->entry, no_dots, by_bytes);
	if (n->count >= 0)
		return 0;
	n->count = 0;
	return fail(c);
}

static int compare(struct comparison *c, int before, int after);

/* Both -1 and a directory: of what was added, all is told; of what is gone, the top. */
static int enter(struct comparison *c, int before, int after, const char *name, bool in_before)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	_cleanup_fd_ int a = in_before ? openat(before, name, flags) : -1;
	_cleanup_fd_ int b = openat(after, name, flags);

	return (in_before && a < 0) || b < 0 ? fail(c) : compare(c, a, b);
}

static bool same_link(int before, int after, const char *name)
{
	char a[PATH_MAX], b[PATH_MAX];
	ssize_t n = readlinkat(before, name, a, sizeof(a)), m = readlinkat(after, name, b, sizeof(b));

	return n >= 0 && n == m && !memcmp(a, b, (size_t)n);
}

static bool differ(int before, int after, const char *name, const struct stat *a, const struct stat *b)
{
	if (a->st_mode != b->st_mode || a->st_uid != b->st_uid || a->st_gid != b->st_gid)
		return true;
	if (S_ISLNK(a->st_mode))
		return !same_link(before, after, name);
	if (S_ISCHR(a->st_mode) || S_ISBLK(a->st_mode))
		return a->st_rdev != b->st_rdev;
	return S_ISREG(a->st_mode) && (a->st_size != b->st_size || a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
				       a->st_mtim.tv_nsec != b->st_mtim.tv_nsec);
}

static int entry(struct comparison *c, int before, int after, const char *name, int order)
{
	size_t len = strlen(c->path);
	struct stat a = { 0 }, b = { 0 };
	int r = 0;

	if (len + strlen(name) + 2 > sizeof(c->path))
		return error_set(c->err, ENAMETOOLONG, "%.100s...: %s", c->path, strerror(ENAMETOOLONG));
	sprintf(c->path + len, "/%s", name);
	if ((order <= 0 && fstatat(before, name, &a, AT_SYMLINK_NOFOLLOW)) ||
	    (order >= 0 && fstatat(after, name, &b, AT_SYMLINK_NOFOLLOW)))
		r = fail(c);
	else if (order)
		c->tell(c->arg, order < 0 ? 'D' : 'A', c->path);
	else if (differ(before, after, name, &a, &b))
		c->tell(c->arg, 'C', c->path);
	if (!r && order >= 0 && S_ISDIR(b.st_mode))
		r = enter(c, before, after, name, order == 0 && S_ISDIR(a.st_mode));
	c->path[len] = 0;
	return r;
}

static int compare(struct comparison *c, int before, int after)
{
	__attribute__((cleanup(names_free))) struct names a, b = { 0 };
	int r = list(c, before, &a), i = 0, k = 0;

	if (!r)
		r = list(c, after, &b);
	while (!r && (i < a.count || k < b.count)) {
		int order = i == a.count ? 1 : k == b.count ? -1 : strcmp(a.entry[i]->d_name, b.entry[k]->d_name);
		r = entry(c, before, after, order <= 0 ? a.entry[i]->d_name : b.entry[k]->d_name, order);
		i += order <= 0;
		k += order >= 0;
	}
	return r;
}

int tree_differences(int before, int after, difference_fn *tell, void *arg, struct error *err)
{
	struct comparison c = { .tell = tell, .arg = arg, .err = err };

	return compare(&c, before, after);
}
