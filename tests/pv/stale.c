/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two CPUs: one has written to a page, through a place in its code that has done so often, and has not been told of anything since; the other
 * makes the page a table. Between, the first does what may make the VMM forget that it could write there: its translation is pushed out by
 * others. Whatever it knows, the next store is validated. Then both at once.
 *
 * cpus: 2
 */
#include "kit.h"

#define OFTEN  30000
#define ROUNDS 24
#define SPAN   (2048 * PAGE) /* pages this far apart are alike to translation caches of up to so many entries */
#define WINDOW (5ull << 39)

#define TABLE static u64 __attribute__((aligned(4096)))
TABLE three[512], two[512], one[3][512], data[64][512], target[512];

static u64 step; /* odd: CPU 1's turn */
static s64 outcome;
static unsigned how;
static u64 bad;

/* Loops that only ever write there, so that whatever is remembered for their store is of use. */
#define PLACE(n)                                                                                \
	static __attribute__((noinline)) void place_##n(volatile u64 *at, u64 value, u64 times) \
	{                                                                                       \
		while (times--)                                                                 \
			__asm__ volatile("movq %1, %0 # " #n : "=m"(*at) : "r"(value));         \
	}
PLACE(0)
PLACE(1)
PLACE(2)
PLACE(3)
PLACE(4)
PLACE(5)
PLACE(6)
PLACE(7)
static void (*const places[])(volatile u64 *at, u64 value, u64 times) = { place_0, place_1, place_2, place_3,
									  place_4, place_5, place_6, place_7 };

#define RACES 40

/* As fast as it can, whether or not it may: now what would be wrong in a table, now nothing. */
static u64 racing;
static u64 won, tries; /* how often all stores were let through, of how many */
static void on_and_off(volatile u64 *at, u64 value)
{
	for (unsigned k = 0; k < 20; k++) {
		*at = value;
		*at = 0;
	}
}
static void race(void)
{
	while (__atomic_load_n(&racing, __ATOMIC_SEQ_CST)) {
		bool through = attempt(on_and_off, &target[5], bad) == NOTHING;
		__atomic_fetch_add(&won, through, __ATOMIC_SEQ_CST);
		__atomic_fetch_add(&tries, 1, __ATOMIC_SEQ_CST);
	}
}

/* What was good when it became a table stays so while it is one. */
static void referee(void)
{
	unsigned tables = 0;

	for (unsigned k = 0; k < RACES; k++) {
		u64 seen = __atomic_load_n(&won, __ATOMIC_SEQ_CST);

		while (__atomic_load_n(&won, __ATOMIC_SEQ_CST) == seen) /* it knows a page that it may write to */
			relax();
		EQ(0, make_ro(target));
		s64 r = pin(1 + k % 4, target);
		CHECK(!r || r == -XEN_EINVAL);
		seen = __atomic_load_n(&tries, __ATOMIC_SEQ_CST);
		while (!r && __atomic_load_n(&tries, __ATOMIC_SEQ_CST) < seen + 3)
			EQ(0, ((volatile u64 *)target)[5]);
		if (!r)
			EQ(0, unpin(target));
		/* A store that is being validated has its use of the table until it is done. */
		for (unsigned i = 0; make_rw(target); i++)
			CHECK(i < 100000);
		tables += !r;
	}
	CHECK(tables);
	__atomic_store_n(&racing, 0, __ATOMIC_SEQ_CST);
}

static void wait_for(u64 n)
{
	while (__atomic_load_n(&step, __ATOMIC_SEQ_CST) != n)
		hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield);
}

/* An address in the window that is alike to at. */
static u64 *alike(const void *at, unsigned k)
{
	return (u64 *)(WINDOW + k * SPAN + (PTR(at) & (SPAN - 1)));
}

static void forget(const u64 *at)
{
	if (how & 1)
		for (unsigned k = 0; k < 3; k++)
			*(volatile u64 *)alike(at, k) = k;
	if (how & 2)
		for (unsigned k = 0; k < 64; k++)
			*(volatile u64 *)alike(data[k], 0) = k;
	if (how & 4)
		for (unsigned k = 0; k < 64; k++)
			*(volatile u64 *)data[k] = k;
}

void guest_cpu(unsigned cpu)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		void (*place)(volatile u64 * at, u64 value, u64 times) = places[round % ARRAY(places)];

		wait_for(4 * round + 1);
		for (unsigned k = 0; k < 4; k++)
			place(&target[5], 0, OFTEN);
		forget(target);
		__atomic_store_n(&step, 4 * round + 2, __ATOMIC_SEQ_CST);
		wait_for(4 * round + 3);
		outcome = attempt(place, &target[5], bad, 9);
		__atomic_store_n(&step, 4 * round + 4, __ATOMIC_SEQ_CST);
	}
	while (!__atomic_load_n(&racing, __ATOMIC_SEQ_CST))
		relax();
	race();
}

/* Where `alike` is: each L1 of two MiB of it, over and over, has memory in every entry. */
static void make_window(void)
{
	for (unsigned k = 0; k < 512; k++)
		one[0][k] = pte_of(data[k % 64], RW);
	for (unsigned k = 0; k < 512; k++)
		two[k] = pte_of(one[0], RW);
	three[0] = pte_of(two, RW);
	EQ(0, make_ro(one[0]));
	EQ(0, make_ro(two));
	EQ(0, make_ro(three));
	EQ(0, update_entry(kernel_l4(), 5, pte_of(three, RW)));
}

void guest_main(const char *which)
{
	make_window();
	bad = pte_of(kernel_l4(), RW);
	boot_cpu(1);
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned level = 1 + round % 4;

		how = round / 3 % 8;
		__atomic_store_n(&step, 4 * round + 1, __ATOMIC_SEQ_CST);
		wait_for(4 * round + 2);
		EQ(0, make_ro(target)); /* flushed here, not there */
		EQ(0, pin(level, target));
		__atomic_store_n(&step, 4 * round + 3, __ATOMIC_SEQ_CST);
		wait_for(4 * round + 4);
		if (outcome != EXC_PF || target[5])
			print("round %d, level %d, way %d: entry %x\n", (u64)round, (u64)level, (u64)how, target[5]);
		EQ(EXC_PF, outcome);
		EQ(0, target[5]);
		EQ(0, unpin(target));
		EQ(0, make_rw(target));
		EQ(0, mmu_op(MMUEXT_TLB_FLUSH_ALL, 0, 0));
	}
	__atomic_store_n(&racing, 1, __ATOMIC_SEQ_CST);
	referee();
}
