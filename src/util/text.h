/* SPDX-License-Identifier: Apache-2.0 */
/* Where text for people goes, whatever is behind it: a terminal, a debugger's packet, a test's buffer. */
#pragma once
#include "util/types.h"

struct text {
	void (*write)(struct text *t, const char *s, size_t len);
};
/* Cut at 1023 bytes a call. */
void text_printf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_puts(struct text *t, const char *s);

/* The other way: a number of MiB, or one with a suffix K, M or G. */
bool text_parse_bytes(const char *text, u64 *bytes);

/* Collects up to `limit` bytes, ending with a 0; what does not fit is counted in `lost`. */
struct text_buffer {
	struct text text;
	char *data;
	size_t len, size, limit, lost;
};
void text_buffer_init(struct text_buffer *b, size_t limit);
void text_buffer_free(struct text_buffer *b);
