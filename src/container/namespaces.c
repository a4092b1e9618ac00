/* SPDX-License-Identifier: Apache-2.0 */
/* Which namespaces a container has: linux.namespaces of the configuration. */
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "container/fileio.h"
#include "container/json.h"
#include "container/namespaces.h"
#include "util/cleanup.h"

const struct ns_kind ns_kinds[NS_COUNT] = {
	{ "user", "user", CLONE_NEWUSER },	 { "pid", "pid", CLONE_NEWPID },    { "network", "net", CLONE_NEWNET },
	{ "mount", "mnt", CLONE_NEWNS },	 { "ipc", "ipc", CLONE_NEWIPC },    { "uts", "uts", CLONE_NEWUTS },
	{ "cgroup", "cgroup", CLONE_NEWCGROUP }, { "time", "time", CLONE_NEWTIME },
};

static int parse_one(const json_t *o, struct namespaces *n, struct error *err)
{
	const char *type = js_str(o, "type"), *path = js_str(o, "path");
	unsigned i;

	for (i = 0; i < NS_COUNT && strcmp(ns_kinds[i].name, type); i++)
		;
	if (i == NS_COUNT)
		return error_set(err, EINVAL, "config: there is no namespace of type '%s'", type);
	if (n->has & ns_kinds[i].flag)
		return error_set(err, EINVAL, "config: there are two namespaces of type '%s'", type);
	n->has |= ns_kinds[i].flag;
	if (!path || !*path) {
		n->make |= ns_kinds[i].flag;
		return 0;
	}
	if (path[0] != '/')
		return error_set(err, EINVAL, "config: the path of a namespace, %s, is not absolute", path);
	n->join[i] = open(path, O_RDONLY | O_CLOEXEC);
	if (n->join[i] < 0)
		return error_set(err, errno, "%s namespace %s: %s", type, path, strerror(errno));
	n->joins = true;
	int kind = ioctl(n->join[i], NS_GET_NSTYPE);
	if (kind < 0 || (u64)kind != ns_kinds[i].flag)
		return error_set(err, EINVAL, "%s is no namespace of type '%s'", path, type);
	return 0;
}

int ns_parse(const json_t *config, struct namespaces *n, struct error *err)
{
	size_t i;
	json_t *each;
	int e = 0;

	*n = (struct namespaces){ 0 };
	for (i = 0; i < NS_COUNT; i++)
		n->join[i] = -1;
	json_array_foreach(js_at(config, "linux.namespaces"), i, each)
	{
		e = parse_one(each, n, err);
		if (e)
			return e;
	}
	if (js_at(config, "linux.uidMappings") && !(n->make & CLONE_NEWUSER) && n->join[0] < 0)
		return error_set(err, EINVAL, "config: id mappings need a user namespace");
	if (js_at(config, "linux.timeOffsets") && !(n->make & CLONE_NEWTIME))
		return error_set(err, EINVAL, "config: time offsets need a new time namespace");
	return 0;
}

void ns_close(struct namespaces *n)
{
	for (unsigned i = 0; i < NS_COUNT; i++)
		if (n->join[i] >= 0)
			close(steal_fd(n->join[i]));
}

bool ns_has(const struct namespaces *n, u64 flag)
{
	return n->has & flag;
}

bool ns_joins(const struct namespaces *n, u64 flag)
{
	return n->has & ~n->make & flag;
}

static int join_one(struct namespaces *n, unsigned i, struct error *err)
{
	if (n->join[i] < 0)
		return 0;
	if (setns(n->join[i], (int)ns_kinds[i].flag))
		return error_set(err, errno, "joining the %s namespace: %s", ns_kinds[i].name, strerror(errno));
	close(steal_fd(n->join[i]));
	return 0;
}

int ns_join(struct namespaces *n, struct error *err)
{
	struct error ignored = { 0 };
	int e;

	/* Where there is a user namespace (0), what it does not own is joined before, what it owns after it. */
	for (unsigned i = 1; n->join[0] >= 0 && i < NS_COUNT; i++)
		join_one(n, i, &ignored);
	for (unsigned i = 0; i < NS_COUNT; i++) {
		e = join_one(n, i, err);
		if (e)
			return e;
	}
	return 0;
}

int ns_time(const json_t *config, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	json_t *offsets = js_at(config, "linux.timeOffsets"), *each;
	const char *clock;
	char *p;
	int e;

	if (unshare(CLONE_NEWTIME))
		return error_set(err, errno, "making a time namespace: %s", strerror(errno));
	if (!json_object_size(offsets))
		return 0;
	p = text = calloc(json_object_size(offsets), 96);
	if (!text)
		return error_set(err, ENOMEM, "out of memory");
	json_object_foreach(offsets, clock, each)
	{
		if (strcmp(clock, "monotonic") && strcmp(clock, "boottime"))
			return error_set(err, EINVAL, "config: time offsets are of monotonic and boottime, not %s",
					 clock);
		p += sprintf(p, "%s %lld %lld\n", clock, (long long)js_int(each, "secs", 0),
			     (long long)js_int(each, "nanosecs", 0));
	}
	e = file_write(AT_FDCWD, "/proc/self/timens_offsets", text);
	return e ? error_set(err, -e, "time offsets: %s", strerror(-e)) : 0;
}
