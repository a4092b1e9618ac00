/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the two executables a command line is for. `run` is a command of both: of a machine or of a bundle. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "oci/oci.h"

#define VMM "sextant-vmm"

/* Options of the runtime that the machine monitor has not. */
static bool global_option(const char *word)
{
	static const char *const names[] = { "--root",	"--log",      "--log-format", "--systemd-cgroup",
					     "--debug", "--rootless", "--criu",	      "--cgroup-manager" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		size_t n = strlen(names[i]);

		if (!strncmp(word, names[i], n) && (!word[n] || word[n] == '='))
			return true;
	}
	return false;
}

/* A bundle's run names its options, or is one word in a bundle: a guest's command comes after a `--`. */
static bool run_of_bundle(int argc, char **argv)
{
	static const char *const names[] = { "--bundle",       "-b",	 "--console-socket", "--pid-file",
					     "--detach",       "-d",	 "--no-pivot",	     "--no-new-keyring",
					     "--preserve-fds", "--keep", "--no-subreaper" };

	for (int i = 2; i < argc && strcmp(argv[i], "--"); i++)
		for (unsigned k = 0; k < ARRAY_SIZE(names); k++) {
			size_t n = strlen(names[k]);

			if (!strncmp(argv[i], names[k], n) && (!argv[i][n] || argv[i][n] == '='))
				return true;
		}
	return argc == 3 && argv[2][0] != '-' && !access("config.json", F_OK);
}

bool vmm_wanted(int argc, char **argv)
{
	const char *slash = argc ? strrchr(argv[0], '/') : NULL, *name = slash ? slash + 1 : argc ? argv[0] : "";

	if (!strcmp(name, "sextant-oci"))
		return false;
	if (argc < 2)
		return true;
	if (!strcmp(argv[1], "run"))
		return !run_of_bundle(argc, argv);
	return strcmp(argv[1], "oci") && !global_option(argv[1]) && !oci_find(argv[1]);
}

int vmm_execute(char **argv)
{
	char path[PATH_MAX + sizeof(VMM)];
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);
	char *slash;

	path[n > 0 ? n : 0] = 0;
	slash = strrchr(path, '/');
	if (slash) {
		strcpy(slash + 1, VMM);
		execv(path, argv);
	}
	fprintf(stderr, "sextant: %s, which is to be beside sextant: %s\n", slash ? path : VMM, strerror(errno));
	return 1;
}
