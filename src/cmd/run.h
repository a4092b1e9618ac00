/* SPDX-License-Identifier: Apache-2.0 */
/* What sextant run was asked for, and the parts of running it that are files of their own. */
#pragma once
#include <signal.h>

#include "cmd/cmd.h"
#include "debug/debug.h"
#include "host/disk/disk.h"
#include "host/net/net.h"
#include "host/share.h"
#include "host/terminal.h"
#include "machine/machine.h"
#include "platform/pc/pc.h"

struct run_options { /* strings are argv's or the environment's, or held in `owned` */
	const char *engine, *cpu, *kernel, *initrd, *append, *rootfs, *trace;
	struct net_spec *net; /* owned */
	char *const *guest_argv; /* CMD ARG... of --rootfs, NULL-terminated */
	struct disk_spec *disk[PC_MAX_DISKS]; /* owned: run_devices_close() */
	unsigned ndisks;
	struct share_config share[PC_MAX_SHARES]; /* owned, likewise */
	unsigned nshares;
	const char *vsock; /* path; NULL: no sockets */
	u64 vsock_cid;
	u64 balloon;
	bool has_balloon; /* --balloon was given */
	char *own_append; /* owned: the append that run_boot() made */
	u64 mem;
	unsigned cpus;
	double timeout; /* seconds; 0: none */
	const char *gdb; /* where gdb connects to; NULL: nowhere */
	char *own_gdb; /* owned: it, without what is in gdb_arch */
	enum gdb_arch gdb_arch;
	bool debug_exit, deterministic, verbose;
	u64 check; /* instructions between comparisons; 0: no --check */
	bool wait; /* -S: stand before the first instruction */
	bool demo; /* neither kernel, initrd nor rootfs was given: the default guest */
};

/* run-options.c: 0, or EXIT_USAGE after one line. */
int run_parse(const struct command *self, int argc, char **argv, struct run_options *o);
extern const struct argp run_argp;

/* run-guest.c: the files of the default guest. Allocated; NULL and err when there is none. */
char *guest_kernel(struct error *err);
char *guest_initrd(struct error *err);

/* run-devices.c: what the guest's devices are connected to on the host. */
struct run_devices {
	struct blockdev *disk[PC_MAX_DISKS];
	struct vsockdev *vsock;
	struct netdev *net;
	struct share server[PC_MAX_SHARES];
	struct pc_share share[PC_MAX_SHARES];
};
int run_devices_open(struct run_devices *d, const struct run_options *o, struct error *err);
/* What needs the machine. */
int run_devices_connect(struct run_devices *d, const struct run_options *o, struct machine *m,
			const struct net_log *log, struct error *err);
/* A device could not be made: if that is as a server has ended, err says why. */
void run_devices_explain(struct run_devices *d, const struct run_options *o, struct error *err);
/* The machine has ended: what devices wait for may be given up. Before pc_destroy(). */
void run_devices_abandon(struct run_devices *d);
void run_devices_close(struct run_devices *d, struct run_options *o); /* after it */
#define RUN_TAGS_MAX (PC_MAX_SHARES * (SHARE_TAG_MAX + 1))
bool run_share_tags(const struct run_options *o, char text[RUN_TAGS_MAX]); /* "TAG,TAG"; false: there are none */
unsigned run_drivers(const struct run_options *o); /* boot_config.drivers */

/* run-debug.c: the monitor and gdb. */
struct run_debug {
	struct monitor *monitor;
	struct gdb_server *gdb;
};
int run_debug_start(struct run_debug *d, const struct run_options *o, struct machine *m, struct terminal *t,
		    struct error *err);
void run_debug_exited(struct run_debug *d, int status); /* the run has ended, and this is its status */
void run_debug_end(struct run_debug *d);

/* run-boot.c: loads the guest, now and after each reset. */
int run_boot(struct run_options *o, struct machine *m, const struct terminal *t, struct error *err);

/* run-signals.c: signals and the time limit end the run through the machine's event loop. */
struct run_watch {
	struct machine *machine;
	struct terminal *terminal;
	int signal_fd, timer_fd;
	sigset_t old_mask;
	bool masked;
	_Atomic int signal; /* the one that ended the run */
};
int run_watch_start(struct run_watch *w, double timeout, struct error *err);
void run_watch_stop(struct run_watch *w);

/* run-stats.c: the figures of -v, to stderr. */
void run_stats(struct machine *m, double seconds);
