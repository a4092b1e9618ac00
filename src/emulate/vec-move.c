/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vector moves: whole registers, halves, scalars, to and from general registers, non-temporal ones, VZEROALL (SDM vol. 2).
 * Moves of like size are one function whatever type their name speaks of. Non-temporal stores are plain stores.
 */
#include "emulate/mmx.h"
#include "emulate/vec-operand.h"

/* ---- whole registers: MOVAPS, MOVAPD, MOVDQA, MOVNTx (aligned) and MOVUPS, MOVUPD, MOVDQU, LDDQU (not) ---- */
#define MOVE(name, aligned)                                                            \
	void sse_##name(struct vcpu *v, const struct insn *i)                          \
	{                                                                              \
		simd_check(v, SIMD_SSE);                                               \
		if (insn_kind(i, 0) != OPK_REG) {                                      \
			vec_store(v, i, *vec_xmm(v, i->r[1]), 16, (aligned) ? 16 : 0); \
			return;                                                        \
		}                                                                      \
		VEC_SOURCE(p, 1, 16, (aligned) ? 16 : 0)                               \
		sse_set(v, i->r[0], vec_load(p));                                      \
	}                                                                              \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                  \
	{                                                                              \
		unsigned n = i->size;                                                  \
		simd_check(v, SIMD_AVX);                                               \
		if (insn_kind(i, 0) == OPK_REG) {                                      \
			VEC_SOURCE(p, 1, n, (aligned) ? n : 0)                         \
			if (n == 32)                                                   \
				avx_set32(v, i->r[0], vec_load32(p));                  \
			else                                                           \
				avx_set(v, i->r[0], vec_load(p));                      \
		} else if (n == 32) {                                                  \
			vec_store32(v, i, *vec_ymm(v, i->r[1]), (aligned) ? 32 : 0);   \
		} else {                                                               \
			vec_store(v, i, *vec_xmm(v, i->r[1]), 16, (aligned) ? 16 : 0); \
		}                                                                      \
	}
MOVE(movaps, true)
MOVE(movups, false)

/* VMOVNTDQA of 256 bits came with AVX2. */
VEC_AVX void avx_movntdqa(struct vcpu *v, const struct insn *i)
{
	simd_check(v, i->size == 32 ? SIMD_AVX2 : SIMD_AVX);
	avx_movaps(v, i);
}

void sse_movnti(struct vcpu *v, const struct insn *i)
{
	op_write(v, i, 0, op_read(v, i, 1));
}

void mmx_movntq(struct vcpu *v, const struct insn *i)
{
	mmx_check(v);
	vec_store(v, i, _mm_cvtsi64_si128((s64)mmx_read(v, i->r[1])), 8, 0);
	mmx_touch(v);
}

/* ---- scalars: from memory the rest is cleared, from a register it is kept (VEX: taken from src1) ---- */
VEC_INLINE __m128i merge4(__m128i rest, __m128i low)
{
	return _mm_castps_si128(_mm_move_ss(_mm_castsi128_ps(rest), _mm_castsi128_ps(low)));
}
VEC_INLINE __m128i merge8(__m128i rest, __m128i low)
{
	return _mm_castpd_si128(_mm_move_sd(_mm_castsi128_pd(rest), _mm_castsi128_pd(low)));
}
#define MOVE_SCALAR_FORM(name, attr, need, set, src1, src2, n)                                       \
	attr void name(struct vcpu *v, const struct insn *i)                                         \
	{                                                                                            \
		simd_check(v, need);                                                                 \
		if (insn_kind(i, 0) != OPK_REG) {                                                    \
			vec_store(v, i, *vec_xmm(v, i->r[1]), n, 0);                                 \
		} else if (i->flags & INSN_MEM) {                                                    \
			VEC_SOURCE(p, 1, n, 0)                                                       \
			set(v, i->r[0], vec_load##n(p));                                             \
		} else {                                                                             \
			set(v, i->r[0], merge##n(*vec_xmm(v, i->r[src1]), *vec_xmm(v, i->r[src2]))); \
		}                                                                                    \
	}
#define MOVE_SCALAR(name, n)                                       \
	MOVE_SCALAR_FORM(sse_##name, , SIMD_SSE, sse_set, 0, 1, n) \
	MOVE_SCALAR_FORM(avx_##name, VEC_AVX, SIMD_AVX, avx_set, 1, 2, n)
MOVE_SCALAR(movss, 4)
MOVE_SCALAR(movsd, 8)

/* MOVQ between XMM registers and memory clears the rest. set is sse_set or avx_set. */
#define MOVE_Q(name, attr, need, set)                                \
	attr void name(struct vcpu *v, const struct insn *i)         \
	{                                                            \
		simd_check(v, need);                                 \
		if (insn_kind(i, 0) != OPK_REG) {                    \
			vec_store(v, i, *vec_xmm(v, i->r[1]), 8, 0); \
			return;                                      \
		}                                                    \
		VEC_SOURCE(p, 1, 8, 0)                               \
		set(v, i->r[0], vec_load8(p));                       \
	}
MOVE_Q(sse_movq, , SIMD_SSE, sse_set)
MOVE_Q(avx_movq, VEC_AVX, SIMD_AVX, avx_set)

/* MOVD with memory or a general register, MOVQ with a general register. An XMM destination counts as 16 bytes. */
#define MOVE_GPR(name, attr, need, set)                                                          \
	attr void name(struct vcpu *v, const struct insn *i)                                     \
	{                                                                                        \
		simd_check(v, need);                                                             \
		if (insn_kind(i, 0) != OPK_REG) {                                                \
			vec_store(v, i, *vec_xmm(v, i->r[1]), 4, 0);                             \
		} else if (i->flags & INSN_MEM) {                                                \
			VEC_SOURCE(p, 1, 4, 0)                                                   \
			set(v, i->r[0], vec_load4(p));                                           \
		} else if (i->size == 16) {                                                      \
			set(v, i->r[0], _mm_cvtsi64_si128((s64)reg_read(v, i->r[1], i->size2))); \
		} else {                                                                         \
			reg_write(v, i->r[0], i->size, v->v[i->r[1]].q[0]);                      \
		}                                                                                \
	}
MOVE_GPR(sse_movd, , SIMD_SSE, sse_set)
MOVE_GPR(avx_movd, VEC_AVX, SIMD_AVX, avx_set)

/* ---- halves: MOVLPx, MOVHPx, MOVHLPS, MOVLHPS. With VEX the half that stays comes from src1. ---- */
VEC_INLINE __m128i low_of(__m128i rest, __m128i x)
{
	return merge8(rest, x);
}
VEC_INLINE __m128i high_of(__m128i rest, __m128i x)
{
	return _mm_unpacklo_epi64(rest, x);
}
VEC_INLINE __m128i same(__m128i x)
{
	return x;
}
VEC_INLINE __m128i upper(__m128i x)
{
	return _mm_unpackhi_epi64(x, x);
}
#define MOVE_HALF(name, into, stored)                                          \
	void sse_##name(struct vcpu *v, const struct insn *i)                  \
	{                                                                      \
		simd_check(v, SIMD_SSE);                                       \
		if (insn_kind(i, 0) != OPK_REG) {                              \
			vec_store(v, i, stored(*vec_xmm(v, i->r[1])), 8, 0);   \
			return;                                                \
		}                                                              \
		VEC_SOURCE(p, 1, 8, 0)                                         \
		sse_set(v, i->r[0], into(*vec_xmm(v, i->r[0]), vec_load8(p))); \
	}                                                                      \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)          \
	{                                                                      \
		simd_check(v, SIMD_AVX);                                       \
		if (insn_kind(i, 0) != OPK_REG) {                              \
			vec_store(v, i, stored(*vec_xmm(v, i->r[1])), 8, 0);   \
			return;                                                \
		}                                                              \
		VEC_SOURCE(p, 2, 8, 0)                                         \
		avx_set(v, i->r[0], into(*vec_xmm(v, i->r[1]), vec_load8(p))); \
	}
MOVE_HALF(movlps, low_of, same)
MOVE_HALF(movhps, high_of, upper)
#define MOVE_ACROSS(name, into, which)                                                        \
	void sse_##name(struct vcpu *v, const struct insn *i)                                 \
	{                                                                                     \
		simd_check(v, SIMD_SSE);                                                      \
		sse_set(v, i->r[0], into(*vec_xmm(v, i->r[0]), which(*vec_xmm(v, i->r[1])))); \
	}                                                                                     \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                         \
	{                                                                                     \
		simd_check(v, SIMD_AVX);                                                      \
		avx_set(v, i->r[0], into(*vec_xmm(v, i->r[1]), which(*vec_xmm(v, i->r[2])))); \
	}
MOVE_ACROSS(movhlps, low_of, upper)
MOVE_ACROSS(movlhps, high_of, same)

/* ---- duplicating moves ---- */
SSE_UNARY(movshdup, set)
SSE_UNARY(movsldup, set)
AVX_UNARY(movshdup, set, SIMD_AVX)
AVX_UNARY(movsldup, set, SIMD_AVX)

void sse_movddup(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 8, 0)
	__m128i x = vec_load8(p);
	sse_set(v, i->r[0], _mm_unpacklo_epi64(x, x));
}
VEC_AVX void avx_movddup(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_AVX);
	VEC_SOURCE(p, 1, i->size == 32 ? 32 : 8, 0)
	if (i->size == 32) {
		__m256i x = vec_load32(p);
		avx_set32(v, i->r[0], _mm256_unpacklo_epi64(x, x));
	} else {
		__m128i x = vec_load8(p);
		avx_set(v, i->r[0], _mm_unpacklo_epi64(x, x));
	}
}

/* ---- VZEROALL, VZEROUPPER: only the eight registers that code outside 64-bit mode can name ---- */
static void zero_from(struct vcpu *v, unsigned first_qword)
{
	simd_check(v, SIMD_AVX);
	for (unsigned r = 0; r < (vcpu_long(v) ? 16u : 8u); r++)
		for (unsigned q = first_qword; q < 4; q++)
			v->v[r].q[q] = 0;
}
void avx_zeroall(struct vcpu *v, const struct insn *i)
{
	zero_from(v, 0);
}
void avx_zeroupper(struct vcpu *v, const struct insn *i)
{
	zero_from(v, 2);
}
