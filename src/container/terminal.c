/* SPDX-License-Identifier: Apache-2.0 */
/* A container's terminal: a pty of its own devpts, whose other end goes to whoever wants to see it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "container/rootpath.h"
#include "util/cleanup.h"

#define DEVPTS_MAGIC 0x1cd1
#define PTMX	     makedev(5, 2)

/* The multiplexer of the container's devpts; not just anything of that name, as the root is somebody else's. */
static int open_ptmx(int root, struct error *err)
{
	_cleanup_fd_ int at = root_open(root, "/dev/pts/ptmx", O_PATH | O_NOFOLLOW);
	char path[FD_PATH_MAX];
	struct statfs fs;
	struct stat st;
	int fd;

	if (at < 0)
		return error_set(err, -at, "a terminal needs a devpts on /dev/pts: %s", strerror(-at));
	if (fstatfs(at, &fs) || fs.f_type != DEVPTS_MAGIC || fstat(at, &st) || !S_ISCHR(st.st_mode) ||
	    st.st_rdev != PTMX)
		return error_set(err, ENXIO, "/dev/pts/ptmx is no terminal multiplexer");
	fd = open(fd_path(at, path), O_RDWR | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? error_set(err, errno, "/dev/pts/ptmx: %s", strerror(errno)) : fd;
}

static int bind_console(int root, int slave, struct error *err)
{
	_cleanup_fd_ int target = root_make_file(root, "/dev/console");
	char name[FD_PATH_MAX], path[FD_PATH_MAX];
	_cleanup_fd_ int tty = -1;
	int n, e = target;

	if (target >= 0) {
		/* By number, since the slave itself was opened without a path. */
		snprintf(name, sizeof(name), "/dev/pts/%d", ioctl(slave, TIOCGPTN, &n) ? 0 : n);
		tty = root_open(root, name, O_PATH | O_NOFOLLOW);
		e = tty < 0 ? tty : mount_bind_fd(tty, NULL, target, false, 0);
		fd_path(tty, path);
	}
	return e ? error_set(err, -e, "/dev/console: %s", strerror(-e)) : 0;
}

static int hand_over(struct launch *l, int master, struct error *err)
{
	char name[] = "/dev/ptmx";
	int e = l->console >= 0 ? fd_send(l->console, master, name, strlen(name))
				: sync_send(l->sync, SYNC_CONSOLE, 0, master);

	return e ? error_set(err, -e, "handing over the terminal: %s", strerror(-e)) : 0;
}

static int make_standard(int slave, struct error *err)
{
	if (setsid() < 0 && errno != EPERM)
		return error_set(err, errno, "a session for the terminal: %s", strerror(errno));
	if (ioctl(slave, TIOCSCTTY, 0))
		return error_set(err, errno, "the controlling terminal: %s", strerror(errno));
	for (int fd = 0; fd < 3; fd++)
		if (dup2(slave, fd) < 0)
			return error_set(err, errno, "the terminal: %s", strerror(errno));
	return 0;
}

int terminal_make(struct launch *l, int root, struct error *err)
{
	const json_t *size = js_at(l->process, "consoleSize");
	struct winsize w = { .ws_row = (u16)js_int(size, "height", 0), .ws_col = (u16)js_int(size, "width", 0) };
	_cleanup_fd_ int master = open_ptmx(root, err), slave = -1;
	int e, unlock = 0;

	if (master < 0)
		return master;
	if (ioctl(master, TIOCSPTLCK, &unlock))
		return error_set(err, errno, "the terminal: %s", strerror(errno));
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return error_set(err, errno, "the terminal: %s", strerror(errno));
	if (size)
		ioctl(master, TIOCSWINSZ, &w);
	fchown(slave, (uid_t)js_int(l->process, "user.uid", 0), (gid_t)-1);
	e = l->exec ? 0 : bind_console(root, master, err);
	e = e ? e : hand_over(l, master, err);
	return e ? e : make_standard(slave, err);
}
