/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blends, and single elements in and out of a vector: BLENDx, PBLENDx, PINSRx, PEXTRx, INSERTPS, EXTRACTPS (SDM vol. 2).
 * An immediate becomes a mask by comparing each element's bit; no result is put together in memory, because the next load
 * of the register would have to wait for the parts.
 */
#include "emulate/vec-operand.h"

/* All ones in the elements whose bit of imm is set. */
VEC_INLINE __m128i mask_words(unsigned imm)
{
	__m128i bits = _mm_set_epi16(128, 64, 32, 16, 8, 4, 2, 1);

	return _mm_cmpeq_epi16(_mm_and_si128(_mm_set1_epi16((s16)imm), bits), bits);
}
VEC_INLINE __m128i mask_dwords(unsigned imm)
{
	__m128i bits = _mm_set_epi32(8, 4, 2, 1);

	return _mm_cmpeq_epi32(_mm_and_si128(_mm_set1_epi32((s32)imm), bits), bits);
}
VEC_INLINE __m128i mask_qwords(unsigned imm)
{
	return _mm_set_epi64x(-(s64)(imm >> 1 & 1), -(s64)(imm & 1));
}
VEC_INLINE __m128i blend(__m128i a, __m128i b, __m128i mask)
{
	return _mm_or_si128(_mm_andnot_si128(mask, a), _mm_and_si128(mask, b));
}

/* mask(imm) is for the lower lane, and after a shift of imm by `lane` bits for the upper one. */
#define BLEND(name, mask, lane, need)                                                        \
	void sse_##name(struct vcpu *v, const struct insn *i)                                \
	{                                                                                    \
		simd_check(v, SIMD_SSE);                                                     \
		VEC_SOURCE(p, 1, 16, 16)                                                     \
		__m128i b = vec_load(p);                                                     \
		sse_set(v, i->r[0], blend(*vec_xmm(v, i->r[0]), b, mask((unsigned)i->imm))); \
	}                                                                                    \
	AVX_BLEND(name, mask, lane, need)
#define AVX_BLEND(name, mask, lane, need)                                                                  \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                                      \
	{                                                                                                  \
		simd_check(v, i->size == 32 ? need : SIMD_AVX);                                            \
		VEC_SOURCE(p, 2, i->size, 0)                                                               \
		__m128i low = mask((unsigned)i->imm);                                                      \
		if (i->size == 32) {                                                                       \
			__m256i m = _mm256_set_m128i(mask((unsigned)i->imm >> lane), low);                 \
			avx_set32(v, i->r[0], _mm256_blendv_epi8(*vec_ymm(v, i->r[1]), vec_load32(p), m)); \
		} else {                                                                                   \
			avx_set(v, i->r[0], _mm_blendv_epi8(*vec_xmm(v, i->r[1]), vec_load(p), low));      \
		}                                                                                          \
	}
BLEND(pblendw, mask_words, 0, SIMD_AVX2)
BLEND(blendps, mask_dwords, 4, SIMD_AVX)
BLEND(blendpd, mask_qwords, 2, SIMD_AVX)
AVX_BLEND(pblendd, mask_dwords, 4, SIMD_AVX2)

/* By the elements' sign bits: of XMM0, or with VEX of a fourth register. */
#define BLEND_BY_SIGN(name, vname, need)                                                              \
	void sse_##name(struct vcpu *v, const struct insn *i)                                         \
	{                                                                                             \
		simd_check(v, SIMD_SSE);                                                              \
		VEC_SOURCE(p, 1, 16, 16)                                                              \
		__m128i b = vec_load(p), a = *vec_xmm(v, i->r[0]);                                    \
		asm(#name " %2, %1, %0" : "+x"(a) : "x"(b), "Yz"(*vec_xmm(v, 0)));                    \
		sse_set(v, i->r[0], a);                                                               \
	}                                                                                             \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                                 \
	{                                                                                             \
		simd_check(v, i->size == 32 ? need : SIMD_AVX);                                       \
		VEC_SOURCE(p, 2, i->size, 0)                                                          \
		if (i->size == 32) {                                                                  \
			__m256i r, a = *vec_ymm(v, i->r[1]), m = *vec_ymm(v, i->r[3]);                \
			asm(#vname " %3, %2, %1, %0" : "=x"(r) : "x"(a), "x"(vec_load32(p)), "x"(m)); \
			avx_set32(v, i->r[0], r);                                                     \
		} else {                                                                              \
			__m128i r, a = *vec_xmm(v, i->r[1]), m = *vec_xmm(v, i->r[3]);                \
			asm(#vname " %3, %2, %1, %0" : "=x"(r) : "x"(a), "x"(vec_load(p)), "x"(m));   \
			avx_set(v, i->r[0], r);                                                       \
		}                                                                                     \
	}
BLEND_BY_SIGN(pblendvb, vpblendvb, SIMD_AVX2)
BLEND_BY_SIGN(blendvps, vblendvps, SIMD_AVX)
BLEND_BY_SIGN(blendvpd, vblendvpd, SIMD_AVX)

/* ---- elements out: to a general register, zero-extended, or to memory ---- */
#define EXTRACT(name, attr, need, element, n, count)                      \
	attr void name(struct vcpu *v, const struct insn *i)              \
	{                                                                 \
		simd_check(v, need);                                      \
		u64 x = v->v[i->r[1]].element[i->imm & (count - 1)];      \
		if (insn_kind(i, 0) == OPK_REG)                           \
			*vcpu_gpr(v, i->r[0]) = x;                        \
		else                                                      \
			vec_store(v, i, _mm_cvtsi64_si128((s64)x), n, 0); \
	}
EXTRACT(sse_pextrb, , SIMD_SSE, b, 1, 16)
EXTRACT(sse_pextrw, , SIMD_SSE, w, 2, 8)
EXTRACT(sse_pextrd, , SIMD_SSE, d, 4, 4)
EXTRACT(sse_extractps, , SIMD_SSE, d, 4, 4)
EXTRACT(sse_pextrq, , SIMD_SSE, q, 8, 2)
EXTRACT(avx_pextrb, VEC_AVX, SIMD_AVX, b, 1, 16)
EXTRACT(avx_pextrw, VEC_AVX, SIMD_AVX, w, 2, 8)
EXTRACT(avx_pextrd, VEC_AVX, SIMD_AVX, d, 4, 4)
EXTRACT(avx_extractps, VEC_AVX, SIMD_AVX, d, 4, 4)
EXTRACT(avx_pextrq, VEC_AVX, SIMD_AVX, q, 8, 2)

/* ---- elements in ---- */
VEC_INLINE __m128i mask_byte(unsigned at)
{
	__m128i number = _mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);

	return _mm_cmpeq_epi8(number, _mm_set1_epi8((s8)at));
}
#define MASK_WORD(at)  mask_words(1u << (at))
#define MASK_DWORD(at) mask_dwords(1u << (at))
#define MASK_QWORD(at) mask_qwords(1u << (at))
/* all(x) has x in every element, mask(k) selects element k of `count`. */
#define INSERT(name, all, type, mask, n, count)                                              \
	void sse_##name(struct vcpu *v, const struct insn *i)                                \
	{                                                                                    \
		simd_check(v, SIMD_SSE);                                                     \
		VEC_INT_SOURCE(x, 1, n)                                                      \
		__m128i m = mask((unsigned)i->imm & (count - 1));                            \
		sse_set(v, i->r[0], blend(*vec_xmm(v, i->r[0]), all((type)x), m));           \
	}                                                                                    \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                        \
	{                                                                                    \
		simd_check(v, SIMD_AVX);                                                     \
		VEC_INT_SOURCE(x, 2, n)                                                      \
		__m128i m = mask((unsigned)i->imm & (count - 1));                            \
		avx_set(v, i->r[0], _mm_blendv_epi8(*vec_xmm(v, i->r[1]), all((type)x), m)); \
	}
INSERT(pinsrb, _mm_set1_epi8, s8, mask_byte, 1, 16)
INSERT(pinsrw, _mm_set1_epi16, s16, MASK_WORD, 2, 8)
INSERT(pinsrd, _mm_set1_epi32, s32, MASK_DWORD, 4, 4)
INSERT(pinsrq, _mm_set1_epi64x, s64, MASK_QWORD, 8, 2)

/* INSERTPS: an element of src (its number counts in a register only) to an element of dst, then zeros by mask. */
VEC_INLINE __m128i insert_dword(const struct insn *i, const u32_una *src, __m128i into)
{
	unsigned imm = (unsigned)i->imm;
	u32 x = src[i->flags & INSN_MEM ? 0 : imm >> 6 & 3];

	into = blend(into, _mm_set1_epi32((s32)x), MASK_DWORD(imm >> 4 & 3));
	return _mm_andnot_si128(mask_dwords(imm), into);
}
void sse_insertps(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 4, 0)
	sse_set(v, i->r[0], insert_dword(i, p, *vec_xmm(v, i->r[0])));
}
VEC_AVX void avx_insertps(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_AVX);
	VEC_SOURCE(p, 2, 4, 0)
	avx_set(v, i->r[0], insert_dword(i, p, *vec_xmm(v, i->r[1])));
}
