/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stack: PUSH, POP, LEAVE, and what CALL and RET have of them. Prologues and epilogues are runs of PUSH and POP, so runs are what is made
 * cheap: one check for all of a run, and one change of RSP.
 */
#include "engines/dbt/region.h"
#include "engines/dbt/translate.h"

/* Behind the compare: in 32-bit code the sum of base and displacement may wrap, so the host address is computed of the offset. */
static void take_stack(const struct tr *t, struct emit *e, u32 slot)
{
	if (t->wide)
		e_op_place(e, t->d, 0x8b, 8, t->s2, SLOT_FIELD(slot, delta));
	else
		e_op_place(e, t->d, 0x03, 8, t->s1, SLOT_FIELD(slot, host));
}

/* Of the pair for this code's stack. */
static u32 stack_slot(const struct tr *t, unsigned k)
{
	unsigned pair = (tr_cpl(t) == 3 ? 0 : 1) + (t->wide ? 0 : 2);

	return t->d->low + (u32)(offsetof(struct low, stack) + (2 * pair + k) * sizeof(struct slot));
}

/* s1 is where the first of span bytes is in the page: whether the last is too. */
static u8 *compare_end(const struct tr *t, struct emit *e, u32 slot, unsigned span)
{
	if (span <= STACK_SPAN)
		return NULL;
	e_lea(e, 8, t->s1, at_reg(t->s1, (s32)(span - STACK_SPAN)));
	e_op_place(e, t->d, 0x3b, 8, t->s1, SLOT_FIELD(slot, end));
	return e_jcc(e, CC_AE, 0);
}

/*
 * Stack accesses of plain blocks share two slots, which hold pages that may be written: a stack goes to and fro over the border of two. The
 * second one is tried out of line. A miss of both fills it, unless the first is empty; after some hits its page moves to the first,
 * as another stack may have begun to be used.
 */
u8 *tr_stack_delta(struct tr *t, u64 back, unsigned span, u8 *across[2])
{
	struct emit *h = t->h, *c = t->c;
	u32 first = stack_slot(t, 0), second = stack_slot(t, 1);
	struct slot_use *use = slot_use_new(t->d, first, tr_word(t), NULL, 0, true);
	u8 *miss, *move;

	use->back = back;
	e_patch(tr_slot_test(t, h, t->s1, first), h->to_run, emit_here(c));
	across[0] = compare_end(t, h, first, span);
	take_stack(t, h, first);
	e_op_place(c, t->d, 0x2b, 8, t->s1, SLOT_FIELD(first, neg));
	miss = tr_slot_test(t, c, t->s1, second);
	e_alu_imm_m(c, ALU_SUB, 4, at_place(t->d, SLOT_FIELD(second, hits)), 1);
	move = e_jcc(c, CC_Z, 0);
	across[1] = compare_end(t, c, second, span);
	take_stack(t, c, second);
	e_jmp(c, emit_here(h));
	e_patch(miss, c->to_run, emit_here(c));
	e_patch(move, c->to_run, emit_here(c));
	return tr_slot_fill(t, t->s1, second, use, t->d->to.fill_pair);
}

/* Returns the jump for when neither slot can be filled; s1 is the offset in the page, or in 32-bit code the host address. */
static u8 *check_pair(struct tr *t, unsigned base, s32 disp)
{
	u8 *across[2];

	tr_clobber(t, t->s2);
	tr_save_flags(t, t->s1);
	u64 back = emit_here(t->h);
	if (disp)
		e_lea(t->h, tr_word(t), t->s1, at_reg(base, disp));
	else
		e_mov_rr(t->h, tr_word(t), t->s1, base);
	t->host_ok = false;
	return tr_stack_delta(t, back, STACK_SPAN, across);
}

struct mem tr_stack(struct tr *t, unsigned base, s32 disp, unsigned n, bool write)
{
	struct insn operand = stack_operand(t, base, disp);
	struct mem shared;

	if (t->region)
		return window_stack(t, base, disp, n, write);
	if (share_operand(t, &operand, n, write, 0, &shared))
		return shared;
	tr_slow_jump_at(t, check_pair(t, base, disp));
	if (!t->wide)
		return at_reg(t->s1, 0);
	return (struct mem){ .base = (u8)base, .index = t->s2, .disp = disp };
}

#define RUN_MAX 16

/* ---- RSP, where several instructions in a row move it ---- */

void tr_flush_sp(struct tr *t)
{
	if (t->sp)
		e_lea(t->h, tr_word(t), RSP, at_reg(RSP, t->sp));
	t->sp = 0;
}

/* A register, other than RSP, or a constant. */
static bool is_plain(const struct tr *t, unsigned k)
{
	const struct insn *i = &t->insn[k];

	return t->native[k] == NATIVE_SPECIAL && (i->op == OP_PUSH || i->op == OP_POP) && !(i->flags & INSN_MEM) &&
	       (insn_kind(i, 0) == OPK_IMM || i->r[0] >> 3 != RSP);
}

/* In a region RSP may be late while the next instruction is one that knows. (In 32-bit code each change of ESP clears the upper half.) */
static bool next_knows(const struct tr *t)
{
	return t->region && t->wide && t->k + 1 < t->region->at->first + t->region->at->n && is_plain(t, t->k + 1);
}

static void move_sp(struct tr *t, s32 by)
{
	t->sp += by;
	if (!next_knows(t))
		tr_flush_sp(t);
}

/* The operand of a PUSH or POP. A check looks at RSP, and what does not pass it leaves: only then RSP has to be right. */
static struct mem top_of_stack(struct tr *t, s32 disp, bool write)
{
	unsigned n = tr_word(t);

	if (t->sp && !window_has_stack(t, RSP, disp, write))
		tr_flush_sp(t);
	struct mem m = tr_stack(t, RSP, disp, n, write);
	if (m.base == RSP)
		m.disp += t->sp;
	return m;
}

/* ---- instructions ---- */

static bool push_memory(struct tr *t)
{
	unsigned n = tr_word(t);
	struct mem m = tr_address(t, 0, false, 0);

	e_load(t->h, n, t->s1, m);
	e_store(t->h, 8, t->s1, at_gs(WORD(tmp)));
	m = tr_stack(t, RSP, -(s32)n, n, true);
	unsigned with = tr_beside(t, &m);
	e_load(t->h, 8, with, at_gs(WORD(tmp)));
	e_store(t->h, n, with, m);
	e_lea(t->h, n, RSP, at_reg(RSP, -(s32)n));
	return true;
}

static void store_pushed(struct tr *t, const struct insn *i, struct mem to)
{
	unsigned n = tr_word(t), reg = i->r[0] >> 3;

	if (insn_kind(i, 0) == OPK_IMM) {
		e_store_imm(t->h, n, (s32)i->imm, to);
	} else if (reg_is_out(t, reg)) {
		unsigned with = tr_beside(t, &to);
		e_load(t->h, 8, with, at_gs(GPR_AT(reg)));
		e_store(t->h, n, with, to);
	} else {
		e_store(t->h, n, reg, to);
	}
}

static void load_popped(struct tr *t, const struct insn *i, struct mem from)
{
	unsigned n = tr_word(t), reg = i->r[0] >> 3;

	if (reg_is_out(t, reg)) {
		e_load(t->h, n, t->s1, from);
		e_store(t->h, 8, t->s1, at_gs(GPR_AT(reg)));
	} else {
		e_load(t->h, n, reg, from);
	}
}

bool tr_push(struct tr *t, const struct insn *i)
{
	s32 n = (s32)tr_word(t);

	if (i->flags & INSN_MEM)
		return push_memory(t);
	store_pushed(t, i, top_of_stack(t, -n, true));
	move_sp(t, -n);
	return true;
}

bool tr_pop(struct tr *t, const struct insn *i)
{
	load_popped(t, i, top_of_stack(t, 0, false));
	if (insn_kind(i, 0) != OPK_REG || i->r[0] >> 3 != RSP)
		move_sp(t, (s32)tr_word(t));
	return true;
}

/* RBP may be out of its register; RSP never is. */
bool tr_leave(struct tr *t)
{
	unsigned n = tr_word(t);
	struct mem top = tr_stack(t, RBP, 0, n, false);

	if (reg_is_out(t, RBP)) {
		e_load(t->h, 8, RSP, at_gs(GPR_AT(RBP)));
		e_load(t->h, n, t->s1, top);
		e_store(t->h, 8, t->s1, at_gs(GPR_AT(RBP)));
		e_lea(t->h, n, RSP, at_reg(RSP, (s32)n));
		return true;
	}
	e_lea(t->h, n, RSP, at_reg(RBP, (s32)n));
	e_load(t->h, n, RBP, top);
	return true;
}

/* ---- runs in plain blocks ---- */

unsigned tr_stack_run(const struct tr *t)
{
	unsigned n = 0;

	if (t->region || !t->wide || t->b->mode & MODE_PLAIN)
		return 0;
	while (t->k + n < t->n && n < RUN_MAX && is_plain(t, t->k + n) && t->insn[t->k + n].op == t->insn[t->k].op)
		n++;
	return n > 1 ? n : 0;
}

/*
 * All lie in one page: an offset in it, which the check leaves in s1, is small enough. Else a plain block of its own does them one by one, as it
 * does where regions cannot go on.
 */
static void check_run(struct tr *t, s32 disp, s32 size)
{
	u8 *unfilled = check_pair(t, RSP, disp);

	e_alu_imm(t->h, ALU_CMP, 4, t->s1, (s32)PAGE_SIZE - size);
	u8 *crosses = e_jcc(t->h, CC_A, 0);
	e_patch(unfilled, t->c->to_run, emit_here(t->c));
	tr_bail(t, crosses, NULL);
}

void tr_stack_many(struct tr *t, unsigned n)
{
	bool push = t->insn[t->k].op == OP_PUSH;
	s32 size = 8 * (s32)n;

	t->nslow = 0;
	t->site = NULL;
	if (!share_run(t, push, n))
		check_run(t, push ? -size : 0, size);
	for (unsigned m = 0; m < n; m++, t->k++) {
		struct mem at = { .base = RSP, .index = t->s2, .disp = push ? -8 * (s32)(m + 1) : 8 * (s32)m };
		t->at[t->k] = emit_here(t->h);
		if (push)
			store_pushed(t, &t->insn[t->k], at);
		else
			load_popped(t, &t->insn[t->k], at);
	}
	e_lea(t->h, 8, RSP, at_reg(RSP, push ? -size : size));
}
