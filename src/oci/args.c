/* SPDX-License-Identifier: Apache-2.0 */
/* What commands share: options, numbers, JSON on standard output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oci/oci.h"
#include "util/cleanup.h"

int oci_parse(const char *command, int argc, char **argv, const char *letters, const struct option *longs,
	      int (*each)(int key, const char *value, void *arg), void *arg, int min, int max)
{
	int key, status;

	opterr = 0;
	while ((key = getopt_long(argc, argv, letters, longs, NULL)) >= 0) {
		if (key == 'h') {
			const struct oci_command *c = oci_find(command);

			printf("Usage: sextant-oci %s %s\n%s: %s\n", command, c->usage, command, c->summary);
			for (const struct option *o = longs; o && o->name; o++)
				printf("  --%s%s\n", o->name, o->has_arg == required_argument ? " VALUE" : "");
			return -1;
		}
		if (key == '?' || key == ':')
			return oci_usage("%s: unknown option or missing value: '%s'", command, argv[optind - 1]);
		status = each ? each(key, optarg, arg) : 0;
		if (status)
			return status;
	}
	if (argc - optind < min)
		return oci_usage("%s: the container's name is missing", command);
	if (max >= 0 && argc - optind > max)
		return oci_usage("%s: unexpected argument '%s'", command, argv[optind + max]);
	return 0;
}

bool oci_number(const char *text, unsigned max, unsigned *out)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || n > max)
		return false;
	*out = (unsigned)n;
	return true;
}

int oci_print_json(json_t *o, bool indent)
{
	_cleanup_free_ char *text = o ? json_dumps(o, indent ? JSON_INDENT(2) : JSON_COMPACT) : NULL;
	struct error err = { 0 };

	json_decref(o);
	if (!text) {
		error_set(&err, 12, "out of memory");
		return oci_fail(&err);
	}
	puts(text);
	return EXIT_SUCCESS;
}

int oci_open(struct container *c, const struct oci_options *o, const char *id)
{
	struct error err = { 0 };

	if (!container_open(c, o->root, id, &err))
		return 0;
	container_free(c);
	return oci_fail(&err);
}
