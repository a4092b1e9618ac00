/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers at a kernel's entry: a flat GDT, and for 64-bit entries page tables that map the first 4 GiB one to one.
 * Selectors 10h and 18h are Linux's __BOOT_CS and __BOOT_DS (boot.rst, "64-bit Boot Protocol"); PVH takes any. The hidden
 * parts of the segment registers say what the descriptors say, as after a real load.
 */
#include "boot/place.h"

#include <string.h>

#define SEL_CODE  0x10
#define SEL_DATA  0x18
#define SEL_TSS	  0x20 /* takes two slots in long mode */
#define GDT_SLOTS (ENTRY_GDT_SIZE / 8)
#define TSS_LIMIT 0x67

#define AR_CODE32   (AR_G | AR_DB | AR_P | AR_S | AR_CODE | AR_READ | AR_ACCESSED)
#define AR_CODE64   (AR_G | AR_L | AR_P | AR_S | AR_CODE | AR_READ | AR_ACCESSED)
#define AR_DATA	    (AR_G | AR_DB | AR_P | AR_S | AR_WRITE | AR_ACCESSED)
#define AR_BUSY_TSS (AR_P | 0xbu)

#define MAPPED_GIB 4
#define LARGE_PAGE (2ull << 20)
#define ENTRIES	   512

/* SDM vol. 3, figure 3-8: a descriptor from base, limit in its own units and access rights. */
static u64 descriptor(u32 base, u32 limit, u32 ar)
{
	return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(ar & 0xf0ff) << 40 |
	       (u64)(limit >> 16 & 0xf) << 48 | (u64)(base >> 24) << 56;
}

static void set_gdt(struct placement *p, u32 code_ar)
{
	u64 gdt[GDT_SLOTS] = {
		[SEL_CODE / 8] = descriptor(0, 0xfffff, code_ar),
		[SEL_DATA / 8] = descriptor(0, 0xfffff, AR_DATA),
		[SEL_TSS / 8] = descriptor(0, TSS_LIMIT, AR_BUSY_TSS),
	};
	memcpy(place_ptr(p, p->gdt, sizeof(gdt)), gdt, sizeof(gdt));
	p->m->vcpu[0]->gdtr = (struct table_reg){ .base = p->gdt, .limit = sizeof(gdt) - 1 };
}

static void set_segments(struct vcpu *v, u32 code_ar)
{
	for (int s = 0; s < NR_SEG; s++)
		v->seg[s] = (struct segment){ .limit = ~0u, .ar = AR_DATA, .selector = SEL_DATA };
	v->seg[SEG_CS] = (struct segment){ .limit = ~0u, .ar = code_ar, .selector = SEL_CODE };
	v->tr = (struct segment){ .limit = TSS_LIMIT, .ar = AR_BUSY_TSS, .selector = SEL_TSS };
	v->ldtr = (struct segment){ .ar = AR_UNUSABLE };
	v->cpl = 0;
}

static void set_page_tables(struct placement *p)
{
	u64(*table)[ENTRIES] = (void *)place_ptr(p, PLACE_PAGE_TABLES, (2 + MAPPED_GIB) * PAGE_SIZE);
	memset(table, 0, 2 * PAGE_SIZE);
	table[0][0] = (PLACE_PAGE_TABLES + PAGE_SIZE) | PTE_P | PTE_W;
	for (u64 gib = 0; gib < MAPPED_GIB; gib++) {
		table[1][gib] = (PLACE_PAGE_TABLES + (2 + gib) * PAGE_SIZE) | PTE_P | PTE_W;
		for (u64 i = 0; i < ENTRIES; i++)
			table[2 + gib][i] = (gib * ENTRIES + i) * LARGE_PAGE | PTE_PS | PTE_P | PTE_W;
	}
}

void entry_set(struct placement *p, enum entry_mode mode, u64 rip)
{
	struct vcpu *v = p->m->vcpu[0];
	u32 code_ar = mode == ENTRY_LONG ? AR_CODE64 : AR_CODE32;
	set_gdt(p, code_ar);
	set_segments(v, code_ar);
	v->idtr = (struct table_reg){ 0 };
	v->cr0 = CR0_PE | CR0_ET;
	v->cr3 = 0;
	v->cr4 = 0;
	v->efer = 0;
	if (mode == ENTRY_LONG) {
		set_page_tables(p);
		v->cr0 |= CR0_PG;
		v->cr3 = PLACE_PAGE_TABLES;
		v->cr4 = CR4_PAE;
		v->efer = EFER_LME | EFER_LMA;
	}
	memset(v->r, 0, NR_GPR * sizeof(v->r[0]));
	v->rip = rip;
	v->rflags = FL_1;
	vcpu_update_mode(v);
}
