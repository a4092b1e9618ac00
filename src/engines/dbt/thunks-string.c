/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REP MOVS and REP STOS by the host's own: shared pieces of code, with the instruction's site in OUT_A. They do those that run
 * upward, whose source lies in one page and whose destination does, both in the TLB with the rights that are needed: such a
 * span cannot fault, meets no decoded code, and is short. All others are src/emulate's, from their first element on.
 */
#include "engines/dbt/dbt-internal.h"

#define SAVED(k) at_gs(WORD(save) + 8 * (size_t)(k))

/* Goes to the slow way with RAX and RDX as they were. */
struct ways {
	u8 *out[8];
	unsigned n;
};

static void out_if(struct ways *w, struct emit *e, unsigned cc)
{
	w->out[w->n++] = e_jcc(e, cc, 0);
}

/* The span's first address is in `at`, RCX elements of 1 << shift bytes: to becomes its host address. Destroys entry. */
static void host_span(struct emit *e, struct ways *w, unsigned at, unsigned to, unsigned entry, unsigned shift,
		      bool write)
{
	s32 tag = write ? offsetof(struct tlb_entry, wr) : offsetof(struct tlb_entry, rd);
	struct mem end = { .base = (u8)to, .index = RCX, .scale = (u8)shift };

	e_mov_rr(e, 4, entry, at);
	e_shift_imm(e, SHIFT_SHR, 4, entry, PAGE_SHIFT - 5);
	e_alu_imm(e, ALU_AND, 4, entry, (TLB_SIZE - 1) << 5);
	e_alu_m(e, ALU_ADD, 8, entry, at_gs(VCPU(tlb)));
	e_mov_rr(e, 8, to, at);
	e_alu_m(e, ALU_SUB, 8, to, at_reg(entry, tag));
	e_alu_imm(e, ALU_CMP, 8, to, PAGE_SIZE);
	out_if(w, e, CC_AE);
	e_lea(e, 8, to, end);
	e_alu_imm(e, ALU_CMP, 8, to, PAGE_SIZE);
	out_if(w, e, CC_A);
	e_mov_rr(e, 8, to, at);
	e_alu_m(e, ALU_ADD, 8, to, at_reg(entry, offsetof(struct tlb_entry, delta)));
}

/* Upward, and of no more elements than a page has. */
static void check_plain(struct emit *e, struct ways *w, unsigned shift)
{
	e_op_rm(e, 0xf7, 4, 0, at_gs(VCPU(rflags)));
	e32(e, FL_DF);
	out_if(w, e, CC_NZ);
	e_alu_imm(e, ALU_CMP, 8, RCX, (s32)(PAGE_SIZE >> shift));
	out_if(w, e, CC_A);
}

static void rep(struct emit *e, unsigned opcode, unsigned shift)
{
	e8(e, 0xf3);
	if (shift == 1)
		e8(e, 0x66);
	if (shift == 3)
		e8(e, 0x48);
	e8(e, shift ? opcode + 1 : opcode);
}

/* reg, saved before the host's instruction changed it, as the guest's would have; RDX holds the count. */
static void advance(struct emit *e, unsigned reg, unsigned saved, unsigned shift)
{
	e_load(e, 8, reg, SAVED(saved));
	e_lea(e, 8, reg, (struct mem){ .base = (u8)reg, .index = RDX, .scale = (u8)shift });
}

static void finish(struct emit *e, const struct dbt *d, const struct ways *w)
{
	for (unsigned out = 0; out < 2; out++) {
		for (unsigned k = 0; out && k < w->n; k++)
			e_patch(w->out[k], e->to_run, emit_here(e));
		e_load(e, 8, RAX, SAVED(0));
		e_load(e, 8, RDX, SAVED(1));
		if (out)
			e_jmp(e, d->to.slow);
		else
			e_jmp_mem(e, at_reg(OUT_A, offsetof(struct site, resume)));
	}
}

u64 emit_rep_movs(struct emit *e, const struct dbt *d, unsigned shift)
{
	u64 here = emit_here(e);
	struct ways w = { .n = 0 };

	e_store(e, 8, RAX, SAVED(0));
	e_store(e, 8, RDX, SAVED(1));
	check_plain(e, &w, shift);
	host_span(e, &w, RSI, RDX, RAX, shift, false);
	host_span(e, &w, RDI, OUT_B, RAX, shift, true);
	e_store(e, 8, RSI, SAVED(2));
	e_store(e, 8, RDI, SAVED(3));
	e_store(e, 8, RCX, SAVED(4));
	e_mov_rr(e, 8, RSI, RDX);
	e_mov_rr(e, 8, RDI, OUT_B);
	rep(e, 0xa4, shift);
	e_load(e, 8, RDX, SAVED(4));
	advance(e, RSI, 2, shift);
	advance(e, RDI, 3, shift);
	finish(e, d, &w);
	return here;
}

u64 emit_rep_stos(struct emit *e, const struct dbt *d, unsigned shift)
{
	u64 here = emit_here(e);
	struct ways w = { .n = 0 };

	e_store(e, 8, RAX, SAVED(0));
	e_store(e, 8, RDX, SAVED(1));
	check_plain(e, &w, shift);
	host_span(e, &w, RDI, OUT_B, RDX, shift, true);
	e_store(e, 8, RDI, SAVED(3));
	e_store(e, 8, RCX, SAVED(4));
	e_mov_rr(e, 8, RDI, OUT_B);
	rep(e, 0xaa, shift);
	e_load(e, 8, RDX, SAVED(4));
	advance(e, RDI, 3, shift);
	finish(e, d, &w);
	return here;
}
