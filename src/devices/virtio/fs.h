/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-fs: a folder of the host's in the guest, served by a vhost-user back end (fs.c). */
#pragma once
#include "devices/devices.h"

#define FS_TAG_MAX 36 /* bytes of UTF-8 */

struct fs_config {
	const char *tag; /* by which the guest mounts it: 1 to FS_TAG_MAX bytes */
	int socket; /* connected to the back end; taken, on errors too */
	/* The back end is lost: one line that says how. Any thread. Optional. */
	void (*lost)(void *arg, const char *why);
	void *lost_arg;
};
struct device *virtio_fs_new(struct machine *m, struct device *pci_bus, const struct fs_config *c, struct error *err);
