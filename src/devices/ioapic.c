/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O APIC with 24 pins (Intel 82093AA, with the EOI register of later ones).
 *
 *   +00h  IOREGSEL, index of the register that IOWIN shows
 *   +10h  IOWIN     00h ID   01h version   02h arbitration   10h + 2n, 11h + 2n redirection of pin n
 *   +40h  EOI       as a broadcast from a local APIC: bits 7:0 are the vector
 *
 * A line carries "asserted", not a voltage: the polarity bit is kept for the guest and changes nothing, so that no
 * wiring depends on what the firmware tables call the polarity. An edge on a masked pin is lost, as on the chip.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/intc.h"

#define REG_SELECT 0x00
#define REG_WINDOW 0x10
#define REG_EOI	   0x40
#define VERSION	   ((IOAPIC_PINS - 1) << 16 | 0x20)

#define RED_LOGICAL    BIT(11)
#define RED_REMOTE_IRR BIT(14)
#define RED_LEVEL      BIT(15)
#define RED_MASK       BIT(16)
#define RED_WRITABLE   0xff0000000001afffull

struct ioapic {
	struct device dev;
	struct intc *intc;
	pthread_mutex_t lock;
	u8 select, id, default_id;
	u32 lines;
	u64 redirection[IOAPIC_PINS];
};

/* Sends pin's message. Remote IRR waits for an EOI, and so belongs to messages that get one. */
static void send(struct ioapic *a, unsigned pin)
{
	u64 r = a->redirection[pin];
	struct apic_message msg = {
		.dest = apic_dest8((u32)(r >> 56)),
		.logical = r & RED_LOGICAL,
		.level = r & RED_LEVEL,
		.mode = r >> 8 & 7,
		.vector = (u8)r,
	};
	bool taken = intc_send(a->intc, &msg, NULL);

	if (taken && msg.level && msg.mode <= DM_LOWEST)
		a->redirection[pin] |= RED_REMOTE_IRR;
}

static void serve_level(struct ioapic *a, unsigned pin)
{
	if ((a->redirection[pin] & (RED_LEVEL | RED_MASK | RED_REMOTE_IRR)) == RED_LEVEL && a->lines >> pin & 1)
		send(a, pin);
}

void ioapic_set_pin(struct device *d, unsigned pin, bool level)
{
	struct ioapic *a = container_of(d, struct ioapic, dev);
	bool rises;

	if (pin >= IOAPIC_PINS)
		return;
	pthread_mutex_lock(&a->lock);
	rises = level && !(a->lines >> pin & 1);
	a->lines = level ? a->lines | 1u << pin : a->lines & ~(1u << pin);
	if (rises && !(a->redirection[pin] & (RED_LEVEL | RED_MASK)))
		send(a, pin);
	else
		serve_level(a, pin);
	pthread_mutex_unlock(&a->lock);
}

static void eoi_locked(struct ioapic *a, u8 vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		if (!(a->redirection[pin] & RED_REMOTE_IRR) || (u8)a->redirection[pin] != vector)
			continue;
		a->redirection[pin] &= ~RED_REMOTE_IRR;
		serve_level(a, pin);
	}
}

void ioapic_eoi(struct device *d, u8 vector)
{
	struct ioapic *a = container_of(d, struct ioapic, dev);

	pthread_mutex_lock(&a->lock);
	eoi_locked(a, vector);
	pthread_mutex_unlock(&a->lock);
}

static u32 read_window(const struct ioapic *a)
{
	unsigned n = a->select;

	switch (n) {
	case 0:
	case 2: return (u32)a->id << 24;
	case 1: return VERSION;
	}
	if (n < 0x10 || n >= 0x10 + 2 * IOAPIC_PINS)
		return 0;
	return (u32)(a->redirection[(n - 0x10) / 2] >> (n & 1 ? 32 : 0));
}

static void write_window(struct ioapic *a, u32 value)
{
	unsigned n = a->select, pin = (n - 0x10) / 2;
	u64 r;

	if (n == 0)
		a->id = value >> 24 & 0xf;
	if (n < 0x10 || pin >= IOAPIC_PINS)
		return;
	r = a->redirection[pin];
	r = n & 1 ? (u32)r | (u64)value << 32 : (r & ~0xffffffffull) | value;
	a->redirection[pin] = (r & RED_WRITABLE) | (a->redirection[pin] & RED_REMOTE_IRR);
	/* Going through edge mode is how old drivers clear a stuck remote IRR. */
	if (!(r & RED_LEVEL))
		a->redirection[pin] &= ~RED_REMOTE_IRR;
	serve_level(a, pin);
}

static u64 read_mmio(void *dev, u64 offset, unsigned size)
{
	struct ioapic *a = dev;
	u64 value = 0;

	pthread_mutex_lock(&a->lock);
	if (offset == REG_SELECT)
		value = a->select;
	else if (offset == REG_WINDOW)
		value = read_window(a);
	pthread_mutex_unlock(&a->lock);
	return value;
}

static void write_mmio(void *dev, u64 offset, unsigned size, u64 value)
{
	struct ioapic *a = dev;

	pthread_mutex_lock(&a->lock);
	if (offset == REG_SELECT)
		a->select = (u8)value;
	else if (offset == REG_WINDOW)
		write_window(a, (u32)value);
	else if (offset == REG_EOI)
		eoi_locked(a, (u8)value);
	pthread_mutex_unlock(&a->lock);
}

void ioapic_save(struct device *d, struct ioapic_state *s)
{
	struct ioapic *a = container_of(d, struct ioapic, dev);

	pthread_mutex_lock(&a->lock);
	s->select = a->select;
	s->id = a->id;
	s->lines = a->lines;
	memcpy(s->redirection, a->redirection, sizeof(s->redirection));
	pthread_mutex_unlock(&a->lock);
}

void ioapic_load(struct device *d, const struct ioapic_state *s, bool idle)
{
	struct ioapic *a = container_of(d, struct ioapic, dev);

	pthread_mutex_lock(&a->lock);
	a->select = s->select;
	a->id = s->id & 0xf;
	a->lines = s->lines;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		a->redirection[pin] = s->redirection[pin] & (RED_WRITABLE | RED_REMOTE_IRR);
		if (!idle)
			serve_level(a, pin);
	}
	pthread_mutex_unlock(&a->lock);
}

static const struct region_ops mmio = { read_mmio, write_mmio };

static void reset(struct device *d)
{
	struct ioapic *a = container_of(d, struct ioapic, dev);

	pthread_mutex_lock(&a->lock);
	a->select = 0;
	a->id = a->default_id;
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		a->redirection[i] = RED_MASK;
	pthread_mutex_unlock(&a->lock);
}

static void destroy(struct device *d)
{
	struct ioapic *a = container_of(d, struct ioapic, dev);

	pthread_mutex_destroy(&a->lock);
	free(a);
}

static void info(struct device *d, struct text *out)
{
	struct ioapic *a = container_of(d, struct ioapic, dev);

	pthread_mutex_lock(&a->lock);
	text_printf(out, "I/O APIC: ID %u, lines %06x\n", a->id, a->lines);
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		u64 r = a->redirection[i];

		if (!(r & RED_MASK))
			text_printf(out, "    pin %2u: vector %02x to %02x%s, mode %u, %s%s\n", i, (unsigned)(r & 0xff),
				    (unsigned)(r >> 56), r & RED_LOGICAL ? " (logical)" : "", (unsigned)(r >> 8 & 7),
				    r & RED_LEVEL ? "level" : "edge", r & RED_REMOTE_IRR ? ", awaits EOI" : "");
	}
	pthread_mutex_unlock(&a->lock);
}

static const struct device_ops ioapic_ops = { .name = "ioapic", .reset = reset, .destroy = destroy, .info = info };

struct device *ioapic_new(struct machine *m, struct intc *c, struct error *err)
{
	struct ioapic *a = calloc(1, sizeof(*a));
	const struct region region = { IOAPIC_BASE, PAGE_SIZE, &mmio, a, "ioapic", 0 };

	if (!a) {
		error_set(err, ENOMEM, "no memory for the I/O APIC");
		return NULL;
	}
	a->dev.ops = &ioapic_ops;
	a->intc = c;
	a->default_id = (u8)(m->config.cpus & 0xf);
	pthread_mutex_init(&a->lock, NULL);
	reset(&a->dev);
	if (bus_add(&m->mmio, &region, err)) {
		destroy(&a->dev);
		return NULL;
	}
	return &a->dev;
}
