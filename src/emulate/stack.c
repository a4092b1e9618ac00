/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUSH and POP of general registers, immediates and memory; PUSHA, POPA, ENTER, LEAVE. RSP and RBP change only when all accesses
 * are done or known to succeed.
 */
#include "emulate/operand.h"

/* Here the operand is read before RSP moves: PUSH RSP pushes the old value (SDM vol. 2, PUSH). */
void exec_push(struct vcpu *v, const struct insn *i)
{
	push(v, insn_kind(i, 0) == OPK_IMM ? i->imm : op_read(v, i, 0), osize_bytes(i));
}

/* An address based on RSP is computed after RSP has moved (SDM vol. 2, POP). */
void exec_pop(struct vcpu *v, const struct insn *i)
{
	unsigned osize = osize_bytes(i);
	u64 old = v->r[RSP], sp = stack_pointer(v), value = stack_load(v, sp, osize);

	if (insn_kind(i, 0) == OPK_REG) {
		stack_set(v, sp + osize);
		reg_write(v, i->r[0], osize, value);
		return;
	}
	stack_set(v, sp + osize);
	u64 ea = op_ea(v, i);
	v->r[RSP] = old;
	mmu_store(v, segment_linear(v, i->seg, ea, osize, SEG_WRITE), osize, value, MMU_EXPLICIT);
	stack_set(v, sp + osize);
}

/* Pushed in the order of their numbers, RSP as it was before. */
void exec_pusha(struct vcpu *v, const struct insn *i)
{
	unsigned osize = osize_bytes(i);
	u64 sp = stack_pointer(v), gla[8];

	for (unsigned k = 0; k < 8; k++)
		gla[k] = stack_probe(v, sp - (k + 1) * osize, osize);
	for (unsigned k = 0; k < 8; k++)
		mmu_store(v, gla[k], osize, reg_read(v, SLOT(k), osize), MMU_EXPLICIT);
	stack_set(v, sp - 8 * osize);
}

void exec_popa(struct vcpu *v, const struct insn *i)
{
	unsigned osize = osize_bytes(i);
	u64 sp = stack_pointer(v), value[8];

	for (unsigned k = 0; k < 8; k++)
		value[7 - k] = stack_load(v, sp + k * osize, osize);
	for (unsigned k = 0; k < 8; k++) {
		if (k != RSP)
			reg_write(v, SLOT(k), osize, value[k]);
	}
	stack_set(v, sp + 8 * osize);
}

/*
 * ENTER: pushes rBP, then level - 1 frame pointers from below the old frame and the new frame pointer; makes room for locals.
 * The new top of the stack must be writable too (SDM vol. 2, ENTER). What was pushed before a fault stays in memory, as on CPUs.
 */
void exec_enter(struct vcpu *v, const struct insn *i)
{
	unsigned osize = osize_bytes(i), level = (u32)i->disp & 31;
	u64 bp = v->r[RBP], sp = stack_pointer(v), frame = sp - osize;

	stack_store(v, sp -= osize, bp, osize);
	for (unsigned k = 1; k < level; k++) {
		u64 outer = stack_load(v, bp -= osize, osize);
		stack_store(v, sp -= osize, outer, osize);
	}
	if (level)
		stack_store(v, sp -= osize, frame, osize);
	sp -= (u16)i->imm;
	stack_probe(v, sp, osize);
	reg_write(v, SLOT(RBP), osize, frame);
	stack_set(v, sp);
}

void exec_leave(struct vcpu *v, const struct insn *i)
{
	unsigned osize = osize_bytes(i);
	u64 bp = reg_read(v, SLOT(RBP), stack_size(v)), value = stack_load(v, bp, osize);

	stack_set(v, bp + osize);
	reg_write(v, SLOT(RBP), osize, value);
}
