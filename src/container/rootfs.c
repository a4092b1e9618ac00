/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root directory becomes the root: a mount of its own, filled by mounts.c and devices.c, then pivoted to. Before anything
 * is mounted, our copy of the host's mounts stops telling the host what happens in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "container/mount_options.h"
#include "container/rootpath.h"
#include "util/cleanup.h"

static unsigned long root_propagation(const json_t *config)
{
	const char *name = js_str(config, "linux.rootfsPropagation");

	return name && *name ? propagation_flags(name) : 0;
}

/*
 * pivot_root(2) refuses a root whose parent mount is shared, and what is mounted into the root must not appear in the host's.
 * The root directory is cloned before: with a propagation of its own, it is still the host's peer then.
 */
static int detach_parent(const char *path, struct error *err)
{
	struct mount_attr a = { .propagation = MS_PRIVATE };
	_cleanup_free_ char *at = strdup(path);

	if (!at)
		return error_set(err, ENOMEM, "out of memory");
	for (;;) {
		char *slash = strrchr(at, '/');

		/* EINVAL: that is no mount point; its parent may be one. */
		if (!mount_setattr(AT_FDCWD, *at ? at : "/", 0, &a, sizeof(a)))
			return 0;
		if (errno != EINVAL || !slash || !*at)
			return error_set(err, errno, "the mount that has %s: %s", path, strerror(errno));
		*slash = 0;
	}
}

/* No mount namespace: what is mounted is the host's, until the container is deleted; the root is only changed to. */
static int open_in_host(struct rootfs *r, struct error *err)
{
	const json_t *config = r->launch->config;

	if (js_bool(config, "root.readonly", false) || root_propagation(config))
		return error_set(err, EINVAL, "config: a root with properties of its own needs a mount namespace");
	r->fd = open(r->launch->c->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return r->fd < 0 ? error_set(err, errno, "the root directory %s: %s", r->launch->c->rootfs, strerror(errno))
			 : 0;
}

int rootfs_prepare(struct rootfs *r, const struct launch *l, struct error *err)
{
	unsigned long flags = root_propagation(l->config);
	const char *path = l->c->rootfs;
	_cleanup_fd_ int at = -1;
	int e;

	*r = (struct rootfs){ .launch = l, .fd = -1 };
	if (js_str(l->config, "linux.rootfsPropagation") && !flags)
		return error_set(err, EINVAL, "config: there is no root propagation '%s'",
				 js_str(l->config, "linux.rootfsPropagation"));
	if (!ns_has(&l->ns, CLONE_NEWNS))
		return open_in_host(r, err);
	/* A root that may be bound nowhere could not be bound now: that comes last. */
	if (mount(NULL, "/", NULL, flags & MS_SHARED ? flags : (flags & MS_PRIVATE ? MS_PRIVATE : MS_SLAVE) | MS_REC,
		  NULL))
		return error_set(err, errno, "the propagation of /: %s", strerror(errno));
	if (flags & MS_SHARED) {
		e = detach_parent(path, err);
		if (e)
			return e;
	}
	at = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return error_set(err, errno, "the root directory %s: %s", path, strerror(errno));
	e = mount_bind_fd(at, NULL, at, true, 0);
	if (e)
		return error_set(err, -e, "mounting the root directory %s: %s", path, strerror(-e));
	/* The same path again: now it is the mount that lies on it. */
	r->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return r->fd < 0 ? error_set(err, errno, "the root directory %s: %s", path, strerror(errno)) : 0;
}

/* Without a pivot (a root in a RAM disk): the root is moved onto / and chroot(2) goes there. */
static int move_root(struct rootfs *r, struct error *err)
{
	if (fchdir(r->fd) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		return error_set(err, errno, "moving the root: %s", strerror(errno));
	return 0;
}

int rootfs_pivot(struct rootfs *r, struct error *err)
{
	if (!ns_has(&r->launch->ns, CLONE_NEWNS)) {
		if (fchdir(r->fd) || chroot(".") || chdir("/"))
			return error_set(err, errno, "chroot to %s: %s", r->launch->c->rootfs, strerror(errno));
		return 0;
	}
	if (r->launch->no_pivot)
		return move_root(r, err);
	/* pivot_root(2), NOTES: the old root comes to lie on the new one, and goes from there. */
	if (fchdir(r->fd) || syscall(SYS_pivot_root, ".", "."))
		return error_set(err, errno, "pivot_root to %s: %s", r->launch->c->rootfs, strerror(errno));
	/* Its end is not the host's business. */
	if (mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) || umount2(".", MNT_DETACH) || chdir("/"))
		return error_set(err, errno, "leaving the host's root: %s", strerror(errno));
	return 0;
}

int rootfs_finish(struct rootfs *r, struct error *err)
{
	const json_t *config = r->launch->config;
	unsigned long flags = root_propagation(config);
	struct mount_attr a = { .attr_set = MOUNT_ATTR_RDONLY };

	if (flags && mount(NULL, "/", NULL, flags, NULL))
		return error_set(err, errno, "the root's propagation: %s", strerror(errno));
	if (r->dev_readonly && mount_setattr(AT_FDCWD, "/dev", AT_SYMLINK_NOFOLLOW, &a, sizeof(a)))
		return error_set(err, errno, "a read-only /dev: %s", strerror(errno));
	if (js_bool(config, "root.readonly", false) && mount_setattr(AT_FDCWD, "/", 0, &a, sizeof(a)))
		return error_set(err, errno, "a read-only root: %s", strerror(errno));
	return 0;
}

/* What a container without a mount namespace has left in the host's: all that is mounted below its root, the last first. */
void rootfs_unmount(const struct container *c)
{
	_cleanup_free_ char *table = NULL;
	struct namespaces ns;
	struct error ignored = { 0 };
	size_t n = c->rootfs ? strlen(c->rootfs) : 0;
	bool own = !c->config || ns_parse(c->config, &ns, &ignored) || ns_has(&ns, CLONE_NEWNS);

	if (c->config)
		ns_close(&ns);
	if (own || n < 2)
		return;
	table = file_read(AT_FDCWD, "/proc/self/mountinfo", 4u << 20);
	while (table) {
		char *line = strrchr(table, '\n'), path[4096];

		if (sscanf(line ? line + 1 : table, "%*d %*d %*s %*s %4095s", path) == 1 &&
		    !strncmp(path, c->rootfs, n) && path[n] == '/')
			umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
		if (!line)
			break;
		*line = 0;
	}
}
