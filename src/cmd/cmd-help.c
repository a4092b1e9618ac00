/* SPDX-License-Identifier: Apache-2.0 */
/* sextant help [COMMAND], sextant version. */
#include <stdio.h>

#include "cmd/cmd.h"

static error_t parse_help(int key, char *arg, struct argp_state *state)
{
	const struct command **about = state->input;

	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	if (*about)
		return cmd_bad(state, "help takes one command");
	*about = command_find(arg);
	return *about ? 0 : cmd_bad(state, "unknown command '%s'", arg);
}

static void print_overview(void)
{
	printf("Usage: sextant COMMAND [OPTION...]\n"
	       "A virtual machine monitor with six ways to run a guest.\n\n");
	for (unsigned i = 0; commands[i]; i++)
		printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
	printf("\nsextant COMMAND --help tells a command's options.\n"
	       "sextant run without options boots the default guest to a shell.\n");
}

static int help_main(const struct command *self, int argc, char **argv)
{
	const struct command *about = NULL;
	int status = cmd_parse(self, argc, argv, &about);
	char name[64];

	if (status)
		return status;
	if (!about) {
		print_overview();
		return 0;
	}
	snprintf(name, sizeof(name), "sextant %s", about->name);
	argp_help(about->argp, stdout, ARGP_HELP_STD_HELP & ~ARGP_HELP_EXIT_OK, name);
	return 0;
}

static error_t parse_nothing(int key, char *arg, struct argp_state *state)
{
	return ARGP_ERR_UNKNOWN;
}

static int version_main(const struct command *self, int argc, char **argv)
{
	int status = cmd_parse(self, argc, argv, NULL);

	if (!status)
		printf("sextant %s\n", SEXTANT_VERSION);
	return status;
}

static const struct argp help_argp = {
	.parser = parse_help,
	.args_doc = "[COMMAND]",
	.doc = "Lists the commands, or tells what one of them does.",
};
static const struct argp version_argp = { .parser = parse_nothing, .doc = "Prints the version of Sextant." };

const struct command cmd_help = { "help", "this list, or a command's options", &help_argp, help_main };
const struct command cmd_version = { "version", "the version of Sextant", &version_argp, version_main };
