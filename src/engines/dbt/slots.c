/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: translations that single places in the code remember. They are few between two flushes, so a list of those that
 * were filled is all that a flush walks. A place whose accesses wander over many pages is better off with the TLB: when
 * a slot misses often in little time, its instruction is marked and its block translated anew.
 */
#include <x86intrin.h>

#include "engines/dbt/dbt-internal.h"

#define EXTEND_MAX (64 * PAGE_SIZE) /* to each side */
#define LONGER_MAX 3 /* looks that try to make it so before it is given up */
#define WANDERS	   (SLOT_MISSES * 100000ull) /* cycles of the TSC within which so many misses are too many */
#define STRAYS	   64 /* accesses after which an instruction is translated for where they go */
#define WARM	   (HEAT * 3000ull) /* the same within which a block that gets hot is entered often */

struct slot_use *slot_use_new(struct dbt *d, u32 slot, unsigned span, struct block *b, unsigned off, bool write)
{
	struct slot_use *use = meta_alloc(d, sizeof(*use));

	*use = (struct slot_use){ .slot = slot,
				  .off = (u16)off,
				  .room = PAGE_SIZE + 1 - span,
				  .block = b,
				  .next = b ? b->slots : NULL,
				  .write = write };
	if (b)
		b->slots = use;
	return use;
}

static void clear(struct dbt_cpu *c, unsigned which)
{
	struct filled *f = &c->low->filled[which];

	for (u32 k = 0; k < f->n; k++) {
		struct slot *s = area_at(c, f->slot[k]);
		s->end = 0;
		s->listed &= ~(1u << which);
	}
	f->n = 0;
}

void slots_clear(struct dbt_cpu *c)
{
	clear(c, 0);
	clear(c, 1);
}

/* What a slot covers ends less than a page behind its end. */
static bool covers(const struct slot *s, u64 offset)
{
	return s->end && offset < s->end + PAGE_SIZE;
}

static void clear_page(struct dbt_cpu *c, const struct filled *f, u64 gla)
{
	for (u32 k = 0; k < f->n; k++) {
		struct slot *s = area_at(c, f->slot[k]);
		if (covers(s, (gla & PAGE_MASK) + s->neg))
			s->end = 0;
	}
}

/* Whose host pages have the one at `host` among them. */
static void clear_host(struct dbt_cpu *c, const struct filled *f, u64 host)
{
	for (u32 k = 0; k < f->n; k++) {
		struct slot *s = area_at(c, f->slot[k]);
		if (covers(s, host - (s->host & PAGE_MASK)))
			s->end = 0;
	}
}

void slots_dropped(struct vcpu *v, u64 gla, enum mmu_drop what)
{
	struct dbt_cpu *c = cpu_of(v);

	if (!c || !c->low)
		return;
	c->stats->slot_drops++;
	switch (what) {
	case MMU_DROP_PAGE:
		clear_page(c, &c->low->filled[0], gla);
		clear_page(c, &c->low->filled[1], gla);
		break;
	case MMU_DROP_WRITES:
		clear_host(c, &c->low->filled[0], (u64)v->machine->ram + (gla << PAGE_SHIFT));
		clear_host(c, &c->low->filled[1], (u64)v->machine->ram + (gla << PAGE_SHIFT));
		break;
	case MMU_DROP_LOCAL: clear(c, 0); break;
	default: slots_clear(c);
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

/* Changed under the lock, looked at without in place_note(). */
static bool has_bit(const u64 *set, u64 bit)
{
	return __atomic_load_n(&set[bit / 64], __ATOMIC_RELAXED) >> (bit % 64) & 1;
}

static void set_bit(u64 *set, u64 bit)
{
	__atomic_store_n(&set[bit / 64], set[bit / 64] | BIT(bit % 64), __ATOMIC_RELAXED);
}

static void clear_bit(u64 *set, u64 bit)
{
	__atomic_store_n(&set[bit / 64], set[bit / 64] & ~BIT(bit % 64), __ATOMIC_RELAXED);
}

bool place_wanders(const struct dbt *d, u64 page, unsigned off)
{
	return has_bit(d->wandering, place_bit(page, off));
}

bool place_is_outside(const struct dbt *d, u64 page, unsigned off)
{
	return has_bit(d->outside, place_bit(page, off));
}

/* Counted without the lock, so that some may get lost. */
static bool has_strayed(struct site *s)
{
	u8 n = (u8)(__atomic_load_n(&s->strays, __ATOMIC_RELAXED) + 1);

	__atomic_store_n(&s->strays, n < STRAYS ? n : 0, __ATOMIC_RELAXED);
	return n >= STRAYS;
}

static void move_place(struct dbt *d, u64 bit, bool outside)
{
	if (outside) {
		set_bit(d->outside, bit);
		d->stats.outside++;
	} else {
		clear_bit(d->outside, bit);
		set_bit(d->mixed, bit);
		d->stats.inside++;
	}
}

bool place_note(struct vcpu *v, struct site *s, bool outside)
{
	struct dbt *d = dbt_of(v);
	u64 page = s->block->page, bit = place_bit(page, s->insn.off);

	if (outside == s->outside || has_bit(d->mixed, bit) || !has_strayed(s))
		return false;
	dbt_lock(d);
	move_place(d, bit, outside);
	place_retire(v, page, s->insn.off);
	dbt_unlock(d);
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

static bool promote(struct vcpu *v, struct block *b)
{
	struct dbt *d = dbt_of(v);
	u64 now = __rdtsc(), since = b->since;

	b->since = now;
	if (now - since > WARM && d->heat == HEAT)
		return false;
	set_bit(d->hot_blocks, place_bit(b->page, b->off));
	d->stats.promoted += !b->dead;
	block_retire(v, b);
	return true;
}

/*
 * A block has been entered often: it becomes a region. Only if that took little time, though: code that runs now and then among
 * much other has its slots emptied by a change of address space, or out of the host's caches, before they are of use again.
 */
u64 dbt_promote(struct vcpu *v, struct block *b)
{
	struct dbt *d = dbt_of(v);

	dbt_lock(d);
	bool hot = promote(v, b);
	dbt_unlock(d);
	if (!hot)
		return b->code;
	v->rip = v->r[17] + b->off;
	return dbt_go_on(v);
}

void slots_check_lists(struct vcpu *v)
{
	struct words *w = words_of(v);

	if (likely(!w->lists_full))
		return;
	w->lists_full = 0;
	slots_clear(cpu_of(v));
}

/* ---- more than a page ---- */

static bool follows(const struct tlb_entry *view, u64 page, const u8 *host, bool write)
{
	const struct tlb_entry *e = tlb_slot((struct tlb_entry *)view, page);

	return (write ? e->wr : e->rd) == page && tlb_host(e) == host;
}

/* Pages around gla's that the TLB has and that lie beside each other in the host as well. */
static bool extend(struct vcpu *v, const struct slot_use *use, struct slot *s, u64 gla)
{
	u64 page = gla & PAGE_MASK, first = page, end = page + PAGE_SIZE;
	const struct tlb_entry *e = tlb_slot(v->tlb, page);
	u8 *host = tlb_host(e);

	if ((use->write ? e->wr : e->rd) != page)
		return false;
	while (end - page < EXTEND_MAX && follows(v->tlb, end, host + (end - page), use->write))
		end += PAGE_SIZE;
	while (page - first < EXTEND_MAX &&
	       follows(v->tlb, first - PAGE_SIZE, host - (page - first) - PAGE_SIZE, use->write))
		first -= PAGE_SIZE;
	if (end - first <= PAGE_SIZE)
		return false;
	bool global = true;
	for (u64 p = first; p != end; p += PAGE_SIZE)
		global &= tlb_slot(v->tlb, p)->info & TLB_GLOBAL;
	struct filled *f = &cpu_of(v)->low->filled[global];
	if (f->n >= FILLED_MAX)
		return false;
	if (!(s->listed & 1u << global)) {
		f->slot[f->n++] = use->slot;
		s->listed |= 1u << global;
	}
	s->neg = -first;
	s->host = (u64)host - (page - first);
	s->delta = s->host - first;
	s->end = end - first - PAGE_SIZE + use->room;
	return true;
}

static bool gives_up_soon(const struct slot *s)
{
	return s->looks == LONGER_MAX || (s->looks == LONGER_MAX - 1 && s->count - SLOT_DUE < SLOT_MISSES / 2);
}

/* The block is about to be translated anew: what is going to be found of its other slots soon is taken as found. */
static void note_wandering(struct dbt_cpu *c, const struct slot_use *use)
{
	struct dbt *d = c->dbt;

	for (const struct slot_use *o = use->block->slots; o; o = o->next) {
		if (o == use || gives_up_soon(area_at(c, o->slot))) {
			set_bit(d->wandering, place_bit(o->block->page, o->name));
			d->stats.hashed++;
		}
	}
}

static void give_up(struct vcpu *v, struct slot_use *use)
{
	struct dbt *d = dbt_of(v);

	dbt_lock(d);
	note_wandering(cpu_of(v), use);
	block_retire(v, use->block);
	dbt_unlock(d);
}

/* A slot's count is used up, or it could not be filled as SMAP is suspended, which no slot may outlast. */
u64 dbt_hot(struct vcpu *v, struct slot_use *use)
{
	struct dbt_cpu *c = cpu_of(v);
	struct slot *s = area_at(c, use->slot);
	u64 now = __rdtsc();
	bool often = now - s->since < WANDERS, ac = v->rflags & FL_AC;

	s->count = SLOT_MISSES + (u32)SLOT_DUE;
	c->stats->slot_looks++;
	if (c->low->filled[0].n >= FILLED_MAX || c->low->filled[1].n >= FILLED_MAX)
		slots_clear(c);
	else if ((often && s->looks >= LONGER_MAX) || ac)
		give_up(v, use);
	else if (extend(v, use, s, words_of(v)->fill_gla))
		c->stats->slot_extends++;
	if (s->looks < LONGER_MAX)
		s->looks++;
	s->since = now;
	return dbt_plain(v, use->block, use->off, NULL);
}
