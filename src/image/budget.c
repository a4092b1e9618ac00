/* SPDX-License-Identifier: Apache-2.0 */
/* The budget of unpacking: see budget.h. */
#include "image/budget.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define LIMIT_NAME    "SEXTANT_IMAGE_LIMIT"
#define LIMIT_DEFAULT (16ull << 30)
#define ENTRIES_MAX   4000000
#define CHECK_EACH    (16ull << 20)
#define KEEP_FREE     (64ull << 20)

static int parse_limit(const char *text, u64 *out)
{
	static const char suffixes[] = "kmgt";
	char *end;
	const char *s;
	unsigned long long n;
	unsigned shift = 0;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || *text < '0' || *text > '9')
		return EINVAL;
	if (*end) {
		s = strchr(suffixes, *end | 0x20);
		if (!s || !*s || end[1])
			return EINVAL;
		shift = 10 * (unsigned)(s - suffixes + 1);
	}
	if (n > ~0ull >> shift)
		return EINVAL;
	*out = n << shift;
	return 0;
}

int budget_init(struct budget *b, int fd, struct error *err)
{
	const char *text = getenv(LIMIT_NAME);

	*b = (struct budget){ .limit = LIMIT_DEFAULT, .entries = ENTRIES_MAX, .unchecked = CHECK_EACH, .fd = fd };
	if (text && *text && parse_limit(text, &b->limit))
		return error_set(err, EINVAL, LIMIT_NAME "=%s: that is no size, such as 20G", text);
	b->left = b->limit;
	return 0;
}

static int check_room(struct budget *b, u64 bytes, struct error *err)
{
	struct statvfs v;

	b->unchecked += bytes;
	if (b->unchecked < CHECK_EACH || fstatvfs(b->fd, &v))
		return 0;
	b->unchecked = 0;
	if ((u64)v.f_bavail * v.f_frsize < KEEP_FREE + bytes)
		return error_set(err, ENOSPC, "no room to unpack it in $XDG_CACHE_HOME or ~/.cache");
	return 0;
}

int budget_bytes(struct budget *b, u64 bytes, struct error *err)
{
	if (bytes > b->left)
		return error_set(err, EFBIG, "unpacks to more than %llu MiB; set " LIMIT_NAME " if that is meant to be",
				 (unsigned long long)b->limit >> 20);
	b->left -= bytes;
	return check_room(b, bytes, err);
}

int budget_entry(struct budget *b, struct error *err)
{
	if (!b->entries)
		return error_set(err, EFBIG, "has more than %d files", ENTRIES_MAX);
	b->entries--;
	return 0;
}
