/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which format a disk image has. The rule must not be fooled by a guest, which can write any header into a raw disk: what
 * the user says counts; else a name that promises a format (disk.qcow2) and content that agrees; anything else that has the
 * header of a known format is refused until the user says which it is; what is left is raw.
 */
#pragma once
#include "util/error.h"

/* The static name of a format that format= knows, or NULL. */
const char *format_find(const char *name);
/* All of them, for messages. */
const char *format_names(void);
/* The format of the file at fd, called path: a static name. NULL with err when the user has to say. */
const char *format_detect(int fd, const char *path, struct error *err);

/* An NBD URI rather than a file. */
bool target_is_uri(const char *target);
