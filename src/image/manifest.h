/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an image consists of: its layers in order, and what its author says of running it. From an OCI layout (index.json, by
 * tag and platform) or from what docker save writes (manifest.json).
 */
#pragma once
#include "image/json.h"
#include "image/source.h"

#define LAYERS_MAX 512

struct part { /* of an image, a member of its source */
	char *member;
	struct digest digest; /* of the member's bytes; unknown for layers of docker save */
	u64 size; /* STREAM_ANY_SIZE: unknown */
};

struct manifest {
	struct digest id; /* of the manifest, or of the configuration where there is no manifest with a digest */
	struct part config, *layer;
	size_t nlayers;
	struct digest *diff_id; /* of each layer, unpacked: as many as layers */
	/* The configuration's: empty or NULL where it says nothing. */
	char **entrypoint, **cmd, **env;
	char *workdir, *user;
};

/* tag: a name in the index, a digest after "@", or NULL for the only one there is. */
int manifest_load(struct manifest *m, struct source *s, const char *tag, struct error *err);
void manifest_free(struct manifest *m);

/* ---- between the files of this: ---- */
/* A JSON member, verified. */
int part_document(json_t **out, struct source *s, const struct part *p, struct error *err);
/* From a descriptor. */
int part_parse(struct part *p, const json_t *descriptor, struct error *err);
void part_free(struct part *p);
int manifest_room(struct manifest *m, size_t layers, struct error *err);
/* "alpine:3.18" is meant by itself, by "3.18", and "docker.io/library/alpine:3.18" by all three. */
bool name_matches(const char *name, const char *tag);

int layout_load(struct manifest *m, struct source *s, const char *tag,
		struct error *err); /* layout.c, layers and config */
int layout_choose(struct part *chosen, struct source *s, const char *tag, struct error *err); /* choose.c: a manifest */
int docker_load(struct manifest *m, struct source *s, const char *tag, struct error *err); /* docker.c */
int config_load(struct manifest *m, struct source *s, struct error *err); /* config.c */
