/* SPDX-License-Identifier: Apache-2.0 */
/* Moves, extensions, byte swaps and what sets or moves on a condition. None writes flags. */
#include "emulate/operand.h"

_Static_assert(OP_SETNLE - OP_SETO == 15 && OP_CMOVNLE - OP_CMOVO == 15, "rows in the order of condition codes");

void exec_mov(struct vcpu *v, const struct insn *i)
{
	op_write(v, i, 0, op_read(v, i, 1));
}

void exec_movzx(struct vcpu *v, const struct insn *i)
{
	op_write(v, i, 0, op_read(v, i, 1));
}

void exec_movsx(struct vcpu *v, const struct insn *i)
{
	op_write(v, i, 0, (u64)sign_extend(op_read(v, i, 1), i->size2));
}

void exec_lea(struct vcpu *v, const struct insn *i)
{
	op_write(v, i, 0, op_ea(v, i));
}

static u64 swap(u64 x, unsigned size)
{
	return __builtin_bswap64(x) >> (64 - 8 * size);
}

/* Of a 16-bit register the manuals leave BSWAP undefined; CPUs clear it. */
void exec_bswap(struct vcpu *v, const struct insn *i)
{
	op_write(v, i, 0, i->size == 2 ? 0 : swap(op_read(v, i, 0), i->size));
}

void exec_movbe(struct vcpu *v, const struct insn *i)
{
	op_write(v, i, 0, swap(op_read(v, i, 1), i->size));
}

void exec_xlat(struct vcpu *v, const struct insn *i)
{
	u64 ea = (v->r[RBX] + (u8)v->r[RAX]) & mask_size(asize_bytes(i));
	u64 gla = segment_linear(v, i->seg, ea, 1, SEG_READ);

	reg_write(v, SLOT(RAX), 1, mmu_load(v, gla, 1, MMU_EXPLICIT));
}

void exec_setcc(struct vcpu *v, const struct insn *i)
{
	op_write(v, i, 0, flags_condition(v, i->op - OP_SETO));
}

/* The source is read, and a 32-bit destination's upper half cleared, whatever the condition (SDM vol. 2, CMOVcc). */
void exec_cmovcc(struct vcpu *v, const struct insn *i)
{
	u64 value = op_read(v, i, 1);

	op_write(v, i, 0, flags_condition(v, i->op - OP_CMOVO) ? value : op_read(v, i, 0));
}

void exec_cbw(struct vcpu *v, const struct insn *i)
{
	reg_write(v, SLOT(RAX), 2, (u64)(s8)v->r[RAX]);
}

void exec_cwde(struct vcpu *v, const struct insn *i)
{
	reg_write(v, SLOT(RAX), 4, (u64)(s16)v->r[RAX]);
}

void exec_cdqe(struct vcpu *v, const struct insn *i)
{
	v->r[RAX] = (u64)(s32)v->r[RAX];
}

void exec_cwd(struct vcpu *v, const struct insn *i)
{
	reg_write(v, SLOT(RDX), 2, (s16)v->r[RAX] < 0 ? ~0ull : 0);
}

void exec_cdq(struct vcpu *v, const struct insn *i)
{
	reg_write(v, SLOT(RDX), 4, (s32)v->r[RAX] < 0 ? ~0ull : 0);
}

void exec_cqo(struct vcpu *v, const struct insn *i)
{
	v->r[RDX] = (s64)v->r[RAX] < 0 ? ~0ull : 0;
}
