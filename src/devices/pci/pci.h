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

struct pci_bus;
struct pci_function;

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

/* Host bridge and buses' root: ports cf8h, cfch; ECAM; windows. messages: the interrupt controllers, for MSI. intx: lines of
 * INTA#..INTD# at the root, level. */
struct device *pci_bus_new(struct machine *m, struct device *intc, const struct irq_line intx[4], struct error *err);

/* Adds a function at the given slot (device number << 3 | function), or the next free device for -1. info must outlive it.
 * arg goes to all callbacks. Before start only. */
struct pci_function *pci_add(struct device *bus, int devfn, const struct pci_info *info, void *arg, struct error *err);
/* Adds a capability of len bytes (ID and next pointer included) to the list; its offset in configuration space. `writable` is a
 * mask byte for byte; NULL: read-only. */
unsigned pci_add_capability(struct pci_function *f, u8 id, const void *data, unsigned len, const u8 *writable);
u8 *pci_config(struct pci_function *f); /* 256 bytes */
bool pci_bus_master(struct pci_function *f); /* the command register lets it access memory and signal MSIs */

/* ---- interrupts, any thread ---- */
bool pci_msix_enabled(struct pci_function *f);
/* Signals a vector, or leaves it pending while it is masked; out of range: nothing. */
void pci_msix_signal(struct pci_function *f, unsigned vector);
bool pci_msi_enabled(struct pci_function *f);
void pci_msi_signal(struct pci_function *f);
void pci_intx_set(struct pci_function *f, bool level); /* honours the command register's interrupt disable */
