/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kvm-unit-tests expect of a machine beside the debug-exit port: the registers of QEMU's pc-testdev.
 *
 *   e0h         four bytes that read back what was written    e4h   a page of which the host is to forget its mapping: nothing
 *   2000h + n   interrupt line n is driven with the value     ff000000h   64 KiB of device memory that read back
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/devices.h"

#define DATA_PORT   0xe0
#define FLUSH_PORT  0xe4
#define LINE_PORT   0x2000
#define MEMORY_BASE 0xff000000ull
#define MEMORY_SIZE 0x10000u
#define ISA_LINES   16

struct test_ports {
	struct device dev;
	struct irq_line line[IOAPIC_PINS];
	pthread_mutex_t lock;
	u8 data[8];
	u8 memory[MEMORY_SIZE];
};

static u64 load(struct test_ports *t, const u8 *at, unsigned size)
{
	u64 value = 0;

	pthread_mutex_lock(&t->lock);
	memcpy(&value, at, size);
	pthread_mutex_unlock(&t->lock);
	return value;
}

static void store(struct test_ports *t, u8 *at, unsigned size, u64 value)
{
	pthread_mutex_lock(&t->lock);
	memcpy(at, &value, size);
	pthread_mutex_unlock(&t->lock);
}

static u64 read_data(void *dev, u64 offset, unsigned size)
{
	struct test_ports *t = dev;

	return load(t, t->data + offset, size);
}

static void write_data(void *dev, u64 offset, unsigned size, u64 value)
{
	struct test_ports *t = dev;

	store(t, t->data + offset, size, value);
}

static u64 read_memory(void *dev, u64 offset, unsigned size)
{
	struct test_ports *t = dev;

	return load(t, t->memory + offset, size);
}

static void write_memory(void *dev, u64 offset, unsigned size, u64 value)
{
	struct test_ports *t = dev;

	store(t, t->memory + offset, size, value);
}

static void write_line(void *dev, u64 offset, unsigned size, u64 value)
{
	irq_set(&((struct test_ports *)dev)->line[offset], value);
}

static const struct region_ops data_ops = { read_data, write_data };
static const struct region_ops flush_ops = { NULL, NULL };
static const struct region_ops line_ops = { NULL, write_line };
static const struct region_ops memory_ops = { read_memory, write_memory };

static void reset(struct device *d)
{
	struct test_ports *t = container_of(d, struct test_ports, dev);

	for (unsigned n = 0; n < IOAPIC_PINS; n++)
		irq_set(&t->line[n], false);
	pthread_mutex_lock(&t->lock);
	memset(t->data, 0, sizeof(t->data));
	memset(t->memory, 0, sizeof(t->memory));
	pthread_mutex_unlock(&t->lock);
}

static void destroy(struct device *d)
{
	struct test_ports *t = container_of(d, struct test_ports, dev);

	pthread_mutex_destroy(&t->lock);
	free(t);
}

static const struct device_ops test_ports_ops = { .name = "test-ports", .reset = reset, .destroy = destroy };

static int add_regions(struct test_ports *t, struct machine *m, struct error *err)
{
	const struct region ports[] = {
		{ DATA_PORT, 4, &data_ops, t, "test data", 0 },
		{ FLUSH_PORT, 4, &flush_ops, t, "test flush", 0 },
		{ LINE_PORT, IOAPIC_PINS, &line_ops, t, "test lines", 1 },
	};
	const struct region memory = { MEMORY_BASE, MEMORY_SIZE, &memory_ops, t, "test memory", 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++)
		if (bus_add(&m->pio, &ports[i], err))
			return -1;
	return bus_add(&m->mmio, &memory, err);
}

struct device *test_ports_new(struct machine *m, struct device *intc, struct error *err)
{
	struct test_ports *t = calloc(1, sizeof(*t));

	if (!t) {
		error_set(err, ENOMEM, "no memory for the test ports");
		return NULL;
	}
	t->dev.ops = &test_ports_ops;
	pthread_mutex_init(&t->lock, NULL);
	for (unsigned n = 0; n < IOAPIC_PINS; n++)
		t->line[n] = n < ISA_LINES ? intc_isa_line(intc, n) : intc_pin_line(intc, n);
	if (add_regions(t, m, err)) {
		destroy(&t->dev);
		return NULL;
	}
	return &t->dev;
}
