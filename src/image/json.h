/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of images' JSON share. Text in it is untrusted: what is not of the type that it should be is absent. */
#pragma once
#include <jansson.h>

#include "util/error.h"
#include "util/types.h"

static inline void json_cleanup(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ __attribute__((cleanup(json_cleanup)))

/* An object or array. NULL and err, which begins with `what`. */
json_t *json_document(const char *text, size_t len, const char *what, struct error *err);
/* NULL: there is no such key, or its value is no text. */
const char *json_text(const json_t *object, const char *key);
/* An array of texts as a NULL-terminated array, to be freed by words_free(). Empty if absent or null. -EINVAL: it is
 * something else. -ENOMEM. */
int json_words(const json_t *object, const char *key, char ***out);
void words_free(char **words);
