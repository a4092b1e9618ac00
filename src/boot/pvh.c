/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enters a kernel through its PVH note: 32-bit protected mode, paging off, EBX at a start info (Xen, docs/misc/pvh.pandoc;
 * xen/include/public/arch-x86/hvm/start_info.h has the layouts).
 */
#include "boot/place.h"

#include <string.h>

#define START_MAGIC   0x336ec578
#define START_VERSION 1 /* has the memory map */

struct start_info {
	u32 magic, version, flags, nr_modules;
	u64 modlist, cmdline, rsdp, memmap;
	u32 memmap_entries, reserved;
};
struct module {
	u64 gpa, len, cmdline, reserved;
};
struct memmap_entry {
	u64 base, len;
	u32 kind, reserved;
};

struct start_page { /* all of it, as it lies at PLACE_START_INFO */
	struct start_info info;
	struct module module;
	struct memmap_entry map[FIRMWARE_MAX_RANGES];
};
_Static_assert(sizeof(struct start_info) == 56 && sizeof(struct memmap_entry) == 24, "layout is the interface's");
_Static_assert(PLACE_START_INFO + sizeof(struct start_page) <= PLACE_BOOT_PARAMS, "places overlap");

void pvh_enter(struct placement *p)
{
	const struct firmware_info *f = p->firmware;
	struct start_page page = {
		.info = { .magic = START_MAGIC,
			  .version = START_VERSION,
			  .nr_modules = p->initrd_len ? 1 : 0,
			  .modlist = p->initrd_len ? PLACE_START_INFO + offsetof(struct start_page, module) : 0,
			  .cmdline = PLACE_CMDLINE,
			  .rsdp = f->rsdp,
			  .memmap = PLACE_START_INFO + offsetof(struct start_page, map),
			  .memmap_entries = f->ranges },
		.module = { .gpa = p->initrd_gpa, .len = p->initrd_len },
	};
	for (unsigned i = 0; i < f->ranges; i++)
		page.map[i] =
			(struct memmap_entry){ .base = f->map[i].base, .len = f->map[i].len, .kind = f->map[i].kind };
	memcpy(place_ptr(p, PLACE_START_INFO, sizeof(page)), &page, sizeof(page));
	entry_set(p, ENTRY_PROTECTED, p->elf->pvh_entry);
	p->m->vcpu[0]->r[RBX] = PLACE_START_INFO;
}
