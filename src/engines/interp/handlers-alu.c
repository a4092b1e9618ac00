/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fast handlers of the two-operand arithmetic and logic instructions: one body, instantiated for every operation, operand
 * size, operand form, address form, and with or without flags.
 */
#include "engines/interp/fast.h"

/* ADC and SBB leave flags as the host's own instruction gives them. */
#define CARRY_ASM(insn, suffix, type)                                                      \
	({                                                                                 \
		type x_ = (type)a;                                                         \
		asm("addb $0xff, %b[c]\n\t" insn suffix " %[b], %[x]\n\tlahf\n\tseto %%al" \
		    : [x] "+r"(x_), [c] "+q"(c), "=&a"(*flags)                             \
		    : [b] "r"((type)b)                                                     \
		    : "cc");                                                               \
		(s64) x_;                                                                  \
	})
#define CARRY_SIZES(insn)                        \
	(size == 8   ? CARRY_ASM(insn, "q", s64) \
	 : size == 4 ? CARRY_ASM(insn, "l", s32) \
	 : size == 2 ? CARRY_ASM(insn, "w", s16) \
		     : CARRY_ASM(insn, "b", s8))

static inline __attribute__((always_inline)) s64 with_carry(enum alu op, unsigned size, s64 a, s64 b, u8 c, u64 *flags)
{
	return op == ALU_ADC ? CARRY_SIZES("adc") : CARRY_SIZES("sbb");
}

static inline __attribute__((always_inline)) s64 alu_result(struct vcpu *v, enum alu op, unsigned size, s64 a, s64 b,
							    bool live)
{
	s64 r;
	switch (op) {
	case ALU_ADD:
		if (live)
			flags_lazy(v, FLAGS_ADD, size, a, b);
		return (s64)((u64)a + (u64)b);
	case ALU_SUB:
	case ALU_CMP:
		if (live)
			flags_lazy(v, FLAGS_SUB, size, a, b);
		return (s64)((u64)a - (u64)b);
	case ALU_ADC:
	case ALU_SBB: {
		u8 c = carry(v);
		if (!live)
			return op == ALU_ADC ? (s64)((u64)a + (u64)b + c) : (s64)((u64)a - (u64)b - c);
		u64 f = 0;
		r = with_carry(op, size, a, b, c, &f);
		flags_lazy(v, FLAGS_LAHF, size, (s64)f, 0);
		return r;
	}
	case ALU_OR: r = a | b; break;
	case ALU_XOR: r = a ^ b; break;
	default: r = a & b;
	}
	if (live) /* operands are sign-extended, and so is the result of a bitwise operation on them */
		flags_logic(v, size, r);
	return r;
}

BODY alu(struct vcpu *v, const struct insn *i, enum alu op, unsigned size, bool live, enum form form, enum addr addr)
{
	bool writes = op != ALU_CMP && op != ALU_TEST;
	u8 *p = NULL;
	s64 a, b;

	if (form >= FORM_RM) {
		u64 ea = ea_of(v, i, addr);
		bool hit = form != FORM_RM && writes ? tlb_write(v, ea, size, &p) : tlb_read(v, ea, size, &p);
		if (unlikely(!hit))
			SLOW();
	}
	a = form <= FORM_RM ? get_signed(v, i->r[0], size) : extend(mem_get(p, size), size);
	b = form == FORM_RR || form == FORM_MR	 ? get_signed(v, i->r[1], size)
	    : form == FORM_RI || form == FORM_MI ? extend(i->imm, size)
						 : extend(mem_get(p, size), size);
	s64 r = alu_result(v, op, size, a, b, live);
	if (writes && form <= FORM_RM)
		put(v, i->r[0], size, (u64)r);
	else if (writes)
		mem_put(p, size, (u64)r);
	NEXT();
}

#define NAME(op, size, live, form, addr) alu_##op##_##size##_##live##_##form##_##addr
#define DEFINE(op, size, live, form, addr) \
	HANDLER(NAME(op, size, live, form, addr), alu(v, i, ALU_##op, size, live, FORM_##form, ADDR_##addr))
#define DEFINE_FORMS(op, size, live)  \
	DEFINE(op, size, live, RR, B) \
	DEFINE(op, size, live, RI, B) \
	DEFINE(op, size, live, RM, B) \
	DEFINE(op, size, live, RM, X) \
	DEFINE(op, size, live, RM, S) \
	DEFINE(op, size, live, MR, B) \
	DEFINE(op, size, live, MR, X) \
	DEFINE(op, size, live, MR, S) \
	DEFINE(op, size, live, MI, B) DEFINE(op, size, live, MI, X) DEFINE(op, size, live, MI, S)
#define DEFINE_SIZES(op, live) \
	DEFINE_FORMS(op, 1, live) DEFINE_FORMS(op, 2, live) DEFINE_FORMS(op, 4, live) DEFINE_FORMS(op, 8, live)

DEFINE_SIZES(ADD, 0)
DEFINE_SIZES(ADD, 1)
DEFINE_SIZES(SUB, 0)
DEFINE_SIZES(SUB, 1)
DEFINE_SIZES(AND, 0)
DEFINE_SIZES(AND, 1)
DEFINE_SIZES(OR, 0)
DEFINE_SIZES(OR, 1)
DEFINE_SIZES(XOR, 0)
DEFINE_SIZES(XOR, 1)
DEFINE_SIZES(ADC, 0)
DEFINE_SIZES(ADC, 1)
DEFINE_SIZES(SBB, 0)
DEFINE_SIZES(SBB, 1)
DEFINE_SIZES(CMP, 1)
DEFINE_SIZES(TEST, 1)

#define ROW3(op, size, live, form) \
	[FORM_##form] = { NAME(op, size, live, form, B), NAME(op, size, live, form, X), NAME(op, size, live, form, S) }
#define ROW_FORMS(op, size, live)                                                                         \
	{                                                                                                 \
		[FORM_RR] = { NAME(op, size, live, RR, B) }, [FORM_RI] = { NAME(op, size, live, RI, B) }, \
		ROW3(op, size, live, RM), ROW3(op, size, live, MR), ROW3(op, size, live, MI)              \
	}
#define ROW_SIZE(op, size, dead)                                  \
	{                                                         \
		ROW_FORMS(op, size, dead), ROW_FORMS(op, size, 1) \
	}
#define ROW(op, dead) \
	[ALU_##op] = { ROW_SIZE(op, 1, dead), ROW_SIZE(op, 2, dead), ROW_SIZE(op, 4, dead), ROW_SIZE(op, 8, dead) }

insn_run_fn *const alu_handlers[NR_ALU][4][2][NR_FORM][NR_ADDR] = {
	ROW(ADD, 0), ROW(SUB, 0), ROW(AND, 0), ROW(OR, 0),   ROW(XOR, 0),
	ROW(ADC, 0), ROW(SBB, 0), ROW(CMP, 1), ROW(TEST, 1),
};

static enum alu alu_of(unsigned op)
{
	switch (op) {
	case OP_ADD: return ALU_ADD;
	case OP_SUB: return ALU_SUB;
	case OP_AND: return ALU_AND;
	case OP_OR: return ALU_OR;
	case OP_XOR: return ALU_XOR;
	case OP_ADC: return ALU_ADC;
	case OP_SBB: return ALU_SBB;
	case OP_CMP: return ALU_CMP;
	case OP_TEST: return ALU_TEST;
	default: return NR_ALU;
	}
}

insn_run_fn *select_alu(const struct insn *i, bool flags_live)
{
	enum alu op = alu_of(i->op);
	enum form form = form_of(i);

	if (op == NR_ALU || form == NR_FORM || (i->flags & INSN_LOCK))
		return NULL;
	enum addr addr = form >= FORM_RM ? addr_of(i) : ADDR_B;
	return addr == NR_ADDR ? NULL : alu_handlers[op][size_log2(i->size)][flags_live][form][addr];
}
