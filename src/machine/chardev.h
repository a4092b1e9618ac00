/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of bytes between a device (the front end: a UART, a console) and something on the host (the back end: a
 * terminal, a file, a test). The back end embeds struct chardev and fills in ops; the device attaches its callbacks.
 *
 * Nothing here blocks, in either direction: a vCPU thread that writes to a stalled terminal must still be able to stop.
 * Locking: a device calls ops with its own lock held; a back end calls the front end with none of its locks held.
 * Neither side calls back into the other from within a call.
 */
#pragma once
#include "util/types.h"

struct chardev;

struct chardev_ops {
	/* Takes up to len bytes and returns how many. If fewer than len: calls front.writable once it can take more.
	 * Often called a byte at a time: what costs a system call should be gathered. Any thread. */
	size_t (*write)(struct chardev *c, const u8 *data, size_t len);
	/* The front end has room for input again, after receive() took less than it was given. Any thread. */
	void (*resume)(struct chardev *c);
};

struct chardev_front {
	/* Input arrived. Returns how many bytes were taken; the back end keeps the rest until resume(). */
	size_t (*receive)(void *arg, const u8 *data, size_t len);
	/* write() would take bytes again. */
	void (*writable)(void *arg);
	void *arg;
};

struct chardev {
	const struct chardev_ops *ops;
	struct chardev_front front; /* receive NULL: nobody listens, input waits */
};
