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
#include "platform/xen/xen.h"

#define __XEN_INTERFACE_VERSION__ 0x00040e00 /* which names and fields the public headers have */
/* clang-format off: the first is what the others need */
#include <xen/xen.h>
#include <xen/arch-x86/cpuid.h>
#include <xen/callback.h>
#include <xen/errno.h>
#include <xen/features.h>
#include <xen/physdev.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/version.h>
/* clang-format on */

#define XEN_MAX_CPUS \
	32 /* vcpu_info[] of shared_info (XEN_LEGACY_MAX_VCPUS); more need none of it but register_vcpu_info */
#define XEN_DOMID 1 /* the guest's; DOMID_SELF, and 0 is the back ends' */

struct device;
struct xen_mm;
struct xen_events;
struct xen_grants;
struct xen_store;
struct xen_console;
struct xen_backends;

/* Where the guest kernel is entered for a reason of its own: callback_op. */
struct xen_entry {
	u64 rip; /* 0: nowhere */
	bool masks; /* events */
};

/* A code and a stack segment as loaded from the descriptors that the selectors name. */
struct xen_selectors {
	u64 cs_descriptor, ss_descriptor;
	struct segment cs, ss;
};

/* Figures for -v. */
#define XEN_HYPERCALLS 64
#define XEN_SUB_OPS    32
struct xen_counts {
	u64 call[XEN_HYPERCALLS];
	u64 sub[XEN_HYPERCALLS][XEN_SUB_OPS]; /* of those with operations: by number, the last has all beyond */
	u64 upcalls, syscalls, exceptions, irets;
	u64 cpuids, msrs, controls, others; /* privileged instructions that were emulated */
	u64 table_stores, table_refusals;
	u64 updates; /* of entries, by hypercall */
};

/* What a vCPU has beside struct vcpu. Its own thread's, but for what is said. */
struct xen_cpu {
	struct vcpu *v;
	/* Its vcpu_info: in shared_info, or where register_vcpu_info put it. Guest memory: read once, atomically, and believe nothing. */
	struct vcpu_info *_Atomic info;
	bool up; /* VCPUOP_up; changed under the domain's lock */
	/* What another vCPU has prepared it to start with; under the domain's lock. Owned; NULL: nothing, or it has started. */
	struct vcpu_guest_context *initial;
	bool initialised; /* likewise */
	u64 info_mfn; /* where register_vcpu_info put `info`; 0: it is where it was */
	struct xen_entry event, failsafe, syscall;
	u64 io_bitmap; /* gla of the kernel's map of ports that its programs may not use */
	u32 io_ports; /* how many it has */
	u8 iopl;
	struct xen_selectors user, kernel; /* what iret loaded last */
	struct xen_counts counts;
	u32 parts; /* of the hypercall under way, that were done while somebody wants this vCPU to stop */
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
	unsigned cpus;
	u64 frames; /* that the domain began with: --mem */
	char crash
		[160]; /* why the domain cannot go on, the first reason; under `lock`. Empty: it can, or has said so itself */
	struct xen_config config; /* the caller's: a copy, less what it points to */
	struct device *status, *debug; /* ports: our init's exit status, debug exit */
	bool early_console; /* console_io is shown */
	bool used; /* a guest was loaded before: memory is not zero */
	struct xen_cpu cpu[MACHINE_MAX_CPUS];
	pthread_mutex_t lock; /* vCPUs going up and down, callbacks */
	bool no_fifo; /* event channels have the 2-level ABI alone */
	_Atomic u64 vm_assist; /* a bit a VMASST_TYPE_* that is enabled */
	struct xen_mm *mm;
	struct xen_events *events;
	struct xen_grants *grants;
	struct xen_store *store;
	struct xen_console *console;
	struct xen_backends *backends;
};

static inline struct xen_domain *xen_of(const struct vcpu *v)
{
	return v->machine->platform;
}
static inline struct xen_cpu *xen_cpu_of(const struct vcpu *v)
{
	return &xen_of(v)->cpu[v->id];
}

/* The domain ends as one that has crashed; why is for whoever asked for the run. On a vCPU's thread, which goes on only as far as
 * its next look at events. */
void xen_crash(struct vcpu *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- hypercalls ---- */
/* One call: rdi, rsi, rdx, r10, r8 (and r9) in arg. The result is for rax: 0 or more, or a negative errno of Xen's (xen/errno.h: the
 * same numbers as Linux'). May not unwind; guest memory is read by guest_read(). */
typedef s64 hypercall_fn(struct vcpu *v, const u64 arg[6]);

/* Between the parts of a hypercall that may have many: does what other vCPUs ask for (they wait for it), which may flush the TLB. Not 0: somebody wants this
 * vCPU to stop, and it has been told so often, more than a guest in its senses gives reason to; the result is this. */
int hypercall_breathe(struct vcpu *v);
/* Guest memory at a linear address, as the guest kernel sees it; -EFAULT where it would fault, and nothing has been transferred
 * then. Any length. */
int guest_read(struct vcpu *v, u64 gla, void *buf, u64 len);
int guest_write(struct vcpu *v, u64 gla, const void *buf, u64 len);
