/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MC146818 real-time clock and CMOS RAM.
 *
 *   70h  index (bit 7, the NMI mask of a PC, is ignored)     71h  data
 *   00h, 02h, 04h seconds, minutes, hours; 01h, 03h, 05h their alarms
 *   06h weekday, 07h day, 08h month, 09h year, 32h century
 *   0ah  A: UIP, divider, rate     0bh  B: SET, PIE, AIE, UIE, SQWE, DM, 24/12, DSE     0ch  C: IRQF, PF, AF, UF
 *   0dh  D: VRT                    0eh..7fh  RAM
 *
 * Time of day is the machine's clock plus an offset, which the guest changes by setting the time. While SET is on or
 * the divider is held in reset the calendar stands still in `frozen`. Flags are worked out when register C is read or
 * an interrupt is due, from what has passed since they were last looked at; the timer is armed only for enabled
 * interrupts. There is no daylight saving (DSE), as in the PIIX4 and its successors.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "devices/devices.h"

enum reg {
	SECONDS,
	SECONDS_ALARM,
	MINUTES,
	MINUTES_ALARM,
	HOURS,
	HOURS_ALARM,
	WEEKDAY,
	DAY,
	MONTH,
	YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
	CENTURY = 0x32,
};
#define A_UIP	      0x80
#define A_DIVIDER     0x70
#define A_RATE	      0x0f
#define B_SET	      0x80
#define B_PIE	      0x40
#define B_AIE	      0x20
#define B_UIE	      0x10
#define B_BINARY      0x04
#define B_24H	      0x02
#define FLAG_IRQ      0x80
#define FLAG_PERIODIC 0x40
#define FLAG_ALARM    0x20
#define FLAG_UPDATE   0x10
#define PM	      0x80
#define ALARM_ANY     0xc0 /* alarm bytes c0h..ffh match everything */
#define UIP_NSEC      244000u
#define DAY_SECONDS   86400
#define LAST_SECOND   9000000000
#define NEVER	      (~0ull)

struct rtc {
	struct device dev;
	struct clock *clock;
	pthread_mutex_t lock;
	struct irq_line irq;
	struct timer timer;
	u8 index;
	u8 ram[128]; /* alarms and registers too */
	s64 offset; /* nanoseconds since 1970 at clock 0 */
	bool stopped;
	struct tm frozen; /* while stopped */
	u64 seen; /* clock up to which flags in C are up to date */
};

/* ---- calendar ---- */

/* Nanoseconds since 1970; never below 0, whatever date was set. */
static u64 wall(const struct rtc *r, u64 now)
{
	s64 t = (s64)now + r->offset;

	return t > 0 ? (u64)t : 0;
}

static struct tm calendar(const struct rtc *r, u64 now)
{
	time_t seconds = (time_t)(wall(r, now) / NSEC_PER_SEC);
	struct tm tm;

	if (r->stopped)
		return r->frozen;
	gmtime_r(&seconds, &tm);
	return tm;
}

static u8 encode(const struct rtc *r, unsigned n)
{
	return (u8)(r->ram[REG_B] & B_BINARY ? n : n / 10 << 4 | n % 10);
}

static unsigned decode(const struct rtc *r, u8 value)
{
	return r->ram[REG_B] & B_BINARY ? value : (value >> 4) * 10u + (value & 15);
}

static u8 encode_hour(const struct rtc *r, unsigned hour)
{
	if (r->ram[REG_B] & B_24H)
		return encode(r, hour);
	return encode(r, (hour + 11) % 12 + 1) | (hour >= 12 ? PM : 0);
}

static unsigned decode_hour(const struct rtc *r, u8 value)
{
	if (r->ram[REG_B] & B_24H)
		return decode(r, value);
	return decode(r, value & ~PM) % 12 + (value & PM ? 12 : 0);
}

static u8 read_calendar(const struct rtc *r, unsigned reg, u64 now)
{
	struct tm tm = calendar(r, now);

	switch (reg) {
	case SECONDS: return encode(r, (unsigned)tm.tm_sec);
	case MINUTES: return encode(r, (unsigned)tm.tm_min);
	case HOURS: return encode_hour(r, (unsigned)tm.tm_hour);
	case WEEKDAY: return encode(r, (unsigned)tm.tm_wday + 1);
	case DAY: return encode(r, (unsigned)tm.tm_mday);
	case MONTH: return encode(r, (unsigned)tm.tm_mon + 1);
	case YEAR: return encode(r, (unsigned)(tm.tm_year + 1900) % 100);
	default: return encode(r, (unsigned)(tm.tm_year + 1900) / 100);
	}
}

/* The clock now says tm plus `nsec`. What is no date (month 0, the 31st of June) is the date that timegm makes of
 * it. */
static void set_calendar(struct rtc *r, const struct tm *tm, u64 now, u64 nsec)
{
	struct tm copy = *tm;
	s64 seconds = (s64)timegm(&copy);

	/* Nanoseconds in 64 bits reach to the year 2262. */
	seconds = MAX(0, MIN(seconds, LAST_SECOND));
	r->offset = seconds * (s64)NSEC_PER_SEC + (s64)nsec - (s64)now;
}

static void write_calendar(struct rtc *r, unsigned reg, u8 value, u64 now)
{
	struct tm tm = calendar(r, now);
	int n = (int)decode(r, value);

	switch (reg) {
	case SECONDS: tm.tm_sec = n; break;
	case MINUTES: tm.tm_min = n; break;
	case HOURS: tm.tm_hour = (int)decode_hour(r, value); break;
	case WEEKDAY: return; /* follows from the date */
	case DAY: tm.tm_mday = n; break;
	case MONTH: tm.tm_mon = n - 1; break;
	case YEAR: tm.tm_year = (tm.tm_year + 1900) / 100 * 100 + n - 1900; break;
	default: tm.tm_year = n * 100 + (tm.tm_year + 1900) % 100 - 1900; break;
	}
	if (r->stopped)
		r->frozen = tm;
	else
		set_calendar(r, &tm, now, wall(r, now) % NSEC_PER_SEC);
}

/* ---- events ---- */

static u64 period(const struct rtc *r)
{
	unsigned rate = r->ram[REG_A] & A_RATE;

	if (!rate)
		return 0;
	/* Rates 1 and 2 are those of 8 and 9 (data sheet, table 5: 32.768 kHz time base). */
	return NSEC_PER_SEC * (1u << ((rate <= 2 ? rate + 7 : rate) - 1)) / 32768;
}

/* First multiple of `step` on the wall clock that lies after clock time `after`, in clock time. */
static u64 next_multiple(const struct rtc *r, u64 after, u64 step)
{
	return after + step - wall(r, after) % step;
}

/* What an alarm byte asks for; -1: anything will do. */
static int alarm_field(const struct rtc *r, unsigned reg)
{
	u8 alarm = r->ram[reg];

	if ((alarm & ALARM_ANY) == ALARM_ANY)
		return -1;
	return (int)(reg == HOURS_ALARM ? decode_hour(r, alarm) : decode(r, alarm));
}

static bool agrees(int field, u32 value)
{
	return field < 0 || (u32)field == value;
}

/* Clock time of the first alarm after `after`; NEVER if the alarm bytes name no time. Skips hours and minutes that
 * do not match. */
static u64 next_alarm(const struct rtc *r, u64 after)
{
	int hour = alarm_field(r, HOURS_ALARM), minute = alarm_field(r, MINUTES_ALARM);
	int second = alarm_field(r, SECONDS_ALARM);
	u64 first = next_multiple(r, after, NSEC_PER_SEC);
	u32 from = (u32)(wall(r, first) / NSEC_PER_SEC % DAY_SECONDS), passed = 0;

	if (hour > 23 || minute > 59 || second > 59)
		return NEVER;
	while (passed <= DAY_SECONDS) {
		u32 s = (from + passed) % DAY_SECONDS;

		if (!agrees(hour, s / 3600))
			passed += 3600 - s % 3600;
		else if (!agrees(minute, s / 60 % 60))
			passed += 60 - s % 60;
		else if (!agrees(second, s % 60))
			passed++;
		else
			return first + passed * NSEC_PER_SEC;
	}
	return NEVER;
}

/* Sets the flags for what has happened since the last look. */
static void collect(struct rtc *r, u64 now)
{
	u64 step = period(r);

	if (now <= r->seen)
		return;
	if (!r->stopped) {
		if (step && next_multiple(r, r->seen, step) <= now)
			r->ram[REG_C] |= FLAG_PERIODIC;
		if (next_multiple(r, r->seen, NSEC_PER_SEC) <= now)
			r->ram[REG_C] |= FLAG_UPDATE;
		if (next_alarm(r, r->seen) <= now)
			r->ram[REG_C] |= FLAG_ALARM;
	}
	r->seen = now;
}

/* Drives the line and arms the timer for the next event that is to interrupt. */
static void update(struct rtc *r)
{
	u8 b = r->ram[REG_B], enabled = b & (B_PIE | B_AIE | B_UIE);
	u64 next = NEVER;

	if (r->ram[REG_C] & enabled)
		r->ram[REG_C] |= FLAG_IRQ;
	else
		r->ram[REG_C] &= ~FLAG_IRQ;
	irq_set(&r->irq, r->ram[REG_C] & FLAG_IRQ);
	if (!r->stopped && !(r->ram[REG_C] & FLAG_IRQ)) {
		if (b & B_PIE && period(r))
			next = next_multiple(r, r->seen, period(r));
		if (b & B_UIE)
			next = MIN(next, next_multiple(r, r->seen, NSEC_PER_SEC));
		if (b & B_AIE)
			next = MIN(next, next_alarm(r, r->seen));
	}
	if (next == NEVER)
		timer_cancel(r->clock, &r->timer);
	else
		timer_arm(r->clock, &r->timer, next);
}

static void due(void *arg, u64 now)
{
	struct rtc *r = arg;

	pthread_mutex_lock(&r->lock);
	collect(r, now);
	update(r);
	pthread_mutex_unlock(&r->lock);
}

/* ---- registers ---- */

/* The calendar stands still while SET is on, and while the divider is held in reset: the first update comes half a
 * second after its release (data sheet, "Divider control"). */
static void control_changed(struct rtc *r, u64 now, u8 old_a)
{
	bool divider_held = (r->ram[REG_A] & 0x60) == 0x60;
	bool stop = r->ram[REG_B] & B_SET || divider_held;
	u64 nsec = (old_a & 0x60) == 0x60 && !divider_held ? NSEC_PER_SEC / 2 : 0;

	if (stop && !r->stopped) {
		r->frozen = calendar(r, now);
		r->stopped = true;
	} else if (!stop && r->stopped) {
		r->stopped = false;
		set_calendar(r, &r->frozen, now, nsec);
	}
}

static u8 read_reg(struct rtc *r, unsigned reg, u64 now)
{
	u8 value;

	switch (reg) {
	case SECONDS:
	case MINUTES:
	case HOURS:
	case WEEKDAY ... YEAR:
	case CENTURY: return read_calendar(r, reg, now);
	case REG_A:
		value = r->ram[REG_A];
		if (!r->stopped && NSEC_PER_SEC - wall(r, now) % NSEC_PER_SEC <= UIP_NSEC)
			value |= A_UIP;
		return value;
	case REG_C:
		update(r);
		value = r->ram[REG_C];
		r->ram[REG_C] = 0;
		update(r);
		return value;
	default: return r->ram[reg];
	}
}

static void write_reg(struct rtc *r, unsigned reg, u8 value, u64 now)
{
	u8 old_a = r->ram[REG_A];

	switch (reg) {
	case SECONDS:
	case MINUTES:
	case HOURS:
	case WEEKDAY ... YEAR:
	case CENTURY: write_calendar(r, reg, value, now); break;
	case REG_C:
	case REG_D: return;
	case REG_A: value &= ~A_UIP; /* fall through */
	default: r->ram[reg] = value;
	}
	if (reg == REG_B && value & B_SET)
		r->ram[REG_B] &= ~B_UIE;
	if (reg == REG_A || reg == REG_B)
		control_changed(r, now, old_a);
	if (reg < REG_D || reg == CENTURY)
		update(r);
}

static u64 read_port(void *dev, u64 offset, unsigned size)
{
	struct rtc *r = dev;
	u64 now;
	u8 value = 0xff; /* the index cannot be read back */

	if (!offset)
		return value;
	pthread_mutex_lock(&r->lock);
	now = clock_now(r->clock);
	collect(r, now);
	value = read_reg(r, r->index, now);
	pthread_mutex_unlock(&r->lock);
	return value;
}

static void write_port(void *dev, u64 offset, unsigned size, u64 value)
{
	struct rtc *r = dev;
	u64 now;

	pthread_mutex_lock(&r->lock);
	now = clock_now(r->clock);
	collect(r, now);
	if (offset)
		write_reg(r, r->index, (u8)value, now);
	else
		r->index = value & 0x7f;
	pthread_mutex_unlock(&r->lock);
}

static const struct region_ops ports = { read_port, write_port };

void rtc_set_cmos(struct device *d, u8 index, u8 value)
{
	struct rtc *r = container_of(d, struct rtc, dev);

	pthread_mutex_lock(&r->lock);
	if (index > REG_D && index < sizeof(r->ram))
		r->ram[index] = value;
	pthread_mutex_unlock(&r->lock);
}

/* What PC firmware leaves in CMOS about memory: KiB below 640 K, KiB above 1 M, 64 KiB above 16 M, 64 KiB above 4 G. */
static void describe_ram(struct rtc *r, const struct machine *m)
{
	u64 above_1m = m->low_size > BIT(20) ? MIN((m->low_size - BIT(20)) >> 10, 0xffff) : 0;
	u64 above_16m = m->low_size > BIT(24) ? MIN((m->low_size - BIT(24)) >> 16, 0xffff) : 0;
	u64 above_4g = MIN(m->high_size >> 16, 0xffffff);
	const u8 bytes[][2] = {
		{ 0x15, 640 & 0xff },	  { 0x16, 640 >> 8 },
		{ 0x17, (u8)above_1m },	  { 0x18, (u8)(above_1m >> 8) },
		{ 0x30, (u8)above_1m },	  { 0x31, (u8)(above_1m >> 8) },
		{ 0x34, (u8)above_16m },  { 0x35, (u8)(above_16m >> 8) },
		{ 0x5b, (u8)above_4g },	  { 0x5c, (u8)(above_4g >> 8) },
		{ 0x5d, above_4g >> 16 }, { 0x5f, (u8)(m->config.cpus - 1) },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
		r->ram[bytes[i][0]] = bytes[i][1];
}

/* The reset pin leaves time, alarm and RAM alone. */
static void reset(struct device *d)
{
	struct rtc *r = container_of(d, struct rtc, dev);

	pthread_mutex_lock(&r->lock);
	r->ram[REG_B] &= ~(B_PIE | B_AIE | B_UIE | 0x08);
	r->ram[REG_C] = 0;
	update(r);
	pthread_mutex_unlock(&r->lock);
}

static void destroy(struct device *d)
{
	struct rtc *r = container_of(d, struct rtc, dev);

	timer_cancel(r->clock, &r->timer);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static const struct device_ops rtc_ops = { .name = "rtc", .reset = reset, .destroy = destroy };

struct device *rtc_new(struct machine *m, struct irq_line irq, struct error *err)
{
	struct rtc *r = calloc(1, sizeof(*r));
	const struct region region = { 0x70, 2, &ports, r, "rtc", 1 };

	if (!r) {
		error_set(err, ENOMEM, "no memory for the real-time clock");
		return NULL;
	}
	r->dev.ops = &rtc_ops;
	r->clock = m->clock;
	r->irq = irq;
	r->timer = (struct timer){ .deadline = NEVER, .fire = due, .arg = r };
	r->offset = (s64)(clock_wall_start(m->clock) * NSEC_PER_SEC);
	r->seen = clock_now(m->clock);
	r->ram[REG_A] = 0x26; /* 32.768 kHz, 1024 Hz */
	r->ram[REG_B] = B_24H;
	r->ram[REG_D] = 0x80;
	pthread_mutex_init(&r->lock, NULL);
	describe_ram(r, m);
	reset(&r->dev);
	if (bus_add(&m->pio, &region, err)) {
		destroy(&r->dev);
		return NULL;
	}
	return &r->dev;
}
