/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The constructors of virtio device types. Each makes the device only: virtio_pci_add() then gives it its transport, and from
 * then on device_destroy() releases it; before that, v->ops->destroy(v) does. NULL and err when it cannot.
 */
#pragma once
#include "devices/virtio/virtio.h"
#include "machine/blockdev.h"
#include "machine/chardev.h"
#include "machine/netdev.h"
#include "machine/vsockdev.h"

struct virtio_device *virtio_rng_new(struct machine *m, struct error *err);
/* back stays the caller's; it outlives the device. */
struct virtio_device *virtio_blk_new(struct machine *m, struct blockdev *back, struct error *err);
/* back likewise. */
struct virtio_device *virtio_console_new(struct machine *m, struct chardev *back, struct error *err);

/* ---- fs.c: a folder of the host's, served by a vhost-user back end ---- */
#define FS_TAG_MAX 36 /* bytes of UTF-8 */
struct fs_config {
	const char *tag; /* by which the guest mounts it: 1 to FS_TAG_MAX bytes */
	int socket; /* connected to the back end; stays the caller's, outlives the device */
	/* The back end is lost: one line that says how. Any thread. Optional. */
	void (*lost)(void *arg, const char *why);
	void *lost_arg;
};
struct virtio_device *virtio_fs_new(struct machine *m, const struct fs_config *c, struct error *err);

/* ---- network card: net.c. back is not owned and outlives the device, which is its front. ---- */
struct virtio_device *virtio_net_new(struct machine *m, struct netdev *back, struct error *err);
void virtio_net_set_link(struct virtio_device *net, bool up); /* the cable is plugged in, or pulled. Any thread */
void virtio_net_announce(struct virtio_device *net); /* asks the guest to tell the network where it is. Any thread */

/* ---- memory balloon: balloon.c ---- */
struct balloon_stats { /* as the guest told: bytes, and numbers of events */
	bool valid;
	u64 total, free, available, caches, swap_in, swap_out, major_faults, minor_faults;
};
struct virtio_device *virtio_balloon_new(struct machine *m, struct error *err);
/* How much memory the guest is to give up; it will as far as it can. Any thread, also before there is a driver. */
void balloon_set_target(struct virtio_device *balloon, u64 bytes);
u64 balloon_size(struct virtio_device *balloon); /* how much it has given up. Any thread */
/* What the guest told last; and asks it to tell anew, which takes a moment. Any thread. */
void balloon_stats(struct virtio_device *balloon, struct balloon_stats *s);

/* ---- sockets: vsock.c. back as with the network card. ---- */
struct virtio_device *virtio_vsock_new(struct machine *m, struct vsockdev *back, struct error *err);
