/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The types of the runtime specification (config.md, config-linux.md) as a table. Checked once when a configuration is loaded,
 * so that nothing after it has to ask whether a value is a string. Keys that are not here are allowed: extensions.
 */
#include <errno.h>
#include <string.h>

#include "container/json.h"

enum type { STRING, INTEGER, UNSIGNED, BOOLEAN, OBJECT, ARRAY, STRINGS, MAP };

struct row {
	const char *path; /* keys with dots; "[]" for each element of an array */
	enum type type;
	bool required; /* where what contains it is there */
};

#define PROCESS_ROWS(p)                                                                                              \
	{ p "args", STRINGS }, { p "env", STRINGS }, { p "cwd", STRING, true }, { p "terminal", BOOLEAN },           \
		{ p "consoleSize", OBJECT }, { p "consoleSize.height", UNSIGNED },                                   \
		{ p "consoleSize.width", UNSIGNED }, { p "user", OBJECT }, { p "user.uid", UNSIGNED },               \
		{ p "user.gid", UNSIGNED }, { p "user.umask", UNSIGNED }, { p "user.additionalGids", ARRAY },        \
		{ p "user.additionalGids[]", UNSIGNED }, { p "capabilities", OBJECT },                               \
		{ p "capabilities.bounding", STRINGS }, { p "capabilities.effective", STRINGS },                     \
		{ p "capabilities.inheritable", STRINGS }, { p "capabilities.permitted", STRINGS },                  \
		{ p "capabilities.ambient", STRINGS }, { p "rlimits", ARRAY }, { p "rlimits[].type", STRING, true }, \
		{ p "rlimits[].soft", INTEGER, true }, { p "rlimits[].hard", INTEGER, true },                        \
		{ p "noNewPrivileges", BOOLEAN }, { p "apparmorProfile", STRING }, { p "selinuxLabel", STRING },     \
		{ p "oomScoreAdj", INTEGER }, { p "ioPriority", OBJECT }, { p "ioPriority.class", STRING, true },    \
		{ p "ioPriority.priority", INTEGER }, { p "scheduler", OBJECT },                                     \
		{ p "scheduler.policy", STRING, true }, { p "scheduler.nice", INTEGER },                             \
		{ p "scheduler.priority", INTEGER }, { p "scheduler.flags", STRINGS },                               \
		{ p "scheduler.runtime", UNSIGNED }, { p "scheduler.deadline", UNSIGNED },                           \
	{                                                                                                            \
		p "scheduler.period", UNSIGNED                                                                       \
	}
#define HOOK_ROWS(kind)                                                                                            \
	{ "hooks." kind, ARRAY }, { "hooks." kind "[].path", STRING, true }, { "hooks." kind "[].args", STRINGS }, \
		{ "hooks." kind "[].env", STRINGS },                                                               \
	{                                                                                                          \
		"hooks." kind "[].timeout", INTEGER                                                                \
	}
#define ID_ROWS(p)                                                                               \
	{ p, ARRAY }, { p "[].containerID", UNSIGNED, true }, { p "[].hostID", UNSIGNED, true }, \
	{                                                                                        \
		p "[].size", UNSIGNED, true                                                      \
	}

static const struct row process_rows[] = { PROCESS_ROWS("") };
static const struct row rows[] = {
	{ "ociVersion", STRING, true },
	{ "process", OBJECT },
	PROCESS_ROWS("process."),
	{ "root", OBJECT },
	{ "root.path", STRING, true },
	{ "root.readonly", BOOLEAN },
	{ "hostname", STRING },
	{ "domainname", STRING },
	{ "mounts", ARRAY },
	{ "mounts[].destination", STRING, true },
	{ "mounts[].type", STRING },
	{ "mounts[].source", STRING },
	{ "mounts[].options", STRINGS },
	ID_ROWS("mounts[].uidMappings"),
	ID_ROWS("mounts[].gidMappings"),
	{ "annotations", MAP },
	{ "hooks", OBJECT },
	HOOK_ROWS("prestart"),
	HOOK_ROWS("createRuntime"),
	HOOK_ROWS("createContainer"),
	HOOK_ROWS("startContainer"),
	HOOK_ROWS("poststart"),
	HOOK_ROWS("poststop"),
	{ "linux", OBJECT },
	{ "linux.namespaces", ARRAY },
	{ "linux.namespaces[].type", STRING, true },
	{ "linux.namespaces[].path", STRING },
	ID_ROWS("linux.uidMappings"),
	ID_ROWS("linux.gidMappings"),
	{ "linux.timeOffsets", OBJECT },
	{ "linux.devices", ARRAY },
	{ "linux.devices[].type", STRING, true },
	{ "linux.devices[].path", STRING, true },
	{ "linux.devices[].major", INTEGER },
	{ "linux.devices[].minor", INTEGER },
	{ "linux.devices[].fileMode", UNSIGNED },
	{ "linux.devices[].uid", UNSIGNED },
	{ "linux.devices[].gid", UNSIGNED },
	{ "linux.cgroupsPath", STRING },
	{ "linux.rootfsPropagation", STRING },
	{ "linux.mountLabel", STRING },
	{ "linux.maskedPaths", STRINGS },
	{ "linux.readonlyPaths", STRINGS },
	{ "linux.sysctl", MAP },
	{ "linux.intelRdt", OBJECT },
	{ "linux.personality", OBJECT },
	{ "linux.personality.domain", STRING, true },
	{ "linux.personality.flags", STRINGS },
	{ "linux.seccomp", OBJECT },
	{ "linux.seccomp.defaultAction", STRING, true },
	{ "linux.seccomp.defaultErrnoRet", UNSIGNED },
	{ "linux.seccomp.architectures", STRINGS },
	{ "linux.seccomp.flags", STRINGS },
	{ "linux.seccomp.listenerPath", STRING },
	{ "linux.seccomp.listenerMetadata", STRING },
	{ "linux.seccomp.syscalls", ARRAY },
	{ "linux.seccomp.syscalls[].names", STRINGS, true },
	{ "linux.seccomp.syscalls[].action", STRING, true },
	{ "linux.seccomp.syscalls[].errnoRet", UNSIGNED },
	{ "linux.seccomp.syscalls[].args", ARRAY },
	{ "linux.seccomp.syscalls[].args[].index", UNSIGNED, true },
	{ "linux.seccomp.syscalls[].args[].value", INTEGER, true },
	{ "linux.seccomp.syscalls[].args[].valueTwo", INTEGER },
	{ "linux.seccomp.syscalls[].args[].op", STRING, true },
	{ "linux.resources", OBJECT },
	{ "linux.resources.devices", ARRAY },
	{ "linux.resources.devices[].allow", BOOLEAN, true },
	{ "linux.resources.devices[].type", STRING },
	{ "linux.resources.devices[].access", STRING },
	{ "linux.resources.devices[].major", INTEGER },
	{ "linux.resources.devices[].minor", INTEGER },
	{ "linux.resources.memory", OBJECT },
	{ "linux.resources.cpu", OBJECT },
	{ "linux.resources.cpu.cpus", STRING },
	{ "linux.resources.cpu.mems", STRING },
	{ "linux.resources.pids", OBJECT },
	{ "linux.resources.pids.limit", INTEGER, true },
	{ "linux.resources.blockIO", OBJECT },
	{ "linux.resources.hugepageLimits", ARRAY },
	{ "linux.resources.hugepageLimits[].pageSize", STRING, true },
	{ "linux.resources.hugepageLimits[].limit", INTEGER, true },
	{ "linux.resources.network", OBJECT },
	{ "linux.resources.rdma", OBJECT },
	{ "linux.resources.unified", MAP },
};

static const char *const words[] = {
	[STRING] = "a string",
	[INTEGER] = "a number",
	[UNSIGNED] = "a number of 0 or more",
	[BOOLEAN] = "a boolean",
	[OBJECT] = "an object",
	[ARRAY] = "an array",
	[STRINGS] = "an array of strings",
	[MAP] = "an object of strings",
};

static bool all_strings(const json_t *v)
{
	for (size_t i = 0; i < json_array_size(v); i++)
		if (!json_is_string(json_array_get(v, i)))
			return false;
	return true;
}

static bool map_of_strings(json_t *v)
{
	const char *key;
	json_t *each;

	json_object_foreach(v, key, each) if (!json_is_string(each)) return false;
	return true;
}

static bool is(json_t *v, enum type type)
{
	switch (type) {
	case STRING: return json_is_string(v);
	case INTEGER: return json_is_number(v);
	case UNSIGNED: return json_is_number(v) && json_number_value(v) >= 0;
	case BOOLEAN: return json_is_boolean(v);
	case OBJECT: return json_is_object(v);
	case ARRAY: return json_is_array(v);
	case STRINGS: return json_is_array(v) && all_strings(v);
	case MAP: return json_is_object(v) && map_of_strings(v);
	}
	return false;
}

static int check(json_t *v, const struct row *r, const char *rest, struct error *err);

static int check_elements(json_t *array, const struct row *r, const char *rest, struct error *err)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		json_t *each = json_array_get(array, i);
		int e = 0;

		if (*rest == '.' && !json_is_object(each))
			e = error_set(err, EINVAL, "config: %.*s is not of objects", (int)strcspn(r->path, "["),
				      r->path);
		else if (*rest == '.')
			e = check(each, r, rest + 1, err);
		else if (!is(each, r->type))
			e = error_set(err, EINVAL, "config: %s is not %s", r->path, words[r->type]);
		if (e)
			return e;
	}
	return 0;
}

static int check(json_t *v, const struct row *r, const char *rest, struct error *err)
{
	size_t n = strcspn(rest, ".[");
	json_t *next = json_object_getn(v, rest, n);

	if (!next || json_is_null(next)) {
		if (r->required && !rest[n] && json_is_object(v))
			return error_set(err, EINVAL, "config: %s is missing", r->path);
		return 0;
	}
	if (rest[n] == '.')
		return check(next, r, rest + n + 1, err);
	if (rest[n] == '[')
		return check_elements(next, r, rest + n + 2, err);
	return is(next, r->type) ? 0 : error_set(err, EINVAL, "config: %s is not %s", r->path, words[r->type]);
}

static int check_rows(const json_t *o, const struct row *r, size_t n, struct error *err)
{
	if (!json_is_object(o))
		return error_set(err, EINVAL, "config: that is not an object");
	for (size_t i = 0; i < n; i++) {
		int e = check((json_t *)o, &r[i], r[i].path, err);

		if (e)
			return e;
	}
	return 0;
}

int schema_check(const json_t *config, struct error *err)
{
	return check_rows(config, rows, ARRAY_SIZE(rows), err);
}

int schema_check_process(const json_t *process, struct error *err)
{
	return check_rows(process, process_rows, ARRAY_SIZE(process_rows), err);
}
