/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions between integers and floating-point formats (SDM vol. 2). Those with MMX operands are in vec-mmx.c.
 */
#include "emulate/vec-operand.h"

/* Elements of the same size. */
SSE_UNARY(cvtdq2ps, fp_set)
SSE_UNARY(cvtps2dq, fp_set)
SSE_UNARY(cvttps2dq, fp_set)
AVX_UNARY(cvtdq2ps, fp_set, SIMD_AVX)
AVX_UNARY(cvtps2dq, fp_set, SIMD_AVX)
AVX_UNARY(cvttps2dq, fp_set, SIMD_AVX)

/* To elements of twice the size: the source is half a vector. */
#define AVX_WIDEN(name)                                               \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i) \
	{                                                             \
		simd_check(v, SIMD_AVX);                              \
		VEC_SOURCE(p, 1, i->size / 2, 0)                      \
		if (i->size == 32) {                                  \
			__m256i r;                                    \
			ASM_UNARY("v" #name, r, vec_load(p));         \
			avx_fp_set32(v, i->r[0], r);                  \
		} else {                                              \
			__m128i r;                                    \
			ASM_UNARY("v" #name, r, vec_load8(p));        \
			avx_fp_set(v, i->r[0], r);                    \
		}                                                     \
	}
#define WIDEN(name)                                           \
	void sse_##name(struct vcpu *v, const struct insn *i) \
	{                                                     \
		__m128i r;                                    \
		simd_check(v, SIMD_SSE);                      \
		VEC_SOURCE(p, 1, 8, 0)                        \
		ASM_UNARY(#name, r, vec_load8(p));            \
		sse_fp_set(v, i->r[0], r);                    \
	}                                                     \
	AVX_WIDEN(name)
WIDEN(cvtps2pd)
WIDEN(cvtdq2pd)
AVX_WIDEN(cvtph2ps)

/* To elements of half the size: the destination is half a vector, the source's size is the vector's. */
#define NARROW(name)                                                                       \
	SSE_UNARY(name, fp_set)                                                            \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                      \
	{                                                                                  \
		__m128i r;                                                                 \
		simd_check(v, SIMD_AVX);                                                   \
		VEC_SOURCE(p, 1, i->size2, 0)                                              \
		if (i->size2 == 32)                                                        \
			asm volatile("v" #name "y %1, %0" : "=x"(r) : "x"(vec_load32(p))); \
		else                                                                       \
			asm volatile("v" #name "x %1, %0" : "=x"(r) : "x"(vec_load(p)));   \
		avx_fp_set(v, i->r[0], r);                                                 \
	}
NARROW(cvtpd2ps)
NARROW(cvtpd2dq)
NARROW(cvttpd2dq)

/* VCVTPS2PH: a rounding mode in the immediate, or with bit 2 MXCSR's. The result may go to memory. */
#define HALF_CASE(k) \
	case k: asm volatile("vcvtps2ph $" #k ", %1, %0" : "=x"(r) : "x"(s)); break;
VEC_AVX void avx_cvtps2ph(struct vcpu *v, const struct insn *i)
{
	__m128i r;

	simd_check(v, SIMD_AVX);
	if (insn_kind(i, 0) == OPK_MEM) /* a page fault goes before a floating-point exception's flags */
		mmu_probe_write(v, op_linear(v, i, i->size2 / 2, SEG_WRITE), i->size2 / 2, MMU_EXPLICIT);
	if (i->size2 == 32) {
		__m256i s = *vec_ymm(v, i->r[1]);
		switch (i->imm & 7) {
			CASES_8(HALF_CASE) default : __builtin_unreachable();
		}
	} else {
		__m128i s = *vec_xmm(v, i->r[1]);
		switch (i->imm & 7) {
			CASES_8(HALF_CASE) default : __builtin_unreachable();
		}
	}
	if (insn_kind(i, 0) == OPK_REG) {
		avx_fp_set(v, i->r[0], r);
		return;
	}
	simd_post(v);
	vec_store(v, i, r, i->size2 / 2, 0);
}

/* ---- scalars ---- */
SSE_SCALAR(cvtss2sd, 4, fp_set)
SSE_SCALAR(cvtsd2ss, 8, fp_set)
AVX_SCALAR(cvtss2sd, 4, fp_set)
AVX_SCALAR(cvtsd2ss, 8, fp_set)

/* From a general register or memory: 8 bytes with W, else 4. */
#define FROM_INT(name)                                                                          \
	void sse_##name(struct vcpu *v, const struct insn *i)                                   \
	{                                                                                       \
		simd_check(v, SIMD_SSE);                                                        \
		VEC_INT_SOURCE(x, 1, i->osize == 3 ? 8 : 4)                                     \
		__m128i a = *vec_xmm(v, i->r[0]);                                               \
		if (i->osize == 3)                                                              \
			asm volatile(#name "q %1, %0" : "+x"(a) : "r"(x));                      \
		else                                                                            \
			asm volatile(#name "l %1, %0" : "+x"(a) : "r"((u32)x));                 \
		sse_fp_set(v, i->r[0], a);                                                      \
	}                                                                                       \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                           \
	{                                                                                       \
		__m128i r;                                                                      \
		simd_check(v, SIMD_AVX);                                                        \
		VEC_INT_SOURCE(x, 2, i->osize == 3 ? 8 : 4)                                     \
		__m128i a = *vec_xmm(v, i->r[1]);                                               \
		if (i->osize == 3)                                                              \
			asm volatile("v" #name "q %2, %1, %0" : "=x"(r) : "x"(a), "r"(x));      \
		else                                                                            \
			asm volatile("v" #name "l %2, %1, %0" : "=x"(r) : "x"(a), "r"((u32)x)); \
		avx_fp_set(v, i->r[0], r);                                                      \
	}
FROM_INT(cvtsi2ss)
FROM_INT(cvtsi2sd)

#define TO_INT_FORM(prefix, attr, need, name, text, n)                   \
	attr void prefix##_##name(struct vcpu *v, const struct insn *i)  \
	{                                                                \
		u64 x;                                                   \
		u32 y;                                                   \
		simd_check(v, need);                                     \
		VEC_SOURCE(p, 1, n, 0)                                   \
		__m128i b = vec_load##n(p);                              \
		if (i->size == 8) {                                      \
			asm volatile(text " %1, %0" : "=r"(x) : "x"(b)); \
		} else {                                                 \
			asm volatile(text " %1, %0" : "=r"(y) : "x"(b)); \
			x = y;                                           \
		}                                                        \
		simd_post(v);                                            \
		*vcpu_gpr(v, i->r[0]) = x;                               \
	}
#define TO_INT(name, n)                              \
	TO_INT_FORM(sse, , SIMD_SSE, name, #name, n) \
	TO_INT_FORM(avx, VEC_AVX, SIMD_AVX, name, "v" #name, n)
TO_INT(cvtss2si, 4)
TO_INT(cvtsd2si, 8)
TO_INT(cvttss2si, 4)
TO_INT(cvttsd2si, 8)
