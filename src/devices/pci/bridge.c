/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host bridge: function 0 of device 0, as the memory controller hub of Intel's Q35 (8086:29c0). Of the bridges that both
 * firmware and kernels know it is the one with MMCONFIG: PCIEXBAR says where the ECAM is, and firmware may move it.
 *
 *   60h  8  PCIEXBAR: bit 0 enable, 2:1 length (256, 128, 64 MiB), 35:28 base
 *   90h  7  PAM0..PAM6 and 9dh SMRAM: kept for firmware that writes them; memory behind them is RAM always
 */
#include "devices/pci/bus.h"

#define PCIEXBAR	0x60
#define PCIEXBAR_ENABLE BIT(0)
#define PCIEXBAR_BASE	0xff0000000ull
#define PAM		0x90
#define SMRAM		0x9d

static void config_changed(void *arg, unsigned offset, unsigned size);
static void bridge_reset(void *arg);

static const struct pci_info info = {
	.name = "host bridge",
	.vendor = 0x8086,
	.device = 0x29c0,
	.class = 0x060000,
	.revision = 2,
	.config_write = config_changed,
	.reset = bridge_reset,
};

static void update(struct pci_bus *b)
{
	u64 value = *(const u64_una *)(b->host->config + PCIEXBAR);

	pthread_mutex_lock(&b->map_lock);
	b->ecam = value & PCIEXBAR_ENABLE ? value & PCIEXBAR_BASE : ~0ull;
	pthread_mutex_unlock(&b->map_lock);
	window_map_again(b);
}

static void config_changed(void *arg, unsigned offset, unsigned size)
{
	if (offset < PCIEXBAR + 8 && offset + size > PCIEXBAR)
		update(arg);
}

static void bridge_reset(void *arg)
{
	update(arg);
}

int bridge_add(struct pci_bus *b, struct error *err)
{
	static const u8 pciexbar[8] = { 0x07, 0, 0, 0xf0, 0x0f };
	static const u8 pam[7] = { 0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33 };
	static const u8 smram[1] = { 0x7f };

	b->host = pci_add(&b->dev, 0, &info, b, err);
	if (!b->host)
		return err ? err->code : -1;
	*(u64_una *)(b->host->config + PCIEXBAR) = PCI_ECAM_BASE | PCIEXBAR_ENABLE;
	pci_set_writable(b->host, PCIEXBAR, pciexbar, sizeof(pciexbar));
	pci_set_writable(b->host, PAM, pam, sizeof(pam));
	pci_set_writable(b->host, SMRAM, smram, sizeof(smram));
	update(b);
	return 0;
}
