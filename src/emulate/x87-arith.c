/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87 arithmetic on two operands: FADD, FMUL, FSUB, FSUBR, FDIV, FDIVR with a register, a real or an integer in memory.
 */
#include "emulate/x87.h"

static const u8 kind_of[NR_OPS] = {
	[OP_FADD] = ARITH_ADD,	  [OP_FADDP] = ARITH_ADD,   [OP_FIADD] = ARITH_ADD,   [OP_FMUL] = ARITH_MUL,
	[OP_FMULP] = ARITH_MUL,	  [OP_FIMUL] = ARITH_MUL,   [OP_FSUB] = ARITH_SUB,    [OP_FSUBP] = ARITH_SUB,
	[OP_FISUB] = ARITH_SUB,	  [OP_FSUBR] = ARITH_SUBR,  [OP_FSUBRP] = ARITH_SUBR, [OP_FISUBR] = ARITH_SUBR,
	[OP_FDIV] = ARITH_DIV,	  [OP_FDIVP] = ARITH_DIV,   [OP_FIDIV] = ARITH_DIV,   [OP_FDIVR] = ARITH_DIVR,
	[OP_FDIVRP] = ARITH_DIVR, [OP_FIDIVR] = ARITH_DIVR,
};

static void arith_mem(struct vcpu *v, const struct insn *i, enum x87_form form)
{
	struct x87_io io;

	x87_wait(v);
	io.mem = x87_load(v, i, i->msize);
	if (x87_empty(v, 0)) {
		if (x87_underflow(v, i))
			x87_set(v, 0, F80_INDEFINITE);
		return;
	}
	x87_io_words(v, &io);
	io.a = x87_st(v, 0);
	if (x87_signal(v, i, x87_host_arith[form][kind_of[i->op]](&io)))
		x87_set(v, 0, io.r);
}

/* r[0] := r[0] op r[1]; false if it did not come to a result. */
static bool arith_reg(struct vcpu *v, const struct insn *i)
{
	unsigned dest = i->r[0];
	struct x87_io io;

	x87_wait(v);
	x87_note(v);
	if (x87_empty(v, dest) || x87_empty(v, i->r[1])) {
		if (!x87_underflow(v, i))
			return false;
		x87_set(v, dest, F80_INDEFINITE);
		return true;
	}
	x87_io_words(v, &io);
	io.a = x87_st(v, dest);
	io.b = x87_st(v, i->r[1]);
	if (!x87_signal(v, i, x87_host_arith[FORM_ST][kind_of[i->op]](&io)))
		return false;
	x87_set(v, dest, io.r);
	return true;
}

void exec_x87_arith(struct vcpu *v, const struct insn *i)
{
	if (i->flags & INSN_MEM)
		arith_mem(v, i, i->msize == 4 ? FORM_M32 : FORM_M64);
	else
		arith_reg(v, i);
}

void exec_x87_arith_pop(struct vcpu *v, const struct insn *i)
{
	if (arith_reg(v, i))
		x87_pop(v);
}

void exec_x87_arith_int(struct vcpu *v, const struct insn *i)
{
	arith_mem(v, i, i->msize == 2 ? FORM_I16 : FORM_I32);
}
