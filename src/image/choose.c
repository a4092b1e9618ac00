/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of an index's images is meant (OCI image specification, image-index.md and annotations.md): by the name that was asked
 * for, then by platform. An entry can be an index itself: that of one name for several platforms.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/manifest.h"
#include "util/cleanup.h"

#define DEPTH_MAX 4
#define OS	  "linux"
#define CPU	  "amd64"

struct choice {
	struct source *source;
	const char *tag;
	struct part *chosen;
	unsigned found; /* different ones */
	unsigned entries;
	char seen[256]; /* what there is, to be told when nothing fits or too much does */
	struct error *err;
};

static void remember(struct choice *c, const char *text)
{
	size_t len = strlen(c->seen);

	if (text && len + strlen(text) + 3 < sizeof(c->seen) && !strstr(c->seen, text))
		snprintf(c->seen + len, sizeof(c->seen) - len, "%s%s", len ? ", " : "", text);
}

static const char *annotation(const json_t *descriptor, const char *key)
{
	return json_text(json_object_get(descriptor, "annotations"), key);
}

static const char *entry_name(const json_t *d)
{
	const char *full = annotation(d, "io.containerd.image.name");

	return full ? full : annotation(d, "org.opencontainers.image.ref.name");
}

static bool entry_matches(const json_t *d, const char *tag)
{
	static const char *const keys[] = { "org.opencontainers.image.ref.name", "io.containerd.image.name" };
	const char *digest = json_text(d, "digest");

	if (*tag == '@')
		return digest && !strcmp(digest, tag + 1);
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *name = annotation(d, keys[i]);
		if (name && name_matches(name, tag))
			return true;
	}
	return false;
}

/* An entry that names no platform may be for ours: its configuration will tell. */
static bool platform_fits(struct choice *c, const json_t *d)
{
	const json_t *p = json_object_get(d, "platform");
	const char *os = json_text(p, "os"), *cpu = json_text(p, "architecture");
	char text[64];

	if (!os || !cpu || (!strcmp(os, OS) && !strcmp(cpu, CPU)))
		return true;
	snprintf(text, sizeof(text), "%.24s/%.24s", os, cpu);
	if (strcmp(os, "unknown") != 0) /* an attestation of BuildKit's */
		remember(c, text);
	return false;
}

static bool is_index(const json_t *d)
{
	const char *type = json_text(d, "mediaType");

	return type && (strstr(type, "image.index") || strstr(type, "manifest.list"));
}

static int walk(struct choice *c, const json_t *index, unsigned depth);

static int descend(struct choice *c, const json_t *d, unsigned depth)
{
	__attribute__((cleanup(part_free))) struct part p = { 0 };
	_cleanup_json_ json_t *index = NULL;
	int r = part_parse(&p, d, c->err);

	if (!r && depth == DEPTH_MAX)
		r = error_set(c->err, EBADMSG, "%s: indexes in indexes, more than %d deep", p.member, DEPTH_MAX);
	if (!r)
		r = part_document(&index, c->source, &p, c->err);
	return r ? r : walk(c, index, depth + 1);
}

static int take(struct choice *c, const json_t *d)
{
	__attribute__((cleanup(part_free))) struct part p = { 0 };
	int r = part_parse(&p, d, c->err);

	if (r)
		return r;
	if (c->found && !strcmp(p.digest.hex, c->chosen->digest.hex))
		return 0;
	if (!c->found++) {
		*c->chosen = p;
		p.member = NULL;
	}
	return 0;
}

/* What an inner index offers for our platform are variants (amd64 v2, v3, ...) of one image, the plain one first. */
static int walk(struct choice *c, const json_t *index, unsigned depth)
{
	const json_t *entries = json_object_get(index, "manifests"), *d;
	unsigned before = c->found;
	size_t i;
	int r = 0;

	if (!json_is_array(entries))
		return error_set(c->err, EBADMSG, "an index without manifests");
	json_array_foreach(entries, i, d)
	{
		if (depth == 0 && c->tag && !entry_matches(d, c->tag))
			continue;
		c->entries++;
		if (!platform_fits(c, d))
			continue;
		r = is_index(d) ? descend(c, d, depth) : take(c, d);
		if (r || (depth && c->found > before))
			break;
	}
	return r;
}

static void remember_names(struct choice *c, const json_t *index)
{
	const json_t *entries = json_object_get(index, "manifests"), *d;
	size_t i;

	c->seen[0] = 0;
	json_array_foreach(entries, i, d) remember(c, entry_name(d) ? entry_name(d) : json_text(d, "digest"));
}

static int conclude(struct choice *c, const json_t *index)
{
	if (c->found == 1)
		return 0;
	if (c->found) {
		remember_names(c, index);
		return error_set(c->err, EINVAL, "has %u images: choose one by IMAGE:TAG or IMAGE@DIGEST (%s)",
				 c->found, c->seen);
	}
	if (c->entries)
		return error_set(c->err, EINVAL, "has no image for " OS "/" CPU " (%s)",
				 c->seen[0] ? c->seen : "it is empty");
	remember_names(c, index);
	if (c->tag)
		return error_set(c->err, ENOENT, "has no image '%s' (%s)", *c->tag == '@' ? c->tag + 1 : c->tag,
				 c->seen[0] ? c->seen : "none at all");
	return error_set(c->err, EINVAL, "has no images");
}

int layout_choose(struct part *chosen, struct source *s, const char *tag, struct error *err)
{
	struct choice c = { .source = s, .tag = tag, .chosen = chosen, .err = err };
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *index = NULL;
	size_t len;
	int r = source_read(s, "index.json", &text, &len, err);

	if (r)
		return r;
	index = json_document(text, len, "index.json", err);
	if (!index)
		return err->code;
	r = walk(&c, index, 0);
	return r ? r : conclude(&c, index);
}
