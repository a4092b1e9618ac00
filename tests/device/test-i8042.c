/* SPDX-License-Identifier: Apache-2.0 */
/* The keyboard controller as a driver probes it: nothing there, and said at once; resets; A20. */
#include "fixture.h"

static struct machine *m;
static struct device *kbd;
static struct sink irq;

static int setup(void **state)
{
	m = fixture_machine(1);
	kbd = i8042_new(m, sink_line(&irq, m), NULL);
	assert_non_null(kbd);
	return 0;
}

static int teardown(void **state)
{
	device_destroy(kbd);
	machine_free(m);
	return 0;
}

static u8 ask(u8 command)
{
	outb(m, 0x64, command);
	assert_true(inb(m, 0x64) & 0x01);
	return inb(m, 0x60);
}

static void self_tests(void **state)
{
	assert_int_equal(inb(m, 0x64) & 0x01, 0);
	assert_int_equal(ask(0xaa), 0x55);
	assert_int_equal(ask(0xab), 0x00);
	assert_int_not_equal(ask(0xa9), 0x00);
	assert_int_equal(inb(m, 0x64) & 0x03, 0);
}

static void command_byte(void **state)
{
	u8 ctr = ask(0x20);

	assert_true(ctr & 0x20); /* auxiliary port off */
	outb(m, 0x64, 0x60);
	assert_int_equal(inb(m, 0x64) & 0x08, 0x08);
	outb(m, 0x60, ctr & ~0x01);
	assert_int_equal(inb(m, 0x64) & 0x08, 0);
	assert_int_equal(ask(0x20), ctr & ~0x01);
	outb(m, 0x64, 0xad);
	assert_true(ask(0x20) & 0x10);
	outb(m, 0x64, 0xae);
	assert_false(ask(0x20) & 0x10);
}

static void no_keyboard(void **state)
{
	outb(m, 0x60, 0xf2); /* identify */
	assert_int_equal(inb(m, 0x64) & 0x41, 0x41);
	assert_true(irq.level);
	assert_int_equal(inb(m, 0x60), 0xfe);
	assert_false(irq.level);
	assert_int_equal(inb(m, 0x64) & 0x41, 0);
	outb(m, 0x60, 0xff);
	outb(m, 0x60, 0xff);
	assert_int_equal(irq.rises, 3); /* each unanswered byte is heard of */
}

static void no_mouse(void **state)
{
	outb(m, 0x64, 0xd3);
	outb(m, 0x60, 0x5a);
	assert_int_equal(inb(m, 0x64) & 0x21, 0x01); /* echoed, but not as from a mouse */
	assert_int_equal(inb(m, 0x60), 0x5a);
	outb(m, 0x64, 0xd4);
	outb(m, 0x60, 0xf2);
	assert_int_equal(inb(m, 0x64) & 0x61, 0x61);
	assert_int_equal(inb(m, 0x60), 0xfe);
}

static void reset_pulse(void **state)
{
	outb(m, 0x64, 0xff);
	assert_int_equal(m->end, END_NONE);
	outb(m, 0x64, 0xfe);
	assert_int_equal(m->end, END_REBOOT);
}

static void reset_by_output_port(void **state)
{
	outb(m, 0x64, 0xd1);
	outb(m, 0x60, 0xdf);
	assert_int_equal(m->end, END_NONE);
	outb(m, 0x64, 0xd1);
	outb(m, 0x60, 0xde);
	assert_int_equal(m->end, END_REBOOT);
}

static void a20_and_fast_reset(void **state)
{
	assert_int_equal(inb(m, 0x92) & 2, 2);
	assert_int_equal(ask(0xd0) & 3, 3);
	outb(m, 0x92, 0);
	assert_int_equal(inb(m, 0x92) & 2, 0);
	assert_int_equal(ask(0xd0) & 2, 0);
	outb(m, 0x64, 0xdf);
	assert_int_equal(inb(m, 0x92) & 2, 2);
	outb(m, 0x92, 3);
	assert_int_equal(m->end, END_REBOOT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(self_tests),  TEST(command_byte),	       TEST(no_keyboard),	 TEST(no_mouse),
		TEST(reset_pulse), TEST(reset_by_output_port), TEST(a20_and_fast_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
