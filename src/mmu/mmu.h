/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest linear memory: the page walk (SDM vol. 3 ch. 4), and a software TLB in front of it.
 *
 * A view is an array of TLB entries for one way of looking at memory: user code; the supervisor with SMAP in force; the
 * supervisor without. v->tlb points at the current one. There is a set of views for each of the last few PCIDs, so that a
 * change of address space is a change of pointer. An entry serves an access of n bytes at gla when gla - tag <= 4096 - n
 * (unsigned), one compare that checks tag and page crossing together. Its host address is gla + delta, for which nothing has to wait for
 * the compare.
 *
 * Everybody looks in a page's own slot. What is displaced from there lies half a view away (tlb_other) until it is wanted: then the
 * two change places. So two pages with one slot do not push each other out.
 *
 * All addresses are canonical linear addresses, after segmentation. Faults do not return: they unwind (vcpu_raise).
 */
#pragma once
#include "machine/machine.h"

#define TLB_BITS 13
#define TLB_SIZE (1u << TLB_BITS)
#define TLB_HALF (TLB_SIZE / 2)

struct tlb_entry {
	u64 rd; /* linear page that may be read here, or a page of another slot: never matches */
	u64 wr; /* the same for writing */
	u64 delta; /* from linear address to host address; of an empty entry what makes rd's NULL */
	u64 info; /* TLB_* and gpa */
};

/* tlb_entry.info: gpa of the page and these. */
#define TLB_GLOBAL 0x1u
#define TLB_LARGE  0x2u

/* The views of an address space follow each other: user, supervisor, supervisor with SMAP suspended. */
#define TLB_VIEW_BYTES (TLB_SIZE * sizeof(struct tlb_entry))

static inline struct tlb_entry *tlb_slot(struct tlb_entry *view, u64 gla)
{
	return (struct tlb_entry *)((u8 *)view + (gla >> (PAGE_SHIFT - 5) & ((u64)(TLB_SIZE - 1) << 5)));
}

/* Host address of the page, or NULL. */
static inline u8 *tlb_host(const struct tlb_entry *e)
{
	return (u8 *)(e->rd + e->delta);
}

/* The other entry of a pair. */
static inline struct tlb_entry *tlb_other(struct tlb_entry *view, struct tlb_entry *e)
{
	return view + ((unsigned)(e - view) ^ TLB_HALF);
}

/* How an access is made: by the current CPL, or implicitly by the supervisor (descriptor tables, TSS, stacks of inner levels). */
enum mmu_access { MMU_EXPLICIT, MMU_SUPERVISOR, MMU_USER /* CPL 3's rights whatever the CPL */ };

int mmu_create(struct vcpu *v, struct error *err);
void mmu_destroy(struct vcpu *v);

/* Little-endian loads and stores of 1, 2, 4 or 8 bytes, any alignment, RAM or MMIO, across pages. A store that faults on its
 * second page has written nothing. */
u64 mmu_load(struct vcpu *v, u64 gla, unsigned size, enum mmu_access how);
void mmu_store(struct vcpu *v, u64 gla, unsigned size, u64 value, enum mmu_access how);
/* Any length up to 4096 bytes; checks all of it before it touches any. */
void mmu_read(struct vcpu *v, u64 gla, void *buf, unsigned len, enum mmu_access how);
void mmu_write(struct vcpu *v, u64 gla, const void *buf, unsigned len, enum mmu_access how);
/* Faults now if a later mmu_write(gla, len) would; makes nothing visible but accessed and dirty bits. */
void mmu_probe_write(struct vcpu *v, u64 gla, unsigned len, enum mmu_access how);
void mmu_probe_read(struct vcpu *v, u64 gla, unsigned len, enum mmu_access how);
/* The same at the current level, but any length, and nothing unwinds: false where it would fault or is no RAM, and then nothing was read or
 * written, unless others change the tables meanwhile. */
bool mmu_try_read(struct vcpu *v, u64 gla, void *buf, u64 len);
bool mmu_try_write(struct vcpu *v, u64 gla, const void *buf, u64 len);
/* Host address of [gla, gla + len) for writing (or reading), if it lies in one page of plain RAM without watchpoint or decoded code; else
 * NULL. Faults as an access would. Good until the next guest instruction. Atomics and page-at-a-time strings use it. */
u8 *mmu_direct_write(struct vcpu *v, u64 gla, unsigned len, enum mmu_access how);
u8 *mmu_direct_read(struct vcpu *v, u64 gla, unsigned len, enum mmu_access how);
/* Atomic compare-and-exchange of 1, 2, 4, 8 bytes at any alignment; returns what was there. Faults as a write. 16 bytes (CMPXCHG16B): *old is
 * compared and receives what was there; gla is aligned. Split accesses and MMIO take the machine's bus lock. */
u64 mmu_cmpxchg(struct vcpu *v, u64 gla, unsigned size, u64 old, u64 new_value);
bool mmu_cmpxchg16(struct vcpu *v, u64 gla, u64 old[2], const u64 new_value[2]);

/* Fetch: host address of the byte at gla and its gpa, for execution at the current CPL; faults. MMIO pages give NULL. */
const u8 *mmu_fetch(struct vcpu *v, u64 gla, u64 *gpa);

/* Walk without side effects (no A/D updates, no faults): for debuggers and traces. false if not present. */
bool mmu_translate(struct vcpu *v, u64 gla, u64 *gpa);

/* Linear memory [first, last], mapped to consecutive physical addresses with the same rights. rights: PTE_W, PTE_U, PTE_NX as all
 * levels combine to; PTE_G, and PTE_PS for large pages, of the leaf. */
struct mmu_mapping {
	u64 first, last, gpa, rights;
};
/* The current page tables, in order of addresses; fn returns false to end. Without side effects. Paging off: nothing. False: there
 * was more, but fn ended it or the tables are without end. */
bool mmu_list_mappings(struct vcpu *v, bool (*fn)(void *arg, const struct mmu_mapping *map), void *arg);
/* The entries of the software TLB's current context, one page each; rights: PTE_W where a write needs no walk, PTE_U, PTE_G, PTE_PS.
 * Nothing where the engine has no such TLB. */
void mmu_list_tlb(struct vcpu *v, bool (*fn)(void *arg, const struct mmu_mapping *map), void *arg);

/* ---- what changes translations ---- */
void mmu_set_cr3(
	struct vcpu *v,
	u64 cr3); /* MOV to CR3: bit 63 with PCIDs keeps the PCID's entries; loads PDPTEs (#GP when reserved) */
void mmu_flush_all(struct vcpu *v); /* everything, global pages too: CR0/CR4/EFER paging bits, PAT, A20 */
void mmu_flush_page(struct vcpu *v, u64 gla); /* INVLPG */
void mmu_invpcid(struct vcpu *v, unsigned type, u16 pcid, u64 gla);
/* Points v->tlb at the view for CPL, CR4.SMAP and RFLAGS.AC. Call when one of them has changed. */
void mmu_update_view(struct vcpu *v);
/* DR7 or machine.debug.watches changed: pages with data watchpoints get no fast entries. */
void mmu_update_watchpoints(struct vcpu *v);
void mmu_load_pdptes(struct vcpu *v); /* CR0.PG, CR4.PAE: PAE paging begins */

/* What may have become untrue: translations of one page, those that are not global, all; those to write to a page of RAM. */
enum mmu_drop { MMU_DROP_PAGE, MMU_DROP_LOCAL, MMU_DROP_ALL, MMU_DROP_WRITES };

struct mmu_hooks {
	/* A store hit a page with decoded code; called before the store's instruction ends. */
	void (*code_written)(struct vcpu *v, u64 page_index, unsigned offset, unsigned len);
	/* Code spaces were numbered anew: whatever is keyed by them must go. */
	void (*spaces_reset)(struct vcpu *v);
	/* Optional: whoever keeps translations of data that came from the TLB must drop these. gla: of MMU_DROP_WRITES, the RAM page's index. */
	void (*dropped)(struct vcpu *v, u64 gla, enum mmu_drop what);
	/* Decoded code is not each vCPU's own but all have it together: see mmu_mark_code(). */
	bool shared;
};
void mmu_set_hooks(struct vcpu *v, const struct mmu_hooks *hooks);
/*
 * Code spaces: a number of 16 bits that names one set of fetch translations. As long as mmu_code_space(v, gla) is the same,
 * what was fetched at gla before is still what is there (or code_written was called). Engines key lookups by linear
 * address with it. The halves of the address space have numbers of their own, so that a kernel mapped by global pages keeps
 * its number across address spaces.
 */
static inline u64 mmu_code_space(const struct vcpu *v, u64 gla)
{
	return v->code_space[gla >> 63];
}
/*
 * Code and several vCPUs. Each decodes for itself; stores reach the page of any by the slow path, which calls the storing
 * vCPU's code_written and mails the others that have code there (EV_CODE). Or, with mmu_hooks.shared, what one has decoded all have: a page
 * is marked, and unmarked, for all of them, and nobody is mailed: code_written sees to it that all hear of the store in time.
 *
 * mmu_mark_code() marks a RAM page as holding code that this vCPU decoded, or no longer. vCPUs may still have fast writes
 * to a page that gets its first code, and are asked to drop them (EV_WRITES); until mmu_code_settled() says of the number that
 * marking gave that all have, they may store there unnoticed: what is decoded may be executed once, but not kept.
 */
u64 mmu_mark_code(struct vcpu *v, u64 page_index, bool has_code);
bool mmu_code_settled(const struct vcpu *v, u64 epoch);
void mmu_drop_writes(struct vcpu *v); /* EV_WRITES was posted; the event is cleared already */
/* Bytes of a page with code were written: makes vCPU `to` call code_written for them soon. Any thread. */
void mmu_mail_code(struct vcpu *to, u64 page_index, unsigned offset, unsigned len);
/* vcpu_ops.memory_changed for engines that keep code by these rules. Any thread. */
void mmu_memory_changed(struct vcpu *v, u64 gpa, u64 len);
void mmu_take_code_mail(struct vcpu *v); /* EV_CODE was posted */
/*
 * Frames that are tables: a guest whose kernel is deprivileged (machine.deprivileged) has page tables that it can read and not write.
 * Protecting a page (machine.ram's, by index) returns when no vCPU has a writable translation of it or a store to it under way; no page-table
 * entry allows writes by then. Unprotecting returns when no walk that is under way can still use the page; nothing refers to it as a
 * table by then. On any thread, the current vCPU's between two accesses.
 */
int mmu_track_writers(struct machine *m); /* before vCPUs run */
void mmu_untrack_writers(struct machine *m);
void mmu_protect_page(struct machine *m, u64 page_index);
void mmu_unprotect_page(struct machine *m, u64 page_index, bool root);
/*
 * Such a guest asks for flushes because tables have changed, and we see each change: an entry of a table became `next`. Where a TLB may hold
 * what is less than before, it is counted; what is asked for then is only done where something has changed. gla: what the entry maps, where
 * that is known; then the current vCPU's translation of it goes at once. ~0: unknown.
 */
void mmu_table_changed(struct machine *m, const u64 *entry, u64 old, u64 next, u64 gla);
void mmu_flush_stale(struct vcpu *v); /* all that may have become untrue since it was entered */
/* Flushes a page, or what is stale, of other vCPUs, a bit each. When it returns they have, or will before their next instruction. v: the current. */
#define MMU_FLUSH_ALL (~0ull)
void mmu_flush_others(struct vcpu *v, u64 cpus, u64 gla);
void mmu_take_flushes(struct vcpu *v); /* EV_FLUSH was posted; the event is cleared already */
/* Around waiting for other vCPUs within an instruction: nobody waits for this one. v may be NULL. Coming back does what was posted. */
bool mmu_go_away(struct vcpu *v);
void mmu_come_back(struct vcpu *v, bool was_here);

/* Between leaving and entering, the vCPU touches no guest memory, so nobody waits for it: while it halts or is not run. */
void mmu_enter(struct vcpu *v);
void mmu_leave(struct vcpu *v);
