/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MMX: computed in the lower half of the host's XMM registers, so that the host's x87 state stays untouched. An
 * operation that works element by element is the SSE instruction; those that move elements across the register are built
 * from the 128-bit form. Faults come in mmx_check, then from the operand, then the transition is made (emulate/mmx.h).
 */
#include "emulate/mmx.h"
#include "emulate/vec-operand.h"

VEC_INLINE __m128i mmx_get(struct vcpu *v, unsigned reg)
{
	return _mm_cvtsi64_si128((s64)mmx_read(v, reg));
}
VEC_INLINE void mmx_set(struct vcpu *v, unsigned reg, __m128i x)
{
	mmx_touch(v);
	mmx_write(v, reg, (u64)_mm_cvtsi128_si64(x));
}
/* Declares x as operand k: an MMX register or n bytes of memory, 4 or 8. May return, as VEC_SOURCE. */
#define MMX_SOURCE(x, k, n)                                         \
	__m128i x;                                                  \
	if (i->flags & INSN_MEM) {                                  \
		VEC_SOURCE(x##_at, k, n, 0)                         \
		x = n == 4 ? vec_load4(x##_at) : vec_load8(x##_at); \
	} else {                                                    \
		x = mmx_get(v, i->r[k]);                            \
	}

/* dst = op(dst, src/m64), element by element; n is what memory operands have. */
#define MMX_SIZED(name, text, n, after)                       \
	void mmx_##name(struct vcpu *v, const struct insn *i) \
	{                                                     \
		mmx_check(v);                                 \
		MMX_SOURCE(b, 1, n)                           \
		__m128i a = mmx_get(v, i->r[0]);              \
		ASM2(text, a, b);                             \
		mmx_set(v, i->r[0], after(a));                \
	}
#define LOW_HALF(x)  (x)
#define HIGH_HALF(x) _mm_unpackhi_epi64(x, x)
#define MMX(name)    MMX_SIZED(name, #name, 8, LOW_HALF)
/* What takes pairs from dst, then from src: of a 128-bit register that holds both, once for each source of the host's. */
#define MMX_ACROSS(name)                                                \
	void mmx_##name(struct vcpu *v, const struct insn *i)           \
	{                                                               \
		mmx_check(v);                                           \
		MMX_SOURCE(b, 1, 8)                                     \
		__m128i a = _mm_unpacklo_epi64(mmx_get(v, i->r[0]), b); \
		b = a;                                                  \
		ASM2(#name, a, b);                                      \
		mmx_set(v, i->r[0], a);                                 \
	}
#define MMX_UNARY(name)                                       \
	void mmx_##name(struct vcpu *v, const struct insn *i) \
	{                                                     \
		__m128i r;                                    \
		mmx_check(v);                                 \
		MMX_SOURCE(b, 1, 8)                           \
		ASM_UNARY(#name, r, b);                       \
		mmx_set(v, i->r[0], r);                       \
	}

MMX(paddb)
MMX(paddw)
MMX(paddd)
MMX(paddq)
MMX(paddsb)
MMX(paddsw)
MMX(paddusb)
MMX(paddusw)
MMX(psubb)
MMX(psubw)
MMX(psubd)
MMX(psubq)
MMX(psubsb)
MMX(psubsw)
MMX(psubusb)
MMX(psubusw)
MMX(pmullw)
MMX(pmulhw)
MMX(pmulhuw)
MMX(pmulhrsw)
MMX(pmuludq)
MMX(pmaddwd)
MMX(pmaddubsw)
MMX(pavgb)
MMX(pavgw)
MMX(psadbw)
MMX(psignb)
MMX(psignw)
MMX(psignd)
MMX(pmaxsw)
MMX(pmaxub)
MMX(pminsw)
MMX(pminub)
MMX(pcmpeqb)
MMX(pcmpeqw)
MMX(pcmpeqd)
MMX(pcmpgtb)
MMX(pcmpgtw)
MMX(pcmpgtd)
MMX(pand)
MMX(pandn)
MMX(por)
MMX(pxor)
MMX_ACROSS(phaddw)
MMX_ACROSS(phaddd)
MMX_ACROSS(phaddsw)
MMX_ACROSS(phsubw)
MMX_ACROSS(phsubd)
MMX_ACROSS(phsubsw)
MMX_ACROSS(packsswb)
MMX_ACROSS(packssdw)
MMX_ACROSS(packuswb)
MMX_UNARY(pabsb)
MMX_UNARY(pabsw)
MMX_UNARY(pabsd)
MMX_SIZED(punpcklbw, "punpcklbw", 4, LOW_HALF)
MMX_SIZED(punpcklwd, "punpcklwd", 4, LOW_HALF)
MMX_SIZED(punpckldq, "punpckldq", 4, LOW_HALF)
MMX_SIZED(punpckhbw, "punpcklbw", 8, HIGH_HALF)
MMX_SIZED(punpckhwd, "punpcklwd", 8, HIGH_HALF)
MMX_SIZED(punpckhdq, "punpckldq", 8, HIGH_HALF)

/* Shifts: the count is an immediate or all 64 bits of the source. */
#define MMX_SHIFT(name)                                       \
	void mmx_##name(struct vcpu *v, const struct insn *i) \
	{                                                     \
		mmx_check(v);                                 \
		__m128i n = _mm_cvtsi32_si128((u8)i->imm);    \
		if (insn_kind(i, 1) != OPK_IMM) {             \
			MMX_SOURCE(b, 1, 8)                   \
			n = b;                                \
		}                                             \
		__m128i a = mmx_get(v, i->r[0]);              \
		ASM2(#name, a, n);                            \
		mmx_set(v, i->r[0], a);                       \
	}
MMX_SHIFT(psllw)
MMX_SHIFT(pslld)
MMX_SHIFT(psllq)
MMX_SHIFT(psraw)
MMX_SHIFT(psrad)
MMX_SHIFT(psrlw)
MMX_SHIFT(psrld)
MMX_SHIFT(psrlq)

/* ---- across the register ---- */
void mmx_pshufb(struct vcpu *v, const struct insn *i)
{
	union vreg a = { 0 }, m = { 0 };
	u64 r = 0;

	mmx_check(v);
	MMX_SOURCE(b, 1, 8)
	m.q[0] = (u64)_mm_cvtsi128_si64(b);
	a.q[0] = mmx_read(v, i->r[0]);
	for (unsigned k = 0; k < 8; k++)
		r |= (m.b[k] & 0x80 ? 0 : (u64)a.b[m.b[k] & 7]) << (8 * k);
	mmx_touch(v);
	mmx_write(v, i->r[0], r);
}

void mmx_palignr(struct vcpu *v, const struct insn *i)
{
	unsigned n = (u8)i->imm;

	mmx_check(v);
	MMX_SOURCE(low, 1, 8)
	u128 both = (u128)mmx_read(v, i->r[0]) << 64 | (u64)_mm_cvtsi128_si64(low);
	mmx_touch(v);
	mmx_write(v, i->r[0], n > 15 ? 0 : (u64)(both >> (8 * n)));
}

void mmx_pshufw(struct vcpu *v, const struct insn *i)
{
	u64 s, r = 0;

	mmx_check(v);
	MMX_SOURCE(b, 1, 8)
	s = (u64)_mm_cvtsi128_si64(b);
	for (unsigned k = 0; k < 4; k++)
		r |= (u64)(u16)(s >> (16 * (i->imm >> (2 * k) & 3))) << (16 * k);
	mmx_touch(v);
	mmx_write(v, i->r[0], r);
}

void mmx_pinsrw(struct vcpu *v, const struct insn *i)
{
	unsigned at = 16 * ((unsigned)i->imm & 3);

	mmx_check(v);
	VEC_INT_SOURCE(x, 1, 2)
	mmx_touch(v);
	mmx_write(v, i->r[0], (mmx_read(v, i->r[0]) & ~(0xffffull << at)) | (u64)(u16)x << at);
}

void mmx_pextrw(struct vcpu *v, const struct insn *i)
{
	mmx_enter(v);
	*vcpu_gpr(v, i->r[0]) = (u16)(mmx_read(v, i->r[1]) >> (16 * (i->imm & 3)));
}

void mmx_pmovmskb(struct vcpu *v, const struct insn *i)
{
	mmx_enter(v);
	*vcpu_gpr(v, i->r[0]) = (u32)_mm_movemask_epi8(mmx_get(v, i->r[1]));
}

/* ---- moves ---- */
void mmx_movq(struct vcpu *v, const struct insn *i)
{
	mmx_check(v);
	if (insn_kind(i, 0) == OPK_REG) {
		MMX_SOURCE(b, 1, 8)
		mmx_set(v, i->r[0], b);
		return;
	}
	vec_store(v, i, mmx_get(v, i->r[1]), 8, 0);
	mmx_touch(v);
}

/* MOVD with memory. */
void mmx_movd(struct vcpu *v, const struct insn *i)
{
	mmx_check(v);
	if (insn_kind(i, 0) == OPK_REG) {
		MMX_SOURCE(b, 1, 4)
		mmx_set(v, i->r[0], b);
		return;
	}
	vec_store(v, i, mmx_get(v, i->r[1]), 4, 0);
	mmx_touch(v);
}

void mmx_from_gpr(struct vcpu *v, const struct insn *i)
{
	mmx_enter(v);
	mmx_write(v, i->r[0], reg_read(v, i->r[1], i->size2 == 8 ? 8 : 4));
}

void mmx_to_gpr(struct vcpu *v, const struct insn *i)
{
	mmx_enter(v);
	reg_write(v, i->r[0], i->size == 8 ? 8 : 4, mmx_read(v, i->r[1]));
}

/* Between the two files. The MMX checks are not all that the XMM operand asks for. */
void mmx_movq2dq(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	mmx_enter(v);
	sse_set(v, i->r[0], mmx_get(v, i->r[1]));
}

void mmx_movdq2q(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	mmx_check(v);
	mmx_set(v, i->r[0], *vec_xmm(v, i->r[1]));
}

/* ---- conversions between MMX integers and packed floats ---- */
/*
 * An operand in memory leaves the x87 state alone. So say both manuals of CVTPI2PD; of CVTPI2PS the SDM says otherwise, and AMD's
 * processors were seen to do it like this, which is what no program can stumble over.
 */
#define TO_FLOAT(name, text, merge)                                  \
	void sse_##name(struct vcpu *v, const struct insn *i)        \
	{                                                            \
		bool enters = !(i->flags & INSN_MEM);                \
		__m128i r;                                           \
		simd_check(v, SIMD_SSE);                             \
		if (enters)                                          \
			mmx_check(v);                                \
		MMX_SOURCE(b, 1, 8)                                  \
		ASM_UNARY(text, r, b);                               \
		simd_post(v);                                        \
		if (enters)                                          \
			mmx_touch(v);                                \
		sse_set(v, i->r[0], merge(*vec_xmm(v, i->r[0]), r)); \
	}
#define ALL_OF(old, r)	 (r)
#define LOW_INTO(old, r) _mm_castpd_si128(_mm_move_sd(_mm_castsi128_pd(old), _mm_castsi128_pd(r)))
TO_FLOAT(cvtpi2ps, "cvtdq2ps", LOW_INTO)
TO_FLOAT(cvtpi2pd, "cvtdq2pd", ALL_OF)

#define FROM_FLOAT(name, text, load, n, align)                \
	void mmx_##name(struct vcpu *v, const struct insn *i) \
	{                                                     \
		__m128i r;                                    \
		simd_check(v, SIMD_SSE);                      \
		mmx_check(v);                                 \
		VEC_SOURCE(p, 1, n, align)                    \
		ASM_UNARY(text, r, load(p));                  \
		simd_post(v);                                 \
		mmx_set(v, i->r[0], r);                       \
	}
FROM_FLOAT(cvtps2pi, "cvtps2dq", vec_load8, 8, 0)
FROM_FLOAT(cvttps2pi, "cvttps2dq", vec_load8, 8, 0)
FROM_FLOAT(cvtpd2pi, "cvtpd2dq", vec_load, 16, 16)
FROM_FLOAT(cvttpd2pi, "cvttpd2dq", vec_load, 16, 16)
