/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI bus: functions and their configuration space, by ports and by memory.
 *
 *   cf8h  dword  31 enable, 23:16 bus, 15:8 device and function, 7:2 register    cfch..cffh  that register
 *   ECAM  bus << 20 | device and function << 12 | register (PCI Express Base 3.0, 7.2.2); where is the host bridge's affair
 *
 * Only a dword at cf8h is the address register (PCI Local Bus 3.0, 3.2.2.3.2); the byte at cf9h is the chip set's reset
 * register. There is one bus, without bridges to others, and no function has extended configuration space.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/pci/bus.h"

#define CONFIG_PORTS   0xcf8
#define CONFIG_DATA    4 /* from there */
#define ADDRESS_ENABLE BIT(31)
#define FIRST_CAP      0x40
#define COMMAND_BITS                                                                                        \
	(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR | \
	 PCI_COMMAND_INTX_DISABLE)

/* ---- configuration space ---- */

static bool writes_decoding(const struct pci_function *f, u32 offset, unsigned size)
{
	return offset < PCI_BASE_ADDRESS_5 + 4 && offset + size > PCI_COMMAND;
}

/* One aligned register, or a part of it: never more than a dword, never over its end. */
static u32 read_register(struct pci_bus *b, u32 devfn, u32 offset, unsigned size)
{
	struct pci_function *f = devfn < PCI_FUNCTIONS ? b->function[devfn] : NULL;
	u32 value = 0;

	if (!f || offset >= PCI_CONFIG_SIZE)
		return ~0u;
	if (f->info->config_read)
		f->info->config_read(f->arg, offset, size);
	pthread_mutex_lock(&f->lock);
	memcpy(&value, f->config + offset, size);
	pthread_mutex_unlock(&f->lock);
	return value;
}

static void write_register(struct pci_bus *b, u32 devfn, u32 offset, unsigned size, u32 value)
{
	struct pci_function *f = devfn < PCI_FUNCTIONS ? b->function[devfn] : NULL;

	if (!f || offset >= PCI_CONFIG_SIZE)
		return;
	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < size; i++) {
		u8 *to = &f->config[offset + i], mask = f->writable[offset + i];

		*to = (u8)((*to & ~mask) | (value >> 8 * i & mask));
	}
	pthread_mutex_unlock(&f->lock);
	if (writes_decoding(f, offset, size))
		window_map_again(b);
	interrupts_update(f);
	if (f->info->config_write)
		f->info->config_write(f->arg, offset, size);
}

/* The largest aligned piece that may go at once. */
static unsigned piece(u32 offset, unsigned size)
{
	unsigned n = 4;

	while (n > size || offset % n)
		n /= 2;
	return n;
}

u64 config_read(struct pci_bus *b, u32 devfn, u32 offset, unsigned size)
{
	u64 value = 0;

	pthread_mutex_lock(&b->config_lock);
	for (unsigned i = 0, n; i < size; i += n) {
		n = piece(offset + i, size - i);
		value |= (read_register(b, devfn, offset + i, n) & (~0ull >> (64 - 8 * n))) << 8 * i;
	}
	pthread_mutex_unlock(&b->config_lock);
	return value;
}

void config_write(struct pci_bus *b, u32 devfn, u32 offset, unsigned size, u64 value)
{
	pthread_mutex_lock(&b->config_lock);
	for (unsigned i = 0, n; i < size; i += n) {
		n = piece(offset + i, size - i);
		write_register(b, devfn, offset + i, n, (u32)(value >> 8 * i));
	}
	pthread_mutex_unlock(&b->config_lock);
}

/* ---- ports ---- */

static u32 read_address(struct pci_bus *b)
{
	u32 value;

	pthread_mutex_lock(&b->config_lock);
	value = b->address;
	pthread_mutex_unlock(&b->config_lock);
	return value;
}

/* Where the data ports lead; false: nowhere. */
static bool addressed(struct pci_bus *b, u32 *devfn, u32 *offset)
{
	u32 address = read_address(b);

	*devfn = address >> 8 & 0xff;
	*offset += address & 0xfc;
	return address & ADDRESS_ENABLE && !(address >> 16 & 0xff);
}

static const struct region *reset_register(const struct pci_bus *b, u64 port, unsigned size)
{
	const struct region *r = &b->reset_register;

	return r->ops && port == r->base && size == 1 ? r : NULL;
}

static u64 read_port(void *dev, u64 at, unsigned size)
{
	struct pci_bus *b = dev;
	const struct region *r = reset_register(b, CONFIG_PORTS + at, size);
	u32 devfn, offset = (u32)at - CONFIG_DATA;

	if (r)
		return r->ops->read(r->dev, 0, 1);
	if (at < CONFIG_DATA)
		return at == 0 && size == 4 ? read_address(b) : ~0ull;
	return addressed(b, &devfn, &offset) ? config_read(b, devfn, offset, size) : ~0ull;
}

static void write_port(void *dev, u64 at, unsigned size, u64 value)
{
	struct pci_bus *b = dev;
	const struct region *r = reset_register(b, CONFIG_PORTS + at, size);
	u32 devfn, offset = (u32)at - CONFIG_DATA;

	if (r) {
		r->ops->write(r->dev, 0, 1, value);
	} else if (at >= CONFIG_DATA) {
		if (addressed(b, &devfn, &offset))
			config_write(b, devfn, offset, size, value);
	} else if (at == 0 && size == 4) {
		pthread_mutex_lock(&b->config_lock);
		b->address = (u32)value & ~3u;
		pthread_mutex_unlock(&b->config_lock);
	}
}

static const struct region_ops ports = { read_port, write_port };

void pci_set_reset_register(struct device *bus, const struct region *r)
{
	container_of(bus, struct pci_bus, dev)->reset_register = *r;
}

void pci_set_irqs(struct device *bus, const u8 irq[4])
{
	memcpy(container_of(bus, struct pci_bus, dev)->irq, irq, 4);
}

/* ---- functions ---- */

static void put16(u8 *config, unsigned offset, u32 value)
{
	*(u16_una *)(config + offset) = (u16)value;
}

/* Type 0 header (PCI Local Bus 3.0, 6.1). Decoding is on, as a BIOS leaves it; bus mastering is the driver's to turn on. */
static void write_header(struct pci_function *f)
{
	const struct pci_info *i = f->info;
	u8 *c = f->config;

	put16(c, PCI_VENDOR_ID, i->vendor);
	put16(c, PCI_DEVICE_ID, i->device);
	put16(c, PCI_SUBSYSTEM_VENDOR_ID, i->subsystem_vendor);
	put16(c, PCI_SUBSYSTEM_ID, i->subsystem);
	c[PCI_REVISION_ID] = i->revision;
	c[PCI_CLASS_PROG] = (u8)i->class;
	put16(c, PCI_CLASS_DEVICE, i->class >> 8);
	put16(c, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	put16(f->writable, PCI_COMMAND, COMMAND_BITS);
	f->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	f->writable[PCI_LATENCY_TIMER] = 0xff;
	f->writable[PCI_INTERRUPT_LINE] = 0xff;
	if (i->intx) {
		c[PCI_INTERRUPT_PIN] = 1;
		c[PCI_INTERRUPT_LINE] = f->bus->irq[(f->devfn >> 3) & 3];
	}
}

/* Bit 7 of function 0's header type says that there are others (6.2.1). */
static void mark_multifunction(struct pci_bus *b, u8 devfn)
{
	unsigned first = devfn & ~7u, others = 0;

	for (unsigned i = 1; i < 8; i++)
		others += b->function[first + i] != NULL;
	if (others && b->function[first]) {
		b->function[first]->config[PCI_HEADER_TYPE] |= 0x80;
		b->function[first]->at_reset[PCI_HEADER_TYPE] |= 0x80;
	}
}

static int find_slot(struct pci_bus *b, int devfn, struct error *err)
{
	if (devfn >= 0 && devfn < (int)PCI_FUNCTIONS && !b->function[devfn])
		return devfn;
	if (devfn >= 0)
		return error_set(err, EEXIST, "PCI function %02x.%x is taken", devfn >> 3, devfn & 7);
	for (int i = 8; i < (int)PCI_FUNCTIONS; i += 8)
		if (!b->function[i])
			return i;
	return error_set(err, ENOSPC, "all places on the PCI bus are taken");
}

static int init_function(struct pci_function *f, struct error *err)
{
	int r = 0;

	write_header(f);
	f->caps_end = FIRST_CAP;
	memcpy(f->bar, f->info->bar, sizeof(f->bar));
	if (f->info->msix_vectors)
		r = msix_init(f, err);
	if (f->info->msi)
		msi_init(f);
	for (unsigned i = 0; i < PCI_BARS && !r; i++)
		if (f->bar[i].kind != BAR_NONE)
			r = bar_init(f, i, err);
	memcpy(f->at_reset, f->config, sizeof(f->config));
	return r;
}

static void free_function(struct pci_function *f)
{
	if (!f)
		return;
	pthread_mutex_destroy(&f->lock);
	free(f->msix_table);
	free(f->msix_pending);
	free(f->doorbell);
	free(f);
}

struct pci_function *pci_add(struct device *bus, int devfn, const struct pci_info *info, void *arg, struct error *err)
{
	struct pci_bus *b = container_of(bus, struct pci_bus, dev);
	struct pci_function *f;

	devfn = find_slot(b, devfn, err);
	if (devfn < 0)
		return NULL;
	f = calloc(1, sizeof(*f));
	if (!f) {
		error_set(err, ENOMEM, "no memory for PCI function %s", info->name);
		return NULL;
	}
	f->bus = b;
	f->info = info;
	f->arg = arg;
	f->devfn = (u8)devfn;
	pthread_mutex_init(&f->lock, NULL);
	if (init_function(f, err)) {
		error_wrap(err, "PCI function %s", info->name);
		free_function(f);
		return NULL;
	}
	b->function[devfn] = f;
	mark_multifunction(b, f->devfn);
	window_map_again(b);
	return f;
}

void pci_remove(struct pci_function *f)
{
	struct pci_bus *b = f->bus;

	pci_intx_set(f, false);
	b->function[f->devfn] = NULL;
	window_map_again(b);
	free_function(f);
}

unsigned pci_add_capability(struct pci_function *f, u8 id, const void *data, unsigned len, const u8 *writable)
{
	unsigned at = f->caps_end;

	if (len < 2 || at + len > PCI_CONFIG_SIZE)
		return 0;
	memcpy(f->config + at, data, len);
	if (writable)
		memcpy(f->writable + at, writable, len);
	f->config[at] = id;
	f->config[at + 1] = 0;
	f->writable[at] = f->writable[at + 1] = 0;
	f->config[f->last_cap ? f->last_cap + 1 : PCI_CAPABILITY_LIST] = (u8)at;
	f->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	f->last_cap = (u8)at;
	f->caps_end = (u8)MIN((at + len + 3) & ~3u, 0xfcu);
	memcpy(f->at_reset, f->config, sizeof(f->config));
	return at;
}

u8 *pci_config(struct pci_function *f)
{
	return f->config;
}

void pci_set_writable(struct pci_function *f, unsigned offset, const void *mask, unsigned len)
{
	memcpy(f->writable + offset, mask, len);
	memcpy(f->at_reset, f->config, sizeof(f->config));
}

bool pci_bus_master(struct pci_function *f)
{
	return __atomic_load_n(&f->config[PCI_COMMAND], __ATOMIC_RELAXED) & PCI_COMMAND_MASTER;
}

/* ---- the bus as a device ---- */

static void reset_function(struct pci_function *f)
{
	pthread_mutex_lock(&f->lock);
	memcpy(f->config, f->at_reset, sizeof(f->config));
	msix_reset(f);
	pthread_mutex_unlock(&f->lock);
	pci_intx_set(f, false);
	if (f->info->reset)
		f->info->reset(f->arg);
}

static void reset(struct device *d)
{
	struct pci_bus *b = container_of(d, struct pci_bus, dev);

	pthread_mutex_lock(&b->config_lock);
	b->address = 0;
	for (unsigned i = 0; i < PCI_FUNCTIONS; i++)
		if (b->function[i])
			reset_function(b->function[i]);
	window_map_again(b);
	pthread_mutex_unlock(&b->config_lock);
}

static void destroy(struct device *d)
{
	struct pci_bus *b = container_of(d, struct pci_bus, dev);

	for (unsigned i = 0; i < PCI_FUNCTIONS; i++)
		free_function(b->function[i]);
	for (unsigned i = 0; i < PCI_WINDOWS; i++)
		free(b->window[i].map);
	pthread_mutex_destroy(&b->config_lock);
	pthread_mutex_destroy(&b->map_lock);
	pthread_mutex_destroy(&b->wires);
	free(b);
}

static const struct device_ops pci_ops = {
	.name = "pci",
	.reset = reset,
	.destroy = destroy,
	.info = pci_info_print,
	.about = "the functions on the PCI bus",
};

struct device *pci_bus_new(struct machine *m, struct device *intc, const struct irq_line intx[4], struct error *err)
{
	struct pci_bus *b = calloc(1, sizeof(*b));
	const struct region region = { CONFIG_PORTS, 8, &ports, b, "pci configuration", 4 };

	if (!b) {
		error_set(err, ENOMEM, "no memory for the PCI bus");
		return NULL;
	}
	b->dev.ops = &pci_ops;
	b->machine = m;
	b->intc = intc;
	b->ecam = ~0ull;
	memcpy(b->intx, intx, sizeof(b->intx));
	pthread_mutex_init(&b->config_lock, NULL);
	pthread_mutex_init(&b->map_lock, NULL);
	pthread_mutex_init(&b->wires, NULL);
	if (bus_add(&m->pio, &region, err) || window_add_all(b, err) || bridge_add(b, err)) {
		destroy(&b->dev);
		return NULL;
	}
	return &b->dev;
}
