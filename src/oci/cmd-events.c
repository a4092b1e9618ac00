/* SPDX-License-Identifier: Apache-2.0 */
/* events, stats: figures of the control groups. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "container/fileio.h"
#include "container/json.h"
#include "oci/oci.h"
#include "util/cleanup.h"

struct args {
	bool once;
	unsigned interval;
};

static int each(int key, const char *value, void *arg)
{
	struct args *a = arg;
	char *end;
	double seconds;

	if (key == 's') {
		a->once = true;
		return 0;
	}
	seconds = strtod(value, &end); /* "5s" as well */
	if (end == value || !(seconds >= 1) || seconds > 86400 || (*end && strcmp(end, "s")))
		return oci_usage("events: --interval %s: that is no number of seconds from 1", value);
	a->interval = (unsigned)seconds;
	return 0;
}

static int print_stats(const struct container *c)
{
	return oci_print_json(
		json_pack("{s:s,s:s,s:o}", "type", "stats", "id", c->id, "data", cgroup_stats(&c->cgroup)), false);
}

/* How often the kernel has killed something there for want of memory. */
static long long oom_kills(const struct container *c)
{
	bool v2;
	_cleanup_free_ char *dir = cgroup_dir(&c->cgroup, "memory", &v2), *path = NULL, *text = NULL;
	const char *at;

	if (!dir || asprintf(&path, "%s/%s", dir, v2 ? "memory.events" : "memory.oom_control") < 0) {
		path = NULL;
		return 0;
	}
	text = file_read(AT_FDCWD, path, 65536);
	at = text ? strstr(text, "oom_kill ") : NULL;
	return at ? atoll(at + 9) : 0;
}

static int follow(const struct container *c, unsigned interval)
{
	long long seen = oom_kills(c);

	for (unsigned s = 1; container_status(c) != STATUS_STOPPED; s++) {
		long long now = oom_kills(c);

		for (; seen < now; seen++)
			oci_print_json(json_pack("{s:s,s:s}", "type", "oom", "id", c->id), false);
		if (s % interval == 0)
			print_stats(c);
		fflush(stdout);
		sleep(1);
	}
	return EXIT_SUCCESS;
}

static int must_run(const struct container *c)
{
	struct error err = { 0 };

	if (container_status(c) != STATUS_STOPPED)
		return 0;
	error_set(&err, 3, "container '%s' has ended", c->id);
	return oci_fail(&err);
}

int oci_events(const struct oci_options *o, int argc, char **argv)
{
	static const struct option longs[] = { { "stats", no_argument, NULL, 's' },
					       { "interval", required_argument, NULL, 'i' },
					       { "help", no_argument, NULL, 'h' },
					       { 0 } };
	struct container c;
	struct args a = { .interval = 5 };
	int status = oci_parse("events", argc, argv, "+h", longs, each, &a, 1, 1);

	if (status || (status = oci_open(&c, o, argv[optind])))
		return status < 0 ? EXIT_SUCCESS : status;
	status = must_run(&c);
	if (!status)
		status = a.once ? print_stats(&c) : follow(&c, a.interval);
	container_free(&c);
	return status;
}

static void print_for_people(const struct container *c, const json_t *s)
{
	double mib = 1048576;
	json_int_t limit = js_int(s, "memory.usage.limit", 0), pids = js_int(s, "pids.limit", 0);
	bool limited = limit > 0 && limit < (json_int_t)1 << 62;
	json_t *entry;
	size_t i;
	double read = 0, written = 0;

	json_array_foreach(js_at(s, "blkio.ioServiceBytesRecursive"), i, entry)
	{
		const char *op = js_str(entry, "op");

		if (op && !strcmp(op, "Read"))
			read += (double)js_int(entry, "value", 0);
		if (op && !strcmp(op, "Write"))
			written += (double)js_int(entry, "value", 0);
	}
	printf("%-10s %s (%s)\n", "container", c->id, status_name(container_status(c)));
	printf("%-10s %.3f s, of it user %.3f s, kernel %.3f s; throttled %lld times\n", "cpu",
	       (double)js_int(s, "cpu.usage.total", 0) / 1e9, (double)js_int(s, "cpu.usage.user", 0) / 1e9,
	       (double)js_int(s, "cpu.usage.kernel", 0) / 1e9,
	       (long long)js_int(s, "cpu.throttling.throttledPeriods", 0));
	printf("%-10s %.1f MiB, at most %.1f MiB", "memory", (double)js_int(s, "memory.usage.usage", 0) / mib,
	       (double)js_int(s, "memory.usage.max", 0) / mib);
	printf(limited ? ", of %.1f MiB\n" : ", no limit\n", (double)limit / mib);
	printf("%-10s %lld", "processes", (long long)js_int(s, "pids.current", 0));
	printf(pids ? " of %lld\n" : ", no limit\n", (long long)pids);
	printf("%-10s %.1f MiB read, %.1f MiB written\n", "disk", read / mib, written / mib);
}

int oci_stats(const struct oci_options *o, int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	struct container c;
	int status = oci_parse("stats", argc, argv, "+h", longs, NULL, NULL, 1, 1);

	if (status || (status = oci_open(&c, o, argv[optind])))
		return status < 0 ? EXIT_SUCCESS : status;
	status = must_run(&c);
	if (!status) {
		_cleanup_json_ json_t *s = cgroup_stats(&c.cgroup);

		print_for_people(&c, s);
	}
	container_free(&c);
	return status;
}
