/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables and TLB as a list, for people. Tables are the guest's and may be anything, such as one whose entries all lead to
 * itself: so many are read and no more.
 */
#include "mmu/mmu-internal.h"

#define TABLES_MAX (1u << 17)
#define COMBINED   (PTE_W | PTE_U) /* each level must grant these */

struct listing {
	struct vcpu *v;
	bool (*fn)(void *arg, const struct mmu_mapping *map);
	void *arg;
	struct mmu_mapping now; /* grows as long as what follows continues it */
	bool any;
	unsigned tables; /* read so far */
};

static bool emit(struct listing *l)
{
	bool go_on = !l->any || l->fn(l->arg, &l->now);

	l->any = false;
	return go_on;
}

static bool add_page(struct listing *l, u64 gla, u64 gpa, u64 size, u64 rights)
{
	struct mmu_mapping *m = &l->now;

	if (l->any && m->last + 1 == gla && m->gpa + (gla - m->first) == gpa && m->rights == rights) {
		m->last += size;
		return true;
	}
	if (!emit(l))
		return false;
	*m = (struct mmu_mapping){ .first = gla, .last = gla + size - 1, .gpa = gpa, .rights = rights };
	l->any = true;
	return true;
}

static u64 sign_extended(const struct vcpu *v, u64 gla)
{
	return v->efer & EFER_LMA ? (u64)((s64)(gla << 16) >> 16) : gla;
}

/* The entries of one table; rights: what the levels above grant. */
static bool list_table(struct listing *l, u64 table, const struct level *level, unsigned left, u64 gla, u64 rights)
{
	const struct vcpu *v = l->v;
	bool wide = v->cr4 & CR4_PAE;
	unsigned size = wide ? 8 : 4;

	if (l->tables++ >= TABLES_MAX)
		return false;
	for (u64 i = 0; i < BIT(level->bits); i++) {
		const u8 *p = ram_ptr(v->machine, table + i * size, size);
		u64 e = !p ? 0 : wide ? *(const volatile u64 *)p : *(const volatile u32 *)p;
		u64 at = gla | i << level->shift;
		u64 got = (rights & COMBINED & e) | ((rights | (wide ? e : 0)) & PTE_NX);
		bool large = level->may_map && (e & PTE_PS) && (wide || (v->cr4 & CR4_PSE));

		if (!(e & PTE_P))
			continue;
		if (left > 1 && !large) {
			if (!list_table(l, e & (wide ? WALK_ADDR_MASK : 0xfffff000u), level + 1, left - 1, at, got))
				return false;
			continue;
		}
		u64 gpa = large ? walk_large_base(e, level->shift, wide) : e & (wide ? WALK_ADDR_MASK : 0xfffff000u);
		got |= (e & PTE_G) | (large ? PTE_PS : 0);
		if (!add_page(l, sign_extended(v, at), gpa, BIT(level->shift), got))
			return false;
	}
	return true;
}

bool mmu_list_mappings(struct vcpu *v, bool (*fn)(void *arg, const struct mmu_mapping *map), void *arg)
{
	bool pae32 = (v->cr4 & CR4_PAE) && !(v->efer & EFER_LMA);
	struct listing l = { .v = v, .fn = fn, .arg = arg };
	const struct level *level;
	unsigned count;
	u64 table;

	if (!(v->cr0 & CR0_PG))
		return true;
	for (u64 quarter = 0; quarter < (pae32 ? 4 : 1); quarter++) {
		if (!walk_root(v, quarter << 30, false, &table, &level, &count))
			continue;
		if (!list_table(&l, table, level, count, quarter << 30, COMBINED))
			return false;
	}
	return emit(&l);
}

void mmu_list_tlb(struct vcpu *v, bool (*fn)(void *arg, const struct mmu_mapping *map), void *arg)
{
	struct mmu *m = v->mmu;

	for (unsigned k = 0; m && k < NR_VIEWS * TLB_SIZE; k++) {
		const struct tlb_entry *e = &m->now->entry[k];
		bool used = ((e->rd >> PAGE_SHIFT ^ k) & (TLB_HALF - 1)) == 0;
		struct mmu_mapping map = { .first = e->rd, .last = e->rd + PAGE_SIZE - 1, .gpa = e->info & PAGE_MASK };

		if (!used)
			continue;
		map.rights = (e->wr == e->rd ? PTE_W : 0) | (k / TLB_SIZE == VIEW_USER ? PTE_U : 0) |
			     (e->info & TLB_GLOBAL ? PTE_G : 0) | (e->info & TLB_LARGE ? PTE_PS : 0);
		if (!fn(arg, &map))
			return;
	}
}
