/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment registers: linear addresses with limit and type checks (SDM vol. 3, 5.3 and 5.5), and loads of data and
 * stack segments: MOV and POP to Sreg, LDS and its like, MOV and PUSH of Sreg. CS is loaded by far transfers alone.
 */
#include "emulate/descriptor.h"

static _Noreturn void segment_fault(struct vcpu *v, unsigned seg)
{
	vcpu_raise_error(v, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

static bool within_limit(const struct segment *s, u64 ea, unsigned len, bool typed)
{
	u64 last = ea + len - 1;

	if (typed && !(s->ar & AR_CODE) && s->ar & AR_EXPAND_DOWN)
		return ea > s->limit && last <= (s->ar & AR_DB ? 0xffffffff : 0xffff);
	return last <= s->limit;
}

static bool type_allows(const struct segment *s, enum seg_use use)
{
	if (use == SEG_WRITE)
		return ar_is_writable_data(s->ar);
	return !(s->ar & AR_CODE) || s->ar & AR_READ;
}

u64 segment_linear_slow(struct vcpu *v, unsigned seg, u64 ea, unsigned len, enum seg_use use)
{
	const struct segment *s = &v->seg[seg];

	if (v->code_size == CODE_64) {
		u64 gla = seg >= SEG_FS ? s->base + ea : ea;
		if (!is_canonical(gla) || !is_canonical(gla + len - 1))
			segment_fault(v, seg);
		return gla;
	}
	/* Real mode keeps the types of whatever was loaded last, and does not look at them. */
	if (v->mode >= MODE_PROTECTED && (s->ar & AR_UNUSABLE || !type_allows(s, use)))
		segment_fault(v, seg);
	if (!within_limit(s, ea, len, v->mode >= MODE_PROTECTED))
		segment_fault(v, seg);
	return (u32)(s->base + ea);
}

void segment_set_real(struct vcpu *v, unsigned seg, u16 selector)
{
	v->seg[seg].selector = selector;
	v->seg[seg].base = (u64)selector << 4;
}

void segment_set_v86(struct vcpu *v, unsigned seg, u16 selector)
{
	v->seg[seg] = (struct segment){ .base = (u64)selector << 4,
					.limit = 0xffff,
					.ar = AR_P | AR_DPL | AR_S | AR_WRITE | AR_ACCESSED,
					.selector = selector };
}

struct segment segment_null(u16 selector)
{
	return (struct segment){ .ar = AR_UNUSABLE, .selector = selector };
}

void segment_commit_cs(struct vcpu *v, const struct descriptor *d, unsigned cpl)
{
	v->seg[SEG_CS] = descriptor_segment(d, (u16)((d->selector & ~SEL_RPL) | cpl));
	if (v->cpl != cpl)
		set_cpl(v, (u8)cpl);
	vcpu_update_mode(v);
}

static void load_ss(struct vcpu *v, u16 selector)
{
	struct descriptor d;

	if (selector_null(selector)) {
		if (v->code_size != CODE_64 || v->cpl == 3 || (selector & SEL_RPL) != v->cpl)
			vcpu_raise_error(v, EXC_GP, 0);
		v->seg[SEG_SS] = segment_null_ss(v->cpl);
		return;
	}
	descriptor_need(v, selector, &d, EXC_GP, 0);
	u32 ar = desc_ar(&d);
	if ((selector & SEL_RPL) != v->cpl || ar_dpl(ar) != v->cpl || !ar_is_writable_data(ar))
		raise_selector(v, EXC_GP, selector, 0);
	if (!(ar & AR_P))
		raise_selector(v, EXC_SS, selector, 0);
	descriptor_set_accessed(v, &d);
	v->seg[SEG_SS] = descriptor_segment(&d, selector);
}

static void load_data(struct vcpu *v, unsigned seg, u16 selector)
{
	struct descriptor d;

	if (selector_null(selector)) {
		v->seg[seg] = segment_null(selector);
		return;
	}
	descriptor_need(v, selector, &d, EXC_GP, 0);
	u32 ar = desc_ar(&d);
	bool readable = ar & AR_S && (!(ar & AR_CODE) || ar & AR_READ);
	bool any_level = ar_is_code(ar) && ar_is_conforming(ar);
	if (!readable || (!any_level && MAX(selector & SEL_RPL, v->cpl) > ar_dpl(ar)))
		raise_selector(v, EXC_GP, selector, 0);
	if (!(ar & AR_P))
		raise_selector(v, EXC_NP, selector, 0);
	descriptor_set_accessed(v, &d);
	v->seg[seg] = descriptor_segment(&d, selector);
}

void segment_load(struct vcpu *v, unsigned seg, u16 selector)
{
	if (v->mode == MODE_REAL)
		segment_set_real(v, seg, selector);
	else if (v->mode == MODE_V86)
		segment_set_v86(v, seg, selector);
	else if (seg == SEG_SS)
		load_ss(v, selector);
	else
		load_data(v, seg, selector);
}

/* SDM vol. 3, 6.8.3: so that SS and ESP can be loaded as a pair. */
static void shadow_after_ss(struct vcpu *v, unsigned seg)
{
	if (seg != SEG_SS)
		return;
	v->shadow = true;
	v->shadow_ss = true;
	v->stop_now = true;
}

void exec_mov_to_seg(struct vcpu *v, const struct insn *i)
{
	if (i->r[0] == SEG_CS)
		vcpu_raise(v, EXC_UD);
	segment_load(v, i->r[0], (u16)op_read(v, i, 1));
	shadow_after_ss(v, i->r[0]);
	v->rip = vcpu_next_rip(v, i);
}

void exec_mov_from_seg(struct vcpu *v, const struct insn *i)
{
	op_write(v, i, 0, v->seg[i->r[1]].selector);
}

/*
 * Of a 4-byte push only the selector's two bytes are written (SDM vol. 2, PUSH; seen on every CPU since the Pentium
 * 4).
 */
void exec_push_seg(struct vcpu *v, const struct insn *i)
{
	struct stack s = stack_current(v);
	unsigned size = 1u << i->osize;

	if (size == 4) {
		s.sp = (s.sp - 2) & s.mask;
		size = 2;
	}
	stack_push(v, &s, v->seg[i->r[0]].selector, size);
	stack_commit(v, &s);
}

void exec_pop_seg(struct vcpu *v, const struct insn *i)
{
	struct stack s = stack_current(v);
	u64 selector = stack_pop(v, &s, 2);

	s.sp = (s.sp - 2 + (1u << i->osize)) & s.mask;
	segment_load(v, i->r[0], (u16)selector);
	stack_commit(v, &s);
	shadow_after_ss(v, i->r[0]);
	v->rip = vcpu_next_rip(v, i);
}

/* LDS, LES, LFS, LGS, LSS: offset, then selector. */
static void load_pointer(struct vcpu *v, const struct insn *i, unsigned seg)
{
	unsigned size = 1u << i->osize;
	u64 gla = op_linear(v, i, size + 2, SEG_READ);
	u64 offset = mmu_load(v, gla, size, MMU_EXPLICIT);
	u16 selector = (u16)mmu_load(v, gla + size, 2, MMU_EXPLICIT);

	segment_load(v, seg, selector);
	reg_write(v, i->r[0], size, offset);
	v->rip = vcpu_next_rip(v, i);
}

void exec_lds(struct vcpu *v, const struct insn *i)
{
	load_pointer(v, i, SEG_DS);
}
void exec_les(struct vcpu *v, const struct insn *i)
{
	load_pointer(v, i, SEG_ES);
}
void exec_lfs(struct vcpu *v, const struct insn *i)
{
	load_pointer(v, i, SEG_FS);
}
void exec_lgs(struct vcpu *v, const struct insn *i)
{
	load_pointer(v, i, SEG_GS);
}
void exec_lss(struct vcpu *v, const struct insn *i)
{
	load_pointer(v, i, SEG_SS);
}
