/* SPDX-License-Identifier: Apache-2.0 */
/* The functions on the bus and their resources, for people. */
#include "devices/pci/bus.h"

static void put_bars(const struct pci_function *f, struct text *out)
{
	static const char *const kinds[] = { "", "ports", "memory", "memory, 64-bit" };

	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_bar_info *bar = &f->bar[i];
		u64 at = *(const u32_una *)(f->config + PCI_BASE_ADDRESS_0 + 4 * i);

		if (bar->kind == BAR_NONE)
			continue;
		if (bar->kind == BAR_MEM64)
			at |= (u64) * (const u32_una *)(f->config + PCI_BASE_ADDRESS_0 + 4 * i + 4) << 32;
		at &= bar->kind == BAR_IO ? ~3ull : ~15ull;
		text_printf(out, "    BAR %u: %llx, %llu bytes of %s\n", i, (unsigned long long)at,
			    (unsigned long long)bar->size, kinds[bar->kind]);
	}
}

static void put_function(struct pci_function *f, struct text *out)
{
	u16 command;

	pthread_mutex_lock(&f->lock);
	command = config_command(f);
	text_printf(out, "00:%02x.%u %04x:%04x class %06x %s%s%s%s", f->devfn >> 3, f->devfn & 7, f->info->vendor,
		    f->info->device, f->info->class, f->info->name, command & PCI_COMMAND_IO ? ", ports" : "",
		    command & PCI_COMMAND_MEMORY ? ", memory" : "", command & PCI_COMMAND_MASTER ? ", master" : "");
	if (f->info->intx)
		text_printf(out, ", interrupt line %u%s", f->config[PCI_INTERRUPT_LINE], f->intx ? " (asserted)" : "");
	text_puts(out, "\n");
	put_bars(f, out);
	pthread_mutex_unlock(&f->lock);
}

void pci_info_print(struct device *d, struct text *out)
{
	struct pci_bus *b = container_of(d, struct pci_bus, dev);

	pthread_mutex_lock(&b->config_lock);
	for (unsigned i = 0; i < PCI_FUNCTIONS; i++)
		if (b->function[i])
			put_function(b->function[i], out);
	pthread_mutex_unlock(&b->config_lock);
}
