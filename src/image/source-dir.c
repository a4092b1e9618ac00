/* SPDX-License-Identifier: Apache-2.0 */
/* Members of an image layout that is a directory, and what both kinds of sources have in common. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "image/source.h"
#include "util/cleanup.h"

struct dir_source {
	struct source s;
	int fd;
};

/* Not blocking: a pipe of a member's name must not hang us. */
static struct stream *dir_open(struct source *s, const char *name, struct error *err)
{
	struct dir_source *d = container_of(s, struct dir_source, s);
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	_cleanup_fd_ int fd = (int)syscall(SYS_openat2, d->fd, name, &how, sizeof(how));
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		error_set(err, errno, "%s: %s", name, errno == ENOENT ? "not in the image" : strerror(errno));
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		error_set(err, EINVAL, "%s: not a file", name);
		return NULL;
	}
	return stream_file(steal_fd(fd), err);
}

static void dir_close(struct source *s)
{
	struct dir_source *d = container_of(s, struct dir_source, s);

	close(d->fd);
	free(d);
}

struct source *source_directory(int fd, struct error *err)
{
	static const struct source_ops ops = { dir_open, dir_close };
	struct dir_source *d = malloc(sizeof(*d));

	if (!d) {
		close(fd);
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	*d = (struct dir_source){ .s.ops = &ops, .fd = fd };
	return &d->s;
}

/* ---- of any source ---- */

int source_read(struct source *s, const char *name, char **text, size_t *len, struct error *err)
{
	_cleanup_stream_ struct stream *member = s->ops->open(s, name, err);
	int r = member ? stream_slurp(member, SOURCE_SMALL, text, len, err) : err->code;

	if (r && member)
		error_wrap(err, "%s", name);
	return r;
}

bool source_has(struct source *s, const char *name)
{
	struct error ignored = { 0 };
	_cleanup_stream_ struct stream *member = s->ops->open(s, name, &ignored);

	return member;
}
