/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an x86 ELF executable wants in memory: its PT_LOAD segments by physical address, its entry, its PVH note. Nothing is
 * relocated: segments go where p_paddr says. Both classes are brought to one form first, so that every check is made once.
 *
 * The file is untrusted: each offset, size and sum is checked here, and elf_image holds only what lies within the file.
 */
#include "boot/image.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <xen/elfnote.h>

#define MAX_HEADERS 512 /* program headers we are willing to look at */

struct header { /* Elf32_Phdr and Elf64_Phdr */
	u32 type;
	u64 offset, gla, gpa, file_len, mem_len, align;
};

struct parser {
	const struct blob *file;
	struct elf_image *e;
	u64 table; /* offset, count and entry size of the program headers */
	unsigned headers, stride;
	u64 entry; /* as the file says: physical or virtual */
};

static bool within(const struct blob *f, u64 at, u64 len)
{
	return at <= f->len && len <= f->len - at;
}

bool elf_probe(const struct blob *file)
{
	return file->len >= SELFMAG && !memcmp(file->data, ELFMAG, SELFMAG);
}

static int parse_ehdr64(struct parser *p, struct error *err)
{
	Elf64_Ehdr h;
	if (p->file->len < sizeof(h))
		return error_set(err, EINVAL, "truncated within the ELF header");
	memcpy(&h, p->file->data, sizeof(h));
	if (h.e_machine != EM_X86_64)
		return error_set(err, ENOEXEC, "not for x86: ELF machine %u", h.e_machine);
	if (h.e_type != ET_EXEC && h.e_type != ET_DYN)
		return error_set(err, ENOEXEC, "not an executable: ELF type %u", h.e_type);
	if (h.e_phentsize != sizeof(Elf64_Phdr))
		return error_set(err, EINVAL, "corrupt: ELF program headers of %u bytes", h.e_phentsize);
	p->table = h.e_phoff;
	p->headers = h.e_phnum;
	p->stride = sizeof(Elf64_Phdr);
	p->entry = h.e_entry;
	return 0;
}

static int parse_ehdr32(struct parser *p, struct error *err)
{
	Elf32_Ehdr h;
	if (p->file->len < sizeof(h))
		return error_set(err, EINVAL, "truncated within the ELF header");
	memcpy(&h, p->file->data, sizeof(h));
	if (h.e_machine != EM_386)
		return error_set(err, ENOEXEC, "not for x86: ELF machine %u", h.e_machine);
	if (h.e_type != ET_EXEC && h.e_type != ET_DYN)
		return error_set(err, ENOEXEC, "not an executable: ELF type %u", h.e_type);
	if (h.e_phentsize != sizeof(Elf32_Phdr))
		return error_set(err, EINVAL, "corrupt: ELF program headers of %u bytes", h.e_phentsize);
	p->table = h.e_phoff;
	p->headers = h.e_phnum;
	p->stride = sizeof(Elf32_Phdr);
	p->entry = h.e_entry;
	return 0;
}

static int parse_ehdr(struct parser *p, struct error *err)
{
	if (p->file->len < EI_NIDENT)
		return error_set(err, EINVAL, "truncated within the ELF header");
	const u8 *id = p->file->data;
	if (id[EI_DATA] != ELFDATA2LSB || (id[EI_CLASS] != ELFCLASS32 && id[EI_CLASS] != ELFCLASS64))
		return error_set(err, ENOEXEC, "not for x86: ELF class %u, data encoding %u", id[EI_CLASS],
				 id[EI_DATA]);
	p->e->is64 = id[EI_CLASS] == ELFCLASS64;
	int r = p->e->is64 ? parse_ehdr64(p, err) : parse_ehdr32(p, err);
	if (r)
		return r;
	if (!p->headers || p->headers > MAX_HEADERS)
		return error_set(err, EINVAL, "corrupt: %u ELF program headers", p->headers);
	if (!within(p->file, p->table, (u64)p->headers * p->stride))
		return error_set(err, EINVAL, "truncated: its ELF program headers lie beyond its end");
	return 0;
}

static struct header get_header(const struct parser *p, unsigned n)
{
	const u8 *at = p->file->data + p->table + (u64)n * p->stride;
	if (p->e->is64) {
		Elf64_Phdr h;
		memcpy(&h, at, sizeof(h));
		return (struct header){ h.p_type, h.p_offset, h.p_vaddr, h.p_paddr, h.p_filesz, h.p_memsz, h.p_align };
	}
	Elf32_Phdr h;
	memcpy(&h, at, sizeof(h));
	return (struct header){ h.p_type, h.p_offset, h.p_vaddr, h.p_paddr, h.p_filesz, h.p_memsz, h.p_align };
}

static int add_segment(struct elf_image *e, const struct blob *file, const struct header *h, struct error *err)
{
	if (!h->mem_len)
		return 0;
	if (h->file_len > h->mem_len)
		return error_set(err, EINVAL, "corrupt: an ELF segment is larger in the file than in memory");
	if (!within(file, h->offset, h->file_len))
		return error_set(err, EINVAL, "truncated: an ELF segment ends at byte %" PRIu64 " of %zu",
				 h->offset + h->file_len, file->len);
	if (h->gpa + h->mem_len < h->gpa)
		return error_set(err, EINVAL, "corrupt: the ELF segment at %#" PRIx64 " wraps around", h->gpa);
	for (unsigned i = 0; i < e->segs; i++)
		if (h->gpa < e->seg[i].gpa + e->seg[i].mem_len && e->seg[i].gpa < h->gpa + h->mem_len)
			return error_set(err, EINVAL, "corrupt: ELF segments overlap at %#" PRIx64,
					 MAX(h->gpa, e->seg[i].gpa));
	if (e->segs == ELF_MAX_SEGMENTS)
		return error_set(err, EINVAL, "corrupt: more than %d ELF segments", ELF_MAX_SEGMENTS);
	e->seg[e->segs++] = (struct elf_segment){ .gpa = h->gpa,
						  .mem_len = h->mem_len,
						  .gla = h->gla,
						  .data = file->data + h->offset,
						  .file_len = h->file_len };
	return 0;
}

static u64 round_up(u64 n, u64 align)
{
	return (n + align - 1) & ~(align - 1);
}

/* Numbers of 4 or 8 bytes (xen/elfnote.h). */
static void xen_number(u64 *to, const u8 *desc, u64 len)
{
	*to = len >= 8 ? *(const u64_una *)desc : len >= 4 ? *(const u32_una *)desc : 0;
}

/* Of a kernel that is entered as a PV guest. */
static void xen_pv_note(struct elf_image *e, u32 type, const u8 *desc, u64 len)
{
	switch (type) {
	case XEN_ELFNOTE_ENTRY:
		xen_number(&e->xen.entry, desc, len);
		e->has_xen = true;
		break;
	case XEN_ELFNOTE_VIRT_BASE: xen_number(&e->xen.virt_base, desc, len); break;
	case XEN_ELFNOTE_PADDR_OFFSET: xen_number(&e->xen.paddr_offset, desc, len); break;
	case XEN_ELFNOTE_INIT_P2M: xen_number(&e->xen.init_p2m, desc, len); break;
	case XEN_ELFNOTE_HYPERCALL_PAGE: xen_number(&e->xen.hypercall_page, desc, len); break;
	case XEN_ELFNOTE_FEATURES: memcpy(e->xen.features, desc, MIN(len, sizeof(e->xen.features) - 1)); break;
	}
}

static void xen_note(struct elf_image *e, u32 type, const u8 *desc, u64 len)
{
	if (type == XEN_ELFNOTE_PHYS32_ENTRY && len >= 4) {
		e->pvh_entry = *(const u32_una *)desc;
		e->has_pvh = true;
	} else if (type == XEN_ELFNOTE_GUEST_OS && len >= 5 && !memcmp(desc, "linux", 5)) {
		e->linux_kernel = true;
	} else {
		xen_pv_note(e, type, desc, len);
	}
}

/* Notes are names and descriptors padded to 4 bytes, or to 8 where p_align says so (ELF gABI, "Note Section"). A note that
 * does not fit ends the walk: notes are hints, and an image without them may still start. */
static void scan_notes(struct elf_image *e, const struct blob *file, const struct header *h)
{
	if (!within(file, h->offset, h->file_len))
		return;
	const u8 *p = file->data + h->offset;
	u64 left = h->file_len, align = h->align == 8 ? 8 : 4;
	Elf64_Nhdr n; /* the same in both classes */
	while (left >= sizeof(n)) {
		memcpy(&n, p, sizeof(n));
		u64 desc = round_up(sizeof(n) + (u64)n.n_namesz, align);
		if (desc + n.n_descsz > left)
			return;
		if (n.n_namesz == 4 && !memcmp(p + sizeof(n), "Xen", 4))
			xen_note(e, n.n_type, p + desc, n.n_descsz);
		u64 next = MIN(round_up(desc + n.n_descsz, align), left);
		p += next;
		left -= next;
	}
}

/* Linux has its version string in every kernel image; boot.rst gives no other mark to a bare vmlinux. */
static bool has_banner(const struct elf_image *e)
{
	static const char banner[] = "Linux version ";
	for (unsigned i = 0; i < e->segs; i++)
		if (memmem(e->seg[i].data, e->seg[i].file_len, banner, sizeof(banner) - 1))
			return true;
	return false;
}

/* e_entry is physical in Linux and virtual in most others. */
static u64 physical_entry(const struct elf_image *e, u64 entry)
{
	for (unsigned i = 0; i < e->segs; i++)
		if (entry >= e->seg[i].gpa && entry - e->seg[i].gpa < e->seg[i].mem_len)
			return entry;
	for (unsigned i = 0; i < e->segs; i++)
		if (entry >= e->seg[i].gla && entry - e->seg[i].gla < e->seg[i].mem_len)
			return e->seg[i].gpa + (entry - e->seg[i].gla);
	return ~0ull;
}

int elf_parse(struct elf_image *e, const struct blob *file, struct error *err)
{
	*e = (struct elf_image){ .first = ~0ull };
	struct parser p = { .file = file, .e = e };
	int r = parse_ehdr(&p, err);
	for (unsigned i = 0; !r && i < p.headers; i++) {
		struct header h = get_header(&p, i);
		if (h.type == PT_LOAD)
			r = add_segment(e, file, &h, err);
		else if (h.type == PT_NOTE)
			scan_notes(e, file, &h);
	}
	if (r)
		return r;
	if (!e->segs)
		return error_set(err, ENOEXEC, "has no ELF segment to load");
	for (unsigned i = 0; i < e->segs; i++) {
		e->first = MIN(e->first, e->seg[i].gpa);
		e->end = MAX(e->end, e->seg[i].gpa + e->seg[i].mem_len);
	}
	e->linux_kernel = e->linux_kernel || has_banner(e);
	e->entry = physical_entry(e, p.entry);
	if (e->entry == ~0ull && !e->has_pvh)
		return error_set(err, EINVAL, "corrupt: its ELF entry %#" PRIx64 " lies in no segment", p.entry);
	return 0;
}
