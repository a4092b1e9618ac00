/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flush is one on the host's disk. Killing processes shows nothing of that, as the host's page cache outlives them; so here
 * the calls themselves are watched, delayed and made to fail, between us and the kernel: fdatasync() and the operations that
 * go to io_uring are the test's, and a qemu-nbd gets a library preloaded.
 */
#include "disk-util.h"

#include <liburing.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#define SIZE	 (1u << 20)
#define DELAY_MS 150

static struct {
	_Atomic unsigned started, ended; /* synchronizations of data by the host */
	_Atomic int error; /* that they have */
	_Atomic bool slow;
} host;

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

int fdatasync(int fd)
{
	int e;

	host.started++;
	if (host.slow)
		usleep(DELAY_MS * 1000);
	e = host.error ? -1 : (int)syscall(SYS_fdatasync, fd);
	if (host.error)
		errno = host.error;
	host.ended++;
	return e;
}

/* What is about to be submitted, in place: a flush that is to fail gets a descriptor with which it does. */
static void watch(struct io_uring *ring)
{
	for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; i++) {
		struct io_uring_sqe *sqe = &ring->sq.sqes[i & *ring->sq.kring_mask];

		if (sqe->opcode != IORING_OP_FSYNC)
			continue;
		assert_int_equal(sqe->fsync_flags, IORING_FSYNC_DATASYNC);
		host.started++;
		if (host.error)
			sqe->fd = -1;
	}
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned n)
{
	watch(ring);
	int submitted = io_uring_submit(ring);
	struct io_uring_cqe *cqe;

	return submitted < 0 ? submitted : io_uring_wait_cqe_nr(ring, &cqe, n);
}

/* Each flush that is told has had one of the host's to itself, begun after it was asked for and successful. */
static void flushes(const char *words, bool threads)
{
	u8 data[4096] = { 0 };
	struct blockdev *b;

	disk_make("f.img", SIZE);
	b = disk_must("%s%s", disk_path("f.img"), words);
	for (unsigned i = 0; i < 20; i++) {
		unsigned before;

		assert_int_equal(disk_do(b, DISK_WRITE, i * 4096, sizeof(data), data), 0);
		before = host.started;
		assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), 0);
		assert_int_equal(host.started, before + 1);
		if (threads)
			assert_int_equal(host.ended, before + 1);
	}
	blockdev_destroy(b);
}

static bool have_uring(void)
{
	struct blockdev *b;
	struct error err;

	disk_make("f.img", SIZE);
	b = disk_try(&err, "%s,aio=io_uring", disk_path("f.img"));
	blockdev_destroy(b);
	if (!b)
		print_message("not on this host: %s\n", err.text);
	return b;
}

static void test_reaches_host(void **state)
{
	host.started = host.ended = 0;
	flushes(",aio=threads", true);
	host.started = host.ended = 0;
	if (have_uring())
		flushes(",aio=io_uring", false);
}

static void test_waits(void **state)
{
	struct blockdev *b;
	u64 began;

	disk_make("f.img", SIZE);
	b = disk_must("%s,aio=threads", disk_path("f.img"));
	host.slow = true;
	began = now_ms();
	assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), 0);
	assert_true(now_ms() - began >= DELAY_MS - 1);
	host.slow = false;
	blockdev_destroy(b);
}

/* The kernel tells of lost data once. The guest hears of it on each flush from then on. */
static void fails(const char *words)
{
	struct blockdev *b;

	disk_make("f.img", SIZE);
	b = disk_must("%s%s", disk_path("f.img"), words);
	assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), 0);
	disk_reports = 0;
	host.error = EBADF;
	assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), -EBADF);
	host.error = 0;
	assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), -EBADF);
	assert_int_equal(disk_reports, 1);
	assert_non_null(strstr(disk_said, "f.img"));
	blockdev_destroy(b);
}

static void test_fails(void **state)
{
	fails(",aio=threads");
	if (have_uring())
		fails(",aio=io_uring");
}

/* A qemu-nbd whose fdatasync() sleeps, and fails if told: through its own program in front of the real one. */
static void preload(const char *env)
{
	char path[600], library[512];
	const char *build = getenv("SEXTANT_FAULTS");
	FILE *f;

	snprintf(library, sizeof(library), "%s", build ? build : "");
	f = fopen(disk_path("qemu-nbd"), "w");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\nexport LD_PRELOAD=%s %s\nexec /usr/bin/qemu-nbd \"$@\"\n", library, env);
	fclose(f);
	assert_int_equal(chmod(disk_path("qemu-nbd"), 0755), 0);
	snprintf(path, sizeof(path), "%s:%s", disk_dir, getenv("PATH"));
	setenv("PATH", path, 1);
}

static void test_qemu_nbd(void **state)
{
	char cmd[300], *path = strdup(getenv("PATH"));
	u8 data[4096] = { 0 };
	struct blockdev *b;
	u64 began;

	snprintf(cmd, sizeof(cmd), "test -x /usr/bin/qemu-nbd && qemu-img create -q -f qcow2 %s 1M",
		 disk_path("f.qcow2"));
	if (!getenv("SEXTANT_FAULTS") || system(cmd)) {
		print_message("no qemu-utils, or not run by meson\n");
		free(path);
		return;
	}
	for (unsigned fail = 0; fail < 2; fail++) {
		preload(fail ? "FAULTS_ERROR=1" : "FAULTS_ERROR=0");
		b = disk_must("%s", disk_path("f.qcow2"));
		assert_int_equal(disk_do(b, DISK_WRITE, 0, sizeof(data), data), 0);
		began = now_ms();
		assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), fail ? -EIO : 0);
		assert_true(fail || now_ms() - began >= DELAY_MS - 1);
		blockdev_destroy(b);
		setenv("PATH", path, 1);
	}
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reaches_host),
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_fails),
		cmocka_unit_test(test_qemu_nbd),
	};

	return cmocka_run_group_tests_name("flushes of disks", tests, disk_setup, disk_teardown);
}
