/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of containers that need no container: the configuration's types, mount options, look-ups in a root, device rules. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "container/cgroup.h"
#include "container/container.h"
#include "container/fileio.h"
#include "container/json.h"
#include "container/mount_options.h"
#include "container/rootpath.h"
#include "util/cleanup.h"

static void test_schema(void **state)
{
	static const struct {
		const char *text, *why; /* NULL: it is right */
	} cases[] = {
		{ "{\"ociVersion\":\"1.1.0\"}", NULL },
		{ "{\"ociVersion\":\"1.1.0\",\"unknown\":[1,{}],\"linux\":null}", NULL },
		{ "{}", "ociVersion is missing" },
		{ "[]", "not an object" },
		{ "{\"ociVersion\":1}", "ociVersion is not a string" },
		{ "{\"ociVersion\":\"1\",\"process\":[]}", "process is not an object" },
		{ "{\"ociVersion\":\"1\",\"process\":{\"cwd\":\"/\",\"args\":[1]}}",
		  "process.args is not an array of strings" },
		{ "{\"ociVersion\":\"1\",\"process\":{\"args\":[\"a\"]}}", "process.cwd is missing" },
		{ "{\"ociVersion\":\"1\",\"process\":{\"cwd\":\"/\",\"user\":{\"uid\":-1}}}",
		  "uid is not a number of 0 or more" },
		{ "{\"ociVersion\":\"1\",\"mounts\":[{\"source\":\"x\"}]}", "mounts[].destination is missing" },
		{ "{\"ociVersion\":\"1\",\"mounts\":[5]}", "mounts is not of objects" },
		{ "{\"ociVersion\":\"1\",\"annotations\":{\"a\":1}}", "annotations is not an object of strings" },
		{ "{\"ociVersion\":\"1\",\"linux\":{\"seccomp\":{\"defaultAction\":\"x\",\"syscalls\":[{\"names\":[],"
		  "\"action\":\"y\","
		  "\"args\":[{\"index\":0,\"op\":\"z\"}]}]}}}",
		  "args[].value is missing" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *config = json_loads(cases[i].text, 0, NULL);
		struct error err = { 0 };
		int e = schema_check(config, &err);

		assert_int_equal(e, cases[i].why ? -EINVAL : 0);
		if (cases[i].why)
			assert_non_null(strstr(err.text, cases[i].why));
		json_decref(config);
	}
}

static void test_template(void **state)
{
	for (int rootless = 0; rootless < 2; rootless++) {
		_cleanup_json_ json_t *config = template_config(rootless);
		struct error err = { 0 };

		assert_non_null(config);
		assert_int_equal(schema_check(config, &err), 0);
		assert_int_equal(json_array_size(js_at(config, "linux.uidMappings")), rootless);
	}
}

static void parse(const char *text, struct mount_options *o)
{
	_cleanup_json_ json_t *list = json_loads(text, 0, NULL);
	struct error err = { 0 };

	assert_non_null(list);
	assert_int_equal(mount_options_parse(list, o, &err), 0);
}

static void test_mount_options(void **state)
{
	struct mount_options o;

	parse("[\"rbind\",\"ro\",\"nosuid\",\"noatime\",\"rro\",\"rprivate\",\"size=5\",\"mode=700\"]", &o);
	assert_true(o.bind && o.recursive && !o.remount);
	assert_int_equal(o.flags, MS_RDONLY | MS_NOSUID | MS_NOATIME);
	assert_int_equal(o.set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOATIME);
	assert_int_equal(o.clear, MOUNT_ATTR__ATIME); /* the kernel wants it cleared to be set */
	assert_int_equal(o.rec_set, MOUNT_ATTR_RDONLY);
	assert_int_equal(o.propagation, MS_PRIVATE);
	assert_true(o.propagate_rec);
	assert_string_equal(o.data, "size=5,mode=700");
	mount_options_free(&o);
	/* The last word counts. */
	parse("[\"ro\",\"rw\",\"noexec\",\"exec\",\"strictatime\",\"relatime\"]", &o);
	assert_int_equal(o.flags, MS_RELATIME);
	assert_int_equal(o.set, 0);
	assert_true(o.clear & MOUNT_ATTR_RDONLY && o.clear & MOUNT_ATTR_NOEXEC);
	assert_null(o.data);
	parse("[\"rw\",\"ro\"]", &o);
	assert_int_equal(o.set, MOUNT_ATTR_RDONLY);
	assert_int_equal(o.clear, 0);
	assert_int_equal(propagation_flags("rslave"), MS_SLAVE | MS_REC);
	assert_int_equal(propagation_flags("slaves"), 0);
}

static char *make_root(void)
{
	char *path = strdup("/tmp/sextant-root-XXXXXX");

	assert_non_null(mkdtemp(path));
	return path;
}

static void test_rootpath(void **state)
{
	_cleanup_free_ char *path = make_root();
	_cleanup_fd_ int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1, again = -1;
	char name[NAME_MAX + 1];
	struct stat a, b;

	assert_int_equal(symlinkat("../../../outside", root, "up"), 0);
	assert_int_equal(symlinkat("/absolute/dir", root, "abs"), 0);
	assert_int_equal(symlinkat("loop", root, "loop"), 0);
	assert_int_equal(symlinkat("/etc/file", root, "link"), 0);
	/* Links that lead nowhere are made to lead somewhere, in the root. */
	fd = root_make_dir(root, "/up/a/../b//c/", 0755);
	assert_true(fd >= 0);
	again = root_open(root, "/outside/b/c", O_PATH | O_DIRECTORY);
	assert_true(again >= 0 && !fstat(fd, &a) && !fstat(again, &b) && a.st_ino == b.st_ino);
	close(steal_fd(fd));
	close(steal_fd(again));
	fd = root_make_dir(root, "abs/x", 0755);
	again = root_open(root, "absolute/dir/x", O_PATH | O_DIRECTORY);
	assert_true(fd >= 0 && again >= 0);
	close(steal_fd(fd));
	assert_int_equal(root_make_dir(root, "loop/x", 0755), -ELOOP);
	assert_int_equal(mkdirat(root, "etc", 0755), 0);
	fd = root_make_file(root, "/link");
	assert_true(fd >= 0 && !faccessat(root, "etc/file", F_OK, 0));
	close(steal_fd(fd));
	assert_int_equal(root_make_dir(root, "etc/file/x", 0755), -ENOTDIR);
	assert_int_equal(root_make_parent(root, "/", name), -EINVAL);
	assert_int_equal(root_make_parent(root, "a/..", name), -EINVAL);
	fd = root_make_parent(root, "new/dir/last//", name);
	assert_true(fd >= 0);
	assert_string_equal(name, "last");
	assert_int_equal(tree_remove(AT_FDCWD, path), 0);
}

/* ---- device rules of v2, in a group of our own, where there is one ---- */

static bool opens(const char *group, unsigned major, unsigned minor, int flags)
{
	char procs[PATH_MAX], node[64];
	int status;
	pid_t pid;

	snprintf(node, sizeof(node), "/tmp/sextant-node-%d", (int)getpid());
	unlink(node);
	assert_int_equal(mknod(node, S_IFCHR | 0666, makedev(major, minor)), 0);
	pid = fork();
	if (!pid) {
		snprintf(procs, sizeof(procs), "%s/cgroup.procs", group);
		_exit(file_write(AT_FDCWD, procs, "0") ? 2 : open(node, flags | O_NONBLOCK) < 0 && errno == EPERM);
	}
	waitpid(pid, &status, 0);
	unlink(node);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return !WEXITSTATUS(status);
}

static void set_rules(const struct cgroup *c, const char *text)
{
	_cleanup_json_ json_t *rules = json_loads(text, 0, NULL);
	struct error err = { 0 };

	assert_non_null(rules);
	if (cgroup_set_devices(c, rules, &err))
		fail_msg("%s", err.text);
}

static void test_devices_v2(void **state)
{
	struct cgroup all, c = { 0 };
	struct error err = { 0 };
	char group[PATH_MAX];

	assert_int_equal(cgroup_find(&all, &err), 0);
	for (unsigned i = 0; i < all.n; i++)
		if (all.h[i].v2)
			c = (struct cgroup){ .n = 1,
					     .h = { { .mount = all.h[i].mount, .controllers = "", .v2 = true } } };
	snprintf(group, sizeof(group), "%s/sextant-unit-%d", c.n ? c.h[0].mount : "", (int)getpid());
	if (!privileged() || !c.n || mkdir(group, 0755)) {
		cgroup_free(&all);
		skip();
	}
	c.h[0].path = strrchr(group, '/') + 1;
	set_rules(&c, "[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":11,"
		      "\"access\":\"r\"}]");
	assert_true(opens(group, 1, 3, O_RDWR)); /* null: always */
	assert_true(opens(group, 1, 11, O_RDONLY));
	assert_false(opens(group, 1, 11, O_WRONLY));
	assert_false(opens(group, 1, 1, O_RDONLY));
	/* What one rule does not allow another may; what a later one denies stays denied. */
	set_rules(&c, "[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":11,"
		      "\"access\":\"r\"},{\"allow\":true,\"type\":\"c\",\"major\":1,\"access\":\"w\"}]");
	assert_true(opens(group, 1, 11, O_RDWR));
	assert_false(opens(group, 1, 1, O_RDWR));
	set_rules(&c, "[{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":11,\"access\":\"rw\"},{\"allow\":false,"
		      "\"type\":\"c\",\"major\":1,\"minor\":11,\"access\":\"w\"}]");
	assert_true(opens(group, 1, 11, O_RDONLY));
	assert_false(opens(group, 1, 11, O_RDWR));
	/* The new rules alone count, and the last that fits. */
	set_rules(&c, "[{\"allow\":true,\"type\":\"a\"},{\"allow\":false,\"type\":\"c\",\"major\":1,\"minor\":11,"
		      "\"access\":\"w\"}]");
	assert_true(opens(group, 1, 11, O_RDONLY));
	assert_false(opens(group, 1, 11, O_RDWR));
	assert_true(opens(group, 5, 0, O_RDONLY) || errno != EPERM);
	for (unsigned i = 0; i < 100 && rmdir(group); i++)
		usleep(10000);
	assert_int_not_equal(access(group, F_OK), 0);
	cgroup_free(&all);
}

static void test_signals(void **state)
{
	assert_int_equal(signal_number("TERM"), SIGTERM);
	assert_int_equal(signal_number("SIGkill"), SIGKILL);
	assert_int_equal(signal_number("15"), 15);
	assert_int_equal(signal_number("RTMIN+3"), SIGRTMIN + 3);
	assert_int_equal(signal_number("0"), -1);
	assert_int_equal(signal_number("1000"), -1);
	assert_int_equal(signal_number(""), -1);
	assert_int_equal(signal_number("NONE"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_schema),	      cmocka_unit_test(test_template),
		cmocka_unit_test(test_mount_options), cmocka_unit_test(test_rootpath),
		cmocka_unit_test(test_devices_v2),    cmocka_unit_test(test_signals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
