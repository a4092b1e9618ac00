/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Xen PV domain, inside: what the parts of this platform share. The guest kernel runs at CPL 3 and is told apart from its
 * programs by the vCPU's `guest_kernel`; everything that privilege would do, it asks for by hypercall. docs/engines/pv.md has the
 * whole picture; the ABI is that of the public headers (xen/).
 *
 * Machine frames: the machine's RAM is "the host's memory" of the ABI, guest physical addresses of src/machine are Xen's
 * machine addresses, so mfn = gpa >> 12. A domain owns a part of the frames, in an order of its own (mfn != pfn); the others are
 * ours: shared_info, grant tables, the machine-to-physical table and the page tables that show it.
 *
 * Locks, in the order in which they are taken: xenstore, a back end's own, grants, mm (page types, page tables), events. None is held
 * while guest memory is read or written by linear address, as that can fault; hypercalls copy in first.
 */
#pragma once
#include "machine/machine.h"

#define __XEN_INTERFACE_VERSION__ 0x00040e00 /* which names and fields the public headers have */
#include <xen/xen.h>
#include <xen/vcpu.h>

#define XEN_MAX_CPUS \
	32 /* vcpu_info[] of shared_info (XEN_LEGACY_MAX_VCPUS); more need none of it but register_vcpu_info */
#define XEN_DOMID 1 /* the guest's; DOMID_SELF, and 0 is the back ends' */

struct xen_mm;
struct xen_events;
struct xen_grants;
struct xen_store;
struct xen_console;

/* What a vCPU has beside struct vcpu. Its own thread's, but for what is said. */
struct xen_cpu {
	struct vcpu *v;
	/* Its vcpu_info: in shared_info, or where register_vcpu_info put it. Guest memory: read once, atomically, and believe nothing. */
	struct vcpu_info *_Atomic info;
	bool up; /* VCPUOP_up; changed under the domain's lock */
	struct trap_info traps[256];
	u64 kernel_ss, kernel_sp; /* stack_switch */
	struct timer singleshot; /* VIRQ_TIMER */
	struct vcpu_runstate_info runstate; /* time.c's: what the guest's copy at runstate_gla says, if that is not 0 */
	_Atomic u64 runstate_gla;
};

struct xen_domain {
	struct machine *machine;
	struct shared_info *shared; /* host address of our frame */
	u64 shared_mfn;
	u64 pages; /* that it started with; toolstack.c's */
	unsigned cpus;
	struct xen_cpu cpu[MACHINE_MAX_CPUS];
	pthread_mutex_t lock; /* vCPUs going up and down, callbacks */
	bool no_fifo; /* event channels have the 2-level ABI alone */
	_Atomic u64 vm_assist; /* a bit a VMASST_TYPE_* that is enabled */
	struct xen_mm *mm;
	struct xen_events *events;
	struct xen_grants *grants;
	struct xen_store *store;
	struct xen_console *console;
};

static inline struct xen_domain *xen_of(const struct vcpu *v)
{
	return v->machine->platform;
}
static inline struct xen_cpu *xen_cpu_of(const struct vcpu *v)
{
	return &xen_of(v)->cpu[v->id];
}

/* ---- hypercalls ---- */
/* One call: rdi, rsi, rdx, r10, r8 (and r9) in arg. The result is for rax: 0 or more, or a negative errno of Xen's (xen/errno.h: the
 * same numbers as Linux'). May not unwind; guest memory is read by guest_read(). */
typedef s64 hypercall_fn(struct vcpu *v, const u64 arg[6]);

/* Guest memory at a linear address, as the guest kernel sees it; -EFAULT where it would fault, and nothing has been transferred
 * then. Any length. */
int guest_read(struct vcpu *v, u64 gla, void *buf, u64 len);
int guest_write(struct vcpu *v, u64 gla, const void *buf, u64 len);
