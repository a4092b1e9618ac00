/* SPDX-License-Identifier: Apache-2.0 */
/* The words of --disk: what they mean, and that wrong ones are told by name. */
#include "disk-util.h"

static void test_words(void **state)
{
	struct error err = { 0 };
	struct disk_spec *s =
		disk_parse("a,,b,,=.img,readonly=on,snapshot=off,cache=none,format=qcow2,id=x,,y,serial=S1,"
			   "aio=threads,timeout=7",
			   &err);

	assert_non_null(s);
	assert_string_equal(s->target, "a,b,=.img");
	assert_true(s->readonly && !s->snapshot);
	assert_int_equal(s->cache, DISK_CACHE_NONE);
	assert_int_equal(s->aio, DISK_AIO_THREADS);
	assert_string_equal(s->format, "qcow2");
	assert_string_equal(s->id, "x,y");
	assert_string_equal(s->serial, "S1");
	assert_int_equal(s->timeout, 7);
	disk_spec_free(s);
	s = disk_parse("nbd://host/name", &err);
	assert_non_null(s);
	assert_string_equal(s->target, "nbd://host/name");
	assert_true(!s->readonly && !s->snapshot && !s->format && !s->id && !*s->serial && !s->timeout);
	assert_int_equal(s->cache, DISK_CACHE_WRITEBACK);
	disk_spec_free(s);
}

static void test_wrong(void **state)
{
	static const char *const wrong[][2] = {
		{ "", "needs a file" },
		{ ",readonly=on", "needs a file" },
		{ "f,", "not NAME=VALUE" },
		{ "f,readonly", "not NAME=VALUE" },
		{ "f,readonly=yes", "readonly=yes" },
		{ "f,snapshot=", "snapshot=" },
		{ "f,cache=writethrough", "writeback, none" },
		{ "f,aio=native", "auto, io_uring, threads" },
		{ "f,format=iso", "qcow2" },
		{ "f,format=", "qcow2" },
		{ "f,timeout=0", "timeout=0" },
		{ "f,timeout=-1", "timeout=-1" },
		{ "f,timeout=1x", "timeout=1x" },
		{ "f,timeout=99999999999999999999", "timeout" },
		{ "f,serial=123456789012345678901", "1 to 20" },
		{ "f,serial=a b", "printable" },
		{ "f,serial=\xc3\xa4", "printable" },
		{ "f,serial=", "1 to 20" },
		{ "f,id=", "id=" },
		{ "f,colour=red", "'colour'" },
		{ "f,=on", "''" },
		{ "nbd://h,format=raw", "format=" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct error err = { 0 };

		assert_null(disk_parse(wrong[i][0], &err));
		assert_int_equal(err.code, -EINVAL);
		if (!strstr(err.text, wrong[i][1]) || !strstr(err.text, "disk"))
			fail_msg("%s: %s", wrong[i][0], err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_words), cmocka_unit_test(test_wrong) };

	return cmocka_run_group_tests_name("words of disks", tests, NULL, NULL);
}
