/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interpreter's loop: events, interrupts and exceptions between instructions; stretches of handlers in between.
 *
 * Whatever faults unwinds to the setjmp in interp_run, with v->rip at the faulting instruction. The loop
 * steps single instructions through src/emulate while something must be looked at after each: a trap flag, breakpoints, the
 * shadow of STI and MOV SS, a trace file, or a debugger that steps or has a breakpoint nearby.
 */
#include "engines/interp/interp.h"

#include <errno.h>
#include <stdlib.h>

#include "emulate/debug.h"
#include "emulate/vector.h"
#include "engines/interp/interp-internal.h"

/* ---- time ---- */

/* Deterministic clocks follow what was executed. */
static void pass_time(struct vcpu *v, u64 insns)
{
	struct interp *in = interp_of(v);

	if (!in->deterministic || !insns)
		return;
	in->base_insns += insns;
	clock_set(v->machine->clock, in->base_insns);
	clock_run_timers(v->machine->clock);
}

static void end_quantum(struct vcpu *v)
{
	struct interp *in = interp_of(v);
	u64 done = (u64)(in->quantum - v->left);

	in->quantum = v->left;
	v->stats.insns += done;
	pass_time(v, done);
}

/* Takes an instruction's time, so that a guest whose handlers fault at once still meets its timers. */
static void deliver(struct vcpu *v)
{
	struct interp *in = interp_of(v);

	in->first = v->event;
	in->delivering = true;
	pass_time(v, 1);
	deliver_event(v);
	in->delivering = false;
	debug_step_done(v);
	if (in->tracer)
		tracer_event(in->tracer, v, &in->first);
}

/* A fault unwound. false: it was the third. */
static bool landed(struct vcpu *v)
{
	struct interp *in = interp_of(v);

	v->left -= v->cur->n;
	v->cur = &in->none;
	v->stop_now = false;
	v->debug.stop = STOP_NONE; /* a watchpoint that a faulting instruction touched: it will again */
	if (v->event.type == EVENT_EXCEPTION)
		v->stats.exc[v->event.vector & 31]++;
	return !in->delivering || combine_exceptions(v, &in->first);
}

/* ---- running ---- */

/* An NMI that waits for the IRET of the one before would have run_continue() leave at once, again and again. */
static bool must_step(const struct vcpu *v)
{
	if (unlikely(v->nmi_blocked) && (atomic_load(&v->events) & EV_NMI))
		return true;
	if (unlikely(v->debug.step || v->debug.pass || interp_of(v)->at_break))
		return true;
	return unlikely(v->shadow || (v->rflags & FL_TF) || debug_breakpoints_on(v) || interp_of(v)->tracer);
}

static void step(struct vcpu *v)
{
	struct interp *in = interp_of(v);
	bool trap = v->rflags & FL_TF;
	u64 from = v->rip;

	if (debug_breakpoints_on(v) && debug_code_breakpoint(v))
		vcpu_raise(v, EXC_DB);
	v->shadow = false;
	if (in->tracer)
		tracer_before(in->tracer, v);
	run_step(v);
	if (in->tracer)
		tracer_after(in->tracer, v);
	if (trap)
		debug_single_step(v, from);
	debug_step_done(v);
}

static void begin_quantum(struct vcpu *v)
{
	struct interp *in = interp_of(v);

	in->quantum = QUANTUM;
	if (in->deterministic) {
		u64 now = clock_now(v->machine->clock), due = clock_next_deadline(v->machine->clock);
		if (due <= now)
			in->quantum = 1;
		else if (due - now < QUANTUM)
			in->quantum = (s64)(due - now);
	}
	v->left = in->quantum;
}

/* Halts skip virtual time: it runs ahead of the count of instructions. */
static void wait_event(struct vcpu *v)
{
	struct interp *in = interp_of(v);

	v->stats.halts++;
	mmu_leave(v);
	machine_wait(v);
	mmu_enter(v);
	if (in->deterministic)
		in->base_insns = clock_now(v->machine->clock);
}

static void go(struct vcpu *v)
{
	bool steps = must_step(v);

	interp_of(v)->at_break = false; /* what is no breakpoint after all is stepped over */
	if (unlikely(steps) && debug_stops_at_breakpoint(v))
		return;
	begin_quantum(v);
	if (steps)
		step(v);
	else
		run_continue(v);
	end_quantum(v);
	v->stop_now = false;
	if (unlikely(v->pending_db) && !v->debug.stop)
		debug_trap_check(v);
}

/* The debugger's points are not the ones of last time: decoded code and the TLB know the old. */
static void prepare_points(struct vcpu *v)
{
	const struct machine_debug *d = &v->machine->debug;

	if (v->debug.breaks != d->breaks)
		code_forget_all(v);
	if (v->debug.watches != d->watches)
		mmu_update_watchpoints(v);
	v->debug.breaks = d->breaks;
	v->debug.watches = d->watches;
}

/* What a stop of the debugger's came before. */
static void take_up(struct vcpu *v)
{
	prepare_points(v);
	if (v->pending_db && !v->event.valid)
		debug_trap_check(v);
}

static int interp_run(struct vcpu *v, struct error *err)
{
	struct interp *in = interp_of(v);
	jmp_buf landing;

	in->err = err;
	v->unwind = &landing;
	v->cur = &in->none;
	vcpu_at(v, PLACE_CODE);
	simd_enter(v);
	mmu_update_view(v);
	mmu_enter(v);
	if (setjmp(landing)) {
		bool alive = landed(v);
		vcpu_at(v, PLACE_CODE);
		end_quantum(v);
		if (!alive) {
			machine_end(v->machine, END_TRIPLE_FAULT, 0);
			v->event.valid = false;
			v->halted = true;
		}
		in->delivering = false;
	} else {
		take_up(v);
	}
	while (!v->debug.stop && events_take(v)) {
		if (v->event.valid)
			deliver(v);
		else if (v->halted || v->wait_sipi)
			wait_event(v);
		else
			go(v);
	}
	mmu_leave(v);
	simd_leave(v);
	flags_settle(v);
	v->unwind = NULL;
	vcpu_at(v, PLACE_AWAY);
	return 0;
}

/* ---- the engine ---- */

static int interp_probe(struct error *why)
{
	(void)why;
	return 0;
}

static void interp_destroy(struct vcpu *v)
{
	struct interp *in = interp_of(v);

	if (!in)
		return;
	code_destroy(v);
	if (in->tracer)
		tracer_close(in->tracer);
	free(v->shapes);
	v->shapes = NULL;
	free(in);
	v->engine = NULL;
	mmu_destroy(v);
}

static int interp_create(struct vcpu *v, struct error *err)
{
	const struct machine_config *config = &v->machine->config;
	struct interp *in = calloc(1, sizeof(*in));

	if (!in)
		return error_set(err, ENOMEM, "no memory for the interpreter of CPU %u", v->id);
	v->engine = in;
	v->shapes = insn_shapes_create();
	v->cur = &in->none;
	in->none.base = in->none.index = SLOT_ZERO;
	in->deterministic = config->deterministic;
	in->base_insns = clock_now(v->machine->clock);
	int r = v->shapes ? mmu_create(v, err) : error_set(err, ENOMEM, "no memory for the decoder of CPU %u", v->id);
	if (!r)
		r = code_create(v, err);
	if (!r && config->trace && !(in->tracer = tracer_open(v, config->trace, err)))
		r = err->code;
	if (r)
		interp_destroy(v);
	return r;
}

static const struct vcpu_ops interp_vcpu_ops = {
	.create = interp_create,
	.destroy = interp_destroy,
	.run = interp_run,
	.memory_changed = mmu_memory_changed,
	.debugs = true,
};

const struct engine engine_interp = {
	.name = "interp",
	.technique = "hosted interpretation",
	.summary = "every instruction is stepped through in software; runs anywhere, the reference for the others",
	.probe = interp_probe,
	.limit_features = simd_host_features,
	.vcpu = &interp_vcpu_ops,
	.each_instruction = true,
};
