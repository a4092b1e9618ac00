/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad kernels: each defect is an error that names the file and says what is wrong, and random damage is never more than an
 * error. SEXTANT_FUZZ=N sets the number of damaged files, SEXTANT_SEED where their sequence starts.
 */
#include "boot-files.h"

#include <fcntl.h>
#include <sys/stat.h>

static void expect_in(struct test_machine *t, const char *path, const char *text, struct boot_config c)
{
	struct error err = { 0 };
	c.kernel = path;
	c.firmware = &t->firmware;
	int r = boot_load(&t->m, &c, &err);
	if (r >= 0 || err.code != r || !strstr(err.text, text) || strchr(err.text, '\n'))
		fail_msg("wanted \"%s\", got %d \"%s\"", text, r, err.text);
}

static void expect(const struct blob *kernel, const char *text)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	_cleanup_test_file_ struct test_file f = write_file(kernel->data, kernel->len);
	expect_in(t, f.path, text, (struct boot_config){ 0 });
	expect_in(t, f.path, f.path, (struct boot_config){ 0 });
	test_machine_free(t);
}

static void test_files(void **state)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	expect_in(t, "/nonexistent/kernel", "kernel /nonexistent/kernel: No such file", (struct boot_config){ 0 });
	expect_in(t, "/", "is a directory", (struct boot_config){ 0 });
	expect_in(t, "/dev/null", "is empty", (struct boot_config){ 0 });
	test_machine_free(t);
	expect(&(struct blob){ (u8 *)"#!/bin/sh\n", 10 }, "neither a Linux boot image");
	expect(&(struct blob){ (u8 *)"\177ELF", 4 }, "truncated within the ELF header");
}

static void test_bzimage(void **state)
{
	_cleanup_blob_ struct blob elf = make_elf64(false, false);
	_cleanup_blob_ struct blob payload = pack_gzip(&elf);
	_cleanup_blob_ struct blob good = make_bzimage(&payload);
#define BROKEN(set, text)                          \
	do {                                       \
		struct blob b = { 0 };             \
		blob_add(&b, good.data, good.len); \
		set;                               \
		expect(&b, text);                  \
		blob_free(&b);                     \
	} while (0)
	BROKEN(b.len = 0x220, "truncated within the boot header");
	BROKEN(b.len = 0x400, "truncated: 1024 bytes");
	BROKEN(b.len -= 1, "truncated: ");
	BROKEN(*(u16_una *)(b.data + 0x206) = 0x0207, "too old");
	BROKEN(b.data[0x211] = 0, "zImage");
	BROKEN(b.data[0x201] = 0xff, "absurd length");
	BROKEN(b.data[0x201] = 0, "absurd length");
	BROKEN(*(u32_una *)(b.data + 0x24c) = 0, "no compressed kernel");
	BROKEN(*(u32_una *)(b.data + 0x24c) = ~0u, "truncated: ");
	BROKEN(*(u32_una *)(b.data + 0x248) = ~0u, "truncated: ");
	BROKEN(*(u32_una *)(b.data + 0x24c) = 3, "too short");
	BROKEN(b.data[0x410] = 0, "no compression that is known");
	BROKEN(memcpy(b.data + 0x410, "BZh", 3), "compressed with bzip2");
	BROKEN(*(u32_una *)(b.data + b.len - 4) = ~0u, "unpacks to 4095 MiB, more than the 64 MiB");
	BROKEN(*(u32_una *)(b.data + b.len - 4) = 0, "claims to be empty");
#undef BROKEN
}

static void test_payload(void **state)
{
	_cleanup_blob_ struct blob elf = make_elf64(false, false);
	for (unsigned i = 0; i < ARRAY_SIZE(packers); i++) {
		char text[64];
		snprintf(text, sizeof(text), "corrupt: its %s payload does not unpack", packers[i].name);
		for (int how = 0; how < 4; how++) {
			_cleanup_blob_ struct blob payload = packers[i].pack(&elf);
			u32_una *size = (u32_una *)(payload.data + payload.len - 4);
			switch (how) {
			case 0: memset(payload.data + payload.len / 2, 0x55, payload.len / 4); break;
			case 1: *size -= 1; break;
			case 2: *size += 1; break;
			case 3: /* half of it, with a size that is plausible */
				*(u32_una *)(payload.data + payload.len / 2) = *size;
				payload.len = payload.len / 2 + 4;
				break;
			}
			_cleanup_blob_ struct blob image = make_bzimage(&payload);
			expect(&image, text);
		}
		_cleanup_blob_ struct blob other = packers[i].pack(&(struct blob){ (u8 *)"not a kernel", 12 });
		_cleanup_blob_ struct blob image = make_bzimage(&other);
		expect(&image, "not an ELF file");
	}
}

static void test_elf(void **state)
{
	_cleanup_blob_ struct blob good = make_elf64(true, true);
#define BROKEN(set, text)                                       \
	do {                                                    \
		struct blob b = { 0 };                          \
		blob_add(&b, good.data, good.len);              \
		struct test_elf *e = (struct test_elf *)b.data; \
		set;                                            \
		expect(&b, text);                               \
		blob_free(&b);                                  \
	} while (0)
	BROKEN(e->h.e_ident[EI_CLASS] = 9, "not for x86");
	BROKEN(e->h.e_ident[EI_DATA] = ELFDATA2MSB, "not for x86");
	BROKEN(e->h.e_machine = EM_AARCH64, "not for x86");
	BROKEN(e->h.e_type = ET_REL, "not an executable");
	BROKEN(e->h.e_phentsize = 1, "program headers of 1 bytes");
	BROKEN(e->h.e_phnum = 0xffff, "65535 ELF program headers");
	BROKEN(e->h.e_phnum = 0, "0 ELF program headers");
	BROKEN(e->h.e_phoff = ~0ull, "program headers lie beyond");
	BROKEN(e->h.e_phoff = b.len - 8, "program headers lie beyond");
	BROKEN(e->p[0].p_filesz = ~0ull, "larger in the file than in memory");
	BROKEN(e->p[0].p_filesz = e->p[0].p_memsz = 1 << 30, "truncated: an ELF segment");
	BROKEN(e->p[0].p_offset = ~0ull - 0x100, "truncated: an ELF segment");
	BROKEN(e->p[0].p_paddr = ~0ull - 0x1000, "wraps around");
	BROKEN(e->p[0].p_memsz = ~0ull - TEST_LOAD + 1, "wraps around");
	BROKEN(e->p[1].p_paddr = TEST_LOAD + 0x1000, "segments overlap");
	BROKEN(e->p[1].p_paddr = 1ull << 40, "does not have");
	BROKEN(e->p[1].p_memsz = 1ull << 36, "does not have");
	BROKEN(e->p[1].p_paddr = 0xe0000, "does not have");
	BROKEN(e->p[1].p_paddr = 0x7000, "which the loader needs");
	BROKEN((e->p[0].p_type = PT_NULL, e->p[1].p_type = PT_NULL), "no ELF segment to load");
	BROKEN((e->h.e_entry = 4, e->p[2].p_type = PT_NULL), "lies in no segment");
	BROKEN(e->p[0].p_memsz = e->p[0].p_filesz = 0, "");
#undef BROKEN
	_cleanup_blob_ struct blob plain = make_elf64(false, false);
	expect(&plain, "neither Linux nor has a PVH entry note");
	_cleanup_blob_ struct blob note = make_elf64(false, true);
	*(u64_una *)(note.data + note.len - 8) = 0x7000;
	expect(&note, "its entry 0x7000 lies outside");
}

static void test_memory(void **state)
{
	_cleanup_blob_ struct blob elf = make_elf64(true, true);
	_cleanup_test_file_ struct test_file f = write_file(elf.data, elf.len);
	_cleanup_free_ u8 *zeros = calloc(1, 50 << 20);
	_cleanup_test_file_ struct test_file initrd = write_file(zeros, 50 << 20);
	struct test_machine *t = test_machine_new(8 << 20);
	expect_in(t, f.path, "a machine with 8 MiB does not have; try a larger --mem", (struct boot_config){ 0 });
	test_machine_free(t);
	t = test_machine_new(64 << 10);
	t->firmware.ranges = 1;
	t->firmware.map[0].len = 64 << 10;
	expect_in(t, f.path, "too small to load a kernel", (struct boot_config){ 0 });
	test_machine_free(t);
	t = test_machine_new(TEST_RAM);
	expect_in(t, f.path, "50 MiB of initial file system do not fit into 64 MiB",
		  (struct boot_config){ .initrd = initrd.path });
	expect_in(t, f.path, "initrd /nonexistent: No such file", (struct boot_config){ .initrd = "/nonexistent" });
	expect_in(t, f.path, "initrd /dev/null: is empty", (struct boot_config){ .initrd = "/dev/null" });
	expect_in(t, f.path, "initrd /dev/zero: larger than 64 MiB", (struct boot_config){ .initrd = "/dev/zero" });
	_cleanup_free_ char *words = malloc(5000);
	memset(words, 'w', 4999);
	words[4999] = 0;
	expect_in(t, f.path, "the command line has 5013 bytes, the kernel takes 2047",
		  (struct boot_config){ .append = words });
	t->model.feature[FEAT_LM / 64] &= ~BIT(FEAT_LM % 64);
	expect_in(t, f.path, "no long mode", (struct boot_config){ 0 });
	test_machine_free(t);
}

static u64 next_random(u64 *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Damage where it hurts: mostly in the headers, with values that are small, huge or just off. */
static void damage(struct blob *b, size_t headers, u64 *seed)
{
	for (u64 n = 1 + next_random(seed) % 4; n; n--) {
		u64 r = next_random(seed);
		size_t at = (r & 3 ? r >> 8 & 0xffffff : r >> 8) % (r & 3 ? headers : b->len);
		size_t size = MIN((size_t)1 << (r >> 2 & 3), b->len - at);
		static const u64 values[] = { 0,	  1,	  ~0ull,     0x7fffffffffffffff, 0x8000000000000000,
					      0xffffffff, 0x1000, 0xfffff000 };
		u64 v = r >> 4 & 1 ? values[r >> 5 & 7] : next_random(seed);
		memcpy(b->data + at, &v, size);
	}
	if (next_random(seed) % 8 == 0)
		b->len = next_random(seed) % (b->len + 1);
}

static void fuzz(const struct blob *good, size_t headers, u64 *seed, unsigned n)
{
	struct test_machine *t = test_machine_new(TEST_RAM);
	for (unsigned i = 0; i < n; i++) {
		struct blob b = { 0 };
		blob_add(&b, good->data, good->len);
		damage(&b, headers, seed);
		_cleanup_test_file_ struct test_file f = write_file(b.data, b.len);
		struct error err = { 0 };
		struct boot_config c = { .kernel = f.path, .firmware = &t->firmware };
		int r = boot_load(&t->m, &c, &err);
		assert_int_equal(r, err.code);
		assert_true(r == 0 || err.text[0]);
		blob_free(&b);
	}
	test_machine_free(t);
}

static void test_damage(void **state)
{
	u64 seed = getenv("SEXTANT_SEED") ? strtoull(getenv("SEXTANT_SEED"), NULL, 0) : 20261122;
	unsigned n = getenv("SEXTANT_FUZZ") ? (unsigned)strtoul(getenv("SEXTANT_FUZZ"), NULL, 0) : 700;
	_cleanup_blob_ struct blob elf = make_elf64(true, true), elf32 = make_elf32();
	fuzz(&elf, sizeof(struct test_elf), &seed, n / 7);
	fuzz(&elf32, sizeof(Elf32_Ehdr) + sizeof(Elf32_Phdr), &seed, n / 7);
	for (unsigned i = 0; i < ARRAY_SIZE(packers); i++) {
		_cleanup_blob_ struct blob payload = packers[i].pack(&elf);
		_cleanup_blob_ struct blob image = make_bzimage(&payload);
		fuzz(&image, image.len, &seed, n / 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files), cmocka_unit_test(test_bzimage), cmocka_unit_test(test_payload),
		cmocka_unit_test(test_elf),   cmocka_unit_test(test_memory),  cmocka_unit_test(test_damage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
