/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's page tables (SDM vol. 3 ch. 4): 2-level with 4 MiB pages, PAE, and 4-level with 2 MiB and 1 GiB pages.
 *
 * One loop walks all formats, driven by a row per level. Entries are read from guest RAM, which the guest may change
 * meanwhile: the accessed and dirty bits are set by compare-and-exchange, and a lost race restarts the walk. Entries above
 * the leaf get their accessed bit as they are used; the leaf only when the access is allowed.
 */
#include <string.h>

#include "mmu/mmu-internal.h"

#define RESERVED_HIGH (BIT(52) - BIT(GPA_BITS))

static const struct level levels_32[] = { { 22, 10, true }, { 12, 10, false } };
static const struct level levels_64[] = { { 39, 9, false }, { 30, 9, true }, { 21, 9, true }, { 12, 9, false } };

struct rights { /* of the access */
	bool user, write, fetch, smap;
};

static u64 entry_read(const u8 *p, bool wide)
{
	return wide ? __atomic_load_n((const u64 *)p, __ATOMIC_RELAXED)
		    : __atomic_load_n((const u32 *)p, __ATOMIC_RELAXED);
}

/* Sets bits in an entry if it still is what was read. */
static bool entry_mark(const struct machine *m, u8 *p, bool wide, u64 seen, u64 bits)
{
	if ((seen & bits) == bits)
		return true;
	if (unlikely(m->tap) && !m->tap->marks(m->tap, p, wide, bits))
		return true;
	if (wide)
		return __atomic_compare_exchange_n((u64 *)p, &seen, seen | bits, false, __ATOMIC_SEQ_CST,
						   __ATOMIC_RELAXED);
	u32 old = (u32)seen;
	return __atomic_compare_exchange_n((u32 *)p, &old, (u32)(seen | bits), false, __ATOMIC_SEQ_CST,
					   __ATOMIC_RELAXED);
}

static bool reserved_set(const struct vcpu *v, u64 e, unsigned shift, bool wide, bool leaf)
{
	if (!wide)
		return shift == 22 && leaf && (e & BIT(21));
	u64 bad = RESERVED_HIGH;
	if (!(v->efer & EFER_LMA))
		bad |= BIT(63) - BIT(52);
	if (!(v->efer & EFER_NXE))
		bad |= PTE_NX;
	if (leaf && shift > 12)
		bad |= BIT(shift) - BIT(13);
	if (!leaf && (shift == 39 || (shift == 30 && !cpu_has(v->model, FEAT_PDPE1GB))))
		bad |= PTE_PS;
	return e & bad;
}

/* SDM vol. 3, 4.6.1: what the combined bits of all levels allow. */
static bool allowed(const struct vcpu *v, const struct rights *r, bool user_page, bool writable, bool nx)
{
	if (r->user) {
		if (!user_page)
			return false;
	} else if (user_page) {
		if (r->fetch ? (v->cr4 & CR4_SMEP) != 0 : r->smap)
			return false;
	}
	if (r->fetch)
		return !nx;
	return !r->write || writable || (!r->user && !(v->cr0 & CR0_WP));
}

/* What protection keys forbid a data access to a page that the tables allow: PKRU rules user pages, PKRS the others (4.6.2).
 * Two bits a key: no access, no write; the supervisor heeds the latter only with CR0.WP. */
static bool key_forbids(const struct vcpu *v, u64 leaf, bool user_page, bool by_user, bool write)
{
	unsigned shift = 2 * (leaf >> 59 & 15);
	u32 rights = (user_page ? v->pkru : v->pkrs) >> shift & 3;

	if (!(v->cr4 & (user_page ? CR4_PKE : CR4_PKS)) || !(v->efer & EFER_LMA))
		return false;
	return rights & 1 || (write && rights & 2 && (by_user || v->cr0 & CR0_WP));
}

static u32 fault_code(const struct vcpu *v, const struct rights *r, u32 why)
{
	bool show_fetch = r->fetch && ((v->efer & EFER_NXE) || (v->cr4 & CR4_SMEP));
	return why | (r->write ? PF_W : 0) | (r->user ? PF_U : 0) | (show_fetch ? PF_I : 0);
}

bool walk_root(const struct vcpu *v, u64 gla, bool user, u64 *table, const struct level **first, unsigned *count)
{
	if (v->efer & EFER_LMA) {
		bool split = unlikely(v->machine->deprivileged != NULL) && user;

		if (split && !v->user_cr3)
			return false;
		*table = (split ? v->user_cr3 : v->cr3) & WALK_ADDR_MASK;
		*first = levels_64;
		*count = 4;
	} else if (v->cr4 & CR4_PAE) { /* the PDPTEs were loaded with CR3 */
		u64 e = v->pdpte[gla >> 30 & 3];
		if (!(e & PTE_P))
			return false;
		*table = e & WALK_ADDR_MASK;
		*first = levels_64 + 2;
		*count = 2;
	} else {
		*table = v->cr3 & 0xfffff000u;
		*first = levels_32;
		*count = 2;
	}
	return true;
}

u64 walk_large_base(u64 e, unsigned shift, bool wide)
{
	if (wide)
		return e & WALK_ADDR_MASK & ~(BIT(shift) - 1);
	return (e & 0xffc00000u) | (e >> 13 & 0xff) << 32; /* PSE-36 */
}

static void walk_done(const struct vcpu *v, u64 gla, u64 e, unsigned shift, bool wide, bool may_write, struct walk *w)
{
	u64 base = shift > 12 ? walk_large_base(e, shift, wide) : e & (wide ? WALK_ADDR_MASK : 0xfffff000u);
	w->gpa = base | (gla & (BIT(shift) - 1));
	w->shift = shift;
	w->global = (e & PTE_G) && (v->cr4 & CR4_PGE);
	w->writable = may_write && (e & PTE_D);
}

/* Before an entry is read: tables.c says why. */
static void note_walked(struct machine *m, const u8 *entry, u64 gla)
{
	_Atomic u8 *page = &m->code_pages[ram_page_index(m, entry)];
	u8 mark = (u8)(PAGE_WALKED << (gla >> 63));

	if (unlikely((atomic_load_explicit(page, memory_order_relaxed) & (PAGE_TABLE | mark)) == PAGE_TABLE))
		atomic_fetch_or(page, mark);
}

static bool walk_tables(struct vcpu *v, u64 gla, const struct rights *r, struct walk *w, u32 *error, bool *again)
{
	bool wide = v->cr4 & CR4_PAE, user = true, writable = true, nx = false;
	const struct level *l;
	unsigned count;
	u64 table;

	*error = fault_code(v, r, 0);
	if (!walk_root(v, gla, r->user, &table, &l, &count))
		return false;
	for (;; l++, count--) {
		u64 index = gla >> l->shift & (BIT(l->bits) - 1);
		u8 *p = ram_ptr(v->machine, table + index * (wide ? 8 : 4), wide ? 8 : 4);
		if (unlikely(v->machine->deprivileged != NULL) && p)
			note_walked(v->machine, p, gla);
		u64 e = p ? entry_read(p, wide) : ~0ull; /* outside RAM the bus reads as ones */
		if (!(e & PTE_P))
			return false;
		bool large = l->may_map && (e & PTE_PS) && (wide || (v->cr4 & CR4_PSE)) &&
			     (l->shift != 30 || cpu_has(v->model, FEAT_PDPE1GB));
		bool leaf = large || count == 1;
		if (!p || reserved_set(v, e, l->shift, wide, leaf)) {
			*error = fault_code(v, r, PF_P | PF_RSVD);
			return false;
		}
		user &= (e & PTE_U) != 0;
		writable &= (e & PTE_W) != 0;
		nx |= wide && (e & PTE_NX);
		bool keys = leaf && v->cr4 & (CR4_PKE | CR4_PKS) && !r->fetch;
		u32 key = keys && key_forbids(v, e, user, r->user, r->write) ? PF_PK : 0;
		if (leaf && (key || !allowed(v, r, user, writable, nx))) {
			*error = fault_code(v, r, PF_P | key);
			walk_done(v, gla, e, l->shift, wide, false, w); /* where it is, for table_store() */
			return false;
		}
		u64 mark = PTE_A | (leaf && r->write ? PTE_D : 0);
		if (!entry_mark(v->machine, p, wide, e, mark)) {
			*again = true;
			return false;
		}
		if (leaf) {
			writable |= !r->user && !(v->cr0 & CR0_WP);
			if (keys && key_forbids(v, e, user, r->user, true))
				writable = false;
			walk_done(v, gla, e | mark, l->shift, wide, writable, w);
			w->global |= v->guest_kernel && !r->user && gla >> 63;
			return true;
		}
		table = e & (wide ? WALK_ADDR_MASK : 0xfffff000u);
	}
}

bool mmu_walk(struct vcpu *v, u64 gla, enum intent intent, enum mmu_access how, struct walk *w, u32 *error)
{
	bool again;

	if (!(v->cr0 & CR0_PG)) {
		*w = (struct walk){ .gpa = gla & (BIT(GPA_BITS) - 1), .shift = 12, .writable = true };
		return true;
	}
	struct rights r = {
		.user = how == MMU_USER || (how == MMU_EXPLICIT && !vcpu_is_supervisor(v)),
		.write = intent == INTENT_WRITE,
		.fetch = intent == INTENT_FETCH,
	};
	r.smap = !r.user && (v->cr4 & CR4_SMAP) && (how == MMU_SUPERVISOR || !(v->rflags & FL_AC));
	v->stats.page_walks++;
	u8 place = vcpu_at(v, PLACE_WALK);
	bool told = unlikely(v->machine->write_cpus != NULL), found; /* tables.c */
	if (told)
		atomic_fetch_add(&v->mmu->walks, 1);
	do {
		again = false;
		found = walk_tables(v, gla, &r, w, error, &again);
	} while (!found && again);
	if (told)
		atomic_store_explicit(&v->mmu->walks, v->mmu->walks + 1, memory_order_release);
	vcpu_at(v, place);
	return found;
}

/* Debuggers look as the supervisor that ignores every protection and leaves no trace. */
bool mmu_translate(struct vcpu *v, u64 gla, u64 *gpa)
{
	bool wide = v->cr4 & CR4_PAE;
	const struct level *l;
	unsigned count;
	u64 table;

	if (!(v->cr0 & CR0_PG)) {
		*gpa = gla & (BIT(GPA_BITS) - 1);
		return true;
	}
	if (!walk_root(v, gla, false, &table, &l, &count))
		return false;
	for (;; l++, count--) {
		u8 *p = ram_ptr(v->machine, table + (gla >> l->shift & (BIT(l->bits) - 1)) * (wide ? 8 : 4),
				wide ? 8 : 4);
		u64 e = p ? entry_read(p, wide) : 0;
		if (!(e & PTE_P))
			return false;
		if (count == 1 || (l->may_map && (e & PTE_PS) && (wide || (v->cr4 & CR4_PSE)))) {
			struct walk w;
			walk_done(v, gla, e, l->shift, wide, false, &w);
			*gpa = w.gpa;
			return true;
		}
		table = e & (wide ? WALK_ADDR_MASK : 0xfffff000u);
	}
}

/* SDM vol. 3, 4.4.1: loads and checks the four PDPTEs; #GP(0) leaves the old ones. */
void pdptes_load(struct vcpu *v, u64 cr3)
{
	u64 e[4];

	for (unsigned k = 0; k < 4; k++) {
		const u8 *p = ram_ptr(v->machine, (cr3 & 0xffffffe0u) + 8 * k, 8);
		e[k] = p ? entry_read(p, true) : ~0ull;
		if ((e[k] & PTE_P) && (e[k] & (~(BIT(GPA_BITS) - 1) | 0x1e6)))
			vcpu_raise_error(v, EXC_GP, 0);
	}
	memcpy(v->pdpte, e, sizeof(e));
}

void mmu_load_pdptes(struct vcpu *v)
{
	pdptes_load(v, v->cr3);
}
