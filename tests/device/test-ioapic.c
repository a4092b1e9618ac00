/* SPDX-License-Identifier: Apache-2.0 */
/* I/O APIC: registers, edges, levels with remote IRR and retrigger, masks, destinations, ISA wiring. */
#include "fixture.h"

static struct machine *m;
static struct device *intc;

static int setup(void **state)
{
	m = fixture_machine(2);
	intc = intc_new(m, NULL);
	assert_non_null(intc);
	for (unsigned i = 0; i < 2; i++) {
		vcpu_set_current(m->vcpu[i]);
		writel(m, LAPIC_BASE + 0xf0, 0x1ff);
	}
	vcpu_set_current(m->vcpu[0]);
	return 0;
}

static int teardown(void **state)
{
	vcpu_set_current(NULL);
	device_destroy(intc);
	machine_free(m);
	return 0;
}

static u32 get(u8 reg)
{
	writel(m, IOAPIC_BASE, reg);
	return readl(m, IOAPIC_BASE + 0x10);
}

static void set(u8 reg, u32 value)
{
	writel(m, IOAPIC_BASE, reg);
	writel(m, IOAPIC_BASE + 0x10, value);
}

static void route(unsigned pin, u32 low, u8 dest)
{
	set((u8)(0x11 + 2 * pin), (u32)dest << 24);
	set((u8)(0x10 + 2 * pin), low);
}

static int take(unsigned cpu)
{
	return m->intc->acknowledge(m->vcpu[cpu]);
}

static void eoi(unsigned cpu)
{
	vcpu_set_current(m->vcpu[cpu]);
	writel(m, LAPIC_BASE + 0xb0, 0);
	vcpu_set_current(m->vcpu[0]);
}

static void registers(void **state)
{
	assert_int_equal(get(0), 2u << 24);
	assert_int_equal(get(1), 0x00170020);
	set(0, 0x05000000);
	assert_int_equal(get(0), 0x05000000);
	for (unsigned pin = 0; pin < 24; pin++)
		assert_int_equal(get((u8)(0x10 + 2 * pin)), 0x10000);
	set(0x10, 0xffffffff);
	assert_int_equal(get(0x10), 0x1afff); /* status bits are read-only */
	assert_int_equal(get(0x40), 0);
}

static void edge(void **state)
{
	struct irq_line line = intc_pin_line(intc, 20);

	route(20, 0x41, 1);
	irq_set(&line, true);
	assert_int_equal(take(0), -1);
	assert_int_equal(take(1), 0x41);
	eoi(1);
	assert_int_equal(take(1), -1); /* still high, but no edge */
	irq_set(&line, false);
	irq_set(&line, true);
	assert_int_equal(take(1), 0x41);
	eoi(1);
	irq_set(&line, false);
	route(20, 0x10041, 1);
	irq_set(&line, true);
	route(20, 0x41, 1);
	assert_int_equal(take(1), -1); /* an edge while masked is lost */
}

static void level(void **state)
{
	struct irq_line line = intc_pin_line(intc, 21);

	route(21, 0x8000 | 0x51, 0);
	irq_set(&line, true);
	assert_int_equal(get(0x10 + 42), 0xc051); /* remote IRR */
	assert_int_equal(take(0), 0x51);
	irq_set(&line, false);
	irq_set(&line, true);
	assert_int_equal(take(0), -1);
	eoi(0);
	assert_int_equal(get(0x10 + 42), 0xc051); /* asserted still: sent again */
	assert_int_equal(take(0), 0x51);
	irq_set(&line, false);
	eoi(0);
	assert_int_equal(get(0x10 + 42), 0x8051);
	assert_int_equal(take(0), -1);
}

static void masked_level_waits(void **state)
{
	struct irq_line line = intc_pin_line(intc, 21);

	route(21, 0x18051, 0);
	irq_set(&line, true);
	assert_int_equal(take(0), -1);
	route(21, 0x08051, 0);
	assert_int_equal(take(0), 0x51);
}

static void eoi_register_and_edge_trick(void **state)
{
	struct irq_line line = intc_pin_line(intc, 21);

	route(21, 0x8051, 0);
	irq_set(&line, true);
	irq_set(&line, false);
	assert_true(get(0x10 + 42) & 0x4000);
	writel(m, IOAPIC_BASE + 0x40, 0x52);
	assert_true(get(0x10 + 42) & 0x4000);
	writel(m, IOAPIC_BASE + 0x40, 0x51);
	assert_false(get(0x10 + 42) & 0x4000);
	irq_set(&line, true);
	irq_set(&line, false);
	route(21, 0x10051, 0);
	assert_false(get(0x10 + 42) & 0x4000);
}

static void shared_vector(void **state)
{
	struct irq_line a = intc_pin_line(intc, 16), b = intc_pin_line(intc, 17);

	route(16, 0x8061, 0);
	route(17, 0x8061, 0);
	irq_set(&a, true);
	irq_set(&b, true);
	assert_int_equal(take(0), 0x61);
	irq_set(&a, false);
	eoi(0);
	assert_int_equal(take(0), 0x61); /* for b */
	irq_set(&b, false);
	eoi(0);
	assert_int_equal(take(0), -1);
}

static void polarity_is_the_firmwares_business(void **state)
{
	struct irq_line line = intc_pin_line(intc, 9);

	route(9, 0xa000 | 0x51, 0);
	assert_int_equal(take(0), -1);
	irq_set(&line, true);
	assert_int_equal(take(0), 0x51);
}

static void isa_wiring(void **state)
{
	struct irq_line timer = intc_isa_line(intc, 0), com = intc_isa_line(intc, 4);

	route(2, 0x30, 0);
	route(4, 0x34, 0);
	irq_set(&timer, true);
	assert_int_equal(take(0), 0x30);
	eoi(0);
	irq_set(&com, true);
	assert_int_equal(take(0), 0x34);
}

static void nmi_and_extint(void **state)
{
	struct irq_line line = intc_pin_line(intc, 18), com = intc_isa_line(intc, 4);

	route(18, 0x400, 1);
	irq_set(&line, true);
	assert_true(m->vcpu[1]->events & EV_NMI);
	/* The PICs also reach CPU 1 as ExtINT through pin 0. */
	outb(m, 0x20, 0x11);
	outb(m, 0x21, 0x30);
	outb(m, 0x21, 4);
	outb(m, 0x21, 1);
	writel(m, LAPIC_BASE + 0x350, 0x10700);
	route(0, 0x700, 1);
	irq_set(&com, true);
	assert_int_equal(take(0), -1);
	assert_int_equal(take(1), 0x34);
}

static void undeliverable_level_is_not_stuck(void **state)
{
	struct irq_line line = intc_pin_line(intc, 21);

	route(21, 0x8051, 7); /* no such APIC */
	irq_set(&line, true);
	assert_false(get(0x10 + 42) & 0x4000);
	route(21, 0x8051, 0);
	assert_int_equal(take(0), 0x51);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(registers),
		TEST(edge),
		TEST(level),
		TEST(masked_level_waits),
		TEST(eoi_register_and_edge_trick),
		TEST(shared_vector),
		TEST(polarity_is_the_firmwares_business),
		TEST(isa_wiring),
		TEST(nmi_and_extint),
		TEST(undeliverable_level_is_not_stuck),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
