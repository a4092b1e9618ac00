/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is behind the guest's devices: opened before the machine has devices, closed when it has none any more. Their
 * drivers go to guests whose init is ours; somebody else's initial file system has its own.
 */
#include "boot/boot.h"
#include "cmd/run.h"

int run_devices_open(struct run_devices *d, const struct run_options *o, struct error *err)
{
	for (unsigned i = 0; i < o->ndisks; i++) {
		d->disk[i] = disk_open(o->disk[i], err);
		if (!d->disk[i])
			return err->code;
	}
	return 0;
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
	for (unsigned i = 0; i < o->ndisks; i++)
		disk_spec_free(o->disk[i]);
}

unsigned run_drivers(const struct run_options *o)
{
	if (!o->rootfs && !o->demo)
		return 0;
	return o->ndisks ? DRIVER_DISK : 0;
}
