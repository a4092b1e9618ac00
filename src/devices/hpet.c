/* SPDX-License-Identifier: Apache-2.0 */
/*
 * High Precision Event Timers (IA-PC HPET Specification 1.0a): a 64-bit counter of 100 MHz and three timers, of which the first
 * can be periodic. No legacy replacement: the 8254 and the RTC keep their lines.
 *
 *   000h capabilities   010h configuration   020h interrupt status   0f0h main counter
 *   100h + 20h * n: configuration and capability of timer n; +08h comparator; +10h FSB (message) route
 *
 * Nothing counts: while enabled, the counter is the clock's time since `origin`. Each timer's next match is armed on the clock.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/devices.h"

#define TIMERS	  3
#define TICK_NS	  10
#define PERIOD_FS (TICK_NS * 1000000ull)
#define ROUTES	  0x00f00000ull /* pins 20 to 23 */

#define REG_CAPABILITIES 0x000
#define REG_CONFIG	 0x010
#define REG_STATUS	 0x020
#define REG_COUNTER	 0x0f0
#define REG_TIMERS	 0x100
#define TIMER_CONFIG	 0x00
#define TIMER_COMPARATOR 0x08
#define TIMER_ROUTE	 0x10

#define CAP_64BIT	BIT(13)
#define CONFIG_ENABLE	BIT(0)
#define T_LEVEL		BIT(1)
#define T_INT_ENABLE	BIT(2)
#define T_PERIODIC	BIT(3)
#define T_PERIODIC_CAP	BIT(4)
#define T_64BIT_CAP	BIT(5)
#define T_SET_VALUE	BIT(6)
#define T_32BIT_MODE	BIT(8)
#define T_ROUTE(config) ((config) >> 9 & 31)
#define T_ROUTE_MASK	(31ull << 9)
#define T_FSB		BIT(14)
#define T_FSB_CAP	BIT(15)
#define T_WRITABLE	(T_LEVEL | T_INT_ENABLE | T_32BIT_MODE | T_ROUTE_MASK | T_FSB)

struct hpet;
struct hpet_timer {
	struct hpet *hpet;
	unsigned number;
	u64 config, comparator, period, route;
	struct timer timer;
	unsigned pin; /* whose line it drives */
	bool line;
};

struct hpet {
	struct device dev;
	struct machine *machine;
	struct device *intc;
	pthread_mutex_t lock;
	u64 config, status;
	u64 origin; /* clock at which the counter was 0, while enabled */
	u64 counter; /* its value while it stands */
	struct hpet_timer timer[TIMERS];
};

/* ---- time ---- */

static u64 counter_now(const struct hpet *h)
{
	if (!(h->config & CONFIG_ENABLE))
		return h->counter;
	return (clock_now(h->machine->clock) - h->origin) / TICK_NS;
}

static bool narrow(const struct hpet_timer *t)
{
	return t->config & T_32BIT_MODE;
}

static u64 width_mask(const struct hpet_timer *t)
{
	return narrow(t) ? 0xffffffff : ~0ull;
}

/* Ticks until the comparator matches again: a whole turn when it just has. */
static u64 ticks_left(const struct hpet_timer *t, u64 now)
{
	u64 left = (t->comparator - now) & width_mask(t);

	return left ? left : width_mask(t);
}

static void set_line(struct hpet_timer *t, bool level)
{
	struct irq_line line = intc_pin_line(t->hpet->intc, t->pin);

	if (t->line != level)
		irq_set(&line, level);
	t->line = level;
}

/* The line follows the status bit of a level-triggered timer. */
static void update_line(struct hpet_timer *t)
{
	u64 wanted = T_LEVEL | T_INT_ENABLE;
	bool level = (t->config & (wanted | T_FSB)) == wanted && t->hpet->status >> t->number & 1 &&
		     t->hpet->config & CONFIG_ENABLE;

	if (t->line && t->pin != T_ROUTE(t->config))
		set_line(t, false);
	t->pin = T_ROUTE(t->config);
	set_line(t, level);
}

static void arm(struct hpet_timer *t)
{
	struct clock *c = t->hpet->machine->clock;
	u64 left = ticks_left(t, counter_now(t->hpet));

	update_line(t);
	if (!(t->hpet->config & CONFIG_ENABLE) || !(t->config & T_INT_ENABLE) || left > BIT(56))
		timer_cancel(c, &t->timer);
	else
		timer_arm(c, &t->timer, clock_now(c) + left * TICK_NS);
}

static void interrupt(struct hpet_timer *t)
{
	struct hpet *h = t->hpet;

	if (t->config & T_LEVEL) {
		h->status |= 1ull << t->number;
		update_line(t);
	} else if (t->config & T_FSB) {
		intc_message(h->intc, t->route >> 32, (u32)t->route);
	} else {
		set_line(t, true);
		set_line(t, false);
	}
}

static void match(void *arg, u64 now)
{
	struct hpet_timer *t = arg;
	struct hpet *h = t->hpet;
	u64 count;

	pthread_mutex_lock(&h->lock);
	count = counter_now(h);
	if (h->config & CONFIG_ENABLE && t->config & T_INT_ENABLE) {
		/* A match that was put off meanwhile is more than half a turn away. */
		if (((count - t->comparator) & width_mask(t)) <= width_mask(t) / 2) {
			if (t->config & T_PERIODIC && t->period)
				t->comparator += ((count - t->comparator) / t->period + 1) * t->period;
			t->comparator &= width_mask(t);
			interrupt(t);
		}
		arm(t);
	}
	pthread_mutex_unlock(&h->lock);
}

static void arm_all(struct hpet *h)
{
	for (unsigned n = 0; n < TIMERS; n++)
		arm(&h->timer[n]);
}

/* ---- registers: 64 bits each; narrower accesses are parts of them ---- */

static u64 read_timer(const struct hpet_timer *t, unsigned reg)
{
	switch (reg) {
	case TIMER_CONFIG:
		return t->config | T_64BIT_CAP | T_FSB_CAP | (t->number == 0 ? T_PERIODIC_CAP : 0) | ROUTES << 32;
	case TIMER_COMPARATOR: return t->comparator;
	case TIMER_ROUTE: return t->route;
	default: return 0;
	}
}

static u64 read_reg(const struct hpet *h, unsigned reg)
{
	switch (reg) {
	case REG_CAPABILITIES: return PERIOD_FS << 32 | 0x8086u << 16 | CAP_64BIT | (TIMERS - 1) << 8 | 1;
	case REG_CONFIG: return h->config;
	case REG_STATUS: return h->status;
	case REG_COUNTER: return counter_now(h);
	}
	if (reg >= REG_TIMERS && reg < REG_TIMERS + 0x20 * TIMERS)
		return read_timer(&h->timer[(reg - REG_TIMERS) / 0x20], reg & 0x1f);
	return 0;
}

static void write_config(struct hpet *h, u64 value)
{
	u64 count = counter_now(h);

	h->config = value & CONFIG_ENABLE;
	h->counter = count;
	h->origin = clock_now(h->machine->clock) - count * TICK_NS;
	arm_all(h);
}

static void write_counter(struct hpet *h, u64 value)
{
	h->counter = value;
	h->origin = clock_now(h->machine->clock) - value * TICK_NS;
	arm_all(h);
}

static void write_timer(struct hpet_timer *t, unsigned reg, u64 value)
{
	u64 writable = T_WRITABLE | (t->number == 0 ? T_PERIODIC | T_SET_VALUE : 0);

	switch (reg) {
	case TIMER_CONFIG:
		/* A route that the timer cannot take reads back as it was (2.3.8). */
		if (!(ROUTES >> T_ROUTE(value) & 1))
			writable &= ~T_ROUTE_MASK;
		t->config = (t->config & ~writable) | (value & writable);
		break;
	case TIMER_COMPARATOR:
		/* Of a periodic timer it is the period too, but for the first write after SET_VALUE (2.3.9.2.2). */
		if (!(t->config & T_PERIODIC) || t->config & T_SET_VALUE)
			t->comparator = value & width_mask(t);
		if (t->config & T_PERIODIC && !(t->config & T_SET_VALUE))
			t->period = value & width_mask(t);
		t->config &= ~T_SET_VALUE;
		break;
	case TIMER_ROUTE: t->route = value; break;
	default: return;
	}
	arm(t);
}

static void write_reg(struct hpet *h, unsigned reg, u64 value)
{
	switch (reg) {
	case REG_CONFIG: write_config(h, value); return;
	case REG_STATUS:
		h->status &= ~value;
		arm_all(h);
		return;
	case REG_COUNTER:
		if (!(h->config & CONFIG_ENABLE))
			write_counter(h, value);
		return;
	}
	if (reg >= REG_TIMERS && reg < REG_TIMERS + 0x20 * TIMERS)
		write_timer(&h->timer[(reg - REG_TIMERS) / 0x20], reg & 0x1f, value);
}

static u64 read_mmio(void *dev, u64 offset, unsigned size)
{
	struct hpet *h = dev;
	u64 value;

	pthread_mutex_lock(&h->lock);
	value = read_reg(h, offset & ~7u);
	pthread_mutex_unlock(&h->lock);
	return value >> 8 * (offset & 7);
}

/* Half registers keep their other half; of the status, whose ones clear, the other half is none. */
static void write_mmio(void *dev, u64 offset, unsigned size, u64 value)
{
	struct hpet *h = dev;
	unsigned reg = offset & ~7u, shift = 8 * (offset & 7);

	if (size < 4 || offset & 3 || (size == 8 && shift))
		return;
	pthread_mutex_lock(&h->lock);
	if (size == 4) {
		u64 rest = reg == REG_STATUS ? 0 : read_reg(h, reg) & ~(0xffffffffull << shift);
		value = rest | (value & 0xffffffff) << shift;
	}
	write_reg(h, reg, value);
	pthread_mutex_unlock(&h->lock);
}

static const struct region_ops mmio = { read_mmio, write_mmio };

static void reset(struct device *d)
{
	struct hpet *h = container_of(d, struct hpet, dev);

	pthread_mutex_lock(&h->lock);
	h->config = h->status = h->counter = 0;
	for (unsigned n = 0; n < TIMERS; n++) {
		struct hpet_timer *t = &h->timer[n];

		t->config = 20ull << 9;
		t->period = t->route = 0;
		t->comparator = ~0ull;
		arm(t);
	}
	pthread_mutex_unlock(&h->lock);
}

static void destroy(struct device *d)
{
	struct hpet *h = container_of(d, struct hpet, dev);

	for (unsigned n = 0; n < TIMERS; n++)
		timer_cancel(h->machine->clock, &h->timer[n].timer);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static const struct device_ops hpet_ops = { .name = "hpet", .reset = reset, .destroy = destroy };

struct device *hpet_new(struct machine *m, struct device *intc, struct error *err)
{
	struct hpet *h = calloc(1, sizeof(*h));
	const struct region region = { HPET_BASE, 0x400, &mmio, h, "hpet", 0 };

	if (!h) {
		error_set(err, ENOMEM, "no memory for the event timers");
		return NULL;
	}
	h->dev.ops = &hpet_ops;
	h->machine = m;
	h->intc = intc;
	pthread_mutex_init(&h->lock, NULL);
	for (unsigned n = 0; n < TIMERS; n++) {
		struct hpet_timer *t = &h->timer[n];

		*t = (struct hpet_timer){ .hpet = h, .number = n, .pin = 20 };
		t->timer = (struct timer){ .deadline = ~0ull, .fire = match, .arg = t };
	}
	reset(&h->dev);
	if (bus_add(&m->mmio, &region, err)) {
		destroy(&h->dev);
		return NULL;
	}
	return &h->dev;
}
