/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory operands. Every access of generated code to guest memory is made here, through the software TLB's entry for its
 * linear address: the tag must match, the access must lie in the page, and only then is the entry's host page used. Anything
 * else goes the slow way, which does the whole instruction.
 */
#include "engines/dbt/translate.h"

bool tr_can_address(const struct insn *i)
{
	if (!i->msize || i->msize > 64)
		return false;
	return (i->flags & INSN_MOFFS) || i->asize >= 2;
}

void tr_load_out(struct tr *t, unsigned reg)
{
	if (reg_is_out(reg))
		e_load(t->h, 8, reg, at_gs(GPR_AT(reg)));
}

static unsigned slot_reg(u8 slot)
{
	return slot == SLOT_ZERO ? NO_REG : slot >> 3;
}

void tr_effective(struct tr *t, unsigned a, const struct insn *i)
{
	struct mem m = { .base = NO_REG, .index = (u8)slot_reg(i->index), .scale = i->scale, .disp = i->disp };
	unsigned size = i->asize == 3 ? 8 : 4;

	if (i->flags & INSN_MOFFS) {
		e_mov_imm64(t->h, a, i->imm);
		return;
	}
	if (i->base == SLOT_CODE) {
		e_load(t->h, 8, a, at_gs(PAGE_AT));
		m.base = (u8)a;
	} else {
		m.base = (u8)slot_reg(i->base);
		tr_load_out(t, m.base);
	}
	if (m.index != NO_REG && m.index != m.base)
		tr_load_out(t, m.index);
	if (m.index == NO_REG && m.base != NO_REG && m.disp == 0)
		e_mov_rr(t->h, size, a, m.base);
	else
		e_lea(t->h, size, a, m);
}

/* Linear address in a: its host address instead. */
static void through_tlb(struct tr *t, unsigned a, unsigned b, unsigned n, bool write, unsigned align)
{
	struct emit *h = t->h;

	e_mov_rr(h, 4, b, a);
	e_shift_imm(h, SHIFT_SHR, 4, b, PAGE_SHIFT - 5);
	e_alu_imm(h, ALU_AND, 4, b, (TLB_SIZE - 1) << 5);
	e_alu_m(h, ALU_ADD, 8, b, at_gs(VCPU(tlb)));
	e_alu_m(h, ALU_SUB, 8, a,
		at_reg(b, write ? offsetof(struct tlb_entry, wr) : offsetof(struct tlb_entry, rd)));
	e_alu_imm(h, ALU_CMP, 8, a, (s32)(PAGE_SIZE - n));
	tr_slow_jump(t, CC_A);
	if (align) { /* test a, align - 1 */
		e_op_rr(h, 0xf7, 4, 0, a);
		e32(h, align - 1);
		tr_slow_jump(t, CC_NZ);
	}
	e_alu_m(h, ALU_ADD, 8, a, at_reg(b, offsetof(struct tlb_entry, host)));
	t->host_ok = false;
}

void tr_address(struct tr *t, unsigned a, unsigned b, bool write, unsigned align)
{
	const struct insn *i = &t->insn[t->k];

	tr_save_flags(t, a);
	tr_effective(t, a, i);
	if (i->seg >= SEG_FS)
		e_alu_m(t->h, ALU_ADD, 8, a, at_gs(VCPU(seg) + i->seg * sizeof(struct segment)));
	through_tlb(t, a, b, i->msize, write, align);
}

void tr_address_at(struct tr *t, unsigned a, unsigned b, unsigned base, s32 disp, unsigned n, bool write)
{
	tr_save_flags(t, a);
	if (disp)
		e_lea(t->h, 8, a, at_reg(base, disp));
	else
		e_mov_rr(t->h, 8, a, base);
	through_tlb(t, a, b, n, write, 0);
}
