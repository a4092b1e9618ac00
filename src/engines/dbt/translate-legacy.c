/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 32-bit code on a 64-bit host. The translator's other files take it as they take 64-bit code, with words of 4 bytes and addresses that are
 * cut to 32 bits; here is what they must not be asked for. Its segments are flat, but for the bases of FS and GS: what runs with others
 * is not translated (legacy.c). Nothing relies on the upper halves of registers, which a 64-bit kernel may have left there.
 */
#include "engines/dbt/translate.h"

/* Encodings that 64-bit code gives another meaning to, or that mean more than the host would do. */
static bool is_foreign(const struct insn *i)
{
	switch (i->op) {
	case OP_AAA:
	case OP_AAS:
	case OP_AAM:
	case OP_AAD:
	case OP_DAA:
	case OP_DAS:
	case OP_SALC:
	case OP_BOUND:
	case OP_INTO:
	case OP_SYSCALL:
	case OP_SYSRET:
	case OP_VZEROALL: /* of registers 0 to 7 */
	case OP_VZEROUPPER: return true;
	default: return false;
	}
}

/* VEX.W, which 32-bit code ignores where it would choose 64-bit registers; and a register in the immediate, of which there are eight. */
static bool vex_differs(const struct tr *t, unsigned k)
{
	const struct insn *i = &t->insn[k];
	struct raw r;

	if (!(i->flags & INSN_VEX))
		return false;
	raw_parse(&r, t->bytes[k], i->len, false);
	if (r.vex == 3 && r.v[2] & 0x80 && op_facts[i->op].feature != FEAT_FMA)
		return true;
	return r.map == 3 && r.opcode >= 0x4a && r.opcode <= 0x4c && r.bytes[r.len - 1] & 0x80;
}

/* FS and GS have a base, and with it an end below the last address: [offset, + msize) that lies across it faults. */
static bool segment_allows(const struct tr *t, const struct insn *i)
{
	bool fixed = i->flags & INSN_MOFFS || (i->base == SLOT_ZERO && i->index == SLOT_ZERO);

	if (i->seg == SEG_CS)
		return false;
	if (i->seg < SEG_FS)
		return true;
	if (!(t->b->mode & (i->seg == SEG_FS ? MODE_FS : MODE_GS)))
		return false;
	return !fixed || (u64)(u32)(i->flags & INSN_MOFFS ? i->imm : (u64)i->disp) + i->msize <= BIT(32);
}

bool tr_legacy_allows(const struct tr *t, unsigned k)
{
	const struct insn *i = &t->insn[k];

	if (is_foreign(i) || vex_differs(t, k))
		return false;
	if (i->op >= OP_MOVSB && i->op <= OP_SCASQ) /* no operand shows their memory */
		return i->seg != SEG_CS;
	return !(i->flags & INSN_MEM) || i->op == OP_LEA || segment_allows(t, i);
}
