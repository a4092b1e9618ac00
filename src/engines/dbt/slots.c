/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: translations that single places in the code remember. They are few between two flushes, so a list of those that
 * were filled is all that a flush walks. A place whose accesses wander over many pages is better off with the TLB: when
 * a slot misses often in little time, its instruction is marked and its block translated anew.
 */
#include <x86intrin.h>

#include "engines/dbt/dbt-internal.h"

#define WANDERS (SLOT_MISSES * 20000ull) /* cycles of the TSC within which so many misses are too many */
#define WARM	(HEAT * 3000ull) /* the same within which a block that gets hot is entered often */

void slot_init(struct slot *s, unsigned n)
{
	*s = (struct slot){ .room = PAGE_SIZE - n, .count = SLOT_MISSES };
}

static void clear(struct low *l, unsigned which)
{
	struct filled *f = &l->filled[which];

	for (u32 k = 0; k < f->n; k++) {
		struct slot *s = (struct slot *)(u64)f->slot[k];
		s->end = 0;
		s->listed &= ~(1u << which);
	}
	f->n = 0;
}

void slots_clear(struct dbt *d)
{
	clear(d->low, 0);
	clear(d->low, 1);
}

static void clear_page(struct filled *f, u64 gla)
{
	for (u32 k = 0; k < f->n; k++) {
		struct slot *s = (struct slot *)(u64)f->slot[k];
		if ((gla & PAGE_MASK) + s->neg == 0)
			s->end = 0;
	}
}

void slots_dropped(struct vcpu *v, u64 gla, enum mmu_drop what)
{
	struct dbt *d = dbt_of(v);

	if (!d || !d->low)
		return;
	d->stats->slot_drops++;
	switch (what) {
	case MMU_DROP_PAGE:
		clear_page(&d->low->filled[0], gla);
		clear_page(&d->low->filled[1], gla);
		break;
	case MMU_DROP_LOCAL: clear(d->low, 0); break;
	default: slots_clear(d);
	}
}

static u64 place_bit(u64 page, unsigned off)
{
	return (page << PAGE_SHIFT | off) * 0x9e3779b97f4a7c15ull >> 32 & (PLACE_BITS - 1);
}

static bool has_bit(const u64 *set, u64 bit)
{
	return set[bit / 64] >> (bit % 64) & 1;
}

bool site_has_slot(const struct dbt *d, const struct block *b, unsigned off)
{
	return b->hot && !has_bit(d->wandering, place_bit(b->page, off));
}

bool block_is_hot(const struct dbt *d, u64 page, unsigned off)
{
	return has_bit(d->hot_blocks, place_bit(page, off));
}

/*
 * A block has been entered often: slots pay from now on. Only if that took little time, though: code that runs now and then among
 * much other has its slots emptied by a change of address space, or out of the host's caches, before they are of use again.
 */
u64 dbt_promote(struct vcpu *v, struct block *b)
{
	struct dbt *d = dbt_of(v);
	u64 bit = place_bit(b->page, b->off), now = __rdtsc(), since = b->since;

	b->since = now;
	if (now - since > WARM && d->heat == HEAT) {
		*b->heat = d->heat;
		return b->code;
	}
	v->rip = v->r[17] + b->off;
	d->hot_blocks[bit / 64] |= BIT(bit % 64);
	d->stats->promoted++;
	block_retire(v, b);
	return dbt_go_on(v);
}

/* A slot's count is used up, or it could not be filled as SMAP is suspended, which no slot may outlast. */
u64 dbt_hot(struct vcpu *v, struct site *s)
{
	struct dbt *d = dbt_of(v);
	u64 now = __rdtsc(), bit = place_bit(s->block->page, s->insn.off);
	bool stack = s->slot == d->stack[0] || s->slot == d->stack[1];

	s->slot->count = SLOT_MISSES;
	if (d->low->filled[0].n >= FILLED_MAX || d->low->filled[1].n >= FILLED_MAX) {
		slots_clear(d);
		return dbt_slow(v, s);
	}
	if (!stack && (now - s->slot->since < WANDERS || (v->rflags & FL_AC))) {
		d->wandering[bit / 64] |= BIT(bit % 64);
		d->stats->hashed++;
		block_retire(v, s->block);
	}
	s->slot->since = now;
	return dbt_slow(v, s);
}
