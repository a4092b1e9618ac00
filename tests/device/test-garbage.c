/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile guests: random values of every size to every port, MMIO register and APIC MSR, with time passing and vCPUs
 * taking what interrupts come. Nothing may crash, hang or trip a sanitizer; the seed is fixed, SEXTANT_SEED gives
 * another.
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "x86/msr.h"

static struct machine *m;
static struct device *dev[8];
static u64 seed = 0x5e87a97;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull;
}

static size_t sometimes(struct chardev *c, const u8 *data, size_t len)
{
	return rnd() % (len + 1);
}

static void ignore(struct chardev *c)
{
}

static const struct chardev_ops flaky_ops = { sometimes, ignore };
static struct chardev flaky = { .ops = &flaky_ops };

static int setup(void **state)
{
	struct device *intc;

	m = fixture_machine(3);
	dev[0] = intc = intc_new(m, NULL);
	dev[1] = pit_new(m, intc_isa_line(intc, 0), NULL);
	dev[2] = rtc_new(m, intc_isa_line(intc, 8), NULL);
	dev[3] = uart_new(m, 0x3f8, intc_isa_line(intc, 4), &flaky, NULL);
	dev[4] = acpi_pm_new(m, intc_isa_line(intc, SCI_IRQ), NULL);
	dev[5] = i8042_new(m, intc_isa_line(intc, 1), NULL);
	dev[6] = debug_ports_new(m, true, NULL);
	for (unsigned i = 0; i < 7; i++)
		assert_non_null(dev[i]);
	return 0;
}

static int teardown(void **state)
{
	vcpu_set_current(NULL);
	for (unsigned i = 7; i-- > 0;)
		device_destroy(dev[i]);
	machine_free(m);
	return 0;
}

/* Mostly values that mean something: few bits, or an ASCII of the registers' own. */
static u64 value(void)
{
	switch (rnd() % 4) {
	case 0: return 0;
	case 1: return 1ull << (rnd() % 64);
	case 2: return rnd() & 0xff;
	default: return rnd();
	}
}

static void live(void)
{
	struct vcpu *v = m->vcpu[rnd() % 3];
	u8 input[8] = { 0 };

	vcpu_set_current(v);
	switch (rnd() % 8) {
	case 0: fixture_pass(m, rnd() % 20000); break;
	case 1: m->intc->acknowledge(v); break;
	case 2: m->intc->set_tpr(v, rnd() & 15); break;
	case 3: flaky.front.receive(flaky.front.arg, input, rnd() % 8); break;
	case 4: flaky.front.writable(flaky.front.arg); break;
	case 5: atomic_store(&v->events, 0); break;
	case 6:
		if (rnd() % 64 == 0)
			m->intc->reset(v);
		break;
	default: break;
	}
}

/* A timer at the highest rates must not make the walk itself endless. */
static void calm(void)
{
	outb(m, 0x43, 0x30);
	for (unsigned i = 0; i < 3; i++) {
		vcpu_set_current(m->vcpu[i]);
		writel(m, LAPIC_BASE + 0x380, 0);
	}
}

static void access_bus(const struct bus *b, u64 addr)
{
	unsigned size = 1u << (rnd() % 4);

	if (rnd() & 1)
		bus_read(b, addr, size);
	else
		bus_write(b, addr, size, value());
}

static void every_port(void **state)
{
	for (u32 port = 0; port < 0x10000; port++)
		for (unsigned i = 0; i < 4; i++)
			access_bus(&m->pio, port);
	calm();
}

static void hot_ports(void **state)
{
	for (unsigned i = 0; i < 400000; i++) {
		const struct region *r = &m->pio.regions[rnd() % m->pio.count];

		access_bus(&m->pio, r->base + rnd() % (r->len + 2) - 1);
		live();
		if (i % 64 == 0)
			calm();
	}
}

static void mmio(void **state)
{
	for (unsigned i = 0; i < 400000; i++) {
		u64 base = rnd() % 4 ? LAPIC_BASE : IOAPIC_BASE,
		    offset = rnd() % 4 ? rnd() % 0x40 << 4 : rnd() % 0x1002;

		if (base == IOAPIC_BASE && rnd() % 2)
			offset = rnd() % 2 << 4;
		access_bus(&m->mmio, base + offset);
		live();
		if (i % 64 == 0)
			calm();
	}
}

static void msrs(void **state)
{
	for (unsigned i = 0; i < 300000; i++) {
		static const u32 others[] = { MSR_APIC_BASE, MSR_TSC_DEADLINE, 0, ~0u };
		struct vcpu *v = m->vcpu[rnd() % 3];
		u32 msr = rnd() % 8 ? MSR_X2APIC_FIRST + rnd() % 0x101 : others[rnd() % 4];
		u64 x;

		if (rnd() % 2)
			m->intc->read_msr(v, msr, &x);
		else
			m->intc->write_msr(v, msr,
					   msr == MSR_APIC_BASE && rnd() % 4 ? LAPIC_BASE | (rnd() & 0xc00) : value());
		live();
		if (i % 64 == 0)
			calm();
	}
}

static void messages(void **state)
{
	for (unsigned i = 0; i < 100000; i++) {
		intc_message(dev[0], rnd() % 2 ? rnd() : LAPIC_BASE | (rnd() & 0xfffff), (u32)rnd());
		live();
	}
}

static void lines(void **state)
{
	for (unsigned i = 0; i < 100000; i++) {
		struct irq_line line = rnd() % 2 ? intc_isa_line(dev[0], (unsigned)rnd())
						 : intc_pin_line(dev[0], rnd() % 64);

		irq_set(&line, rnd() & 1);
		if (rnd() % 4 == 0)
			access_bus(&m->pio, rnd() % 2 ? 0x20 + rnd() % 2 : 0xa0 + rnd() % 2);
		live();
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_port), TEST(hot_ports), TEST(mmio), TEST(msrs), TEST(messages), TEST(lines),
	};
	const char *other = getenv("SEXTANT_SEED");

	if (other)
		seed = strtoull(other, NULL, 0) | 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
