/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacks layers, each through its stages: the member, its digest, decompression, the digest of that, the tree. What fails or is
 * interrupted is never seen by others; of several who want the same, one works and the others wait.
 */
#include "image/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "image/tree.h"
#include "util/cleanup.h"

/* OCI image specification, config.md: ChainID. */
void chain_id(char hex[CHAIN_TEXT], const struct manifest *m)
{
	struct digest id = { .algorithm = "sha256" };
	struct hasher h;
	char text[2 * DIGEST_HEX_MAX + 32];

	for (size_t i = 0; i < m->nlayers; i++) {
		int n = snprintf(text, sizeof(text), "%s:%s %s:%s", id.algorithm, id.hex, m->diff_id[i].algorithm,
				 m->diff_id[i].hex);
		if (i) {
			hasher_init(&h, NULL);
			hasher_update(&h, text, (size_t)n);
			hasher_result(&h, &id);
		} else {
			id = m->diff_id[0];
		}
	}
	/* An image without layers is empty, and a name in the cache has one length. */
	if (!m->nlayers || strlen(id.hex) != 2 * SHA256_DIGEST_SIZE) {
		hasher_init(&h, NULL);
		hasher_update(&h, id.hex, strlen(id.hex));
		hasher_result(&h, &id);
	}
	snprintf(hex, CHAIN_TEXT, "%.64s", id.hex);
}

static int add_layer(struct unpacking *u, struct tree *t, size_t i, struct error *err)
{
	const struct part *p = &u->manifest.layer[i];
	struct stream *s = u->source->ops->open(u->source, p->member, err);
	int r;

	if (s)
		s = stream_verify(s, &p->digest, p->size, err);
	if (s)
		s = stream_unpack(s, err);
	if (s)
		s = stream_verify(s, &u->manifest.diff_id[i], STREAM_ANY_SIZE, err);
	r = s ? tree_add_layer(t, s, err) : err->code;
	stream_close(s);
	return r ? error_wrap(err, "layer %zu of %zu", i + 1, u->manifest.nlayers) : 0;
}

static int write_info(const struct unpacking *u, const struct staging *s, bool owners_beside, struct error *err)
{
	_cleanup_json_ json_t *info = json_pack("{s:s, s:s, s:I, s:I, s:I, s:b}", "name", u->spec, "digest",
						u->image->digest, "layers", (json_int_t)u->manifest.nlayers, "bytes",
						(json_int_t)(u->budget.limit - u->budget.left), "unpacked",
						(json_int_t)time(NULL), "ownersBeside", owners_beside);
	_cleanup_fd_ int fd = openat(s->fd, "info.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	/* A name that is no UTF-8 is no JSON: the entry is then listed without one. */
	if (fd < 0 || (info && json_dumpfd(info, fd, JSON_INDENT(2))))
		return error_set(err, errno ? errno : EIO, "cannot be kept: %s", strerror(errno));
	return 0;
}

static int open_tree(struct tree *t, const struct staging *s, struct error *err)
{
	t->root = t->trash = -1;
	if (mkdirat(s->fd, "root", 0755) || mkdirat(s->fd, "trash", 0700) || fchmodat(s->fd, "root", 0755, 0))
		return error_set(err, errno, "cannot be unpacked: %s", strerror(errno));
	t->root = openat(s->fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t->trash = openat(s->fd, "trash", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->root < 0 || t->trash < 0)
		return error_set(err, errno, "cannot be unpacked: %s", strerror(errno));
	tree_probe(t, t->trash);
	return 0;
}

static int fill(struct unpacking *u, const struct staging *s, struct error *err)
{
	struct tree t = { .budget = &u->budget };
	int r = open_tree(&t, s, err);

	for (size_t i = 0; !r && i < u->manifest.nlayers; i++)
		r = add_layer(u, &t, i, err);
	if (!r)
		r = write_info(u, s, !t.can_own, err);
	if (t.trash >= 0) {
		trash_empty(t.trash);
		close(t.trash);
		unlinkat(s->fd, "trash", AT_REMOVEDIR);
	}
	if (t.root >= 0)
		close(t.root);
	return r;
}

static int unpack(struct unpacking *u, struct error *err)
{
	struct staging s;
	int r;

	cache_sweep(&u->cache);
	r = cache_stage(&u->cache, &s, err);
	if (!r)
		r = fill(u, &s, err);
	if (!r)
		r = cache_commit(&u->cache, &s, u->image->chain, err);
	cache_abandon(&u->cache, &s);
	u->image->unpacked = !r;
	return r;
}

/* Ends with a shared lock on an entry that is there. It can go between two locks, so the loop. */
int unpacking_obtain(struct unpacking *u, struct error *err)
{
	struct image *im = u->image;
	int r = 0, lock;

	while (!r) {
		im->lock = cache_lock(&u->cache, im->chain, false, err);
		if (im->lock < 0 || cache_has(&u->cache, im->chain))
			return MIN(im->lock, 0);
		close(im->lock);
		im->lock = -1;
		lock = cache_lock(&u->cache, im->chain, true, err);
		if (lock < 0)
			return lock;
		if (!cache_has(&u->cache, im->chain))
			r = unpack(u, err);
		cache_unlock(&u->cache, im->chain, lock);
	}
	return r;
}
