/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptor tables. A guest gives frames of its own, which nobody may write any more; each descriptor in them was checked. They
 * are shown to the CPU, with Xen's own selectors behind them, in tables that every L4 has (slot 256), so that also a user program's
 * address space, which lacks the guest kernel's memory, can load a segment.
 *
 * Present code and data descriptors get DPL 3, as the guest kernel runs there, and their accessed bit, as the CPU could not set it.
 */
#include <string.h>

#include "platform/xen/mm-internal.h"

#define DESC_P	      BIT(47)
#define DESC_DPL      (3ull << 45)
#define DESC_S	      BIT(44)
#define DESC_TYPE     (15ull << 40)
#define DESC_ACCESSED BIT(40)
#define SELECTOR_LDT  4u

/* System descriptors would be gates and task states into the privileged: none. */
static bool descriptor_fix(u64 *desc)
{
	if (!(*desc & DESC_P))
		return true;
	if (!(*desc & DESC_S))
		return !(*desc & DESC_TYPE);
	*desc |= DESC_DPL | DESC_ACCESSED;
	return true;
}

int descriptors_validate(u64 *desc)
{
	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		if (!descriptor_fix(&desc[i]))
			return -EINVAL;
	return 0;
}

/* ---- a vCPU's tables ---- */

static u64 tables_gla(const struct vcpu *v, unsigned page)
{
	return TABLES_BASE + ((u64)v->id * (GDT_PAGES + LDT_PAGES) + page) * PAGE_SIZE;
}

/* Page 0 to 15 are the GDT's, then the LDT's. mfn 0: a page of zeros. */
static void show(struct vcpu *v, unsigned page, u64 mfn)
{
	struct xen_mm *mm = xen_of(v)->mm;
	unsigned i = v->id * (GDT_PAGES + LDT_PAGES) + page;
	u64 e = (mfn ? mfn : mm->zero_mfn) << PAGE_SHIFT | PTE_P | PTE_A | PTE_NX;

	__atomic_store_n(&mm->table_l1[i / TABLE_ENTRIES][i % TABLE_ENTRIES], e, __ATOMIC_RELAXED);
	if (v == vcpu_current())
		mmu_flush_page(v, tables_gla(v, page));
	else /* it stands, and is set up by another */
		atomic_fetch_or(&v->events, EV_TLB);
}

u64 mm_descriptor(const struct vcpu *v, u16 selector)
{
	struct xen_domain *d = xen_of(v);
	unsigned i = v->id * (GDT_PAGES + LDT_PAGES) + (selector >> PAGE_SHIFT);
	u64 e = entry_load(&d->mm->table_l1[i / TABLE_ENTRIES][i % TABLE_ENTRIES]);

	return selector & SELECTOR_LDT ? 0 : entry_load(table_host(d, entry_mfn(e)) + (selector & ~PAGE_MASK) / 8);
}

static void take_frames(struct vcpu *v, u64 *held, const u64 *mfns, unsigned n, unsigned pages, unsigned base)
{
	for (unsigned i = 0; i < pages; i++) {
		u64 old = held[i];

		held[i] = i < n ? mfns[i] : 0;
		if (old || held[i])
			show(v, base + i, held[i]);
		if (old)
			table_unuse(xen_of(v), old);
	}
}

static int use_descriptors(struct vcpu *v, u64 mfn)
{
	struct xen_domain *d = xen_of(v);
	int r;

	mm_lock(d);
	r = type_get(d, mfn, FRAME_DESCRIPTOR);
	mm_unlock(d);
	return r;
}

int mm_set_gdt(struct vcpu *v, const u64 *mfns, unsigned entries)
{
	unsigned pages = (entries + TABLE_ENTRIES - 1) / TABLE_ENTRIES;
	struct xen_domain *d = xen_of(v);
	int r = 0;

	if (pages > GDT_OWN)
		return -EINVAL;
	for (unsigned i = 0; i < pages; i++) {
		r = use_descriptors(v, mfns[i]);
		if (!r)
			continue;
		while (i--)
			table_unuse(d, mfns[i]);
		return r;
	}
	take_frames(v, d->mm->gdt_mfns[v->id], mfns, pages, GDT_OWN, 0);
	return 0;
}

/* LDTs are lazily looked at by Xen, here at once: pages that are not there, or hold what may not be, have no descriptors. */
void ldt_set(struct vcpu *v, u64 gla, unsigned entries)
{
	unsigned pages = (entries + TABLE_ENTRIES - 1) / TABLE_ENTRIES, index;
	struct xen_domain *d = xen_of(v);
	u64 mfns[LDT_PAGES] = { 0 };

	for (unsigned i = 0; i < pages; i++) {
		u64 l1 = entry_find(v, gla + i * PAGE_SIZE, &index);
		u64 *table = l1 && frame_of(d->mm, l1) ? table_host(d, l1) : NULL;
		u64 e = table ? entry_load(&table[index]) : 0;

		if (e & PTE_P && !use_descriptors(v, entry_mfn(e)))
			mfns[i] = entry_mfn(e);
	}
	take_frames(v, d->mm->ldt_mfns[v->id], mfns, pages, LDT_PAGES, GDT_PAGES);
	v->ldtr = (struct segment){ .base = tables_gla(v, GDT_PAGES),
				    .limit = entries ? entries * 8 - 1 : 0,
				    .ar = entries ? AR_P | 2 : AR_UNUSABLE,
				    .selector = entries ? 8 : 0 };
}

void mm_reset_cpu(struct vcpu *v)
{
	mm_set_gdt(v, NULL, 0);
	ldt_set(v, 0, 0);
	v->gdtr = (struct table_reg){ .base = tables_gla(v, 0), .limit = GDT_LIMIT };
}

/* ---- hypercalls ---- */

s64 hypercall_set_gdt(struct vcpu *v, const u64 arg[6])
{
	u64 mfns[GDT_OWN], entries = (u32)arg[1];
	unsigned pages = (unsigned)((entries + TABLE_ENTRIES - 1) / TABLE_ENTRIES);

	if (entries > GDT_OWN * TABLE_ENTRIES)
		return -EINVAL;
	if (guest_read(v, arg[0], mfns, pages * sizeof(*mfns)))
		return -EFAULT;
	return mm_set_gdt(v, mfns, (unsigned)entries);
}

/* One descriptor, by machine address: of a table in use, or of memory that may become one. */
s64 hypercall_update_descriptor(struct vcpu *v, const u64 arg[6])
{
	struct xen_domain *d = xen_of(v);
	u64 mfn = arg[0] >> PAGE_SHIFT, desc = arg[1];
	struct frame *f = frame_of(d->mm, mfn);
	bool plain;

	if (!f || arg[0] & 7 || !descriptor_fix(&desc))
		return -EINVAL;
	plain = !table_use(f, FRAME_DESCRIPTOR);
	if (plain && frame_get(d->mm, mfn, true))
		return -EINVAL;
	u64 *p = (u64 *)(frame_host(d, mfn) + (arg[0] & ~PAGE_MASK));
	__atomic_store_n(p, desc, __ATOMIC_SEQ_CST);
	table_written(d->machine, p);
	if (plain)
		frame_put(d, mfn, true);
	else
		table_unuse(d, mfn);
	return 0;
}
