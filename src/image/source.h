/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an image's members come from: a directory or a tar archive, by name. All of it is untrusted; names that lead out of it
 * are not followed.
 */
#pragma once
#include "image/budget.h"
#include "image/stream.h"

struct source {
	const struct source_ops *ops;
};
struct source_ops {
	/* NULL and err; err->code is -ENOENT when there is none of that name. */
	struct stream *(*open)(struct source *s, const char *name, struct error *err);
	void (*close)(struct source *s);
};

static inline void source_close(struct source *s)
{
	if (s)
		s->ops->close(s);
}

/* Each takes the descriptor. NULL and err. */
struct source *source_directory(int fd, struct error *err);
/* A tar, compressed or not, seekable or not. What must be spooled goes to a file without a name in `scratch`. */
struct source *source_tar(int fd, int scratch, struct budget *budget, struct error *err);

/* A member that is small by nature: JSON. */
#define SOURCE_SMALL (8u << 20)
int source_read(struct source *s, const char *name, char **text, size_t *len, struct error *err);
bool source_has(struct source *s, const char *name);
