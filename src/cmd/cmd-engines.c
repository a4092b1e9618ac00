/* SPDX-License-Identifier: Apache-2.0 */
/* sextant engines: which of the six work on this host, and why the others do not. */
#include <stdio.h>

#include "cmd/cmd.h"
#include "engines/engine.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
	return ARGP_ERR_UNKNOWN;
}

static int engines_main(const struct command *self, int argc, char **argv)
{
	int status = cmd_parse(self, argc, argv, NULL);

	if (status)
		return status;
	for (unsigned i = 0; i < engine_count; i++) {
		const struct engine *e = engines[i];
		struct error why = { 0 };
		const char *verdict = "yes";
		int (*probe)(struct error * why) = engine_core(e)->probe;

		if (!probe)
			verdict = "not built yet";
		else if (probe(&why))
			verdict = why.text;
		printf("%-10s %-48s %s\n", e->name, e->technique, verdict);
	}
	return 0;
}

static const struct argp argp = {
	.parser = parse,
	.doc = "Lists the six engines, the technique that each stands for, and whether it works on this host: yes, or "
	       "why not.",
};
const struct command cmd_engines = { "engines", "which engines work on this host", &argp, engines_main };
