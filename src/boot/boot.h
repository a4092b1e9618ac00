/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct kernel boot: puts a kernel, its initial RAM file system and its parameters into guest RAM and sets vCPU 0's
 * registers as the kernel's entry demands. The machine is reset and has not run; nothing here knows an engine.
 *
 * Files are the user's and untrusted: each defect is one error, and a failed boot_load has freed all it took.
 */
#pragma once
#include "machine/firmware.h"
#include "machine/machine.h"

/* Kinds of devices whose drivers the guest needs early. */
#define DRIVER_DISK    BIT(0)
#define DRIVER_NET     BIT(1)
#define DRIVER_CONSOLE BIT(2)
#define DRIVER_BALLOON BIT(3)
#define DRIVER_VSOCK   BIT(4)
#define DRIVER_SHARE   BIT(5)
#define DRIVER_XEN     BIT(6) /* of those: Xen's front ends, not virtio's */

struct boot_config { /* the caller owns all; NULL: absent */
	const char *kernel; /* bzImage, vmlinux, a multiboot kernel, or an ELF image with a PVH note */
	/* For a multiboot kernel: modules, "FILE ARGS,FILE ARGS", each with the words that it is told; ",," is a comma. Else a
	 * file; with rootfs: goes before it, so that rootfs' files win */
	const char *initrd;
	const char *console; /* of the command line, unless append has one; NULL: ttyS0 */
	const char *append; /* added to the command line after what we put there */
	/* A directory to pack as the guest's root file system, and what to run in it as our init's only child. */
	const char *rootfs;
	u64 *packed; /* with rootfs: gets the number of bytes that it has when packed; NULL: nobody wants to know */
	const char *rootfs_name; /* what messages call it; NULL: its path */
	const char *const *argv; /* CMD and its arguments, NULL-terminated; at least CMD with rootfs */
	const char *const *envp; /* CMD's environment, NULL-terminated; NULL: PATH, HOME and TERM of a console login */
	const char *workdir; /* NULL: / */
	bool make_workdir; /* it need not be there */
	const char *user; /* who CMD is run as, "UID:GID:GROUP,GROUP", groups being the further ones; NULL: root */
	bool owners_beside; /* rootfs was unpacked by who could not set owners: util/override.h tells them, else it is root */
	const char *hostname; /* NULL: sextant */
	const char *shares; /* with rootfs: "TAG,TAG" of shared folders to be mounted at /mnt/TAG; NULL: none */
	const char *network; /* with rootfs: "ADDRESS/BITS,GATEWAY,RESOLVER" of its network card; NULL: left as it is */
	u16 columns, rows; /* console's window size; 0: unknown */
	/* With rootfs: the console's input is no terminal, so nothing is echoed and only Ctrl-d (end) and Ctrl-v (the next byte
	 * as it is) mean something; its output is none, so that "\n" stays "\n". */
	bool plain_input, plain_output;
	/* DRIVER_* of modules to put into the initial file system, for an init of ours to load; 0: none. */
	unsigned drivers;
	/* The guest's code is as fast as ours: a kernel that can unpacks itself, and puts itself where it likes (KASLR). */
	bool unpacks_itself;
	const struct firmware_info *firmware;
};

/* 0; or negative errno and err, one line that names the file. */
int boot_load(struct machine *m, const struct boot_config *c, struct error *err);
