/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multiboot 2 (Multiboot2 Specification 2.0): the header's tags, and the information as tags.
 *
 * A tag that is marked optional may be ignored; one that is not, and that we cannot honour, is an error. Relocatable kernels
 * are loaded where they were linked, which the specification allows.
 */
#include <errno.h>
#include <string.h>

#include "boot/multiboot.h"

#define SEARCH	     32768
#define HEADER_MAGIC 0xe85250d6u
#define LOADER_MAGIC 0x36d76289u
#define ARCH_I386    0

/* Header tags, 3.1.4 and following */
enum {
	HEADER_END,
	HEADER_REQUEST,
	HEADER_ADDRESS,
	HEADER_ENTRY,
	HEADER_CONSOLE,
	HEADER_FRAMEBUFFER,
	HEADER_ALIGN,
	HEADER_EFI_BS,
	HEADER_EFI32,
	HEADER_EFI64,
	HEADER_RELOCATABLE
};
#define TAG_OPTIONAL 1u
/* Information tags, 3.6 */
enum { INFO_END, INFO_CMDLINE, INFO_LOADER_NAME, INFO_MODULE, INFO_MEMORY, INFO_MAP = 6, INFO_RSDP1 = 14, INFO_RSDP2 };

#define CONSOLE_REQUIRED 1u
#define RSDP1_SIZE	 20
#define RSDP_REVISION	 15
#define RSDP_LENGTH	 20
#define RSDP_MAX	 64

static u32 get32(const u8 *p)
{
	return *(const u32_una *)p;
}

static bool gives(u32 type)
{
	return (type >= INFO_CMDLINE && type <= INFO_MEMORY) || type == INFO_MAP || type == INFO_RSDP1 ||
	       type == INFO_RSDP2;
}

static int check_request(const u8 *tag, u32 size, struct error *err)
{
	for (u32 at = 8; at + 4 <= size; at += 4)
		if (!gives(get32(tag + at)))
			return error_set(err, ENOTSUP,
					 "its multiboot2 header requests information of type %u, which is not there",
					 get32(tag + at));
	return 0;
}

static u32 least_size(unsigned type)
{
	switch (type) {
	case HEADER_ADDRESS: return 24;
	case HEADER_ENTRY:
	case HEADER_CONSOLE: return 12;
	default: return 8;
	}
}

static int take_tag(struct multiboot *mb, const u8 *tag, u32 size, struct error *err)
{
	unsigned type = *(const u16_una *)tag;
	bool optional = *(const u16_una *)(tag + 2) & TAG_OPTIONAL;
	if (size < least_size(type))
		return error_set(err, EINVAL, "corrupt: a tag of its multiboot2 header has %u bytes", size);
	switch (type) {
	case HEADER_REQUEST: return optional ? 0 : check_request(tag, size, err);
	case HEADER_ADDRESS:
		mb->has_addresses = true;
		mb->header_addr = get32(tag + 8);
		mb->load_addr = get32(tag + 12);
		mb->load_end = get32(tag + 16);
		mb->bss_end = get32(tag + 20);
		return 0;
	case HEADER_ENTRY:
		mb->has_entry = true;
		mb->entry = get32(tag + 8);
		return 0;
	case HEADER_CONSOLE:
		if (!optional && (get32(tag + 8) & CONSOLE_REQUIRED))
			return error_set(err, ENOTSUP, "its multiboot2 header demands a screen, which is not there");
		return 0;
	case HEADER_FRAMEBUFFER:
		return optional ? 0
				: error_set(err, ENOTSUP,
					    "its multiboot2 header demands a framebuffer, which is not there");
	case HEADER_ALIGN:
	case HEADER_EFI_BS:
	case HEADER_EFI32:
	case HEADER_EFI64:
	case HEADER_RELOCATABLE: return 0;
	default: return optional ? 0 : error_set(err, ENOTSUP, "its multiboot2 header has an unknown tag, %u", type);
	}
}

static int take_header(struct multiboot *mb, const struct blob *file, size_t at, struct error *err)
{
	u32 length = get32(file->data + at + 8);
	if (length < 16 || length > file->len - at)
		return error_set(err, EINVAL, "corrupt: its multiboot2 header has %u bytes", length);
	*mb = (struct multiboot){ .version = 2, .header = at };
	for (u32 tag = 16; tag + 8 <= length;) {
		const u8 *t = file->data + at + tag;
		u32 size = get32(t + 4);
		if (*(const u16_una *)t == HEADER_END)
			break;
		if (size < 8 || size > length - tag)
			return error_set(err, EINVAL, "corrupt: a tag of its multiboot2 header has %u bytes", size);
		int r = take_tag(mb, t, size, err);
		if (r)
			return r;
		if (size > length - tag - 8)
			break;
		tag += (size + 7) & ~7u;
	}
	if (mb->has_addresses && !mb->has_entry)
		return error_set(err, EINVAL, "corrupt: its multiboot2 header has addresses but no entry");
	return 0;
}

int multiboot2_find(struct multiboot *mb, const struct blob *file, struct error *err)
{
	for (size_t at = 0; at + 16 <= MIN(file->len, (size_t)SEARCH); at += 8) {
		const u8 *h = file->data + at;
		if (get32(h) != HEADER_MAGIC || HEADER_MAGIC + get32(h + 4) + get32(h + 8) + get32(h + 12))
			continue;
		if (get32(h + 4) != ARCH_I386)
			return error_set(err, ENOEXEC, "not for x86: multiboot2 architecture %u", get32(h + 4));
		return take_header(mb, file, at, err);
	}
	return 0;
}

/* ---- information ---- */

struct tags { /* NULL: only counts */
	u8 *data;
	size_t len;
};

/* A tag and its body's place, of size bytes; the next tag begins at a multiple of 8. */
static u8 *add_tag(struct tags *t, u32 type, size_t size)
{
	size_t at = t->len;
	t->len += (8 + size + 7) & ~(size_t)7;
	if (!t->data)
		return NULL;
	*(u32_una *)(t->data + at) = type;
	*(u32_una *)(t->data + at + 4) = (u32)(8 + size);
	return t->data + at + 8;
}

static void add_bytes(struct tags *t, u32 type, const void *bytes, size_t len)
{
	u8 *body = add_tag(t, type, len);
	if (body)
		memcpy(body, bytes, len);
}

static void add_string(struct tags *t, u32 type, const char *s)
{
	add_bytes(t, type, s, strlen(s) + 1);
}

static void add_module(struct tags *t, const struct place_module *m)
{
	u8 *body = add_tag(t, INFO_MODULE, 8 + strlen(m->string) + 1);
	if (!body)
		return;
	*(u32_una *)body = (u32)m->gpa;
	*(u32_una *)(body + 4) = (u32)(m->gpa + m->len);
	strcpy((char *)body + 8, m->string);
}

static void add_map(struct tags *t, const struct firmware_info *f)
{
	struct entry {
		u64 base, len;
		u32 kind, reserved;
	};
	u32 format[2] = { sizeof(struct entry), 0 };
	u8 *body = add_tag(t, INFO_MAP, sizeof(format) + f->ranges * sizeof(struct entry));
	if (!body)
		return;
	memcpy(body, format, sizeof(format));
	for (unsigned i = 0; i < f->ranges; i++) {
		struct entry e = { f->map[i].base, f->map[i].len, f->map[i].kind, 0 };
		memcpy(body + sizeof(format) + i * sizeof(e), &e, sizeof(e));
	}
}

static void add_rsdp(struct tags *t, const struct placement *p)
{
	const u8 *rsdp = p->firmware->rsdp ? ram_ptr(p->m, p->firmware->rsdp, RSDP_MAX) : NULL;
	if (!rsdp)
		return;
	add_bytes(t, INFO_RSDP1, rsdp, RSDP1_SIZE);
	if (rsdp[RSDP_REVISION] >= 2)
		add_bytes(t, INFO_RSDP2, rsdp, MIN(get32(rsdp + RSDP_LENGTH), (u32)RSDP_MAX));
}

static void put_tags(struct tags *t, const struct placement *p, const char *cmdline)
{
	u32 memory[2];
	t->len = 8; /* total size, reserved */
	add_string(t, INFO_CMDLINE, cmdline);
	add_string(t, INFO_LOADER_NAME, BOOT_LOADER_NAME);
	for (unsigned i = 0; i < p->modules; i++)
		add_module(t, &p->module[i]);
	multiboot_memory(p, &memory[0], &memory[1]);
	add_bytes(t, INFO_MEMORY, memory, sizeof(memory));
	add_map(t, p->firmware);
	add_rsdp(t, p);
	add_tag(t, INFO_END, 0);
	if (t->data)
		*(u32_una *)t->data = (u32)t->len;
}

int multiboot2_enter(struct placement *p, const struct multiboot *mb, const char *cmdline, struct error *err)
{
	struct tags t = { 0 };
	u64 gpa;
	(void)mb;
	put_tags(&t, p, cmdline);
	int r = place_block(p, t.len, &gpa, &t.data, err);
	if (r)
		return r;
	put_tags(&t, p, cmdline);
	entry_set(p, ENTRY_PROTECTED, p->elf->entry);
	p->m->vcpu[0]->r[RAX] = LOADER_MAGIC;
	p->m->vcpu[0]->r[RBX] = gpa;
	return 0;
}
