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

#include "emulate/vector.h"
#include "engines/interp/interp-internal.h"
#include "machine/control.h"

/* ---- events ---- */

static void begin_event(struct vcpu *v, u8 type, u8 vector)
{
	v->event = (struct cpu_event){ .valid = true, .vector = vector, .type = type };
	v->halted = false;
}

static void take_interrupt(struct vcpu *v)
{
	const struct intc_ops *ops = v->machine->intc;

	atomic_fetch_and(&v->events, ~EV_INTR);
	int vector = ops ? ops->acknowledge(v) : -1;
	if (vector < 0)
		return;
	if (ops->pending(v))
		atomic_fetch_or(&v->events, EV_INTR);
	v->stats.intr++;
	v->stats.vec[vector & 255]++;
	begin_event(v, EVENT_EXTINT, (u8)vector);
}

/* One is taken; another that came as early is latched. */
static void take_nmi(struct vcpu *v)
{
	atomic_fetch_and(&v->events, ~EV_NMI);
	if (atomic_exchange(&v->nmis, 0) > 1)
		vcpu_nmi(v);
	v->stats.vec[EXC_NMI]++;
	begin_event(v, EVENT_NMI, EXC_NMI);
}

static void take_sipi(struct vcpu *v)
{
	atomic_fetch_and(&v->events, ~EV_SIPI);
	if (!v->wait_sipi)
		return;
	u32 vector = atomic_load(&v->sipi_vector) & 0xff;
	v->wait_sipi = false;
	v->seg[SEG_CS].selector = (u16)(vector << 8);
	v->seg[SEG_CS].base = (u64)vector << 12;
	v->rip = 0;
}

/* A debugger's step takes no interrupt, so that it ends at the next instruction; a halt ends by nothing else. */
static bool step_holds_off(const struct vcpu *v)
{
	return v->debug.step && !v->machine->debug.step_interrupts && !v->halted;
}

/* Between instructions, in the order of SDM vol. 3 table 6-2. false: leave run(). */
static bool handle_events(struct vcpu *v)
{
	u32 events = atomic_load(&v->events);

	if (events & EV_STOP) {
		atomic_fetch_and(&v->events, ~EV_STOP);
		return false;
	}
	if (events & EV_TLB) {
		atomic_fetch_and(&v->events, ~EV_TLB);
		mmu_flush_all(v);
	}
	if (events & EV_CODE) {
		atomic_fetch_and(&v->events, ~EV_CODE);
		mmu_take_code_mail(v);
		v->stop_now = false;
	}
	if (events & EV_WRITES) {
		atomic_fetch_and(&v->events, ~EV_WRITES);
		mmu_drop_writes(v);
	}
	if (events & EV_TIMER) /* the quantum is over, which is what it asks for: the next ends at the new deadline */
		atomic_fetch_and(&v->events, ~EV_TIMER);
	if (events & EV_INIT) {
		atomic_fetch_and(&v->events, ~EV_INIT);
		vcpu_init_signal(v);
		mmu_flush_all(v);
	}
	if (events & EV_SIPI)
		take_sipi(v);
	if (v->wait_sipi || v->shadow || step_holds_off(v))
		return true;
	if (events & EV_NMI && v->nmi_blocked && atomic_load(&v->nmis) > 1)
		atomic_store(&v->nmis, 1);
	if ((events & EV_NMI) && !v->nmi_blocked) {
		take_nmi(v);
	} else if ((events & EV_INTR) && (v->rflags & FL_IF)) {
		take_interrupt(v);
	}
	return true;
}

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

static void step_done(struct vcpu *v)
{
	if (unlikely(v->debug.step) && !v->debug.stop)
		v->debug.stop = STOP_STEP;
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
	step_done(v);
	if (in->tracer)
		tracer_event(in->tracer, v);
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

/* Before an instruction that is stepped. Whatever is no breakpoint after all is stepped as well. */
static bool stops_at_breakpoint(struct vcpu *v)
{
	const struct machine *m = v->machine;
	bool passes = v->debug.step || v->debug.pass;

	v->debug.pass = interp_of(v)->at_break = false;
	if (passes || !m->debug.breaks || !machine_breaks_at(m, code_linear(v, v->rip)))
		return false;
	v->debug.stop = STOP_BREAK;
	return true;
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
	step_done(v);
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

	if (unlikely(steps) && stops_at_breakpoint(v))
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
	simd_enter(v);
	mmu_update_view(v);
	mmu_enter(v);
	if (setjmp(landing)) {
		bool alive = landed(v);
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
	while (!v->debug.stop && handle_events(v)) {
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
	v->cur = &in->none;
	in->none.base = in->none.index = SLOT_ZERO;
	in->deterministic = config->deterministic;
	in->base_insns = clock_now(v->machine->clock);
	int r = mmu_create(v, err);
	if (!r)
		r = code_create(v, err);
	if (!r && config->trace && !(in->tracer = tracer_open(v, config->trace, err)))
		r = err->code;
	if (r)
		interp_destroy(v);
	return r;
}

static void interp_memory_changed(struct vcpu *v, u64 gpa, u64 len)
{
	for (u64 end = gpa + len, next; gpa < end; gpa = next) {
		const u8 *host = ram_ptr(v->machine, gpa, 1);

		next = MIN(end, (gpa | ~PAGE_MASK) + 1);
		if (host && (atomic_load(&v->machine->code_cpus[ram_page_index(v->machine, host)]) & BIT(v->id)))
			mmu_mail_code(v, ram_page_index(v->machine, host), gpa & ~PAGE_MASK, (unsigned)(next - gpa));
	}
}

static const struct vcpu_ops interp_vcpu_ops = {
	.create = interp_create,
	.destroy = interp_destroy,
	.run = interp_run,
	.memory_changed = interp_memory_changed,
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
