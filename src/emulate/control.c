/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control registers: MOV to and from CRn, LMSW, SMSW, CLTS, XSETBV, XGETBV, and the TLB and cache instructions.
 * Reserved bits and forbidden combinations are #GP(0) (SDM vol. 3, 2.5; vol. 2, MOV to CRn); nothing changes before
 * the last check.
 */
#include "emulate/descriptor.h"

#define CR0_VALID (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)

static _Noreturn void gp0(struct vcpu *v)
{
	vcpu_raise_error(v, EXC_GP, 0);
}

static void need_level_0(struct vcpu *v)
{
	if (v->cpl)
		gp0(v);
}

void set_cpl(struct vcpu *v, u8 cpl)
{
	v->cpl = cpl;
	mmu_update_view(v);
}

static bool pae_paging(u64 cr0, u64 cr4, u64 efer)
{
	return cr0 & CR0_PG && cr4 & CR4_PAE && !(efer & EFER_LMA);
}

/* PG being set while EFER.LME is: what IA-32e mode asks for (SDM vol. 3, 9.8.5). */
static void check_long_mode_entry(struct vcpu *v)
{
	bool tss16 = !(v->tr.ar & AR_UNUSABLE) && (ar_type(v->tr.ar) & ~TSS_BUSY) == SYS_TSS16;

	if (!(v->cr4 & CR4_PAE) || v->seg[SEG_CS].ar & AR_L || tss16)
		gp0(v);
}

static void load_pdptes_for(struct vcpu *v, u64 cr0, u64 cr4)
{
	u64 old0 = v->cr0, old4 = v->cr4;

	v->cr0 = cr0;
	v->cr4 = cr4;
	mmu_load_pdptes(v);
	v->cr0 = old0;
	v->cr4 = old4;
}

void control_set_cr0(struct vcpu *v, u64 value)
{
	u64 old = v->cr0, efer = v->efer;

	if (value >> 32 || (value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)))
		gp0(v);
	value = (value & CR0_VALID) | CR0_ET;
	u64 changed = old ^ value;
	if (changed & value & CR0_PG && efer & EFER_LME) {
		check_long_mode_entry(v);
		efer |= EFER_LMA;
	}
	if (changed & old & CR0_PG) {
		if (v->code_size == CODE_64 || v->cr4 & CR4_PCIDE)
			gp0(v);
		efer &= ~EFER_LMA;
	}
	if (changed & (CR0_PG | CR0_CD | CR0_NW) && pae_paging(value, v->cr4, efer))
		load_pdptes_for(v, value, v->cr4);

	v->cr0 = value;
	v->efer = efer;
	if (changed & (CR0_PG | CR0_PE | CR0_WP))
		mmu_flush_all(v);
	if (changed & (CR0_PG | CR0_PE | CR0_WP | CR0_AM))
		mmu_update_view(v);
	if (changed & (CR0_PG | CR0_PE)) {
		vcpu_update_mode(v);
		v->stop_now = true;
	}
	simd_update(v);
}

static u64 cr4_valid(const struct vcpu *v)
{
	static const struct {
		enum feature feature;
		u64 bits;
	} by_feature[] = {
		{ FEAT_VME, CR4_VME | CR4_PVI }, { FEAT_TSC, CR4_TSD },		  { FEAT_DE, CR4_DE },
		{ FEAT_PSE, CR4_PSE },		 { FEAT_PAE, CR4_PAE },		  { FEAT_MCE, CR4_MCE },
		{ FEAT_PGE, CR4_PGE },		 { FEAT_FXSR, CR4_OSFXSR },	  { FEAT_SSE, CR4_OSXMMEXCPT },
		{ FEAT_UMIP, CR4_UMIP },	 { FEAT_FSGSBASE, CR4_FSGSBASE }, { FEAT_PCID, CR4_PCIDE },
		{ FEAT_XSAVE, CR4_OSXSAVE },	 { FEAT_SMEP, CR4_SMEP },	  { FEAT_SMAP, CR4_SMAP },
		{ FEAT_PKU, CR4_PKE },		 { FEAT_PKS, CR4_PKS },
	};
	u64 valid = CR4_PCE;

	for (unsigned k = 0; k < ARRAY_SIZE(by_feature); k++)
		if (cpu_can(v, by_feature[k].feature))
			valid |= by_feature[k].bits;
	return valid;
}

void control_set_cr4(struct vcpu *v, u64 value)
{
	u64 changed = v->cr4 ^ value;

	if (value & ~cr4_valid(v))
		gp0(v);
	if (changed & CR4_PAE && long_active(v))
		gp0(v);
	if (changed & value & CR4_PCIDE && (!long_active(v) || v->cr3 & 0xfff))
		gp0(v);
	if (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP) && pae_paging(v->cr0, value, v->efer))
		load_pdptes_for(v, v->cr0, value);

	v->cr4 = value;
	if (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP | CR4_SMAP | CR4_PCIDE | CR4_PKE | CR4_PKS)) {
		mmu_flush_all(v);
		mmu_update_view(v);
	}
	if (changed & CR4_DE)
		v->stop_now = true;
	simd_update(v);
}

static void set_cr3(struct vcpu *v, u64 value)
{
	u64 keep = v->cr4 & CR4_PCIDE ? BIT(63) : 0;

	if (long_active(v) && (value & ~keep) >> GPA_BITS)
		gp0(v);
	mmu_set_cr3(v, value);
}

static void set_cr8(struct vcpu *v, u64 value)
{
	if (value >> 4)
		gp0(v);
	if (v->machine->intc)
		v->machine->intc->set_tpr(v, (u8)value);
}

/* Moves to and from control registers are always of the full width (SDM vol. 2). */
static unsigned width(const struct vcpu *v)
{
	return v->code_size == CODE_64 ? 8 : 4;
}

void exec_mov_to_cr(struct vcpu *v, const struct insn *i)
{
	u64 value = reg_read(v, i->r[1], width(v));
	u64 next = vcpu_next_rip(v, i); /* in the code size that is about to change */

	need_level_0(v);
	switch (i->r[0]) {
	case 0: control_set_cr0(v, value); break;
	case 2: v->cr2 = value; break;
	case 3: set_cr3(v, value); break;
	case 4: control_set_cr4(v, value); break;
	case 8: set_cr8(v, value); break;
	default: vcpu_raise(v, EXC_UD);
	}
	v->rip = next;
}

void exec_mov_from_cr(struct vcpu *v, const struct insn *i)
{
	u64 value;

	need_level_0(v);
	switch (i->r[1]) {
	case 0: value = v->cr0; break;
	case 2: value = v->cr2; break;
	case 3: value = v->cr3; break;
	case 4: value = v->cr4; break;
	case 8: value = v->machine->intc ? v->machine->intc->get_tpr(v) : 0; break;
	default: vcpu_raise(v, EXC_UD);
	}
	reg_write(v, i->r[0], width(v), value);
}

static void check_umip(struct vcpu *v)
{
	if (v->cpl && v->cr4 & CR4_UMIP)
		gp0(v);
}

void exec_smsw(struct vcpu *v, const struct insn *i)
{
	check_umip(v);
	op_write(v, i, 0, v->cr0);
}

void exec_lmsw(struct vcpu *v, const struct insn *i)
{
	u64 low = CR0_MP | CR0_EM | CR0_TS;

	need_level_0(v);
	u64 value = op_read(v, i, 0);
	/* PE can be set this way, never cleared. */
	control_set_cr0(v, (v->cr0 & ~low) | (value & (low | CR0_PE)));
	v->rip = vcpu_next_rip(v, i);
}

void exec_clts(struct vcpu *v, const struct insn *i)
{
	need_level_0(v);
	v->cr0 &= ~CR0_TS;
	simd_update(v);
	v->rip = vcpu_next_rip(v, i);
}

/* ---- descriptor-table registers ---- */
static void load_table(struct vcpu *v, const struct insn *i, struct table_reg *t)
{
	unsigned width = v->code_size == CODE_64 ? 8 : 4;

	need_level_0(v);
	u64 gla = op_linear(v, i, width + 2, SEG_READ);
	u16 limit = (u16)mmu_load(v, gla, 2, MMU_EXPLICIT);
	u64 base = mmu_load(v, gla + 2, width, MMU_EXPLICIT);
	if (i->osize == 1)
		base &= 0xffffff;
	if (!is_canonical(base))
		gp0(v);
	*t = (struct table_reg){ .base = base, .limit = limit };
	v->rip = vcpu_next_rip(v, i);
}

static void store_table(struct vcpu *v, const struct insn *i, const struct table_reg *t)
{
	unsigned width = v->code_size == CODE_64 ? 8 : 4;
	u8 image[10];

	check_umip(v);
	u64 gla = op_linear(v, i, width + 2, SEG_WRITE);
	*(u16_una *)image = t->limit;
	*(u64_una *)(image + 2) = t->base;
	mmu_write(v, gla, image, width + 2, MMU_EXPLICIT);
}

void exec_lgdt(struct vcpu *v, const struct insn *i)
{
	load_table(v, i, &v->gdtr);
}
void exec_lidt(struct vcpu *v, const struct insn *i)
{
	load_table(v, i, &v->idtr);
}
void exec_sgdt(struct vcpu *v, const struct insn *i)
{
	store_table(v, i, &v->gdtr);
}
void exec_sidt(struct vcpu *v, const struct insn *i)
{
	store_table(v, i, &v->idtr);
}

/* ---- TLB and caches ---- */
void exec_invlpg(struct vcpu *v, const struct insn *i)
{
	u64 ea = op_ea(v, i);

	need_level_0(v);
	/* Only the address is used: no limit or type check, and nothing happens for a non-canonical one. */
	u64 gla = v->code_size != CODE_64 ? (u32)(v->seg[i->seg].base + ea)
		  : i->seg >= SEG_FS	  ? v->seg[i->seg].base + ea
					  : ea;
	if (is_canonical(gla))
		mmu_flush_page(v, gla);
	v->rip = vcpu_next_rip(v, i);
}

void exec_invpcid(struct vcpu *v, const struct insn *i)
{
	u64 type = reg_read(v, i->r[0], width(v));

	if (v->mode == MODE_V86)
		gp0(v);
	need_level_0(v);
	u64 gla = op_linear(v, i, 16, SEG_READ);
	u64 low = mmu_load(v, gla, 8, MMU_EXPLICIT), address = mmu_load(v, gla + 8, 8, MMU_EXPLICIT);
	bool pcid_used = type < 2;
	if (type > 3 || low >> 12 || (pcid_used && low && !(v->cr4 & CR4_PCIDE)) ||
	    (type == 0 && !is_canonical(address)))
		gp0(v);
	mmu_invpcid(v, (unsigned)type, (u16)low, address);
	v->rip = vcpu_next_rip(v, i);
}

/* Caches are not modelled: what is left of WBINVD and INVD is the privilege check. */
void exec_wbinvd(struct vcpu *v, const struct insn *i)
{
	need_level_0(v);
}

/* ---- XCR0 ---- */
static void need_osxsave(struct vcpu *v)
{
	if (!(v->cr4 & CR4_OSXSAVE))
		vcpu_raise(v, EXC_UD);
}

static u64 edx_eax(const struct vcpu *v)
{
	return (u32)v->r[RAX] | v->r[RDX] << 32;
}

void exec_xgetbv(struct vcpu *v, const struct insn *i)
{
	u32 index = (u32)v->r[RCX];
	u64 value = v->xcr0;

	need_osxsave(v);
	if (index > 1 || (index == 1 && !cpu_can(v, FEAT_XGETBV1)))
		gp0(v);
	if (index == 1)
		value &= xstate_in_use(v);
	v->r[RAX] = (u32)value;
	v->r[RDX] = value >> 32;
}

void exec_xsetbv(struct vcpu *v, const struct insn *i)
{
	u64 value = edx_eax(v);
	u64 valid = XCR0_X87 | XCR0_SSE | (cpu_can(v, FEAT_AVX) ? XCR0_AVX : 0) |
		    (cpu_can(v, FEAT_PKU) ? XCR0_PKRU : 0);

	need_osxsave(v);
	need_level_0(v);
	bool avx_alone = (value & (XCR0_AVX | XCR0_SSE)) == XCR0_AVX;
	if ((u32)v->r[RCX] || value & ~valid || !(value & XCR0_X87) || avx_alone)
		gp0(v);
	v->xcr0 = value;
	simd_update(v);
	v->rip = vcpu_next_rip(v, i);
}

/* ---- protection keys (SDM vol. 3, 4.6.2): translations in the TLB were made with the rights that change ---- */
void control_set_keys(struct vcpu *v, u32 *rights, u32 value)
{
	if (*rights == value)
		return;
	*rights = value;
	mmu_flush_all(v);
}

static void check_pkru(struct vcpu *v)
{
	if (!(v->cr4 & CR4_PKE))
		vcpu_raise(v, EXC_UD);
	if ((u32)v->r[RCX])
		gp0(v);
}

void exec_rdpkru(struct vcpu *v, const struct insn *i)
{
	check_pkru(v);
	v->r[RAX] = v->pkru;
	v->r[RDX] = 0;
}

void exec_wrpkru(struct vcpu *v, const struct insn *i)
{
	check_pkru(v);
	if ((u32)v->r[RDX])
		gp0(v);
	control_set_keys(v, &v->pkru, (u32)v->r[RAX]);
	v->rip = vcpu_next_rip(v, i);
}
