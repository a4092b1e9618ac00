/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI fixed hardware (ACPI 6.5, 4.8), the reset register and the APM ports.
 *
 *   600h PM1 status (write 1 to clear)   602h PM1 enable   604h PM1 control   608h timer, 3.579545 MHz, 32 bits
 *   cf9h reset register                  b2h, b3h APM control and status: latches; no SMI comes of them
 *
 * The machine is always in ACPI mode, so SCI_EN is hard-wired to 1. Of the sleep states only S5 exists. The reset register
 * lies among the ports of PCI configuration, whose owner passes accesses on (acpi_pm_reset_register()): a dword written to
 * cf8h must not reach cf9h as a byte of its own.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/devices.h"

#define STS_TIMER	 0x0001
#define STS_GLOBAL	 0x0020
#define STS_POWER_BUTTON 0x0100
#define STS_ALL		 0x8731 /* WAK, RTC, sleep and power button, GBL, BM, TMR */
#define ENABLE_ALL	 0x0721
#define CNT_SCI_EN	 0x0001
#define CNT_KEPT	 0x1c03 /* SLP_TYP, BM_RLD */
#define CNT_SLP_EN	 0x2000
#define RESET_CPU	 0x04
#define TIMER_HZ	 3579545u
#define HALF_TURN	 BIT(31) /* ticks after which the top bit changes, which is when TMR_STS is set */

struct acpi_pm {
	struct device dev;
	struct machine *machine;
	pthread_mutex_t lock;
	struct irq_line sci;
	struct timer timer;
	u16 status, enable, control;
	u64 half_turns; /* seen in status */
	u8 reset_reg;
	u8 apm[2];
};

static u64 ticks(const struct acpi_pm *p)
{
	return (u64)((u128)clock_now(p->machine->clock) * TIMER_HZ / NSEC_PER_SEC);
}

/* Brings TMR_STS up to date, drives the SCI, and sees to it that the timer's carry is noticed when it is to
 * interrupt. */
static void update(struct acpi_pm *p)
{
	u64 turns = ticks(p) / HALF_TURN, next;

	if (turns != p->half_turns)
		p->status |= STS_TIMER;
	p->half_turns = turns;
	irq_set(&p->sci, p->status & p->enable);
	if (!(p->enable & STS_TIMER))
		return;
	next = (u64)(((u128)(turns + 1) * HALF_TURN * NSEC_PER_SEC + TIMER_HZ - 1) / TIMER_HZ);
	timer_arm(p->machine->clock, &p->timer, next);
}

static void carry(void *arg, u64 now)
{
	struct acpi_pm *p = arg;

	pthread_mutex_lock(&p->lock);
	update(p);
	pthread_mutex_unlock(&p->lock);
}

static u64 read_event(void *dev, u64 offset, unsigned size)
{
	struct acpi_pm *p = dev;
	u32 both;

	pthread_mutex_lock(&p->lock);
	update(p);
	both = p->status | (u32)p->enable << 16;
	pthread_mutex_unlock(&p->lock);
	return both >> (8 * offset);
}

static void write_event(void *dev, u64 offset, unsigned size, u64 value)
{
	struct acpi_pm *p = dev;
	unsigned shift = 8 * (offset & 1);

	pthread_mutex_lock(&p->lock);
	update(p);
	if (offset < 2)
		p->status &= ~(value << shift);
	else
		p->enable = ((p->enable & ~(0xff << shift)) | (value & 0xff) << shift) & ENABLE_ALL;
	update(p);
	pthread_mutex_unlock(&p->lock);
}

static u64 read_control(void *dev, u64 offset, unsigned size)
{
	struct acpi_pm *p = dev;
	u16 value;

	pthread_mutex_lock(&p->lock);
	value = p->control | CNT_SCI_EN;
	pthread_mutex_unlock(&p->lock);
	return value >> (8 * offset);
}

/* SLP_TYP and SLP_EN are in one byte. SLP_EN is write-only. */
static void write_control(void *dev, u64 offset, unsigned size, u64 value)
{
	struct acpi_pm *p = dev;
	unsigned shift = 8 * (unsigned)offset;
	u16 control;

	pthread_mutex_lock(&p->lock);
	control = (u16)((p->control & ~(0xff << shift)) | (value & 0xff) << shift);
	p->control = control & CNT_KEPT;
	pthread_mutex_unlock(&p->lock);
	if (control & CNT_SLP_EN && (control >> 10 & 7) == PM_S5_TYPE)
		machine_end(p->machine, END_POWEROFF, 0);
}

static u64 read_timer(void *dev, u64 offset, unsigned size)
{
	return (u32)ticks(dev) >> (8 * offset);
}

static u64 read_reset(void *dev, u64 offset, unsigned size)
{
	struct acpi_pm *p = dev;

	return p->reset_reg;
}

static void write_reset(void *dev, u64 offset, unsigned size, u64 value)
{
	struct acpi_pm *p = dev;

	p->reset_reg = value & 0x0a;
	if (value & RESET_CPU)
		machine_end(p->machine, END_REBOOT, 0);
}

static u64 read_apm(void *dev, u64 offset, unsigned size)
{
	return ((struct acpi_pm *)dev)->apm[offset];
}

static void write_apm(void *dev, u64 offset, unsigned size, u64 value)
{
	((struct acpi_pm *)dev)->apm[offset] = (u8)value;
}

static const struct region_ops event_ops = { read_event, write_event };
static const struct region_ops control_ops = { read_control, write_control };
static const struct region_ops timer_ops = { read_timer, NULL };
static const struct region_ops reset_ops = { read_reset, write_reset };
static const struct region_ops apm_ops = { read_apm, write_apm };

void acpi_pm_power_button(struct device *d)
{
	struct acpi_pm *p = container_of(d, struct acpi_pm, dev);

	pthread_mutex_lock(&p->lock);
	p->status |= STS_POWER_BUTTON;
	update(p);
	pthread_mutex_unlock(&p->lock);
}

static void reset(struct device *d)
{
	struct acpi_pm *p = container_of(d, struct acpi_pm, dev);

	pthread_mutex_lock(&p->lock);
	p->status = p->enable = p->control = 0;
	p->reset_reg = 0;
	p->half_turns = ticks(p) / HALF_TURN;
	update(p);
	pthread_mutex_unlock(&p->lock);
}

static void destroy(struct device *d)
{
	struct acpi_pm *p = container_of(d, struct acpi_pm, dev);

	timer_cancel(p->machine->clock, &p->timer);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

struct region acpi_pm_reset_register(struct device *d)
{
	return (struct region){ RESET_PORT, 1, &reset_ops, container_of(d, struct acpi_pm, dev), "reset register", 1 };
}

static const struct device_ops acpi_pm_ops = { .name = "acpi-pm", .reset = reset, .destroy = destroy };

static int add_ports(struct acpi_pm *p, struct error *err)
{
	const struct region regions[] = {
		{ PM1_EVENT_PORT, 4, &event_ops, p, "pm1 event", 1 },
		{ PM1_CONTROL_PORT, 2, &control_ops, p, "pm1 control", 1 },
		{ PM_TIMER_PORT, 4, &timer_ops, p, "pm timer", 0 },
		{ 0xb2, 2, &apm_ops, p, "apm", 1 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(regions); i++)
		if (bus_add(&p->machine->pio, &regions[i], err))
			return -1;
	return 0;
}

struct device *acpi_pm_new(struct machine *m, struct irq_line sci, struct error *err)
{
	struct acpi_pm *p = calloc(1, sizeof(*p));

	if (!p) {
		error_set(err, ENOMEM, "no memory for the power management device");
		return NULL;
	}
	p->dev.ops = &acpi_pm_ops;
	p->machine = m;
	p->sci = sci;
	p->timer = (struct timer){ .deadline = ~0ull, .fire = carry, .arg = p };
	pthread_mutex_init(&p->lock, NULL);
	reset(&p->dev);
	if (add_ports(p, err)) {
		destroy(&p->dev);
		return NULL;
	}
	return &p->dev;
}
