/* SPDX-License-Identifier: Apache-2.0 */
/* A container's process in the foreground of whoever started it. */
#pragma once
#include <sys/types.h>

#include "util/types.h"

struct foreground {
	pid_t pid;
	int terminal; /* the pty's master, or -1 */
	bool ends; /* what asks us to end ends the process; else it is passed on */
	double timeout; /* seconds; 0: none */
	/* How it came to its end. */
	int signal; /* the one that ended us; 0 */
	bool timed_out;
};
void foreground_prepare(void); /* before the process is started: blocks signals, which it gets back unblocked */
int foreground_wait(struct foreground *f); /* the process's status, 128 + N for a signal */
