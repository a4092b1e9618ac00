/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device: fills what it is offered, tells how much, and takes buffers that make no sense. */
#include "virtio-driver.h"

#include "devices/virtio/devices.h"

static struct machine *m;
static struct driver dr;

static int setup(void **state)
{
	m = fixture_machine(1);
	driver_start(&dr, virtio_rng_new(m, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	driver_stop(&dr);
	machine_free(m);
	return 0;
}

static void fills(void **state)
{
	u64 a = driver_alloc(&dr, 64), b = driver_alloc(&dr, 64);
	u32 len;
	const struct part parts[] = { { a, 10 }, { b, 20 } };
	const u8 *p = driver_ptr(&dr, a, 64), *q = driver_ptr(&dr, b, 64);
	static const u8 untouched[64] = { [0 ... 63] = 0xcc };

	driver_add(&dr, 0, NULL, 0, parts, 2);
	driver_kick(&dr, 0);
	assert_int_equal(driver_used(&dr, 0, &len), 0);
	assert_int_equal(len, 30);
	assert_int_equal(driver_used(&dr, 0, &len), -1);
	assert_int_equal(dr.q[0].interrupts, 1);
	assert_memory_not_equal(p, untouched, 10);
	assert_memory_equal(p + 10, untouched, 54);
	assert_memory_not_equal(q, untouched, 20);
	assert_memory_equal(q + 20, untouched, 44);
}

static void odd_buffers(void **state)
{
	u64 a = driver_alloc(&dr, 70000);
	const struct part big = { a, 70000 };
	u32 len;

	driver_add(&dr, 0, &big, 1, NULL, 0); /* nothing to write to */
	driver_add(&dr, 0, NULL, 0, &big, 1);
	driver_kick(&dr, 0);
	assert_int_equal(driver_used(&dr, 0, &len), 0);
	assert_int_equal(len, 0);
	assert_int_equal(driver_used(&dr, 0, &len), 1);
	assert_int_equal(len, 4096);
	assert_false(driver_broken(&dr));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(fills, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_buffers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
