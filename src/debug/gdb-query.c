/* SPDX-License-Identifier: Apache-2.0 */
/* gdb's general queries and settings: what each side can do, threads, the target description, monitor commands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "debug/gdb-internal.h"

#define MONITOR_MAX (256u << 10) /* bytes of one command's output */

static void supported(struct gdb *g)
{
	g->swbreak = strstr(g->in, "swbreak+");
	g->hwbreak = strstr(g->in, "hwbreak+");
	reply_begin(g);
	reply_text(g,
		   "PacketSize=%x;qXfer:features:read+;vContSupported+;QStartNoAckMode+;swbreak+;hwbreak+;"
		   "binary-upload+",
		   PACKET_MAX);
	reply_end(g);
}

/* qXfer:features:read:ANNEX:OFFSET,LENGTH. Escapes may double what is sent. */
static void features(struct gdb *g, const char *p)
{
	size_t size = strlen(g->target_xml);
	u64 offset, len;

	if (!take_text(&p, "target.xml:")) {
		reply(g, "E00");
		return;
	}
	if (!take_hex(&p, &offset) || !take_char(&p, ',') || !take_hex(&p, &len)) {
		reply(g, "E01");
		return;
	}
	offset = MIN(offset, size);
	len = MIN(MIN(len, size - offset), PACKET_MAX / 2);
	reply_begin(g);
	reply_text(g, offset + len < size ? "m" : "l");
	reply_binary(g, g->target_xml + offset, len);
	reply_end(g);
}

static void thread_list(struct gdb *g)
{
	reply_begin(g);
	for (unsigned i = 1; i <= g->machine->config.cpus; i++)
		reply_text(g, "%c%x", i == 1 ? 'm' : ',', i);
	reply_end(g);
}

static const char *cpu_state(const struct vcpu *v)
{
	return v->wait_sipi ? "waits for SIPI" : v->halted ? "halted" : "running";
}

static void thread_info(struct gdb *g, const char *p)
{
	char text[64];
	s64 thread;

	if (!take_thread(&p, &thread) || thread < 1 || thread > g->machine->config.cpus) {
		reply(g, "E01");
		return;
	}
	snprintf(text, sizeof(text), "CPU %u %s", (unsigned)thread - 1, cpu_state(g->machine->vcpu[thread - 1]));
	reply_begin(g);
	reply_hex(g, text, strlen(text));
	reply_end(g);
}

/* Output goes in O packets before the reply. */
static void send_output(struct gdb *g, const struct text_buffer *b)
{
	for (size_t at = 0, n; at < b->len; at += n) {
		n = MIN(b->len - at, PACKET_MAX / 2);
		reply_begin(g);
		reply_text(g, "O");
		reply_hex(g, b->data + at, n);
		reply_end(g);
	}
}

static void monitor_command(struct gdb *g, const char *p)
{
	char line[512];
	struct text_buffer out;
	size_t n = take_bytes(&p, (u8 *)line, sizeof(line) - 1);

	if (*p || !g->monitor) {
		reply(g, g->monitor ? "E01" : "");
		return;
	}
	line[n] = 0;
	text_buffer_init(&out, MONITOR_MAX);
	monitor_line(g->monitor, line, &out.text);
	send_output(g, &out);
	if (out.lost) {
		text_buffer_free(&out);
		text_buffer_init(&out, MONITOR_MAX);
		text_puts(&out.text, "\n(the rest is too long)\n");
		send_output(g, &out);
	}
	text_buffer_free(&out);
	reply(g, "OK");
}

void gdb_query(struct gdb *g)
{
	const char *p = g->in;

	if (take_text(&p, "qSupported"))
		supported(g);
	else if (take_text(&p, "qXfer:features:read:"))
		features(g, p);
	else if (take_text(&p, "qThreadExtraInfo,"))
		thread_info(g, p);
	else if (take_text(&p, "qfThreadInfo"))
		thread_list(g);
	else if (take_text(&p, "qsThreadInfo"))
		reply(g, "l");
	else if (take_text(&p, "qRcmd,"))
		monitor_command(g, p);
	else if (take_text(&p, "qAttached"))
		reply(g, "1");
	else if (take_text(&p, "qSymbol:"))
		reply(g, "OK");
	else if (!strcmp(p, "qqemu.PhyMemMode"))
		reply(g, g->physical ? "1" : "0");
	else if (!strcmp(p, "qC")) {
		reply_begin(g);
		reply_text(g, "QC%x", g->g_cpu + 1);
		reply_end(g);
	} else {
		reply(g, "");
	}
}

void gdb_set(struct gdb *g)
{
	const char *p = g->in;

	if (!strcmp(p, "QStartNoAckMode")) {
		reply(g, "OK");
		g->ack = false;
	} else if (take_text(&p, "Qqemu.PhyMemMode:") && (*p == '0' || *p == '1')) {
		g->physical = *p == '1';
		reply(g, "OK");
	} else {
		reply(g, "");
	}
}
