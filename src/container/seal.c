/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our executable, seen from a container: its processes may get at /proc/PID/exe of ours, and root there is root of the file system
 * that we are on. So what enters a container runs from a mount of its own that is read-only and in no namespace, where nobody can
 * make it writable; users, who may not mount, from a sealed copy in memory, unless the file is not theirs to write anyway.
 *
 * It costs an execve() of a small static program, and the end of the mount, which waits for an RCU grace period: so its descriptor is
 * kept, and closed when there is nothing else to do. Whether it has been done is a question to the kernel, not to the environment.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container/container.h"
#include "util/cleanup.h"

#define EXE   "/proc/self/exe"
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

extern char **environ;

/* The mount that we were executed from: execveat(2) calls the file by its descriptor, which we have kept. */
static int own_mount(void)
{
	const char *name = (const char *)getauxval(AT_EXECFN);
	int fd;

	if (!name || sscanf(name, "/dev/fd/%d", &fd) != 1 || fd < 3 || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return 0;
	return fd;
}

static bool sealed(void)
{
	_cleanup_fd_ int fd = -1;
	struct statfs fs;
	struct stat st;

	if (!statfs(EXE, &fs) && fs.f_flags & ST_RDONLY)
		return true;
	if (geteuid() && !stat(EXE, &st) && st.st_uid != geteuid() && access(EXE, W_OK))
		return true;
	fd = open(EXE, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && fcntl(fd, F_GET_SEALS) > 0 && (fcntl(fd, F_GET_SEALS) & SEALS) == SEALS;
}

static int readonly_mount(void)
{
	struct mount_attr a = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
	_cleanup_fd_ int fd = open_tree(AT_FDCWD, EXE, OPEN_TREE_CLONE);

	if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &a, sizeof(a)))
		return -1;
	return steal_fd(fd);
}

static int copy_in_memory(void)
{
	_cleanup_fd_ int from = open(EXE, O_RDONLY | O_CLOEXEC);
	_cleanup_fd_ int fd = memfd_create("sextant", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;
	off_t done = 0;

	if (from < 0 || fd < 0 || fstat(from, &st))
		return -1;
	while (done < st.st_size)
		if (sendfile(fd, from, &done, (size_t)(st.st_size - done)) <= 0)
			return -1;
	if (fchmod(fd, 0500) || fcntl(fd, F_ADD_SEALS, SEALS))
		return -1;
	return steal_fd(fd);
}

int seal_executable(char **argv, int *mount, struct error *err)
{
	_cleanup_fd_ int fd = -1;

	*mount = 0;
	if (sealed()) {
		*mount = own_mount();
		return 0;
	}
	fd = readonly_mount();
	if (fd >= 0)
		syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	if (fd >= 0)
		close(steal_fd(fd));
	fd = copy_in_memory();
	if (fd >= 0)
		syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	return error_set(err, errno, "keeping our executable out of the container's reach: %s", strerror(errno));
}
