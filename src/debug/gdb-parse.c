/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, bytes and thread names in gdb's packets. */
#include <string.h>

#include "debug/gdb-internal.h"

char hex_digit(unsigned n)
{
	return "0123456789abcdef"[n & 15];
}

int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool take_hex(const char **p, u64 *value)
{
	unsigned digits = 0;

	for (*value = 0; hex_value(**p) >= 0; (*p)++, digits++)
		*value = *value << 4 | (unsigned)hex_value(**p);
	return digits && digits <= 16;
}

bool take_char(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

bool take_text(const char **p, const char *text)
{
	size_t len = strlen(text);

	if (strncmp(*p, text, len))
		return false;
	*p += len;
	return true;
}

size_t take_bytes(const char **p, u8 *out, size_t len)
{
	size_t n = 0;

	while (n < len && hex_value((*p)[0]) >= 0 && hex_value((*p)[1]) >= 0) {
		out[n++] = (u8)(hex_value((*p)[0]) << 4 | hex_value((*p)[1]));
		*p += 2;
	}
	return n;
}

bool take_thread(const char **p, s64 *thread)
{
	u64 n;

	if (take_text(p, "-1")) {
		*thread = -1;
		return true;
	}
	if (!take_hex(p, &n) || n > MACHINE_MAX_CPUS)
		return false;
	*thread = (s64)n;
	return true;
}
