/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device nodes: those that every container has (config-linux.md, "Default Devices") and those of the configuration. Where
 * mknod(2) is not allowed (a user namespace) the host's node is bind-mounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "container/internal.h"
#include "container/rootpath.h"
#include "util/cleanup.h"

struct node {
	const char *path;
	mode_t mode; /* with its type */
	unsigned major, minor;
	uid_t uid;
	gid_t gid;
};

static const struct node defaults[] = {
	{ "/dev/null", S_IFCHR | 0666, 1, 3 },	  { "/dev/zero", S_IFCHR | 0666, 1, 5 },
	{ "/dev/full", S_IFCHR | 0666, 1, 7 },	  { "/dev/random", S_IFCHR | 0666, 1, 8 },
	{ "/dev/urandom", S_IFCHR | 0666, 1, 9 }, { "/dev/tty", S_IFCHR | 0666, 5, 0 },
};

static bool same(int fd, const struct node *n)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	if ((st.st_mode & S_IFMT) != (n->mode & S_IFMT))
		return false;
	return S_ISFIFO(n->mode) || st.st_rdev == makedev(n->major, n->minor);
}

static int bind_node(struct rootfs *r, const struct node *n, struct error *err)
{
	_cleanup_fd_ int target = root_make_file(r->fd, n->path);
	int e = target < 0 ? target : mount_bind_fd(-1, n->path, target, false, 0);

	return e ? error_set(err, -e, "device %s: %s", n->path, strerror(-e)) : 0;
}

static int make_node(struct rootfs *r, const struct node *n, struct error *err)
{
	char name[256];
	_cleanup_fd_ int parent = root_make_parent(r->fd, n->path, name), fd = -1;
	int e = parent < 0 ? -parent : 0;

	if (e)
		return error_set(err, e, "device %s: %s", n->path, strerror(e));
	if (ns_has(&r->launch->ns, CLONE_NEWUSER))
		return bind_node(r, n, err);
	if (mknodat(parent, name, n->mode, makedev(n->major, n->minor)))
		e = errno;
	if (e == EPERM)
		return bind_node(r, n, err);
	fd = e && e != EEXIST ? -1 : openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, e ? e : errno, "device %s: %s", n->path, strerror(e ? e : errno));
	if (!same(fd, n))
		return error_set(err, EEXIST, "device %s: the root file system has something else there", n->path);
	if (e)
		return 0;
	/* The mode is exact whatever the umask; nobody has had time to put a link there that we would follow: it is by descriptor. */
	char path[FD_PATH_MAX];
	if (chmod(fd_path(fd, path), n->mode & 07777) || fchownat(fd, "", n->uid, n->gid, AT_EMPTY_PATH))
		return error_set(err, errno, "device %s: %s", n->path, strerror(errno));
	return 0;
}

static int parse(const json_t *o, struct node *n, struct error *err)
{
	const char *type = js_str(o, "type");
	mode_t kind = !strcmp(type, "c") || !strcmp(type, "u") ? S_IFCHR : !strcmp(type, "b") ? S_IFBLK : 0;

	if (!strcmp(type, "p"))
		kind = S_IFIFO;
	if (!kind)
		return error_set(err, EINVAL, "config: there is no device type '%s'", type);
	*n = (struct node){ .path = js_str(o, "path"),
			    .mode = kind | ((mode_t)js_int(o, "fileMode", 0666) & 07777),
			    .major = (unsigned)js_int(o, "major", 0),
			    .minor = (unsigned)js_int(o, "minor", 0),
			    .uid = (uid_t)js_int(o, "uid", 0),
			    .gid = (gid_t)js_int(o, "gid", 0) };
	return 0;
}

/* Whether /dev is the container's own: a /dev that is bind-mounted from the host is left as it is. */
static bool own_dev(const json_t *config)
{
	size_t i;
	json_t *m;
	bool own = true;

	json_array_foreach(js_at(config, "mounts"), i, m)
	{
		const char *to = js_str(m, "destination"), *type = js_str(m, "type");
		const json_t *options = js_at(m, "options");

		if (!strcmp(to, "/dev") || !strcmp(to, "/dev/"))
			own = !(type && !strcmp(type, "bind")) && !js_has_word(options, "bind") &&
			      !js_has_word(options, "rbind");
	}
	return own;
}

int devices_make(struct rootfs *r, struct error *err)
{
	size_t i;
	json_t *each;
	int e;

	if (!own_dev(r->launch->config))
		return 0;
	for (i = 0; i < ARRAY_SIZE(defaults); i++) {
		e = make_node(r, &defaults[i], err);
		if (e)
			return e;
	}
	json_array_foreach(js_at(r->launch->config, "linux.devices"), i, each)
	{
		struct node n;

		e = parse(each, &n, err);
		e = e ? e : make_node(r, &n, err);
		if (e)
			return e;
	}
	return 0;
}

int devices_links(struct rootfs *r, struct error *err)
{
	static const char *const links[][2] = { { "/proc/self/fd", "fd" },
						{ "/proc/self/fd/0", "stdin" },
						{ "/proc/self/fd/1", "stdout" },
						{ "/proc/self/fd/2", "stderr" },
						{ "pts/ptmx", "ptmx" } };
	_cleanup_fd_ int dev = -1, pts = -1;

	if (!own_dev(r->launch->config))
		return 0;
	dev = root_open(r->fd, "/dev", O_PATH | O_DIRECTORY);
	if (dev < 0)
		return error_set(err, -dev, "/dev: %s", strerror(-dev));
	pts = root_open(r->fd, "/dev/pts/ptmx", O_PATH);
	for (unsigned i = 0; i < ARRAY_SIZE(links) - (pts < 0); i++) {
		int e = symlinkat(links[i][0], dev, links[i][1]) ? errno : 0;

		/* An image's own ptmx is the host's device: the container's pty are in its devpts. */
		if (e == EEXIST && i == ARRAY_SIZE(links) - 1 && !unlinkat(dev, links[i][1], 0))
			e = symlinkat(links[i][0], dev, links[i][1]) ? errno : 0;
		if (e && e != EEXIST && e != EROFS)
			return error_set(err, e, "/dev/%s: %s", links[i][1], strerror(e));
	}
	return 0;
}
