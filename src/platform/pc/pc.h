/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PC: which devices a machine has, at which addresses and interrupt pins, and the tables its firmware would leave.
 * Created after machine_new() and before boot_load(); destroyed after the machine's threads have stopped, before
 * machine_free().
 */
#pragma once
#include "machine/blockdev.h"
#include "machine/chardev.h"
#include "machine/firmware.h"
#include "machine/machine.h"
#include "machine/netdev.h"
#include "machine/vsockdev.h"

struct virtio_device;
struct pc_share { /* a shared folder */
	const char *tag;
	int socket; /* connected to its server, a vhost-user back end */
};

struct pc_config {
	struct chardev *console; /* COM1's other end; stays the caller's, outlives the PC. NULL: nothing connected */
	bool debug_exit; /* has the debug-exit port */
	/* Virtio disks, in the order in which the guest finds them. Stay the caller's, outlive the PC. */
	struct blockdev *const *disks;
	unsigned ndisks;
	struct netdev *net; /* likewise, of a network card; NULL: none */
	struct vsockdev *vsock; /* likewise, of a socket device; NULL: none */
	const struct pc_share *shares; /* likewise */
	unsigned nshares;
	void (*share_lost)(void *arg, const char *why); /* a server has gone; any thread. May be NULL */
	void *share_arg;
	u64 balloon; /* bytes of memory that the guest is to give up, once it has a driver for its balloon */
	struct chardev *virtio_console; /* hvc0's other end, likewise; NULL: there is none */
	/* Our init has set the console up as boot_config asked, on a vCPU's thread. May be NULL. */
	void (*console_ready)(void *arg);
	void *console_arg;
};

#define PC_MAX_DISKS  16
#define PC_MAX_SHARES 8

int pc_create(struct machine *m, const struct pc_config *cfg, struct error *err);
/* Everything that pc_create() made is as it was then, firmware's tables in memory too; vCPUs have been reset. While all stand. */
void pc_reset(struct machine *m);
void pc_destroy(struct machine *m);
const struct firmware_info *pc_firmware(const struct machine *m);
/* 0..255: the exit status that our init reported, -1 if none did. After the machine has ended. */
int pc_guest_status(const struct machine *m);
/* The memory balloon: devices/virtio/devices.h has what it can do. */
struct virtio_device *pc_balloon(const struct machine *m);
