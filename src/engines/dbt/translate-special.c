/* SPDX-License-Identifier: Apache-2.0 */
/* Integer instructions that are not their own bytes: the stack's, divisions, which must not fault on the host, AH to memory, branches. */
#include "engines/dbt/translate.h"

/* Operands of a word, the default of these. POP to memory computes its address with the RSP after it. */
static bool plain_stack(const struct tr *t, const struct insn *i)
{
	return i->osize == tr_word_log(t) && (!(i->flags & INSN_MEM) || (i->op == OP_PUSH && tr_can_address(i)));
}

static bool plain_branch(const struct tr *t, const struct insn *i)
{
	if (i->osize != tr_word_log(t))
		return false;
	if (insn_is_jcc(i))
		return true;
	switch (i->op) {
	case OP_JMP:
	case OP_CALL: return !(i->flags & INSN_MEM) || tr_can_address(i);
	case OP_RET: return true;
	case OP_LOOP:
	case OP_JECXZ:
	case OP_JRCXZ: return i->asize == tr_word_log(t);
	default: return false;
	}
}

/* AH, CH, DH or BH to memory: they cannot be named beside the registers that addresses are in. */
static bool stores_high_byte(const struct tr *t, const struct insn *i)
{
	return insn_kind(i, 0) == OPK_MEM && insn_kind(i, 1) == OPK_REG && i->r[1] & 7 && tr_can_address(i) &&
	       t->d->host_features[FEAT_BMI2 / 64] & BIT(FEAT_BMI2 % 64);
}

static bool store_high_byte(struct tr *t, const struct insn *i)
{
	struct mem m = tr_address(t, 0, true, 0);
	unsigned with = tr_beside(t, &m), reg = i->r[1] >> 3;

	if (reg_is_out(t, reg))
		e_movzx_byte(t->h, with, at_gs(GPR_AT(reg) + 1));
	else
		e_rorx(t->h, with, reg, 8);
	e_store(t->h, 1, with, m);
	return true;
}

bool tr_can_special(const struct tr *t, unsigned k)
{
	const struct insn *i = &t->insn[k];

	switch (i->op) {
	case OP_MOV: return stores_high_byte(t, i);
	case OP_PUSH:
	case OP_POP:
	case OP_LEAVE: return plain_stack(t, i);
	case OP_DIV:
	case OP_IDIV: return i->size >= 4 && (!(i->flags & INSN_MEM) || tr_can_address(i));
	default: return (op_facts[i->op].attr & OP_BRANCH) && plain_branch(t, i);
	}
}

/* The divisor in a register; returns which. */
static unsigned divisor(struct tr *t, const struct insn *i)
{
	if (i->flags & INSN_MEM) {
		struct mem m = tr_address(t, 0, false, 0);
		e_load(t->h, i->size, t->s1, m);
		tr_save_flags(t, t->s2);
		return t->s1;
	}
	tr_save_flags(t, t->s1);
	tr_load_out(t, i->r[0] >> 3);
	return i->r[0] >> 3;
}

/* DIV overflows when the high half is not below the divisor, zero included. IDIV goes the fast way when the dividend is the sign
 * extension of its low half and the divisor is neither 0 nor -1: then it cannot. */
static bool divide(struct tr *t, const struct insn *i)
{
	struct emit *h = t->h;
	unsigned by = divisor(t, i), x = by == t->s1 ? t->s2 : t->s1;

	tr_clobber(t, x);

	if (i->op == OP_DIV) {
		e_op_rr(h, 0x3b, i->size, RDX, by);
		tr_slow_jump(t, CC_AE);
	} else {
		e_lea(h, i->size, x, at_reg(by, 1));
		e_alu_imm(h, ALU_CMP, i->size, x, 1);
		tr_slow_jump(t, CC_BE);
		e_mov_rr(h, i->size, x, RAX);
		e_shift_imm(h, SHIFT_SAR, i->size, x, 8 * i->size - 1u);
		e_op_rr(h, 0x3b, i->size, x, RDX);
		tr_slow_jump(t, CC_NZ);
	}
	t->host_ok = false;
	if (t->d->exact_flags)
		tr_want_flags_spilled(t);
	e_op_rr(h, 0xf7, i->size, i->op == OP_DIV ? 6 : 7, by);
	t->host_ok = false;
	tr_flags_written(t);
	return true;
}

bool tr_special(struct tr *t)
{
	const struct insn *i = &t->insn[t->k];

	switch (i->op) {
	case OP_MOV: return store_high_byte(t, i);
	case OP_PUSH: return tr_push(t, i);
	case OP_POP: return tr_pop(t, i);
	case OP_LEAVE: return tr_leave(t);
	case OP_DIV:
	case OP_IDIV: return divide(t, i);
	default: return tr_branch(t);
	}
}
