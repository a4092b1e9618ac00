/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI: the bus, what a function on it is, and its interrupts (PCI Local Bus 3.0; PCI Express Base for the ECAM and
 * capabilities). pci.c holds configuration space, BARs and capabilities for all functions; a device gives a struct
 * pci_info and callbacks for its BARs.
 *
 * The bus owns two windows, below 4 GiB and above RAM, and one of I/O ports, in which BARs move as the guest says; it
 * dispatches inside them under a lock of its own, so that the machine's buses stay fixed. An access to a BAR calls the
 * function's region_ops with no bus lock held.
 */
#pragma once
#include "devices/devices.h"

struct pci_function;

/* Where things are: below 4 GiB from PCI_HOLE_BASE (or RAM's end) to the I/O APIC belongs to the bus. BARs are put into
 * [PCI_LOW_BASE, + LEN) at reset, which is also what ACPI tells; above RAM likewise (pci_windows()). */
#define PCI_HOLE_BASE	0xb0000000ull
#define PCI_LOW_BASE	0xc0000000ull
#define PCI_LOW_LEN	0x20000000ull
#define PCI_ECAM_BASE	0xe0000000ull
#define PCI_ECAM_LEN	0x10000000ull
#define PCI_ECAM_BUS	0x100000ull /* of which a bus takes this much, and there is one bus */
#define PCI_PORTS_BASE	0x3000u /* to 64 Ki; at reset BARs are put from PCI_PORTS_PLACE on */
#define PCI_PORTS_LEN	0xd000u
#define PCI_PORTS_PLACE 0xc000u
#define PCI_HIGH_ALIGN	BIT(30)
#define PCI_HIGH_LEN	BIT(35)

#define PCI_BARS 6
enum pci_bar_kind { BAR_NONE, BAR_IO, BAR_MEM32, BAR_MEM64 /* takes two */ };
struct pci_bar_info {
	enum pci_bar_kind kind;
	bool prefetchable;
	u64 size; /* a power of two, at least 16 */
	const struct region_ops *ops; /* dev is the function's arg */
};
struct pci_info {
	const char *name;
	u16 vendor, device, subsystem_vendor, subsystem;
	u32 class; /* 24 bits: base, sub, interface */
	u8 revision;
	bool intx; /* has INTA# */
	unsigned msix_vectors; /* 0: no MSI-X; its table and PBA are in msix_bar, a BAR of its own that pci.c makes */
	u8 msix_bar;
	bool msi;
	struct pci_bar_info bar[PCI_BARS];
	/* Configuration space past the header that pci.c does not know (vendor capabilities): before a read, after a write
	 * of [offset, offset + size). Optional. */
	void (*config_read)(void *arg, unsigned offset, unsigned size);
	void (*config_write)(void *arg, unsigned offset, unsigned size);
	void (*reset)(void *arg); /* the bus is reset. Optional. */
};

/* Host bridge and buses' root: ports cf8h, cfch; ECAM; windows. intc: the interrupt controllers, for MSI; NULL: messages
 * go nowhere. intx: lines of INTA#..INTD# at the root, level. */
struct device *pci_bus_new(struct machine *m, struct device *intc, const struct irq_line intx[4], struct error *err);
/* The byte port among the configuration ports that is something else's. */
void pci_set_reset_register(struct device *bus, const struct region *r);
/* What firmware would put into Interrupt Line registers of functions on INTA#..INTD#. Before they are added. */
void pci_set_irqs(struct device *bus, const u8 irq[4]);
struct pci_windows {
	u64 high_base, high_len; /* above RAM */
};
void pci_windows(const struct device *bus, struct pci_windows *w);

/* Adds a function at the given slot (device number << 3 | function), or the next free device for -1. info must outlive it.
 * arg goes to all callbacks. Before start only. */
struct pci_function *pci_add(struct device *bus, int devfn, const struct pci_info *info, void *arg, struct error *err);
/* Adds a capability of len bytes (ID and next pointer included) to the list; its offset in configuration space. `writable` is a
 * mask byte for byte; NULL: read-only. */
unsigned pci_add_capability(struct pci_function *f, u8 id, const void *data, unsigned len, const u8 *writable);
u8 *pci_config(struct pci_function *f); /* 256 bytes */
/* Makes bits of configuration space writable; as the space is now it is after a reset. Before start only. */
void pci_set_writable(struct pci_function *f, unsigned offset, const void *mask, unsigned len);
void pci_remove(struct pci_function *f); /* after the machine has stopped */
bool pci_bus_master(struct pci_function *f); /* the command register lets it access memory and signal MSIs */

/* A register of a BAR whose writes, of whatever value, may signal an eventfd instead of coming to region_ops; where the engine has
 * no kernel that does it, they still come. negative: they will. Any thread; not while the function's callbacks wait for it. */
int pci_doorbell_add(struct pci_function *f, unsigned bar, u64 offset, int fd);
void pci_doorbell_remove(struct pci_function *f, int fd);

/* ---- interrupts, any thread ---- */
bool pci_msix_enabled(struct pci_function *f);
/* Signals a vector, or leaves it pending while it is masked; out of range: nothing. */
void pci_msix_signal(struct pci_function *f, unsigned vector);
bool pci_msi_enabled(struct pci_function *f);
void pci_msi_signal(struct pci_function *f);
void pci_intx_set(struct pci_function *f, bool level); /* honours the command register's interrupt disable */

/* ---- the ISA bridge and interrupt router: lpc.c ---- */
#define LPC_DEVFN 0xf8
/* Made before the bus, whose lines it is; its function is added after. */
struct device *lpc_new(struct machine *m, struct device *intc, struct error *err);
struct irq_line lpc_line(struct device *lpc, unsigned n);
int lpc_add(struct device *lpc, struct device *bus, struct error *err);
const u8 *lpc_irqs(void); /* ISA interrupts of the four lines at reset */
