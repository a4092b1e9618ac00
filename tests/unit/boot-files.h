/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels made for a test: a small ELF file, the same wrapped as a bzImage with a payload of any compression, written to a
 * file of its own; and a machine that is RAM and a vCPU, which is all that src/boot asks for.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include <elf.h>
#undef PF_W /* a segment flag, which x86/bits.h uses for page faults */
#include <lz4.h>
#include <lz4hc.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "boot/boot.h"
#include "boot/unpackers.h"
#include "boot/image.h"
#include "machine/ram.h"
#include "util/cleanup.h"

/* Of these libraries' functions some are sextant's jumps (util/lazy.h), here as well. */
__attribute__((constructor)) static void load_libraries(void)
{
	static const struct lazy_library *const all[] = { &lib_zlib, &lib_lzma, &lib_lz4, &lib_zstd };

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		if (lazy_load(all[i], NULL))
			abort();
}

#define TEST_RAM   (64ull << 20)
#define TEST_LOAD  0x1000000ull /* where the test kernel goes, as Linux */
#define TEST_TEXT  0x21000u /* bytes of its first segment: more than a page table's worth of anything */
#define TEST_ENTRY (TEST_LOAD + 0x40)
#define TEST_BSS   0x3000u
#define TEST_PVH   (TEST_LOAD + 0x80)
#define BANNER	   "Linux version 9.9.9-test "

struct test_machine {
	struct machine m;
	struct vcpu v;
	struct cpu_model model;
	struct firmware_info firmware;
};

static inline struct test_machine *test_machine_new(u64 ram)
{
	struct test_machine *t = calloc(1, sizeof(*t));
	t->m.vcpu[0] = &t->v;
	t->v.machine = &t->m;
	t->model = (struct cpu_model){ .name = "test", .feature = { ~0ull, ~0ull } };
	t->m.config = (struct machine_config){ .ram_size = ram, .cpus = 1, .model = &t->model };
	assert_int_equal(ram_create(&t->m, NULL), 0);
	t->firmware = (struct firmware_info){
		.map = { { 0, 0x9fc00, MEM_RAM },
			 { 0x9fc00, 0x400, MEM_RESERVED },
			 { 0xe0000, 0x20000, MEM_RESERVED } },
		.ranges = 3,
		.rsdp = 0xe0000,
	};
	if (ram > 1 << 20)
		t->firmware.map[t->firmware.ranges++] = (struct mem_range){ 1 << 20, ram - (1 << 20), MEM_RAM };
	return t;
}

static inline void test_machine_free(struct test_machine *t)
{
	ram_destroy(&t->m);
	free(t);
}

static inline void blob_add(struct blob *b, const void *data, size_t len)
{
	b->data = realloc(b->data, b->len + len);
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

struct test_note {
	Elf64_Nhdr h;
	char name[4];
	u64 desc;
};

struct test_elf { /* the file's beginning; the text follows, and then the notes */
	Elf64_Ehdr h;
	Elf64_Phdr p[3];
};

static inline u8 text_byte(u32 i)
{
	return (u8)(i * 7 + (i >> 8));
}

/* Two segments to load: text with the banner, data with a bss; and a PVH note. */
static inline struct blob make_elf64(bool linux_banner, bool pvh_note)
{
	u32 data_at = sizeof(struct test_elf) + TEST_TEXT, note_at = data_at + 16;
	struct test_elf e = {
		.h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
		       .e_type = ET_EXEC,
		       .e_machine = EM_X86_64,
		       .e_version = 1,
		       .e_entry = TEST_ENTRY,
		       .e_phoff = sizeof(Elf64_Ehdr),
		       .e_ehsize = sizeof(Elf64_Ehdr),
		       .e_phentsize = sizeof(Elf64_Phdr),
		       .e_phnum = pvh_note ? 3 : 2 },
		.p = { { .p_type = PT_LOAD,
			 .p_offset = sizeof(e),
			 .p_vaddr = 0xffffffff81000000,
			 .p_paddr = TEST_LOAD,
			 .p_filesz = TEST_TEXT,
			 .p_memsz = TEST_TEXT },
		       { .p_type = PT_LOAD,
			 .p_offset = data_at,
			 .p_vaddr = 0xffffffff81200000,
			 .p_paddr = TEST_LOAD + 0x200000,
			 .p_filesz = 16,
			 .p_memsz = 16 + TEST_BSS },
		       { .p_type = PT_NOTE, .p_offset = note_at, .p_filesz = sizeof(struct test_note), .p_align = 4 } },
	};
	struct test_note n = { { 4, 8, 18 }, "Xen", TEST_PVH };
	struct blob b = { 0 };
	blob_add(&b, &e, sizeof(e));
	for (u32 i = 0; i < TEST_TEXT; i++)
		blob_add(&b, &(u8){ text_byte(i) }, 1);
	if (linux_banner)
		memcpy(b.data + sizeof(e) + 0x1000, BANNER, sizeof(BANNER));
	blob_add(&b, "0123456789abcdef", 16);
	blob_add(&b, &n, sizeof(n));
	return b;
}

static inline struct blob make_elf32(void)
{
	struct {
		Elf32_Ehdr h;
		Elf32_Phdr p;
	} e = {
		.h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, 1 },
		       .e_type = ET_EXEC,
		       .e_machine = EM_386,
		       .e_version = 1,
		       .e_entry = TEST_ENTRY,
		       .e_phoff = sizeof(Elf32_Ehdr),
		       .e_ehsize = sizeof(Elf32_Ehdr),
		       .e_phentsize = sizeof(Elf32_Phdr),
		       .e_phnum = 1 },
		.p = { .p_type = PT_LOAD,
		       .p_offset = sizeof(e),
		       .p_vaddr = 0xc1000000,
		       .p_paddr = TEST_LOAD,
		       .p_filesz = 0x100,
		       .p_memsz = 0x200 },
	};
	struct blob b = { 0 };
	blob_add(&b, &e, sizeof(e));
	for (u32 i = 0; i < 0x100; i++)
		blob_add(&b, &(u8){ text_byte(i) }, 1);
	memcpy(b.data + sizeof(e) + 0x80, BANNER, sizeof(BANNER));
	return b;
}

/* ---- each compression, as the kernel's build applies it ---- */

static inline struct blob pack_gzip(const struct blob *in)
{
	struct blob out = { .data = malloc(in->len + 65536) };
	z_stream z = {
		.next_in = in->data, .avail_in = (uInt)in->len, .next_out = out.data, .avail_out = (uInt)in->len + 65536
	};
	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	out.len = z.total_out;
	deflateEnd(&z);
	return out; /* its size is at the end already */
}

static inline struct blob add_size(struct blob out, size_t size)
{
	u32 n = (u32)size;
	blob_add(&out, &n, sizeof(n));
	return out;
}

/* With the x86 filter that scripts/xz_wrap.sh asks for. */
static inline struct blob pack_xz(const struct blob *in)
{
	struct blob out = { .data = malloc(in->len + 65536) };
	lzma_options_lzma o;
	lzma_lzma_preset(&o, 6);
	lzma_filter f[] = { { LZMA_FILTER_X86, NULL }, { LZMA_FILTER_LZMA2, &o }, { LZMA_VLI_UNKNOWN, NULL } };
	assert_int_equal(lzma_stream_buffer_encode(f, LZMA_CHECK_CRC32, NULL, in->data, in->len, out.data, &out.len,
						   in->len + 65536),
			 LZMA_OK);
	return add_size(out, in->len);
}

static inline struct blob pack_lzma(const struct blob *in)
{
	struct blob out = { .data = malloc(in->len + 65536) };
	lzma_options_lzma o;
	lzma_lzma_preset(&o, 6);
	lzma_stream s = LZMA_STREAM_INIT;
	assert_int_equal(lzma_alone_encoder(&s, &o), LZMA_OK);
	s.next_in = in->data;
	s.avail_in = in->len;
	s.next_out = out.data;
	s.avail_out = in->len + 65536;
	assert_int_equal(lzma_code(&s, LZMA_FINISH), LZMA_STREAM_END);
	out.len = s.total_out;
	lzma_end(&s);
	return add_size(out, in->len);
}

static inline struct blob pack_lz4(const struct blob *in)
{
	struct blob out = { 0 };
	u32 magic = 0x184c2102;
	blob_add(&out, &magic, sizeof(magic));
	for (size_t at = 0; at < in->len; at += 8 << 20) {
		int n = (int)MIN(in->len - at, (size_t)8 << 20), room = LZ4_compressBound(n);
		_cleanup_free_ char *buf = malloc((size_t)room);
		u32 got = (u32)LZ4_compress_HC((const char *)in->data + at, buf, n, room, 9);
		blob_add(&out, &got, sizeof(got));
		blob_add(&out, buf, got);
	}
	return add_size(out, in->len);
}

static inline struct blob pack_zstd(const struct blob *in)
{
	struct blob out = { .data = malloc(in->len + 65536) };
	out.len = ZSTD_compress(out.data, in->len + 65536, in->data, in->len, 19);
	assert_false(ZSTD_isError(out.len));
	return add_size(out, in->len);
}

static const struct packer {
	const char *name;
	struct blob (*pack)(const struct blob *in);
} packers[] = {
	{ "gzip", pack_gzip }, { "xz", pack_xz }, { "lzma", pack_lzma }, { "lz4", pack_lz4 }, { "zstd", pack_zstd }
};

/* A boot image of protocol 2.15 around a payload: one setup sector beside the boot sector. */
static inline struct blob make_bzimage(const struct blob *payload)
{
	u8 head[1024] = { 0 };
	head[0x1f1] = 1;
	*(u16_una *)(head + 0x1fe) = 0xaa55;
	head[0x200] = 0xeb;
	head[0x201] = 0x6a; /* the header ends at 26ch */
	memcpy(head + 0x202, "HdrS", 4);
	*(u16_una *)(head + 0x206) = 0x020f;
	head[0x211] = 1 | 2; /* LOADED_HIGH, and a KASLR flag that must not get through */
	*(u32_una *)(head + 0x22c) = 0x7fffffff;
	*(u16_una *)(head + 0x236) = 1;
	*(u32_una *)(head + 0x238) = 255;
	*(u32_una *)(head + 0x248) = 16; /* payload_offset */
	*(u32_una *)(head + 0x24c) = (u32)payload->len;
	*(u64_una *)(head + 0x258) = TEST_LOAD;
	*(u32_una *)(head + 0x260) = 0x400000;
	struct blob b = { 0 };
	blob_add(&b, head, sizeof(head));
	blob_add(&b, "decompressor....", 16);
	blob_add(&b, payload->data, payload->len);
	return b;
}

struct test_file {
	char path[64];
};
static inline void test_file_remove(struct test_file *f)
{
	if (f->path[0])
		unlink(f->path);
}
#define _cleanup_test_file_ __attribute__((cleanup(test_file_remove)))

static inline struct test_file write_file(const void *data, size_t len)
{
	struct test_file f = { "/tmp/sextant-test-XXXXXX" };
	_cleanup_fd_ int fd = mkstemp(f.path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	return f;
}
