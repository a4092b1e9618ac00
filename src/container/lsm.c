/* SPDX-License-Identifier: Apache-2.0 */
/* Labels that the next execve() takes: AppArmor's profile, SELinux's context. Written while /proc is the host's. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "util/cleanup.h"

static int apparmor(const char *profile, struct error *err)
{
	_cleanup_free_ char *on = file_read(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", 16);
	int e;

	if (!on || on[0] != 'Y')
		return error_set(err, ENOTSUP, "AppArmor profile %s: this kernel does not have AppArmor enabled",
				 profile);
	e = file_writef(AT_FDCWD, "/proc/thread-self/attr/apparmor/exec", "exec %s", profile);
	if (e == -ENOENT)
		e = file_writef(AT_FDCWD, "/proc/thread-self/attr/exec", "exec %s", profile);
	return e ? error_set(err, -e, "AppArmor profile %s: %s", profile, strerror(-e)) : 0;
}

static int selinux(const char *label, struct error *err)
{
	int e;

	/* A label of a host without SELinux: engines set it anyway. There is nothing that it would protect from. */
	if (access("/sys/fs/selinux/enforce", F_OK))
		return 0;
	e = file_write(AT_FDCWD, "/proc/thread-self/attr/exec", label);
	return e ? error_set(err, -e, "SELinux label %s: %s", label, strerror(-e)) : 0;
}

int lsm_prepare(const json_t *process, bool exec, struct error *err)
{
	const char *profile = js_str(process, "apparmorProfile"), *label = js_str(process, "selinuxLabel");
	int e = profile && *profile ? apparmor(profile, err) : 0;

	return e ? e : label && *label ? selinux(label, err) : 0;
}
