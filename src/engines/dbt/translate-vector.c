/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vector instructions: the guest's bytes on the host's vector registers, where the guest's mode lets them run and no
 * exception is unmasked. MMX is translate-x87.c's; what is left to src/emulate: gathers, implicit memory operands and state.
 *
 * As no exception is unmasked, the host's MXCSR is the guest's (emulate/vector.h): STMXCSR is its own bytes too.
 */
#include "emulate/vector.h"
#include "engines/dbt/translate.h"

static bool loads_mxcsr(const struct insn *i)
{
	return i->op == OP_LDMXCSR || i->op == OP_VLDMXCSR;
}

static bool moves_mxcsr(const struct insn *i)
{
	return loads_mxcsr(i) || i->op == OP_STMXCSR || i->op == OP_VSTMXCSR;
}

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

	if ((!on_xmm(i) && !moves_mxcsr(i)) || excluded(i) || t->b->mode & MODE_TRAP)
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

/* What keeps all exceptions masked and has no reserved bit; looked at as it was loaded, as another CPU may write it meanwhile. */
static bool load_mxcsr(struct tr *t)
{
	struct emit *h = t->h;
	struct mem m = tr_address(t, 0, false, 0);
	unsigned a = tr_beside(t, &m), w = a == NO_REG ? m.base : a;

	if (a == NO_REG)
		tr_save_flags_spilled(t);
	else
		tr_save_flags(t, a);
	e_load(h, 4, w, m);
	e_store(h, 4, w, at_gs(WORD(tmp)));
	e_alu_imm(h, ALU_XOR, 4, w, MXCSR_MASKS);
	e_op_rr(h, 0xf7, 4, 0, w); /* test */
	e32(h, ~(MXCSR_FLAGS | MXCSR_DAZ | MXCSR_RC | MXCSR_FTZ));
	tr_slow_jump(t, CC_NZ);
	t->host_ok = false;
	e_op_rm(h, 0x0fae, 4, 2, at_gs(WORD(tmp))); /* ldmxcsr */
	e_load(h, 4, w, at_gs(WORD(tmp)));
	e_store(h, 4, w, at_gs(VCPU(mxcsr)));
	return true;
}

bool tr_vector(struct tr *t)
{
	const struct insn *i = &t->insn[t->k];

	if (loads_mxcsr(i))
		return load_mxcsr(t);
	return tr_copy(t, insn_kind(i, 0) == OPK_MEM, alignment(i));
}
