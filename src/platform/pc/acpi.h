/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables, as a PC's firmware would leave them in the BIOS area. */
#pragma once
#include "devices/pci/pci.h"

#define BIOS_BASE 0xe0000u
#define BIOS_LEN  0x20000u /* to 1 MiB */

/* low_ram is the first megabyte; cpus at least 1. Returns the RSDP's address. */
u64 acpi_write(u8 *low_ram, unsigned cpus, const struct pci_windows *pci);
