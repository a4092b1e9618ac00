/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shuffles and permutations (SDM vol. 2). Their immediates are the guest's data, which the host's instructions would want as
 * constants: the legacy forms pick elements one by one from memory, where all operands are anyway; the VEX forms turn the
 * immediate into the control vector of the host's variable permutation.
 */
#include "emulate/vec-operand.h"

/* ---- dwords and words by immediate ---- */
VEC_INLINE __m128i pick4(const u32 *low, const u32 *high, unsigned imm)
{
	return _mm_set_epi32((s32)high[imm >> 6 & 3], (s32)high[imm >> 4 & 3], (s32)low[imm >> 2 & 3],
			     (s32)low[imm & 3]);
}
/* Two selector bits for each of four dwords become a control of VPERMILPS. */
VEC_INLINE VEC_AVX __m128i control4(unsigned imm)
{
	return _mm_srlv_epi32(_mm_set1_epi32((s32)imm), _mm_set_epi32(6, 4, 2, 0));
}
VEC_INLINE VEC_AVX __m128i permute4(__m128i x, __m128i control)
{
	return _mm_castps_si128(_mm_permutevar_ps(_mm_castsi128_ps(x), control));
}
VEC_INLINE VEC_AVX __m256i permute8(__m256i x, __m128i control)
{
	__m256i both = _mm256_set_m128i(control, control);

	return _mm256_castps_si256(_mm256_permutevar_ps(_mm256_castsi256_ps(x), both));
}

void sse_pshufd(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 16, 16)
	const u32 *s = p;
	sse_set(v, i->r[0], pick4(s, s, (unsigned)i->imm));
}
VEC_INLINE VEC_AVX void shuffle4(struct vcpu *v, const struct insn *i)
{
	VEC_SOURCE(p, 1, i->size, 0)
	if (i->size == 32)
		avx_set32(v, i->r[0], permute8(vec_load32(p), control4((unsigned)i->imm)));
	else
		avx_set(v, i->r[0], permute4(vec_load(p), control4((unsigned)i->imm)));
}
VEC_AVX void avx_pshufd(struct vcpu *v, const struct insn *i)
{
	simd_check(v, i->size == 32 ? SIMD_AVX2 : SIMD_AVX);
	shuffle4(v, i);
}

void sse_shufps(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 16, 16)
	const u32 *b = p;
	sse_set(v, i->r[0], pick4(v->v[i->r[0]].d, b, (unsigned)i->imm));
}
VEC_AVX void avx_shufps(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_AVX);
	__m128i c = control4((unsigned)i->imm);
	VEC_SOURCE(p, 2, i->size, 0)
	if (i->size == 32)
		avx_set32(v, i->r[0],
			  _mm256_blend_epi32(permute8(*vec_ymm(v, i->r[1]), c), permute8(vec_load32(p), c), 0xcc));
	else
		avx_set(v, i->r[0], _mm_blend_epi32(permute4(*vec_xmm(v, i->r[1]), c), permute4(vec_load(p), c), 0xc));
}

/* Four words of one half picked by the immediate. */
VEC_INLINE u64 pick_words(const u16_una *s, unsigned imm)
{
	return (u64)s[imm & 3] | (u64)s[imm >> 2 & 3] << 16 | (u64)s[imm >> 4 & 3] << 32 | (u64)s[imm >> 6 & 3] << 48;
}
VEC_INLINE __m128i words_low(const void *p, unsigned imm)
{
	return _mm_set_epi64x((s64)((const u64_una *)p)[1], (s64)pick_words(p, imm));
}
VEC_INLINE __m128i words_high(const void *p, unsigned imm)
{
	return _mm_set_epi64x((s64)pick_words((const u16_una *)p + 4, imm), (s64)((const u64_una *)p)[0]);
}
#define SHUFFLE_WORDS(name, pick)                                                                     \
	void sse_##name(struct vcpu *v, const struct insn *i)                                         \
	{                                                                                             \
		simd_check(v, SIMD_SSE);                                                              \
		VEC_SOURCE(p, 1, 16, 16)                                                              \
		sse_set(v, i->r[0], pick(p, (unsigned)i->imm));                                       \
	}                                                                                             \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                                 \
	{                                                                                             \
		simd_check(v, i->size == 32 ? SIMD_AVX2 : SIMD_AVX);                                  \
		VEC_SOURCE(p, 1, i->size, 0)                                                          \
		const u8 *s = p;                                                                      \
		__m128i low = pick(s, (unsigned)i->imm);                                              \
		if (i->size == 32)                                                                    \
			avx_set32(v, i->r[0], _mm256_set_m128i(pick(s + 16, (unsigned)i->imm), low)); \
		else                                                                                  \
			avx_set(v, i->r[0], low);                                                     \
	}
SHUFFLE_WORDS(pshuflw, words_low)
SHUFFLE_WORDS(pshufhw, words_high)

/* ---- qwords by immediate: bit k selects for result qword k ---- */
VEC_INLINE __m128i pick2(const u64_una *low, const u64_una *high, unsigned imm)
{
	return _mm_set_epi64x((s64)high[imm >> 1 & 1], (s64)low[imm & 1]);
}
void sse_shufpd(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 16, 16)
	const u64_una *b = p;
	sse_set(v, i->r[0], pick2(v->v[i->r[0]].q, b, (unsigned)i->imm));
}
VEC_INLINE VEC_AVX void shuffle2(struct vcpu *v, const struct insn *i, const u64_una *a, const u64_una *b)
{
	__m128i low = pick2(a, b, (unsigned)i->imm);
	if (i->size == 32)
		avx_set32(v, i->r[0], _mm256_set_m128i(pick2(a + 2, b + 2, (unsigned)i->imm >> 2), low));
	else
		avx_set(v, i->r[0], low);
}
VEC_AVX void avx_shufpd(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_AVX);
	VEC_SOURCE(p, 2, i->size, 0)
	const u64_una *b = p;
	shuffle2(v, i, v->v[i->r[1]].q, b);
}

/* VPERMILPx: the control is an immediate (operand 2) or a vector. */
VEC_AVX void avx_permilps(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_AVX);
	if (insn_kind(i, 2) == OPK_IMM) {
		shuffle4(v, i);
		return;
	}
	VEC_SOURCE(p, 2, i->size, 0)
	if (i->size == 32) {
		__m256i r;
		ASM3("vpermilps", r, *vec_ymm(v, i->r[1]), vec_load32(p));
		avx_set32(v, i->r[0], r);
	} else {
		avx_set(v, i->r[0], permute4(*vec_xmm(v, i->r[1]), vec_load(p)));
	}
}
VEC_AVX void avx_permilpd(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_AVX);
	if (insn_kind(i, 2) == OPK_IMM) {
		VEC_SOURCE(p, 1, i->size, 0)
		const u64_una *s = p;
		shuffle2(v, i, s, s);
		return;
	}
	VEC_SOURCE(p, 2, i->size, 0)
	if (i->size == 32) {
		__m256i r;
		ASM3("vpermilpd", r, *vec_ymm(v, i->r[1]), vec_load32(p));
		avx_set32(v, i->r[0], r);
	} else {
		__m128i r;
		ASM3("vpermilpd", r, *vec_xmm(v, i->r[1]), vec_load(p));
		avx_set(v, i->r[0], r);
	}
}

/* ---- across lanes ---- */
#define PERMUTE(name)                                                    \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)    \
	{                                                                \
		__m256i r;                                               \
		simd_check(v, SIMD_AVX2);                                \
		VEC_SOURCE(p, 2, 32, 0)                                  \
		ASM3("v" #name, r, *vec_ymm(v, i->r[1]), vec_load32(p)); \
		avx_set32(v, i->r[0], r);                                \
	}
PERMUTE(permd)
PERMUTE(permps)

VEC_AVX void avx_permq(struct vcpu *v, const struct insn *i)
{
	unsigned imm = (unsigned)i->imm;

	simd_check(v, SIMD_AVX2);
	VEC_SOURCE(p, 1, 32, 0)
	const u64_una *s = p;
	avx_set32(v, i->r[0],
		  _mm256_set_epi64x((s64)s[imm >> 6 & 3], (s64)s[imm >> 4 & 3], (s64)s[imm >> 2 & 3], (s64)s[imm & 3]));
}

/* A lane of the result: one of four source lanes, or zero. */
VEC_INLINE VEC_AVX __m128i pick_lane(const __m128i_u *a, const __m128i_u *b, unsigned imm)
{
	if (imm & 8)
		return _mm_setzero_si128();
	return _mm_loadu_si128((imm & 2 ? b : a) + (imm & 1));
}
VEC_INLINE VEC_AVX void permute_lanes(struct vcpu *v, const struct insn *i)
{
	VEC_SOURCE(p, 2, 32, 0)
	const __m128i_u *b = p, *a = (const __m128i_u *)&v->v[i->r[1]];

	avx_set32(v, i->r[0],
		  _mm256_set_m128i(pick_lane(a, b, (unsigned)i->imm >> 4), pick_lane(a, b, (unsigned)i->imm)));
}
/* 128-bit lanes in and out of 256 bits. The f128 forms are AVX's, the i128 forms AVX2's. */
#define LANES(f_or_i, need)                                                                                \
	VEC_AVX void avx_perm2##f_or_i##128(struct vcpu * v, const struct insn *i)                         \
	{                                                                                                  \
		simd_check(v, need);                                                                       \
		permute_lanes(v, i);                                                                       \
	}                                                                                                  \
	VEC_AVX void avx_insert##f_or_i##128(struct vcpu * v, const struct insn *i)                        \
	{                                                                                                  \
		simd_check(v, need);                                                                       \
		VEC_SOURCE(p, 2, 16, 0)                                                                    \
		__m128i b = vec_load(p);                                                                   \
		const __m128i *a = vec_xmm(v, i->r[1]);                                                    \
		avx_set32(v, i->r[0], i->imm & 1 ? _mm256_set_m128i(b, a[0]) : _mm256_set_m128i(a[1], b)); \
	}                                                                                                  \
	VEC_AVX void avx_extract##f_or_i##128(struct vcpu * v, const struct insn *i)                       \
	{                                                                                                  \
		simd_check(v, need);                                                                       \
		__m128i x = vec_xmm(v, i->r[1])[i->imm & 1];                                               \
		if (insn_kind(i, 0) == OPK_REG)                                                            \
			avx_set(v, i->r[0], x);                                                            \
		else                                                                                       \
			vec_store(v, i, x, 16, 0);                                                         \
	}                                                                                                  \
	VEC_AVX void avx_broadcast##f_or_i##128(struct vcpu * v, const struct insn *i)                     \
	{                                                                                                  \
		simd_check(v, need);                                                                       \
		VEC_SOURCE(p, 1, 16, 0)                                                                    \
		__m128i x = vec_load(p);                                                                   \
		avx_set32(v, i->r[0], _mm256_set_m128i(x, x));                                             \
	}
LANES(f, SIMD_AVX)
LANES(i, SIMD_AVX2)

/* ---- broadcasts of an element; from a register they are AVX2's ---- */
#define BROADCAST(name, n, load, need, all16, all32)                  \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i) \
	{                                                             \
		simd_check(v, i->flags &INSN_MEM ? need : SIMD_AVX2); \
		VEC_SOURCE(p, 1, n, 0)                                \
		__m128i x = load(p);                                  \
		if (i->size == 32)                                    \
			avx_set32(v, i->r[0], all32(x));              \
		else                                                  \
			avx_set(v, i->r[0], all16(x));                \
	}
VEC_INLINE __m128i load1(const void *p)
{
	return _mm_cvtsi32_si128(*(const u8 *)p);
}
VEC_INLINE __m128i load2(const void *p)
{
	return _mm_cvtsi32_si128(*(const u16_una *)p);
}
BROADCAST(pbroadcastb, 1, load1, SIMD_AVX2, _mm_broadcastb_epi8, _mm256_broadcastb_epi8)
BROADCAST(pbroadcastw, 2, load2, SIMD_AVX2, _mm_broadcastw_epi16, _mm256_broadcastw_epi16)
BROADCAST(pbroadcastd, 4, vec_load4, SIMD_AVX2, _mm_broadcastd_epi32, _mm256_broadcastd_epi32)
BROADCAST(pbroadcastq, 8, vec_load8, SIMD_AVX2, _mm_broadcastq_epi64, _mm256_broadcastq_epi64)
BROADCAST(broadcastss, 4, vec_load4, SIMD_AVX, _mm_broadcastd_epi32, _mm256_broadcastd_epi32)
BROADCAST(broadcastsd, 8, vec_load8, SIMD_AVX, _mm_broadcastq_epi64, _mm256_broadcastq_epi64)

/* ---- PALIGNR: bytes n.. of (first source, second source) side by side ---- */
/* A window of 16 bytes at 16 + k moves a lane down by k bytes, or up by -k: 80h in a control byte gives zero. */
static const u8 slide[80] __attribute__((aligned(16))) = {
	0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
	0,    1,    2,	  3,	4,    5,    6,	  7,	8,    9,    10,	  11,	12,   13,   14,	  15,
	0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
	0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
	0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
};
__attribute__((target("ssse3"))) void sse_palignr(struct vcpu *v, const struct insn *i)
{
	unsigned n = MIN((u8)i->imm, 32);

	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 16, 16)
	__m128i low = vec_load(p), high = *vec_xmm(v, i->r[0]);
	low = _mm_shuffle_epi8(low, vec_load(slide + 16 + n));
	high = _mm_shuffle_epi8(high, vec_load(slide + n));
	sse_set(v, i->r[0], _mm_or_si128(low, high));
}
VEC_AVX void avx_palignr(struct vcpu *v, const struct insn *i)
{
	unsigned n = MIN((u8)i->imm, 32);

	simd_check(v, i->size == 32 ? SIMD_AVX2 : SIMD_AVX);
	VEC_SOURCE(p, 2, i->size, 0)
	__m256i down = _mm256_broadcastsi128_si256(vec_load(slide + 16 + n));
	__m256i up = _mm256_broadcastsi128_si256(vec_load(slide + n));
	__m256i low = i->size == 32 ? vec_load32(p) : _mm256_castsi128_si256(vec_load(p));
	__m256i r = _mm256_or_si256(_mm256_shuffle_epi8(low, down), _mm256_shuffle_epi8(*vec_ymm(v, i->r[1]), up));
	if (i->size == 32)
		avx_set32(v, i->r[0], r);
	else
		avx_set(v, i->r[0], _mm256_castsi256_si128(r));
}

/* ---- PMOVSX, PMOVZX: from[16] and from[32] bytes of source for a result of so many ---- */
#define EXTEND(name, load16, n16, load32, n32)                        \
	void sse_##name(struct vcpu *v, const struct insn *i)         \
	{                                                             \
		__m128i r;                                            \
		simd_check(v, SIMD_SSE);                              \
		VEC_SOURCE(p, 1, n16, 0)                              \
		ASM_UNARY(#name, r, load16(p));                       \
		sse_set(v, i->r[0], r);                               \
	}                                                             \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i) \
	{                                                             \
		simd_check(v, i->size == 32 ? SIMD_AVX2 : SIMD_AVX);  \
		VEC_SOURCE(p, 1, i->size == 32 ? n32 : n16, 0)        \
		if (i->size == 32) {                                  \
			__m256i r;                                    \
			ASM_UNARY("v" #name, r, load32(p));           \
			avx_set32(v, i->r[0], r);                     \
		} else {                                              \
			__m128i r;                                    \
			ASM_UNARY("v" #name, r, load16(p));           \
			avx_set(v, i->r[0], r);                       \
		}                                                     \
	}
EXTEND(pmovsxbw, vec_load8, 8, vec_load, 16)
EXTEND(pmovsxbd, vec_load4, 4, vec_load8, 8)
EXTEND(pmovsxbq, load2, 2, vec_load4, 4)
EXTEND(pmovsxwd, vec_load8, 8, vec_load, 16)
EXTEND(pmovsxwq, vec_load4, 4, vec_load8, 8)
EXTEND(pmovsxdq, vec_load8, 8, vec_load, 16)
EXTEND(pmovzxbw, vec_load8, 8, vec_load, 16)
EXTEND(pmovzxbd, vec_load4, 4, vec_load8, 8)
EXTEND(pmovzxbq, load2, 2, vec_load4, 4)
EXTEND(pmovzxwd, vec_load8, 8, vec_load, 16)
EXTEND(pmovzxwq, vec_load4, 4, vec_load8, 8)
EXTEND(pmovzxdq, vec_load8, 8, vec_load, 16)
