/* SPDX-License-Identifier: Apache-2.0 */
/* The console device: bytes either way with a back end that takes as many as it likes, and resets in between. */
#include "virtio-driver.h"

#include <linux/virtio_console.h>

#include "devices/virtio/devices.h"

static char written[8192];
static size_t count, room;
static unsigned resumed;

static size_t write_some(struct chardev *c, const u8 *data, size_t len)
{
	size_t n = MIN(len, room);

	memcpy(written + count, data, n);
	count += n;
	room -= n;
	return n;
}

static void resume(struct chardev *c)
{
	resumed++;
}

static const struct chardev_ops ops = { write_some, resume };
static struct chardev back = { .ops = &ops };
static struct machine *m;
static struct driver dr;

static int setup(void **state)
{
	m = fixture_machine(1);
	count = resumed = 0;
	room = sizeof(written);
	driver_start(&dr, virtio_console_new(m, &back, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	driver_stop(&dr);
	assert_null(back.front.receive);
	machine_free(m);
	return 0;
}

static u64 text(const char *s)
{
	u64 gpa = driver_alloc(&dr, strlen(s));

	memcpy(driver_ptr(&dr, gpa, strlen(s)), s, strlen(s));
	return gpa;
}

static void transmits(void **state)
{
	const struct part parts[] = { { text("hello "), 6 }, { text("world"), 5 } };
	u64 big = driver_alloc(&dr, 2000);
	const struct part large = { big, 2000 };

	room = 8;
	driver_add(&dr, 1, parts, 2, NULL, 0);
	driver_add(&dr, 1, &large, 1, NULL, 0);
	driver_kick(&dr, 1);
	assert_int_equal(count, 8);
	assert_int_equal(driver_used(&dr, 1, NULL), -1);
	room = 1;
	back.front.writable(back.front.arg);
	assert_int_equal(count, 9);
	assert_int_equal(driver_used(&dr, 1, NULL), -1);
	room = 1000;
	back.front.writable(back.front.arg);
	assert_memory_equal(written, "hello world", 11);
	assert_int_equal(driver_used(&dr, 1, NULL), 0);
	assert_int_equal(driver_used(&dr, 1, NULL), -1);
	room = 4000;
	back.front.writable(back.front.arg);
	assert_int_equal(driver_used(&dr, 1, NULL), 2);
	assert_int_equal(count, 2011);
	assert_true(dr.q[1].interrupts);
}

static void receives(void **state)
{
	const struct part in[] = { { driver_alloc(&dr, 4), 4 }, { driver_alloc(&dr, 4), 4 } };
	u32 len;

	assert_int_equal(back.front.receive(back.front.arg, (const u8 *)"abc", 3), 0);
	driver_add(&dr, 0, NULL, 0, in, 2);
	driver_kick(&dr, 0);
	assert_int_equal(resumed, 1);
	assert_int_equal(back.front.receive(back.front.arg, (const u8 *)"abcdefghij", 10), 8);
	driver_used(&dr, 0, &len);
	assert_int_equal(len, 8);
	assert_memory_equal(driver_ptr(&dr, in[1].gpa, 4), "efgh", 4);
	driver_add(&dr, 0, NULL, 0, in, 1);
	driver_kick(&dr, 0);
	assert_int_equal(resumed, 2);
	assert_int_equal(back.front.receive(back.front.arg, (const u8 *)"ij", 2), 2);
	driver_used(&dr, 0, &len);
	assert_int_equal(len, 2);
	driver_kick(&dr, 0);
	assert_int_equal(resumed, 2); /* nothing waits */
}

static void reset_while_writing(void **state)
{
	const struct part part = { text("hello"), 5 };

	room = 2;
	driver_add(&dr, 1, &part, 1, NULL, 0);
	driver_kick(&dr, 1);
	transport_write_status(dr.d, 0);
	room = 100;
	back.front.writable(back.front.arg);
	assert_int_equal(back.front.receive(back.front.arg, (const u8 *)"x", 1), 0);
	assert_int_equal(count, 2);
	driver_negotiate(&dr, 0);
	const struct part again = { text("again"), 5 };
	driver_add(&dr, 1, &again, 1, NULL, 0);
	driver_kick(&dr, 1);
	assert_memory_equal(written, "heagain", 7);
}

static void emergency(void **state)
{
	u32 value = 0x41;

	transport_write_config(dr.d, offsetof(struct virtio_console_config, emerg_wr), &value, 4);
	assert_memory_equal(written, "A", 1);
	transport_write_config(dr.d, offsetof(struct virtio_console_config, emerg_wr) + 1, &value, 1);
	transport_write_config(dr.d, 0, &value, 4);
	assert_int_equal(count, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(transmits), TEST(receives), TEST(reset_while_writing),
					    TEST(emergency) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
