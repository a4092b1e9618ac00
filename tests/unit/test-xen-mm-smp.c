/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two vCPUs, step by step: who waits for whom when a page becomes a table or stops being one, and for flushes. The main thread is vCPU 0; what another
 * vCPU does is done by a second thread, and whether that one waits is told by what it has not done yet.
 */
#include "xen-mm.h"

#include <time.h>

#include "mmu/mmu-internal.h"

static struct {
	pthread_t thread;
	s64 (*work)(void);
	s64 result;
	_Atomic bool done;
} second;

static void *second_thread(void *arg)
{
	v = m->vcpu[1];
	vcpu_set_current(v);
	mmu_enter(v);
	second.result = second.work();
	mmu_leave(v);
	atomic_store(&second.done, true);
	return NULL;
}

static void second_starts(s64 (*work)(void))
{
	second.work = work;
	second.done = false;
	assert_int_equal(pthread_create(&second.thread, NULL, second_thread, NULL), 0);
}

static void second_ends(void)
{
	pthread_join(second.thread, NULL);
	assert_int_equal(second.result, 0);
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
}

/* It gets to where it would wait, and does. */
static void second_stays(const _Atomic u64 *word, u64 bits)
{
	for (unsigned k = 0; k < 20000 && !(atomic_load(word) & bits); k++)
		nap();
	assert_true(atomic_load(word) & bits);
	for (unsigned k = 0; k < 20; k++)
		nap();
	assert_false(atomic_load(&second.done));
}

/* It waits for this vCPU, which was asked for that. */
static void second_waits(u32 event)
{
	for (unsigned k = 0; k < 20000 && !(atomic_load(&v->events) & event); k++)
		nap();
	assert_true(atomic_load(&v->events) & event);
	for (unsigned k = 0; k < 20; k++)
		nap();
	assert_false(atomic_load(&second.done));
}

static void between_instructions(void)
{
	mmu_come_back(v, mmu_go_away(v));
}

static void start_two(void)
{
	guest_start(2);
	vcpu_set_current(v);
	mmu_enter(v);
	memset(frame_at(20), 0, PAGE_SIZE);
}

static void stop_two(void)
{
	mmu_leave(v);
	guest_stop();
}

static s64 protect_and_pin(void)
{
	s64 r = set_pte(20, entry(20, RO));

	return r ? r : pin(1, 20);
}

static void fast_write(void **state)
{
	start_two();
	assert_int_equal(store(gla_of(20), 8, 0), NO_FAULT); /* the TLB allows more of them */
	second_starts(protect_and_pin);
	second_waits(EV_WRITES);
	between_instructions();
	second_ends();
	assert_int_equal(store(gla_of(20), 8, entry(PFN_L4, RW)), PF_P | PF_W);
	assert_int_equal(frame_at(20)[0], 0);
	stop_two();
}

/* Away, its TLB is as it was; what it does first when it comes back is to drop that. */
static void away(void **state)
{
	start_two();
	assert_int_equal(store(gla_of(20), 8, 0), NO_FAULT);
	mmu_leave(v);
	second_starts(protect_and_pin);
	second_ends();
	mmu_come_back(v, true);
	assert_int_equal(store(gla_of(20), 8, entry(PFN_L4, RW)), PF_P | PF_W);
	stop_two();
}

static s64 there_and_back(void)
{
	s64 r = protect_and_pin();

	r = r ? r : unpin(20);
	return r ? r : set_pte(20, entry(20, RW));
}

/* The same, but the page is a table no more when it comes back; then it becomes one again. */
static void away_for_long(void **state)
{
	start_two();
	assert_int_equal(store(gla_of(20), 8, 0), NO_FAULT);
	mmu_leave(v);
	second_starts(there_and_back);
	second_ends();
	mmu_come_back(v, true);
	second_starts(protect_and_pin);
	second_waits(EV_WRITES);
	between_instructions();
	second_ends();
	assert_int_equal(store(gla_of(20), 8, entry(PFN_L4, RW)), PF_P | PF_W);
	stop_two();
}

/* Nobody waits for one that has never written there. */
static void no_writer(void **state)
{
	start_two();
	assert_int_equal(store(gla_of(21), 8, 0), NO_FAULT);
	assert_int_equal(load(gla_of(22)), NO_FAULT);
	second_starts(protect_and_pin);
	second_ends();
	assert_false(atomic_load(&v->events) & EV_WRITES);
	stop_two();
}

static s64 unpin_it(void)
{
	return unpin(20);
}

/* A walk that is under way may still read the table that ends. */
static void walk_under_way(void **state)
{
	start_two();
	assert_int_equal(set_pte(20, entry(20, RO)), 0);
	assert_int_equal(pin(1, 20), 0);
	atomic_fetch_add(&v->mmu->walks, 1);
	second_starts(unpin_it);
	second_stays(&d->mm->frame[mfn_of(20)].word, F_BUSY);
	/* Meanwhile it is nothing that one could map for writing. */
	assert_int_equal(set_pte(20, entry(20, RW)), -EINVAL);
	assert_null(mm_get(d, mfn_of(20), FRAME_WRITABLE));
	atomic_fetch_add(&v->mmu->walks, 1);
	second_ends();
	assert_int_equal(set_pte(20, entry(20, RW)), 0);
	stop_two();
}

static s64 remap(void)
{
	s64 r = set_pte(20, entry(30, RW));

	*frame_at(PFN_LIST) = 1; /* vCPU 0 */
	return r ? r : mmuext(MMUEXT_INVLPG_MULTI, gla_of(20), gla_of(PFN_LIST));
}

static s64 remap_all(void)
{
	s64 r = set_pte(20, entry(30, RW));

	return r ? r : mmuext(MMUEXT_TLB_FLUSH_ALL, 0, 0);
}

static void flushed_by(s64 (*how)(void))
{
	start_two();
	frame_at(20)[0] = 20;
	frame_at(30)[0] = 30;
	assert_int_equal(mmu_load(v, gla_of(20), 8, MMU_EXPLICIT), 20);
	second_starts(how);
	second_waits(EV_FLUSH);
	between_instructions();
	second_ends();
	assert_int_equal(mmu_load(v, gla_of(20), 8, MMU_EXPLICIT), 30);
	/* One that is away is not waited for, and flushes when it comes back. */
	assert_int_equal(set_pte(20, entry(20, RW)), 0);
	mmu_flush_all(v);
	assert_int_equal(mmu_load(v, gla_of(20), 8, MMU_EXPLICIT), 20);
	mmu_leave(v);
	second_starts(how);
	second_ends();
	mmu_come_back(v, true);
	assert_int_equal(mmu_load(v, gla_of(20), 8, MMU_EXPLICIT), 30);
	stop_two();
}

static void flush_page(void **state)
{
	flushed_by(remap);
}

static void flush_all(void **state)
{
	flushed_by(remap_all);
}

static s64 flush_the_other(void)
{
	return mmuext(MMUEXT_TLB_FLUSH_ALL, 0, 0);
}

/* Two that want each other to flush wait for nobody who waits. */
static void flush_each_other(void **state)
{
	start_two();
	for (unsigned k = 0; k < 200; k++) {
		second_starts(flush_the_other);
		assert_int_equal(flush_the_other(), 0);
		while (!atomic_load(&second.done))
			between_instructions();
		second_ends();
	}
	stop_two();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(fast_write),	  cmocka_unit_test(away),
		cmocka_unit_test(away_for_long),  cmocka_unit_test(no_writer),
		cmocka_unit_test(walk_under_way), cmocka_unit_test(flush_page),
		cmocka_unit_test(flush_all),	  cmocka_unit_test(flush_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
