/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multiplication and division. The double-width operand is AX for bytes, else rDX:rAX. The manuals leave SF, ZF, AF and PF
 * undefined after a multiplication, and all flags after a division; they are the host's.
 */
#include "emulate/hostflags.h"
#include "emulate/operand.h"

static void write_wide(struct vcpu *v, unsigned size, u128 x)
{
	if (size == 1) {
		reg_write(v, SLOT(RAX), 2, (u64)x);
		return;
	}
	reg_write(v, SLOT(RAX), size, (u64)x);
	reg_write(v, SLOT(RDX), size, (u64)(x >> (8 * size)));
}

/* Quotient to AL or rAX, remainder to AH or rDX. */
static void write_quotient(struct vcpu *v, unsigned size, u64 q, u64 r)
{
	reg_write(v, SLOT(RAX), size, q);
	reg_write(v, size == 1 ? SLOT(RAX) + 1 : SLOT(RDX), size, r);
}

static u128 read_wide(const struct vcpu *v, unsigned size)
{
	if (size == 1)
		return (u16)v->r[RAX];
	return (u128)reg_read(v, SLOT(RDX), size) << (8 * size) | reg_read(v, SLOT(RAX), size);
}

static void set_cf_of(struct vcpu *v, u32 open, bool on)
{
	flags_set(v, (open & ~(FL_CF | FL_OF)) | (on ? FL_CF | FL_OF : 0));
}

/* The flags of the one-operand form, before it writes anything. */
static u32 wide_flags(const struct vcpu *v, const struct insn *i, u64 by)
{
	return host_flags_wide(v, i->op, i->size, v->r[RAX], v->r[RDX], by);
}

void exec_mul(struct vcpu *v, const struct insn *i)
{
	u64 b = op_read(v, i, 0);
	u128 p = (u128)reg_read(v, SLOT(RAX), i->size) * b;

	u32 open = wide_flags(v, i, b);
	write_wide(v, i->size, p);
	set_cf_of(v, open, p >> (8 * i->size) != 0);
}

/* One, two or three operands; CF and OF say that the product does not fit into one. */
void exec_imul(struct vcpu *v, const struct insn *i)
{
	bool wide = insn_kind(i, 1) == OPK_NONE;
	bool three = insn_kind(i, 2) != OPK_NONE;
	s64 b = op_read_signed(v, i, wide ? 0 : 1);
	s64 a = three ? op_read_signed(v, i, 2) : wide ? sign_extend(v->r[RAX], i->size) : op_read_signed(v, i, 0);
	s128 p = (s128)a * b;
	u32 open = wide ? wide_flags(v, i, (u64)b) : host_flags(v, i->op, i->size, (u64)a, (u64)b, 0);

	if (wide)
		write_wide(v, i->size, (u128)p);
	else
		op_write(v, i, 0, (u64)p);
	set_cf_of(v, open, p != sign_extend((u64)p, i->size));
}

/* MULX high, low, src: rDX times src, no flags; high wins when both are one register. */
void exec_mulx(struct vcpu *v, const struct insn *i)
{
	u128 p = (u128)reg_read(v, SLOT(RDX), i->size) * op_read(v, i, 2);

	reg_write(v, i->r[1], i->size, (u64)p);
	reg_write(v, i->r[0], i->size, (u64)(p >> (8 * i->size)));
}

void exec_div(struct vcpu *v, const struct insn *i)
{
	u64 d = op_read(v, i, 0);
	u128 n = read_wide(v, i->size);

	if (d == 0 || (u64)(n >> (8 * i->size)) >= d)
		vcpu_raise(v, EXC_DE);
	u32 open = wide_flags(v, i, d);
	if (i->size < 8)
		write_quotient(v, i->size, (u64)n / d, (u64)n % d);
	else
		write_quotient(v, i->size, (u64)(n / d), (u64)(n % d));
	flags_set(v, open);
}

/* On magnitudes, so that no signed overflow can happen on the host. The remainder has the dividend's sign. */
void exec_idiv(struct vcpu *v, const struct insn *i)
{
	unsigned bits = 8 * i->size;
	s64 d = op_read_signed(v, i, 0);
	u128 n = read_wide(v, i->size) << (128 - 2 * bits);
	bool negative = (s128)n < 0;
	u128 mag = (negative ? -n : n) >> (128 - 2 * bits);
	u64 dm = d < 0 ? -(u64)d : (u64)d;

	if (dm == 0)
		vcpu_raise(v, EXC_DE);
	u128 q = mag / dm;
	u64 r = (u64)(mag % dm);
	bool minus = negative != (d < 0);
	if (q > ((u128)1 << (bits - 1)) - !minus)
		vcpu_raise(v, EXC_DE);
	u32 open = wide_flags(v, i, (u64)d);
	write_quotient(v, i->size, minus ? -(u64)q : (u64)q, negative ? -r : r);
	flags_set(v, open);
}
