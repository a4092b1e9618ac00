/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime's command line, as runc's: what container engines call. One row of main.c's table per command; like src/cmd, this
 * folder prints and exits. It is an executable of its own, small and without the machine monitor's libraries, as each start of a
 * container pays for what is loaded.
 */
#pragma once
#include <getopt.h>

#include "container/container.h"

#define EXIT_USAGE 2

struct oci_options { /* in front of the command */
	const char *root, *log;
	bool log_json, systemd, debug;
	int late_fd; /* for create_options and exec_options */
};
struct oci_command {
	const char *name, *usage, *summary;
	/* argv[0] is the command's name. Returns the process's exit status. */
	int (*main)(const struct oci_options *o, int argc, char **argv);
	bool enters; /* it starts processes in a container: our executable has to be out of their reach */
};
extern const struct oci_command oci_commands[];
const struct oci_command *oci_find(const char *name);

int oci_create(const struct oci_options *o, int argc, char **argv);
int oci_run(const struct oci_options *o, int argc, char **argv);
int oci_start(const struct oci_options *o, int argc, char **argv);
int oci_exec(const struct oci_options *o, int argc, char **argv);
int oci_state(const struct oci_options *o, int argc, char **argv);
int oci_list(const struct oci_options *o, int argc, char **argv);
int oci_ps(const struct oci_options *o, int argc, char **argv);
int oci_kill(const struct oci_options *o, int argc, char **argv);
int oci_delete(const struct oci_options *o, int argc, char **argv);
int oci_pause(const struct oci_options *o, int argc, char **argv);
int oci_resume(const struct oci_options *o, int argc, char **argv);
int oci_update(const struct oci_options *o, int argc, char **argv);
int oci_events(const struct oci_options *o, int argc, char **argv);
int oci_stats(const struct oci_options *o, int argc, char **argv);
int oci_spec(const struct oci_options *o, int argc, char **argv);
int oci_features(const struct oci_options *o, int argc, char **argv);

/* log.c: an error goes to standard error and, if there is one, the log. */
void oci_log_open(const struct oci_options *o);
int oci_fail(const struct error *err); /* always EXIT_FAILURE */
void oci_warn(const struct error *err); /* if there is a text */
int oci_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* always EXIT_USAGE */

/* args.c: a command's options by getopt_long(), and the words after them: between min and max (-1: any number). 0 or a status;
 * -1 is a normal end after --help. */
int oci_parse(const char *command, int argc, char **argv, const char *letters, const struct option *longs,
	      int (*each)(int key, const char *value, void *arg), void *arg, int min, int max);
bool oci_number(const char *text, unsigned max, unsigned *out);
int oci_print_json(json_t *o, bool indent); /* takes o; an exit status */
int oci_open(struct container *c, const struct oci_options *o, const char *id); /* 0 or a status, told */

/* vmm.c: whether the words are a command of ours, and the other executable if they are not. */
bool vmm_wanted(int argc, char **argv);
int vmm_execute(char **argv);
