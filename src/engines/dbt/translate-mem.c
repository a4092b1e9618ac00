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

static void check_alignment(struct tr *t, unsigned a, unsigned align)
{
	if (!align)
		return;
	e_op_rr(t->h, 0xf7, 4, 0, a); /* test a, align - 1 */
	e32(t->h, align - 1);
	tr_slow_jump(t, CC_NZ);
}

/* Linear address in a: its host address instead, by way of the TLB. */
static struct mem through_tlb(struct tr *t, unsigned a, unsigned b, unsigned n, bool write, unsigned align)
{
	struct emit *h = t->h;

	e_mov_rr(h, 4, b, a);
	e_shift_imm(h, SHIFT_SHR, 4, b, PAGE_SHIFT - 5);
	e_alu_imm(h, ALU_AND, 4, b, (TLB_SIZE - 1) << 5);
	e_alu_m(h, ALU_ADD, 8, b, at_gs(VCPU(tlb)));
	e_alu_m(h, ALU_SUB, 8, a, at_reg(b, write ? offsetof(struct tlb_entry, wr) : offsetof(struct tlb_entry, rd)));
	e_alu_imm(h, ALU_CMP, 8, a, (s32)(PAGE_SIZE - n));
	tr_slow_jump(t, CC_A);
	check_alignment(t, a, align);
	e_alu_m(h, ALU_ADD, 8, a, at_reg(b, offsetof(struct tlb_entry, host)));
	return at_reg(a, 0);
}

/* The compare of a slot: a becomes the offset in its page. What does not match has it filled and comes back to `back`. */
static void compare_slot(struct tr *t, struct site *s, unsigned a, bool write, u64 back, const struct insn *i,
			 struct mem at)
{
	struct emit *h = t->h, *c = t->c;

	e_op_rip(h, 0x03, 8, a, &s->slot->neg);
	e_op_rip(h, 0x3b, 8, a, &s->slot->end);
	u8 *miss = e_jcc(h, CC_AE, 0);
	e_patch(miss, c->to_run, emit_here(c));
	s->back = back;
	struct emit *hot = t->h;
	t->h = c;
	if (i)
		tr_linear(t, OUT_A, i);
	else
		e_lea(c, 8, OUT_A, at);
	t->h = hot;
	e_mov_imm32(c, OUT_B, (u32)(u64)s);
	e_jmp(c, t->d->to.fill[write]);
	t->wants_slow = true;
}

/* [base + disp] of a register that is in its host register. */
static bool is_simple(const struct insn *i)
{
	return i->asize == 3 && !(i->flags & INSN_MOFFS) && i->base != SLOT_CODE && i->base != SLOT_ZERO &&
	       i->index == SLOT_ZERO && i->seg < SEG_FS && !reg_is_out(i->base >> 3);
}

void tr_linear(struct tr *t, unsigned a, const struct insn *i)
{
	tr_effective(t, a, i);
	if (i->seg >= SEG_FS)
		e_alu_m(t->h, ALU_ADD, 8, a, at_gs(VCPU(seg) + i->seg * sizeof(struct segment)));
}

static struct mem through_slot(struct tr *t, unsigned a, unsigned b, bool keep_b, bool write, unsigned align)
{
	const struct insn *i = &t->insn[t->k];
	struct site *s = tr_site(t);
	u64 back = emit_here(t->h);

	s->slot = meta_alloc(t->d, sizeof(*s->slot));
	slot_init(s->slot, i->msize);
	tr_linear(t, a, i);
	compare_slot(t, s, a, write, back, i, at_reg(0, 0));
	check_alignment(t, a, align);
	if (keep_b) {
		e_op_rip(t->h, 0x03, 8, a, &s->slot->host);
		return at_reg(a, 0);
	}
	if (is_simple(i)) {
		e_op_rip(t->h, 0x8b, 8, b, &s->slot->delta);
		return (struct mem){ .base = i->base >> 3, .index = (u8)b, .disp = i->disp };
	}
	e_op_rip(t->h, 0x8b, 8, b, &s->slot->host);
	return (struct mem){ .base = (u8)a, .index = (u8)b };
}

struct mem tr_address(struct tr *t, unsigned a, unsigned b, bool keep_b, bool write, unsigned align)
{
	const struct insn *i = &t->insn[t->k];
	struct mem m;

	tr_save_flags(t, a);
	if (!site_has_slot(t->d, t->b, i->off)) {
		tr_linear(t, a, i);
		m = through_tlb(t, a, b, i->msize, write, align);
	} else {
		m = through_slot(t, a, b, keep_b, write, align);
	}
	t->host_ok = false;
	return m;
}

struct mem tr_stack(struct tr *t, unsigned a, unsigned b, unsigned base, s32 disp, unsigned n, bool write)
{
	struct site *s = tr_site(t);
	u64 back;

	tr_save_flags(t, a);
	back = emit_here(t->h);
	if (s->slot) { /* the second access of PUSH or CALL with memory: a site has one slot */
		s = meta_alloc(t->d, sizeof(*s));
		*s = (struct site){ .insn = t->insn[t->k], .block = t->b };
		t->site2 = s;
	}
	s->slot = t->d->stack[tr_cpl(t) == 3 ? 0 : 1];
	if (disp)
		e_lea(t->h, 8, a, at_reg(base, disp));
	else
		e_mov_rr(t->h, 8, a, base);
	/* Shared by loads and stores, so it holds pages that may be written. */
	compare_slot(t, s, a, true, back, NULL, at_reg(base, disp));
	e_op_rip(t->h, 0x8b, 8, b, &s->slot->delta);
	t->host_ok = false;
	return (struct mem){ .base = (u8)base, .index = (u8)b, .disp = disp };
}
