/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sextant run: from options to a machine, from the machine's end to an exit status. Parts are made in the order of struct
 * run and released in the opposite one, whichever step failed.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd/run.h"
#include "engines/engine.h"
#include "host/terminal.h"
#include "util/cleanup.h"

#define STATUS_TRIPLE_FAULT 3
#define STATUS_TIMEOUT	    124
#define STATUS_SIGNAL	    128
/* How long a slow reader is waited for after the user or the time limit has ended the run. */
#define DRAIN_MS	    1000

struct run {
	struct run_options o;
	const struct engine *engine, *core; /* the core: whose CPUs it runs on, itself most often */
	struct cpu_model model; /* what was asked for, less what the engine cannot give here */
	char *kernel, *initrd; /* owned */
	struct machine *machine;
	struct terminal *terminal;
	struct run_debug debug;
	struct run_devices devices;
	const struct run_platform *platform;
	bool have_platform;
	struct run_watch watch;
	struct text dump; /* for --dump-block */
	double seconds;
};

static int usage_or_failure(const struct error *err)
{
	say("%s", err->text);
	return err->code == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
}

/* gdb needs an engine that can be debugged: auto takes another then, as what it would have taken is only faster. */
static int check_debugging(struct run *r, struct error *err)
{
	bool chose = !r->o.engine || !strcmp(r->o.engine, "auto");
	const char *name = r->engine->name;

	if (!r->o.gdb || r->core->vcpu->debugs)
		return 0;
	r->core = r->engine = chose ? engine_find("interp", false, err) : NULL;
	if (r->engine)
		return 0;
	say("engine '%s' cannot be debugged by gdb; --engine interp can", name);
	return EXIT_USAGE;
}

/* The names that the options gave: of an engine and of a CPU model. 0 or an exit status. */
static int look_up(struct run *r)
{
	struct error err = { 0 };

	if ((r->o.check || r->o.perf_map || r->o.dumps) && !r->o.engine)
		r->o.engine = "dbt";
	r->engine = engine_find(r->o.engine, r->o.deterministic || r->o.trace || r->o.gdb, &err);
	if (!r->engine)
		return usage_or_failure(&err);
	r->core = engine_core(r->engine);
	if (!r->core->vcpu)
		return 0;
	r->platform = r->engine->platform == ENGINE_XEN ? &run_xen : &run_pc;
	if (r->platform == &run_xen && run_check_xen(&r->o))
		return EXIT_USAGE;
	if (r->o.check && !r->core->checks) {
		say("engine '%s' cannot run in lock-step: --check goes with --engine dbt", r->engine->name);
		return EXIT_USAGE;
	}
	if ((r->o.perf_map || r->o.dumps) && !r->core->tells) {
		say("engine '%s' makes no translations: --perf-map and --dump-block go with --engine dbt",
		    r->engine->name);
		return EXIT_USAGE;
	}
	int unfit = check_debugging(r, &err);
	if (unfit)
		return unfit;
	struct cpu_model asked;
	if (cpu_model_parse(&asked, r->o.cpu, &err)) {
		say("%s", err.text);
		return EXIT_USAGE;
	}
	r->model = asked;
	if (r->core->limit_features)
		r->core->limit_features(r->model.feature);
	if (r->o.verbose && memcmp(r->model.feature, asked.feature, sizeof(asked.feature)) != 0)
		say("CPU model %s with fewer features: this host or engine cannot give them all", asked.name);
	if (r->platform->limit_features) /* as the interface has it: nothing that the user need be told of */
		r->platform->limit_features(r->model.feature);
	return 0;
}

/* Why auto chose what it chose: what it passed over. */
static void say_choice(const struct run *r)
{
	static const char *const preferred[] = { "kvm", "dbt" };
	bool chose = !r->o.engine || !strcmp(r->o.engine, "auto");

	say("engine %s (%s)%s", r->engine->name, r->engine->technique, chose ? ", chosen by auto" : "");
	for (unsigned i = 0; chose && i < ARRAY_SIZE(preferred); i++) {
		struct error why = { 0 };

		if (!strcmp(preferred[i], r->engine->name))
			return;
		if (!engine_find(preferred[i], false, &why))
			say("not %s: %s", preferred[i], why.text);
	}
}

static int find_files(struct run *r, struct error *err)
{
	if (!r->o.kernel) {
		r->kernel = guest_kernel(err);
		if (!r->kernel)
			return -ENOENT;
		r->o.kernel = r->kernel;
	}
	if (r->o.demo) {
		r->initrd = guest_initrd(err);
		if (!r->initrd)
			return -ENOENT;
		r->o.initrd = r->initrd;
	}
	return 0;
}

static int boot(struct run *r, struct error *err)
{
	return run_boot(&r->o, r->platform, r->core->native, r->machine, r->terminal, err);
}

/* machine.boot. Files are read anew: nothing keeps a copy of what the guest has overwritten. */
static int boot_again(void *arg, struct error *err)
{
	struct run *r = arg;

	if (r->platform->reset)
		r->platform->reset(r->machine);
	return boot(r, err);
}

/* A line of the network's, while the guest runs: a terminal of ours is raw then. */
static void net_line(void *run, const char *text)
{
	const struct run *r = run;

	fprintf(stderr, "sextant: %s%s\n", text, terminal_interactive(r->terminal) ? "\r" : "");
}

static void share_lost(void *run, const char *why)
{
	net_line(run, why);
}

/* From any vCPU's thread, a line or more at a time. */
static void write_dump(struct text *t, const char *s, size_t len)
{
	fwrite(s, 1, len, stderr);
}

static int build(struct run *r, struct error *err)
{
	struct machine_config mc = { .ram_size = r->platform->ram_size ? r->platform->ram_size(r->o.mem, r->o.cpus)
								       : r->o.mem,
				     .cpus = r->o.cpus,
				     .model = &r->model,
				     .trace = r->o.trace,
				     .deterministic = r->o.deterministic,
				     .check = r->o.check,
				     .code_cache = r->o.code_cache,
				     .vcpu_room = r->core->vcpu_room,
				     .perf_map = r->o.perf_map,
				     .dump = r->o.dumps ? &r->dump : NULL,
				     .dump_block = r->o.dump_block,
				     .verbose = r->o.verbose,
				     /* The back ends of shares map it. */
				     .private_ram = r->core->native && !r->o.nshares };
	struct terminal_config tc = { .in_fd = STDIN_FILENO,
				      .out_fd = STDOUT_FILENO,
				      .guest_tty = r->o.rootfs,
				      .guest_hvc = r->platform->console };
	struct net_log log = { .line = net_line, .arg = r };
	int e = find_files(r, err);

	if (!e)
		e = run_devices_open(&r->devices, &r->o, err);
	if (e)
		return e;
	r->machine = machine_new(&mc, err);
	if (!r->machine)
		return err->code;
	r->terminal = terminal_new(r->machine, &tc, err);
	if (!r->terminal)
		return err->code;
	e = run_devices_connect(&r->devices, &r->o, r->machine, &log, err);
	if (e)
		return e;
	e = r->platform->create(r->machine, &r->o, &r->devices, r->terminal, share_lost, r, err);
	if (e) {
		run_devices_explain(&r->devices, &r->o, err);
		return e;
	}
	r->have_platform = true;
	r->machine->boot = boot_again;
	r->machine->boot_arg = r;
	e = boot(r, err);
	return e ? e : run_debug_start(&r->debug, &r->o, r->machine, r->terminal, err);
}

static void release(struct run *r)
{
	run_debug_end(&r->debug);
	run_devices_abandon(&r->devices);
	if (r->have_platform)
		r->platform->destroy(r->machine);
	run_devices_close(&r->devices, &r->o);
	terminal_free(r->terminal);
	machine_free(r->machine);
	free(r->kernel);
	free(r->initrd);
	run_rootfs_close(&r->o);
	free(r->o.own_append);
	free(r->o.own_gdb);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int start(struct run *r, struct error *err)
{
	double began;
	int e;

	r->watch =
		(struct run_watch){ .machine = r->machine, .terminal = r->terminal, .signal_fd = -1, .timer_fd = -1 };
	e = run_watch_start(&r->watch, r->o.timeout, err);
	if (!e) {
		began = now();
		terminal_enter(r->terminal);
		e = machine_run(r->machine, r->core->vcpu, err);
		r->seconds = now() - began;
	}
	terminal_restore(r->terminal);
	run_watch_stop(&r->watch);
	return e;
}

/*
 * Linux unpacks its root into memory, of which it takes half at most, while it still has what it unpacks: three times the size,
 * and what it needs itself. Where that is not there it ends before anybody can say why.
 */
static u64 memory_wanted(const struct run *r)
{
	return ((3 * r->o.root.packed >> 20) + 96 + 63) & ~63ull;
}

/* With --rootfs the status is CMD's; a guest that ended without telling one has failed. */
static int guest_status(const struct run *r)
{
	int status;

	if (!r->o.rootfs)
		return 0;
	status = r->platform->guest_status(r->machine);
	if (status >= 0)
		return status;
	if (memory_wanted(r) > r->o.mem >> 20)
		say("the guest ended before its command did: its root file system is large; try --mem %lluM",
		    (unsigned long long)memory_wanted(r));
	else
		say("the guest ended before its command did");
	return EXIT_FAILURE;
}

static int ended_from_outside(const struct run *r)
{
	if (r->watch.signal)
		return STATUS_SIGNAL + r->watch.signal;
	if (terminal_broken(r->terminal)) {
		say("standard output was closed");
		return EXIT_FAILURE;
	}
	return guest_status(r); /* with --rootfs, CMD has not ended */
}

static int crashed(const struct run *r)
{
	const char *why = r->platform->crash_reason ? r->platform->crash_reason(r->machine) : NULL;

	/* A panic of the kernel's, which elsewhere is a reboot. */
	if (r->o.rootfs && !why && r->platform->guest_status(r->machine) < 0)
		return guest_status(r);
	say("the guest has crashed%s%s", why ? ": " : "", why ? why : "");
	return STATUS_TRIPLE_FAULT;
}

static int exit_status(const struct run *r)
{
	switch (r->machine->end) {
	case END_POWEROFF:
	case END_REBOOT: return guest_status(r);
	case END_TRIPLE_FAULT: say("the guest has triple-faulted"); return STATUS_TRIPLE_FAULT;
	case END_CRASHED: return crashed(r);
	case END_DEBUG_EXIT: return (r->machine->end_status << 1 | 1) & 0xff;
	case END_TIMEOUT: say("the time limit of %g s has ended the run", r->o.timeout); return STATUS_TIMEOUT;
	case END_USER: return ended_from_outside(r);
	default: say("%s", r->machine->end_error.text); return EXIT_FAILURE;
	}
}

static void stats_line(const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say("%s", text);
}

static void finish(struct run *r)
{
	bool cut = r->machine->end == END_TIMEOUT || r->machine->end == END_USER;

	terminal_drain(r->terminal, cut ? DRAIN_MS : -1);
	if (!r->o.verbose)
		return;
	run_stats(r->machine, r->seconds);
	if (r->core->stats)
		r->core->stats(r->machine, stats_line);
	if (r->platform->stats)
		r->platform->stats(r->machine, stats_line);
}

static int run_main(const struct command *self, int argc, char **argv)
{
	struct run r = { .dump = { .write = write_dump } };
	struct error err = { 0 };
	int status = run_parse(self, argc, argv, &r.o);

	if (!status)
		status = look_up(&r);
	if (!status && !r.core->vcpu)
		status = run_container_seal(argc, argv); /* first: it may start us again */
	if (!status)
		status = run_rootfs_open(&r.o, !r.core->vcpu);
	if (status) {
		release(&r);
		return status;
	}
	if (r.o.verbose)
		say_choice(&r);
	if (!r.core->vcpu) { /* in what run_rootfs_open() has prepared */
		status = run_container(&r.o);
		release(&r);
		return status;
	}
	if (build(&r, &err)) {
		say("%s", err.text);
		status = EXIT_FAILURE;
	} else if (start(&r, &err)) {
		terminal_drain(r.terminal, DRAIN_MS);
		say("%s", err.text);
		if (r.machine->report)
			fputs(r.machine->report, stderr);
		status = EXIT_FAILURE;
	} else {
		finish(&r);
		status = exit_status(&r);
	}
	run_debug_exited(&r.debug, status);
	release(&r);
	return status;
}

const struct command cmd_run = { "run", "run a guest", &run_argp, run_main };
