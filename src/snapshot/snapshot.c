/* SPDX-License-Identifier: Apache-2.0 */
/* What is done with snapshots: see snapshot.h. */
#include "snapshot/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/store.h"
#include "util/cleanup.h"

/* ---- opening ---- */

static int take_lock(struct snapshot *s, bool exclusive, struct error *err)
{
	struct stat a, b;

	if (flock(s->fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB))
		return error_set(err, errno == EWOULDBLOCK ? EBUSY : errno, "%s",
				 errno == EWOULDBLOCK ? "in use by another run" : strerror(errno));
	/* It may have gone between opening and locking. */
	if (fstat(s->fd, &a) || stat(s->path, &b) || a.st_ino != b.st_ino)
		return error_set(err, ENOENT, "no such snapshot");
	return 0;
}

static int open_base(struct snapshot *s, struct error *err)
{
	struct image im;
	struct error why = { 0 };

	if (s->chain) {
		if (image_open_chain(&im, s->chain, &why))
			return error_set(err, why.code,
					 "the image that it stands on is %s; to have it unpacked again: "
					 "sextant image show %s",
					 why.text, s->base);
		s->image.path = steal_ptr(im.path);
		s->image.lock = im.lock;
		s->image.is_image = true;
		s->image.owners_beside = im.owners_beside;
		snprintf(s->image.chain, sizeof(s->image.chain), "%s", s->chain);
		return 0;
	}
	s->image.path = strdup(s->base);
	if (!s->image.path || access(s->base, R_OK | X_OK))
		return error_set(err, errno, "what it stands on, %s: %s", s->base, strerror(errno));
	return 0;
}

static int check_privilege(const struct snapshot *s, struct error *err)
{
	if (s->unprivileged == overlay_unprivileged())
		return 0;
	return error_set(err, EPERM, "it was made %s privilege, and its overlay can only be used so",
			 s->unprivileged ? "without" : "with");
}

static int open_in(struct snapshot *s, const struct store *store, const char *name, enum snapshot_use use,
		   struct error *err)
{
	int r;

	*s = (struct snapshot){ .fd = -1, .image.lock = -1, .name = strdup(name) };
	r = snapshot_check_name(name, err);
	if (r)
		return r;
	if (!s->name || asprintf(&s->path, "%s/names/%s", store->path, name) < 0) {
		s->path = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->fd < 0)
		return error_set(err, errno, "%s", errno == ENOENT ? "no such snapshot" : strerror(errno));
	if (use != SNAPSHOT_LOOK)
		r = take_lock(s, use == SNAPSHOT_WRITE, err);
	if (!r)
		r = snapshot_load(s, err);
	if (r || use == SNAPSHOT_LOOK)
		return r;
	r = open_base(s, err);
	if (!r)
		r = check_privilege(s, err);
	return r ? r : snapshot_mend(s, store, err);
}

static int open_or_close(struct snapshot *s, const struct store *store, const char *name, enum snapshot_use use,
			 struct error *err)
{
	int r = open_in(s, store, name, use, err);

	if (r) {
		snapshot_close(s);
		error_wrap(err, "snapshot %.*s", SNAPSHOT_NAME_MAX, name);
	}
	return r;
}

int snapshot_open(struct snapshot *s, const char *name, enum snapshot_use use, struct error *err)
{
	struct store store = { .fd = -1 };
	int r;

	/* Looking is also for who has the store locked. */
	*s = (struct snapshot){ .fd = -1, .image.lock = -1 };
	r = use == SNAPSHOT_LOOK ? store_path(&store.path, err) : store_open(&store, err);
	if (!r)
		r = open_or_close(s, &store, name, use, err);
	store_close(&store);
	return r;
}

void snapshot_close(struct snapshot *s)
{
	if (s->fd >= 0) {
		flock(s->fd, LOCK_UN); /* also for a child that has the descriptor still */
		close(s->fd);
	}
	free(s->name);
	free(s->path);
	free(s->base);
	free(s->chain);
	free(s->pending);
	words_free(s->layer);
	image_close(&s->image);
	*s = (struct snapshot){ .fd = -1, .image.lock = -1 };
}

/* ---- as an overlay ---- */

static char *layer_path(const struct snapshot *s, const char *layer)
{
	size_t store = strlen(s->path) - strlen("/names/") - strlen(s->name);
	char *path;

	return asprintf(&path, "%.*s/layers/%s", (int)store, s->path, layer) < 0 ? NULL : path;
}

int snapshot_overlay(const struct snapshot *s, bool write, struct overlay *o, char *room[SNAPSHOT_LAYERS + 3],
		     struct error *err)
{
	unsigned n = 0;

	*o = (struct overlay){ 0 };
	if (asprintf(&room[n], "%s/upper", s->path) < 0)
		return error_set(err, ENOMEM, "out of memory");
	if (write)
		o->upper = room[n++];
	else
		o->lower[o->lowers++] = room[n++];
	for (unsigned i = s->layers; i--;) {
		room[n] = layer_path(s, s->layer[i]);
		if (!room[n])
			return error_set(err, ENOMEM, "out of memory");
		o->lower[o->lowers++] = room[n++];
	}
	o->lower[o->lowers++] = s->image.path;
	if (write && asprintf(&room[n], "%s/work", s->path) < 0)
		return error_set(err, ENOMEM, "out of memory");
	o->work = write ? room[n++] : NULL;
	room[n] = NULL;
	return 0;
}

int snapshot_tree(const struct snapshot *s, struct error *err)
{
	char *room[SNAPSHOT_LAYERS + 3] = { 0 };
	_cleanup_free_ char *work = NULL;
	struct overlay o;
	int r = snapshot_overlay(s, false, &o, room, err);

	if (!r && asprintf(&work, "%s/work", s->path) < 0) {
		work = NULL;
		r = error_set(err, ENOMEM, "out of memory");
	}
	if (!r)
		r = overlay_tree(&o, work, err);
	for (unsigned i = 0; i < ARRAY_SIZE(room); i++)
		free(room[i]);
	return r;
}

/* ---- making ---- */

static char **copy_words(char *const *words)
{
	size_t n = 0;
	char **copy;

	while (words && words[n])
		n++;
	copy = calloc(n + 1, sizeof(*copy));
	for (size_t i = 0; copy && i < n; i++)
		copy[i] = strdup(words[i]);
	return copy;
}

/* What `from`, frozen, stands on. */
static int stand_on_same(struct snapshot *s, struct snapshot *from, struct error *err)
{
	struct image *to = &s->image, *is = &from->image;

	s->base = strdup(from->base);
	s->chain = from->chain ? strdup(from->chain) : NULL;
	s->layer = copy_words(from->layer);
	s->layers = from->layers;
	to->path = strdup(is->path);
	to->argv = is->argv ? copy_words(is->argv) : NULL;
	to->env = is->env ? copy_words(is->env) : NULL;
	to->workdir = is->workdir ? strdup(is->workdir) : NULL;
	to->user = is->user ? strdup(is->user) : NULL;
	return s->base && s->layer && to->path ? 0 : error_set(err, ENOMEM, "out of memory");
}

static int stand_on_root(struct snapshot *s, const char *root, struct error *err)
{
	int r = image_open(&s->image, root, err);

	if (r)
		return r;
	s->base = s->image.is_image ? strdup(root) : realpath(s->image.path, NULL);
	s->chain = s->image.is_image ? strdup(s->image.chain) : NULL;
	if (!s->base || (s->image.is_image && !s->chain))
		return error_set(err, errno, "%s", strerror(errno));
	if (!s->chain) {
		free(s->image.path);
		s->image.path = strdup(s->base);
	}
	return 0;
}

static int stand(struct snapshot *s, const struct store *store, const char *root, struct error *err)
{
	const char *other = root + strlen(SNAPSHOT_PREFIX);
	struct snapshot from;
	int r;

	if (strncmp(root, SNAPSHOT_PREFIX, strlen(SNAPSHOT_PREFIX)) != 0)
		return stand_on_root(s, root, err);
	r = open_or_close(&from, store, other, SNAPSHOT_WRITE, err);
	if (r)
		return r;
	r = snapshot_freeze(&from, store, err);
	r = r ? error_wrap(err, "snapshot %s", other) : stand_on_same(s, &from, err);
	snapshot_close(&from);
	return r;
}

static int fill(struct snapshot *s, const struct store *store, int dir, struct error *err)
{
	_cleanup_free_ char *below = snapshot_below(s, store);
	int r = below ? overlay_make_upper(dir, "upper", below, err) : error_set(err, ENOMEM, "out of memory");

	if (!r && mkdirat(dir, "work", 0700))
		r = error_set(err, errno, "work: %s", strerror(errno));
	return r ? r : snapshot_save(s, dir, err);
}

static int create_in(const struct store *store, const char *name, const char *root, struct error *err)
{
	struct snapshot s = {
		.fd = -1, .image.lock = -1, .created = time(NULL), .unprivileged = overlay_unprivileged()
	};
	char from[SNAPSHOT_NAME_MAX + 8], to[SNAPSHOT_NAME_MAX + 8];
	_cleanup_fd_ int dir = -1;
	int r;

	snprintf(from, sizeof(from), "tmp/%s", name);
	snprintf(to, sizeof(to), "names/%s", name);
	if (!faccessat(store->fd, to, F_OK, AT_SYMLINK_NOFOLLOW))
		return error_set(err, EEXIST, "there is one of that name already");
	r = stand(&s, store, root, err);
	if (!r &&
	    (mkdirat(store->fd, from, 0700) || (dir = openat(store->fd, from, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0))
		r = error_set(err, errno, "%s: %s", store->path, strerror(errno));
	if (!r)
		r = fill(&s, store, dir, err);
	if (!r && s.chain)
		r = image_pin(s.chain, name, true, err);
	if (!r && renameat(store->fd, from, store->fd, to))
		r = error_set(err, errno, "%s: %s", store->path, strerror(errno));
	snapshot_close(&s);
	return r;
}

int snapshot_create(const char *name, const char *root, struct error *err)
{
	struct store store;
	int r = snapshot_check_name(name, err);

	if (!r)
		r = store_open(&store, err);
	if (r)
		return error_wrap(err, "snapshot %.*s", SNAPSHOT_NAME_MAX, name);
	store_sweep(&store);
	r = create_in(&store, name, root, err);
	store_close(&store);
	return r ? error_wrap(err, "snapshot %s", name) : 0;
}

/* ---- changing ---- */

static void unpin(const struct snapshot *s)
{
	struct error ignored = { 0 };

	if (s->chain)
		image_pin(s->chain, s->name, false, &ignored);
}

/* First away with the changes: interrupted, it is what it was before them. */
static int restore_to(struct snapshot *s, const struct store *store, struct snapshot *from, struct error *err)
{
	char upper[SNAPSHOT_NAME_MAX + 16];
	struct snapshot next = { .fd = -1, .image.lock = -1, .created = s->created, .unprivileged = s->unprivileged };
	int r;

	snprintf(upper, sizeof(upper), "names/%s/upper", s->name);
	r = store_discard(store, upper, err);
	if (r || !from)
		return r ? r : snapshot_mend(s, store, err);
	r = stand_on_same(&next, from, err);
	if (!r && next.chain)
		r = image_pin(next.chain, s->name, true, err);
	if (!r)
		r = snapshot_save(&next, s->fd, err);
	if (!r) {
		_cleanup_free_ char *below = snapshot_below(&next, store);
		r = below ? overlay_make_upper(s->fd, "upper", below, err) : error_set(err, ENOMEM, "out of memory");
	}
	if (!r && s->chain && (!next.chain || strcmp(s->chain, next.chain) != 0))
		unpin(s);
	snapshot_close(&next);
	return r;
}

static int restore_in(const struct store *store, const char *name, const char *from, struct error *err)
{
	struct snapshot s, other = { .fd = -1, .image.lock = -1 };
	int r = open_or_close(&s, store, name, SNAPSHOT_WRITE, err);

	if (r)
		return r;
	if (from && !strcmp(name, from))
		r = error_set(err, EINVAL, "snapshot %s: it is what it is", name);
	else if (from)
		r = open_or_close(&other, store, from, SNAPSHOT_WRITE, err);
	if (!r && from)
		r = snapshot_freeze(&other, store, err);
	if (!r)
		r = restore_to(&s, store, from ? &other : NULL, err);
	snapshot_close(&s);
	snapshot_close(&other);
	return r;
}

int snapshot_restore(const char *name, const char *from, struct error *err)
{
	struct store store;
	int r = store_open(&store, err);

	if (r)
		return r;
	r = restore_in(&store, name, from, err);
	if (!r)
		store_collect(&store);
	store_close(&store);
	return r;
}

/* Also one that cannot be read, or whose base is gone. */
int snapshot_delete(const char *name, struct error *err)
{
	char folder[SNAPSHOT_NAME_MAX + 8];
	struct store store;
	struct snapshot s;
	int r = store_open(&store, err);

	if (r)
		return r;
	r = open_in(&s, &store, name, SNAPSHOT_LOOK, err);
	if (s.fd >= 0)
		r = take_lock(&s, true, err);
	if (!r) {
		unpin(&s);
		snprintf(folder, sizeof(folder), "names/%s", name);
		r = store_discard(&store, folder, err);
	}
	snapshot_close(&s);
	if (!r)
		store_collect(&store);
	store_close(&store);
	return r ? error_wrap(err, "snapshot %.*s", SNAPSHOT_NAME_MAX, name) : 0;
}

/* ---- listing ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int snapshot_names(char ***names, struct error *err)
{
	_cleanup_free_ char *path = NULL, *folder = NULL;
	size_t n = 0;
	int r = store_path(&path, err);

	if (r)
		return r;
	if (asprintf(&folder, "%s/names", path) < 0) {
		folder = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	*names = calloc(1, sizeof(**names));
	DIR *d = *names ? opendir(folder) : NULL;
	for (struct dirent *e; d && (e = readdir(d));) {
		char **grown = e->d_name[0] == '.' ? NULL : reallocarray(*names, n + 2, sizeof(*grown));
		if (!grown)
			continue;
		*names = grown;
		grown[n] = strdup(e->d_name);
		grown[n + (grown[n] != NULL)] = NULL;
		n += grown[n] != NULL;
	}
	if (d)
		closedir(d);
	if (*names)
		qsort(*names, n, sizeof(**names), by_name);
	return *names ? 0 : error_set(err, ENOMEM, "out of memory");
}
