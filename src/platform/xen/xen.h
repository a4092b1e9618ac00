/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Xen PV platform: what a kernel that knows Xen's interface finds instead of a PC. Created after machine_new(), before xen_boot();
 * destroyed after the machine's threads have stopped, before machine_free(). The machine has more RAM than the guest: xen_ram_size().
 */
#pragma once
#include "boot/boot.h"
#include "machine/blockdev.h"
#include "machine/chardev.h"
#include "machine/machine.h"
#include "machine/netdev.h"

#define XEN_MAX_DISKS 16

struct xen_config {
	u64 mem; /* bytes of the domain's memory */
	struct chardev
		*console; /* hvc0's other end; stays the caller's, outlives the platform. NULL: nothing connected */
	bool debug_exit; /* has the debug-exit port */
	struct blockdev *const *disks; /* likewise the caller's */
	unsigned ndisks;
	struct netdev *net; /* likewise; NULL: none */
	u64 balloon; /* bytes of memory that the guest is to give up */
	/* Our init has set the console up as boot_config asked, on a vCPU's thread. May be NULL. */
	void (*console_ready)(void *arg);
	void *console_arg;
};

/* RAM of a machine whose guest has mem bytes. */
u64 xen_ram_size(u64 mem, unsigned cpus);
/* Clears the features that such a guest is not to see. */
void xen_limit_features(u64 feature[2]);

int xen_create(struct machine *m, const struct xen_config *cfg, struct error *err);
/* Loads the guest, now and after each reset; vCPUs have been reset, and stand. */
int xen_boot(struct machine *m, const struct boot_config *c, struct error *err);
void xen_destroy(struct machine *m);
/* 0..255: the exit status that our init reported, -1 if none did. After the machine has ended. */
int xen_guest_status(const struct machine *m);
/* END_CRASHED: why; NULL: the guest has said no more. */
const char *xen_crash_reason(const struct machine *m);
/* Figures for -v. */
void xen_stats(struct machine *m, void (*line)(const char *fmt, ...));
