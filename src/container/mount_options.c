/* SPDX-License-Identifier: Apache-2.0 */
/* One row per option. What has none is the file system's own. */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <linux/mount.h>

#include "container/mount_options.h"
#include "util/cleanup.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif
#ifndef MS_LAZYTIME
#define MS_LAZYTIME (1 << 25)
#endif
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
/* The access time's attributes are one field: to set one is to clear all first. mount_setattr(2). */
#define ATIME MOUNT_ATTR__ATIME

struct row {
	const char *name;
	unsigned long set_flags, clear_flags;
	u64 set, clear; /* MOUNT_ATTR_*; the name with an r in front does it to the tree */
};

static const struct row rows[] = {
	{ "defaults" },
	{ "ro", MS_RDONLY, 0, MOUNT_ATTR_RDONLY },
	{ "rw", 0, MS_RDONLY, 0, MOUNT_ATTR_RDONLY },
	{ "nosuid", MS_NOSUID, 0, MOUNT_ATTR_NOSUID },
	{ "suid", 0, MS_NOSUID, 0, MOUNT_ATTR_NOSUID },
	{ "nodev", MS_NODEV, 0, MOUNT_ATTR_NODEV },
	{ "dev", 0, MS_NODEV, 0, MOUNT_ATTR_NODEV },
	{ "noexec", MS_NOEXEC, 0, MOUNT_ATTR_NOEXEC },
	{ "exec", 0, MS_NOEXEC, 0, MOUNT_ATTR_NOEXEC },
	{ "nodiratime", MS_NODIRATIME, 0, MOUNT_ATTR_NODIRATIME },
	{ "diratime", 0, MS_NODIRATIME, 0, MOUNT_ATTR_NODIRATIME },
	{ "noatime", MS_NOATIME, MS_STRICTATIME | MS_RELATIME, MOUNT_ATTR_NOATIME, ATIME },
	{ "atime", 0, MS_NOATIME, MOUNT_ATTR_RELATIME, ATIME },
	{ "relatime", MS_RELATIME, MS_STRICTATIME | MS_NOATIME, MOUNT_ATTR_RELATIME, ATIME },
	{ "norelatime", 0, MS_RELATIME },
	{ "strictatime", MS_STRICTATIME, MS_RELATIME | MS_NOATIME, MOUNT_ATTR_STRICTATIME, ATIME },
	{ "nostrictatime", 0, MS_STRICTATIME, MOUNT_ATTR_RELATIME, ATIME },
	{ "nosymfollow", MS_NOSYMFOLLOW, 0, MOUNT_ATTR_NOSYMFOLLOW },
	{ "symfollow", 0, MS_NOSYMFOLLOW, 0, MOUNT_ATTR_NOSYMFOLLOW },
	{ "sync", MS_SYNCHRONOUS },
	{ "async", 0, MS_SYNCHRONOUS },
	{ "dirsync", MS_DIRSYNC },
	{ "mand", MS_MANDLOCK },
	{ "nomand", 0, MS_MANDLOCK },
	{ "lazytime", MS_LAZYTIME },
	{ "nolazytime", 0, MS_LAZYTIME },
	{ "silent", MS_SILENT },
	{ "loud", 0, MS_SILENT },
	{ "iversion", MS_I_VERSION },
	{ "noiversion", 0, MS_I_VERSION },
	{ "acl", MS_POSIXACL },
	{ "noacl", 0, MS_POSIXACL },
};

static const struct {
	const char *name;
	unsigned long flag;
} propagations[] = {
	{ "shared", MS_SHARED },	 { "rshared", MS_SHARED | MS_REC },
	{ "slave", MS_SLAVE },		 { "rslave", MS_SLAVE | MS_REC },
	{ "private", MS_PRIVATE },	 { "rprivate", MS_PRIVATE | MS_REC },
	{ "unbindable", MS_UNBINDABLE }, { "runbindable", MS_UNBINDABLE | MS_REC },
};

unsigned long propagation_flags(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(propagations); i++)
		if (!strcmp(propagations[i].name, name))
			return propagations[i].flag;
	return 0;
}

static const struct row *find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	return NULL;
}

static bool attributes_of_tree(const char *name, struct mount_options *o)
{
	const struct row *r = name[0] == 'r' ? find(name + 1) : NULL;

	if (!r || !(r->set | r->clear))
		return false;
	o->rec_set = (o->rec_set & ~r->clear) | r->set;
	o->rec_clear = (o->rec_clear & ~r->set) | r->clear;
	return true;
}

static int append(char **data, const char *word, struct error *err)
{
	char *all;

	if (asprintf(&all, "%s%s%s", *data ? *data : "", *data ? "," : "", word) < 0)
		return error_set(err, ENOMEM, "out of memory");
	free(*data);
	*data = all;
	return 0;
}

/* What is no attribute: how the mount is made. */
static bool manner(const char *name, struct mount_options *o)
{
	if (!strcmp(name, "bind") || !strcmp(name, "rbind")) {
		o->bind = true;
		o->recursive = name[0] == 'r';
	} else if (!strcmp(name, "remount")) {
		o->remount = true;
	} else if (!strcmp(name, "tmpcopyup")) {
		o->copy_up = true;
	} else if (!strcmp(name, "copy-symlink")) {
		o->no_follow = true;
	} else if (!strcmp(name, "idmap") || !strcmp(name, "ridmap")) {
		o->idmap = true;
		o->idmap_rec = name[0] == 'r';
	} else {
		return false;
	}
	return true;
}

static int parse_one(const char *name, struct mount_options *o, struct error *err)
{
	const struct row *r = find(name);
	unsigned long p = propagation_flags(name);

	if (r) {
		o->flags = (o->flags & ~r->clear_flags) | r->set_flags;
		o->set = (o->set & ~r->clear) | r->set;
		/* The access time's mask stays in clear when one of its values is set: the kernel wants both. */
		o->clear = (o->clear & ~(r->set & ~ATIME)) | r->clear;
		return 0;
	}
	if (p) {
		o->propagation = p & ~(unsigned long)MS_REC;
		o->propagate_rec = p & MS_REC;
		return 0;
	}
	return manner(name, o) || attributes_of_tree(name, o) ? 0 : append(&o->data, name, err);
}

int mount_options_parse(const json_t *options, struct mount_options *o, struct error *err)
{
	size_t i;
	json_t *each;
	int e;

	*o = (struct mount_options){ 0 };
	json_array_foreach(options, i, each)
	{
		e = parse_one(json_string_value(each), o, err);
		if (e)
			return e;
	}
	return 0;
}

void mount_options_free(struct mount_options *o)
{
	free(o->data);
	o->data = NULL;
}
