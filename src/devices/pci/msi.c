/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How functions interrupt: INTA#, MSI, MSI-X (PCI Local Bus 3.0, 2.2.6, 6.8).
 *
 * MSI-X lives in a BAR of its own: a table of entries (address 8, data 4, control 4 with the mask in bit 0) and after it, in
 * pages of their own, the pending bits. A vector that is signalled while it or the function is masked waits in its pending
 * bit. The function's lock is held while a message goes out, so that a driver that has masked a vector and read that back
 * gets no more of it. The lines INTA#..INTD# at the root are level-triggered and shared: device n's INTA# is line n mod 4.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/pci/bus.h"

#define ENTRY_DATA    8
#define ENTRY_CONTROL 12
#define MSI_CAP_LEN   14 /* 64-bit addresses, one vector, no mask */

static u16 load16(const struct pci_function *f, unsigned offset)
{
	return *(const u16_una *)(f->config + offset);
}

static u16 msix_flags(const struct pci_function *f)
{
	return f->msix ? load16(f, f->msix + PCI_MSIX_FLAGS) : 0;
}

static u16 msi_flags(const struct pci_function *f)
{
	return f->msi ? load16(f, f->msi + PCI_MSI_FLAGS) : 0;
}

/* ---- INTA# ---- */

static void drive(struct pci_function *f, bool level)
{
	struct pci_bus *b = f->bus;
	unsigned line = (f->devfn >> 3) & 3;

	if (f->intx_out == level)
		return;
	f->intx_out = level;
	pthread_mutex_lock(&b->wires);
	b->asserted[line] += level ? 1 : -1;
	irq_set(&b->intx[line], b->asserted[line]);
	pthread_mutex_unlock(&b->wires);
}

static void update_intx(struct pci_function *f)
{
	bool message = msix_flags(f) & PCI_MSIX_FLAGS_ENABLE || msi_flags(f) & PCI_MSI_FLAGS_ENABLE;

	f->config[PCI_STATUS] = (u8)((f->config[PCI_STATUS] & ~PCI_STATUS_INTERRUPT) |
				     (f->intx ? PCI_STATUS_INTERRUPT : 0));
	drive(f, f->intx && !message && !(config_command(f) & PCI_COMMAND_INTX_DISABLE));
}

void pci_intx_set(struct pci_function *f, bool level)
{
	pthread_mutex_lock(&f->lock);
	f->intx = level;
	update_intx(f);
	pthread_mutex_unlock(&f->lock);
}

/* ---- messages ---- */

static void send(struct pci_function *f, u64 address, u32 data)
{
	if (f->bus->intc && config_command(f) & PCI_COMMAND_MASTER)
		intc_message(f->bus->intc, address, data);
}

static bool masked(const struct pci_function *f, unsigned vector)
{
	return msix_flags(f) & PCI_MSIX_FLAGS_MASKALL ||
	       f->msix_table[MSIX_ENTRY * vector + ENTRY_CONTROL] & PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

static void send_vector(struct pci_function *f, unsigned vector)
{
	const u8 *entry = f->msix_table + MSIX_ENTRY * vector;

	send(f, *(const u64_una *)entry, *(const u32_una *)(entry + ENTRY_DATA));
}

/* Sends what waited for a mask that is gone. */
static void send_pending(struct pci_function *f)
{
	if (!(msix_flags(f) & PCI_MSIX_FLAGS_ENABLE) || msix_flags(f) & PCI_MSIX_FLAGS_MASKALL)
		return;
	for (unsigned v = 0; v < f->info->msix_vectors; v++) {
		if (!(f->msix_pending[v / 64] >> (v % 64) & 1) || masked(f, v))
			continue;
		f->msix_pending[v / 64] &= ~BIT(v % 64);
		send_vector(f, v);
	}
}

bool pci_msix_enabled(struct pci_function *f)
{
	bool enabled;

	pthread_mutex_lock(&f->lock);
	enabled = msix_flags(f) & PCI_MSIX_FLAGS_ENABLE;
	pthread_mutex_unlock(&f->lock);
	return enabled;
}

void pci_msix_signal(struct pci_function *f, unsigned vector)
{
	pthread_mutex_lock(&f->lock);
	if (vector < f->info->msix_vectors && msix_flags(f) & PCI_MSIX_FLAGS_ENABLE) {
		if (masked(f, vector))
			f->msix_pending[vector / 64] |= BIT(vector % 64);
		else
			send_vector(f, vector);
	}
	pthread_mutex_unlock(&f->lock);
}

bool pci_msi_enabled(struct pci_function *f)
{
	bool enabled;

	pthread_mutex_lock(&f->lock);
	enabled = msi_flags(f) & PCI_MSI_FLAGS_ENABLE;
	pthread_mutex_unlock(&f->lock);
	return enabled;
}

void pci_msi_signal(struct pci_function *f)
{
	pthread_mutex_lock(&f->lock);
	if (msi_flags(f) & PCI_MSI_FLAGS_ENABLE)
		send(f, *(const u64_una *)(f->config + f->msi + PCI_MSI_ADDRESS_LO),
		     load16(f, f->msi + PCI_MSI_DATA_64));
	pthread_mutex_unlock(&f->lock);
}

void interrupts_update(struct pci_function *f)
{
	pthread_mutex_lock(&f->lock);
	if (f->msix)
		send_pending(f);
	update_intx(f);
	pthread_mutex_unlock(&f->lock);
}

/* ---- the table's BAR ---- */

static u32 table_len(const struct pci_function *f)
{
	return MSIX_ENTRY * f->info->msix_vectors;
}

static u64 read_table(void *dev, u64 offset, unsigned size)
{
	struct pci_function *f = dev;
	u32 pending = f->info->msix_vectors + 63;
	u64 value = 0;

	pthread_mutex_lock(&f->lock);
	if (offset + size <= table_len(f))
		memcpy(&value, f->msix_table + offset, size);
	else if (offset >= f->msix_pba && offset - f->msix_pba + size <= pending / 64 * 8)
		memcpy(&value, (u8 *)f->msix_pending + (offset - f->msix_pba), size);
	pthread_mutex_unlock(&f->lock);
	return value;
}

/* 6.8.2: dwords and quadwords only. Of the control word only the mask can be written. */
static void write_table(void *dev, u64 offset, unsigned size, u64 value)
{
	struct pci_function *f = dev;

	pthread_mutex_lock(&f->lock);
	if (size >= 4 && offset % size == 0 && offset + size <= table_len(f)) {
		u32_una *control = (u32_una *)(f->msix_table + offset / MSIX_ENTRY * MSIX_ENTRY + ENTRY_CONTROL);

		memcpy(f->msix_table + offset, &value, size);
		*control &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
		send_pending(f);
	}
	pthread_mutex_unlock(&f->lock);
}

static const struct region_ops table_ops = { read_table, write_table };

/* ---- making them ---- */

void msix_reset(struct pci_function *f)
{
	if (!f->msix)
		return;
	memset(f->msix_table, 0, table_len(f));
	memset(f->msix_pending, 0, (f->info->msix_vectors + 63) / 64 * 8);
	for (unsigned v = 0; v < f->info->msix_vectors; v++)
		f->msix_table[MSIX_ENTRY * v + ENTRY_CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

int msix_init(struct pci_function *f, struct error *err)
{
	static const u8 writable[PCI_CAP_MSIX_SIZEOF] = { [PCI_MSIX_FLAGS + 1] = PCI_MSIX_FLAGS_ENABLE >> 8 |
										 PCI_MSIX_FLAGS_MASKALL >> 8 };
	unsigned n = f->info->msix_vectors, bar = f->info->msix_bar;
	u32 cap[3] = { (n - 1) << 16, 0, 0 };
	u64 size = PAGE_SIZE;

	if (n > 2048 || bar >= PCI_BARS || f->bar[bar].kind != BAR_NONE)
		return error_set(err, EINVAL, "MSI-X is malformed");
	f->msix_pba = (table_len(f) + PAGE_SIZE - 1) & PAGE_MASK;
	while (size < f->msix_pba + PAGE_SIZE)
		size *= 2;
	f->bar[bar] = (struct pci_bar_info){ .kind = BAR_MEM32, .size = size, .ops = &table_ops };
	f->msix_table = calloc(n, MSIX_ENTRY);
	f->msix_pending = calloc((n + 63) / 64, sizeof(u64));
	if (!f->msix_table || !f->msix_pending)
		return error_set(err, ENOMEM, "no memory for %u vectors", n);
	cap[1] = bar;
	cap[2] = f->msix_pba | bar;
	f->msix = (u8)pci_add_capability(f, PCI_CAP_ID_MSIX, cap, sizeof(cap), writable);
	msix_reset(f);
	return 0;
}

void msi_init(struct pci_function *f)
{
	static const u8 cap[MSI_CAP_LEN] = { [PCI_MSI_FLAGS] = PCI_MSI_FLAGS_64BIT };
	static const u8 writable[MSI_CAP_LEN] = {
		0, 0, PCI_MSI_FLAGS_ENABLE, 0, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
	};

	f->msi = (u8)pci_add_capability(f, PCI_CAP_ID_MSI, cap, sizeof(cap), writable);
}
