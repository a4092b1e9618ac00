/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on a raw file by blocking calls: see rawio.h. */
#include "host/disk/rawio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

#include "host/disk/backend.h"
#include "host/disk/request.h"
#include "util/cleanup.h"

#define WINDOW	    64 /* parts in one call */
#define BOUNCE_SIZE (256u << 10)
#define CALL_MAX    (1ull << 30) /* what one call transfers is below 2 GiB anyway */

static bool aligned(const struct raw_file *f, u64 x)
{
	return !(x & (f->align - 1));
}

int raw_file_pick(const struct raw_file *f, const struct disk_request *r, u64 offset, u64 len, bool *bounce)
{
	*bounce = false;
	/* Sectors that are smaller than what the host can do directly go through the page cache, which the kernel keeps
	 * coherent with direct transfers. */
	if (f->direct_fd < 0 || !aligned(f, offset | len))
		return f->fd;
	for (unsigned i = 0; i < r->iovs; i++)
		if (!aligned(f, (uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len))
			*bounce = true;
	return f->direct_fd;
}

static ssize_t transfer_bounced(const struct disk_request *r, int fd, struct iov_cursor c, u64 offset, u64 len,
				u8 *bounce)
{
	size_t n = MIN(len, (u64)BOUNCE_SIZE);
	ssize_t got;

	if (r->op == DISK_WRITE) {
		iov_cursor_take(&c, bounce, n);
		return pwrite(fd, bounce, n, (off_t)offset);
	}
	got = pread(fd, bounce, n, (off_t)offset);
	if (got > 0)
		iov_cursor_fill(&c, bounce, (u64)got);
	return got;
}

static ssize_t transfer_plain(const struct disk_request *r, int fd, const struct iov_cursor *c, u64 offset)
{
	struct iovec iov[WINDOW];
	u64 bytes;
	unsigned n = iov_cursor_window(c, iov, WINDOW, CALL_MAX, &bytes);

	return r->op == DISK_WRITE ? pwritev(fd, iov, (int)n, (off_t)offset) : preadv(fd, iov, (int)n, (off_t)offset);
}

/* Nothing came. Behind the end that the file had is only what rounds its last sector up; before it, somebody cut it. */
static int at_end(const struct raw_file *f, const struct disk_request *r, struct iov_cursor *c, u64 offset, u64 left)
{
	if (r->op == DISK_WRITE || offset < f->bytes)
		return -EIO;
	iov_cursor_fill(c, NULL, left);
	return 0;
}

static int read_write(const struct raw_file *f, const struct disk_request *r)
{
	_cleanup_free_ void *buffer = NULL;
	struct iov_cursor c = iov_cursor_at(r, 0);
	u64 done = 0;

	while (done < r->len) {
		u64 offset = r->offset + done, left = r->len - done;
		bool bounce;
		int fd = raw_file_pick(f, r, offset, left, &bounce);
		ssize_t n;

		if (bounce && !buffer && posix_memalign(&buffer, f->align, BOUNCE_SIZE))
			return -ENOMEM;
		n = bounce ? transfer_bounced(r, fd, c, offset, left, buffer) : transfer_plain(r, fd, &c, offset);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return at_end(f, r, &c, offset, left);
		iov_cursor_advance(&c, (u64)n);
		done += (u64)n;
	}
	return 0;
}

static int do_fallocate(const struct raw_file *f, int mode, u64 offset, u64 len)
{
	int e;

	do
		e = fallocate(f->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);
	while (e && errno == EINTR);
	return e ? -errno : 0;
}

static bool unsupported(int e)
{
	return e == -EOPNOTSUPP || e == -ENOSYS || e == -EINVAL || e == -ENOTTY;
}

static int write_zeros(const struct raw_file *f, const struct disk_request *r)
{
	_cleanup_free_ u8 *zeros = calloc(1, BOUNCE_SIZE);
	u64 done = 0;

	if (!zeros)
		return -ENOMEM;
	while (done < r->len) {
		ssize_t n = pwrite(f->fd, zeros, MIN(r->len - done, (u64)BOUNCE_SIZE), (off_t)(r->offset + done));

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (!n)
			return -EIO;
		done += n > 0 ? (u64)n : 0;
	}
	return 0;
}

static int write_zeroes(const struct raw_file *f, const struct disk_request *r)
{
	int e = -EOPNOTSUPP;

	if (r->may_unmap)
		e = do_fallocate(f, FALLOC_FL_PUNCH_HOLE, r->offset, r->len);
	if (unsupported(e))
		e = do_fallocate(f, FALLOC_FL_ZERO_RANGE, r->offset, r->len);
	return unsupported(e) ? write_zeros(f, r) : e;
}

/* A hint: what the host cannot do is done. */
static int discard(const struct raw_file *f, const struct disk_request *r)
{
	u64 range[2] = { (r->offset + f->block_size - 1) / f->block_size * f->block_size };
	int e;

	if (f->block) {
		range[1] = (r->offset + r->len) / f->block_size * f->block_size;
		if (range[1] <= range[0])
			return 0;
		range[1] -= range[0];
		do
			e = ioctl(f->fd, BLKDISCARD, range) ? -errno : 0;
		while (e == -EINTR);
	} else {
		e = do_fallocate(f, FALLOC_FL_PUNCH_HOLE, r->offset, r->len);
	}
	return unsupported(e) ? 0 : e;
}

int raw_flushed(struct raw_file *f, int error)
{
	int none = 0;

	if (error && atomic_compare_exchange_strong(&f->flush_error, &none, error))
		disk_report(&f->log,
			    "disk: %s: the host could not write what the guest had written: %s; no flush succeeds "
			    "from now on",
			    f->name, strerror(-error));
	return f->flush_error;
}

static int flush(struct raw_file *f)
{
	int e;

	do
		e = fdatasync(f->fd) ? -errno : 0;
	while (e == -EINTR);
	return raw_flushed(f, e);
}

int raw_execute(struct raw_file *f, const struct disk_request *r)
{
	if (!r->len && r->op != DISK_FLUSH)
		return 0;
	switch (r->op) {
	case DISK_READ:
	case DISK_WRITE: return read_write(f, r);
	case DISK_FLUSH: return flush(f);
	case DISK_DISCARD: return discard(f, r);
	case DISK_WRITE_ZEROES: return write_zeroes(f, r);
	}
	return -EINVAL;
}
