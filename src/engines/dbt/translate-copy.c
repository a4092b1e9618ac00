/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that are the guest's own bytes: registers keep their numbers, and a memory operand becomes [host address].
 */
#include "engines/dbt/translate.h"

static bool host_has(const struct tr *t, unsigned feature)
{
	return t->d->host_features[feature / 64] >> (feature % 64) & 1;
}

/* Integer rows that need more than their bytes. */
static bool needs_more(const struct tr *t, const struct insn *i)
{
	switch (i->op) {
	case OP_DIV:
	case OP_IDIV:
	case OP_CLD:
	case OP_STD:
	case OP_RDRAND:
	case OP_RDSEED:
	case OP_UD0:
	case OP_UD1:
	case OP_UD2:
	case OP_CLFLUSH:
	case OP_CLFLUSHOPT:
	case OP_CLWB:
	case OP_XLAT: return true;
	case OP_PAUSE: return t->v->machine->config.cpus > 1; /* gives way now and then */
	case OP_BT:
	case OP_BTS:
	case OP_BTR:
	case OP_BTC: return (i->flags & INSN_MEM) && insn_kind(i, 1) == OPK_REG; /* the bit may lie far off */
	default: break;
	}
	return i->flags & (INSN_REP | INSN_REPNE | INSN_END) || (i->op >= OP_MOVSB && i->op <= OP_SCASQ) ||
	       (i->op >= OP_PUSH && i->op <= OP_LEAVE);
}

static bool is_out_slot(u8 slot)
{
	return reg_is_out(slot >> 3);
}

/* Registers without a host register that are operands other than of the address: bit 0 OUT_A, bit 1 OUT_B. */
static unsigned out_operands(const struct insn *i)
{
	unsigned mask = 0;

	for (unsigned k = 0; k < 4; k++)
		if (insn_kind(i, k) == OPK_REG && is_out_slot(i->r[k]))
			mask |= i->r[k] >> 3 == OUT_A ? 1 : 2;
	return mask;
}

/* AH, CH, DH, BH cannot be named beside a register above RDI. */
static bool high_byte(const struct insn *i)
{
	for (unsigned k = 0; k < 2; k++)
		if (insn_kind(i, k) == OPK_REG && i->op < OP_INT_LIMIT && (i->r[k] & 7))
			return true;
	return false;
}

bool tr_can_copy(const struct tr *t, unsigned k)
{
	const struct insn *i = &t->insn[k];

	if (i->op >= OP_INT_LIMIT || i->op == OP_NONE || needs_more(t, i) || !host_has(t, op_facts[i->op].feature))
		return false;
	/* BSF and BSR that carry F3 are other instructions to the host. */
	if ((i->op == OP_BSF || i->op == OP_BSR) && (memchr(t->bytes[k], 0xf3, i->len - 2u)))
		return false;
	if (i->op == OP_NOP || i->op == OP_LEA || (i->op >= OP_PREFETCH && i->op <= OP_PREFETCHT2))
		return i->op != OP_LEA || i->asize >= 2;
	if (!(i->flags & INSN_MEM))
		return true;
	return tr_can_address(i) && out_operands(i) != 3 && !high_byte(i);
}

static bool only_reads(const struct insn *i)
{
	switch (i->op) {
	case OP_CMP:
	case OP_TEST:
	case OP_BT:
	case OP_MUL:
	case OP_IMUL: return true;
	default: return false;
	}
}

static void load_outs(struct tr *t, unsigned mask)
{
	if (mask & 1)
		tr_load_out(t, OUT_A);
	if (mask & 2)
		tr_load_out(t, OUT_B);
}
static void store_outs(struct tr *t, unsigned mask)
{
	if (mask & 1)
		e_store(t->h, 8, OUT_A, at_gs(GPR_AT(OUT_A)));
	if (mask & 2)
		e_store(t->h, 8, OUT_B, at_gs(GPR_AT(OUT_B)));
}

/* EFLAGS must be the guest's: it is read, or keeps some that are wanted and not written. */
static bool wants_flags(const struct tr *t)
{
	const struct insn_info *f = &t->info[t->k];
	u32 live = t->live[t->k];

	return f->flags_read || ((f->flags_written & live) && (live & (~f->flags_written | f->flags_maybe)));
}

static void copy_bytes(struct tr *t)
{
	memcpy(t->h->p, t->bytes[t->k], t->insn[t->k].len);
	t->h->p += t->insn[t->k].len;
}

static bool copy_registers(struct tr *t, const struct insn *i)
{
	unsigned outs = out_operands(i);

	if (wants_flags(t))
		tr_want_flags(t, OUT_A);
	load_outs(t, outs);
	copy_bytes(t);
	if (!only_reads(i) || i->op == OP_IMUL)
		store_outs(t, outs);
	tr_flags_written(t);
	return true;
}

/* EFLAGS from memory while m is in use: with whatever register of the translator's it leaves, or none. */
static void restore_beside(struct tr *t, const struct mem *m, unsigned a, unsigned b)
{
	if (m->base != a)
		tr_want_flags(t, a);
	else if (m->index != b)
		tr_want_flags(t, b);
	else
		tr_want_flags_spilled(t);
}

static bool copy_memory(struct tr *t, const struct insn *i, bool write, unsigned align)
{
	unsigned outs = out_operands(i), a = outs & 1 ? OUT_B : OUT_A, b = outs & 1 ? OUT_A : OUT_B;
	struct raw r;
	bool absolute;

	raw_parse(&r, t->bytes[t->k], i->len);
	absolute = r.map == 0 && !r.vex && (r.opcode & 0xfc) == 0xa0;
	if (absolute) { /* MOV with an absolute address: as the form with ModRM */
		r.opcode = (u8)(0x88 | (r.opcode & 1) | (r.opcode & 2 ? 0 : 2));
		r.imm_at = r.len;
	}
	struct mem m = tr_address(t, a, b, outs != 0, write, align);
	if (wants_flags(t))
		restore_beside(t, &m, a, b);
	load_outs(t, outs);
	raw_emit_mem(t->h, &r, absolute ? RAX : raw_reg(&r), m);
	if (insn_kind(i, 0) == OPK_REG || i->op == OP_XCHG || i->op == OP_XADD)
		store_outs(t, outs);
	tr_flags_written(t);
	return true;
}

/* Address arithmetic, without memory. */
static bool copy_lea(struct tr *t, const struct insn *i)
{
	unsigned to = i->r[0] >> 3;
	bool out = reg_is_out(to);

	tr_effective(t, OUT_A, i);
	if (i->size == 2) {
		if (to == OUT_A) { /* the lower half of a register that is in memory */
			e_store(t->h, 2, OUT_A, at_gs(GPR_AT(OUT_A)));
			return true;
		}
		tr_load_out(t, to);
		e_mov_rr(t->h, 2, to, OUT_A);
	} else if (to != OUT_A || i->size == 4) {
		e_mov_rr(t->h, i->size, to, OUT_A);
	}
	if (out)
		e_store(t->h, 8, to, at_gs(GPR_AT(to)));
	return true;
}

/* The bytes themselves where nothing in them stands for something else. */
static bool plain_lea(const struct insn *i)
{
	return i->base != SLOT_CODE && !is_out_slot(i->base) && !is_out_slot(i->index) && !is_out_slot(i->r[0]);
}

bool tr_copy(struct tr *t, bool write, unsigned align)
{
	const struct insn *i = &t->insn[t->k];

	if (i->op == OP_NOP || (i->op >= OP_PREFETCH && i->op <= OP_PREFETCHT2))
		return true;
	if (i->op == OP_LEA) {
		if (!plain_lea(i))
			return copy_lea(t, i);
		copy_bytes(t);
		return true;
	}
	if (!(i->flags & INSN_MEM))
		return copy_registers(t, i);
	if (i->op < OP_INT_LIMIT) {
		write = (insn_kind(i, 0) == OPK_MEM && !only_reads(i)) || i->op == OP_XCHG;
		align = i->op == OP_CMPXCHG16B ? 16 : 0;
	}
	return copy_memory(t, i, write, align);
}
