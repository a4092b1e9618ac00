/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks on the host, behind machine/blockdev.h: what --disk says, and opening it. Raw files and block devices are served by
 * ourselves, other image formats by a qemu-nbd that is started for them, remote disks over NBD. docs/disks.md tells users.
 *
 * A disk that may be written is locked: nobody else, another disk of this process included, opens it until it is destroyed.
 */
#pragma once
#include "machine/blockdev.h"

enum disk_cache {
	DISK_CACHE_WRITEBACK, /* through the host's page cache: the default; durable after a flush, as with any disk */
	DISK_CACHE_NONE /* past it (O_DIRECT) */
};
enum disk_aio { DISK_AIO_AUTO, DISK_AIO_URING, DISK_AIO_THREADS };

#define DISK_SERIAL_MAX	     20 /* virtio 1.2, 5.2.6: a device's ID string */
#define DISK_TIMEOUT_DEFAULT 30

/* Where one-line reports go: a server that is lost, data that the host could not write. No newline. Any thread. */
struct disk_log {
	void (*line)(void *arg, const char *text); /* NULL: nowhere */
	void *arg;
};

struct disk_spec {
	char *target; /* a path, or an NBD URI */
	char *id; /* the disk's name for the user; NULL: none */
	char serial[DISK_SERIAL_MAX + 1];
	const char *format; /* static; NULL: to be detected */
	enum disk_cache cache;
	enum disk_aio aio;
	unsigned timeout; /* seconds that a request to an NBD server may wait for its answer; 0: the default */
	bool readonly, snapshot;
	struct disk_log log; /* the caller's to set before disk_open() */
};

/*
 * TARGET[,readonly=on|off][,snapshot=on|off][,cache=writeback|none][,format=F][,aio=auto|io_uring|threads][,timeout=SECONDS]
 * [,id=ID][,serial=S]; a comma in a value is written twice. NULL with err (-EINVAL: a wrong word, worth EXIT_USAGE).
 */
struct disk_spec *disk_parse(const char *text, struct error *err);
void disk_spec_free(struct disk_spec *s); /* NULL is fine */

/*
 * Opens, locks, starts what is needed; s is not needed afterwards. A qemu-nbd that is started dies with the calling thread,
 * so that is one which lives as long as the disk. NULL with err. Ends with blockdev_destroy(), after all requests have
 * completed; blockdev_abandon() makes them complete soon.
 */
struct blockdev *disk_open(const struct disk_spec *s, struct error *err);
