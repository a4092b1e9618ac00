/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding a region: from a hot address along direct jumps of the page, into what was executed at least now and then as far as
 * anybody knows; cutting it into stretches, laying them out so that the likely way falls through, and finding which flags live.
 */
#include <stdlib.h>

#include "engines/dbt/region.h"

#define COLD_SHARE \
	16 /* a jump's target is left out unless it was entered this fraction of the times that make a block hot */

/* What decoding finds, before it is in order. */
struct finder {
	struct tr *t;
	const u8 *host;
	struct insn insn[REGION_INSNS];
	struct insn_info info[REGION_INSNS];
	u16 at[PAGE_SIZE]; /* instruction that begins at an offset, plus 1; INSIDE: one lies across it */
	bool leads[PAGE_SIZE]; /* a stretch begins there */
	u16 todo[REGION_BLOCKS];
	unsigned n, todos, leaders;
};
#define INSIDE 0xffff

static bool in_page(s64 off)
{
	return off >= 0 && off <= (s64)PAGE_SIZE - 15;
}

/* Whether the target of a conditional jump is executed, by what plain blocks have counted. */
static bool is_warm(const struct tr *t, unsigned off)
{
	struct dbt *d = t->d;
	const struct block *b = block_find(d, t->b->page, off, t->b->mode, ~0ull);

	if (block_is_hot(d, t->b->page, off))
		return true;
	return b && b->heat && *(const u16 *)area_at(cpu_of(t->v), b->heat) >= HEAT_FULL / COLD_SHARE;
}

static void lead(struct finder *f, s64 off)
{
	if (!in_page(off) || f->leads[off] || f->leaders == REGION_BLOCKS || f->at[off] == INSIDE)
		return;
	f->leads[off] = true;
	f->leaders++;
	f->todo[f->todos++] = (u16)off;
}

static bool decode_at(struct finder *f, unsigned off)
{
	struct insn *i = &f->insn[f->n];

	if (f->n == REGION_INSNS || !in_page(off) || tr_breaks_at(f->t, off))
		return false;
	if (code_decode(f->t->v, i, &f->info[f->n], f->host + off, 15, off) != DECODE_OK)
		return false;
	for (unsigned k = 1; k < i->len; k++)
		if (f->at[off + k])
			return false; /* bytes decoded otherwise already */
	f->at[off] = (u16)(f->n + 1);
	for (unsigned k = 1; k < i->len; k++)
		f->at[off + k] = INSIDE;
	f->n++;
	return true;
}

/* Where control runs on behind instruction i, or -1. */
static s64 runs_on(const struct insn *i)
{
	return tr_ends_block(i) ? -1 : i->off + i->len;
}

static bool splits(const struct insn *i)
{
	return tr_ends_block(i) || insn_is_jcc(i);
}

static void follow(struct finder *f, const struct insn *i)
{
	bool word = i->osize == tr_word_log(f->t);

	if (i->op == OP_JMP && insn_kind(i, 0) == OPK_IMM && word)
		lead(f, tr_target(i));
	else if (insn_is_jcc(i) && word && in_page(tr_target(i)) && is_warm(f->t, (unsigned)tr_target(i)))
		lead(f, tr_target(i));
	if (splits(i) && runs_on(i) >= 0)
		lead(f, runs_on(i));
}

static void decode_from(struct finder *f, unsigned off)
{
	while (in_page(off) && !f->at[off]) {
		if (!decode_at(f, off))
			return;
		const struct insn *i = &f->insn[f->n - 1];
		follow(f, i);
		if (splits(i))
			return;
		off += i->len;
	}
}

/* ---- stretches ---- */

static int stretch_at(const struct code_region *r, s64 off)
{
	for (unsigned k = 0; k < r->n; k++)
		if (r->s[k].off == off)
			return (int)k;
	return -1;
}

static const struct insn *insn_at(const struct finder *f, s64 off)
{
	return in_page(off) && f->at[off] && f->at[off] != INSIDE ? &f->insn[f->at[off] - 1] : NULL;
}

static void cut(struct finder *f)
{
	struct code_region *r = f->t->region;

	for (unsigned k = 0; k < f->todos; k++)
		if (insn_at(f, f->todo[k]))
			r->s[r->n++] = (struct stretch){
				.off = f->todo[k], .next = -1, .taken = -1, .order = -1, .weight = 1
			};
	for (unsigned k = 0; k < r->n; k++) {
		struct stretch *s = &r->s[k];
		const struct insn *i = insn_at(f, s->off), *last;
		do {
			last = i;
			s->n++;
			s->end = (u16)(i->off + i->len);
			i = insn_at(f, s->end);
		} while (i && !splits(last) && !f->leads[s->end]);
		if (runs_on(last) >= 0)
			s->next = (s16)stretch_at(r, runs_on(last));
		if ((insn_is_jcc(last) || last->op == OP_JMP) && insn_kind(last, 0) == OPK_IMM &&
		    last->osize == tr_word_log(f->t))
			s->taken = (s16)stretch_at(r, tr_target(last));
	}
}

/* From the head along the way that falls through or jumps for sure; then from what was passed. */
static void lay_out(struct code_region *r)
{
	u8 later[REGION_BLOCKS * 2];
	unsigned n = 0, first = 0, orders = 0;

	later[n++] = 0;
	while (first < n) {
		for (int k = later[first++]; k >= 0 && r->s[k].order < 0;) {
			struct stretch *s = &r->s[k];
			s->order = (s8)orders;
			r->order[orders++] = (u8)k;
			if (s->next >= 0 && s->taken >= 0 && n < sizeof(later))
				later[n++] = (u8)s->taken;
			k = s->next >= 0 ? s->next : s->taken;
		}
	}
	r->n = orders;
}

static void count_preds(struct code_region *r)
{
	r->s[r->order[0]].preds = 2; /* entered from outside */
	for (unsigned k = 0; k < r->n; k++) {
		struct stretch *s = &r->s[r->order[k]];
		if (s->next >= 0 && r->s[s->next].preds < 2)
			r->s[s->next].preds++;
		if (s->taken >= 0 && r->s[s->taken].preds < 2)
			r->s[s->taken].preds++;
	}
}

/* What lies between a jump backward and its target is run more often. */
static void weigh(struct code_region *r)
{
	for (unsigned k = 0; k < r->n; k++) {
		const struct stretch *s = &r->s[r->order[k]];
		int to[2] = { s->next, s->taken };
		for (unsigned e = 0; e < 2; e++) {
			if (to[e] < 0 || r->s[to[e]].order > s->order)
				continue;
			for (int m = r->s[to[e]].order; m <= s->order; m++)
				if (r->s[r->order[m]].weight < 4096)
					r->s[r->order[m]].weight *= LOOP_WEIGHT;
		}
	}
}

static void emit_order(struct finder *f)
{
	struct tr *t = f->t;
	struct code_region *r = t->region;

	for (unsigned k = 0; k < r->n; k++) {
		struct stretch *s = &r->s[r->order[k]], *before = k ? &r->s[r->order[k - 1]] : NULL;
		const struct insn *last = before ? &t->insn[t->n - 1] : NULL;
		s->first = (u16)t->n;
		s->follows = before && s->preds == 1 && (before->next == r->order[k] || before->taken == r->order[k]) &&
			     (before->next == r->order[k] || !insn_is_jcc(last));
		for (unsigned off = s->off, m = 0; m < s->n; m++, off += t->insn[t->n++].len) {
			const struct insn *i = insn_at(f, off);
			r->starts[t->n] = m == 0 && !s->follows;
			t->insn[t->n] = *i;
			t->insn[t->n].n = (u16)t->n;
			t->info[t->n] = f->info[i - f->insn];
			tr_open_flags(t, t->n);
			t->bytes[t->n] = f->host + off;
		}
	}
	r->starts[t->n] = true;
}

struct finder *finder_create(void)
{
	return calloc(1, sizeof(struct finder));
}

struct code_region *code_region_create(void)
{
	return calloc(1, sizeof(struct code_region));
}

/* Like struct tr, both are used again and again. */
static struct finder *begin_finding(struct tr *t, const u8 *host)
{
	struct finder *f = t->d->finder;

	f->t = t;
	f->host = host;
	f->n = f->todos = f->leaders = 0;
	memset(f->at, 0, sizeof(f->at));
	memset(f->leads, 0, sizeof(f->leads));
	t->region = t->d->region;
	t->region->n = 0;
	return f;
}

bool region_find(struct tr *t, const u8 *host, unsigned off)
{
	struct finder *f = begin_finding(t, host);

	lead(f, off);
	for (unsigned k = 0; k < f->todos; k++)
		decode_from(f, f->todo[k]);
	if (!insn_at(f, off)) {
		t->region = NULL;
		return false;
	}
	cut(f);
	lay_out(t->region);
	count_preds(t->region);
	weigh(t->region);
	emit_order(f);
	return true;
}

/* ---- flags ---- */

static u32 live_into(const struct code_region *r, s16 k)
{
	return k < 0 || r->s[k].live_in ? FL_ARITH : 0;
}

/* In front of a stretch of counted instructions somebody may look at all there is. */
static bool looked_at(const struct tr *t)
{
	return t->d->exact_flags && t->d->counts;
}

static bool live_pass(struct tr *t, struct stretch *s)
{
	struct code_region *r = t->region;
	const struct insn *last = &t->insn[s->first + s->n - 1u];
	bool direct = insn_is_jcc(last) || (last->op == OP_JMP && insn_kind(last, 0) == OPK_IMM);
	u32 live = FL_ARITH;

	if (insn_is_jcc(last))
		live = live_into(r, s->next) | live_into(r, s->taken);
	else if (direct)
		live = live_into(r, s->taken);
	else if (!tr_ends_block(last))
		live = live_into(r, s->next);
	for (unsigned k = s->first + s->n; k-- > s->first;) {
		bool leaves = op_facts[t->insn[k].op].attr & OP_BRANCH;
		t->live[k] = live;
		live = tr_live_before(t, k);
		if (leaves && !(direct && k == s->first + s->n - 1u))
			live = FL_ARITH;
	}
	bool live_in = live != 0 || looked_at(t), change = s->live_in != live_in;
	s->live_in = live_in;
	return change;
}

void region_live(struct tr *t)
{
	bool change = true;

	while (change) {
		change = false;
		for (unsigned k = t->region->n; k-- > 0;)
			change |= live_pass(t, &t->region->s[t->region->order[k]]);
	}
	t->b->live_in = t->region->s[0].live_in;
}
