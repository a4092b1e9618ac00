/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the default guest is: what `make` obtained, beside the executable in the build directory or under the prefix that
 * it is installed in; for the kernel also $SEXTANT_KERNEL before that, and /boot after it.
 */
#include <errno.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/run.h"
#include "util/cleanup.h"

/* DIR/name with DIR relative to the executable's directory; NULL if it is not readable. */
static char *beside(const char *dir, const char *name)
{
	_cleanup_free_ char *path = NULL;
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;

	if (n <= 0)
		return NULL;
	exe[n] = 0;
	slash = strrchr(exe, '/');
	if (!slash)
		return NULL;
	*slash = 0;
	if (asprintf(&path, "%s/%s/%s", exe, dir, name) < 0) {
		path = NULL;
		return NULL;
	}
	return access(path, R_OK) ? NULL : steal_ptr(path);
}

static char *obtained(const char *name)
{
	char *path = beside("guest", name);

	return path ? path : beside("../share/sextant", name);
}

/* The kernel that was installed last. */
static char *newest_in_boot(void)
{
	char *best = NULL;
	time_t when = 0;
	glob_t g;

	if (glob("/boot/vmlinuz-*", 0, NULL, &g))
		return NULL;
	for (size_t i = 0; i < g.gl_pathc; i++) {
		struct stat st;

		if (stat(g.gl_pathv[i], &st) || !S_ISREG(st.st_mode) || access(g.gl_pathv[i], R_OK))
			continue;
		if (best && st.st_mtime <= when)
			continue;
		free(best);
		best = strdup(g.gl_pathv[i]);
		when = st.st_mtime;
	}
	globfree(&g);
	return best;
}

char *guest_kernel(struct error *err)
{
	const char *env = getenv("SEXTANT_KERNEL");
	char *path;

	if (env && *env)
		return strdup(env);
	path = obtained("vmlinuz");
	if (!path)
		path = newest_in_boot();
	if (!path)
		error_set(err, ENOENT,
			  "no kernel to boot: give --kernel FILE, set SEXTANT_KERNEL, or let `make guest` obtain one");
	return path;
}

char *guest_initrd(struct error *err)
{
	char *path = obtained("initrd");

	if (!path)
		error_set(err, ENOENT,
			  "the default guest's root file system is not there: let `make guest` build it, "
			  "or give --initrd FILE or --rootfs DIR");
	return path;
}
