/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users of a root file system, by its own /etc/passwd and /etc/group, which are untrusted: "USER", "UID", either with ":GROUP"
 * or ":GID". As with other container engines a number need not be listed; a user without a group gets the further groups that
 * list it.
 */
#pragma once
#include "util/error.h"
#include "util/types.h"

#define USER_GROUPS_MAX 64

struct user {
	u32 uid, gid;
	u32 group[USER_GROUPS_MAX]; /* further ones */
	unsigned ngroups;
	char home[256]; /* "/" if nothing tells */
};
int user_find(struct user *u, const char *root, const char *who, struct error *err);
/* "UID:GID:GROUP,GROUP", as our init takes it. */
#define USER_TEXT (12 * (USER_GROUPS_MAX + 2))
void user_format(char text[USER_TEXT], const struct user *u);
