/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a region: its stretches in order, and the jumps between them. */
#include "engines/dbt/count.h"
#include "engines/dbt/region.h"

static void enter_region(struct tr *t)
{
	t->outs = t->region->outs;
	t->s1 = t->region->s1;
	t->s2 = t->region->s2;
	windows_forget(t);
}

static struct stretch *stretch_of(const struct tr *t, s16 k)
{
	return k < 0 ? NULL : &t->region->s[k];
}

/* Flags are where stretch s looks for them. */
static void flags_for(struct tr *t, struct emit *e, const struct stretch *s)
{
	if (s->live_in && !t->mem_ok)
		flags_save(e, t->s1);
}

static void wait_for(struct tr *t, struct stretch *s, u8 *at)
{
	s->waiting[s->waits++] = at;
	(void)t;
}

/* Forward, to a stretch that is not emitted yet. */
static void jump_forward(struct tr *t, struct stretch *s, int cc)
{
	u8 *at = cc < 0 ? e_jmp(t->h, 0) : e_jcc(t->h, (unsigned)cc, 0);

	if (s->live_in && !t->mem_ok) {
		e_patch(at, t->c->to_run, emit_here(t->c));
		flags_save(t->c, t->s1);
		at = e_jmp(t->c, 0);
	}
	wait_for(t, s, at);
}

/* Backward, with a look at events. */
static void jump_backward(struct tr *t, struct stretch *s, int cc)
{
	struct emit *h = t->h;
	u8 *skip = cc < 0 ? NULL : e_jcc(h, (unsigned)cc ^ 1, 0), *due;

	flags_for(t, h, s);
	due = tr_poll_jump(h);
	tr_poll_edge(t, due, s->off, s->label);
	e_jmp(h, s->label);
	if (skip)
		e_patch(skip, h->to_run, emit_here(h));
}

/* To stretch s, or out of the region if there is none or too much waits for it. */
static void go_to(struct tr *t, const struct insn *i, struct stretch *s, s64 target, int cc)
{
	if (s && s->label)
		jump_backward(t, s, cc);
	else if (s && s->waits < ARRAY_SIZE(s->waiting))
		jump_forward(t, s, cc);
	else
		tr_exit(t, i, target, cc);
}

void region_jcc(struct tr *t, const struct insn *i)
{
	go_to(t, i, stretch_of(t, t->region->at->taken), tr_target(i), i->op - OP_JO);
}

void region_jmp(struct tr *t, const struct insn *i)
{
	struct stretch *s = stretch_of(t, t->region->at->taken);

	if (s && s == t->region->then) {
		if (!s->follows)
			flags_for(t, t->h, s);
		return;
	}
	go_to(t, i, s, tr_target(i), -1);
}

/* Control runs on behind the stretch. */
static void fall_through(struct tr *t)
{
	const struct insn *last = &t->insn[t->k];
	struct stretch *s = stretch_of(t, t->region->at->next);

	if (tr_ends_block(last))
		return;
	if (s && s == t->region->then) {
		if (!s->follows)
			flags_for(t, t->h, s);
		return;
	}
	go_to(t, last, s, last->off + last->len, -1);
}

static void begin_stretch(struct tr *t, struct stretch *s)
{
	if (!s->follows) {
		enter_region(t);
		values_begin(&t->region->now);
		t->host_ok = false;
		t->mem_ok = true;
	}
	s->label = emit_here(t->h);
	for (unsigned k = 0; k < s->waits; k++)
		e_patch(s->waiting[k], t->h->to_run, s->label);
	t->k = s->first;
	tr_count_stretch(t, s->n, s->off);
}

void region_emit(struct tr *t)
{
	struct code_region *r = t->region;

	enter_region(t);
	tr_from_canonical(t, t->h);
	for (unsigned n = 0; n < r->n; n++) {
		struct stretch *s = r->at = &r->s[r->order[n]];
		r->then = n + 1 < r->n ? &r->s[r->order[n + 1]] : NULL;
		begin_stretch(t, s);
		for (t->k = s->first; t->k < s->first + s->n; t->k++) {
			tr_insn(t);
			values_step(t, &r->now, t->k);
		}
		t->k--;
		fall_through(t);
	}
}
