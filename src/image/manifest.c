/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests, whatever they were read from: see manifest.h. */
#include "image/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

void part_free(struct part *p)
{
	free(p->member);
	p->member = NULL;
}

int part_parse(struct part *p, const json_t *descriptor, struct error *err)
{
	const char *digest = json_text(descriptor, "digest");
	const json_t *size = json_object_get(descriptor, "size");

	*p = (struct part){ 0 };
	if (!digest || !digest_parse(&p->digest, digest))
		return error_set(err, EBADMSG, "a digest is '%.100s', which is neither sha256 nor sha512",
				 digest ? digest : "");
	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return error_set(err, EBADMSG, "%s: no size", digest);
	p->size = (u64)json_integer_value(size);
	if (asprintf(&p->member, "blobs/%s/%s", p->digest.algorithm, p->digest.hex) < 0) {
		p->member = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

int part_document(json_t **out, struct source *s, const struct part *p, struct error *err)
{
	struct stream *raw = s->ops->open(s, p->member, err);
	_cleanup_stream_ struct stream *checked = raw ? stream_verify(raw, &p->digest, p->size, err) : NULL;
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (!checked)
		return err->code;
	if (stream_slurp(checked, SOURCE_SMALL, &text, &len, err))
		return error_wrap(err, "%s", p->member);
	*out = json_document(text, len, p->member, err);
	return *out ? 0 : err->code;
}

int manifest_room(struct manifest *m, size_t layers, struct error *err)
{
	if (layers > LAYERS_MAX)
		return error_set(err, EFBIG, "has %zu layers; at most %d are taken", layers, LAYERS_MAX);
	m->layer = calloc(layers + 1, sizeof(*m->layer));
	m->nlayers = layers;
	return m->layer ? 0 : error_set(err, ENOMEM, "out of memory");
}

bool name_matches(const char *name, const char *tag)
{
	size_t n = strlen(name), t = strlen(tag);

	if (n < t || strcmp(name + n - t, tag) != 0)
		return false;
	return n == t || name[n - t - 1] == ':' || name[n - t - 1] == '/';
}

int manifest_load(struct manifest *m, struct source *s, const char *tag, struct error *err)
{
	int r;

	*m = (struct manifest){ 0 };
	if (source_has(s, "index.json"))
		r = layout_load(m, s, tag, err);
	else if (source_has(s, "manifest.json"))
		r = docker_load(m, s, tag, err);
	else
		r = error_set(err, EINVAL,
			      "neither an OCI image layout (it has no index.json) nor one of docker save "
			      "(no manifest.json)");
	return r ? r : config_load(m, s, err);
}

void manifest_free(struct manifest *m)
{
	for (size_t i = 0; i < m->nlayers && m->layer; i++)
		part_free(&m->layer[i]);
	part_free(&m->config);
	free(m->layer);
	free(m->diff_id);
	words_free(m->entrypoint);
	words_free(m->cmd);
	words_free(m->env);
	free(m->workdir);
	free(m->user);
	*m = (struct manifest){ 0 };
}
