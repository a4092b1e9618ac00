/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodings decoded like others before (src/x86/shape.c) give the record that decoding them alone gives: for the code of a file, every
 * offset of it, and for random heads with many values behind each.
 * SHAPE_FILES names further files, separated by colons.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
/* after the headers that it needs */
#include <cmocka.h>

#include "x86/insn.h"

static u64 state = 0x2545f4914f6cdd1dull;

static u64 rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void same(struct insn_shapes *known, const u8 *bytes, enum code_size mode, unsigned off)
{
	struct insn a, b;
	struct insn_info ia, ib;
	enum decode_status sa = insn_decode(&a, &ia, bytes, 15, mode, off),
			   sb = insn_decode_like(known, &b, &ib, bytes, 15, mode, off);

	if (sa == sb && (sa != DECODE_OK || (!memcmp(&a, &b, sizeof(a)) && !memcmp(&ia, &ib, sizeof(ia)))))
		return;
	for (unsigned k = 0; k < 15; k++)
		fprintf(stderr, "%02x ", bytes[k]);
	fail_msg("decoded otherwise, mode %d", mode);
}

static void sweep(const char *path, size_t most)
{
	struct insn_shapes *known = insn_shapes_create();
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	assert_non_null(known);
	assert_true(fd >= 0 && !fstat(fd, &st) && st.st_size > 4096);
	u8 *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(p != MAP_FAILED);
	size_t n = most && most < (size_t)st.st_size ? most : (size_t)st.st_size;
	for (size_t k = 0; k + 15 <= n; k++)
		same(known, p + k, k & 1 << 12 ? CODE_32 : CODE_64, (unsigned)k & 4095);
	munmap(p, (size_t)st.st_size);
	close(fd);
	free(known);
}

/* What compilers write, and what comes of beginning in the middle of it. */
static void test_code(void **s)
{
	(void)s;
	sweep("/proc/self/exe", 1u << 20);
	char *files = getenv("SHAPE_FILES");
	for (char *f = files ? strtok(files, ":") : NULL; f; f = strtok(NULL, ":"))
		sweep(f, 0);
}

/* One head after the other with values that have all signs and sizes behind it. */
static void test_values(void **s)
{
	static const u8 prefixes[] = { 0x66, 0xf2, 0xf3, 0xf0, 0x2e, 0x3e, 0x64, 0x65, 0x67 };
	static const u8 values[] = { 0, 1, 0x1f, 0x20, 0x7f, 0x80, 0xe0, 0xff };
	struct insn_shapes *known = insn_shapes_create();

	(void)s;
	assert_non_null(known);
	for (unsigned n = 0; n < 20000; n++) {
		enum code_size mode = rnd() & 1 ? CODE_64 : CODE_32;
		unsigned k = 0, head = 1 + (unsigned)(rnd() % 4);
		u8 bytes[16];
		if (rnd() % 4 == 0)
			bytes[k++] = prefixes[rnd() % sizeof(prefixes)];
		if (rnd() % 3 == 0)
			bytes[k++] = (u8)(0x40 | (rnd() & 15));
		if (rnd() % 3 == 0)
			bytes[k++] = rnd() & 1 ? 0x0f : 0xc5;
		for (unsigned end = k + head; k < end; k++)
			bytes[k] = (u8)rnd();
		for (unsigned m = 0; m < 12; m++) {
			for (unsigned at = k; at < sizeof(bytes); at++)
				bytes[at] = rnd() & 1 ? values[rnd() % sizeof(values)] : (u8)rnd();
			same(known, bytes, mode, (unsigned)rnd() & 4095);
		}
	}
	free(known);
}

/* The records that are put together again are those that were kept, not ones decoded anew: the same bytes at another offset. */
static void test_offset(void **s)
{
	static const u8 lea[15] = { 0x48, 0x8d, 0x05, 0x10, 0, 0, 0 },
			limit[15] = { 0x48, 0x8d, 0x05, 0xff, 0xff, 0xff, 0x7f };
	struct insn_shapes *known = insn_shapes_create();
	struct insn i;

	(void)s;
	assert_non_null(known);
	for (unsigned off = 0; off < 4096; off += 5) {
		assert_int_equal(insn_decode_like(known, &i, NULL, lea, 15, CODE_64, off), DECODE_OK);
		assert_int_equal(i.disp, 0x10 + 7 + off);
		same(known, limit, CODE_64, off);
	}
	free(known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_code),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_offset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
