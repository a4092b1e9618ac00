/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who without privilege unpacks a root file system cannot give files their owners, nor make devices. What they should be is
 * then kept in an extended attribute, of the name and format that containers/storage and fuse-overlayfs use:
 * "UID:GID:MODE", decimal and octal, and ":char-MAJOR-MINOR" or ":block-MAJOR-MINOR" at the end for a device.
 */
#pragma once
#include <sys/stat.h>

#include "util/types.h"

#define OVERRIDE_NAME	"user.containers.override_stat"
#define OVERRIDE_LENGTH 96

/* From st_uid, st_gid, st_mode and st_rdev; the text's length. */
size_t override_format(char text[OVERRIDE_LENGTH], const struct stat *st);
/* Into those, of a file or directory. False, and nothing is changed: the text is not of that format. */
bool override_apply(struct stat *st, const char *text, size_t len);
