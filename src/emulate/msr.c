/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model-specific registers: RDMSR and WRMSR. Plain ones are a table of fields with the bits that may be set; the
 * rest are cases of their own. Unknown MSRs and reserved bits are #GP(0), as on the CPU that the models describe
 * (SDM vol. 4).
 */
#include "emulate/debug.h"
#include "emulate/descriptor.h"
#include "x86/msr.h"

#define MCG_BANKS     8
#define MTRR_VARIABLE 8

/* Read-only values. */
#define MTRRCAP	      (MTRR_VARIABLE | BIT(8) /* fixed ranges */ | BIT(10) /* write-combining */)
#define MCG_CAP	      (MCG_BANKS | BIT(8) /* MCG_CTL */)
#define PLATFORM_INFO (10ull << 8) /* base ratio: 10 x 100 MHz */

/*
 * Nothing is speculated here, so nothing leaks, and the guest need not pay for mitigations (SDM vol. 4,
 * IA32_ARCH_CAPABILITIES): RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO,
 * SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO.
 */
#define ARCH_CAPABILITIES                                                                                       \
	(BIT(0) | BIT(1) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(14) | BIT(15) | BIT(20) | \
	 BIT(24) | BIT(26) | BIT(27) | BIT(62))

enum msr_check { ANY, CANONICAL };

struct plain_msr {
	u32 number;
	u16 offset; /* of the field in struct vcpu */
	u8 feature;
	u8 check;
	u64 writable; /* other bits are reserved */
};
#define PLAIN(n, field, feature, check, writable)                         \
	{                                                                 \
		n, offsetof(struct vcpu, field), feature, check, writable \
	}

static const struct plain_msr plain[] = {
	PLAIN(MSR_SYSENTER_CS, msr.sysenter_cs, FEAT_SEP, ANY, 0xffffffff),
	PLAIN(MSR_SYSENTER_ESP, msr.sysenter_esp, FEAT_SEP, CANONICAL, ~0ull),
	PLAIN(MSR_SYSENTER_EIP, msr.sysenter_eip, FEAT_SEP, CANONICAL, ~0ull),
	PLAIN(MSR_STAR, msr.star, FEAT_SYSCALL, ANY, ~0ull),
	PLAIN(MSR_LSTAR, msr.lstar, FEAT_LM, CANONICAL, ~0ull),
	PLAIN(MSR_CSTAR, msr.cstar, FEAT_LM, CANONICAL, ~0ull),
	PLAIN(MSR_SFMASK, msr.sfmask, FEAT_SYSCALL, ANY, 0xffffffff),
	PLAIN(MSR_FS_BASE, seg[SEG_FS].base, FEAT_LM, CANONICAL, ~0ull),
	PLAIN(MSR_GS_BASE, seg[SEG_GS].base, FEAT_LM, CANONICAL, ~0ull),
	PLAIN(MSR_KERNEL_GS_BASE, msr.kernel_gs_base, FEAT_LM, CANONICAL, ~0ull),
	PLAIN(MSR_TSC_AUX, msr.tsc_aux, FEAT_BASE, ANY, 0xffffffff),
	PLAIN(MSR_SPEC_CTRL, msr.spec_ctrl, FEAT_SPEC_CTRL, ANY, 7 /* IBRS, STIBP, SSBD */ | BIT(10) /* BHI_DIS_S */),
	PLAIN(MSR_MISC_ENABLE, msr.misc_enable, FEAT_BASE, ANY, ~0ull),
	PLAIN(MSR_MCG_STATUS, msr.mcg_status, FEAT_MCE, ANY, 7),
	PLAIN(MSR_MCG_CTL, msr.mcg_ctl, FEAT_MCE, ANY, ~0ull),
	PLAIN(MSR_DEBUGCTL, msr.debugctl, FEAT_DE, ANY, DEBUGCTL_LBR | DEBUGCTL_BTF),
	PLAIN(MSR_XSS, msr.xss, FEAT_XSAVES, ANY, 0),
};

static const struct {
	u32 number;
	u8 feature;
	u64 value;
} constant[] = {
	{ MSR_PLATFORM_ID, FEAT_BASE, 0 },
	{ MSR_PLATFORM_INFO, FEAT_BASE, PLATFORM_INFO },
	{ MSR_MTRRCAP, FEAT_MTRR, MTRRCAP },
	{ MSR_MCG_CAP, FEAT_MCE, MCG_CAP },
	{ MSR_ARCH_CAPABILITIES, FEAT_ARCH_CAPABILITIES, ARCH_CAPABILITIES },
};

static const struct plain_msr *plain_find(const struct vcpu *v, u32 msr)
{
	for (unsigned k = 0; k < ARRAY_SIZE(plain); k++)
		if (plain[k].number == msr)
			return cpu_can(v, (enum feature)plain[k].feature) ? &plain[k] : NULL;
	return NULL;
}

static u64 *plain_field(struct vcpu *v, const struct plain_msr *p)
{
	return (u64 *)((u8 *)v + p->offset);
}

/* ---- PAT and MTRRs (SDM vol. 3, 11.11 and 11.12): kept for the guest; memory is coherent whatever they say ---- */
static bool memory_type(u64 t, bool pat)
{
	return t == 0 || t == 1 || t == 4 || t == 5 || t == 6 || (pat && t == 7);
}

static bool memory_types(u64 value, bool pat)
{
	for (unsigned k = 0; k < 64; k += 8)
		if (!memory_type(value >> k & 0xff, pat))
			return false;
	return true;
}

static u64 *mtrr_fixed(struct vcpu *v, u32 msr)
{
	if (msr == MSR_MTRR_FIX64K)
		return &v->msr.mtrr_fixed[0];
	if (msr == MSR_MTRR_FIX16K_80000 || msr == MSR_MTRR_FIX16K_A0000)
		return &v->msr.mtrr_fixed[1 + msr - MSR_MTRR_FIX16K_80000];
	if (msr >= MSR_MTRR_FIX4K_C0000 && msr < MSR_MTRR_FIX4K_C0000 + 8)
		return &v->msr.mtrr_fixed[3 + msr - MSR_MTRR_FIX4K_C0000];
	return NULL;
}

static u64 *mtrr_variable(struct vcpu *v, u32 msr)
{
	u32 k = msr - MSR_MTRR_PHYSBASE0;

	return k < 2 * MTRR_VARIABLE ? &v->msr.mtrr_var[k] : NULL;
}

static u64 *mc_bank(struct vcpu *v, u32 msr)
{
	u32 k = msr - MSR_MC0_CTL;

	return k < 4 * MCG_BANKS ? &v->msr.mc[k] : NULL;
}

/* Any MSR that is a field of the vCPU, for reading. */
static u64 *stored(struct vcpu *v, u32 msr)
{
	const struct plain_msr *p = plain_find(v, msr);
	u64 *field = NULL;

	if (p)
		return plain_field(v, p);
	if (cpu_can(v, FEAT_MTRR))
		field = (field = mtrr_fixed(v, msr)) ? field : mtrr_variable(v, msr);
	if (!field && cpu_can(v, FEAT_MCE))
		field = mc_bank(v, msr);
	return field;
}

static bool read_other(struct vcpu *v, u32 msr, u64 *value)
{
	switch (msr) {
	case MSR_TSC: *value = clock_now(v->machine->clock) + (u64)v->tsc_offset; return true;
	case MSR_TSC_ADJUST: *value = v->msr.tsc_adjust; return cpu_can(v, FEAT_TSC_ADJUST);
	case MSR_FEATURE_CONTROL: *value = v->msr.feature_control; return true;
	case MSR_EFER: *value = v->efer; return cpu_can(v, FEAT_LM) || cpu_can(v, FEAT_NX);
	case MSR_PAT: *value = v->msr.pat; return cpu_can(v, FEAT_PAT);
	case MSR_MTRR_DEF_TYPE: *value = v->msr.mtrr_def_type; return cpu_can(v, FEAT_MTRR);
	case MSR_UCODE_REV: *value = v->msr.ucode_rev; return true;
	case MSR_SMI_COUNT:
	case MSR_MISC_FEATURES: *value = 0; return true;
	case MSR_PKRS: *value = v->pkrs; return cpu_can(v, FEAT_PKS);
	case MSR_K7_EVNTSEL0 ... MSR_K7_EVNTSEL0 + 7: *value = 0; return cpu_can(v, FEAT_AMD);
	default: return false;
	}
}

static bool read_constant(const struct vcpu *v, u32 msr, u64 *value)
{
	for (unsigned k = 0; k < ARRAY_SIZE(constant); k++) {
		if (constant[k].number != msr)
			continue;
		*value = constant[k].value;
		return cpu_can(v, (enum feature)constant[k].feature);
	}
	return false;
}

static bool is_intc_msr(u32 msr)
{
	return msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE || (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST);
}

u64 msr_read(struct vcpu *v, u32 msr)
{
	const struct intc_ops *intc = v->machine->intc;
	const u64 *field = stored(v, msr);
	u64 value = 0;
	bool ok;

	if (field)
		return *field;
	if (is_intc_msr(msr))
		ok = intc && intc->read_msr && intc->read_msr(v, msr, &value);
	else
		ok = read_constant(v, msr, &value) || read_other(v, msr, &value);
	if (!ok)
		vcpu_raise_error(v, EXC_GP, 0);
	return value;
}

/* ---- writes: each returns false for #GP ---- */
static bool write_efer(struct vcpu *v, u64 value)
{
	u64 valid = EFER_SCE | EFER_LMA | (cpu_can(v, FEAT_LM) ? EFER_LME : 0) | (cpu_can(v, FEAT_NX) ? EFER_NXE : 0);
	u64 changed;

	if (value & ~valid)
		return false;
	value = (value & ~EFER_LMA) | (v->efer & EFER_LMA);
	changed = value ^ v->efer;
	if (changed & EFER_LME && v->cr0 & CR0_PG)
		return false;
	v->efer = value;
	if (changed & EFER_NXE)
		mmu_flush_all(v);
	return true;
}

static void write_tsc(struct vcpu *v, u64 value)
{
	u64 delta = value - (clock_now(v->machine->clock) + (u64)v->tsc_offset);

	/* IA32_TSC_ADJUST moves along (SDM vol. 3, 17.17.3). */
	v->tsc_offset += (s64)delta;
	v->msr.tsc_adjust += delta;
}

static bool write_tsc_adjust(struct vcpu *v, u64 value)
{
	if (!cpu_can(v, FEAT_TSC_ADJUST))
		return false;
	v->tsc_offset += (s64)(value - v->msr.tsc_adjust);
	v->msr.tsc_adjust = value;
	return true;
}

static bool write_pat(struct vcpu *v, u64 value)
{
	if (!cpu_can(v, FEAT_PAT) || !memory_types(value, true))
		return false;
	v->msr.pat = value;
	return true;
}

static bool write_mtrr_variable(u64 *field, bool is_mask, u64 value)
{
	u64 reserved = ~(BIT(GPA_BITS) - 1) | (is_mask ? 0x7ff : 0xf00);

	if (value & reserved || (!is_mask && !memory_type(value & 0xff, false)))
		return false;
	*field = value;
	return true;
}

static bool write_mtrr_def_type(struct vcpu *v, u64 value)
{
	if (!cpu_can(v, FEAT_MTRR) || value & ~0xcffull || !memory_type(value & 0xff, false))
		return false;
	v->msr.mtrr_def_type = value;
	return true;
}

/* IA32_FEATURE_CONTROL: once locked, or from the start, as firmware leaves it. */
static bool write_feature_control(struct vcpu *v, u64 value)
{
	if (v->msr.feature_control & 1)
		return false;
	v->msr.feature_control = value;
	return true;
}

static bool write_mc_bank(u64 *field, unsigned which, u64 value)
{
	if (which == 1 && value) /* status: only to clear it */
		return false;
	if (which == 0 && value && ~value) /* control: all or nothing (SDM vol. 3, 16.3.2.1) */
		return false;
	*field = value;
	return true;
}

static bool write_plain(struct vcpu *v, const struct plain_msr *p, u64 value)
{
	if (value & ~p->writable || (p->check == CANONICAL && !is_canonical(value)))
		return false;
	*plain_field(v, p) = value;
	return true;
}

static bool write_other(struct vcpu *v, u32 msr, u64 value)
{
	switch (msr) {
	case MSR_TSC: write_tsc(v, value); return true;
	case MSR_TSC_ADJUST: return write_tsc_adjust(v, value);
	case MSR_FEATURE_CONTROL: return write_feature_control(v, value);
	case MSR_EFER: return write_efer(v, value);
	case MSR_PAT: return write_pat(v, value);
	case MSR_PKRS:
		if (value >> 32 || !cpu_can(v, FEAT_PKS))
			return false;
		control_set_keys(v, &v->pkrs, (u32)value);
		return true;
	case MSR_MTRR_DEF_TYPE: return write_mtrr_def_type(v, value);
	case MSR_PRED_CMD: return cpu_can(v, FEAT_SPEC_CTRL) && !(value & ~1ull);
	case MSR_MISC_FEATURES: return !value;
	case MSR_UCODE_REV: /* software writes 0, then CPUID puts the revision there: it always is */
	case MSR_UCODE_LOAD: return true;
	case MSR_K7_EVNTSEL0 ... MSR_K7_EVNTSEL0 + 7: return cpu_can(v, FEAT_AMD); /* counters that stand */
	default: return false;
	}
}

static bool write_stored(struct vcpu *v, u32 msr, u64 value, bool *ok)
{
	const struct plain_msr *p = plain_find(v, msr);
	u64 *field;

	*ok = true;
	if (p) {
		*ok = write_plain(v, p, value);
	} else if (cpu_can(v, FEAT_MTRR) && (field = mtrr_fixed(v, msr))) {
		*ok = memory_types(value, false);
		if (*ok)
			*field = value;
	} else if (cpu_can(v, FEAT_MTRR) && (field = mtrr_variable(v, msr))) {
		*ok = write_mtrr_variable(field, (msr - MSR_MTRR_PHYSBASE0) & 1, value);
	} else if (cpu_can(v, FEAT_MCE) && (field = mc_bank(v, msr))) {
		*ok = write_mc_bank(field, (msr - MSR_MC0_CTL) & 3, value);
	} else {
		return false;
	}
	return true;
}

bool msr_set(struct vcpu *v, u32 msr, u64 value)
{
	const struct intc_ops *intc = v->machine->intc;
	bool ok;

	if (is_intc_msr(msr))
		ok = intc && intc->write_msr && intc->write_msr(v, msr, value);
	else if (!write_stored(v, msr, value, &ok))
		ok = write_other(v, msr, value);
	return ok;
}

void msr_write(struct vcpu *v, u32 msr, u64 value)
{
	if (!msr_set(v, msr, value))
		vcpu_raise_error(v, EXC_GP, 0);
}

void exec_rdmsr(struct vcpu *v, const struct insn *i)
{
	if (v->cpl)
		vcpu_raise_error(v, EXC_GP, 0);
	u64 value = msr_read(v, (u32)v->r[RCX]);
	v->r[RAX] = (u32)value;
	v->r[RDX] = value >> 32;
}

void exec_wrmsr(struct vcpu *v, const struct insn *i)
{
	if (v->cpl)
		vcpu_raise_error(v, EXC_GP, 0);
	msr_write(v, (u32)v->r[RCX], (u32)v->r[RAX] | v->r[RDX] << 32);
	v->rip = vcpu_next_rip(v, i);
}
