/* SPDX-License-Identifier: Apache-2.0 */
/* kill, delete, pause, resume, update. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/json.h"
#include "oci/oci.h"
#include "util/cleanup.h"

static const struct option help_only[] = { { "help", no_argument, NULL, 'h' }, { 0 } };

static int set_flag(int key, const char *value, void *arg)
{
	*(bool *)arg = true;
	return 0;
}

int oci_kill(const struct oci_options *o, int argc, char **argv)
{
	static const struct option longs[] = { { "all", no_argument, NULL, 'a' },
					       { "help", no_argument, NULL, 'h' },
					       { 0 } };
	struct container c;
	struct error err = { 0 };
	bool all = false;
	int signal, status = oci_parse("kill", argc, argv, "+ah", longs, set_flag, &all, 1, 2);

	if (status)
		return status < 0 ? EXIT_SUCCESS : status;
	signal = optind + 1 < argc ? signal_number(argv[optind + 1]) : SIGTERM;
	if (signal < 0)
		return oci_usage("kill: there is no signal '%s'", argv[optind + 1]);
	status = oci_open(&c, o, argv[optind]);
	if (status)
		return status;
	if (container_kill(&c, signal, all, &err))
		status = oci_fail(&err);
	container_free(&c);
	return status;
}

static int delete_one(const struct oci_options *o, const char *id, bool force)
{
	struct container c;
	struct error err = { 0 };
	int e = container_open(&c, o->root, id, &err), status = 0;

	if (e == -ENOENT && force) {
		container_free(&c);
		return 0;
	}
	/* Half a state, left by a runtime that was killed, must not be in the way of removing it. */
	if (e && c.dir >= 0 && force)
		e = 0;
	if (e || container_delete(&c, force, &err))
		status = oci_fail(&err);
	else
		oci_warn(&err);
	container_free(&c);
	return status;
}

int oci_delete(const struct oci_options *o, int argc, char **argv)
{
	static const struct option longs[] = { { "force", no_argument, NULL, 'f' },
					       { "help", no_argument, NULL, 'h' },
					       { 0 } };
	bool force = false;
	int status = oci_parse("delete", argc, argv, "+fh", longs, set_flag, &force, 1, -1);

	if (status)
		return status < 0 ? EXIT_SUCCESS : status;
	for (int i = optind; i < argc; i++)
		status = delete_one(o, argv[i], force) ?: status;
	return status;
}

static int freeze(const struct oci_options *o, const char *command, int argc, char **argv, bool pause)
{
	struct container c;
	struct error err = { 0 };
	int status = oci_parse(command, argc, argv, "+h", help_only, NULL, NULL, 1, 1);

	if (status || (status = oci_open(&c, o, argv[optind])))
		return status < 0 ? EXIT_SUCCESS : status;
	if (container_pause(&c, pause, &err))
		status = oci_fail(&err);
	container_free(&c);
	return status;
}

int oci_pause(const struct oci_options *o, int argc, char **argv)
{
	return freeze(o, "pause", argc, argv, true);
}

int oci_resume(const struct oci_options *o, int argc, char **argv)
{
	return freeze(o, "resume", argc, argv, false);
}

/* ---- update ---- */

static const struct {
	const char *option, *object, *key; /* where the number goes in linux.resources */
	bool text;
} settings[] = {
	{ "blkio-weight", "blockIO", "weight" },
	{ "cpu-period", "cpu", "period" },
	{ "cpu-quota", "cpu", "quota" },
	{ "cpu-burst", "cpu", "burst" },
	{ "cpu-share", "cpu", "shares" },
	{ "cpu-shares", "cpu", "shares" },
	{ "cpu-rt-period", "cpu", "realtimePeriod" },
	{ "cpu-rt-runtime", "cpu", "realtimeRuntime" },
	{ "cpuset-cpus", "cpu", "cpus", true },
	{ "cpuset-mems", "cpu", "mems", true },
	{ "cpu-idle", "cpu", "idle" },
	{ "kernel-memory", "memory", "kernel" },
	{ "memory", "memory", "limit" },
	{ "memory-reservation", "memory", "reservation" },
	{ "memory-swap", "memory", "swap" },
	{ "pids-limit", "pids", "limit" },
};

struct update {
	const char *file;
	json_t *resources;
};

static int each(int key, const char *value, void *arg)
{
	struct update *u = arg;
	json_t *o;
	char *end;
	long long n;

	if (key == 'r') {
		u->file = value;
		return 0;
	}
	key -= 256;
	o = json_object_get(u->resources, settings[key].object);
	if (!o)
		json_object_set_new(u->resources, settings[key].object, o = json_object());
	n = strtoll(value, &end, 10);
	if (!settings[key].text && (end == value || *end))
		return oci_usage("update: --%s %s: that is no number", settings[key].option, value);
	json_object_set_new(o, settings[key].key, settings[key].text ? json_string(value) : json_integer(n));
	return 0;
}

static int apply(const struct oci_options *o, const char *id, struct update *u)
{
	_cleanup_json_ json_t *file = NULL;
	struct container c;
	struct error err = { 0 };
	int status;

	if (u->file) {
		file = js_load(AT_FDCWD, strcmp(u->file, "-") ? u->file : "/dev/stdin", NULL, &err);
		_cleanup_json_ json_t *config =
			file ? json_pack("{s:s,s:{s:O}}", "ociVersion", "1.1.0", "linux", "resources", file) : NULL;

		if (!config || schema_check(config, &err))
			return oci_fail(&err);
	}
	status = oci_open(&c, o, id);
	if (status)
		return status;
	if (container_update(&c, file ? file : u->resources, &err))
		status = oci_fail(&err);
	container_free(&c);
	return status;
}

int oci_update(const struct oci_options *o, int argc, char **argv)
{
	struct option longs[ARRAY_SIZE(settings) + 3] = { { "resources", required_argument, NULL, 'r' },
							  { "help", no_argument, NULL, 'h' } };
	struct update u = { .resources = json_object() };
	int status;

	for (unsigned i = 0; i < ARRAY_SIZE(settings); i++)
		longs[i + 2] = (struct option){ settings[i].option, required_argument, NULL, 256 + (int)i };
	status = oci_parse("update", argc, argv, "+r:h", longs, each, &u, 1, 1);
	if (!status)
		status = apply(o, argv[optind], &u);
	json_decref(u.resources);
	return status < 0 ? EXIT_SUCCESS : status;
}
