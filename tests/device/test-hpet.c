/* SPDX-License-Identifier: Apache-2.0 */
/* Event timers: the counter, one-shot, periodic and level interrupts, and the ports that kvm-unit-tests use. */
#include "fixture.h"

#define CAPS	 HPET_BASE
#define CONFIG	 (HPET_BASE + 0x10)
#define STATUS	 (HPET_BASE + 0x20)
#define COUNTER	 (HPET_BASE + 0xf0)
#define TIMER(n) (HPET_BASE + 0x100 + 0x20 * (n))
#define IOREDTBL 0x10

static struct machine *m;
static struct device *intc, *hpet, *ports;

static u64 readq(u64 gpa)
{
	return bus_read(&m->mmio, gpa, 8);
}
static void writeq(u64 gpa, u64 value)
{
	bus_write(&m->mmio, gpa, 8, value);
}

/* I/O APIC pin to vector at vCPU 0. */
static void route(unsigned pin, u8 vector, bool level)
{
	writel(m, IOAPIC_BASE, IOREDTBL + 2 * pin);
	writel(m, IOAPIC_BASE + 0x10, vector | (level ? 1 << 15 : 0));
}

static int taken(void)
{
	int vector = m->intc->acknowledge(m->vcpu[0]);

	if (vector >= 0)
		writel(m, LAPIC_BASE + 0xb0, 0);
	return vector;
}

static int setup(void **state)
{
	m = fixture_machine(1);
	intc = intc_new(m, NULL);
	hpet = hpet_new(m, intc, NULL);
	ports = test_ports_new(m, intc, NULL);
	assert_non_null(ports);
	vcpu_set_current(m->vcpu[0]);
	return 0;
}

static int teardown(void **state)
{
	vcpu_set_current(NULL);
	device_destroy(ports);
	device_destroy(hpet);
	device_destroy(intc);
	machine_free(m);
	return 0;
}

static void counter(void **state)
{
	assert_int_equal(readq(CAPS) >> 32, 10000000); /* femtoseconds */
	fixture_pass(m, MS);
	assert_int_equal(readq(COUNTER), 0);
	writeq(COUNTER, 1000);
	writeq(CONFIG, 1);
	fixture_pass(m, MS);
	assert_int_equal(readq(COUNTER), 1000 + MS / 10);
	assert_int_equal(readl(m, COUNTER), 1000 + MS / 10);
	writeq(CONFIG, 0);
	fixture_pass(m, MS);
	assert_int_equal(readq(COUNTER), 1000 + MS / 10);
}

static void one_shot(void **state)
{
	route(21, 0x55, false);
	writeq(TIMER(1), 21 << 9 | 4);
	writeq(TIMER(1) + 8, 500);
	writeq(CONFIG, 1);
	fixture_pass(m, 4990);
	assert_int_equal(taken(), -1);
	fixture_pass(m, 10);
	assert_int_equal(taken(), 0x55);
	fixture_pass(m, SEC);
	assert_int_equal(taken(), -1);
}

static void periodic(void **state)
{
	route(20, 0x60, false);
	writeq(TIMER(0), 20 << 9 | 4 | 8 | 0x40);
	writeq(TIMER(0) + 8, 300); /* first */
	writeq(TIMER(0) + 8, 100); /* then each */
	writeq(CONFIG, 1);
	fixture_pass(m, 3000);
	assert_int_equal(taken(), 0x60);
	for (unsigned i = 0; i < 5; i++) {
		fixture_pass(m, 990);
		assert_int_equal(taken(), -1);
		fixture_pass(m, 10);
		assert_int_equal(taken(), 0x60);
	}
	writeq(CONFIG, 0);
	fixture_pass(m, MS);
	assert_int_equal(taken(), -1);
}

static void level(void **state)
{
	route(22, 0x70, true);
	writeq(TIMER(2), 22 << 9 | 4 | 2);
	writeq(TIMER(2) + 8, 100);
	writeq(CONFIG, 1);
	fixture_pass(m, 1000);
	assert_int_equal(readq(STATUS), 4);
	assert_int_equal(taken(), 0x70);
	assert_int_equal(taken(), 0x70); /* still asserted after EOI */
	assert_int_equal(m->intc->acknowledge(m->vcpu[0]), 0x70);
	writeq(STATUS, 4);
	writel(m, LAPIC_BASE + 0xb0, 0);
	assert_int_equal(taken(), -1);
}

static void bad_route(void **state)
{
	writeq(TIMER(0), 3 << 9 | 4);
	assert_int_equal(readq(TIMER(0)) >> 9 & 31, 20);
	assert_int_equal(bus_read(&m->mmio, HPET_BASE + 0x3f8, 8), 0);
	bus_write(&m->mmio, TIMER(0) + 2, 2, 0xffff);
	bus_write(&m->mmio, TIMER(0) + 4, 8, ~0ull);
}

static void test_ports(void **state)
{
	bus_write(&m->pio, 0xe0, 4, 0x12345678);
	assert_int_equal(inl(m, 0xe0), 0x12345678);
	assert_int_equal(inb(m, 0xe1), 0x56);
	bus_write(&m->mmio, 0xff000010, 8, 0x1122334455667788);
	assert_int_equal(bus_read(&m->mmio, 0xff000012, 2), 0x5566);
	route(5, 0x41, false);
	outb(m, 0x2005, 1);
	assert_int_equal(taken(), 0x41);
	outb(m, 0x2005, 0);
	assert_int_equal(taken(), -1);
	bus_write(&m->pio, 0x2017, 4, ~0u); /* past the last line */
	bus_write(&m->mmio, 0xff00fffc, 8, ~0ull);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(counter), TEST(one_shot), TEST(periodic), TEST(level), TEST(bad_route), TEST(test_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
