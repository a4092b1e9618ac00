/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks on disk images: advisory, on bytes that need not exist, belonging to the open file description (F_OFD_SETLK), so
 * that one image is not opened twice by one process either, and gone when the process is, whatever ended it.
 *
 * Sextant's own lock is on one byte: exclusive to write, shared to read. For a raw image QEMU's convention is kept as well, so
 * that neither opens what the other writes: somebody who does X to an image has a shared lock on byte 100 + X; somebody who
 * bars others from X, on byte 200 + X; and each, having taken its locks, looks for those that contradict.
 */
#include "host/disk/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define OUR_BYTE  300
#define QEMU_DOES 100
#define QEMU_BARS 200
enum { READS, WRITES, WRITES_SAME, RESIZES };

static int set_lock(int fd, short type, off_t byte)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	while (fcntl(fd, F_OFD_SETLK, &l))
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* 1: somebody else has a lock on the byte. */
static int locked(int fd, off_t byte)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(fd, F_OFD_GETLK, &l) ? -errno : l.l_type != F_UNLCK;
}

/* -EAGAIN: contradicted. */
static int lock_as_qemu(int fd, bool writable)
{
	const unsigned does = BIT(READS) | (writable ? BIT(WRITES) | BIT(RESIZES) : 0);
	const unsigned bars = BIT(WRITES) | BIT(RESIZES);
	int e = 0;

	for (unsigned i = READS; !e && i <= RESIZES; i++) {
		if (does & BIT(i))
			e = set_lock(fd, F_RDLCK, QEMU_DOES + i);
		if (!e && (bars & BIT(i)))
			e = set_lock(fd, F_RDLCK, QEMU_BARS + i);
	}
	for (unsigned i = READS; !e && i <= RESIZES; i++) {
		int other = does & BIT(i) ? locked(fd, QEMU_BARS + i) : 0;

		if (!other && (bars & BIT(i)))
			other = locked(fd, QEMU_DOES + i);
		e = other > 0 ? -EAGAIN : other;
	}
	return e;
}

int disk_lock(int fd, const char *path, bool writable, bool direct, struct error *err)
{
	int e = set_lock(fd, writable ? F_WRLCK : F_RDLCK, OUR_BYTE);

	if (!e && direct)
		e = lock_as_qemu(fd, writable);
	if (e == -EAGAIN || e == -EACCES)
		return error_set(err, EBUSY,
				 writable ? "%s is in use by another virtual machine or disk: to write it, one must be "
					    "alone with it"
					  : "%s is being written by another virtual machine or disk",
				 path);
	/* A file system without locks: reading harms nobody. */
	if (e && writable)
		return error_set(err, e, "cannot lock %s: %s", path, strerror(-e));
	return 0;
}
