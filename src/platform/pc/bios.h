/* SPDX-License-Identifier: Apache-2.0 */
/* What a BIOS leaves in memory and in the interrupt controllers. */
#pragma once
#include "machine/machine.h"

#define BIOS_COM1     0x3f8u
#define BIOS_EBDA     0x9fc00u
#define BIOS_EBDA_LEN 0x400u

void bios_leave(struct machine *m, u8 *low_ram);
