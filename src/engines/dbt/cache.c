/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code cache: where translations lie, how they are found by physical page, how they are linked, and how they go.
 *
 * Blocks that a store hits are taken out of the tables and unlinked at once, so that nothing enters them any more; their bytes
 * stay until their generation's memory is used again, so whoever is inside may finish. A generation goes as a whole when the one
 * that is being filled is full: only where code is looked up, when nobody is inside of any block.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engines/dbt/dbt-internal.h"

/* ---- pages ---- */

#define EPOCH_SETTLED BIT(63)

bool page_settled(struct vcpu *v, u64 page)
{
	u64 *epoch = &dbt_of(v)->page_epoch[page];

	if (*epoch & EPOCH_SETTLED)
		return true;
	if (!*epoch)
		*epoch = mmu_mark_code(v, page, true) + 1;
	if (!mmu_code_settled(v, *epoch - 1))
		return false;
	*epoch |= EPOCH_SETTLED;
	return true;
}

static void page_unmark(struct vcpu *v, u64 page)
{
	struct dbt *d = dbt_of(v);

	d->pages[page] = NULL;
	if (!d->page_epoch[page])
		return;
	d->page_epoch[page] = 0;
	mmu_mark_code(v, page, false);
}

/* ---- blocks ---- */

static struct block **bucket(struct dbt *d, u64 page, unsigned off)
{
	u64 key = page << PAGE_SHIFT | off;

	return &d->hash[key * 0x9e3779b97f4a7c15ull >> (64 - HASH_BITS)];
}

struct block *block_find(struct dbt *d, u64 page, unsigned off, u16 mode, u64 page2)
{
	for (struct block *b = *bucket(d, page, off); b; b = b->hash_next)
		if (b->page == page && b->off == off && b->mode == mode && (b->page2 == ~0ull || b->page2 == page2))
			return b;
	return NULL;
}

static void page_add(struct vcpu *v, struct block *b, u64 page)
{
	struct dbt *d = dbt_of(v);
	struct generation *g = &d->generation[d->now];

	if (page == b->page) {
		b->page_next = d->pages[page];
		d->pages[page] = b;
		b->made_next = g->blocks;
		g->blocks = b;
		return;
	}
	/* A second page has a stand-in, as a block is in one list. */
	struct block *stand_in = meta_alloc(d, sizeof(*b));
	*stand_in = (struct block){
		.page = page, .page2 = b->page, .end = 15, .page_next = d->pages[page], .made_next = g->blocks
	};
	d->pages[page] = stand_in;
	g->blocks = stand_in;
}

void block_enter(struct vcpu *v, struct block *b)
{
	struct dbt *d = dbt_of(v);
	struct block **at = bucket(d, b->page, b->off);

	/* memory_ready() has seen to it. */
	if (unlikely(d->hot.p > d->hot.end || d->cold.p > d->cold.end || d->meta_next > d->meta_end))
		abort();
	b->hash_next = *at;
	*at = b;
	note_begin(dbt_of(v), b->page, b->off);
	page_add(v, b, b->page);
	if (b->page2 != ~0ull && b->page2 != b->page)
		page_add(v, b, b->page2);
}

void exit_link(struct dbt *d, struct exit *x, struct block *to)
{
	s64 to_run = d->hot.to_run;
	u64 target = x->flags_host && !x->crosses ? to->code_h : to->code;

	x->to = to;
	x->next_in = to->in;
	to->in = x;
	d->stats->links++;
	if (!x->jump_at) {
		e_patch(x->hot_at, to_run, target);
		return;
	}
	e_patch(x->jump_at, to_run, to->code);
	if (x->poll && !to->live_in && !x->crosses)
		e_patch(x->hot_at, to_run, x->poll);
}

static void exit_unlink(struct dbt *d, struct exit *x)
{
	x->to = NULL;
	if (x->key)
		*x->key = 1;
	x->misses = EXIT_LINK_NOW;
	if (x->jump_at)
		e_patch(x->jump_at, d->hot.to_run, x->jump_home);
	if (x->hot_at)
		e_patch(x->hot_at, d->hot.to_run, x->hot_home);
}

static void exit_leave(struct exit *x)
{
	struct exit **at = &x->to->in;

	while (*at != x)
		at = &(*at)->next_in;
	*at = x->next_in;
}

static void block_drop(struct dbt *d, struct block *b)
{
	struct block **at = bucket(d, b->page, b->off);

	if (b->dead)
		return;
	b->dead = true;
	while (*at && *at != b)
		at = &(*at)->hash_next;
	if (*at)
		*at = b->hash_next;
	for (struct exit *x = b->in, *next; x; x = next) {
		next = x->next_in;
		exit_unlink(d, x);
	}
	b->in = NULL;
	for (struct exit *x = b->exits; x; x = x->next_own) {
		if (!x->to)
			continue;
		exit_leave(x);
		exit_unlink(d, x);
	}
}

/* No jump leads to it any more. */
static void jumps_forget(struct dbt *d, const struct block *b)
{
	unsigned first = b->many_jumps ? 0 : b->jump, end = b->many_jumps ? 1u << JUMP_CACHE_BITS : b->jump + 1;

	/* An empty slot's key belongs to an address that hashes to the slot's neighbour. */
	for (unsigned k = first; b->entered && k < end; k++)
		if (d->jump_block[k] == b)
			d->jump[k].key = jump_empty(k);
}

/* To be translated anew when it is next entered. */
void block_retire(struct vcpu *v, struct block *b)
{
	struct dbt *d = dbt_of(v);

	if (b->dead)
		return;
	block_drop(d, b);
	jumps_forget(d, b);
}

void place_retire(struct vcpu *v, u64 page, unsigned off)
{
	for (struct block *b = dbt_of(v)->pages[page]; b; b = b->page_next)
		if (b->code && off >= b->first && off < b->end)
			block_retire(v, b);
}

static void page_drop(struct vcpu *v, u64 index)
{
	struct dbt *d = dbt_of(v);
	struct block *list = d->pages[index];

	page_unmark(v, index);
	for (; list; list = list->page_next) {
		if (list->code) {
			block_drop(d, list);
			jumps_forget(d, list);
		} else if (!list->dead) { /* a stand-in: the other page's block goes, and with it that page's */
			list->dead = true;
			page_drop(v, list->page2);
		}
	}
}

/* ---- forgetting ---- */

/* The key of an address that is nothing but its code space is 0: not canonical, but index 0 must not have it. All others may. */
void cache_forget_jumps(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);

	memset(d->jump, 0, JUMP_CACHE_SIZE);
	d->jump[0].key = jump_empty(0);
}

/* What they tell of code that is gone would make them less and less use. */
static void filters_renew(struct dbt *d)
{
	memset(d->begins, 0, sizeof(d->begins));
	memset(d->wandering, 0, sizeof(d->wandering));
	memset(d->hot_blocks, 0, sizeof(d->hot_blocks));
	memset(d->outside, 0, sizeof(d->outside));
	memset(d->mixed, 0, sizeof(d->mixed));
	for (unsigned k = 0; k < d->generations; k++)
		for (const struct block *b = d->generation[k].blocks; b; b = b->made_next)
			if (b->code && !b->dead)
				note_begin(d, b->page, b->off);
}

void cache_flush(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);

	for (u64 k = 0; k < d->page_count; k++)
		page_unmark(v, k);
	d->flush_wanted = false;
	slots_clear(d);
	memset(d->hash, 0, sizeof(d->hash));
	for (unsigned k = 0; k < d->generations; k++)
		d->generation[k].blocks = NULL;
	filters_renew(d);
	memory_enter(d, 0);
	d->stats->flushes++;
	cache_forget_jumps(v);
}

/* ---- a generation goes ---- */

static bool made_in(const struct generation *g, const struct block *b)
{
	return (const u8 *)b >= g->meta.begin && (const u8 *)b < g->meta.end;
}

/*
 * Takes the generation's blocks out of the page's list. The page stays marked, as what was code will be again, and marking has to wait for
 * other vCPUs; unless somebody stores there: code_written().
 */
static void page_sweep(struct dbt *d, u64 page, const struct generation *g)
{
	struct block **at = &d->pages[page];

	while (*at) {
		if (made_in(g, *at))
			*at = (*at)->page_next;
		else
			at = &(*at)->page_next;
	}
}

static void jumps_sweep(struct dbt *d, const struct generation *g)
{
	for (unsigned k = 0; k < 1u << JUMP_CACHE_BITS; k++)
		if (made_in(g, d->jump_block[k])) {
			d->jump[k] = (struct jump_entry){ .key = jump_empty(k) };
			d->jump_block[k] = NULL;
		}
}

/* False: there was nothing in it. */
static bool generation_drop(struct vcpu *v, struct generation *g)
{
	struct dbt *d = dbt_of(v);

	if (!g->blocks)
		return false;
	slots_clear(d);
	jumps_sweep(d, g);
	for (struct block *b = g->blocks; b; b = b->made_next)
		if (b->code)
			block_drop(d, b);
	for (struct block *b = g->blocks; b; b = b->made_next)
		page_sweep(d, b->page, g);
	g->blocks = NULL;
	d->stats->evictions++;
	return true;
}

/*
 * Which generation is to be filled next: while there are, empty ones; else any but the last. Not the oldest, as code that is run
 * round and round and has not quite enough room would then always just have been dropped when it comes up again.
 */
static unsigned generation_choose(struct dbt *d)
{
	unsigned next = (d->now + 1) % d->generations;

	if (!d->generation[next].blocks)
		return next;
	d->random = d->random * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(d->now + 1 + (d->random >> 33) % (d->generations - 1)) % d->generations;
}

void cache_make_room(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);

	if (likely(memory_ready(d)))
		return;
	unsigned next = generation_choose(d);
	if (generation_drop(v, &d->generation[next]) && d->stats->evictions % d->generations == 0)
		filters_renew(d);
	memory_enter(d, next);
	memory_ready(d);
}

static bool page_covers(const struct block *b, unsigned offset, unsigned len)
{
	for (; b; b = b->page_next)
		if (!b->dead && offset < b->end && offset + len > b->first)
			return true;
	return false;
}

static void code_written(struct vcpu *v, u64 page, unsigned offset, unsigned len)
{
	struct dbt *d = dbt_of(v);

	d->stats->code_stores++;
	if (!d->pages[page])
		page_unmark(v, page);
	if (!page_covers(d->pages[page], offset, len))
		return;
	page_drop(v, page);
	v->stop_now = true;
	v->stats.smc++;
	d->stats->drops++;
}

/* Links to other pages have code spaces in their keys: they must not outlive the numbers. Whoever runs generated code leaves it first. */
static void spaces_reset(struct vcpu *v)
{
	cache_forget_jumps(v);
	dbt_of(v)->flush_wanted = true;
	v->stop_now = true;
}

const struct mmu_hooks cache_hooks = { .code_written = code_written,
				       .spaces_reset = spaces_reset,
				       .dropped = slots_dropped };

/* ---- making ---- */

int cache_create(struct vcpu *v, struct error *err)
{
	struct dbt *d = dbt_of(v);
	struct machine *m = v->machine;

	d->page_count = (m->low_size + m->high_size) >> PAGE_SHIFT;
	d->pages = calloc(d->page_count, sizeof(*d->pages));
	d->page_epoch = calloc(d->page_count, sizeof(*d->page_epoch));
	if (!d->pages || !d->page_epoch)
		return error_set(err, ENOMEM, "no memory for the table of translated pages");
	if (memory_create(d, &m->config, err))
		return err->code;
	for (unsigned k = 0; k < ARRAY_SIZE(d->stack); k++) {
		d->stack[k] = meta_alloc(d, 2 * sizeof(struct slot));
		for (unsigned n = 0; n < 2; n++)
			slot_init(&d->stack[k][n], k < 2 ? 8 : 4, NULL, 0, true);
	}
	thunks_emit(v);
	memory_divide(d);
	d->jump[0].key = jump_empty(0); /* the rest is as if forgotten, and takes no memory yet */
	mmu_set_hooks(v, &cache_hooks);
	return 0;
}

void cache_destroy(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);

	if (d->generations) {
		d->stats->code_size = d->code_size;
		d->stats->code_used = memory_used(d);
	}
	for (u64 k = 0; d->pages && d->page_epoch && k < d->page_count; k++)
		page_unmark(v, k);
	free(d->pages);
	free(d->page_epoch);
	memory_destroy(d);
}
