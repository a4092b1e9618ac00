/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz-guest [-n RUNS] [-s SEED] [-c CPUS] [-e ENGINE] [-v]: hostile guests, best under the sanitizers.
 *
 * Each run makes a PC whose RAM is random code and tables, sets a vCPU into a random legal mode, lets it run for a bounded
 * virtual time, a few times over as guests of this kind die young, and takes all apart. It must come back. One CPU of the
 * interpreter: deterministic, so that -s SEED -n 1 repeats the run that a failure names. Others race in real time.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emulate/emulate.h"
#include "engines/engine.h"
#include "fuzz.h"
#include "platform/pc/pc.h"

#define ROUNDS	      12
#define ROUND_NSEC    20000 /* instructions */
#define RACE_NSEC     20000000
#define HANG_SECONDS  120
#define SERIES_LENGTH 64 /* seeds that share a pool of code */

static char current[64];
static const struct engine *engine;

u64 rnd(struct fuzz_random *r)
{
	u64 z = r->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

u64 nasty(struct fuzz_random *r, u64 ram_size)
{
	static const u64 places[] = {
		0,	 0xfee00000, 0xfec00000, 0xfffff,  0x100000,	0xfffffff0, 0xffffffff,
		BIT(31), BIT(32),    BIT(63),	 ~0ull,	   BIT(47) - 8, 0x7fffffff, TABLES,
		GDT_AT,	 IDT_AT,     TSS_AT,	 XSAVE_AT, 0xb8000,	0xffff,	    0xffffffffffff0000
	};

	switch (below(r, 8)) {
	case 0: return places[below(r, ARRAY_SIZE(places))] + below(r, 32) - 16;
	case 1: return below(r, 256);
	case 2: return (1 + below(r, ram_size >> PAGE_SHIFT)) * PAGE_SIZE - below(r, 40);
	case 3: return ram_size - below(r, 64);
	default: return below(r, ram_size);
	}
}

static void hangs(int sig)
{
	static const char text[] = " hangs\n";

	if (write(2, current, strlen(current)) > 0 && write(2, text, sizeof(text) - 1) > 0)
		abort();
	_exit(3);
}

/* A console that sometimes takes nothing. */
static size_t console_write(struct chardev *c, const u8 *data, size_t len)
{
	return data[0] & 1 ? len : len / 2;
}
static void console_resume(struct chardev *c)
{
}
static const struct chardev_ops console_ops = { console_write, console_resume };

static void stop_round(void *arg, u64 now)
{
	vcpu_post(arg, EV_STOP);
}

static void end_race(void *arg, u64 now)
{
	machine_end(arg, END_TIMEOUT, 0);
}

/* Virtual time, one machine for many rounds. */
static bool alone(unsigned cpus)
{
	return cpus == 1 && !strcmp(engine->name, "interp");
}

static struct machine *make(struct fuzz_random *r, unsigned cpus, struct cpu_model *model, struct chardev *console)
{
	unsigned models = 0;
	while (cpu_models[models].name)
		models++;
	*model = cpu_models[percent(r, 80) ? 0 : below(r, models)];
	engine->limit_features(model->feature);
	struct machine_config config = { .ram_size = (2 + below(r, 2)) << 20,
					 .cpus = cpus,
					 .model = model,
					 .deterministic = alone(cpus),
					 .vcpu_room = engine->vcpu_room };
	struct pc_config pc = { .console = console, .debug_exit = percent(r, 50) };
	struct error err = { 0 };

	struct machine *m = machine_new(&config, &err);
	if (m && pc_create(m, &pc, &err)) {
		machine_free(m);
		m = NULL;
	}
	if (!m)
		fprintf(stderr, "fuzz-guest: %s\n", err.text);
	return m;
}

/* Only what the engine's owner may do between runs: state, then its consequences. */
static void prepare(struct fuzz_random *r, struct vcpu *v)
{
	enum code_size size;
	enum cpu_mode mode = state_pick_mode(r, &size);

	code_fill(r, v->machine, size);
	tables_fill(r, v->machine, mode >= MODE_COMPAT);
	state_fill(r, v, mode, size);
	v->wait_sipi = false;
}

static bool run_alone(struct fuzz_random *r, struct machine *m)
{
	const struct vcpu_ops *ops = engine->vcpu;
	struct vcpu *v = m->vcpu[0];
	struct timer stop = { .deadline = ~0ull, .fire = stop_round, .arg = v };
	struct error err = { 0 };
	int failed = 0;

	vcpu_set_current(v);
	m->vcpu_ops = ops;
	if (ops->create(v, &err)) {
		fprintf(stderr, "fuzz-guest: %s\n", err.text);
		return false;
	}
	for (unsigned round = 0; round < ROUNDS && !failed; round++) {
		if (round % 4 == 0)
			prepare(r, v);
		else /* the same memory, as the last guest left it */
			state_fill(r, v, (enum cpu_mode)v->mode, (enum code_size)v->code_size);
		ops->memory_changed(v, 0, m->config.ram_size);
		mmu_update_watchpoints(v);
		atomic_fetch_and(&v->events, ~EV_STOP);
		atomic_store(&m->end, END_NONE);
		timer_arm(m->clock, &stop, clock_now(m->clock) + ROUND_NSEC);
		failed = ops->run(v, &err);
		timer_cancel(m->clock, &stop);
	}
	ops->destroy(v);
	vcpu_set_current(NULL);
	return !failed;
}

static bool run_race(struct fuzz_random *r, struct machine *m)
{
	struct timer stop = { .deadline = ~0ull, .fire = end_race, .arg = m };
	struct error err = { 0 };

	for (unsigned k = 0; k < m->config.cpus; k++) {
		enum code_size size = CODE_64;
		if (!k) {
			prepare(r, m->vcpu[0]);
			continue;
		}
		if (m->vcpu[0]->mode != MODE_LONG)
			state_pick_mode(r, &size);
		state_fill(r, m->vcpu[k], (enum cpu_mode)m->vcpu[0]->mode, (enum code_size)m->vcpu[0]->code_size);
		m->vcpu[k]->wait_sipi = percent(r, 10);
	}
	timer_arm(m->clock, &stop, clock_now(m->clock) + RACE_NSEC);
	int failed = machine_run(m, engine->vcpu, &err);
	timer_cancel(m->clock, &stop);
	return !failed;
}

struct totals {
	u64 insns, io, mmio, halts, smc, intr, exc[32];
};

static void count(struct totals *t, const struct machine *m)
{
	for (unsigned k = 0; k < m->config.cpus; k++) {
		const struct vcpu *v = m->vcpu[k];
		t->insns += v->stats.insns;
		t->io += v->stats.exits_io;
		t->mmio += v->stats.exits_mmio;
		t->halts += v->stats.halts;
		t->smc += v->stats.smc;
		t->intr += v->stats.intr;
		for (unsigned e = 0; e < 32; e++)
			t->exc[e] += v->stats.exc[e];
	}
}

static bool run_one(u64 seed, unsigned cpus, struct totals *t)
{
	struct fuzz_random r = { seed };
	struct chardev console = { .ops = &console_ops };
	struct cpu_model model;

	snprintf(current, sizeof(current), "fuzz-guest: seed %llu", (unsigned long long)seed);
	code_pool(seed / SERIES_LENGTH);
	struct machine *m = make(&r, cpus, &model, &console);
	if (!m)
		return false;
	alarm(HANG_SECONDS);
	bool ok = alone(cpus) ? run_alone(&r, m) : run_race(&r, m);
	alarm(0);
	count(t, m);
	pc_destroy(m);
	machine_free(m);
	return ok;
}

int main(int argc, char **argv)
{
	u64 seed = 1, runs = 40;
	unsigned cpus = 1;
	bool verbose = false;
	struct totals t = { 0 };
	const char *name = "interp";
	struct error err;
	int c;

	while ((c = getopt(argc, argv, "n:s:c:e:v")) != -1) {
		switch (c) {
		case 'n': runs = strtoull(optarg, NULL, 0); break;
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'c': cpus = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'e': name = optarg; break;
		case 'v': verbose = true; break;
		default: return 2;
		}
	}
	engine = engine_find(name, false, &err);
	if (!engine)
		return 2;
	signal(SIGALRM, hangs);
	for (u64 k = 0; k < runs; k++) {
		if (verbose)
			fprintf(stderr, "seed %llu\n", (unsigned long long)(seed + k));
		if (!run_one(seed + k, cpus, &t))
			return 1;
	}
	printf("%llu runs: %llu instructions, %llu port and %llu MMIO accesses, %llu halts, %llu stores to code, %llu "
	       "interrupts\n",
	       (unsigned long long)runs, (unsigned long long)t.insns, (unsigned long long)t.io,
	       (unsigned long long)t.mmio, (unsigned long long)t.halts, (unsigned long long)t.smc,
	       (unsigned long long)t.intr);
	for (unsigned e = 0; e < 32; e++)
		if (t.exc[e])
			printf("exception %u: %llu\n", e, (unsigned long long)t.exc[e]);
	return 0;
}
