/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the gdb session share. Bytes come in through gdb.c, which finds packets in them and carries out the
 * simple ones; gdb-query.c has q and Q, gdb-run.c everything that lets vCPUs go and tells of their stops, gdb-target.c the
 * target description.
 *
 * The client is not trusted: a packet has at most PACKET_MAX bytes, what does not parse is an error reply, and all numbers
 * are checked where they are used.
 */
#pragma once
#include "debug/debug.h"
#include "debug/memory.h"
#include "debug/regs.h"
#include "machine/control.h"

#define PACKET_MAX 16384u /* of a packet's body, as told to gdb */

enum frame { FRAME_NONE, FRAME_BODY, FRAME_ESCAPE, FRAME_SUM1, FRAME_SUM2 };

struct gdb {
	struct machine *machine;
	struct gdb_link link;
	struct monitor *monitor;
	struct stop_observer observer;
	struct reg_set regs;

	enum frame frame;
	u8 sum, told_sum;
	bool too_long;
	char in[PACKET_MAX + 1]; /* body, unescaped, with a 0 behind it */
	size_t in_len;

	char out[2 + 2 * PACKET_MAX + 4]; /* the reply, framed; kept to be sent again */
	size_t out_len;
	u8 out_sum;

	bool ack; /* packets are acknowledged */
	bool running; /* gdb waits for a stop reply */
	bool interrupted; /* by gdb's Ctrl-c */
	bool over; /* detached or killed */
	bool resume; /* when the session ends the machine goes on: it ran before, or gdb let it go */
	bool swbreak, hwbreak, physical;
	unsigned g_cpu; /* of g, p, m, ...; the last one that stopped, unless Hg says otherwise */
	int c_cpu; /* of s and c; -1: all */
	u64 told; /* vCPUs whose stop gdb was told */
	char *target_xml; /* of this session's register set */
};

/* ---- replies: gdb.c. Between begin and end, what does not fit is cut. ---- */
void reply_begin(struct gdb *g);
void reply_text(struct gdb *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void reply_hex(struct gdb *g, const void *data, size_t len);
void reply_binary(struct gdb *g, const void *data, size_t len); /* escaped */
void reply_end(struct gdb *g);
void reply(struct gdb *g, const char *text); /* all of it at once */

/* ---- parsing: gdb-parse.c. Each moves *p behind what it took; false: that is not there. ---- */
bool take_hex(const char **p, u64 *value);
bool take_char(const char **p, char c);
bool take_text(const char **p, const char *text);
/* Hex digits to bytes; how many there were, at most len. */
size_t take_bytes(const char **p, u8 *out, size_t len);
/* A thread: -1 for all, 0 for any, else vCPU + 1. */
bool take_thread(const char **p, s64 *thread);
char hex_digit(unsigned n);
int hex_value(char c); /* -1: none */

/* ---- gdb-query.c ---- */
void gdb_query(struct gdb *g);
void gdb_set(struct gdb *g);
/* ---- gdb-run.c ---- */
void gdb_stopped(void *gdb); /* the stop observer */
void gdb_stop_reply(struct gdb *g);
void gdb_v_packet(struct gdb *g);
void gdb_step_or_continue(struct gdb *g);
/* Lets go what the packet says, unless a stop is still to be told. */
void gdb_go(struct gdb *g, u64 run, u64 step);
/* ---- gdb-target.c ---- */
char *gdb_target_xml(const struct reg_set *s); /* allocated; NULL without memory */
