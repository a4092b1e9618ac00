/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multiboot kernels, versions 1 (0.6.96) and 2 (2.0): found by a header near the file's beginning, whatever the file's format.
 *
 * Both are entered in 32-bit protected mode without paging, EAX naming the version and EBX at the information. ELF files of
 * either class are loaded by their program headers; the header's own addresses, where it has them, take their place.
 */
#pragma once
#include "boot/place.h"

struct multiboot {
	unsigned version; /* 1 or 2; 0: no multiboot kernel */
	size_t header; /* its offset in the file */
	bool has_addresses; /* the header says what to load, below; else the ELF headers do */
	u32 header_addr, load_addr, load_end, bss_end;
	bool has_entry;
	u32 entry;
};

/* Looks for a header of either version, 2 before 1; mb->version is 0 where there is none. The error is a header that asks for
 * what we do not have, or a corrupt one. */
int multiboot_find(struct multiboot *mb, const struct blob *file, struct error *err);
/* What is to be loaded, in the terms of an ELF image; parses the ELF headers where the multiboot header has no addresses. */
int multiboot_image(const struct multiboot *mb, struct elf_image *e, const struct blob *file, struct error *err);
/* Puts modules into RAM. list: "FILE ARGS,FILE ARGS", ",," being a comma; NULL: none. Their strings are FILE ARGS. */
int multiboot_modules(struct placement *p, const char *list, struct error *err);
/* Puts the information into RAM and sets vCPU 0's registers. */
int multiboot_enter(struct placement *p, const struct multiboot *mb, const char *cmdline, struct error *err);

/* For both: KiB of RAM from 0, and from 1 MiB to the first hole. */
void multiboot_memory(const struct placement *p, u32 *lower, u32 *upper);
#define BOOT_LOADER_NAME "Sextant"

/* ---- multiboot2.c ---- */
int multiboot2_find(struct multiboot *mb, const struct blob *file, struct error *err);
int multiboot2_enter(struct placement *p, const struct multiboot *mb, const char *cmdline, struct error *err);
