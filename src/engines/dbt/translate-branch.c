/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Near branches. Calls leave their return address and the code for it in a ring, where returns look first: the key has the code
 * space in it, so that an entry serves only the address space and privilege that made it.
 */
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
		e_lea(h, 8, RCX, at_reg(RCX, -1));
	e8(h, 0xe3); /* jrcxz */
	e8(h, loop ? 5 : 2);
	if (!loop) {
		e8(h, 0xeb);
		e8(h, 5);
	}
	tr_exit(t, i, tr_target(i), -1);
	return true;
}

/* Where a call returns to, in OUT_A. */
static void return_address(struct emit *h, const struct insn *i, unsigned a)
{
	e_load(h, 8, a, at_gs(PAGE_AT));
	e_lea(h, 8, a, at_reg(a, i->off + i->len));
}

/* The return address onto the stack and into the ring; the ring's code is filled in later. */
static u8 *push_return(struct tr *t, const struct insn *i)
{
	struct emit *h = t->h;
	struct mem top = tr_stack(t, RSP, -8, 8, true);
	unsigned with = tr_beside(t, &top);

	return_address(h, i, with);
	e_store(h, 8, with, top);
	e_lea(h, 8, RSP, at_reg(RSP, -8));
	if (tr_leave_region(t) || with != OUT_A)
		return_address(h, i, OUT_A);
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
	if (!t->region || !region_landing(t))
		tr_exit(t, i, next, -1);
}

/* The target of an indirect branch into register a. */
static void load_target(struct tr *t, const struct insn *i)
{
	unsigned reg = i->r[0] >> 3;

	if (insn_kind(i, 0) == OPK_MEM)
		e_load(t->h, 8, t->s1, tr_address(t, 0, false, 0));
	else if (reg_is_out(t, reg))
		e_load(t->h, 8, t->s1, at_gs(GPR_AT(reg)));
	else
		e_mov_rr(t->h, 8, t->s1, reg);
}

/* Register a holds where to call; what is not canonical faults before the return address is pushed. */
static void check_canonical(struct tr *t)
{
	tr_save_flags(t, t->s2);
	tr_clobber(t, t->s2);
	e_mov_rr(t->h, 8, t->s2, t->s1);
	e_shift_imm(t->h, SHIFT_SHL, 8, t->s2, 16);
	e_shift_imm(t->h, SHIFT_SAR, 8, t->s2, 16);
	e_op_rr(t->h, 0x3b, 8, t->s2, t->s1);
	tr_slow_jump(t, CC_NZ);
	t->host_ok = false;
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
		e_store(t->h, 8, t->s1, at_gs(WORD(tmp)));
	}
	tr_save_flags(t, t->s1);
	code = push_return(t, i);
	t->host_ok = false;
	t->mem_ok = true;
	if (direct) {
		tr_exit(t, i, tr_target(i), -1);
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
		if (t->region)
			region_jmp(t, i);
		else
			tr_exit(t, i, tr_target(i), -1);
		return true;
	}
	tr_poll(t);
	load_target(t, i);
	tr_save_flags(t, t->s2);
	if (!tr_is_canonical(t)) {
		e_store(t->h, 8, t->s1, at_gs(WORD(tmp)));
		tr_leave_region(t);
		e_load(t->h, 8, OUT_A, at_gs(WORD(tmp)));
	} else if (t->s1 != OUT_A) {
		e_mov_rr(t->h, 8, OUT_A, t->s1);
	}
	tr_exit_indirect(t);
	return true;
}

static bool ret(struct tr *t, const struct insn *i)
{
	struct emit *h = t->h;

	tr_poll(t);
	struct mem top = tr_stack(t, RSP, 0, 8, false);
	tr_save_flags(t, tr_beside(t, &top));
	e_load(h, 8, t->s1, top);
	e_lea(h, 8, RSP, at_reg(RSP, 8 + (insn_kind(i, 0) == OPK_IMM ? (u16)i->imm : 0)));
	e_store(h, 8, t->s1, at_gs(VCPU(rip)));
	if (tr_leave_region(t) || t->s1 != OUT_A)
		e_load(h, 8, OUT_A, at_gs(VCPU(rip)));
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
