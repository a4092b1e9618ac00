/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership that shows at the declaration: the variable's resource is released when it leaves scope. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_fn(void *p)
{
	free(*(void **)p);
}
static inline void cleanup_fd_fn(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
static inline void cleanup_file_fn(FILE **f)
{
	if (*f)
		fclose(*f);
}
#define _cleanup_free_ __attribute__((cleanup(cleanup_free_fn)))
#define _cleanup_fd_   __attribute__((cleanup(cleanup_fd_fn)))
#define _cleanup_file_ __attribute__((cleanup(cleanup_file_fn)))

/* Hands ownership on: the variable forgets its resource. */
#define steal_ptr(p)                         \
	({                                   \
		__typeof__(p) stolen_ = (p); \
		(p) = NULL;                  \
		stolen_;                     \
	})
#define steal_fd(fd)                \
	({                          \
		int stolen_ = (fd); \
		(fd) = -1;          \
		stolen_;            \
	})
