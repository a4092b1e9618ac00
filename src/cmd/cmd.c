/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What commands share: messages, and option parsing by argp made to say one line. argp itself would print two and exit with
 * its own status, so it runs with ARGP_NO_ERRS and we find out what it stumbled over.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "util/cleanup.h"

/* What the wrapper round a command's argp keeps for cmd_parse(); its parser finds it through the input. */
struct parse {
	const struct command *command;
	void *input; /* the command's own */
	int next; /* where parsing stopped with an error */
};

/* A command's parser has only its own input: what it found wrong travels to cmd_parse() of the same thread here. */
static _Thread_local char bad_text[256];

const struct command *command_find(const char *name)
{
	for (unsigned i = 0; commands[i]; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

void say(const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	fprintf(stderr, "sextant: %s\n", text ? text : "out of memory");
}

int say_usage(const struct command *c, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	say("%s; see sextant %s --help", text ? text : "out of memory", c->name);
	return EXIT_USAGE;
}

error_t cmd_bad(struct argp_state *state, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(bad_text, sizeof(bad_text), fmt, ap);
	va_end(ap);
	return EINVAL;
}

/* Whether word is an option of the command, as "--name" or "-x": then what it lacked is its value. */
static bool known_option(const struct argp_option *o, const char *word)
{
	for (; o && (o->name || o->key || o->doc); o++) {
		if (o->name && !strncmp(word, "--", 2) && !strcmp(o->name, word + 2))
			return true;
		if (word[0] == '-' && o->key > 32 && o->key < 127 && word[1] == o->key && !word[2])
			return true;
	}
	return false;
}

static error_t parse_wrapped(int key, char *arg, struct argp_state *state)
{
	struct parse *p = state->input;

	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = p->input; return 0;
	case ARGP_KEY_ERROR: p->next = state->next; return 0;
	case '?':
		/* ARGP_NO_ERRS silences argp's own --help too. */
		argp_help(state->root_argp, stdout, ARGP_HELP_STD_HELP & ~ARGP_HELP_EXIT_OK, state->name);
		exit(fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS);
	default: return ARGP_ERR_UNKNOWN;
	}
}

static int explain(const struct parse *p, int argc, char **argv)
{
	/* next is past the word, or at it when it is a bundle of letters. */
	int at = p->next > 1 ? p->next - 1 : p->next;
	const char *word = at < argc ? argv[at] : "";

	if (bad_text[0])
		return say_usage(p->command, "%s", bad_text);
	if (known_option(p->command->argp->options, word))
		return say_usage(p->command, "option '%s' needs a value", word);
	return say_usage(p->command, "unknown %s '%s'", word[0] == '-' ? "option" : "argument", word);
}

int cmd_parse(const struct command *c, int argc, char **argv, void *input)
{
	static const struct argp_option help[] = { { "help", '?', NULL, 0, "Give this help list", -1 }, { 0 } };
	struct argp_child child[] = { { .argp = c->argp }, { 0 } };
	const struct argp wrapper = { .options = help, .parser = parse_wrapped, .children = child };
	struct parse p = { .command = c, .input = input };
	int at = argc, error;

	bad_text[0] = 0;
	error = argp_parse(&wrapper, argc, argv, ARGP_IN_ORDER | ARGP_NO_ERRS | ARGP_NO_HELP, &at, &p);
	if (!error && at < argc)
		return say_usage(c, "unexpected argument '%s'", argv[at]);
	if (error == ENOMEM) {
		say("out of memory");
		return EXIT_FAILURE;
	}
	return error ? explain(&p, argc, argv) : 0;
}

bool parse_number(const char *text, u64 min, u64 max, u64 *out)
{
	char *end;
	unsigned long long n;

	if (*text < '0' || *text > '9') /* strtoull would take signs and blanks */
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end || n < min || n > max)
		return false;
	*out = n;
	return true;
}

bool parse_size(const char *text, u64 *out)
{
	static const char suffixes[] = "kmg";
	size_t len = strlen(text);
	const char *s;
	char digits[32];
	unsigned shift = 0;
	u64 n;

	if (!len || len >= sizeof(digits))
		return false;
	memcpy(digits, text, len + 1);
	s = strchr(suffixes, digits[len - 1] | 0x20);
	if (s && *s) {
		shift = 10 * (unsigned)(s - suffixes + 1);
		digits[len - 1] = 0;
	}
	if (!parse_number(digits, 0, ~0ull >> shift, &n))
		return false;
	*out = n << shift;
	return true;
}
