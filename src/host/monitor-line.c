/* SPDX-License-Identifier: Apache-2.0 */
/* Line editing for the monitor: printable bytes, backspace, Ctrl-u, Ctrl-c, Enter. Escape sequences are swallowed by nobody
 * and show as what they are. */
#include "host/monitor-line.h"

#define PROMPT	  "(sextant) "
#define CTRL_C	  0x03
#define BACKSPACE 0x08
#define CTRL_U	  0x15
#define DELETE	  0x7f

static void prompt(struct console_monitor *c)
{
	c->len = 0;
	text_puts(c->out, PROMPT);
}

void monitor_line_switch(struct console_monitor *c)
{
	if (!c->line) {
		text_puts(c->out, "\nThere is no monitor here.\n");
		return;
	}
	c->on = !c->on;
	if (c->on) {
		text_puts(c->out, "\nMonitor: Ctrl-a c returns to the guest, help helps.\n");
		prompt(c);
	} else {
		text_puts(c->out, "\nBack in the guest.\n");
	}
}

static void erase(struct console_monitor *c, size_t n)
{
	for (; n && c->len; n--, c->len--)
		text_puts(c->out, "\b \b");
}

static void enter(struct console_monitor *c)
{
	text_puts(c->out, "\n");
	c->buf[c->len] = 0;
	c->line(c->arg, c->buf, c->out);
	prompt(c);
}

void monitor_line_byte(struct console_monitor *c, u8 byte)
{
	switch (byte) {
	case '\r':
	case '\n': enter(c); return;
	case BACKSPACE:
	case DELETE: erase(c, 1); return;
	case CTRL_U: erase(c, c->len); return;
	case CTRL_C:
		text_puts(c->out, "^C\n");
		prompt(c);
		return;
	default:
		if (byte < ' ' || c->len + 1 >= sizeof(c->buf))
			return;
		c->buf[c->len++] = (char)byte;
		c->out->write(c->out, (const char *)&byte, 1);
	}
}
