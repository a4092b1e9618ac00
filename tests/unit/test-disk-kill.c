/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 at any moment: a process writes numbered blocks to a disk, flushes, and tells each number that has been flushed. It
 * is killed, its qemu-nbd dies with it, and whatever it had told is on the disk; a qcow2 image is consistent.
 * An argument is the number of lives, for more than the usual few.
 */
#include "disk-util.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#define SIZE   (4u << 20)
#define BLOCK  4096
#define BLOCKS (SIZE / BLOCK)
#define BATCH  4 /* blocks a flush */

static unsigned lives = 10;

/* Where block n goes: all over the disk, so that a qcow2 image allocates and changes its tables all the time. */
static u64 place(u32 n)
{
	return n % BLOCKS * 389ull % BLOCKS * BLOCK;
}

static void fill(u32 *block, u32 n)
{
	for (u32 i = 0; i < BLOCK / 4; i++)
		block[i] = n * 2654435761u + i;
	block[0] = n;
}

static void __attribute__((noreturn)) writer(const char *spec, u32 n, int told)
{
	struct error err;
	struct blockdev *b = disk_try(&err, "%s", spec);
	u32 block[BLOCK / 4];

	for (; b; n++) {
		fill(block, n);
		if (disk_do(b, DISK_WRITE, place(n), BLOCK, block))
			break;
		if (n % BATCH != BATCH - 1)
			continue;
		if (disk_do(b, DISK_FLUSH, 0, 0, NULL) || write(told, &n, sizeof(n)) != sizeof(n))
			break;
	}
	dprintf(2, "the writer cannot write: %s\n", b ? "" : err.text);
	_exit(1);
}

/* One life and death, from block n on; returns what was flushed last. */
static u32 live(const char *spec, u32 n, unsigned ms)
{
	int told[2], status;
	u32 last = 0, m;
	pid_t child;

	assert_int_equal(pipe2(told, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		writer(spec, n, told[1]);
	close(told[1]);
	assert_int_equal(read(told[0], &last, sizeof(last)), sizeof(last)); /* it has begun */
	usleep(ms * 1000);
	kill(child, SIGKILL);
	while (read(told[0], &m, sizeof(m)) == sizeof(m))
		last = m;
	close(told[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	return last;
}

/* The newest block at a place that is known to be flushed, or one that was written after it. */
static void check(const char *spec, u32 last)
{
	struct blockdev *b = NULL;
	u32 block[BLOCK / 4], want[BLOCK / 4];
	struct error err;

	/* The kernel ends an orphaned qemu-nbd on its own time. */
	for (unsigned tries = 0; !b && tries < 600; tries++) {
		b = disk_try(&err, "%s,readonly=on", spec);
		if (!b)
			usleep(50 * 1000);
	}
	if (!b)
		fail_msg("%s", err.text);
	for (u32 n = last + 1 > BLOCKS ? last + 1 - BLOCKS : 0; n <= last; n++) {
		assert_int_equal(disk_do(b, DISK_READ, place(n), BLOCK, block), 0);
		if (block[0] != n && block[0] != n + BLOCKS)
			fail_msg("block %u was flushed, but %u is there (the last flushed one is %u)", n, block[0],
				 last);
		/* One that was under way may be torn. */
		fill(want, n);
		if (block[0] == n && last - n < BLOCKS - 256)
			assert_memory_equal(block, want, BLOCK);
	}
	blockdev_destroy(b);
}

static void rounds(const char *spec, const char *image, unsigned count)
{
	u32 last = 0;
	char cmd[256];
	int status;

	srand((unsigned)getpid());
	for (unsigned i = 0; i < count; i++) {
		last = live(spec, last ? last + 1 : 0, (unsigned)rand() % 60);
		check(spec, last);
		if (!image)
			continue;
		/* 3: clusters that belong to nobody, which cost space and nothing else. */
		snprintf(cmd, sizeof(cmd), "qemu-img check -q -f qcow2 %s >/dev/null 2>&1", image);
		status = WEXITSTATUS(system(cmd));
		if (status && status != 3)
			fail_msg("qemu-img check finds the image broken after round %u", i);
	}
	print_message("%s: %u blocks in %u lives\n", spec, last + 1, count);
}

static void test_raw(void **state)
{
	char spec[160];

	disk_make("k.img", SIZE);
	snprintf(spec, sizeof(spec), "%s", disk_path("k.img"));
	rounds(spec, NULL, lives);
	disk_make("t.img", SIZE);
	snprintf(spec, sizeof(spec), "%s,aio=threads", disk_path("t.img"));
	rounds(spec, NULL, lives / 2);
}

static void test_qcow2(void **state)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "qemu-img create -q -f qcow2 -o cluster_size=4k %s %u", disk_path("k.qcow2"), SIZE);
	if (system("qemu-nbd --version >/dev/null 2>&1") || system(cmd)) {
		print_message("qemu-utils is not installed\n");
		return;
	}
	rounds(disk_path("k.qcow2"), disk_path("k.qcow2"), lives);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_raw), cmocka_unit_test(test_qcow2) };

	if (argc > 1)
		lives = (unsigned)atoi(argv[1]);
	return cmocka_run_group_tests_name("killed disks", tests, disk_setup, disk_teardown);
}
