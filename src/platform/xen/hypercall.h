/* SPDX-License-Identifier: Apache-2.0 */
/* Hypercalls: the table (hypercall.c), and the families that no other header has. */
#pragma once
#include "platform/xen/domain.h"

/* SYSCALL of a guest kernel; next: the address after it. */
void hypercall(struct vcpu *v, u64 next);
/* A row of the table, for figures. NULL: no such hypercall. */
const char *hypercall_name(unsigned nr);
/* Its operations have names of numbers: counts.sub. */
bool hypercall_has_operations(unsigned nr);

hypercall_fn hypercall_multicall;
/* calls.c */
hypercall_fn hypercall_set_trap_table, hypercall_stack_switch, hypercall_set_callbacks, hypercall_callback_op,
	hypercall_fpu_taskswitch, hypercall_set_debugreg, hypercall_get_debugreg, hypercall_set_segment_base,
	hypercall_vm_assist, hypercall_console_io, hypercall_xen_version, hypercall_physdev_op;
/* cpus.c */
hypercall_fn hypercall_vcpu_op, hypercall_sched_op;
void cpus_start(struct vcpu *v); /* EV_SIPI */
