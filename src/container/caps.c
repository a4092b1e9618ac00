/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities: five sets of names, and the order in which capabilities(7) lets them be set. */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container/internal.h"

static const char *const names[] = {
	"CHOWN",
	"DAC_OVERRIDE",
	"DAC_READ_SEARCH",
	"FOWNER",
	"FSETID",
	"KILL",
	"SETGID",
	"SETUID",
	"SETPCAP",
	"LINUX_IMMUTABLE",
	"NET_BIND_SERVICE",
	"NET_BROADCAST",
	"NET_ADMIN",
	"NET_RAW",
	"IPC_LOCK",
	"IPC_OWNER",
	"SYS_MODULE",
	"SYS_RAWIO",
	"SYS_CHROOT",
	"SYS_PTRACE",
	"SYS_PACCT",
	"SYS_ADMIN",
	"SYS_BOOT",
	"SYS_NICE",
	"SYS_RESOURCE",
	"SYS_TIME",
	"SYS_TTY_CONFIG",
	"MKNOD",
	"LEASE",
	"AUDIT_WRITE",
	"AUDIT_CONTROL",
	"SETFCAP",
	"MAC_OVERRIDE",
	"MAC_ADMIN",
	"SYSLOG",
	"WAKE_ALARM",
	"BLOCK_SUSPEND",
	"AUDIT_READ",
	"PERFMON",
	"BPF",
	"CHECKPOINT_RESTORE",
};

static int number(const char *name)
{
	for (unsigned i = 0; !strncmp(name, "CAP_", 4) && i < ARRAY_SIZE(names); i++)
		if (!strcmp(name + 4, names[i]))
			return (int)i;
	return -1;
}

/* A set's bits; a process that names no capabilities has none. What this version or the kernel does not know cannot be had, by anybody: it is left out, as the specification's
 * runtimes warn and go on. */
static u64 bits(const json_t *process, const char *set)
{
	const json_t *list = js_at(js_at(process, "capabilities"), set);
	size_t i;
	json_t *each;
	u64 b = 0;

	json_array_foreach(list, i, each)
	{
		int n = number(json_string_value(each));

		if (n >= 0)
			b |= BIT(n);
	}
	return b;
}

static int get(u64 *permitted)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d))
		return -errno;
	*permitted = d[0].permitted | (u64)d[1].permitted << 32;
	return 0;
}

static int set(u64 effective, u64 permitted, u64 inheritable)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = {
		{ (u32)effective, (u32)permitted, (u32)inheritable },
		{ (u32)(effective >> 32), (u32)(permitted >> 32), (u32)(inheritable >> 32) },
	};

	return syscall(SYS_capset, &h, d) ? -errno : 0;
}

int caps_bound(const json_t *process, struct error *err)
{
	u64 keep = bits(process, "bounding");

	for (unsigned i = 0; i < 64; i++) {
		if (keep & BIT(i) || !prctl(PR_CAPBSET_DROP, i, 0, 0, 0))
			continue;
		if (errno == EINVAL)
			break; /* the kernel has no more */
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) > 0) /* a user's runtime may have nothing to drop from */
			return error_set(err, errno, "dropping capability %u: %s", i, strerror(errno));
	}
	return 0;
}

int caps_apply(const json_t *process, struct error *err)
{
	u64 effective = bits(process, "effective"), permitted = bits(process, "permitted");
	u64 inheritable = bits(process, "inheritable"), ambient = bits(process, "ambient"), have = 0;
	int e = get(&have);

	/* What we do not have we cannot give. */
	permitted &= have;
	effective &= permitted;
	inheritable &= have;
	if (!e)
		e = set(effective | (have & BIT(CAP_SETPCAP)), permitted | (have & BIT(CAP_SETPCAP)), inheritable);
	if (!e)
		e = set(effective, permitted, inheritable);
	if (e)
		return error_set(err, -e, "setting capabilities: %s", strerror(-e));
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned i = 0; i < 64; i++)
		if (ambient & inheritable & permitted & BIT(i))
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0);
	return 0;
}
