/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Explicit stacks of far transfers and event delivery, and the stacks that a TSS names (SDM vol. 3, 6.12.1 and
 * 7.2.1).
 */
#include "emulate/descriptor.h"

static u64 sp_mask(const struct segment *ss, bool flat)
{
	if (flat)
		return ~0ull;
	return ss->ar & AR_DB ? 0xffffffff : 0xffff;
}

struct stack stack_current(struct vcpu *v)
{
	bool flat = v->code_size == CODE_64;
	u64 mask = sp_mask(&v->seg[SEG_SS], flat);

	return (struct stack){
		.ss = v->seg[SEG_SS], .sp = v->r[RSP] & mask, .mask = mask, .how = MMU_EXPLICIT, .flat = flat
	};
}

struct stack stack_inner(const struct segment *ss, u64 sp, bool flat, u32 error)
{
	u64 mask = sp_mask(ss, flat);

	return (struct stack){
		.ss = *ss, .sp = sp & mask, .mask = mask, .error = error, .how = MMU_SUPERVISOR, .flat = flat
	};
}

/* Linear address of [offset, + size) on the stack, or #SS. */
static u64 stack_linear(struct vcpu *v, const struct stack *s, u64 offset, unsigned size)
{
	u64 last = offset + size - 1;
	bool ok;

	if (s->flat) {
		if (!is_canonical(offset) || !is_canonical(last))
			vcpu_raise_error(v, EXC_SS, s->error);
		return offset;
	}
	if (v->mode == MODE_REAL)
		ok = last <= s->ss.limit;
	else if (s->ss.ar & AR_UNUSABLE)
		ok = false;
	else if (s->ss.ar & AR_EXPAND_DOWN)
		ok = offset > s->ss.limit && last <= s->mask;
	else
		ok = last <= s->ss.limit;
	if (!ok)
		vcpu_raise_error(v, EXC_SS, s->error);
	return (u32)(s->ss.base + offset);
}

void stack_push(struct vcpu *v, struct stack *s, u64 value, unsigned size)
{
	u64 sp = (s->sp - size) & s->mask;

	mmu_store(v, stack_linear(v, s, sp, size), size, value & mask_size(size), s->how);
	s->sp = sp;
}

u64 stack_pop(struct vcpu *v, struct stack *s, unsigned size)
{
	u64 value = mmu_load(v, stack_linear(v, s, s->sp, size), size, s->how);

	s->sp = (s->sp + size) & s->mask;
	return value;
}

void stack_commit(struct vcpu *v, const struct stack *s)
{
	reg_write(v, SLOT(RSP), s->mask == 0xffff ? 2 : s->mask == 0xffffffff ? 4 : 8, s->sp);
}

void tss_stack(struct vcpu *v, unsigned dpl, u32 ext, u16 *ss, u64 *sp)
{
	bool wide = ar_type(v->tr.ar) & 8;
	bool lng = long_active(v);
	u32 offset = wide ? 4 + 8 * dpl : 2 + 4 * dpl;
	u32 last = offset + (lng ? 7 : wide ? 5 : 3);

	if (v->tr.ar & AR_UNUSABLE || last > v->tr.limit)
		raise_selector(v, EXC_TS, v->tr.selector, ext);
	if (lng) {
		*sp = mmu_load(v, v->tr.base + offset, 8, MMU_SUPERVISOR);
		*ss = (u16)dpl;
		return;
	}
	*sp = mmu_load(v, (u32)(v->tr.base + offset), wide ? 4 : 2, MMU_SUPERVISOR);
	*ss = (u16)mmu_load(v, (u32)(v->tr.base + offset + (wide ? 4 : 2)), 2, MMU_SUPERVISOR);
}

struct segment segment_null_ss(unsigned cpl)
{
	struct segment ss = segment_null((u16)cpl);

	ss.ar |= cpl << AR_DPL_SHIFT;
	return ss;
}

struct stack stack_for_level(struct vcpu *v, unsigned dpl, u32 ext)
{
	struct descriptor d;
	u16 selector;
	u64 sp;

	tss_stack(v, dpl, ext, &selector, &sp);
	if (selector_null(selector))
		vcpu_raise_error(v, EXC_TS, ext);
	descriptor_need(v, selector, &d, EXC_TS, ext);
	u32 ar = desc_ar(&d);
	if ((selector & SEL_RPL) != dpl || ar_dpl(ar) != dpl || !ar_is_writable_data(ar))
		raise_selector(v, EXC_TS, selector, ext);
	if (!(ar & AR_P))
		raise_selector(v, EXC_SS, selector, ext);
	descriptor_set_accessed(v, &d);
	struct segment ss = descriptor_segment(&d, selector);
	return stack_inner(&ss, sp, false, (selector & ~SEL_RPL) | ext);
}
