/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The constructors of virtio device types. Each makes the device only: virtio_pci_add() then gives it its transport, and from
 * then on device_destroy() releases it; before that, v->ops->destroy(v) does. NULL and err when it cannot.
 */
#pragma once
#include "devices/virtio/virtio.h"
#include "machine/blockdev.h"
#include "machine/chardev.h"

struct virtio_device *virtio_rng_new(struct machine *m, struct error *err);
/* back stays the caller's; it outlives the device. */
struct virtio_device *virtio_blk_new(struct machine *m, struct blockdev *back, struct error *err);
/* back likewise. */
struct virtio_device *virtio_console_new(struct machine *m, struct chardev *back, struct error *err);

/* ---- fs.c: a folder of the host's, served by a vhost-user back end ---- */
#define FS_TAG_MAX 36 /* bytes of UTF-8 */
struct fs_config {
	const char *tag; /* by which the guest mounts it: 1 to FS_TAG_MAX bytes */
	int socket; /* connected to the back end; taken, on errors too */
	/* The back end is lost: one line that says how. Any thread. Optional. */
	void (*lost)(void *arg, const char *why);
	void *lost_arg;
};
struct virtio_device *virtio_fs_new(struct machine *m, const struct fs_config *c, struct error *err);
