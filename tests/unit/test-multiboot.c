/* SPDX-License-Identifier: Apache-2.0 */
/* Multiboot kernels, both versions: what is in RAM and in vCPU 0's registers, and headers that lie. */
#include "boot-files.h"

#define MAGIC1 0x1badb002u
#define MAGIC2 0xe85250d6u

static u32 ram32(const struct test_machine *t, u64 gpa)
{
	assert_non_null(ram_ptr(&t->m, gpa, 4));
	return *(const u32_una *)(t->m.ram + gpa);
}

static int try_load(struct test_machine *t, const struct blob *kernel, struct boot_config c, struct error *err)
{
	_cleanup_test_file_ struct test_file f = write_file(kernel->data, kernel->len);
	memset(t->m.ram, 0xa5, t->m.low_size);
	memcpy(t->m.ram + t->firmware.rsdp, "RSD PTR \0\0\0\0\0\0\0\2\0\0\0\0\44\0\0\0", 24);
	c.kernel = f.path;
	c.firmware = &t->firmware;
	*err = (struct error){ 0 };
	return boot_load(&t->m, &c, err);
}

static void load(struct test_machine *t, const struct blob *kernel, struct boot_config c)
{
	struct error err;
	if (try_load(t, kernel, c, &err))
		fail_msg("%s", err.text);
	assert_int_equal(t->v.mode, MODE_PROTECTED);
	assert_int_equal(t->v.code_size, CODE_32);
	assert_int_equal(t->v.cr0 & (CR0_PE | CR0_PG), CR0_PE);
	assert_int_equal(t->v.rflags & FL_IF, 0);
}

static void expect(const struct blob *kernel, struct boot_config c, const char *text)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	struct error err;
	assert_int_not_equal(try_load(t, kernel, c, &err), 0);
	if (!strstr(err.text, text))
		fail_msg("'%s' has no '%s'", err.text, text);
	assert_null(strchr(err.text, '\n'));
	test_machine_free(t);
}

/* A header of version 1 in the text segment's first bytes. */
static struct blob kernel1(struct blob elf, size_t text_at, u32 flags)
{
	u32 h[] = { MAGIC1, flags, -(MAGIC1 + flags) };
	memcpy(elf.data + text_at, h, sizeof(h));
	return elf;
}

static const char *string_at(const struct test_machine *t, u32 gpa)
{
	return (const char *)ram_ptr(&t->m, gpa, 1);
}

static void check_module(const struct test_machine *t, u64 at, const char *data, const char *string)
{
	u32 start = ram32(t, at), end = ram32(t, at + 4);
	assert_int_equal(start & 0xfff, 0);
	assert_int_equal(end - start, strlen(data));
	assert_memory_equal(t->m.ram + start, data, strlen(data));
	assert_string_equal(string_at(t, ram32(t, at + 8)), string);
}

static void test_info1(void **state)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	_cleanup_blob_ struct blob k = kernel1(make_elf64(true, true), sizeof(struct test_elf), 3);
	_cleanup_test_file_ struct test_file one = write_file("first", 5), two = write_file("second!", 7);
	_cleanup_free_ char *list = NULL, *with_args = NULL;
	assert_true(asprintf(&list, "%s a,,b,%s", one.path, two.path) > 0);
	assert_true(asprintf(&with_args, "%s a,b", one.path) > 0);
	load(t, &k, (struct boot_config){ .initrd = list, .append = "x=1" });
	u32 info = (u32)t->v.r[RBX];
	assert_int_equal(t->v.r[RAX], 0x2badb002);
	assert_int_equal(t->v.rip, TEST_ENTRY);
	assert_true(info < 1 << 20);
	assert_int_equal(ram32(t, info), 0x24d);
	assert_int_equal(ram32(t, info + 4), 0x9fc00 >> 10);
	assert_int_equal(ram32(t, info + 8), (TEST_RAM >> 10) - 1024);
	assert_string_equal(strchr(string_at(t, ram32(t, info + 16)), ' '), " x=1");
	assert_int_equal(ram32(t, info + 20), 2);
	check_module(t, ram32(t, info + 24), "first", with_args);
	check_module(t, ram32(t, info + 24) + 16, "second!", two.path);
	u32 map = ram32(t, info + 48);
	assert_int_equal(ram32(t, info + 44), t->firmware.ranges * 24);
	for (unsigned i = 0; i < t->firmware.ranges; i++, map += 24) {
		assert_int_equal(ram32(t, map), 20);
		assert_int_equal(ram32(t, map + 4), t->firmware.map[i].base);
		assert_int_equal(ram32(t, map + 12), t->firmware.map[i].len);
		assert_int_equal(ram32(t, map + 20), t->firmware.map[i].kind);
	}
	assert_string_equal(string_at(t, ram32(t, info + 64)), "Sextant");
	test_machine_free(t);
}

/* A kernel in the midst of the memory that the loader would use for Linux, which must stay as loaded. */
static void test_low_kernel(void **state)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	_cleanup_blob_ struct blob k = kernel1(make_elf64(false, false), sizeof(struct test_elf), 0);
	struct test_elf *e = (struct test_elf *)k.data;
	e->p[0].p_paddr = e->h.e_entry = 0x8000;
	e->p[1].p_paddr = 0x9e000;
	e->p[1].p_memsz = 0x1c00; /* up to the EBDA */
	load(t, &k, (struct boot_config){ 0 });
	assert_true(t->v.r[RBX] < 0x9e000 && t->v.r[RBX] >= 0x8000 + TEST_TEXT);
	assert_memory_equal(t->m.ram + 0x8000 + 0x100, k.data + sizeof(*e) + 0x100, TEST_TEXT - 0x100);
	assert_int_equal(t->m.ram[0x9fbff], 0);
	test_machine_free(t);
}

struct addresses {
	u32 header, load, load_end, bss_end, entry;
};

/* No ELF file: 64 bytes, the header at 16 with addresses, then bytes. */
static struct blob raw_kernel(struct addresses a)
{
	struct blob b = { 0 };
	u32 h[] = { MAGIC1, 0x10000, -(MAGIC1 + 0x10000), a.header, a.load, a.load_end, a.bss_end, a.entry };
	for (unsigned i = 0; i < 256; i++)
		blob_add(&b, &(u8){ text_byte(i) }, 1);
	memcpy(b.data + 16, h, sizeof(h));
	return b;
}

static void test_addresses(void **state)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	_cleanup_blob_ struct blob k =
		raw_kernel((struct addresses){ 0x200008, 0x200000, 0x200080, 0x200100, 0x200040 });
	load(t, &k, (struct boot_config){ 0 });
	assert_int_equal(t->v.rip, 0x200040);
	assert_memory_equal(t->m.ram + 0x200000, k.data + 8, 0x80);
	for (unsigned i = 0x80; i < 0x100; i++)
		assert_int_equal(t->m.ram[0x200000 + i], 0);
	assert_int_equal(t->m.ram[0x200100], 0xa5);
	test_machine_free(t);
	t = test_machine_new(TEST_RAM);
	_cleanup_blob_ struct blob all = raw_kernel((struct addresses){ 0x200010, 0x200000, 0, 0, 0x200040 });
	load(t, &all, (struct boot_config){ 0 });
	assert_memory_equal(t->m.ram + 0x200000, all.data, 256);
	test_machine_free(t);
}

static void test_bad1(void **state)
{
#define BAD(text, ...)                                                                        \
	do {                                                                                  \
		_cleanup_blob_ struct blob b = raw_kernel((struct addresses){ __VA_ARGS__ }); \
		expect(&b, (struct boot_config){ 0 }, text);                                  \
	} while (0)
	BAD("puts its beginning", 0x1ffff8, 0x200000, 0, 0, 0x200000);
	BAD("puts its beginning", 0x200020, 0x200000, 0, 0, 0x200000);
	BAD("ends its data before", 0x200010, 0x200000, 0x1000, 0, 0x200000);
	BAD("truncated", 0x200010, 0x200000, 0x300000, 0, 0x200000);
	BAD("ends its bss before", 0x200010, 0x200000, 0x200080, 0x200010, 0x200000);
	BAD("lies outside", 0x200010, 0x200000, 0, 0, 0x1000);
	BAD("lies outside", 0x200010, 0x200000, 0, 0, 0xfffffff0);
	BAD("does not have", 0xf0000010, 0xf0000000, 0, 0, 0xf0000000);
	BAD("does not have", 0x200010, 0x200000, 0, 0xffffffff, 0x200000);
#undef BAD
	_cleanup_blob_ struct blob odd = kernel1(make_elf64(false, false), sizeof(struct test_elf), 0x8000);
	expect(&odd, (struct boot_config){ 0 }, "wants what is unknown");
	_cleanup_blob_ struct blob k = kernel1(make_elf64(false, false), sizeof(struct test_elf), 0);
	expect(&k, (struct boot_config){ .initrd = "/nonexistent a" }, "module /nonexistent: No such file");
	expect(&k, (struct boot_config){ .initrd = "/dev/zero" }, "larger than 64 MiB");
	expect(&k, (struct boot_config){ .rootfs = "/" }, "--rootfs needs Linux");
}

struct tag_list {
	u32 words[32];
	unsigned n;
};

/* An ELF file whose text begins with a header of version 2 that has these words as tags, and an end. */
static struct blob kernel2(struct tag_list tags)
{
	u32 length = 16 + 4 * tags.n + 8;
	u32 h[4] = { MAGIC2, 0, length, -(MAGIC2 + length) }, end[2] = { 0, 8 };
	struct blob b = make_elf64(false, true);
	u8 *at = b.data + ((sizeof(struct test_elf) + 7) & ~7ul);
	memcpy(at, h, sizeof(h));
	memcpy(at + 16, tags.words, 4 * tags.n);
	memcpy(at + 16 + 4 * tags.n, end, sizeof(end));
	return b;
}

static u32 find_tag(const struct test_machine *t, u32 type, unsigned nth)
{
	u32 info = (u32)t->v.r[RBX], total = ram32(t, info);
	for (u32 at = info + 8; at < info + total; at += (ram32(t, at + 4) + 7) & ~7u)
		if (ram32(t, at) == type && !nth--)
			return at;
	fail_msg("no tag %u", type);
	return 0;
}

static void test_info2(void **state)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	_cleanup_blob_ struct blob k = kernel2((struct tag_list){ { 1, 20, 6, 4, 14, 0 /* padding */, 6, 8 }, 8 });
	_cleanup_test_file_ struct test_file one = write_file("first", 5), two = write_file("second!", 7);
	_cleanup_free_ char *list = NULL;
	assert_true(asprintf(&list, "%s,%s words", one.path, two.path) > 0);
	load(t, &k, (struct boot_config){ .initrd = list, .append = "y" });
	assert_int_equal(t->v.r[RAX], 0x36d76289);
	assert_int_equal(t->v.r[RBX] & 7, 0);
	assert_string_equal(strchr(string_at(t, find_tag(t, 1, 0) + 8), ' '), " y");
	assert_string_equal(string_at(t, find_tag(t, 2, 0) + 8), "Sextant");
	u32 m = find_tag(t, 3, 1);
	assert_memory_equal(t->m.ram + ram32(t, m + 8), "second!", 7);
	assert_string_equal(strchr(string_at(t, m + 16), ' '), " words");
	assert_int_equal(ram32(t, find_tag(t, 4, 0) + 12), (TEST_RAM >> 10) - 1024);
	u32 map = find_tag(t, 6, 0);
	assert_int_equal(ram32(t, map + 8), 24);
	assert_int_equal(ram32(t, map + 4), 16 + 24 * t->firmware.ranges);
	assert_int_equal(ram32(t, map + 16 + 24 * 3), 1 << 20);
	assert_memory_equal(t->m.ram + find_tag(t, 14, 0) + 8, "RSD PTR ", 8);
	assert_int_equal(ram32(t, find_tag(t, 15, 0) + 4), 8 + 36);
	assert_int_equal(ram32(t, find_tag(t, 0, 0) + 4), 8);
	test_machine_free(t);
}

static void test_bad2(void **state)
{
#define BAD(text, ...)                                       \
	do {                                                 \
		u32 w[] = { __VA_ARGS__ };                   \
		struct tag_list l = { .n = ARRAY_SIZE(w) };  \
		memcpy(l.words, w, sizeof(w));               \
		_cleanup_blob_ struct blob b = kernel2(l);   \
		expect(&b, (struct boot_config){ 0 }, text); \
	} while (0)
	BAD("unknown tag, 77", 77, 8);
	BAD("information of type 5", 1, 12, 5, 0);
	BAD("demands a framebuffer", 5, 20, 0, 0, 0, 0);
	BAD("demands a screen", 4, 12, 1, 0);
	BAD("has 4 bytes", 6, 4);
	BAD("has 4294967295 bytes", 6, ~0u);
	BAD("has 16 bytes", 2, 16, 0, 0);
	BAD("no entry", 2, 24, 0, 0, 0, 0);
#undef BAD
	struct test_machine *t = test_machine_new(TEST_RAM);
	_cleanup_blob_ struct blob optional = kernel2((struct tag_list){ { 77 | 1 << 16, 8, 5 | 1 << 16, 8 }, 4 });
	load(t, &optional, (struct boot_config){ 0 });
	test_machine_free(t);
}

/* Random damage to the headers: an error or a load, never more. */
static void test_damage(void **state)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	u64 seed = 20261127;
	for (unsigned i = 0; i < 100; i++) {
		struct blob b = i & 1 ? kernel2((struct tag_list){
						{ 2, 24, 0x200010, 0x200000, 0, 0, 3, 12, 0x200000, 0 }, 10 })
				      : raw_kernel((struct addresses){ 0x200010, 0x200000, 0, 0, 0x200000 });
		struct error err;
		size_t first = i & 1 ? sizeof(struct test_elf) + 32 : 28; /* past what the checksum covers */
		for (unsigned n = 0; n < 3; n++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			u32 bad = seed >> 60 & 1 ? (u32)(seed >> 20) : (u32)(seed >> 61) - 3;
			memcpy(b.data + first + 4 * (seed >> 40 & 7), &bad, 4);
		}
		int r = try_load(t, &b, (struct boot_config){ 0 }, &err);
		assert_true(r == 0 || err.text[0]);
		blob_free(&b);
	}
	test_machine_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_info1),  cmocka_unit_test(test_low_kernel), cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_bad1),   cmocka_unit_test(test_info2),	  cmocka_unit_test(test_bad2),
		cmocka_unit_test(test_damage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
