/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entry of `sextant` and `sextant-oci`. The runtime's commands are done here; all others by the machine monitor, an executable
 * beside this one, with the same words.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/oci.h"

const struct oci_command oci_commands[] = {
	{ "create", "[OPTION...] ID", "make a container that waits for its start", oci_create, true },
	{ "start", "ID", "start it", oci_start },
	{ "run", "[OPTION...] ID", "make a container, start it, wait for it, delete it", oci_run, true },
	{ "state", "ID", "its state, as JSON", oci_state },
	{ "kill", "[--all] ID [SIGNAL]", "send a signal to its first process", oci_kill },
	{ "delete", "[--force] ID...", "remove what has ended", oci_delete },
	{ "exec", "[OPTION...] ID COMMAND [ARG...]", "run a further process in it", oci_exec, true },
	{ "list", "[--format table|json] [--quiet]", "the containers", oci_list },
	{ "ps", "[--format table|json] ID [PS-OPTION...]", "its processes", oci_ps },
	{ "pause", "ID", "freeze it", oci_pause },
	{ "resume", "ID", "thaw it", oci_resume },
	{ "update", "[OPTION...] ID", "change its limits", oci_update },
	{ "events", "[--stats] [--interval SECONDS] ID", "figures and out-of-memory events, as JSON", oci_events },
	{ "stats", "ID", "figures, for people", oci_stats },
	{ "spec", "[--bundle DIR] [--rootless]", "write a configuration to start from", oci_spec },
	{ "features", "", "what this runtime can do, as JSON", oci_features },
	{ NULL },
};

const struct oci_command *oci_find(const char *name)
{
	for (const struct oci_command *c = oci_commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

static void help(void)
{
	printf("Usage: sextant-oci [GLOBAL OPTION...] COMMAND [OPTION...]\n"
	       "Containers from OCI bundles.\n\n"
	       "  --root DIR               where states are kept (/run/sextant, or $XDG_RUNTIME_DIR/sextant)\n"
	       "  --log FILE               where errors are written, too\n"
	       "  --log-format text|json   how\n"
	       "  --systemd-cgroup         let systemd make control groups\n"
	       "  --debug                  accepted\n"
	       "  --version, --help\n\n");
	for (const struct oci_command *c = oci_commands; c->name; c++)
		printf("  %-9s %-44s %s\n", c->name, c->usage, c->summary);
}

/* 0; or an exit status, -1 for a normal end. */
static int parse_globals(int argc, char **argv, struct oci_options *o)
{
	static const struct option longs[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "log", required_argument, NULL, 'l' },
		{ "log-format", required_argument, NULL, 'f' },
		{ "systemd-cgroup", no_argument, NULL, 's' },
		{ "debug", no_argument, NULL, 'd' },
		{ "rootless", required_argument, NULL, 'i' },
		{ "criu", required_argument, NULL, 'i' },
		{ "cgroup-manager", required_argument, NULL, 'm' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+hv", longs, NULL)) >= 0) {
		switch (c) {
		case 'r': o->root = optarg; break;
		case 'l': o->log = *optarg ? optarg : NULL; break;
		case 's': o->systemd = true; break;
		case 'm': o->systemd = !strcmp(optarg, "systemd"); break;
		case 'd': o->debug = true; break;
		case 'i': break;
		case 'f':
			if (strcmp(optarg, "json") && strcmp(optarg, "text"))
				return oci_usage("--log-format is text or json, not '%s'", optarg);
			o->log_json = !strcmp(optarg, "json");
			break;
		case 'v': printf("sextant %s\nspec: 1.1.0\n", SEXTANT_VERSION); return -1;
		case 'h': help(); return -1;
		default: return oci_usage("unknown option or missing value: '%s'", argv[optind - 1]);
		}
	}
	return 0;
}

static int run(int argc, char **argv, char **all)
{
	struct oci_options o = { 0 };
	const struct oci_command *c;
	struct error err = { 0 };
	int status = parse_globals(argc, argv, &o);

	if (status)
		return status < 0 ? EXIT_SUCCESS : status;
	argv += optind;
	argc -= optind;
	if (argc < 1)
		return oci_usage("no command given");
	c = oci_find(argv[0]);
	if (!c)
		return oci_usage("unknown command '%s'", argv[0]);
	oci_log_open(&o);
	if (c->enters && seal_executable(all, &o.late_fd, &err))
		return oci_fail(&err);
	optind = 0; /* glibc: begin anew */
	return c->main(&o, argc, argv);
}

/* What is closed would become a file of ours, and a container's standard output. */
static void open_standard_descriptors(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_WRONLY : O_RDONLY) != fd)
			_exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
	int status;

	if (vmm_wanted(argc, argv))
		return vmm_execute(argv);
	open_standard_descriptors();
	umask(022);
	if (argc > 1 && !strcmp(argv[1], "oci")) /* sextant oci COMMAND */
		status = run(argc - 1, argv + 1, argv);
	else
		status = run(argc, argv, argv);
	if (fflush(stdout))
		return status ? status : EXIT_FAILURE;
	return status;
}
