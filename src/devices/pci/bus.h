/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the parts of the PCI bus: pci.c (functions, configuration space), window.c (BARs, who answers at an address),
 * msi.c (interrupts), bridge.c (the host bridge's function). Nobody else includes it.
 *
 * Locks nest in this order: pci_bus.config_lock, a device's own, pci_bus.map_lock, pci_function.lock, pci_bus.wires, the
 * interrupt controllers'. No callback of a function runs with any of them held but config_lock.
 */
#pragma once
#include <linux/pci_regs.h>

#include "devices/pci/pci.h"

#define PCI_CONFIG_SIZE 256u
#define PCI_FUNCTIONS	256u /* of the one bus */
#define MSIX_ENTRY	16u

struct mapping { /* a BAR that answers */
	u64 base, len;
	const struct region_ops *ops;
	void *arg;
};
struct window { /* addresses that BARs can be moved in */
	struct pci_bus *bus;
	u64 base, len;
	u64 place, place_end; /* where a BAR is put next at reset, and where that ends */
	struct mapping *map; /* under map_lock */
	unsigned maps;
};
enum pci_window { WINDOW_PORTS, WINDOW_LOW, WINDOW_HIGH, PCI_WINDOWS };

struct pci_doorbell {
	unsigned bar;
	u64 offset;
	int fd;
	u64 gpa; /* where the kernel has it; 0: nowhere */
};
struct pci_function {
	struct pci_bus *bus;
	const struct pci_info *info;
	void *arg;
	u8 devfn;
	pthread_mutex_t lock; /* what follows */
	u8 config[PCI_CONFIG_SIZE], writable[PCI_CONFIG_SIZE];
	u8 at_reset[PCI_CONFIG_SIZE];
	struct pci_bar_info bar[PCI_BARS]; /* info's and that of MSI-X */
	u8 caps_end, last_cap; /* room for the next capability; the list's last, 0: none */
	u8 msi, msix; /* their capabilities' offsets, 0: none */
	u32 msix_pba; /* offset in msix_bar */
	u8 *msix_table; /* entries as the guest sees them */
	u64 *msix_pending; /* a bit a vector */
	bool intx, intx_out; /* as the device has it; as it is on the wire */
	/* Registers whose writes the engine's kernel turns into signals of eventfds; under pci_bus.map_lock. */
	struct pci_doorbell *doorbell;
	unsigned doorbells;
};

struct pci_bus {
	struct device dev;
	struct machine *machine;
	struct device *intc;
	struct irq_line intx[4];
	u8 irq[4]; /* for Interrupt Line registers */
	struct region reset_register;
	pthread_mutex_t config_lock;
	u32 address; /* port cf8h */
	struct pci_function *function[PCI_FUNCTIONS]; /* fixed once the machine runs */
	struct pci_function *host;
	pthread_mutex_t map_lock;
	struct window window[PCI_WINDOWS];
	u64 ecam; /* ~0: off; under map_lock */
	pthread_mutex_t wires;
	unsigned asserted[4]; /* functions that drive the line */
};

/* ---- pci.c ---- */
/* Any register, size 1, 2, 4 or 8, at any alignment. What is not there reads as ones. */
u64 config_read(struct pci_bus *b, u32 devfn, u32 offset, unsigned size);
void config_write(struct pci_bus *b, u32 devfn, u32 offset, unsigned size, u64 value);
static inline u16 config_command(const struct pci_function *f)
{
	return *(const u16_una *)(f->config + PCI_COMMAND);
}

/* ---- info.c ---- */
void pci_info_print(struct device *bus, struct text *out);

/* ---- window.c ---- */
int window_add_all(struct pci_bus *b, struct error *err);
/* Gives a BAR its registers and an address as a BIOS would. */
int bar_init(struct pci_function *f, unsigned i, struct error *err);
/* After a change of any command register or BAR. */
void window_map_again(struct pci_bus *b);

/* ---- doorbell.c: map_lock held ---- */
/* Where BARs may have moved: the kernel is told of the new places. */
void doorbells_follow(struct pci_function *f);

/* ---- window.c again ---- */
/* Where a BAR answers now; 0: nowhere. map_lock held. */
u64 bar_place(struct pci_function *f, unsigned bar);

/* ---- msi.c ---- */
int msix_init(struct pci_function *f, struct error *err);
void msi_init(struct pci_function *f);
void msix_reset(struct pci_function *f);
/* After a write to configuration space: what was pending may go now, INTA# may have to change. */
void interrupts_update(struct pci_function *f);

/* ---- bridge.c ---- */
int bridge_add(struct pci_bus *b, struct error *err);
