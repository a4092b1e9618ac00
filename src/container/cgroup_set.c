/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.resources, written into the files of v1 and v2. One row per value; what a hierarchy has no file for is an error that
 * names the controller, as a limit that is silently not there is worse than a container that does not start.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "container/cgroup.h"
#include "container/fileio.h"
#include "container/json.h"
#include "util/cleanup.h"

enum form { PLAIN, LIMIT /* -1 is "max" in v2 */, SHARES, WEIGHT, V1_ONLY, TRUE_IS_ONE };

struct knob {
	const char *key; /* below linux.resources */
	const char *controller;
	const char *v1, *v2; /* files; NULL: there is no such thing */
	enum form form;
};

static const struct knob knobs[] = {
	{ "cpu.shares", "cpu", "cpu.shares", "cpu.weight", SHARES },
	{ "cpu.period", "cpu", "cpu.cfs_period_us", NULL },
	{ "cpu.quota", "cpu", "cpu.cfs_quota_us", NULL },
	{ "cpu.burst", "cpu", "cpu.cfs_burst_us", "cpu.max.burst" },
	{ "cpu.idle", "cpu", "cpu.idle", "cpu.idle" },
	{ "cpu.realtimePeriod", "cpu", "cpu.rt_period_us", NULL, V1_ONLY },
	{ "cpu.realtimeRuntime", "cpu", "cpu.rt_runtime_us", NULL, V1_ONLY },
	{ "cpu.cpus", "cpuset", "cpuset.cpus", "cpuset.cpus" },
	{ "cpu.mems", "cpuset", "cpuset.mems", "cpuset.mems" },
	{ "memory.reservation", "memory", "memory.soft_limit_in_bytes", "memory.low", LIMIT },
	{ "memory.kernel", "memory", "memory.kmem.limit_in_bytes", NULL, V1_ONLY },
	{ "memory.kernelTCP", "memory", "memory.kmem.tcp.limit_in_bytes", NULL, V1_ONLY },
	{ "memory.swappiness", "memory", "memory.swappiness", NULL, V1_ONLY },
	{ "memory.disableOOMKiller", "memory", "memory.oom_control", NULL, TRUE_IS_ONE },
	{ "memory.useHierarchy", "memory", "memory.use_hierarchy", NULL, TRUE_IS_ONE },
	{ "pids.limit", "pids", "pids.max", "pids.max", LIMIT },
	{ "blockIO.weight", "blkio", "blkio.weight", "io.weight", WEIGHT },
	{ "blockIO.leafWeight", "blkio", "blkio.leaf_weight", NULL, V1_ONLY },
	{ "network.classID", "net_cls", "net_cls.classid", NULL, V1_ONLY },
};

/* A group of one controller, opened; its version. */
static int open_group(const struct cgroup *c, const char *controller, bool *v2)
{
	_cleanup_free_ char *dir = cgroup_dir(c, controller, v2);
	int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	return dir ? fd < 0 ? -errno : fd : -ENOENT;
}

static int failed(const char *key, const char *controller, const char *file, int e, struct error *err)
{
	if (e == -ENOENT || !file)
		return error_set(err, ENOENT,
				 "linux.resources.%s cannot be set: the %s controller is not available here%s%s", key,
				 controller, file ? ": there is no " : "", file ? file : "");
	return error_set(err, -e, "linux.resources.%s: writing %s: %s", key, file, strerror(-e));
}

static int write_knob(const struct cgroup *c, const char *key, const char *controller, const char *v1,
		      const char *v2_file, const char *text, struct error *err)
{
	bool v2 = false;
	_cleanup_fd_ int dir = open_group(c, controller, &v2);
	const char *file = v2 ? v2_file : v1;
	int e = dir < 0 ? dir : file ? file_write(dir, file, text) : -ENOENT;

	return e ? failed(key, controller, file, e, err) : 0;
}

/* v2 weights are 1 to 10000: the conversions of the runtime specification's users (cgroup-v2.md of the peers). */
static s64 shares_to_weight(s64 shares)
{
	return shares ? 1 + ((MIN(MAX(shares, 2), 262144) - 2) * 9999) / 262142 : 0;
}

static s64 blkio_to_io(s64 weight)
{
	return 1 + (MIN(MAX(weight, 10), 1000) - 10) * 9999 / 990;
}

static bool is_v2(const struct cgroup *c, const char *controller)
{
	bool v2 = false;
	_cleanup_free_ char *dir = cgroup_dir(c, controller, &v2);

	return dir && v2;
}

static int set_knob(const struct cgroup *c, const struct knob *k, const json_t *v, struct error *err)
{
	bool v2 = is_v2(c, k->controller);
	s64 n = json_is_real(v) ? (s64)json_real_value(v) : json_integer_value(v);
	char text[32];

	if (json_is_string(v))
		return *json_string_value(v)
			       ? write_knob(c, k->key, k->controller, k->v1, k->v2, json_string_value(v), err)
			       : 0;
	if (k->form == TRUE_IS_ONE) {
		if (!json_is_true(v) || (v2 && !k->v2))
			return 0;
		n = 1;
	}
	if (k->form == SHARES && v2)
		n = shares_to_weight(n);
	if (k->form == WEIGHT && v2)
		n = blkio_to_io(n);
	/* 0 means "as it is" for what cannot be 0. */
	if (!n && (k->form == SHARES || k->form == WEIGHT || !strncmp(k->key, "cpu.p", 5) ||
		   !strcmp(k->key, "cpu.quota") || !strcmp(k->key, "pids.limit")))
		return 0;
	if (k->form == LIMIT && n < 0)
		strcpy(text, v2 || !strcmp(k->key, "pids.limit") ? "max" : "-1");
	else
		snprintf(text, sizeof(text), "%lld", (long long)n);
	return write_knob(c, k->key, k->controller, k->v1, k->v2, text, err);
}

static int set_knobs(const struct cgroup *c, const json_t *r, struct error *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(knobs); i++) {
		const json_t *v = js_at(r, knobs[i].key);
		/* Quota and period are one file in v2: set_cpu_max(). */
		bool later = (!strcmp(knobs[i].key, "cpu.quota") || !strcmp(knobs[i].key, "cpu.period")) &&
			     is_v2(c, "cpu");
		int e = v && !later ? set_knob(c, &knobs[i], v, err) : 0;

		if (e)
			return e;
	}
	return 0;
}

static int set_cpu_max(const struct cgroup *c, const json_t *r, struct error *err)
{
	s64 quota = js_int(r, "cpu.quota", 0), period = js_int(r, "cpu.period", 0);
	char text[64];

	if ((!quota && !period) || !is_v2(c, "cpu"))
		return 0;
	if (quota > 0)
		snprintf(text, sizeof(text), "%lld %lld", (long long)quota, (long long)(period ? period : 100000));
	else
		snprintf(text, sizeof(text), "max %lld", (long long)(period ? period : 100000));
	return write_knob(c, "cpu.quota", "cpu", NULL, "cpu.max", text, err);
}

static const char *limit_text(s64 n, const char *unlimited, char text[32])
{
	if (n < 0)
		return unlimited;
	snprintf(text, 32, "%lld", (long long)n);
	return text;
}

/* v1's limit of memory and swap together may never be below that of memory: which is written first depends on what was there. */
static int set_memory_v1(const struct cgroup *c, s64 limit, s64 swap, struct error *err)
{
	static const char file[] = "memory.limit_in_bytes", both[] = "memory.memsw.limit_in_bytes";
	bool v2;
	_cleanup_fd_ int dir = open_group(c, "memory", &v2);
	char a[32], b[32];
	int e = dir < 0 ? dir : 0;

	if (e)
		return failed("memory.limit", "memory", file, e, err);
	bool first = limit && swap && file_write(dir, file, limit_text(limit, "-1", a));
	if (swap && (e = file_write(dir, both, limit_text(swap, "-1", b))) && !(first && e == -EINVAL))
		return failed("memory.swap", "memory (swap)", both, e, err);
	if (limit && (e = file_write(dir, file, limit_text(limit, "-1", a))))
		return failed("memory.limit", "memory", file, e, err);
	return 0;
}

static int set_memory(const struct cgroup *c, const json_t *r, struct error *err)
{
	s64 limit = js_int(r, "memory.limit", 0), swap = js_int(r, "memory.swap", 0);
	char text[32];
	int e;

	if (!limit && !swap)
		return 0;
	if (!is_v2(c, "memory"))
		return set_memory_v1(c, limit, swap, err);
	if (swap > 0 && limit > 0 && swap < limit)
		return error_set(err, EINVAL,
				 "linux.resources.memory: swap is memory and swap together, and less than memory");
	e = limit ? write_knob(c, "memory.limit", "memory", NULL, "memory.max", limit_text(limit, "max", text), err)
		  : 0;
	if (e || !swap)
		return e;
	return write_knob(c, "memory.swap", "memory", NULL, "memory.swap.max",
			  limit_text(swap < 0 ? -1 : swap - MAX(limit, 0), "max", text), err);
}

static int set_throttles(const struct cgroup *c, const json_t *r, struct error *err)
{
	static const struct {
		const char *key, *v1, *word;
	} kinds[] = { { "throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps" },
		      { "throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps" },
		      { "throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops" },
		      { "throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops" } };
	const json_t *block = js_at(r, "blockIO");
	bool v2 = is_v2(c, "blkio");
	size_t i;
	json_t *each;

	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
		json_array_foreach(js_at(block, kinds[k].key), i, each)
		{
			char text[96];
			int e;

			snprintf(text, sizeof(text), "%lld:%lld %s%s%lld", (long long)js_int(each, "major", 0),
				 (long long)js_int(each, "minor", 0), v2 ? kinds[k].word : "", v2 ? "=" : "",
				 (long long)js_int(each, "rate", 0));
			e = write_knob(c, "blockIO", "blkio", kinds[k].v1, "io.max", text, err);
			if (e)
				return e;
		}
	}
	json_array_foreach(js_at(block, "weightDevice"), i, each)
	{
		static const char *const keys[] = { "weight", "leafWeight" };
		static const char *const files[] = { "blkio.weight_device", "blkio.leaf_weight_device" };

		for (unsigned k = 0; k < 2; k++) {
			s64 w = js_int(each, keys[k], 0);
			char text[64];
			int e;

			if (!w)
				continue;
			snprintf(text, sizeof(text), "%lld:%lld %lld", (long long)js_int(each, "major", 0),
				 (long long)js_int(each, "minor", 0), (long long)(v2 ? blkio_to_io(w) : w));
			e = write_knob(c, "blockIO.weightDevice", "blkio", files[k], k ? NULL : "io.weight", text, err);
			if (e)
				return e;
		}
	}
	return 0;
}

static int set_hugepages(const struct cgroup *c, const json_t *r, struct error *err)
{
	size_t i;
	json_t *each;

	json_array_foreach(js_at(r, "hugepageLimits"), i, each)
	{
		char v1[96], v2[96], text[32];
		const char *size = js_str(each, "pageSize");
		int e;

		if (strlen(size) > 16 || strchr(size, '/'))
			return error_set(err, EINVAL, "linux.resources.hugepageLimits: there is no page size %s", size);
		snprintf(v1, sizeof(v1), "hugetlb.%s.limit_in_bytes", size);
		snprintf(v2, sizeof(v2), "hugetlb.%s.max", size);
		e = write_knob(c, "hugepageLimits", "hugetlb", v1, v2,
			       limit_text(js_int(each, "limit", 0), "max", text), err);
		if (e)
			return e;
	}
	return 0;
}

static int set_priorities(const struct cgroup *c, const json_t *r, struct error *err)
{
	size_t i;
	json_t *each;

	json_array_foreach(js_at(r, "network.priorities"), i, each)
	{
		char text[128];
		int e;

		snprintf(text, sizeof(text), "%s %lld", js_str(each, "name") ? js_str(each, "name") : "",
			 (long long)js_int(each, "priority", 0));
		e = write_knob(c, "network.priorities", "net_prio", "net_prio.ifpriomap", NULL, text, err);
		if (e)
			return e;
	}
	return 0;
}

static int set_rdma(const struct cgroup *c, const json_t *r, struct error *err)
{
	const char *device;
	json_t *each;

	json_object_foreach(js_at(r, "rdma"), device, each)
	{
		char text[256];
		int n = snprintf(text, sizeof(text), "%s", device), e;

		if (js_at(each, "hcaHandles") && n < 200)
			n += snprintf(text + n, sizeof(text) - (size_t)n, " hca_handle=%lld",
				      (long long)js_int(each, "hcaHandles", 0));
		if (js_at(each, "hcaObjects") && n < 230)
			snprintf(text + n, sizeof(text) - (size_t)n, " hca_object=%lld",
				 (long long)js_int(each, "hcaObjects", 0));
		e = write_knob(c, "rdma", "rdma", "rdma.max", "rdma.max", text, err);
		if (e)
			return e;
	}
	return 0;
}

static int set_unified(const struct cgroup *c, const json_t *r, struct error *err)
{
	const char *file;
	json_t *value;

	json_object_foreach(js_at(r, "unified"), file, value)
	{
		char controller[32];
		int e;

		if (strchr(file, '/') || strlen(file) > 128)
			return error_set(err, EINVAL, "linux.resources.unified: %s is no name of a file", file);
		/* The hierarchy is v2's; the name before the dot is only for the message. */
		snprintf(controller, sizeof(controller), "%.*s", (int)MIN(strcspn(file, "."), sizeof(controller) - 1),
			 file);
		e = is_v2(c, controller)
			    ? write_knob(c, "unified", controller, NULL, file, json_string_value(value), err)
			    : failed("unified", controller, NULL, -ENOENT, err);
		if (e)
			return e;
	}
	return 0;
}

int cgroup_set(const struct cgroup *c, const json_t *r, struct error *err)
{
	static int (*const steps[])(const struct cgroup *, const json_t *,
				    struct error *) = { set_knobs,     set_cpu_max,    set_memory, set_throttles,
							set_hugepages, set_priorities, set_rdma,   set_unified };

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		int e = steps[i](c, r, err);

		if (e)
			return e;
	}
	return js_at(r, "devices") ? cgroup_set_devices(c, js_at(r, "devices"), err) : 0;
}
