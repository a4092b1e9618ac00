/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel parameters of the container's own namespaces. A parameter that belongs to none, or to one that the container shares
 * with the host, would change the host: it is refused. sysctl of the ipc namespace: ipc_namespaces(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "util/cleanup.h"

static u64 owner(const char *key)
{
	static const char *const ipc[] = {
		"kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem",
		"kernel/shmall", "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced"
	};

	if (!strncmp(key, "net/", 4))
		return CLONE_NEWNET;
	if (!strncmp(key, "fs/mqueue/", 10))
		return CLONE_NEWIPC;
	for (unsigned i = 0; i < ARRAY_SIZE(ipc); i++)
		if (!strcmp(key, ipc[i]))
			return CLONE_NEWIPC;
	if (!strcmp(key, "kernel/hostname") || !strcmp(key, "kernel/domainname"))
		return CLONE_NEWUTS;
	return !strncmp(key, "user/", 5) ? CLONE_NEWUSER : 0;
}

/* "net.ipv4.ip_forward", or with slashes where a name itself has a dot: "net/ipv4/conf/eth0.1/forwarding". */
static void slashes(char *key)
{
	char *first = strpbrk(key, "./");
	bool dots = first && *first == '.';

	for (char *p = key; dots && *p; p++)
		*p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
}

int sysctl_apply(const json_t *config, const struct namespaces *ns, struct error *err)
{
	const char *name;
	json_t *value;

	json_object_foreach(js_at(config, "linux.sysctl"), name, value)
	{
		_cleanup_free_ char *key = strdup(name), *path = NULL;
		int e;

		if (!key)
			return error_set(err, ENOMEM, "out of memory");
		slashes(key);
		if (strstr(key, ".."))
			return error_set(err, EINVAL, "config: sysctl %s is no name", name);
		if (!owner(key) || !ns_has(ns, owner(key)))
			return error_set(err, EINVAL, "config: sysctl %s is not of a namespace of the container's own",
					 name);
		if (asprintf(&path, "/proc/sys/%s", key) < 0) {
			path = NULL;
			return error_set(err, ENOMEM, "out of memory");
		}
		e = file_write(AT_FDCWD, path, json_string_value(value));
		if (e)
			return error_set(err, -e, "sysctl %s: %s", name, strerror(-e));
	}
	return 0;
}
