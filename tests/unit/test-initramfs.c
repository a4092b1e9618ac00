/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs trees and reads the archives back through libarchive, which knows nothing of our writer: owners, modes, times, links,
 * devices, names and contents must be those of the tree. What only root can make is left out for others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "boot/initramfs.h"
#include "util/cleanup.h"

#define LIMIT (64ull << 20)

static const char *const command[] = { "sh", "-c", "", "x y", NULL };

struct tree {
	char path[64];
};

static int set_up(void **state)
{
	static struct tree t;
	strcpy(t.path, "/tmp/sextant-test-XXXXXX");
	*state = &t;
	umask(022);
	return !mkdtemp(t.path) || chdir(t.path);
}

static int tear_down(void **state)
{
	struct tree *t = *state;
	char line[128];
	snprintf(line, sizeof(line), "rm -rf %s", t->path); /* paths can be too long for nftw() */
	return chdir("/") || system(line);
}

static void put(const char *path, const char *text, mode_t mode)
{
	_cleanup_fd_ int fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
}

static struct boot_config config(const struct tree *t)
{
	return (struct boot_config){ .rootfs = t->path, .argv = command };
}

static struct blob pack(const struct tree *t)
{
	struct blob b = { 0 };
	struct error err = { 0 };
	struct boot_config c = config(t);
	if (initramfs_pack(&b, &c, LIMIT, &err))
		fail_msg("%s", err.text);
	return b;
}

struct found { /* an entry as libarchive has read it */
	char path[PATH_MAX + 8], link[PATH_MAX], data[256];
	struct stat st;
	bool hard_link;
	size_t len;
};

static void get(struct found *f, struct archive *a, struct archive_entry *e)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->path, sizeof(f->path), "%s", archive_entry_pathname(e));
	const char *hard = archive_entry_hardlink(e), *soft = archive_entry_symlink(e);
	snprintf(f->link, sizeof(f->link), "%s", hard ? hard : soft ? soft : "");
	f->hard_link = hard;
	f->st = *archive_entry_stat(e);
	ssize_t len = S_ISREG(f->st.st_mode) ? archive_read_data(a, f->data, sizeof(f->data)) : 0;
	f->len = len > 0 ? (size_t)len : 0;
}

/* The first entry of that name; NULL if there is none. *count: how many have it. */
static struct found *find(const struct blob *b, const char *path, unsigned *count)
{
	static struct found f, result;
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	int r;
	*count = 0;
	archive_read_support_format_cpio(a);
	assert_int_equal(archive_read_open_memory(a, b->data, b->len), ARCHIVE_OK);
	/* A warning is about a name that the locale cannot show: it is there all the same. */
	while ((r = archive_read_next_header(a, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		get(&f, a, e);
		if (strcmp(f.path, path))
			continue;
		if (!*count)
			result = f;
		++*count;
	}
	if (r != ARCHIVE_EOF)
		fail_msg("%s", archive_error_string(a));
	archive_read_free(a);
	return *count ? &result : NULL;
}

static struct found *find_one(const struct blob *b, const char *path)
{
	unsigned count;
	struct found *f = find(b, path, &count);
	if (count != 1)
		fail_msg("%u entries %s", count, path);
	return f;
}

static void check_like_tree(const struct blob *b, const char *path)
{
	struct stat st;
	assert_int_equal(lstat(path, &st), 0);
	struct found *f = find_one(b, path);
	assert_int_equal(f->st.st_mode, st.st_mode);
	assert_int_equal(f->st.st_uid, st.st_uid);
	assert_int_equal(f->st.st_gid, st.st_gid);
	assert_int_equal(f->st.st_mtime, st.st_mtime);
	if (S_ISREG(st.st_mode))
		assert_int_equal(f->st.st_size, st.st_size);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		assert_int_equal(f->st.st_rdev, st.st_rdev);
}

static void test_kinds(void **state)
{
	put("file", "contents", 0644);
	put("empty", "", 0600);
	put("setuid", "s", 04755);
	put("odd", "123", 07777);
	assert_int_equal(mkdir("dir", 0700), 0);
	assert_int_equal(chmod("dir", 01777), 0);
	put("dir/inner", "inner", geteuid() ? 0400 : 0); /* root reads what nobody may */
	assert_int_equal(mkdir("void", 0755), 0);
	assert_int_equal(mkfifo("fifo", 0640), 0);
	assert_int_equal(symlink("../some where/else", "link"), 0);
	struct timespec times[2] = { { 1000000000, 0 }, { 123456789, 5 } };
	assert_int_equal(utimensat(AT_FDCWD, "file", times, 0), 0);
	assert_int_equal(utimensat(AT_FDCWD, "link", times, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(utimensat(AT_FDCWD, "dir", times, 0), 0);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "socket" };
	assert_int_equal(bind(s, (struct sockaddr *)&name, sizeof(name)), 0);
	close(s);
	_cleanup_blob_ struct blob b = pack(*state);
	static const char *const all[] = { "file", "empty", "setuid", "odd",	"dir", "dir/inner",
					   "void", "fifo",  "link",   "socket", "." };
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		check_like_tree(&b, all[i]);
	assert_memory_equal(find_one(&b, "file")->data, "contents", 8);
	assert_memory_equal(find_one(&b, "dir/inner")->data, "inner", 5);
	assert_string_equal(find_one(&b, "link")->link, "../some where/else");
}

static void test_owners_and_devices(void **state)
{
	if (geteuid() || mknod("probe", S_IFCHR | 0600, makedev(1, 3))) {
		skip();
		return;
	}
	put("theirs", "x", 0644);
	assert_int_equal(chown("theirs", 1234, 99999), 0);
	assert_int_equal(chmod("theirs", 06711), 0);
	assert_int_equal(mkdir("home", 0755), 0);
	assert_int_equal(chown("home", 5, 0x7fffffff), 0);
	assert_int_equal(mknod("block", S_IFBLK | 0660, makedev(259, 70000)), 0);
	_cleanup_blob_ struct blob b = pack(*state);
	check_like_tree(&b, "theirs");
	check_like_tree(&b, "home");
	check_like_tree(&b, "block");
	check_like_tree(&b, "probe");
}

static void test_hard_links(void **state)
{
	put("a", "shared", 0644);
	assert_int_equal(link("a", "b"), 0);
	assert_int_equal(mkdir("c", 0755), 0);
	assert_int_equal(link("a", "c/d"), 0);
	put("other", "other", 0644);
	assert_int_equal(link("other", "other2"), 0);
	_cleanup_blob_ struct blob b = pack(*state);
	struct found first = *find_one(&b, "a");
	assert_false(first.hard_link);
	assert_memory_equal(first.data, "shared", 6); /* Linux keeps what the first name brought */
	assert_int_equal(first.st.st_nlink, 3);
	static const char *const others[] = { "b", "c/d" };
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		struct found *f = find_one(&b, others[i]);
		assert_true(f->hard_link);
		assert_string_equal(f->link, "a");
		assert_int_equal(f->st.st_ino, first.st.st_ino);
	}
	assert_int_not_equal(find_one(&b, "other")->st.st_ino, first.st.st_ino);
	assert_string_equal(find_one(&b, "other2")->link, "other");
}

static void test_names(void **state)
{
	static const char *const names[] = { "with space", "new\nline", "-dash", "\xff\xfe latin",
					     "\xc3\xa4",   "\\back",	"a\tb",	 "..." };
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		put(names[i], names[i], 0644);
	/* The archive's own end mark, as a file. */
	put("TRAILER!!!", "not the end", 0644);
	put("zzz", "after it", 0644);
	_cleanup_blob_ struct blob b = pack(*state);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		assert_memory_equal(find_one(&b, names[i])->data, names[i], strlen(names[i]));
	assert_memory_equal(find_one(&b, "./TRAILER!!!")->data, "not the end", 11);
	assert_memory_equal(find_one(&b, "zzz")->data, "after it", 8);
}

/* As deep as Linux takes names; one more is an error, not a file that is missing in the guest. */
static void test_depth(void **state)
{
	char name[201], path[PATH_MAX] = "";
	memset(name, 'd', 200);
	name[200] = 0;
	while (strlen(path) + 201 < PATH_MAX - 1) {
		assert_int_equal(mkdir(name, 0755), 0);
		assert_int_equal(chdir(name), 0);
		snprintf(path + strlen(path), sizeof(path) - strlen(path), "%s%s", path[0] ? "/" : "", name);
	}
	put("f", "deep", 0644);
	struct blob b = pack(*state);
	strcat(path, "/f");
	assert_memory_equal(find_one(&b, path)->data, "deep", 4);
	blob_free(&b);
	put(name, "too deep", 0644);
	struct error err = { 0 };
	struct boot_config c = config(*state);
	assert_int_equal(initramfs_pack(&b, &c, LIMIT, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "File name too long"));
	blob_free(&b);
}

static const char *record(const struct found *f, char letter, unsigned n)
{
	for (const char *p = f->data; p < f->data + f->len; p += strlen(p) + 1)
		if (*p == letter && !n--)
			return p + 1;
	return NULL;
}

static void test_init(void **state)
{
	static const char *const environment[] = { "A=1", "EMPTY=", NULL };
	struct boot_config c = config(*state);
	c.envp = environment;
	c.workdir = "/some dir";
	c.columns = 132;
	struct error err = { 0 };
	_cleanup_blob_ struct blob b = { 0 };
	assert_int_equal(initramfs_pack(&b, &c, LIMIT, &err), 0);
	assert_int_equal(find_one(&b, ".sextant")->st.st_mode, S_IFDIR | 0700);
	struct found *f = find_one(&b, ".sextant/init");
	assert_memory_equal(f->data, "\177ELF", 4);
	assert_int_equal(f->st.st_mode & 07777, 0700);
	assert_int_equal(f->st.st_uid, 0);
	f = find_one(&b, ".sextant/config");
	for (unsigned i = 0; command[i]; i++)
		assert_string_equal(record(f, INIT_ARGUMENT, i), command[i]);
	assert_null(record(f, INIT_ARGUMENT, 4));
	assert_string_equal(record(f, INIT_ENVIRONMENT, 1), "EMPTY=");
	assert_null(record(f, INIT_ENVIRONMENT, 2));
	assert_string_equal(record(f, INIT_WORKDIR, 0), "/some dir");
	assert_string_equal(record(f, INIT_HOSTNAME, 0), "sextant");
	assert_string_equal(record(f, INIT_COLUMNS, 0), "132");
}

/* Behind another archive, at a multiple of four bytes. */
static void test_append(void **state)
{
	put("file", "x", 0644);
	struct blob b = { .data = (u8 *)strdup("abcde"), .len = 5 };
	struct boot_config c = config(*state);
	struct error err = { 0 };
	assert_int_equal(initramfs_pack(&b, &c, LIMIT, &err), 0);
	assert_memory_equal(b.data,
			    "abcde\0\0\0"
			    "070701",
			    13);
	assert_int_equal(b.len % 4, 0);
	struct blob rest = { b.data + 8, b.len - 8 };
	find_one(&rest, "file");
	blob_free(&b);
}

static void expect(struct boot_config c, u64 limit, int code, const char *text)
{
	struct error err = { 0 };
	_cleanup_blob_ struct blob b = { 0 };
	int r = initramfs_pack(&b, &c, limit, &err);
	if (r != code || err.code != r || !strstr(err.text, text))
		fail_msg("wanted %d \"%s\", got %d \"%s\"", code, text, r, err.text);
}

static void test_errors(void **state)
{
	struct boot_config c = config(*state);
	put("file", "0123456789", 0644);
	expect(c, 1000, -EFBIG, "does not fit");
	expect((struct boot_config){ .rootfs = "/nonexistent", .argv = command }, LIMIT, -ENOENT,
	       "rootfs /nonexistent: No such file");
	expect((struct boot_config){ .rootfs = "file", .argv = command }, LIMIT, -ENOTDIR,
	       "rootfs file: Not a directory");
	expect((struct boot_config){ .rootfs = "." }, LIMIT, -EINVAL, "no command");
	assert_int_equal(truncate("file", 5ll << 30), 0);
	expect(c, LIMIT, -EFBIG, "file: larger than 4 GiB");
	assert_int_equal(truncate("file", 3ll << 30), 0);
	expect(c, LIMIT, -EFBIG, "does not fit");
	if (geteuid()) {
		assert_int_equal(truncate("file", 3), 0);
		assert_int_equal(chmod("file", 0), 0);
		expect(c, LIMIT, -EACCES, "file: Permission denied");
	}
}

static void test_pseudo_file_systems(void **state)
{
	assert_int_equal(mkdir("proc", 0555), 0);
	if (geteuid() || mount("proc", "proc", "proc", 0, NULL)) {
		skip();
		return;
	}
	_cleanup_blob_ struct blob b = pack(*state);
	assert_int_equal(umount("proc"), 0);
	unsigned count;
	find_one(&b, "proc");
	assert_null(find(&b, "proc/self", &count));
	assert_null(find(&b, "proc/kmsg", &count));
}

/* Nothing of the host's leaks into it: one tree, one archive. */
static void test_reproducible(void **state)
{
	put("b", "1", 0644);
	put("a", "2", 0644);
	put("c", "3", 0644);
	_cleanup_blob_ struct blob one = pack(*state), two = pack(*state);
	assert_int_equal(one.len, two.len);
	assert_memory_equal(one.data, two.data, one.len);
}

#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(test_kinds),
		TREE_TEST(test_owners_and_devices),
		TREE_TEST(test_hard_links),
		TREE_TEST(test_names),
		TREE_TEST(test_depth),
		TREE_TEST(test_init),
		TREE_TEST(test_append),
		TREE_TEST(test_errors),
		TREE_TEST(test_pseudo_file_systems),
		TREE_TEST(test_reproducible),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
