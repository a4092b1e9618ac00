/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels, initial RAM file systems and command lines that a user might give: the first two bytes say how the rest is
 * divided. Whatever they hold, boot_load() takes it or refuses it with a message.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/boot.h"
#include "machine/ram.h"

#define RAM_SIZE (32ull << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int file_of(const u8 *data, size_t len, char path[64])
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	assert(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct firmware_info firmware = {
		.map = { { 0, 0x9fc00, MEM_RAM },
			 { 0xe0000, 0x20000, MEM_RESERVED },
			 { 1 << 20, RAM_SIZE - (1 << 20), MEM_RAM } },
		.ranges = 3,
		.rsdp = 0xe0000,
	};
	struct cpu_model model = { .name = "fuzz", .feature = { ~0ull, ~0ull } };
	struct machine_config config = { .ram_size = RAM_SIZE, .cpus = 1, .model = &model };
	struct error err = { 0 };
	char kernel[64], initrd[64], append[64] = "";

	if (size < 2)
		return 0;
	size_t words = MIN(data[0] & 31u, size - 2), rd = data[1] ? MIN((size_t)data[1] * 8, size - 2 - words) : 0;
	memcpy(append, data + 2, words);
	struct machine *m = machine_new(&config, &err);
	assert(m);
	int initrd_fd = file_of(data + 2 + words, rd, initrd),
	    kernel_fd = file_of(data + 2 + words + rd, size - 2 - words - rd, kernel);
	struct boot_config c = {
		.kernel = kernel, .initrd = rd ? initrd : NULL, .append = append, .firmware = &firmware
	};
	if (boot_load(m, &c, &err))
		assert(err.code < 0 && err.text[0] && !strchr(err.text, '\n'));
	close(initrd_fd);
	close(kernel_fd);
	machine_free(m);
	return 0;
}
