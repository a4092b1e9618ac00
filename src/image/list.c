/* SPDX-License-Identifier: Apache-2.0 */
/* What is in the cache, for people, and what they want out of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/cache.h"
#include "image/image.h"

static int newest_first(const void *a, const void *b)
{
	const struct image_entry *x = a, *y = b;

	return x->unpacked == y->unpacked ? strcmp(x->chain, y->chain) : x->unpacked < y->unpacked ? 1 : -1;
}

static int fill(struct image_entry *to, const struct cache_entry *from)
{
	const char *name = json_text(from->info, "name");

	memcpy(to->chain, from->hex, sizeof(to->chain));
	to->bytes = (u64)json_integer_value(json_object_get(from->info, "bytes"));
	to->unpacked = json_integer_value(json_object_get(from->info, "unpacked"));
	to->name = strdup(name ? name : "?");
	return to->name ? 0 : -ENOMEM;
}

int image_list(struct image_entry **list, size_t *count, struct error *err)
{
	struct cache_entry *entries = NULL;
	struct cache c;
	size_t n = 0;
	int r = cache_open(&c, err);

	*list = NULL;
	*count = 0;
	if (!r)
		r = cache_list(&c, &entries, &n, err);
	if (!r) {
		*list = calloc(n + 1, sizeof(**list));
		for (size_t i = 0; *list && i < n && !fill(&(*list)[i], &entries[i]); i++)
			++*count;
		if (*count < n) {
			image_list_free(*list, *count);
			r = error_set(err, ENOMEM, "out of memory");
		}
	}
	if (!r)
		qsort(*list, *count, sizeof(**list), newest_first);
	cache_list_free(entries, n);
	cache_close(&c);
	return r;
}

void image_list_free(struct image_entry *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i].name);
	free(list);
}

int image_pin(const char *chain, const char *snapshot, bool pin, struct error *err)
{
	struct cache c;
	int r = cache_open(&c, err);

	if (!r)
		r = cache_pin(&c, chain, snapshot, pin, err);
	cache_close(&c);
	return r;
}

int image_remove(const char *chain, struct error *err)
{
	struct cache c;
	int r = cache_open(&c, err);

	if (!r)
		r = cache_remove(&c, chain, err);
	if (!r)
		cache_sweep(&c);
	cache_close(&c);
	return r;
}
