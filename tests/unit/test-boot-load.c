/* SPDX-License-Identifier: Apache-2.0 */
/* Good kernels: what is in RAM and in vCPU 0's registers after each way of loading and entering one. */
#include "boot-files.h"

#define ZERO_PAGE 0x7000

static void check_segments(const struct test_machine *t)
{
	const u8 *text = t->m.ram + TEST_LOAD;
	for (u32 i = 0; i < TEST_TEXT; i++)
		if (i < 0x1000 || i >= 0x1000 + sizeof(BANNER))
			assert_int_equal(text[i], text_byte(i));
	const u8 *data = text + 0x200000;
	assert_memory_equal(data, "0123456789abcdef", 16);
	for (u32 i = 16; i < 16 + TEST_BSS; i++)
		assert_int_equal(data[i], 0);
}

/* Follows the tables that CR3 points at, as the CPU would, for a large page. */
static u64 translate(const struct test_machine *t, u64 gla)
{
	u64 table = t->v.cr3;
	for (int shift = 39; shift >= 21; shift -= 9) {
		u64 e = *(const u64 *)(t->m.ram + table + (gla >> shift & 511) * 8);
		assert_int_equal(e & (PTE_P | PTE_W), PTE_P | PTE_W);
		if (e & PTE_PS)
			return (e & ~0x1fffffull) | (gla & 0x1fffff);
		table = e & PAGE_MASK;
	}
	fail();
	return 0;
}

/* The descriptor in RAM must say what the hidden part says. */
static void check_descriptor(const struct test_machine *t, const struct segment *s)
{
	assert_true(s->selector + 7u <= t->v.gdtr.limit);
	u64 d = *(const u64 *)(t->m.ram + t->v.gdtr.base + s->selector);
	assert_int_equal(d >> 40 & 0xf0ff, s->ar);
	assert_int_equal(d & 0xffff, s->limit & 0xffff);
}

static void check_long_entry(const struct test_machine *t)
{
	const struct vcpu *v = &t->v;
	assert_int_equal(v->rip, TEST_ENTRY);
	assert_int_equal(v->r[RSI], ZERO_PAGE);
	assert_int_equal(v->rflags & FL_IF, 0);
	assert_int_equal(v->mode, MODE_LONG);
	assert_int_equal(v->cr0 & (CR0_PE | CR0_PG), CR0_PE | CR0_PG);
	assert_int_equal(v->cr4, CR4_PAE);
	assert_int_equal(v->efer, EFER_LME | EFER_LMA);
	assert_int_equal(v->seg[SEG_CS].selector, 0x10);
	assert_int_equal(v->seg[SEG_CS].ar & (AR_L | AR_DB), AR_L);
	assert_int_equal(v->seg[SEG_DS].selector, 0x18);
	for (int s = 0; s < NR_SEG; s++)
		check_descriptor(t, &v->seg[s]);
	check_descriptor(t, &v->tr);
	for (u64 a = 0; a < 1ull << 32; a += 0x1ff000)
		assert_int_equal(translate(t, a), a);
}

static void check_zero_page(const struct test_machine *t, const char *cmdline)
{
	const u8 *z = t->m.ram + ZERO_PAGE;
	assert_memory_equal(z + 0x202, "HdrS", 4);
	assert_int_equal(z[0x1ef], 0); /* sentinel */
	assert_int_equal(z[0x210], 0xff);
	assert_int_equal(z[0x211], 1); /* loaded high, no KASLR */
	assert_int_equal(*(const u64_una *)(z + 0x70), t->firmware.rsdp);
	assert_int_equal(z[0x1e8], t->firmware.ranges);
	for (unsigned i = 0; i < t->firmware.ranges; i++) {
		assert_int_equal(*(const u64_una *)(z + 0x2d0 + i * 20), t->firmware.map[i].base);
		assert_int_equal(*(const u64_una *)(z + 0x2d0 + i * 20 + 8), t->firmware.map[i].len);
		assert_int_equal(*(const u32_una *)(z + 0x2d0 + i * 20 + 16), t->firmware.map[i].kind);
	}
	assert_string_equal(t->m.ram + *(const u32_una *)(z + 0x228), cmdline);
}

static void load(struct test_machine *t, const struct blob *kernel, struct boot_config c)
{
	_cleanup_test_file_ struct test_file f = write_file(kernel->data, kernel->len);
	struct error err = { 0 };
	memset(t->m.ram, 0xa5, t->m.low_size); /* nothing may rely on zeroed RAM */
	c.kernel = f.path;
	c.firmware = &t->firmware;
	if (boot_load(&t->m, &c, &err))
		fail_msg("%s", err.text);
}

static void test_bzimage(void **state)
{
	_cleanup_blob_ struct blob elf = make_elf64(false, false);
	for (unsigned i = 0; i < ARRAY_SIZE(packers); i++) {
		struct test_machine *t = test_machine_new(TEST_RAM);
		_cleanup_blob_ struct blob payload = packers[i].pack(&elf);
		_cleanup_blob_ struct blob image = make_bzimage(&payload);
		print_message("%s\n", packers[i].name);
		load(t, &image, (struct boot_config){ .append = "a=b c" });
		check_segments(t);
		check_long_entry(t);
		check_zero_page(t, "console=ttyS0 a=b c");
		assert_int_equal(*(u32_una *)(t->m.ram + ZERO_PAGE + 0x260), 0x400000); /* the kernel's own header */
		test_machine_free(t);
	}
}

/* What vmlinux.bin has behind the ELF file (relocations) does no harm; lz4 frames have several blocks when it is large. */
static void test_large_payload(void **state)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	_cleanup_blob_ struct blob elf = make_elf64(false, false);
	size_t len = elf.len;
	elf.data = realloc(elf.data, 17 << 20);
	elf.len = 17 << 20;
	for (size_t i = len; i < elf.len; i++)
		elf.data[i] = (u8)(i >> 3);
	_cleanup_blob_ struct blob payload = pack_lz4(&elf);
	_cleanup_blob_ struct blob image = make_bzimage(&payload);
	load(t, &image, (struct boot_config){ 0 });
	check_segments(t);
	check_zero_page(t, "console=ttyS0");
	test_machine_free(t);
}

static void test_vmlinux(void **state)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	_cleanup_blob_ struct blob elf = make_elf64(true, true);
	load(t, &elf, (struct boot_config){ .append = "console=tty1" });
	check_segments(t);
	check_long_entry(t);
	check_zero_page(t, "console=tty1");
	test_machine_free(t);
}

static void test_linux32(void **state)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	_cleanup_blob_ struct blob elf = make_elf32();
	load(t, &elf, (struct boot_config){ 0 });
	assert_int_equal(t->v.mode, MODE_PROTECTED);
	assert_int_equal(t->v.rip, TEST_ENTRY);
	assert_int_equal(t->v.r[RSI], ZERO_PAGE);
	assert_int_equal(t->v.cr0 & (CR0_PE | CR0_PG), CR0_PE);
	assert_int_equal(t->v.seg[SEG_CS].ar & (AR_L | AR_DB), AR_DB);
	assert_int_equal(t->m.ram[TEST_LOAD + 0x1ff], 0);
	test_machine_free(t);
}

static void test_pvh(void **state)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	_cleanup_blob_ struct blob elf = make_elf64(false, true);
	_cleanup_test_file_ struct test_file initrd = write_file("initrd!", 7);
	load(t, &elf, (struct boot_config){ .initrd = initrd.path, .append = "x" });
	assert_int_equal(t->v.mode, MODE_PROTECTED);
	assert_int_equal(t->v.rip, TEST_PVH);
	assert_int_equal(t->v.cr0, CR0_PE | CR0_ET);
	assert_int_equal(t->v.cr4, 0);
	assert_int_equal(t->v.efer, 0);
	const u8 *info = t->m.ram + t->v.r[RBX];
	assert_int_equal(*(const u32_una *)info, 0x336ec578);
	assert_int_equal(*(const u32_una *)(info + 4), 1);
	assert_int_equal(*(const u32_una *)(info + 12), 1); /* modules */
	const u8 *module = t->m.ram + *(const u64_una *)(info + 16);
	assert_memory_equal(t->m.ram + *(const u64_una *)module, "initrd!", *(const u64_una *)(module + 8));
	assert_string_equal(t->m.ram + *(const u64_una *)(info + 24), "console=ttyS0 x");
	assert_int_equal(*(const u64_una *)(info + 32), t->firmware.rsdp);
	const u8 *map = t->m.ram + *(const u64_una *)(info + 40);
	assert_int_equal(*(const u32_una *)(info + 48), t->firmware.ranges);
	assert_int_equal(*(const u64_una *)(map + 3 * 24), 1 << 20);
	assert_int_equal(*(const u32_una *)(map + 3 * 24 + 16), MEM_RAM);
	test_machine_free(t);
}

/* Where there is no room above the kernel there may be below. */
static void test_initrd_below(void **state)
{
	struct test_machine *t = test_machine_new(20 << 20);
	_cleanup_blob_ struct blob elf = make_elf64(true, false);
	_cleanup_free_ u8 *data = malloc(8 << 20);
	memset(data, 0x3c, 8 << 20);
	_cleanup_test_file_ struct test_file initrd = write_file(data, 8 << 20);
	load(t, &elf, (struct boot_config){ .initrd = initrd.path });
	assert_int_equal(*(const u32_una *)(t->m.ram + ZERO_PAGE + 0x218), TEST_LOAD - (8 << 20));
	check_segments(t);
	test_machine_free(t);
}

/* As high as it may, on a page, inside RAM, below what the kernel's header allows. */
static void test_initrd(void **state)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	_cleanup_blob_ struct blob elf = make_elf64(false, false);
	_cleanup_blob_ struct blob payload = pack_zstd(&elf);
	_cleanup_blob_ struct blob image = make_bzimage(&payload);
	_cleanup_free_ u8 *data = malloc(100001);
	memset(data, 0x3c, 100001);
	_cleanup_test_file_ struct test_file initrd = write_file(data, 100001);
	load(t, &image, (struct boot_config){ .initrd = initrd.path });
	const u8 *z = t->m.ram + ZERO_PAGE;
	u32 at = *(const u32_una *)(z + 0x218);
	assert_int_equal(*(const u32_una *)(z + 0x21c), 100001);
	assert_int_equal(at, (TEST_RAM - 100001) & PAGE_MASK);
	assert_memory_equal(t->m.ram + at, data, 100001);

	*(u32_una *)(image.data + 0x22c) = 0x2ffffff; /* 48 MiB - 1 */
	load(t, &image, (struct boot_config){ .initrd = initrd.path });
	assert_int_equal(*(const u32_una *)(z + 0x218), (0x3000000 - 100001) & PAGE_MASK);
	test_machine_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bzimage),	     cmocka_unit_test(test_large_payload),
		cmocka_unit_test(test_vmlinux),	     cmocka_unit_test(test_linux32),
		cmocka_unit_test(test_pvh),	     cmocka_unit_test(test_initrd),
		cmocka_unit_test(test_initrd_below),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
