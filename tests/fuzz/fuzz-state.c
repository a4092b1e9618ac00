/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables and vCPU state of hostile guests: valid enough that a guest lives for a while, odd enough that every check of a
 * descriptor, gate, task or page walk is met.
 */
#include <string.h>

#include "emulate/emulate.h"
#include "fuzz.h"

static void put64(struct machine *m, u64 gpa, u64 value)
{
	u8 *p = ram_ptr(m, gpa, 8);

	if (p)
		memcpy(p, &value, 8);
}

/* ---- page tables ---- */
static u64 leaf_page(struct fuzz_random *r, const struct machine *m)
{
	static const u64 devices[] = { 0xfee00000, 0xfec00000, 0xb8000, 0xe0000000, BIT(45), 0xfffff000 };

	if (percent(r, 6))
		return devices[below(r, ARRAY_SIZE(devices))];
	if (percent(r, 6))
		return TABLES + below(r, TABLE_PAGES) * PAGE_SIZE;
	return below(r, m->low_size >> PAGE_SHIFT) << PAGE_SHIFT;
}

static u64 entry_bits(struct fuzz_random *r, bool wide, bool leaf)
{
	u64 bits = PTE_P | PTE_W | PTE_U;

	if (percent(r, 8))
		bits &= ~BIT(below(r, 3));
	if (percent(r, 60))
		bits |= PTE_A | PTE_D;
	if (leaf && percent(r, 20))
		bits |= PTE_G;
	if (percent(r, 2))
		bits |= PTE_PS;
	if (wide && percent(r, 3))
		bits |= PTE_NX;
	if (wide && percent(r, 1))
		bits |= BIT(40 + below(r, 24));
	return bits;
}

/* Level k has its tables at TABLES + 16 pages * k; level 0 maps pages. The first entries map the low 2 MiB one to one. */
static u64 level_table(unsigned level, u64 n)
{
	return TABLES + (16 * level + n % 16) * PAGE_SIZE;
}

static void fill_tables_wide(struct fuzz_random *r, struct machine *m)
{
	for (unsigned level = 0; level < 4; level++) {
		for (u64 n = 0; n < 16 * 512; n++) {
			bool first = n < 512;
			u64 to = level ? level_table(level - 1, below(r, 16)) : leaf_page(r, m);
			u64 bits = entry_bits(r, true, !level);
			if (first && !level && percent(r, 90))
				to = n << PAGE_SHIFT;
			if (level && n == 0)
				to = level_table(level - 1, 0), bits = PTE_P | PTE_W | PTE_U;
			if (level && n && percent(r, 2))
				to = leaf_page(r, m);
			put64(m, level_table(level, 0) + 8 * n, to | bits);
		}
	}
}

/* 2-level: directories in level 1's pages, tables in level 0's. */
static void fill_tables_32(struct fuzz_random *r, struct machine *m)
{
	for (u64 n = 0; n < 32 * 1024; n++) {
		bool directory = n >= 16 * 1024;
		u32 e = (u32)(directory ? level_table(0, below(r, 16)) : leaf_page(r, m)) |
			(u32)entry_bits(r, false, !directory);
		if (n < 1024 && percent(r, 90))
			e = (u32)(n << PAGE_SHIFT) | PTE_P | PTE_W | PTE_U;
		if (n == 16 * 1024)
			e = TABLES | PTE_P | PTE_W | PTE_U;
		u8 *p = ram_ptr(m, TABLES + 4 * n, 4);
		memcpy(p, &e, 4);
	}
}

/* ---- descriptors ---- */
static u64 descriptor(u32 base, u32 limit, u32 ar)
{
	return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(ar & 0xf0ff) << 40 |
	       (u64)(limit >> 16 & 15) << 48 | (u64)(base >> 24) << 56;
}

static u64 gate(struct fuzz_random *r, unsigned type, u32 offset)
{
	u16 sel = (u16)((1 + below(r, 63)) << 3 | (percent(r, 10) ? below(r, 8) : 0));
	u32 dpl = percent(r, 60) ? 3 : (u32)below(r, 4);

	return (offset & 0xffff) | (u64)sel << 16 | (u64)below(r, 32) << 32 | (u64)(0x80 | dpl << 5 | type) << 40 |
	       (u64)(offset >> 16) << 48;
}

static u64 random_descriptor(struct fuzz_random *r, bool long_mode)
{
	static const u8 system_types[] = { 1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 14, 15 };
	u32 dpl = (u32)below(r, 4) << 5, size = percent(r, 50) ? 0xc000 : 0;
	u32 base = percent(r, 70) ? 0 : (u32)nasty(r, BIT(21)),
	    limit = percent(r, 70) ? 0xfffff : (u32)below(r, 0x100000);

	if (percent(r, 5))
		return rnd(r);
	if (percent(r, 65)) {
		if (long_mode && percent(r, 50))
			return descriptor(base, limit, 0xa09a | dpl | (u32)below(r, 8));
		return descriptor(base, limit, size | 0x90 | dpl | (u32)below(r, 16));
	}
	u8 type = system_types[below(r, ARRAY_SIZE(system_types))];
	if (type == 4 || type == 5 || type >= 12)
		return gate(r, type, (u32)(LOW_CODE + below(r, 0x8000)));
	return descriptor((u32)(TSS_AT + below(r, 16) * 256 + (percent(r, 10) ? 0xf90 : 0)),
			  percent(r, 80) ? 0xfff : 0x2b, 0x80 | dpl | type);
}

static void fill_tss(struct fuzz_random *r, struct machine *m)
{
	for (u64 k = 0; k < 0x2000; k += 4) {
		u32 x = percent(r, 50) ? (u32)(0x70000 + below(r, 0x8000)) : (u32)(below(r, 64) << 3);
		u64 field = k & 0xff;
		if (field >= 4 && field < 28)
			x = field & 4 ? (u32)(0x70000 + below(r, 0x8000)) : (u32)(below(r, 64) << 3);
		if (field == 28)
			x = TABLES + 32 * PAGE_SIZE;
		if (field == 32)
			x = (u32)(LOW_CODE + below(r, 0x8000));
		if (field == 36)
			x = (u32)rnd(r) & 0x3fffff;
		if (field >= 72 && field <= 96)
			x = (u32)(below(r, 64) << 3 | below(r, 8));
		if (field == 100)
			x = (u32)(0x68 + below(r, 64)) << 16 | percent(r, 5);
		u8 *p = ram_ptr(m, TSS_AT + k, 4);
		memcpy(p, &x, 4);
	}
}

/* Long mode's TSS: stacks and IST of 64 bits. */
static void fill_tss64(struct fuzz_random *r, struct machine *m)
{
	for (u64 k = 4; k < 0x5c; k += 8)
		put64(m, TSS_AT + k, percent(r, 90) ? 0x70000 + below(r, 0x8000) : nasty(r, BIT(21)));
	put64(m, TSS_AT + 0x60, (u64)(0x68 + below(r, 64)) << 48);
}

static void fill_idt(struct fuzz_random *r, struct machine *m, bool long_mode)
{
	static const u8 types[] = { 14, 14, 14, 15, 14, 15, 6, 7, 5, 12 };

	for (unsigned n = 0; n < 256; n++) {
		u64 d = gate(r, long_mode && percent(r, 95) ? 14 + below(r, 2) : types[below(r, ARRAY_SIZE(types))],
			     (u32)(LOW_CODE + below(r, 0x8000)));
		if (percent(r, 92)) /* flat code of the ring that is likely current */
			d = (d & ~0xffff0000ull) | 8ull << 16;
		if (percent(r, 1))
			d = rnd(r);
		if (!long_mode) {
			put64(m, IDT_AT + 8 * n, d);
			continue;
		}
		if (percent(r, 70))
			d &= ~(0x1full << 32);
		else
			d &= ~(0x18ull << 32);
		put64(m, IDT_AT + 16 * n, d);
		put64(m, IDT_AT + 16 * n + 8, percent(r, 98) ? 0 : rnd(r));
	}
}

void tables_fill(struct fuzz_random *r, struct machine *m, bool long_mode)
{
	static const u16 flat_ar[] = { 0xc09b, 0xc093, 0xc0fb, 0xc0f3 };

	if (long_mode || percent(r, 50))
		fill_tables_wide(r, m);
	else
		fill_tables_32(r, m);
	for (unsigned n = 0; n < 64; n++) {
		u64 d = n && n < 5 ? descriptor(0, 0xfffff, flat_ar[n - 1] ^ (long_mode && (n & 1) ? 0x6000 : 0))
				   : random_descriptor(r, long_mode);
		put64(m, GDT_AT + 8 * n, n ? d : 0);
		put64(m, LDT_AT + 8 * n, random_descriptor(r, long_mode));
	}
	fill_idt(r, m, long_mode);
	fill_tss(r, m);
	if (long_mode)
		fill_tss64(r, m);
	/* The real-mode vectors. */
	for (unsigned n = 0; n < 256; n++) {
		u32 far = (u32)(LOW_CODE + below(r, 0x8000)) | (percent(r, 10) ? (u32)rnd(r) & 0xffff0000 : 0);
		memcpy(ram_ptr(m, 4 * n, 4), &far, 4);
	}
}

/* ---- vCPU ---- */
enum cpu_mode state_pick_mode(struct fuzz_random *r, enum code_size *size)
{
	enum cpu_mode mode = (enum cpu_mode)below(r, 6);

	if (mode > MODE_LONG)
		mode = MODE_LONG;
	*size = mode == MODE_LONG			? CODE_64
		: mode == MODE_REAL || mode == MODE_V86 ? CODE_16
							: (enum code_size)below(r, 2);
	return mode;
}

static void fill_segments(struct fuzz_random *r, struct vcpu *v, enum cpu_mode mode, enum code_size size)
{
	for (unsigned s = 0; s < NR_SEG; s++) {
		struct segment *g = &v->seg[s];
		u32 dpl = (u32)v->cpl << AR_DPL_SHIFT;
		u16 paragraph = percent(r, 70) ? 0 : (u16)below(r, 0x1000);
		if (mode == MODE_REAL || mode == MODE_V86) {
			*g = (struct segment){ (u64)paragraph << 4, 0xffff, mode == MODE_V86 ? 0xf3 : 0x93, paragraph };
			if (mode == MODE_REAL && percent(r, 10))
				g->limit = ~0u;
			continue;
		}
		*g = (struct segment){ 0, ~0u, AR_G | AR_DB | AR_P | AR_S | dpl | 0x3, (u16)(v->cpl ? 0x23 : 0x10) };
		if (s != SEG_SS && percent(r, 10))
			*g = (struct segment){ .ar = AR_UNUSABLE };
		if (mode != MODE_LONG && percent(r, 15))
			g->base = (u32)nasty(r, BIT(21)), g->limit = (u32)below(r, 0x300000) | 0xfff;
		if (s >= SEG_FS && mode == MODE_LONG && percent(r, 50))
			g->base = percent(r, 90) ? below(r, BIT(21)) : 0x7fffffffe000;
		if (s == SEG_DS && percent(r, 5))
			g->ar |= AR_EXPAND_DOWN;
	}
	if (mode == MODE_REAL || mode == MODE_V86)
		return;
	struct segment *cs = &v->seg[SEG_CS];
	*cs = (struct segment){ 0, ~0u, AR_G | AR_P | AR_S | 0xb | (u32)v->cpl << AR_DPL_SHIFT,
				(u16)(v->cpl ? 0x1b : 8) };
	cs->ar |= size == CODE_64 ? AR_L : size == CODE_32 ? AR_DB : 0;
}

static void fill_control(struct fuzz_random *r, struct vcpu *v, enum cpu_mode mode)
{
	static const struct {
		u64 bit;
		enum feature needs;
	} cr4[] = { { CR4_TSD, FEAT_BASE },  { CR4_DE, FEAT_BASE },	     { CR4_PSE, FEAT_BASE },
		    { CR4_PGE, FEAT_BASE },  { CR4_OSFXSR, FEAT_BASE },	     { CR4_OSXMMEXCPT, FEAT_BASE },
		    { CR4_VME, FEAT_BASE },  { CR4_PVI, FEAT_BASE },	     { CR4_PAE, FEAT_BASE },
		    { CR4_SMEP, FEAT_SMEP }, { CR4_SMAP, FEAT_SMAP },	     { CR4_OSXSAVE, FEAT_XSAVE },
		    { CR4_UMIP, FEAT_UMIP }, { CR4_FSGSBASE, FEAT_FSGSBASE } };
	bool paging = mode >= MODE_COMPAT || (mode != MODE_REAL && percent(r, 60)), is_long = mode >= MODE_COMPAT;

	v->cr0 = CR0_ET | (mode != MODE_REAL ? CR0_PE : 0) | (paging ? CR0_PG : 0) |
		 (rnd(r) & (CR0_NE | CR0_MP | CR0_WP | CR0_AM));
	if (percent(r, 5))
		v->cr0 |= percent(r, 50) ? CR0_TS : CR0_EM;
	v->cr4 = 0;
	for (unsigned k = 0; k < ARRAY_SIZE(cr4); k++) {
		bool often = cr4[k].bit & (CR4_OSFXSR | CR4_OSXSAVE),
		     rare = cr4[k].bit & (CR4_SMEP | CR4_SMAP | CR4_TSD);
		if (cpu_has(v->model, cr4[k].needs) && percent(r, often ? 90 : rare ? 8 : 50))
			v->cr4 |= cr4[k].bit;
	}
	if (is_long)
		v->cr4 |= CR4_PAE | (cpu_has(v->model, FEAT_PCID) && percent(r, 30) ? CR4_PCIDE : 0);
	v->efer = (is_long ? EFER_LME | EFER_LMA : 0) | (rnd(r) & (EFER_SCE | EFER_NXE));
	v->cr3 = TABLES + (is_long ? 48 : v->cr4 & CR4_PAE ? 32 : 16) * PAGE_SIZE;
	v->xcr0 = XCR0_X87;
	if (v->cr4 & CR4_OSXSAVE && percent(r, 90))
		v->xcr0 |= XCR0_SSE | (cpu_has(v->model, FEAT_AVX) && percent(r, 90) ? XCR0_AVX : 0);
	for (unsigned k = 0; k < 4; k++)
		memcpy(&v->pdpte[k], ram_ptr(v->machine, v->cr3 + 8 * k, 8), 8),
			v->pdpte[k] &= (BIT(GPA_BITS) - 1) & ~0x1e6ull;
}

void state_fill(struct fuzz_random *r, struct vcpu *v, enum cpu_mode mode, enum code_size size)
{
	u64 ram = v->machine->low_size;

	vcpu_reset(v);
	v->cpl = mode == MODE_V86 ? 3 : mode == MODE_REAL || percent(r, 65) ? 0 : 3;
	fill_control(r, v, mode);
	fill_segments(r, v, mode, size);
	for (unsigned k = 0; k < NR_GPR; k++)
		v->r[k] = percent(r, 80) ? nasty(r, ram) : rnd(r);
	v->r[RSP] = 0x70000 + below(r, 0x8000);
	if (percent(r, 70))
		v->r[RCX] = below(r, 1000);
	v->rip = percent(r, 90) ? LOW_CODE + below(r, 0x8000) : nasty(r, ram) & 0x7fffffffffff;
	if (size == CODE_16)
		v->rip &= 0xffff;
	v->rflags = FL_1 | (rnd(r) & (FL_ARITH | FL_IF | FL_DF | FL_AC | FL_ID | FL_IOPL)) |
		    (mode == MODE_V86 ? FL_VM : 0);
	if (percent(r, 4))
		v->rflags |= percent(r, 50) ? FL_TF : FL_NT;
	for (unsigned k = 0; k < 16 * 4; k++)
		v->v[k / 4].q[k % 4] = rnd(r);
	for (unsigned k = 0; k < 8; k++)
		v->x87.fpr[k] = (struct f80){ rnd(r), (u16)rnd(r) };
	v->x87.cw = percent(r, 70) ? 0x37f : (u16)((rnd(r) & 0xf3f) | 0x40);
	v->x87.tag = (u8)rnd(r);
	v->x87.sw = (u16)(rnd(r) & 0x7800);
	v->mxcsr = percent(r, 70) ? 0x1f80 : (u32)rnd(r) & 0xffff;
	if (percent(r, 10)) {
		for (unsigned k = 0; k < 4; k++)
			v->dr[k] = nasty(r, ram);
		v->dr[7] = DR7_FIXED | (rnd(r) & 0xffff20ff);
	}
	v->gdtr = (struct table_reg){ GDT_AT, percent(r, 90) ? 0x1ff : (u16)rnd(r) };
	v->idtr = (struct table_reg){ mode == MODE_REAL ? 0 : IDT_AT, mode == MODE_REAL ? 0x3ff : 0xfff };
	v->ldtr = (struct segment){ LDT_AT, 0x1ff, AR_P | 2, 0x28 };
	v->tr = (struct segment){ TSS_AT, 0xfff, AR_P | (mode < MODE_COMPAT && percent(r, 10) ? 3 : 11), 0x30 };
	v->msr.sysenter_cs = v->msr.star = 8;
	v->msr.star = 0x0013000800000000ull;
	v->msr.lstar = v->msr.cstar = v->msr.sysenter_eip = LOW_CODE + below(r, 0x8000);
	v->msr.sysenter_esp = 0x70000 + below(r, 0x8000);
	vcpu_update_mode(v);
}
