/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page types and reference counts: what isolation rests on. Each frame of the domain has an owner, a type (none, writable, page table of level 1
 * to 4, descriptor table), how often it is used as that type, and how often at all. A frame changes its type only while no use of the old one
 * is left, so what is a page table is mapped writable nowhere, and every entry in it was validated before it took effect.
 * Locks itself; any thread, unless said otherwise.
 */
#pragma once
#include "platform/xen/domain.h"

enum frame_type { FRAME_NONE, FRAME_WRITABLE, FRAME_L1, FRAME_L2, FRAME_L3, FRAME_L4, FRAME_DESCRIPTOR };

/* How many frames a machine needs beside the domain's own: ours, and `others` for mm_alloc(). */
u64 mm_overhead(u64 domain_frames, unsigned cpus, unsigned others);
/* frames: of the whole machine; none is owned by the domain yet. Those for ourselves are taken at its end. */
int mm_create(struct xen_domain *d, struct error *err);
void mm_destroy(struct xen_domain *d);

/* ---- the domain builder's ---- */
/* The machine's RAM has this many frames that mm_give() may give; the i-th of them is mfn mm_nth(d, i). */
u64 mm_free_frames(const struct xen_domain *d);
u64 mm_nth(const struct xen_domain *d, u64 i);
/* Gives frame mfn to the domain as its pfn; notes it in the machine-to-physical table. */
void mm_give(struct xen_domain *d, u64 mfn, u64 pfn);
/* Takes a frame for ourselves (before any mm_give()), zeroed; 0: there is none left. */
u64 mm_alloc(struct xen_domain *d);
/* A frame of ours that the guest may map (writable: also for writing): shared_info, grant table. */
void mm_share(struct xen_domain *d, u64 mfn, bool writable);
/* Pins the initial page tables, whose entries the builder has written. They hold nothing that a guest's may not. */
int mm_pin_initial(struct xen_domain *d, u64 l4_mfn, struct error *err);
/* Root of the tables that show the machine-to-physical table, for slot 256 of each L4: an L4's entry, complete. Pinning puts it there. */
u64 mm_hidden_entry(const struct xen_domain *d);

/* ---- a vCPU's own, on its thread or while it stands. For the initial state and VCPUOP_initialise. ---- */
/* GDTR and LDTR for a vCPU with no frames of its own: only Xen's selectors. */
void mm_reset_cpu(struct vcpu *v);
/* What v's GDT has for the selector, past the TLB; 0: nothing, or it is the LDT's. On v's thread. */
u64 mm_descriptor(const struct vcpu *v, u16 selector);
int mm_set_gdt(struct vcpu *v, const u64 *mfns, unsigned entries);
/* Kernel's and user's L4; user may be 0: none. -EINVAL: not a page that can be one. */
int mm_set_roots(struct vcpu *v, u64 kernel_mfn, u64 user_mfn);

/* ---- uses of a frame by mfn: a guest's number, hostile ---- */
/* Takes a reference and, for FRAME_WRITABLE, a use of that type (FRAME_NONE: any type, to read). The host
 * address; NULL: not the domain's, or in use as something else. Never waits. */
u8 *mm_get(struct xen_domain *d, u64 mfn, enum frame_type as);
void mm_put(struct xen_domain *d, u64 mfn, enum frame_type as);

/* ---- hypercalls ---- */
hypercall_fn hypercall_mmu_update, hypercall_update_va_mapping, hypercall_mmuext_op, hypercall_memory_op,
	hypercall_set_gdt, hypercall_update_descriptor;

/* ---- writable page tables: the store of a guest kernel to a frame that it has mapped read-only as it is an L1 table ---- */
/* Whether such a store is to be done by mm_table_store(): the frame at gpa is an L1 table of the domain's. */
bool mm_is_l1_table(struct xen_domain *d, u64 gpa);
/* Stores size bytes at gpa inside of one entry, or, when old is not NULL, compares with *old and exchanges (*old receives what was
 * there), after validation of the entry that results. 0; -EINVAL: the guest gets a page fault; -EAGAIN: it is no L1 table any more. */
int mm_table_store(struct vcpu *v, u64 gpa, unsigned size, u64 value, u64 *old);

/* Ballooning: memory_op's work; tells how many frames the domain has now. */
u64 mm_total_pages(struct xen_domain *d);

/* ---- for tests and the monitor ---- */
/* Counts all types and references again, from the tables, while no vCPU runs. -EINVAL and a message: a frame's are wrong. */
int mm_check(struct xen_domain *d, struct error *err);
int mm_add_inspect(struct xen_domain *d, struct error *err);
