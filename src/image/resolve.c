/* SPDX-License-Identifier: Apache-2.0 */
/* Names inside a tree, and the set of inodes: see tree.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "image/tree.h"
#include "util/cleanup.h"

#define TRIES	   16 /* the kernel may ask for another when something on the host's path is being renamed */
#define FIRST_ROOM 1024

int tree_open(const struct tree *t, const char *path, int flags)
{
	struct open_how how = { .flags = (u64)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int fd = -1;

	for (unsigned i = 0; i < TRIES; i++) {
		fd = (int)syscall(SYS_openat2, t->root, *path ? path : ".", &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd;
}

int tree_directory(const struct tree *t, const char *path)
{
	return tree_open(t, path, O_PATH | O_DIRECTORY);
}

/* Directories that a layer does not mention are root's, as with mkdir -p. */
int tree_make_directory(const struct tree *t, const char *path)
{
	int fd = tree_directory(t, path);
	char part[PATH_MAX];
	const char *end = path;

	if (fd >= 0 || errno != ENOENT)
		return fd;
	fd = tree_directory(t, "");
	while (fd >= 0 && *end) {
		const char *begin = end + (*end == '/');
		_cleanup_fd_ int parent = fd;
		end = strchrnul(begin, '/');
		memcpy(part, path, (size_t)(end - path));
		part[end - path] = 0;
		fd = tree_directory(t, part);
		if (fd < 0 && errno == ENOENT && !mkdirat(parent, part + (begin - path), 0755) &&
		    !fchmodat(parent, part + (begin - path), 0755, 0)) /* whatever the umask */
			fd = tree_directory(t, part);
	}
	return fd;
}

/* ---- inodes ---- */

static size_t slot_of(const struct inode_set *s, u64 ino)
{
	size_t i = (size_t)(ino * 0x9e3779b97f4a7c15ull >> 20) & (s->room - 1);

	while (s->slot[i] && s->slot[i] != ino)
		i = (i + 1) & (s->room - 1);
	return i;
}

static int grow(struct inode_set *s)
{
	struct inode_set bigger = { .room = s->room ? 2 * s->room : FIRST_ROOM, .used = s->used };

	bigger.slot = calloc(bigger.room, sizeof(*bigger.slot));
	if (!bigger.slot)
		return -ENOMEM;
	for (size_t i = 0; i < s->room; i++)
		if (s->slot[i])
			bigger.slot[slot_of(&bigger, s->slot[i])] = s->slot[i];
	free(s->slot);
	*s = bigger;
	return 0;
}

int inode_set_add(struct inode_set *s, u64 ino)
{
	size_t i;

	if (2 * s->used >= s->room && grow(s))
		return -ENOMEM;
	i = slot_of(s, ino);
	s->used += !s->slot[i];
	s->slot[i] = ino;
	return 0;
}

bool inode_set_has(const struct inode_set *s, u64 ino)
{
	return s->room && s->slot[slot_of(s, ino)];
}

void inode_set_clear(struct inode_set *s)
{
	free(s->slot);
	*s = (struct inode_set){ 0 };
}
