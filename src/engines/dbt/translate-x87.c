/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87 and MMX instructions: the guest's bytes on the host's registers, while the guest has all exceptions masked and none pending, and
 * may use the x87 at all (MODE_X87). Instructions that move the state as a whole, and undocumented ones, are left to src/emulate.
 */
#include "engines/dbt/region.h"
#include "engines/dbt/translate.h"

/* Operations on numbers: they set the pointers to the last instruction. */
static bool is_numeric(const struct insn *i)
{
	return i->op >= OP_FADD && i->op <= OP_FYL2XP1;
}

static bool is_control(const struct insn *i)
{
	switch (i->op) {
	case OP_FLDCW:
	case OP_FNSTCW:
	case OP_FNSTSW:
	case OP_FNCLEX:
	case OP_FWAIT:
	case OP_EMMS: return true;
	default: return false;
	}
}

/* Rows of ops-vec.def in front of those with XMM registers alone; with both kinds of registers, SSE's rules hold too. */
static bool is_mmx(const struct insn *i)
{
	return i->op > OP_MASKMOVQ && i->op < OP_ADDPS;
}

static bool has_both(const struct insn *i)
{
	switch (i->op) {
	case OP_CVTPD2PI:
	case OP_CVTPI2PD:
	case OP_CVTTPD2PI:
	case OP_CVTPI2PS:
	case OP_CVTPS2PI:
	case OP_CVTTPS2PI:
	case OP_MOVDQ2Q:
	case OP_MOVQ2DQ: return true;
	default: return false;
	}
}

bool tr_can_x87(const struct tr *t, unsigned k)
{
	const struct insn *i = &t->insn[k];
	unsigned feature = op_facts[i->op].feature;

	if (!(t->b->mode & MODE_X87) || !(t->d->host_features[feature / 64] >> (feature % 64) & 1))
		return false;
	if (i->op == OP_FSTPNCE || i->op == OP_FFREEP || has_both(i))
		return false;
	if (i->op >= OP_FCOMI && i->op <= OP_FUCOMIP && t->v->machine->config.check) /* CPUs differ on C1 */
		return false;
	if (!is_numeric(i) && !is_control(i) && !is_mmx(i))
		return false;
	return !(i->flags & INSN_MEM) || tr_can_address(i);
}

bool tr_x87_stores(const struct insn *i)
{
	switch (i->op) {
	case OP_FST:
	case OP_FSTP:
	case OP_FIST:
	case OP_FISTP:
	case OP_FISTTP:
	case OP_FBSTP:
	case OP_FNSTCW:
	case OP_FNSTSW: return true;
	default: return is_mmx(i) && insn_kind(i, 0) == OPK_MEM;
	}
}

/* From memory that others may write meanwhile: what is loaded is what was looked at. */
static void load_control(struct tr *t)
{
	struct mem m = tr_address(t, 0, false, 0);
	unsigned a = tr_beside(t, &m), w = a == NO_REG ? m.base : a; /* a register of the translator's as well */

	if (a == NO_REG)
		tr_save_flags_spilled(t);
	else
		tr_save_flags(t, a);
	e_op_rm(t->h, 0x0fb7, 4, w, m);
	e_store(t->h, 4, w, at_gs(WORD(tmp)));
	e_op_rr(t->h, 0xf7, 4, 2, w); /* not */
	e_op_rr(t->h, 0xf7, 4, 0, w); /* test: an exception unmasked */
	e32(t->h, 0x3f);
	tr_slow_jump(t, CC_NZ);
	t->host_ok = false;
	e_op_rm(t->h, 0xd9, 4, 5, at_gs(WORD(tmp)));
}

/* The next instruction comes behind this one for sure and notes itself. */
static bool noted_later(const struct tr *t)
{
	const struct insn *next = &t->insn[t->k + 1];

	if (t->k + 1 >= t->n || (t->region && t->region->starts[t->k + 1]))
		return false;
	return t->native[t->k + 1] == NATIVE_X87 && is_numeric(next) && !(next->flags & INSN_MEM);
}

static void note(struct tr *t, const struct insn *i)
{
	struct emit *h = t->h;

	if (i->flags & INSN_MEM) {
		tr_clobber(t, t->s1);
		tr_effective(t, t->s1, i);
		e_store(h, 8, t->s1, at_gs(WORD(x87_dp)));
		e_store_imm(h, 1, i->seg, at_gs(WORD(x87_seg)));
	}
	if (noted_later(t))
		return;
	tr_clobber(t, t->s1);
	e_load(h, 8, t->s1, at_gs(PAGE_AT));
	e_lea(h, tr_word(t), t->s1, at_reg(t->s1, i->off));
	e_store(h, 8, t->s1, at_gs(WORD(x87_ip)));
}

bool tr_x87(struct tr *t)
{
	const struct insn *i = &t->insn[t->k];

	if (i->op == OP_FWAIT) /* nothing is pending */
		return true;
	if (i->op == OP_FLDCW) {
		load_control(t);
		return true;
	}
	if (!tr_copy(t, tr_x87_stores(i), 0))
		return false;
	if (is_numeric(i))
		note(t, i);
	return true;
}
