/* SPDX-License-Identifier: Apache-2.0 */
/* Raw files and block devices. Plain reads, writes and flushes go to io_uring where there is one, all else to threads. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "host/disk/backend.h"
#include "host/disk/pool.h"
#include "host/disk/request.h"
#include "host/disk/uring.h"
#include "util/cleanup.h"

#define PAGE 4096

struct raw {
	struct blockdev b;
	struct raw_file file;
	struct pool *pool;
	struct uring *uring; /* NULL: threads do everything */
};

/* What a request is to the pool (private[1]); an answer is in private[2]. */
enum { TO_DO, ANSWERED };

static void raw_work(void *arg, struct disk_request *r)
{
	struct raw *raw = arg;

	r->done(r, r->private[1] == ANSWERED ? (int)r->private[2] : raw_execute(&raw->file, r));
}

void raw_answer(struct blockdev *b, struct disk_request *r, int error)
{
	struct raw *raw = container_of(b, struct raw, b);

	r->private[1] = ANSWERED;
	r->private[2] = (u64)error;
	pool_submit(raw->pool, r);
}

/* Whatever did not go smoothly is done again from its start, which no one can tell; but a flush has been tried once. */
static void raw_uring_done(void *arg, struct disk_request *r, int result)
{
	struct raw *raw = arg;
	bool not_done = result == -EINTR || result == -EAGAIN || result == -ECANCELED;

	if (r->op == DISK_FLUSH && !not_done)
		r->done(r, raw_flushed(&raw->file, result));
	else if (r->op != DISK_FLUSH && result >= 0 && (u64)result == r->len)
		r->done(r, 0);
	else
		pool_submit(raw->pool, r);
}

static bool plain(struct raw *raw, const struct disk_request *r, int *fd)
{
	bool bounce;

	*fd = raw->file.fd;
	if (!raw->uring || r->op == DISK_FLUSH)
		return raw->uring;
	if ((r->op != DISK_READ && r->op != DISK_WRITE) || r->iovs > IOV_MAX || !r->len)
		return false;
	*fd = raw_file_pick(&raw->file, r, r->offset, r->len, &bounce);
	return !bounce;
}

static void raw_submit(struct blockdev *b, struct disk_request *r)
{
	struct raw *raw = container_of(b, struct raw, b);
	int fd, e = request_check(&b->info, r);

	r->private[1] = TO_DO;
	if (e || (r->op == DISK_FLUSH && b->info.readonly))
		raw_answer(b, r, e);
	else if (plain(raw, r, &fd))
		uring_submit(raw->uring, r, fd);
	else
		pool_submit(raw->pool, r);
}

static void raw_destroy(struct blockdev *b)
{
	struct raw *raw = container_of(b, struct raw, b);

	uring_free(raw->uring);
	pool_free(raw->pool);
	if (raw->file.direct_fd >= 0)
		close(raw->file.direct_fd);
	if (raw->file.fd >= 0)
		close(raw->file.fd);
	free(raw->file.name);
	free(raw);
}

static const struct blockdev_ops raw_ops = { .name = "raw", .submit = raw_submit, .destroy = raw_destroy };

/* A hole where no file is changes nothing, but tells whether the file system has holes. */
static bool can_punch(const struct raw_file *f)
{
	off_t behind = (off_t)((f->bytes + PAGE) / PAGE * PAGE);

	return !fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, behind, PAGE);
}

static int geometry(struct raw *raw, const char *path, struct error *err)
{
	struct raw_file *f = &raw->file;
	struct disk_info *info = &raw->b.info;
	unsigned optimal = 0;
	int block_size = SECTOR;
	struct stat st;

	if (fstat(f->fd, &st))
		return error_set(err, errno, "%s: %s", path, strerror(errno));
	f->block = S_ISBLK(st.st_mode);
	f->bytes = (u64)st.st_size;
	if (f->block && (ioctl(f->fd, BLKGETSIZE64, &f->bytes) || ioctl(f->fd, BLKSSZGET, &block_size)))
		return error_set(err, errno, "%s: the size of the block device is unknown: %s", path, strerror(errno));
	if (!f->bytes)
		return error_set(err, EINVAL, "%s is empty, which no disk can be", path);
	if (f->bytes > INT64_MAX - SECTOR || block_size < SECTOR || block_size > PAGE)
		return error_set(err, EINVAL, "%s: no disk has this size or block size", path);
	if (f->block)
		ioctl(f->fd, BLKIOOPT, &optimal);
	else
		optimal = (unsigned)MIN(st.st_blksize, 1 << 20);
	f->block_size = (u32)block_size;
	info->size = (f->bytes + SECTOR - 1) / SECTOR * SECTOR;
	info->block_size = block_size == PAGE ? PAGE : SECTOR;
	info->optimal_io = optimal;
	info->can_write_zeroes = !info->readonly;
	info->can_discard = !info->readonly && (f->block || can_punch(f));
	return 0;
}

/* The alignment that direct access needs is found by trying, for what file systems tell is younger than many hosts. */
static int find_alignment(struct raw_file *f)
{
	static const u32 tries[] = { SECTOR, PAGE };
	_cleanup_free_ u8 *buffer = NULL;

	if (posix_memalign((void **)&buffer, PAGE, 2 * PAGE))
		return -ENOMEM;
	for (unsigned i = 0; i < ARRAY_SIZE(tries); i++) {
		f->align = tries[i];
		if (pread(f->direct_fd, buffer + tries[i] % PAGE, tries[i], 0) >= 0)
			return 0;
		if (errno != EINVAL)
			break;
	}
	return -errno;
}

static int open_direct(struct raw *raw, const char *path, struct error *err)
{
	struct raw_file *f = &raw->file;
	char again[32];
	int e;

	snprintf(again, sizeof(again), "/proc/self/fd/%d", f->fd);
	f->direct_fd = open(again, (raw->b.info.readonly ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC);
	e = f->direct_fd < 0 ? -errno : find_alignment(f);
	if (e)
		return error_set(err, e, "%s: cache=none needs direct access, which its file system does not give: %s",
				 path, strerror(-e));
	return 0;
}

static int start_threads(struct raw *raw, const struct disk_spec *s, struct error *err)
{
	raw->pool = pool_new(raw_work, raw, err);
	if (!raw->pool)
		return err->code;
	if (s->aio != DISK_AIO_THREADS)
		raw->uring = uring_new(raw_uring_done, raw, err);
	if (!raw->uring && s->aio == DISK_AIO_URING)
		return error_wrap(err, "aio=io_uring");
	return 0;
}

struct blockdev *raw_open(struct disk_file *file, const struct disk_spec *s, struct error *err)
{
	struct raw *raw = calloc(1, sizeof(*raw));
	int e;

	if (!raw) {
		close(file->fd);
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	raw->b.ops = &raw_ops;
	raw->b.info.readonly = !file->writable;
	raw->file = (struct raw_file){
		.fd = file->fd, .direct_fd = -1, .align = 1, .name = strdup(file->path), .log = s->log
	};
	e = raw->file.name ? geometry(raw, file->path, err) : error_set(err, ENOMEM, "out of memory");
	if (!e && s->cache == DISK_CACHE_NONE)
		e = open_direct(raw, file->path, err);
	if (!e)
		e = start_threads(raw, s, err);
	if (!e)
		return &raw->b;
	raw_destroy(&raw->b);
	return NULL;
}

/* Without a name from the start where the file system can, so that nothing stays behind however we end. */
static int scratch_file(const char *dir)
{
	_cleanup_free_ char *name = NULL;
	int fd = open(dir, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0 || asprintf(&name, "%s/sextant-XXXXXX", dir) < 0)
		return fd;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0)
		unlink(name);
	return fd;
}

struct blockdev *raw_open_scratch(u64 size, const struct disk_spec *s, struct error *err)
{
	const char *dir = getenv("TMPDIR");
	struct disk_spec ours = { .aio = s->aio, .log = s->log };
	struct disk_file file = { .writable = true };

	file.path = dir && *dir ? dir : "/var/tmp";
	file.fd = scratch_file(file.path);
	if (file.fd < 0 || ftruncate(file.fd, (off_t)size)) {
		error_set(err, errno, "cannot make a temporary file of %llu bytes in %s: %s", (unsigned long long)size,
			  file.path, strerror(errno));
		if (file.fd >= 0)
			close(file.fd);
		return NULL;
	}
	return raw_open(&file, &ours, err);
}
