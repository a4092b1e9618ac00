/* SPDX-License-Identifier: Apache-2.0 */
/* The domain builder: build.c. */
#pragma once
#include "boot/boot.h"
#include "platform/xen/domain.h"

/* A vCPU as the ABI has it begin, without address space, entry or descriptor tables: 64-bit kernel code, all flat. */
void build_reset_cpu(struct vcpu *v);
/* Where the pages that back ends share with the guest are. */
struct build_pages {
	u64 store_mfn, console_mfn;
	struct start_info *start; /* for who knows the ports */
	bool early_console; /* the command line has the kernel's early messages on console_io shown */
};
/* Gives the domain its frames, loads kernel and initial file system, and makes what the kernel expects to find. */
int build_domain(struct xen_domain *d, const struct boot_config *c, struct build_pages *pages, struct error *err);
