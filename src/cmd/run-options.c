/* SPDX-License-Identifier: Apache-2.0 */
/* The options of sextant run: what is there, what is checked, what this version does not have. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/run.h"
#include "host/vsock.h"
#include "util/cleanup.h"

enum {
	OPT_ENGINE = 256,
	OPT_CPU,
	OPT_CPUS,
	OPT_MEM,
	OPT_KERNEL,
	OPT_INITRD,
	OPT_APPEND,
	OPT_ROOTFS,
	OPT_EPHEMERAL,
	OPT_ENV,
	OPT_USER,
	OPT_WORKDIR,
	OPT_TIMEOUT,
	OPT_DEBUG_EXIT,
	OPT_DETERMINISTIC,
	OPT_TRACE,
	OPT_GDB,
	OPT_NET,
	OPT_DISK,
	OPT_SHARE,
	OPT_VSOCK,
	OPT_BALLOON,
	OPT_CHECK,
	OPT_CODE_CACHE,
	OPT_PERF_MAP,
	OPT_DUMP_BLOCK,
	OPT_ABSENT /* and what follows: not in this version */
};

#define MEM_DEFAULT   (512ull << 20)
#define MEM_MIN	      (16ull << 20)
#define MEM_MAX	      BIT(GPA_BITS - 1)
#define TIMEOUT_MAX   1e9
#define CHECK_DEFAULT 10000
#define CHECK_MAX     100000000
#define CACHE_MIN     (4ull << 20)

static const struct argp_option options[] = {
	{ "engine", OPT_ENGINE, "NAME", 0,
	  "How to run the guest: auto (the default: kvm, else dbt, else interp) or a name from sextant engines", 1 },
	{ "cpu", OPT_CPU, "MODEL", 0,
	  "CPU model that the guest sees: default, x86-64-v2, x86-64-v3; MODEL,+FEATURE,-FEATURE changes one", 1 },
	{ "cpus", OPT_CPUS, "N", 0, "Number of CPUs (1)", 1 },
	{ "mem", OPT_MEM, "SIZE", 0, "Memory of the guest, with suffix K, M or G (512M)", 1 },
	{ "kernel", OPT_KERNEL, "FILE", 0,
	  "Kernel to boot: a bzImage, an ELF vmlinux, or one with a multiboot header or a PVH note", 2 },
	{ "initrd", OPT_INITRD, "FILE", 0,
	  "Initial RAM file system; for a multiboot kernel its modules: FILE ARGS,FILE ARGS", 2 },
	{ "append", OPT_APPEND, "STRING", 0, "Words for the kernel's command line", 2 },
	{ "rootfs", OPT_ROOTFS, "ROOT", 0,
	  "Run CMD in a guest whose root file system is a copy of ROOT; its status becomes ours. ROOT is a directory, "
	  "or a "
	  "container image: an OCI layout (directory or tar) or what docker save wrote, with :TAG if it has several; "
	  "or snapshot:NAME",
	  2 },
	{ "ephemeral", OPT_EPHEMERAL, NULL, 0,
	  "What a container changes in snapshot:NAME is forgotten, as what any CMD changes elsewhere always is", 2 },
	{ "env", OPT_ENV, "NAME[=VALUE]", 0, "With --rootfs: a variable of CMD's environment; without VALUE the host's",
	  2 },
	{ "user", OPT_USER, "USER[:GROUP]", 0, "With --rootfs: who CMD runs as (the image's user, else root)", 2 },
	{ "workdir", OPT_WORKDIR, "DIR", 0, "With --rootfs: CMD's working directory (the image's, else /)", 2 },
	{ "net", OPT_NET, "NETWORK", 0,
	  "What the network card is connected to: none (the default with --rootfs or --deterministic), "
	  "user[,OPTION...] (the default else), tap=INTERFACE; see sextant(1)",
	  2 },
	{ "share", OPT_SHARE, "TAG=DIR[,ro]", 0,
	  "Give the guest a folder of the host's, as virtio-fs; guests with our init have it at /mnt/TAG", 2 },
	{ "disk", OPT_DISK, "FILE[,OPTION...]", 0,
	  "Give the guest a disk, /dev/vda and so on: an image, a block device or an NBD URI; options: readonly=on, "
	  "snapshot=on, format=F, cache=none, serial=S and what sextant(1) has more",
	  2 },
	{ "vsock", OPT_VSOCK, "CID,PATH", 0,
	  "Sockets between guest and host: the guest is context CID (3 or more), the host's end is the Unix socket "
	  "PATH",
	  2 },
	{ "balloon", OPT_BALLOON, "SIZE", 0,
	  "Have the guest give up SIZE of its memory, and whatever more it does not use", 2 },
	{ "timeout", OPT_TIMEOUT, "SECONDS", 0, "End the run after that time, with status 124", 3 },
	{ "debug-exit", OPT_DEBUG_EXIT, NULL, 0, "A write of V to port 0xf4 ends the run with status (V << 1) | 1", 3 },
	{ "deterministic", OPT_DETERMINISTIC, NULL, 0,
	  "Virtual time counts instructions: the same input gives the same run", 3 },
	{ "check", OPT_CHECK, "N", OPTION_ARG_OPTIONAL,
	  "Run the interpreter in lock-step with the translator, compare every N instructions at most (10000), and "
	  "stop at "
	  "the first difference",
	  3 },
	{ "code-cache", OPT_CODE_CACHE, "SIZE", 0,
	  "Engine dbt: the most that translations may take, with suffix K, M or G (128M, with many CPUs 256M)", 3 },
	{ "perf-map", OPT_PERF_MAP, NULL, 0, "Name translations for perf, in /tmp/perf-PID.map", 3 },
	{ "dump-block", OPT_DUMP_BLOCK, "ADDR", 0,
	  "Show on standard error each translation that has the guest's instruction at linear address ADDR", 3 },
	{ "trace", OPT_TRACE, "FILE", 0, "Write each executed instruction and the registers that it changed", 3 },
	{ "gdb", OPT_GDB, "ADDR[,arch=ARCH]", 0,
	  "Let gdb connect: [HOST]:PORT, or the path of a socket; arch: auto, i386, x86-64", 3 },
	{ "stop", 'S', NULL, 0, "Wait before the first instruction, for gdb or the monitor", 3 },
	{ "verbose", 'v', NULL, 0, "Say which engine runs and why, and end with figures", 3 },
	{ "cdrom", OPT_ABSENT, "FILE", OPTION_HIDDEN, NULL, 0 },
	{ "bios", OPT_ABSENT + 1, "FILE", OPTION_HIDDEN, NULL, 0 },
	{ "display", OPT_ABSENT + 2, "KIND", OPTION_HIDDEN, NULL, 0 },
	{ 0 },
};

static const char *absent_name(int key)
{
	for (unsigned i = 0; options[i].name; i++)
		if (options[i].key == key)
			return options[i].name;
	return "";
}

static error_t set_mem(struct run_options *o, const char *arg, struct argp_state *state)
{
	if (!parse_size(arg, &o->mem))
		return cmd_bad(state, "--mem %s: a size is a number with an optional suffix K, M or G", arg);
	if (o->mem < MEM_MIN)
		return cmd_bad(state, "--mem %s: a guest needs at least %lluM", arg, MEM_MIN >> 20);
	if (o->mem > MEM_MAX)
		return cmd_bad(state, "--mem %s: a guest has at most %lluG", arg, MEM_MAX >> 30);
	if (o->mem % PAGE_SIZE)
		return cmd_bad(state, "--mem %s: memory comes in whole pages of 4K", arg);
	o->has_mem = true;
	return 0;
}

static error_t set_timeout(struct run_options *o, const char *arg, struct argp_state *state)
{
	char *end;

	errno = 0;
	o->timeout = strtod(arg, &end);
	if (errno || end == arg || *end || !(o->timeout > 0) || o->timeout > TIMEOUT_MAX)
		return cmd_bad(state, "--timeout %s: that is not a number of seconds above 0", arg);
	return 0;
}

static error_t set_cpus(struct run_options *o, const char *arg, struct argp_state *state)
{
	u64 n;

	if (!parse_number(arg, 1, MACHINE_MAX_CPUS, &n))
		return cmd_bad(state, "--cpus %s: that is not a number from 1 to %d", arg, MACHINE_MAX_CPUS);
	o->cpus = (unsigned)n;
	o->has_cpus = true;
	return 0;
}

static error_t set_gdb(struct run_options *o, const char *arg, struct argp_state *state)
{
	static const char *const names[] = {
		[GDB_ARCH_AUTO] = "auto", [GDB_ARCH_I386] = "i386", [GDB_ARCH_X86_64] = "x86-64"
	};
	const char *comma = strrchr(arg, ',');
	unsigned arch = GDB_ARCH_AUTO;
	struct error err = { 0 };

	if (comma && !strncmp(comma, ",arch=", 6)) {
		for (arch = 0; arch < ARRAY_SIZE(names) && strcmp(comma + 6, names[arch]); arch++)
			;
		if (arch == ARRAY_SIZE(names))
			return cmd_bad(state, "--gdb %s: arch is auto, i386 or x86-64", arg);
	} else {
		comma = arg + strlen(arg);
	}
	free(o->own_gdb);
	o->gdb = o->own_gdb = strndup(arg, (size_t)(comma - arg));
	o->gdb_arch = (enum gdb_arch)arch;
	if (!o->gdb)
		return ENOMEM;
	return gdb_server_check(o->gdb, &err) ? cmd_bad(state, "--gdb: %s", err.text) : 0;
}

static error_t set_net(struct run_options *o, const char *arg, struct argp_state *state)
{
	struct error err = { 0 };

	net_spec_free(o->net); /* the last one counts */
	o->net = NULL;
	o->net_host = !strcmp(arg, "host");
	if (o->net_host)
		return 0;
	if (net_parse(arg, &o->net, &err))
		return cmd_bad(state, "--net %s: %s", arg, err.text);
	return 0;
}

/* A guest of ours (--rootfs) may be anybody's program: it gets a network when it is asked for. A virtual clock and peers on
 * a real one do not go together. */
static error_t default_net(struct run_options *o, struct argp_state *state)
{
	return set_net(o, o->rootfs || o->deterministic ? "none" : "user", state);
}

static error_t add_share(struct run_options *o, const char *arg, struct argp_state *state)
{
	struct error err = { 0 };

	if (o->nshares == PC_MAX_SHARES)
		return cmd_bad(state, "--share %s: a guest has at most %d shares", arg, PC_MAX_SHARES);
	if (share_parse(arg, &o->share[o->nshares], &err))
		return cmd_bad(state, "--share %s: %s", arg, err.text);
	for (unsigned i = 0; i < o->nshares; i++)
		if (!strcmp(o->share[i].tag, o->share[o->nshares].tag))
			return cmd_bad(state, "--share %s: there is another share of that tag", arg);
	o->nshares++;
	return 0;
}

static error_t add_disk(struct run_options *o, const char *arg, struct argp_state *state)
{
	struct error err = { 0 };

	if (o->ndisks == PC_MAX_DISKS)
		return cmd_bad(state, "--disk %s: a guest has at most %d disks", arg, PC_MAX_DISKS);
	o->disk[o->ndisks] = disk_parse(arg, &err);
	if (!o->disk[o->ndisks])
		return cmd_bad(state, "--disk %s: %s", arg, err.text);
	o->ndisks++;
	return 0;
}

static error_t set_vsock(struct run_options *o, const char *arg, struct argp_state *state)
{
	const char *comma = strchr(arg, ',');
	_cleanup_free_ char *cid = comma ? strndup(arg, (size_t)(comma - arg)) : NULL;

	if (!cid || !parse_number(cid, VSOCK_CID_MIN, VSOCK_CID_MAX, &o->vsock_cid))
		return cmd_bad(state, "--vsock %s: that is not CID,PATH with a CID from %u to %u", arg, VSOCK_CID_MIN,
			       VSOCK_CID_MAX);
	o->vsock = comma + 1;
	if (!*o->vsock || strlen(o->vsock) > VSOCK_PATH_MAX)
		return cmd_bad(state, "--vsock %s: the path of a socket has 1 to %zu characters", arg, VSOCK_PATH_MAX);
	return 0;
}

static error_t set_balloon(struct run_options *o, const char *arg, struct argp_state *state)
{
	o->has_balloon = true;
	if (strcmp(arg, "0") && !parse_size(arg, &o->balloon))
		return cmd_bad(state, "--balloon %s: a size is a number with an optional suffix K, M or G", arg);
	return 0;
}

static error_t add_env(struct run_options *o, const char *arg, struct argp_state *state)
{
	const char **grown;

	if (!*arg || *arg == '=')
		return cmd_bad(state, "--env %s: that is neither NAME=VALUE nor NAME", arg);
	grown = reallocarray(o->env, o->nenv + 1, sizeof(*grown));
	if (!grown)
		return ENOMEM;
	o->env = grown;
	o->env[o->nenv++] = arg;
	return 0;
}

static error_t set_workdir(struct run_options *o, const char *arg, struct argp_state *state)
{
	if (*arg != '/')
		return cmd_bad(state, "--workdir %s: that is no absolute path", arg);
	o->workdir = arg;
	return 0;
}

/* Positional words: the guest's command, which only `--` lets through. */
static error_t set_command(struct run_options *o, char *arg, struct argp_state *state)
{
	if (!state->quoted || state->next <= state->quoted)
		return cmd_bad(state, "unexpected argument '%s' (a command for the guest goes after --)", arg);
	o->guest_argv = state->argv + state->next - 1;
	state->next = state->argc;
	return 0;
}

/* Options of machines that a process of the host's has no use for. */
static error_t check_container(const struct run_options *o, struct argp_state *state)
{
	const struct {
		const char *option;
		bool given;
	} machines[] = { { "--cpu", o->cpu },
			 { "--kernel", o->kernel },
			 { "--initrd", o->initrd },
			 { "--append", o->append },
			 { "--disk", o->ndisks },
			 { "--vsock", o->vsock },
			 { "--balloon", o->has_balloon },
			 { "--debug-exit", o->debug_exit },
			 { "--deterministic", o->deterministic },
			 { "--trace", o->trace },
			 { "--gdb", o->gdb },
			 { "--check", o->check },
			 { "-S", o->wait } };

	for (unsigned i = 0; i < ARRAY_SIZE(machines); i++)
		if (machines[i].given)
			return cmd_bad(state, "%s is for machines; engine container runs a process",
				       machines[i].option);
	if (!o->rootfs)
		return cmd_bad(state, "engine container needs --rootfs DIR -- CMD ARG...");
	return 0;
}

int run_check_xen(const struct run_options *o)
{
	const struct {
		const char *option, *instead;
		bool given;
	} absent[] = { { "--share", "give it a --disk", o->nshares },
		       { "--vsock", "give it a --net", o->vsock },
		       { "--check", "engine dbt runs in lock-step", o->check } };

	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
		if (!absent[i].given)
			continue;
		say("engine pv has no %s: %s", absent[i].option, absent[i].instead);
		return EXIT_USAGE;
	}
	return 0;
}

static error_t set_check(struct run_options *o, const char *arg, struct argp_state *state)
{
	char *end = "";

	errno = 0;
	o->check = arg ? strtoull(arg, &end, 10) : CHECK_DEFAULT;
	if (errno || (arg && (end == arg || *arg == '-')) || *end || !o->check || o->check > CHECK_MAX)
		return cmd_bad(state, "--check=%s: a number of instructions from 1 to %d", arg, CHECK_MAX);
	return 0;
}

static error_t set_code_cache(struct run_options *o, const char *arg, struct argp_state *state)
{
	if (!parse_size(arg, &o->code_cache))
		return cmd_bad(state, "--code-cache %s: a size is a number with suffix K, M or G", arg);
	if (o->code_cache < CACHE_MIN)
		return cmd_bad(state, "--code-cache %s: translations need at least %lluM", arg, CACHE_MIN >> 20);
	return 0;
}

static error_t set_dump_block(struct run_options *o, const char *arg, struct argp_state *state)
{
	char *end;

	errno = 0;
	o->dump_block = strtoull(arg, &end, 0);
	if (errno || end == arg || *end || *arg == '-')
		return cmd_bad(state, "--dump-block %s: an address is a number, 0x... if it is hexadecimal", arg);
	o->dumps = true;
	return 0;
}

static error_t check(struct run_options *o, struct argp_state *state)
{
	bool container = o->engine && !strcmp(o->engine, "container");

	if (o->guest_argv && !o->rootfs)
		return cmd_bad(state, "a command for the guest needs --rootfs DIR");
	if ((o->nenv || o->user || o->workdir || o->ephemeral) && !o->rootfs)
		return cmd_bad(state, "--%s is about --rootfs, and there is none",
			       o->nenv	    ? "env"
			       : o->user    ? "user"
			       : o->workdir ? "workdir"
					    : "ephemeral");
	if (o->guest_argv && !*o->guest_argv[0])
		return cmd_bad(state, "the command for the guest is empty");
	if (o->wait && !o->gdb && !isatty(STDIN_FILENO))
		return cmd_bad(state, "-S waits for gdb or the monitor: give --gdb ADDR, or run it on a terminal");
	if (o->check && (o->cpus > 1 || o->gdb || o->trace))
		return cmd_bad(state, "--check runs one CPU, without --gdb and --trace");
	o->deterministic |= o->check != 0;
	if (o->deterministic && o->cpus > 1)
		return cmd_bad(state, "--deterministic runs one CPU: --cpus %u does not go with it", o->cpus);
	if (o->balloon >= o->mem)
		return cmd_bad(state, "--balloon: %lluM would leave the guest nothing of its %lluM of memory",
			       (unsigned long long)o->balloon >> 20, (unsigned long long)o->mem >> 20);
	if (o->nshares && o->deterministic)
		return cmd_bad(state, "--share: when a server answers is not deterministic");
	if (o->net_host && !container)
		return cmd_bad(state, "--net host: only engine container can share the host's network");
	o->demo = !o->kernel && !o->initrd && !o->rootfs;
	if (container && check_container(o, state))
		return EINVAL;
	return o->net || o->net_host ? 0 : default_net(o, state);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct run_options *o = state->input;

	switch (key) {
	case OPT_ENGINE: o->engine = arg; return 0;
	case OPT_CPU: o->cpu = arg; return 0;
	case OPT_CPUS: return set_cpus(o, arg, state);
	case OPT_MEM: return set_mem(o, arg, state);
	case OPT_KERNEL: o->kernel = arg; return 0;
	case OPT_INITRD: o->initrd = arg; return 0;
	case OPT_APPEND: o->append = arg; return 0;
	case OPT_ROOTFS: o->rootfs = arg; return 0;
	case OPT_EPHEMERAL: o->ephemeral = true; return 0;
	case OPT_ENV: return add_env(o, arg, state);
	case OPT_USER: o->user = arg; return 0;
	case OPT_WORKDIR: return set_workdir(o, arg, state);
	case OPT_TIMEOUT: return set_timeout(o, arg, state);
	case OPT_DEBUG_EXIT: o->debug_exit = true; return 0;
	case OPT_DETERMINISTIC: o->deterministic = true; return 0;
	case OPT_CHECK: return set_check(o, arg, state);
	case OPT_CODE_CACHE: return set_code_cache(o, arg, state);
	case OPT_PERF_MAP: o->perf_map = true; return 0;
	case OPT_DUMP_BLOCK: return set_dump_block(o, arg, state);
	case OPT_TRACE: o->trace = arg; return 0;
	case OPT_GDB: return set_gdb(o, arg, state);
	case 'S': o->wait = true; return 0;
	case OPT_NET: return set_net(o, arg, state);
	case OPT_SHARE: return add_share(o, arg, state);
	case OPT_DISK: return add_disk(o, arg, state);
	case OPT_VSOCK: return set_vsock(o, arg, state);
	case OPT_BALLOON: return set_balloon(o, arg, state);
	case 'v': o->verbose = true; return 0;
	case ARGP_KEY_ARG: return set_command(o, arg, state);
	case ARGP_KEY_END: return check(o, state);
	default:
		if (key < OPT_ABSENT || key > OPT_ABSENT + 2)
			return ARGP_ERR_UNKNOWN;
		return cmd_bad(state, "option --%s is not available in this version", absent_name(key));
	}
}

const struct argp run_argp = {
	.options = options,
	.parser = parse,
	.args_doc = "[-- CMD ARG...]",
	.doc = "Runs a guest; its first serial port is on standard input and output. Without options it boots the "
	       "default guest to a "
	       "shell.\vIn the terminal, Ctrl-a x leaves, Ctrl-a h helps, Ctrl-a c is the monitor, Ctrl-a Ctrl-a sends "
	       "a Ctrl-a.\n\n"
	       "Without --kernel the kernel is $SEXTANT_KERNEL, else the one that make obtained, else the newest "
	       "readable "
	       "/boot/vmlinuz-*.\n\n"
	       "Exit status: 0 when the guest powers off or reboots; with --rootfs the status of CMD; 1 for what could "
	       "not be "
	       "started; 2 for wrong usage; 3 after a triple fault or a crash; 124 when --timeout ends the run; 128 + "
	       "N when "
	       "signal N does; "
	       "(V << 1) | 1 by --debug-exit.",
};

int run_parse(const struct command *self, int argc, char **argv, struct run_options *o)
{
	*o = (struct run_options){ .mem = MEM_DEFAULT, .cpus = 1, .root = RUN_ROOTFS_NONE };
	return cmd_parse(self, argc, argv, o);
}
