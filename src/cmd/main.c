/* SPDX-License-Identifier: Apache-2.0 */
/* The command table, and the way from argv[1] to a row of it. */
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "util/cleanup.h"

#define STACK_SIZE (1u << 20)

const struct command *const commands[] = { &cmd_run,  &cmd_engines, &cmd_image, &cmd_snapshot,
					   &cmd_help, &cmd_version, NULL };

/* --help and --version are commands too, spelled as options. */
static const char *command_name(const char *word)
{
	if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "-?"))
		return "help";
	if (!strcmp(word, "--version") || !strcmp(word, "-V"))
		return "version";
	return word;
}

/*
 * A standard descriptor that is closed would become the first file that is opened: guest RAM, say. Input is empty then, errors are
 * not heard, and output fails, as it does on a closed descriptor.
 */
static void open_standard_descriptors(void)
{
	static const int modes[] = { O_RDONLY, O_RDONLY, O_WRONLY };

	for (int fd = 0; fd < (int)ARRAY_SIZE(modes); fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
			_exit(EXIT_FAILURE);
}

/*
 * Some twenty threads for one guest: none needs much, and a stack in which a huge page has room gets one from hosts that give them
 * to all who ask for memory.
 */
static void limit_stacks(void)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	if (!pthread_attr_setstacksize(&attr, STACK_SIZE))
		pthread_setattr_default_np(&attr);
	pthread_attr_destroy(&attr);
}

int main(int argc, char **argv)
{
	_cleanup_free_ char *name = NULL;
	const struct command *c;
	int status;

	open_standard_descriptors();
	signal(SIGXFSZ, SIG_IGN); /* what may not grow (ulimit -f: guest RAM, disks, traces) is an error, EFBIG */
	setlocale(LC_MESSAGES, "");
	limit_stacks();
	if (argc < 2) {
		say("no command given; see sextant --help");
		return EXIT_USAGE;
	}
	c = command_find(command_name(argv[1]));
	if (!c) {
		say("unknown command '%s'; see sextant --help", argv[1]);
		return EXIT_USAGE;
	}
	if (asprintf(&name, "sextant %s", c->name) < 0) {
		say("out of memory");
		return EXIT_FAILURE;
	}
	argv[1] = name;
	status = c->main(c, argc - 1, argv + 1);
	if (fflush(stdout) || ferror(stdout)) {
		say("cannot write to standard output");
		return status ? status : EXIT_FAILURE;
	}
	return status;
}
