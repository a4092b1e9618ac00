/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads whole files. Pipes are as good as regular files, so that `--initrd <(command)` works; what has no end (a device)
 * stops at the limit.
 */
#include "boot/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"

#define FIRST_READ 65536

void blob_free(struct blob *b)
{
	free(b->data);
	*b = (struct blob){ 0 };
}

#define HUGE_PAGE (2ul << 20)

u8 *blob_alloc(size_t size)
{
	if (size < HUGE_PAGE)
		return malloc(size);
	u8 *p = aligned_alloc(HUGE_PAGE, (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	if (p)
		madvise(p, size, MADV_HUGEPAGE);
	return p;
}

static int grow(struct blob *b, size_t *room, struct error *err)
{
	size_t want = *room ? *room * 2 : FIRST_READ;
	u8 *p = realloc(b->data, want);
	if (!p)
		return error_set(err, ENOMEM, "no memory");
	b->data = p;
	*room = want;
	return 0;
}

static int read_all(struct blob *b, int fd, size_t size_hint, u64 max, struct error *err)
{
	size_t room = 0;
	if (size_hint) {
		/* One byte more than the file has: its end is then seen without growing. */
		b->data = blob_alloc(size_hint + 1);
		if (!b->data)
			return error_set(err, ENOMEM, "no memory for its %zu bytes", size_hint);
		room = size_hint + 1;
	}
	for (;;) {
		if (b->len == room && grow(b, &room, err))
			return err ? err->code : -ENOMEM;
		ssize_t n = read(fd, b->data + b->len, room - b->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, errno, "%s", strerror(errno));
		if (n == 0)
			return 0;
		b->len += (size_t)n;
		if (b->len > max)
			return error_set(err, EFBIG, "larger than %" PRIu64 " MiB", max >> 20);
	}
}

static int open_and_read(struct blob *b, const char *path, u64 max, struct error *err)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return error_set(err, errno, "%s", strerror(errno));
	struct stat st;
	if (fstat(fd, &st))
		return error_set(err, errno, "%s", strerror(errno));
	if (S_ISDIR(st.st_mode))
		return error_set(err, EISDIR, "is a directory");
	if (S_ISREG(st.st_mode) && (u64)st.st_size > max)
		return error_set(err, EFBIG, "larger than %" PRIu64 " MiB", max >> 20);
	int r = read_all(b, fd, S_ISREG(st.st_mode) ? (size_t)st.st_size : 0, max, err);
	if (r)
		return r;
	return b->len ? 0 : error_set(err, EINVAL, "is empty");
}

int file_open_plain(const char *path, u64 *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0) {
		*len = (u64)st.st_size;
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

int file_read_at(int fd, u64 offset, u8 *to, u64 len, struct error *err)
{
	while (len) {
		ssize_t n = pread(fd, to, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_set(err, n ? errno : EIO, "%s", n ? strerror(errno) : "it has become shorter");
		to += n;
		offset += (u64)n;
		len -= (u64)n;
	}
	return 0;
}

int blob_read_file(struct blob *b, const char *what, const char *path, u64 max, struct error *err)
{
	*b = (struct blob){ 0 };
	int r = open_and_read(b, path, max, err);
	if (r) {
		blob_free(b);
		error_wrap(err, "%s %s", what, path);
	}
	return r;
}
