/* SPDX-License-Identifier: Apache-2.0 */
/* The monitor's looks at memory: x and xp in gdb's manner, disassembly, expressions, translation of addresses. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "debug/monitor-internal.h"
#include "mmu/mmu.h"

#define COUNT_MAX 4096
#define LINE_SIZE 16 /* bytes a line */

u64 linear_ip(const struct vcpu *v)
{
	return v->code_size == CODE_64 ? v->rip : (u32)(v->seg[SEG_CS].base + v->rip);
}

/* ---- instructions ---- */

unsigned disassemble(struct vcpu *v, enum address_space space, u64 addr, struct text *out)
{
	char line[120];
	u8 bytes[15];
	unsigned n = (unsigned)debug_read(v, space, addr, bytes, sizeof(bytes)), len;

	text_printf(out, "%016llx  ", (unsigned long long)addr);
	if (!n) {
		text_puts(out, "(no memory there)\n");
		return 0;
	}
	len = insn_format(line, sizeof(line), bytes, n, v->code_size, addr);
	for (unsigned i = 0; i < 10; i++)
		text_printf(out, i < len ? "%02x" : "  ", bytes[i]);
	text_printf(out, len > 10 ? ".. %s\n" : "   %s\n", len ? line : "(no instruction)");
	return len;
}

static void examine_code(struct monitor *mon, struct text *out)
{
	struct examine *x = &mon->examine;

	for (unsigned i = 0; i < x->count; i++) {
		unsigned len = disassemble(monitor_cpu(mon), x->space, x->addr, out);

		if (!len)
			break;
		x->addr += len;
	}
}

/* ---- data ---- */

static void put_value(struct text *out, const struct examine *x, u64 value)
{
	unsigned shift = 64 - 8 * x->size;
	char c = (char)value;

	switch (x->format) {
	case 'd': text_printf(out, " %lld", (long long)((s64)(value << shift) >> shift)); break;
	case 'u': text_printf(out, " %llu", (unsigned long long)value); break;
	case 'c':
		text_printf(out, isprint((unsigned char)c) ? " '%c'" : " '\\x%02x'",
			    isprint((unsigned char)c) ? c : (u8)c);
		break;
	default: text_printf(out, " %0*llx", (int)x->size * 2, (unsigned long long)value);
	}
}

static void examine_data(struct monitor *mon, struct text *out)
{
	struct examine *x = &mon->examine;
	unsigned a_line = x->format == 'c' ? 8 : LINE_SIZE / x->size;

	for (unsigned i = 0; i < x->count; i++) {
		u64 value = 0;
		bool there = debug_read(monitor_cpu(mon), x->space, x->addr, &value, x->size) == x->size;

		if (i % a_line == 0)
			text_printf(out, "%s%016llx ", i ? "\n" : "", (unsigned long long)x->addr);
		if (!there) {
			text_puts(out, " (no memory there)");
			break;
		}
		put_value(out, x, value);
		x->addr += x->size;
	}
	text_puts(out, "\n");
}

static void examine_string(struct monitor *mon, struct text *out)
{
	struct examine *x = &mon->examine;
	char c;

	text_printf(out, "%016llx  \"", (unsigned long long)x->addr);
	for (unsigned i = 0; i < COUNT_MAX; i++) {
		if (!debug_read(monitor_cpu(mon), x->space, x->addr, &c, 1)) {
			text_puts(out, "\" (no memory beyond)\n");
			return;
		}
		x->addr++;
		if (!c)
			break;
		text_printf(out, isprint((unsigned char)c) ? "%c" : "\\x%02x", isprint((unsigned char)c) ? c : (u8)c);
	}
	text_puts(out, "\"\n");
}

/* ---- x and xp ---- */

static bool set_letter(struct examine *x, char c)
{
	static const char sizes[] = "bhwg";
	const char *size = strchr(sizes, c);

	if (size)
		x->size = 1u << (size - sizes);
	else if (strchr("xducis", c))
		x->format = c;
	else
		return false;
	return true;
}

/* /COUNT FORMAT SIZE, in gdb's way: letters in any order. */
static bool take_format(const char **p, struct examine *x, struct text *out)
{
	u64 count = 0;

	for (; isdigit((unsigned char)**p); (*p)++)
		count = MIN(count * 10 + (u64)(**p - '0'), COUNT_MAX + 1);
	x->count = count ? (unsigned)count : 1;
	for (; **p && **p != ' '; (*p)++) {
		if (!set_letter(x, **p)) {
			text_printf(out, "'%c' is no format: x d u c i s, and sizes b h w g\n", **p);
			return false;
		}
	}
	if (x->count > COUNT_MAX) {
		text_printf(out, "at most %u at a time\n", COUNT_MAX);
		return false;
	}
	return true;
}

static void examine(struct monitor *mon, enum address_space space, const char *p, struct text *out)
{
	struct examine *x = &mon->examine;

	x->space = space;
	if (*p == '/') {
		p++;
		if (!take_format(&p, x, out))
			return;
	}
	skip_blanks(&p);
	if (*p && !only_expression(mon, p, &x->addr, out))
		return;
	if (x->format == 'i')
		examine_code(mon, out);
	else if (x->format == 's')
		examine_string(mon, out);
	else
		examine_data(mon, out);
}

void cmd_examine(struct monitor *mon, const char *args, struct text *out)
{
	examine(mon, LINEAR, args, out);
}

void cmd_examine_physical(struct monitor *mon, const char *args, struct text *out)
{
	examine(mon, PHYSICAL, args, out);
}

/* ---- p, translate ---- */

/* Registers wider than an expression's numbers. */
static bool print_wide(struct monitor *mon, const char *args, struct text *out)
{
	const struct reg *r = *args == '$' ? reg_find(&mon->regs, args + 1) : NULL;
	u8 value[REG_MAX_BYTES];

	if (!r || r->bytes <= 8)
		return false;
	debug_reg_read(monitor_cpu(mon), r, value);
	text_puts(out, "0x");
	for (unsigned i = r->bytes; i-- > 0;)
		text_printf(out, "%02x", value[i]);
	text_puts(out, "\n");
	return true;
}

void cmd_print(struct monitor *mon, const char *args, struct text *out)
{
	u64 value;

	if (!print_wide(mon, args, out) && only_expression(mon, args, &value, out))
		text_printf(out, "0x%llx = %lld\n", (unsigned long long)value, (long long)value);
}

void cmd_translate(struct monitor *mon, const char *args, struct text *out)
{
	u64 gla, gpa;

	if (!only_expression(mon, args, &gla, out))
		return;
	if (mmu_translate(monitor_cpu(mon), gla, &gpa))
		text_printf(out, "0x%llx\n", (unsigned long long)gpa);
	else
		text_puts(out, "not mapped\n");
}
