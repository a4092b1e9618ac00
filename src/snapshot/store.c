/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of snapshots: what is in it, and its being put in order after interruptions. */
#include "snapshot/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

#define ID_ROOM 17

int snapshot_check_name(const char *name, struct error *err)
{
	static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-";
	size_t len = strlen(name);

	if (len && len <= SNAPSHOT_NAME_MAX && strspn(name, letters) == len && *name != '.' && *name != '-')
		return 0;
	return error_set(err, EINVAL,
			 "a snapshot's name has 1 to %d letters, digits, '.', '_' and '-', and begins with none of "
			 "'.' and '-'",
			 SNAPSHOT_NAME_MAX);
}

int store_path(char **path, struct error *err)
{
	*path = folder_path("XDG_DATA_HOME", ".local/share", "snapshots", err);
	return *path ? 0 : err->code;
}

int store_open(struct store *s, struct error *err)
{
	static const char *const folders[] = { "names", "layers", "tmp" };
	int r;

	s->fd = -1;
	r = store_path(&s->path, err);
	s->fd = !r ? folder_open(s->path, err) : -1;
	r = MIN(s->fd, 0);
	for (unsigned i = 0; !r && i < ARRAY_SIZE(folders); i++)
		if (mkdirat(s->fd, folders[i], 0700) && errno != EEXIST)
			r = error_set(err, errno, "%s: %s", s->path, strerror(errno));
	if (!r && flock(s->fd, LOCK_EX))
		r = error_set(err, errno, "%s: %s", s->path, strerror(errno));
	if (r)
		store_close(s);
	return r;
}

void store_close(struct store *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->path);
	*s = (struct store){ .fd = -1 };
}

/* ---- deletion ---- */

static void make_id(char id[ID_ROOM])
{
	u64 random = 0;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = (u64)getpid();
	snprintf(id, ID_ROOM, "%016llx", (unsigned long long)random);
}

static void delete (int parent, const char *name)
{
	_cleanup_fd_ int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		trash_empty(fd);
	unlinkat(parent, name, AT_REMOVEDIR);
}

int store_discard(const struct store *s, const char *name, struct error *err)
{
	char id[ID_ROOM], to[ID_ROOM + 4];

	make_id(id);
	snprintf(to, sizeof(to), "tmp/%s", id);
	if (renameat(s->fd, name, s->fd, to))
		return errno == ENOENT ? 0 : error_set(err, errno, "%s: %s", name, strerror(errno));
	delete (s->fd, to);
	return 0;
}

static DIR *list(const struct store *s, const char *folder)
{
	int fd = openat(s->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

void store_sweep(const struct store *s)
{
	DIR *d = list(s, "tmp");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		_cleanup_fd_ int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (e->d_name[0] != '.' && fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB))
			delete (dirfd(d), e->d_name);
	}
	if (d)
		closedir(d);
}

/* True if it cannot be known. */
static bool is_layer_of(const char *name, const char *layer)
{
	struct error ignored = { 0 };
	struct snapshot s;
	bool is = true;

	if (snapshot_open(&s, name, SNAPSHOT_LOOK, &ignored))
		return true;
	if (!s.pending || strcmp(s.pending, layer) != 0) {
		is = false;
		for (char **l = s.layer; l && *l && !is; l++)
			is = !strcmp(*l, layer);
	}
	snapshot_close(&s);
	return is;
}

void store_collect(const struct store *s)
{
	struct error ignored = { 0 };
	char **names, name[sizeof("layers/") + ID_ROOM];
	DIR *d = list(s, "layers");
	struct dirent *e;

	if (snapshot_names(&names, &ignored)) {
		if (d)
			closedir(d);
		return;
	}
	while (d && (e = readdir(d))) {
		bool used = e->d_name[0] == '.' || strlen(e->d_name) >= ID_ROOM;
		for (char **n = names; *n && !used; n++)
			used = is_layer_of(*n, e->d_name);
		if (used)
			continue;
		snprintf(name, sizeof(name), "layers/%.16s", e->d_name);
		store_discard(s, name, &ignored);
	}
	if (d)
		closedir(d);
	words_free(names);
}

/* ---- layers ---- */

char *snapshot_below(const struct snapshot *s, const struct store *store)
{
	char *path;

	if (!s->layers)
		return strdup(s->image.path);
	return asprintf(&path, "%s/layers/%s", store->path, s->layer[s->layers - 1]) < 0 ? NULL : path;
}

static int append_layer(struct snapshot *s, struct error *err)
{
	char **grown = reallocarray(s->layer, s->layers + 2, sizeof(*grown));

	if (!grown)
		return error_set(err, ENOMEM, "out of memory");
	s->layer = grown;
	grown[s->layers++] = steal_ptr(s->pending);
	grown[s->layers] = NULL;
	return 0;
}

int snapshot_mend(struct snapshot *s, const struct store *store, struct error *err)
{
	_cleanup_free_ char *below = NULL;
	char layer[64] = "";
	int r = 0;

	if (s->pending) {
		snprintf(layer, sizeof(layer), "layers/%.16s", s->pending);
		if (!faccessat(store->fd, layer, F_OK, 0))
			r = append_layer(s, err);
		free(s->pending);
		s->pending = NULL;
		if (!r)
			r = snapshot_save(s, s->fd, err);
	}
	if (!r && mkdirat(s->fd, "work", 0700) && errno != EEXIST)
		r = error_set(err, errno, "work: %s", strerror(errno));
	if (r || !faccessat(s->fd, "upper", F_OK, 0))
		return r;
	below = snapshot_below(s, store);
	return below ? overlay_make_upper(s->fd, "upper", below, err) : error_set(err, ENOMEM, "out of memory");
}

static bool is_empty(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e = NULL;

	while (d && (e = readdir(d)) && (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")))
		;
	if (d)
		closedir(d);
	return !e;
}

/* Written down first, then done: snapshot_mend() finishes what is interrupted. */
int snapshot_freeze(struct snapshot *s, const struct store *store, struct error *err)
{
	char to[64], id[ID_ROOM];
	int r;

	if (is_empty(s->fd, "upper"))
		return 0;
	if (s->layers == SNAPSHOT_LAYERS)
		return error_set(err, EMLINK, "it stands on %u layers already, and an overlay takes no more",
				 s->layers);
	make_id(id);
	snprintf(to, sizeof(to), "layers/%s", id);
	s->pending = strdup(id);
	r = s->pending ? snapshot_save(s, s->fd, err) : error_set(err, ENOMEM, "out of memory");
	if (!r && renameat(s->fd, "upper", store->fd, to))
		r = error_set(err, errno, "upper: %s", strerror(errno));
	return r ? r : snapshot_mend(s, store, err);
}
