/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Letting vCPUs go, and telling gdb why they stand again. All-stop mode: when one stops, all do, and gdb is told of one; what
 * others have met meanwhile and not yet told is a breakpoint that they meet again, or a watchpoint, which is told next.
 */
#include <string.h>

#include "debug/gdb-internal.h"

#define SIGNAL_INT  2
#define SIGNAL_TRAP 5

/* ---- stops ---- */

static bool untold(const struct gdb *g, const struct vcpu *v)
{
	return v->debug.stop && !(g->told >> v->id & 1);
}

/* The vCPU to tell of: what gdb asked for is told before what happened beside it. NULL: none has stopped by itself. */
static struct vcpu *who_stopped(struct gdb *g)
{
	struct vcpu *first = NULL;

	for (unsigned i = 0; i < g->machine->config.cpus; i++) {
		struct vcpu *v = g->machine->vcpu[i];

		if (!untold(g, v))
			continue;
		if (i == g->g_cpu)
			return v;
		if (!first)
			first = v;
	}
	return first;
}

static bool has_point(const struct gdb *g, u64 gla, enum point_kind kind)
{
	for (unsigned i = 0; i < g->machine->debug.count; i++)
		if (g->machine->debug.point[i].gla == gla && g->machine->debug.point[i].kind == kind)
			return true;
	return false;
}

static u64 linear_ip(const struct vcpu *v)
{
	return v->code_size == CODE_64 ? v->rip : (u32)(v->seg[SEG_CS].base + v->rip);
}

static void tell_reason(struct gdb *g, const struct vcpu *v)
{
	bool software = has_point(g, linear_ip(v), POINT_SOFTWARE);

	if (v->debug.stop == STOP_WATCH)
		reply_text(g, "%s:%llx;",
			   v->debug.watch_kind == POINT_WRITE  ? "watch"
			   : v->debug.watch_kind == POINT_READ ? "rwatch"
							       : "awatch",
			   (unsigned long long)v->debug.watch_gla);
	else if (v->debug.stop == STOP_BREAK && software && g->swbreak)
		reply_text(g, "swbreak:;");
	else if (v->debug.stop == STOP_BREAK && !software && g->hwbreak)
		reply_text(g, "hwbreak:;");
}

void gdb_stop_reply(struct gdb *g)
{
	const struct vcpu *v = g->machine->vcpu[g->g_cpu];

	reply_begin(g);
	reply_text(g, "T%02xthread:%x;", g->interrupted && !v->debug.stop ? SIGNAL_INT : SIGNAL_TRAP, g->g_cpu + 1);
	tell_reason(g, v);
	reply_end(g);
}

void gdb_stopped(void *gdb)
{
	struct gdb *g = gdb;
	struct vcpu *v = who_stopped(g);

	if (!g->running)
		return;
	g->running = false;
	if (v) {
		g->g_cpu = v->id;
		g->told |= BIT(v->id);
	} else {
		g->interrupted = true;
	}
	gdb_stop_reply(g);
	g->interrupted = false;
}

/* ---- going ---- */

static bool watch_untold(struct gdb *g, u64 cpus)
{
	struct vcpu *v = who_stopped(g);

	return v && v->debug.stop == STOP_WATCH && cpus >> v->id & 1;
}

void gdb_go(struct gdb *g, u64 run, u64 step)
{
	g->running = g->resume = true;
	if (watch_untold(g, run | step)) {
		gdb_stopped(g);
		return;
	}
	g->told = 0;
	machine_go(g->machine, run, step, false);
}

/* s, S, c, C: the thread of Hc; the others go on. An address to go on at is gdb's of long ago. */
void gdb_step_or_continue(struct gdb *g)
{
	char c = g->in[0] | 0x20;
	unsigned one = g->c_cpu >= 0 ? (unsigned)g->c_cpu : g->g_cpu;

	gdb_go(g, ALL_VCPUS & ~(c == 's' ? BIT(one) : 0), c == 's' ? BIT(one) : 0);
}

/* One action of vCont, behind its semicolon; the leftmost that names a vCPU counts. */
static bool take_action(struct gdb *g, const char **p, u64 *unnamed, u64 *run, u64 *step)
{
	char action = **p;
	s64 thread = -1;
	u64 cpus, signal;

	if (!action || !strchr("cCsSt", action))
		return false;
	(*p)++;
	if ((action == 'C' || action == 'S') && !take_hex(p, &signal))
		return false;
	if (take_char(p, ':') && !take_thread(p, &thread))
		return false;
	if (thread > g->machine->config.cpus)
		return false;
	cpus = (thread < 0 ? ALL_VCPUS : BIT(thread ? thread - 1 : g->g_cpu)) & *unnamed;
	*unnamed &= ~cpus;
	if (action != 't')
		*((action | 0x20) == 's' ? step : run) |= cpus;
	return true;
}

static void v_cont(struct gdb *g, const char *p)
{
	u64 unnamed = ALL_VCPUS, run = 0, step = 0;
	u64 all = g->machine->config.cpus == 64 ? ALL_VCPUS : BIT(g->machine->config.cpus) - 1;

	while (take_char(&p, ';'))
		if (!take_action(g, &p, &unnamed, &run, &step))
			break;
	if (*p || !((run | step) & all))
		reply(g, "E01");
	else
		gdb_go(g, run, step & all);
}

void gdb_v_packet(struct gdb *g)
{
	const char *p = g->in;

	if (!strcmp(p, "vCont?")) {
		reply(g, "vCont;c;C;s;S;t");
	} else if (take_text(&p, "vCont")) {
		v_cont(g, p);
	} else if (take_text(&p, "vAttach;")) {
		gdb_stop_reply(g);
	} else if (take_text(&p, "vKill")) {
		reply(g, "OK");
		g->over = true;
		machine_end(g->machine, END_USER, 0);
	} else {
		reply(g, "");
	}
}
