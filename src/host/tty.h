/* SPDX-License-Identifier: Apache-2.0 */
/* Raw mode of the host's terminal, given back on every way out of the process: return, exit(), signals that kill. */
#pragma once
#include <stdbool.h>
#include <termios.h>

struct tty {
	int fd; /* -1: input is no terminal, nothing below happens */
	struct termios saved;
	volatile bool raw;
};

/* Remembers fd's settings if it is a terminal; from then on a crash or exit() restores them. One tty at a time. */
void tty_open(struct tty *t, int fd);
void tty_close(struct tty *t);
/* Both leave the terminal alone while another process group has it: it is not ours to change then. */
void tty_raw(struct tty *t);
void tty_restore(struct tty *t);
