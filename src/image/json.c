/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers over jansson: see json.h. */
#include "image/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

json_t *json_document(const char *text, size_t len, const char *what, struct error *err)
{
	json_error_t e;
	json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);

	if (!j)
		error_set(err, EBADMSG, "%s: not valid JSON: line %d: %s", what, e.line, e.text);
	return j;
}

const char *json_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

void words_free(char **words)
{
	for (char **w = words; w && *w; w++)
		free(*w);
	free(words);
}

int json_words(const json_t *object, const char *key, char ***out)
{
	const json_t *array = json_object_get(object, key), *word;
	size_t i;
	char **words;

	if (array && !json_is_null(array) && !json_is_array(array))
		return -EINVAL;
	words = calloc(json_array_size(array) + 1, sizeof(*words));
	if (!words)
		return -ENOMEM;
	json_array_foreach(array, i, word)
	{
		words[i] = json_is_string(word) ? strdup(json_string_value(word)) : NULL;
		if (!words[i]) {
			words_free(words);
			return json_is_string(word) ? -ENOMEM : -EINVAL;
		}
	}
	*out = words;
	return 0;
}
