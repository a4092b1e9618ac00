/* SPDX-License-Identifier: Apache-2.0 */
/* The console of a PV guest: bytes either way, with an end that takes as many as it likes, and indices of the guest's fancy. */
#include "xen-guest.h"

#include <xen/io/console.h>

#include "platform/xen/console.h"

static char written[8192];
static size_t count, room;
static unsigned resumed;

static size_t write_some(struct chardev *c, const u8 *data, size_t len)
{
	size_t n = MIN(len, MIN(room, sizeof(written) - count));

	memcpy(written + count, data, n);
	count += n;
	room -= n;
	return n;
}

static void resume(struct chardev *c)
{
	resumed++;
}

static const struct chardev_ops chardev_ops = { write_some, resume };
static struct chardev back = { .ops = &chardev_ops };

static struct xencons_interface *page(void)
{
	return frame(GUEST_CONSOLE);
}

static int setup(void **state)
{
	struct error err = { 0 };

	guest_start(1);
	count = resumed = 0;
	room = ~0ull;
	if (console_create(d, GUEST_CONSOLE, &back, &err))
		fail_msg("%s", err.text);
	return 0;
}

static int teardown(void **state)
{
	console_destroy(d);
	assert_null(back.front.receive);
	guest_stop();
	return 0;
}

static void put(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		page()->out[MASK_XENCONS_IDX(page()->out_prod++, page()->out)] = bytes[i];
	guest_send(console_port(d));
}

static void writes(void **state)
{
	char long_text[2048];

	put("hello ", 6);
	put("world", 5);
	assert_int_equal(count, 11);
	assert_memory_equal(written, "hello world", 11);
	assert_true(guest_raised(console_port(d)));
	assert_int_equal(page()->out_cons, 11);
	for (unsigned i = 0; i < sizeof(long_text); i++)
		long_text[i] = (char)('a' + i % 26);
	room = 100;
	put(long_text, sizeof(long_text)); /* over the ring's end */
	assert_int_equal(count, 111);
	assert_int_equal(page()->out_cons, 111);
	room = ~0ull;
	back.front.writable(back.front.arg);
	assert_int_equal(count, 11 + sizeof(long_text));
	assert_memory_equal(written + 11, long_text, sizeof(long_text));
	console_write(d, "early", 5);
	assert_memory_equal(written + count - 5, "early", 5);
}

static void reads(void **state)
{
	u8 typed[1500];

	for (unsigned i = 0; i < sizeof(typed); i++)
		typed[i] = (u8)i;
	assert_int_equal(back.front.receive(back.front.arg, typed, 3), 3);
	assert_true(guest_raised(console_port(d)));
	assert_int_equal(page()->in_prod, 3);
	assert_int_equal(back.front.receive(back.front.arg, typed + 3, 1497), 1021);
	guest_send(console_port(d));
	assert_int_equal(resumed, 0); /* there is no room */
	for (unsigned i = 0; i < 1024; i++)
		assert_int_equal((u8)page()->in[i], typed[i]);
	page()->in_cons = 1000;
	guest_send(console_port(d));
	assert_int_equal(resumed, 1);
	assert_int_equal(back.front.receive(back.front.arg, typed + 1024, 476), 476);
	assert_int_equal((u8)page()->in[475], typed[1499]);
}

static void nonsense(void **state)
{
	u8 byte = 1;

	page()->out_prod = 0x12345678;
	guest_send(console_port(d));
	assert_int_equal(count, 0);
	put("x", 1); /* the ring goes on there */
	assert_int_equal(count, 1);
	page()->in_cons = 5000;
	assert_int_equal(back.front.receive(back.front.arg, &byte, 1), 0);
	page()->out_cons = page()->in_prod = 0x55555555; /* ours to say */
	put("y", 1);
	assert_int_equal(count, 2);
	page()->in_cons = 0;
	assert_int_equal(back.front.receive(back.front.arg, &byte, 1), 1);
	assert_int_equal(page()->in_prod, 1);
}

static void without_a_back_end(void **state)
{
	struct error err = { 0 };

	console_destroy(d);
	assert_int_equal(console_create(d, GUEST_CONSOLE, NULL, &err), 0);
	put("nobody", 6);
	assert_int_equal(page()->out_cons, page()->out_prod);
	console_destroy(d);
	frame_table[GUEST_CONSOLE] = true;
	assert_int_not_equal(console_create(d, GUEST_CONSOLE, &back, &err), 0);
	assert_null(d->console);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(writes, setup, teardown),
		cmocka_unit_test_setup_teardown(reads, setup, teardown),
		cmocka_unit_test_setup_teardown(nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_back_end, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
