/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of unpacked images: see cache.h. */
#include "image/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/folder.h"
#include "image/tree.h"
#include "util/cleanup.h"

#define ROOTFS "rootfs"
#define LOCKS  "locks"
#define TMP    "tmp"

/* ---- its directories ---- */

int cache_open(struct cache *c, struct error *err)
{
	static const char *const folders[] = { ROOTFS, LOCKS, TMP };
	int r;

	c->path = folder_path("XDG_CACHE_HOME", ".cache", "images", err);
	c->fd = c->path ? folder_open(c->path, err) : -1;
	r = MIN(c->fd, 0);
	for (unsigned i = 0; !r && i < ARRAY_SIZE(folders); i++)
		if (mkdirat(c->fd, folders[i], 0700) && errno != EEXIST)
			r = error_set(err, errno, "%s", strerror(errno));
	if (r) {
		error_wrap(err, "the cache of images");
		cache_close(c);
	}
	return r;
}

void cache_close(struct cache *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->path);
	*c = (struct cache){ .fd = -1 };
}

/* ---- locks ---- */

/* Whether the locked file is still the one of that name: who deletes an entry deletes its lock as well. */
static bool still_there(const struct cache *c, const char *name, int fd)
{
	struct stat a, b;

	return !fstat(fd, &a) && !fstatat(c->fd, name, &b, AT_SYMLINK_NOFOLLOW) && a.st_ino == b.st_ino;
}

static int lock_file(const struct cache *c, const char *hex, int how)
{
	char name[96];
	int fd, r;

	snprintf(name, sizeof(name), LOCKS "/%s", hex);
	for (;;) {
		fd = openat(c->fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -1;
		do
			r = flock(fd, how);
		while (r && errno == EINTR);
		if (r || still_there(c, name, fd))
			break;
		close(fd);
	}
	if (!r)
		return fd;
	close(fd);
	return -1;
}

int cache_lock(const struct cache *c, const char *hex, bool exclusive, struct error *err)
{
	int fd = lock_file(c, hex, exclusive ? LOCK_EX : LOCK_SH);

	return fd >= 0 ? fd : error_set(err, errno, "its lock in %s: %s", c->path, strerror(errno));
}

void cache_unlock(const struct cache *c, const char *hex, int fd)
{
	char name[96];

	snprintf(name, sizeof(name), LOCKS "/%s", hex);
	if (!cache_has(c, hex))
		unlinkat(c->fd, name, 0);
	close(fd);
}

bool cache_has(const struct cache *c, const char *hex)
{
	char name[96];

	snprintf(name, sizeof(name), ROOTFS "/%s/root", hex);
	return !faccessat(c->fd, name, F_OK, 0);
}

/* ---- what is being made ---- */

static int open_tmp(const struct cache *c)
{
	int fd = openat(c->fd, TMP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		flock(fd, LOCK_EX); /* between making and locking, an entry looks as if left behind */
	return fd;
}

int cache_stage(const struct cache *c, struct staging *s, struct error *err)
{
	_cleanup_fd_ int tmp = open_tmp(c);
	u64 random = 0;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = (u64)getpid();
	snprintf(s->name, sizeof(s->name), "%016llx", (unsigned long long)random);
	s->fd = -1;
	if (tmp >= 0 && !mkdirat(tmp, s->name, 0700))
		s->fd = openat(tmp, s->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->fd < 0 || flock(s->fd, LOCK_EX))
		return error_set(err, errno, "cannot be unpacked to %s: %s", c->path, strerror(errno));
	return 0;
}

static void remove_tree(int parent, const char *name)
{
	_cleanup_fd_ int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		trash_empty(fd);
	unlinkat(parent, name, AT_REMOVEDIR);
}

void cache_abandon(const struct cache *c, struct staging *s)
{
	char name[64];

	if (s->fd < 0)
		return;
	snprintf(name, sizeof(name), TMP "/%s", s->name);
	remove_tree(c->fd, name);
	close(s->fd);
	s->fd = -1;
}

int cache_commit(const struct cache *c, struct staging *s, const char *hex, struct error *err)
{
	char from[64], to[96];

	snprintf(from, sizeof(from), TMP "/%s", s->name);
	snprintf(to, sizeof(to), ROOTFS "/%s", hex);
	/* A name that survives a power failure must not have lost its files in it. */
	if (syncfs(s->fd) || renameat(c->fd, from, c->fd, to))
		return error_set(err, errno, "cannot be kept in %s: %s", c->path, strerror(errno));
	close(s->fd);
	s->fd = -1;
	return 0;
}

void cache_sweep(const struct cache *c)
{
	_cleanup_fd_ int tmp = open_tmp(c);
	int copy = tmp < 0 ? -1 : openat(tmp, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		_cleanup_fd_ int fd = openat(tmp, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (e->d_name[0] != '.' && fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB))
			remove_tree(tmp, e->d_name);
	}
	if (d)
		closedir(d);
	else if (copy >= 0)
		close(copy);
}

/* ---- what is there ---- */

json_t *cache_info(const struct cache *c, const char *hex)
{
	char name[112];
	json_t *info = NULL;

	snprintf(name, sizeof(name), ROOTFS "/%s/info.json", hex);
	_cleanup_fd_ int fd = openat(c->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		info = json_loadfd(fd, 0, NULL);
	return info;
}

int cache_list(const struct cache *c, struct cache_entry **list, size_t *count, struct error *err)
{
	int fd = openat(c->fd, ROOTFS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	*list = NULL;
	*count = 0;
	if (!d)
		return error_set(err, errno, "%s: %s", c->path, strerror(errno));
	while ((e = readdir(d))) {
		struct cache_entry *grown;
		if (!digest_is_hex256(e->d_name, strlen(e->d_name)))
			continue;
		grown = reallocarray(*list, *count + 1, sizeof(*grown));
		if (!grown)
			break;
		*list = grown;
		snprintf(grown[*count].hex, sizeof(grown[*count].hex), "%.64s", e->d_name);
		grown[*count].info = cache_info(c, e->d_name);
		++*count;
	}
	closedir(d);
	return 0;
}

void cache_list_free(struct cache_entry *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		json_decref(list[i].info);
	free(list);
}

int cache_pin(const struct cache *c, const char *hex, const char *who, bool pin, struct error *err)
{
	char folder[96], name[192];
	int fd = -1;

	snprintf(folder, sizeof(folder), ROOTFS "/%s/pins", hex);
	snprintf(name, sizeof(name), ROOTFS "/%s/pins/%.64s", hex, who);
	if (!pin)
		return unlinkat(c->fd, name, 0) && errno != ENOENT ? error_set(err, errno, "%s", strerror(errno)) : 0;
	if (!mkdirat(c->fd, folder, 0700) || errno == EEXIST)
		fd = openat(c->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_set(err, errno, "%s: %s", c->path, strerror(errno));
	close(fd);
	return 0;
}

/* The name of one who has pinned it. */
static bool is_pinned(const struct cache *c, const char *hex, char who[NAME_MAX + 1])
{
	char folder[96];
	struct dirent *e = NULL;

	snprintf(folder, sizeof(folder), ROOTFS "/%s/pins", hex);
	int fd = openat(c->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	while (d && (e = readdir(d)) && e->d_name[0] == '.')
		;
	if (e)
		snprintf(who, NAME_MAX + 1, "%s", e->d_name);
	if (d)
		closedir(d);
	return e;
}

/* First out of sight, then deleted: an interrupted deletion leaves nothing that looks whole. */
int cache_remove(const struct cache *c, const char *hex, struct error *err)
{
	char from[96], to[96], lock[96], who[NAME_MAX + 1];
	_cleanup_fd_ int held = lock_file(c, hex, LOCK_EX | LOCK_NB);

	if (held < 0)
		return error_set(err, errno == EWOULDBLOCK ? EBUSY : errno, "%s",
				 errno == EWOULDBLOCK ? "in use" : strerror(errno));
	if (is_pinned(c, hex, who))
		return error_set(err, EBUSY, "snapshot '%s' stands on it", who);
	snprintf(from, sizeof(from), ROOTFS "/%s", hex);
	snprintf(to, sizeof(to), TMP "/%s", hex);
	snprintf(lock, sizeof(lock), LOCKS "/%s", hex);
	if (renameat(c->fd, from, c->fd, to) && errno != ENOENT)
		return error_set(err, errno, "%s", strerror(errno));
	unlinkat(c->fd, lock, 0);
	remove_tree(c->fd, to);
	return 0;
}
