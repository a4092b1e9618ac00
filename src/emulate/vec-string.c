/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 1, 14.12.3 and vol. 2, 4.1). The host's mask form, with bit 6 of the
 * immediate clear, gives the flags and the comparison's result as a bit mask; index and expanded mask are made from that.
 * Memory operands need no alignment.
 */
#include "emulate/vec-operand.h"

struct compared {
	u32 bits; /* IntRes2 */
	u32 flags;
};

#define FLAG_OUTPUTS "=@ccc"(c), "=@ccz"(z), "=@ccs"(s), "=@cco"(o)
#define EXPLICIT_CASE(k)                                                                                      \
	case k:                                                                                               \
		asm("pcmpestrm $" #k ", %6, %5" : FLAG_OUTPUTS, "=Yz"(r) : "x"(a), "x"(b), "a"(la), "d"(lb)); \
		break;
#define IMPLICIT_CASE(k) \
	case k: asm("pcmpistrm $" #k ", %6, %5" : FLAG_OUTPUTS, "=Yz"(r) : "x"(a), "x"(b)); break;

static u32 flags_of(bool c, bool z, bool s, bool o)
{
	return (c ? FL_CF : 0) | (z ? FL_ZF : 0) | (s ? FL_SF : 0) | (o ? FL_OF : 0);
}
static struct compared compare_explicit(__m128i a, __m128i b, u32 la, u32 lb, unsigned imm)
{
	bool c, z, s, o;
	__m128i r;

	switch (imm & 63) {
		CASES_64(EXPLICIT_CASE) default : __builtin_unreachable();
	}
	return (struct compared){ (u32)_mm_cvtsi128_si32(r), flags_of(c, z, s, o) };
}
static struct compared compare_implicit(__m128i a, __m128i b, unsigned imm)
{
	bool c, z, s, o;
	__m128i r;

	switch (imm & 63) {
		CASES_64(IMPLICIT_CASE) default : __builtin_unreachable();
	}
	return (struct compared){ (u32)_mm_cvtsi128_si32(r), flags_of(c, z, s, o) };
}

/* A length register's absolute value, up to 16: enough for any element size. */
static u32 length(struct vcpu *v, const struct insn *i, unsigned reg)
{
	s64 n = i->osize == 3 ? (s64)v->r[reg] : (s64)(s32)v->r[reg];

	return n > 16 || n < -16 ? 16 : (u32)(n < 0 ? -n : n);
}
static struct compared compare(struct vcpu *v, const struct insn *i, __m128i b, bool explicit_length)
{
	__m128i a = *vec_xmm(v, i->r[0]);

	if (explicit_length)
		return compare_explicit(a, b, length(v, i, RAX), length(v, i, RDX), (unsigned)i->imm);
	return compare_implicit(a, b, (unsigned)i->imm);
}

/* ECX: the first or the last element found, or the number of elements. */
static void give_index(struct vcpu *v, const struct insn *i, struct compared x)
{
	u32 index = i->imm & 1 ? 8 : 16;

	if (x.bits)
		index = (u32)(i->imm & 0x40 ? 31 - __builtin_clz(x.bits) : __builtin_ctz(x.bits));
	v->r[RCX] = index;
	flags_set(v, x.flags);
}
/* XMM0: the bits as they are, or each spread over its element. */
static __m128i give_mask(struct vcpu *v, const struct insn *i, struct compared x)
{
	union vreg m = { .q[0] = x.bits };

	flags_set(v, x.flags);
	if (!(i->imm & 0x40))
		return *(const __m128i *)&m;
	for (unsigned k = 0; k < 16; k++)
		m.b[k] = x.bits >> (i->imm & 1 ? k / 2 : k) & 1 ? 0xff : 0;
	return *(const __m128i *)&m;
}

#define COMPARE_STRINGS(prefix, attr, need, letter, explicit_length)                              \
	attr void prefix##_pcmp##letter##stri(struct vcpu *v, const struct insn *i)               \
	{                                                                                         \
		simd_check(v, need);                                                              \
		VEC_SOURCE(p, 1, 16, 0)                                                           \
		give_index(v, i, compare(v, i, vec_load(p), explicit_length));                    \
	}                                                                                         \
	attr void prefix##_pcmp##letter##strm(struct vcpu *v, const struct insn *i)               \
	{                                                                                         \
		simd_check(v, need);                                                              \
		VEC_SOURCE(p, 1, 16, 0)                                                           \
		prefix##_set(v, 0, give_mask(v, i, compare(v, i, vec_load(p), explicit_length))); \
	}
COMPARE_STRINGS(sse, , SIMD_SSE, e, true)
COMPARE_STRINGS(sse, , SIMD_SSE, i, false)
COMPARE_STRINGS(avx, VEC_AVX, SIMD_AVX, e, true)
COMPARE_STRINGS(avx, VEC_AVX, SIMD_AVX, i, false)
