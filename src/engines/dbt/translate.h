/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the translator share: the block being translated, and who does which instructions. */
#pragma once
#include "engines/dbt/dbt-internal.h"
#include "engines/dbt/raw.h"

#define SLOW_JUMPS 8

struct tr {
	struct vcpu *v;
	struct dbt *d;
	struct block *b;
	struct emit *h, *c; /* the block itself; what it rarely needs */
	struct insn insn[BLOCK_INSNS];
	struct insn_info info[BLOCK_INSNS];
	const u8 *bytes[BLOCK_INSNS];
	u32 live[BLOCK_INSNS]; /* arithmetic flags that somebody may look at behind it */
	u8 native[BLOCK_INSNS]; /* enum native */
	u8 crossing[16]; /* bytes of an instruction across pages */
	unsigned n, k; /* instructions; the current one */
	unsigned end; /* offset behind the last one */
	bool end_crosses; /* there lies an instruction across pages */
	unsigned half; /* of the address space in which this code ran first */
	bool uses_vec;
	/* Where the guest's live arithmetic flags are now. */
	bool host_ok, mem_ok;
	/* Jumps of the current instruction to its slow path. */
	u8 *slow[SLOW_JUMPS];
	unsigned nslow;
	bool wants_slow; /* C may do it, though no jump leads there */
	struct site *site, *site2; /* of the current instruction, and of its second access to memory */
};

static inline unsigned tr_cpl(const struct tr *t)
{
	return t->b->mode >> MODE_CPL_SHIFT & 3;
}

enum native { NATIVE_NONE, NATIVE_COPY, NATIVE_VECTOR, NATIVE_SPECIAL, NATIVE_SYSTEM };

/* ---- translate.c ---- */
u32 tr_live_before(const struct tr *t, unsigned k);
/* Saves flags that are in EFLAGS alone and wanted from the current instruction on: what follows destroys EFLAGS. */
void tr_save_flags(struct tr *t, unsigned with);
/* EFLAGS gets the guest's flags; `with` is destroyed. */
void tr_want_flags(struct tr *t, unsigned with);
void tr_want_flags_spilled(struct tr *t); /* destroys no register */
/* The current instruction has left its flags in EFLAGS. */
void tr_flags_written(struct tr *t);
struct site *tr_site(struct tr *t); /* the current instruction's */
void tr_slow_jump(struct tr *t, unsigned cc); /* to its slow path */
/* All of the current instruction by src/emulate. */
void tr_helper(struct tr *t);

/* ---- translate-mem.c ---- */
bool tr_can_address(const struct insn *i);
/*
 * The checked memory operand of the current instruction, as host memory: a and b are the translator's registers, of which the
 * result names one or both; with keep_b only a, and b may be loaded with something else. EFLAGS is destroyed.
 */
struct mem tr_address(struct tr *t, unsigned a, unsigned b, bool keep_b, bool write, unsigned align);
/* The same for n bytes at [RSP or RBP + disp]; the result names b, and a is free. */
struct mem tr_stack(struct tr *t, unsigned a, unsigned b, unsigned base, s32 disp, unsigned n, bool write);
/* Linear address of the memory operand into a, and the effective one. */
void tr_linear(struct tr *t, unsigned a, const struct insn *i);
void tr_effective(struct tr *t, unsigned a, const struct insn *i);
/* Register number of guest register reg, loaded into the host register if it lives in memory. */
void tr_load_out(struct tr *t, unsigned reg);
static inline bool reg_is_out(unsigned reg)
{
	return reg == OUT_A || reg == OUT_B;
}

/* ---- families: false if it is to be done by src/emulate ---- */
bool tr_can_copy(const struct tr *t, unsigned k); /* translate-copy.c */
bool tr_copy(struct tr *t, bool write, unsigned align);
bool tr_can_vector(const struct tr *t, unsigned k); /* translate-vector.c */
bool tr_vector(struct tr *t);
bool tr_can_special(const struct tr *t, unsigned k); /* translate-special.c */
bool tr_special(struct tr *t);
bool tr_can_system(const struct tr *t, unsigned k); /* translate-system.c */
bool tr_system(struct tr *t);
bool tr_system_reads_flags(const struct insn *i); /* the arithmetic ones */
bool tr_branch(struct tr *t); /* translate-branch.c */

/* ---- translate-exit.c ---- */
/* Leaves for `target`, relative to the page: if cc >= 0 on that condition, else in any case. */
void tr_exit(struct tr *t, const struct insn *i, s64 target, int cc);
/* Leaves by a jump whose displacement is at `at`. */
void tr_exit_at(struct tr *t, const struct insn *i, s64 target, u8 *at);
/* Leaves for the address in OUT_A; flags are in memory. */
void tr_exit_indirect(struct tr *t);
/* Leaves to the loop before the current instruction if an event is due. EFLAGS is destroyed. */
void tr_poll(struct tr *t);

static inline bool insn_is_jcc(const struct insn *i)
{
	return (unsigned)(i->op - OP_JO) < 16;
}
