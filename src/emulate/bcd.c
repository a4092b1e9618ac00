/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal adjustments (SDM vol. 2). Flags that it leaves undefined: SF, ZF and PF are of the result in AL, OF, AF and CF zero. */
#include "emulate/operand.h"

static void result_flags(struct vcpu *v, u32 more)
{
	flags_set(v, flags_of_result(v->r[RAX], 1) | more);
}

static void set_al(struct vcpu *v, unsigned al)
{
	reg_write(v, SLOT(RAX), 1, al);
}

static bool low_digit_high(unsigned al, u32 flags)
{
	return (al & 15) > 9 || (flags & FL_AF);
}

void exec_daa(struct vcpu *v, const struct insn *i)
{
	u32 f = flags_get(v), out = 0;
	unsigned al = (u8)v->r[RAX], r = al;

	if (low_digit_high(al, f)) {
		r += 6;
		out |= FL_AF;
	}
	if (al > 0x99 || (f & FL_CF)) {
		r += 0x60;
		out |= FL_CF;
	}
	set_al(v, r);
	result_flags(v, out);
}

void exec_das(struct vcpu *v, const struct insn *i)
{
	u32 f = flags_get(v), out = 0;
	unsigned al = (u8)v->r[RAX], r = al;

	if (low_digit_high(al, f)) {
		out |= FL_AF | (al < 6 ? FL_CF : 0);
		r -= 6;
	}
	if (al > 0x99 || (f & FL_CF)) {
		out |= FL_CF;
		r -= 0x60;
	}
	set_al(v, r);
	result_flags(v, out);
}

static void adjust_ascii(struct vcpu *v, unsigned delta)
{
	unsigned ax = (u16)v->r[RAX];
	bool adjust = low_digit_high(ax, flags_get(v));

	if (adjust)
		ax += delta;
	reg_write(v, SLOT(RAX), 2, ax & 0xff0f);
	result_flags(v, adjust ? FL_AF | FL_CF : 0);
}

void exec_aaa(struct vcpu *v, const struct insn *i)
{
	adjust_ascii(v, 0x106);
}

void exec_aas(struct vcpu *v, const struct insn *i)
{
	adjust_ascii(v, -0x106u);
}

void exec_aam(struct vcpu *v, const struct insn *i)
{
	unsigned base = (u8)i->imm, al = (u8)v->r[RAX];

	if (base == 0)
		vcpu_raise(v, EXC_DE);
	reg_write(v, SLOT(RAX), 2, al / base << 8 | al % base);
	result_flags(v, 0);
}

void exec_aad(struct vcpu *v, const struct insn *i)
{
	unsigned ax = (u16)v->r[RAX];

	reg_write(v, SLOT(RAX), 2, (u8)(ax + (ax >> 8) * (u8)i->imm));
	result_flags(v, 0);
}
