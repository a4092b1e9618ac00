/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs a directory as an initial RAM file system (a "newc" cpio archive), with our init and its configuration at its end.
 * Owner, mode, times, links, devices and names of any bytes survive; what newc has no place for does not: extended attributes,
 * ACLs, file capabilities and times finer than a second.
 */
#pragma once
#include "boot/boot.h"
#include "boot/image.h"
#include "boot/init_config.h"

#define INITRAMFS_INIT "/" INIT_DIR "/" INIT_PROGRAM

/* Appends to out, which may hold another archive already; at most limit bytes in all. Uses of c what is about
 * rootfs, CMD and the console. */
int initramfs_pack(struct blob *out, const struct boot_config *c, u64 limit, struct error *err);
