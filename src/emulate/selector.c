/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that look at selectors and descriptors without using them (LAR, LSL, VERR, VERW, ARPL), and those
 * that keep LDTR and TR (LLDT, LTR, SLDT, STR). None of them exists in real or virtual-8086 mode.
 */
#include "emulate/descriptor.h"

static void need_protected_mode(struct vcpu *v)
{
	if (!protected_mode(v))
		vcpu_raise(v, EXC_UD);
}

static void need_level_0(struct vcpu *v)
{
	need_protected_mode(v);
	if (v->cpl)
		vcpu_raise_error(v, EXC_GP, 0);
}

static void set_zf(struct vcpu *v, bool zf)
{
	u32 f = flags_get(v);

	flags_set(v, zf ? f | FL_ZF : f & ~FL_ZF);
}

/* Operand k, a selector: two bytes, even if the operand is a wider register. */
static u16 selector_operand(struct vcpu *v, const struct insn *i, unsigned k)
{
	if (insn_kind(i, k) == OPK_REG)
		return (u16)reg_read(v, i->r[k], 2);
	return (u16)mmu_load(v, op_linear(v, i, 2, SEG_READ), 2, MMU_EXPLICIT);
}

static bool visible(const struct vcpu *v, u16 selector, u32 ar)
{
	if (ar_is_code(ar) && ar_is_conforming(ar))
		return true;
	return MAX(selector & SEL_RPL, v->cpl) <= ar_dpl(ar);
}

static bool lar_type(const struct vcpu *v, u32 ar)
{
	if (ar & AR_S)
		return true;
	switch (ar_type(ar)) {
	case SYS_TSS16:
	case SYS_TSS16_BUSY:
	case SYS_CALL16:
	case SYS_TASK_GATE: return !long_active(v);
	case SYS_LDT:
	case SYS_TSS32:
	case SYS_TSS32_BUSY:
	case SYS_CALL32: return true;
	default: return false;
	}
}

static bool lsl_type(const struct vcpu *v, u32 ar)
{
	return lar_type(v, ar) && (ar & AR_S || (ar_type(ar) & 7) < SYS_CALL16);
}

static bool look_up(struct vcpu *v, u16 selector, struct descriptor *d, bool (*type)(const struct vcpu *, u32))
{
	if (selector_null(selector) || !descriptor_read(v, selector, d))
		return false;
	u32 ar = desc_ar(d);
	if (!type(v, ar) || !visible(v, selector, ar))
		return false;
	/* In IA-32e mode system descriptors have 16 bytes, and all of them must be there. */
	return ar & AR_S || !long_active(v) || descriptor_read_high(v, d);
}

void exec_lar(struct vcpu *v, const struct insn *i)
{
	struct descriptor d;

	need_protected_mode(v);
	bool ok = look_up(v, selector_operand(v, i, 1), &d, lar_type);
	if (ok)
		reg_write(v, i->r[0], i->size, d.low >> 32 & 0xffff00 & mask_size(i->size));
	set_zf(v, ok);
}

void exec_lsl(struct vcpu *v, const struct insn *i)
{
	struct descriptor d;

	need_protected_mode(v);
	bool ok = look_up(v, selector_operand(v, i, 1), &d, lsl_type);
	if (ok)
		reg_write(v, i->r[0], i->size, desc_limit(&d));
	set_zf(v, ok);
}

static bool verify(struct vcpu *v, u16 selector, bool write)
{
	struct descriptor d;

	if (selector_null(selector) || !descriptor_read(v, selector, &d))
		return false;
	u32 ar = desc_ar(&d);
	if (!(ar & AR_S) || !visible(v, selector, ar))
		return false;
	return write ? ar_is_writable_data(ar) : !(ar & AR_CODE) || ar & AR_READ;
}

void exec_verr(struct vcpu *v, const struct insn *i)
{
	need_protected_mode(v);
	set_zf(v, verify(v, selector_operand(v, i, 0), false));
}

void exec_verw(struct vcpu *v, const struct insn *i)
{
	need_protected_mode(v);
	set_zf(v, verify(v, selector_operand(v, i, 0), true));
}

static u64 raise_rpl(u64 old, void *arg)
{
	u64 rpl = *(const u64 *)arg & SEL_RPL;

	return (old & SEL_RPL) < rpl ? (old & ~(u64)SEL_RPL) | rpl : old;
}

void exec_arpl(struct vcpu *v, const struct insn *i)
{
	need_protected_mode(v);
	u64 src = reg_read(v, i->r[1], 2);
	u64 old = op_modify(v, i, false, raise_rpl, &src);
	set_zf(v, (old & SEL_RPL) < (src & SEL_RPL));
}

void exec_lldt(struct vcpu *v, const struct insn *i)
{
	struct descriptor d;

	need_level_0(v);
	u16 selector = selector_operand(v, i, 0);
	if (selector_null(selector)) {
		v->ldtr = segment_null(selector);
	} else {
		if (selector & SEL_TI || !descriptor_read(v, selector, &d))
			raise_selector(v, EXC_GP, selector, 0);
		u32 ar = desc_ar(&d);
		if (ar & AR_S || ar_type(ar) != SYS_LDT || (long_active(v) && !descriptor_read_high(v, &d)))
			raise_selector(v, EXC_GP, selector, 0);
		if (!(ar & AR_P))
			raise_selector(v, EXC_NP, selector, 0);
		struct segment ldtr = descriptor_segment(&d, selector);
		if (!is_canonical(ldtr.base))
			raise_selector(v, EXC_GP, selector, 0);
		v->ldtr = ldtr;
	}
	v->rip = vcpu_next_rip(v, i);
}

void exec_ltr(struct vcpu *v, const struct insn *i)
{
	struct descriptor d;

	need_level_0(v);
	u16 selector = selector_operand(v, i, 0);
	if (selector_null(selector))
		vcpu_raise_error(v, EXC_GP, 0);
	if (selector & SEL_TI || !descriptor_read(v, selector, &d))
		raise_selector(v, EXC_GP, selector, 0);
	u32 ar = desc_ar(&d);
	bool type_ok = ar_type(ar) == SYS_TSS32 || (ar_type(ar) == SYS_TSS16 && !long_active(v));
	if (ar & AR_S || !type_ok || (long_active(v) && !descriptor_read_high(v, &d)))
		raise_selector(v, EXC_GP, selector, 0);
	if (!(ar & AR_P))
		raise_selector(v, EXC_NP, selector, 0);
	struct segment tr = descriptor_segment(&d, selector);
	if (!is_canonical(tr.base))
		raise_selector(v, EXC_GP, selector, 0);
	tr.ar |= TSS_BUSY;
	mmu_store(v, d.gla + 5, 1, tr.ar & 0xff, MMU_SUPERVISOR);
	v->tr = tr;
	v->rip = vcpu_next_rip(v, i);
}

/* User-mode instruction prevention (SDM vol. 3, 2.5: CR4.UMIP). */
static void check_umip(struct vcpu *v)
{
	if (v->cpl && v->cr4 & CR4_UMIP)
		vcpu_raise_error(v, EXC_GP, 0);
}

void exec_sldt(struct vcpu *v, const struct insn *i)
{
	need_protected_mode(v);
	check_umip(v);
	op_write(v, i, 0, v->ldtr.selector);
}

void exec_str(struct vcpu *v, const struct insn *i)
{
	need_protected_mode(v);
	check_umip(v);
	op_write(v, i, 0, v->tr.selector);
}
