/* SPDX-License-Identifier: Apache-2.0 */
/* Who may open a disk image at the same time. */
#pragma once
#include "util/error.h"

/*
 * Locks fd, an open file called path, until its open file description goes: one writer or any number of readers.
 * direct: we access the data ourselves, so QEMU is to know too; a qemu-nbd that accesses it for us takes QEMU's locks itself.
 */
int disk_lock(int fd, const char *path, bool writable, bool direct, struct error *err);
