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
	struct dbt_cpu *c = cpu_of(v);

	if (unlikely(c->check))
		check_begin(v, &v->event);
	c->first = v->event;
	c->delivering = true;
	/* Takes an instruction's time, so that a guest whose handlers fault at once still meets its timers. */
	count_pass(v, clock_now(v->machine->clock) + 1);
	vcpu_at(v, PLACE_DELIVER);
	deliver_event(v);
	vcpu_at(v, PLACE_LOOP);
	c->delivering = false;
	debug_step_done(v);
	if (c->tracer)
		tracer_event(c->tracer, v, &c->first);
	if (unlikely(c->check))
		check_end(v);
}

void dbt_unwound(struct vcpu *v)
{
	struct dbt_cpu *c = cpu_of(v);

	if (c->quantum) {
		count_unwound(v);
		count_end(v);
	}
	v->cur = &c->none;
	v->stop_now = false;
}

/* A fault unwound. false: it was the third. */
static bool landed(struct vcpu *v)
{
	struct dbt_cpu *c = cpu_of(v);

	dbt_unwound(v);
	vcpu_at(v, PLACE_LOOP);
	v->debug.stop = STOP_NONE; /* a watchpoint that a faulting instruction touched: it will again */
	if (v->event.type == EVENT_EXCEPTION)
		v->stats.exc[v->event.vector & 31]++;
	return !c->delivering || combine_exceptions(v, &c->first);
}

/* An NMI that waits for the IRET of the one before would have generated code leave at once, again and again. */
static bool must_step(const struct vcpu *v)
{
	if (unlikely(v->nmi_blocked) && (atomic_load(&v->events) & EV_NMI))
		return true;
	if (unlikely(v->debug.step || v->debug.pass || cpu_of(v)->at_break))
		return true;
	return unlikely(v->shadow || (v->rflags & FL_TF) || debug_breakpoints_on(v) || cpu_of(v)->tracer);
}

static void step(struct vcpu *v)
{
	struct tracer *tracer = cpu_of(v)->tracer;
	struct insn *i = &cpu_of(v)->single;
	bool trap = v->rflags & FL_TF;
	u64 from = v->rip, gla = code_linear(v, v->rip);
	u8 bytes[15];

	cpu_of(v)->stats->steps++;
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
	struct dbt_cpu *c = cpu_of(v);
	u32 f = flags_get(v);

	pass(v);
	flags_lazy(v, FLAGS_LAHF, 8, (s64)((f & 0xff) << 8 | (f & FL_OF ? 1 : 0)), 0);
	u64 code = dbt_find(v);
	if (code == c->dbt->to.leave)
		return false;
	vcpu_at(v, PLACE_CODE);
	((void (*)(u64))c->dbt->to.enter)(code);
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
	struct dbt_cpu *c = cpu_of(v);

	c->at_break = false; /* what is no breakpoint after all is stepped over */
	if (unlikely(steps) || (!(c->dbt->counts ? run_counted(v, most) : run_generated(v)) && !c->at_break))
		step(v);
	v->cur = &cpu_of(v)->none;
	v->stop_now = false;
	if (unlikely(v->pending_db) && !v->debug.stop)
		debug_trap_check(v);
}

static void go(struct vcpu *v)
{
	struct dbt_cpu *c = cpu_of(v);

	bool steps = must_step(v);

	if (unlikely(steps) && debug_stops_at_breakpoint(v)) {
		c->at_break = false;
		return;
	}
	if (unlikely(c->check))
		check_begin(v, NULL);
	advance(v, c->check ? check_stretch(v) : COUNT_QUANTUM, steps);
	if (unlikely(c->check))
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

	cache_breaks_changed(v);
	if (v->debug.watches != d->watches)
		mmu_update_watchpoints(v);
	v->debug.breaks = d->breaks;
	v->debug.watches = d->watches;
	if (v->pending_db && !v->event.valid)
		debug_trap_check(v);
}

static int dbt_run(struct vcpu *v, struct error *err)
{
	struct dbt_cpu *c = cpu_of(v);
	jmp_buf landing;

	if (syscall(SYS_arch_prctl, ARCH_SET_GS, v))
		return error_set(err, errno, "cannot set the GS base");
	v->unwind = &landing;
	v->cur = &c->none;
	vcpu_at(v, PLACE_LOOP);
	simd_enter(v);
	mmu_update_view(v);
	mmu_enter(v);
	pass_enter(v);
	if (unlikely(c->check))
		check_enter(v);
	if (setjmp(landing)) {
		bool alive = landed(v);
		if (!alive) {
			machine_end(v->machine, END_TRIPLE_FAULT, 0);
			v->event.valid = false;
			v->halted = true;
		}
		c->delivering = false;
		if (unlikely(c->check))
			check_end(v);
	} else {
		take_up(v);
	}
	while (!v->debug.stop && !(c->check && check_failed(v)) && events_take(v)) {
		if (v->event.valid) {
			deliver(v);
		} else if (v->halted || v->wait_sipi) {
			v->stats.halts++;
			mmu_leave(v);
			pass_leave(v);
			machine_wait(v);
			pass_enter(v);
			mmu_enter(v);
		} else {
			go(v);
		}
	}
	mmu_leave(v);
	pass_leave(v);
	simd_leave(v);
	flags_settle(v);
	v->unwind = NULL;
	vcpu_at(v, PLACE_AWAY);
	return unlikely(c->check) ? check_leave(v, err) : 0;
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

static struct dbt *dbt_new(const struct machine *m)
{
	struct dbt *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	pthread_mutex_init(&d->lock, NULL);
	d->map_fd = -1;
	host_features(d);
	d->counts = m->config.deterministic;
	d->exact_flags = m->config.check;
	d->heat = m->config.check ? CHECK_HEAT : HEAT;
	return d;
}

/* The machine's, which is made with its first vCPU. */
static int join(struct vcpu *v, struct error *err)
{
	struct machine *m = v->machine;
	struct dbt_cpu *c = cpu_of(v);
	int r = 0;

	pthread_mutex_lock(&m->lock);
	c->dbt = m->engine;
	if (!c->dbt) {
		c->dbt = m->engine = dbt_new(m);
		if (c->dbt)
			cache_create(v, &c->dbt->failed);
	}
	if (c->dbt) {
		c->dbt->users++;
		c->dbt->cpu[v->id] = c;
		r = c->dbt->failed.code;
		if (r)
			*err = c->dbt->failed;
	} else {
		r = error_set(err, ENOMEM, "no memory for the translator");
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

static void part(struct vcpu *v)
{
	struct machine *m = v->machine;
	struct dbt_cpu *c = cpu_of(v);
	struct dbt *d = c->dbt;

	if (!d)
		return;
	pthread_mutex_lock(&m->lock);
	area_destroy(v);
	d->cpu[v->id] = NULL;
	if (--d->users == 0) {
		cache_destroy(v);
		if (c->stats)
			c->stats->cache = d->stats;
		pthread_mutex_destroy(&d->lock);
		free(d);
		m->engine = NULL;
	}
	pthread_mutex_unlock(&m->lock);
}

static void dbt_destroy(struct vcpu *v)
{
	struct dbt_cpu *c = cpu_of(v);

	if (!c)
		return;
	check_destroy(v);
	part(v);
	if (c->tracer)
		tracer_close(c->tracer);
	free(v->shapes);
	v->shapes = NULL;
	free(c);
	v->engine = NULL;
	mmu_destroy(v);
}

static int make(struct vcpu *v, struct error *err)
{
	const char *trace = v->machine->config.trace;
	struct dbt_cpu *c = cpu_of(v);
	int r = mmu_create(v, err);

	r = r ? r : join(v, err);
	r = r ? r : area_create(v, err);
	if (r)
		return r;
	words_of(v)->self = (u64)v;
	mmu_set_hooks(v, &cache_hooks);
	if (trace && !(c->tracer = tracer_open(v, trace, err)))
		return err->code;
	return v->machine->config.check ? check_create(v, err) : 0;
}

static int dbt_create(struct vcpu *v, struct error *err)
{
	struct dbt_cpu *c = calloc(1, sizeof(*c));

	if (!c)
		return error_set(err, ENOMEM, "no memory for the translator of CPU %u", v->id);
	v->engine = c;
	if (!v->engine_stats)
		v->engine_stats = calloc(1, sizeof(*c->stats));
	c->stats = v->engine_stats;
	c->away = true;
	v->shapes = insn_shapes_create();
	if (!c->stats || !v->shapes) {
		dbt_destroy(v);
		return error_set(err, ENOMEM, "no memory for the translator of CPU %u", v->id);
	}
	v->cur = &c->none;
	c->none.base = c->none.index = SLOT_ZERO;
	int r = make(v, err);
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
	.memory_changed = cache_memory_changed,
	.debugs = true,
};

const struct engine engine_dbt = {
	.name = "dbt",
	.technique = "direct execution with dynamic binary translation",
	.summary = "guest code is rewritten, x86-64 to x86-64, so that sensitive instructions call the VMM",
	.probe = dbt_probe,
	.limit_features = simd_host_features,
	.vcpu = &dbt_vcpu_ops,
	.vcpu_room = AREA_ROOM,
	.checks = true,
	.tells = true,
	.each_instruction = true,
	.stats = dbt_stats,
};
