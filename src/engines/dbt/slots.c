/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: translations that single places in the code remember. They are few between two flushes, so a list of those that
 * were filled is all that a flush walks. A place whose accesses wander over many pages is better off with the TLB: when
 * a slot misses often in little time, its instruction is marked and its block translated anew.
 */
#include <x86intrin.h>

#include "engines/dbt/dbt-internal.h"

#define WANDERS (SLOT_MISSES * 20000ull) /* cycles of the TSC within which so many misses are too many */

void slot_init(struct slot *s, unsigned n)
{
	*s = (struct slot){ .room = PAGE_SIZE - n, .count = SLOT_MISSES };
}

void slots_clear(struct dbt *d)
{
	struct low *l = d->low;

	for (u32 k = 0; k < l->nfilled; k++) {
		struct slot *s = (struct slot *)(u64)l->filled[k];
		s->end = 0;
		s->listed = 0;
	}
	l->nfilled = 0;
}

static void clear_page(struct dbt *d, u64 gla)
{
	struct low *l = d->low;

	for (u32 k = 0; k < l->nfilled; k++) {
		struct slot *s = (struct slot *)(u64)l->filled[k];
		if ((gla & PAGE_MASK) + s->neg == 0)
			s->end = 0;
	}
}

void slots_dropped(struct vcpu *v, u64 gla, enum mmu_drop what)
{
	struct dbt *d = dbt_of(v);

	if (!d || !d->low || !d->low->nfilled)
		return;
	d->stats->slot_drops++;
	if (what == MMU_DROP_PAGE)
		clear_page(d, gla);
	else
		slots_clear(d);
}

static u64 hashed_bit(u64 page, unsigned off)
{
	return (page << PAGE_SHIFT | off) * 0x9e3779b97f4a7c15ull >> 32 & (HASHED_BITS - 1);
}

bool site_is_hashed(const struct dbt *d, u64 page, unsigned off)
{
	u64 bit = hashed_bit(page, off);

	return d->hashed[bit / 64] >> (bit % 64) & 1;
}

/* A slot's count is used up, or it could not be filled as SMAP is suspended, which no slot may outlast. */
u64 dbt_hot(struct vcpu *v, struct site *s)
{
	struct dbt *d = dbt_of(v);
	u64 now = __rdtsc(), bit = hashed_bit(s->block->page, s->insn.off);
	bool stack = s->slot == d->stack[0] || s->slot == d->stack[1];

	s->slot->count = SLOT_MISSES;
	if (d->low->nfilled >= FILLED_MAX) {
		slots_clear(d);
		return dbt_slow(v, s);
	}
	if (!stack && (now - s->slot->since < WANDERS || (v->rflags & FL_AC))) {
		d->hashed[bit / 64] |= BIT(bit % 64);
		d->stats->hashed++;
		block_retire(v, s->block);
	}
	s->slot->since = now;
	return dbt_slow(v, s);
}
