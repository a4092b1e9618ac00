/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which guest registers have no host register in a region: two at least, as the translator needs some to work with. Between blocks
 * they are OUT_A and OUT_B; a region that would use these much more than others keeps others in memory, and moves them where
 * it is entered and left. Registers that a loop does not touch at all are taken as well, to hold windows.
 */
#include "engines/dbt/region.h"

#define MOVE_COST 4 /* of one register, entering and leaving, in uses */
#define MORE_OUTS 2 /* beside the two */
#define NEVER	  (1u << 30)

/* Registers that no instruction implies, but for what is counted here. */
#define MAY_BE_OUT                                                                                                 \
	(1u << RBX | 1u << RBP | 1u << RSI | 1u << RDI | 1u << R8 | 1u << R9 | 1u << R10 | 1u << R11 | 1u << R12 | \
	 1u << R13 | 1u << R14 | 1u << R15)

struct costs {
	u32 use[NR_GPR];
	u32 moves; /* how often registers would be moved */
	bool fixed; /* something relies on OUT_A and OUT_B */
};

static void add(struct costs *c, unsigned reg, u32 weight)
{
	if (reg < NR_GPR)
		c->use[reg] = MIN(c->use[reg] + weight, NEVER);
}

static void count_operands(struct costs *c, const struct insn *i, u32 weight)
{
	for (unsigned k = 0; k < 4; k++)
		if (insn_kind(i, k) == OPK_REG && (i->op < OP_INT_LIMIT || i->r[k] > 15))
			add(c, i->r[k] >> 3, weight);
	if ((i->flags & INSN_MEM || i->op == OP_LEA) && !(i->flags & INSN_MOFFS)) {
		add(c, i->base >> 3, 2 * weight);
		add(c, i->index >> 3, 2 * weight);
	}
	if (i->op == OP_CMPXCHG8B || i->op == OP_CMPXCHG16B)
		add(c, RBX, NEVER);
	if (i->op == OP_LEAVE)
		add(c, RBP, 2 * weight);
}

/* How often control leaves and comes back by instruction i, in half moves. */
static u32 crossings(const struct tr *t, unsigned k)
{
	const struct insn *i = &t->insn[k];

	if (!t->native[k])
		return 2;
	return i->op == OP_RET || i->op == OP_CALL || (i->op == OP_JMP && insn_kind(i, 0) != OPK_IMM) ? 1 : 0;
}

static void count(const struct tr *t, struct costs *c)
{
	const struct code_region *r = t->region;

	c->moves = 1;
	for (unsigned n = 0; n < r->n; n++) {
		const struct stretch *s = &r->s[r->order[n]];
		for (unsigned k = s->first; k < s->first + s->n; k++) {
			c->fixed |= t->native[k] == NATIVE_SYSTEM;
			c->moves += crossings(t, k) * s->weight;
			if (t->native[k])
				count_operands(c, &t->insn[k], s->weight);
		}
	}
}

static unsigned cheapest(const struct costs *c, u32 but)
{
	unsigned best = NO_REG;

	for (unsigned r = 0; r < NR_GPR; r++)
		if ((MAY_BE_OUT & ~but) >> r & 1 && (best == NO_REG || c->use[r] < c->use[best]))
			best = r;
	return best;
}

static void set(struct code_region *r, u32 outs, unsigned a, unsigned b)
{
	r->outs = outs;
	r->s1 = (u8)a;
	r->s2 = (u8)b;
}

void region_choose_outs(struct tr *t)
{
	struct costs c = { 0 };
	struct code_region *r = t->region;
	u32 heaviest = 0;

	count(t, &c);
	set(r, CANONICAL_OUTS, OUT_A, OUT_B);
	if (c.fixed)
		return;
	unsigned a = cheapest(&c, 0), b = cheapest(&c, 1u << a);
	if (c.use[a] + c.use[b] + 4 * MOVE_COST * c.moves < c.use[OUT_A] + c.use[OUT_B])
		set(r, 1u << a | 1u << b, a, b);
	for (unsigned n = 0; n < r->n; n++)
		heaviest = MAX(heaviest, r->s[r->order[n]].weight);
	for (unsigned n = 0; n < MORE_OUTS; n++) {
		unsigned more = cheapest(&c, r->outs);
		if (c.use[more] || heaviest < LOOP_WEIGHT * MOVE_COST * c.moves)
			break;
		r->outs |= 1u << more;
	}
}

static void store_all(struct emit *e, u32 regs)
{
	for (unsigned r = 0; r < NR_GPR; r++)
		if (regs >> r & 1)
			e_store(e, 8, r, at_gs(GPR_AT(r)));
}

static void load_all(struct emit *e, u32 regs)
{
	for (unsigned r = 0; r < NR_GPR; r++)
		if (regs >> r & 1)
			e_load(e, 8, r, at_gs(GPR_AT(r)));
}

void tr_to_canonical(const struct tr *t, struct emit *e)
{
	store_all(e, CANONICAL_OUTS & ~t->outs);
	load_all(e, t->outs & ~CANONICAL_OUTS);
}

void tr_from_canonical(const struct tr *t, struct emit *e)
{
	store_all(e, t->outs & ~CANONICAL_OUTS);
	load_all(e, CANONICAL_OUTS & ~t->outs);
}

static void be_canonical(struct tr *t)
{
	windows_forget(t);
	t->outs = CANONICAL_OUTS;
	t->s1 = OUT_A;
	t->s2 = OUT_B;
}

void tr_leave_region_with(struct tr *t, unsigned reg)
{
	store_all(t->h, CANONICAL_OUTS & ~t->outs);
	if (reg != OUT_A)
		e_mov_rr(t->h, 8, OUT_A, reg);
	load_all(t->h, t->outs & ~CANONICAL_OUTS);
	be_canonical(t);
}

bool tr_leave_region(struct tr *t)
{
	bool moved = t->outs != CANONICAL_OUTS;

	tr_to_canonical(t, t->h);
	be_canonical(t);
	return moved;
}
