/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel images as files: reading them, what a bzImage says of itself, unpacking its payload, what an ELF file loads.
 * All of this is pure parsing of untrusted bytes; nothing here touches a machine.
 */
#pragma once
#include "util/error.h"
#include "util/types.h"

struct blob { /* owned bytes */
	u8 *data;
	size_t len;
};
void blob_free(struct blob *b);
/* Memory for size bytes of a blob (free() releases it), in huge pages where that pays and the host has them; NULL: none. */
u8 *blob_alloc(size_t size);
#define _cleanup_blob_ __attribute__((cleanup(blob_free)))

/* All of a file, up to max bytes; the messages call it `what` ("kernel", "initrd"). */
int blob_read_file(struct blob *b, const char *what, const char *path, u64 max, struct error *err);
/* A file whose rest is for somebody else to read: open, with its length. -1: it is no regular file, or cannot be read; then
 * blob_read_file() says why. */
int file_open_plain(const char *path, u64 *len);
/* Exactly len bytes from `offset` on. */
int file_read_at(int fd, u64 offset, u8 *to, u64 len, struct error *err);

/* ---- bzimage.c: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header" ---- */
#define SETUP_HEADER	 0x1f1 /* where the header is, in the file and in boot_params */
#define SETUP_HEADER_MAX 0x290

struct elf_image;
struct bzimage {
	u16 version; /* 0x020f: 2.15 */
	const u8 *header; /* header_len bytes, those at SETUP_HEADER */
	size_t header_len;
	const u8 *payload; /* compressed; its last four bytes are the unpacked size */
	size_t payload_len;
	u32 cmdline_size; /* longest command line, without its NUL */
	/* What it needs to unpack itself: the file's part that is loaded, where, and how much memory from there on; no length: it has
	 * no 64-bit entry. */
	u64 image_offset, image_len;
	u64 image_gpa, image_room;
	u32 initrd_max; /* highest address that an initrd's last byte may have */
};
/* Whether the bytes are a Linux boot image at all; bzimage_parse then says what is wrong with it, if something is. */
bool bzimage_probe(const struct blob *file);
int bzimage_parse(struct bzimage *z, const struct blob *file, struct error *err);
/* Whether it unpacks itself; `head` is a file's first bytes, file_len its length. Fills in what that needs and no more. */
bool bzimage_parse_head(struct bzimage *z, const struct blob *head, u64 file_len);
/* The kernel as it is in the file, to be entered where it unpacks itself: its one segment has no data yet. */
void bzimage_itself(const struct bzimage *z, struct elf_image *e);

/* ---- payload.c ---- */
/* Unpacks what bzimage_parse found; at most limit bytes. */
int payload_unpack(struct blob *out, const u8 *data, size_t len, u64 limit, struct error *err);

/* ---- elf.c ---- */
#define ELF_MAX_SEGMENTS 64
struct elf_segment {
	u64 gpa, mem_len;
	u64 gla; /* p_vaddr */
	const u8 *data;
	u64 file_len; /* the rest up to mem_len is zero */
};
struct elf_image {
	bool is64;
	u64 entry; /* physical */
	bool has_pvh;
	u32 pvh_entry; /* physical */
	bool has_xen; /* Xen's notes for a PV guest: xen/elfnote.h */
	struct {
		u64 entry, virt_base, paddr_offset, init_p2m, hypercall_page; /* linear; 0: no such note */
		char features[128];
	} xen;
	bool linux_kernel; /* carries Linux's banner, or Xen's guest OS note says linux */
	struct elf_segment seg[ELF_MAX_SEGMENTS];
	unsigned segs;
	u64 first, end; /* physical extent of all segments */
};
bool elf_probe(const struct blob *file);
int elf_parse(struct elf_image *e, const struct blob *file, struct error *err);
