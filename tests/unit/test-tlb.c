/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software TLB over page tables that change under it. Which of two pages of a pair of entries lies where, and that a flush finds both, must
 * never show (SDM vol. 3, 4.10.4); but what has been displaced must come back without a walk, or pairs are for nothing. Further what a store
 * does whose page becomes a page table meanwhile, and that RAM which is used all over becomes huge pages of the host's.
 */
#include <stdio.h>
#include <sys/mman.h>

#include "tlb-guest.h"

/* ---- pairs ---- */

/* Two pages with one slot, and one whose slot is the other of the pair. */
#define A gla_of(0)
#define B (A + 2 * APART)
#define C (A + APART)

/* B in its slot, A displaced. */
static void displace(struct guest *g)
{
	map(g, 0, A, 0, PTE_W);
	map(g, 0, B, 1, PTE_W);
	mmu_flush_all(g->v);
	assert_loads(g, A, 0);
	assert_loads(g, B, 1);
	assert_int_equal(tlb_slot(g->v->tlb, A)->rd, B);
	assert_int_equal(tlb_other(g->v->tlb, tlb_slot(g->v->tlb, A))->rd, A);
}

static void comes_back(void **state)
{
	struct vcpu *v = start(state);
	struct guest *g = *state;

	displace(g);
	u64 before = fills(v);
	for (unsigned k = 0; k < 100; k++) {
		assert_loads(g, A, 0);
		assert_int_equal(tlb_slot(v->tlb, A)->rd, A);
		assert_int_equal(store(g, A + AT, k), PF_NONE);
		assert_loads(g, B, 1);
		assert_int_equal(store(g, B + AT, ~k), PF_NONE);
	}
	assert_true(fills(v) <= before + 2); /* their first stores */
	assert_int_equal(get64(g, target_gpa(0) + AT), 99);
	assert_int_equal(get64(g, target_gpa(1) + AT), ~99u);
	/* A third one replaces what was displaced, whichever half is its own. */
	map(g, 0, C, 2, 0);
	assert_loads(g, C, 2);
	assert_loads(g, B, 1);
	assert_loads(g, A, 0);
	assert_loads(g, C, 2);
	assert_int_equal(store(g, C + AT, 1), PF_P | PF_W);
}

static void flushed_by_page(void **state)
{
	struct vcpu *v = start(state);
	struct guest *g = *state;

	displace(g);
	map(g, 0, A, 2, PTE_W);
	mmu_flush_page(v, A);
	u64 before = fills(v);
	assert_loads(g, B, 1); /* it is still there */
	assert_int_equal(fills(v), before);
	assert_loads(g, A, 2);
	displace(g);
	map(g, 0, B, 3, 0);
	mmu_flush_page(v, B + 123);
	before = fills(v);
	assert_loads(g, A, 0);
	assert_int_equal(fills(v), before);
	assert_loads(g, B, 3);
	/* Of another PCID, both at once. */
	displace(g);
	mmu_set_cr3(v, root(1) | 2);
	map(g, 0, A, 4, 0);
	map(g, 0, B, 5, 0);
	mmu_invpcid(v, 0, 1, A);
	mmu_invpcid(v, 0, 1, B);
	mmu_set_cr3(v, root(0) | 1 | BIT(63));
	assert_loads(g, A, 4);
	assert_loads(g, B, 5);
}

static void gone_with_all(struct guest *g)
{
	put64(g, pte_at(0, A), 0);
	put64(g, pte_at(0, B), 0);
}

static void assert_gone(struct guest *g)
{
	u64 value;

	assert_int_equal(load(g, A, &value), 0);
	assert_int_equal(load(g, B, &value), 0);
	assert_int_equal(store(g, A, 0), PF_W);
	assert_int_equal(store(g, B, 0), PF_W);
}

static void flushed_by_context(void **state)
{
	struct vcpu *v = start(state);
	struct guest *g = *state;

	for (unsigned how = 0; how < 6; how++) {
		displace(g);
		gone_with_all(g);
		switch (how) {
		case 0: mmu_set_cr3(v, root(0) | 1); break;
		case 1: mmu_flush_all(v); break;
		case 2:
		case 3:
		case 4: mmu_invpcid(v, how - 1, 1, 0); break;
		default: /* the entries' context becomes another PCID's */
			for (unsigned pcid = 2; pcid < 2 + 2 * TLB_CONTEXTS; pcid++)
				mmu_set_cr3(v, root(0) | pcid | BIT(63));
		}
		assert_gone(g);
	}
	/* A global page stays, in whichever half it lies. */
	mmu_set_cr3(v, root(0) | 1);
	for (unsigned k = 0; k < 2; k++) {
		mmu_flush_all(v);
		map(g, 0, A, 0, k ? PTE_G : 0);
		map(g, 0, B, 1, k ? 0 : PTE_G);
		assert_loads(g, A, 0);
		assert_loads(g, B, 1);
		map(g, 0, k ? B : A, 6, 0);
		mmu_set_cr3(v, root(0) | 1);
		u64 before = fills(v);
		assert_loads(g, k ? A : B, k ? 0 : 1);
		assert_int_equal(fills(v), before);
		assert_loads(g, k ? B : A, 6);
	}
}

/* More entries than the list of those that a flush clears has room for. */
static void flushed_when_many(void **state)
{
	struct vcpu *v = start(state);
	struct guest *g = *state;
	unsigned n = COLUMN * 512;

	for (unsigned k = 0; k < n; k++)
		map(g, 0, BASE + (u64)(k / 512) * APART + (k % 512) * PAGE_SIZE, k % 4, 0);
	for (unsigned k = 0; k < n; k++)
		assert_loads(g, BASE + (u64)(k / 512) * APART + (k % 512) * PAGE_SIZE, k % 4);
	for (unsigned k = 0; k < n; k++)
		map(g, 0, BASE + (u64)(k / 512) * APART + (k % 512) * PAGE_SIZE, 4 + k % 4, 0);
	mmu_set_cr3(v, root(0) | 1);
	for (unsigned k = n; k-- > 0;)
		assert_loads(g, BASE + (u64)(k / 512) * APART + (k % 512) * PAGE_SIZE, 4 + k % 4);
}

static void store_hooked(struct guest *g, u64 gla, unsigned target, bool code)
{
	hooked = 0;
	assert_int_equal(store(g, gla + AT, gla), PF_NONE);
	assert_int_equal(get64(g, target_gpa(target) + AT), gla);
	assert_int_equal(hooked, code);
	if (code)
		assert_int_equal(hooked_page, ram_page_index(g->m, at(g, target_gpa(target))));
}

/* A page gets code: no entry may be stored through any more, of however many that lead to it, and wherever in their pairs they are. */
static void write_protected(void **state)
{
	struct vcpu *v = start(state);
	struct guest *g = *state;
	u64 index = ram_page_index(g->m, at(g, target_gpa(0)));

	for (unsigned aliases = 1; aliases <= PAGES; aliases++) {
		for (unsigned k = 0; k < PAGES; k++)
			map(g, 0, gla_of(k), k < aliases ? 0 : 1, PTE_W);
		mmu_flush_all(v);
		/* Twice, as only two of a pair stay. */
		for (unsigned k = 0; k < 2 * PAGES; k++)
			store_hooked(g, gla_of(k % PAGES), k % PAGES < aliases ? 0 : 1, false);
		mmu_mark_code(v, index, true);
		for (unsigned k = 0; k < 2 * PAGES; k++)
			store_hooked(g, gla_of(k % PAGES), k % PAGES < aliases ? 0 : 1, k % PAGES < aliases);
		for (unsigned k = 0; k < aliases; k++)
			assert_loads(g, gla_of(k), 0);
		mmu_mark_code(v, index, false);
	}
	/* One of a pair only: the other one is stored through as before. */
	displace(g);
	store_hooked(g, A, 0, false);
	store_hooked(g, B, 1, false);
	mmu_mark_code(v, index, true);
	u64 before = fills(v);
	store_hooked(g, B, 1, false);
	assert_int_equal(fills(v), before);
	store_hooked(g, A, 0, true);
	store_hooked(g, B, 1, false);
	store_hooked(g, A, 0, true);
}

/* INVLPG of any address of a large page is for all of it, displaced parts too. */
static void large_pages(void **state)
{
	struct vcpu *v = start(state);
	struct guest *g = *state;
	u64 large = A + 4 * APART; /* has A's slot */

	for (unsigned k = 0; k < 2; k++) {
		put64(g, pde_at(0, large), LARGE | PTE_P | PTE_W | PTE_PS);
		put64(g, LARGE, 77);
		put64(g, LARGE + PAGE_SIZE, 78);
		mmu_flush_all(v);
		map(g, 0, A, 0, 0);
		map(g, 0, A + PAGE_SIZE, 1, 0);
		assert_loads(g, large, 77);
		assert_loads(g, large + PAGE_SIZE, 78);
		assert_loads(g, A, 0);
		assert_loads(g, A + PAGE_SIZE, 1);
		if (k)
			assert_loads(g, large, 77); /* this one in its slot, the other displaced */
		put64(g, pde_at(0, large), pt_of(0, 4) | PTE_P | PTE_W);
		map(g, 0, large, 2, 0);
		map(g, 0, large + PAGE_SIZE, 3, 0);
		mmu_flush_page(v, large + 0x1ff000);
		assert_loads(g, large, 2);
		assert_loads(g, large + PAGE_SIZE, 3);
		assert_loads(g, A, 0);
		assert_loads(g, A + PAGE_SIZE, 1);
	}
}

/* ---- a page that becomes a page table while a store walks to it ---- */

struct race {
	struct ram_tap tap;
	struct guest *g;
	unsigned calls;
	unsigned
		to; /* in the first of them target 0 becomes a table, as by another CPU's hypercall, and A is mapped there, */
	u64 rights; /* with these */
};

static _Atomic u8 *state_of(struct guest *g, unsigned target)
{
	return &g->m->code_pages[ram_page_index(g->m, at(g, target_gpa(target)))];
}

static void race_stores(struct ram_tap *t, u8 *page)
{
	struct race *r = (struct race *)t;

	if (r->calls++)
		return;
	map(r->g, 0, A, r->to, r->rights);
	atomic_fetch_or(state_of(r->g, 0), PAGE_TABLE);
}

static bool race_marks(struct ram_tap *t, const u8 *host, bool wide, u64 bits)
{
	return true;
}

static void second_look(void **state)
{
	start(state);
	struct guest *g = *state;
	struct race r = { .tap = { .stores = race_stores, .marks = race_marks }, .g = g };

	map(g, 0, A, 0, PTE_W);
	g->m->tap = &r.tap;
	assert_int_equal(store(g, A + AT, 1), PF_P | PF_W);
	assert_int_equal(r.calls, 1);
	assert_int_equal(get64(g, target_gpa(0) + AT), 0);
	/* What is mapped there meanwhile may be stored to. */
	atomic_fetch_and(state_of(g, 0), (u8)~PAGE_TABLE);
	map(g, 0, A, 0, PTE_W);
	r = (struct race){ .tap = r.tap, .g = g, .to = 1, .rights = PTE_W };
	assert_int_equal(store(g, A + AT, 1), PF_NONE);
	assert_int_equal(r.calls, 2);
	assert_int_equal(get64(g, target_gpa(0) + AT), 0);
	assert_int_equal(get64(g, target_gpa(1) + AT), 1);
	/* It says one thing and the tables another for ever: it ends all the same. */
	map(g, 0, A, 0, PTE_W);
	mmu_flush_page(g->v, A);
	assert_int_equal(store(g, A + AT, 1), PF_P | PF_W);
	assert_int_equal(get64(g, target_gpa(0) + AT), 0);
	/* And a plain page again. */
	atomic_fetch_and(state_of(g, 0), (u8)~PAGE_TABLE);
	assert_int_equal(store(g, A + AT, 1), PF_NONE);
	assert_int_equal(get64(g, target_gpa(0) + AT), 1);
	g->m->tap = NULL;
}

/* ---- RAM that is used all over becomes huge pages of the host's ---- */

#define PIECE (2ul << 20)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* Bytes of the mapping that has p which the host maps by huge pages. */
static unsigned long huge_at(const u8 *p)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long begin, end, kib, found = 0;
	bool here = false;
	char line[300];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			here = begin <= (unsigned long)p && (unsigned long)p < end;
		else if (here && sscanf(line, "ShmemPmdMapped: %lu", &kib) == 1)
			found = kib << 10;
	}
	fclose(f);
	return found;
}

static void hot_ram(void **state)
{
	struct vcpu *v = start(state);
	struct guest *g = *state;

	/* The host must have one to give. */
	memset(at(g, 0), 0x5a, PAGE_SIZE);
	if (((u64)g->m->ram & (PIECE - 1)) || madvise(g->m->ram + PIECE, PIECE, MADV_COLLAPSE) ||
	    huge_at(g->m->ram) != PIECE)
		skip();
	put64(g, pte_at(0, A), target_gpa(0) | PTE_P);
	for (unsigned k = 0; k < 4000; k++) {
		mmu_flush_page(v, A);
		assert_loads(g, A, 0);
	}
	assert_int_equal(huge_at(g->m->ram), PIECE);
	for (unsigned k = 0; k < 200; k++) {
		mmu_flush_page(v, A);
		assert_loads(g, A, 0);
	}
	bool both = huge_at(g->m->ram) == 2 * PIECE;
	if (!both && madvise(g->m->ram, PIECE, MADV_COLLAPSE))
		skip(); /* it was the last one */
	assert_true(both);
	assert_int_equal(get64(g, 8), 0x5a5a5a5a5a5a5a5a);
	assert_int_equal(store(g, A + AT, 1), PF_P | PF_W);
	map(g, 0, A, 0, PTE_W);
	assert_int_equal(store(g, A + AT, 1), PF_NONE);
	assert_int_equal(get64(g, target_gpa(0) + AT), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_back, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(flushed_by_page, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(flushed_by_context, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(flushed_when_many, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(write_protected, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(large_pages, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(second_look, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(hot_ram, guest_new, guest_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
