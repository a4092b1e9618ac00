/* SPDX-License-Identifier: Apache-2.0 */
/* Owners and modes that are told beside a file: see override.h. */
#include "util/override.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#define PERMISSIONS 07777u

size_t override_format(char text[OVERRIDE_LENGTH], const struct stat *st)
{
	int n = snprintf(text, OVERRIDE_LENGTH, "%u:%u:0%o", st->st_uid, st->st_gid, st->st_mode & PERMISSIONS);

	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		n += snprintf(text + n, OVERRIDE_LENGTH - (size_t)n, ":%s-%u-%u",
			      S_ISCHR(st->st_mode) ? "char" : "block", major(st->st_rdev), minor(st->st_rdev));
	return (size_t)n;
}

bool override_apply(struct stat *st, const char *text, size_t len)
{
	char copy[OVERRIDE_LENGTH];
	unsigned uid, gid, mode, high, low;
	int used = 0;

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = 0;
	if (sscanf(copy, "%10u:%10u:%7o%n", &uid, &gid, &mode, &used) != 3 || mode & ~(S_IFMT | PERMISSIONS))
		return false;
	st->st_uid = uid;
	st->st_gid = gid;
	st->st_mode = (st->st_mode & S_IFMT) | (mode & PERMISSIONS);
	if (!S_ISREG(st->st_mode))
		return true;
	if (sscanf(copy + used, ":char-%5u-%8u", &high, &low) == 2)
		st->st_mode = S_IFCHR | (mode & PERMISSIONS);
	else if (sscanf(copy + used, ":block-%5u-%8u", &high, &low) == 2)
		st->st_mode = S_IFBLK | (mode & PERMISSIONS);
	if (!S_ISREG(st->st_mode))
		st->st_rdev = makedev(high, low);
	return true;
}
