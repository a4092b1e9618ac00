/* SPDX-License-Identifier: Apache-2.0 */
/* Accessors over jansson, and loading. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "container/fileio.h"
#include "container/json.h"
#include "util/cleanup.h"

#define CONFIG_MAX (4u << 20)

json_t *js_at(const json_t *o, const char *path)
{
	while (o) {
		const char *dot = strchr(path, '.');
		size_t n = dot ? (size_t)(dot - path) : strlen(path);

		o = json_object_getn(o, path, n);
		if (!dot)
			return json_is_null(o) ? NULL : (json_t *)o;
		path = dot + 1;
	}
	return NULL;
}

const char *js_str(const json_t *o, const char *path)
{
	return json_string_value(js_at(o, path));
}

s64 js_int(const json_t *o, const char *path, s64 otherwise)
{
	const json_t *v = js_at(o, path);

	if (json_is_real(v))
		return (s64)json_real_value(v);
	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

bool js_bool(const json_t *o, const char *path, bool otherwise)
{
	const json_t *v = js_at(o, path);

	return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

bool js_has_word(const json_t *array, const char *word)
{
	size_t i;
	json_t *v;

	json_array_foreach(array, i, v)
	{
		const char *s = json_string_value(v);

		if (s && !strcmp(s, word))
			return true;
	}
	return false;
}

char **js_vector(const json_t *array)
{
	size_t n = json_array_size(array);
	char **v = calloc(n + 1, sizeof(*v));

	for (size_t i = 0; v && i < n; i++)
		v[i] = (char *)json_string_value(json_array_get(array, i));
	return v;
}

json_t *js_load(int dirfd, const char *path, char **text, struct error *err)
{
	_cleanup_free_ char *all = file_read(dirfd, path, CONFIG_MAX);
	json_error_t why;
	json_t *j;

	/* Keys of a configuration are the caller's: hashing need not be unpredictable, nor read a file for it. */
	json_object_seed(1);
	if (!all) {
		error_set(err, errno, "%s: %s", path, strerror(errno));
		return NULL;
	}
	j = json_loads(all, JSON_REJECT_DUPLICATES, &why);
	if (!j)
		error_set(err, EINVAL, "%s: line %d: %s", path, why.line, why.text);
	else if (text)
		*text = steal_ptr(all);
	return j;
}
