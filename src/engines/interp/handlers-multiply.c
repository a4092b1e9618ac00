/* SPDX-License-Identifier: Apache-2.0 */
/* Fast handlers of multiplication, division, and the carry chains of big numbers (MULX, ADCX, ADOX). */
#include "engines/interp/fast.h"

/* CF and OF say that the product did not fit; the others are undefined: they come out as of a compare that has CF and OF alike. */
static inline __attribute__((always_inline)) void product_flags(struct vcpu *v, bool over)
{
	flags_lazy(v, FLAGS_LAHF, 8, over ? 0x101 : 0, 0);
}

BODY imul(struct vcpu *v, const struct insn *i, unsigned size, bool three, bool mem, enum addr addr, bool live)
{
	u8 *p = NULL;
	s64 a, b, r;

	if (mem && !tlb_read(v, ea_of(v, i, addr), size, &p))
		SLOW();
	s64 x = mem ? extend(mem_get(p, size), size) : get_signed(v, i->r[1], size);
	a = three ? (s64)i->imm : get_signed(v, i->r[0], size);
	b = x;
	bool over = size == 8 ? __builtin_mul_overflow(a, b, &r) : (r = (s64)((u64)a * (u64)b), r != (s32)r);
	put(v, i->r[0], size, (u64)r);
	if (live)
		product_flags(v, over);
	NEXT();
}
#define IMUL(size, three, where, mem, addr, live) \
	HANDLER(imul_##size##_##three##_##where##_##live, imul(v, i, size, three, mem, addr, live))
#define IMUL_WHERE(size, three, live)             \
	IMUL(size, three, R, false, ADDR_B, live) \
	IMUL(size, three, B, true, ADDR_B, live) IMUL(size, three, X, true, ADDR_X, live)
IMUL_WHERE(4, 0, 0)
IMUL_WHERE(4, 0, 1)
IMUL_WHERE(4, 1, 0)
IMUL_WHERE(4, 1, 1)
IMUL_WHERE(8, 0, 0)
IMUL_WHERE(8, 0, 1)
IMUL_WHERE(8, 1, 0)
IMUL_WHERE(8, 1, 1)
#define IMUL_ROW(size, three, live)                                                                                  \
	{                                                                                                            \
		imul_##size##_##three##_R_##live, imul_##size##_##three##_B_##live, imul_##size##_##three##_X_##live \
	}
static insn_run_fn *const imul_handlers[2][2][2][3] = {
	/* 8 bytes, three operands, flags wanted, where */
	{ { IMUL_ROW(4, 0, 0), IMUL_ROW(4, 0, 1) }, { IMUL_ROW(4, 1, 0), IMUL_ROW(4, 1, 1) } },
	{ { IMUL_ROW(8, 0, 0), IMUL_ROW(8, 0, 1) }, { IMUL_ROW(8, 1, 0), IMUL_ROW(8, 1, 1) } },
};

static insn_run_fn *select_imul(const struct insn *i, bool live)
{
	unsigned where = 0;

	if (i->size < 4 || insn_kind(i, 1) == OPK_NONE || insn_kind(i, 0) != OPK_REG)
		return NULL;
	if (insn_kind(i, 1) == OPK_MEM) {
		enum addr addr = addr_of(i);
		if (addr >= ADDR_S)
			return NULL;
		where = 1 + addr;
	}
	return imul_handlers[i->size == 8][insn_kind(i, 2) == OPK_IMM][live][where];
}

FAST mul_4(struct vcpu *v, const struct insn *i)
{
	u64 r = (u64)(u32)v->r[RAX] * (u32)get(v, i->r[0], 4);
	v->r[RAX] = (u32)r;
	v->r[RDX] = r >> 32;
	product_flags(v, r >> 32);
	NEXT();
}
FAST mul_8(struct vcpu *v, const struct insn *i)
{
	u128 r = (u128)v->r[RAX] * get(v, i->r[0], 8);
	v->r[RAX] = (u64)r;
	v->r[RDX] = (u64)(r >> 64);
	product_flags(v, r >> 64);
	NEXT();
}
BODY mulx(struct vcpu *v, const struct insn *i, bool mem)
{
	u8 *p = NULL;

	if (mem && !tlb_read(v, ea_of(v, i, ADDR_X), 8, &p))
		SLOW();
	u128 r = (u128)v->r[RDX] * (mem ? mem_get(p, 8) : get(v, i->r[2], 8));
	put(v, i->r[1], 8, (u64)r);
	put(v, i->r[0], 8, (u64)(r >> 64));
	NEXT();
}
HANDLER(mulx_r, mulx(v, i, false))
HANDLER(mulx_m, mulx(v, i, true))
FAST div_4(struct vcpu *v, const struct insn *i)
{
	u32 d = (u32)get(v, i->r[0], 4);
	u64 n = v->r[RDX] << 32 | (u32)v->r[RAX];
	if (unlikely((u32)v->r[RDX] >= d))
		SLOW();
	v->r[RAX] = (u32)(n / d);
	v->r[RDX] = (u32)(n % d);
	NEXT();
}
FAST div_8(struct vcpu *v, const struct insn *i)
{
	u64 d = get(v, i->r[0], 8), q, r;
	if (unlikely(v->r[RDX] >= d))
		SLOW();
	asm("divq %4" : "=a"(q), "=d"(r) : "a"(v->r[RAX]), "d"(v->r[RDX]), "r"(d) : "cc");
	v->r[RAX] = q;
	v->r[RDX] = r;
	NEXT();
}

/* ADCX adds with CF, ADOX with OF, each leaving the other alone, so that two chains run side by side. */
BODY add_chain(struct vcpu *v, const struct insn *i, s64 flag, bool mem)
{
	u8 *p = NULL;
	u64 r;

	if (mem && !tlb_read(v, ea_of(v, i, ADDR_X), 8, &p))
		SLOW();
	s64 f = lahf_form(v);
	bool carry = __builtin_add_overflow(get(v, i->r[0], 8), mem ? mem_get(p, 8) : get(v, i->r[1], 8), &r);
	carry |= __builtin_add_overflow(r, (u64)((f & flag) != 0), &r);
	put(v, i->r[0], 8, r);
	v->lazy.a = (f & ~flag) | (carry ? flag : 0);
	NEXT();
}
HANDLER(adcx_r, add_chain(v, i, LAHF_CF, false))
HANDLER(adcx_m, add_chain(v, i, LAHF_CF, true))
HANDLER(adox_r, add_chain(v, i, LAHF_OF, false))
HANDLER(adox_m, add_chain(v, i, LAHF_OF, true))

/* 64-bit arithmetic of big numbers, from registers or memory. */
static insn_run_fn *select_chain(const struct insn *i, insn_run_fn *reg, insn_run_fn *mem)
{
	if (i->size != 8)
		return NULL;
	return !(i->flags & INSN_MEM) ? reg : addr_of(i) <= ADDR_X ? mem : NULL;
}

insn_run_fn *select_multiply(const struct insn *i, bool live)
{
	switch (i->op) {
	case OP_IMUL: return select_imul(i, live);
	case OP_MULX: return select_chain(i, mulx_r, mulx_m);
	case OP_ADCX: return select_chain(i, adcx_r, adcx_m);
	case OP_ADOX: return select_chain(i, adox_r, adox_m);
	case OP_MUL: return i->flags & INSN_MEM ? NULL : BY_SIZE_4_8(mul);
	case OP_DIV: return i->flags & INSN_MEM ? NULL : BY_SIZE_4_8(div);
	default: return NULL;
	}
}
