/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is behind the guest's devices: opened before the machine has devices, closed when it has none any more. Their
 * drivers go to guests whose init is ours; somebody else's initial file system has its own.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "boot/boot.h"
#include "cmd/run.h"
#include "host/vsock.h"

/* Needs nothing of the run's: disks outlive the terminal, which may be raw now. */
static void disk_line(void *arg, const char *text)
{
	fprintf(stderr, "sextant: %s%s\n", text, isatty(STDERR_FILENO) ? "\r" : "");
}

int run_devices_open(struct run_devices *d, const struct run_options *o, struct error *err)
{
	for (unsigned i = 0; i < o->ndisks; i++) {
		o->disk[i]->log.line = disk_line;
		d->disk[i] = disk_open(o->disk[i], err);
		if (!d->disk[i])
			return err->code;
	}
	for (unsigned i = 0; i < o->nshares; i++) {
		if (share_start(&d->server[i], &o->share[i], err))
			return err->code;
		d->share[i] = (struct pc_share){ o->share[i].tag, d->server[i].socket };
	}
	return 0;
}

void run_devices_explain(struct run_devices *d, const struct run_options *o, struct error *err)
{
	for (unsigned i = 0; i < o->nshares; i++)
		share_explain(&d->server[i], &o->share[i], err);
}

int run_devices_connect(struct run_devices *d, const struct run_options *o, struct machine *m,
			const struct net_log *log, struct error *err)
{
	int e = net_open(o->net, m, log, &d->net, err);

	if (e || !o->vsock)
		return e;
	d->vsock = vsock_host_new(m, o->vsock_cid, o->vsock, err);
	return d->vsock ? 0 : err->code;
}

void run_devices_abandon(struct run_devices *d)
{
	for (unsigned i = 0; i < PC_MAX_DISKS; i++)
		blockdev_abandon(d->disk[i]);
}

void run_devices_close(struct run_devices *d, struct run_options *o)
{
	for (unsigned i = 0; i < PC_MAX_DISKS; i++)
		blockdev_destroy(d->disk[i]);
	netdev_destroy(d->net);
	net_spec_free(o->net);
	vsockdev_destroy(d->vsock);
	for (unsigned i = 0; i < o->ndisks; i++)
		disk_spec_free(o->disk[i]);
	for (unsigned i = 0; i < o->nshares; i++) {
		share_stop(&d->server[i]);
		share_config_free(&o->share[i]);
	}
}

bool run_share_tags(const struct run_options *o, char text[RUN_TAGS_MAX])
{
	*text = 0;
	for (unsigned i = 0; i < o->nshares; i++) {
		if (i)
			strcat(text, ",");
		strcat(text, o->share[i].tag);
	}
	return o->nshares;
}

unsigned run_drivers(const struct run_options *o, const struct run_platform *p)
{
	if (!o->rootfs && !o->demo)
		return 0;
	return p->drivers | (o->ndisks ? DRIVER_DISK : 0) | (net_is_none(o->net) ? 0 : DRIVER_NET) |
	       (o->has_balloon ? DRIVER_BALLOON : 0) | (o->vsock ? DRIVER_VSOCK : 0) | (o->nshares ? DRIVER_SHARE : 0);
}
