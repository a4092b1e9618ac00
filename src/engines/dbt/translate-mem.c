/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory operands. Every access of generated code to guest memory is made here or in window.c, through the software TLB's entry for its
 * linear address: the tag must match, the access must lie in the page, and only then is the entry's host page used. Anything
 * else goes the slow way, which does the whole instruction.
 */
#include "engines/dbt/region.h"
#include "engines/dbt/translate.h"

bool tr_can_address(const struct insn *i)
{
	if (!i->msize || i->msize > 64)
		return false;
	return (i->flags & INSN_MOFFS) || i->asize >= 2;
}

bool tr_only_reads(const struct insn *i)
{
	return i->op == OP_CMP || i->op == OP_TEST || i->op == OP_BT || i->op == OP_MUL ||
	       (i->op == OP_IMUL && insn_kind(i, 1) == OPK_NONE);
}

bool tr_writes_memory(const struct insn *i)
{
	if (i->op < OP_INT_LIMIT)
		return (insn_kind(i, 0) == OPK_MEM && !tr_only_reads(i)) || i->op == OP_XCHG;
	if (i->op == OP_LDMXCSR || i->op == OP_VLDMXCSR)
		return false;
	return insn_kind(i, 0) == OPK_MEM;
}

void tr_load_out(struct tr *t, unsigned reg)
{
	if (!reg_is_out(t, reg))
		return;
	tr_clobber(t, reg);
	e_load(t->h, 8, reg, at_gs(GPR_AT(reg)));
}

static unsigned slot_reg(u8 slot)
{
	return slot == SLOT_ZERO ? NO_REG : slot >> 3;
}

/* Base and index both live in memory: with the one register a. EFLAGS is destroyed. */
static void effective_of_two_outs(struct tr *t, unsigned a, const struct mem *m, unsigned size)
{
	struct mem scaled = { .base = NO_REG, .index = (u8)a, .scale = m->scale, .disp = m->disp };

	e_load(t->h, 8, a, at_gs(GPR_AT(m->index)));
	if (m->scale || m->disp)
		e_lea(t->h, size, a, scaled);
	e_alu_m(t->h, ALU_ADD, size, a, at_gs(GPR_AT(m->base)));
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
		tr_load_page(t, a);
		m.base = (u8)a;
	} else {
		m.base = (u8)slot_reg(i->base);
		if (m.base != NO_REG && reg_is_out(t, m.base)) {
			e_load(t->h, 8, a, at_gs(GPR_AT(m.base)));
			m.base = (u8)a;
		}
	}
	if (m.index != NO_REG && reg_is_out(t, m.index)) {
		if (i->base == i->index) {
			m.index = (u8)a;
		} else if (m.base != a) {
			e_load(t->h, 8, a, at_gs(GPR_AT(m.index)));
			m.index = (u8)a;
		} else {
			unsigned other = a == t->s2 ? t->s1 : t->s2;
			tr_clobber(t, other);
			e_load(t->h, 8, other, at_gs(GPR_AT(m.index)));
			m.index = (u8)other;
		}
	}
	if (m.index == NO_REG && m.base != NO_REG && m.disp == 0)
		e_mov_rr(t->h, size, a, m.base);
	else
		e_lea(t->h, size, a, m);
}

/* In 32-bit code the offset must not wrap inside the operand, the sum with the base may. */
static void add_segment(struct tr *t, unsigned a, const struct insn *i)
{
	if (i->seg < SEG_FS)
		return;
	if (!t->wide && (i->base != SLOT_ZERO || i->index != SLOT_ZERO)) {
		e_alu_imm(t->h, ALU_CMP, 4, a, -(s32)i->msize);
		tr_slow_jump(t, CC_A);
	}
	e_alu_m(t->h, ALU_ADD, tr_word(t), a, at_gs(VCPU(seg) + i->seg * sizeof(struct segment)));
}

void tr_linear(struct tr *t, unsigned a, const struct insn *i)
{
	bool two = !(i->flags & INSN_MOFFS) && i->base < SLOT_ZERO && i->index < SLOT_ZERO && i->base != i->index &&
		   reg_is_out(t, i->base >> 3) && reg_is_out(t, i->index >> 3);
	struct mem m = { .base = i->base >> 3, .index = i->index >> 3, .scale = i->scale, .disp = i->disp };

	if (two)
		effective_of_two_outs(t, a, &m, i->asize == 3 ? 8 : 4);
	else
		tr_effective(t, a, i);
	add_segment(t, a, i);
}

static void check_alignment(struct tr *t, unsigned a, unsigned align)
{
	if (!align)
		return;
	e_op_rr(t->h, 0xf7, 4, 0, a); /* test a, align - 1 */
	e32(t->h, align - 1);
	tr_slow_jump(t, CC_NZ);
}

u8 *tr_tlb_compare(struct tr *t, unsigned a, unsigned b, unsigned n, bool write)
{
	struct emit *h = t->h;

	if (t->d->bmi2) {
		e_rorx(h, b, a, PAGE_SHIFT - 5);
	} else {
		e_mov_rr(h, 4, b, a);
		e_shift_imm(h, SHIFT_SHR, 4, b, PAGE_SHIFT - 5);
	}
	e_alu_imm(h, ALU_AND, 4, b, (TLB_SIZE - 1) << 5);
	e_alu_m(h, ALU_ADD, 8, b, at_gs(VCPU(tlb)));
	e_alu_m(h, ALU_SUB, 8, a, at_reg(b, write ? offsetof(struct tlb_entry, wr) : offsetof(struct tlb_entry, rd)));
	e_alu_imm(h, ALU_CMP, 8, a, (s32)(PAGE_SIZE - n));
	return e_jcc(h, CC_A, 0);
}

static bool is_resident(const struct tr *t, u8 slot)
{
	return slot == SLOT_ZERO || (slot < SLOT_ZERO && !reg_is_out(t, slot >> 3));
}

bool tr_is_base_alone(const struct tr *t, const struct insn *i)
{
	return i->asize == 3 && !(i->flags & INSN_MOFFS) && i->base < SLOT_ZERO && i->index == SLOT_ZERO &&
	       i->seg < SEG_FS && !reg_is_out(t, i->base >> 3);
}

/* The address again, so that the access waits for the entry's delta alone; or from the offset that the compare has left. */
void tr_tlb_host(struct tr *t, unsigned a, unsigned b, const struct insn *i)
{
	if (i && i->asize == 3 && !(i->flags & INSN_MOFFS) && i->seg < SEG_FS && is_resident(t, i->base) &&
	    is_resident(t, i->index))
		tr_effective(t, a, i);
	else
		e_alu_m(t->h, ALU_ADD, 8, a, at_reg(b, offsetof(struct tlb_entry, rd)));
	e_alu_m(t->h, ALU_ADD, 8, a, at_reg(b, offsetof(struct tlb_entry, delta)));
}

struct mem tr_tlb_operand(struct tr *t, unsigned a, unsigned b, const struct insn *i)
{
	if (!tr_is_base_alone(t, i)) {
		tr_tlb_host(t, a, b, i);
		return at_reg(a, 0);
	}
	e_load(t->h, 8, a, at_reg(b, offsetof(struct tlb_entry, delta)));
	return (struct mem){ .base = i->base >> 3, .index = (u8)a, .disp = i->disp };
}

u8 *tr_try_displaced(struct tr *t, unsigned a, unsigned b, bool write, u64 back)
{
	struct emit *c = t->c;

	e_alu_m(c, ALU_ADD, 8, a, at_reg(b, write ? offsetof(struct tlb_entry, wr) : offsetof(struct tlb_entry, rd)));
	e_mov_imm32(c, b, 0);
	u8 *fail = c->p - 4;
	e_jmp(c, t->d->to.displaced[a == OUT_B][write]);
	e8(c, 0xa9); /* as an instruction, for who reads along: test eax, back */
	e32(c, (u32)back);
	memcpy(fail, &(u32){ (u32)emit_here(c) }, 4);
	return e_jmp(c, 0);
}

struct mem tr_address(struct tr *t, u32 avoid, bool write, unsigned align)
{
	const struct insn *i = &t->insn[t->k];
	unsigned a = avoid >> t->s1 & 1 ? t->s2 : t->s1, b = a == t->s1 ? t->s2 : t->s1;

	struct mem shared;
	if (t->region)
		return window_operand(t, avoid, write, align);
	if (!align && share_operand(t, i, i->msize, write, avoid, &shared))
		return shared;
	tr_clobber(t, t->s2);
	tr_save_flags(t, a);
	tr_linear(t, a, i);
	u64 back = emit_here(t->h);
	u8 *miss = tr_tlb_compare(t, a, b, i->msize, write);
	e_patch(miss, t->h->to_run, emit_here(t->c));
	tr_slow_jump_at(t, tr_try_displaced(t, a, b, write, back));
	check_alignment(t, a, align); /* of the offset in the page */
	t->host_ok = false;
	return tr_tlb_operand(t, a, b, i);
}

u8 *tr_slot_test(const struct tr *t, struct emit *e, unsigned a, u32 slot)
{
	e_op_place(e, t->d, 0x03, 8, a, SLOT_FIELD(slot, neg));
	e_op_place(e, t->d, 0x3b, 8, a, SLOT_FIELD(slot, end));
	return e_jcc(e, CC_AE, 0);
}

u8 *tr_slot_fill(const struct tr *t, unsigned a, u32 slot, struct slot_use *use, u64 thunk)
{
	struct emit *c = t->c;

	e_op_place(c, t->d, 0x2b, 8, a, SLOT_FIELD(slot, neg));
	e_store(c, 8, a, at_gs(WORD(fill_gla)));
	e_store_imm(c, 4, (s32)(u64)use, at_gs(WORD(fill_use)));
	e_jmp(c, thunk);
	use->fail = emit_here(c);
	return e_jmp(c, 0);
}

u8 *tr_compare_slot(struct tr *t, unsigned a, struct slot_use *use, bool write)
{
	e_patch(tr_slot_test(t, t->h, a, use->slot), t->h->to_run, emit_here(t->c));
	return tr_slot_fill(t, a, use->slot, use, t->d->to.fill[write]);
}
