/* SPDX-License-Identifier: Apache-2.0 */
/* The monitor's line on the terminal: a prompt, and editing as simple as it can be. terminal.c's alone; the I/O thread. */
#pragma once
#include "util/text.h"

struct console_monitor {
	void (*line)(void *arg, const char *line, struct text *out); /* NULL: there is no monitor */
	void *arg;
	struct text *out;
	bool on; /* input goes here */
	char buf[256];
	size_t len;
};
/* Ctrl-a c. */
void monitor_line_switch(struct console_monitor *c);
void monitor_line_byte(struct console_monitor *c, u8 byte);
