/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks that are more than a raw file: formats behind a qemu-nbd, snapshot=on, who may open what at the same time, and
 * what an image's format is taken for. Without qemu-nbd only what needs none is tested.
 */
#include "disk-util.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "host/disk/sandbox.h"

#define SIZE (1u << 20)

static bool have_qemu(void)
{
	bool have = !system("qemu-nbd --version >/dev/null 2>&1 && qemu-img --version >/dev/null 2>&1");

	if (!have)
		print_message("qemu-utils is not installed\n");
	return have;
}

static void __attribute__((format(printf, 1, 2))) command(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (system(text))
		fail_msg("%s", text);
}

static void no_disk(const char *says, const char *fmt, ...)
{
	struct blockdev *b;
	struct error err;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	b = disk_try(&err, "%s", text);
	blockdev_destroy(b);
	if (b || !strstr(err.text, says))
		fail_msg("%s: not '%s', but '%s'", text, says, b ? "opened" : err.text);
}

/* Children of ours, running or not yet reaped. */
static bool have_children(void)
{
	return waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD;
}

static void exercise_format(const char *format, const char *words, unsigned count)
{
	char name[32], raw[32];
	u8 *model = calloc(1, SIZE);
	struct blockdev *b;

	snprintf(name, sizeof(name), "x.%s", format);
	snprintf(raw, sizeof(raw), "%s.img", format);
	command("qemu-img create -q -f %s %s %u", format, disk_path(name), SIZE);
	b = disk_must("%s,format=%s%s", disk_path(name), format, words);
	disk_exercise(b, model, 3, count);
	assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), 0);
	blockdev_destroy(b);
	assert_false(have_children());
	command("qemu-img convert -f %s -O raw %s %s", format, disk_path(name), disk_path(raw));
	disk_file_equals(disk_path(raw), model, SIZE);
	free(model);
}

static void test_formats(void **state)
{
	static const char *const formats[] = { "qcow2", "vmdk", "vdi", "vhdx" };

	for (unsigned i = 0; have_qemu() && i < ARRAY_SIZE(formats); i++)
		exercise_format(formats[i], "", i ? 150 : 1500);
	if (have_qemu())
		command("qemu-img check -q -f qcow2 %s", disk_path("x.qcow2"));
}

static void test_format_direct(void **state)
{
	if (have_qemu())
		exercise_format("qcow2", ",cache=none", 150);
}

/* An image that builds on another one, by a name relative to its own. */
static void test_backing(void **state)
{
	static u8 data[4096], back[4096];
	struct blockdev *b;

	if (!have_qemu())
		return;
	disk_make("base.img", SIZE);
	command("cd %s && qemu-img create -q -f qcow2 -F raw -b base.img top.qcow2", disk_dir);
	b = disk_must("%s", disk_path("top.qcow2"));
	memset(data, 9, sizeof(data));
	assert_int_equal(disk_do(b, DISK_WRITE, 4096, 4096, data), 0);
	assert_int_equal(disk_do(b, DISK_READ, 4096, 4096, back), 0);
	assert_memory_equal(data, back, sizeof(data));
	blockdev_destroy(b);
	memset(data, 0, sizeof(data));
	disk_file_equals(disk_path("base.img"), data, sizeof(data));
}

static void test_bad_image(void **state)
{
	int fd;

	if (!have_qemu())
		return;
	command("qemu-img create -q -f qcow2 %s 1M", disk_path("bad.qcow2"));
	fd = open(disk_path("bad.qcow2"), O_WRONLY);
	assert_int_equal(pwrite(fd, "\xff\xff\xff\xff", 4, 20), 4); /* the cluster size */
	close(fd);
	no_disk("luster", "%s", disk_path("bad.qcow2"));
	disk_make("zero.img", SIZE);
	no_disk("qcow2", "%s,format=qcow2", disk_path("zero.img"));
	assert_false(have_children());
}

/* Our only child. */
static pid_t child_pid(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	pid_t found = 0;

	assert_non_null(d);
	while (!found && (e = readdir(d))) {
		char path[300];
		int parent = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		f = *e->d_name >= '0' && *e->d_name <= '9' ? fopen(path, "r") : NULL;
		if (f && fscanf(f, "%*d (%*[^)]) %*c %d", &parent) == 1 && parent == getpid())
			found = (pid_t)atoi(e->d_name);
		if (f)
			fclose(f);
	}
	closedir(d);
	assert_true(found > 0);
	return found;
}

static int status_number(pid_t pid, const char *what)
{
	char path[64], line[256];
	int n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, what, strlen(what)))
			n = atoi(line + strlen(what));
	fclose(f);
	return n;
}

/* It runs under a filter, without new rights, and holds none of our files. */
static void test_sandbox(void **state)
{
	struct blockdev *b;
	pid_t pid;
	int fd;

	if (!have_qemu())
		return;
	command("qemu-img create -q -f qcow2 %s 1M", disk_path("s.qcow2"));
	disk_make("inherited", 512);
	fd = open(disk_path("inherited"), O_RDWR);
	assert_true(fd >= 0);
	b = disk_must("%s", disk_path("s.qcow2"));
	pid = child_pid();
	assert_int_equal(status_number(pid, "Seccomp:"), 2);
	assert_int_equal(status_number(pid, "NoNewPrivs:"), 1);
	for (int i = 0; i < 64; i++) {
		char path[64], to[256] = "";

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, i);
		if (readlink(path, to, sizeof(to) - 1) > 0)
			assert_null(strstr(to, "inherited"));
	}
	close(fd);
	blockdev_destroy(b);
}

/* What the sandbox denies, asked from within; what fails is in the status. */
static void __attribute__((noreturn)) inmate(const struct sandbox *s, const char *own, const char *other)
{
	pid_t child;

	sandbox_enter(s);
	if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || socket(AF_UNIX, SOCK_STREAM, 0) >= 0)
		_exit(1);
	child = fork();
	if (child >= 0)
		_exit(2);
	if (s->ruleset >= 0 &&
	    (open(other, O_WRONLY) >= 0 || open("/var/tmp/sextant-made", O_CREAT | O_WRONLY, 0600) >= 0))
		_exit(3);
	if (open(own, O_RDWR) < 0 || open(other, O_RDONLY) < 0)
		_exit(4);
	_exit(getsid(0) == getpid() ? 0 : 5);
}

static void test_sandbox_denies(void **state)
{
	struct sandbox s;
	char own[128];
	int status;
	pid_t child;

	disk_make("own.img", 512);
	disk_make("other.img", 512);
	snprintf(own, sizeof(own), "%s", disk_path("own.img"));
	sandbox_prepare(&s, own);
	if (s.ruleset < 0)
		print_message("this host has no Landlock\n");
	child = fork();
	assert_true(child >= 0);
	if (!child)
		inmate(&s, own, disk_path("other.img"));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	sandbox_release(&s);
}

/* Its qemu-nbd is killed, or stops answering. */
static void server_lost(int sig, const char *words)
{
	struct blockdev *b;
	u8 data[512];

	command("qemu-img create -q -f qcow2 %s 1M", disk_path("d.qcow2"));
	b = disk_must("%s%s", disk_path("d.qcow2"), words);
	assert_int_equal(disk_do(b, DISK_READ, 0, 512, data), 0);
	assert_int_equal(kill(child_pid(), sig), 0);
	assert_int_equal(disk_do(b, DISK_READ, 0, 512, data), -EIO);
	assert_int_equal(disk_do(b, DISK_WRITE, 0, 512, data), -EIO);
	assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), -EIO);
	blockdev_destroy(b);
	assert_false(have_children());
}

static void test_server_lost(void **state)
{
	if (!have_qemu())
		return;
	server_lost(SIGKILL, "");
	server_lost(SIGSTOP, ",timeout=1");
}

static void *abandon_soon(void *arg)
{
	usleep(200 * 1000);
	blockdev_abandon(arg);
	return NULL;
}

static void test_abandon(void **state)
{
	struct blockdev *b;
	pthread_t t;
	u8 data[512];

	if (!have_qemu())
		return;
	command("qemu-img create -q -f qcow2 %s 1M", disk_path("d.qcow2"));
	b = disk_must("%s,timeout=1000", disk_path("d.qcow2"));
	assert_int_equal(kill(child_pid(), SIGSTOP), 0);
	assert_int_equal(pthread_create(&t, NULL, abandon_soon, b), 0);
	disk_reports = 0;
	assert_int_equal(disk_do(b, DISK_READ, 0, 512, data), -EIO);
	assert_int_equal(disk_reports, 0);
	pthread_join(t, NULL);
	blockdev_destroy(b);
	assert_false(have_children());
}

static void test_no_qemu(void **state)
{
	char *path = strdup(getenv("PATH"));

	disk_make("x.img", SIZE);
	setenv("PATH", "/nonexistent", 1);
	no_disk("qemu-utils", "%s,format=qcow2", disk_path("x.img"));
	setenv("PATH", path, 1);
	free(path);
}

/* --- snapshot=on --- */

static void overlay_over(const char *name, const char *format, unsigned count)
{
	u8 *model = malloc(SIZE), *before = malloc(SIZE);
	struct blockdev *b;

	for (unsigned i = 0; i < SIZE; i++)
		before[i] = (u8)(i / 512 + i);
	b = disk_must("%s,format=%s", disk_path(name), format);
	assert_int_equal(disk_do(b, DISK_WRITE, 0, SIZE, before), 0);
	blockdev_destroy(b);
	memcpy(model, before, SIZE);
	assert_int_equal(chmod(disk_path(name), 0400), 0);
	b = disk_must("%s,format=%s,snapshot=on", disk_path(name), format);
	assert_false(b->info.readonly);
	disk_exercise(b, model, 5, count);
	blockdev_destroy(b);
	b = disk_must("%s,format=%s,readonly=on", disk_path(name), format);
	assert_int_equal(disk_do(b, DISK_READ, 0, SIZE, model), 0);
	assert_memory_equal(model, before, SIZE);
	blockdev_destroy(b);
	free(model);
	free(before);
}

static void test_overlay(void **state)
{
	disk_make("o.img", SIZE);
	overlay_over("o.img", "raw", 3000);
	if (!have_qemu())
		return;
	command("qemu-img create -q -f qcow2 %s %u", disk_path("o.qcow2"), SIZE);
	overlay_over("o.qcow2", "qcow2", 500);
}

/* Each sector by itself, so that a read of all has as many parts as there can be. */
static void test_overlay_sectors(void **state)
{
	u8 *model = calloc(1, SIZE), *data = malloc(SIZE);
	struct blockdev *b;

	disk_make("o.img", SIZE);
	b = disk_must("%s,snapshot=on", disk_path("o.img"));
	for (u64 at = 0; at < SIZE; at += 1024) {
		memset(model + at, (int)(at / 1024 + 1), 512);
		assert_int_equal(disk_do(b, DISK_WRITE, at, 512, model + at), 0);
	}
	assert_int_equal(disk_do(b, DISK_READ, 0, SIZE, data), 0);
	assert_memory_equal(data, model, SIZE);
	assert_int_equal(disk_do(b, DISK_READ, SIZE, 512, data), -EINVAL);
	assert_int_equal(disk_do(b, DISK_FLUSH, 0, 0, NULL), 0);
	blockdev_destroy(b);
	memset(model, 0, SIZE);
	disk_file_equals(disk_path("o.img"), model, SIZE);
	free(model);
	free(data);
}

/* A file of the size of a large disk: only what is used takes memory and space. */
static void test_overlay_large(void **state)
{
	const u64 size = 4ull << 40;
	struct blockdev *b;
	u8 data[512] = { 3 }, back[512];

	disk_make("large.img", size);
	b = disk_must("%s,snapshot=on", disk_path("large.img"));
	assert_int_equal(b->info.size, size);
	assert_int_equal(disk_do(b, DISK_WRITE, size - 512, 512, data), 0);
	assert_int_equal(disk_do(b, DISK_READ, size - 512, 512, back), 0);
	assert_memory_equal(data, back, 512);
	assert_int_equal(disk_do(b, DISK_READ, size - 1024, 512, back), 0);
	assert_int_equal(back[0], 0);
	blockdev_destroy(b);
}

/* --- locks --- */

static void locked(const char *name, const char *format)
{
	char path[128];
	struct blockdev *a, *b;

	snprintf(path, sizeof(path), "%s,format=%s", disk_path(name), format);
	a = disk_must("%s", path);
	no_disk("in use by another", "%s", path);
	no_disk("being written by another", "%s,readonly=on", path);
	no_disk("being written by another", "%s,snapshot=on", path);
	no_disk("in use by another", "%s,format=raw", disk_path(name));
	blockdev_destroy(a);
	a = disk_must("%s,readonly=on", path);
	b = disk_must("%s,snapshot=on", path);
	no_disk("in use by another", "%s", path);
	blockdev_destroy(a);
	no_disk("in use by another", "%s", path);
	blockdev_destroy(b);
	blockdev_destroy(disk_must("%s", path));
}

static void test_locks(void **state)
{
	disk_make("l.img", SIZE);
	locked("l.img", "raw");
	assert_int_equal(symlink("l.img", disk_path("link.img")), 0);
	struct blockdev *b = disk_must("%s", disk_path("l.img"));
	no_disk("in use by another", "%s", disk_path("link.img"));
	blockdev_destroy(b);
	if (!have_qemu())
		return;
	command("qemu-img create -q -f qcow2 %s 1M", disk_path("l.qcow2"));
	locked("l.qcow2", "qcow2");
}

/* QEMU and we keep out of each other's images, also where no qemu-nbd of ours is between. */
static void test_locks_qemu(void **state)
{
	struct blockdev *b;
	char cmd[512];

	if (!have_qemu())
		return;
	disk_make("q.img", SIZE);
	snprintf(cmd, sizeof(cmd), "qemu-io -f raw -c 'read 0 512' %s >/dev/null 2>&1", disk_path("q.img"));
	assert_int_equal(system(cmd), 0);
	b = disk_must("%s", disk_path("q.img"));
	assert_int_not_equal(system(cmd), 0);
	blockdev_destroy(b);
	b = disk_must("%s,readonly=on", disk_path("q.img"));
	assert_int_not_equal(system(cmd), 0);
	snprintf(cmd, sizeof(cmd), "qemu-io -r -f raw -c 'read 0 512' %s >/dev/null 2>&1", disk_path("q.img"));
	assert_int_equal(system(cmd), 0);
	blockdev_destroy(b);
	/* The other way round: QEMU has it while it sleeps; what it has written shows that it has begun to. */
	snprintf(cmd, sizeof(cmd),
		 "qemu-io -f raw -c 'write -P 65 0 512' -c 'sleep 600000' %s >/dev/null 2>&1 & echo $! >%s/pid; "
		 "until grep -qa AAAA %s; do sleep 0.05; done",
		 disk_path("q.img"), disk_dir, disk_path("q.img"));
	assert_int_equal(system(cmd), 0);
	no_disk("in use by another", "%s", disk_path("q.img"));
	no_disk("being written by another", "%s,readonly=on", disk_path("q.img"));
	command("kill -9 $(cat %s/pid)", disk_dir);
}

/* --- formats --- */

static void starts_with(const char *name, const char *data, size_t len)
{
	int fd;

	disk_make(name, SIZE);
	fd = open(disk_path(name), O_WRONLY);
	assert_int_equal(pwrite(fd, data, len, 0), len);
	close(fd);
}

/* A guest may have written any header into a raw disk. */
static void test_detection(void **state)
{
	struct blockdev *b;

	starts_with("guest.img", "QFI\xfb\0\0\0\3", 8);
	no_disk("say format=qcow2 or format=raw", "%s", disk_path("guest.img"));
	b = disk_must("%s,format=raw", disk_path("guest.img"));
	assert_string_equal(b->ops->name, "raw");
	assert_int_equal(b->info.size, SIZE);
	blockdev_destroy(b);
	starts_with("guest.vmdk", "QFI\xfb\0\0\0\3", 8);
	no_disk("say format=qcow2 or format=raw", "%s", disk_path("guest.vmdk"));
	starts_with("not.qcow2", "hello", 5);
	no_disk("say format=qcow2 or format=raw", "%s", disk_path("not.qcow2"));
	starts_with("old.qcow", "QFI\xfb\0\0\0\1", 8);
	no_disk("qcow", "%s,format=vmdk", disk_path("old.qcow"));
	starts_with("plain.img", "\xeb\x3c\x90", 3);
	blockdev_destroy(disk_must("%s", disk_path("plain.img")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),		cmocka_unit_test(test_format_direct),
		cmocka_unit_test(test_backing),		cmocka_unit_test(test_bad_image),
		cmocka_unit_test(test_sandbox),		cmocka_unit_test(test_sandbox_denies),
		cmocka_unit_test(test_server_lost),	cmocka_unit_test(test_abandon),
		cmocka_unit_test(test_no_qemu),		cmocka_unit_test(test_overlay),
		cmocka_unit_test(test_overlay_sectors), cmocka_unit_test(test_overlay_large),
		cmocka_unit_test(test_locks),		cmocka_unit_test(test_locks_qemu),
		cmocka_unit_test(test_detection),
	};

	return cmocka_run_group_tests_name("disk images", tests, disk_setup, disk_teardown);
}
