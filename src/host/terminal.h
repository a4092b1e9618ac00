/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's console on our standard input and output, as a character back end.
 *
 * A terminal on standard input is in raw mode between terminal_enter() and terminal_restore(). Ctrl-a starts a command
 * there: x leaves, h helps, c goes to a monitor and back, Ctrl-a sends itself. Input that is no terminal reaches the guest as
 * it is.
 */
#pragma once
#include "machine/chardev.h"
#include "machine/machine.h"
#include "util/text.h"

struct terminal;
struct terminal_config {
	int in_fd, out_fd; /* stay the caller's */
	/* The guest's console is a tty that our init has set up for plain input (boot.h): of input that is no terminal, quote
	 * what has a meaning there, and tell its end by Ctrl-d. Nothing is sent before terminal_ready(). */
	bool guest_tty;
	/* That console is Linux' hvc, and its kernel's console too: Ctrl-o begins a SysRq command there, and twice means itself. */
	bool guest_hvc;
};

/* m's event loop does the work; leaving by Ctrl-a x and a closed output end m with END_USER. */
struct terminal *terminal_new(struct machine *m, const struct terminal_config *cfg, struct error *err);
void terminal_free(struct terminal *t);
struct chardev *terminal_chardev(struct terminal *t);
/* The guest's console is set up. Any thread; struct terminal as void, as a callback. */
void terminal_ready(void *terminal);

/* What Ctrl-a c leads to: a line of input at a time, and where to print. On the I/O thread; before machine_run(). */
void terminal_set_monitor(struct terminal *t, void (*line)(void *arg, const char *line, struct text *out), void *arg);
/* Prints beside the guest's output, with "\r\n" for "\n" in raw mode. What a slow reader leaves no room for is lost. */
struct text *terminal_text(struct terminal *t);

/* Raw mode on and off; nothing happens where input is no terminal. */
void terminal_enter(struct terminal *t);
void terminal_restore(struct terminal *t);

/* After machine_run(): writes what is still buffered here and in the device, waiting up to patience_ms (-1: as long as it takes) for a reader that
 * is slow. */
void terminal_drain(struct terminal *t, int patience_ms);
/* Output was lost because nobody reads it any more. */
bool terminal_broken(const struct terminal *t);
bool terminal_interactive(const struct terminal *t);
/* Of the terminal on input; 0 where unknown. */
void terminal_size(const struct terminal *t, u16 *columns, u16 *rows);
