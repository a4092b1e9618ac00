/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts of type cgroup: what a container sees of its control groups. With a cgroup namespace the kernel shows it the own group
 * as root; without, the own group's directory is bound there. One file system for v2; for v1 a directory per hierarchy.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "container/internal.h"
#include "container/rootpath.h"
#include "util/cleanup.h"

static u64 attributes(unsigned long flags)
{
	return (flags & MS_RDONLY ? MOUNT_ATTR_RDONLY : 0) | (flags & MS_NOSUID ? MOUNT_ATTR_NOSUID : 0) |
	       (flags & MS_NODEV ? MOUNT_ATTR_NODEV : 0) | (flags & MS_NOEXEC ? MOUNT_ATTR_NOEXEC : 0);
}

static int mount_one(const struct rootfs *r, const struct hierarchy *h, int target, unsigned long flags)
{
	_cleanup_free_ char *path = NULL;
	char at[FD_PATH_MAX];

	if (ns_has(&r->launch->ns, CLONE_NEWCGROUP) &&
	    !mount("cgroup", fd_path(target, at), h->v2 ? "cgroup2" : "cgroup", flags, h->v2 ? NULL : h->controllers))
		return 0;
	if (asprintf(&path, "%s/%s", h->mount, h->path ? h->path : "") < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return mount_bind_fd(-1, path, target, true, attributes(flags));
}

/* "name=systemd" is systemd; "cpu,cpuacct" has both, the second as links. */
static int mount_hierarchy(const struct rootfs *r, const struct hierarchy *h, int dir, const char *base,
			   unsigned long flags)
{
	const char *name = h->v2				  ? "unified"
			   : !strncmp(h->controllers, "name=", 5) ? h->controllers + 5
								  : h->controllers;
	_cleanup_free_ char *path = NULL, *words = NULL;
	_cleanup_fd_ int target = -1;
	char *save = NULL;
	int e;

	if (asprintf(&path, "%s/%s", base, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	target = root_make_dir(r->fd, path, 0755);
	e = target < 0 ? target : mount_one(r, h, target, flags);
	if (e || !strchr(name, ','))
		return e;
	words = strdup(name);
	for (char *w = words ? strtok_r(words, ",", &save) : NULL; w; w = strtok_r(NULL, ",", &save))
		if (symlinkat(name, dir, w) && errno != EEXIST)
			return -errno;
	return 0;
}

static int mount_v1(const struct rootfs *r, const struct cgroup *c, const char *destination, int target,
		    unsigned long flags)
{
	char at[FD_PATH_MAX];
	_cleanup_fd_ int dir = -1;
	int e;

	if (mount("tmpfs", fd_path(target, at), "tmpfs", flags & ~(unsigned long)MS_RDONLY, "mode=755"))
		return -errno;
	dir = root_open(r->fd, destination, O_PATH | O_DIRECTORY);
	if (dir < 0)
		return dir;
	for (unsigned i = 0; i < c->n; i++) {
		e = c->h[i].path ? mount_hierarchy(r, &c->h[i], dir, destination, flags) : 0;
		if (e)
			return e;
	}
	struct mount_attr a = { .attr_set = attributes(flags) };
	return mount_setattr(dir, "", AT_EMPTY_PATH, &a, sizeof(a)) ? -errno : 0;
}

int mount_cgroups(struct rootfs *r, const char *destination, unsigned long flags, struct error *err)
{
	const struct cgroup *c = &r->launch->c->cgroup;
	_cleanup_fd_ int target = root_make_dir(r->fd, destination, 0755);
	int e = target;

	if (target >= 0 && c->n == 1 && c->h[0].v2)
		e = mount_one(r, &c->h[0], target, flags);
	else if (target >= 0)
		e = mount_v1(r, c, destination, target, flags);
	return e < 0 ? error_set(err, -e, "mounting control groups on %s: %s", destination, strerror(-e)) : 0;
}
