/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES, carry-less multiplication, SHA, and MPSADBW: host instructions with an immediate or none (SDM vol. 2).
 */
#include "emulate/vec-operand.h"

/* ---- AES. The 256-bit VEX forms are VAES, which no CPU model has. ---- */
#define AES(name)             \
	SSE_BINARY(name, set) \
	AVX_BINARY_128(name, set)
AES(aesenc)
AES(aesenclast)
AES(aesdec)
AES(aesdeclast)
SSE_UNARY(aesimc, set)
AVX_UNARY_128(aesimc, set)

/* The round constant is XORed into dwords 1 and 3 after all else. */
VEC_INLINE __m128i key_assist(__m128i x, u32 rcon)
{
	__m128i r;

	ASM_UNARY("aeskeygenassist $0,", r, x);
	return _mm_xor_si128(r, _mm_set_epi32((s32)rcon, 0, (s32)rcon, 0));
}
void sse_aeskeygenassist(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 16, 16)
	sse_set(v, i->r[0], key_assist(vec_load(p), (u8)i->imm));
}
VEC_AVX void avx_aeskeygenassist(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_AVX);
	VEC_SOURCE(p, 1, 16, 0)
	avx_set(v, i->r[0], key_assist(vec_load(p), (u8)i->imm));
}

/* ---- PCLMULQDQ: immediate bits 0 and 4 pick a qword of each source ---- */
VEC_INLINE __m128i multiply(const u64_una *a, const u64_una *b, unsigned imm)
{
	__m128i x = vec_load8(a + (imm & 1)), y = vec_load8(b + (imm >> 4 & 1));

	ASM2("pclmulqdq $0,", x, y);
	return x;
}
void sse_pclmulqdq(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 16, 16)
	const u64_una *b = p;
	sse_set(v, i->r[0], multiply(v->v[i->r[0]].q, b, (unsigned)i->imm));
}
VEC_AVX void avx_pclmulqdq(struct vcpu *v, const struct insn *i)
{
	if (i->size == 32) /* VPCLMULQDQ's own feature, which no CPU model has */
		vcpu_raise(v, EXC_UD);
	simd_check(v, SIMD_AVX);
	VEC_SOURCE(p, 2, 16, 0)
	const u64_una *b = p;
	avx_set(v, i->r[0], multiply(v->v[i->r[1]].q, b, (unsigned)i->imm));
}

/*
 * ---- SHA: no VEX forms ----
 * Intel's processors want memory operands aligned (SDM vol. 2 table 2-21), AMD's were seen not to; this is the laxer way.
 */
#define SHA(name) SSE_BINARY_ALIGNED(name, set, 0)
SHA(sha1msg1)
SHA(sha1msg2)
SHA(sha1nexte)
SHA(sha256msg1)
SHA(sha256msg2)

void sse_sha256rnds2(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 16, 0)
	__m128i b = vec_load(p), a = *vec_xmm(v, i->r[0]);
	asm("sha256rnds2 %2, %1, %0" : "+x"(a) : "x"(b), "Yz"(*vec_xmm(v, 0)));
	sse_set(v, i->r[0], a);
}

#define SSE_CASE(text, k)                     \
	case k:                               \
		ASM2(text " $" #k ",", a, b); \
		break;
#define SHA_CASE(k) SSE_CASE("sha1rnds4", k)
void sse_sha1rnds4(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 16, 0)
	__m128i b = vec_load(p), a = *vec_xmm(v, i->r[0]);
	switch (i->imm & 3) {
		CASES_4(SHA_CASE)
	}
	sse_set(v, i->r[0], a);
}

/* ---- MPSADBW: three bits of the immediate for each lane ---- */
#define SAD_CASE(k) SSE_CASE("mpsadbw", k)
VEC_INLINE __m128i differences(__m128i a, __m128i b, unsigned imm)
{
	switch (imm & 7) {
		CASES_8(SAD_CASE)
	}
	return a;
}
void sse_mpsadbw(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	VEC_SOURCE(p, 1, 16, 16)
	__m128i b = vec_load(p);
	sse_set(v, i->r[0], differences(*vec_xmm(v, i->r[0]), b, (unsigned)i->imm));
}
VEC_AVX void avx_mpsadbw(struct vcpu *v, const struct insn *i)
{
	simd_check(v, i->size == 32 ? SIMD_AVX2 : SIMD_AVX);
	VEC_SOURCE(p, 2, i->size, 0)
	const __m128i_u *b = p;
	const __m128i *a = vec_xmm(v, i->r[1]);
	__m128i low = differences(a[0], b[0], (unsigned)i->imm);
	if (i->size == 32)
		avx_set32(v, i->r[0], _mm256_set_m128i(differences(a[1], b[1], (unsigned)i->imm >> 3), low));
	else
		avx_set(v, i->r[0], low);
}
