/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions: what hot code becomes. A region is the part of one page's control flow that is reached from a hot address by direct jumps,
 * translated as a whole: loops stay inside, the two or more guest registers that have no host register are chosen for it, and
 * accesses to memory share checks (window.c). What a check does not pass goes on in a plain block at the same instruction.
 */
#pragma once
#include "engines/dbt/translate.h"

#define REGION_BLOCKS 48
#define LOOP_WEIGHT   8 /* how much more often a loop is run than what is around it, for all that is known */

/* Names for what registers hold: two registers of one number differ by their offsets' difference, whatever that value is. */
struct values {
	u32 number[18]; /* of GPRs, SLOT_ZERO, SLOT_CODE */
	s64 offset[18];
	u32 last;
};

/* Memory whose check has passed: [base + index << scale + lo, ... + hi), until its register is used for something else. */
struct window {
	u32 base, index; /* values */
	u8 scale, seg;
	bool live, write;
	bool delta; /* the register holds host minus linear address; else the host address of lo */
	s64 lo, hi;
	unsigned left; /* accesses to come */
};

/* A stretch of instructions entered at its first only. */
struct stretch {
	u16 off, end; /* in the page */
	u16 first, n; /* instructions, in order of emission */
	s16 next, taken; /* stretches behind it and at its jump's target, or -1: elsewhere */
	u8 preds;
	s8 order;
	bool follows; /* control comes only from the one emitted before */
	bool live_in; /* looks at flags that it is entered with: then they are in memory, unless it follows */
	u32 weight;
	u64 label; /* 0: not emitted yet */
	u8 *waiting[8]; /* jumps to it */
	unsigned waits;
};

struct code_region {
	u32 outs; /* tr.outs inside */
	u8 s1, s2;
	struct values now;
	struct window in[NR_GPR]; /* by host register */
	bool starts[REGION_INSNS + 1]; /* control may come from elsewhere */
	struct stretch s[REGION_BLOCKS];
	unsigned n; /* stretches */
	u8 order[REGION_BLOCKS];
	struct stretch *at; /* being emitted */
	struct stretch *then; /* emitted next, or NULL */
};

/* ---- region.c ---- */
/* Translates the region from off on into t->b; false: nothing to gain. */
bool region_find(struct tr *t, const u8 *host, unsigned off);
void region_live(struct tr *t);

/* ---- region-emit.c ---- */
void region_emit(struct tr *t);
void region_jcc(struct tr *t, const struct insn *i);
void region_jmp(struct tr *t, const struct insn *i);

/* ---- region-registers.c ---- */
void region_choose_outs(struct tr *t);

/* ---- window.c ---- */
void values_begin(struct values *v);
void values_step(const struct tr *t, struct values *v, unsigned k); /* instruction k has run */
struct mem window_operand(struct tr *t, u32 avoid, bool write, unsigned align);
struct mem window_stack(struct tr *t, unsigned base, s32 disp, unsigned n, bool write);
bool window_has_stack(const struct tr *t, unsigned base, s32 disp, bool write); /* no check is needed for that word */
