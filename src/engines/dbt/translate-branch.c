/* SPDX-License-Identifier: Apache-2.0 */
/* Near branches. Returns are indirect jumps like others: the host's predictor knows both by where they come from. */
#include "engines/dbt/region.h"
#include "engines/dbt/translate.h"

static bool jcc(struct tr *t, const struct insn *i)
{
	tr_want_flags(t, t->s1);
	if (t->region)
		region_jcc(t, i);
	else
		tr_exit(t, i, tr_target(i), i->op - OP_JO);
	return true;
}

/* jrcxz over a short jump to the real one; LOOP counts first, which leaves flags alone. */
static bool jump_on_rcx(struct tr *t, const struct insn *i)
{
	struct emit *h = t->h;
	bool loop = i->op == OP_LOOP;

	if (loop)
		e_lea(h, tr_word(t), RCX, at_reg(RCX, -1));
	if (!t->wide)
		e8(h, 0x67);
	e8(h, 0xe3); /* jrcxz */
	e8(h, loop ? 5 : 2);
	if (!loop) {
		e8(h, 0xeb);
		e8(h, 5);
	}
	tr_exit(t, i, tr_target(i), -1);
	return true;
}

/* The return address onto the stack. */
static void push_return(struct tr *t, const struct insn *i)
{
	struct emit *h = t->h;
	unsigned n = tr_word(t);
	struct mem top = tr_stack(t, RSP, -(s32)n, n, true);
	unsigned with = tr_beside(t, &top);

	tr_load_page(t, with);
	e_lea(h, n, with, at_reg(with, i->off + i->len));
	e_store(h, n, with, top);
	e_lea(h, n, RSP, at_reg(RSP, -(s32)n));
}

/* The target of an indirect branch into register s1. */
static void load_target(struct tr *t, const struct insn *i)
{
	unsigned reg = i->r[0] >> 3;

	if (insn_kind(i, 0) == OPK_MEM)
		e_load(t->h, tr_word(t), t->s1, tr_address(t, 0, false, 0));
	else if (reg_is_out(t, reg))
		e_load(t->h, tr_word(t), t->s1, at_gs(GPR_AT(reg)));
	else
		e_mov_rr(t->h, tr_word(t), t->s1, reg);
}

/*
 * Looks its target up before anything is pushed: where that is not known, or is no canonical address, C does all of it. The code's address waits
 * in memory for its jump, as the host, if it has predicted another, goes on the sooner the earlier it hears.
 */
static void call_indirect(struct tr *t, const struct insn *i)
{
	load_target(t, i);
	tr_save_flags(t, t->s2);
	tr_clobber(t, t->s2);
	tr_slow_jump_at(t, tr_find_jump(t, t->s1, t->s2));
	e_store(t->h, 8, t->s1, at_gs(WORD(arg)));
	e_load(t->h, 8, t->s2, jump_field(t->d, t->s2, offsetof(struct jump_entry, code)));
	e_store(t->h, 8, t->s2, at_gs(WORD(tmp)));
	t->host_ok = false;
	push_return(t, i);
	tr_leave_region(t);
	e_load(t->h, 8, OUT_A, at_gs(WORD(arg)));
	tr_page_of_key(t, OUT_A);
	jump_set_page(t->h, OUT_A);
	e_jmp_mem(t->h, at_gs(WORD(tmp)));
}

static bool call(struct tr *t, const struct insn *i)
{
	bool direct = insn_kind(i, 0) == OPK_IMM;

	if (!direct || i->disp < 0)
		tr_poll(t);
	if (!direct) {
		call_indirect(t, i);
		return true;
	}
	push_return(t, i);
	tr_exit(t, i, tr_target(i), -1);
	return true;
}

/* To the address in s1; flags are in memory. */
static void go_indirect(struct tr *t)
{
	tr_leave_region_with(t, t->s1);
	tr_exit_indirect(t);
}

static bool jmp(struct tr *t, const struct insn *i)
{
	if (insn_kind(i, 0) == OPK_IMM) {
		if (t->region)
			region_jmp(t, i);
		else
			tr_exit(t, i, tr_target(i), -1);
		return true;
	}
	tr_poll(t);
	load_target(t, i);
	tr_save_flags(t, t->s2);
	go_indirect(t);
	return true;
}

static bool ret(struct tr *t, const struct insn *i)
{
	struct emit *h = t->h;

	tr_poll(t);
	unsigned n = tr_word(t);
	struct mem top = tr_stack(t, RSP, 0, n, false);
	tr_save_flags(t, tr_beside(t, &top));
	e_load(h, n, t->s1, top);
	e_lea(h, n, RSP, at_reg(RSP, (s32)n + (insn_kind(i, 0) == OPK_IMM ? (u16)i->imm : 0)));
	go_indirect(t);
	return true;
}

bool tr_branch(struct tr *t)
{
	const struct insn *i = &t->insn[t->k];

	if (insn_is_jcc(i))
		return jcc(t, i);
	switch (i->op) {
	case OP_JMP: return jmp(t, i);
	case OP_CALL: return call(t, i);
	case OP_RET: return ret(t, i);
	default: return jump_on_rcx(t, i);
	}
}
