/* SPDX-License-Identifier: Apache-2.0 */
/* Fast handlers that test and count bits of registers: BT, TZCNT, LZCNT, ANDN. */
#include "engines/interp/fast.h"

/* BT leaves ZF alone and the others undefined: only CF changes. */
BODY bt(struct vcpu *v, const struct insn *i, unsigned size, bool imm)
{
	u64 n = (imm ? i->imm : get(v, i->r[1], 8)) & (8 * size - 1);
	bool bit = get(v, i->r[0], size) >> n & 1;
	v->lazy.a = (lahf_form(v) & ~LAHF_CF) | (bit ? LAHF_CF : 0);
	NEXT();
}

HANDLER(bt_4_r, bt(v, i, 4, false))
HANDLER(bt_8_r, bt(v, i, 8, false))
HANDLER(bt_4_i, bt(v, i, 4, true))
HANDLER(bt_8_i, bt(v, i, 8, true))

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
HANDLER(tzcnt_4, count_bits(v, i, 4, false))
HANDLER(tzcnt_8, count_bits(v, i, 8, false))
HANDLER(lzcnt_4, count_bits(v, i, 4, true))
HANDLER(lzcnt_8, count_bits(v, i, 8, true))
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

insn_run_fn *select_bits(const struct insn *i)
{
	if (i->flags & INSN_MEM)
		return NULL;
	switch (i->op) {
	case OP_TZCNT: return BY_SIZE_4_8(tzcnt);
	case OP_LZCNT: return BY_SIZE_4_8(lzcnt);
	case OP_ANDN: return BY_SIZE_4_8(andn);
	case OP_BT:
		if (insn_kind(i, 1) == OPK_IMM)
			return i->size == 4 ? bt_4_i : i->size == 8 ? bt_8_i : NULL;
		return i->size == 4 ? bt_4_r : i->size == 8 ? bt_8_r : NULL;
	default: return NULL;
	}
}
