/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Near branches. The target is cut to the operand size and checked (CS limit, or canonical form) before anything is
 * committed, so that the #GP comes at the branch (SDM vol. 2, JMP, CALL, RET).
 */
#include "emulate/operand.h"

_Static_assert(OP_JNLE - OP_JO == 15, "rows in the order of condition codes");

static u64 checked_target(struct vcpu *v, const struct insn *i, u64 target)
{
	if (v->code_size == CODE_64) {
		if (!is_canonical(target))
			vcpu_raise_error(v, EXC_GP, 0);
		return target;
	}
	target &= mask_size(osize_bytes(i));
	if (target > v->seg[SEG_CS].limit)
		vcpu_raise_error(v, EXC_GP, 0);
	return target;
}

static u64 relative_target(struct vcpu *v, const struct insn *i)
{
	return checked_target(v, i, v->rip + i->len + (u64)(s64)i->disp);
}

static u64 target_of(struct vcpu *v, const struct insn *i)
{
	return insn_kind(i, 0) == OPK_IMM ? relative_target(v, i) : checked_target(v, i, op_read(v, i, 0));
}

void exec_jmp(struct vcpu *v, const struct insn *i)
{
	v->rip = target_of(v, i);
}

void exec_call(struct vcpu *v, const struct insn *i)
{
	u64 target = target_of(v, i);

	push(v, vcpu_next_rip(v, i), osize_bytes(i));
	v->rip = target;
}

void exec_ret(struct vcpu *v, const struct insn *i)
{
	unsigned osize = osize_bytes(i);
	u64 sp = stack_pointer(v), target = checked_target(v, i, stack_load(v, sp, osize));

	if (insn_kind(i, 0) == OPK_IMM)
		sp += (u16)i->imm;
	stack_set(v, sp + osize);
	v->rip = target;
}

static void branch_if(struct vcpu *v, const struct insn *i, bool taken)
{
	v->rip = taken ? relative_target(v, i) : vcpu_next_rip(v, i);
}

void exec_jcc(struct vcpu *v, const struct insn *i)
{
	branch_if(v, i, flags_condition(v, i->op - OP_JO));
}

/* Counts in rCX of the address size. */
void exec_loop(struct vcpu *v, const struct insn *i)
{
	unsigned asize = asize_bytes(i);
	u64 count = (reg_read(v, SLOT(RCX), asize) - 1) & mask_size(asize);
	bool zf = flags_get(v) & FL_ZF;

	branch_if(v, i, count && (i->op == OP_LOOP || zf == (i->op == OP_LOOPE)));
	reg_write(v, SLOT(RCX), asize, count);
}

void exec_jcxz(struct vcpu *v, const struct insn *i)
{
	branch_if(v, i, reg_read(v, SLOT(RCX), asize_bytes(i)) == 0);
}
