/* SPDX-License-Identifier: Apache-2.0 */
/* Raw disks: each way to do I/O against a model, what is refused, files of odd sizes, cut, full, and whose flush fails. */
#include "disk-util.h"

#include <sys/resource.h>
#include <signal.h>

#define SIZE (1u << 20)

static void exercise_file(const char *words, unsigned count)
{
	u8 *model = calloc(1, SIZE);
	struct blockdev *b;

	disk_make("x.img", SIZE);
	b = disk_must("%s%s", disk_path("x.img"), words);
	assert_int_equal(b->info.size, SIZE);
	assert_true(b->info.can_discard && b->info.can_write_zeroes && !b->info.readonly);
	disk_exercise(b, model, 1, count);
	assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), 0);
	blockdev_destroy(b);
	disk_file_equals(disk_path("x.img"), model, SIZE);
	free(model);
}

static void test_default(void **state)
{
	exercise_file("", 3000);
}

static void test_threads(void **state)
{
	exercise_file(",aio=threads", 3000);
}

static bool here(const char *words)
{
	struct blockdev *b;
	struct error err;

	disk_make("probe.img", SIZE);
	b = disk_try(&err, "%s%s", disk_path("probe.img"), words);
	if (!b)
		print_message("not on this host: %s\n", err.text);
	blockdev_destroy(b);
	return b;
}

static void test_uring(void **state)
{
	if (here(",aio=io_uring"))
		exercise_file(",aio=io_uring", 3000);
}

static void test_direct(void **state)
{
	if (!here(",cache=none"))
		return;
	exercise_file(",cache=none,aio=threads", 1000);
	exercise_file(",cache=none", 1000);
}

struct refused {
	enum disk_op op;
	u64 offset, len, memory;
	int error;
};

static void test_refused(void **state)
{
	static const struct refused cases[] = {
		{ DISK_READ, 1, 512, 512, -EINVAL },
		{ DISK_READ, 0, 100, 100, -EINVAL },
		{ DISK_READ, 0, 1024, 512, -EINVAL },
		{ DISK_WRITE, 0, 512, 1024, -EINVAL },
		{ DISK_READ, SIZE, 512, 512, -EINVAL },
		{ DISK_READ, SIZE - 512, 1024, 1024, -EINVAL },
		{ DISK_READ, ~511ull, 1024, 1024, -EINVAL },
		{ DISK_WRITE, SIZE, 512, 512, -ENOSPC },
		{ DISK_WRITE_ZEROES, 512, ~511ull, 0, -ENOSPC },
		{ DISK_DISCARD, ~511ull, ~511ull, 0, -ENOSPC },
		{ (enum disk_op)77, 0, 512, 512, -EINVAL },
		{ DISK_READ, SIZE, 0, 0, 0 },
	};
	struct blockdev *b;
	u8 data[1024];

	disk_make("x.img", SIZE);
	b = disk_must("%s", disk_path("x.img"));
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wait w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };
		struct iovec iov = { data, cases[i].memory };
		struct disk_request r = { cases[i].op, cases[i].offset, cases[i].len, &iov, 1, false, wait_done, &w };

		b->ops->submit(b, &r);
		pthread_mutex_lock(&w.lock);
		while (!w.done)
			pthread_cond_wait(&w.cond, &w.lock);
		pthread_mutex_unlock(&w.lock);
		assert_int_equal(w.error, cases[i].error);
	}
	blockdev_destroy(b);
}

static void test_readonly(void **state)
{
	struct blockdev *b;
	u8 data[512] = { 1 };

	disk_make("x.img", SIZE);
	b = disk_must("%s,readonly=on", disk_path("x.img"));
	assert_true(b->info.readonly && !b->info.can_discard && !b->info.can_write_zeroes);
	assert_int_equal(disk_do(b, DISK_WRITE, 0, 512, data), -EROFS);
	assert_int_equal(disk_do(b, DISK_WRITE_ZEROES, 0, 512, NULL), -EROFS);
	assert_int_equal(disk_do(b, DISK_DISCARD, 0, 512, NULL), -EROFS);
	assert_int_equal(disk_do(b, DISK_READ, 0, 512, data), 0);
	assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), 0);
	blockdev_destroy(b);
}

/* 1000 bytes are two sectors, and the second one's end is zeros until it is written. */
static void odd_size(const char *words)
{
	u8 data[1024], ones[512];
	struct blockdev *b;
	struct stat st;
	int fd;

	memset(ones, 1, sizeof(ones));
	disk_make("x.img", 1000);
	fd = open(disk_path("x.img"), O_RDWR);
	assert_int_equal(pwrite(fd, ones, 8, 992), 8);
	b = disk_must("%s%s", disk_path("x.img"), words);
	assert_int_equal(b->info.size, 1024);
	memset(data, 7, sizeof(data));
	assert_int_equal(disk_do(b, DISK_READ, 0, 1024, data), 0);
	assert_int_equal(data[999], 1);
	for (unsigned i = 1000; i < 1024; i++)
		assert_int_equal(data[i], 0);
	assert_int_equal(disk_do(b, DISK_WRITE, 512, 512, ones), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 1024);
	assert_int_equal(disk_do(b, DISK_READ, 0, 1024, data), 0);
	assert_memory_equal(data + 512, ones, 512);
	blockdev_destroy(b);
	close(fd);
}

static void test_odd_size(void **state)
{
	odd_size("");
	odd_size(",aio=threads");
	if (here(",cache=none"))
		odd_size(",cache=none");
}

/* Somebody cuts the file: what is gone is an error, what is left is not. */
static void test_truncated(void **state)
{
	static u8 data[65536];
	struct blockdev *b;

	disk_make("x.img", SIZE);
	b = disk_must("%s", disk_path("x.img"));
	assert_int_equal(truncate(disk_path("x.img"), 65536 + 100), 0);
	assert_int_equal(disk_do(b, DISK_READ, 0, 65536, data), 0);
	assert_int_equal(disk_do(b, DISK_READ, 65536, 65536, data), -EIO);
	assert_int_equal(disk_do(b, DISK_READ, SIZE / 2, 512, data), -EIO);
	blockdev_destroy(b);
}

/* The limit of file sizes stands for whatever makes a write fail half-way. */
static void test_cannot_write(void **state)
{
	struct rlimit old, low = { SIZE / 2 + 100, RLIM_INFINITY };
	struct blockdev *b;
	u8 *data = calloc(1, SIZE);

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low.rlim_max = old.rlim_max;
	disk_make("x.img", SIZE);
	b = disk_must("%s,aio=threads", disk_path("x.img"));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_equal(disk_do(b, DISK_WRITE, 0, SIZE / 2, data), 0);
	assert_int_equal(disk_do(b, DISK_WRITE, 0, SIZE, data), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(disk_do(b, DISK_WRITE, 0, SIZE, data), 0);
	blockdev_destroy(b);
	free(data);
}

static void test_full(void **state)
{
	u8 *data = malloc(SIZE);
	struct blockdev *b;
	struct error err;
	char cmd[300];

	memset(data, 5, SIZE);
	snprintf(cmd, sizeof(cmd), "mkdir -p %s/full && mount -t tmpfs -o size=256k none %s/full 2>/dev/null", disk_dir,
		 disk_dir);
	if (system(cmd)) {
		print_message("no right to mount a small file system here\n");
		free(data);
		return;
	}
	disk_make("full/x.img", SIZE);
	for (unsigned i = 0; i < 2; i++) {
		b = disk_must("%s%s", disk_path("full/x.img"), i ? ",aio=threads" : "");
		assert_int_equal(disk_do(b, DISK_WRITE, 0, SIZE, data), -ENOSPC);
		assert_int_equal(disk_do(b, DISK_DISCARD, 0, SIZE, NULL), 0);
		assert_int_equal(disk_do(b, DISK_WRITE, 0, SIZE / 8, data), 0);
		blockdev_destroy(b);
	}
	b = disk_try(&err, "%s,cache=none", disk_path("full/x.img"));
	assert_true(b || strstr(err.text, "direct access"));
	blockdev_destroy(b);
	snprintf(cmd, sizeof(cmd), "umount %s/full", disk_dir);
	assert_int_equal(system(cmd), 0);
	free(data);
}

/* A discard and zeros that may be unmapped give the space back; zeros that may not keep it. */
static void test_space(void **state)
{
	u8 *data = malloc(SIZE);
	struct blockdev *b;
	struct stat st;

	memset(data, 5, SIZE);
	disk_make("x.img", SIZE);
	b = disk_must("%s", disk_path("x.img"));
	assert_int_equal(disk_do(b, DISK_WRITE, 0, SIZE, data), 0);
	assert_int_equal(disk_do(b, DISK_WRITE_ZEROES, 0, SIZE, NULL), 0);
	assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(stat(disk_path("x.img"), &st), 0);
	assert_true(st.st_blocks >= SIZE / 512);
	assert_int_equal(disk_do(b, DISK_DISCARD, 0, SIZE, NULL), 0);
	assert_int_equal(stat(disk_path("x.img"), &st), 0);
	if (b->info.can_discard)
		assert_true(st.st_blocks < SIZE / 1024);
	blockdev_destroy(b);
	free(data);
}

static void no_disk(const char *what, const char *says)
{
	struct error err;

	assert_null(disk_try(&err, "%s", what));
	if (!strstr(err.text, says))
		fail_msg("%s", err.text);
}

static void test_no_disk(void **state)
{
	no_disk(disk_path("missing"), "No such file");
	no_disk(disk_dir, "neither a file nor a block device");
	no_disk("/dev/null", "neither a file nor a block device");
	disk_make("empty", 0);
	no_disk(disk_path("empty"), "is empty");
	assert_int_equal(mkfifo(disk_path("fifo"), 0600), 0);
	no_disk(disk_path("fifo"), "neither a file nor a block device");
	disk_make("ro.img", 512);
	assert_int_equal(chmod(disk_path("ro.img"), 0400), 0);
	if (geteuid()) /* root may write anything */
		no_disk(disk_path("ro.img"), "readonly=on");
}

static void test_names(void **state)
{
	struct blockdev *b;

	disk_make("a,b=c.img", 512);
	b = disk_must("%s/a,,b=c.img,serial=S-1,id=first", disk_dir);
	assert_string_equal(b->info.id, "S-1");
	blockdev_destroy(b);
	b = disk_must("%s/a,,b=c.img,id=a-name-of-more-than-twenty-characters", disk_dir);
	assert_string_equal(b->info.id, "a-name-of-more-than-");
	blockdev_destroy(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default),	 cmocka_unit_test(test_threads),   cmocka_unit_test(test_uring),
		cmocka_unit_test(test_direct),	 cmocka_unit_test(test_refused),   cmocka_unit_test(test_readonly),
		cmocka_unit_test(test_odd_size), cmocka_unit_test(test_truncated), cmocka_unit_test(test_cannot_write),
		cmocka_unit_test(test_full),	 cmocka_unit_test(test_space),	   cmocka_unit_test(test_no_disk),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("raw disks", tests, disk_setup, disk_teardown);
}
