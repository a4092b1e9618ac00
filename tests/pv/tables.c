/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables: what isolation rests on. A table is never written but through its validation, maps nothing that is not the domain's, and
 * is of one level. Whatever is refused leaves everything as it was.
 */
#include "kit.h"

#define M2P	 0xffff800000000000ull
#define TABLE	 static u64 __attribute__((aligned(4096)))
#define MANY	 700 /* of the frames behind the domain's */
#define SHARABLE 33 /* among them: shared_info, grant tables */
#define OURS	 (last_mfn + 60) /* one that is not */

TABLE one[512], other[512], two[512], three[512], four[512], data[512], more[512];
static u64 last_mfn;

static void is_table(void *t, unsigned level)
{
	EQ(0, make_ro(t));
	EQ(0, pin(level, t));
}

static void is_plain(void *t)
{
	EQ(0, unpin(t));
	EQ(0, make_rw(t));
	PASSES(attempt(stos, t, 0, 512));
}

/* ---- what may be a table ---- */

static void writable_is_no_table(void)
{
	EQ(-XEN_EINVAL, pin(1, one));
	EQ(-XEN_EINVAL, pin(4, one));
	is_table(one, 1);
	EQ(-XEN_EINVAL, make_rw(one));
	EQ(-XEN_EINVAL, update_entry(one, 0, pte_of(one, RW)));
	EQ(0, update_entry(one, 0, pte_of(one, RO)));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store64, one, pte_of(one, RW)));
	EQ(pte_of(one, RO), one[0]);
	is_plain(one);
	/* A table that would map itself, or the table above, for writing. */
	one[7] = pte_of(one, RW);
	EQ(0, make_ro(one));
	EQ(-XEN_EINVAL, pin(1, one));
	EQ(0, make_rw(one));
	one[7] = pte_of(two, RW);
	two[0] = pte_of(one, RW);
	EQ(0, make_ro(one));
	EQ(0, make_ro(two));
	EQ(-XEN_EINVAL, pin(2, two));
	EQ(0, make_rw(one));
	EQ(0, make_rw(two));
	one[7] = two[0] = 0;
	/* The tables that the domain began with. */
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store64, kernel_l4(), 0));
	EQ(-XEN_EINVAL, make_rw(kernel_l4()));
}

/* Through the same address just before, and the entry is not flushed: the TLB knows a page that may be written. */
static void stale_translations(void)
{
	for (unsigned level = 1; level <= 4; level++) {
		for (unsigned k = 0; k < 2000; k++)
			PASSES(attempt(store64, &other[3], 0));
		PASSES(attempt(xchg64, &other[4], 0));
		EQ(0, hypercall(__HYPERVISOR_update_va_mapping, other, pte_of(other, RO), UVMF_NONE));
		EQ(0, pin(level, other));
		FAULTS(EXC_PF, PF_P | PF_W, attempt(store64, &other[3], pte_of(one, RW) | 1ull << 51));
		FAULTS(EXC_PF, PF_P | PF_W, attempt(xchg64, &other[4], OURS * PAGE | RO));
		FAULTS(EXC_PF, PF_P | PF_W, attempt(add64, &other[3], pte_of(kernel_l4(), RW)));
		EQ(0, other[3]);
		EQ(0, other[4]);
		EQ(0, unpin(other));
		EQ(0, make_rw(other));
	}
}

static void levels(void)
{
	is_table(one, 1);
	is_table(three, 3);
	for (unsigned level = 1; level <= 4; level++) {
		EQ(-XEN_EINVAL, pin(level, one)); /* in use as another, or pinned already */
		EQ(-XEN_EINVAL, pin(level, three));
		EQ(-XEN_EINVAL, pin(level, data)); /* writable */
	}
	EQ(-XEN_EINVAL, update_entry(three, 0, pte_of(three, RO)));
	EQ(-XEN_EINVAL, update_entry(three, 0, pte_of(one, RO)));
	EQ(-XEN_EINVAL, update_entry(three, 0, pte_of(data, RO)));
	EQ(-XEN_EINVAL, update_entry(three, 0, pte_of(kernel_l4(), RO)));
	EQ(0, make_ro(two));
	EQ(0, update_entry(three, 0, pte_of(two, RO))); /* becomes one */
	EQ(-XEN_EINVAL, update_entry(two, 0, pte_of(two, RO)));
	EQ(-XEN_EINVAL, update_entry(two, 0, pte_of(three, RO)));
	EQ(-XEN_EINVAL, update_entry(two, 0, pte_of(one, RO) | PTE_PS));
	EQ(-XEN_EINVAL, update_entry(three, 1, pte_of(one, RO) | PTE_PS));
	EQ(0, update_entry(two, 0, pte_of(one, RO)));
	EQ(-XEN_EINVAL, make_rw(two));
	EQ(-XEN_EINVAL, unpin(two)); /* in use, but not pinned */
	EQ(0, unpin(one));
	EQ(-XEN_EINVAL, unpin(one));
	EQ(-XEN_EINVAL, make_rw(one)); /* still in two */
	EQ(0, unpin(three)); /* all of them go */
	EQ(0, make_rw(one));
	EQ(0, make_rw(two));
	EQ(0, make_rw(three));
	PASSES(attempt(stos, two, 0, 512));
	PASSES(attempt(stos, three, 0, 512));
	EQ(-XEN_EINVAL, unpin(data));
	EQ(-XEN_EINVAL, mmu_op(MMUEXT_UNPIN_TABLE, ~0ull, 0));
	EQ(-XEN_EINVAL, mmu_op(MMUEXT_UNPIN_TABLE, 1ull << 40, 0));
}

static void roots(void)
{
	is_table(four, 4);
	for (unsigned slot = 256; slot < 272; slot++) {
		EQ(-XEN_EINVAL, update_entry(four, slot, 0));
		EQ(-XEN_EINVAL, update_entry(four, slot, pte_of(three, RO)));
	}
	EQ(-XEN_EINVAL, update_entry(four, 0, pte_of(four, RO)));
	EQ(-XEN_EINVAL, update_entry(four, 511, pte_of(kernel_l4(), RO)));
	is_plain(four);
	/* What a guest has put there before is not there after. */
	for (unsigned slot = 256; slot < 272; slot++)
		four[slot] = pte_of(data, RW);
	is_table(four, 4);
	EQ(kernel_l4()[256], four[256]);
	for (unsigned slot = 257; slot < 272; slot++)
		EQ(0, four[slot]);
	is_plain(four);
	EQ(0, four[256]);
	/* Roots that are none. */
	static const unsigned cmds[] = { MMUEXT_NEW_BASEPTR, MMUEXT_NEW_USER_BASEPTR };
	is_table(three, 3);
	for (unsigned k = 0; k < 2; k++) {
		EQ(-XEN_EINVAL, mmu_op(cmds[k], mfn_of(three), 0));
		EQ(-XEN_EINVAL, mmu_op(cmds[k], mfn_of(data), 0));
		EQ(-XEN_EINVAL, mmu_op(cmds[k], OURS, 0));
		EQ(-XEN_EINVAL, mmu_op(cmds[k], start_info->shared_info / PAGE, 0));
		EQ(-XEN_EINVAL, mmu_op(cmds[k], ~0ull, 0));
	}
	is_plain(three);
	EQ(-XEN_EINVAL, mmu_op(MMUEXT_NEW_BASEPTR, 0, 0));
	EQ(0, mmu_op(MMUEXT_NEW_USER_BASEPTR, 0, 0));
	/* A root in use that is not pinned any more stays a table. */
	EQ(0, make_ro(four));
	EQ(0, mmu_op(MMUEXT_NEW_USER_BASEPTR, mfn_of(four), 0));
	EQ(-XEN_EINVAL, make_rw(four));
	EQ(0, mmu_op(MMUEXT_NEW_USER_BASEPTR, 0, 0));
	EQ(0, make_rw(four));
	EQ(0, unpin(kernel_l4()));
	EQ(-XEN_EINVAL, make_rw(kernel_l4()));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store64, kernel_l4(), 0));
	EQ(0, pin(4, kernel_l4()));
}

/* ---- what a table may map ---- */

static void foreign_frames(void)
{
	static const u64 nowhere[] = { 0, 1ull << 20, 1ull << 28, 1ull << 36, (1ull << 40) - 1 };
	unsigned sharable = 0;

	for (unsigned k = 0; k < ARRAY(nowhere); k++) {
		EQ(-XEN_EINVAL, map_as(data, nowhere[k] * PAGE | RO));
		EQ(-XEN_EINVAL, map_as(data, nowhere[k] * PAGE | RW));
		EQ(-XEN_EINVAL, mmu_op(MMUEXT_PIN_L1_TABLE, nowhere[k], 0));
		EQ(-XEN_EINVAL, update(nowhere[k] * PAGE, 0));
		EQ(-XEN_EINVAL, update(nowhere[k] * PAGE | MMU_MACHPHYS_UPDATE, 0));
		EQ(-XEN_EINVAL, mmu_op(MMUEXT_CLEAR_PAGE, nowhere[k], 0));
		EQ(-XEN_EINVAL, mmu_op(MMUEXT_COPY_PAGE, mfn_of(data), nowhere[k]));
	}
	is_table(two, 2);
	for (u64 mfn = last_mfn + 1; mfn < last_mfn + MANY; mfn++) {
		sharable += !map_as(data, mfn * PAGE | RO);
		EQ(-XEN_EINVAL, update_entry(two, 0, mfn * PAGE | RW));
		EQ(-XEN_EINVAL, mmu_op(MMUEXT_PIN_L1_TABLE, mfn, 0));
		EQ(-XEN_EINVAL, mmu_op(MMUEXT_PIN_L4_TABLE, mfn, 0));
		EQ(-XEN_EINVAL, update(mfn * PAGE | MMU_MACHPHYS_UPDATE, 5));
	}
	EQ(SHARABLE, sharable);
	is_plain(two);
	EQ(0, make_rw(data));
}

static void machine_to_physical(void)
{
	volatile u64 *m2p = (u64 *)M2P;
	u64 mfn = mfn_of(data), pfn = (PTR(data) - 0xffffffff80000000ull) / PAGE;
	struct xen_machphys_mapping map;

	EQ(pfn, m2p[mfn]);
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store64, &m2p[mfn], 0));
	EQ(0, hypercall(__HYPERVISOR_memory_op, XENMEM_machphys_mapping, &map));
	EQ(M2P, map.v_start);
	CHECK(map.max_mfn > last_mfn);
	FAULTS(EXC_PF, 0, attempt(load64, (map.v_end + PAGE - 1) & -PAGE));
	FAULTS(EXC_PF, 0, attempt(load64, M2P + (1ull << 38)));
	FAULTS(EXC_PF, 0, attempt(load64, M2P + (1ull << 39)));
	FAULTS(EXC_PF, 0, attempt(load64, M2P + (1ull << 43) - 8));
	FAULTS(EXC_PF, PF_W, attempt(store64, M2P + (1ull << 43) - 8, 0));
	/* Nothing there is the guest's to map elsewhere or otherwise. */
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_update_va_mapping, M2P, 0, UVMF_INVLPG));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_update_va_mapping, M2P, pte_of(data, RW), UVMF_INVLPG));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_update_va_mapping, M2P + (1ull << 39), pte_of(data, RW), 0));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_update_va_mapping, 0x123456000, pte_of(data, RW), 0));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_update_va_mapping, 1ull << 47, pte_of(data, RW), 0));
	/* A frame's number is the guest's to choose. */
	EQ(0, update(mfn * PAGE | MMU_MACHPHYS_UPDATE, ~0ull));
	EQ(~0ull, m2p[mfn]);
	EQ(0, update(mfn * PAGE | MMU_MACHPHYS_UPDATE, pfn));
}

/* ---- stores to tables ---- */

static void good_stores(u64 good)
{
	PASSES(attempt(store64, &one[0], good));
	EQ(good, one[0]);
	PASSES(attempt(store64, &one[0], 0));
	PASSES(attempt(xchg64, &one[1], good));
	PASSES(attempt(cmpxchg64, &one[1], good & ~PTE_W));
	EQ(good & ~PTE_W, one[1]);
	PASSES(attempt(or8, &one[1], PTE_W));
	EQ(good, one[1]);
	PASSES(attempt(store8, &one[1], 0));
	PASSES(attempt(store32, &one[1], 0));
	PASSES(attempt(store32, (u8 *)&one[1] + 4, 0));
	EQ(0, one[1]);
	PASSES(attempt(push64, &one[2], good));
	PASSES(attempt(bts64, &one[2], 63));
	EQ(good | PTE_NX, one[2]);
	PASSES(attempt(movs, &one[3], &one[2], 1));
	EQ(good | PTE_NX, one[3]);
	PASSES(attempt(stos, one, 0, 512));
}

/* Each of these would make an entry that is wrong; nothing is there after. */
static void bad_value(u64 bad)
{
	more[0] = more[1] = bad;
	EQ(-XEN_EINVAL, update_entry(one, 5, bad));
	EQ(-XEN_EINVAL, update(mfn_of(one) * PAGE + 40 + MMU_PT_UPDATE_PRESERVE_AD, bad));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store64, &one[5], bad));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(xchg64, &one[5], bad));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(cmpxchg64, &one[5], bad));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(add64, &one[5], bad));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(movs, &one[5], more, 1));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(stos, &one[5], bad, 2));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store128, &one[5], bad));
	EQ(EXC_PF, attempt(cmpxchg128, &one[6], bad));
	/* In two halves: the first makes nothing that is present, the second does. */
	PASSES(attempt(store32, (u8 *)&one[5] + 4, bad >> 32));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store32, &one[5], bad));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(or8, &one[5], PTE_P | PTE_W));
	PASSES(attempt(store32, (u8 *)&one[5] + 4, 0));
	for (unsigned k = 0; k < 512; k++)
		EQ(0, one[k]);
}

static void stores(void)
{
	is_table(one, 1);
	good_stores(pte_of(data, RW));
	bad_value(pte_of(one, RW));
	bad_value(pte_of(kernel_l4(), RW));
	bad_value(OURS * PAGE | RO);
	bad_value(1ull << 50 | RO);
	/* An entry that maps a table gets writable in place. */
	EQ(0, update_entry(one, 9, pte_of(one, RO)));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(bts64, &one[9], 1));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(or8, &one[9], 2));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store8, &one[9], RW));
	EQ(pte_of(one, RO), one[9]);
	/* Over two entries, and over the table's end: whatever is done is not by halves. */
	attempt(store64, (u8 *)&one[10] + 4, ~0ull);
	attempt(xchg64, (u8 *)&one[10] + 4, ~0ull);
	attempt(fxsave64, &one[16], 0);
	u64 before = *(u64 *)(PTR(one) - 8), after = *(u64 *)(PTR(one) + PAGE);
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store64, PTR(one) + PAGE - 4, 0));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(cmpxchg64, PTR(one) + PAGE - 4, 0));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store64, PTR(one) - 4, 0));
	EQ(before, *(u64 *)(PTR(one) - 8));
	EQ(after, *(u64 *)(PTR(one) + PAGE));
	for (unsigned k = 10; k < 512; k++)
		CHECK(!(one[k] & PTE_P) || one[k] / PAGE % (1ull << 40) <= last_mfn);
	is_plain(one);
	/* Higher tables are not written at all, not even by what changes nothing. */
	for (unsigned level = 2; level <= 4; level++) {
		is_table(one, level);
		FAULTS(EXC_PF, PF_P | PF_W, attempt(store64, one, 0));
		FAULTS(EXC_PF, PF_P | PF_W, attempt(xchg64, one, 0));
		FAULTS(EXC_PF, PF_P | PF_W, attempt(cmpxchg64, one, 0));
		FAULTS(EXC_PF, PF_P | PF_W, attempt(stos, one, 0, 1));
		is_plain(one);
	}
}

/* ---- pages that come and go ---- */

static s64 release(u64 mfn)
{
	struct xen_memory_reservation r = { .nr_extents = 1, .domid = DOMID_SELF };

	set_xen_guest_handle(r.extent_start, &mfn);
	return hypercall(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &r);
}

static void released(void)
{
	u64 mfn = mfn_of(more), back = 77;
	struct xen_memory_reservation r = { .nr_extents = 1, .domid = DOMID_SELF };

	EQ(0, release(OURS));
	EQ(0, release(start_info->shared_info / PAGE));
	EQ(0, release(1ull << 40));
	EQ(0, release(mfn_of(kernel_l4())));
	set_xen_guest_handle(r.extent_start, &back);
	EQ(0, hypercall(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &r)); /* there is none */
	EQ(1, release(mfn));
	EQ(0, release(mfn));
	more[0] = 5; /* it is mapped still, so nobody else has it */
	EQ(0, hypercall(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &r));
	EQ(-XEN_EINVAL, map_as(data, mfn * PAGE | RO));
	EQ(0, map_as(more, 0));
	EQ(-XEN_EINVAL, map_as(more, mfn * PAGE | RO));
	EQ(1, hypercall(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &r));
	EQ(mfn, back);
	EQ(0, map_as(more, mfn * PAGE | RW));
	EQ(0, more[0]);
	/* One that goes while it is a table, and stops being one after. */
	is_table(more, 1);
	EQ(0, release(mfn));
	EQ(0, make_ro(two));
	EQ(0, make_ro(three));
	EQ(0, pin(3, three));
	EQ(0, update_entry(three, 0, pte_of(two, RW)));
	EQ(0, update_entry(two, 0, pte_of(more, RW)));
	EQ(0, unpin(more));
	EQ(1, release(mfn));
	EQ(-XEN_EINVAL, update_entry(two, 1, mfn * PAGE | RW));
	EQ(0, map_as(more, 0));
	is_plain(three);
	EQ(0, make_rw(two));
	PASSES(attempt(stos, two, 0, 512));
	back = 77;
	EQ(1, hypercall(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &r));
	EQ(mfn, back);
	EQ(0, map_as(more, mfn * PAGE | RW));
}

void guest_main(const char *which)
{
	for (u64 pfn = 0; pfn < start_info->nr_pages; pfn++)
		if (mfn_of_pfn(pfn) > last_mfn)
			last_mfn = mfn_of_pfn(pfn);
	writable_is_no_table();
	stale_translations();
	levels();
	roots();
	foreign_frames();
	machine_to_physical();
	stores();
	released();
}
