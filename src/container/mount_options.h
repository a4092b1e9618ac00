/* SPDX-License-Identifier: Apache-2.0 */
/* The options of a mount, as mount(8) and the runtime specification name them, sorted by who takes them. */
#pragma once
#include <jansson.h>

#include "util/error.h"

struct mount_options {
	unsigned long flags; /* MS_*: for mount(2) */
	u64 set, clear; /* MOUNT_ATTR_*: for mount_setattr(2) */
	u64 rec_set, rec_clear; /* likewise, for the whole tree */
	u64 propagation; /* MS_SHARED and so on; 0: none asked for */
	bool propagate_rec;
	bool bind, recursive, remount, copy_up, idmap, idmap_rec, no_follow;
	char *data; /* allocated: what the file system itself gets, with commas */
};
int mount_options_parse(const json_t *options, struct mount_options *o, struct error *err);
void mount_options_free(struct mount_options *o);
/* "rshared" and so on as MS_ flags; 0: no such. */
unsigned long propagation_flags(const char *name);
