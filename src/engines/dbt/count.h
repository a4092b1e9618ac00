/* SPDX-License-Identifier: Apache-2.0 */
/* Counting instructions in generated code: count.c tells how. Everything here is for dbt.counts only, but tr_count_*. */
#pragma once
#include "engines/dbt/dbt-internal.h"

struct tr;

#define COUNT_QUANTUM 65536 /* instructions between looks at timers, where none is due earlier */

/* The loop is about to enter generated code, for at most so many instructions; it has come back: returns how many they were. */
bool count_begin(struct vcpu *v, u64 most); /* false: a timer is due earlier */
u64 count_end(struct vcpu *v);
/* Deterministic machines: it is `now`; timers fire. */
void count_pass(struct vcpu *v, u64 now);
/* An exception has unwound from v->cur, which was not executed. */
void count_unwound(struct vcpu *v);
/* Instructions executed since count_begin(), while C does v->cur. */
u64 count_now(const struct vcpu *v);
/* Deterministic clocks stand at the instruction that looks at them: v->cur. */
void count_look(struct vcpu *v);
/* C leaves the block with its first n instructions executed. */
static inline void count_leave(struct vcpu *v, const struct block *b, unsigned n)
{
	if (unlikely(dbt_of(v)->counts))
		v->left += b->insns - n;
}
static inline bool count_string(const struct insn *i)
{
	return (i->flags & (INSN_REP | INSN_REPNE)) &&
	       ((i->op >= OP_MOVSB && i->op <= OP_SCASQ) || (i->op >= OP_INSB && i->op <= OP_OUTSD));
}
/* It is a string instruction that has paused, and goes on when it is executed again. */
static inline bool count_paused(const struct vcpu *v, const struct insn *i, u64 at)
{
	return unlikely(v->rip == at) && count_string(i) && !steps_iterations(v);
}
u64 dbt_stop(struct vcpu *v, struct exit *x);

/* In front of n instructions at `off`, a plain block's or a region's stretch: they are entered only if all of them may run. */
void tr_count_stretch(struct tr *t, unsigned n, unsigned off);
/* What is not executed of them where the current instruction leaves them: in the cold part, with flags in memory; and where an exit
 * behind it jumps away at `at`, which returns the displacement to patch instead. */
void tr_uncount(struct tr *t);
u8 *tr_count_exit(struct tr *t, u8 *at);
