/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the guest's kernel, its programs, and us: ways in (traps.c), the way back (iret.c), instructions that privilege would do (emulate.c).
 */
#pragma once
#include "platform/xen/domain.h"

/* How the guest kernel is entered: struct deprivileged_ops. */
void traps_syscall(struct vcpu *v, u64 next);
void traps_deliver(struct vcpu *v, const struct cpu_event *e, u64 return_ip);
/* From a kernel that cannot be returned from to what it asked for: its failsafe callback gets the frame that failed. */
void traps_failsafe(struct vcpu *v);

/* Goes over to the kernel's, or the programs', view of memory and GS base; nothing if it is there. */
void traps_set_kernel(struct vcpu *v, bool kernel);
/* Code and stack segment of a kernel, flat, as its entries have them. */
void traps_set_flat(struct vcpu *v, u16 cs, u16 ss);

/* The hypercall: back to where the frame at RSP says. */
void hypercall_iret(struct vcpu *v);

/* #UD and #GP: whether the instruction at v->rip has been done after all. */
bool emulate_cpuid(struct vcpu *v);
bool emulate_privileged(struct vcpu *v);
/* Runs fn, which may raise; false: it did. */
bool try_run(struct vcpu *v, void (*fn)(struct vcpu *v, void *arg), void *arg);

/* Whether the guest may use the ports. */
bool ports_allowed(struct vcpu *v, u16 port, unsigned size);
