/* SPDX-License-Identifier: Apache-2.0 */
/* Fast handlers that move data: MOV, MOVZX, MOVSX, LEA, PUSH, POP, LEAVE, XCHG of registers, BSWAP, CBW's family. None touches flags. */
#include "engines/interp/fast.h"

BODY mov(struct vcpu *v, const struct insn *i, unsigned size, enum form form, enum addr addr)
{
	u8 *p;

	switch (form) {
	case FORM_RR: put(v, i->r[0], size, get(v, i->r[1], size)); break;
	case FORM_RI: put(v, i->r[0], size, i->imm); break;
	case FORM_RM:
		if (!tlb_read(v, ea_of(v, i, addr), size, &p))
			SLOW();
		put(v, i->r[0], size, mem_get(p, size));
		break;
	default:
		if (!tlb_write(v, ea_of(v, i, addr), size, &p))
			SLOW();
		mem_put(p, size, form == FORM_MR ? get(v, i->r[1], size) : i->imm);
	}
	NEXT();
}

#define MOV_NAME(size, form, addr) mov_##size##_##form##_##addr
#define MOV(size, form, addr)	   HANDLER(MOV_NAME(size, form, addr), mov(v, i, size, FORM_##form, ADDR_##addr))
#define MOV_MEM(size, form)	   MOV(size, form, B) MOV(size, form, X) MOV(size, form, S)
#define MOV_FORMS(size)		   MOV(size, RR, B) MOV(size, RI, B) MOV_MEM(size, RM) MOV_MEM(size, MR) MOV_MEM(size, MI)
MOV_FORMS(1)
MOV_FORMS(2)
MOV_FORMS(4)
MOV_FORMS(8)

#define MOV_ROW3(size, form) \
	[FORM_##form] = { MOV_NAME(size, form, B), MOV_NAME(size, form, X), MOV_NAME(size, form, S) }
#define MOV_ROW(size)                                                                                             \
	{                                                                                                         \
		[FORM_RR] = { MOV_NAME(size, RR, B) }, [FORM_RI] = { MOV_NAME(size, RI, B) }, MOV_ROW3(size, RM), \
		MOV_ROW3(size, MR), MOV_ROW3(size, MI)                                                            \
	}
static insn_run_fn *const mov_handlers[4][NR_FORM][NR_ADDR] = { MOV_ROW(1), MOV_ROW(2), MOV_ROW(4), MOV_ROW(8) };

/* MOVZX, MOVSX, MOVSXD: `from` bytes to `to` bytes. */
BODY extend_to(struct vcpu *v, const struct insn *i, bool sign, unsigned to, unsigned from, enum form form,
	       enum addr addr)
{
	u64 x;
	u8 *p;

	if (form == FORM_RM) {
		if (!tlb_read(v, ea_of(v, i, addr), from, &p))
			SLOW();
		x = mem_get(p, from);
	} else {
		x = get(v, i->r[1], from);
	}
	put(v, i->r[0], to, sign ? (u64)extend(x, from) : x);
	NEXT();
}

#define EXT_NAME(sign, to, from, form, addr) ext_##sign##_##to##_##from##_##form##_##addr
#define EXT(sign, to, from, form, addr) \
	HANDLER(EXT_NAME(sign, to, from, form, addr), extend_to(v, i, sign, to, from, FORM_##form, ADDR_##addr))
#define EXT_FORMS(sign, to, from) \
	EXT(sign, to, from, RR, B) EXT(sign, to, from, RM, B) EXT(sign, to, from, RM, X) EXT(sign, to, from, RM, S)
EXT_FORMS(0, 4, 1)
EXT_FORMS(0, 4, 2)
EXT_FORMS(0, 8, 1)
EXT_FORMS(0, 8, 2)
EXT_FORMS(1, 4, 1)
EXT_FORMS(1, 4, 2)
EXT_FORMS(1, 8, 1)
EXT_FORMS(1, 8, 2)
EXT_FORMS(1, 8, 4)

#define EXT_ROW(sign, to, from)                                                                                    \
	{                                                                                                          \
		EXT_NAME(sign, to, from, RM, B), EXT_NAME(sign, to, from, RM, X), EXT_NAME(sign, to, from, RM, S), \
			EXT_NAME(sign, to, from, RR, B)                                                            \
	}
static insn_run_fn *const ext_handlers[2][2][3][NR_ADDR + 1] = {
	/* sign, to 8, log2 from, address or register */
	{ { EXT_ROW(0, 4, 1), EXT_ROW(0, 4, 2) }, { EXT_ROW(0, 8, 1), EXT_ROW(0, 8, 2) } },
	{ { EXT_ROW(1, 4, 1), EXT_ROW(1, 4, 2) }, { EXT_ROW(1, 8, 1), EXT_ROW(1, 8, 2), EXT_ROW(1, 8, 4) } },
};

BODY lea(struct vcpu *v, const struct insn *i, unsigned size, enum addr addr)
{
	put(v, i->r[0], size, ea_of(v, i, addr));
	NEXT();
}
#define LEA(size, addr) HANDLER(lea_##size##_##addr, lea(v, i, size, ADDR_##addr))
LEA(4, B)
LEA(4, X)
LEA(8, B)
LEA(8, X)

FAST push_r(struct vcpu *v, const struct insn *i)
{
	u64 sp = v->r[RSP] - 8;
	u8 *p;
	if (!tlb_write(v, sp, 8, &p))
		SLOW();
	mem_put(p, 8, get(v, i->r[0], 8));
	v->r[RSP] = sp;
	NEXT();
}
FAST push_i(struct vcpu *v, const struct insn *i)
{
	u64 sp = v->r[RSP] - 8;
	u8 *p;
	if (!tlb_write(v, sp, 8, &p))
		SLOW();
	mem_put(p, 8, i->imm);
	v->r[RSP] = sp;
	NEXT();
}
BODY push_m(struct vcpu *v, const struct insn *i, enum addr addr)
{
	u64 sp = v->r[RSP] - 8;
	u8 *p, *from;
	if (!tlb_read(v, ea_of(v, i, addr), 8, &from) || !tlb_write(v, sp, 8, &p))
		SLOW();
	mem_put(p, 8, mem_get(from, 8));
	v->r[RSP] = sp;
	NEXT();
}
HANDLER(push_m_B, push_m(v, i, ADDR_B))
HANDLER(push_m_S, push_m(v, i, ADDR_S))
HANDLER(push_m_X, push_m(v, i, ADDR_X))
FAST pop_r(struct vcpu *v, const struct insn *i)
{
	u8 *p;
	if (!tlb_read(v, v->r[RSP], 8, &p))
		SLOW();
	u64 x = mem_get(p, 8);
	v->r[RSP] += 8;
	put(v, i->r[0], 8, x); /* POP RSP: the loaded value wins */
	NEXT();
}
FAST leave_64(struct vcpu *v, const struct insn *i)
{
	u64 bp = v->r[RBP];
	u8 *p;
	if (!tlb_read(v, bp, 8, &p))
		SLOW();
	v->r[RBP] = mem_get(p, 8);
	v->r[RSP] = bp + 8;
	NEXT();
}

BODY xchg_rr(struct vcpu *v, const struct insn *i, unsigned size)
{
	u64 a = get(v, i->r[0], size), b = get(v, i->r[1], size);
	put(v, i->r[0], size, b);
	put(v, i->r[1], size, a);
	NEXT();
}
HANDLER(xchg_4, xchg_rr(v, i, 4))
HANDLER(xchg_8, xchg_rr(v, i, 8))
FAST bswap_4(struct vcpu *v, const struct insn *i)
{
	put(v, i->r[0], 4, __builtin_bswap32((u32)get(v, i->r[0], 4)));
	NEXT();
}
FAST bswap_8(struct vcpu *v, const struct insn *i)
{
	put(v, i->r[0], 8, __builtin_bswap64(get(v, i->r[0], 8)));
	NEXT();
}
FAST cdqe(struct vcpu *v, const struct insn *i)
{
	v->r[RAX] = (u64)(s64)(s32)v->r[RAX];
	NEXT();
}
FAST cwde(struct vcpu *v, const struct insn *i)
{
	v->r[RAX] = (u32)(s16)v->r[RAX];
	NEXT();
}
FAST cdq(struct vcpu *v, const struct insn *i)
{
	v->r[RDX] = (u32)((s32)v->r[RAX] >> 31);
	NEXT();
}
FAST cqo(struct vcpu *v, const struct insn *i)
{
	v->r[RDX] = (u64)((s64)v->r[RAX] >> 63);
	NEXT();
}
HANDLER(nothing, NEXT())

static insn_run_fn *select_stack(const struct insn *i, enum addr addr)
{
	static insn_run_fn *const push_m_handlers[NR_ADDR] = { push_m_B, push_m_X, push_m_S };

	if (i->osize != 3)
		return NULL;
	switch (i->op) {
	case OP_PUSH:
		if (insn_kind(i, 0) == OPK_REG)
			return push_r;
		if (insn_kind(i, 0) == OPK_IMM)
			return push_i;
		return addr == NR_ADDR ? NULL : push_m_handlers[addr];
	case OP_POP: return insn_kind(i, 0) == OPK_REG ? pop_r : NULL;
	default: return leave_64;
	}
}

static insn_run_fn *select_extend(const struct insn *i, enum form form, enum addr addr)
{
	if (i->size < 4 || (form != FORM_RR && (form != FORM_RM || addr == NR_ADDR)))
		return NULL;
	return ext_handlers[i->op != OP_MOVZX][i->size == 8][size_log2(i->size2)][form == FORM_RR ? NR_ADDR : addr];
}

insn_run_fn *select_move(const struct insn *i)
{
	enum form form = form_of(i);
	enum addr addr = i->flags & INSN_MEM ? addr_of(i) : ADDR_B;

	switch (i->op) {
	case OP_MOV: return form == NR_FORM || addr == NR_ADDR ? NULL : mov_handlers[size_log2(i->size)][form][addr];
	case OP_MOVZX:
	case OP_MOVSX:
	case OP_MOVSXD: return select_extend(i, form, addr);
	case OP_LEA:
		if (i->size < 4 || i->asize != 3)
			return NULL;
		if (i->index == SLOT_ZERO)
			return i->size == 4 ? lea_4_B : lea_8_B;
		return i->size == 4 ? lea_4_X : lea_8_X;
	case OP_PUSH:
	case OP_POP:
	case OP_LEAVE: return select_stack(i, addr);
	case OP_XCHG: return form != FORM_RR || i->size < 4 ? NULL : i->size == 4 ? xchg_4 : xchg_8;
	case OP_BSWAP: return i->size == 4 ? bswap_4 : i->size == 8 ? bswap_8 : NULL;
	case OP_CDQE: return cdqe;
	case OP_CWDE: return cwde;
	case OP_CDQ: return cdq;
	case OP_CQO: return cqo;
	case OP_NOP:
	case OP_PREFETCHT0:
	case OP_PREFETCHT1:
	case OP_PREFETCHT2:
	case OP_PREFETCHNTA:
	case OP_PREFETCHW: return nothing;
	default: return NULL;
	}
}
