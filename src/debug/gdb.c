/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gdb session: packets out of bytes (GDB manual, "Remote Protocol"), acknowledgement, replies, and the packets that read
 * and write registers and memory and set breakpoints.
 *
 * gdb sends one packet and waits for its reply, so one buffer each way is enough; whoever sends more without waiting gets
 * the replies one after the other.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "debug/gdb-internal.h"

/* ---- replies ---- */

void reply_begin(struct gdb *g)
{
	g->out[0] = '$';
	g->out_len = 1;
}

/* Room is left for the frame's end. */
static void put(struct gdb *g, char c)
{
	if (g->out_len < sizeof(g->out) - 3)
		g->out[g->out_len++] = c;
}

void reply_text(struct gdb *g, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (const char *s = text; *s; s++)
		put(g, *s);
}

void reply_hex(struct gdb *g, const void *data, size_t len)
{
	const u8 *p = data;

	for (size_t i = 0; i < len; i++) {
		put(g, hex_digit(p[i] >> 4));
		put(g, hex_digit(p[i]));
	}
}

void reply_binary(struct gdb *g, const void *data, size_t len)
{
	const char *p = data;

	for (size_t i = 0; i < len; i++) {
		bool special = strchr("#$}*", p[i]) && p[i];

		if (special)
			put(g, '}');
		put(g, special ? (char)(p[i] ^ 0x20) : p[i]);
	}
}

static void send_out(struct gdb *g)
{
	g->link.send(g->link.arg, (const u8 *)g->out, g->out_len);
}

void reply_end(struct gdb *g)
{
	u8 sum = 0;

	for (size_t i = 1; i < g->out_len; i++)
		sum += (u8)g->out[i];
	g->out[g->out_len++] = '#';
	g->out[g->out_len++] = hex_digit(sum >> 4);
	g->out[g->out_len++] = hex_digit(sum);
	send_out(g);
}

void reply(struct gdb *g, const char *text)
{
	reply_begin(g);
	reply_text(g, "%s", text);
	reply_end(g);
}

#define BAD_PACKET  "E01"
#define NO_MEMORY   "E0e" /* EFAULT */
#define NOT_ALLOWED "E16" /* EINVAL */

static struct vcpu *cpu(struct gdb *g)
{
	return g->machine->vcpu[g->g_cpu];
}

/* ---- registers ---- */

static void read_registers(struct gdb *g)
{
	u8 value[REG_MAX_BYTES];

	reply_begin(g);
	for (unsigned i = 0; i < g->regs.count; i++) {
		debug_reg_read(cpu(g), &g->regs.reg[i], value);
		reply_hex(g, value, g->regs.reg[i].bytes);
	}
	reply_end(g);
}

/* Only what differs is written: gdb sends back what it does not mean to change, and not all of it may be set. */
static bool write_register(struct gdb *g, const struct reg *r, const u8 *value)
{
	u8 now[REG_MAX_BYTES];

	debug_reg_read(cpu(g), r, now);
	return !memcmp(now, value, r->bytes) || debug_reg_write(cpu(g), r, value);
}

static void write_registers(struct gdb *g)
{
	const char *p = g->in + 1;
	u8 value[REG_MAX_BYTES];
	bool good = true;

	for (unsigned i = 0; i < g->regs.count; i++) {
		const struct reg *r = &g->regs.reg[i];

		if (take_bytes(&p, value, r->bytes) != r->bytes)
			break;
		good &= write_register(g, r, value);
	}
	reply(g, good ? "OK" : NOT_ALLOWED);
}

static void one_register(struct gdb *g, bool write)
{
	const char *p = g->in + 1;
	const struct reg *r;
	u8 value[REG_MAX_BYTES];
	u64 n;

	if (!take_hex(&p, &n) || n >= g->regs.count) {
		reply(g, BAD_PACKET);
		return;
	}
	r = &g->regs.reg[n];
	if (!write) {
		debug_reg_read(cpu(g), r, value);
		reply_begin(g);
		reply_hex(g, value, r->bytes);
		reply_end(g);
	} else if (!take_char(&p, '=') || take_bytes(&p, value, r->bytes) != r->bytes) {
		reply(g, BAD_PACKET);
	} else {
		reply(g, write_register(g, r, value) ? "OK" : NOT_ALLOWED);
	}
}

/* ---- memory ---- */

static bool take_range(const char **p, u64 *addr, u64 *len)
{
	return take_hex(p, addr) && take_char(p, ',') && take_hex(p, len);
}

static enum address_space space(const struct gdb *g)
{
	return g->physical ? PHYSICAL : LINEAR;
}

/* gdb takes fewer bytes than it asked for. */
static void read_memory(struct gdb *g, bool binary)
{
	const char *p = g->in + 1;
	u8 buf[PACKET_MAX / 2];
	u64 addr, len;
	size_t n;

	if (!take_range(&p, &addr, &len)) {
		reply(g, BAD_PACKET);
		return;
	}
	n = debug_read(cpu(g), space(g), addr, buf, MIN(len, sizeof(buf)));
	if (!n && len) {
		reply(g, NO_MEMORY);
		return;
	}
	reply_begin(g);
	if (binary) {
		reply_text(g, "b");
		reply_binary(g, buf, n);
	} else {
		reply_hex(g, buf, n);
	}
	reply_end(g);
}

static void write_memory(struct gdb *g, bool binary)
{
	const char *p = g->in + 1, *end = g->in + g->in_len;
	u8 buf[PACKET_MAX / 2];
	const void *data = buf;
	u64 addr, len;
	size_t n;

	if (!take_range(&p, &addr, &len) || !take_char(&p, ':')) {
		reply(g, BAD_PACKET);
		return;
	}
	n = binary ? (size_t)(end - p) : take_bytes(&p, buf, sizeof(buf));
	if (binary)
		data = p;
	if (n != len)
		reply(g, BAD_PACKET);
	else
		reply(g, debug_write(cpu(g), space(g), addr, data, n) == n ? "OK" : NO_MEMORY);
}

/* ---- breakpoints and watchpoints ---- */

static void change_point(struct gdb *g, bool add)
{
	const char *p = g->in + 1;
	struct debug_point point;
	u64 kind, addr, len;

	if (!take_hex(&p, &kind) || !take_char(&p, ',') || !take_range(&p, &addr, &len)) {
		reply(g, BAD_PACKET);
		return;
	}
	if (kind > POINT_ACCESS) {
		reply(g, "");
		return;
	}
	/* A breakpoint's length is about how it would be patched in. */
	point = (struct debug_point){ .gla = addr, .len = kind <= POINT_HARDWARE ? 1 : len, .kind = (u8)kind };
	if (!add)
		machine_remove_point(g->machine, &point);
	reply(g, add && machine_add_point(g->machine, &point) ? NOT_ALLOWED : "OK");
}

/* ---- threads, and the end ---- */

static void choose_thread(struct gdb *g)
{
	const char *p = g->in + 2;
	s64 thread;

	if (!take_thread(&p, &thread) || thread > g->machine->config.cpus) {
		reply(g, BAD_PACKET);
		return;
	}
	if (g->in[1] == 'g' && thread > 0)
		g->g_cpu = (unsigned)thread - 1;
	else if (g->in[1] == 'c')
		g->c_cpu = thread > 0 ? (int)thread - 1 : thread ? -1 : (int)g->g_cpu;
	reply(g, "OK");
}

static void thread_alive(struct gdb *g)
{
	const char *p = g->in + 1;
	s64 thread;

	reply(g, take_thread(&p, &thread) && thread >= 1 && thread <= g->machine->config.cpus ? "OK" : BAD_PACKET);
}

static void detach(struct gdb *g)
{
	reply(g, "OK");
	g->over = true;
	g->resume = true;
}

static void restart(struct gdb *g)
{
	machine_reset(g->machine);
	g->g_cpu = 0;
}

static void handle(struct gdb *g)
{
	switch (g->in[0]) {
	case '?': gdb_stop_reply(g); return;
	case '!': reply(g, "OK"); return;
	case 'g': read_registers(g); return;
	case 'G': write_registers(g); return;
	case 'p': one_register(g, false); return;
	case 'P': one_register(g, true); return;
	case 'm': read_memory(g, false); return;
	case 'x': read_memory(g, true); return;
	case 'M': write_memory(g, false); return;
	case 'X': write_memory(g, true); return;
	case 'Z': change_point(g, true); return;
	case 'z': change_point(g, false); return;
	case 'H': choose_thread(g); return;
	case 'T': thread_alive(g); return;
	case 'q': gdb_query(g); return;
	case 'Q': gdb_set(g); return;
	case 'v': gdb_v_packet(g); return;
	case 's':
	case 'S':
	case 'c':
	case 'C': gdb_step_or_continue(g); return;
	case 'D': detach(g); return;
	case 'R': restart(g); return;
	case 'k':
		g->over = true;
		machine_end(g->machine, END_USER, 0);
		return;
	default: reply(g, "");
	}
}

/* Whatever the packet wants to see stands still meanwhile, though the monitor may have let the machine go. */
static void handle_packet(struct gdb *g)
{
	machine_hold(g->machine, HOLD_LOOK);
	handle(g);
	machine_release(g->machine, HOLD_LOOK);
}

/* ---- bytes ---- */

static void ctrl_c(struct gdb *g)
{
	if (!g->running)
		return;
	g->interrupted = true;
	machine_stop(g->machine, NULL);
}

static void end_packet(struct gdb *g, u8 sum)
{
	bool good = sum == g->sum && !g->too_long;

	g->frame = FRAME_NONE;
	if (g->ack)
		g->link.send(g->link.arg, (const u8 *)(good ? "+" : "-"), 1);
	if (!good)
		return;
	g->in[g->in_len] = 0;
	handle_packet(g);
}

static void store(struct gdb *g, u8 c)
{
	if (g->in_len < PACKET_MAX)
		g->in[g->in_len++] = (char)c;
	else
		g->too_long = true;
}

static void outside_packet(struct gdb *g, u8 c)
{
	switch (c) {
	case '$':
		g->frame = FRAME_BODY;
		g->in_len = 0;
		g->sum = 0;
		g->too_long = false;
		break;
	case 0x03: ctrl_c(g); break;
	case '-':
		if (g->ack && g->out_len)
			send_out(g);
		break;
	default: break;
	}
}

static void in_packet(struct gdb *g, u8 c)
{
	if (c == '#') {
		g->frame = FRAME_SUM1;
		return;
	}
	g->sum += c;
	if (g->frame == FRAME_ESCAPE) {
		store(g, c ^ 0x20);
		g->frame = FRAME_BODY;
	} else if (c == '}') {
		g->frame = FRAME_ESCAPE;
	} else {
		store(g, c);
	}
}

static void take_byte(struct gdb *g, u8 c)
{
	int digit = hex_value((char)c);

	switch (g->frame) {
	case FRAME_NONE: outside_packet(g, c); return;
	case FRAME_BODY:
	case FRAME_ESCAPE: in_packet(g, c); return;
	case FRAME_SUM1:
		g->told_sum = (u8)((unsigned)digit << 4);
		g->frame = digit < 0 ? FRAME_NONE : FRAME_SUM2;
		return;
	default:
		if (digit < 0)
			g->frame = FRAME_NONE;
		else
			end_packet(g, g->told_sum | (u8)digit);
	}
}

bool gdb_receive(struct gdb *g, const u8 *data, size_t len)
{
	for (size_t i = 0; i < len && !g->over; i++)
		take_byte(g, data[i]);
	return !g->over;
}

/* ---- life ---- */

static bool any_long_mode(const struct machine *m)
{
	for (unsigned i = 0; i < m->config.cpus; i++)
		if (m->vcpu[i]->efer & EFER_LMA)
			return true;
	return false;
}

struct gdb *gdb_new(struct machine *m, const struct gdb_link *link, enum gdb_arch arch, struct monitor *monitor)
{
	struct gdb *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->machine = m;
	g->link = *link;
	g->monitor = monitor;
	g->ack = true;
	g->resume = !machine_held(m);
	g->c_cpu = -1;
	g->observer = (struct stop_observer){ .stopped = gdb_stopped, .arg = g };
	machine_observe_stops(m, &g->observer);
	machine_hold(m, HOLD_USER);
	reg_set_build(&g->regs, arch == GDB_ARCH_AUTO ? any_long_mode(m) : arch == GDB_ARCH_X86_64, m->config.model);
	g->target_xml = gdb_target_xml(&g->regs);
	if (!g->target_xml) {
		gdb_free(g);
		return NULL;
	}
	return g;
}

void gdb_exited(struct gdb *g, int status)
{
	char text[8];

	if (!g->running)
		return;
	g->running = false;
	snprintf(text, sizeof(text), "W%02x", status & 0xff);
	reply(g, text);
}

void gdb_free(struct gdb *g)
{
	if (!g)
		return;
	machine_unobserve_stops(g->machine, &g->observer);
	machine_hold(g->machine, HOLD_LOOK);
	machine_clear_points(g->machine);
	machine_release(g->machine, HOLD_LOOK);
	if (g->resume && g->machine->end == END_NONE)
		machine_go(g->machine, ALL_VCPUS, 0, true);
	free(g->target_xml);
	free(g);
}
