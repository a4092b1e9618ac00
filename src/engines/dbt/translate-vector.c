/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vector instructions: the guest's bytes on the host's vector registers, where the guest's mode lets them run and no
 * exception is unmasked. MMX is translate-x87.c's; what is left to src/emulate: gathers, implicit memory operands, state and MXCSR.
 */
#include "emulate/vector.h"
#include "engines/dbt/translate.h"

/* Rows of ops-vec.def from here on have XMM registers; those before are MMX's. */
static bool on_xmm(const struct insn *i)
{
	return i->op >= OP_ADDPS;
}

static bool excluded(const struct insn *i)
{
	return i->op == OP_MASKMOVDQU || i->op == OP_VMASKMOVDQU || (i->op >= OP_VGATHERDPD && i->op <= OP_VPGATHERQQ);
}

/* Their forms with 256 bits are extensions that the model lacks, whatever the host has. */
static bool is_of_128_bits(const struct insn *i)
{
	return (i->op >= OP_VAESDEC && i->op <= OP_VAESKEYGENASSIST) || i->op == OP_VPCLMULQDQ;
}

bool tr_can_vector(const struct tr *t, unsigned k)
{
	const struct insn *i = &t->insn[k];
	unsigned feature = op_facts[i->op].feature, ok = t->b->mode >> MODE_SIMD_SHIFT;
	bool vex = i->flags & INSN_VEX;

	if (!on_xmm(i) || excluded(i) || t->b->mode & MODE_TRAP)
		return false;
	if (!(t->d->host_features[feature / 64] >> (feature % 64) & 1) || !(ok & (vex ? SIMD_AVX : SIMD_SSE)))
		return false;
	if (vex && !t->d->ymm)
		return false;
	if ((i->size == 32 || i->size2 == 32 || i->msize == 32) && (!(ok & SIMD_AVX2) || is_of_128_bits(i)))
		return false;
	if (i->flags & INSN_MEM)
		return tr_can_address(i);
	return true;
}

static bool any_alignment(const struct insn *i)
{
	switch (i->op) {
	case OP_MOVUPS:
	case OP_MOVUPD:
	case OP_MOVDQU:
	case OP_LDDQU:
	case OP_PCMPESTRI:
	case OP_PCMPESTRM:
	case OP_PCMPISTRI:
	case OP_PCMPISTRM: return true;
	default: return i->msize != 16;
	}
}

static unsigned alignment(const struct insn *i)
{
	if (!(i->flags & INSN_VEX))
		return any_alignment(i) ? 0 : 16;
	switch (i->op) {
	case OP_VMOVAPS:
	case OP_VMOVAPD:
	case OP_VMOVDQA:
	case OP_VMOVNTPS:
	case OP_VMOVNTPD:
	case OP_VMOVNTDQ:
	case OP_VMOVNTDQA: return i->msize;
	default: return 0;
	}
}

bool tr_vector(struct tr *t)
{
	const struct insn *i = &t->insn[t->k];

	return tr_copy(t, insn_kind(i, 0) == OPK_MEM, alignment(i));
}
