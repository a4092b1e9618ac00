/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI bus: what a kernel without PCI set-up of its own finds, configuration by both ways with every width, sizing and moving
 * of BARs, MSI and MSI-X with masks and pending bits, INTA# through both interrupt controllers; and a hostile guest.
 */
#include "pci-driver.h"

#include <stdlib.h>
#include <string.h>

static struct pci_fixture f;
static struct machine *m;
static struct pci_function *fn;
#define DEVFN 8

/* A function with a BAR of every kind, which remembers its last access. */
static u64 last_offset, last_value, accesses;
static unsigned config_reads, config_writes, resets;

static u64 bar_read(void *arg, u64 offset, unsigned size)
{
	last_offset = offset;
	accesses++;
	return 0x1122334455667788ull + (u64)(uintptr_t)arg;
}

static void bar_write(void *arg, u64 offset, unsigned size, u64 value)
{
	last_offset = offset;
	last_value = value;
	accesses++;
}

static void on_config_read(void *arg, unsigned offset, unsigned size)
{
	config_reads++;
}

static void on_config_write(void *arg, unsigned offset, unsigned size)
{
	config_writes++;
}

static void on_reset(void *arg)
{
	resets++;
}

static const struct region_ops bar_ops = { bar_read, bar_write };
static const struct pci_info info = {
	.name = "test",
	.vendor = 0x1234,
	.device = 0x5678,
	.subsystem_vendor = 0xabcd,
	.subsystem = 0xef01,
	.class = 0x028003,
	.revision = 9,
	.intx = true,
	.msi = true,
	.msix_vectors = 70,
	.msix_bar = 4,
	.bar = { { BAR_MEM32, false, 0x1000, &bar_ops },
		 { BAR_IO, false, 32, &bar_ops },
		 { BAR_MEM64, true, BIT(32), &bar_ops } },
	.config_read = on_config_read,
	.config_write = on_config_write,
	.reset = on_reset,
};

static int setup(void **state)
{
	pci_fixture_new(&f);
	m = f.m;
	fn = pci_add(f.bus, -1, &info, NULL, NULL);
	assert_non_null(fn);
	config_reads = config_writes = resets = 0;
	accesses = 0;
	return 0;
}

static int teardown(void **state)
{
	pci_fixture_free(&f);
	return 0;
}

/* ---- as firmware leaves it ---- */

static void as_found(void **state)
{
	assert_int_equal(conf_read(m, 0, 0, 4), 0x29c08086);
	assert_int_equal(conf_read(m, 0, 8, 4) >> 8, 0x060000);
	assert_int_equal(conf_read(m, LPC_DEVFN, 0, 4), 0x29188086);
	assert_int_equal(conf_read(m, LPC_DEVFN, 8, 4) >> 8, 0x060100);
	assert_int_equal(conf_read(m, DEVFN, 0, 4), 0x56781234);
	assert_int_equal(conf_read(m, DEVFN, 8, 4), 0x02800309);
	assert_int_equal(conf_read(m, DEVFN, 0x2c, 4), 0xef01abcd);
	assert_int_equal(conf_read(m, DEVFN, PCI_COMMAND, 2), 3);
	assert_int_equal(conf_read(m, DEVFN, PCI_INTERRUPT_LINE, 2), 0x100 | lpc_irqs()[1]);
	u64 low = conf_read(m, DEVFN, PCI_BASE_ADDRESS_0, 4), io = conf_read(m, DEVFN, PCI_BASE_ADDRESS_1, 4),
	    high = conf_read(m, DEVFN, PCI_BASE_ADDRESS_2, 4) | conf_read(m, DEVFN, PCI_BASE_ADDRESS_3, 4) << 32;
	assert_true(low >= PCI_LOW_BASE && low < PCI_LOW_BASE + PCI_LOW_LEN && low % 0x1000 == 0);
	assert_int_equal(io & 0x1f, 1);
	assert_true(io >= PCI_PORTS_PLACE);
	assert_int_equal(high & 0xf, 0xc);
	assert_true(high >= HIGH_RAM_BASE);
	/* All of them answer. */
	assert_int_equal(bus_read(&m->mmio, low + 0xffc, 4), 0x55667788);
	assert_int_equal(last_offset, 0xffc);
	assert_int_equal(bus_read(&m->pio, (io & ~1ull) + 31, 1), 0x88);
	assert_int_equal(last_offset, 31);
	bus_write(&m->mmio, (high & ~15ull) + 0xfffffff8, 8, 5);
	assert_int_equal(last_offset, 0xfffffff8);
	assert_int_equal(last_value, 5);
	/* Level-triggered, as the PCI interrupts of a BIOS are. */
	assert_int_equal(inb(m, 0x4d1), 0x0c);
}

static void absent(void **state)
{
	assert_int_equal(conf_read(m, 16, 0, 4), 0xffffffff);
	assert_int_equal(conf_read(m, DEVFN + 1, 0, 2), 0xffff);
	assert_int_equal(ecam_read(m, 16, 0, 4), 0xffffffff);
	assert_int_equal(bus_read(&m->mmio, ecam_address(DEVFN, 0) + PCI_ECAM_BUS, 4), 0xffffffff); /* bus 1 */
	bus_write(&m->pio, 0xcf8, 4, conf_address(DEVFN, 0) | 1 << 16);
	assert_int_equal(inl(m, 0xcfc), 0xffffffff);
	bus_write(&m->pio, 0xcf8, 4, conf_address(DEVFN, 0) & ~BIT(31));
	assert_int_equal(inl(m, 0xcfc), 0xffffffff);
	outw(m, 0xcfc, 0);
	assert_int_equal(ecam_read(m, DEVFN, 0x100, 4), 0xffffffff); /* no extended space */
}

static void widths(void **state)
{
	for (unsigned offset = 0; offset < 0x40; offset++) {
		u64 byte = conf_read(m, DEVFN, offset, 1);

		assert_int_equal(ecam_read(m, DEVFN, offset, 1), byte);
		assert_int_equal(ecam_read(m, DEVFN, offset & ~1u, 2) >> 8 * (offset & 1) & 0xff, byte);
		assert_int_equal(ecam_read(m, DEVFN, offset & ~3u, 8) >> 8 * (offset & 3) & 0xff, byte);
		assert_int_equal(conf_read(m, DEVFN, offset & ~3u, 4) >> 8 * (offset & 3) & 0xff, byte);
	}
	assert_int_equal(ecam_read(m, DEVFN, 1, 4), 0x03567812); /* misaligned: in bytes */
	ecam_write(m, DEVFN, PCI_CACHE_LINE_SIZE - 1, 4, 0xff);
	ecam_write(m, DEVFN, PCI_CACHE_LINE_SIZE, 1, 0x10);
	conf_write(m, DEVFN, PCI_LATENCY_TIMER, 1, 0x20);
	assert_int_equal(ecam_read(m, DEVFN, PCI_CACHE_LINE_SIZE, 2), 0x2010);
	conf_write(m, DEVFN, 0, 4, 0);
	ecam_write(m, DEVFN, 0, 8, 0);
	assert_int_equal(conf_read(m, DEVFN, 0, 4), 0x56781234);
	/* Bytes and words at cf8h are no address register. */
	bus_write(&m->pio, 0xcf8, 4, conf_address(DEVFN, 0));
	outb(m, 0xcf8, 0x55);
	outw(m, 0xcfa, 0x5555);
	assert_int_equal(inl(m, 0xcf8), conf_address(DEVFN, 0));
	assert_int_equal(inb(m, 0xcf8), 0xff);
	assert_true(config_reads && config_writes);
}

static u64 reset_value;
static u64 reset_read(void *dev, u64 offset, unsigned size)
{
	return reset_value;
}
static void reset_write(void *dev, u64 offset, unsigned size, u64 value)
{
	reset_value = value;
}

static void reset_register(void **state)
{
	static const struct region_ops ops = { reset_read, reset_write };
	const struct region r = { RESET_PORT, 1, &ops, NULL, "reset", 1 };

	assert_int_equal(inb(m, RESET_PORT), 0xff);
	outb(m, RESET_PORT, 6);
	pci_set_reset_register(f.bus, &r);
	outb(m, RESET_PORT, 2);
	assert_int_equal(inb(m, RESET_PORT), 2);
	bus_write(&m->pio, 0xcf8, 4, 0x80000604); /* byte 1 would be a reset */
	assert_int_equal(reset_value, 2);
}

/* ---- BARs ---- */

static u64 sized(unsigned bar)
{
	u64 before = conf_read(m, DEVFN, PCI_BASE_ADDRESS_0 + 4 * bar, 4), size;

	conf_write(m, DEVFN, PCI_BASE_ADDRESS_0 + 4 * bar, 4, 0xffffffff);
	size = conf_read(m, DEVFN, PCI_BASE_ADDRESS_0 + 4 * bar, 4);
	conf_write(m, DEVFN, PCI_BASE_ADDRESS_0 + 4 * bar, 4, before);
	return size;
}

static void sizing(void **state)
{
	assert_int_equal(sized(0), 0xfffff000);
	assert_int_equal(sized(1), 0xffffffe1);
	assert_int_equal(sized(2), 0x0000000c);
	assert_int_equal(sized(3), 0xffffffff);
	assert_int_equal(sized(4), 0xffffe000); /* MSI-X */
	assert_int_equal(sized(5), 0);
	assert_int_equal(sized(7), 0xef01abcd); /* the subsystem: no BAR */
	assert_int_equal(sized(8), 0); /* no ROM */
}

static void moving(void **state)
{
	u64 old = conf_read(m, DEVFN, PCI_BASE_ADDRESS_0, 4), to = 0xd5000000;

	conf_write(m, DEVFN, PCI_BASE_ADDRESS_0, 4, to | 0xfff);
	assert_int_equal(conf_read(m, DEVFN, PCI_BASE_ADDRESS_0, 4), to);
	assert_int_equal(readl(m, old), 0xffffffff);
	assert_int_equal(readl(m, to), 0x55667788);
	conf_write(m, DEVFN, PCI_COMMAND, 2, 1);
	assert_int_equal(readl(m, to), 0xffffffff);
	conf_write(m, DEVFN, PCI_COMMAND, 2, 2);
	assert_int_equal(readl(m, to), 0x55667788);
	assert_int_equal(inb(m, PCI_PORTS_PLACE), 0xff);
	/* Onto RAM, onto other devices, out of all: nobody is in its way, and nobody hears of it. */
	static const u32 elsewhere[] = {
		0, 0x100000, (u32)IOAPIC_BASE, (u32)LAPIC_BASE, 0xfffff000, 0xa0000, 0x50000000
	};
	for (unsigned i = 0; i < ARRAY_SIZE(elsewhere); i++) {
		conf_write(m, DEVFN, PCI_BASE_ADDRESS_0, 4, elsewhere[i]);
		accesses = 0;
		bus_read(&m->mmio, elsewhere[i], 4);
		assert_int_equal(accesses, 0);
	}
	/* Firmware may use what is above RAM before c0000000h too. */
	conf_write(m, DEVFN, PCI_BASE_ADDRESS_0, 4, PCI_HOLE_BASE);
	assert_int_equal(readl(m, PCI_HOLE_BASE), 0x55667788);
	/* An access that leaves it is split, half of it nowhere. */
	accesses = 0;
	assert_int_equal(bus_read(&m->mmio, PCI_HOLE_BASE + 0xffe, 4), 0xffffffff);
	assert_int_equal(accesses, 0);
}

static void moving_ecam(void **state)
{
	ecam_write(m, 0, 0x60, 4, 0xd0000001);
	assert_int_equal(ecam_read(m, DEVFN, 0, 4), 0xffffffff);
	assert_int_equal(readl(m, 0xd0000000 + (DEVFN << 12)), 0x56781234);
	conf_write(m, 0, 0x60, 4, PCI_ECAM_BASE);
	assert_int_equal(ecam_read(m, DEVFN, 0, 4), 0xffffffff);
	conf_write(m, 0, 0x60, 8, PCI_ECAM_BASE | 1);
	assert_int_equal(ecam_read(m, DEVFN, 0, 4), 0x56781234);
}

static void bus_reset(void **state)
{
	u64 bar = conf_read(m, DEVFN, PCI_BASE_ADDRESS_0, 4);

	conf_write(m, DEVFN, PCI_BASE_ADDRESS_0, 4, 0xd5000000);
	conf_write(m, DEVFN, PCI_COMMAND, 2, 0x407);
	conf_write(m, 0, 0x60, 4, 0);
	conf_write(m, LPC_DEVFN, 0x60, 4, 0x80808080);
	device_reset(f.bus);
	assert_int_equal(resets, 1);
	assert_int_equal(ecam_read(m, DEVFN, PCI_COMMAND, 2), 3);
	assert_int_equal(ecam_read(m, DEVFN, PCI_BASE_ADDRESS_0, 4), bar);
	assert_int_equal(readl(m, bar), 0x55667788);
	assert_int_equal(ecam_read(m, LPC_DEVFN, 0x60, 1), lpc_irqs()[0]);
}

static void places(void **state)
{
	static const struct pci_info plain = { .name = "plain", .vendor = 1, .device = 2 };
	struct error err = { 0 };

	assert_null(pci_add(f.bus, DEVFN, &plain, NULL, &err));
	assert_int_equal(conf_read(m, DEVFN, PCI_HEADER_TYPE, 1), 0);
	assert_non_null(pci_add(f.bus, DEVFN + 3, &plain, NULL, &err));
	assert_int_equal(conf_read(m, DEVFN, PCI_HEADER_TYPE, 1), 0x80);
	assert_int_equal(conf_read(m, DEVFN + 3, 0, 4), 0x00020001);
	for (unsigned i = 2; i < 31; i++)
		assert_non_null(pci_add(f.bus, -1, &plain, NULL, &err));
	assert_null(pci_add(f.bus, -1, &plain, NULL, &err));
	assert_true(err.code < 0 && err.text[0]);
}

/* ---- interrupts ---- */

#define MESSAGE 0xfee00000ull

static u64 table(void)
{
	return conf_read(m, DEVFN, PCI_BASE_ADDRESS_4, 4);
}

static void set_entry(unsigned v, u32 data, u32 control)
{
	writel(m, table() + 16 * v, (u32)MESSAGE);
	writel(m, table() + 16 * v + 4, 0);
	writel(m, table() + 16 * v + 8, data);
	writel(m, table() + 16 * v + 12, control);
}

static u64 pending_bits(unsigned word)
{
	u64 pba = conf_read(m, DEVFN, find_capability(m, DEVFN, PCI_CAP_ID_MSIX, 0) + 8, 4);

	assert_int_equal(pba & 7, 4);
	return bus_read(&m->mmio, table() + (pba & ~7ull) + 8 * word, 8);
}

static void msix_control(u16 bits)
{
	conf_write(m, DEVFN, find_capability(m, DEVFN, PCI_CAP_ID_MSIX, 0) + 2, 2, bits);
}

static void msix(void **state)
{
	unsigned cap = find_capability(m, DEVFN, PCI_CAP_ID_MSIX, 0);

	assert_int_equal(conf_read(m, DEVFN, cap + 2, 2), 69);
	assert_int_equal(conf_read(m, DEVFN, cap + 4, 4), 4);
	assert_int_equal(readl(m, table() + 12), 1); /* masked */
	conf_write(m, DEVFN, PCI_COMMAND, 2, 6);
	set_entry(3, 0x43, 0);
	set_entry(69, 0x69, 1);
	assert_false(pci_msix_enabled(fn));
	pci_msix_signal(fn, 3); /* not enabled */
	assert_int_equal(take_vector(m), -1);
	msix_control(0x8000);
	assert_true(pci_msix_enabled(fn));
	pci_msix_signal(fn, 3);
	assert_int_equal(take_vector(m), 0x43);
	assert_int_equal(take_vector(m), -1);
	pci_msix_signal(fn, 69);
	pci_msix_signal(fn, 69);
	assert_int_equal(take_vector(m), -1);
	assert_int_equal(pending_bits(1), BIT(69 - 64));
	set_entry(69, 0x6a, 0); /* what it says when the mask goes counts */
	assert_int_equal(take_vector(m), 0x6a);
	assert_int_equal(pending_bits(1), 0);
	assert_int_equal(take_vector(m), -1);
	msix_control(0xc000); /* all masked */
	pci_msix_signal(fn, 3);
	assert_int_equal(pending_bits(0), BIT(3));
	assert_int_equal(take_vector(m), -1);
	msix_control(0x8000);
	assert_int_equal(take_vector(m), 0x43);
	pci_msix_signal(fn, 70);
	pci_msix_signal(fn, ~0u);
	conf_write(m, DEVFN, PCI_COMMAND, 2, 2); /* may not write to memory */
	pci_msix_signal(fn, 3);
	assert_int_equal(take_vector(m), -1);
}

static void msix_table(void **state)
{
	bus_write(&m->mmio, table(), 8, 0x1122334455667788);
	assert_true(bus_read(&m->mmio, table(), 8) == 0x1122334455667788);
	bus_write(&m->mmio, table() + 8, 8, ~0ull);
	assert_true(bus_read(&m->mmio, table() + 8, 8) == 0x1ffffffffull);
	writel(m, table() + 12, ~1u);
	assert_int_equal(readl(m, table() + 12), 0);
	bus_write(&m->mmio, table(), 1, 0); /* of no effect: dwords only */
	bus_write(&m->mmio, table() + 2, 4, 0);
	assert_int_equal(readl(m, table()), 0x55667788);
	assert_int_equal(readl(m, table() + 16 * 70), 0);
	writel(m, table() + 0x1000, ~0u); /* pending bits are read-only */
	assert_int_equal(pending_bits(0), 0);
	for (unsigned i = 0; i < 0x2000; i++)
		for (unsigned size = 1; size <= 8; size *= 2)
			bus_read(&m->mmio, table() + i, size);
}

static void msi(void **state)
{
	unsigned cap = find_capability(m, DEVFN, PCI_CAP_ID_MSI, 0);

	conf_write(m, DEVFN, PCI_COMMAND, 2, 4);
	conf_write(m, DEVFN, cap + 4, 4, MESSAGE | 3);
	assert_int_equal(conf_read(m, DEVFN, cap + 4, 4), MESSAGE);
	conf_write(m, DEVFN, cap + 8, 4, 0);
	conf_write(m, DEVFN, cap + 12, 2, 0x51);
	pci_msi_signal(fn);
	assert_int_equal(take_vector(m), -1);
	conf_write(m, DEVFN, cap + 2, 2, 1);
	assert_true(pci_msi_enabled(fn));
	pci_msi_signal(fn);
	assert_int_equal(take_vector(m), 0x51);
}

/* Device 1's INTA# is line 1: pin 17, and what the router says of PIRQB. */
static void intx_ioapic(void **state)
{
	writel(m, IOAPIC_BASE, 0x10 + 2 * 17);
	writel(m, IOAPIC_BASE + 0x10, 0xa000 | 0x61); /* level, active low as ACPI says */
	pci_intx_set(fn, true);
	assert_int_equal(conf_read(m, DEVFN, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT);
	assert_int_equal(take_vector(m), 0x61);
	assert_int_equal(take_vector(m), 0x61); /* still asserted */
	conf_write(m, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	take_vector(m);
	assert_int_equal(take_vector(m), -1);
	conf_write(m, DEVFN, PCI_COMMAND, 2, 0);
	assert_int_equal(take_vector(m), 0x61);
	msix_control(0x8000); /* messages instead */
	take_vector(m);
	assert_int_equal(take_vector(m), -1);
	msix_control(0);
	assert_int_equal(take_vector(m), 0x61);
	pci_intx_set(fn, false);
	take_vector(m);
	assert_int_equal(take_vector(m), -1);
}

/* The PIC's interrupt request register tells which input is up. */
static u8 requests(void)
{
	outb(m, 0xa0, 0x0a);
	return inb(m, 0xa0);
}

static void intx_pic(void **state)
{
	static const struct pci_info other = { .name = "other", .vendor = 1, .device = 2, .intx = true };
	struct pci_function *second = pci_add(f.bus, 5 << 3, &other, NULL, NULL);

	outb(m, 0xa0, 0x11);
	outb(m, 0xa1, 0x70);
	outb(m, 0xa1, 2);
	outb(m, 0xa1, 1);
	assert_int_equal(lpc_irqs()[1], 10);
	pci_intx_set(fn, true);
	assert_int_equal(requests(), 1 << 2);
	pci_intx_set(second, true); /* shares the line: 5 mod 4 */
	pci_intx_set(fn, false);
	assert_int_equal(requests(), 1 << 2);
	conf_write(m, LPC_DEVFN, 0x61, 1, 11); /* routed elsewhere */
	assert_int_equal(requests(), 1 << 3);
	conf_write(m, LPC_DEVFN, 0x61, 1, 0x80);
	assert_int_equal(requests(), 0);
	conf_write(m, LPC_DEVFN, 0x61, 1, 10);
	assert_int_equal(requests(), 1 << 2);
	pci_intx_set(second, false);
	assert_int_equal(requests(), 0);
}

/* ---- hostile ---- */

static u64 seed = 0x5e87a97;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull;
}

static void any_access(void)
{
	static const u64 bases[] = { PCI_ECAM_BASE, PCI_HOLE_BASE, PCI_LOW_BASE, HIGH_RAM_BASE };
	u64 addr = bases[rnd() % 4] + (rnd() % 2 ? rnd() % 0x10000 : rnd() % 0x20000000);
	unsigned size = 1u << rnd() % 4, devfn = rnd() % 2 ? DEVFN : (unsigned)(rnd() % 256);
	u64 value = rnd() % 2 ? rnd() : BIT(rnd() % 64);

	switch (rnd() % 6) {
	case 0: bus_read(&m->mmio, addr, size); break;
	case 1: bus_write(&m->mmio, addr, size, value); break;
	case 2: ecam_write(m, devfn, (unsigned)rnd() % 0x1000, size, value); break;
	case 3: bus_write(&m->pio, 0xcf8 + rnd() % 8, size & 7, value); break;
	case 4: conf_write(m, devfn, (unsigned)rnd() % 256, 1u << rnd() % 3, value); break;
	default: bus_read(&m->pio, 0xcf4 + rnd() % 16, size & 7); break;
	}
}

static void hostile(void **state)
{
	for (unsigned i = 0; i < 200000; i++) {
		any_access();
		if (i % 16)
			continue;
		pci_intx_set(fn, rnd() & 1);
		pci_msix_signal(fn, (unsigned)rnd() % 80);
		pci_msi_signal(fn);
		while (take_vector(m) >= 0 && rnd() % 4)
			;
	}
	device_reset(f.bus);
	as_found(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(as_found),	  TEST(absent),	     TEST(widths),	TEST(reset_register), TEST(sizing),
		TEST(moving),	  TEST(moving_ecam), TEST(bus_reset),	TEST(places),	      TEST(msix),
		TEST(msix_table), TEST(msi),	     TEST(intx_ioapic), TEST(intx_pic),	      TEST(hostile),
	};
	const char *other = getenv("SEXTANT_SEED");

	if (other)
		seed = strtoull(other, NULL, 0) | 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
