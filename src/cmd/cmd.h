/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A subcommand: one file, one const object, one row in main.c's table. Only this folder prints and exits. Whatever goes to
 * stderr is a line that starts with "sextant: "; wrong usage is one line and status 2.
 */
#pragma once
#include <argp.h>

#include "util/error.h"
#include "util/types.h"

#define EXIT_USAGE 2

struct command {
	const char *name;
	const char *summary;
	const struct argp *argp; /* its options and help; its parser ends with default: return cmd_parse_default() */
	/* argv[0] is "sextant NAME". Returns the process's exit status. */
	int (*main)(const struct command *self, int argc, char **argv);
};

/* Ends with a NULL. */
extern const struct command *const commands[];
const struct command *command_find(const char *name);

extern const struct command cmd_run;
extern const struct command cmd_engines;
extern const struct command cmd_image;
extern const struct command cmd_snapshot;
extern const struct command cmd_help;
extern const struct command cmd_version;

/* One line to stderr. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* As say(), with a pointer to the command's help; always EXIT_USAGE. */
int say_usage(const struct command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Parses argv by c->argp into input. 0; or EXIT_USAGE after one line was printed. --help prints and exits. */
int cmd_parse(const struct command *c, int argc, char **argv, void *input);
/* A parser that has found something wrong: records the text, returns what the parser must return. */
error_t cmd_bad(struct argp_state *state, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "512M" and the like: decimal with an optional suffix K, M or G. False if it is no such number or does not fit. */
bool parse_size(const char *text, u64 *out);
/* A whole decimal number within [min, max]. */
bool parse_number(const char *text, u64 min, u64 max, u64 *out);
