/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mounts of a configuration, in its order; done by init, in its own mount namespace, before the root is changed.
 *
 * A target is looked up in the root once and used by descriptor. Bind mounts are cloned, given their attributes, and only then
 * attached, so that there is no moment at which a read-only one could be written to; other file systems get theirs in the one
 * call of mount(2). Attributes are added to those that a mount has already: what an outer container locked stays locked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "container/mount_options.h"
#include "container/rootpath.h"
#include "util/cleanup.h"

struct mount {
	struct rootfs *root;
	const json_t *config; /* of this mount */
	const char *type, *source, *destination;
	struct mount_options o;
	int tree; /* the source, cloned by the runtime; -1 */
};

static int failed(const struct mount *m, int e, const char *doing, struct error *err)
{
	return error_set(err, -e, "mounting %s%son %s: %s: %s", m->source ? m->source : "", m->source ? " " : "",
			 m->destination, doing, strerror(-e));
}

static int set_attributes(int fd, u64 set, u64 clear, u64 propagation, bool recursive)
{
	struct mount_attr a = { .attr_set = set, .attr_clr = clear, .propagation = propagation };

	if (!set && !clear && !propagation)
		return 0;
	return mount_setattr(fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &a, sizeof(a)) ? -errno : 0;
}

static int attach(int tree, int target)
{
	return move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) ? -errno : 0;
}

int mount_bind_fd(int from, const char *path, int target, bool recursive, u64 set)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
	_cleanup_fd_ int tree = open_tree(path ? AT_FDCWD : from, path ? path : "", flags | (path ? 0 : AT_EMPTY_PATH));
	int e = tree < 0 ? -errno : set_attributes(tree, set, 0, 0, recursive);

	return e ? e : attach(tree, target);
}

int mount_idmap(const json_t *config, const json_t *mount, const struct mount_options *o, int tree, struct error *err)
{
	const json_t *uid = js_at(mount, "uidMappings"), *gid = js_at(mount, "gidMappings");
	struct mount_attr a = { .attr_set = MOUNT_ATTR_IDMAP };
	_cleanup_fd_ int userns = -1;

	if (!o->idmap && !uid)
		return 0;
	if (!uid) {
		uid = js_at(config, "linux.uidMappings");
		gid = js_at(config, "linux.gidMappings");
	}
	if (!uid || !gid)
		return error_set(err, EINVAL, "config: a mount with mapped ids has no mappings");
	userns = idmap_userns(uid, gid, err);
	if (userns < 0)
		return userns;
	a.userns_fd = (u64)userns;
	if (mount_setattr(tree, "", AT_EMPTY_PATH | (o->idmap_rec ? AT_RECURSIVE : 0), &a, sizeof(a)))
		return error_set(err, errno, "mounting on %s: mapping its ids: %s", js_str(mount, "destination"),
				 strerror(errno));
	return 0;
}

static int open_source(struct mount *m, struct error *err)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (m->o.recursive ? AT_RECURSIVE : 0);
	int tree;

	if (m->tree >= 0)
		return steal_fd(m->tree);
	tree = open_tree(AT_FDCWD, m->source, flags | (m->o.no_follow ? AT_SYMLINK_NOFOLLOW : 0));
	return tree < 0 ? failed(m, -errno, "the source", err) : tree;
}

/* The mount point, of the kind that the source is, made if it is missing. */
static int make_target(struct mount *m, bool directory, struct error *err)
{
	int fd = directory ? root_make_dir(m->root->fd, m->destination, 0755)
			   : root_make_file(m->root->fd, m->destination);

	return fd < 0 ? failed(m, fd, "the mount point", err) : fd;
}

static int bind(struct mount *m, struct error *err)
{
	_cleanup_fd_ int tree = -1, target = -1;
	bool mapped = m->tree >= 0;
	struct stat st;
	int e;

	if (!m->source)
		return failed(m, -EINVAL, "a bind mount needs a source", err);
	tree = open_source(m, err);
	if (tree < 0)
		return tree;
	if (fstat(tree, &st))
		return failed(m, -errno, "the source", err);
	target = make_target(m, S_ISDIR(st.st_mode), err);
	if (target < 0)
		return target;
	/* What the runtime has cloned it has mapped, too. */
	e = mapped ? 0 : mount_idmap(m->root->launch->config, m->config, &m->o, tree, err);
	if (e)
		return e;
	e = set_attributes(tree, m->o.set, m->o.clear, 0, false);
	if (!e)
		e = set_attributes(tree, m->o.rec_set, m->o.rec_clear, 0, true);
	if (e)
		return failed(m, e, "its options", err);
	/* Without an option a bind mount tells nothing to the host. */
	e = attach(tree, target);
	if (!e && m->o.propagation)
		e = set_attributes(tree, 0, 0, m->o.propagation, m->o.propagate_rec);
	return e ? failed(m, e, "attaching it", err) : 0;
}

/* What was below the mount point becomes a copy in the new file system: images' /run, for instance. */
static int copy_up(const struct mount *m, int old, int new, struct error *err)
{
	char from[FD_PATH_MAX], to[FD_PATH_MAX];
	int status;
	pid_t pid = fork();

	if (!pid) {
		char source[FD_PATH_MAX + 2];

		fcntl(old, F_SETFD, 0);
		fcntl(new, F_SETFD, 0);
		snprintf(source, sizeof(source), "%s/.", fd_path(old, from));
		execlp("cp", "cp", "-a", source, fd_path(new, to), NULL);
		_exit(127);
	}
	if (pid < 0)
		return failed(m, -errno, "copying what was there", err);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status ? failed(m, -EIO, "copying what was there", err) : 0;
}

static const char *with_label(const struct mount *m, char **text)
{
	const char *label = js_str(m->root->launch->config, "linux.mountLabel");
	bool takes = !strcmp(m->type, "tmpfs") || !strcmp(m->type, "mqueue") || !strcmp(m->type, "devpts");

	if (!label || !*label || !takes || access("/sys/fs/selinux/enforce", F_OK))
		return m->o.data;
	if (asprintf(text, "%s%scontext=\"%s\"", m->o.data ? m->o.data : "", m->o.data ? "," : "", label) < 0)
		*text = NULL;
	return *text;
}

/* A fresh sysfs needs a network namespace of the user namespace's own, proc a pid namespace's: without, the host's is shown. With
 * a pid namespace the host's would show processes that are not the container's. */
static int bind_instead(struct mount *m, int target, int e, struct error *err)
{
	bool sysfs = !strcmp(m->type, "sysfs"), proc = !strcmp(m->type, "proc");

	if ((e != -EPERM && e != -EBUSY) || (!sysfs && !proc))
		return failed(m, e, "mount", err);
	if (proc && ns_has(&m->root->launch->ns, CLONE_NEWPID))
		return failed(m, e, "mount (parts of our own /proc are hidden from us, as in a container)", err);
	e = mount_bind_fd(-1, sysfs ? "/sys" : "/proc", target, true, m->o.set);
	return e ? failed(m, e, "mount", err) : 0;
}

/* "a,b=c" to a file system that is being made; commas in quotes (an SELinux context's) divide nothing. */
static int configure(int fs, char *data)
{
	for (char *p = data, *next; p; p = next) {
		char *quote = strchr(p, '"'), *comma = strchr(p, ','), *value;

		if (quote && comma && quote < comma && (quote = strchr(quote + 1, '"')))
			comma = strchr(quote, ',');
		next = comma ? comma + 1 : NULL;
		if (comma)
			*comma = 0;
		value = strchr(p, '=');
		if (value)
			*value++ = 0;
		if (value && *value == '"' && strlen(value) > 1) {
			value[strlen(value) - 1] = 0;
			value++;
		}
		if (*p && fsconfig(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, p, value, 0))
			return -errno;
	}
	return 0;
}

/* What mount(2) has as flags and is the file system's, not the mount's. */
static int configure_flags(int fs, unsigned long flags)
{
	static const struct {
		unsigned long flag;
		const char *name;
	} rows[] = {
		{ MS_RDONLY, "ro" }, { MS_SYNCHRONOUS, "sync" }, { MS_DIRSYNC, "dirsync" }, { MS_LAZYTIME, "lazytime" }
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (flags & rows[i].flag && fsconfig(fs, FSCONFIG_SET_FLAG, rows[i].name, NULL, 0))
			return -errno;
	return 0;
}

/* A new file system, mounted nowhere yet; or a negative errno. */
static int make_filesystem(const struct mount *m, const char *source)
{
	_cleanup_free_ char *text = NULL, *data = NULL;
	_cleanup_fd_ int fs = fsopen(m->type, FSOPEN_CLOEXEC);
	const char *words = with_label(m, &text);
	int e, fd;

	if (fs < 0)
		return -errno;
	data = words ? strdup(words) : NULL;
	if (words && !data)
		return -ENOMEM;
	e = fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) ? -errno : 0;
	e = e ? e : configure(fs, data);
	e = e ? e : configure_flags(fs, m->o.flags & ~(m->o.copy_up ? (unsigned long)MS_RDONLY : 0));
	if (!e && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		e = -errno;
	fd = e ? -1 : fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return e ? e : fd < 0 ? -errno : fd;
}

/* With all that it is to have before it can be seen. */
static int mount_detached(struct mount *m, int target, const char *source, struct error *err)
{
	_cleanup_fd_ int tree = make_filesystem(m, source);
	int e;

	if (tree < 0)
		return bind_instead(m, target, tree, err);
	e = m->o.copy_up ? copy_up(m, target, tree, err) : 0;
	if (e)
		return e;
	e = set_attributes(tree, m->o.set, m->o.clear, 0, false);
	e = e ? e : set_attributes(tree, m->o.rec_set, m->o.rec_clear, 0, true);
	e = e ? e : attach(tree, target);
	e = e ? e : set_attributes(tree, 0, 0, m->o.propagation, m->o.propagate_rec);
	return e ? failed(m, e, "its options", err) : 0;
}

/* Labels are written and paths masked below /proc and /sys by those names: what is there must be what was mounted. */
static int make_plain_target(struct mount *m, struct error *err)
{
	int made = make_target(m, true, err), fd;

	if (made < 0)
		return made;
	close(made);
	fd = root_open_plain(m->root->fd, m->destination, O_PATH | O_DIRECTORY);
	return fd == -ELOOP ? error_set(err, ELOOP, "mounting %s on %s: a symbolic link leads there", m->type,
					m->destination)
	       : fd < 0	    ? failed(m, fd, "the mount point", err)
			    : fd;
}

static int mount_new(struct mount *m, struct error *err)
{
	bool plain = !strcmp(m->type, "proc") || !strcmp(m->type, "sysfs");
	_cleanup_free_ char *text = NULL;
	_cleanup_fd_ int target = plain ? make_plain_target(m, err) : make_target(m, true, err);
	const char *source = m->source ? m->source : m->type;
	char path[FD_PATH_MAX];

	if (target < 0)
		return target;
	if (m->o.flags & MS_RDONLY && !strcmp(m->destination, "/dev")) {
		m->o.flags &= ~(unsigned long)MS_RDONLY;
		m->o.set &= ~(u64)MOUNT_ATTR_RDONLY;
		m->root->dev_readonly = true;
	}
	/* mount(2) leaves no descriptor of what it has mounted: a second look-up might find something else. */
	if (m->o.propagation || m->o.copy_up || m->o.rec_set || m->o.rec_clear)
		return mount_detached(m, target, source, err);
	if (mount(source, fd_path(target, path), m->type, m->o.flags, with_label(m, &text)))
		return bind_instead(m, target, -errno, err);
	return 0;
}

static int remount(struct mount *m, struct error *err)
{
	_cleanup_fd_ int target = root_open(m->root->fd, m->destination, O_PATH);
	unsigned long bind = m->o.bind ? MS_BIND : 0;
	char path[FD_PATH_MAX];

	if (target < 0)
		return failed(m, target, "the mount point", err);
	if (mount(NULL, fd_path(target, path), NULL, MS_REMOUNT | bind | m->o.flags, m->o.data))
		return failed(m, -errno, "remount", err);
	return 0;
}

/* Only the propagation of what is mounted there. */
static int propagate(struct mount *m, struct error *err)
{
	_cleanup_fd_ int target = root_open(m->root->fd, m->destination, O_PATH);
	int e = target < 0 ? target : set_attributes(target, 0, 0, m->o.propagation, m->o.propagate_rec);

	return e ? failed(m, e, "its propagation", err) : 0;
}

static int mount_one(struct mount *m, struct error *err)
{
	const char *type = m->type;

	if (m->o.remount)
		return remount(m, err);
	if (m->o.bind || (type && (!strcmp(type, "bind") || !strcmp(type, "rbind"))))
		return bind(m, err);
	if (!type || !strcmp(type, "none"))
		return m->o.propagation ? propagate(m, err) : failed(m, -EINVAL, "it has no type", err);
	if (!strcmp(type, "cgroup") || !strcmp(type, "cgroup2"))
		return mount_cgroups(m->root, m->destination, m->o.flags, err);
	return mount_new(m, err);
}

int mounts_all(struct rootfs *r, struct error *err)
{
	const json_t *mounts = js_at(r->launch->config, "mounts");
	size_t i;
	json_t *each;

	json_array_foreach(mounts, i, each)
	{
		struct mount m = { .root = r,
				   .config = each,
				   .type = js_str(each, "type"),
				   .source = js_str(each, "source"),
				   .destination = js_str(each, "destination"),
				   .tree = r->launch->trees ? r->launch->trees[i] : -1 };
		int e = mount_options_parse(js_at(each, "options"), &m.o, err);

		if (m.type && !strcmp(m.type, "rbind"))
			m.o.recursive = true;
		e = e ? e : mount_one(&m, err);
		mount_options_free(&m.o);
		if (e)
			return e;
	}
	return 0;
}

/* ---- paths that are hidden, or may only be read ---- */

static int mask_one(struct rootfs *r, const char *path, struct error *err)
{
	_cleanup_fd_ int fd = root_open(r->fd, path, O_PATH);
	char at[FD_PATH_MAX];
	struct stat st;
	int e = 0;

	if (fd == -ENOENT || fd == -ENOTDIR)
		return 0;
	if (fd < 0 || fstat(fd, &st))
		return error_set(err, fd < 0 ? -fd : errno, "masking %s: %s", path, strerror(fd < 0 ? -fd : errno));
	if (!S_ISDIR(st.st_mode))
		e = mount_bind_fd(-1, "/dev/null", fd, false, 0);
	else if (mount("tmpfs", fd_path(fd, at), "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		       "nr_inodes=1,size=4k"))
		e = -errno;
	return e ? error_set(err, -e, "masking %s: %s", path, strerror(-e)) : 0;
}

static int protect_one(struct rootfs *r, const char *path, struct error *err)
{
	_cleanup_fd_ int fd = root_open(r->fd, path, O_PATH);
	int e;

	if (fd == -ENOENT || fd == -ENOTDIR)
		return 0;
	e = fd < 0 ? fd : mount_bind_fd(fd, NULL, fd, true, MOUNT_ATTR_RDONLY);
	return e ? error_set(err, -e, "making %s read-only: %s", path, strerror(-e)) : 0;
}

int mounts_mask(struct rootfs *r, struct error *err)
{
	const json_t *linux_ = js_at(r->launch->config, "linux");
	size_t i;
	json_t *each;
	int e;

	json_array_foreach(js_at(linux_, "readonlyPaths"), i, each)
	{
		e = protect_one(r, json_string_value(each), err);
		if (e)
			return e;
	}
	json_array_foreach(js_at(linux_, "maskedPaths"), i, each)
	{
		e = mask_one(r, json_string_value(each), err);
		if (e)
			return e;
	}
	return 0;
}
