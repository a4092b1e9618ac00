/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 8254 programmable interval timer (Intel 231164) and the port 61h bits of a PC/AT that belong to it.
 *
 *   40h..42h  counter 0..2      43h  control word, counter latch, read-back
 *   61h  bit 0 gate of counter 2, bit 1 speaker data, bit 4 toggles every 15 us (refresh), bit 5 OUT of counter 2
 *
 * Nothing counts. Each counter knows at which tick it was loaded, with what, and how long its gate has held it; count
 * and OUT at any tick follow from that. Only counter 0 has a timer, for the rising edges of OUT, which is its interrupt
 * line. Counters 0 and 1 have their gates tied high.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/devices.h"

#define PIT_HZ	     1193182u
#define REFRESH_NSEC 15085u
#define NEVER	     (~0ull)
/* Ticks are numbered from here, so that a counter's period may have begun before the machine did. */
#define FIRST_TICK   BIT(20)

enum access { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

struct counter {
	u8 control; /* access, mode and BCD bits, as the read-back command shows them */
	u8 mode; /* 0..5 */
	bool gate;
	bool armed; /* a count has been written since the control word */
	bool running; /* loaded: `start` says when. Modes 1 and 5 load when the gate rises */
	u32 reload; /* 1..65536 (10000 in BCD) */
	u64 start; /* tick at which the counter held `reload` */
	u32 next_reload; /* modes 2, 3: takes over at tick next_switch, as if loaded at next_start; 0: none */
	u64 next_switch, next_start;
	u64 held; /* tick at which the gate stopped it; NEVER while it may count */
	u8 write_low; /* first byte of two */
	bool write_second, read_second;
	bool latched, status_latched;
	u16 latch;
	u8 status;
};

struct pit {
	struct device dev;
	struct clock *clock;
	pthread_mutex_t lock;
	struct counter counter[3];
	u8 port61;
	struct irq_line irq;
	struct timer timer;
};

/* ---- time in ticks ---- */

static u64 tick_now(struct pit *p)
{
	return (u64)((u128)clock_now(p->clock) * PIT_HZ / NSEC_PER_SEC) + FIRST_TICK;
}

/* First nanosecond of a tick. */
static u64 tick_time(u64 tick)
{
	return (u64)(((u128)(tick - FIRST_TICK) * NSEC_PER_SEC + PIT_HZ - 1) / PIT_HZ);
}

/* ---- what a counter does ---- */

static bool periodic(const struct counter *c)
{
	return c->mode == 2 || c->mode == 3;
}

/* Ticks since the load, the gate's holds left out; the load itself happens one tick after it was asked for. */
static u64 elapsed(const struct counter *c, u64 now)
{
	u64 until = MIN(now, c->held);

	return until > c->start ? until - c->start : 0;
}

/* A new count of a periodic mode takes over at the end of the period (mode 3: half) in which it was written. */
static void settle(struct counter *c, u64 now)
{
	if (c->next_reload && now >= c->next_switch && c->held == NEVER) {
		c->reload = c->next_reload;
		c->start = c->next_start;
		c->next_reload = 0;
	}
}

static bool output(const struct counter *c, u64 now)
{
	u64 t = elapsed(c, now);

	switch (c->mode) {
	case 0: return c->running && now >= c->start && t >= c->reload;
	case 1: return !c->running || now < c->start || t >= c->reload;
	case 2: return !c->running || !c->gate || t % c->reload != c->reload - 1;
	case 3: return !c->running || !c->gate || t % c->reload < (c->reload + 1) / 2;
	default: return !c->running || t != c->reload;
	}
}

/* Mode 3 counts by two, in each half of the period from the reload value; odd ones lose one (high half) or three
 * (low). */
static u32 square_count(u32 reload, u32 t)
{
	u32 high = (reload + 1) / 2;
	u32 half = t < high ? t : t - high;
	u32 lost = reload & 1 && half ? (t < high ? 1 : 3) : 0;

	return half ? reload - lost - 2 * (half - (reload & 1)) : reload;
}

static u16 to_bcd(u32 n)
{
	return (u16)(n % 10 | (n / 10 % 10) << 4 | (n / 100 % 10) << 8 | (n / 1000 % 10) << 12);
}

/* The counting element as software reads it. After the end of modes 0, 1, 4, 5 it goes on, through the maximum. */
static u16 count(const struct counter *c, u64 now)
{
	bool bcd = c->control & 1;
	u32 wrap = bcd ? 10000 : 65536, n = 0;
	u64 t = elapsed(c, now);

	if (!c->armed && !c->running)
		return 0;
	if (c->mode == 3)
		n = square_count(c->reload, (u32)(t % c->reload));
	else if (c->mode == 2)
		n = c->reload - (u32)(t % c->reload);
	else
		n = (u32)((c->reload + (u64)wrap - t % wrap) % wrap);
	return bcd ? to_bcd(n) : (u16)n;
}

/* The first tick after `now` at which OUT rises, if nobody touches the counter; NEVER otherwise. */
static u64 next_rise(const struct counter *c, u64 now)
{
	u64 end = c->start + c->reload;

	if (!c->running || c->held != NEVER)
		return NEVER;
	switch (c->mode) {
	case 0:
	case 1: return end > now ? end : NEVER;
	case 2:
	case 3:
		if (c->next_reload)
			return c->next_start < c->next_switch ? c->next_start + c->next_reload : c->next_switch;
		if (c->reload == 1)
			return NEVER; /* OUT is constant */
		return now < c->start ? end : now + c->reload - (now - c->start) % c->reload;
	default: return end + 1 > now ? end + 1 : NEVER;
	}
}

/* ---- loading and gating ---- */

static void load(struct counter *c, u64 now)
{
	c->start = now + 1;
	c->held = NEVER;
	c->running = true;
	c->next_reload = 0;
	/* Modes 0 and 4 load while the gate is low, and then wait. */
	if (!c->gate)
		c->held = c->start;
}

static u32 reload_value(const struct counter *c, u16 raw)
{
	u32 n = raw;

	if (c->control & 1)
		n = (raw & 15) + (raw >> 4 & 15) * 10 + (raw >> 8 & 15) * 100 + (raw >> 12 & 15) * 1000;
	return n ? n : c->control & 1 ? 10000 : 65536;
}

static void set_count(struct counter *c, u16 raw, u64 now)
{
	u32 n = reload_value(c, raw);
	u64 t = elapsed(c, now);

	c->armed = true;
	if (periodic(c) && c->running && c->gate && now >= c->start) {
		u32 in = (u32)(t % c->reload), high = (c->reload + 1) / 2;
		bool half = c->mode == 3 && in < high;

		c->next_reload = n;
		c->next_switch = now + (half ? high : c->reload) - in;
		c->next_start = c->next_switch - (half ? (n + 1) / 2 : 0);
		return;
	}
	c->reload = n;
	if (c->mode == 1 || c->mode == 5)
		return;
	load(c, now);
}

static void set_gate(struct counter *c, bool gate, u64 now)
{
	bool rises = gate && !c->gate;

	settle(c, now);
	if (gate == c->gate)
		return;
	c->gate = gate;
	switch (c->mode) {
	case 1:
	case 5:
		if (rises && c->armed)
			load(c, now);
		break;
	case 2:
	case 3:
		if (rises && c->armed) {
			c->reload = c->next_reload ? c->next_reload : c->reload;
			load(c, now);
		} else if (!rises && c->running) {
			c->held = MAX(now, c->start);
		}
		break;
	default:
		if (!rises && c->running) {
			c->held = MAX(now, c->start);
		} else if (rises && c->held != NEVER) {
			/* What it has counted stays counted. */
			c->start += MAX(now, c->held) - c->held;
			c->held = NEVER;
		}
	}
}

/* ---- registers ---- */

/* Counter 0's OUT as it is now, and the timer for its next rise. */
static void update_irq(struct pit *p, u64 now)
{
	struct counter *c = &p->counter[0];
	u64 rise;

	settle(c, now);
	irq_set(&p->irq, output(c, now));
	rise = next_rise(c, now);
	if (rise == NEVER)
		timer_cancel(p->clock, &p->timer);
	else
		timer_arm(p->clock, &p->timer, tick_time(rise));
}

/* OUT rose, perhaps some time ago: the low before it may be over already, so it is shown first. */
static void rise(void *arg, u64 now)
{
	struct pit *p = arg;
	u64 tick, due;

	pthread_mutex_lock(&p->lock);
	tick = tick_now(p);
	due = next_rise(&p->counter[0], 0);
	if (due != NEVER && due <= tick) {
		irq_set(&p->irq, false);
		irq_set(&p->irq, true);
	}
	update_irq(p, tick);
	pthread_mutex_unlock(&p->lock);
}

static u8 status(const struct counter *c, u64 now)
{
	bool null = !c->running || c->write_second || c->next_reload || now < c->start;

	return (u8)((output(c, now) ? 0x80 : 0) | (null ? 0x40 : 0) | c->control);
}

static void latch_count(struct counter *c, u64 now)
{
	if (c->latched)
		return;
	c->latch = count(c, now);
	c->latched = true;
}

static void read_back(struct pit *p, u8 command, u64 now)
{
	for (unsigned i = 0; i < 3; i++) {
		struct counter *c = &p->counter[i];

		if (!(command >> (i + 1) & 1))
			continue;
		if (!(command & 0x20))
			latch_count(c, now);
		if (!(command & 0x10) && !c->status_latched) {
			c->status = status(c, now);
			c->status_latched = true;
		}
	}
}

static void write_control(struct pit *p, u8 value, u64 now)
{
	struct counter *c = &p->counter[value >> 6 & 3];
	u8 mode = value >> 1 & 7;
	bool gate;

	if (value >> 6 == 3) {
		read_back(p, value, now);
		return;
	}
	if ((value >> 4 & 3) == ACCESS_LATCH) {
		latch_count(c, now);
		return;
	}
	gate = c->gate;
	*c = (struct counter){ .control = value & 0x3f, .gate = gate, .held = NEVER, .reload = 65536 };
	c->mode = mode > 5 ? mode & 3 : mode;
}

static void write_counter(struct counter *c, u8 value, u64 now)
{
	switch (c->control >> 4 & 3) {
	case ACCESS_LOW: set_count(c, value, now); break;
	case ACCESS_HIGH: set_count(c, (u16)(value << 8), now); break;
	case ACCESS_BOTH:
		if (c->write_second) {
			c->write_second = false;
			set_count(c, (u16)(c->write_low | value << 8), now);
			break;
		}
		c->write_low = value;
		c->write_second = true;
		/* The first byte stops mode 0 (data sheet, "Mode 0"). */
		if (c->mode == 0)
			c->running = false;
		break;
	}
}

static u8 read_counter(struct counter *c, u64 now)
{
	unsigned access = c->control >> 4 & 3;
	u16 n = c->latched ? c->latch : count(c, now);
	bool high = access == ACCESS_HIGH || (access == ACCESS_BOTH && c->read_second);

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	if (access == ACCESS_BOTH)
		c->read_second = !c->read_second;
	if (!c->read_second)
		c->latched = false;
	return high ? n >> 8 : (u8)n;
}

static u64 read_port(void *dev, u64 offset, unsigned size)
{
	struct pit *p = dev;
	u64 now, value = 0xff;

	pthread_mutex_lock(&p->lock);
	now = tick_now(p);
	if (offset < 3) {
		settle(&p->counter[offset], now);
		value = read_counter(&p->counter[offset], now);
	}
	pthread_mutex_unlock(&p->lock);
	return value;
}

static void write_port(void *dev, u64 offset, unsigned size, u64 value)
{
	struct pit *p = dev;
	u64 now;

	pthread_mutex_lock(&p->lock);
	now = tick_now(p);
	for (unsigned i = 0; i < 3; i++)
		settle(&p->counter[i], now);
	if (offset == 3)
		write_control(p, (u8)value, now);
	else
		write_counter(&p->counter[offset], (u8)value, now);
	/* A latch command leaves counter 0 alone; its pending edge must not be lost to a new arming. */
	if (offset == 0 || (offset == 3 && value < 0x40 && value >> 4))
		update_irq(p, now);
	pthread_mutex_unlock(&p->lock);
}

static u64 read_61(void *dev, u64 offset, unsigned size)
{
	struct pit *p = dev;
	u64 now, value;

	pthread_mutex_lock(&p->lock);
	now = tick_now(p);
	settle(&p->counter[2], now);
	value = p->port61 | (clock_now(p->clock) / REFRESH_NSEC & 1) << 4 | (output(&p->counter[2], now) ? 0x20 : 0);
	pthread_mutex_unlock(&p->lock);
	return value;
}

static void write_61(void *dev, u64 offset, unsigned size, u64 value)
{
	struct pit *p = dev;

	pthread_mutex_lock(&p->lock);
	p->port61 = value & 0x0f;
	set_gate(&p->counter[2], value & 1, tick_now(p));
	pthread_mutex_unlock(&p->lock);
}

/* ---- state ---- */
void pit_save(struct device *d, struct pit_counter s[3])
{
	struct pit *p = container_of(d, struct pit, dev);
	u64 now;

	pthread_mutex_lock(&p->lock);
	now = tick_now(p);
	for (unsigned i = 0; i < 3; i++) {
		struct counter *c = &p->counter[i];

		settle(c, now);
		s[i] = (struct pit_counter){
			.control = c->control,
			.gate = c->gate,
			.armed = c->armed,
			.running = c->running,
			.reload = c->next_reload ? c->next_reload : c->reload,
			.loaded = c->start > FIRST_TICK ? tick_time(c->start) : 0,
			.write_second = c->write_second,
			.read_second = c->read_second,
			.latched = c->latched,
			.status_latched = c->status_latched,
			.write_low = c->write_low,
			.status = c->status,
			.latch = c->latch,
		};
	}
	pthread_mutex_unlock(&p->lock);
}

static void load_counter(struct pit *p, unsigned i, const struct pit_counter *s)
{
	u8 mode = s->control >> 1 & 7;

	p->counter[i] = (struct counter){
		.control = s->control & 0x3f,
		.mode = mode > 5 ? mode & 3 : mode,
		.gate = i == 2 ? s->gate : true,
		.armed = s->armed,
		.running = s->running,
		.reload = s->reload && s->reload <= 65536 ? s->reload : 65536,
		.start = (u64)((u128)s->loaded * PIT_HZ / NSEC_PER_SEC) + FIRST_TICK,
		.held = NEVER,
		.write_low = s->write_low,
		.write_second = s->write_second,
		.read_second = s->read_second,
		.latched = s->latched,
		.status_latched = s->status_latched,
		.latch = s->latch,
		.status = s->status,
	};
}

void pit_load(struct device *d, const struct pit_counter s[3], bool idle)
{
	struct pit *p = container_of(d, struct pit, dev);

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < 3; i++)
		load_counter(p, i, &s[i]);
	p->port61 = (p->port61 & ~1) | s[2].gate;
	if (idle)
		timer_cancel(p->clock, &p->timer);
	else
		update_irq(p, tick_now(p));
	pthread_mutex_unlock(&p->lock);
}

static const struct region_ops counter_ports = { read_port, write_port };
static const struct region_ops port_61 = { read_61, write_61 };

static void reset(struct device *d)
{
	struct pit *p = container_of(d, struct pit, dev);

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < 3; i++)
		p->counter[i] = (struct counter){ .control = 0x30, .gate = i != 2, .held = NEVER, .reload = 65536 };
	p->port61 = 0;
	update_irq(p, tick_now(p));
	pthread_mutex_unlock(&p->lock);
}

static void destroy(struct device *d)
{
	struct pit *p = container_of(d, struct pit, dev);

	timer_cancel(p->clock, &p->timer);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static const struct device_ops pit_ops = { .name = "pit", .reset = reset, .destroy = destroy };

struct device *pit_new(struct machine *m, struct irq_line irq, struct error *err)
{
	struct pit *p = calloc(1, sizeof(*p));
	const struct region counters = { 0x40, 4, &counter_ports, p, "pit", 1 };
	const struct region speaker = { 0x61, 1, &port_61, p, "port 61h", 1 };

	if (!p) {
		error_set(err, ENOMEM, "no memory for the interval timer");
		return NULL;
	}
	p->dev.ops = &pit_ops;
	p->clock = m->clock;
	p->irq = irq;
	p->timer = (struct timer){ .deadline = ~0ull, .fire = rise, .arg = p };
	pthread_mutex_init(&p->lock, NULL);
	reset(&p->dev);
	if (bus_add(&m->pio, &counters, err) || bus_add(&m->pio, &speaker, err)) {
		destroy(&p->dev);
		return NULL;
	}
	return &p->dev;
}
