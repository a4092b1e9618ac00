/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debugging a machine from outside: a monitor that takes commands for people, and a server for gdb's remote protocol. Both
 * stand on machine/control.h and know no engine, device or platform. All of it runs on the I/O thread.
 */
#pragma once
#include "machine/machine.h"
#include "util/text.h"

/* ---- monitor.c ---- */
struct monitor;
/* Before machine_run(); NULL and err without memory. */
struct monitor *monitor_new(struct machine *m, struct error *err);
void monitor_free(struct monitor *mon);
/* Carries out one line and prints what it has to say. */
void monitor_line(struct monitor *mon, const char *line, struct text *out);
/* Where the monitor tells of what happens by itself: steps that are done, breakpoints. NULL: nowhere. */
void monitor_notify(struct monitor *mon, struct text *out);

/* ---- gdb-server.c ---- */
enum gdb_arch { GDB_ARCH_AUTO, GDB_ARCH_I386, GDB_ARCH_X86_64 };
struct gdb_config {
	const char *address; /* tcp:HOST:PORT, HOST:PORT, :PORT on the loopback, or the path of a socket */
	enum gdb_arch arch; /* AUTO: by the mode of the CPU when gdb connects */
	struct monitor *monitor; /* for gdb's `monitor` command; may be NULL */
};
struct gdb_server;
/* 0, or -EINVAL: the address makes no sense. */
int gdb_server_check(const char *address, struct error *err);
/* Listens from now on; clients are served while the machine runs. */
int gdb_server_new(struct gdb_server **out, struct machine *m, const struct gdb_config *cfg, struct error *err);
/* Where it listens, port numbers that were left to the host filled in. */
const char *gdb_server_address(const struct gdb_server *s);
/* After machine_run(): tells the client that the guest has exited with this status. */
void gdb_server_exited(struct gdb_server *s, int status);
void gdb_server_free(struct gdb_server *s);

/* ---- gdb.c: one client's session, whatever carries its bytes ---- */
struct gdb;
struct gdb_link { /* how bytes get to the client; the session's owner gives it */
	void (*send)(void *arg, const u8 *data, size_t len);
	void *arg;
};
/* The machine is stopped, as gdb expects it. */
struct gdb *gdb_new(struct machine *m, const struct gdb_link *link, enum gdb_arch arch, struct monitor *monitor);
/* Takes bytes from the client; false: the session is over. */
bool gdb_receive(struct gdb *g, const u8 *data, size_t len);
void gdb_exited(struct gdb *g, int status);
/* Breakpoints go, and the machine goes on unless it waited for somebody before and gdb has not let it go. */
void gdb_free(struct gdb *g);
