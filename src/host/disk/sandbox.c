/* SPDX-License-Identifier: Apache-2.0 */
/* Sandbox of helper processes: see sandbox.h. */
#include "host/disk/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DENY(e) (SECCOMP_RET_ERRNO | (e))
/* All that changes a file system, as the first version of Landlock knows it. */
#define WRITES                                                                                            \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	 LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |       \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |    \
	 LANDLOCK_ACCESS_FS_MAKE_SYM)

/* What a server of one file on an open socket has no use for. */
static const int denied[] = {
	SYS_socket,
	SYS_socketpair,
	SYS_connect,
	SYS_bind,
	SYS_ptrace,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_kcmp,
	SYS_mount,
	SYS_umount2,
	SYS_pivot_root,
	SYS_chroot,
	SYS_unshare,
	SYS_setns,
	SYS_bpf,
	SYS_perf_event_open,
	SYS_keyctl,
	SYS_add_key,
	SYS_request_key,
	SYS_userfaultfd,
	SYS_init_module,
	SYS_finit_module,
	SYS_delete_module,
	SYS_kexec_load,
	SYS_reboot,
	SYS_swapon,
	SYS_swapoff,
	SYS_fork,
	SYS_vfork,
	SYS_open_by_handle_at,
	SYS_chmod,
	SYS_fchmod,
	SYS_fchmodat,
	SYS_chown,
	SYS_fchown,
	SYS_lchown,
	SYS_fchownat,
	SYS_io_uring_setup,
};

static void add(struct sandbox *s, u16 code, u32 k, u8 yes, u8 no)
{
	s->filter[s->filters++] = (struct sock_filter){ code, yes, no, k };
}

static void prepare_filter(struct sandbox *s)
{
	const u16 load = BPF_LD | BPF_W | BPF_ABS, equal = BPF_JMP | BPF_JEQ | BPF_K, ret = BPF_RET | BPF_K;

	_Static_assert(ARRAY_SIZE(denied) + 16 <= SANDBOX_FILTER_MAX, "one instruction each, and what is around them");
	add(s, load, offsetof(struct seccomp_data, arch), 0, 0);
	add(s, equal, AUDIT_ARCH_X86_64, 1, 0);
	add(s, ret, SECCOMP_RET_KILL_PROCESS, 0, 0);
	add(s, load, offsetof(struct seccomp_data, nr), 0, 0);
	add(s, BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1); /* x32 */
	add(s, ret, DENY(ENOSYS), 0, 0);
	/* Threads, but no processes; clone3 hides its flags in memory, and C libraries do without it. */
	add(s, equal, SYS_clone3, 0, 1);
	add(s, ret, DENY(ENOSYS), 0, 0);
	add(s, equal, SYS_clone, 0, 3);
	add(s, load, offsetof(struct seccomp_data, args[0]), 0, 0);
	add(s, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, (u8)(ARRAY_SIZE(denied) + 1), 0);
	add(s, ret, DENY(EPERM), 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(denied); i++)
		add(s, equal, (u32)denied[i], (u8)(ARRAY_SIZE(denied) - i), 0);
	add(s, ret, SECCOMP_RET_ALLOW, 0, 0);
	add(s, ret, DENY(EPERM), 0, 0);
}

static void prepare_landlock(struct sandbox *s, const char *path)
{
	struct landlock_ruleset_attr all = { .handled_access_fs = WRITES };
	struct landlock_path_beneath_attr own = { .allowed_access = LANDLOCK_ACCESS_FS_WRITE_FILE };

	int fd = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);

	/* Above those that the child puts other things into. */
	s->ruleset = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, SANDBOX_FD_MIN);
	if (fd >= 0)
		close(fd);
	if (s->ruleset < 0 || !path)
		return;
	own.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (own.parent_fd < 0)
		return; /* it cannot be opened then, and whoever tries says why */
	syscall(SYS_landlock_add_rule, s->ruleset, LANDLOCK_RULE_PATH_BENEATH, &own, 0);
	close(own.parent_fd);
}

void sandbox_prepare(struct sandbox *s, const char *path)
{
	*s = (struct sandbox){ .parent = getpid() };
	snprintf(s->uid_map, sizeof(s->uid_map), "%u %u 1", geteuid(), geteuid());
	snprintf(s->gid_map, sizeof(s->gid_map), "%u %u 1", getegid(), getegid());
	prepare_filter(s);
	prepare_landlock(s, path);
}

void sandbox_release(struct sandbox *s)
{
	if (s->ruleset >= 0)
		close(s->ruleset);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, text, strlen(text));
	close(fd);
}

/* A network of its own, which is empty: root has it for the asking, others in a user namespace if the host lets them. */
static void leave_network(const struct sandbox *s)
{
	if (!unshare(CLONE_NEWNET | CLONE_NEWIPC) || unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC))
		return;
	write_file("/proc/self/setgroups", "deny");
	write_file("/proc/self/uid_map", s->uid_map);
	write_file("/proc/self/gid_map", s->gid_map);
}

void sandbox_enter(const struct sandbox *s)
{
	struct sock_fprog filter = { s->filters, (struct sock_filter *)s->filter };
	sigset_t none;

	setsid();
	leave_network(s);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (s->ruleset >= 0)
		syscall(SYS_landlock_restrict_self, s->ruleset, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Behind the namespaces, as a change of rights takes it back. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != s->parent)
		_exit(1);
}
