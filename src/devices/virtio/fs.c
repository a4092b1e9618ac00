/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-fs (virtio 1.2, 5.11): FUSE requests in virtqueue buffers. Queue 0 is for urgent ones, queue 1 for the rest.
 * The file server is a vhost-user back end; of FUSE this file knows only how to say "not connected" for one that is
 * gone.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/devices.h"
#include "devices/virtio/vhost_device.h"

#define FS_QUEUES    2
#define FS_PCI_CLASS 0x018000 /* mass storage, other */

struct virtio_fs {
	struct vhost_device v;
	struct {
		u8 tag[FS_TAG_MAX];
		u32 request_queues;
	} __attribute__((packed)) config;
};

static void config_read(struct virtio_device *d, unsigned offset, void *buf, unsigned len)
{
	const struct virtio_fs *fs = container_of(d, struct virtio_fs, v.vd);

	memcpy(buf, (const u8 *)&fs->config + offset, len);
}

/* Requests that expect no answer have no room for one. */
static u32 fail(struct vhost_device *d, const struct virtq_buffer *b)
{
	struct fuse_in_header in = { 0 };
	struct fuse_out_header out = { .len = sizeof(out), .error = -ENOTCONN };

	virtq_read(b, 0, &in, sizeof(in));
	out.unique = in.unique;
	return b->in_len < sizeof(out) ? 0 : (u32)virtq_write(b, 0, &out, sizeof(out));
}

static void destroy(struct virtio_device *d)
{
	struct virtio_fs *fs = container_of(d, struct virtio_fs, v.vd);

	vhost_device_fini(&fs->v);
	free(fs);
}

static const struct virtio_ops fs_ops = {
	.name = "virtio-fs",
	.id = VIRTIO_ID_FS,
	.pci_class = FS_PCI_CLASS,
	.config_len = sizeof(((struct virtio_fs *)0)->config),
	.config_read = config_read,
	.started = vhost_device_started,
	.notify = vhost_device_notify,
	.reset = vhost_device_reset,
	.destroy = destroy,
};
static const struct vhost_type fs_type = { .fail = fail };

struct virtio_device *virtio_fs_new(struct machine *m, const struct fs_config *c, struct error *err)
{
	struct virtio_fs *fs = calloc(1, sizeof(*fs));
	size_t len = strlen(c->tag);

	if (!fs || !len || len > FS_TAG_MAX) {
		if (fs)
			error_set(err, EINVAL, "the tag of a share has 1 to %d bytes", FS_TAG_MAX);
		else
			error_set(err, ENOMEM, "no memory for virtio-fs");
		free(fs);
		return NULL;
	}
	memcpy(fs->config.tag, c->tag, len);
	fs->config.request_queues = FS_QUEUES - 1;
	fs->v.vd = (struct virtio_device){ .ops = &fs_ops, .machine = m, .queues = FS_QUEUES };
	fs->v.type = &fs_type;
	fs->v.lost = c->lost;
	fs->v.lost_arg = c->lost_arg;
	if (vhost_device_init(&fs->v, c->socket, err)) {
		free(fs);
		return NULL;
	}
	return &fs->v.vd;
}
