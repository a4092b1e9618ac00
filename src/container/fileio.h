/* SPDX-License-Identifier: Apache-2.0 */
/* Small files at one go: kernel interfaces and our own state. Paths are relative to dirfd; AT_FDCWD is fine. */
#pragma once
#include <sys/types.h>

#include "util/types.h"

/* The whole file, 0-terminated and allocated; NULL and errno, EFBIG above max. */
char *file_read(int dirfd, const char *path, size_t max);
/* One write(2), as kernel interfaces want it. 0 or a negative errno. */
int file_write(int dirfd, const char *path, const char *text);
int file_writef(int dirfd, const char *path, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Whole or not at all: a new file that takes the old one's place. 0 or a negative errno. */
int file_replace(int dirfd, const char *path, const char *text, mode_t mode);
/* A new file, or the old one with that text, by one write. 0 or a negative errno. */
int file_new(int dirfd, const char *path, const char *text, mode_t mode);
/* rm -r of what is below dirfd/name and of itself; symbolic links are not followed. 0 or a negative errno. */
int tree_remove(int dirfd, const char *name);
/* Sends one message with a file descriptor (-1: none) over a Unix socket; receives one. Negative errno; received: the length. */
int fd_send(int sock, int fd, const void *data, size_t len);
ssize_t fd_receive(int sock, int *fd, void *data, size_t len);
/* Whether we are root of the host, or of a container that has the host's ids: not of a user's own user namespace. */
bool privileged(void);
