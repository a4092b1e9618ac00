/* SPDX-License-Identifier: Apache-2.0 */
/* Fast handlers of INC, DEC, NEG and NOT. */
#include "engines/interp/fast.h"

enum unary { UNARY_INC, UNARY_DEC, UNARY_NEG, UNARY_NOT };

static inline __attribute__((always_inline)) u64 unary_result(struct vcpu *v, enum unary op, unsigned size, s64 a,
							      bool live)
{
	switch (op) {
	case UNARY_INC:
	case UNARY_DEC:
		if (live) {
			u64 kept = carry(v) ? FLAGS_KEPT_CF : 0;
			flags_lazy(v, op == UNARY_INC ? FLAGS_INC : FLAGS_DEC, size, a, 1);
			v->lazy.kind |= kept;
		}
		return (u64)a + (op == UNARY_INC ? 1 : -1ull);
	case UNARY_NEG:
		if (live)
			flags_lazy(v, FLAGS_SUB, size, 0, a);
		return -(u64)a;
	default: return ~(u64)a;
	}
}

BODY unary(struct vcpu *v, const struct insn *i, enum unary op, unsigned size, bool live, bool mem, enum addr addr)
{
	u8 *p = NULL;

	if (mem && !tlb_write(v, ea_of(v, i, addr), size, &p))
		SLOW();
	u64 r = unary_result(v, op, size, mem ? extend(mem_get(p, size), size) : get_signed(v, i->r[0], size), live);
	if (mem)
		mem_put(p, size, r);
	else
		put(v, i->r[0], size, r);
	NEXT();
}

#define UNARY_NAME(op, size, live, where) un_##op##_##size##_##live##_##where
#define UNARY(op, size, live, where, mem, addr) \
	HANDLER(UNARY_NAME(op, size, live, where), unary(v, i, UNARY_##op, size, live, mem, addr))
#define UNARY_WHERE(op, size, live)             \
	UNARY(op, size, live, R, false, ADDR_B) \
	UNARY(op, size, live, B, true, ADDR_B) UNARY(op, size, live, S, true, ADDR_S)
#define UNARY_SIZES(op, live) \
	UNARY_WHERE(op, 1, live) UNARY_WHERE(op, 2, live) UNARY_WHERE(op, 4, live) UNARY_WHERE(op, 8, live)
UNARY_SIZES(INC, 0)
UNARY_SIZES(INC, 1)
UNARY_SIZES(DEC, 0)
UNARY_SIZES(DEC, 1)
UNARY_SIZES(NEG, 0)
UNARY_SIZES(NEG, 1)
UNARY_SIZES(NOT, 0)

#define UNARY_ROW(op, size, live)                                                                           \
	{                                                                                                   \
		UNARY_NAME(op, size, live, R), UNARY_NAME(op, size, live, B), UNARY_NAME(op, size, live, S) \
	}
#define UNARY_ROWS(op, live)                                                                                   \
	{                                                                                                      \
		UNARY_ROW(op, 1, live), UNARY_ROW(op, 2, live), UNARY_ROW(op, 4, live), UNARY_ROW(op, 8, live) \
	}
static insn_run_fn *const unary_handlers[4][2][4][3] = {
	/* op, flags wanted, size, register or address form */
	[UNARY_INC] = { UNARY_ROWS(INC, 0), UNARY_ROWS(INC, 1) },
	[UNARY_DEC] = { UNARY_ROWS(DEC, 0), UNARY_ROWS(DEC, 1) },
	[UNARY_NEG] = { UNARY_ROWS(NEG, 0), UNARY_ROWS(NEG, 1) },
	[UNARY_NOT] = { UNARY_ROWS(NOT, 0), UNARY_ROWS(NOT, 0) },
};

static insn_run_fn *select_incdec(const struct insn *i, enum unary op, bool live)
{
	unsigned where = 0;

	if (i->flags & INSN_LOCK)
		return NULL;
	if (insn_kind(i, 0) == OPK_MEM) {
		enum addr addr = addr_of(i);
		if (addr == NR_ADDR)
			return NULL;
		where = addr == ADDR_B ? 1 : 2;
	}
	if (where == 2 && i->seg < SEG_FS)
		return NULL;
	return unary_handlers[op][live][size_log2(i->size)][where];
}

insn_run_fn *select_unary(const struct insn *i, bool live)
{
	switch (i->op) {
	case OP_INC: return select_incdec(i, UNARY_INC, live);
	case OP_DEC: return select_incdec(i, UNARY_DEC, live);
	case OP_NEG: return select_incdec(i, UNARY_NEG, live);
	case OP_NOT: return select_incdec(i, UNARY_NOT, live);
	default: return NULL;
	}
}
