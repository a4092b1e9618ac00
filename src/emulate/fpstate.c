/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of the extended state: FXSAVE, FXRSTOR, the XSAVE family (Intel SDM vol. 1 ch. 10.5 and 13), LDMXCSR and
 * STMXCSR.
 *
 * State components: 0 x87, 1 SSE (XMM, MXCSR), 2 AVX (upper halves of YMM). As there is none above 2, the standard and
 * the compacted format put AVX at the same place. Outside 64-bit code registers 8 to 15 do not exist: images leave them
 * out. Saving probes all that it will write before it writes any of it; restoring reads and checks all before it
 * changes any.
 */
#include <string.h>

#include "emulate/vector.h"
#include "emulate/x87.h"
#include "x86/xsave.h"

#define MXCSR_VALID 0xffffu

#define AT(field)   ((unsigned)offsetof(struct xsave_area, field))
#define FXSAVE_SIZE AT(xstate_bv)
#define HEADER_END  AT(ymm_high)

#define COMPACT BIT(63)

static unsigned vectors(const struct vcpu *v)
{
	return v->code_size == CODE_64 ? 16 : 8;
}

/* ---- components to and from an image ---- */
static void x87_to(const struct vcpu *v, struct xsave_area *a, bool wide)
{
	const struct x87 *x = &v->x87;

	a->cw = x->cw;
	a->sw = x->sw;
	a->tag = x->tag;
	a->zero = 0;
	a->fop = x->fop;
	a->ip = wide ? x->fip : (u32)x->fip | (u64)x->fcs << 32;
	a->dp = wide ? x->fdp : (u32)x->fdp | (u64)x->fds << 32;
	memset(a->st, 0, sizeof(a->st));
	for (unsigned k = 0; k < 8; k++)
		memcpy(a->st[k], &x->fpr[x87_phys(v, k)], 10);
}

static void x87_from(struct vcpu *v, const struct xsave_area *a, bool wide)
{
	struct x87 *x = &v->x87;

	x->cw = (a->cw & CW_DEFINED) | CW_ONE;
	x->sw = a->sw;
	x->tag = a->tag;
	x->fop = a->fop & 0x7ff;
	x->fip = wide ? a->ip : (u32)a->ip;
	x->fdp = wide ? a->dp : (u32)a->dp;
	x->fcs = wide ? 0 : (u16)(a->ip >> 32);
	x->fds = wide ? 0 : (u16)(a->dp >> 32);
	for (unsigned k = 0; k < 8; k++)
		memcpy(x87_st(v, k), a->st[k], 10);
	x87_update_es(v);
}

static void mxcsr_to(struct vcpu *v, struct xsave_area *a)
{
	a->mxcsr = simd_get_mxcsr(v);
	a->mxcsr_mask = MXCSR_VALID;
}

static void xmm_to(const struct vcpu *v, struct xsave_area *a)
{
	for (unsigned k = 0; k < vectors(v); k++)
		memcpy(a->xmm[k], v->v[k].b, 16);
}

static void ymm_to(const struct vcpu *v, struct xsave_area *a)
{
	for (unsigned k = 0; k < vectors(v); k++)
		memcpy(a->ymm_high[k], v->v[k].b + 16, 16);
}

/* Half of each vector register, 0 or 1, from an image or (NULL) to its initial value. */
static void vectors_from(struct vcpu *v, unsigned half, const u8 (*from)[16])
{
	for (unsigned k = 0; k < vectors(v); k++) {
		if (from)
			memcpy(v->v[k].b + 16 * half, from[k], 16);
		else
			memset(v->v[k].b + 16 * half, 0, 16);
	}
}

static void x87_initial(struct vcpu *v)
{
	x87_init(v);
	memset(v->x87.fpr, 0, sizeof(v->x87.fpr));
}

/* XINUSE (SDM vol. 1, 13.6): which components are not in their initial state. */
u64 xstate_in_use(const struct vcpu *v)
{
	const struct x87 *x = &v->x87;
	u64 f = x->sw | x->tag | x->fop | x->fcs | x->fds | x->fip | x->fdp | (x->cw != CW_INIT), low = 0, high = 0;

	for (unsigned k = 0; k < 8; k++)
		f |= x->fpr[k].m | x->fpr[k].e;
	for (unsigned k = 0; k < vectors(v); k++) {
		low |= v->v[k].q[0] | v->v[k].q[1];
		high |= v->v[k].q[2] | v->v[k].q[3];
	}
	return (f ? XCR0_X87 : 0) | (low ? XCR0_SSE : 0) | (high ? XCR0_AVX : 0) | (v->pkru ? XCR0_PKRU : 0);
}

static void check_mxcsr(struct vcpu *v, u32 mxcsr)
{
	if (mxcsr & ~MXCSR_VALID)
		vcpu_raise_error(v, EXC_GP, 0);
}

static u64 linear_aligned(struct vcpu *v, const struct insn *i, unsigned len, enum seg_use use, unsigned align)
{
	u64 gla = op_linear(v, i, len, use);

	if (gla & (align - 1))
		vcpu_raise_error(v, EXC_GP, 0);
	return gla;
}

/* ---- FXSAVE, FXRSTOR ---- */
void exec_fxsave(struct vcpu *v, const struct insn *i)
{
	struct xsave_area a;

	x87_ready(v);
	u64 gla = linear_aligned(v, i, FXSAVE_SIZE, SEG_WRITE, 16);
	x87_to(v, &a, i->op == OP_FXSAVE64);
	mxcsr_to(v, &a);
	xmm_to(v, &a);
	mmu_probe_write(v, gla, FXSAVE_SIZE, MMU_EXPLICIT); /* its unused end is not written, and may fault */
	mmu_write(v, gla, &a, AT(xmm) + 16 * vectors(v), MMU_EXPLICIT);
}

void exec_fxrstor(struct vcpu *v, const struct insn *i)
{
	struct xsave_area a;

	x87_ready(v);
	mmu_read(v, linear_aligned(v, i, FXSAVE_SIZE, SEG_READ, 16), &a, FXSAVE_SIZE, MMU_EXPLICIT);
	check_mxcsr(v, a.mxcsr);
	x87_from(v, &a, i->op == OP_FXRSTOR64);
	simd_set_mxcsr(v, a.mxcsr);
	vectors_from(v, 0, a.xmm);
}

/* ---- the XSAVE family ---- */
static bool is_wide(const struct insn *i)
{
	return i->osize == 3;
}

/* Checks before memory; returns the requested-feature bitmap. */
static u64 xsave_begin(struct vcpu *v, bool supervisor)
{
	if (!(v->cr4 & CR4_OSXSAVE))
		vcpu_raise(v, EXC_UD);
	if (supervisor && v->cpl)
		vcpu_raise_error(v, EXC_GP, 0);
	if (v->cr0 & CR0_TS)
		vcpu_raise(v, EXC_NM);
	return (v->xcr0 | (supervisor ? v->msr.xss : 0)) & ((u64)(u32)v->r[RDX] << 32 | (u32)v->r[RAX]);
}

/* PKRU's eight bytes: far behind in the standard format, next to the others in the compacted one. */
#define PKRU_OFFSET 2688
#define PKRU_SIZE   8

static unsigned pkru_offset(bool compact, u64 components)
{
	return !compact ? PKRU_OFFSET : components & XCR0_AVX ? sizeof(struct xsave_area) : HEADER_END;
}

static unsigned area_size(bool compact, u64 components)
{
	if (components & XCR0_PKRU)
		return pkru_offset(compact, components) + PKRU_SIZE;
	return components & XCR0_AVX ? sizeof(struct xsave_area) : HEADER_END;
}

static void put(struct vcpu *v, u64 gla, const struct xsave_area *a, unsigned at, unsigned len)
{
	mmu_write(v, gla + at, (const u8 *)a + at, len, MMU_EXPLICIT);
}

/* Writes the components in `what`; MXCSR apart, as the formats differ about when it goes along. */
static void save_components(struct vcpu *v, const struct insn *i, u64 gla, struct xsave_area *a, u64 what, bool mxcsr,
			    unsigned pkru_at)
{
	if (what & XCR0_PKRU)
		mmu_store(v, gla + pkru_at, PKRU_SIZE, v->pkru, MMU_EXPLICIT);
	if (what & XCR0_X87) {
		x87_to(v, a, is_wide(i));
		put(v, gla, a, 0, AT(mxcsr));
		put(v, gla, a, AT(st), sizeof(a->st));
	}
	if (mxcsr) {
		mxcsr_to(v, a);
		put(v, gla, a, AT(mxcsr), 8);
	}
	if (what & XCR0_SSE) {
		xmm_to(v, a);
		put(v, gla, a, AT(xmm), 16 * vectors(v));
	}
	if (what & XCR0_AVX) {
		ymm_to(v, a);
		put(v, gla, a, AT(ymm_high), 16 * vectors(v));
	}
}

/* XSAVE writes what is asked for; XSAVEOPT only what is in use. Both leave header bits of other components alone. */
static void save_standard(struct vcpu *v, const struct insn *i, bool optimise)
{
	u64 rfbm = xsave_begin(v, false), used = xstate_in_use(v) & rfbm;
	unsigned size = area_size(false, rfbm);
	u64 gla = linear_aligned(v, i, size, SEG_WRITE, 64);
	struct xsave_area a;

	mmu_probe_write(v, gla, size, MMU_EXPLICIT);
	a.xstate_bv = mmu_load(v, gla + AT(xstate_bv), 8, MMU_EXPLICIT);
	a.xstate_bv = (a.xstate_bv & ~rfbm) | used;
	save_components(v, i, gla, &a, optimise ? used : rfbm, rfbm & (XCR0_SSE | XCR0_AVX), PKRU_OFFSET);
	put(v, gla, &a, AT(xstate_bv), 8);
}

void exec_xsave(struct vcpu *v, const struct insn *i)
{
	save_standard(v, i, false);
}

void exec_xsaveopt(struct vcpu *v, const struct insn *i)
{
	save_standard(v, i, true);
}

/* XSAVEC, XSAVES: an MXCSR other than the initial one makes SSE worth saving (SDM vol. 1, 13.10). */
static void save_compact(struct vcpu *v, const struct insn *i, bool supervisor)
{
	u64 rfbm = xsave_begin(v, supervisor), used = xstate_in_use(v);
	unsigned size = area_size(true, rfbm);
	u64 gla = linear_aligned(v, i, size, SEG_WRITE, 64);
	struct xsave_area a;

	if (simd_get_mxcsr(v) != MXCSR_DEFAULT)
		used |= XCR0_SSE;
	used &= rfbm;
	mmu_probe_write(v, gla, size, MMU_EXPLICIT);
	a.xstate_bv = used;
	a.xcomp_bv = rfbm | COMPACT;
	save_components(v, i, gla, &a, used, used & XCR0_SSE, pkru_offset(true, rfbm));
	put(v, gla, &a, AT(xstate_bv), 16);
}

void exec_xsavec(struct vcpu *v, const struct insn *i)
{
	save_compact(v, i, false);
}

void exec_xsaves(struct vcpu *v, const struct insn *i)
{
	save_compact(v, i, true);
}

/* SDM vol. 1, 13.8 and 13.12: what makes a header invalid. */
static bool header_valid(const struct vcpu *v, const struct xsave_area *a, bool supervisor)
{
	u64 allowed = v->xcr0 | (supervisor ? v->msr.xss : 0), rest = 0;

	if (!(a->xcomp_bv & COMPACT))
		return !supervisor && !a->xcomp_bv && !a->reserved[0] && !(a->xstate_bv & ~allowed);
	for (unsigned k = 0; k < ARRAY_SIZE(a->reserved); k++)
		rest |= a->reserved[k];
	if (!supervisor && !cpu_can(v, FEAT_XSAVEC))
		return false;
	return !rest && !(a->xcomp_bv & ~COMPACT & ~allowed) && !(a->xstate_bv & ~a->xcomp_bv) &&
	       !(a->xstate_bv & COMPACT);
}

static void restore(struct vcpu *v, const struct insn *i, bool supervisor)
{
	u64 rfbm = xsave_begin(v, supervisor);
	u64 gla = linear_aligned(v, i, HEADER_END, SEG_READ, 64);
	struct xsave_area a;
	u32 pkru = 0;
	bool mxcsr;

	mmu_read(v, gla, &a, HEADER_END, MMU_EXPLICIT);
	if (!header_valid(v, &a, supervisor))
		vcpu_raise_error(v, EXC_GP, 0);
	u64 load = rfbm & a.xstate_bv;
	if (load & XCR0_AVX) {
		gla = op_linear(v, i, sizeof(a), SEG_READ);
		mmu_read(v, gla + HEADER_END, a.ymm_high, 16 * vectors(v), MMU_EXPLICIT);
	}
	if (load & XCR0_PKRU) {
		unsigned at = pkru_offset(a.xcomp_bv & COMPACT, a.xcomp_bv);
		gla = op_linear(v, i, at + PKRU_SIZE, SEG_READ);
		pkru = (u32)mmu_load(v, gla + at, PKRU_SIZE, MMU_EXPLICIT);
	}
	/* The standard format never initialises MXCSR; the compacted one has it follow the SSE component. */
	mxcsr = a.xcomp_bv & COMPACT ? load & XCR0_SSE : rfbm & (XCR0_SSE | XCR0_AVX);
	if (mxcsr)
		check_mxcsr(v, a.mxcsr);

	if (load & XCR0_X87)
		x87_from(v, &a, is_wide(i));
	else if (rfbm & XCR0_X87)
		x87_initial(v);
	if (mxcsr || (rfbm & XCR0_SSE))
		simd_set_mxcsr(v, mxcsr ? a.mxcsr : MXCSR_DEFAULT);
	if (rfbm & XCR0_SSE)
		vectors_from(v, 0, load & XCR0_SSE ? a.xmm : NULL);
	if (rfbm & XCR0_AVX)
		vectors_from(v, 1, load & XCR0_AVX ? a.ymm_high : NULL);
	if (rfbm & XCR0_PKRU)
		control_set_keys(v, &v->pkru, pkru);
}

void exec_xrstor(struct vcpu *v, const struct insn *i)
{
	restore(v, i, false);
}

void exec_xrstors(struct vcpu *v, const struct insn *i)
{
	restore(v, i, true);
}

/* ---- MXCSR ---- */
void exec_ldmxcsr(struct vcpu *v, const struct insn *i)
{
	simd_check(v, i->flags & INSN_VEX ? SIMD_AVX : SIMD_SSE);
	u32 mxcsr = (u32)mmu_load(v, op_linear(v, i, 4, SEG_READ), 4, MMU_EXPLICIT);
	check_mxcsr(v, mxcsr);
	simd_set_mxcsr(v, mxcsr);
}

void exec_stmxcsr(struct vcpu *v, const struct insn *i)
{
	simd_check(v, i->flags & INSN_VEX ? SIMD_AVX : SIMD_SSE);
	mmu_store(v, op_linear(v, i, 4, SEG_WRITE), 4, simd_get_mxcsr(v), MMU_EXPLICIT);
}
