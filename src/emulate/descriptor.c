/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors in memory, and the checks of code and stack segments that far returns share (SDM vol. 3 ch. 3 and 5). */
#include "emulate/descriptor.h"

bool descriptor_read(struct vcpu *v, u16 selector, struct descriptor *d)
{
	u32 offset = selector & ~(SEL_RPL | SEL_TI);
	u64 base = v->gdtr.base;
	u32 limit = v->gdtr.limit;

	if (selector & SEL_TI) {
		if (v->ldtr.ar & AR_UNUSABLE)
			return false;
		base = v->ldtr.base;
		limit = v->ldtr.limit;
	}
	if (offset + 7 > limit)
		return false;
	d->selector = selector;
	d->gla = long_active(v) ? base + offset : (u32)(base + offset);
	d->low = mmu_load(v, d->gla, 8, MMU_SUPERVISOR);
	d->high = 0;
	return true;
}

void descriptor_need(struct vcpu *v, u16 selector, struct descriptor *d, u8 vector, u32 ext)
{
	if (!descriptor_read(v, selector, d))
		raise_selector(v, vector, selector, ext);
}

bool descriptor_read_high(struct vcpu *v, struct descriptor *d)
{
	u32 limit = d->selector & SEL_TI ? v->ldtr.limit : v->gdtr.limit;

	if ((d->selector & ~(SEL_RPL | SEL_TI)) + 15 > limit)
		return false;
	d->high = mmu_load(v, d->gla + 8, 8, MMU_SUPERVISOR);
	if (d->high >> 40 & 0x1f)
		return false;
	d->high = (u32)d->high;
	return true;
}

void descriptor_set_accessed(struct vcpu *v, struct descriptor *d)
{
	if (d->low & BIT(40))
		return;
	d->low |= BIT(40);
	if (unlikely(v->machine->deprivileged)) /* which keeps its guest's tables */
		return;
	mmu_store(v, d->gla + 5, 1, d->low >> 40 & 0xff, MMU_SUPERVISOR);
}

struct segment descriptor_segment(const struct descriptor *d, u16 selector)
{
	return (struct segment){
		.base = desc_base(d) | d->high << 32, .limit = desc_limit(d), .ar = desc_ar(d), .selector = selector
	};
}

void check_entry_point(struct vcpu *v, const struct descriptor *d, u64 offset, u32 ext)
{
	bool wide = long_active(v) && desc_ar(d) & AR_L;

	if (wide ? !is_canonical(offset) : offset > desc_limit(d))
		vcpu_raise_error(v, EXC_GP, ext);
}

void check_return_cs(struct vcpu *v, u16 selector, struct descriptor *d)
{
	unsigned rpl = selector & SEL_RPL;

	if (selector_null(selector))
		vcpu_raise_error(v, EXC_GP, 0);
	descriptor_need(v, selector, d, EXC_GP, 0);
	u32 ar = desc_ar(d);
	bool level_ok = ar_is_conforming(ar) ? ar_dpl(ar) <= rpl : ar_dpl(ar) == rpl;
	bool both_sizes = long_active(v) && (ar & (AR_L | AR_DB)) == (AR_L | AR_DB);
	if (rpl < v->cpl || !ar_is_code(ar) || !level_ok || both_sizes)
		raise_selector(v, EXC_GP, selector, 0);
	if (!(ar & AR_P))
		raise_selector(v, EXC_NP, selector, 0);
	descriptor_set_accessed(v, d);
}

void check_return_ss(struct vcpu *v, u16 selector, unsigned rpl, bool to_long, struct segment *ss)
{
	struct descriptor d;

	if (selector_null(selector)) {
		if (!to_long || rpl == 3 || (selector & SEL_RPL) != rpl)
			vcpu_raise_error(v, EXC_GP, 0);
		*ss = segment_null(selector);
		ss->ar |= rpl << AR_DPL_SHIFT;
		return;
	}
	descriptor_need(v, selector, &d, EXC_GP, 0);
	u32 ar = desc_ar(&d);
	if ((selector & SEL_RPL) != rpl || ar_dpl(ar) != rpl || !ar_is_writable_data(ar))
		raise_selector(v, EXC_GP, selector, 0);
	if (!(ar & AR_P))
		raise_selector(v, EXC_SS, selector, 0);
	descriptor_set_accessed(v, &d);
	*ss = descriptor_segment(&d, selector);
}

void drop_inner_segments(struct vcpu *v)
{
	static const u8 data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

	for (unsigned k = 0; k < ARRAY_SIZE(data); k++) {
		struct segment *s = &v->seg[data[k]];
		bool conforming = ar_is_code(s->ar) && ar_is_conforming(s->ar);
		if (s->ar & AR_UNUSABLE || conforming || ar_dpl(s->ar) >= v->cpl)
			continue;
		s->selector = 0;
		s->ar = AR_UNUSABLE;
	}
}
