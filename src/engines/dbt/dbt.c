/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The translator's loop: events, interrupts and exceptions between stretches of generated code, and single instructions by
 * src/emulate while a trap flag, a breakpoint or the shadow of STI asks for a look after each.
 */
#include "engines/dbt/dbt.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "emulate/debug.h"
#include "emulate/vector.h"
#include "engines/dbt/check.h"
#include "engines/dbt/count.h"
#include "engines/dbt/region.h"

/* ---- the loop ---- */

static void deliver(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);

	if (unlikely(d->check))
		check_begin(v, &v->event);
	d->first = v->event;
	d->delivering = true;
	/* Takes an instruction's time, so that a guest whose handlers fault at once still meets its timers. */
	count_pass(v, clock_now(v->machine->clock) + 1);
	vcpu_at(v, PLACE_DELIVER);
	deliver_event(v);
	vcpu_at(v, PLACE_LOOP);
	d->delivering = false;
	debug_step_done(v);
	if (d->tracer)
		tracer_event(d->tracer, v, &d->first);
	if (unlikely(d->check))
		check_end(v);
}

void dbt_unwound(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);

	if (d->quantum) {
		count_unwound(v);
		count_end(v);
	}
	v->cur = &d->none;
	v->stop_now = false;
}

/* A fault unwound. false: it was the third. */
static bool landed(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);

	dbt_unwound(v);
	vcpu_at(v, PLACE_LOOP);
	v->debug.stop = STOP_NONE; /* a watchpoint that a faulting instruction touched: it will again */
	if (v->event.type == EVENT_EXCEPTION)
		v->stats.exc[v->event.vector & 31]++;
	return !d->delivering || combine_exceptions(v, &d->first);
}

/* An NMI that waits for the IRET of the one before would have generated code leave at once, again and again. */
static bool must_step(const struct vcpu *v)
{
	if (unlikely(v->nmi_blocked) && (atomic_load(&v->events) & EV_NMI))
		return true;
	if (unlikely(v->debug.step || v->debug.pass || dbt_of(v)->at_break))
		return true;
	return unlikely(v->shadow || (v->rflags & FL_TF) || debug_breakpoints_on(v) || dbt_of(v)->tracer);
}

static void step(struct vcpu *v)
{
	struct tracer *tracer = dbt_of(v)->tracer;
	struct insn *i = &dbt_of(v)->single;
	bool trap = v->rflags & FL_TF;
	u64 from = v->rip, gla = code_linear(v, v->rip);
	u8 bytes[15];

	dbt_of(v)->stats->steps++;
	if (debug_breakpoints_on(v) && debug_code_breakpoint(v))
		vcpu_raise(v, EXC_DB);
	v->shadow = false;
	if (v->code_size == CODE_64 ? !is_canonical(gla) : v->rip > v->seg[SEG_CS].limit)
		vcpu_raise_error(v, EXC_GP, 0);
	if (tracer)
		tracer_before(tracer, v);
	code_decode_at_rip(v, i, bytes);
	v->cur = i;
	vcpu_at(v, PLACE_EMULATE);
	op_exec[i->op](v, i);
	vcpu_at(v, PLACE_LOOP);
	if (!(i->flags & INSN_END))
		v->rip = vcpu_next_rip(v, i);
	if (tracer)
		tracer_after(tracer, v);
	if (dbt_of(v)->counts && !count_paused(v, i, from)) {
		v->stats.insns++;
		count_pass(v, clock_now(v->machine->clock) + 1);
	}
	if (trap)
		debug_single_step(v, from);
	debug_step_done(v);
}

/* False: there is no translation, or none that may run. */
static bool run_generated(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);
	u32 f = flags_get(v);

	if (unlikely(d->flush_wanted))
		cache_flush(v);
	flags_lazy(v, FLAGS_LAHF, 8, (s64)((f & 0xff) << 8 | (f & FL_OF ? 1 : 0)), 0);
	u64 code = dbt_find(v);
	if (code == d->to.leave)
		return false;
	vcpu_at(v, PLACE_CODE);
	((void (*)(u64))d->to.enter)(code);
	vcpu_at(v, PLACE_LOOP);
	return true;
}

/* Up to `most` instructions, or the first ones that go together though they are more; what does not fit before the next timer
 * is not run. */
static bool run_counted(struct vcpu *v, u64 most)
{
	static const u64 longest[] = { BLOCK_INSNS, REGION_INSNS };
	bool whole = count_begin(v, most), runs = run_generated(v);

	if (count_end(v))
		return true;
	for (unsigned k = 0; k < ARRAY_SIZE(longest) && runs && whole; k++) {
		if (longest[k] <= most)
			continue;
		whole = count_begin(v, longest[k]);
		runs = run_generated(v);
		if (count_end(v))
			return true;
	}
	return false;
}

static void advance(struct vcpu *v, u64 most, bool steps)
{
	struct dbt *d = dbt_of(v);

	d->at_break = false; /* what is no breakpoint after all is stepped over */
	if (unlikely(steps) || (!(d->counts ? run_counted(v, most) : run_generated(v)) && !d->at_break))
		step(v);
	v->cur = &dbt_of(v)->none;
	v->stop_now = false;
	if (unlikely(v->pending_db) && !v->debug.stop)
		debug_trap_check(v);
}

static void go(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);

	bool steps = must_step(v);

	if (unlikely(steps) && debug_stops_at_breakpoint(v)) {
		d->at_break = false;
		return;
	}
	if (unlikely(d->check))
		check_begin(v, NULL);
	advance(v, d->check ? check_stretch(v) : COUNT_QUANTUM, steps);
	if (unlikely(d->check))
		check_end(v);
}

void dbt_advance(struct vcpu *v, u64 most)
{
	advance(v, most, must_step(v));
}

/* The debugger's points are not the ones of last time; and what a stop of its came before. */
static void take_up(struct vcpu *v)
{
	const struct machine_debug *d = &v->machine->debug;

	if (v->debug.breaks != d->breaks)
		cache_flush(v);
	if (v->debug.watches != d->watches)
		mmu_update_watchpoints(v);
	v->debug.breaks = d->breaks;
	v->debug.watches = d->watches;
	if (v->pending_db && !v->event.valid)
		debug_trap_check(v);
}

static int dbt_run(struct vcpu *v, struct error *err)
{
	struct dbt *d = dbt_of(v);
	jmp_buf landing;

	if (syscall(SYS_arch_prctl, ARCH_SET_GS, v))
		return error_set(err, errno, "cannot set the GS base");
	v->unwind = &landing;
	v->cur = &d->none;
	vcpu_at(v, PLACE_LOOP);
	simd_enter(v);
	mmu_update_view(v);
	mmu_enter(v);
	if (unlikely(d->check))
		check_enter(v);
	if (setjmp(landing)) {
		bool alive = landed(v);
		if (!alive) {
			machine_end(v->machine, END_TRIPLE_FAULT, 0);
			v->event.valid = false;
			v->halted = true;
		}
		d->delivering = false;
		if (unlikely(d->check))
			check_end(v);
	} else {
		take_up(v);
	}
	while (!v->debug.stop && !(d->check && check_failed(v)) && events_take(v)) {
		if (v->event.valid) {
			deliver(v);
		} else if (v->halted || v->wait_sipi) {
			v->stats.halts++;
			mmu_leave(v);
			machine_wait(v);
			mmu_enter(v);
		} else {
			go(v);
		}
	}
	mmu_leave(v);
	simd_leave(v);
	flags_settle(v);
	v->unwind = NULL;
	vcpu_at(v, PLACE_AWAY);
	return unlikely(d->check) ? check_leave(v, err) : 0;
}

/* ---- the engine ---- */

static bool lahf_in_long_mode(void)
{
	unsigned a, b, c = 0, d;

	return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & 1);
}

static int dbt_probe(struct error *why)
{
	if (!lahf_in_long_mode())
		return error_set(why, ENODEV, "the host CPU lacks LAHF in 64-bit code");
	return 0;
}

static void host_features(struct dbt *d)
{
	const struct {
		bool has;
		enum feature f;
	} optional[] = {
		{ __builtin_cpu_supports("popcnt"), FEAT_POPCNT }, { __builtin_cpu_supports("bmi"), FEAT_BMI1 },
		{ __builtin_cpu_supports("bmi2"), FEAT_BMI2 },	   { __builtin_cpu_supports("lzcnt"), FEAT_LZCNT },
		{ __builtin_cpu_supports("movbe"), FEAT_MOVBE },   { __builtin_cpu_supports("adx"), FEAT_ADX },
		{ __builtin_cpu_supports("sse4.2"), FEAT_SSE42 },  { __builtin_cpu_supports("cmpxchg16b"), FEAT_CX16 },
	};

	d->host_features[0] = d->host_features[1] = ~0ull;
	simd_host_features(d->host_features);
	for (unsigned k = 0; k < ARRAY_SIZE(optional); k++)
		if (!optional[k].has)
			d->host_features[optional[k].f / 64] &= ~BIT(optional[k].f % 64);
	d->ymm = __builtin_cpu_supports("avx");
	d->bmi2 = __builtin_cpu_supports("bmi2");
}

static void dbt_destroy(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);

	if (!d)
		return;
	check_destroy(v);
	tell_close(d);
	cache_destroy(v);
	if (d->tracer)
		tracer_close(d->tracer);
	free(v->shapes);
	v->shapes = NULL;
	free(d->tr);
	free(d->finder);
	free(d->region);
	free(d);
	v->engine = NULL;
	mmu_destroy(v);
}

static int dbt_create(struct vcpu *v, struct error *err)
{
	const char *trace = v->machine->config.trace;
	struct dbt *d = calloc(1, sizeof(*d));

	if (!d)
		return error_set(err, ENOMEM, "no memory for the translator of CPU %u", v->id);
	v->engine = d;
	if (!v->engine_stats)
		v->engine_stats = calloc(1, sizeof(*d->stats));
	d->stats = v->engine_stats;
	v->shapes = insn_shapes_create();
	d->tr = tr_create();
	d->finder = finder_create();
	d->region = code_region_create();
	if (!d->stats || !v->shapes || !d->tr || !d->finder || !d->region) {
		dbt_destroy(v);
		return error_set(err, ENOMEM, "no memory for the translator of CPU %u", v->id);
	}
	v->cur = &d->none;
	d->none.base = d->none.index = SLOT_ZERO;
	host_features(d);
	d->heat = HEAT;
	d->counts = v->machine->config.deterministic;
	int r = mmu_create(v, err);
	if (!r)
		r = cache_create(v, err);
	if (!r && trace && !(d->tracer = tracer_open(v, trace, err)))
		r = err->code;
	if (!r)
		r = tell_open(v, err);
	if (!r && v->machine->config.check) {
		d->exact_flags = true;
		d->heat = CHECK_HEAT;
		r = check_create(v, err);
	}
	if (r)
		dbt_destroy(v);
	return r;
}

void dbt_test_mode(struct vcpu *v, unsigned heat)
{
	dbt_of(v)->exact_flags = true;
	dbt_of(v)->heat = (s32)heat;
}

static const struct vcpu_ops dbt_vcpu_ops = {
	.create = dbt_create,
	.destroy = dbt_destroy,
	.run = dbt_run,
	.memory_changed = mmu_memory_changed,
	.debugs = true,
};

const struct engine engine_dbt = {
	.name = "dbt",
	.technique = "direct execution with dynamic binary translation",
	.summary = "guest code is rewritten, x86-64 to x86-64, so that sensitive instructions call the VMM",
	.probe = dbt_probe,
	.limit_features = simd_host_features,
	.vcpu = &dbt_vcpu_ops,
	.checks = true,
	.tells = true,
	.each_instruction = true,
	.stats = dbt_stats,
};
