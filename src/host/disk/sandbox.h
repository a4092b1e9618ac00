/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a helper process on the host may not do. Images come from anywhere, and what parses them may be talked into anything:
 * then it has no network, starts nothing, and writes nothing but its image. Each part is used where the host has it.
 */
#pragma once
#include <linux/filter.h>
#include <sys/types.h>

#include "util/error.h"

#define SANDBOX_FILTER_MAX 64
#define SANDBOX_FD_MIN	   10 /* the child may put what it likes below */

struct sandbox { /* prepared before fork(); nothing is allocated behind it */
	pid_t parent;
	int ruleset; /* Landlock; -1: the host has none */
	char uid_map[48], gid_map[48];
	struct sock_filter filter[SANDBOX_FILTER_MAX];
	unsigned short filters;
};
/* Writing is allowed below (or of) path alone; NULL: nowhere. */
void sandbox_prepare(struct sandbox *s, const char *path);
void sandbox_release(struct sandbox *s);
/* In the child, before its exec: own session, dies with its parent's thread, then what is above. Async-signal-safe. */
void sandbox_enter(const struct sandbox *s);
