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

static bool is_out_slot(const struct tr *t, u8 slot)
{
	return reg_is_out(t, slot >> 3);
}

/* Guest registers that are operands other than of the address. A vector register's number is below that of any that may be out. */
static u32 operand_regs(const struct insn *i)
{
	u32 mask = 0;

	for (unsigned k = 0; k < 4; k++)
		if (insn_kind(i, k) == OPK_REG && (i->op < OP_INT_LIMIT || i->r[k] > 15))
			mask |= 1u << (i->r[k] >> 3);
	return mask;
}
static u32 out_operands(const struct tr *t, const struct insn *i)
{
	return operand_regs(i) & t->outs;
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
	if (insn_is_hint(i))
		return true;
	if (i->op == OP_LEA)
		return i->asize >= 2;
	if (!(i->flags & INSN_MEM))
		return true;
	return tr_can_address(i) && !high_byte(i);
}

/* Operand 0 is a register that is written whole, whatever it held. */
static bool only_writes(const struct insn *i)
{
	if (insn_kind(i, 0) != OPK_REG || (i->op < OP_INT_LIMIT && i->size < 4))
		return false;
	switch (i->op) {
	case OP_MOV:
	case OP_MOVZX:
	case OP_MOVSX:
	case OP_MOVSXD:
	case OP_MOVBE:
	case OP_POPCNT:
	case OP_ANDN:
	case OP_RORX:
	case OP_SHLX:
	case OP_SHRX:
	case OP_SARX:
	case OP_BEXTR:
	case OP_BZHI:
	case OP_PDEP:
	case OP_PEXT:
	case OP_BLSI:
	case OP_BLSR:
	case OP_BLSMSK:
	case OP_MULX: return true;
	case OP_IMUL: return insn_kind(i, 2) == OPK_IMM;
	default: return false;
	}
}

static u32 reg_bit(const struct insn *i, unsigned k)
{
	return insn_kind(i, k) == OPK_REG ? 1u << (i->r[k] >> 3) : 0;
}

/* Operands that are stored to, where more than the first are. */
static u32 written_operands(const struct insn *i)
{
	u32 mask = tr_only_reads(i) ? 0 : reg_bit(i, 0);

	if (i->op == OP_XCHG || i->op == OP_XADD || i->op == OP_MULX)
		mask |= reg_bit(i, 1);
	return mask;
}

static void load_outs(struct tr *t, u32 mask)
{
	for (unsigned r = 0; mask >> r; r++)
		if (mask >> r & 1)
			tr_load_out(t, r);
}
static void store_outs(struct tr *t, u32 mask)
{
	for (unsigned r = 0; mask >> r; r++)
		if (mask >> r & 1)
			e_store(t->h, 8, r, at_gs(GPR_AT(r)));
}

/* What is read of the operands that live in memory, into their host registers; what is only written needs no load. */
static void load_operands(struct tr *t, const struct insn *i, u32 outs)
{
	u32 fresh = only_writes(i) ? reg_bit(i, 0) & outs : 0;

	for (unsigned k = 1; k < 4; k++)
		fresh &= ~reg_bit(i, k);
	if (i->op == OP_MULX)
		fresh = 0;
	for (unsigned r = 0; fresh >> r; r++)
		if (fresh >> r & 1)
			tr_clobber(t, r);
	load_outs(t, outs & ~fresh);
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
	if (!t->wide) {
		struct raw r;
		raw_parse(&r, t->bytes[t->k], t->insn[t->k].len, false);
		raw_emit_plain(t->h, &r);
		return;
	}
	memcpy(t->h->p, t->bytes[t->k], t->insn[t->k].len);
	t->h->p += t->insn[t->k].len;
}

/* To memory it would be another instruction: bits far off, a locked exchange; or it has no such form. */
static bool differs_in_memory(const struct insn *i)
{
	switch (i->op) {
	case OP_BT:
	case OP_BTS:
	case OP_BTR:
	case OP_BTC:
	case OP_XCHG:
	case OP_XADD:
	case OP_CMPXCHG:
	case OP_BSWAP: return true;
	default: return i->op >= OP_INT_LIMIT || high_byte(i);
	}
}

/* The register in ModRM's other place goes where memory can be, if the opcode has a twin for that. */
static bool turn_around(struct raw *r, unsigned out)
{
	u8 op = r->opcode;
	bool twin = (op < 0x40 && (op & 7) < 4) || (op & 0xfc) == 0x88, symmetric = (op & 0xfe) == 0x84;

	if (r->map || r->vex || raw_reg(r) != out || (!twin && !symmetric))
		return false;
	r->opcode ^= twin ? 2 : 0;
	r->modrm = (u8)(0xc0 | (r->modrm & 7) << 3 | (r->modrm >> 3 & 7));
	r->rex = (u8)((r->rex & 0xfa) | (r->rex & 1) << 2 | (r->rex >> 2 & 1));
	return true;
}

/* One operand lives in memory: that is where the instruction takes it from, and leaves it. 32-bit results would have to clear the upper half. */
static bool copy_in_place(struct tr *t, const struct insn *i, u32 outs)
{
	unsigned out = (unsigned)__builtin_ctz(outs), uses = 0;
	struct raw r;

	for (unsigned k = 0; k < 4; k++)
		uses += (reg_bit(i, k) & outs) != 0;
	if (!t->wide || uses != 1 || differs_in_memory(i) || (i->size == 4 && written_operands(i) & outs))
		return false;
	raw_parse(&r, t->bytes[t->k], i->len, true);
	if (raw_rm(&r) != out && (raw_rm(&r) == NO_REG || !turn_around(&r, out)))
		return false;
	raw_emit_mem(t->h, &r, raw_reg(&r), at_gs(GPR_AT(out)));
	tr_flags_written(t);
	return true;
}

static bool copy_registers(struct tr *t, const struct insn *i)
{
	u32 outs = out_operands(t, i);

	if (wants_flags(t))
		tr_want_flags(t, t->s1);
	if (outs && copy_in_place(t, i, outs))
		return true;
	load_operands(t, i, outs);
	copy_bytes(t);
	store_outs(t, outs & written_operands(i));
	tr_flags_written(t);
	return true;
}

/* EFLAGS from memory while m is in use: with whatever register of the translator's it leaves, or none. */
static void restore_beside(struct tr *t, const struct mem *m)
{
	unsigned with;

	if (t->host_ok)
		return;
	with = tr_beside(t, m);
	if (with == NO_REG)
		tr_want_flags_spilled(t);
	else
		tr_want_flags(t, with);
}

static bool copy_memory(struct tr *t, const struct insn *i, bool write, unsigned align)
{
	u32 outs = out_operands(t, i);
	struct raw r;
	bool absolute;

	if (!(t->outs & ~outs)) /* no register is left for the address */
		return false;
	raw_parse(&r, t->bytes[t->k], i->len, t->wide);
	absolute = r.map == 0 && !r.vex && (r.opcode & 0xfc) == 0xa0;
	if (absolute) { /* MOV with an absolute address: as the form with ModRM */
		r.opcode = (u8)(0x88 | (r.opcode & 1) | (r.opcode & 2 ? 0 : 2));
		r.imm_at = r.len;
	}
	struct mem m = tr_address(t, outs, write, align);
	if (wants_flags(t))
		restore_beside(t, &m);
	load_operands(t, i, outs);
	raw_emit_mem(t->h, &r, absolute ? RAX : raw_reg(&r), m);
	store_outs(t, outs & written_operands(i));
	tr_flags_written(t);
	return true;
}

/* Address arithmetic, without memory. */
static bool copy_lea(struct tr *t, const struct insn *i)
{
	unsigned to = i->r[0] >> 3, size = i->size;

	if (i->base == SLOT_CODE && size == 8 && i->asize == 3 && !reg_is_out(t, to)) {
		tr_effective(t, to, i);
		return true;
	}
	tr_effective(t, t->s1, i);
	if (!reg_is_out(t, to)) {
		e_mov_rr(t->h, size, to, t->s1);
		return true;
	}
	if (size == 4 && i->asize == 3)
		e_mov_rr(t->h, 4, t->s1, t->s1);
	e_store(t->h, size == 2 ? 2 : 8, t->s1, at_gs(GPR_AT(to)));
	return true;
}

/* The bytes themselves where nothing in them stands for something else. */
static bool plain_lea(const struct tr *t, const struct insn *i)
{
	return t->wide && i->base != SLOT_CODE && !is_out_slot(t, i->base) && !is_out_slot(t, i->index) &&
	       !is_out_slot(t, i->r[0]);
}

bool tr_copy(struct tr *t, bool write, unsigned align)
{
	const struct insn *i = &t->insn[t->k];

	if (insn_is_hint(i))
		return true;
	if (i->op == OP_LEA) {
		if (!plain_lea(t, i))
			return copy_lea(t, i);
		copy_bytes(t);
		return true;
	}
	if (!(i->flags & INSN_MEM))
		return copy_registers(t, i);
	if (i->op < OP_INT_LIMIT) {
		write = tr_writes_memory(i);
		align = i->op == OP_CMPXCHG16B ? 16 : 0;
	}
	return copy_memory(t, i, write, align);
}
