/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fast handlers of near branches in 64-bit code, of SETcc and CMOVcc, and of CMP or TEST fused with the Jcc behind it. A fused
 * handler does both instructions in one step; the Jcc's own record stays, so a jump may still enter between them.
 */
#include "engines/interp/fast.h"

/* ---- conditions ---- */

/* DEC is a SUB of one that keeps CF: the same for conditions that do not look at CF. */
static inline __attribute__((always_inline)) bool lazy_is_compare(const struct vcpu *v, unsigned cc)
{
	u8 kind = (u8)v->lazy.kind;

	if (!cc_is_compare(cc))
		return false;
	return likely(kind == FLAGS_SUB) || (cc >> 1 != 1 && cc >> 1 != 3 && kind == FLAGS_DEC);
}

/* No calls: handlers must not need a frame. */
static inline __attribute__((always_inline, flatten)) bool condition(const struct vcpu *v, unsigned cc)
{
	if (lazy_is_compare(v, cc))
		return compare_condition(v->lazy.a, v->lazy.b, (u8)(v->lazy.kind >> 8), cc);
	return flags_condition(v, cc);
}

BODY jcc(struct vcpu *v, const struct insn *i, unsigned cc, insn_run_fn *any)
{
	if (likely(lazy_is_compare(v, cc))) {
		if (compare_condition(v->lazy.a, v->lazy.b, (u8)(v->lazy.kind >> 8), cc))
			return branch_to_target(v, i);
		NEXT();
	}
	return any(v, i);
}
BODY jcc_any(struct vcpu *v, const struct insn *i, unsigned cc)
{
	if (flags_condition(v, cc))
		return branch_to_target(v, i);
	NEXT();
}

BODY setcc(struct vcpu *v, const struct insn *i, unsigned cc)
{
	put(v, i->r[0], 1, condition(v, cc));
	NEXT();
}

/* The choice is a data dependency, not a host branch: guests use CMOVcc where branches predict badly. */
BODY cmovcc(struct vcpu *v, const struct insn *i, unsigned cc, unsigned size, bool mem)
{
	u8 *p = NULL;

	if (mem && !tlb_read(v, ea_of(v, i, ADDR_X), size, &p))
		SLOW();
	u64 from = mem ? mem_get(p, size) : get(v, i->r[1], size);
	u64 old = get(v, i->r[0], size);
	u64 mask = 0 - (u64)condition(v, cc);
	asm("" : "+r"(mask));
	put(v, i->r[0], size, old ^ ((old ^ from) & mask));
	NEXT();
}

#define EACH_CC(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define CC_HANDLER(name, cc, call)                                                      \
	static __attribute__((flatten)) void name(struct vcpu *v, const struct insn *i) \
	{                                                                               \
		call;                                                                   \
	}
#define DEFINE_CC(cc)                                             \
	CC_HANDLER(jcc_any_##cc, cc, jcc_any(v, i, cc))           \
	CC_HANDLER(setcc_##cc, cc, setcc(v, i, cc))               \
	CC_HANDLER(cmovcc_4_##cc, cc, cmovcc(v, i, cc, 4, false)) \
	CC_HANDLER(cmovcc_8_##cc, cc, cmovcc(v, i, cc, 8, false)) \
	CC_HANDLER(cmovcc_m4_##cc, cc, cmovcc(v, i, cc, 4, true)) \
	CC_HANDLER(cmovcc_m8_##cc, cc, cmovcc(v, i, cc, 8, true)) \
	HANDLER(jcc_##cc, jcc(v, i, cc, jcc_any_##cc))
EACH_CC(DEFINE_CC)
#define JCC_ENTRY(cc)	 jcc_##cc,
#define SETCC_ENTRY(cc)	 setcc_##cc,
#define CMOVCC_ENTRY(cc) { { cmovcc_4_##cc, cmovcc_8_##cc }, { cmovcc_m4_##cc, cmovcc_m8_##cc } },
static insn_run_fn *const jcc_handlers[16] = { EACH_CC(JCC_ENTRY) };
static insn_run_fn *const setcc_handlers[16] = { EACH_CC(SETCC_ENTRY) };
static insn_run_fn *const cmovcc_handlers[16][2][2] = { EACH_CC(CMOVCC_ENTRY) }; /* memory, 8 bytes */

/* ---- fused compare and branch ---- */

enum fused { FUSED_CMP, FUSED_TEST };

BODY fused(struct vcpu *v, const struct insn *i, enum fused op, unsigned size, enum form form, unsigned cc)
{
	u8 *p = NULL;
	s64 a, b;

	if (form >= FORM_RM && !tlb_read(v, ea_of(v, i, ADDR_B), size, &p))
		SLOW();
	a = form <= FORM_RM ? get_signed(v, i->r[0], size) : extend(mem_get(p, size), size);
	b = form == FORM_RR || form == FORM_MR	 ? get_signed(v, i->r[1], size)
	    : form == FORM_RI || form == FORM_MI ? extend(i->imm, size)
						 : extend(mem_get(p, size), size);
	if (op == FUSED_TEST) {
		a &= b;
		b = 0;
	}
	flags_lazy(v, FLAGS_SUB, size, a, b);
	if (compare_condition(a, b, 64 - 8 * size, cc))
		return branch_to_target(v, i + 1);
	SKIP(2);
}

#define FUSED_NAME(op, size, form, cc) fused_##op##_##size##_##form##_##cc
#define FUSED(op, size, form, cc) \
	HANDLER(FUSED_NAME(op, size, form, cc), fused(v, i, FUSED_##op, size, FORM_##form, cc))
#define EACH_FUSED_CC(X, op, size, form) \
	X(op, size, form, 2)             \
	X(op, size, form, 3)             \
	X(op, size, form, 4)             \
	X(op, size, form, 5)             \
	X(op, size, form, 6)             \
	X(op, size, form, 7)             \
	X(op, size, form, 8)             \
	X(op, size, form, 9) X(op, size, form, 12) X(op, size, form, 13) X(op, size, form, 14) X(op, size, form, 15)
#define FUSED_FORMS(op, size)              \
	EACH_FUSED_CC(FUSED, op, size, RR) \
	EACH_FUSED_CC(FUSED, op, size, RI) \
	EACH_FUSED_CC(FUSED, op, size, RM) EACH_FUSED_CC(FUSED, op, size, MR) EACH_FUSED_CC(FUSED, op, size, MI)
FUSED_FORMS(CMP, 1)
FUSED_FORMS(CMP, 4)
FUSED_FORMS(CMP, 8)
FUSED_FORMS(TEST, 1)
FUSED_FORMS(TEST, 4)
FUSED_FORMS(TEST, 8)

#define FUSED_ENTRY(op, size, form, cc) [cc] = FUSED_NAME(op, size, form, cc),
#define FUSED_CCS(op, size, form)	[FORM_##form] = { EACH_FUSED_CC(FUSED_ENTRY, op, size, form) }
#define FUSED_ROW(op, size)                                                                                         \
	{                                                                                                           \
		FUSED_CCS(op, size, RR), FUSED_CCS(op, size, RI), FUSED_CCS(op, size, RM), FUSED_CCS(op, size, MR), \
			FUSED_CCS(op, size, MI)                                                                     \
	}
static insn_run_fn *const fused_handlers[2][4][NR_FORM][16] = {
	[FUSED_CMP] = { [0] = FUSED_ROW(CMP, 1), [2] = FUSED_ROW(CMP, 4), [3] = FUSED_ROW(CMP, 8) },
	[FUSED_TEST] = { [0] = FUSED_ROW(TEST, 1), [2] = FUSED_ROW(TEST, 4), [3] = FUSED_ROW(TEST, 8) },
};

insn_run_fn *select_fused(const struct insn *i, const struct insn *next)
{
	enum form form = form_of(i);

	if ((i->op != OP_CMP && i->op != OP_TEST) || !insn_is_jcc(next) || form == NR_FORM)
		return NULL;
	if (form >= FORM_RM && addr_of(i) != ADDR_B)
		return NULL;
	return fused_handlers[i->op == OP_CMP ? FUSED_CMP : FUSED_TEST][size_log2(i->size)][form][next->op - OP_JO];
}

/* ---- unconditional ---- */

HANDLER(jmp_direct, branch_to_target(v, i))

FAST jmp_r(struct vcpu *v, const struct insn *i)
{
	u64 rip = get(v, i->r[0], 8);
	if (unlikely(!is_canonical(rip)))
		SLOW_END();
	return run_jump(v, i, rip);
}
BODY jmp_m(struct vcpu *v, const struct insn *i, enum addr addr)
{
	u8 *p;
	if (!tlb_read(v, ea_of(v, i, addr), 8, &p))
		SLOW_END();
	u64 rip = mem_get(p, 8);
	if (unlikely(!is_canonical(rip)))
		SLOW_END();
	return run_jump(v, i, rip);
}
HANDLER(jmp_m_B, jmp_m(v, i, ADDR_B))
HANDLER(jmp_m_X, jmp_m(v, i, ADDR_X))

/* Pushes the return address; false: nothing was done. */
static inline __attribute__((always_inline)) bool push_return(struct vcpu *v, const struct insn *i)
{
	u64 sp = v->r[RSP] - 8;
	u8 *p;
	if (!tlb_write(v, sp, 8, &p))
		return false;
	mem_put(p, 8, v->r[17] + i->off + i->len);
	v->r[RSP] = sp;
	return true;
}
FAST call_direct(struct vcpu *v, const struct insn *i)
{
	if (unlikely(!push_return(v, i)))
		SLOW_END();
	return branch_to_target(v, i);
}
FAST call_r(struct vcpu *v, const struct insn *i)
{
	u64 rip = get(v, i->r[0], 8);
	if (unlikely(!is_canonical(rip) || !push_return(v, i)))
		SLOW_END();
	return run_jump(v, i, rip);
}
BODY call_m(struct vcpu *v, const struct insn *i, enum addr addr)
{
	u8 *p;
	if (!tlb_read(v, ea_of(v, i, addr), 8, &p))
		SLOW_END();
	u64 rip = mem_get(p, 8);
	if (unlikely(!is_canonical(rip) || !push_return(v, i)))
		SLOW_END();
	return run_jump(v, i, rip);
}
HANDLER(call_m_B, call_m(v, i, ADDR_B))
HANDLER(call_m_X, call_m(v, i, ADDR_X))
FAST ret_64(struct vcpu *v, const struct insn *i)
{
	u8 *p;
	if (!tlb_read(v, v->r[RSP], 8, &p))
		SLOW_END();
	u64 rip = mem_get(p, 8);
	if (unlikely(!is_canonical(rip)))
		SLOW_END();
	v->r[RSP] += 8;
	return run_jump(v, i, rip);
}

static insn_run_fn *select_jump(const struct insn *i, insn_run_fn *direct, insn_run_fn *reg, insn_run_fn *mem,
				insn_run_fn *mem_x)
{
	if (i->osize != 3)
		return NULL;
	switch (insn_kind(i, 0)) {
	case OPK_IMM: return direct;
	case OPK_REG: return reg;
	default: return addr_of(i) == ADDR_B ? mem : addr_of(i) == ADDR_X ? mem_x : NULL;
	}
}

static insn_run_fn *select_cmov(const struct insn *i)
{
	bool mem = insn_kind(i, 1) == OPK_MEM;

	if (i->size < 4 || (mem && addr_of(i) >= ADDR_S))
		return NULL;
	return cmovcc_handlers[i->op - OP_CMOVO][mem][i->size == 8];
}

insn_run_fn *select_branch(const struct insn *i)
{
	if (insn_is_jcc(i))
		return i->osize == 3 ? jcc_handlers[i->op - OP_JO] : NULL;
	if ((unsigned)(i->op - OP_CMOVO) < 16)
		return select_cmov(i);
	if ((unsigned)(i->op - OP_SETO) < 16)
		return insn_kind(i, 0) == OPK_REG ? setcc_handlers[i->op - OP_SETO] : NULL;
	switch (i->op) {
	case OP_JMP: return select_jump(i, jmp_direct, jmp_r, jmp_m_B, jmp_m_X);
	case OP_CALL: return select_jump(i, call_direct, call_r, call_m_B, call_m_X);
	case OP_RET: return i->osize == 3 && insn_kind(i, 0) == OPK_NONE ? ret_64 : NULL;
	default: return NULL;
	}
}
