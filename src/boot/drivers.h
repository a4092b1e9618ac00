/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drivers of the guest's kernel for the devices that it is given. Distributions' kernels have them as modules: those that the
 * guest needs go into the initial file system, numbered in the order in which our inits load them.
 */
#pragma once
#include "boot/boot.h"
#include "boot/image.h"
#include "boot/init_config.h"

#define DRIVERS_VERSION_MAX 64

/* The kernel's version ("6.1.0-13-amd64") as its boot header or banner has it; empty if there is none. */
void drivers_version(char version[DRIVERS_VERSION_MAX], const struct blob *kernel);

/*
 * Appends an archive with those modules that c->drivers names to out; at most limit bytes in all. They are looked for in
 * modules/VERSION beside the kernel and in /lib/modules/VERSION; what is not there is taken to be built in.
 */
int drivers_pack(struct blob *out, const struct boot_config *c, const char *version, u64 limit, struct error *err);
