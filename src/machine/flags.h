/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic flags, kept lazily: most are never read. After an operation of kind SUB or ADD its operands a and b are kept,
 * sign-extended from the operand size to 64 bits; as sign extension keeps the signed and the unsigned order, CF, ZF and the
 * signed conditions of a SUB are one 64-bit compare at any size. A logic operation with result r is SUB of r and 0. LAHF
 * keeps in a what the host's LAHF and SETO gave: SF ZF AF PF CF in bits 8..15, OF in bit 0.
 */
#pragma once
#include "machine/vcpu.h"

#define FLAGS_SHIFT(size) ((u64)(64 - 8 * (size)) << 8)
#define FLAGS_KEPT_CF	  BIT(16)

static inline void flags_lazy(struct vcpu *v, enum flags_kind kind, unsigned size, s64 a, s64 b)
{
	v->lazy.a = a;
	v->lazy.b = b;
	v->lazy.kind = kind | FLAGS_SHIFT(size);
}
/* Result of a logic operation, sign-extended. */
static inline void flags_logic(struct vcpu *v, unsigned size, s64 r)
{
	flags_lazy(v, FLAGS_SUB, size, r, 0);
}
/* All six at once; other bits of `arith` are ignored. */
static inline void flags_set(struct vcpu *v, u32 arith)
{
	v->rflags = (v->rflags & ~(u64)FL_ARITH) | (arith & FL_ARITH);
	v->lazy.kind = FLAGS_KNOWN;
}

/* The six arithmetic flags. */
static inline __attribute__((always_inline)) u32 flags_get(const struct vcpu *v)
{
	s64 a = v->lazy.a, b = v->lazy.b, r;
	unsigned shift = (u8)(v->lazy.kind >> 8);
	u32 f;

	switch ((u8)v->lazy.kind) {
	case FLAGS_SUB:
	case FLAGS_DEC:
		r = (s64)(((u64)a - (u64)b) << shift) >> shift;
		f = (u64)a < (u64)b ? FL_CF : 0;
		f |= ((a ^ b) & (a ^ r)) < 0 ? FL_OF : 0;
		break;
	case FLAGS_ADD:
	case FLAGS_INC:
		r = (s64)(((u64)a + (u64)b) << shift) >> shift;
		f = (u64)r < (u64)a ? FL_CF : 0;
		f |= ((a ^ r) & (b ^ r)) < 0 ? FL_OF : 0;
		break;
	case FLAGS_LAHF: return ((u32)(a >> 8) & (FL_ARITH & 0xff)) | ((a & 1) ? FL_OF : 0);
	default: return (u32)v->rflags & FL_ARITH;
	}
	if ((u8)v->lazy.kind >= FLAGS_INC)
		f = (f & ~FL_CF) | (v->lazy.kind & FLAGS_KEPT_CF ? FL_CF : 0);
	f |= (r == 0 ? FL_ZF : 0) | (r < 0 ? FL_SF : 0) | (__builtin_parity((u8)r) ? 0 : FL_PF);
	return f | ((u32)(a ^ b ^ r) & FL_AF);
}
static inline bool flags_cf(const struct vcpu *v)
{
	if ((u8)v->lazy.kind == FLAGS_SUB)
		return (u64)v->lazy.a < (u64)v->lazy.b;
	return flags_get(v) & FL_CF;
}
/* Makes v->rflags whole. */
static inline u64 flags_settle(struct vcpu *v)
{
	flags_set(v, flags_get(v));
	return v->rflags;
}

/* Condition code cc of Jcc, SETcc, CMOVcc (SDM vol. 1 app. B): 0 O, 2 B, 4 Z, 6 BE, 8 S, A P, C L, E LE; odd ones negate. */
static inline __attribute__((always_inline)) bool flags_condition(const struct vcpu *v, unsigned cc)
{
	u32 f = flags_get(v);
	bool t;
	switch (cc >> 1) {
	case 0: t = f & FL_OF; break;
	case 1: t = f & FL_CF; break;
	case 2: t = f & FL_ZF; break;
	case 3: t = f & (FL_CF | FL_ZF); break;
	case 4: t = f & FL_SF; break;
	case 5: t = f & FL_PF; break;
	case 6: t = !(f & FL_SF) != !(f & FL_OF); break;
	default: t = (f & FL_ZF) || !(f & FL_SF) != !(f & FL_OF); break;
	}
	return t != (cc & 1);
}
