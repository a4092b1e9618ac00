/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addition, subtraction and logic. Flags come after the write, as the write may fault; where they depend on two operands
 * alone they stay lazy (machine/flags.h). ADC and SBB have three, so theirs are computed at once.
 */
#include "emulate/operand.h"

struct carried {
	u64 b;
	bool carry;
};

static u64 do_add(u64 a, void *b)
{
	return a + *(u64 *)b;
}
static u64 do_sub(u64 a, void *b)
{
	return a - *(u64 *)b;
}
static u64 do_and(u64 a, void *b)
{
	return a & *(u64 *)b;
}
static u64 do_or(u64 a, void *b)
{
	return a | *(u64 *)b;
}
static u64 do_xor(u64 a, void *b)
{
	return a ^ *(u64 *)b;
}
static u64 do_adc(u64 a, void *arg)
{
	const struct carried *c = arg;
	return a + c->b + c->carry;
}
static u64 do_sbb(u64 a, void *arg)
{
	const struct carried *c = arg;
	return a - c->b - c->carry;
}
static u64 do_neg(u64 a, void *arg)
{
	return -a;
}
static u64 do_not(u64 a, void *arg)
{
	return ~a;
}

void exec_add(struct vcpu *v, const struct insn *i)
{
	u64 b = op_read(v, i, 1);
	u64 a = op_modify(v, i, false, do_add, &b);

	flags_lazy(v, FLAGS_ADD, i->size, sign_extend(a, i->size), sign_extend(b, i->size));
}

void exec_sub(struct vcpu *v, const struct insn *i)
{
	u64 b = op_read(v, i, 1);
	u64 a = op_modify(v, i, false, do_sub, &b);

	flags_lazy(v, FLAGS_SUB, i->size, sign_extend(a, i->size), sign_extend(b, i->size));
}

void exec_cmp(struct vcpu *v, const struct insn *i)
{
	s64 a = op_read_signed(v, i, 0), b = op_read_signed(v, i, 1);

	flags_lazy(v, FLAGS_SUB, i->size, a, b);
}

void exec_and(struct vcpu *v, const struct insn *i)
{
	u64 b = op_read(v, i, 1);
	u64 a = op_modify(v, i, false, do_and, &b);

	flags_logic(v, i->size, sign_extend(a & b, i->size));
}

void exec_or(struct vcpu *v, const struct insn *i)
{
	u64 b = op_read(v, i, 1);
	u64 a = op_modify(v, i, false, do_or, &b);

	flags_logic(v, i->size, sign_extend(a | b, i->size));
}

void exec_xor(struct vcpu *v, const struct insn *i)
{
	u64 b = op_read(v, i, 1);
	u64 a = op_modify(v, i, false, do_xor, &b);

	flags_logic(v, i->size, sign_extend(a ^ b, i->size));
}

void exec_test(struct vcpu *v, const struct insn *i)
{
	s64 r = op_read_signed(v, i, 0) & op_read_signed(v, i, 1);

	flags_logic(v, i->size, r);
}

/* `out` has a bit for each place that carries (borrows) into the next one; `over`'s sign is signed overflow. */
static void carry_flags(struct vcpu *v, unsigned size, u64 r, u64 out, u64 over)
{
	unsigned top = 8 * size - 1;
	u32 f = flags_of_result(r, size);

	f |= (out >> top & 1 ? FL_CF : 0) | (out >> 3 & 1 ? FL_AF : 0) | (over >> top & 1 ? FL_OF : 0);
	flags_set(v, f);
}

void exec_adc(struct vcpu *v, const struct insn *i)
{
	struct carried c = { op_read(v, i, 1), flags_cf(v) };
	u64 a = op_modify(v, i, false, do_adc, &c), r = do_adc(a, &c);

	carry_flags(v, i->size, r, (a & c.b) | ((a | c.b) & ~r), (a ^ r) & (c.b ^ r));
}

void exec_sbb(struct vcpu *v, const struct insn *i)
{
	struct carried c = { op_read(v, i, 1), flags_cf(v) };
	u64 a = op_modify(v, i, false, do_sbb, &c), r = do_sbb(a, &c);

	carry_flags(v, i->size, r, (~a & c.b) | ((~a | c.b) & r), (a ^ c.b) & (a ^ r));
}

static void inc_dec(struct vcpu *v, const struct insn *i, enum flags_kind kind, modify_fn *fn)
{
	u64 one = 1, a = op_modify(v, i, false, fn, &one);
	u64 kept = flags_cf(v) ? FLAGS_KEPT_CF : 0;

	flags_lazy(v, kind, i->size, sign_extend(a, i->size), 1);
	v->lazy.kind |= kept;
}

void exec_inc(struct vcpu *v, const struct insn *i)
{
	inc_dec(v, i, FLAGS_INC, do_add);
}

void exec_dec(struct vcpu *v, const struct insn *i)
{
	inc_dec(v, i, FLAGS_DEC, do_sub);
}

void exec_neg(struct vcpu *v, const struct insn *i)
{
	u64 a = op_modify(v, i, false, do_neg, NULL);

	flags_lazy(v, FLAGS_SUB, i->size, 0, sign_extend(a, i->size));
}

void exec_not(struct vcpu *v, const struct insn *i)
{
	op_modify(v, i, false, do_not, NULL);
}
