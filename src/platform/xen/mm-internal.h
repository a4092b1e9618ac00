/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the page types share: a frame's word, and who may change it how.
 *
 * A frame's state is one word, changed by compare-and-exchange alone: so the common case, an entry of an L1 table that
 * maps or unmaps plain memory, needs no lock. `mm.lock` is held by whoever makes a frame a page table (promotion, which validates
 * all its entries) or ends that (demotion, which gives up what they refer to), and for the tables above L1. Invariants:
 *
 * - refs >= uses; type is FRAME_NONE if and only if uses is 0.
 * - BUSY: a page table under promotion or demotion, by the holder of the lock; uses is 1 and nobody adds one.
 * - Each present entry of a table that is not BUSY holds a reference to the frame that it names; if it is an L1's and writable, a use as
 *   FRAME_WRITABLE too; if it is a higher table's, a use as the level below.
 * - A pinned frame has a use and a reference for that, a vCPU's root likewise.
 * - A frame without refs that the domain does not own is in the pool.
 *
 * Two things outlive an entry: translations in vCPUs' TLBs, and walks that are under way. Frames of the domain may be read by
 * stale ones, that is the guest's affair, but a page table may neither be written through a stale writable translation nor be walked once
 * it is plain memory: mm-flush.c.
 */
#pragma once
#include <errno.h>

#include "mmu/mmu.h"
#include "platform/xen/mm.h"

#define F_COUNT_BITS 28
#define F_REF	     1ull
#define F_USE	     BIT(F_COUNT_BITS)
#define F_COUNT_MASK (BIT(F_COUNT_BITS) - 1)
#define F_COUNT_MAX \
	(F_COUNT_MASK - MACHINE_MAX_CPUS) /* for entries and pins: each vCPU may add a use while it changes a table */
#define F_TYPE_SHIFT 56
#define F_TYPE	     (7ull << F_TYPE_SHIFT)
#define F_PINNED     BIT(59)
#define F_BUSY	     BIT(60)
#define F_OWNED	     BIT(61) /* the domain's */
#define F_SHARED     BIT(62) /* ours, and the guest may map it */
#define F_SHARED_RW  BIT(63)

#define TABLE_ENTRIES 512
#define HIDDEN_SLOT   256u /* of an L4: ours are 256 to 271 (xen.h: HYPERVISOR_VIRT_START to _END) */
#define HIDDEN_SLOTS  16u
#define M2P_BASE      0xffff800000000000ull
#define M2P_NONE      (~0ull)

/* The descriptor tables of all vCPUs, in the last GiB of slot 256: 64 KiB of GDT and 64 KiB of LDT each. */
#define TABLES_BASE 0xffff807fc0000000ull
#define GDT_PAGES   16u
#define LDT_PAGES   16u
#define GDT_OWN	    14u /* the page of Xen's own selectors: FIRST_RESERVED_GDT_PAGE */
#define GDT_LIMIT   0xefffu

struct frame {
	_Atomic u64 word;
};

struct xen_mm {
	struct frame *frame; /* by mfn */
	u64 limit; /* mfns are below */
	u64 own_first; /* index among the machine's RAM pages: ours from here on */
	u64 next; /* mm_alloc(): the frames from here to the end are taken */
	u64 *m2p; /* host address */
	u64 hidden; /* slot 256's entry */
	u64 *table_l1[4]; /* entries that map the vCPUs' descriptor tables */
	u64 zero_mfn, gdt_mfn;
	u64 gdt_mfns[MACHINE_MAX_CPUS][GDT_PAGES], ldt_mfns[MACHINE_MAX_CPUS][LDT_PAGES]; /* 0: none */
	u64 user_root[MACHINE_MAX_CPUS], kernel_root[MACHINE_MAX_CPUS]; /* uses as L4 that vCPUs hold; 0: none */
	pthread_mutex_t lock;
	pthread_mutex_t pool_lock; /* a leaf */
	u64 *pool; /* frames that the domain gave back */
	u64 pooled;
	_Atomic u64 total; /* frames that the domain owns */
	u64 initial; /* that many when it began */
	bool built; /* the domain runs */
	_Atomic u64 held_refs, held_writes; /* by mm_get(), all frames together */
};

static inline enum frame_type word_type(u64 w)
{
	return w >> F_TYPE_SHIFT & 7;
}
static inline u64 word_uses(u64 w)
{
	return w >> F_COUNT_BITS & F_COUNT_MASK;
}
static inline u64 word_refs(u64 w)
{
	return w & F_COUNT_MASK;
}
static inline u64 word_with_type(u64 w, enum frame_type t)
{
	return (w & ~F_TYPE) | (u64)t << F_TYPE_SHIFT;
}

static inline struct frame *frame_of(struct xen_mm *mm, u64 mfn)
{
	return mfn < mm->limit ? &mm->frame[mfn] : NULL;
}
/* A mfn that frame_of() knows to be RAM. */
static inline u8 *frame_host(const struct xen_domain *d, u64 mfn)
{
	return ram_ptr(d->machine, mfn << PAGE_SHIFT, PAGE_SIZE);
}
static inline u64 *table_host(const struct xen_domain *d, u64 mfn)
{
	return (u64 *)frame_host(d, mfn);
}
static inline u64 entry_mfn(u64 e)
{
	return (e & (BIT(52) - PAGE_SIZE)) >> PAGE_SHIFT;
}
static inline u64 entry_load(const u64 *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

/* ---- mm-types.c ---- */
/* A reference, and a use as FRAME_WRITABLE if writable. Lock-free. -EINVAL: not the domain's; or in use as something else. */
int frame_get(struct xen_mm *mm, u64 mfn, bool writable);
void frame_put(struct xen_domain *d, u64 mfn, bool writable);
/* One more use of a table that is one already, and its end. Lock-free, but for the last use. */
bool table_use(struct frame *f, enum frame_type level);
void table_unuse(struct xen_domain *d, u64 mfn);
/* The lock held: a use as a table or descriptor frame, with promotion; -EINVAL. */
int type_get(struct xen_domain *d, u64 mfn, enum frame_type type);
void type_put(struct xen_domain *d, u64 mfn);
/* The frame is no longer the domain's, and free once nothing refers to it. -EINVAL: it was not; -EBUSY: it is pinned. */
int frame_release(struct xen_domain *d, u64 mfn);
int type_pin(struct xen_domain *d, u64 mfn, enum frame_type type);
int type_unpin(struct xen_domain *d, u64 mfn);

/* ---- mm-entry.c ---- */
/* Whether an entry of a table of this level may be; takes what it needs. The lock held for levels above L1. */
int entry_get(struct xen_domain *d, u64 e, enum frame_type level);
void entry_put(struct xen_domain *d, u64 e, enum frame_type level);
/* The L1 entry of gla in the tables under the kernel's root: its table's mfn, 0: there is none. */
u64 entry_find(struct vcpu *v, u64 gla, unsigned *index);

/* ---- mm-gdt.c ---- */
int descriptors_validate(u64 *desc);
void ldt_set(struct vcpu *v, u64 gla, unsigned entries);

/* ---- mm-flush.c ---- */
void mm_lock(struct xen_domain *d);
void mm_unlock(struct xen_domain *d);
/* The frame becomes a table, no writable entry names it any more: nor does any TLB, when it returns. The lock held. */
void flush_before_table(struct xen_domain *d, u64 mfn);
/* It was a table, and nothing refers to it as one: nor does any walk, when it returns. */
void flush_after_table(struct xen_domain *d, u64 mfn, bool root);
/* Flushes the TLBs of vCPUs, a bit each, v's own too: one page, or all when gla is FLUSH_ALL. */
#define FLUSH_ALL (~0ull)
void flush_cpus(struct vcpu *v, u64 cpus, u64 gla);
/* A guest's bitmap of vCPUs. */
int flush_read_mask(struct vcpu *v, u64 gla, u64 *cpus);
/* A table's frame was stored to by us: what was decoded there is old. */
static inline void table_written(struct machine *m, u64 *p)
{
	u64 index = ram_page_index(m, (u8 *)p);

	if (unlikely(atomic_load_explicit(&m->code_pages[index], memory_order_relaxed) & PAGE_HAS_CODE ||
		     atomic_load_explicit(&m->written, memory_order_relaxed) || m->tap))
		machine_written(m, p, 8);
}
