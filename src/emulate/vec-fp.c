/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floating-point arithmetic and comparison, packed and scalar (SDM vol. 2). The host's MXCSR is the guest's, see vector.h.
 */
#include "emulate/vec-operand.h"

#define PACKED(name)             \
	SSE_BINARY(name, fp_set) \
	AVX_BINARY(name, fp_set, SIMD_AVX)
#define SINGLE(name)                \
	SSE_SCALAR(name, 4, fp_set) \
	AVX_SCALAR(name, 4, fp_set)
#define DOUBLE(name)                \
	SSE_SCALAR(name, 8, fp_set) \
	AVX_SCALAR(name, 8, fp_set)
#define FOUR(name)       \
	PACKED(name##ps) \
	PACKED(name##pd) \
	SINGLE(name##ss) \
	DOUBLE(name##sd)
#define PACKED_UNARY(name)      \
	SSE_UNARY(name, fp_set) \
	AVX_UNARY(name, fp_set, SIMD_AVX)

FOUR(add)
FOUR(sub)
FOUR(mul)
FOUR(div)
FOUR(min)
FOUR(max)
PACKED(haddps)
PACKED(haddpd)
PACKED(hsubps)
PACKED(hsubpd)
PACKED(addsubps)
PACKED(addsubpd)
PACKED_UNARY(sqrtps)
PACKED_UNARY(sqrtpd)
SINGLE(sqrtss)
DOUBLE(sqrtsd)

/* Approximations: what the host's CPU approximates to; they raise no exceptions. */
SSE_UNARY(rcpps, set)
SSE_UNARY(rsqrtps, set)
AVX_UNARY(rcpps, set, SIMD_AVX)
AVX_UNARY(rsqrtps, set, SIMD_AVX)
SSE_SCALAR(rcpss, 4, set)
SSE_SCALAR(rsqrtss, 4, set)
AVX_SCALAR(rcpss, 4, set)
AVX_SCALAR(rsqrtss, 4, set)

/* ---- operations picked by an immediate: case k of a switch executes text with $k ---- */
#define SSE_CASE(text, k)                                                 \
	case k:                                                           \
		asm volatile(text " $" #k ", %1, %0" : "+x"(a) : "x"(b)); \
		break;
#define AVX_CASE(text, k)                                                             \
	case k:                                                                       \
		asm volatile(text " $" #k ", %2, %1, %0" : "=x"(r) : "x"(a), "x"(b)); \
		break;
#define UNARY_CASE(text, k) \
	case k: asm volatile(text " $" #k ", %1, %0" : "=x"(r) : "x"(b)); break;
/* The remaining values of the masked immediate do not exist; the compiler wants to know. */
#define CASES_END \
	default: __builtin_unreachable();

/* CMPxx: 8 predicates, 32 with VEX. */
#define CMP(name, n, load)                                     \
	void sse_##name(struct vcpu *v, const struct insn *i)  \
	{                                                      \
		simd_check(v, SIMD_SSE);                       \
		VEC_SOURCE(p, 1, n, n & 16)                    \
		__m128i b = load(p), a = *vec_xmm(v, i->r[0]); \
		switch (i->imm & 7) {                          \
			CASES_8(SSE_CASE_##name) CASES_END     \
		}                                              \
		sse_fp_set(v, i->r[0], a);                     \
	}
#define AVX_CMP(name, load, vector, set)                                 \
	{                                                                \
		vector b = load, r, a = *(const vector *)&v->v[i->r[1]]; \
		switch (i->imm & 31) {                                   \
			CASES_32(AVX_CASE_##name) CASES_END              \
		}                                                        \
		set(v, i->r[0], r);                                      \
	}
#define AVX_CMP_PACKED(name)                                                \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)       \
	{                                                                   \
		simd_check(v, SIMD_AVX);                                    \
		VEC_SOURCE(p, 2, i->size, 0)                                \
		if (i->size == 32)                                          \
			AVX_CMP(name, vec_load32(p), __m256i, avx_fp_set32) \
		else                                                        \
			AVX_CMP(name, vec_load(p), __m128i, avx_fp_set)     \
	}
#define AVX_CMP_SCALAR(name, n)                                       \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i) \
	{                                                             \
		simd_check(v, SIMD_AVX);                              \
		VEC_SOURCE(p, 2, n, 0)                                \
		AVX_CMP(name, vec_load##n(p), __m128i, avx_fp_set)    \
	}
#define SSE_CASE_cmpps(k) SSE_CASE("cmpps", k)
#define SSE_CASE_cmppd(k) SSE_CASE("cmppd", k)
#define SSE_CASE_cmpss(k) SSE_CASE("cmpss", k)
#define SSE_CASE_cmpsd(k) SSE_CASE("cmpsd", k)
#define AVX_CASE_cmpps(k) AVX_CASE("vcmpps", k)
#define AVX_CASE_cmppd(k) AVX_CASE("vcmppd", k)
#define AVX_CASE_cmpss(k) AVX_CASE("vcmpss", k)
#define AVX_CASE_cmpsd(k) AVX_CASE("vcmpsd", k)
CMP(cmpps, 16, vec_load)
CMP(cmppd, 16, vec_load)
CMP(cmpss, 4, vec_load4)
CMP(cmpsd, 8, vec_load8)
AVX_CMP_PACKED(cmpps)
AVX_CMP_PACKED(cmppd)
AVX_CMP_SCALAR(cmpss, 4)
AVX_CMP_SCALAR(cmpsd, 8)

/* ROUNDxx: mode in bits 1..0, MXCSR's mode instead with bit 2, no inexact exception with bit 3. */
#define ROUND_PACKED(name)                                             \
	void sse_##name(struct vcpu *v, const struct insn *i)          \
	{                                                              \
		simd_check(v, SIMD_SSE);                               \
		VEC_SOURCE(p, 1, 16, 16)                               \
		__m128i r, b = vec_load(p);                            \
		switch (i->imm & 15) {                                 \
			CASES_16(UNARY_CASE_##name) CASES_END          \
		}                                                      \
		sse_fp_set(v, i->r[0], r);                             \
	}                                                              \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)  \
	{                                                              \
		simd_check(v, SIMD_AVX);                               \
		VEC_SOURCE(p, 1, i->size, 0)                           \
		if (i->size == 32) {                                   \
			__m256i r, b = vec_load32(p);                  \
			switch (i->imm & 15) {                         \
				CASES_16(VUNARY_CASE_##name) CASES_END \
			}                                              \
			avx_fp_set32(v, i->r[0], r);                   \
		} else {                                               \
			__m128i r, b = vec_load(p);                    \
			switch (i->imm & 15) {                         \
				CASES_16(VUNARY_CASE_##name) CASES_END \
			}                                              \
			avx_fp_set(v, i->r[0], r);                     \
		}                                                      \
	}
#define ROUND_SCALAR(name, n)                                            \
	void sse_##name(struct vcpu *v, const struct insn *i)            \
	{                                                                \
		simd_check(v, SIMD_SSE);                                 \
		VEC_SOURCE(p, 1, n, 0)                                   \
		__m128i b = vec_load##n(p), a = *vec_xmm(v, i->r[0]);    \
		switch (i->imm & 15) {                                   \
			CASES_16(SSE_CASE_##name) CASES_END              \
		}                                                        \
		sse_fp_set(v, i->r[0], a);                               \
	}                                                                \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)    \
	{                                                                \
		simd_check(v, SIMD_AVX);                                 \
		VEC_SOURCE(p, 2, n, 0)                                   \
		__m128i r, b = vec_load##n(p), a = *vec_xmm(v, i->r[1]); \
		switch (i->imm & 15) {                                   \
			CASES_16(AVX_CASE_##name) CASES_END              \
		}                                                        \
		avx_fp_set(v, i->r[0], r);                               \
	}
#define UNARY_CASE_roundps(k)  UNARY_CASE("roundps", k)
#define UNARY_CASE_roundpd(k)  UNARY_CASE("roundpd", k)
#define VUNARY_CASE_roundps(k) UNARY_CASE("vroundps", k)
#define VUNARY_CASE_roundpd(k) UNARY_CASE("vroundpd", k)
#define SSE_CASE_roundss(k)    SSE_CASE("roundss", k)
#define SSE_CASE_roundsd(k)    SSE_CASE("roundsd", k)
#define AVX_CASE_roundss(k)    AVX_CASE("vroundss", k)
#define AVX_CASE_roundsd(k)    AVX_CASE("vroundsd", k)
ROUND_PACKED(roundps)
ROUND_PACKED(roundpd)
ROUND_SCALAR(roundss, 4)
ROUND_SCALAR(roundsd, 8)

/*
 * DPPS, DPPD: the upper four bits of the immediate say which products count, and are cases; the lower four say which elements
 * of the result get the sum and which zero, and are a mask.
 */
VEC_INLINE __m128i mask_dwords(unsigned imm)
{
	__m128i bits = _mm_set_epi32(8, 4, 2, 1);

	return _mm_cmpeq_epi32(_mm_and_si128(_mm_set1_epi32((s32)imm), bits), bits);
}
VEC_INLINE __m128i mask_qwords(unsigned imm)
{
	return _mm_set_epi64x(-(s64)(imm >> 1 & 1), -(s64)(imm & 1));
}
/*
 * For a vcpu with simd_trap: the products, then the sums of two, each for its exceptions; one that is unmasked keeps what
 * comes after from being computed. `used` masks the factors of one lane.
 */
static void dot_stages(struct vcpu *v, const __m128i *a, const __m128i_u *b, __m128i used, unsigned lanes, bool doubles)
{
	__m128i x[2];

	for (unsigned k = 0; k < lanes; k++) {
		__m128i y = _mm_and_si128(b[k], used);
		x[k] = _mm_and_si128(a[k], used);
		if (doubles)
			ASM2("mulpd", x[k], y);
		else
			ASM2("mulps", x[k], y);
	}
	simd_settle(v);
	for (unsigned k = 0; k < lanes && !doubles; k++)
		ASM2("haddps", x[k], x[k]);
	simd_settle(v);
}
#define DOT_CASE(text, k)                                                             \
	case k:                                                                       \
		asm volatile(text " $(" #k " << 4 | 15), %1, %0" : "+x"(a) : "x"(b)); \
		break;
#define VDOT_CASE(text, k)                                                                        \
	case k:                                                                                   \
		asm volatile(text " $(" #k " << 4 | 15), %2, %1, %0" : "=x"(r) : "x"(a), "x"(b)); \
		break;
#define DPPS_CASE(k)  DOT_CASE("dpps", k)
#define DPPD_CASE(k)  DOT_CASE("dppd", k)
#define VDPPS_CASE(k) VDOT_CASE("vdpps", k)
#define VDPPD_CASE(k) VDOT_CASE("vdppd", k)
void sse_dpps(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 16, 16)
	if (unlikely(v->simd_trap))
		dot_stages(v, vec_xmm(v, i->r[0]), p, mask_dwords((unsigned)i->imm >> 4), 1, false);
	__m128i b = vec_load(p), a = *vec_xmm(v, i->r[0]);
	switch (i->imm >> 4 & 15) {
		CASES_16(DPPS_CASE) CASES_END
	}
	sse_fp_set(v, i->r[0], _mm_and_si128(a, mask_dwords((unsigned)i->imm)));
}
void sse_dppd(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 16, 16)
	if (unlikely(v->simd_trap))
		dot_stages(v, vec_xmm(v, i->r[0]), p, mask_qwords((unsigned)i->imm >> 4), 1, true);
	__m128i b = vec_load(p), a = *vec_xmm(v, i->r[0]);
	switch (i->imm >> 4 & 3) {
		CASES_4(DPPD_CASE) CASES_END
	}
	sse_fp_set(v, i->r[0], _mm_and_si128(a, mask_qwords((unsigned)i->imm)));
}
VEC_AVX void avx_dpps(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_AVX);
	VEC_SOURCE(p, 2, i->size, 0)
	if (unlikely(v->simd_trap))
		dot_stages(v, vec_xmm(v, i->r[1]), p, mask_dwords((unsigned)i->imm >> 4), i->size / 16u, false);
	__m128i m = mask_dwords((unsigned)i->imm);
	if (i->size == 32) {
		__m256i r, b = vec_load32(p), a = *vec_ymm(v, i->r[1]);
		switch (i->imm >> 4 & 15) {
			CASES_16(VDPPS_CASE) CASES_END
		}
		avx_fp_set32(v, i->r[0], _mm256_and_si256(r, _mm256_set_m128i(m, m)));
	} else {
		__m128i r, b = vec_load(p), a = *vec_xmm(v, i->r[1]);
		switch (i->imm >> 4 & 15) {
			CASES_16(VDPPS_CASE) CASES_END
		}
		avx_fp_set(v, i->r[0], _mm_and_si128(r, m));
	}
}
VEC_AVX void avx_dppd(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_AVX);
	VEC_SOURCE(p, 2, 16, 0)
	if (unlikely(v->simd_trap))
		dot_stages(v, vec_xmm(v, i->r[1]), p, mask_qwords((unsigned)i->imm >> 4), 1, true);
	__m128i r, b = vec_load(p), a = *vec_xmm(v, i->r[1]);
	switch (i->imm >> 4 & 3) {
		CASES_4(VDPPD_CASE) CASES_END
	}
	avx_fp_set(v, i->r[0], _mm_and_si128(r, mask_qwords((unsigned)i->imm)));
}

/* ---- COMISx, UCOMISx: ZF PF CF, the others zero ---- */
#define COMPARE(prefix, attr, need, name, text, n)                                                                     \
	attr void prefix##_##name(struct vcpu *v, const struct insn *i)                                                \
	{                                                                                                              \
		bool z, u, c;                                                                                          \
		simd_check(v, need);                                                                                   \
		VEC_SOURCE(p, 1, n, 0)                                                                                 \
		__m128i b = vec_load##n(p);                                                                            \
		asm volatile(text " %4, %3" : "=@ccz"(z), "=@ccp"(u), "=@ccc"(c) : "x"(*vec_xmm(v, i->r[0])), "x"(b)); \
		simd_post(v);                                                                                          \
		flags_set(v, (z ? FL_ZF : 0) | (u ? FL_PF : 0) | (c ? FL_CF : 0));                                     \
	}
#define COMPARE_BOTH(name, n)                    \
	COMPARE(sse, , SIMD_SSE, name, #name, n) \
	COMPARE(avx, VEC_AVX, SIMD_AVX, name, "v" #name, n)
COMPARE_BOTH(comiss, 4)
COMPARE_BOTH(comisd, 8)
COMPARE_BOTH(ucomiss, 4)
COMPARE_BOTH(ucomisd, 8)

/* ---- FMA: the digits say which operands are multiplied and which is added ---- */
#define FMA_PACKED(name)                                                                                               \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                                                  \
	{                                                                                                              \
		simd_check(v, SIMD_AVX);                                                                               \
		VEC_SOURCE(p, 2, i->size, 0)                                                                           \
		if (i->size == 32) {                                                                                   \
			__m256i r = *vec_ymm(v, i->r[0]);                                                              \
			asm volatile("v" #name " %2, %1, %0"                                                           \
				     : "+x"(r)                                                                         \
				     : "x"(*vec_ymm(v, i->r[1])), "x"(vec_load32(p)));                                 \
			avx_fp_set32(v, i->r[0], r);                                                                   \
		} else {                                                                                               \
			__m128i r = *vec_xmm(v, i->r[0]);                                                              \
			asm volatile("v" #name " %2, %1, %0" : "+x"(r) : "x"(*vec_xmm(v, i->r[1])), "x"(vec_load(p))); \
			avx_fp_set(v, i->r[0], r);                                                                     \
		}                                                                                                      \
	}
#define FMA_SCALAR(name, n)                                                                          \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                                \
	{                                                                                            \
		simd_check(v, SIMD_AVX);                                                             \
		VEC_SOURCE(p, 2, n, 0)                                                               \
		__m128i c = vec_load##n(p), r = *vec_xmm(v, i->r[0]);                                \
		asm volatile("v" #name " %2, %1, %0" : "+x"(r) : "x"(*vec_xmm(v, i->r[1])), "x"(c)); \
		avx_fp_set(v, i->r[0], r);                                                           \
	}
#define FMA_ORDER(name)         \
	FMA_PACKED(name##ps)    \
	FMA_PACKED(name##pd)    \
	FMA_SCALAR(name##ss, 4) \
	FMA_SCALAR(name##sd, 8)
#define FMA(name)            \
	FMA_ORDER(name##132) \
	FMA_ORDER(name##213) \
	FMA_ORDER(name##231)
#define FMA_ALTERNATING(name)   \
	FMA_PACKED(name##132ps) \
	FMA_PACKED(name##213ps) \
	FMA_PACKED(name##231ps) \
	FMA_PACKED(name##132pd) \
	FMA_PACKED(name##213pd) \
	FMA_PACKED(name##231pd)
FMA(fmadd)
FMA(fmsub)
FMA(fnmadd)
FMA(fnmsub)
FMA_ALTERNATING(fmaddsub)
FMA_ALTERNATING(fmsubadd)
