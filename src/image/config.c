/* SPDX-License-Identifier: Apache-2.0 */
/* An image's configuration (OCI image specification, config.md): what platform it is for, its layers' digests, how to run it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/manifest.h"
#include "util/cleanup.h"

static int check_platform(const json_t *j, struct error *err)
{
	const char *os = json_text(j, "os"), *cpu = json_text(j, "architecture");

	if ((!os || !*os || !strcmp(os, "linux")) && (!cpu || !*cpu || !strcmp(cpu, "amd64")))
		return 0;
	return error_set(err, ENOTSUP, "is an image for %.20s/%.20s, not for linux/amd64", os ? os : "?",
			 cpu ? cpu : "?");
}

static int read_diff_ids(struct manifest *m, const json_t *j, struct error *err)
{
	const json_t *ids = json_object_get(json_object_get(j, "rootfs"), "diff_ids");

	if (json_array_size(ids) != m->nlayers)
		return error_set(err, EBADMSG, "corrupt: %zu layers, but its configuration knows %zu", m->nlayers,
				 json_array_size(ids));
	m->diff_id = calloc(m->nlayers + 1, sizeof(*m->diff_id));
	if (!m->diff_id)
		return error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < m->nlayers; i++) {
		const char *text = json_string_value(json_array_get(ids, i));
		if (!text || !digest_parse(&m->diff_id[i], text))
			return error_set(err, EBADMSG, "corrupt: its configuration has no digest for layer %zu", i + 1);
	}
	return 0;
}

static int copy_text(char **out, const json_t *j, const char *key)
{
	const char *text = json_text(j, key);

	*out = text && *text ? strdup(text) : NULL;
	return text && *text && !*out ? -ENOMEM : 0;
}

static int read_run(struct manifest *m, const json_t *c, struct error *err)
{
	int r = json_words(c, "Entrypoint", &m->entrypoint);

	if (!r)
		r = json_words(c, "Cmd", &m->cmd);
	if (!r)
		r = json_words(c, "Env", &m->env);
	if (!r)
		r = copy_text(&m->workdir, c, "WorkingDir");
	if (!r)
		r = copy_text(&m->user, c, "User");
	if (r == -EINVAL)
		return error_set(err, EBADMSG, "its configuration's Entrypoint, Cmd or Env is no list of texts");
	return r ? error_set(err, ENOMEM, "out of memory") : 0;
}

int config_load(struct manifest *m, struct source *s, struct error *err)
{
	_cleanup_json_ json_t *j = NULL;
	int r = part_document(&j, s, &m->config, err);

	if (!r)
		r = check_platform(j, err);
	if (!r)
		r = read_diff_ids(m, j, err);
	return r ? r : read_run(m, json_object_get(j, "config"), err);
}
