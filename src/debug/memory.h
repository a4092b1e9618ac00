/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory as a debugger reads and writes it: by linear address through a vCPU's page tables, whatever they allow whom, or
 * by physical address. RAM only: reading a device's registers would change it. Nothing here faults or leaves a trace in the
 * guest's page tables. The vCPU stands.
 */
#pragma once
#include "machine/machine.h"

enum address_space { LINEAR, PHYSICAL };

/* How many bytes from addr on could be copied, up to len. */
size_t debug_read(struct vcpu *v, enum address_space space, u64 addr, void *buf, size_t len);
size_t debug_write(struct vcpu *v, enum address_space space, u64 addr, const void *buf, size_t len);
