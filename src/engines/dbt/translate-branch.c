/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Near branches. Calls leave their return address and the code for it in a ring, where returns look first: the key has the code
 * space in it, so that an entry serves only the address space and privilege that made it.
 */
#include "engines/dbt/translate.h"

static s64 direct_target(const struct insn *i)
{
	return (s64)i->off + i->len + i->disp;
}

static bool jcc(struct tr *t, const struct insn *i)
{
	tr_want_flags(t, OUT_A);
	tr_exit(t, i, direct_target(i), i->op - OP_JO);
	return true;
}

/* jrcxz over a short jump to the real one; LOOP counts first, which leaves flags alone. */
static bool jump_on_rcx(struct tr *t, const struct insn *i)
{
	struct emit *h = t->h;
	bool loop = i->op == OP_LOOP;

	if (loop)
		e_lea(h, 8, RCX, at_reg(RCX, -1));
	e8(h, 0xe3); /* jrcxz */
	e8(h, loop ? 5 : 2);
	if (!loop) {
		e8(h, 0xeb);
		e8(h, 5);
	}
	tr_exit(t, i, direct_target(i), -1);
	return true;
}

/* The return address onto the stack and into the ring; the ring's code is filled in later. */
static u8 *push_return(struct tr *t, const struct insn *i)
{
	struct emit *h = t->h;
	struct mem top = tr_stack(t, OUT_A, OUT_B, RSP, -8, 8, true);

	e_load(h, 8, OUT_A, at_gs(PAGE_AT));
	e_lea(h, 8, OUT_A, at_reg(OUT_A, i->off + i->len));
	e_store(h, 8, OUT_A, top);
	e_lea(h, 8, RSP, at_reg(RSP, -8));
	e_alu_m(h, ALU_XOR, 8, OUT_A, at_gs(SPACE_AT(t->half)));
	e_movzx_byte(h, OUT_B, at_gs(WORD(ras_top)));
	e_alu_imm(h, ALU_ADD, 1, OUT_B, 16);
	e_store(h, 1, OUT_B, at_gs(WORD(ras_top)));
	e_store(h, 8, OUT_A, at_gs_reg(OUT_B, WORD(ras[0].key)));
	e_store_imm(h, 8, 0, at_gs_reg(OUT_B, WORD(ras[0].code)));
	return h->p - 4;
}

/* Where a return to this call lands: v->rip is the address behind it. */
static void landing(struct tr *t, const struct insn *i, u8 *code)
{
	struct emit *h = t->h;
	unsigned next = i->off + i->len;
	u32 here = (u32)emit_here(h);

	memcpy(code, &here, 4);
	e_load(h, 8, OUT_A, at_gs(VCPU(rip)));
	if (next >= PAGE_SIZE) {
		e_jmp(h, t->d->to.jump);
		return;
	}
	e_lea(h, 8, OUT_A, at_reg(OUT_A, -(s32)next));
	e_store(h, 8, OUT_A, at_gs(PAGE_AT));
	tr_exit(t, i, next, -1);
}

/* The target of an indirect branch into OUT_A. */
static void load_target(struct tr *t, const struct insn *i)
{
	if (insn_kind(i, 0) == OPK_MEM) {
		struct mem m = tr_address(t, OUT_A, OUT_B, false, false, 0);
		e_load(t->h, 8, OUT_A, m);
		return;
	}
	tr_load_out(t, i->r[0] >> 3);
	if (i->r[0] >> 3 != OUT_A)
		e_mov_rr(t->h, 8, OUT_A, i->r[0] >> 3);
}

/* OUT_A holds where to call; what is not canonical faults before the return address is pushed. */
static void check_canonical(struct tr *t)
{
	e_mov_rr(t->h, 8, OUT_B, OUT_A);
	e_shift_imm(t->h, SHIFT_SHL, 8, OUT_B, 16);
	e_shift_imm(t->h, SHIFT_SAR, 8, OUT_B, 16);
	e_op_rr(t->h, 0x3b, 8, OUT_B, OUT_A);
	tr_slow_jump(t, CC_NZ);
}

static bool call(struct tr *t, const struct insn *i)
{
	bool direct = insn_kind(i, 0) == OPK_IMM;
	u8 *code;

	if (!direct || i->disp < 0)
		tr_poll(t);
	if (!direct) {
		load_target(t, i);
		check_canonical(t);
		e_store(t->h, 8, OUT_A, at_gs(WORD(tmp)));
	}
	code = push_return(t, i);
	t->host_ok = false;
	t->mem_ok = true;
	if (direct) {
		tr_exit(t, i, direct_target(i), -1);
	} else {
		e_load(t->h, 8, OUT_A, at_gs(WORD(tmp)));
		tr_exit_indirect(t);
	}
	landing(t, i, code);
	return true;
}

static bool jmp(struct tr *t, const struct insn *i)
{
	if (insn_kind(i, 0) == OPK_IMM) {
		tr_exit(t, i, direct_target(i), -1);
		return true;
	}
	tr_poll(t);
	load_target(t, i);
	tr_exit_indirect(t);
	return true;
}

static bool ret(struct tr *t, const struct insn *i)
{
	struct emit *h = t->h;

	tr_poll(t);
	struct mem top = tr_stack(t, OUT_A, OUT_B, RSP, 0, 8, false);
	e_load(h, 8, OUT_A, top);
	e_lea(h, 8, RSP, at_reg(RSP, 8 + (insn_kind(i, 0) == OPK_IMM ? (u16)i->imm : 0)));
	e_store(h, 8, OUT_A, at_gs(VCPU(rip)));
	e_movzx_byte(h, OUT_B, at_gs(WORD(ras_top)));
	e_alu_m(h, ALU_XOR, 8, OUT_A, at_gs(SPACE_AT(t->half)));
	e_alu_m(h, ALU_CMP, 8, OUT_A, at_gs_reg(OUT_B, WORD(ras[0].key)));
	u8 *miss = e_jcc(h, CC_NZ, 0);
	e_alu_imm_m(h, ALU_SUB, 1, at_gs(WORD(ras_top)), 16);
	e_jmp_mem(h, at_gs_reg(OUT_B, WORD(ras[0].code)));
	e_patch(miss, h->to_run, emit_here(h));
	e_load(h, 8, OUT_A, at_gs(VCPU(rip)));
	tr_exit_indirect(t);
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
