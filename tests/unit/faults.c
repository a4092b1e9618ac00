/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a qemu-nbd: fdatasync() takes its time, and fails where FAULTS_ERROR=1. For test-disk-flush. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd)
{
	const char *fail = getenv("FAULTS_ERROR");

	usleep(150 * 1000);
	if (!fail || *fail != '1')
		return (int)syscall(SYS_fdatasync, fd);
	errno = EIO;
	return -1;
}
