/* SPDX-License-Identifier: Apache-2.0 */
/* The MC146818: calendar in every format, setting it, UIP, alarm, periodic and update interrupts, CMOS RAM. */
#include "fixture.h"

static struct machine *m;
static struct device *rtc;
static struct sink irq;

static int setup(void **state)
{
	m = fixture_machine(2);
	rtc = rtc_new(m, sink_line(&irq, m), NULL);
	assert_non_null(rtc);
	return 0;
}

static int teardown(void **state)
{
	device_destroy(rtc);
	machine_free(m);
	return 0;
}

static u8 get(u8 reg)
{
	outb(m, 0x70, reg);
	return inb(m, 0x71);
}

static void set(u8 reg, u8 value)
{
	outb(m, 0x70, reg);
	outb(m, 0x71, value);
}

/* Deterministic machines start on Monday, 2024-01-01 00:00:00. */
static void calendar(void **state)
{
	fixture_pass(m, ((13 * 60 + 45) * 60 + 59) * SEC);
	assert_int_equal(get(0), 0x59);
	assert_int_equal(get(2), 0x45);
	assert_int_equal(get(4), 0x13);
	assert_int_equal(get(6), 2);
	assert_int_equal(get(7), 0x01);
	assert_int_equal(get(8), 0x01);
	assert_int_equal(get(9), 0x24);
	assert_int_equal(get(0x32), 0x20);
	set(0x0b, 0x06); /* binary */
	assert_int_equal(get(0), 59);
	assert_int_equal(get(4), 13);
	set(0x0b, 0x04); /* 12 hours */
	assert_int_equal(get(4), 0x81);
	set(0x0b, 0x00);
	assert_int_equal(get(4), 0x81);
	fixture_pass(m, 11 * 3600 * SEC);
	assert_int_equal(get(4), 0x12); /* midnight is 12 AM */
	assert_int_equal(get(7), 0x02);
	assert_int_equal(get(0x0d), 0x80);
}

static void set_time(void **state)
{
	set(0x0b, 0x82); /* SET */
	set(0, 0x58);
	set(2, 0x59);
	set(4, 0x23);
	set(7, 0x28);
	set(8, 0x02);
	set(9, 0x99);
	set(0x32, 0x19);
	fixture_pass(m, 5 * SEC);
	assert_int_equal(get(0), 0x58); /* stands still */
	set(0x0b, 0x02);
	assert_int_equal(get(0), 0x58);
	fixture_pass(m, 2 * SEC);
	assert_int_equal(get(0), 0x00);
	assert_int_equal(get(4), 0x00);
	assert_int_equal(get(7), 0x01); /* 1999 was no leap year */
	assert_int_equal(get(8), 0x03);
	assert_int_equal(get(9), 0x99);
	assert_int_equal(get(0x32), 0x19);
}

static void divider_reset_gives_half_a_second(void **state)
{
	set(0x0a, 0x76);
	fixture_pass(m, 10 * SEC);
	assert_int_equal(get(0), 0x00);
	set(0x0a, 0x26);
	fixture_pass(m, 499 * MS);
	assert_int_equal(get(0), 0x00);
	fixture_pass(m, 2 * MS);
	assert_int_equal(get(0), 0x01);
}

static void update_in_progress(void **state)
{
	fixture_pass(m, 999 * MS);
	assert_int_equal(get(0x0a) & 0x80, 0);
	fixture_pass(m, MS - 100000);
	assert_int_equal(get(0x0a) & 0x80, 0x80);
	fixture_pass(m, 100000);
	assert_int_equal(get(0x0a) & 0x80, 0);
}

static void update_interrupt(void **state)
{
	set(0x0b, 0x12);
	fixture_pass(m, SEC - 1);
	assert_false(irq.level);
	fixture_pass(m, 1);
	assert_true(irq.level);
	assert_int_equal(get(0x0c) & 0xf0, 0x80 | 0x50); /* the periodic flag comes whether enabled or not */
	assert_false(irq.level);
	assert_int_equal(get(0x0c), 0);
	fixture_pass(m, 10 * SEC);
	assert_int_equal(irq.rises, 2); /* none more until C is read */
}

static void periodic_interrupt(void **state)
{
	set(0x0a, 0x26); /* 1024 Hz */
	set(0x0b, 0x42);
	for (unsigned i = 1; i <= 1024; i++) {
		fixture_pass(m, SEC / 1024 + 1);
		assert_int_equal(irq.rises, i);
		assert_int_equal(get(0x0c) & 0xc0, 0xc0);
	}
	set(0x0a, 0x20);
	fixture_pass(m, SEC);
	assert_int_equal(get(0x0c) & 0x40, 0);
}

static void alarm_clock(void **state)
{
	set(5, 0x00);
	set(3, 0x01);
	set(1, 0x30);
	set(0x0b, 0x22);
	fixture_pass(m, 90 * SEC - 1);
	assert_false(irq.level);
	fixture_pass(m, 1);
	assert_true(irq.level);
	assert_int_equal(get(0x0c) & 0xa0, 0xa0);
	fixture_pass(m, 86399 * SEC);
	assert_false(irq.level);
	fixture_pass(m, SEC);
	assert_true(irq.level); /* a day later */
	get(0x0c);
	set(5, 0xff);
	set(3, 0xc0); /* any hour and minute */
	fixture_pass(m, 59 * SEC);
	assert_false(irq.level);
	fixture_pass(m, SEC);
	assert_true(irq.level);
	get(0x0c);
	set(1, 0x99); /* never */
	fixture_pass(m, 86400 * SEC);
	assert_false(irq.level);
}

static void polled_alarm_flag(void **state)
{
	set(5, 0x00);
	set(3, 0x00);
	set(1, 0x05);
	get(0x0c);
	fixture_pass(m, 10 * SEC);
	assert_int_equal(get(0x0c) & 0xa0, 0x20);
}

static void cmos_ram(void **state)
{
	assert_int_equal(get(0x15) | get(0x16) << 8, 640);
	assert_int_equal(get(0x17) | get(0x18) << 8, 15 * 1024);
	assert_int_equal(get(0x5f), 1);
	set(0x40, 0xa5);
	assert_int_equal(get(0x40), 0xa5);
	assert_int_equal(get(0xc0), 0xa5); /* NMI bit */
	rtc_set_cmos(rtc, 0x0f, 0x0a);
	assert_int_equal(get(0x0f), 0x0a);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(calendar),		  TEST(set_time),	   TEST(divider_reset_gives_half_a_second),
		TEST(update_in_progress), TEST(update_interrupt),  TEST(periodic_interrupt),
		TEST(alarm_clock),	  TEST(polled_alarm_flag), TEST(cmos_ram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
