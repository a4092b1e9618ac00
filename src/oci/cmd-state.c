/* SPDX-License-Identifier: Apache-2.0 */
/* state, list, ps. */
#include <dirent.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/oci.h"
#include "util/cleanup.h"

struct format {
	bool json, quiet;
};

static const struct option longs[] = {
	{ "format", required_argument, NULL, 'f' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static int each(int key, const char *value, void *arg)
{
	struct format *f = arg;

	if (key == 'q')
		f->quiet = true;
	if (key != 'f')
		return 0;
	if (strcmp(value, "json") && strcmp(value, "table"))
		return oci_usage("--format is table or json, not '%s'", value);
	f->json = !strcmp(value, "json");
	return 0;
}

int oci_state(const struct oci_options *o, int argc, char **argv)
{
	struct container c;
	int status = oci_parse("state", argc, argv, "+h", longs + 2, NULL, NULL, 1, 1);

	if (status || (status = oci_open(&c, o, argv[optind])))
		return status < 0 ? EXIT_SUCCESS : status;
	status = oci_print_json(container_state(&c, container_status(&c)), true);
	container_free(&c);
	return status;
}

static const char *owner(const char *states, const char *id, char name[32])
{
	_cleanup_free_ char *path = NULL;
	struct stat st;

	if (asprintf(&path, "%s/%s", states, id) < 0)
		path = NULL;
	snprintf(name, 32, "%u", path && !stat(path, &st) ? st.st_uid : 0);
	return strcmp(name, "0") ? name : "root";
}

static void print_row(const struct container *c, const json_t *s, const char *who)
{
	printf("%-24s %-10d %-10s %-40s %-32s %s\n", c->id, (int)json_integer_value(json_object_get(s, "pid")),
	       json_string_value(json_object_get(s, "status")), json_string_value(json_object_get(s, "bundle")),
	       c->created, who);
}

static void list_one(const struct oci_options *o, const struct format *f, const char *states, const char *id,
		     json_t *all)
{
	struct container c;
	struct error err = { 0 };
	char name[32];
	json_t *s;

	if (f->quiet) {
		puts(id);
		return;
	}
	if (!container_open(&c, o->root, id, &err)) {
		s = container_state(&c, container_status(&c));
		json_object_set_new(s, "owner", json_string(owner(states, id, name)));
		if (f->json)
			json_array_append(all, s);
		else
			print_row(&c, s, owner(states, id, name));
		json_decref(s);
	}
	container_free(&c);
}

int oci_list(const struct oci_options *o, int argc, char **argv)
{
	struct format f = { 0 };
	_cleanup_free_ char *states = container_states(o->root);
	json_t *all;
	DIR *d;
	struct dirent *entry;
	int status = oci_parse("list", argc, argv, "+f:qh", longs, each, &f, 0, 0);

	if (status)
		return status < 0 ? EXIT_SUCCESS : status;
	all = json_array();
	if (!f.json && !f.quiet)
		printf("%-24s %-10s %-10s %-40s %-32s %s\n", "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER");
	d = states ? opendir(states) : NULL;
	while (d && (entry = readdir(d)))
		if (entry->d_name[0] != '.')
			list_one(o, &f, states, entry->d_name, all);
	if (d)
		closedir(d);
	if (f.json && !f.quiet)
		return oci_print_json(all, false);
	json_decref(all);
	return EXIT_SUCCESS;
}

/* ---- ps ---- */

static int append(void *array, pid_t pid)
{
	return json_array_append_new(array, json_integer(pid));
}

static bool among(const json_t *pids, const char *line, size_t column)
{
	char *end;
	long pid = 0;
	const char *p = line;

	for (size_t i = 0; i <= column; i++) {
		p += strspn(p, " ");
		pid = strtol(p, &end, 10);
		p += strcspn(p, " ");
	}
	for (size_t i = 0; i < json_array_size(pids); i++)
		if (json_integer_value(json_array_get(pids, i)) == pid)
			return true;
	return false;
}

static size_t column_of(const char *header, const char *name)
{
	size_t n = 0, len = strlen(name);

	for (const char *p = header + strspn(header, " "); *p; n++) {
		size_t word = strcspn(p, " \n");

		if (word == len && !strncmp(p, name, len))
			return n;
		p += word;
		p += strspn(p, " \n");
	}
	return 0;
}

/* The host's ps(1) knows how to print; ours is to know which lines. */
static int print_table(const json_t *pids, int argc, char **argv)
{
	_cleanup_free_ char *command = NULL, *line = NULL;
	size_t size = 0, column = 0;
	FILE *f;

	if (asprintf(&command, "ps") < 0)
		return EXIT_FAILURE;
	for (int i = 0; i < MAX(argc, 1); i++) {
		char *more;

		if (argc && strspn(argv[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-,=%_") !=
				    strlen(argv[i]))
			return oci_usage("ps: '%s' is no option of ps", argv[i]);
		if (asprintf(&more, "%s %s", command, argc ? argv[i] : "-ef") < 0)
			return EXIT_FAILURE;
		free(command);
		command = more;
	}
	f = popen(command, "r");
	for (unsigned n = 0; f && getline(&line, &size, f) > 0; n++) {
		if (!n)
			column = column_of(line, "PID");
		if (!n || among(pids, line, column))
			fputs(line, stdout);
	}
	return f && !pclose(f) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int oci_ps(const struct oci_options *o, int argc, char **argv)
{
	struct container c;
	struct format f = { 0 };
	json_t *pids;
	int status = oci_parse("ps", argc, argv, "+f:h", longs, each, &f, 1, -1);

	if (status || (status = oci_open(&c, o, argv[optind])))
		return status < 0 ? EXIT_SUCCESS : status;
	pids = json_array();
	cgroup_each(&c.cgroup, append, pids);
	if (f.json)
		status = oci_print_json(json_incref(pids), false);
	else
		status = print_table(pids, argc - optind - 1, argv + optind + 1);
	json_decref(pids);
	container_free(&c);
	return status;
}
