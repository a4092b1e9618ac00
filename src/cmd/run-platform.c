/* SPDX-License-Identifier: Apache-2.0 */
/* The platforms that a guest can have, and what of the options each is given. */
#include "boot/boot.h"
#include "cmd/run.h"
#include "platform/xen/xen.h"

/* ---- a PC ---- */

static int create_pc(struct machine *m, const struct run_options *o, const struct run_devices *d, struct terminal *t,
		     void (*lost)(void *arg, const char *why), void *arg, struct error *err)
{
	const struct pc_config pc = { .debug_exit = o->debug_exit,
				      .disks = d->disk,
				      .ndisks = o->ndisks,
				      .net = d->net,
				      .vsock = d->vsock,
				      .balloon = o->balloon,
				      .console = terminal_chardev(t),
				      .console_ready = terminal_ready,
				      .console_arg = t,
				      .shares = d->share,
				      .nshares = o->nshares,
				      .share_lost = lost,
				      .share_arg = arg };

	return pc_create(m, &pc, err);
}

/* The first time all is as pc_create() has left it. */
static int boot_pc(struct machine *m, const struct boot_config *c, struct error *err)
{
	struct boot_config with = *c;

	with.firmware = pc_firmware(m);
	return boot_load(m, &with, err);
}

const struct run_platform run_pc = {
	.create = create_pc,
	.boot = boot_pc,
	.reset = pc_reset,
	.destroy = pc_destroy,
	.guest_status = pc_guest_status,
};

/* ---- Xen's PV interface ---- */

static int create_xen(struct machine *m, const struct run_options *o, const struct run_devices *d, struct terminal *t,
		      void (*lost)(void *arg, const char *why), void *arg, struct error *err)
{
	const struct xen_config xen = { .mem = o->mem,
					.debug_exit = o->debug_exit,
					.disks = d->disk,
					.ndisks = o->ndisks,
					.net = d->net,
					.balloon = o->balloon,
					.console = terminal_chardev(t),
					.console_ready = terminal_ready,
					.console_arg = t };

	return xen_create(m, &xen, err);
}

const struct run_platform run_xen = {
	.ram_size = xen_ram_size,
	.limit_features = xen_limit_features,
	.create = create_xen,
	.boot = xen_boot,
	.destroy = xen_destroy,
	.guest_status = xen_guest_status,
	.crash_reason = xen_crash_reason,
	.stats = xen_stats,
	.console = "hvc0",
	.drivers = DRIVER_XEN,
};
