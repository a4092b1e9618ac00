/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a Linux boot image (Documentation/arch/x86/boot.rst). Only what protocol 2.08 (kernel 2.6.26) and later
 * say is used: they tell where the compressed kernel lies. From 2.12 on (kernel 3.8) it may have an entry in long mode, where it
 * unpacks itself.
 */
#include "boot/image.h"

#include <errno.h>
#include <string.h>

#define SYSSIZE	       0x1f4 /* of what follows the setup sectors, in 16-byte units */
#define BOOT_FLAG      0x1fe
#define JUMP_LENGTH    0x201 /* second byte of the short jump over the header: header ends at 0x202 + it */
#define MAGIC	       0x202
#define VERSION	       0x206
#define LOADFLAGS      0x211
#define INITRD_MAX     0x22c
#define XLOADFLAGS     0x236
#define CMDLINE_SIZE   0x238
#define PAYLOAD_OFFSET 0x248
#define PAYLOAD_LENGTH 0x24c
#define HEADER_MIN     0x250 /* through payload_length */
#define PREF_ADDRESS   0x258
#define INIT_SIZE      0x260
#define HEADER_ITSELF  0x264 /* through init_size */

#define XLF_KERNEL_64 0x0001
#define ENTRY_64      0x200 /* in the part that is loaded */

#define LOADED_HIGH	      0x01
#define SECTOR		      512
#define DEFAULT_SETUP_SECTORS 4 /* what setup_sects 0 means */

static u16 get16(const struct blob *f, size_t at)
{
	return *(const u16_una *)(f->data + at);
}
static u32 get32(const struct blob *f, size_t at)
{
	return *(const u32_una *)(f->data + at);
}

bool bzimage_probe(const struct blob *file)
{
	return file->len >= MAGIC + 4 && get16(file, BOOT_FLAG) == 0xaa55 && !memcmp(file->data + MAGIC, "HdrS", 4);
}

static int find_payload(struct bzimage *z, const struct blob *file, struct error *err)
{
	size_t sectors = file->data[SETUP_HEADER] ? file->data[SETUP_HEADER] : DEFAULT_SETUP_SECTORS;
	u64 setup = (sectors + 1) * SECTOR, whole = setup + 16 * (u64)get32(file, SYSSIZE);
	u64 start = setup + (u64)get32(file, PAYLOAD_OFFSET);
	u64 len = get32(file, PAYLOAD_LENGTH);
	if (!len)
		return error_set(err, ENOTSUP, "holds no compressed kernel");
	if (start > file->len || len > file->len - start)
		return error_set(err, EINVAL, "truncated: %zu bytes, but its payload ends at %llu", file->len,
				 (unsigned long long)(start + len));
	/* The last 16 bytes may be padding that a tool has left out. */
	if (whole > file->len + 15)
		return error_set(err, EINVAL, "truncated: %zu of %llu bytes", file->len, (unsigned long long)whole);
	z->payload = file->data + start;
	z->payload_len = len;
	return 0;
}

/* The 64-bit entry, at a fixed place of what is loaded ("64-bit Boot Protocol"). */
bool bzimage_parse_head(struct bzimage *z, const struct blob *head, u64 file_len)
{
	u64 setup, gpa, room;

	*z = (struct bzimage){ 0 };
	if (head->len < SETUP_HEADER_MAX || !bzimage_probe(head))
		return false;
	size_t sectors = head->data[SETUP_HEADER] ? head->data[SETUP_HEADER] : DEFAULT_SETUP_SECTORS;
	size_t end = MAGIC + head->data[JUMP_LENGTH];
	z->version = get16(head, VERSION);
	if (z->version < 0x020c || end < HEADER_ITSELF || end > SETUP_HEADER_MAX ||
	    !(get16(head, XLOADFLAGS) & XLF_KERNEL_64) || !(head->data[LOADFLAGS] & LOADED_HIGH))
		return false;
	setup = (sectors + 1) * SECTOR;
	gpa = *(const u64_una *)(head->data + PREF_ADDRESS);
	room = get32(head, INIT_SIZE);
	/* Cut short, it is for the other way to say so. */
	if (!gpa || gpa > BIT(31) || file_len <= setup || room < file_len - setup ||
	    setup + 16 * (u64)get32(head, SYSSIZE) > file_len + 15)
		return false;
	z->header = head->data + SETUP_HEADER;
	z->header_len = end - SETUP_HEADER;
	z->initrd_max = get32(head, INITRD_MAX);
	z->cmdline_size = get32(head, CMDLINE_SIZE);
	z->image_offset = setup;
	z->image_len = file_len - setup;
	z->image_gpa = gpa;
	z->image_room = room;
	return true;
}

void bzimage_itself(const struct bzimage *z, struct elf_image *e)
{
	*e = (struct elf_image){
		.is64 = true,
		.entry = z->image_gpa + ENTRY_64,
		.linux_kernel = true,
		.seg[0] = { .gpa = z->image_gpa, .mem_len = z->image_len },
		.segs = 1,
		.first = z->image_gpa,
		.end = z->image_gpa + z->image_room,
	};
}

int bzimage_parse(struct bzimage *z, const struct blob *file, struct error *err)
{
	*z = (struct bzimage){ 0 };
	if (file->len < SETUP_HEADER_MAX)
		return error_set(err, EINVAL, "truncated within the boot header");
	z->version = get16(file, VERSION);
	if (z->version < 0x0208)
		return error_set(err, ENOTSUP, "boot protocol %u.%02u is too old, 2.08 (Linux 2.6.26) is needed",
				 z->version >> 8, z->version & 0xff);
	if (!(file->data[LOADFLAGS] & LOADED_HIGH))
		return error_set(err, ENOTSUP, "a zImage, which loads low; only bzImages can be started");
	size_t end = MAGIC + file->data[JUMP_LENGTH];
	if (end < HEADER_MIN || end > SETUP_HEADER_MAX)
		return error_set(err, EINVAL, "absurd length of the boot header");
	z->header = file->data + SETUP_HEADER;
	z->header_len = end - SETUP_HEADER;
	z->initrd_max = get32(file, INITRD_MAX);
	z->cmdline_size = get32(file, CMDLINE_SIZE);
	return find_payload(z, file, err);
}
