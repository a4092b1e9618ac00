/* SPDX-License-Identifier: Apache-2.0 */
/* The body of the DSDT, after its header. */
#pragma once
#include "devices/pci/pci.h"
#include "platform/pc/aml.h"

void dsdt_write(struct aml *a, const struct pci_windows *pci);
