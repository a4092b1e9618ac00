/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI fixed hardware: timer and its carry, power button, S5, reset register. */
#include "fixture.h"

static struct machine *m;
static struct device *pm;
static struct sink sci;
static struct region reset;

static int setup(void **state)
{
	m = fixture_machine(1);
	pm = acpi_pm_new(m, sink_line(&sci, m), NULL);
	assert_non_null(pm);
	reset = acpi_pm_reset_register(pm);
	assert_int_equal(bus_add(&m->pio, &reset, NULL), 0); /* as the PCI bus passes it on */
	return 0;
}

static int teardown(void **state)
{
	device_destroy(pm);
	machine_free(m);
	return 0;
}

static void timer_counts(void **state)
{
	assert_int_equal(inl(m, 0x608), 0);
	fixture_pass(m, SEC);
	assert_int_equal(inl(m, 0x608), 3579545);
	assert_int_equal(inb(m, 0x609), 3579545 >> 8 & 0xff);
	fixture_pass(m, 1199 * SEC);
	assert_int_equal(inl(m, 0x608), (u32)(1200 * 3579545ull));
}

static void timer_carry(void **state)
{
	outw(m, 0x602, 0x0001);
	fixture_pass(m, 599 * SEC);
	assert_false(sci.level);
	fixture_pass(m, SEC); /* 2^31 ticks are 599.93 s */
	assert_true(sci.level);
	assert_int_equal(inb(m, 0x600), 0x01);
	outw(m, 0x600, 0x0001);
	assert_false(sci.level);
	fixture_pass(m, 600 * SEC);
	assert_true(sci.level);
	outw(m, 0x602, 0);
	assert_false(sci.level);
}

static void power_button(void **state)
{
	acpi_pm_power_button(pm);
	assert_false(sci.level);
	outw(m, 0x602, 0x0100);
	assert_true(sci.level);
	outb(m, 0x600, 0xff);
	assert_true(sci.level); /* the other byte */
	outb(m, 0x601, 0x01);
	assert_false(sci.level);
}

static void control(void **state)
{
	assert_int_equal(bus_read(&m->pio, 0x604, 2), 1);
	outw(m, 0x604, 0x1c00);
	assert_int_equal(bus_read(&m->pio, 0x604, 2), 0x1c01);
	outw(m, 0x604, 0x2000); /* S0 */
	outw(m, 0x604, 0x2000 | 1 << 10);
	assert_int_equal(m->end, END_NONE);
	outw(m, 0x604, 0x2000 | PM_S5_TYPE << 10);
	assert_int_equal(m->end, END_POWEROFF);
	assert_true(m->vcpu[0]->events & EV_STOP);
}

static void power_off_by_bytes(void **state)
{
	outb(m, 0x605, (0x2000 | PM_S5_TYPE << 10) >> 8);
	assert_int_equal(m->end, END_POWEROFF);
}

static void reset_register(void **state)
{
	outb(m, RESET_PORT, 0x02);
	assert_int_equal(inb(m, RESET_PORT), 0x02);
	assert_int_equal(m->end, END_NONE);
	outb(m, RESET_PORT, RESET_VALUE);
	assert_int_equal(m->end, END_REBOOT);
}

static void apm(void **state)
{
	outb(m, 0xb2, 0xf1);
	outb(m, 0xb3, 0x12);
	assert_int_equal(inb(m, 0xb2), 0xf1);
	assert_int_equal(inb(m, 0xb3), 0x12);
	assert_int_equal(m->end, END_NONE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(timer_counts),	  TEST(timer_carry),	TEST(power_button), TEST(control),
		TEST(power_off_by_bytes), TEST(reset_register), TEST(apm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
