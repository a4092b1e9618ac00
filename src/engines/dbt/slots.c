/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: translations that single places in the code remember. They are few between two flushes, so a list of those that
 * were filled is all that a flush walks. A place whose accesses wander over many pages is better off with the TLB: when
 * a slot misses often in little time, its instruction is marked and its block translated anew.
 */
#include <x86intrin.h>

#include "engines/dbt/dbt-internal.h"

#define EXTEND_MAX   (64 * PAGE_SIZE) /* to each side */
#define FIRST_MISSES 4 /* until a slot is looked at for the first time: it may cover more than a page */
#define LONGER_MAX   3 /* looks that try to make it so before it is given up */
#define WANDERS	     (SLOT_MISSES * 100000ull) /* cycles of the TSC within which so many misses are too many */
#define STRAYS	     64 /* accesses after which an instruction is translated for where they go */
#define WARM	     (HEAT * 3000ull) /* the same within which a block that gets hot is entered often */

void slot_init(struct slot *s, unsigned span, struct block *b, unsigned off, bool write)
{
	*s = (struct slot){ .room = PAGE_SIZE + 1 - span,
			    .span = (u16)span,
			    .hits = PAIR_HITS,
			    .count = b ? FIRST_MISSES : ~0u,
			    .block = b,
			    .next = b ? b->slots : NULL,
			    .off = (u16)off,
			    .write = write };
	if (b)
		b->slots = s;
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
		/* What it covers is longer than end by the span. */
		if (s->end && (gla & PAGE_MASK) + s->neg < s->end + s->span)
			s->end = 0;
	}
}

/* Of slots to write: whose host pages have the one at `host` among them. */
static void clear_writes(struct filled *f, u64 host)
{
	for (u32 k = 0; k < f->n; k++) {
		struct slot *s = (struct slot *)(u64)f->slot[k];
		if (s->write && s->end && host - (s->host & PAGE_MASK) < s->end + s->span)
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
	case MMU_DROP_WRITES:
		clear_writes(&d->low->filled[0], (u64)v->machine->ram + (gla << PAGE_SHIFT));
		clear_writes(&d->low->filled[1], (u64)v->machine->ram + (gla << PAGE_SHIFT));
		break;
	case MMU_DROP_LOCAL: clear(d->low, 0); break;
	default: slots_clear(d);
	}
}

static u64 place_hash(u64 page, unsigned off)
{
	return (page << PAGE_SHIFT | off) * 0x9e3779b97f4a7c15ull >> 32;
}

static u64 place_bit(u64 page, unsigned off)
{
	return place_hash(page, off) & (PLACE_BITS - 1);
}

static bool has_bit(const u64 *set, u64 bit)
{
	return set[bit / 64] >> (bit % 64) & 1;
}

static void set_bit(u64 *set, u64 bit)
{
	set[bit / 64] |= BIT(bit % 64);
}

bool place_wanders(const struct dbt *d, u64 page, unsigned off)
{
	return has_bit(d->wandering, place_bit(page, off));
}

bool place_is_outside(const struct dbt *d, u64 page, unsigned off)
{
	return has_bit(d->outside, place_bit(page, off));
}

bool place_note(struct vcpu *v, struct site *s, bool outside)
{
	struct dbt *d = dbt_of(v);
	u64 page = s->block->page, bit = place_bit(page, s->insn.off);

	if (outside == s->outside || has_bit(d->mixed, bit) || ++s->strays < STRAYS)
		return false;
	s->strays = 0;
	if (outside) {
		set_bit(d->outside, bit);
		d->stats->outside++;
	} else {
		d->outside[bit / 64] &= ~BIT(bit % 64);
		set_bit(d->mixed, bit);
		d->stats->inside++;
	}
	place_retire(v, page, s->insn.off);
	return true;
}

/* One after the other in a page, as they are asked for. */
static u64 begin_bit(u64 page, unsigned off)
{
	return (place_hash(page, 0) << PAGE_SHIFT | off) & (BEGIN_BITS - 1);
}

bool place_begins(const struct dbt *d, u64 page, unsigned off)
{
	return has_bit(d->begins, begin_bit(page, off));
}

void note_begin(struct dbt *d, u64 page, unsigned off)
{
	set_bit(d->begins, begin_bit(page, off));
}

bool block_is_hot(const struct dbt *d, u64 page, unsigned off)
{
	return has_bit(d->hot_blocks, place_bit(page, off));
}

/*
 * A block has been entered often: it becomes a region. Only if that took little time, though: code that runs now and then among
 * much other has its slots emptied by a change of address space, or out of the host's caches, before they are of use again.
 */
u64 dbt_promote(struct vcpu *v, struct block *b)
{
	struct dbt *d = dbt_of(v);
	u64 now = __rdtsc(), since = b->since;

	b->since = now;
	if (now - since > WARM && d->heat == HEAT) {
		*b->heat = d->heat;
		return b->code;
	}
	v->rip = v->r[17] + b->off;
	set_bit(d->hot_blocks, place_bit(b->page, b->off));
	d->stats->promoted++;
	block_retire(v, b);
	return dbt_go_on(v);
}

void slots_check_lists(struct vcpu *v)
{
	struct words *w = words_of(v);

	if (likely(!w->lists_full))
		return;
	w->lists_full = 0;
	slots_clear(dbt_of(v));
}

/* ---- more than a page ---- */

static bool follows(const struct tlb_entry *view, u64 page, const u8 *host, bool write)
{
	const struct tlb_entry *e = tlb_slot((struct tlb_entry *)view, page);

	return (write ? e->wr : e->rd) == page && tlb_host(e) == host;
}

/* Pages around gla's that the TLB has and that lie beside each other in the host as well. */
static bool extend(struct vcpu *v, struct slot *s, u64 gla)
{
	struct dbt *d = dbt_of(v);
	u64 page = gla & PAGE_MASK, first = page, end = page + PAGE_SIZE;
	const struct tlb_entry *e = tlb_slot(v->tlb, page);
	u8 *host = tlb_host(e);

	if ((s->write ? e->wr : e->rd) != page)
		return false;
	while (end - page < EXTEND_MAX && follows(v->tlb, end, host + (end - page), s->write))
		end += PAGE_SIZE;
	while (page - first < EXTEND_MAX &&
	       follows(v->tlb, first - PAGE_SIZE, host - (page - first) - PAGE_SIZE, s->write))
		first -= PAGE_SIZE;
	if (end - first <= PAGE_SIZE)
		return false;
	bool global = true;
	for (u64 p = first; p != end; p += PAGE_SIZE)
		global &= tlb_slot(v->tlb, p)->info & TLB_GLOBAL;
	struct filled *f = &d->low->filled[global];
	if (f->n >= FILLED_MAX)
		return false;
	if (!(s->listed & 1u << global)) {
		f->slot[f->n++] = (u32)(u64)s;
		s->listed |= 1u << global;
	}
	s->neg = -first;
	s->host = (u64)host - (page - first);
	s->delta = s->host - first;
	s->end = end - first + 1 - s->span;
	return true;
}

/* The block is about to be translated anew: what is going to be found of its other slots soon is taken as found. */
static void note_wandering(struct dbt *d, const struct slot *s)
{
	for (const struct slot *o = s->block->slots; o; o = o->next) {
		bool soon = o->looks == LONGER_MAX || (o->looks == LONGER_MAX - 1 && o->count < SLOT_MISSES / 2);
		if (o == s || soon) {
			set_bit(d->wandering, place_bit(o->block->page, o->place));
			d->stats->hashed++;
		}
	}
}

/* A slot's count is used up, or it could not be filled as SMAP is suspended, which no slot may outlast. */
u64 dbt_hot(struct vcpu *v, struct slot *s)
{
	struct dbt *d = dbt_of(v);
	u64 now = __rdtsc();
	bool often = now - s->since < WANDERS, ac = v->rflags & FL_AC;

	s->count = SLOT_MISSES;
	d->stats->slot_looks++;
	if (d->low->filled[0].n >= FILLED_MAX || d->low->filled[1].n >= FILLED_MAX) {
		slots_clear(d);
	} else if ((often && s->looks >= LONGER_MAX) || ac) {
		note_wandering(d, s);
		block_retire(v, s->block);
	} else if (extend(v, s, words_of(v)->fill_gla)) {
		d->stats->slot_extends++;
	}
	if (s->looks < LONGER_MAX)
		s->looks++;
	s->since = now;
	return dbt_plain(v, s->block, s->off, NULL);
}
