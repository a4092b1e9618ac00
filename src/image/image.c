/* SPDX-License-Identifier: Apache-2.0 */
/* From what --rootfs names to a directory: see image.h. */
#include "image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/unpack.h"
#include "util/cleanup.h"

/* ---- what is meant ---- */

enum kind { KIND_NONE, KIND_DIRECTORY, KIND_LAYOUT, KIND_ARCHIVE };

struct meant {
	enum kind kind;
	char *path; /* owned */
	const char *tag; /* in spec; "@DIGEST", or NULL */
};

static enum kind kind_of(const char *path)
{
	_cleanup_free_ char *layout = NULL, *index = NULL;
	struct stat st;

	if (stat(path, &st))
		return KIND_NONE;
	if (!S_ISDIR(st.st_mode))
		return S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) ? KIND_ARCHIVE : KIND_NONE;
	if (asprintf(&layout, "%s/oci-layout", path) < 0 || asprintf(&index, "%s/index.json", path) < 0)
		return KIND_NONE;
	return !access(layout, F_OK) && !access(index, F_OK) ? KIND_LAYOUT : KIND_DIRECTORY;
}

/* The longest path that exists and has a colon or an "@" behind it: names in images have colons of their own. */
static int find_meaning(struct meant *m, const char *spec)
{
	size_t len = strlen(spec);

	*m = (struct meant){ 0 };
	for (size_t n = len; n; n--) {
		if (n < len && spec[n] != ':' && spec[n] != '@')
			continue;
		free(m->path);
		m->path = strndup(spec, n);
		if (!m->path)
			return -ENOMEM;
		m->kind = kind_of(m->path);
		if (m->kind == KIND_NONE)
			continue;
		m->tag = n == len ? NULL : spec + n + (spec[n] == ':');
		return 0;
	}
	return -ENOENT;
}

bool image_is(const char *spec)
{
	struct meant m;
	bool is = !find_meaning(&m, spec) && m.kind != KIND_DIRECTORY;

	free(m.path);
	return is;
}

/* ---- what its author says of running it ---- */

static int take_command(struct image *im, struct manifest *m)
{
	size_t n = 0, k = 0;

	for (char **w = m->entrypoint; *w; w++)
		n++;
	for (char **w = m->cmd; *w; w++)
		n++;
	if (!n)
		return 0;
	im->argv = calloc(n + 1, sizeof(*im->argv));
	if (!im->argv)
		return -ENOMEM;
	for (char **w = m->entrypoint; *w; w++)
		im->argv[k++] = steal_ptr(*w);
	for (char **w = m->cmd; *w; w++)
		im->argv[k++] = steal_ptr(*w);
	/* words_free() would stop at the first that is no longer there, which is right: all are gone. */
	return 0;
}

static int take_config(struct image *im, struct manifest *m, struct error *err)
{
	if (take_command(im, m))
		return error_set(err, ENOMEM, "out of memory");
	im->env = steal_ptr(m->env);
	im->workdir = steal_ptr(m->workdir);
	im->user = steal_ptr(m->user);
	snprintf(im->digest, sizeof(im->digest), "%s:%.64s", m->id.algorithm ? m->id.algorithm : "sha256", m->id.hex);
	return 0;
}

/* ---- all of it ---- */

static int open_source(struct unpacking *u, const struct meant *m, struct error *err)
{
	/* A pipe is waited for, until somebody writes to it. */
	int fd = open(m->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (m->kind == KIND_LAYOUT ? O_DIRECTORY : 0));

	if (fd < 0)
		return error_set(err, errno, "%s", strerror(errno));
	u->source = m->kind == KIND_LAYOUT ? source_directory(fd, err) : source_tar(fd, u->cache.fd, &u->budget, err);
	return u->source ? 0 : err->code;
}

/* Unless the entry says otherwise: who unpacked it could give files to nobody else. */
static bool owners_beside(const struct cache *c, const char *chain)
{
	_cleanup_json_ json_t *info = cache_info(c, chain);

	return !json_is_false(json_object_get(info, "ownersBeside"));
}

static int open_image(struct image *im, const char *spec, const struct meant *m, struct error *err)
{
	struct unpacking u = { .image = im, .spec = spec };
	int r = cache_open(&u.cache, err);

	if (!r)
		r = budget_init(&u.budget, u.cache.fd, err);
	if (!r)
		r = open_source(&u, m, err);
	if (!r)
		r = manifest_load(&u.manifest, u.source, m->tag, err);
	if (!r) {
		chain_id(im->chain, &u.manifest);
		r = take_config(im, &u.manifest, err);
	}
	if (!r)
		r = unpacking_obtain(&u, err);
	if (!r && asprintf(&im->path, "%s/rootfs/%s/root", u.cache.path, im->chain) < 0) {
		im->path = NULL;
		r = error_set(err, ENOMEM, "out of memory");
	}
	im->owners_beside = !r && owners_beside(&u.cache, im->chain);
	manifest_free(&u.manifest);
	source_close(u.source);
	cache_close(&u.cache);
	return r;
}

int image_open_chain(struct image *im, const char *chain, struct error *err)
{
	struct cache c;
	int r = cache_open(&c, err);

	*im = (struct image){ .lock = -1, .is_image = true };
	snprintf(im->chain, sizeof(im->chain), "%.64s", chain);
	if (!r) {
		im->lock = cache_lock(&c, im->chain, false, err);
		r = MIN(im->lock, 0);
	}
	if (!r && !cache_has(&c, im->chain))
		r = error_set(err, ENOENT, "no longer in the cache");
	if (!r && asprintf(&im->path, "%s/rootfs/%s/root", c.path, im->chain) < 0) {
		im->path = NULL;
		r = error_set(err, ENOMEM, "out of memory");
	}
	im->owners_beside = !r && owners_beside(&c, im->chain);
	cache_close(&c);
	if (r)
		image_close(im);
	return r;
}

/* As a name of a registry's looks: "alpine", "docker.io/library/alpine:3.18". */
static int explain_absence(const char *spec, struct error *err)
{
	const char *hint = *spec == '.' || *spec == '/' ? ""
							: "; images are not pulled: skopeo copy docker://NAME "
							  "oci:DIR does that";

	return error_set(err, ENOENT, "no such directory or image%s", hint);
}

int image_open(struct image *im, const char *spec, struct error *err)
{
	struct meant m;
	int r = find_meaning(&m, spec);

	*im = (struct image){ .lock = -1 };
	if (r == -ENOENT)
		r = explain_absence(spec, err);
	else if (r)
		r = error_set(err, ENOMEM, "out of memory");
	else if (m.kind == KIND_DIRECTORY && m.tag)
		r = error_set(err, ENOENT, "no such directory, and %s is no image that could have a '%s'", m.path,
			      m.tag);
	else if (m.kind == KIND_DIRECTORY)
		im->path = steal_ptr(m.path);
	else
		r = open_image(im, spec, &m, err);
	im->is_image = !r && m.kind != KIND_DIRECTORY;
	free(m.path);
	if (r) {
		image_close(im);
		error_wrap(err, "rootfs %s", spec);
	}
	return r;
}

void image_close(struct image *im)
{
	if (im->lock >= 0) {
		flock(im->lock, LOCK_UN); /* also for a child that has the descriptor still */
		close(im->lock);
	}
	free(im->path);
	words_free(im->argv);
	words_free(im->env);
	free(im->workdir);
	free(im->user);
	*im = (struct image){ .lock = -1 };
}
