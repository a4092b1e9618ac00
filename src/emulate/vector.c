/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIMD state: permission to execute, MXCSR and its exceptions, what the host can do. See vector.h for the rules.
 */
#include <cpuid.h>
#include <immintrin.h>

#include "emulate/vec-operand.h"
#include "emulate/vector.h"

/* SDM vol. 3 tables 2-2 and 13-1; vol. 2 tables 2-18 and following: #UD conditions go before #NM. */
void simd_fault(struct vcpu *v, unsigned need)
{
	bool ud;

	if (need == SIMD_SSE)
		ud = (v->cr0 & CR0_EM) || !(v->cr4 & CR4_OSFXSR);
	else
		ud = !(v->cr4 & CR4_OSXSAVE) || (v->xcr0 & (XCR0_SSE | XCR0_AVX)) != (XCR0_SSE | XCR0_AVX) ||
		     v->mode == MODE_REAL || v->mode == MODE_V86 || (need == SIMD_AVX2 && !cpu_can(v, FEAT_AVX2));
	vcpu_raise(v, ud || !(v->cr0 & CR0_TS) ? EXC_UD : EXC_NM);
}

/*
 * What the host runs with: while all exceptions are masked just the guest's value, so that STMXCSR may run as it is. A guest that unmasks underflow wants every tiny result reported, exact ones too, which the masked
 * response does only when it flushes (SDM vol. 1, 11.5.2.5); as that result is then never stored, flushing is harmless.
 */
static u32 host_mxcsr(const struct vcpu *v)
{
	u32 host = (v->mxcsr & (MXCSR_RC | MXCSR_FTZ | MXCSR_DAZ)) | MXCSR_MASKS;

	if (!v->simd_trap)
		return host | (v->mxcsr & MXCSR_FLAGS);
	if (!(v->mxcsr & _MM_MASK_UNDERFLOW))
		host |= MXCSR_FTZ;
	return host;
}

static void load_host(struct vcpu *v)
{
	v->simd_trap = (v->mxcsr & MXCSR_MASKS) != MXCSR_MASKS;
	_mm_setcsr(host_mxcsr(v));
}

void simd_enter(struct vcpu *v)
{
	v->simd_loaded = true;
	load_host(v);
}

void simd_leave(struct vcpu *v)
{
	v->mxcsr = simd_get_mxcsr(v);
	v->simd_loaded = false;
	_mm_setcsr(MXCSR_DEFAULT);
}

u32 simd_get_mxcsr(struct vcpu *v)
{
	return v->mxcsr | (v->simd_loaded ? _mm_getcsr() & MXCSR_FLAGS : 0);
}

void simd_set_mxcsr(struct vcpu *v, u32 value)
{
	v->mxcsr = value;
	if (v->simd_loaded)
		load_host(v);
}

#define SECOND_LOOK 2 /* v->simd_trap: the instruction is executed again to see whether its tiny result is exact */

static _Noreturn void raise_xm(struct vcpu *v)
{
	load_host(v);
	vcpu_raise(v, v->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
}

/*
 * An unmasked exception before the computation (IE, DE, ZE) keeps those after it from being looked for: SDM vol. 1, 11.5.3.
 * One thing the host does not tell: beside an unmasked overflow or underflow, PE is of the result in an unbounded exponent range;
 * here it is of the masked response, and may be set where a processor leaves it clear.
 */
void simd_settle(struct vcpu *v)
{
	u32 flags = _mm_getcsr() & MXCSR_FLAGS;
	u32 unmasked = ~(v->mxcsr >> MXCSR_MASK_SHIFT) & MXCSR_FLAGS;
	u32 before = flags & (_MM_EXCEPT_INVALID | _MM_EXCEPT_DENORM | _MM_EXCEPT_DIV_ZERO);

	if (v->simd_trap == SECOND_LOOK) {
		v->mxcsr |= flags & _MM_EXCEPT_INEXACT;
		raise_xm(v);
	}
	if (!flags)
		return;
	_mm_setcsr(host_mxcsr(v));
	if (before & unmasked)
		flags = before;
	if (flags & unmasked & _MM_EXCEPT_UNDERFLOW) { /* flushing gave PE as well, due or not */
		v->mxcsr |= flags & ~_MM_EXCEPT_INEXACT;
		v->simd_trap = SECOND_LOOK;
		_mm_setcsr(host_mxcsr(v) & ~MXCSR_FTZ);
		op_exec[v->cur->op](v, v->cur);
	}
	v->mxcsr |= flags;
	if (flags & unmasked)
		raise_xm(v);
}

static u64 checked_linear(struct vcpu *v, const struct insn *i, unsigned n, unsigned align, enum seg_use use)
{
	u64 gla = op_linear(v, i, n, use);

	if (align && (gla & (align - 1)))
		vcpu_raise_error(v, EXC_GP, 0);
	return gla;
}

void vec_again(struct vcpu *v, const struct insn *i, unsigned k, unsigned n, unsigned align)
{
	struct insn as_register = *i;

	u64 gla = checked_linear(v, i, n, align, SEG_READ);

	/* Up to eight bytes alignment may be checked; of more, the manual leaves it open (SDM vol. 3, 6.15, #AC). */
	if (n == 1 || n == 2 || n == 4 || n == 8)
		v->v[VEC_TMP].q[0] = mmu_load(v, gla, n, MMU_EXPLICIT);
	else
		mmu_read(v, gla, &v->v[VEC_TMP], n, MMU_EXPLICIT);
	as_register.kinds = (u8)((i->kinds & ~(3u << (2 * k))) | OPK_REG << (2 * k));
	as_register.r[k] = VEC_TMP;
	op_exec[i->op](v, &as_register);
}

void vec_store_slow(struct vcpu *v, const struct insn *i, unsigned n, unsigned align)
{
	u64 gla = checked_linear(v, i, n, align, SEG_WRITE);

	if (n == 1 || n == 2 || n == 4 || n == 8)
		mmu_store(v, gla, n, v->v[VEC_TMP].q[0], MMU_EXPLICIT);
	else
		mmu_write(v, gla, &v->v[VEC_TMP], n, MMU_EXPLICIT);
}

void vec_settle_sse(struct vcpu *v, unsigned reg, __m128i result)
{
	*vec_xmm(v, VEC_TMP) = result;
	simd_settle(v);
	*vec_xmm(v, reg) = *vec_xmm(v, VEC_TMP);
}

VEC_AVX void vec_settle_avx(struct vcpu *v, unsigned reg, __m256i result)
{
	*vec_ymm(v, VEC_TMP) = result;
	simd_settle(v);
	v->v[reg] = v->v[VEC_TMP];
}

void simd_host_features(u64 feature[2])
{
	unsigned a, b = 0, c = 0, d = 0, b7 = 0, unused;
	bool ymm = __builtin_cpu_supports("avx"); /* asks XCR0 too */
	const struct {
		bool has;
		enum feature f;
	} need[] = {
		{ __builtin_cpu_supports("sse3"), FEAT_SSE3 },
		{ __builtin_cpu_supports("ssse3"), FEAT_SSSE3 },
		{ __builtin_cpu_supports("sse4.1"), FEAT_SSE41 },
		{ __builtin_cpu_supports("sse4.2"), FEAT_SSE42 },
		{ __builtin_cpu_supports("pclmul"), FEAT_PCLMUL },
		{ __builtin_cpu_supports("aes"), FEAT_AES },
		{ ymm, FEAT_AVX },
		{ ymm && __builtin_cpu_supports("avx2"), FEAT_AVX2 },
		{ ymm && __builtin_cpu_supports("fma"), FEAT_FMA },
		{ ymm && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C), FEAT_F16C },
		{ __get_cpuid_count(7, 0, &a, &b7, &unused, &unused) && (b7 & bit_SHA), FEAT_SHA },
	};

	for (unsigned k = 0; k < ARRAY_SIZE(need); k++)
		if (!need[k].has)
			feature[need[k].f / 64] &= ~BIT(need[k].f % 64);
}
