/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accesses to memory in plain blocks that share a check, as in regions (window.c): the first of several to one object looks ahead and
 * checks from the lowest byte to the highest. The block has no registers to spare, so what the others need, the distance from the
 * linear address to the host's, is in memory (words.shared), and now and then in s2 as well. Only operands of a register and a
 * displacement: what such an access costs then is a load.
 *
 * Objects on the stack are looked for in the slots that plain blocks' stack accesses have, all others in the TLB. What the TLB lacks
 * C brings there, and the check is made again: nothing has changed but for that, so it keeps what was shared before. What does not pass
 * even so goes on in the plain block for the same instruction that has no such checks.
 */
#include "engines/dbt/count.h"
#include "engines/dbt/region.h"

#define SPAN_MAX 128 /* the more, the more often it crosses pages */

/* Most accesses are the last by their register. */
static void find_last(struct tr *t)
{
	u8 *last = t->shares.last;

	memset(last, 0, sizeof(t->shares.last));
	for (unsigned k = 0; k < t->n; k++) {
		const struct insn *i = &t->insn[k];
		if (i->flags & INSN_MEM && i->index == SLOT_ZERO && i->base < SLOT_ZERO)
			last[i->base >> 3] = (u8)k;
		if (i->op >= OP_PUSH && i->op <= OP_RET)
			last[RSP] = (u8)k;
	}
}

void shares_begin(struct tr *t)
{
	struct shares *s = &t->shares;

	s->on = t->wide && mode_is_translated(t->b->mode) && !(t->b->mode & MODE_PLAIN) && t->b->page2 == ~0ull;
	if (!s->on)
		return;
	s->now.last = 0;
	values_begin(&s->now);
	shares_forget(t);
	find_last(t);
}

void shares_clobber(struct tr *t, unsigned reg)
{
	if (reg == t->s2)
		t->shares.held = SHARES;
}

void shares_forget(struct tr *t)
{
	for (unsigned k = 0; k < SHARES; k++)
		t->shares.w[k].live = false;
	t->shares.held = SHARES;
}

void shares_resume(struct tr *t)
{
	t->shares.held = SHARES;
}

void shares_step(struct tr *t)
{
	if (t->shares.on)
		values_step(t, &t->shares.now, t->k);
}

static struct mem word_of(unsigned k)
{
	return at_gs(WORD(shared) + 8 * (size_t)k);
}

static struct mem by_delta(const struct insn *i, unsigned reg)
{
	return (struct mem){ .base = i->base >> 3, .index = (u8)reg, .disp = i->disp };
}

/* A register for a delta. */
static unsigned register_for(struct tr *t, u32 avoid)
{
	return avoid >> t->s2 & 1 ? t->s1 : t->s2;
}

static struct mem use_share(struct tr *t, unsigned k, const struct insn *i, u32 avoid)
{
	struct shares *s = &t->shares;
	unsigned reg = register_for(t, avoid);

	s->w[k].left -= s->w[k].left > 0;
	if (reg == t->s2 && s->held == k)
		return by_delta(i, reg);
	tr_clobber(t, reg);
	e_load(t->h, 8, reg, word_of(k));
	if (reg == t->s2)
		s->held = (u8)k;
	return by_delta(i, reg);
}

/* The window that is worth the least: dead, or with the fewest accesses to come. */
static unsigned choose(const struct tr *t)
{
	unsigned best = 0;

	for (unsigned k = 0; k < SHARES; k++) {
		const struct window *w = &t->shares.w[k], *b = &t->shares.w[best];
		if (b->live && (!w->live || w->left < b->left))
			best = k;
	}
	return best;
}

/* A check that is being emitted. */
struct check_of {
	struct insn first; /* the lowest byte, as an operand */
	unsigned span;
	bool write;
	u64 begin;
	struct refill *refill;
};

/* In the cold part, with the first byte's address in words.fill_gla: C brings its page into the TLB, or control goes on elsewhere. */
static void refill(struct tr *t, const struct check_of *x)
{
	struct emit *c = t->c;
	struct refill *r = x->refill;

	tr_to_c(c, r, t->d->to.refill);
	r->again = x->begin;
	if (t->uses_x87 || t->uses_vec)
		r->again = emit_here(c);
	if (t->uses_x87)
		tr_load_then(t, t->d->to.load_x87, t->uses_vec ? 0 : x->begin);
	if (t->uses_vec)
		tr_load_then(t, t->d->to.load_vec, x->begin);
	r->fail = emit_here(c);
	bail_here(t);
}

/* By the TLB: the delta into reg, which is s1 or s2. */
static void by_tlb(struct tr *t, const struct check_of *x, unsigned reg)
{
	unsigned a = t->s1, b = t->s2;

	tr_effective(t, a, &x->first);
	u64 again = emit_here(t->h);
	u8 *miss = tr_tlb_compare(t, a, b, x->span, x->write);
	e_load(t->h, 8, reg, at_reg(b, offsetof(struct tlb_entry, delta)));
	e_patch(miss, t->h->to_run, emit_here(t->c));
	u8 *none = tr_try_displaced(t, a, b, x->write, again);
	e_patch(none, t->c->to_run, emit_here(t->c));
	e_store(t->c, 8, a, at_gs(WORD(fill_gla)));
	refill(t, x);
}

/* By the stack's slots, whose pages may be written: the delta into s2. */
static void by_stack(struct tr *t, const struct check_of *x)
{
	u8 *across[2];

	tr_effective(t, t->s1, &x->first);
	u8 *none = tr_stack_delta(t, x->begin, x->span, across);
	e_patch(none, t->c->to_run, emit_here(t->c));
	refill(t, x);
	for (unsigned k = 0; k < 2 && x->span > STACK_SPAN; k++)
		e_patch(across[k], t->c->to_run, x->refill->fail);
}

/* Nothing has the window's displacement beyond 32 bits. */
static bool fits(const struct insn *i, s64 back)
{
	return i->disp - back == (s32)(i->disp - back);
}

static struct mem open_share(struct tr *t, const struct window *w, const struct access *a, const struct insn *i,
			     u32 avoid)
{
	unsigned k = choose(t), reg = register_for(t, avoid);
	bool stack = a->base == t->shares.now.number[RSP] && reg == t->s2;
	struct check_of x = { .first = *i,
			      .span = (unsigned)(w->hi - w->lo),
			      .write = w->write || stack,
			      .refill = meta_alloc(t->d, sizeof(*x.refill)) };

	x.first.disp = (s32)(i->disp - (a->off - w->lo));
	*x.refill = (struct refill){ .site = tr_site(t),
				     .back = (u16)(a->off - w->lo),
				     .n = a->n,
				     .span = (u16)x.span,
				     .store = a->write,
				     .write = x.write };
	tr_clobber(t, t->s2);
	tr_save_flags(t, t->s1);
	x.begin = emit_here(t->h);
	if (stack)
		by_stack(t, &x);
	else
		by_tlb(t, &x, reg);
	t->host_ok = false;
	e_store(t->h, 8, reg, word_of(k));
	t->shares.w[k] = *w;
	t->shares.w[k].write = x.write;
	t->shares.w[k].live = true;
	if (reg == t->s2)
		t->shares.held = (u8)k;
	return by_delta(i, reg);
}

bool share_operand(struct tr *t, const struct insn *i, unsigned n, bool write, u32 avoid, struct mem *m)
{
	struct shares *s = &t->shares;

	if (!s->on || !tr_is_base_alone(t, i))
		return false;
	struct access a = access_of(t, &s->now, i, n, write);
	for (unsigned k = 0; k < SHARES; k++)
		if (window_has(&s->w[k], &a)) {
			*m = use_share(t, k, i, avoid);
			return true;
		}
	if (s->last[i->base >> 3] <= t->k)
		return false;
	struct window w = look_ahead(t, &a, SPAN_MAX);
	if (!w.left || !fits(i, a.off - w.lo))
		return false;
	*m = open_share(t, &w, &a, i, avoid);
	return true;
}

bool share_run(struct tr *t, bool push, unsigned n)
{
	struct shares *s = &t->shares;
	struct insn first = stack_operand(t, RSP, push ? -8 : 0),
		    last = stack_operand(t, RSP, push ? -8 * (s32)n : 8 * (s32)n - 8);

	if (!s->on)
		return false;
	struct access a = access_of(t, &s->now, &first, 8, push), b = access_of(t, &s->now, &last, 8, push);
	for (unsigned k = 0; k < SHARES; k++)
		if (window_has(&s->w[k], &a) && window_has(&s->w[k], &b)) {
			use_share(t, k, &first, 0);
			return true;
		}
	struct window w = look_ahead(t, &a, SPAN_MAX);
	w.live = true;
	if (!window_has(&w, &b))
		return false;
	open_share(t, &w, &a, &first, 0);
	return true;
}
