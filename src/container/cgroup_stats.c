/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of a container's control groups, in the form in which runtimes' users read them (`events --stats`). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "container/cgroup.h"
#include "container/fileio.h"
#include "container/json.h"
#include "util/cleanup.h"

#define FILE_MAX (1u << 20)

static int open_group(const struct cgroup *c, const char *controller, bool *v2)
{
	_cleanup_free_ char *dir = cgroup_dir(c, controller, v2);

	return dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

/* A file with one number; "max" is all ones. */
static json_int_t number(int dir, const char *file)
{
	_cleanup_free_ char *text = file_read(dir, file, FILE_MAX);

	if (!text)
		return 0;
	return strncmp(text, "max", 3) ? (json_int_t)strtoull(text, NULL, 10) : INT64_MAX;
}

/* The value after `key` in a file of lines "key value". */
static json_int_t value(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (; text && *text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL)
		if (!strncmp(text, key, n) && text[n] == ' ')
			return (json_int_t)strtoull(text + n + 1, NULL, 10);
	return 0;
}

static json_t *pairs(const char *file_text)
{
	_cleanup_free_ char *text = file_text ? strdup(file_text) : NULL;
	json_t *o = json_object();
	char *save = NULL;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		char *space = strchr(line, ' ');

		if (!space)
			continue;
		*space = 0;
		json_object_set_new(o, line, json_integer((json_int_t)strtoull(space + 1, NULL, 10)));
	}
	return o;
}

static json_t *throttling(const char *stat, const char *time, json_int_t unit)
{
	return json_pack("{s:I,s:I,s:I}", "periods", value(stat, "nr_periods"), "throttledPeriods",
			 value(stat, "nr_throttled"), "throttledTime", value(stat, time) * unit);
}

static json_t *cpu_stats(const struct cgroup *c)
{
	bool v2 = false;
	_cleanup_fd_ int cpu = open_group(c, "cpu", &v2);
	_cleanup_free_ char *stat = cpu < 0 ? NULL : file_read(cpu, "cpu.stat", FILE_MAX);

	if (v2)
		return json_pack("{s:{s:I,s:I,s:I},s:o}", "usage", "total", value(stat, "usage_usec") * 1000, "kernel",
				 value(stat, "system_usec") * 1000, "user", value(stat, "user_usec") * 1000,
				 "throttling", throttling(stat, "throttled_usec", 1000));
	_cleanup_fd_ int acct = open_group(c, "cpuacct", &v2);
	json_t *each = json_array();
	_cleanup_free_ char *text = acct < 0 ? NULL : file_read(acct, "cpuacct.usage_percpu", FILE_MAX);
	char *save = NULL;

	for (char *w = text ? strtok_r(text, " \n", &save) : NULL; w; w = strtok_r(NULL, " \n", &save))
		json_array_append_new(each, json_integer((json_int_t)strtoull(w, NULL, 10)));
	return json_pack("{s:{s:I,s:o,s:I,s:I},s:o}", "usage", "total", number(acct, "cpuacct.usage"), "percpu", each,
			 "kernel", number(acct, "cpuacct.usage_sys"), "user", number(acct, "cpuacct.usage_user"),
			 "throttling", throttling(stat, "throttled_time", 1));
}

static json_t *memory_stats(const struct cgroup *c)
{
	bool v2 = false;
	_cleanup_fd_ int dir = open_group(c, "memory", &v2);
	_cleanup_free_ char *stat = dir < 0 ? NULL : file_read(dir, "memory.stat", FILE_MAX);
	json_t *usage = json_pack("{s:I,s:I,s:I,s:I}", "limit",
				  number(dir, v2 ? "memory.max" : "memory.limit_in_bytes"), "usage",
				  number(dir, v2 ? "memory.current" : "memory.usage_in_bytes"), "max",
				  number(dir, v2 ? "memory.peak" : "memory.max_usage_in_bytes"), "failcnt",
				  v2 ? (json_int_t)0 : number(dir, "memory.failcnt"));

	return json_pack("{s:I,s:o,s:o}", "cache", value(stat, v2 ? "file" : "cache"), "usage", usage, "raw",
			 pairs(stat));
}

static json_t *pids_stats(const struct cgroup *c)
{
	bool v2;
	_cleanup_fd_ int dir = open_group(c, "pids", &v2);
	json_int_t limit = number(dir, "pids.max");

	return json_pack("{s:I,s:I}", "current", number(dir, "pids.current"), "limit",
			 limit == INT64_MAX ? (json_int_t)0 : limit);
}

/* v1: "8:0 Read 4096" a line. */
static json_t *blkio_file(int dir, const char *file)
{
	_cleanup_free_ char *text = file_read(dir, file, FILE_MAX);
	json_t *all = json_array();
	char *save = NULL;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		unsigned major, minor;
		unsigned long long n;
		char op[32];

		if (sscanf(line, "%u:%u %31s %llu", &major, &minor, op, &n) == 4)
			json_array_append_new(all, json_pack("{s:i,s:i,s:s,s:I}", "major", (int)major, "minor",
							     (int)minor, "op", op, "value", (json_int_t)n));
	}
	return all;
}

/* v2: "8:0 rbytes=1 wbytes=2 ..." a line. */
static json_t *io_file(int dir)
{
	_cleanup_free_ char *text = file_read(dir, "io.stat", FILE_MAX);
	json_t *all = json_array();
	char *save = NULL, *inner;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		unsigned major, minor;

		if (sscanf(line, "%u:%u", &major, &minor) != 2)
			continue;
		strtok_r(line, " ", &inner);
		for (char *w = strtok_r(NULL, " ", &inner); w; w = strtok_r(NULL, " ", &inner)) {
			const char *op = !strncmp(w, "rbytes=", 7)   ? "Read"
					 : !strncmp(w, "wbytes=", 7) ? "Write"
								     : NULL;

			if (op)
				json_array_append_new(all, json_pack("{s:i,s:i,s:s,s:I}", "major", (int)major, "minor",
								     (int)minor, "op", op, "value",
								     (json_int_t)strtoull(w + 7, NULL, 10)));
		}
	}
	return all;
}

static json_t *io_stats(const struct cgroup *c)
{
	bool v2 = false;
	_cleanup_fd_ int dir = open_group(c, "blkio", &v2);

	return json_pack("{s:o}", "ioServiceBytesRecursive",
			 v2 ? io_file(dir) : blkio_file(dir, "blkio.throttle.io_service_bytes_recursive"));
}

static json_t *hugetlb_stats(const struct cgroup *c)
{
	bool v2 = false;
	_cleanup_free_ char *path = cgroup_dir(c, "hugetlb", &v2);
	DIR *d = path ? opendir(path) : NULL;
	struct dirent *each;
	json_t *all = json_object();

	while (d && (each = readdir(d))) {
		char size[32], file[96];

		if (sscanf(each->d_name, v2 ? "hugetlb.%31[^.].current" : "hugetlb.%31[^.].usage_in_bytes", size) !=
			    1 ||
		    json_object_get(all, size))
			continue;
		snprintf(file, sizeof(file), v2 ? "hugetlb.%s.current" : "hugetlb.%s.usage_in_bytes", size);
		json_object_set_new(all, size, json_pack("{s:I}", "usage", number(dirfd(d), file)));
	}
	if (d)
		closedir(d);
	return all;
}

json_t *cgroup_stats(const struct cgroup *c)
{
	return json_pack("{s:o,s:o,s:o,s:o,s:o}", "cpu", cpu_stats(c), "memory", memory_stats(c), "pids", pids_stats(c),
			 "blkio", io_stats(c), "hugetlb", hugetlb_stats(c));
}
