/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the monitor share. A command is a row of the table in monitor.c; its function gets what follows the
 * name, and prints. While it runs the machine stands.
 */
#pragma once
#include "debug/debug.h"
#include "debug/memory.h"
#include "debug/regs.h"
#include "machine/control.h"
#include "machine/inspect.h"

struct monitor {
	struct machine *machine;
	struct stop_observer observer;
	struct text *notes; /* of what happens by itself; NULL: nowhere */
	unsigned cpu; /* that commands are about */
	struct reg_set regs;
	u64 steps_left; /* of the `step` that is under way, the current one included */
	/* Where a bare x or xp goes on, and how. */
	struct examine {
		enum address_space space;
		u64 addr;
		unsigned count, size;
		char format;
	} examine;
};

struct monitor_command {
	const char *name, *args, *help;
	void (*run)(struct monitor *mon, const char *args, struct text *out);
};
extern const struct monitor_command monitor_commands[]; /* ends with a row without name */

static inline struct vcpu *monitor_cpu(const struct monitor *mon)
{
	return mon->machine->vcpu[mon->cpu];
}

/* ---- monitor-parse.c: each moves *p behind what it took; false: that is not there ---- */
void skip_blanks(const char **p);
bool take_word(const char **p, char *word, size_t size);
/* Numbers (0x for hexadecimal), $registers, + - * and parentheses; prints what is wrong. */
bool take_expression(struct monitor *mon, const char **p, u64 *value, struct text *out);
/* The same, and nothing after it. */
bool only_expression(struct monitor *mon, const char *p, u64 *value, struct text *out);

/* ---- monitor-examine.c ---- */
void cmd_examine(struct monitor *mon, const char *args, struct text *out);
void cmd_examine_physical(struct monitor *mon, const char *args, struct text *out);
void cmd_print(struct monitor *mon, const char *args, struct text *out);
void cmd_translate(struct monitor *mon, const char *args, struct text *out);
/* One line: the instruction at a linear address, or that nothing is mapped; its length or 0. */
unsigned disassemble(struct vcpu *v, enum address_space space, u64 addr, struct text *out);
u64 linear_ip(const struct vcpu *v);

/* ---- monitor-info.c ---- */
void cmd_info(struct monitor *mon, const char *args, struct text *out);
