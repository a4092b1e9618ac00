/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user protocol, front end's side: how a device type whose work another process does tells it of memory and rings
 * (QEMU's vhost-user specification, "Communication" and "Message types"). One connection; its owner serialises calls. A back
 * end is not trusted to answer: every wait has a limit, and after the first error the connection is of no more use.
 */
#pragma once
#include "util/error.h"

#define VHOST_REGIONS_MAX 8

struct vhost_user {
	int fd; /* a connected stream socket, the owner's of it all; -1 after closing */
	u64 features; /* VIRTIO_F_* and device features that the back end offers */
};
struct vhost_region { /* memory that the back end may use: `fd` from `offset` on, at guest physical address gpa */
	u64 gpa, len, user, offset; /* user: where it is in this process, by which rings are addressed */
	int fd;
};
struct vhost_ring {
	unsigned index, size;
	u64 desc, avail, used; /* addresses in this process */
	int kick, call; /* eventfds; the back end gets duplicates */
};

/* Greets the back end on a connected socket, which stays the caller's, and agrees on `features` (all must be offered).
 * c is closed on error. */
int vhost_user_open(struct vhost_user *c, int fd, u64 features, struct error *err);
void vhost_user_close(struct vhost_user *c); /* shuts the socket down */
int vhost_user_set_memory(struct vhost_user *c, const struct vhost_region *r, unsigned count, struct error *err);
int vhost_user_start_ring(struct vhost_user *c, const struct vhost_ring *r, struct error *err);
/* Returns when the back end no longer uses the ring or any buffer of it. */
int vhost_user_stop_ring(struct vhost_user *c, unsigned index, struct error *err);
/* The other end is closed, or speaks unasked. Never blocks. */
bool vhost_user_gone(const struct vhost_user *c);
