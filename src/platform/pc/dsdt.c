/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DSDT's definition block: how the machine powers off, the PCI root with what it passes on and where its interrupts go, and
 * the devices on the board that Linux would not find by itself.
 * There is no keyboard controller in it: the one we have is there for its reset line and has nothing connected.
 */
#include "platform/pc/dsdt.h"

#include "devices/devices.h"

static void put_s5(struct aml *a)
{
	aml_name(a, "_S5_");
	u32 package = aml_package_open(a, 4);
	aml_integer(a, PM_S5_TYPE); /* SLP_TYPa, SLP_TYPb, two reserved */
	aml_integer(a, PM_S5_TYPE);
	aml_integer(a, 0);
	aml_integer(a, 0);
	aml_close(a, package);
}

struct ports {
	u16 base;
	u8 len;
};
struct board_device {
	const char *name, *id;
	s8 irq; /* -1: none */
	struct ports io[6];
};

static const struct board_device board[] = {
	{ "COM1", "PNP0501", 4, { { 0x3f8, 8 } } },
	{ "RTC_", "PNP0B00", 8, { { 0x70, 2 } } },
	{ "TMR_", "PNP0100", 0, { { 0x40, 4 } } },
	{ "PIC_", "PNP0000", 2, { { 0x20, 2 }, { 0xa0, 2 }, { 0x4d0, 2 } } },
	/* Motherboard resources: what else answers, so that nobody puts something there. */
	{ "SYSR", "PNP0C02", -1, { { 0x60, 1 }, { 0x64, 1 }, { 0x61, 1 }, { 0x92, 1 }, { PM1_EVENT_PORT, 12 } } },
};

static void put_device(struct aml *a, const struct board_device *d)
{
	u32 device = aml_device_open(a, d->name);
	aml_name(a, "_HID");
	aml_eisa_id(a, d->id);
	aml_name(a, "_UID");
	aml_integer(a, 1);
	u32 resources = aml_resources_open(a);
	for (unsigned i = 0; i < ARRAY_SIZE(d->io) && d->io[i].len; i++)
		aml_io(a, d->io[i].base, d->io[i].len);
	if (d->irq >= 0)
		aml_irq(a, (u8)d->irq);
	aml_resources_close(a, resources);
	aml_close(a, device);
}

static void put_ioapic(struct aml *a)
{
	u32 device = aml_device_open(a, "APIC");
	aml_name(a, "_HID");
	aml_eisa_id(a, "PNP0003");
	u32 resources = aml_resources_open(a);
	aml_memory(a, (u32)IOAPIC_BASE, PAGE_SIZE, true);
	aml_memory(a, (u32)LAPIC_BASE, PAGE_SIZE, true);
	aml_resources_close(a, resources);
	aml_close(a, device);
}

#define PCI_SLOTS     32
#define PCI_PINS      4
#define FIRST_PCI_GSI 16
#define ANY_FUNCTION  0xffffu

/* 6.2.13: pin by pin, hard-wired to an interrupt: with the I/O APIC to a pin of its own, with the PICs as the ISA bridge
 * routes it at reset. */
static void put_routes(struct aml *a, const char *name, const u8 *isa)
{
	aml_name(a, name);
	u32 table = aml_package_open(a, PCI_SLOTS * PCI_PINS);
	for (u32 slot = 0; slot < PCI_SLOTS; slot++)
		for (u32 pin = 0; pin < PCI_PINS; pin++) {
			u32 line = (slot + pin) % PCI_PINS, route = aml_package_open(a, 4);
			aml_integer(a, slot << 16 | ANY_FUNCTION);
			aml_integer(a, pin);
			aml_integer(a, 0);
			aml_integer(a, isa ? isa[line] : FIRST_PCI_GSI + line);
			aml_close(a, route);
		}
	aml_close(a, table);
}

/* 5.8.1: the system says which interrupt controllers it uses. */
static void put_pic_method(struct aml *a)
{
	aml_name(a, "PICM");
	aml_integer(a, 0);
	u32 method = aml_method_open(a, "_PIC", 1);
	aml_store_argument(a, "PICM");
	aml_close(a, method);
}

static void put_prt(struct aml *a)
{
	put_routes(a, "PRTA", NULL);
	put_routes(a, "PRTP", lpc_irqs());
	u32 method = aml_method_open(a, "_PRT", 0);
	u32 apic = aml_if_open(a, "PICM");
	aml_return(a, "PRTA");
	aml_close(a, apic);
	aml_return(a, "PRTP");
	aml_close(a, method);
}

/* A PCI Express root: its ECAM is also in the MCFG table. */
static void put_pci(struct aml *a, const struct pci_windows *pci)
{
	u32 device = aml_device_open(a, "PCI0");
	aml_name(a, "_HID");
	aml_eisa_id(a, "PNP0A08");
	aml_name(a, "_CID");
	aml_eisa_id(a, "PNP0A03");
	aml_name(a, "_UID");
	aml_integer(a, 0);
	aml_name(a, "_BBN");
	aml_integer(a, 0);
	aml_name(a, "_CBA");
	aml_integer(a, (u32)PCI_ECAM_BASE);
	u32 resources = aml_resources_open(a);
	aml_bus_window(a, 0, 0);
	aml_io(a, 0xcf8, 8);
	aml_io_window(a, 0, 0xcf8); /* the ISA bus is behind it too */
	aml_io_window(a, 0xd00, 0xf300);
	aml_memory_window(a, (u32)PCI_LOW_BASE, (u32)PCI_LOW_LEN);
	aml_memory_window64(a, pci->high_base, pci->high_len);
	aml_resources_close(a, resources);
	put_prt(a);
	aml_close(a, device);
}

/* Memory that is taken and that no other device names. */
static void put_ecam(struct aml *a)
{
	u32 device = aml_device_open(a, "ECAM");
	aml_name(a, "_HID");
	aml_eisa_id(a, "PNP0C02");
	aml_name(a, "_UID");
	aml_integer(a, 2);
	u32 resources = aml_resources_open(a);
	aml_memory(a, (u32)PCI_ECAM_BASE, (u32)PCI_ECAM_BUS, true);
	aml_resources_close(a, resources);
	aml_close(a, device);
}

void dsdt_write(struct aml *a, const struct pci_windows *pci)
{
	put_s5(a);
	put_pic_method(a);
	u32 scope = aml_scope_open(a, "_SB_");
	for (unsigned i = 0; i < ARRAY_SIZE(board); i++)
		put_device(a, &board[i]);
	put_ioapic(a);
	put_pci(a, pci);
	put_ecam(a);
	aml_close(a, scope);
}
