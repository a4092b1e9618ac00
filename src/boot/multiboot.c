/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multiboot 1 (Multiboot Specification 0.6.96): header, information, entry; and what both versions share.
 *
 * The information lies in one block at the top of low memory, where kernels expect a boot loader's leftovers. A header that
 * wants a video mode (flag 2) is taken: it is a preference, and the information says that there is no such mode.
 */
#include "boot/multiboot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

#define SEARCH	     8192
#define HEADER_MAGIC 0x1badb002u
#define LOADER_MAGIC 0x2badb002u

#define WANTS_KNOWN	0x0007u /* page-aligned modules, memory, video */
#define WANTS_MANDATORY 0xffffu
#define HAS_ADDRESSES	0x10000u

/* multiboot_info.flags, 3.3 */
#define INFO_MEMORY	 0x001u
#define INFO_CMDLINE	 0x004u
#define INFO_MODULES	 0x008u
#define INFO_MAP	 0x040u
#define INFO_LOADER_NAME 0x200u

struct info {
	u32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr,
		drives_length, drives_addr, config_table, boot_loader_name, apm_table;
};
struct info_module {
	u32 start, end, string, reserved;
};
struct info_range {
	u32 size; /* of what follows */
	u64 base, len;
	u32 kind;
} __attribute__((packed));
struct info_block {
	struct info info;
	struct info_module module[PLACE_MAX_MODULES];
	struct info_range map[FIRMWARE_MAX_RANGES];
	char loader_name[sizeof(BOOT_LOADER_NAME)];
	char strings[]; /* the command line, then the modules' */
};

static u32 get32(const struct blob *f, size_t at)
{
	return *(const u32_una *)(f->data + at);
}

static int find_header(struct multiboot *mb, const struct blob *file, struct error *err)
{
	for (size_t at = 0; at + 12 <= MIN(file->len, (size_t)SEARCH); at += 4) {
		u32 flags = get32(file, at + 4);
		if (get32(file, at) != HEADER_MAGIC || HEADER_MAGIC + flags + get32(file, at + 8))
			continue;
		if (flags & WANTS_MANDATORY & ~WANTS_KNOWN)
			return error_set(err, ENOTSUP, "its multiboot header wants what is unknown: flags %#x", flags);
		*mb = (struct multiboot){ .version = 1, .header = at };
		if (!(flags & HAS_ADDRESSES))
			return 0;
		if (at + 32 > file->len)
			return error_set(err, EINVAL, "truncated within the multiboot header");
		mb->has_addresses = mb->has_entry = true;
		mb->header_addr = get32(file, at + 12);
		mb->load_addr = get32(file, at + 16);
		mb->load_end = get32(file, at + 20);
		mb->bss_end = get32(file, at + 24);
		mb->entry = get32(file, at + 28);
		return 0;
	}
	return 0;
}

int multiboot_find(struct multiboot *mb, const struct blob *file, struct error *err)
{
	*mb = (struct multiboot){ 0 };
	int r = multiboot2_find(mb, file, err);
	return r || mb->version ? r : find_header(mb, file, err);
}

/* The file's part that the header's addresses name, as one segment. */
static int image_by_addresses(const struct multiboot *mb, struct elf_image *e, const struct blob *file,
			      struct error *err)
{
	u64 before = (u64)mb->header_addr - mb->load_addr, end;
	if (mb->header_addr < mb->load_addr || before > mb->header)
		return error_set(err, EINVAL,
				 "corrupt: its multiboot header puts its beginning at %#x and itself at %#x",
				 mb->load_addr, mb->header_addr);
	u64 at = mb->header - before, len = file->len - at;
	if (mb->load_end) {
		if (mb->load_end < mb->load_addr)
			return error_set(err, EINVAL, "corrupt: its multiboot header ends its data before they begin");
		len = mb->load_end - mb->load_addr;
	}
	if (len > file->len - at)
		return error_set(err, EINVAL, "truncated: its multiboot header wants %llu bytes, there are %llu",
				 (unsigned long long)len, (unsigned long long)(file->len - at));
	end = mb->bss_end ? mb->bss_end : mb->load_addr + len;
	if (end < mb->load_addr + len)
		return error_set(err, EINVAL, "corrupt: its multiboot header ends its bss before its data");
	e->seg[0] = (struct elf_segment){ .gpa = mb->load_addr,
					  .gla = mb->load_addr,
					  .mem_len = end - mb->load_addr,
					  .data = file->data + at,
					  .file_len = len };
	e->segs = 1;
	e->first = mb->load_addr;
	e->end = end;
	return 0;
}

int multiboot_image(const struct multiboot *mb, struct elf_image *e, const struct blob *file, struct error *err)
{
	int r;
	*e = (struct elf_image){ 0 };
	if (mb->has_addresses)
		r = image_by_addresses(mb, e, file, err);
	else if (!elf_probe(file))
		r = error_set(err, ENOEXEC, "has a multiboot header without addresses, but is no ELF file");
	else
		r = elf_parse(e, file, err);
	if (r)
		return r;
	if (mb->has_entry)
		e->entry = mb->entry;
	e->is64 = false; /* whatever its class, it is entered as 32-bit code */
	return 0;
}

/* string: FILE, or FILE ARGS. */
static int load_module(struct placement *p, char *string, struct error *err)
{
	_cleanup_blob_ struct blob file = { 0 };
	if (p->modules == PLACE_MAX_MODULES)
		return error_set(err, E2BIG, "more than %d modules", PLACE_MAX_MODULES);
	char *space = strchr(string, ' ');
	if (space)
		*space = 0;
	int r = blob_read_file(&file, "module", string, p->m->low_size, err);
	if (!r)
		r = place_module(p, &file, err);
	if (r)
		return r;
	if (space)
		*space = ' ';
	struct place_module *m = &p->module[p->modules - 1];
	m->string = strdup(string);
	return m->string ? 0 : error_set(err, ENOMEM, "no memory");
}

int multiboot_modules(struct placement *p, const char *list, struct error *err)
{
	if (!list)
		return 0;
	_cleanup_free_ char *word = malloc(strlen(list) + 1);
	if (!word)
		return error_set(err, ENOMEM, "no memory");
	int r = 0;
	while (!r && *list) {
		size_t n = 0;
		for (; *list; list++) {
			if (*list == ',' && *++list != ',')
				break;
			word[n++] = *list;
		}
		word[n] = 0;
		r = load_module(p, word, err);
	}
	return r;
}

/* KiB of RAM from 0, and from 1 MiB to the first hole. */
void multiboot_memory(const struct placement *p, u32 *lower, u32 *upper)
{
	const struct firmware_info *f = p->firmware;
	*lower = *upper = 0;
	for (unsigned i = 0; i < f->ranges; i++) {
		if (f->map[i].kind != MEM_RAM)
			continue;
		if (f->map[i].base == 0)
			*lower = (u32)(f->map[i].len >> 10);
		if (f->map[i].base == 1 << 20)
			*upper = (u32)(f->map[i].len >> 10);
	}
}

static size_t strings_size(const struct placement *p, const char *cmdline)
{
	size_t n = strlen(cmdline) + 1;
	for (unsigned i = 0; i < p->modules; i++)
		n += strlen(p->module[i].string) + 1;
	return n;
}

static void fill_block(const struct placement *p, struct info_block *b, u32 gpa, const char *cmdline)
{
	char *s = stpcpy(b->strings, cmdline) + 1;
#define AT(what) (gpa + (u32)((const u8 *)(what) - (const u8 *)b))
	b->info = (struct info){ .flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MAP | INFO_LOADER_NAME,
				 .cmdline = AT(b->strings),
				 .mods_count = p->modules,
				 .mods_addr = AT(b->module),
				 .mmap_length = p->firmware->ranges * (u32)sizeof(b->map[0]),
				 .mmap_addr = AT(b->map),
				 .boot_loader_name = AT(b->loader_name) };
	multiboot_memory(p, &b->info.mem_lower, &b->info.mem_upper);
	memcpy(b->loader_name, BOOT_LOADER_NAME, sizeof(BOOT_LOADER_NAME));
	for (unsigned i = 0; i < p->modules; i++) {
		const struct place_module *m = &p->module[i];
		b->module[i] = (struct info_module){ (u32)m->gpa, (u32)(m->gpa + m->len), AT(s), 0 };
		s = stpcpy(s, m->string) + 1;
	}
	for (unsigned i = 0; i < p->firmware->ranges; i++) {
		const struct mem_range *r = &p->firmware->map[i];
		b->map[i] = (struct info_range){ sizeof(b->map[0]) - 4, r->base, r->len, r->kind };
	}
#undef AT
}

int multiboot_enter(struct placement *p, const struct multiboot *mb, const char *cmdline, struct error *err)
{
	if (mb->version == 2)
		return multiboot2_enter(p, mb, cmdline, err);
	u64 gpa;
	u8 *block;
	int r = place_block(p, sizeof(struct info_block) + strings_size(p, cmdline), &gpa, &block, err);
	if (r)
		return r;
	fill_block(p, (struct info_block *)block, (u32)gpa, cmdline);
	entry_set(p, ENTRY_PROTECTED, p->elf->entry);
	p->m->vcpu[0]->r[RAX] = LOADER_MAGIC;
	p->m->vcpu[0]->r[RBX] = gpa;
	return 0;
}
