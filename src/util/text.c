/* SPDX-License-Identifier: Apache-2.0 */
/* Text sinks: formatting into one, and one that keeps what it gets. */
#include "util/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_puts(struct text *t, const char *s)
{
	t->write(t, s, strlen(s));
}

void text_printf(struct text *t, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n > 0)
		t->write(t, line, MIN((size_t)n, sizeof(line) - 1));
}

bool text_parse_bytes(const char *text, u64 *bytes)
{
	static const char suffixes[] = "KMG";
	const char *suffix;
	char *end;
	u64 n;

	if (*text < '0' || *text > '9')
		return false;
	n = strtoull(text, &end, 10);
	suffix = *end ? strchr(suffixes, *end) : suffixes + 1;
	if (!suffix || (*end && end[1]) || n > BIT(40))
		return false;
	*bytes = n << (10 * (suffix - suffixes + 1));
	return true;
}

/* Room for n more bytes and the final 0. */
static bool grow(struct text_buffer *b, size_t n)
{
	size_t size = b->size ? b->size : 256;
	char *grown;

	while (size < b->len + n + 1)
		size *= 2;
	if (size == b->size)
		return true;
	grown = realloc(b->data, size);
	if (!grown)
		return false;
	b->data = grown;
	b->size = size;
	return true;
}

static void buffer_write(struct text *t, const char *s, size_t len)
{
	struct text_buffer *b = container_of(t, struct text_buffer, text);
	size_t n = MIN(len, b->limit - b->len);

	if (!grow(b, n))
		n = 0;
	b->lost += len - n;
	if (!n)
		return;
	memcpy(b->data + b->len, s, n);
	b->len += n;
	b->data[b->len] = 0;
}

void text_buffer_init(struct text_buffer *b, size_t limit)
{
	*b = (struct text_buffer){ .text.write = buffer_write, .limit = limit };
}

void text_buffer_free(struct text_buffer *b)
{
	free(b->data);
	*b = (struct text_buffer){ 0 };
}
