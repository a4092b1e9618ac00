/* SPDX-License-Identifier: Apache-2.0 */
/* create, run, start. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/foreground.h"
#include "oci/oci.h"

struct args {
	struct create_options o;
	bool detach, keep;
};

static const struct option longs[] = {
	{ "bundle", required_argument, NULL, 'b' },
	{ "console-socket", required_argument, NULL, 'c' },
	{ "pid-file", required_argument, NULL, 'p' },
	{ "no-pivot", no_argument, NULL, 'n' },
	{ "no-new-keyring", no_argument, NULL, 'k' },
	{ "preserve-fds", required_argument, NULL, 'f' },
	{ "detach", no_argument, NULL, 'd' },
	{ "keep", no_argument, NULL, 'K' },
	{ "no-subreaper", no_argument, NULL, 'i' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static int each(int key, const char *value, void *arg)
{
	struct args *a = arg;

	switch (key) {
	case 'b': a->o.bundle = value; break;
	case 'c': a->o.console_socket = value; break;
	case 'p': a->o.pid_file = value; break;
	case 'n': a->o.no_pivot = true; break;
	case 'k': a->o.no_new_keyring = true; break;
	case 'd': a->detach = true; break;
	case 'K': a->keep = true; break;
	case 'f':
		if (!oci_number(value, 1024, &a->o.preserve_fds))
			return oci_usage("--preserve-fds %s: that is no number up to 1024", value);
		break;
	default: break;
	}
	return 0;
}

static int parse(const char *command, const struct oci_options *o, int argc, char **argv, struct args *a)
{
	*a = (struct args){ .o.systemd = o->systemd, .o.late_fd = o->late_fd };
	return oci_parse(command, argc, argv, "+b:dh", longs, each, a, 1, 1);
}

int oci_create(const struct oci_options *o, int argc, char **argv)
{
	struct container c;
	struct error err = { 0 };
	struct args a;
	int status = parse("create", o, argc, argv, &a);

	if (status)
		return status < 0 ? EXIT_SUCCESS : status;
	if (container_new(&c, o->root, argv[optind], &err) || container_create(&c, &a.o, &err))
		status = oci_fail(&err);
	container_free(&c);
	return status;
}

static int wait_and_delete(struct container *c, const struct args *a, int terminal)
{
	struct foreground f = { .pid = c->pid, .terminal = terminal };
	struct error err = { 0 };
	int status = foreground_wait(&f);

	if (!a->keep && container_delete(c, true, &err))
		oci_fail(&err);
	else
		oci_warn(&err);
	return status;
}

int oci_run(const struct oci_options *o, int argc, char **argv)
{
	struct container c;
	struct error err = { 0 };
	struct args a;
	int terminal = -1, status = parse("run", o, argc, argv, &a);

	if (status)
		return status < 0 ? EXIT_SUCCESS : status;
	if (!a.detach)
		foreground_prepare();
	if (container_new(&c, o->root, argv[optind], &err) ||
	    container_run(&c, &a.o, a.detach ? NULL : &terminal, &err))
		return container_free(&c), oci_fail(&err);
	oci_warn(&err);
	if (!a.detach)
		status = wait_and_delete(&c, &a, terminal);
	container_free(&c);
	return status;
}

int oci_start(const struct oci_options *o, int argc, char **argv)
{
	struct container c;
	struct error err = { 0 };
	int status = oci_parse("start", argc, argv, "+h", longs + ARRAY_SIZE(longs) - 2, NULL, NULL, 1, 1);

	if (status || (status = oci_open(&c, o, argv[optind])))
		return status < 0 ? EXIT_SUCCESS : status;
	if (container_start(&c, &err))
		status = oci_fail(&err);
	else
		oci_warn(&err);
	container_free(&c);
	return status;
}
