/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be booted, before anybody has decided where it goes: the kernel's file unpacked and parsed, its initial file system, its
 * command line. load.c puts them into a PC; a platform of another kind may put them into its own.
 */
#pragma once
#include "boot/boot.h"
#include "boot/image.h"
#include "boot/multiboot.h"

#define KERNEL_MAX (1ull << 30)

struct kernel {
	struct blob file, unpacked;
	struct bzimage bz;
	struct elf_image elf;
	struct multiboot mb;
	bool is_bz;
	int fd; /* of a kernel that unpacks itself; then `file` is only its head */
};
#define KERNEL_NONE      \
	{                \
		.fd = -1 \
	}
void kernel_free(struct kernel *k);
/* Reads and parses the file, whose kernel may take up to limit bytes. */
int kernel_read(struct kernel *k, const char *path, u64 limit, struct error *err);
#define _cleanup_kernel_ __attribute__((cleanup(kernel_free)))

/* What is in front of the user's own words. Ours make the console the only thing that is seen: CMD's output. Allocated. */
int kernel_cmdline(char **out, const struct boot_config *c, struct error *err);
/* The user's archive first, padded as the kernel wants it (Documentation/driver-api/early-userspace/buffer-format.rst), then
 * the directory: what comes later in the buffer wins. Drivers last, of this very kernel. Appended to out. */
int kernel_initrd(struct blob *out, const struct kernel *k, const struct boot_config *c, u64 limit, struct error *err);
/* An error of the last: which file it is about. */
int kernel_initrd_wrap(const struct boot_config *c, struct error *err);
