/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which handler a record gets. Handlers that touch memory or the instruction pointer take flat 64-bit code for granted; in
 * other modes only those that work on registers and immediates alone are used.
 */
#include "engines/interp/fast.h"

static insn_run_fn *select_fast(const struct insn *i, bool flags_live)
{
	insn_run_fn *h = select_alu(i, flags_live);

	if (!h && i->op >= OP_INT_LIMIT)
		h = select_system(i);
	if (!h)
		h = select_move(i);
	if (!h)
		h = select_branch(i);
	if (!h)
		h = select_unary(i, flags_live);
	if (!h)
		h = select_shift(i, flags_live);
	if (!h)
		h = select_multiply(i, flags_live);
	if (!h)
		h = select_bits(i);
	if (!h)
		h = select_vector(i);
	return h;
}

/* Nothing but registers: the same in every mode. */
static bool mode_free(const struct insn *i)
{
	return !(i->flags & (INSN_MEM | INSN_END)) && !insn_has_hidden_memory(i);
}

insn_run_fn *select_handler(const struct vcpu *v, const struct insn *i, bool flags_live)
{
	insn_run_fn *h = NULL;

	if (v->code_size == CODE_64 || mode_free(i))
		h = select_fast(i, flags_live);
	if (h)
		return h;
	if (insn_changes_flags_only(i))
		return run_through;
	return i->flags & INSN_END ? run_end : run_generic;
}
