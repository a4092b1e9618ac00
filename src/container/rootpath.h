/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths of a container, looked up in its root file system, which may be hostile and may change under us: every look-up is the
 * kernel's, with RESOLVE_IN_ROOT and without magic links (openat2(2)), so none ends outside, whatever links say meanwhile.
 * What is found is held by descriptor and used by descriptor; a path is never looked up twice for one purpose.
 */
#pragma once
#include <sys/types.h>

#include "util/types.h"

/* flags: O_PATH and so on; O_CLOEXEC is added. A descriptor or a negative errno. */
int root_open(int root, const char *path, int flags);
/* Without any link on the way: -ELOOP. */
int root_open_plain(int root, const char *path, int flags);
/* The directory, made with all that leads to it where it is missing; links are followed inside the root. O_PATH. */
int root_make_dir(int root, const char *path, mode_t mode);
/* The file, made empty where it is missing. O_PATH. */
int root_make_file(int root, const char *path);
/* The directory that a path's last component is to be in (made), and that component in name. -EINVAL: there is none. */
int root_make_parent(int root, const char *path, char name[256]);
/* "/proc/self/fd/N", for system calls that take paths only. */
#define FD_PATH_MAX 32
const char *fd_path(int fd, char text[FD_PATH_MAX]);
