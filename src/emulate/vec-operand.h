/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operands of vector instructions, and the families that most of them belong to.
 *
 * The arithmetic is the host's: a family's line names an instruction, and the function made from it loads the operands,
 * executes that very instruction on them and stores the result, which makes it bit-exact (NaN operands in their order, flags,
 * denormals). It is written as assembly because the compiler may swap the operands of an intrinsic that it thinks commutes.
 * A source operand is a pointer, into v->v[] or into the host page that the TLB gives.
 *
 * Names: sse_X is the legacy encoding of X (destination is first source, upper half kept), avx_X the VEX encoding of VX,
 * mmx_X the one on MMX registers.
 */
#pragma once
#include <immintrin.h>

#include "emulate/vector.h"

#define VEC_AVX	   __attribute__((target("avx2")))
#define VEC_INLINE static inline __attribute__((always_inline))
#define VEC_COLD   __attribute__((noinline, cold))

/*
 * Slow paths, all of them tail calls, so that the functions that get along without need no stack frame. vec_again reads operand
 * k, n bytes of memory, with all checks, and executes the instruction once more with the operand in register VEC_TMP.
 */
#define VEC_TMP 16
VEC_COLD void vec_again(struct vcpu *v, const struct insn *i, unsigned k, unsigned n, unsigned align);
/* Stores the first n bytes of VEC_TMP to the memory operand. */
VEC_COLD void vec_store_slow(struct vcpu *v, const struct insn *i, unsigned n, unsigned align);
/* Stores a floating-point result unless an unmasked exception is due. */
VEC_COLD void vec_settle_sse(struct vcpu *v, unsigned reg, __m128i result);
VEC_COLD VEC_AVX void vec_settle_avx(struct vcpu *v, unsigned reg, __m256i result);

VEC_INLINE __m128i *vec_xmm(struct vcpu *v, unsigned reg)
{
	return (__m128i *)&v->v[reg];
}
VEC_INLINE VEC_AVX __m256i *vec_ymm(struct vcpu *v, unsigned reg)
{
	return (__m256i *)&v->v[reg];
}
VEC_INLINE __m128i vec_load(const void *p)
{
	return _mm_loadu_si128(p);
}
VEC_INLINE __m128i vec_load4(const void *p)
{
	return _mm_cvtsi32_si128((int)*(const u32_una *)p);
}
VEC_INLINE __m128i vec_load8(const void *p)
{
	return _mm_loadl_epi64(p);
}
VEC_INLINE VEC_AVX __m256i vec_load32(const void *p)
{
	return _mm256_loadu_si256(p);
}

/*
 * Host address of the memory operand where the TLB has it and it is aligned, else NULL. A canonical page that the TLB knows is
 * all that 64-bit code needs of segmentation; the rest is for the slow path.
 */
VEC_INLINE u8 *vec_fast(struct vcpu *v, const struct insn *i, unsigned n, unsigned align, enum seg_use use)
{
	u64 ea = op_ea(v, i), gla = i->seg >= SEG_FS ? v->seg[i->seg].base + ea : ea;
	const struct tlb_entry *e = tlb_slot(v->tlb, gla);

	if (unlikely(v->code_size != CODE_64 || gla - (use == SEG_WRITE ? e->wr : e->rd) > PAGE_SIZE - n))
		return NULL;
	if (align && unlikely(gla & (align - 1)))
		return NULL;
	return (u8 *)(gla + e->delta);
}
/* Operand k, a vector register or memory of n bytes; NULL for the slow path. */
VEC_INLINE const void *vec_try(struct vcpu *v, const struct insn *i, unsigned k, unsigned n, unsigned align)
{
	return insn_kind(i, k) == OPK_REG ? (const void *)&v->v[i->r[k]] : vec_fast(v, i, n, align, SEG_READ);
}
/*
 * Declares p as the address of operand k's n bytes. When they cannot be had at once it RETURNS from the function, which is
 * executed again with the operand in a register: what depends on the operand being memory asks INSN_MEM, not its kind.
 */
#define VEC_SOURCE(p, k, n, align)                  \
	const void *p = vec_try(v, i, k, n, align); \
	if (unlikely(!p)) {                         \
		vec_again(v, i, k, n, align);       \
		return;                             \
	}

/* Declares x as operand k, a general register (of which more than n bytes may be read) or an integer of n bytes in memory. */
#define VEC_INT_SOURCE(x, k, n)             \
	u64 x;                              \
	if (i->flags & INSN_MEM) {          \
		VEC_SOURCE(x##_at, k, n, 0) \
		x = vec_integer(x##_at, n); \
	} else {                            \
		x = *vcpu_gpr(v, i->r[k]);  \
	}
VEC_INLINE u64 vec_integer(const void *p, unsigned n)
{
	return n == 1	? *(const u8 *)p
	       : n == 2 ? *(const u16_una *)p
	       : n == 4 ? *(const u32_una *)p
			: *(const u64_una *)p;
}

/* The low n bytes of x to the memory operand; a tail call when slow. */
VEC_INLINE void vec_store(struct vcpu *v, const struct insn *i, __m128i x, unsigned n, unsigned align)
{
	u8 *p = vec_fast(v, i, n, align, SEG_WRITE);

	if (unlikely(!p)) {
		*vec_xmm(v, VEC_TMP) = x;
		vec_store_slow(v, i, n, align);
		return;
	}
	switch (n) {
	case 16: _mm_storeu_si128((__m128i *)p, x); break;
	case 8: *(u64_una *)p = (u64)_mm_cvtsi128_si64(x); break;
	case 4: *(u32_una *)p = (u32)_mm_cvtsi128_si32(x); break;
	case 2: *(u16_una *)p = (u16)_mm_cvtsi128_si32(x); break;
	default: *p = (u8)_mm_cvtsi128_si32(x);
	}
}
VEC_INLINE VEC_AVX void vec_store32(struct vcpu *v, const struct insn *i, __m256i x, unsigned align)
{
	u8 *p = vec_fast(v, i, 32, align, SEG_WRITE);

	if (likely(p)) {
		_mm256_storeu_si256((__m256i *)p, x);
		return;
	}
	*vec_ymm(v, VEC_TMP) = x;
	vec_store_slow(v, i, 32, align);
}

/* Results to a register: legacy encoding keeps the upper half, VEX clears it. The fp_ ones stop at an unmasked exception. */
VEC_INLINE void sse_set(struct vcpu *v, unsigned reg, __m128i x)
{
	*vec_xmm(v, reg) = x;
}
VEC_INLINE void sse_fp_set(struct vcpu *v, unsigned reg, __m128i x)
{
	if (unlikely(v->simd_trap))
		vec_settle_sse(v, reg, x);
	else
		*vec_xmm(v, reg) = x;
}
VEC_INLINE VEC_AVX void avx_set32(struct vcpu *v, unsigned reg, __m256i x)
{
	*vec_ymm(v, reg) = x;
}
VEC_INLINE VEC_AVX void avx_set(struct vcpu *v, unsigned reg, __m128i x)
{
	*vec_ymm(v, reg) = _mm256_zextsi128_si256(x);
}
VEC_INLINE VEC_AVX void avx_fp_set32(struct vcpu *v, unsigned reg, __m256i x)
{
	if (unlikely(v->simd_trap))
		vec_settle_avx(v, reg, x);
	else
		*vec_ymm(v, reg) = x;
}
VEC_INLINE VEC_AVX void avx_fp_set(struct vcpu *v, unsigned reg, __m128i x)
{
	avx_fp_set32(v, reg, _mm256_zextsi128_si256(x));
}

/* ---- instruction bodies on values ---- */
#define ASM2(text, d, s)      asm volatile(text " %1, %0" : "+x"(d) : "x"(s))
#define ASM3(text, d, a, b)   asm volatile(text " %2, %1, %0" : "=x"(d) : "x"(a), "x"(b))
#define ASM_UNARY(text, d, s) asm volatile(text " %1, %0" : "=x"(d) : "x"(s))

/* ---- families: set is `set` or `fp_set`; need is what 256 bits ask for ---- */
/* dst = op(dst, src/m128) */
#define SSE_BINARY_ALIGNED(name, set, align)                       \
	void sse_##name(struct vcpu *v, const struct insn *i)      \
	{                                                          \
		simd_check(v, SIMD_SSE);                           \
		VEC_SOURCE(p, 1, 16, align)                        \
		__m128i b = vec_load(p), a = *vec_xmm(v, i->r[0]); \
		ASM2(#name, a, b);                                 \
		sse_##set(v, i->r[0], a);                          \
	}
#define SSE_BINARY(name, set) SSE_BINARY_ALIGNED(name, set, 16)
/* dst = op(src1, src2/m128/m256) */
#define AVX_BINARY(name, set, need)                                              \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)            \
	{                                                                        \
		simd_check(v, i->size == 32 ? need : SIMD_AVX);                  \
		VEC_SOURCE(p, 2, i->size, 0)                                     \
		if (i->size == 32) {                                             \
			__m256i r;                                               \
			ASM3("v" #name, r, *vec_ymm(v, i->r[1]), vec_load32(p)); \
			avx_##set##32(v, i->r[0], r);                            \
		} else {                                                         \
			__m128i r;                                               \
			ASM3("v" #name, r, *vec_xmm(v, i->r[1]), vec_load(p));   \
			avx_##set(v, i->r[0], r);                                \
		}                                                                \
	}
/* The same where there is no 256-bit form: those bits are another instruction set's. */
#define AVX_BINARY_128(name, set)                                      \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)  \
	{                                                              \
		__m128i r;                                             \
		if (i->size == 32)                                     \
			vcpu_raise(v, EXC_UD);                         \
		simd_check(v, SIMD_AVX);                               \
		VEC_SOURCE(p, 2, 16, 0)                                \
		ASM3("v" #name, r, *vec_xmm(v, i->r[1]), vec_load(p)); \
		avx_##set(v, i->r[0], r);                              \
	}
/* dst = op(src/m128) */
#define SSE_UNARY(name, set)                                  \
	void sse_##name(struct vcpu *v, const struct insn *i) \
	{                                                     \
		__m128i r;                                    \
		simd_check(v, SIMD_SSE);                      \
		VEC_SOURCE(p, 1, 16, 16)                      \
		ASM_UNARY(#name, r, vec_load(p));             \
		sse_##set(v, i->r[0], r);                     \
	}
#define AVX_UNARY(name, set, need)                                    \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i) \
	{                                                             \
		simd_check(v, i->size == 32 ? need : SIMD_AVX);       \
		VEC_SOURCE(p, 1, i->size, 0)                          \
		if (i->size == 32) {                                  \
			__m256i r;                                    \
			ASM_UNARY("v" #name, r, vec_load32(p));       \
			avx_##set##32(v, i->r[0], r);                 \
		} else {                                              \
			__m128i r;                                    \
			ASM_UNARY("v" #name, r, vec_load(p));         \
			avx_##set(v, i->r[0], r);                     \
		}                                                     \
	}
#define AVX_UNARY_128(name, set)                                      \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i) \
	{                                                             \
		__m128i r;                                            \
		simd_check(v, SIMD_AVX);                              \
		VEC_SOURCE(p, 1, 16, 0)                               \
		ASM_UNARY("v" #name, r, vec_load(p));                 \
		avx_##set(v, i->r[0], r);                             \
	}
/* Low element of dst = op(dst, src/m32 or m64); n is 4 or 8. Other elements as in dst, or in src1. */
#define SSE_SCALAR(name, n, set)                                      \
	void sse_##name(struct vcpu *v, const struct insn *i)         \
	{                                                             \
		simd_check(v, SIMD_SSE);                              \
		VEC_SOURCE(p, 1, n, 0)                                \
		__m128i b = vec_load##n(p), a = *vec_xmm(v, i->r[0]); \
		ASM2(#name, a, b);                                    \
		sse_##set(v, i->r[0], a);                             \
	}
#define AVX_SCALAR(name, n, set)                                      \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i) \
	{                                                             \
		__m128i r;                                            \
		simd_check(v, SIMD_AVX);                              \
		VEC_SOURCE(p, 2, n, 0)                                \
		__m128i b = vec_load##n(p);                           \
		ASM3("v" #name, r, *vec_xmm(v, i->r[1]), b);          \
		avx_##set(v, i->r[0], r);                             \
	}

/* An immediate picks among instructions: cases for the assembler, which wants constants. X(k) is one case. */
#define CASES_4(X)  X(0) X(1) X(2) X(3)
#define CASES_8(X)  CASES_4(X) X(4) X(5) X(6) X(7)
#define CASES_16(X) CASES_8(X) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define CASES_32(X) \
	CASES_16(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define CASES_32_TO_47(X) \
	X(32) X(33) X(34) X(35) X(36) X(37) X(38) X(39) X(40) X(41) X(42) X(43) X(44) X(45) X(46) X(47)
#define CASES_48_TO_63(X) \
	X(48) X(49) X(50) X(51) X(52) X(53) X(54) X(55) X(56) X(57) X(58) X(59) X(60) X(61) X(62) X(63)
#define CASES_64(X) CASES_32(X) CASES_32_TO_47(X) CASES_48_TO_63(X)
