/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What registers hold, by name: instructions that add a constant or copy a register keep the name, all others give a new one. So [RSP + 8]
 * before a PUSH and [RSP + 16] behind it are known to be the same place.
 */
#include "engines/dbt/region.h"

#define ZERO	   16
#define CODE	   17
#define OFFSET_MAX (1 << 28)

static void forget(struct values *v, unsigned reg)
{
	v->number[reg] = ++v->last;
	v->offset[reg] = 0;
}

static void forget_all(struct values *v)
{
	for (unsigned r = 0; r < NR_GPR; r++)
		forget(v, r);
}

void values_begin(struct values *v)
{
	v->number[ZERO] = 1;
	v->number[CODE] = 2;
	v->offset[ZERO] = v->offset[CODE] = 0;
	v->last = MAX(v->last, 2u);
	forget_all(v);
}

static void becomes(struct values *v, unsigned reg, unsigned from, s64 add)
{
	s64 offset = v->offset[from] + add;

	if (offset > OFFSET_MAX || offset < -OFFSET_MAX) {
		forget(v, reg);
		return;
	}
	v->number[reg] = v->number[from];
	v->offset[reg] = offset;
}

static void forget_operand(struct values *v, const struct insn *i, unsigned k)
{
	if (insn_kind(i, k) == OPK_REG)
		forget(v, i->r[k] >> 3);
}

static void forget_implied(struct values *v)
{
	static const u8 reg[] = { RAX, RCX, RDX, RBX };

	for (unsigned k = 0; k < sizeof(reg); k++)
		forget(v, reg[k]);
}

/* Forms of a word's size that keep a name; false: not one of them. */
static bool keeps_name(const struct tr *t, struct values *v, const struct insn *i)
{
	unsigned to = i->r[0] >> 3;
	bool imm = insn_kind(i, 1) == OPK_IMM;

	if (insn_kind(i, 0) != OPK_REG || i->size != tr_word(t) || i->r[0] & 7)
		return false;
	switch (i->op) {
	case OP_MOV:
		if (insn_kind(i, 1) != OPK_REG)
			return false;
		becomes(v, to, i->r[1] >> 3, 0);
		return true;
	case OP_LEA:
		if (i->asize != tr_word_log(t) || i->index != SLOT_ZERO)
			return false;
		becomes(v, to, i->base >> 3, i->disp);
		return true;
	case OP_ADD: becomes(v, to, to, imm ? (s64)i->imm : OFFSET_MAX * 4ll); return true;
	case OP_SUB: becomes(v, to, to, imm ? -(s64)i->imm : OFFSET_MAX * 4ll); return true;
	case OP_INC: becomes(v, to, to, 1); return true;
	case OP_DEC: becomes(v, to, to, -1); return true;
	default: return false;
	}
}

/* Destinations are operand 0 at most, nothing is implied. */
static bool is_simple(const struct insn *i)
{
	if ((unsigned)(i->op - OP_SETO) < 16 || (unsigned)(i->op - OP_CMOVO) < 16 || insn_is_jcc(i))
		return true;
	if (i->op >= OP_ADD && i->op <= OP_NOT)
		return true;
	if (i->op >= OP_ROL && i->op <= OP_PEXT)
		return true;
	switch (i->op) {
	case OP_IMUL: return insn_kind(i, 1) != OPK_NONE;
	case OP_MOV:
	case OP_MOVZX:
	case OP_MOVSX:
	case OP_MOVSXD:
	case OP_LEA:
	case OP_BSWAP:
	case OP_MOVBE:
	case OP_NOP: return true;
	default: return false;
	}
}

static void step_copied(const struct tr *t, struct values *v, const struct insn *i)
{
	if (keeps_name(t, v, i))
		return;
	if (!tr_only_reads(i) || !is_simple(i))
		forget_operand(v, i, 0);
	if (is_simple(i))
		return;
	for (unsigned k = 1; k < 4; k++)
		forget_operand(v, i, k);
	if (!insn_is_hint(i))
		forget_implied(v);
}

static void step_special(const struct tr *t, struct values *v, const struct insn *i)
{
	s64 word = tr_word(t);

	switch (i->op) {
	case OP_PUSH: becomes(v, RSP, RSP, -word); break;
	case OP_POP:
		becomes(v, RSP, RSP, word);
		forget_operand(v, i, 0);
		break;
	case OP_LEAVE:
		becomes(v, RSP, RBP, word);
		forget(v, RBP);
		break;
	case OP_LOOP: forget(v, RCX); break;
	case OP_DIV:
	case OP_IDIV:
		forget(v, RAX);
		forget(v, RDX);
		break;
	case OP_CALL:
	case OP_RET: forget_all(v); break;
	default: break;
	}
}

/* Of a vector instruction: registers of both kinds have numbers, and those of vectors may be taken for general ones. */
static void step_vector(struct values *v, const struct insn *i)
{
	for (unsigned k = 0; k < 2; k++)
		if (insn_kind(i, k) == OPK_REG && !(i->r[k] & 7))
			forget_operand(v, i, k);
	forget(v, RCX); /* PCMPESTRI */
}

void values_step(const struct tr *t, struct values *v, unsigned k)
{
	const struct insn *i = &t->insn[k];

	switch (t->native[k]) {
	case NATIVE_COPY: step_copied(t, v, i); break;
	case NATIVE_SPECIAL: step_special(t, v, i); break;
	case NATIVE_VECTOR: step_vector(v, i); break;
	case NATIVE_X87:
		step_vector(v, i);
		forget(v, RAX); /* FNSTSW */
		break;
	default: forget_all(v);
	}
}
