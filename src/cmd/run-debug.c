/* SPDX-License-Identifier: Apache-2.0 */
/* What looks at a run from outside: the monitor in the terminal, and the gdb server. */
#include "cmd/run.h"
#include "machine/control.h"

static void take_line(void *monitor, const char *line, struct text *out)
{
	monitor_line(monitor, line, out);
}

int run_debug_start(struct run_debug *d, const struct run_options *o, struct machine *m, struct terminal *t,
		    struct error *err)
{
	struct gdb_config gc = { .address = o->gdb, .arch = o->gdb_arch };

	d->monitor = gc.monitor = monitor_new(m, err);
	if (!d->monitor)
		return err->code;
	terminal_set_monitor(t, take_line, d->monitor);
	if (terminal_interactive(t))
		monitor_notify(d->monitor, terminal_text(t));
	if (o->gdb && gdb_server_new(&d->gdb, m, &gc, err))
		return error_wrap(err, "--gdb");
	if (o->wait)
		machine_hold(m, HOLD_USER);
	if (d->gdb)
		say("gdb can connect to %s", gdb_server_address(d->gdb));
	return 0;
}

void run_debug_exited(struct run_debug *d, int status)
{
	if (d->gdb)
		gdb_server_exited(d->gdb, status);
}

void run_debug_end(struct run_debug *d)
{
	gdb_server_free(d->gdb);
	monitor_free(d->monitor);
}
