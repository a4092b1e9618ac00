/* SPDX-License-Identifier: Apache-2.0 */
/* What `features` tells (runtime-spec 1.1, features.md), and the names of signals. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/internal.h"

static json_t *list(const char *const *words, unsigned n)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(a, json_string(words[i]));
	return a;
}

static json_t *namespaces(void)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < NS_COUNT; i++)
		json_array_append_new(a, json_string(ns_kinds[i].name));
	return a;
}

static json_t *seccomp(void)
{
	static const char *const actions[] = { "SCMP_ACT_ALLOW",	"SCMP_ACT_ERRNO",	"SCMP_ACT_KILL",
					       "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
					       "SCMP_ACT_NOTIFY",	"SCMP_ACT_TRACE",	"SCMP_ACT_TRAP" };
	static const char *const ops[] = { "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",	      "SCMP_CMP_EQ",
					   "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ" };
	static const char *const archs[] = { "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32" };

	return json_pack("{s:b,s:o,s:o,s:o}", "enabled", 1, "actions", list(actions, ARRAY_SIZE(actions)), "operators",
			 list(ops, ARRAY_SIZE(ops)), "archs", list(archs, ARRAY_SIZE(archs)));
}

json_t *features(void)
{
	static const char *const hooks[] = { "prestart",       "createRuntime", "createContainer",
					     "startContainer", "poststart",	"poststop" };
	static const char *const options[] = { "acl",
					       "async",
					       "atime",
					       "bind",
					       "copy-symlink",
					       "defaults",
					       "dev",
					       "diratime",
					       "dirsync",
					       "exec",
					       "idmap",
					       "iversion",
					       "lazytime",
					       "loud",
					       "mand",
					       "noacl",
					       "noatime",
					       "nodev",
					       "nodiratime",
					       "noexec",
					       "noiversion",
					       "nolazytime",
					       "nomand",
					       "norelatime",
					       "nostrictatime",
					       "nosuid",
					       "nosymfollow",
					       "private",
					       "ratime",
					       "rbind",
					       "rdev",
					       "rdiratime",
					       "relatime",
					       "remount",
					       "rexec",
					       "ridmap",
					       "rnoatime",
					       "rnodev",
					       "rnodiratime",
					       "rnoexec",
					       "rnostrictatime",
					       "rnosuid",
					       "rnosymfollow",
					       "ro",
					       "rprivate",
					       "rrelatime",
					       "rro",
					       "rrw",
					       "rshared",
					       "rslave",
					       "rstrictatime",
					       "rsuid",
					       "rsymfollow",
					       "runbindable",
					       "rw",
					       "shared",
					       "silent",
					       "slave",
					       "strictatime",
					       "suid",
					       "symfollow",
					       "sync",
					       "tmpcopyup",
					       "unbindable" };
	json_t *linux_ = json_pack("{s:o,s:{s:b,s:b,s:b,s:b,s:b},s:o,s:{s:b},s:{s:b},s:{s:b}}", "namespaces",
				   namespaces(), "cgroup", "v1", 1, "v2", 1, "systemd", 1, "systemdUser", 1, "rdma", 1,
				   "seccomp", seccomp(), "apparmor", "enabled", 1, "selinux", "enabled", 1, "intelRdt",
				   "enabled", 0);

	return json_pack("{s:s,s:s,s:o,s:o,s:o}", "ociVersionMin", "1.0.0", "ociVersionMax", "1.1.0", "hooks",
			 list(hooks, ARRAY_SIZE(hooks)), "mountOptions", list(options, ARRAY_SIZE(options)), "linux",
			 linux_);
}

int signal_number(const char *name)
{
	char *end;
	long n = strtol(name, &end, 10);

	if (*name && !*end)
		return n > 0 && n < _NSIG ? (int)n : -1;
	if (!strncasecmp(name, "SIG", 3))
		name += 3;
	if (!strncasecmp(name, "RTMIN+", 6))
		return SIGRTMIN + atoi(name + 6);
	for (int s = 1; s < NSIG; s++) {
		const char *abbreviation = sigabbrev_np(s);

		if (abbreviation && !strcasecmp(abbreviation, name))
			return s;
	}
	return -1;
}
