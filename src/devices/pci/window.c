/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who answers in the bus's windows. The machine's own buses have one fixed region a window; in it each window has a list of the
 * BARs that are switched on, made anew whenever a command register or a BAR changes. Where BARs overlap, the function that
 * comes first on the bus answers; what no BAR claims goes to the machine bus's fallback, as outside of the windows.
 *
 * At reset every BAR is given a place, as a BIOS would: all below 4 GiB but for what does not fit there, so that kernels that
 * trust the firmware, or know 32 bits only, find their devices.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/pci/bus.h"

static const struct window_kind {
	const char *name;
	bool ports;
} kinds[PCI_WINDOWS] = {
	[WINDOW_PORTS] = { "pci ports", true },
	[WINDOW_LOW] = { "pci memory", false },
	[WINDOW_HIGH] = { "pci memory above RAM", false },
};

/* ---- accesses ---- */

static bool lookup(struct window *w, u64 addr, unsigned size, struct mapping *found)
{
	bool hit = false;

	pthread_mutex_lock(&w->bus->map_lock);
	for (unsigned i = 0; i < w->maps && !hit; i++) {
		hit = addr - w->map[i].base < w->map[i].len && size <= w->map[i].len - (addr - w->map[i].base);
		if (hit)
			*found = w->map[i];
	}
	pthread_mutex_unlock(&w->bus->map_lock);
	return hit;
}

static const struct region *fallback(const struct window *w)
{
	const struct machine *m = w->bus->machine;

	return w == &w->bus->window[WINDOW_PORTS] ? &m->pio.fallback : &m->mmio.fallback;
}

static u64 read_window(void *dev, u64 offset, unsigned size)
{
	struct window *w = dev;
	u64 addr = w->base + offset;
	const struct region *other = fallback(w);
	struct mapping m;

	if (lookup(w, addr, size, &m))
		return m.ops->read ? m.ops->read(m.arg, addr - m.base, size) : ~0ull;
	return other->ops ? other->ops->read(other->dev, addr, size) : ~0ull;
}

static void write_window(void *dev, u64 offset, unsigned size, u64 value)
{
	struct window *w = dev;
	u64 addr = w->base + offset;
	const struct region *other = fallback(w);
	struct mapping m;

	if (lookup(w, addr, size, &m)) {
		if (m.ops->write)
			m.ops->write(m.arg, addr - m.base, size, value);
	} else if (other->ops) {
		other->ops->write(other->dev, addr, size, value);
	}
}

static const struct region_ops window_ops = { read_window, write_window };

/* ---- ECAM ---- */

static u64 read_ecam(void *dev, u64 offset, unsigned size)
{
	return offset >> 20 ? ~0ull : config_read(dev, (u32)(offset >> 12), (u32)offset & 0xfff, size);
}

static void write_ecam(void *dev, u64 offset, unsigned size, u64 value)
{
	if (!(offset >> 20))
		config_write(dev, (u32)(offset >> 12), (u32)offset & 0xfff, size, value);
}

static const struct region_ops ecam_ops = { read_ecam, write_ecam };

/* ---- which BARs answer ---- */

static u64 bar_address(const struct pci_function *f, unsigned i)
{
	u64 low = *(const u32_una *)(f->config + PCI_BASE_ADDRESS_0 + 4 * i);

	if (f->bar[i].kind == BAR_IO)
		return low & PCI_BASE_ADDRESS_IO_MASK;
	if (f->bar[i].kind == BAR_MEM64)
		low |= (u64) * (const u32_una *)(f->config + PCI_BASE_ADDRESS_0 + 4 * i + 4) << 32;
	return low & PCI_BASE_ADDRESS_MEM_MASK;
}

static void add_mapping(struct window *w, u64 base, u64 len, const struct region_ops *ops, void *arg)
{
	struct mapping *grown;

	if (!ops || base < w->base || base - w->base >= w->len || len > w->len - (base - w->base))
		return;
	grown = realloc(w->map, (w->maps + 1) * sizeof(*grown));
	if (!grown) /* then it does not answer */
		return;
	w->map = grown;
	w->map[w->maps++] = (struct mapping){ base, len, ops, arg };
}

u64 bar_place(struct pci_function *f, unsigned bar)
{
	u64 base;

	pthread_mutex_lock(&f->lock);
	base = config_command(f) & PCI_COMMAND_MEMORY ? bar_address(f, bar) : 0;
	pthread_mutex_unlock(&f->lock);
	return base;
}

static void map_function(struct pci_bus *b, struct pci_function *f)
{
	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < PCI_BARS; i++) {
		bool io = f->bar[i].kind == BAR_IO;
		u64 base = bar_address(f, i);

		if (f->bar[i].kind == BAR_NONE || !base ||
		    !(config_command(f) & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
			continue;
		for (unsigned w = 0; w < PCI_WINDOWS; w++)
			if (kinds[w].ports == io)
				add_mapping(&b->window[w], base, f->bar[i].size, f->bar[i].ops,
					    f->info->msix_vectors && i == f->info->msix_bar ? f : f->arg);
	}
	pthread_mutex_unlock(&f->lock);
}

void window_map_again(struct pci_bus *b)
{
	pthread_mutex_lock(&b->map_lock);
	for (unsigned w = 0; w < PCI_WINDOWS; w++)
		b->window[w].maps = 0;
	for (unsigned w = 0; w < PCI_WINDOWS; w++)
		if (!kinds[w].ports && b->ecam != ~0ull)
			add_mapping(&b->window[w], b->ecam, PCI_ECAM_LEN, &ecam_ops, b);
	for (unsigned i = 0; i < PCI_FUNCTIONS; i++) {
		if (!b->function[i])
			continue;
		map_function(b, b->function[i]);
		doorbells_follow(b->function[i]);
	}
	pthread_mutex_unlock(&b->map_lock);
}

/* ---- making them ---- */

/* The next free place for size bytes, aligned as BARs are; 0: none. */
static u64 place(struct window *w, u64 size)
{
	u64 at = (w->place + size - 1) & ~(size - 1);

	if (at < w->place || at > w->place_end || size > w->place_end - at)
		return 0;
	w->place = at + size;
	return at;
}

static u64 find_place(struct pci_bus *b, const struct pci_bar_info *bar)
{
	u64 at = place(&b->window[bar->kind == BAR_IO ? WINDOW_PORTS : WINDOW_LOW], bar->size);

	return !at && bar->kind == BAR_MEM64 ? place(&b->window[WINDOW_HIGH], bar->size) : at;
}

int bar_init(struct pci_function *f, unsigned i, struct error *err)
{
	const struct pci_bar_info *bar = &f->bar[i];
	u64 mask = ~(bar->size - 1), at;
	u8 *c = f->config + PCI_BASE_ADDRESS_0 + 4 * i, *w = f->writable + PCI_BASE_ADDRESS_0 + 4 * i;

	if (bar->size < 16 || bar->size & (bar->size - 1) || (bar->kind == BAR_MEM64 && i + 1 == PCI_BARS))
		return error_set(err, EINVAL, "BAR %u is malformed", i);
	at = find_place(f->bus, bar);
	if (!at)
		return error_set(err, ENOSPC, "no room for BAR %u of %llu bytes", i, (unsigned long long)bar->size);
	*(u32_una *)c = (u32)at | (bar->kind == BAR_IO	    ? PCI_BASE_ADDRESS_SPACE_IO
				   : bar->kind == BAR_MEM64 ? PCI_BASE_ADDRESS_MEM_TYPE_64
							    : 0);
	if (bar->prefetchable)
		c[0] |= PCI_BASE_ADDRESS_MEM_PREFETCH;
	*(u32_una *)w = (u32)mask;
	if (bar->kind == BAR_MEM64) {
		*(u32_una *)(c + 4) = (u32)(at >> 32);
		*(u32_una *)(w + 4) = (u32)(mask >> 32);
	}
	return 0;
}

void pci_windows(const struct device *bus, struct pci_windows *w)
{
	const struct pci_bus *b = container_of(bus, const struct pci_bus, dev);

	*w = (struct pci_windows){
		.high_base = b->window[WINDOW_HIGH].base,
		.high_len = b->window[WINDOW_HIGH].place_end - b->window[WINDOW_HIGH].base,
	};
}

/* Firmware may put BARs and ECAM anywhere between RAM and the interrupt controllers; we, and what ACPI says, use less. */
int window_add_all(struct pci_bus *b, struct error *err)
{
	struct machine *m = b->machine;
	u64 low = MAX(m->low_size, PCI_HOLE_BASE);
	u64 high = (HIGH_RAM_BASE + m->high_size + PCI_HIGH_ALIGN - 1) & ~(PCI_HIGH_ALIGN - 1);
	const struct window made[PCI_WINDOWS] = {
		[WINDOW_PORTS] = { b, PCI_PORTS_BASE, PCI_PORTS_LEN, PCI_PORTS_PLACE, PCI_PORTS_BASE + PCI_PORTS_LEN },
		[WINDOW_LOW] = { b, low, IOAPIC_BASE - low, PCI_LOW_BASE, PCI_LOW_BASE + PCI_LOW_LEN },
		[WINDOW_HIGH] = { b, high, BIT(GPA_BITS) - high, high, high + PCI_HIGH_LEN },
	};

	for (unsigned i = 0; i < PCI_WINDOWS; i++) {
		struct window *w = &b->window[i];
		const struct region r = { made[i].base, made[i].len, &window_ops, w, kinds[i].name, 0 };
		int e = bus_add(kinds[i].ports ? &m->pio : &m->mmio, &r, err);

		if (e)
			return e;
		*w = made[i];
	}
	return 0;
}
