/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enters a Linux kernel at its ELF entry, as its own decompressor would: startup_64 in long mode with RSI at boot_params
 * (arch/x86/kernel/head_64.S; boot.rst, "64-bit Boot Protocol"), or startup_32 in protected mode with ESI there
 * ("32-bit Boot Protocol").
 *
 * The KASLR flag of loadflags stays clear: it is the decompressor's word that it has moved the kernel, and we have not.
 */
#include "boot/place.h"

#include <string.h>

/* boot_params: Documentation/arch/x86/zero-page.rst */
#define RSDP_ADDRESS	 0x070
#define E820_ENTRIES	 0x1e8
#define E820_TABLE	 0x2d0
#define E820_ENTRY_SIZE	 20
#define BOOT_FLAG	 0x1fe
#define MAGIC		 0x202
#define VERSION		 0x206
#define VID_MODE	 0x1fa
#define TYPE_OF_LOADER	 0x210
#define LOADFLAGS	 0x211
#define CODE32_START	 0x214
#define RAMDISK_IMAGE	 0x218
#define RAMDISK_SIZE	 0x21c
#define CMD_LINE_PTR	 0x228
#define KERNEL_ALIGNMENT 0x230

#define LOADED_HIGH	 0x01
#define KASLR_FLAG	 0x02
#define LOADER_UNDEFINED 0xff
#define VID_NORMAL	 0xffff
#define PROTOCOL	 0x020f

static void put16(u8 *zero_page, unsigned at, u16 value)
{
	*(u16_una *)(zero_page + at) = value;
}
static void put32(u8 *zero_page, unsigned at, u32 value)
{
	*(u32_una *)(zero_page + at) = value;
}
static void put64(u8 *zero_page, unsigned at, u64 value)
{
	*(u64_una *)(zero_page + at) = value;
}

static void put_e820(u8 *zero_page, const struct firmware_info *f)
{
	zero_page[E820_ENTRIES] = (u8)f->ranges;
	for (unsigned i = 0; i < f->ranges; i++) {
		unsigned at = E820_TABLE + i * E820_ENTRY_SIZE;
		put64(zero_page, at, f->map[i].base);
		put64(zero_page, at + 8, f->map[i].len);
		put32(zero_page, at + 16, f->map[i].kind);
	}
}

/* The header is the kernel's own where there is one; fields that a loader must fill follow. */
static void put_header(u8 *zero_page, const struct placement *p)
{
	if (p->bz) {
		memcpy(zero_page + SETUP_HEADER, p->bz->header, p->bz->header_len);
	} else {
		put16(zero_page, BOOT_FLAG, 0xaa55);
		memcpy(zero_page + MAGIC, "HdrS", 4);
		put16(zero_page, VERSION, PROTOCOL);
		put32(zero_page, KERNEL_ALIGNMENT, 1u << 24);
	}
	put16(zero_page, VID_MODE, VID_NORMAL);
	zero_page[TYPE_OF_LOADER] = LOADER_UNDEFINED;
	zero_page[LOADFLAGS] = (zero_page[LOADFLAGS] | LOADED_HIGH) & ~KASLR_FLAG;
	put32(zero_page, CODE32_START, (u32)p->elf->entry);
	put32(zero_page, RAMDISK_IMAGE, (u32)p->initrd_gpa);
	put32(zero_page, RAMDISK_SIZE, (u32)p->initrd_len);
	put32(zero_page, CMD_LINE_PTR, PLACE_CMDLINE);
}

void linux_enter(struct placement *p)
{
	u8 *zero_page = place_ptr(p, PLACE_BOOT_PARAMS, PAGE_SIZE);
	memset(zero_page, 0, PAGE_SIZE);
	put_header(zero_page, p);
	put64(zero_page, RSDP_ADDRESS, p->firmware->rsdp);
	put_e820(zero_page, p->firmware);
	entry_set(p, p->elf->is64 ? ENTRY_LONG : ENTRY_PROTECTED, p->elf->entry);
	p->m->vcpu[0]->r[RSI] = PLACE_BOOT_PARAMS;
}
