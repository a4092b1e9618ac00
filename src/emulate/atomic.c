/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exchanges. Each writes its memory operand in any case (CMPXCHG puts back what it found; SDM vol. 2), so all go through the
 * read-modify-write of operand.c, which is atomic for LOCK and for XCHG. Registers change after memory has.
 */
#include "emulate/operand.h"

static u64 do_set(u64 old, void *value)
{
	return *(u64 *)value;
}

void exec_xchg(struct vcpu *v, const struct insn *i)
{
	unsigned mem = insn_kind(i, 1) == OPK_MEM;
	u8 reg = i->r[!mem];
	u64 value = reg_read(v, reg, i->size), old;

	if (mem)
		old = mem_modify(v, i->seg, op_ea(v, i), i->size, true, do_set, &value);
	else
		old = op_modify(v, i, true, do_set, &value);
	reg_write(v, reg, i->size, old);
}

static u64 do_xadd(u64 old, void *value)
{
	return old + *(u64 *)value;
}

/* The sum is written last: XADD of a register with itself doubles it. */
void exec_xadd(struct vcpu *v, const struct insn *i)
{
	u64 b = op_read(v, i, 1), a;

	if (insn_kind(i, 0) == OPK_MEM) {
		a = op_modify(v, i, false, do_xadd, &b);
		op_write(v, i, 1, a);
	} else {
		a = op_read(v, i, 0);
		op_write(v, i, 1, a);
		op_write(v, i, 0, a + b);
	}
	flags_lazy(v, FLAGS_ADD, i->size, sign_extend(a, i->size), sign_extend(b, i->size));
}

struct compare {
	u64 expected, value;
};

static u64 do_compare(u64 old, void *arg)
{
	const struct compare *c = arg;
	return old == c->expected ? c->value : old;
}

/* A register is left alone when unequal: the upper half of a 64-bit one stays too, unlike after any other 32-bit write. */
void exec_cmpxchg(struct vcpu *v, const struct insn *i)
{
	struct compare c = { reg_read(v, SLOT(RAX), i->size), op_read(v, i, 1) };
	u64 old = insn_kind(i, 0) == OPK_MEM ? op_modify(v, i, false, do_compare, &c) : op_read(v, i, 0);

	if (old != c.expected)
		reg_write(v, SLOT(RAX), i->size, old);
	else if (insn_kind(i, 0) == OPK_REG)
		op_write(v, i, 0, c.value);
	flags_lazy(v, FLAGS_SUB, i->size, sign_extend(c.expected, i->size), sign_extend(old, i->size));
}

static void set_zf(struct vcpu *v, bool zf)
{
	flags_set(v, (flags_get(v) & ~FL_ZF) | (zf ? FL_ZF : 0));
}

void exec_cmpxchg8b(struct vcpu *v, const struct insn *i)
{
	struct compare c = { v->r[RDX] << 32 | (u32)v->r[RAX], v->r[RCX] << 32 | (u32)v->r[RBX] };
	u64 old = mem_modify(v, i->seg, op_ea(v, i), 8, i->flags & INSN_LOCK, do_compare, &c);

	if (old != c.expected) {
		reg_write(v, SLOT(RAX), 4, old);
		reg_write(v, SLOT(RDX), 4, old >> 32);
	}
	set_zf(v, old == c.expected);
}

void exec_cmpxchg16b(struct vcpu *v, const struct insn *i)
{
	u64 old[2] = { v->r[RAX], v->r[RDX] }, value[2] = { v->r[RBX], v->r[RCX] };
	u64 gla = op_linear(v, i, 16, SEG_WRITE);

	if (gla & 15)
		vcpu_raise_error(v, EXC_GP, 0);
	bool same = mmu_cmpxchg16(v, gla, old, value);
	if (!same) {
		v->r[RAX] = old[0];
		v->r[RDX] = old[1];
	}
	set_zf(v, same);
}
