/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions whose memory is not, or not all, in an operand of theirs: MOVS, STOS and LODS upward, repeated ones by shared pieces
 * of code (thunks-string.c), and bit strings, whose offset in a register reaches beyond the operand.
 */
#include "engines/dbt/translate.h"

static bool is_row(const struct insn *i, unsigned first)
{
	return i->op - first < 4u;
}

static bool is_bit_string(const struct insn *i)
{
	return (i->op == OP_BT || i->op == OP_BTS || i->op == OP_BTR || i->op == OP_BTC) && i->flags & INSN_MEM &&
	       insn_kind(i, 1) == OPK_REG;
}

bool tr_can_string(const struct tr *t, const struct insn *i)
{
	bool repeated = i->flags & (INSN_REP | INSN_REPNE);

	if (i->asize != tr_word_log(t))
		return false;
	/* In 32-bit code the sum of base, offset and bit must be cut where only the last two are. */
	if (is_bit_string(i))
		return !(i->flags & INSN_MOFFS) && (t->wide || i->seg < SEG_FS);
	if (is_row(i, OP_MOVSB))
		return i->seg < SEG_FS;
	return is_row(i, OP_STOSB) || (is_row(i, OP_LODSB) && i->seg < SEG_FS && !repeated);
}

/* ---- strings ---- */

static void need_upward(struct tr *t)
{
	tr_save_flags(t, OUT_A);
	e_op_rm(t->h, 0xf7, 4, 0, at_gs(VCPU(rflags)));
	e32(t->h, FL_DF);
	tr_slow_jump(t, CC_NZ);
}

/* The element of n bytes at a register, in the host. */
static struct mem element(struct tr *t, unsigned reg, unsigned n, bool write)
{
	e_mov_rr(t->h, tr_word(t), OUT_A, reg);
	tr_slow_jump_at(t, tr_tlb_compare(t, OUT_A, OUT_B, n, write));
	tr_tlb_host(t, OUT_A, OUT_B, NULL);
	return at_reg(OUT_A, 0);
}

static void one_movs(struct tr *t, unsigned n)
{
	struct emit *h = t->h;
	struct mem m = element(t, RSI, n, false);

	e_op_rm(h, n < 4 ? 0x0fb5 + n : 0x8b, MAX(n, 4u), OUT_B, m); /* MOVZX or MOV */
	e_store(h, 8, OUT_B, at_gs(WORD(tmp)));
	m = element(t, RDI, n, true);
	e_load(h, 8, OUT_B, at_gs(WORD(tmp)));
	e_store(h, n, OUT_B, m);
	e_lea(h, tr_word(t), RSI, at_reg(RSI, (s32)n));
	e_lea(h, tr_word(t), RDI, at_reg(RDI, (s32)n));
}

static void one(struct tr *t, const struct insn *i)
{
	struct emit *h = t->h;
	bool lods = is_row(i, OP_LODSB);
	unsigned n = 1u << (i->op - (is_row(i, OP_MOVSB) ? OP_MOVSB : lods ? OP_LODSB : OP_STOSB));

	need_upward(t);
	if (is_row(i, OP_MOVSB)) {
		one_movs(t, n);
	} else if (lods) {
		struct mem m = element(t, RSI, n, false);
		e_op_rm(h, n == 1 ? 0x8a : 0x8b, n, RAX, m);
		e_lea(h, tr_word(t), RSI, at_reg(RSI, (s32)n));
	} else {
		e_store(h, n, RAX, element(t, RDI, n, true));
		e_lea(h, tr_word(t), RDI, at_reg(RDI, (s32)n));
	}
	t->host_ok = false;
	t->mem_ok = true;
}

/* ---- bit strings ---- */

/* Its bit offset, sign-extended. */
static void load_offset(struct tr *t, const struct insn *i)
{
	unsigned reg = i->r[1] >> 3;
	struct mem at = at_gs(GPR_AT(reg));

	if (reg_is_out(t, reg)) {
		if (i->size == 8)
			e_load(t->h, 8, OUT_B, at);
		else
			e_op_rm(t->h, i->size == 4 ? 0x63 : 0x0fbf, 8, OUT_B, at);
	} else if (i->size == 8) {
		e_mov_rr(t->h, 8, OUT_B, reg);
	} else {
		e_op_rr(t->h, i->size == 4 ? 0x63 : 0x0fbf, 8, OUT_B, reg);
	}
}

/* The word of the operand's size that holds the bit; then the host's own instruction, whose offset stays in that word. */
static void bit_string(struct tr *t, const struct insn *i)
{
	static const u16 opcode[] = { 0x0fa3, 0x0fab, 0x0fb3, 0x0fbb };
	unsigned kind = i->op == OP_BT ? 0 : i->op == OP_BTS ? 1 : i->op == OP_BTR ? 2 : 3;
	struct emit *h = t->h;

	tr_save_flags(t, OUT_A);
	tr_linear(t, OUT_A, i);
	load_offset(t, i);
	e_shift_imm(h, SHIFT_SAR, 8, OUT_B, 3);
	e_alu_imm(h, ALU_AND, 8, OUT_B, -(s32)i->size);
	e_op_rr(h, 0x03, tr_word(t), OUT_A, OUT_B);
	tr_slow_jump_at(t, tr_tlb_compare(t, OUT_A, OUT_B, i->size, kind != 0));
	tr_tlb_host(t, OUT_A, OUT_B, NULL);
	load_offset(t, i);
	e_alu_imm(h, ALU_AND, 4, OUT_B, 8 * i->size - 1);
	t->host_ok = false;
	if (t->live[t->k] & ~t->info[t->k].flags_written)
		tr_want_flags_spilled(t);
	if (i->flags & INSN_LOCK)
		e8(h, 0xf0);
	e_op_rm(h, opcode[kind], i->size, OUT_B, at_reg(OUT_A, 0));
	tr_flags_written(t);
}

void tr_string(struct tr *t)
{
	const struct insn *i = &t->insn[t->k];

	if (is_bit_string(i))
		bit_string(t, i);
	else if (!(i->flags & (INSN_REP | INSN_REPNE)))
		one(t, i);
	else if (is_row(i, OP_MOVSB))
		tr_call(t, t->d->to.rep_movs[i->op - OP_MOVSB]);
	else
		tr_call(t, t->d->to.rep_stos[i->op - OP_STOSB]);
}
