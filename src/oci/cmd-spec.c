/* SPDX-License-Identifier: Apache-2.0 */
/* spec, features. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oci/oci.h"
#include "util/cleanup.h"

struct args {
	const char *bundle;
	bool rootless;
};

static int each(int key, const char *value, void *arg)
{
	struct args *a = arg;

	if (key == 'b')
		a->bundle = value;
	else
		a->rootless = true;
	return 0;
}

int oci_spec(const struct oci_options *o, int argc, char **argv)
{
	static const struct option longs[] = { { "bundle", required_argument, NULL, 'b' },
					       { "rootless", no_argument, NULL, 'r' },
					       { "help", no_argument, NULL, 'h' },
					       { 0 } };
	struct args a = { 0 };
	struct error err = { 0 };
	_cleanup_free_ char *text = NULL;
	_cleanup_fd_ int fd = -1;
	json_t *config;
	int status = oci_parse("spec", argc, argv, "+b:h", longs, each, &a, 0, 0);

	if (status)
		return status < 0 ? EXIT_SUCCESS : status;
	config = template_config(a.rootless);
	text = config ? json_dumps(config, JSON_INDENT(4)) : NULL;
	json_decref(config);
	if (a.bundle && chdir(a.bundle))
		error_set(&err, errno, "%s: %s", a.bundle, strerror(errno));
	else if ((fd = open("config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) < 0)
		error_set(&err, errno, "config.json: %s", strerror(errno));
	else if (!text || dprintf(fd, "%s\n", text) < 0)
		error_set(&err, EIO, "config.json cannot be written");
	return err.code ? oci_fail(&err) : EXIT_SUCCESS;
}

int oci_features(const struct oci_options *o, int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	int status = oci_parse("features", argc, argv, "+h", longs, NULL, NULL, 0, 0);

	if (status)
		return status < 0 ? EXIT_SUCCESS : status;
	return oci_print_json(features(), true);
}
