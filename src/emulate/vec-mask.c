/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Masked loads and stores (VMASKMOVPx, VPMASKMOVx, MASKMOVDQU, MASKMOVQ) and gathers (SDM vol. 2).
 *
 * What the mask leaves out is not accessed and cannot fault. When all of the operand lies in one page of RAM the host's
 * masked instruction does the work; else element by element. A masked store probes every selected element before it
 * writes one; a gather commits each element and clears its mask as it goes, so that it resumes after a fault.
 */
#include "emulate/mmx.h"
#include "emulate/vec-operand.h"

/* Host address of all n bytes at the effective address ea when that is one plain page, else NULL; never faults. */
static u8 *whole(struct vcpu *v, unsigned seg, u64 ea, unsigned n, enum seg_use use)
{
	u64 gla = seg >= SEG_FS ? v->seg[seg].base + ea : ea;
	const struct tlb_entry *e = tlb_slot(v->tlb, gla);

	if (v->code_size != CODE_64 || !is_canonical(gla) || gla - (use == SEG_WRITE ? e->wr : e->rd) > PAGE_SIZE - n)
		return NULL;
	return (u8 *)(gla + e->delta);
}

static bool selected(const u8 *mask, unsigned element, unsigned k)
{
	return mask[k * element + element - 1] & 0x80;
}

/* The elements of n bytes at ea that mask selects into v->v[VEC_TMP], the others zero. */
static const void *load_selected(struct vcpu *v, const struct insn *i, const u8 *mask, unsigned n, unsigned element)
{
	u64 ea = op_ea(v, i);
	union vreg x = { 0 };

	for (unsigned k = 0; k < n / element; k++) {
		if (!selected(mask, element, k))
			continue;
		u64 gla = segment_linear(v, i->seg, ea + k * element, element, SEG_READ);
		/* Not mmu_load, which checks alignment: SDM vol. 2, VMASKMOV. */
		mmu_read(v, gla, &x.b[k * element], element, MMU_EXPLICIT);
	}
	v->v[VEC_TMP] = x;
	return &v->v[VEC_TMP];
}

/* Stores the selected elements of data at seg:ea, each of 1, 4 or 8 bytes. */
static void store_selected(struct vcpu *v, unsigned seg, u64 ea, const u8 *data, const u8 *mask, unsigned n,
			   unsigned element)
{
	u64 gla[16];

	for (unsigned k = 0; k < n / element; k++) {
		if (!selected(mask, element, k))
			continue;
		gla[k] = segment_linear(v, seg, ea + k * element, element, SEG_WRITE);
		mmu_probe_write(v, gla[k], element, MMU_EXPLICIT);
	}
	for (unsigned k = 0; k < n / element; k++)
		if (selected(mask, element, k))
			mmu_write(v, gla[k], data + k * element, element, MMU_EXPLICIT);
}

/* insn operands: load dst, mask, mem; store mem, mask, src. */
#define MASK_MOVE(name, element)                                                                              \
	VEC_AVX void avx_##name(struct vcpu *v, const struct insn *i)                                         \
	{                                                                                                     \
		unsigned n = i->size;                                                                         \
		simd_check(v, SIMD_AVX);                                                                      \
		bool load = insn_kind(i, 0) == OPK_REG;                                                       \
		const void *mask = &v->v[i->r[1]];                                                            \
		u8 *p = whole(v, i->seg, op_ea(v, i), n, load ? SEG_READ : SEG_WRITE);                        \
		if (load) {                                                                                   \
			__m256i x, m = n == 32 ? vec_load32(mask) : _mm256_zextsi128_si256(vec_load(mask));   \
			if (!p)                                                                               \
				p = (u8 *)load_selected(v, i, mask, n, element);                              \
			asm volatile("v" #name " %2, %1, %0" : "=x"(x) : "x"(m), "m"(*(const __m256i_u *)p)); \
			avx_set32(v, i->r[0], x);                                                             \
		} else if (!p) {                                                                              \
			store_selected(v, i->seg, op_ea(v, i), v->v[i->r[2]].b, mask, n, element);            \
		} else if (n == 32) {                                                                         \
			asm volatile("v" #name " %2, %1, %0"                                                  \
				     : "+m"(*(__m256i_u *)p)                                                  \
				     : "x"(vec_load32(mask)), "x"(*vec_ymm(v, i->r[2])));                     \
		} else {                                                                                      \
			asm volatile("v" #name " %2, %1, %0"                                                  \
				     : "+m"(*(__m128i_u *)p)                                                  \
				     : "x"(vec_load(mask)), "x"(*vec_xmm(v, i->r[2])));                       \
		}                                                                                             \
	}
MASK_MOVE(maskmovps, 4)
MASK_MOVE(maskmovpd, 8)
MASK_MOVE(pmaskmovd, 4)
MASK_MOVE(pmaskmovq, 8)

/* The byte-masked stores to [rDI], a hidden operand: the record has its segment and address size. */
static u64 rdi_ea(struct vcpu *v, const struct insn *i)
{
	u64 ea = v->r[RDI];

	return i->asize == 3 ? ea : i->asize == 2 ? (u32)ea : (u16)ea;
}
void sse_maskmovdqu(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_SSE);
	store_selected(v, i->seg, rdi_ea(v, i), v->v[i->r[0]].b, v->v[i->r[1]].b, 16, 1);
}
void avx_maskmovdqu(struct vcpu *v, const struct insn *i)
{
	simd_check(v, SIMD_AVX);
	store_selected(v, i->seg, rdi_ea(v, i), v->v[i->r[0]].b, v->v[i->r[1]].b, 16, 1);
}
void mmx_maskmovq(struct vcpu *v, const struct insn *i)
{
	u64 data, mask;

	mmx_check(v);
	data = mmx_read(v, i->r[0]);
	mask = mmx_read(v, i->r[1]);
	store_selected(v, i->seg, rdi_ea(v, i), (const u8 *)&data, (const u8 *)&mask, 8, 1);
	mmx_touch(v);
}

/*
 * Gathers: dst, [base + index * scale + disp], mask. `element` and `index` are bytes; the number of elements is what fits
 * the destination's size, which for a 4-byte element with 8-byte index is half of the index vector.
 */
static void gather(struct vcpu *v, const struct insn *i, unsigned element, unsigned index)
{
	union vreg *dst = &v->v[i->r[0]], *mask = &v->v[i->r[2]];
	const union vreg *x = &v->v[i->index];
	unsigned count = i->size / element;

	simd_check(v, SIMD_AVX2);
	if (dst == mask || dst == x || mask == x)
		vcpu_raise(v, EXC_UD);
	v->r[17] = v->rip - i->off;
	for (unsigned k = 0; k < count; k++) {
		if (selected(mask->b, element, k)) {
			u64 at = index == 8 ? x->q[k] : (u64)(s64)(s32)x->d[k];
			u64 ea = *vcpu_gpr(v, i->base) + (at << i->scale) + (u64)(s64)i->disp;
			ea = i->asize == 3 ? ea : i->asize == 2 ? (u32)ea : (u16)ea;
			u64 gla = segment_linear(v, i->seg, ea, element, SEG_READ);
			const struct tlb_entry *e = tlb_slot(v->tlb, gla);
			const u8 *p = (const u8 *)(gla + e->delta);
			u64 value = 0;
			if (likely(gla - e->rd <= PAGE_SIZE - element))
				value = vec_integer(p, element);
			else /* no alignment checks (SDM vol. 2, VGATHERDPS) */
				mmu_read(v, gla, &value, element, MMU_EXPLICIT);
			if (element == 8)
				dst->q[k] = value;
			else
				dst->d[k] = (u32)value;
		}
		if (element == 8)
			mask->q[k] = 0;
		else
			mask->d[k] = 0;
	}
	for (unsigned b = count * element; b < 32; b += 4)
		dst->d[b / 4] = mask->d[b / 4] = 0;
}
#define GATHER(name, element, index)                          \
	void avx_##name(struct vcpu *v, const struct insn *i) \
	{                                                     \
		gather(v, i, element, index);                 \
	}
GATHER(gatherdps, 4, 4)
GATHER(gatherqps, 4, 8)
GATHER(gatherdpd, 8, 4)
GATHER(gatherqpd, 8, 8)
GATHER(pgatherdd, 4, 4)
GATHER(pgatherqd, 4, 8)
GATHER(pgatherdq, 8, 4)
GATHER(pgatherqq, 8, 8)
