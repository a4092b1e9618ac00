/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software TLB at random, against a model: a load or a store may go by what the tables said at any time since its page was last
 * flushed, by whatever flushes it, and by nothing older (SDM vol. 3, 4.10.4). Pages get code and lose it meanwhile: stores to them are told, others are not.
 */
#include "tlb-guest.h"

struct model {
	struct guest *g;
	u64 seed;
	/* By space and page: sets of states; bit 2t: target t, may be read; 2t + 1: may be written; the highest: not there. */
	u32 now[SPACES][PAGES], since[SPACES][PAGES];
	unsigned space;
	bool code[TARGETS];
	u64 number;
};
#define NOT_THERE (1u << 2 * TARGETS)
#define READABLE  0x5555u
#define WRITABLE  0xaaaau

static u32 below(struct model *m, u32 n)
{
	m->seed = m->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)((m->seed >> 33) % n);
}

static void set_page(struct model *m, unsigned space, unsigned page, u64 pte, u32 is)
{
	put64(m->g, pte_at(space, gla_of(page)), pte);
	m->now[space][page] = is;
	m->since[space][page] |= is;
}

static void change(struct model *m, unsigned page)
{
	unsigned kind = below(m, 5), t = below(m, TARGETS);
	u64 pte = kind ? target_gpa(t) | PTE_P | PTE_U | (kind > 1 ? PTE_W : 0) : 0;
	u32 is = kind ? 1u << (2 * t + (kind > 1)) : NOT_THERE;

	if (page == GLOBAL) {
		set_page(m, 0, page, pte ? pte | PTE_G : 0, is);
		set_page(m, 1, page, pte ? pte | PTE_G : 0, is);
	} else {
		set_page(m, m->space, page, pte, is);
	}
}

static void flushed(struct model *m, unsigned space, unsigned page)
{
	m->since[space][page] = m->now[space][page];
}

static void flushed_page(struct model *m, unsigned space, unsigned page)
{
	flushed(m, space, page);
	if (page == GLOBAL)
		flushed(m, !space, page);
}

static void flushed_space(struct model *m, unsigned space)
{
	for (unsigned k = 0; k < GLOBAL; k++)
		flushed(m, space, k);
}

static void flushed_everything(struct model *m)
{
	for (unsigned space = 0; space < SPACES; space++)
		for (unsigned k = 0; k < PAGES; k++)
			flushed(m, space, k);
}

static void go_to(struct model *m, unsigned space, bool keep)
{
	m->space = space;
	mmu_set_cr3(m->g->v, root(space) | (space + 1) | (keep ? BIT(63) : 0));
	if (!keep)
		flushed_space(m, space);
}

static void check_load(struct model *m, unsigned page)
{
	u32 may = m->since[m->space][page];
	u64 value = 0;

	if (load(m->g, gla_of(page), &value) != PF_NONE) {
		assert_true(may & NOT_THERE);
		return;
	}
	assert_in_range(value, 0, TARGETS - 1);
	assert_true(may & 3u << 2 * value);
}

static void check_store(struct model *m, unsigned page)
{
	u32 may = m->since[m->space][page], hit = TARGETS;

	hooked = 0;
	m->number++;
	if (store(m->g, gla_of(page) + AT, m->number) != PF_NONE) {
		assert_true(may & (NOT_THERE | READABLE));
		return;
	}
	for (unsigned t = 0; t < TARGETS; t++)
		if (get64(m->g, target_gpa(t) + AT) == m->number) {
			assert_int_equal(hit, TARGETS);
			hit = t;
		}
	assert_int_not_equal(hit, TARGETS);
	assert_true(may & WRITABLE & 2u << 2 * hit);
	assert_int_equal(hooked, m->code[hit]);
}

static void flush_somehow(struct model *m, unsigned page)
{
	struct vcpu *v = m->g->v;

	switch (below(m, 8)) {
	case 0: go_to(m, m->space, false); break;
	case 1:
		mmu_flush_all(v);
		flushed_everything(m);
		break;
	case 2:
		mmu_invpcid(v, 0, (u16)(2 - m->space), gla_of(page));
		flushed_page(m, !m->space, page);
		break;
	case 3:
		mmu_invpcid(v, 1, (u16)(2 - m->space), 0);
		flushed_space(m, !m->space);
		break;
	case 4:
		mmu_invpcid(v, 3, 0, 0);
		flushed_space(m, 0);
		flushed_space(m, 1);
		break;
	default: mmu_flush_page(v, gla_of(page) + below(m, PAGE_SIZE)); flushed_page(m, m->space, page);
	}
}

static void mark_somewhere(struct model *m)
{
	unsigned t = below(m, TARGETS);

	m->code[t] = !m->code[t];
	mmu_mark_code(m->g->v, ram_page_index(m->g->m, at(m->g, target_gpa(t))), m->code[t]);
}

static void one(struct model *m)
{
	unsigned page = below(m, PAGES), what = below(m, 100);

	if (what < 45) {
		check_load(m, page);
	} else if (what < 80) {
		check_store(m, page);
	} else if (what < 84) {
		change(m, page);
	} else if (what < 90) {
		change(m, page);
		mmu_flush_page(m->g->v, gla_of(page));
		flushed_page(m, m->space, page);
	} else if (what < 93) {
		flush_somehow(m, page);
	} else if (what < 96) {
		go_to(m, below(m, SPACES), true);
	} else if (what < 98) {
		mark_somewhere(m);
	} else {
		set_cpl(m->g->v, below(m, 2) ? 3 : 0);
		vcpu_update_mode(m->g->v);
	}
}

static void at_random(void **state)
{
	struct model m = { .g = *state };

	for (unsigned run = 0; run < 20; run++) {
		start(state);
		memset(m.code, 0, sizeof(m.code));
		m.seed = run + 1;
		m.space = 0;
		for (unsigned k = 0; k < PAGES; k++)
			m.now[0][k] = m.now[1][k] = m.since[0][k] = m.since[1][k] = NOT_THERE;
		for (unsigned k = 0; k < 20000; k++)
			one(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(at_random, guest_new, guest_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
