/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of src/mmu share: the walk's result, the per-vCPU TLB state, and how a linear page is resolved. */
#pragma once
#include "mmu/mmu.h"

enum intent { INTENT_READ, INTENT_WRITE, INTENT_FETCH };

enum view { VIEW_USER, VIEW_KERNEL, VIEW_KERNEL_NO_SMAP, NR_VIEWS };

struct fetch_entry {
	u64 page; /* linear, or 1 when empty */
	const u8 *host;
	u64 gpa;
};
#define FETCH_SIZE  256
#define FILTER_BITS 14
#define LARGE_SHIFT 21 /* of the smallest large page */
#define LARGE_BITS  15 /* more than a guest's direct map has pieces */

/*
 * A translation that the TLB cannot have: of a device's page, or for writing to RAM with decoded code. Kept for as long as one of
 * the TLB's would be, so that what accesses devices again and again does not walk again and again.
 */
struct spot {
	u64 page; /* linear, or 1 when empty */
	const struct tlb_entry *view;
	u64 gpa;
	u8 *host; /* the page, or NULL */
	bool write; /* it may be written to */
};
#define SPOTS 16

/* Translations of one PCID. Without CR4.PCIDE only the first context is used. */
struct tlb_context {
	struct tlb_entry entry[NR_VIEWS * TLB_SIZE]; /* view after view */
	struct fetch_entry fetch[2][FETCH_SIZE]; /* user, supervisor */
	struct spot spot[SPOTS];
	u64 large[(1u << LARGE_BITS) / 64]; /* filter over the 2 MiB pieces of the large pages entered */
	u8 largest; /* log2 of the largest page entered */
	bool low_global; /* a page of the lower half was global */
	u16 filled
		[2048]; /* pairs that non-global pages were entered into since the last flush: view << TLB_BITS | slot in the first half */
	unsigned fills; /* above the array's size: unknown, scan */
	u16 pcid;
	u64 root, user_root; /* machine.deprivileged: whose translations they are, in the PCID's place */
	/* Likewise: machine.table_changes of the lower half, when it last was as the tables are; code_changes; roots_ended of both. */
	u64 seen, seen_code, seen_root, seen_user_root;
	u16 space; /* code space of the lower half */
	u64 used; /* stamp for replacement */
	u64 executed[(1u << FILTER_BITS) / 64]; /* filter over the lower half's fetched pages */
};
#define TLB_CONTEXTS 6
#define WRITERS	     3
#define MANY_WRITERS (~0u)
_Static_assert(NR_VIEWS << TLB_BITS <= 0x10000, "tlb_context.filled has numbers of 16 bits");

static inline struct tlb_entry *context_view(struct tlb_context *c, unsigned view)
{
	return c->entry + view * TLB_SIZE;
}

/* What others wrote where this vCPU has code. */
#define CODE_MAILS 32
struct code_mail {
	pthread_mutex_t lock;
	struct {
		u64 page;
		unsigned first, end;
	} item[CODE_MAILS];
	unsigned items;
	bool lost; /* more than fit */
};

/* What others want flushed. */
#define FLUSH_MAILS 32
struct flush_mail {
	pthread_mutex_t lock;
	u64 page[FLUSH_MAILS];
	unsigned pages;
	bool all;
	u64 posted;
	_Atomic u64 taken; /* of those posted, how many are done */
};

/* More than the pages that one instruction resolves before it stores. */
#define RECENT_WRITES 32

#define EPOCH_AWAY (~0ull)
struct mmu {
	_Atomic u64 epoch; /* machine.code_epoch whose fast writes are dropped; EPOCH_AWAY: touches no memory */
	u64 epoch_seen;
	struct code_mail mail;
	struct flush_mail flushes;
	u64 seen_high, seen_high_code; /* as tlb_context.seen, of the upper half, in all contexts */
	_Atomic u64 walks; /* begun and ended, while machine.write_cpus is there */
	struct tlb_context context[TLB_CONTEXTS];
	struct tlb_entry none[TLB_SIZE]; /* a view that never hits: alignment checks are on */
	struct tlb_context *now;
	const struct mmu_hooks *hooks;
	/* By RAM page: the pairs of TLB entries that may be written through, as numbers in all contexts plus 1, 0: none. If there are
	 * more, the first is MANY_WRITERS. */
	u32 (*writer)[WRITERS];
	/* While machine.write_cpus is there: pages that were last found writable, so that other vCPUs see a store that is under way. */
	_Atomic u64 recent[RECENT_WRITES];
	unsigned recent_next;
	/* While it is there, by RAM page: where a fast write was evicted, what `drops` was then, and bit 0: it was a global page's. */
	u32 *evicted;
	_Atomic u32 drops[2]; /* how often the engine was told to drop what is not global, and what is */
	u16 *piece_fills; /* entries made of each 2 MiB of RAM */
	u64 stamp;
	u16 high_space, last_space;
	bool high_local; /* upper-half code was fetched through non-global pages */
	u64 high_executed[(1u << FILTER_BITS) / 64];
	bool watching; /* DR7 has a data breakpoint, or a debugger a watchpoint */
};

struct walk {
	u64 gpa; /* of the byte */
	unsigned shift; /* log2 of the page size */
	bool global, writable; /* writable: the same kind of access may write, and the dirty bit is set */
};

/* Translates with all checks, sets accessed and dirty bits; false: *error is the page-fault error code. If that is without PF_RSVD but has
 * PF_P, w tells what is there. */
bool mmu_walk(struct vcpu *v, u64 gla, enum intent intent, enum mmu_access how, struct walk *w, u32 *error);

/* ---- walk.c, for inspect.c ---- */
struct level {
	u8 shift; /* of the linear address bits that index here */
	u8 bits; /* how many */
	bool may_map; /* PS = 1 maps a page here */
};
/* Where the walk of gla, by a program or not, begins: the root table, the first level and how many there are. False: nothing is mapped there. */
bool walk_root(const struct vcpu *v, u64 gla, bool user, u64 *table, const struct level **first, unsigned *count);
u64 walk_large_base(u64 e, unsigned shift, bool wide);
#define WALK_ADDR_MASK (BIT(GPA_BITS) - PAGE_SIZE)

void pdptes_load(struct vcpu *v, u64 cr3);

struct place { /* where a byte of linear memory is */
	u8 *host; /* NULL: not RAM */
	u64 gpa;
	bool code; /* RAM page with decoded code */
	bool table; /* of a store: RAM that deprivileged_ops.table_store() writes to */
};
/* Through the TLB or a walk; false: a page fault with that error code. Enters the page into the view. */
bool mmu_try_resolve(struct vcpu *v, u64 gla, enum intent intent, enum mmu_access how, struct place *p, u32 *error);
/* The same, but faults. */
void mmu_resolve(struct vcpu *v, u64 gla, enum intent intent, enum mmu_access how, struct place *p);

/* A RAM page gets decoded code: no entry of this vCPU's may be written through any more. */
void tlb_drop_writer(struct vcpu *v, u64 page_index);
void tlb_fill(struct vcpu *v, u64 gla, enum mmu_access how, const struct walk *w, u8 *page_host);
/* Whether a page may be written without telling anybody, or whoever has code there, or not at all as it has become a page table; notes that it
 * is, for the day it gets code or becomes one. */
enum writable { WRITABLE_FAST, WRITABLE_CODE, WRITABLE_NOT };
enum writable page_writable(struct vcpu *v, u64 index);
void tlb_note_large(struct tlb_context *c, u64 gla, unsigned shift);
struct tlb_entry *tlb_view(struct vcpu *v, enum mmu_access how);
/* gla's slot, into which its page comes back if it was displaced. */
struct tlb_entry *tlb_find(struct vcpu *v, struct tlb_entry *view, u64 gla);
void fetch_note(struct vcpu *v, u64 gla, bool global);

/* ---- writers.c ---- */
/* An entry that may be written through has been made; e, of which nothing may be left, is about to go. */
void tlb_note_writer(struct vcpu *v, const struct tlb_entry *e);
void tlb_note_evicted(struct vcpu *v, const struct tlb_entry *e);
/* Whether o may have a fast write to a page, or a store under way, as far as another thread can see. */
bool tlb_may_write(const struct vcpu *o, u64 page_index);

/* Tells the engine: mmu_hooks.dropped. */
void mmu_dropped(struct vcpu *v, u64 gla, enum mmu_drop what);

/* code.c: [offset, offset + len) of a page with decoded code has been stored to. */
void code_was_written(struct vcpu *v, u64 page, unsigned offset, unsigned len);

/* code.c: v has itself dropped what machine.code_epoch became `epoch` for. */
void code_epoch_seen(struct vcpu *v, u64 epoch);

/* debug breakpoints on data: watch.c */
void watch_check(struct vcpu *v, u64 gla, unsigned len, bool write);
bool watch_on_page(const struct vcpu *v, u64 gla);

static inline u64 tlb_empty_tag(unsigned slot)
{
	return (u64)(slot ^ 1) << PAGE_SHIFT;
}
static inline bool tlb_hits(u64 tag, u64 gla, unsigned len)
{
	return gla - tag <= PAGE_SIZE - len;
}
