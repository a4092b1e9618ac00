/* SPDX-License-Identifier: Apache-2.0 */
/* The 8254: every mode's output and count, tick by tick, gates, latches, read-back, BCD, and the interrupt of
 * counter 0. */
#include "fixture.h"

#define HZ 1193182ull

static struct machine *m;
static struct device *pit;
static struct sink irq;

static int setup(void **state)
{
	m = fixture_machine(1);
	pit = pit_new(m, sink_line(&irq, m), NULL);
	assert_non_null(pit);
	return 0;
}

static int teardown(void **state)
{
	device_destroy(pit);
	machine_free(m);
	return 0;
}

/* Moves the clock to the first nanosecond of the n-th tick from machine start. */
static void at_tick(u64 n)
{
	fixture_pass(m, (n * SEC + HZ - 1) / HZ - clock_now(m->clock));
}

static void program(unsigned counter, u8 mode, u16 n)
{
	outb(m, 0x43, (u8)(counter << 6 | 0x30 | mode << 1));
	outb(m, (u16)(0x40 + counter), (u8)n);
	outb(m, (u16)(0x40 + counter), n >> 8);
}

static u16 count(unsigned counter)
{
	u8 low;

	outb(m, 0x43, (u8)(counter << 6));
	low = inb(m, (u16)(0x40 + counter));
	return (u16)(low | inb(m, (u16)(0x40 + counter)) << 8);
}

static bool out(unsigned counter)
{
	outb(m, 0x43, (u8)(0xe0 | 2 << counter));
	return inb(m, (u16)(0x40 + counter)) & 0x80;
}

static bool null_count(unsigned counter)
{
	outb(m, 0x43, (u8)(0xe0 | 2 << counter));
	return inb(m, (u16)(0x40 + counter)) & 0x40;
}

/* Written at tick 0, so loaded at tick 1. */
static void mode0_interrupt_on_terminal_count(void **state)
{
	program(0, 0, 5);
	assert_true(null_count(0));
	assert_false(out(0));
	at_tick(1);
	assert_false(null_count(0));
	assert_int_equal(count(0), 5);
	at_tick(5);
	assert_int_equal(count(0), 1);
	assert_false(out(0));
	assert_int_equal(irq.rises, 0);
	at_tick(6);
	assert_int_equal(count(0), 0);
	assert_true(out(0));
	assert_int_equal(irq.rises, 1);
	at_tick(7);
	assert_int_equal(count(0), 0xffff);
	assert_true(out(0));
	program(0, 0, 3);
	assert_false(irq.level);
	at_tick(100);
	assert_int_equal(irq.rises, 2);
}

static void mode0_gate_suspends(void **state)
{
	outb(m, 0x61, 1);
	program(2, 0, 10);
	at_tick(4);
	assert_int_equal(count(2), 7);
	outb(m, 0x61, 0);
	at_tick(50);
	assert_int_equal(count(2), 7);
	assert_int_equal(inb(m, 0x61) & 0x20, 0);
	outb(m, 0x61, 1);
	at_tick(56);
	assert_int_equal(count(2), 1);
	at_tick(57);
	assert_int_equal(inb(m, 0x61) & 0x20, 0x20);
}

static void mode1_one_shot(void **state)
{
	program(2, 1, 4);
	at_tick(10);
	assert_true(out(2)); /* waits for its trigger */
	outb(m, 0x61, 1);
	at_tick(11);
	assert_false(out(2));
	outb(m, 0x61, 0);
	at_tick(13);
	outb(m, 0x61, 1); /* again before it ended */
	at_tick(17);
	assert_false(out(2));
	at_tick(18);
	assert_true(out(2));
}

static void mode2_rate_generator(void **state)
{
	program(0, 2, 4);
	for (unsigned t = 1; t < 20; t++) {
		at_tick(t);
		assert_int_equal(count(0), 4 - (t - 1) % 4);
		assert_int_equal(out(0), (t - 1) % 4 != 3);
	}
	assert_int_equal(irq.rises, 1 + 4); /* OUT goes high with the control word, then at each reload */
	assert_int_equal(irq.last_rise, (17 * SEC + HZ - 1) / HZ);
}

static void mode2_new_count_after_the_period(void **state)
{
	program(2, 2, 100);
	outb(m, 0x61, 1);
	at_tick(50);
	outb(m, 0x42, 10);
	outb(m, 0x42, 0);
	assert_true(null_count(2));
	at_tick(101);
	assert_true(count(2) <= 100);
	at_tick(102);
	assert_true(count(2) <= 10);
	assert_false(null_count(2));
}

static void mode3_square_wave(void **state)
{
	static const u8 even[] = { 6, 4, 2, 6, 4, 2 }, odd[] = { 5, 4, 2, 5, 2 };

	program(0, 3, 6);
	for (unsigned t = 0; t < 12; t++) {
		at_tick(1 + t);
		assert_int_equal(count(0), even[t % 6]);
		assert_int_equal(out(0), t % 6 < 3);
	}
	program(0, 3, 5);
	for (unsigned t = 0; t < 10; t++) {
		at_tick(13 + t);
		assert_int_equal(count(0), odd[t % 5]);
		assert_int_equal(out(0), t % 5 < 3);
	}
}

static void mode4_software_strobe(void **state)
{
	program(0, 4, 3);
	at_tick(3);
	assert_true(out(0));
	at_tick(4);
	assert_false(out(0));
	at_tick(5);
	assert_true(out(0));
	at_tick(1000);
	assert_int_equal(irq.rises, 2); /* the control word, the strobe's end */
}

static void mode5_hardware_strobe(void **state)
{
	program(2, 5, 3);
	at_tick(10);
	assert_true(out(2));
	outb(m, 0x61, 1);
	at_tick(13);
	assert_true(out(2));
	at_tick(14);
	assert_false(out(2));
	at_tick(15);
	assert_true(out(2));
}

static void hundred_hertz_is_exact(void **state)
{
	program(0, 2, 11932);
	irq.rises = 0;
	fixture_pass(m, 10 * SEC);
	assert_int_equal(irq.rises, 10 * HZ / 11932);
	program(0, 3, 0); /* 65536 */
	irq.rises = 0;
	fixture_pass(m, 10 * SEC);
	assert_int_equal(irq.rises, 10 * HZ / 65536);
}

static void bcd(void **state)
{
	outb(m, 0x43, 0x31); /* mode 0, BCD */
	outb(m, 0x40, 0x00);
	outb(m, 0x40, 0x10);
	at_tick(2);
	assert_int_equal(count(0), 0x0999);
	at_tick(1001);
	assert_true(out(0));
	at_tick(1002);
	assert_int_equal(count(0), 0x9999);
}

static void latches_hold(void **state)
{
	program(0, 2, 1000);
	at_tick(11);
	outb(m, 0x43, 0x00);
	at_tick(500);
	outb(m, 0x43, 0x00); /* the first latch stands until read */
	assert_int_equal(inb(m, 0x40), 990 & 0xff);
	assert_int_equal(inb(m, 0x40), 990 >> 8);
	/* Read-back of status and count: status comes first. */
	outb(m, 0x43, 0xc2);
	assert_int_equal(inb(m, 0x40), 0x80 | 0x34);
	at_tick(600);
	assert_int_equal(inb(m, 0x40), 501 & 0xff);
	assert_int_equal(inb(m, 0x40), 501 >> 8);
}

static void single_byte_access(void **state)
{
	outb(m, 0x43, 0x10 | 0x04); /* counter 0, low byte only, mode 2 */
	outb(m, 0x40, 200);
	at_tick(11);
	assert_int_equal(inb(m, 0x40), 190);
	outb(m, 0x43, 0x20 | 0x04); /* high byte only */
	outb(m, 0x40, 2);
	at_tick(12);
	assert_int_equal(inb(m, 0x40), 2);
}

static void port_61(void **state)
{
	u8 first = inb(m, 0x61) & 0x10;

	outb(m, 0x61, 0x03);
	assert_int_equal(inb(m, 0x61) & 0x0f, 0x03);
	fixture_pass(m, 15085);
	assert_int_not_equal(inb(m, 0x61) & 0x10, first);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(mode0_interrupt_on_terminal_count),
		TEST(mode0_gate_suspends),
		TEST(mode1_one_shot),
		TEST(mode2_rate_generator),
		TEST(mode2_new_count_after_the_period),
		TEST(mode3_square_wave),
		TEST(mode4_software_strobe),
		TEST(mode5_hardware_strobe),
		TEST(hundred_hertz_is_exact),
		TEST(bcd),
		TEST(latches_hold),
		TEST(single_byte_access),
		TEST(port_61),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
