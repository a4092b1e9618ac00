/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed integer arithmetic, comparison and logic, and the bitwise operations on floating-point registers (SDM vol. 2).
 * A line an instruction, both encodings; the MMX forms are in vec-mmx.c.
 */
#include "emulate/vec-operand.h"

#define INT(name)             \
	SSE_BINARY(name, set) \
	AVX_BINARY(name, set, SIMD_AVX2)
#define BITWISE(name)         \
	SSE_BINARY(name, set) \
	AVX_BINARY(name, set, SIMD_AVX)
#define INT_UNARY(name)      \
	SSE_UNARY(name, set) \
	AVX_UNARY(name, set, SIMD_AVX2)

INT(paddb)
INT(paddw)
INT(paddd)
INT(paddq)
INT(paddsb)
INT(paddsw)
INT(paddusb)
INT(paddusw)
INT(psubb)
INT(psubw)
INT(psubd)
INT(psubq)
INT(psubsb)
INT(psubsw)
INT(psubusb)
INT(psubusw)
INT(pmullw)
INT(pmulld)
INT(pmulhw)
INT(pmulhuw)
INT(pmulhrsw)
INT(pmuldq)
INT(pmuludq)
INT(pmaddwd)
INT(pmaddubsw)
INT(pavgb)
INT(pavgw)
INT(psadbw)
INT(phaddw)
INT(phaddd)
INT(phaddsw)
INT(phsubw)
INT(phsubd)
INT(phsubsw)
INT(psignb)
INT(psignw)
INT(psignd)
INT(pmaxsb)
INT(pmaxsw)
INT(pmaxsd)
INT(pmaxub)
INT(pmaxuw)
INT(pmaxud)
INT(pminsb)
INT(pminsw)
INT(pminsd)
INT(pminub)
INT(pminuw)
INT(pminud)
INT(pcmpeqb)
INT(pcmpeqw)
INT(pcmpeqd)
INT(pcmpeqq)
INT(pcmpgtb)
INT(pcmpgtw)
INT(pcmpgtd)
INT(pcmpgtq)
INT(pand)
INT(pandn)
INT(por)
INT(pxor)
INT(packsswb)
INT(packssdw)
INT(packuswb)
INT(packusdw)
INT(punpcklbw)
INT(punpcklwd)
INT(punpckldq)
INT(punpcklqdq)
INT(punpckhbw)
INT(punpckhwd)
INT(punpckhdq)
INT(punpckhqdq)
INT(pshufb)
INT_UNARY(pabsb)
INT_UNARY(pabsw)
INT_UNARY(pabsd)
SSE_UNARY(phminposuw, set)
AVX_UNARY_128(phminposuw, set)

BITWISE(andps)
BITWISE(andpd)
BITWISE(andnps)
BITWISE(andnpd)
BITWISE(orps)
BITWISE(orpd)
BITWISE(xorps)
BITWISE(xorpd)
BITWISE(unpcklps)
BITWISE(unpcklpd)
BITWISE(unpckhps)
BITWISE(unpckhpd)

/* Shift counts of its own for each element: AVX2 only. */
AVX_BINARY(psllvd, set, SIMD_AVX2)
AVX_BINARY(psllvq, set, SIMD_AVX2)
AVX_BINARY(psravd, set, SIMD_AVX2)
AVX_BINARY(psrlvd, set, SIMD_AVX2)
AVX_BINARY(psrlvq, set, SIMD_AVX2)

/* One count for all: an immediate, or the low 64 bits of a 128-bit operand whatever the vector's length. */
#define SHIFT_COUNT(k, align)                      \
	__m128i n = _mm_cvtsi32_si128((u8)i->imm); \
	if (insn_kind(i, k) != OPK_IMM) {          \
		VEC_SOURCE(p, k, 16, align)        \
		n = vec_load(p);                   \
	}
#define SHIFT(name)                                                   \
	void sse_##name(struct vcpu *v, const struct insn *i)         \
	{                                                             \
		simd_check(v, SIMD_SSE);                              \
		SHIFT_COUNT(1, 16)                                    \
		__m128i a = *vec_xmm(v, i->r[0]);                     \
		ASM2(#name, a, n);                                    \
		sse_set(v, i->r[0], a);                               \
	}                                                             \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i) \
	{                                                             \
		simd_check(v, i->size == 32 ? SIMD_AVX2 : SIMD_AVX);  \
		SHIFT_COUNT(2, 0)                                     \
		if (i->size == 32) {                                  \
			__m256i r;                                    \
			ASM3("v" #name, r, *vec_ymm(v, i->r[1]), n);  \
			avx_set32(v, i->r[0], r);                     \
		} else {                                              \
			__m128i r;                                    \
			ASM3("v" #name, r, *vec_xmm(v, i->r[1]), n);  \
			avx_set(v, i->r[0], r);                       \
		}                                                     \
	}
SHIFT(psllw)
SHIFT(pslld)
SHIFT(psllq)
SHIFT(psraw)
SHIFT(psrad)
SHIFT(psrlw)
SHIFT(psrld)
SHIFT(psrlq)

/* Each 128-bit lane as one number, shifted by bytes. */
static __m128i lane_left(const u64 *lane, unsigned bytes)
{
	u128 x = lane[0] | (u128)lane[1] << 64;

	x = bytes > 15 ? 0 : x << (8 * bytes);
	return _mm_set_epi64x((s64)(u64)(x >> 64), (s64)(u64)x);
}
static __m128i lane_right(const u64 *lane, unsigned bytes)
{
	u128 x = lane[0] | (u128)lane[1] << 64;

	x = bytes > 15 ? 0 : x >> (8 * bytes);
	return _mm_set_epi64x((s64)(u64)(x >> 64), (s64)(u64)x);
}
#define LANE_SHIFT(name, shift)                                                                 \
	void sse_##name(struct vcpu *v, const struct insn *i)                                   \
	{                                                                                       \
		simd_check(v, SIMD_SSE);                                                        \
		sse_set(v, i->r[0], shift(v->v[i->r[0]].q, (u8)i->imm));                        \
	}                                                                                       \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                           \
	{                                                                                       \
		simd_check(v, i->size == 32 ? SIMD_AVX2 : SIMD_AVX);                            \
		const u64 *s = v->v[i->r[1]].q;                                                 \
		__m128i low = shift(s, (u8)i->imm);                                             \
		if (i->size == 32)                                                              \
			avx_set32(v, i->r[0], _mm256_set_m128i(shift(s + 2, (u8)i->imm), low)); \
		else                                                                            \
			avx_set(v, i->r[0], low);                                               \
	}
LANE_SHIFT(pslldq, lane_left)
LANE_SHIFT(psrldq, lane_right)

/* ---- to flags and to general registers ---- */
static void set_zf_cf(struct vcpu *v, bool zf, bool cf)
{
	flags_set(v, (zf ? FL_ZF : 0) | (cf ? FL_CF : 0));
}
#define ASM_TEST(text, a, b, z, c) asm(text " %3, %2" : "=@ccz"(z), "=@ccc"(c) : "x"(a), "x"(b))
void sse_ptest(struct vcpu *v, const struct insn *i)
{
	bool z, c;

	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 16, 16)
	ASM_TEST("ptest", *vec_xmm(v, i->r[0]), vec_load(p), z, c);
	set_zf_cf(v, z, c);
}
#define AVX_TEST(name)                                                                  \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                   \
	{                                                                               \
		bool z, c;                                                              \
		simd_check(v, SIMD_AVX);                                                \
		VEC_SOURCE(p, 1, i->size, 0)                                            \
		if (i->size == 32)                                                      \
			ASM_TEST("v" #name, *vec_ymm(v, i->r[0]), vec_load32(p), z, c); \
		else                                                                    \
			ASM_TEST("v" #name, *vec_xmm(v, i->r[0]), vec_load(p), z, c);   \
		set_zf_cf(v, z, c);                                                     \
	}
AVX_TEST(ptest)
AVX_TEST(testps)
AVX_TEST(testpd)

#define SIGN_MASK(name, need)                                                           \
	void sse_##name(struct vcpu *v, const struct insn *i)                           \
	{                                                                               \
		u32 m;                                                                  \
		simd_check(v, SIMD_SSE);                                                \
		asm(#name " %1, %0" : "=r"(m) : "x"(*vec_xmm(v, i->r[1])));             \
		*vcpu_gpr(v, i->r[0]) = m;                                              \
	}                                                                               \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                   \
	{                                                                               \
		u32 m;                                                                  \
		simd_check(v, i->size2 == 32 ? need : SIMD_AVX);                        \
		if (i->size2 == 32)                                                     \
			asm("v" #name " %1, %0" : "=r"(m) : "x"(*vec_ymm(v, i->r[1]))); \
		else                                                                    \
			asm("v" #name " %1, %0" : "=r"(m) : "x"(*vec_xmm(v, i->r[1]))); \
		*vcpu_gpr(v, i->r[0]) = m;                                              \
	}
SIGN_MASK(pmovmskb, SIMD_AVX2)
SIGN_MASK(movmskps, SIMD_AVX)
SIGN_MASK(movmskpd, SIMD_AVX)
