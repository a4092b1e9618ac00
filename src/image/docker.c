/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What docker save and podman save write: manifest.json, an array of images, each with names (RepoTags), a configuration and
 * layers. The configuration's file has its digest as its name; layers are known by their digests once unpacked.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "image/manifest.h"
#include "util/cleanup.h"

#define HEX 64

static bool has_tag(const json_t *image, const char *tag)
{
	const json_t *tags = json_object_get(image, "RepoTags"), *name;
	size_t i;

	json_array_foreach(tags, i,
			   name) if (json_is_string(name) && name_matches(json_string_value(name), tag)) return true;
	return false;
}

static bool has_digest(const json_t *image, const char *digest)
{
	const char *config = json_text(image, "Config"), *colon = strchr(digest, ':');

	return config && colon && colon[1] && strstr(config, colon + 1);
}

static void list_names(char *out, size_t room, const json_t *images)
{
	const json_t *image, *name;
	size_t i, j;

	*out = 0;
	json_array_foreach(images, i, image) json_array_foreach(json_object_get(image, "RepoTags"), j, name)
	{
		const char *text = json_is_string(name) ? json_string_value(name) : "";
		size_t len = strlen(out);
		if (len + strlen(text) + 3 < room)
			snprintf(out + len, room - len, "%s%s", len ? ", " : "", text);
	}
	if (!*out)
		snprintf(out, room, "without names");
}

static const json_t *choose(const json_t *images, const char *tag, struct error *err)
{
	const json_t *image, *found = NULL;
	char names[256];
	size_t i;

	list_names(names, sizeof(names), images);
	json_array_foreach(images, i, image)
	{
		if (tag && !(*tag == '@' ? has_digest(image, tag + 1) : has_tag(image, tag)))
			continue;
		if (found) {
			error_set(err, EINVAL, "has several images: choose one by IMAGE:TAG (%s)", names);
			return NULL;
		}
		found = image;
	}
	if (!found && tag)
		error_set(err, ENOENT, "has no image '%s' (%s)", *tag == '@' ? tag + 1 : tag, names);
	else if (!found)
		error_set(err, EINVAL, "manifest.json: has no images");
	return found;
}

/* "HEX.json" of docker, "blobs/sha256/HEX" since its version 25. */
static void config_digest(struct part *config)
{
	const char *slash = strrchr(config->member, '/');
	const char *base = slash ? slash + 1 : config->member;
	char text[8 + HEX];

	if (strlen(base) < HEX || !digest_is_hex256(base, HEX) || (base[HEX] && strcmp(base + HEX, ".json") != 0))
		return;
	snprintf(text, sizeof(text), "sha256:%.*s", HEX, base);
	digest_parse(&config->digest, text);
}

static int read_layers(struct manifest *m, const json_t *image, struct error *err)
{
	const json_t *layers = json_object_get(image, "Layers");
	int r = json_is_array(layers) ? manifest_room(m, json_array_size(layers), err)
				      : error_set(err, EBADMSG, "manifest.json: no Layers");

	for (size_t i = 0; !r && i < m->nlayers; i++) {
		const char *name = json_string_value(json_array_get(layers, i));
		m->layer[i].size = STREAM_ANY_SIZE;
		m->layer[i].member = name ? strdup(name) : NULL;
		if (!m->layer[i].member)
			r = error_set(err, name ? ENOMEM : EBADMSG, "manifest.json: layer %zu has no name", i + 1);
	}
	return r;
}

int docker_load(struct manifest *m, struct source *s, const char *tag, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *images = NULL;
	const json_t *image;
	const char *config;
	size_t len;

	if (source_read(s, "manifest.json", &text, &len, err))
		return err->code;
	images = json_document(text, len, "manifest.json", err);
	if (!images)
		return err->code;
	if (!json_is_array(images))
		return error_set(err, EINVAL, "manifest.json: not that of docker save, which is an array");
	image = choose(images, tag, err);
	if (!image)
		return err->code;
	config = json_text(image, "Config");
	if (!config)
		return error_set(err, EBADMSG, "manifest.json: no Config");
	m->config.size = STREAM_ANY_SIZE;
	m->config.member = strdup(config);
	if (!m->config.member)
		return error_set(err, ENOMEM, "out of memory");
	config_digest(&m->config);
	m->id = m->config.digest;
	return read_layers(m, image, err);
}
