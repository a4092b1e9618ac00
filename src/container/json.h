/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a configuration on demand: accessors that take what is absent as absent. Types have been checked once, by
 * schema_check(), so a wrong one is as good as absent here. A path is keys with dots: "linux.resources.cpu".
 */
#pragma once
#include <jansson.h>

#include "util/error.h"

json_t *js_at(const json_t *o, const char *path); /* NULL: absent or null */
const char *js_str(const json_t *o, const char *path);
s64 js_int(const json_t *o, const char *path, s64 otherwise);
bool js_bool(const json_t *o, const char *path, bool otherwise);
bool js_has_word(const json_t *array, const char *word);
/* An array of strings as a NULL-terminated vector; the strings stay the array's. NULL: no memory. */
char **js_vector(const json_t *array);
/* A file's text as JSON; *text, if asked for, gets it as it was. */
json_t *js_load(int dirfd, const char *path, char **text, struct error *err);

/* schema.c: every value that a runtime configuration may have is of the type that the specification gives it. */
int schema_check(const json_t *config, struct error *err);
/* The part of it that is a process, as `exec --process` takes it. */
int schema_check_process(const json_t *process, struct error *err);

static inline void cleanup_json_fn(json_t **j)
{
	if (*j)
		json_decref(*j);
}
#define _cleanup_json_ __attribute__((cleanup(cleanup_json_fn)))
