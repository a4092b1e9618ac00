/* SPDX-License-Identifier: Apache-2.0 */
/* info.json of a snapshot: read and written. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/folder.h"
#include "snapshot/store.h"
#include "util/cleanup.h"

#define INFO	  "info.json"
#define ID_LENGTH 16

static int set_words(json_t *to, const char *key, char *const *words)
{
	json_t *array = words ? json_array() : NULL;

	for (; words && *words; words++)
		json_array_append_new(array, json_string(*words));
	return array ? json_object_set_new(to, key, array) : 0;
}

static int set_text(json_t *to, const char *key, const char *text)
{
	return text ? json_object_set_new(to, key, json_string(text)) : 0;
}

int snapshot_save(const struct snapshot *s, int dir, struct error *err)
{
	_cleanup_json_ json_t *j = json_pack("{s:I, s:b}", "created", (json_int_t)s->created, "unprivileged",
					     s->unprivileged);
	const struct image *im = &s->image;
	_cleanup_free_ char *text = NULL;
	int r = !j;

	r |= set_text(j, "base", s->base) | set_text(j, "chain", s->chain) | set_text(j, "pending", s->pending);
	r |= set_words(j, "layers", s->layer) | set_words(j, "argv", im->argv) | set_words(j, "env", im->env);
	r |= set_text(j, "workdir", im->workdir) | set_text(j, "user", im->user);
	if (r)
		return error_set(err, EILSEQ, "it cannot be written down: a path or a variable of it is no UTF-8");
	text = json_dumps(j, JSON_INDENT(2));
	if (!text)
		return error_set(err, ENOMEM, "out of memory");
	return folder_write(dir, INFO, text) ? error_set(err, errno, INFO ": %s", strerror(errno)) : 0;
}

static int get_text(char **out, const json_t *j, const char *key)
{
	const char *text = json_text(j, key);

	*out = text ? strdup(text) : NULL;
	return text && !*out ? -ENOMEM : 0;
}

static int get_words(char ***out, const json_t *j, const char *key)
{
	return json_object_get(j, key) ? json_words(j, key, out) : 0;
}

/* A layer's name becomes part of a path. */
static bool layers_are_good(struct snapshot *s)
{
	for (char **l = s->layer; l && *l; l++, s->layers++)
		if (strlen(*l) != ID_LENGTH || strspn(*l, "0123456789abcdef") != ID_LENGTH)
			return false;
	return s->layers <= SNAPSHOT_LAYERS && (!s->pending || strspn(s->pending, "0123456789abcdef") == ID_LENGTH);
}

int snapshot_load(struct snapshot *s, struct error *err)
{
	_cleanup_fd_ int fd = openat(s->fd, INFO, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	json_error_t e;
	_cleanup_json_ json_t *j = fd < 0 ? NULL : json_loadfd(fd, 0, &e);
	struct image *im = &s->image;
	int r;

	if (!j)
		return error_set(err, EBADMSG, INFO ": %s", fd < 0 ? strerror(errno) : e.text);
	s->created = json_integer_value(json_object_get(j, "created"));
	s->unprivileged = json_is_true(json_object_get(j, "unprivileged"));
	r = get_text(&s->base, j, "base") | get_text(&s->chain, j, "chain") | get_text(&s->pending, j, "pending") |
	    get_text(&im->workdir, j, "workdir") | get_text(&im->user, j, "user");
	r |= get_words(&s->layer, j, "layers") | get_words(&im->argv, j, "argv") | get_words(&im->env, j, "env");
	if (r || !s->base || !layers_are_good(s))
		return error_set(err, EBADMSG, INFO ": damaged");
	return 0;
}
