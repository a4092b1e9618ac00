/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of a --rootfs guest: mounts what a Linux program expects, runs one command with the console as its terminal, tells
 * the host its exit status and powers off. src/boot/initramfs.c puts it and its configuration into the initial file system.
 *
 * Static and without a C library: some kilobytes that start at once. Failures of what is merely nice to have (a mount, the
 * hostname) are not failures; the command then finds the system as it is.
 */
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/reboot.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "boot/init_config.h"
#include "devices/guest_status.h"
#include "init.h"

#define NOT_RUN	       125 /* we could not get as far as running the command */
#define NOT_EXECUTABLE 126
#define NOT_FOUND      127
#define DEFAULT_PATH   "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PATH_ROOM      4096
#define GROUPS_ROOM    256

struct config {
	char **argv, **envp; /* NULL-terminated */
	const char *workdir, *hostname, *network, *user;
	char *shares; /* cut up by mount_shares() */
	unsigned columns, rows;
	bool plain_input, plain_output, make_workdir;
};

static size_t length(const char *s)
{
	size_t n = 0;
	while (s[n])
		n++;
	return n;
}

static bool has_prefix(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return false;
	return true;
}

static bool has_slash(const char *s)
{
	while (*s && *s != '/')
		s++;
	return *s;
}

static unsigned number(const char *s)
{
	unsigned n = 0;
	while (*s >= '0' && *s <= '9')
		n = n * 10 + (unsigned)(*s++ - '0');
	return n;
}

static void say(const char *s)
{
	sys3(write, 2, s, length(s));
}

static void complain(const char *what, const char *why)
{
	say("sextant: ");
	say(what);
	say(": ");
	say(why);
	say("\n");
}

/* ---- the end ---- */

static void drain_console(void)
{
	sys3(ioctl, 1, TCXONC, 1); /* TCOON: output that Ctrl-S stopped would never drain */
	sys3(ioctl, 1, TCSBRK, 1); /* tcdrain() */
}

static unsigned char in8(unsigned short port)
{
	unsigned char value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "d"(port));
	return value;
}

static void out8(unsigned short port, unsigned char value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "d"(port));
}

static bool is_magic(const unsigned char *b)
{
	return (b[0] | b[1] << 8 | b[2] << 16 | (unsigned)b[3] << 24) == GUEST_STATUS_MAGIC_VALUE;
}

/* For kernels without ioperm(): the ports as a file. */
static void tell_by_file(unsigned offset, unsigned char value)
{
	unsigned char magic[4] = { 0 };
	long fd = sys3(open, "/dev/port", O_RDWR | O_CLOEXEC, 0);
	sys4(pread64, fd, magic, sizeof(magic), GUEST_STATUS_PORT + GUEST_STATUS_MAGIC);
	if (is_magic(magic))
		sys4(pwrite64, fd, &value, 1, GUEST_STATUS_PORT + offset);
	sys1(close, fd);
}

/* Writes a register of the guest status device, if there is one. */
static void tell(unsigned offset, unsigned char value)
{
	if (sys3(ioperm, GUEST_STATUS_PORT, GUEST_STATUS_LEN, 1)) {
		tell_by_file(offset, value);
		return;
	}
	unsigned char magic[4];
	for (unsigned i = 0; i < sizeof(magic); i++)
		magic[i] = in8((unsigned short)(GUEST_STATUS_PORT + GUEST_STATUS_MAGIC + i));
	if (is_magic(magic))
		out8((unsigned short)(GUEST_STATUS_PORT + offset), value);
}

static _Noreturn void finish(unsigned char status)
{
	drain_console();
	tell(GUEST_STATUS_VALUE, status);
	sys0(sync);
	for (;;)
		sys4(reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0);
}

/* ---- the system around the command ---- */

static const struct file_system {
	const char *type, *where, *options;
	unsigned long flags;
} file_systems[] = {
	{ "proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "devtmpfs", "/dev", "mode=755", MS_NOSUID },
	{ "devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666", MS_NOSUID | MS_NOEXEC },
	{ "tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV },
};

static void mount_all(void)
{
	sys1(umask, 0);
	for (const struct file_system *f = file_systems; f < file_systems + sizeof(file_systems) / sizeof(*f); f++) {
		sys2(mkdir, f->where, 0755);
		sys5(mount, f->type, f->where, f->type, f->flags, f->options);
	}
	sys2(mkdir, "/tmp", 01777);
	sys1(umask, 022);
}

/* udev makes these elsewhere; shells and many a script want them. */
static void link_descriptors(void)
{
	sys2(symlink, "/proc/self/fd", "/dev/fd");
	sys2(symlink, "/proc/self/fd/0", "/dev/stdin");
	sys2(symlink, "/proc/self/fd/1", "/dev/stdout");
	sys2(symlink, "/proc/self/fd/2", "/dev/stderr");
}

static void open_console(void)
{
	long fd = sys3(open, "/dev/console", O_RDWR | O_NOCTTY, 0);
	if (fd < 0) { /* a kernel without devtmpfs */
		sys3(mknod, "/dev/console", S_IFCHR | 0600, 5 << 8 | 1);
		fd = sys3(open, "/dev/console", O_RDWR | O_NOCTTY, 0);
	}
	if (fd < 0)
		return;
	for (int i = 0; i < 3; i++)
		sys2(dup2, fd, i);
	if (fd > 2)
		sys1(close, fd);
}

static void raise_loopback(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	long fd = sys3(socket, 2 /* AF_INET */, 2 /* SOCK_DGRAM */, 0);
	if (fd < 0)
		return;
	sys3(ioctl, fd, 0x8914 /* SIOCSIFFLAGS */, &r);
	sys1(close, fd);
}

/* Where the host's end is no terminal the console passes bytes as they are, but for what boot.h says of plain input: a tty
 * has no other way to tell the end of input. RTS stops the host while the command does not read. */
static void make_plain(const struct config *c)
{
	struct termios t;
	if ((!c->plain_input && !c->plain_output) || sys3(ioctl, 0, TCGETS, &t))
		return;
	t.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL | ECHOCTL | ECHOKE);
	if (c->plain_output)
		t.c_oflag &= ~(tcflag_t)OPOST;
	if (c->plain_input) {
		t.c_cflag |= CRTSCTS;
		t.c_iflag = 0;
		t.c_lflag = ICANON | IEXTEN;
		for (unsigned i = 0; i < NCCS; i++)
			t.c_cc[i] = 0;
		t.c_cc[VEOF] = 0x04;
		t.c_cc[VLNEXT] = 0x16;
	}
	sys3(ioctl, 0, TCSETS, &t);
}

static void prepare(const struct config *c)
{
	struct {
		unsigned short rows, columns, x, y;
	} size = { (unsigned short)c->rows, (unsigned short)c->columns, 0, 0 };
	if (c->rows && c->columns)
		sys3(ioctl, 0, TIOCSWINSZ, &size);
	make_plain(c);
	tell(GUEST_STATUS_READY, 1);
	if (c->hostname)
		sys2(sethostname, c->hostname, length(c->hostname));
	raise_loopback();
	if (c->network)
		set_network(c->network);
	link_descriptors();
}

/* ---- the configuration ---- */

static void *map(size_t len, long fd)
{
	long p = sys6(mmap, 0, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	return p < 0 && p > -4096 ? NULL : (void *)p;
}

static void parse(struct config *c, char *text, size_t len)
{
	char **argv = c->argv, **envp = c->envp;
	for (char *p = text; p < text + len; p += length(p) + 1) {
		switch (*p) {
		case INIT_ARGUMENT: *argv++ = p + 1; break;
		case INIT_ENVIRONMENT: *envp++ = p + 1; break;
		case INIT_WORKDIR: c->workdir = p + 1; break;
		case INIT_MAKE_DIR: c->make_workdir = true; break;
		case INIT_USER: c->user = p + 1; break;
		case INIT_HOSTNAME: c->hostname = p + 1; break;
		case INIT_SHARES: c->shares = p + 1; break;
		case INIT_NETWORK: c->network = p + 1; break;
		case INIT_COLUMNS: c->columns = number(p + 1); break;
		case INIT_ROWS: c->rows = number(p + 1); break;
		case INIT_PLAIN:
			c->plain_input = p[1] == 'i';
			c->plain_output = p[1] == 'o' || (p[1] && p[2] == 'o');
			break;
		}
	}
}

static bool read_config(struct config *c)
{
	long fd = sys3(open, "/" INIT_DIR "/" INIT_CONFIG, O_RDONLY | O_CLOEXEC, 0);
	long len = fd < 0 ? 0 : sys3(lseek, fd, 0, 2 /* SEEK_END */);
	if (len <= 0)
		return false;
	char *text = map((size_t)len, fd);
	if (!text || text[len - 1])
		return false;
	size_t records = 1;
	for (long i = 0; i < len; i++)
		records += !text[i];
	c->argv = map(2 * records * sizeof(char *), -1);
	if (!c->argv)
		return false;
	c->envp = c->argv + records;
	parse(c, text, (size_t)len);
	return c->argv[0];
}

/* ---- drivers ---- */

#define DRIVER_NAME	"/" INIT_DIR "/" INIT_DRIVERS "/"
#define DRIVER_NAME_LEN (sizeof(DRIVER_NAME) - 1)

/* What cannot be loaded is built in, or the command will miss its device. */
static void load_drivers(void)
{
	char name[DRIVER_NAME_LEN + 3] = DRIVER_NAME;

	for (unsigned i = 0; i < 100; i++) {
		name[DRIVER_NAME_LEN] = (char)('0' + i / 10);
		name[DRIVER_NAME_LEN + 1] = (char)('0' + i % 10);
		long fd = sys3(open, name, O_RDONLY | O_CLOEXEC, 0);
		if (fd < 0)
			break;
		sys3(finit_module, fd, "", 0);
		sys1(close, fd);
		sys1(unlink, name);
	}
	sys1(rmdir, "/" INIT_DIR "/" INIT_DRIVERS);
}

/* ---- shared folders ---- */

/* One that cannot be mounted is missing, as with drivers; its directory stays empty. */
static void mount_share(const char *tag)
{
	char path[64] = "/mnt/";
	size_t n = 0;

	for (; tag[n] && n < sizeof(path) - sizeof("/mnt/"); n++)
		path[n + sizeof("/mnt/") - 1] = tag[n];
	sys2(mkdir, "/mnt", 0755);
	sys2(mkdir, path, 0755);
	sys5(mount, tag, path, "virtiofs", MS_NODEV | MS_NOSUID, 0);
}

static void mount_shares(char *list)
{
	while (list && *list) {
		char *tag = list;
		while (*list && *list != ',')
			list++;
		if (*list)
			*list++ = 0;
		mount_share(tag);
	}
}

/* The command shall find the tree that its user packed, not us. */
static void hide(void)
{
	sys1(unlink, "/" INIT_DIR "/" INIT_CONFIG);
	sys1(unlink, "/" INIT_DIR "/" INIT_PROGRAM);
	sys1(rmdir, "/" INIT_DIR);
}

/* ---- the command ---- */

/* A file that is executable but of no format the kernel knows is a script for the shell (POSIX, execvp). */
static long run_script(const char *path, const struct config *c)
{
	size_t n = 0;
	while (c->argv[n])
		n++;
	const char **argv = map((n + 2) * sizeof(char *), -1);
	if (!argv)
		return -ENOMEM;
	argv[0] = "/bin/sh";
	argv[1] = path;
	for (size_t i = 1; i < n; i++)
		argv[i + 1] = c->argv[i];
	sys3(execve, argv[0], argv, c->envp);
	return -ENOEXEC;
}

/* Returns only on failure, with a negative errno. */
static long run(const char *path, const struct config *c)
{
	long r = sys3(execve, path, c->argv, c->envp);
	return r == -ENOEXEC ? run_script(path, c) : r;
}

static const char *search_path(const struct config *c)
{
	for (char **e = c->envp; *e; e++)
		if (has_prefix(*e, "PATH="))
			return *e + 5;
	return DEFAULT_PATH;
}

/* "dir/name", or "./name" for an empty dir; false when there is no room. */
static bool join(char *out, const char *dir, size_t dir_len, const char *name)
{
	size_t n = 0;
	if (dir_len + length(name) + 3 > PATH_ROOM)
		return false;
	if (!dir_len)
		out[n++] = '.';
	while (n < dir_len) {
		out[n] = dir[n];
		n++;
	}
	out[n++] = '/';
	while ((out[n++] = *name++))
		;
	return true;
}

/* As shells do: what was found but could not be run is remembered while the search goes on. */
static long run_from_path(const struct config *c)
{
	char path[PATH_ROOM];
	long result = -ENOENT;
	if (!c->argv[0][0])
		return result;
	for (const char *dir = search_path(c);; dir++) {
		size_t len = 0;
		while (dir[len] && dir[len] != ':')
			len++;
		if (join(path, dir, len, c->argv[0])) {
			long r = run(path, c);
			if (r != -ENOENT && r != -ENOTDIR)
				result = r;
		}
		dir += len;
		if (!*dir)
			return result;
	}
}

static const char *reason(const struct config *c, long error)
{
	switch (-error) {
	case ENOENT:
	case ENOTDIR: {
		bool there = has_slash(c->argv[0]) && !sys2(access, c->argv[0], 0);
		return there ? "its interpreter or loader was not found" : "not found";
	}
	case EACCES: return "permission denied";
	case E2BIG: return "argument list too long";
	case ENOEXEC: return "cannot execute: unknown format";
	case ENOMEM: return "cannot execute: not enough memory";
	default: return "cannot execute";
	}
}

/* mkdir -p */
static void make_directory(const char *path)
{
	char part[PATH_ROOM];

	for (size_t n = 0; path[n] && n < PATH_ROOM - 1; n++) {
		part[n] = path[n];
		part[n + 1] = 0;
		if (path[n + 1] == '/' || !path[n + 1])
			sys2(mkdir, part, 0755);
	}
}

/* "UID:GID:GROUP,GROUP". The console becomes the user's: programs open it again by names such as /dev/stdout. */
static bool become(const char *user)
{
	unsigned groups[GROUPS_ROOM], n = 0, uid = number(user), gid;

	while (*user && *user++ != ':')
		;
	gid = number(user);
	while (*user && *user++ != ':')
		;
	while (*user && n < GROUPS_ROOM) {
		groups[n++] = number(user);
		while (*user && *user++ != ',')
			;
	}
	sys3(fchown, 0, uid, gid);
	return !sys2(setgroups, n, groups) && !sys1(setgid, gid) && !sys1(setuid, uid);
}

/* ---- the console as a terminal ---- */

#define SIGNAL_BIT(n) (1ul << ((n)-1))

/*
 * The session is ours, and the command a job in its foreground, as a shell would start it. Were the command the session's leader, the kernel would
 * hang the terminal up when it exits, and a hangup forgets output that is still on its way (Linux: disassociate_ctty()).
 */
static void own_terminal(void)
{
	unsigned long held =
		SIGNAL_BIT(SIGTTOU); /* so that we may wait for its output while the command's group has it */

	sys0(setsid);
	sys3(ioctl, 0, TIOCSCTTY, 0);
	sys4(rt_sigprocmask, SIG_BLOCK, &held, 0, sizeof(held));
}

static void to_foreground(void)
{
	unsigned long held = SIGNAL_BIT(SIGTTOU);
	int group = (int)sys0(getpid);

	sys2(setpgid, 0, 0);
	sys3(ioctl, 0, TIOCSPGRP, &group);
	sys4(rt_sigprocmask, SIG_UNBLOCK, &held, 0, sizeof(held));
}

static _Noreturn void child(const struct config *c)
{
	long r;

	to_foreground();
	if (c->make_workdir && c->workdir)
		make_directory(c->workdir);
	if (c->user && !become(c->user)) {
		complain("init", "cannot become the user that the command is to be run as");
		sys1(exit_group, NOT_RUN);
	}
	if (c->workdir && sys1(chdir, c->workdir)) {
		complain(c->workdir, "no such working directory");
		sys1(exit_group, NOT_EXECUTABLE);
	}
	r = has_slash(c->argv[0]) ? run(c->argv[0], c) : run_from_path(c);
	complain(c->argv[0], reason(c, r));
	for (;;)
		sys1(exit_group, r == -ENOENT || r == -ENOTDIR ? NOT_FOUND : NOT_EXECUTABLE);
}

/* Reaps whatever is handed to PID 1, until it is the command. */
static unsigned char wait_for(long pid)
{
	for (;;) {
		int status = 0;
		long r = sys4(wait4, -1, &status, 0, 0);
		if (r == pid)
			return (unsigned char)(status & 0x7f ? 128 + (status & 0x7f) : status >> 8);
		if (r < 0 && r != -EINTR)
			return NOT_RUN;
	}
}

static _Noreturn __attribute__((used)) void start(void)
{
	static struct config c;
	mount_all();
	open_console();
	if (!read_config(&c)) {
		complain("init", "cannot read its configuration");
		finish(NOT_RUN);
	}
	load_drivers();
	mount_shares(c.shares);
	prepare(&c);
	hide();
	own_terminal();
	long pid = sys0(fork);
	if (!pid)
		child(&c);
	if (pid < 0) {
		complain("init", "cannot start a process");
		finish(NOT_RUN);
	}
	finish(wait_for(pid));
}

/* The kernel enters with RSP at argc, 16-byte aligned; a call makes the stack what C expects. */
__asm__(".globl _start\n_start:\n\txorl %ebp, %ebp\n\tandq $-16, %rsp\n\tcall start\n");
