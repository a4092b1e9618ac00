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

/* ---- what the block accesses ---- */

/* Two accesses at least are by the same register: most short blocks have none such. */
static bool is_worth_it(const struct tr *t)
{
	u32 seen = 0;

	for (unsigned k = 0; k < t->n; k++) {
		const struct insn *i = &t->insn[k];
		u32 by = i->op >= OP_PUSH && i->op <= OP_RET ? 1u << RSP : 0;
		if (i->flags & INSN_MEM && i->index == SLOT_ZERO && i->base < SLOT_ZERO) {
			u32 base = 1u << (i->base >> 3);
			if ((seen | by) & base)
				return true;
			by |= base;
		}
		if (seen & by)
			return true;
		seen |= by;
	}
	return false;
}

/* The registers that each access can be by are those of the instruction's operand, or the stack's. */
static void note(struct tr *t, const struct values *v, unsigned k, unsigned branches)
{
	struct shares *s = &t->shares;
	const struct insn *i = &t->insn[k];
	struct access a[2];
	unsigned n = accesses(t, v, k, a);

	for (unsigned m = 0; m < n; m++) {
		bool operand = m == 0 && i->flags & INSN_MEM && i->base < SLOT_ZERO;
		unsigned reg = operand ? i->base >> 3 : i->op == OP_LEAVE ? RBP : RSP;
		if (!a[m].merges || a[m].seg || a[m].index != v->number[SLOT_ZERO >> 3] ||
		    a[m].base != v->number[reg] || reg_is_out(t, reg))
			continue;
		s->a[s->n++] = (struct shared_access){
			.base = a[m].base,
			.k = (u8)k,
			.n = a[m].n,
			.reg = (u8)reg,
			.branches = (u8)branches,
			.write = a[m].write,
			.stack = a[m].base == v->number[RSP],
			.disp = (s32)(a[m].off - v->offset[reg]),
			.off = a[m].off,
		};
	}
}

void shares_begin(struct tr *t)
{
	struct shares *s = &t->shares;
	struct values v = { .last = 0 };

	s->on = t->wide && mode_is_translated(t->b->mode) && !(t->b->mode & MODE_PLAIN) && t->b->page2 == ~0ull &&
		is_worth_it(t);
	if (!s->on)
		return;
	s->n = 0;
	values_begin(&v);
	for (unsigned k = 0, branches = 0; k < t->n; k++) {
		note(t, &v, k, branches);
		branches += insn_is_jcc(&t->insn[k]);
		values_step(t, &v, k);
	}
	shares_forget(t);
}

/* The current instruction's access by that operand. */
static const struct shared_access *find_access(const struct tr *t, const struct insn *i, unsigned n, bool write)
{
	const struct shares *s = &t->shares;

	for (unsigned k = 0; k < s->n && s->a[k].k <= t->k; k++) {
		const struct shared_access *a = &s->a[k];
		if (a->k == t->k && a->reg == i->base >> 3 && a->disp == i->disp && a->n == n && a->write == write)
			return a;
	}
	return NULL;
}

/* A check for access a and what follows. What may not be executed asks for no right to write. */
static struct share look_ahead(const struct shares *s, const struct shared_access *a)
{
	struct share w = { .base = a->base, .live = true, .write = a->write, .lo = a->off, .hi = a->off + a->n };

	for (const struct shared_access *o = a + 1; o < s->a + s->n; o++) {
		s64 lo = MIN(w.lo, o->off), hi = MAX(w.hi, o->off + o->n);
		if (o->base != a->base || hi - lo > SPAN_MAX || (o->write && !w.write && o->branches != a->branches))
			continue;
		w.lo = lo;
		w.hi = hi;
		w.write |= o->write;
		w.left++;
	}
	return w;
}

static bool has(const struct share *w, const struct shared_access *a)
{
	return w->live && w->base == a->base && a->off >= w->lo && a->off + a->n <= w->hi && (w->write || !a->write);
}

/* ---- where it is remembered ---- */

void shares_clobber(struct tr *t, unsigned reg)
{
	if (reg == t->s2)
		t->shares.held = SHARES;
}

void shares_forget(struct tr *t)
{
	for (unsigned k = 0; k < SHARES; k++)
		t->shares.s[k].live = false;
	t->shares.held = SHARES;
}

void shares_resume(struct tr *t)
{
	t->shares.held = SHARES;
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
static unsigned register_for(const struct tr *t, u32 avoid)
{
	return avoid >> t->s2 & 1 ? t->s1 : t->s2;
}

static struct mem use_share(struct tr *t, unsigned k, const struct insn *i, u32 avoid)
{
	struct shares *s = &t->shares;
	unsigned reg = register_for(t, avoid);

	s->s[k].left -= s->s[k].left > 0;
	if (reg == t->s2 && s->held == k)
		return by_delta(i, reg);
	tr_clobber(t, reg);
	e_load(t->h, 8, reg, word_of(k));
	if (reg == t->s2)
		s->held = (u8)k;
	return by_delta(i, reg);
}

/* The one that is worth the least: dead, or with the fewest accesses to come. */
static unsigned choose(const struct shares *s)
{
	unsigned best = 0;

	for (unsigned k = 1; k < SHARES; k++)
		if (s->s[best].live && (!s->s[k].live || s->s[k].left < s->s[best].left))
			best = k;
	return best;
}

/* ---- checks ---- */

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

/* The displacement of the lowest byte, `back` below i's, is no more than 32 bits. */
static bool fits(const struct insn *i, s64 back)
{
	return i->disp - back == (s32)(i->disp - back);
}

static struct mem open_share(struct tr *t, const struct share *w, const struct shared_access *a, const struct insn *i,
			     u32 avoid)
{
	struct shares *s = &t->shares;
	unsigned k = choose(s), reg = register_for(t, avoid);
	bool stack = a->stack && reg == t->s2;
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
	s->s[k] = *w;
	s->s[k].write = x.write;
	if (reg == t->s2)
		s->held = (u8)k;
	return by_delta(i, reg);
}

/* Access a by a check that covers b, too. */
static bool share(struct tr *t, const struct shared_access *a, const struct shared_access *b, const struct insn *i,
		  u32 avoid, struct mem *m)
{
	struct shares *s = &t->shares;

	for (unsigned k = 0; k < SHARES; k++)
		if (has(&s->s[k], a) && has(&s->s[k], b)) {
			*m = use_share(t, k, i, avoid);
			return true;
		}
	/* Where the instruction may have left for its slow path already, that comes back behind it: the check may not have been made. */
	if (t->nslow)
		return false;
	struct share w = look_ahead(s, a);
	if (!w.left || !has(&w, b) || !fits(i, a->off - w.lo))
		return false;
	*m = open_share(t, &w, a, i, avoid);
	return true;
}

bool share_operand(struct tr *t, const struct insn *i, unsigned n, bool write, u32 avoid, struct mem *m)
{
	if (!t->shares.on || !tr_is_base_alone(t, i))
		return false;
	const struct shared_access *a = find_access(t, i, n, write);
	return a && share(t, a, a, i, avoid, m);
}

bool share_run(struct tr *t, bool push, unsigned n)
{
	struct insn first = stack_operand(t, RSP, push ? -8 : 0);
	struct mem m;

	if (!t->shares.on)
		return false;
	const struct shared_access *a = find_access(t, &first, 8, push);
	return a && share(t, a, a + n - 1, &first, 0, &m);
}
