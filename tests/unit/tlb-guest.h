/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest for tests of the software TLB: 64-bit code, PCIDs and global pages on, two address spaces. Linear pages are 8 MiB apart, so that
 * all of them share one pair of entries with one or the other half of a view as their own; and there are some pages of RAM, told apart by
 * their first word.
 */
#pragma once
#include "mmu/mmu-internal.h"
#include "sys-guest.h"

enum {
	SPACES = 2, /* address spaces, by PCID */
	APART = TLB_HALF << PAGE_SHIFT,
	COLUMN = 6, /* pages that share a pair */
	COLUMNS = 2,
	PAGES = COLUMN * COLUMNS,
	GLOBAL = PAGES - 1, /* this one is both spaces', and global */
	TARGETS = 8, /* pages of RAM */
	TABLES = 0x20000, /* of each space: PML4, PDPT, PD, a PT for each of a column */
	SPACE_BYTES = (3 + COLUMN) * PAGE_SIZE,
	DATA = 0x100000,
	LARGE = 0x200000,
	AT = 64 /* offset that stores go to; loads look at 0 */
};
#define BASE	0x10000000ull
#define PF_NONE (~0u)

static inline u64 gla_of(unsigned page)
{
	return BASE + (u64)(page / COLUMNS) * APART + (u64)(page % COLUMNS) * PAGE_SIZE;
}
static inline u64 target_gpa(unsigned t)
{
	return DATA + (u64)t * PAGE_SIZE;
}
static inline u64 root(unsigned space)
{
	return TABLES + space * SPACE_BYTES;
}
static inline u64 pde_at(unsigned space, u64 gla)
{
	return root(space) + 2 * PAGE_SIZE + (gla >> 21 & 511) * 8;
}
static inline u64 pt_of(unsigned space, unsigned row)
{
	return root(space) + (3 + row) * PAGE_SIZE;
}
static inline u64 pte_at(unsigned space, u64 gla)
{
	return pt_of(space, (unsigned)((gla - BASE) / APART)) + (gla >> PAGE_SHIFT & 511) * 8;
}

/* ---- the guest: 64-bit, PCIDs and global pages on ---- */

static unsigned hooked; /* calls of code_written */
static u64 hooked_page;

static void on_code_written(struct vcpu *v, u64 page, unsigned offset, unsigned len)
{
	hooked++;
	hooked_page = page;
}

static void on_reset(struct vcpu *v)
{
}

static const struct mmu_hooks hooks = { .code_written = on_code_written, .spaces_reset = on_reset };

static inline void build_tables(struct guest *g, unsigned space)
{
	put64(g, root(space), (root(space) + PAGE_SIZE) | PTE_P | PTE_W | PTE_U);
	put64(g, root(space) + PAGE_SIZE, (root(space) + 2 * PAGE_SIZE) | PTE_P | PTE_W | PTE_U);
	for (unsigned row = 0; row < COLUMN; row++)
		put64(g, pde_at(space, BASE + (u64)row * APART), pt_of(space, row) | PTE_P | PTE_W | PTE_U);
}

static inline void fill_targets(struct guest *g)
{
	for (unsigned t = 0; t < TARGETS; t++)
		put64(g, target_gpa(t), t);
}

static inline struct vcpu *start(void **state)
{
	struct guest *g = *state;
	struct vcpu *v = g->v;

	memset(g->m->ram, 0, RAM);
	for (unsigned t = 0; t < TARGETS; t++)
		mmu_mark_code(v, ram_page_index(g->m, at(g, target_gpa(t))), false);
	for (unsigned space = 0; space < SPACES; space++)
		build_tables(g, space);
	fill_targets(g);
	v->cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_WP;
	v->cr4 = CR4_PAE | CR4_PGE | CR4_PCIDE;
	v->efer = EFER_LME | EFER_LMA;
	load_flat(v, SEG_CS, CS64, 0xa09b);
	set_cpl(v, 0);
	vcpu_update_mode(v);
	mmu_set_hooks(v, &hooks);
	mmu_flush_all(v);
	mmu_set_cr3(v, root(0) | 1);
	v->cur = &g->insn;
	return v;
}

static inline void map(struct guest *g, unsigned space, u64 gla, unsigned target, u64 rights)
{
	put64(g, pte_at(space, gla), target_gpa(target) | PTE_P | PTE_U | rights);
}

/* ---- accesses; the error code of a page fault, or PF_NONE ---- */

static inline u32 load(struct guest *g, u64 gla, u64 *value)
{
	g->v->unwind = &g->landing;
	if (setjmp(g->landing)) {
		assert_int_equal(g->v->event.vector, EXC_PF);
		return g->v->event.error;
	}
	*value = mmu_load(g->v, gla, 8, MMU_EXPLICIT);
	return PF_NONE;
}

static inline u32 store(struct guest *g, u64 gla, u64 value)
{
	g->v->unwind = &g->landing;
	if (setjmp(g->landing)) {
		assert_int_equal(g->v->event.vector, EXC_PF);
		return g->v->event.error;
	}
	mmu_store(g->v, gla, 8, value, MMU_EXPLICIT);
	return PF_NONE;
}

static inline void assert_loads(struct guest *g, u64 gla, u64 target)
{
	u64 value = ~0ull;

	assert_int_equal(load(g, gla, &value), PF_NONE);
	assert_int_equal(value, target);
}

static inline u64 fills(const struct vcpu *v)
{
	return v->stats.tlb_fills[VIEW_USER] + v->stats.tlb_fills[VIEW_KERNEL] +
	       v->stats.tlb_fills[VIEW_KERNEL_NO_SMAP];
}
