/* SPDX-License-Identifier: Apache-2.0 */
/* Fast handlers with one operand that they change, or a count: INC, DEC, NEG, NOT, shifts, rotates, multiplication, bit counts, BMI. */
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
#define UNARY(op, size, live, where, mem, addr)                                       \
	FAST UNARY_NAME(op, size, live, where)(struct vcpu * v, const struct insn *i) \
	{                                                                             \
		unary(v, i, UNARY_##op, size, live, mem, addr);                       \
	}
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

/* ---- shifts and rotates of registers ---- */

/* The host's own instruction gives result and flags; with a count of zero it leaves the flags that were loaded: none are. */
#define SHIFT_ASM(mnem, suffix, type)                                                      \
	({                                                                                 \
		type x_ = (type)a;                                                         \
		if (live)                                                                  \
			asm(mnem suffix " %%cl, %[x]\n\tlahf\n\tseto %%al"                 \
			    : [x] "+r"(x_), "=&a"(f)                                       \
			    : "c"(count)                                                   \
			    : "cc");                                                       \
		else                                                                       \
			asm(mnem suffix " %%cl, %[x]" : [x] "+r"(x_) : "c"(count) : "cc"); \
		(u64) x_;                                                                  \
	})
#define SHIFT_BODY(name, mnem)                                                                        \
	BODY shift_##name(struct vcpu *v, const struct insn *i, unsigned size, bool live, bool by_cl) \
	{                                                                                             \
		u8 count = (u8)(by_cl ? v->r[RCX] : i->imm) & (size == 8 ? 63 : 31);                  \
		u64 a = get(v, i->r[0], size), f = 0;                                                 \
		if (by_cl && live && count == 0)                                                      \
			SLOW();                                                                       \
		u64 r = size == 8 ? SHIFT_ASM(mnem, "q", u64) : SHIFT_ASM(mnem, "l", u32);            \
		put(v, i->r[0], size, r);                                                             \
		if (live)                                                                             \
			flags_lazy(v, FLAGS_LAHF, size, (s64)f, 0);                                   \
		NEXT();                                                                               \
	}                                                                                             \
	FAST name##_4_0_i(struct vcpu *v, const struct insn *i)                                       \
	{                                                                                             \
		shift_##name(v, i, 4, false, false);                                                  \
	}                                                                                             \
	FAST name##_8_0_i(struct vcpu *v, const struct insn *i)                                       \
	{                                                                                             \
		shift_##name(v, i, 8, false, false);                                                  \
	}                                                                                             \
	FAST name##_4_1_i(struct vcpu *v, const struct insn *i)                                       \
	{                                                                                             \
		shift_##name(v, i, 4, true, false);                                                   \
	}                                                                                             \
	FAST name##_8_1_i(struct vcpu *v, const struct insn *i)                                       \
	{                                                                                             \
		shift_##name(v, i, 8, true, false);                                                   \
	}                                                                                             \
	FAST name##_4_0_c(struct vcpu *v, const struct insn *i)                                       \
	{                                                                                             \
		shift_##name(v, i, 4, false, true);                                                   \
	}                                                                                             \
	FAST name##_8_0_c(struct vcpu *v, const struct insn *i)                                       \
	{                                                                                             \
		shift_##name(v, i, 8, false, true);                                                   \
	}                                                                                             \
	FAST name##_4_1_c(struct vcpu *v, const struct insn *i)                                       \
	{                                                                                             \
		shift_##name(v, i, 4, true, true);                                                    \
	}                                                                                             \
	FAST name##_8_1_c(struct vcpu *v, const struct insn *i)                                       \
	{                                                                                             \
		shift_##name(v, i, 8, true, true);                                                    \
	}
SHIFT_BODY(shl, "shl")
SHIFT_BODY(shr, "shr")
SHIFT_BODY(sar, "sar")

/* Rotates keep SF, ZF, AF, PF: only the flag-free forms are fast; with flags they go to src/emulate. */
#define ROTATE(name, mnem)                                                                                \
	BODY rotate_##name(struct vcpu *v, const struct insn *i, unsigned size, bool by_cl)               \
	{                                                                                                 \
		const bool live = false;                                                                  \
		u8 count = (u8)(by_cl ? v->r[RCX] : i->imm) & (size == 8 ? 63 : 31);                      \
		u64 a = get(v, i->r[0], size), f = 0;                                                     \
		(void)f;                                                                                  \
		put(v, i->r[0], size, size == 8 ? SHIFT_ASM(mnem, "q", u64) : SHIFT_ASM(mnem, "l", u32)); \
		NEXT();                                                                                   \
	}                                                                                                 \
	FAST name##_4_i(struct vcpu *v, const struct insn *i)                                             \
	{                                                                                                 \
		rotate_##name(v, i, 4, false);                                                            \
	}                                                                                                 \
	FAST name##_8_i(struct vcpu *v, const struct insn *i)                                             \
	{                                                                                                 \
		rotate_##name(v, i, 8, false);                                                            \
	}                                                                                                 \
	FAST name##_4_c(struct vcpu *v, const struct insn *i)                                             \
	{                                                                                                 \
		rotate_##name(v, i, 4, true);                                                             \
	}                                                                                                 \
	FAST name##_8_c(struct vcpu *v, const struct insn *i)                                             \
	{                                                                                                 \
		rotate_##name(v, i, 8, true);                                                             \
	}
ROTATE(rol, "rol")
ROTATE(ror, "ror")

#define SHIFT_ROW(name)                                                             \
	{                                                                           \
		{ { name##_4_0_i, name##_8_0_i }, { name##_4_1_i, name##_8_1_i } }, \
		{                                                                   \
			{ name##_4_0_c, name##_8_0_c },                             \
			{                                                           \
				name##_4_1_c, name##_8_1_c                          \
			}                                                           \
		}                                                                   \
	}
#define ROTATE_ROW(name)                                        \
	{                                                       \
		{ { name##_4_i, name##_8_i }, { NULL, NULL } }, \
		{                                               \
			{ name##_4_c, name##_8_c },             \
			{                                       \
				NULL, NULL                      \
			}                                       \
		}                                               \
	}
static insn_run_fn *const shift_handlers[5][2][2][2] = {
	/* op, by CL, flags wanted, 8 bytes */
	SHIFT_ROW(shl), SHIFT_ROW(shr), SHIFT_ROW(sar), ROTATE_ROW(rol), ROTATE_ROW(ror),
};

static insn_run_fn *select_shift(const struct insn *i, unsigned op, bool live)
{
	if (i->size < 4 || insn_kind(i, 0) != OPK_REG)
		return NULL;
	bool by_cl = insn_kind(i, 1) == OPK_REG;
	if (!by_cl && (i->imm & (i->size == 8 ? 63 : 31)) == 0)
		return NULL;
	return shift_handlers[op][by_cl][live][i->size == 8];
}

/* ---- BMI2 shifts: no flags ---- */

#define SHIFTX(name, type, expr)                                                    \
	FAST name(struct vcpu *v, const struct insn *i)                             \
	{                                                                           \
		type a = (type)get(v, i->r[1], sizeof(type));                       \
		unsigned n = (unsigned)get(v, i->r[2], 4) & (8 * sizeof(type) - 1); \
		put(v, i->r[0], sizeof(type), (u64)(expr));                         \
		NEXT();                                                             \
	}
SHIFTX(shlx_4, u32, a << n)
SHIFTX(shlx_8, u64, a << n)
SHIFTX(shrx_4, u32, a >> n)
SHIFTX(shrx_8, u64, a >> n)
SHIFTX(sarx_4, s32, a >> n)
SHIFTX(sarx_8, s64, a >> n)
FAST rorx_4(struct vcpu *v, const struct insn *i)
{
	u32 a = (u32)get(v, i->r[1], 4);
	unsigned n = i->imm & 31;
	put(v, i->r[0], 4, a >> n | a << (-n & 31));
	NEXT();
}
FAST rorx_8(struct vcpu *v, const struct insn *i)
{
	u64 a = get(v, i->r[1], 8);
	unsigned n = i->imm & 63;
	put(v, i->r[0], 8, a >> n | a << (-n & 63));
	NEXT();
}

/* ---- multiplication and division ---- */

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
#define IMUL(size, three, where, mem, addr, live)                                           \
	FAST imul_##size##_##three##_##where##_##live(struct vcpu *v, const struct insn *i) \
	{                                                                                   \
		imul(v, i, size, three, mem, addr, live);                                   \
	}
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
FAST mulx_r(struct vcpu *v, const struct insn *i)
{
	mulx(v, i, false);
}
FAST mulx_m(struct vcpu *v, const struct insn *i)
{
	mulx(v, i, true);
}
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

/* ---- bit tests and counts of registers ---- */

/* Makes the lazy flags the LAHF kind, in which one of them is one bit: for instructions that change only CF or OF. */
#define LAHF_CF 0x100
#define LAHF_OF 0x1
static inline __attribute__((always_inline)) s64 lahf_form(struct vcpu *v)
{
	if (likely((u8)v->lazy.kind == FLAGS_LAHF))
		return v->lazy.a;
	u32 f = flags_get(v);
	flags_lazy(v, FLAGS_LAHF, 8, 0, 0);
	return (s64)((f & 0xff) << 8 | (f & FL_OF ? LAHF_OF : 0));
}

/* BT leaves ZF alone and the others undefined: only CF changes. */
BODY bt(struct vcpu *v, const struct insn *i, unsigned size, bool imm)
{
	u64 n = (imm ? i->imm : get(v, i->r[1], 8)) & (8 * size - 1);
	bool bit = get(v, i->r[0], size) >> n & 1;
	v->lazy.a = (lahf_form(v) & ~LAHF_CF) | (bit ? LAHF_CF : 0);
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
FAST adcx_r(struct vcpu *v, const struct insn *i)
{
	add_chain(v, i, LAHF_CF, false);
}
FAST adcx_m(struct vcpu *v, const struct insn *i)
{
	add_chain(v, i, LAHF_CF, true);
}
FAST adox_r(struct vcpu *v, const struct insn *i)
{
	add_chain(v, i, LAHF_OF, false);
}
FAST adox_m(struct vcpu *v, const struct insn *i)
{
	add_chain(v, i, LAHF_OF, true);
}

FAST bt_4_r(struct vcpu *v, const struct insn *i)
{
	bt(v, i, 4, false);
}
FAST bt_8_r(struct vcpu *v, const struct insn *i)
{
	bt(v, i, 8, false);
}
FAST bt_4_i(struct vcpu *v, const struct insn *i)
{
	bt(v, i, 4, true);
}
FAST bt_8_i(struct vcpu *v, const struct insn *i)
{
	bt(v, i, 8, true);
}

/* TZCNT, LZCNT: CF for a zero source, ZF for a zero result. */
BODY count_bits(struct vcpu *v, const struct insn *i, unsigned size, bool leading)
{
	u64 a = get(v, i->r[1], size);
	u64 none = 8 * size;
	u64 r = a == 0 ? none : leading ? (u64)__builtin_clzll(a) - (64 - none) : (u64)__builtin_ctzll(a);
	put(v, i->r[0], size, r);
	flags_set(v, (a == 0 ? FL_CF : 0) | (r == 0 ? FL_ZF : 0));
	NEXT();
}
FAST tzcnt_4(struct vcpu *v, const struct insn *i)
{
	count_bits(v, i, 4, false);
}
FAST tzcnt_8(struct vcpu *v, const struct insn *i)
{
	count_bits(v, i, 8, false);
}
FAST lzcnt_4(struct vcpu *v, const struct insn *i)
{
	count_bits(v, i, 4, true);
}
FAST lzcnt_8(struct vcpu *v, const struct insn *i)
{
	count_bits(v, i, 8, true);
}
FAST andn_4(struct vcpu *v, const struct insn *i)
{
	s64 r = (s32)(~(u32)get(v, i->r[1], 4) & (u32)get(v, i->r[2], 4));
	put(v, i->r[0], 4, (u64)r);
	flags_logic(v, 4, r);
	NEXT();
}
FAST andn_8(struct vcpu *v, const struct insn *i)
{
	s64 r = (s64)(~get(v, i->r[1], 8) & get(v, i->r[2], 8));
	put(v, i->r[0], 8, (u64)r);
	flags_logic(v, 8, r);
	NEXT();
}

#define BY_SIZE(name) (i->size == 4 ? name##_4 : i->size == 8 ? name##_8 : NULL)

static insn_run_fn *select_register_only(const struct insn *i)
{
	switch (i->op) {
	case OP_SHLX: return BY_SIZE(shlx);
	case OP_SHRX: return BY_SIZE(shrx);
	case OP_SARX: return BY_SIZE(sarx);
	case OP_RORX: return BY_SIZE(rorx);
	case OP_MUL: return BY_SIZE(mul);
	case OP_DIV: return BY_SIZE(div);
	case OP_TZCNT: return BY_SIZE(tzcnt);
	case OP_LZCNT: return BY_SIZE(lzcnt);
	case OP_ANDN: return BY_SIZE(andn);
	case OP_BT:
		if (insn_kind(i, 1) == OPK_IMM)
			return i->size == 4 ? bt_4_i : i->size == 8 ? bt_8_i : NULL;
		return i->size == 4 ? bt_4_r : i->size == 8 ? bt_8_r : NULL;
	default: return NULL;
	}
}

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

/* 64-bit arithmetic of big numbers, from registers or memory. */
static insn_run_fn *select_chain(const struct insn *i, insn_run_fn *reg, insn_run_fn *mem)
{
	if (i->size != 8)
		return NULL;
	return !(i->flags & INSN_MEM) ? reg : addr_of(i) <= ADDR_X ? mem : NULL;
}

insn_run_fn *select_unary(const struct insn *i, bool live)
{
	switch (i->op) {
	case OP_INC: return select_incdec(i, UNARY_INC, live);
	case OP_DEC: return select_incdec(i, UNARY_DEC, live);
	case OP_NEG: return select_incdec(i, UNARY_NEG, live);
	case OP_NOT: return select_incdec(i, UNARY_NOT, live);
	case OP_SHL: return select_shift(i, 0, live);
	case OP_SHR: return select_shift(i, 1, live);
	case OP_SAR: return select_shift(i, 2, live);
	case OP_ROL: return select_shift(i, 3, live);
	case OP_ROR: return select_shift(i, 4, live);
	case OP_IMUL: return select_imul(i, live);
	case OP_MULX: return select_chain(i, mulx_r, mulx_m);
	case OP_ADCX: return select_chain(i, adcx_r, adcx_m);
	case OP_ADOX: return select_chain(i, adox_r, adox_m);
	default: return i->flags & INSN_MEM ? NULL : select_register_only(i);
	}
}
