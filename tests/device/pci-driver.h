/* SPDX-License-Identifier: Apache-2.0 */
/* Accesses to a PCI bus as a guest makes them, by ports and by memory, and a sink for its messages. */
#pragma once
#include "fixture.h"

#include <linux/pci_regs.h>

#include "devices/pci/pci.h"

static inline u32 conf_address(unsigned devfn, unsigned offset)
{
	return 0x80000000 | devfn << 8 | (offset & 0xfc);
}
static inline u64 conf_read(struct machine *m, unsigned devfn, unsigned offset, unsigned size)
{
	bus_write(&m->pio, 0xcf8, 4, conf_address(devfn, offset));
	return bus_read(&m->pio, 0xcfc + (offset & 3), size);
}
static inline void conf_write(struct machine *m, unsigned devfn, unsigned offset, unsigned size, u64 value)
{
	bus_write(&m->pio, 0xcf8, 4, conf_address(devfn, offset));
	bus_write(&m->pio, 0xcfc + (offset & 3), size, value);
}
static inline u64 ecam_address(unsigned devfn, unsigned offset)
{
	return PCI_ECAM_BASE + (devfn << 12) + offset;
}
static inline u64 ecam_read(struct machine *m, unsigned devfn, unsigned offset, unsigned size)
{
	return bus_read(&m->mmio, ecam_address(devfn, offset), size);
}
static inline void ecam_write(struct machine *m, unsigned devfn, unsigned offset, unsigned size, u64 value)
{
	bus_write(&m->mmio, ecam_address(devfn, offset), size, value);
}

/* Offset of the n-th capability with this ID; 0: none. Also checks that the list ends. */
static inline unsigned find_capability(struct machine *m, unsigned devfn, u8 id, unsigned n)
{
	unsigned at = (unsigned)conf_read(m, devfn, PCI_CAPABILITY_LIST, 1);

	for (unsigned i = 0; at; i++) {
		assert_true(i < 48 && at >= 0x40 && at % 4 == 0);
		if (conf_read(m, devfn, at, 1) == id && !n--)
			return at;
		at = (unsigned)conf_read(m, devfn, at + 1, 1);
	}
	return 0;
}

/* A bus with the real interrupt controllers; vCPU 0's local APIC is on. */
struct pci_fixture {
	struct machine *m;
	struct device *intc, *lpc, *bus;
};

static inline void pci_fixture_new(struct pci_fixture *f)
{
	struct irq_line intx[4];

	f->m = fixture_machine(1);
	f->intc = intc_new(f->m, NULL);
	f->lpc = lpc_new(f->m, f->intc, NULL);
	assert_non_null(f->lpc);
	for (unsigned i = 0; i < 4; i++)
		intx[i] = lpc_line(f->lpc, i);
	f->bus = pci_bus_new(f->m, f->intc, intx, NULL);
	assert_non_null(f->bus);
	pci_set_irqs(f->bus, lpc_irqs());
	assert_int_equal(lpc_add(f->lpc, f->bus, NULL), 0);
	vcpu_set_current(f->m->vcpu[0]);
	writel(f->m, LAPIC_BASE + 0xf0, 0x1ff);
}

static inline void pci_fixture_free(struct pci_fixture *f)
{
	vcpu_set_current(NULL);
	device_destroy(f->bus);
	device_destroy(f->lpc);
	device_destroy(f->intc);
	machine_free(f->m);
}

/* The vector that vCPU 0 would take now, which it then has served; -1: none. */
static inline int take_vector(struct machine *m)
{
	int vector = m->intc->acknowledge(m->vcpu[0]);

	if (vector >= 0)
		writel(m, LAPIC_BASE + 0xb0, 0);
	return vector;
}
