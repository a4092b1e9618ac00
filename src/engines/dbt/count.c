/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting what generated code executes, for clocks that follow it and for whoever wants it to stop after so many instructions.
 * Only while dbt.counts is set, as it costs two instructions a block.
 *
 * v->left is how many instructions may still run. A block takes all of its own from it when it is entered, and is not entered
 * where they are more than are left: the loop steps over the last few. Whoever leaves a block before its end gives back what
 * was not executed: exits in generated code by a detour of theirs, C by count_leave(). So the count is exact wherever C is
 * between two blocks, and count_now() makes it so inside of one. A repeated string instruction counts once, when it is done.
 */
#include "engines/dbt/count.h"

#include "engines/dbt/check.h"
#include "engines/dbt/region.h"

/* ---- in the loop ---- */

/* Lock-step that does something once more has timers as they were in the end: they count for nothing. */
static bool has_timers(const struct vcpu *v)
{
	return v->machine->config.deterministic && !(cpu_of(v)->check && check_repeats(v));
}

bool count_begin(struct vcpu *v, u64 most)
{
	struct dbt_cpu *c = cpu_of(v);
	u64 room = most;

	c->time = clock_now(v->machine->clock);
	if (has_timers(v)) {
		u64 due = clock_next_deadline(v->machine->clock);
		room = MIN(most, due > c->time ? due - c->time : 1);
	}
	c->quantum = v->left = (s64)room;
	return room == most;
}

u64 count_end(struct vcpu *v)
{
	struct dbt_cpu *c = cpu_of(v);
	u64 done = (u64)(c->quantum - v->left);

	c->quantum = v->left = 0;
	v->stats.insns += done;
	count_pass(v, c->time + done);
	return done;
}

void count_pass(struct vcpu *v, u64 now)
{
	struct clock *c = v->machine->clock;

	if (!v->machine->config.deterministic)
		return;
	clock_set(c, now);
	if (!has_timers(v))
		return;
	if (unlikely(cpu_of(v)->check))
		check_pause(v);
	clock_run_timers(c);
	if (unlikely(cpu_of(v)->check))
		check_resume(v);
}

/* ---- where C leaves a block, or looks at the time inside of one ---- */

/* Instructions of the block that the current one stands in, itself included, that have not been executed; outside blocks none. */
static unsigned unexecuted(const struct vcpu *v)
{
	const struct dbt_cpu *c = cpu_of(v);

	if (v->cur == &c->none || v->cur == &c->single)
		return 0;
	return container_of(v->cur, struct site, insn)->block->insns - v->cur->n; /* in regions: of the stretch */
}

void count_unwound(struct vcpu *v)
{
	v->left += unexecuted(v);
}

u64 count_now(const struct vcpu *v)
{
	return (u64)(cpu_of(v)->quantum - v->left) - unexecuted(v);
}

void count_look(struct vcpu *v)
{
	if (v->machine->config.deterministic)
		clock_set(v->machine->clock, cpu_of(v)->time + count_now(v));
}

/* ---- in generated code ---- */

void tr_count_stretch(struct tr *t, unsigned n, unsigned off)
{
	struct emit *c = t->c;

	if (!t->d->counts)
		return;
	if (t->host_ok && !t->mem_ok && (t->d->exact_flags || tr_live_before(t, t->k))) {
		flags_save(t->h, t->s1);
		t->mem_ok = true;
	}
	t->host_ok = false;
	e_alu_imm_m(t->h, ALU_SUB, 8, at_gs(VCPU(left)), (s32)n);
	e_patch(e_jcc(t->h, CC_S, 0), c->to_run, emit_here(c));
	e_alu_imm_m(c, ALU_ADD, 8, at_gs(VCPU(left)), (s32)n);
	tr_leave_at(t, off, t->d->to.stop);
}

void tr_uncount(struct tr *t)
{
	if (t->d->counts)
		e_alu_imm_m(t->c, ALU_ADD, 8, at_gs(VCPU(left)), (s32)tr_uncounted(t) + 1);
}

/* EFLAGS may hold the guest's. */
u8 *tr_count_exit(struct tr *t, u8 *at)
{
	unsigned back = tr_uncounted(t);

	if (!t->d->counts || !back)
		return at;
	e_patch(at, t->h->to_run, emit_here(t->c));
	e_load(t->c, 8, t->s1, at_gs(VCPU(left)));
	e_lea(t->c, 8, t->s1, at_reg(t->s1, (s32)back));
	e_store(t->c, 8, t->s1, at_gs(VCPU(left)));
	return e_jmp(t->c, 0);
}
