/* SPDX-License-Identifier: Apache-2.0 */
/* Words and expressions on the monitor's command line. */
#include <ctype.h>
#include <string.h>

#include "debug/monitor-internal.h"

#define DEPTH_MAX 16 /* of parentheses */

struct expression {
	struct monitor *mon;
	const char *p;
	struct text *out;
	unsigned depth;
};

void skip_blanks(const char **p)
{
	while (**p == ' ' || **p == '\t')
		(*p)++;
}

bool take_word(const char **p, char *word, size_t size)
{
	size_t n = 0;

	skip_blanks(p);
	while (**p && **p != ' ' && **p != '\t') {
		if (n + 1 < size)
			word[n++] = **p;
		(*p)++;
	}
	word[n] = 0;
	skip_blanks(p);
	return n;
}

static bool take_sum(struct expression *e, u64 *value);

static bool take_register(struct expression *e, u64 *value)
{
	const struct reg *r;
	char name[16];
	size_t n = 0;

	for (; isalnum((unsigned char)*e->p) || *e->p == '_'; e->p++)
		if (n + 1 < sizeof(name))
			name[n++] = (char)tolower((unsigned char)*e->p);
	name[n] = 0;
	if (!strcmp(name, "pc")) {
		*value = linear_ip(monitor_cpu(e->mon));
		return true;
	}
	r = reg_find(&e->mon->regs, name);
	if (!r) {
		text_printf(e->out, "no register is called '%s'\n", name);
		return false;
	}
	*value = debug_reg_value(monitor_cpu(e->mon), r);
	return true;
}

static bool take_number(struct expression *e, u64 *value)
{
	unsigned base = 10;
	const char *first;

	if (e->p[0] == '0' && (e->p[1] == 'x' || e->p[1] == 'X')) {
		base = 16;
		e->p += 2;
	}
	first = e->p;
	for (*value = 0; base == 16 ? isxdigit((unsigned char)*e->p) : isdigit((unsigned char)*e->p); e->p++) {
		unsigned digit = isdigit((unsigned char)*e->p) ? (unsigned)(*e->p - '0')
							       : (unsigned)((*e->p | 0x20) - 'a' + 10);

		*value = *value * base + digit;
	}
	if (e->p == first)
		text_printf(e->out, "expected a number or a $register at '%s'\n", first);
	return e->p != first;
}

static bool take_term(struct expression *e, u64 *value)
{
	bool good;

	skip_blanks(&e->p);
	if (*e->p == '-') {
		e->p++;
		good = ++e->depth < DEPTH_MAX && take_term(e, value);
		*value = -*value;
		return good;
	}
	if (*e->p == '$') {
		e->p++;
		return take_register(e, value);
	}
	if (*e->p != '(')
		return take_number(e, value);
	e->p++;
	if (++e->depth >= DEPTH_MAX || !take_sum(e, value))
		return false;
	skip_blanks(&e->p);
	if (*e->p != ')') {
		text_puts(e->out, "a ) is missing\n");
		return false;
	}
	e->p++;
	return true;
}

static bool take_product(struct expression *e, u64 *value)
{
	u64 next;

	if (!take_term(e, value))
		return false;
	for (skip_blanks(&e->p); *e->p == '*'; skip_blanks(&e->p)) {
		e->p++;
		if (!take_term(e, &next))
			return false;
		*value *= next;
	}
	return true;
}

static bool take_sum(struct expression *e, u64 *value)
{
	u64 next;

	if (!take_product(e, value))
		return false;
	while (*e->p == '+' || *e->p == '-') {
		bool minus = *e->p++ == '-';

		if (!take_product(e, &next))
			return false;
		*value += minus ? -next : next;
	}
	return true;
}

bool take_expression(struct monitor *mon, const char **p, u64 *value, struct text *out)
{
	struct expression e = { .mon = mon, .p = *p, .out = out };
	bool good;

	*value = 0;
	good = take_sum(&e, value);
	*p = e.p;
	return good;
}

bool only_expression(struct monitor *mon, const char *p, u64 *value, struct text *out)
{
	if (!take_expression(mon, &p, value, out))
		return false;
	if (*p)
		text_printf(out, "what is '%s'?\n", p);
	return !*p;
}
