/* SPDX-License-Identifier: Apache-2.0 */
/* exec: a process given whole (--process FILE), or the container's own with what the options change. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/foreground.h"
#include "container/json.h"
#include "oci/oci.h"
#include "util/cleanup.h"

struct args {
	struct exec_options o;
	const char *process, *cwd, *user, *label, *apparmor;
	json_t *env, *caps, *groups;
	bool detach, tty, no_new_privs;
};

static const struct option longs[] = {
	{ "console-socket", required_argument, NULL, 'S' },
	{ "cwd", required_argument, NULL, 'w' },
	{ "env", required_argument, NULL, 'e' },
	{ "tty", no_argument, NULL, 't' },
	{ "user", required_argument, NULL, 'u' },
	{ "additional-gids", required_argument, NULL, 'g' },
	{ "process", required_argument, NULL, 'p' },
	{ "detach", no_argument, NULL, 'd' },
	{ "pid-file", required_argument, NULL, 'P' },
	{ "process-label", required_argument, NULL, 'L' },
	{ "apparmor", required_argument, NULL, 'A' },
	{ "no-new-privs", no_argument, NULL, 'N' },
	{ "cap", required_argument, NULL, 'c' },
	{ "preserve-fds", required_argument, NULL, 'F' },
	{ "cgroup", required_argument, NULL, 'C' },
	{ "ignore-paused", no_argument, NULL, 'i' },
	{ "no-subreaper", no_argument, NULL, 'i' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static int each(int key, const char *value, void *arg)
{
	struct args *a = arg;
	unsigned n;

	switch (key) {
	case 'S': a->o.console_socket = value; break;
	case 'w': a->cwd = value; break;
	case 'e': json_array_append_new(a->env, json_string(value)); break;
	case 't': a->tty = true; break;
	case 'u': a->user = value; break;
	case 'p': a->process = value; break;
	case 'd': a->detach = true; break;
	case 'P': a->o.pid_file = value; break;
	case 'L': a->label = value; break;
	case 'A': a->apparmor = value; break;
	case 'N': a->no_new_privs = true; break;
	case 'c': json_array_append_new(a->caps, json_string(value)); break;
	case 'C': a->o.cgroup = value; break;
	case 'g':
		if (!oci_number(value, ~0u, &n))
			return oci_usage("--additional-gids %s: that is no number", value);
		json_array_append_new(a->groups, json_integer(n));
		break;
	case 'F':
		if (!oci_number(value, 1024, &a->o.preserve_fds))
			return oci_usage("--preserve-fds %s: that is no number up to 1024", value);
		break;
	default: break;
	}
	return 0;
}

static int set_user(json_t *process, const struct args *a)
{
	json_t *user = json_object_get(process, "user");
	unsigned uid, gid = 0;
	_cleanup_free_ char *copy = a->user ? strdup(a->user) : NULL;
	char *colon = copy ? strchr(copy, ':') : NULL;

	if (!user)
		json_object_set_new(process, "user", user = json_object());
	if (json_array_size(a->groups))
		json_object_set(user, "additionalGids", a->groups);
	if (!copy)
		return 0;
	if (colon)
		*colon = 0;
	if (!oci_number(copy, ~0u, &uid) || (colon && !oci_number(colon + 1, ~0u, &gid)))
		return oci_usage("--user %s: that is not UID or UID:GID", a->user);
	json_object_set_new(user, "uid", json_integer(uid));
	if (colon)
		json_object_set_new(user, "gid", json_integer(gid));
	return 0;
}

static void add_capabilities(json_t *process, const json_t *caps)
{
	static const char *const sets[] = { "bounding", "effective", "permitted", "inheritable", "ambient" };
	json_t *all = json_object_get(process, "capabilities");

	if (!json_array_size(caps))
		return;
	if (!all)
		json_object_set_new(process, "capabilities", all = json_object());
	for (unsigned i = 0; i < ARRAY_SIZE(sets); i++) {
		if (!json_object_get(all, sets[i]))
			json_object_set_new(all, sets[i], json_array());
		json_array_extend(json_object_get(all, sets[i]), (json_t *)caps);
	}
}

/* The container's own process, changed. */
static int derive(const struct container *c, const struct args *a, int argc, char **argv, json_t **process)
{
	json_t *p = json_deep_copy(json_object_get(c->config, "process")), *words = json_array();

	*process = p;
	if (!argc) {
		json_decref(words);
		return oci_usage("exec: the command is missing");
	}
	for (int i = 0; i < argc; i++)
		json_array_append_new(words, json_string(argv[i]));
	json_object_set_new(p, "args", words);
	json_object_set_new(p, "terminal", json_boolean(a->tty));
	if (!json_object_get(p, "env"))
		json_object_set_new(p, "env", json_array());
	json_array_extend(json_object_get(p, "env"), a->env);
	if (a->cwd)
		json_object_set_new(p, "cwd", json_string(a->cwd));
	if (a->apparmor)
		json_object_set_new(p, "apparmorProfile", json_string(a->apparmor));
	if (a->label)
		json_object_set_new(p, "selinuxLabel", json_string(a->label));
	if (a->no_new_privs)
		json_object_set_new(p, "noNewPrivileges", json_true());
	add_capabilities(p, a->caps);
	return set_user(p, a);
}

static int execute(struct container *c, struct args *a, int argc, char **argv)
{
	struct error err = { 0 };
	_cleanup_json_ json_t *process = NULL;
	pid_t pid = 0;
	int terminal = -1, status = 0;

	if (a->process)
		process = js_load(AT_FDCWD, a->process, NULL, &err);
	else
		status = derive(c, a, argc, argv, &process);
	if (status)
		return status;
	if (!process)
		return oci_fail(&err);
	a->o.process = process;
	if (!a->detach)
		foreground_prepare();
	if (container_exec(c, &a->o, &pid, a->detach ? NULL : &terminal, &err))
		return oci_fail(&err), err.code == -ENOENT   ? CONTAINER_NOT_FOUND
				       : err.code == -EACCES ? CONTAINER_NOT_RUN
							     : 255;
	return a->detach ? 0 : foreground_wait(&(struct foreground){ .pid = pid, .terminal = terminal });
}

int oci_exec(const struct oci_options *o, int argc, char **argv)
{
	struct args a = { .o.late_fd = o->late_fd, .env = json_array(), .caps = json_array(), .groups = json_array() };
	struct container c;
	int status = oci_parse("exec", argc, argv, "+e:tu:g:p:dc:h", longs, each, &a, 1, -1);

	if (!status && !(status = oci_open(&c, o, argv[optind]))) {
		status = execute(&c, &a, argc - optind - 1, argv + optind + 1);
		container_free(&c);
	}
	json_decref(a.env);
	json_decref(a.caps);
	json_decref(a.groups);
	return status < 0 ? EXIT_SUCCESS : status;
}
