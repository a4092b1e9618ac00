/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a PV guest's flushes are made of (mmu/tables.c): after it has asked for one, or loaded a root, no translation is older than
 * the tables; and where no table has become less, nothing is walked again.
 */
#include "xen-mm.h"

/* Frames of two more address spaces, each with an L3, L2 and L1 for address 0, and plain ones. */
enum { PFN_SPACE = 600, SPACE_FRAMES = 4, PFN_PLAIN = 700, PFN_OTHER = 701 };
#define LOW 0x5000ull

static u64 space(unsigned n, unsigned level) /* its table's pfn: 4 to 1 */
{
	return PFN_SPACE + n * SPACE_FRAMES + (4 - level);
}

static void flush(void)
{
	assert_int_equal(mmuext(MMUEXT_TLB_FLUSH_LOCAL, 0, 0), 0);
}
static void switch_to(u64 pfn)
{
	assert_int_equal(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(pfn), 0), 0);
}

/* One that maps LOW to pfn, and whose upper half is the first space's. */
static void make_space(unsigned n, u64 pfn)
{
	for (unsigned level = 4; level; level--) {
		assert_int_equal(set_pte(space(n, level), entry(space(n, level), RO)), 0);
		memset(frame_at(space(n, level)), 0, PAGE_SIZE);
		frame_at(space(n, level))[level > 1 ? 0 : LOW >> PAGE_SHIFT] = level > 1
										       ? entry(space(n, level - 1), RW)
										       : entry(pfn, RW);
	}
	frame_at(space(n, 4))[511] = entry(PFN_L3, RW);
	assert_int_equal(pin(4, space(n, 4)), 0);
}

static void assert_loads(u64 gla, u64 value)
{
	assert_int_equal(load(gla), NO_FAULT);
	assert_int_equal(loaded, value);
}

static void mark(void)
{
	frame_at(PFN_PLAIN)[0] = 1;
	frame_at(PFN_OTHER)[0] = 2;
}

static void gone(void **state)
{
	guest_start(1);
	mark();
	assert_loads(gla_of(PFN_PLAIN), 1);
	assert_int_equal(set_pte(PFN_PLAIN, NOTE), 0);
	flush();
	assert_int_equal(load(gla_of(PFN_PLAIN)), 0);
	guest_stop();
}

static void another_frame(void **state)
{
	guest_start(1);
	mark();
	assert_loads(gla_of(PFN_PLAIN), 1);
	assert_int_equal(set_pte(PFN_PLAIN, entry(PFN_OTHER, RW)), 0);
	flush();
	assert_loads(gla_of(PFN_PLAIN), 2);
	guest_stop();
}

/* By hypercall with and without the address, and by a store. */
static void less_rights(void **state)
{
	guest_start(1);
	for (unsigned how = 0; how < 3; how++) {
		assert_int_equal(store(gla_of(PFN_PLAIN), 8, 5), NO_FAULT);
		if (how == 0)
			assert_int_equal(set_pte(PFN_PLAIN, entry(PFN_PLAIN, RO)), 0);
		else if (how == 1)
			assert_int_equal(va_mapping(gla_of(PFN_PLAIN), entry(PFN_PLAIN, RO), 0), 0);
		else
			assert_int_equal(
				store(gla_of(PFN_L1 + PFN_PLAIN / 512) + PFN_PLAIN % 512 * 8, 8, entry(PFN_PLAIN, RO)),
				NO_FAULT);
		flush();
		assert_int_equal(store(gla_of(PFN_PLAIN), 8, 6), PF_P | PF_W);
		assert_int_equal(set_pte(PFN_PLAIN, entry(PFN_PLAIN, RW)), 0);
		assert_int_equal(store(gla_of(PFN_PLAIN), 8, 7), NO_FAULT); /* more rights need no flush */
	}
	guest_stop();
}

/* A table between is taken away. */
static void higher_level(void **state)
{
	guest_start(1);
	assert_int_equal(load(gla_of(PFN_PLAIN)), NO_FAULT);
	assert_int_equal(set_entry(PFN_L2, PFN_PLAIN / 512, 0), 0);
	flush();
	assert_int_equal(load(gla_of(PFN_PLAIN)), 0);
	assert_int_equal(set_entry(PFN_L2, PFN_PLAIN / 512, entry(PFN_L1 + PFN_PLAIN / 512, RW)), 0);
	assert_int_equal(load(gla_of(PFN_PLAIN)), NO_FAULT);
	guest_stop();
}

/* Nothing has become less: nothing is forgotten. */
static void nothing(void **state)
{
	u64 walks;

	guest_start(1);
	assert_int_equal(set_pte(PFN_OTHER, NOTE), 0);
	flush();
	assert_int_equal(load(gla_of(PFN_PLAIN)), NO_FAULT);
	assert_int_equal(load(gla_of(PFN_ARG)), NO_FAULT);
	flush(); /* that its own arguments are there */
	walks = v->stats.page_walks;
	assert_int_equal(set_pte(PFN_OTHER, entry(PFN_OTHER, RW)), 0);
	flush();
	assert_int_equal(load(gla_of(PFN_PLAIN)), NO_FAULT);
	assert_int_equal(v->stats.page_walks, walks);
	guest_stop();
}

/* Each root's translations are its own, and come back with it. */
static void two_spaces(void **state)
{
	u64 walks;

	guest_start(1);
	mark();
	make_space(0, PFN_PLAIN);
	make_space(1, PFN_OTHER);
	for (unsigned k = 0; k < 2; k++) {
		switch_to(space(0, 4));
		assert_loads(LOW, 1);
		switch_to(space(1, 4));
		assert_loads(LOW, 2);
	}
	walks = v->stats.page_walks;
	switch_to(space(0, 4));
	assert_loads(LOW, 1);
	assert_int_equal(v->stats.page_walks, walks);
	switch_to(PFN_L4);
	guest_stop();
}

/* Tables of a space that is not the current one change. */
static void changed_while_away(void **state)
{
	guest_start(1);
	mark();
	make_space(0, PFN_PLAIN);
	make_space(1, PFN_OTHER);
	switch_to(space(0, 4));
	assert_loads(LOW, 1);
	switch_to(space(1, 4));
	assert_int_equal(set_entry(space(0, 1), LOW >> PAGE_SHIFT, entry(PFN_OTHER, RW)), 0);
	switch_to(space(0, 4));
	assert_loads(LOW, 2);
	switch_to(space(1, 4));
	assert_int_equal(set_entry(space(0, 4), 0, 0), 0);
	switch_to(space(0, 4));
	assert_int_equal(load(LOW), 0);
	switch_to(PFN_L4);
	guest_stop();
}

/* A root's frame becomes another root. */
static void root_again(void **state)
{
	guest_start(1);
	mark();
	make_space(0, PFN_PLAIN);
	switch_to(space(0, 4));
	assert_loads(LOW, 1);
	switch_to(PFN_L4);
	assert_int_equal(unpin(space(0, 4)), 0);
	for (unsigned level = 4; level; level--)
		assert_int_equal(set_pte(space(0, level), entry(space(0, level), RW)), 0);
	make_space(0, PFN_OTHER);
	switch_to(space(0, 4));
	assert_loads(LOW, 2);
	switch_to(PFN_L4);
	guest_stop();
}

/* Upper halves are one, unless roots say otherwise. There are more roots than the TLB has contexts. */
static void own_upper_half(void **state)
{
	u64 gla = 0xffffff0000000000ull | LOW; /* slot 510 */

	guest_start(1);
	mark();
	for (unsigned n = 0; n < 8; n++) {
		make_space(n, n % 3 ? PFN_PLAIN : PFN_OTHER);
		assert_int_equal(set_entry(space(n, 4), 510, entry(space(n, 3), RW)), 0);
	}
	for (unsigned k = 0; k < 24; k++) {
		switch_to(space(k % 8, 4));
		assert_loads(gla, k % 8 % 3 ? 1 : 2);
	}
	switch_to(PFN_L4);
	assert_int_equal(load(gla), 0);
	guest_stop();
}

/* Programs walk from a root of their own, and see nothing without one. */
static void programs(void **state)
{
	guest_start(1);
	mark();
	make_space(0, PFN_PLAIN);
	make_space(1, PFN_OTHER);
	for (unsigned n = 0; n < 2; n++) { /* LOW is the programs' too */
		u64 *e = frame_at(space(n, 1)) + (LOW >> PAGE_SHIFT);
		assert_true(*e & PTE_U);
	}
	switch_to(space(0, 4));
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned n = 0; n < 2; n++) {
			assert_int_equal(mmuext(MMUEXT_NEW_USER_BASEPTR, mfn_of(space(n, 4)), 0), 0);
			assert_loads(LOW, 1);
			v->guest_kernel = false;
			mmu_update_view(v);
			assert_loads(LOW, n + 1);
			v->guest_kernel = true;
			mmu_update_view(v);
		}
	}
	assert_int_equal(mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
	v->guest_kernel = false;
	mmu_update_view(v);
	assert_int_equal(load(LOW), PF_U);
	v->guest_kernel = true;
	mmu_update_view(v);
	switch_to(PFN_L4);
	guest_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gone),
		cmocka_unit_test(another_frame),
		cmocka_unit_test(less_rights),
		cmocka_unit_test(higher_level),
		cmocka_unit_test(nothing),
		cmocka_unit_test(two_spaces),
		cmocka_unit_test(changed_while_away),
		cmocka_unit_test(root_again),
		cmocka_unit_test(own_upper_half),
		cmocka_unit_test(programs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
