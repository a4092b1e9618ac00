/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every device test needs: a machine whose time only the test moves, a sink that watches an interrupt line, and
 * short names for port and memory accesses.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "devices/devices.h"
#include "x86/cpuid.h"

#define MS  1000000ull
#define SEC NSEC_PER_SEC

static inline struct machine *fixture_machine(unsigned cpus)
{
	struct machine_config config = {
		.ram_size = BIT(24), .cpus = cpus, .model = cpu_model_find(NULL, NULL), .deterministic = true
	};
	struct error err = { 0 };
	struct machine *m = machine_new(&config, &err);

	if (!m)
		fail_msg("%s", err.text);
	return m;
}

/* Virtual time goes on by ns; each timer fires at its deadline. */
static inline void fixture_pass(struct machine *m, u64 ns)
{
	u64 until = clock_now(m->clock) + ns, next;

	while ((next = clock_next_deadline(m->clock)) <= until) {
		clock_set(m->clock, next);
		clock_run_timers(m->clock);
	}
	clock_set(m->clock, until);
}

struct sink {
	bool level;
	unsigned rises;
	u64 last_rise; /* clock */
	struct machine *m;
};

static inline void sink_set(void *arg, unsigned pin, bool level)
{
	struct sink *s = arg;

	if (level && !s->level) {
		s->rises++;
		s->last_rise = clock_now(s->m->clock);
	}
	s->level = level;
}

static inline struct irq_line sink_line(struct sink *s, struct machine *m)
{
	*s = (struct sink){ .m = m };
	return (struct irq_line){ sink_set, s, 0 };
}

static inline u8 inb(struct machine *m, u16 port)
{
	return (u8)bus_read(&m->pio, port, 1);
}
static inline u32 inl(struct machine *m, u16 port)
{
	return (u32)bus_read(&m->pio, port, 4);
}
static inline void outb(struct machine *m, u16 port, u8 value)
{
	bus_write(&m->pio, port, 1, value);
}
static inline void outw(struct machine *m, u16 port, u16 value)
{
	bus_write(&m->pio, port, 2, value);
}
static inline u32 readl(struct machine *m, u64 gpa)
{
	return (u32)bus_read(&m->mmio, gpa, 4);
}
static inline void writel(struct machine *m, u64 gpa, u32 value)
{
	bus_write(&m->mmio, gpa, 4, value);
}
