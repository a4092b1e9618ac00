/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is taken away while other vCPUs run generated code. They run it without the lock, so what they may be about to use stays as it was
 * until they have *passed*: been in C, outside of all blocks, at the loop or where code is looked up. Passes are numbered.
 *
 * - A block that is dropped or retired leaves the tables and is unlinked at once. Its bytes stay until its generation is used again. The vCPUs'
 *   jump caches are theirs: they hear of it by a list, each before it next enters generated code from the loop; where the code has
 *   changed, they are asked to come to the loop.
 * - A link inside a page may be changed at any time: its displacement lies in eight aligned bytes, and both targets are right. (Whoever took the
 *   way of flags that are dead at the old target has stale ones at the new: as with faults, no program can tell, unless its code changes
 *   under it.)
 * - A link to another page is right for whom the key says so, and a vCPU that has compared its key will jump. So it is taken away, keys and
 *   all, but only made anew when all have passed.
 * - A generation's memory is used again when all have passed that it was dropped in. Each vCPU by then has taken its blocks out of its jump
 *   cache and cleared its part of the area.
 *
 * A vCPU that halts is away: it passes when it comes back, before it enters generated code, and nobody waits for it.
 */
#include <cpuid.h>

#include "engines/dbt/dbt-internal.h"

/* ---- asking ---- */

u64 pass_ask(struct dbt *d)
{
	return atomic_fetch_add(&d->pass, 1) + 1;
}

bool pass_done(const struct dbt *d, const struct vcpu *v, u64 pass)
{
	for (unsigned k = 0; k < d->cpus; k++) {
		const struct dbt_cpu *o = d->cpu[k];
		if (o && !(v && k == v->id) && !atomic_load(&o->away) && atomic_load(&o->passed) < pass)
			return false;
	}
	return true;
}

void pass_hurry(struct machine *m, const struct vcpu *v)
{
	const struct dbt *d = m->engine;

	for (unsigned k = 0; k < d->cpus; k++)
		if (d->cpu[k] && m->vcpu[k] != v && !atomic_load(&d->cpu[k]->away))
			vcpu_post(m->vcpu[k], EV_CODE);
}

/* ---- jumps to what is retired ---- */

void retired_note(struct dbt *d, const struct block *b)
{
	u64 n = atomic_load_explicit(&d->retirements, memory_order_relaxed);

	if (!b->entered)
		return;
	d->retired[n % RETIRED_MAX] = (struct retired){ b, b->jump, b->many_jumps };
	atomic_store(&d->retirements, n + 1);
}

/* The key of an address that is nothing but its code space is 0: not canonical, but index 0 must not have it. All others may. */
void cache_forget_jumps(struct vcpu *v)
{
	struct dbt_cpu *c = cpu_of(v);

	memset(c->jump, 0, JUMP_CACHE_SIZE);
	c->jump[0].key = jump_empty(0);
}

static void forget_jump(struct dbt_cpu *c, unsigned k)
{
	c->jump[k] = (struct jump_entry){ .key = jump_empty(k) };
	c->jump_block[k] = NULL;
}

static void forget(struct dbt_cpu *c, const struct retired *r)
{
	unsigned first = r->many ? 0 : r->jump, end = r->many ? 1u << JUMP_CACHE_BITS : r->jump + 1;

	for (unsigned k = first; k < end; k++)
		if (c->jump_block[k] == r->block)
			forget_jump(c, k);
}

void retired_hear(struct vcpu *v)
{
	struct dbt_cpu *c = cpu_of(v);
	const struct dbt *d = c->dbt;
	u64 n = atomic_load_explicit(&d->retirements, memory_order_relaxed);

	if (n - c->heard > RETIRED_MAX)
		cache_forget_jumps(v);
	else
		for (u64 k = c->heard; k < n; k++)
			forget(c, &d->retired[k % RETIRED_MAX]);
	c->heard = n;
}

/* ---- passing ---- */

static void sweep_jumps(struct dbt_cpu *c, const struct generation *g)
{
	for (unsigned k = 0; k < 1u << JUMP_CACHE_BITS; k++)
		if (made_in(g, c->jump_block[k]))
			forget_jump(c, k);
}

/* The CPU is not to run what it may have fetched of the memory before (SDM vol. 3, 8.1.3). */
static void serialize(void)
{
	unsigned a, b, c, d;

	__cpuid(0, a, b, c, d);
}

static void leave_generations(struct dbt_cpu *c)
{
	const struct dbt *d = c->dbt;

	slots_clear(c);
	for (unsigned k = 0; k < d->generations; k++) {
		const struct generation *g = &d->generation[k];
		if (g->dropped <= c->passed)
			continue;
		sweep_jumps(c, g);
		area_clear(c, &g->touched);
		area_clear(c, &g->slots);
	}
	if (d->many)
		serialize();
}

void pass_locked(struct vcpu *v)
{
	struct dbt_cpu *c = cpu_of(v);
	struct dbt *d = c->dbt;

	retired_hear(v);
	if (unlikely(atomic_load(&d->dropped) > c->passed))
		leave_generations(c);
	atomic_store(&c->passed, atomic_load(&d->pass));
}

void pass_slowly(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);

	dbt_lock(d);
	pass_locked(v);
	dbt_unlock(d);
}

void pass_leave(struct vcpu *v)
{
	atomic_store(&cpu_of(v)->away, true);
}

/* What is taken away from here on waits for it; what was taken away before, pass() finds. */
void pass_enter(struct vcpu *v)
{
	atomic_store(&cpu_of(v)->away, false);
}
