/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DSDT's definition block: how the machine powers off, and the devices on the board that Linux would not find by itself.
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
	{ "SYSR",
	  "PNP0C02",
	  -1,
	  { { 0x60, 1 }, { 0x64, 1 }, { 0x61, 1 }, { 0x92, 1 }, { PM1_EVENT_PORT, 12 }, { RESET_PORT, 1 } } },
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

void dsdt_write(struct aml *a)
{
	put_s5(a);
	u32 scope = aml_scope_open(a, "_SB_");
	for (unsigned i = 0; i < ARRAY_SIZE(board); i++)
		put_device(a, &board[i]);
	put_ioapic(a);
	aml_close(a, scope);
}
