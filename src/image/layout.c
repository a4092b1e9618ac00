/* SPDX-License-Identifier: Apache-2.0 */
/* A manifest of an OCI image layout, or of Docker's version 2, schema 2, which differs in names of types only. */
#include <errno.h>
#include <string.h>

#include "image/manifest.h"
#include "util/cleanup.h"

static int check_version(struct source *s, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *j = NULL;
	const char *version;
	size_t len;

	if (!source_has(s, "oci-layout")) /* containerd's and others' exports without it can be read as well */
		return 0;
	if (source_read(s, "oci-layout", &text, &len, err))
		return err->code;
	j = json_document(text, len, "oci-layout", err);
	if (!j)
		return err->code;
	version = json_text(j, "imageLayoutVersion");
	if (!version || strncmp(version, "1.", 2) != 0)
		return error_set(err, ENOTSUP, "OCI image layout of version '%.20s'; known is 1.0.0",
				 version ? version : "");
	return 0;
}

/* Artifacts (charts, signatures, ...) are packed like images, and tell by the type of their configuration. */
static int check_type(const json_t *config, struct error *err)
{
	static const char *const images[] = { "application/vnd.oci.image.config.v1+json",
					      "application/vnd.docker.container.image.v1+json" };
	const char *type = json_text(config, "mediaType");

	for (unsigned i = 0; i < ARRAY_SIZE(images); i++)
		if (!type || !strcmp(type, images[i]))
			return 0;
	return error_set(err, ENOTSUP, "no container image: it is of type %.100s", type);
}

static int check_layer(const json_t *layer, struct error *err)
{
	const char *type = json_text(layer, "mediaType");

	if (type && strstr(type, "+encrypted"))
		return error_set(err, ENOTSUP, "a layer is encrypted");
	if (type && !strstr(type, "tar"))
		return error_set(err, ENOTSUP, "a layer is of type %.100s, which is no tar", type);
	return 0;
}

static int read_manifest(struct manifest *m, const json_t *j, struct error *err)
{
	const json_t *config = json_object_get(j, "config"), *layers = json_object_get(j, "layers"), *d;
	size_t i;
	int r;

	if (!json_is_object(config) || !json_is_array(layers))
		return error_set(err, ENOTSUP, "the manifest has no config or no layers (schema version 2 is needed)");
	r = check_type(config, err);
	if (!r)
		r = part_parse(&m->config, config, err);
	if (!r)
		r = manifest_room(m, json_array_size(layers), err);
	for (i = 0; !r && i < m->nlayers; i++) {
		d = json_array_get(layers, i);
		r = check_layer(d, err);
		if (!r)
			r = part_parse(&m->layer[i], d, err);
	}
	return r;
}

int layout_load(struct manifest *m, struct source *s, const char *tag, struct error *err)
{
	__attribute__((cleanup(part_free))) struct part chosen = { 0 };
	_cleanup_json_ json_t *j = NULL;
	int r = check_version(s, err);

	if (!r)
		r = layout_choose(&chosen, s, tag, err);
	if (!r)
		r = part_document(&j, s, &chosen, err);
	if (r)
		return r;
	m->id = chosen.digest;
	return read_manifest(m, j, err);
}
