/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs that do what they like with the same few frames at once: map, pin, change, store, walk, with frames of others among what they ask
 * for. Afterwards every count is what a count from scratch gives, and nobody has read or written what is not the domain's.
 */
#include "xen-mm.h"

enum { POOL = 64, EACH = 6, POOL_FRAMES = 5 * EACH, SLOT = 5, ROUNDS = 150000 };
#define FOREIGN_MAGIC 0x5ec2e75ec2e75ec2ull

struct racer {
	pthread_t thread;
	struct vcpu *v;
	u64 random;
	unsigned done, refused, seen_foreign, reads;
};
static u64 *foreign; /* a page that is not the domain's, and its number */
static u64 foreign_mfn;

static u64 rnd(struct racer *r, u64 n)
{
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return (r->random >> 20) % n;
}

static u64 any(struct racer *r)
{
	return POOL + rnd(r, POOL_FRAMES);
}

/* Mostly one of those that are meant to be tables of this level (0: data), so that address spaces come about. */
static u64 some(struct racer *r, unsigned level)
{
	return rnd(r, 8) ? POOL + level * EACH + rnd(r, EACH) : any(r);
}

static unsigned meant_for(u64 pfn)
{
	return (unsigned)(pfn - POOL) / EACH;
}

static u64 any_entry(struct racer *r, unsigned level)
{
	static const u64 flags[] = { RW, RW, RW, RW, RO, RO, PTE_P | PTE_W, RW | PTE_PS, 0 };
	u64 f = flags[rnd(r, ARRAY_SIZE(flags))];

	return rnd(r, 20) ? entry(some(r, level ? level - 1 : 0), f) : foreign_mfn << PAGE_SHIFT | f;
}

/* In the part of the address space whose tables change. Few slots of each table are used. */
static u64 any_address(struct racer *r)
{
	return (u64)SLOT << 39 | rnd(r, 3) << 30 | rnd(r, 3) << 21 | rnd(r, 3) << 12 | rnd(r, 3) * 8;
}

static void note(struct racer *r, s64 result)
{
	r->done += result == 0;
	r->refused += result != 0;
}

static void change(struct racer *r)
{
	u64 pfn = any(r), l1 = some(r, 1);
	unsigned level = meant_for(pfn);

	switch (rnd(r, 14)) {
	case 0: note(r, pin(level && rnd(r, 8) ? level : 1 + (unsigned)rnd(r, 4), pfn)); break;
	case 1: note(r, unpin(pfn)); break;
	case 2: note(r, set_entry(PFN_L4, SLOT, rnd(r, 8) ? entry(some(r, 3), RW) : 0)); break;
	case 3: note(r, mmuext(MMUEXT_NEW_USER_BASEPTR, rnd(r, 3) ? mfn_of(some(r, 4)) : 0, 0)); break;
	case 4: note(r, va_mapping(any_address(r), any_entry(r, 1), UVMF_INVLPG)); break;
	case 5: note(r, store(gla_of(l1) + rnd(r, 3) * 8, 8, any_entry(r, 1)) != NO_FAULT); break;
	case 6: note(r, cmpxchg(gla_of(l1) + rnd(r, 3) * 8, frame_at(l1)[0], any_entry(r, 1)) != NO_FAULT); break;
	case 7: note(r, set_pte(pfn, entry(pfn, rnd(r, 2) ? RW : RO))); break;
	case 8:
	case 9: note(r, set_pte(pfn, entry(pfn, level ? RO : RW))); break;
	default: note(r, set_entry(pfn, (unsigned)rnd(r, 3), any_entry(r, level)));
	}
}

/* Through whatever the tables say. */
static void walk(struct racer *r)
{
	u64 x = 0, gla = any_address(r);

	if (rnd(r, 2) && mmu_try_write(v, gla, &x, 8))
		r->reads++;
	mmu_flush_page(v, gla);
	if (mmu_try_read(v, gla, &x, 8)) {
		r->reads++;
		r->seen_foreign += x == FOREIGN_MAGIC;
	}
	mmu_flush_page(v, gla);
}

static void *race(void *arg)
{
	struct racer *r = arg;

	v = r->v;
	vcpu_set_current(v);
	mmu_enter(v);
	for (unsigned k = 0; k < ROUNDS; k++) {
		if (rnd(r, 3))
			change(r);
		else
			walk(r);
		mmu_come_back(v, mmu_go_away(v)); /* between two instructions */
	}
	mmu_leave(v);
	return NULL;
}

static void racing(unsigned cpus, u64 seed)
{
	struct racer racer[4] = { 0 };
	unsigned done = 0, reads = 0;

	guest_start(cpus);
	foreign_mfn = 0; /* mm_nth() gives all but that one */
	foreign = table_host(d, 0);
	for (unsigned k = 0; k < TABLE_ENTRIES; k++)
		foreign[k] = FOREIGN_MAGIC;
	for (unsigned p = POOL; p < POOL + POOL_FRAMES; p++)
		memset(frame_at(p), 0, PAGE_SIZE);
	for (unsigned k = 0; k < cpus; k++) {
		racer[k].v = m->vcpu[k];
		racer[k].random = seed + 0x9e3779b97f4a7c15ull * (k + 1);
		assert_int_equal(pthread_create(&racer[k].thread, NULL, race, &racer[k]), 0);
	}
	for (unsigned k = 0; k < cpus; k++) {
		pthread_join(racer[k].thread, NULL);
		assert_int_equal(racer[k].seen_foreign, 0);
		done += racer[k].done;
		reads += racer[k].reads;
	}
	for (unsigned k = 0; k < TABLE_ENTRIES; k++)
		assert_int_equal(foreign[k], FOREIGN_MAGIC);
	/* They did something. */
	assert_true(done > cpus * ROUNDS / 10);
	assert_true(reads > 100);
	print_message("%u CPUs: %u changes took effect, %u accesses\n", cpus, done, reads);
	guest_stop();
}

static void alone(void **state)
{
	racing(1, 1);
}

static void two(void **state)
{
	for (u64 seed = 1; seed <= 3; seed++)
		racing(2, seed * 1000);
}

static void four(void **state)
{
	racing(4, 77);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(alone),
		cmocka_unit_test(two),
		cmocka_unit_test(four),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
