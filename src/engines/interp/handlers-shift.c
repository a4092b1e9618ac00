/* SPDX-License-Identifier: Apache-2.0 */
/* Fast handlers of shifts and rotates of registers, with flags (SHL, SHR, SAR, ROL, ROR) and without (BMI2). */
#include "engines/interp/fast.h"

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
	HANDLER(name##_4_0_i, shift_##name(v, i, 4, false, false))                                    \
	HANDLER(name##_8_0_i, shift_##name(v, i, 8, false, false))                                    \
	HANDLER(name##_4_1_i, shift_##name(v, i, 4, true, false))                                     \
	HANDLER(name##_8_1_i, shift_##name(v, i, 8, true, false))                                     \
	HANDLER(name##_4_0_c, shift_##name(v, i, 4, false, true))                                     \
	HANDLER(name##_8_0_c, shift_##name(v, i, 8, false, true))                                     \
	HANDLER(name##_4_1_c, shift_##name(v, i, 4, true, true))                                      \
	HANDLER(name##_8_1_c, shift_##name(v, i, 8, true, true))
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
	HANDLER(name##_4_i, rotate_##name(v, i, 4, false))                                                \
	HANDLER(name##_8_i, rotate_##name(v, i, 8, false))                                                \
	HANDLER(name##_4_c, rotate_##name(v, i, 4, true))                                                 \
	HANDLER(name##_8_c, rotate_##name(v, i, 8, true))
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

static insn_run_fn *select_flagged(const struct insn *i, unsigned op, bool live)
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

insn_run_fn *select_shift(const struct insn *i, bool live)
{
	if (i->flags & INSN_MEM)
		return NULL;
	switch (i->op) {
	case OP_SHL: return select_flagged(i, 0, live);
	case OP_SHR: return select_flagged(i, 1, live);
	case OP_SAR: return select_flagged(i, 2, live);
	case OP_ROL: return select_flagged(i, 3, live);
	case OP_ROR: return select_flagged(i, 4, live);
	case OP_SHLX: return BY_SIZE_4_8(shlx);
	case OP_SHRX: return BY_SIZE_4_8(shrx);
	case OP_SARX: return BY_SIZE_4_8(sarx);
	case OP_RORX: return BY_SIZE_4_8(rorx);
	default: return NULL;
	}
}
