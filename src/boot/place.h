/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel on its way into guest RAM: what has been decided so far, and the steps that decide the rest. load.c runs them.
 *
 * Below 1 MiB the loader's own structures have fixed places; kernels come with segments at or above 1 MiB, or where they
 * leave these places alone. All of it is plain RAM to the guest, which copies what it wants before it uses the memory.
 */
#pragma once
#include "boot/boot.h"
#include "boot/image.h"

#define PLACE_GDT	  0x6000ull
#define PLACE_START_INFO  0x6800ull /* PVH: start info, module list, memory map */
#define PLACE_BOOT_PARAMS 0x7000ull /* Linux: the "zero page" */
#define PLACE_PAGE_TABLES 0x9000ull /* six pages: 4 GiB mapped one to one */
#define PLACE_CMDLINE	  0x20000ull
#define PLACE_FIRST	  0x6000ull
#define PLACE_END	  0x30000ull
#define CMDLINE_ROOM	  (PLACE_END - PLACE_CMDLINE) /* with its NUL */

#define PLACE_MAX_MODULES 64
struct place_module {
	u64 gpa, len;
	char *string; /* owned */
};

struct placement {
	struct machine *m;
	const struct firmware_info *firmware;
	const struct elf_image *elf;
	const struct bzimage *bz; /* NULL: the kernel came as a bare ELF file */
	bool roams; /* a multiboot kernel, which may lie in the places above: what the loader adds goes where the kernel is not */
	u64 gdt;
	u64 initrd_gpa, initrd_len;
	struct place_module module[PLACE_MAX_MODULES]; /* of multiboot kernels */
	unsigned modules;
	struct mem_range taken[PLACE_MAX_MODULES + 4]; /* by the two below */
	unsigned takes;
};

/* Whether [gpa, gpa + len) is guest RAM that the firmware has not taken. */
bool place_is_free(const struct placement *p, u64 gpa, u64 len);
/* Host address of such a range; never NULL for the places above, which place_check has vouched for. */
u8 *place_ptr(const struct placement *p, u64 gpa, u64 len);
/* Puts the kernel's segments into RAM. */
int place_kernel(struct placement *p, struct error *err);
/* Puts the initrd as high as it may go, which is where it is least in the way: the ELF image's memory has all that the kernel uses
 * before it knows of the initrd (its bss and brk). limit: its last byte's highest address. Without data: only the place is found. */
int place_initrd(struct placement *p, const struct blob *initrd, u64 limit, struct error *err);
/* A module as a further one of p->module, without a string, behind the kernel and its like, on whole pages. */
int place_module(struct placement *p, const struct blob *file, struct error *err);
/* Memory for len bytes of the loader's own as high below 1 MiB as it is free, cleared. */
int place_block(struct placement *p, u64 len, u64 *gpa, u8 **host, struct error *err);
/* Command line, NUL-terminated; longest: without its NUL. */
int place_cmdline(struct placement *p, const char *cmdline, size_t longest, struct error *err);

/* Registers as an entry wants them: flat segments from a GDT that is in RAM too. */
#define ENTRY_GDT_SIZE 48
enum entry_mode { ENTRY_PROTECTED, ENTRY_LONG };
void entry_set(struct placement *p, enum entry_mode mode, u64 rip);

/* The two ways in: parameters, then vCPU 0's registers. */
void linux_enter(struct placement *p);
void pvh_enter(struct placement *p);
