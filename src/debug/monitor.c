/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor: a line in, text out. The command table, help, and what stops, steps and resets the machine.
 *
 * A step ends later than its command, as the event loop, which runs timers, is where commands are run: what it came to is a
 * note, as is any other stop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "debug/monitor-internal.h"

#define STEPS_MAX 1000000u

/* ---- going and stopping ---- */

static void cmd_stop(struct monitor *mon, const char *args, struct text *out)
{
	machine_stop(mon->machine, &mon->observer);
	disassemble(monitor_cpu(mon), LINEAR, linear_ip(monitor_cpu(mon)), out);
}

static void cmd_cont(struct monitor *mon, const char *args, struct text *out)
{
	machine_go(mon->machine, ALL_VCPUS, 0, true);
}

static void cmd_step(struct monitor *mon, const char *args, struct text *out)
{
	u64 n = 1;

	if (*args && !only_expression(mon, args, &n, out))
		return;
	if (mon->machine->vcpu_ops && !mon->machine->vcpu_ops->debugs) {
		text_puts(out, "this engine cannot step\n");
		return;
	}
	if (!n || n > STEPS_MAX) {
		text_printf(out, "1 to %u steps\n", STEPS_MAX);
		return;
	}
	mon->steps_left = n;
	machine_go(mon->machine, 0, BIT(mon->cpu), true);
}

static void cmd_step_interrupts(struct monitor *mon, const char *args, struct text *out)
{
	struct machine_debug *d = &mon->machine->debug;

	if (!strcmp(args, "on") || !strcmp(args, "off"))
		d->step_interrupts = !strcmp(args, "on");
	else if (*args)
		text_puts(out, "on or off\n");
	text_printf(out, "a step %s interrupts\n", d->step_interrupts ? "takes" : "holds off");
}

static void put_stop(struct monitor *mon, const struct vcpu *v)
{
	static const char *const why[] = { "", "step", "breakpoint", "watchpoint" };

	text_printf(mon->notes, "CPU %u stopped: %s", v->id, why[v->debug.stop]);
	if (v->debug.stop == STOP_WATCH)
		text_printf(mon->notes, " at %llx", (unsigned long long)v->debug.watch_gla);
	text_puts(mon->notes, "\n");
	disassemble(monitor_cpu(mon), LINEAR, linear_ip(monitor_cpu(mon)), mon->notes);
}

static bool steps_on(struct monitor *mon)
{
	if (!mon->steps_left || monitor_cpu(mon)->debug.stop != STOP_STEP)
		return false;
	return --mon->steps_left;
}

static void on_stop(void *arg)
{
	struct monitor *mon = arg;
	struct machine *m = mon->machine;

	if (steps_on(mon)) {
		machine_go(m, 0, BIT(mon->cpu), true);
		return;
	}
	mon->steps_left = 0;
	for (unsigned i = 0; i < m->config.cpus; i++) {
		if (!m->vcpu[i]->debug.stop)
			continue;
		mon->cpu = i;
		if (mon->notes)
			put_stop(mon, m->vcpu[i]);
		return;
	}
}

/* ---- the machine ---- */

static void cmd_cpu(struct monitor *mon, const char *args, struct text *out)
{
	u64 n = mon->cpu;

	if (*args && !only_expression(mon, args, &n, out))
		return;
	if (n >= mon->machine->config.cpus)
		text_printf(out, "there are CPUs 0 to %u\n", mon->machine->config.cpus - 1);
	else
		mon->cpu = (unsigned)n;
	text_printf(out, "CPU %u\n", mon->cpu);
}

static void cmd_reset(struct monitor *mon, const char *args, struct text *out)
{
	int r = machine_reset(mon->machine);

	if (r == -ENOSYS)
		text_puts(out, "this machine cannot be reset\n");
	else if (!r && machine_held(mon->machine))
		text_puts(out, "reset; still stopped\n");
}

static void cmd_quit(struct monitor *mon, const char *args, struct text *out)
{
	machine_end(mon->machine, END_USER, 0);
}

static void cmd_help(struct monitor *mon, const char *args, struct text *out);

const struct monitor_command monitor_commands[] = {
	{ "cont", "", "let the machine go on", cmd_cont },
	{ "cpu", "[N]", "the CPU that commands are about", cmd_cpu },
	{ "help", "[COMMAND]", "this list", cmd_help },
	{ "info", "[TOPIC]", "what there is to know; without TOPIC, what topics there are", cmd_info },
	{ "p", "EXPRESSION", "its value: numbers, $registers, + - * ( )", cmd_print },
	{ "quit", "", "end the run", cmd_quit },
	{ "reset", "", "reset the machine and boot it again", cmd_reset },
	{ "step", "[N]", "execute N instructions of the current CPU (1); others stand", cmd_step },
	{ "step-interrupts", "[on|off]", "whether a step takes interrupts", cmd_step_interrupts },
	{ "stop", "", "stop all CPUs, and the guest's clock", cmd_stop },
	{ "translate", "EXPRESSION", "the physical address of a linear one", cmd_translate },
	{ "x", "[/COUNT][FORMAT][SIZE] [EXPRESSION]",
	  "examine memory at a linear address; formats x d u c i s, sizes b h w g; without address, what follows",
	  cmd_examine },
	{ "xp", "[/COUNT][FORMAT][SIZE] [EXPRESSION]", "the same at a physical address", cmd_examine_physical },
	{ 0 },
};

static void cmd_help(struct monitor *mon, const char *args, struct text *out)
{
	bool found = false;

	for (const struct monitor_command *c = monitor_commands; c->name; c++) {
		if (*args && strcmp(args, c->name))
			continue;
		text_printf(out, "%s %s\n    %s\n", c->name, c->args, c->help);
		found = true;
	}
	for (const struct inspect *i = mon->machine->inspects; i; i = i->next) {
		if (!i->command || (*args && strcmp(args, i->name)))
			continue;
		text_printf(out, "%s\n    %s\n", i->name, i->help ? i->help : "");
		found = true;
	}
	if (!found)
		text_printf(out, "there is no command '%s'\n", args);
}

/* ---- lines ---- */

/* "x/4i" is x with "/4i". */
static const char *match(const struct monitor_command *c, const char *line)
{
	size_t n = strlen(c->name);

	if (strncmp(c->name, line, n) || (line[n] && line[n] != ' ' && line[n] != '/'))
		return NULL;
	line += n;
	skip_blanks(&line);
	return line;
}

static bool run_command(struct monitor *mon, const char *line, struct text *out)
{
	for (const struct monitor_command *c = monitor_commands; c->name; c++) {
		const char *args = match(c, line);

		if (args) {
			c->run(mon, args, out);
			return true;
		}
	}
	return false;
}

static bool run_inspect(struct monitor *mon, const char *line, struct text *out)
{
	char name[32];

	take_word(&line, name, sizeof(name));
	for (const struct inspect *i = mon->machine->inspects; i; i = i->next) {
		if (i->command && !strcmp(i->name, name)) {
			i->command(i->arg, line, out);
			return true;
		}
	}
	return false;
}

void monitor_line(struct monitor *mon, const char *line, struct text *out)
{
	char copy[512];
	size_t n;

	skip_blanks(&line);
	n = MIN(strlen(line), sizeof(copy) - 1);
	memcpy(copy, line, n);
	while (n && (copy[n - 1] == ' ' || copy[n - 1] == '\t' || copy[n - 1] == '\r' || copy[n - 1] == '\n'))
		n--;
	copy[n] = 0;
	if (!n)
		return;
	machine_hold(mon->machine, HOLD_LOOK);
	if (!run_command(mon, copy, out) && !run_inspect(mon, copy, out))
		text_printf(out, "there is no command '%s'; `help` lists them\n", copy);
	machine_release(mon->machine, HOLD_LOOK);
}

void monitor_notify(struct monitor *mon, struct text *out)
{
	mon->notes = out;
}

struct monitor *monitor_new(struct machine *m, struct error *err)
{
	struct monitor *mon = calloc(1, sizeof(*mon));

	if (!mon) {
		error_set(err, ENOMEM, "no memory for the monitor");
		return NULL;
	}
	mon->machine = m;
	mon->examine = (struct examine){ .count = 1, .size = 4, .format = 'x' };
	reg_set_build(&mon->regs, true, m->config.model);
	mon->observer = (struct stop_observer){ .stopped = on_stop, .arg = mon };
	machine_observe_stops(m, &mon->observer);
	return mon;
}

void monitor_free(struct monitor *mon)
{
	if (!mon)
		return;
	machine_unobserve_stops(mon->machine, &mon->observer);
	free(mon);
}
