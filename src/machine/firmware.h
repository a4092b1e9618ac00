/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a platform's firmware leaves for whoever loads the guest: the map of physical memory and where the ACPI root is.
 * The platform fills it, src/boot hands it to the guest; neither knows the other.
 */
#pragma once
#include "util/types.h"

/* Numbers as in e820 and in PVH's memory map: ACPI 6.4, 15.1. */
enum mem_kind { MEM_RAM = 1, MEM_RESERVED = 2, MEM_ACPI = 3, MEM_NVS = 4 };

struct mem_range {
	u64 base, len;
	u32 kind; /* enum mem_kind */
};

#define FIRMWARE_MAX_RANGES 16
struct firmware_info {
	struct mem_range map[FIRMWARE_MAX_RANGES]; /* sorted by base, no overlaps */
	unsigned ranges;
	u64 rsdp; /* gpa of the ACPI root pointer, 0 if there is none */
};
