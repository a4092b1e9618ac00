/* SPDX-License-Identifier: Apache-2.0 */
/* POST port and debug-exit port. */
#include "fixture.h"

static struct machine *m;
static struct device *ports;

static int setup(void **state)
{
	m = fixture_machine(1);
	ports = debug_ports_new(m, true, NULL);
	assert_non_null(ports);
	return 0;
}

static int teardown(void **state)
{
	device_destroy(ports);
	machine_free(m);
	return 0;
}

static void post(void **state)
{
	outb(m, 0x80, 0x42);
	assert_int_equal(inb(m, 0x80), 0x42);
}

static void exit_byte(void **state)
{
	assert_int_equal(inb(m, 0xf4), 0xff);
	outb(m, 0xf5, 9);
	assert_int_equal(m->end, END_NONE);
	outb(m, 0xf4, 42);
	assert_int_equal(m->end, END_DEBUG_EXIT);
	assert_int_equal(m->end_status, 42);
	outb(m, 0xf4, 7); /* the first one stands */
	assert_int_equal(m->end_status, 42);
}

static void exit_word(void **state)
{
	outw(m, 0xf4, 0x1234);
	assert_int_equal(m->end_status, 0x1234);
}

static void exit_dword(void **state)
{
	bus_write(&m->pio, 0xf4, 4, 0x12345678);
	assert_int_equal(m->end_status, 0x12345678);
}

static void no_exit_port(void **state)
{
	device_destroy(ports);
	machine_free(m);
	m = fixture_machine(1);
	ports = debug_ports_new(m, false, NULL);
	outb(m, 0xf4, 42);
	assert_int_equal(m->end, END_NONE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(post), TEST(exit_byte), TEST(exit_word), TEST(exit_dword), TEST(no_exit_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
