/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code cache: where translations lie, how they are found by physical page, how they are linked, and how they go.
 *
 * Blocks that a store hits are taken out of the tables and unlinked at once, so that nothing enters them any more; their bytes
 * stay until their generation's memory is used again, so whoever is inside may finish. A generation goes as a whole when the one
 * that is being filled is full, and its memory is used when nobody can be inside of any of its blocks: where there are several vCPUs it
 * goes some time before it is needed. passes.c has the rules for what others may be using.
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
	if (!mmu_code_settled(v, *epoch - 1)) /* of all vCPUs, whichever marked it */
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
	for (struct block *b = __atomic_load_n(bucket(d, page, off), __ATOMIC_ACQUIRE); b;
	     b = __atomic_load_n(&b->hash_next, __ATOMIC_RELAXED))
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
	note_begin(dbt_of(v), b->page, b->off);
	page_add(v, b, b->page);
	if (b->page2 != ~0ull && b->page2 != b->page)
		page_add(v, b, b->page2);
	__atomic_store_n(at, b, __ATOMIC_RELEASE); /* whoever looks without the lock finds all of it */
}

void exit_link(struct dbt *d, struct exit *x, struct block *to)
{
	s64 to_run = d->hot.to_run;
	u64 target = x->flags_host && !x->crosses ? to->code_h : to->code;

	x->to = to;
	x->next_in = to->in;
	to->in = x;
	d->stats.links++;
	if (!x->jump_at) {
		e_patch(x->hot_at, to_run, target);
		return;
	}
	e_patch(x->jump_at, to_run, to->code);
	if (x->poll && !to->live_in && !x->crosses)
		e_patch(x->hot_at, to_run, x->poll);
}

/* On all vCPUs for which it was right. */
static void forget_keys(const struct dbt *d, struct exit *x)
{
	for (u64 cpus = x->keyed; cpus; cpus &= cpus - 1) {
		const struct dbt_cpu *c = d->cpu[__builtin_ctzll(cpus)];
		if (!c)
			continue;
		__atomic_store_n(exit_key(c, x), 1, __ATOMIC_RELAXED);
		__atomic_store_n(exit_misses(c, x), EXIT_LINK_NOW, __ATOMIC_RELAXED);
	}
	x->keyed = 0;
}

static void exit_unlink(struct dbt *d, struct exit *x)
{
	x->to = NULL;
	if (x->key)
		forget_keys(d, x);
	if (x->jump_at)
		e_patch(x->jump_at, d->hot.to_run, x->jump_home);
	if (x->hot_at)
		e_patch(x->hot_at, d->hot.to_run, x->hot_home);
	if (x->key)
		x->unlinked = pass_ask(d);
}

static void exit_leave(struct exit *x)
{
	struct exit **at = &x->to->in;

	while (*at != x)
		at = &(*at)->next_in;
	*at = x->next_in;
}

void exit_link_across(struct vcpu *v, struct exit *x, struct block *to, u64 key)
{
	struct dbt *d = dbt_of(v);

	if (x->to)
		d->stats.relinks++;
	if (x->to && x->to != to) {
		exit_leave(x);
		exit_unlink(d, x);
	}
	if (!x->to) {
		if (!pass_done(d, v, x->unlinked))
			return;
		exit_link(d, x, to);
	}
	x->keyed |= BIT(v->id);
	*exit_key(cpu_of(v), x) = key;
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
		__atomic_store_n(at, b->hash_next, __ATOMIC_RELAXED); /* b's own stays: somebody may stand there */
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

static void drop_and_tell(struct dbt *d, struct block *b)
{
	if (!b->dead)
		retired_note(d, b);
	block_drop(d, b);
}

/* To be translated anew when it is next entered. */
void block_retire(struct vcpu *v, struct block *b)
{
	struct dbt *d = dbt_of(v);

	if (b->dead)
		return;
	drop_and_tell(d, b);
	retired_hear(v);
}

void place_retire(struct vcpu *v, u64 page, unsigned off)
{
	for (struct block *b = dbt_of(v)->pages[page]; b; b = b->page_next)
		if (b->code && off >= b->first && off < b->end)
			block_retire(v, b);
}

/* Those of page `from` that begin with an instruction which goes on in the other one. */
static void drop_crossing(struct dbt *d, u64 from, u64 to)
{
	for (struct block *b = d->pages[from]; b; b = b->page_next)
		if (b->code && b->page2 == to)
			drop_and_tell(d, b);
}

static void page_drop(struct vcpu *v, u64 index)
{
	struct dbt *d = dbt_of(v);
	struct block *list = d->pages[index];

	if (d->many)
		d->pages[index] = NULL;
	else
		page_unmark(v, index);
	for (; list; list = list->page_next) {
		if (list->code) {
			drop_and_tell(d, list);
		} else if (!list->dead) { /* a stand-in */
			list->dead = true;
			drop_crossing(d, list->page2, index);
		}
	}
}

/* ---- forgetting ---- */

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

/* ---- a generation goes ---- */

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

static void generation_drop(struct dbt *d, struct generation *g)
{
	if (!g->blocks)
		return;
	for (struct block *b = g->blocks; b; b = b->made_next)
		if (b->code)
			block_drop(d, b);
	for (struct block *b = g->blocks; b; b = b->made_next)
		page_sweep(d, b->page, g);
	g->blocks = NULL;
	/* Before the pass: whoever sees its number without the lock sees that there is something to leave. */
	d->gone = g->dropped = atomic_load(&d->pass) + 1;
	atomic_store(&d->dropped, g->dropped);
	pass_ask(d);
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

static void next_drop(struct dbt *d)
{
	d->next = generation_choose(d);
	if (!d->generation[d->next].blocks)
		return;
	generation_drop(d, &d->generation[d->next]);
	d->stats.evictions++;
	if (d->stats.evictions % d->generations == 0)
		filters_renew(d);
}

bool cache_make_room(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);
	bool ready = memory_ready(d);

	if (likely(ready && !(d->many && d->next == d->generations && memory_is_short(d))))
		return true;
	if (d->next == d->generations) {
		next_drop(d);
		pass_hurry(v->machine, v); /* under the lock: before a store finds that nothing is there */
	}
	if (ready)
		return true;
	pass_locked(v);
	if (!pass_done(d, v, d->generation[d->next].dropped))
		return false;
	memory_enter(d, d->next);
	d->reuses++;
	return memory_ready(d);
}

static void flush(struct dbt *d)
{
	for (unsigned k = 0; k < d->generations; k++)
		generation_drop(d, &d->generation[k]);
	filters_renew(d);
	memory_leave(d);
	d->next = d->generations;
	d->stats.flushes++;
}

void cache_breaks_changed(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);

	dbt_lock(d);
	if (d->breaks != v->machine->debug.breaks) {
		flush(d);
		d->breaks = v->machine->debug.breaks;
	}
	dbt_unlock(d);
}

/* ---- code is written ---- */

/* Where there are others one may still run what is dead. */
static bool page_covers(const struct block *b, unsigned offset, unsigned len, bool many)
{
	for (; b; b = b->page_next)
		if ((!b->dead || many) && offset < b->end && offset + len > b->first)
			return true;
	return false;
}

/* Whether there was a translation of those bytes. */
static bool written(struct vcpu *v, u64 page, unsigned offset, unsigned len)
{
	struct dbt *d = dbt_of(v);

	if (!d->pages[page] && (!d->many || pass_done(d, NULL, d->gone)))
		page_unmark(v, page);
	if (!page_covers(d->pages[page], offset, len, d->many))
		return false;
	page_drop(v, page);
	d->gone = pass_ask(d);
	d->stats.drops++;
	return true;
}

/*
 * The vCPU that stores goes on with its new code; the others hear of it before its store's instruction is done. One that has not passed
 * since blocks went, by a store of another's or with their generation, may be inside of one that it has just stored to. So it looks, and while
 * there is any such vCPU pages stay marked.
 */
static void code_written(struct vcpu *v, u64 page, unsigned offset, unsigned len)
{
	struct dbt *d = dbt_of(v);

	cpu_of(v)->stats->code_stores++;
	dbt_lock(d);
	bool hit = written(v, page, offset, len);
	if (hit)
		retired_hear(v);
	if (hit || (d->many && atomic_load(&cpu_of(v)->passed) < d->gone))
		v->stop_now = true;
	dbt_unlock(d);
	if (!hit)
		return;
	v->stats.smc++;
	pass_hurry(v->machine, v);
}

/* The machine tells each vCPU, and one is enough. Where there is one, it does it itself. */
void cache_memory_changed(struct vcpu *v, u64 gpa, u64 len)
{
	struct machine *m = v->machine;
	struct dbt *d = dbt_of(v);
	bool hit = false;

	if (!d->many) {
		mmu_memory_changed(v, gpa, len);
		return;
	}
	if (v->id)
		return;
	dbt_lock(d);
	for (u64 end = gpa + len, next; gpa < end; gpa = next) {
		const u8 *host = ram_ptr(m, gpa, 1);
		next = MIN(end, (gpa | ~PAGE_MASK) + 1);
		if (host && d->page_epoch[ram_page_index(m, host)])
			hit |= written(v, ram_page_index(m, host), gpa & ~PAGE_MASK, (unsigned)(next - gpa));
	}
	dbt_unlock(d);
	if (hit)
		pass_hurry(m, NULL);
}

/* Keys of links to other pages, and of the jump cache, have code spaces in them: they must not outlive the numbers. Nor must what compares
 * the number from before with the one from after. */
static void spaces_reset(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);

	cache_forget_jumps(v);
	for (unsigned k = 0; k < d->generations; k++)
		area_clear(cpu_of(v), &d->generation[k].touched);
	v->stop_now = true;
}

const struct mmu_hooks cache_hooks = {
	.code_written = code_written, .spaces_reset = spaces_reset, .dropped = slots_dropped, .shared = true
};

/* ---- making ---- */

static int fill(struct dbt *d, struct vcpu *v, struct error *err)
{
	struct machine *m = v->machine;

	d->page_count = (m->low_size + m->high_size) >> PAGE_SHIFT;
	d->pages = calloc(d->page_count, sizeof(*d->pages));
	d->page_epoch = calloc(d->page_count, sizeof(*d->page_epoch));
	if (!d->pages || !d->page_epoch)
		return error_set(err, ENOMEM, "no memory for the table of translated pages");
	if (memory_create(d, &m->config, err))
		return err->code;
	thunks_emit(d, v);
	memory_divide(d);
	return tell_open(d, &m->config, err);
}

int cache_create(struct vcpu *v, struct error *err)
{
	struct dbt *d = dbt_of(v);

	d->cpus = v->machine->config.cpus;
	d->many = d->cpus > 1;
	d->tr = tr_create();
	d->finder = finder_create();
	d->region = code_region_create();
	if (!d->tr || !d->finder || !d->region)
		return error_set(err, ENOMEM, "no memory for the translator");
	return fill(d, v, err);
}

void cache_destroy(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);

	if (d->generations) {
		d->stats.size = d->code_size;
		d->stats.used = memory_used(d);
	}
	tell_close(d);
	for (u64 k = 0; d->pages && d->page_epoch && k < d->page_count; k++)
		page_unmark(v, k);
	free(d->pages);
	free(d->page_epoch);
	free(d->tr);
	free(d->finder);
	free(d->region);
	memory_destroy(d);
}
