/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of disks share: a directory for images, single requests, and the exercise: many requests at the same time,
 * of all kinds and shapes, whose outcome a model in memory predicts.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host/disk/disk.h"

#define SECTOR	       512
#define EXERCISE_SLOTS 16
#define EXERCISE_MAX   160 /* sectors of a request: some are larger than a bounce buffer's step */
#define EXERCISE_PARTS 24

static char disk_dir[] = "/var/tmp/sextant-disk-XXXXXX";

static inline int disk_setup(void **state)
{
	return mkdtemp(disk_dir) ? 0 : -1;
}

static inline int disk_teardown(void **state)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", disk_dir);
	return system(cmd);
}

/* In a buffer that the next but three reuses. */
static inline const char *disk_path(const char *name)
{
	static char path[4][128];
	static unsigned n;

	snprintf(path[++n % 4], sizeof(path[0]), "%s/%s", disk_dir, name);
	return path[n % 4];
}

static inline void disk_make(const char *name, u64 size)
{
	int fd;

	unlink(disk_path(name)); /* an earlier one may be read-only */
	fd = open(disk_path(name), O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

/* What was reported last, and how often. Read it when no request is under way. */
static char disk_said[512];
static unsigned disk_reports;

static inline void disk_says(void *arg, const char *text)
{
	snprintf(disk_said, sizeof(disk_said), "%s", text);
	disk_reports++;
}

static inline struct blockdev *disk_try(struct error *err, const char *fmt, ...)
{
	struct disk_spec *s;
	struct blockdev *b;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	*err = (struct error){ 0 };
	s = disk_parse(text, err);
	if (!s)
		return NULL;
	s->log.line = disk_says;
	b = disk_open(s, err);
	disk_spec_free(s);
	assert_true(b || err->code < 0);
	return b;
}

#define disk_must(...)                                              \
	({                                                          \
		struct error err_;                                  \
		struct blockdev *b_ = disk_try(&err_, __VA_ARGS__); \
		if (!b_)                                            \
			fail_msg("%s", err_.text);                  \
		b_;                                                 \
	})

struct wait { /* for one request */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	int error;
};

static inline void wait_done(struct disk_request *r, int error)
{
	struct wait *w = r->arg;

	pthread_mutex_lock(&w->lock);
	assert_false(w->done);
	w->done = true;
	w->error = error;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static inline int disk_do(struct blockdev *b, enum disk_op op, u64 offset, u64 len, void *data)
{
	struct wait w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };
	struct iovec iov = { data, len };
	struct disk_request r = {
		.op = op, .offset = offset, .len = len, .iov = &iov, .iovs = data ? 1 : 0, .done = wait_done, .arg = &w
	};

	b->ops->submit(b, &r);
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	return w.error;
}

/* --- the exercise --- */

struct exercise;
struct exercise_slot {
	struct disk_request r;
	struct exercise *x;
	struct iovec iov[EXERCISE_PARTS];
	u8 *memory; /* of the parts, which lie scattered in it */
	u8 *data; /* to be written; what was read */
	bool busy, done;
	int error;
};

struct exercise {
	struct blockdev *b;
	u8 *model;
	bool *known; /* a sector: its content is; not so after a discard */
	s8 *users; /* a sector: readers under way, -1: somebody changes it */
	u64 sectors;
	unsigned seed;
	u32 step; /* requests are whole multiples of it, in sectors */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct exercise_slot slot[EXERCISE_SLOTS];
};

static inline unsigned exercise_random(struct exercise *x, unsigned n)
{
	x->seed = x->seed * 1103515245 + 12345;
	return (x->seed >> 8) % n;
}

static inline void exercise_done(struct disk_request *r, int error)
{
	struct exercise_slot *s = r->arg;

	pthread_mutex_lock(&s->x->lock);
	assert_false(s->done);
	s->done = true;
	s->error = error;
	pthread_cond_signal(&s->x->cond);
	pthread_mutex_unlock(&s->x->lock);
}

/* Cuts len bytes into parts at odd places; between them there is memory that nobody may touch (0xee). */
static inline void exercise_parts(struct exercise *x, struct exercise_slot *s)
{
	u64 at = exercise_random(x, 3) ? 0 : exercise_random(x, 64), left = s->r.len, data = 0;
	bool whole = !exercise_random(x, 3), pages = exercise_random(x, 2);

	memset(s->memory, 0xee, (EXERCISE_MAX + 8 * EXERCISE_PARTS) * SECTOR);
	s->r.iov = s->iov;
	for (s->r.iovs = 0; left; s->r.iovs++) {
		u64 n = 1 + exercise_random(x, (unsigned)MIN(left, 8192ull));

		if (pages)
			n = MIN(left, 4096ull);
		if (whole || s->r.iovs == EXERCISE_PARTS - 1)
			n = left;
		s->iov[s->r.iovs] = (struct iovec){ s->memory + at, n };
		if (s->r.op == DISK_WRITE)
			memcpy(s->memory + at, s->data + data, n);
		data += n;
		left -= n;
		at += n + (pages ? 0 : exercise_random(x, 100));
		if (pages)
			at = (at + 511) / 512 * 512;
	}
}

static inline bool exercise_claim(struct exercise *x, struct exercise_slot *s, bool change)
{
	u64 first = s->r.offset / SECTOR, n = s->r.len / SECTOR;

	for (u64 i = first; i < first + n; i++)
		if (change ? x->users[i] : x->users[i] < 0)
			return false;
	for (u64 i = first; i < first + n; i++)
		x->users[i] = change ? -1 : x->users[i] + 1;
	return true;
}

static inline bool exercise_start(struct exercise *x, struct exercise_slot *s)
{
	static const enum disk_op ops[] = { DISK_READ,	DISK_READ,  DISK_READ,	  DISK_READ,	    DISK_WRITE,
					    DISK_WRITE, DISK_WRITE, DISK_DISCARD, DISK_WRITE_ZEROES };
	enum disk_op op = exercise_random(x, 24) ? ops[exercise_random(x, ARRAY_SIZE(ops))] : DISK_FLUSH;
	u64 steps = x->sectors / x->step, first = exercise_random(x, (unsigned)steps);
	u64 n = 1 + exercise_random(x, exercise_random(x, 4) ? 16 : EXERCISE_MAX);

	n = (MIN(n, EXERCISE_MAX) + x->step - 1) / x->step;
	n = MIN(n, steps - first);
	s->r = (struct disk_request){ .op = op,
				      .offset = first * x->step * SECTOR,
				      .len = n * x->step * SECTOR,
				      .may_unmap = exercise_random(x, 2),
				      .done = exercise_done,
				      .arg = s };
	if (op == DISK_FLUSH)
		s->r.offset = s->r.len = 0;
	if (!exercise_claim(x, s, op != DISK_READ))
		return false;
	for (u64 i = 0; op == DISK_WRITE && i < s->r.len; i++)
		s->data[i] = (u8)exercise_random(x, 256);
	if (op == DISK_READ || op == DISK_WRITE)
		exercise_parts(x, s);
	s->busy = true;
	x->b->ops->submit(x->b, &s->r);
	return true;
}

static inline void exercise_check_read(struct exercise *x, struct exercise_slot *s)
{
	u64 n = 0, at = 0;

	for (unsigned i = 0; i < s->r.iovs; n += s->iov[i++].iov_len) {
		u64 start = (u64)((u8 *)s->iov[i].iov_base - s->memory);

		for (; at < start; at++)
			assert_int_equal(s->memory[at], 0xee);
		memcpy(s->data + n, s->iov[i].iov_base, s->iov[i].iov_len);
		at = start + s->iov[i].iov_len;
	}
	assert_int_equal(s->memory[at], 0xee);
	for (u64 o = 0; o < s->r.len; o += SECTOR) {
		u64 sector = (s->r.offset + o) / SECTOR;

		if (x->known[sector] && memcmp(s->data + o, x->model + sector * SECTOR, SECTOR) != 0)
			fail_msg("sector %llu is not as it was written", (unsigned long long)sector);
	}
}

static inline void exercise_finish(struct exercise *x, struct exercise_slot *s)
{
	u64 first = s->r.offset / SECTOR, n = s->r.len / SECTOR;

	assert_int_equal(s->error, 0);
	if (s->r.op == DISK_READ)
		exercise_check_read(x, s);
	if (s->r.op == DISK_WRITE)
		memcpy(x->model + s->r.offset, s->data, s->r.len);
	if (s->r.op == DISK_WRITE_ZEROES)
		memset(x->model + s->r.offset, 0, s->r.len);
	for (u64 i = first; i < first + n; i++) {
		x->users[i] = s->r.op == DISK_READ ? x->users[i] - 1 : 0;
		if (s->r.op != DISK_READ)
			x->known[i] = s->r.op != DISK_DISCARD;
	}
	s->busy = s->done = false;
}

/* Waits for one at least, if any is under way; takes all that are there. */
static inline void exercise_reap(struct exercise *x)
{
	bool any = false, busy;

	pthread_mutex_lock(&x->lock);
	do {
		busy = false;
		for (unsigned i = 0; i < EXERCISE_SLOTS; i++) {
			busy |= x->slot[i].busy;
			any |= x->slot[i].done;
		}
		if (busy && !any)
			pthread_cond_wait(&x->cond, &x->lock);
	} while (busy && !any);
	pthread_mutex_unlock(&x->lock);
	for (unsigned i = 0; i < EXERCISE_SLOTS; i++) {
		pthread_mutex_lock(&x->lock);
		any = x->slot[i].done;
		pthread_mutex_unlock(&x->lock);
		if (any)
			exercise_finish(x, &x->slot[i]);
	}
}

/* model: the content of the disk, size bytes; it is kept up to date, and the whole disk compared with it at the end. */
static inline void disk_exercise(struct blockdev *b, u8 *model, unsigned seed, unsigned count)
{
	struct exercise x = { .b = b,
			      .model = model,
			      .sectors = b->info.size / SECTOR,
			      .seed = seed,
			      .step = b->info.block_size / SECTOR,
			      .lock = PTHREAD_MUTEX_INITIALIZER,
			      .cond = PTHREAD_COND_INITIALIZER };
	u8 *whole = malloc(b->info.size);

	x.known = malloc(x.sectors);
	x.users = calloc(x.sectors, 1);
	memset(x.known, 1, x.sectors);
	for (unsigned i = 0; i < EXERCISE_SLOTS; i++) {
		x.slot[i].x = &x;
		x.slot[i].data = malloc(EXERCISE_MAX * SECTOR);
		assert_int_equal(
			posix_memalign((void **)&x.slot[i].memory, 4096, (EXERCISE_MAX + 8 * EXERCISE_PARTS) * SECTOR),
			0);
	}
	for (unsigned started = 0; started < count; exercise_reap(&x))
		for (unsigned i = 0; i < EXERCISE_SLOTS; i++)
			if (!x.slot[i].busy && started < count)
				started += exercise_start(&x, &x.slot[i]);
	for (unsigned i = 0; i < EXERCISE_SLOTS; i++)
		while (x.slot[i].busy)
			exercise_reap(&x);
	assert_int_equal(disk_do(b, DISK_READ, 0, b->info.size, whole), 0);
	for (u64 i = 0; i < x.sectors; i++) {
		if (!x.known[i])
			memcpy(model + i * SECTOR, whole + i * SECTOR, SECTOR);
		assert_memory_equal(whole + i * SECTOR, model + i * SECTOR, SECTOR);
	}
	for (unsigned i = 0; i < EXERCISE_SLOTS; i++) {
		free(x.slot[i].data);
		free(x.slot[i].memory);
	}
	free(x.known);
	free(x.users);
	free(whole);
}

static inline void disk_file_equals(const char *path, const u8 *model, u64 size)
{
	int fd = open(path, O_RDONLY);
	u8 *data = malloc(size);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, data, size, 0), size);
	assert_memory_equal(data, model, size);
	free(data);
	close(fd);
}
