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
#include "image/image.h"
#include "image/user.h"
#include "machine/machine.h"
#include "platform/pc/pc.h"
#include "snapshot/snapshot.h"

/* run-rootfs.c: what --rootfs names, and how CMD runs in it. */
struct run_rootfs {
	const char *path; /* the directory to pack, or to run in; not owned */
	/* For an engine that runs in it and is not to change it: what to mount on path, which is empty then, as an overlay's data. */
	char *overlay;
	u64 packed; /* bytes that a machine has been given of it */
	bool is_image, owners_beside; /* as in struct image */
	struct image image;
	struct snapshot snapshot;
	struct scratch scratch;
	int tree; /* of a snapshot, to be read */
	char tree_path[32];
	const struct image *config; /* how it is to be run: the image's, or the snapshot's */
	const char *look; /* the files as they are, to be looked at from here */
	char *const *argv; /* CMD ARG..., NULL-terminated: not owned */
	char **env; /* NULL-terminated */
	size_t nenv;
	const char *workdir; /* NULL: nothing was said; not owned */
	bool has_user; /* else root */
	struct user user;
};

#define RUN_ROOTFS_NONE                                                                                      \
	{                                                                                                    \
		.image.lock = -1, .snapshot.image.lock = -1, .snapshot.fd = -1, .scratch.fd = -1, .tree = -1 \
	}

struct run_options { /* strings are argv's or the environment's, or held in `owned` */
	const char *engine, *cpu, *kernel, *initrd, *append, *rootfs, *trace;
	struct net_spec *net; /* owned */
	char *const *guest_argv; /* CMD ARG... of --rootfs, NULL-terminated; NULL: none was given */
	const char *user, *workdir; /* of CMD; NULL: not given */
	const char **env; /* NAME=VALUE or NAME, as given; owned */
	unsigned nenv;
	bool ephemeral; /* what CMD changes in a snapshot is forgotten */
	struct run_rootfs root; /* after run_rootfs_open() */
	struct disk_spec *disk[PC_MAX_DISKS]; /* owned: run_devices_close() */
	unsigned ndisks;
	struct share_config share[PC_MAX_SHARES]; /* owned, likewise */
	unsigned nshares;
	const char *vsock; /* path; NULL: no sockets */
	u64 vsock_cid;
	u64 balloon;
	bool has_balloon, has_mem, has_cpus; /* the option was given */
	bool net_host; /* --net host; net is NULL then */
	char *own_append; /* owned: the append that run_boot() made */
	u64 mem;
	unsigned cpus;
	double timeout; /* seconds; 0: none */
	const char *gdb; /* where gdb connects to; NULL: nowhere */
	char *own_gdb; /* owned: it, without what is in gdb_arch */
	enum gdb_arch gdb_arch;
	bool debug_exit, deterministic, verbose;
	bool perf_map;
	u64 code_cache; /* bytes; 0: the engine's default */
	u64 dump_block; /* guest linear address */
	bool dumps; /* --dump-block was given */
	u64 check; /* instructions between comparisons; 0: no --check */
	bool wait; /* -S: stand before the first instruction */
	bool demo; /* neither kernel, initrd nor rootfs was given: the default guest */
};

/* run-options.c: 0, or EXIT_USAGE after one line. */
int run_parse(const struct command *self, int argc, char **argv, struct run_options *o);
/* What engine pv's guests do not have: EXIT_USAGE after one line. */
int run_check_xen(const struct run_options *o);
extern const struct argp run_argp;

/* run-guest.c: the files of the default guest. Allocated; NULL and err when there is none. */
char *guest_kernel(struct error *err);
char *guest_initrd(struct error *err);

/* in_place: the engine runs in the directory itself, not in a copy. 0, or an exit status after one line. */
int run_rootfs_open(struct run_options *o, bool in_place);
void run_rootfs_close(struct run_options *o);

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
struct run_platform;
unsigned run_drivers(const struct run_options *o, const struct run_platform *p); /* boot_config.drivers */

/* run-debug.c: the monitor and gdb. */
struct run_debug {
	struct monitor *monitor;
	struct gdb_server *gdb;
};
int run_debug_start(struct run_debug *d, const struct run_options *o, struct machine *m, struct terminal *t,
		    struct error *err);
void run_debug_exited(struct run_debug *d, int status); /* the run has ended, and this is its status */
void run_debug_end(struct run_debug *d);

/* run-container.c: engine container's way from options to an exit status. */
/* Our executable, out of the container's reach; may execute it anew, so nothing is to be open yet. 0, or an exit status. */
int run_container_seal(int argc, char **argv); /* argv: the command's */
int run_container(const struct run_options *o);

/* run-platform.c: what a guest finds beside CPUs and memory: a PC, or what Xen's PV guests find. */
struct boot_config;
struct run_platform {
	u64 (*ram_size)(u64 mem, unsigned cpus); /* of the machine for a guest with mem; NULL: just that */
	void (*limit_features)(u64 feature[2]); /* clears what its guests are not to see; NULL: nothing */
	int (*create)(struct machine *m, const struct run_options *o, const struct run_devices *d, struct terminal *t,
		      void (*lost)(void *arg, const char *why), void *arg, struct error *err);
	int (*boot)(struct machine *m, const struct boot_config *c, struct error *err);
	void (*reset)(struct machine *m); /* before it boots again; NULL: boot() does it */
	void (*destroy)(struct machine *m);
	int (*guest_status)(const struct machine *m);
	const char *(*crash_reason)(const struct machine *m); /* END_CRASHED; NULL: cannot be */
	void (*stats)(struct machine *m, void (*line)(const char *fmt, ...)); /* NULL: none */
	const char *console; /* of the command line; NULL: the first serial port */
	unsigned drivers; /* DRIVER_XEN, or 0: virtio's */
};
extern const struct run_platform run_pc, run_xen;

/* run-boot.c: loads the guest, now and after each reset. */
int run_boot(struct run_options *o, const struct run_platform *p, bool native, struct machine *m,
	     const struct terminal *t, struct error *err);

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
