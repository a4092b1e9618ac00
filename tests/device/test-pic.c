/* SPDX-License-Identifier: Apache-2.0 */
/* The 8259A pair: initialisation, priorities, every kind of EOI, masks, rotation, poll, ELCR, cascade. */
#include "fixture.h"

#include "devices/intc.h"

static struct machine *m;
static struct device *pic;
static struct sink out;

static int setup(void **state)
{
	m = fixture_machine(1);
	pic = pic_new(m, sink_line(&out, m), NULL);
	assert_non_null(pic);
	return 0;
}

static int teardown(void **state)
{
	device_destroy(pic);
	machine_free(m);
	return 0;
}

/* As PC firmware does: vectors 20h and 28h; icw4 as given. */
static void init(u8 icw4)
{
	outb(m, 0x20, 0x11);
	outb(m, 0x21, 0x20);
	outb(m, 0x21, 0x04);
	outb(m, 0x21, icw4);
	outb(m, 0xa0, 0x11);
	outb(m, 0xa1, 0x28);
	outb(m, 0xa1, 0x02);
	outb(m, 0xa1, 0x01);
}

static void pulse(unsigned irq)
{
	pic_set_input(pic, irq, true);
	pic_set_input(pic, irq, false);
}

static void nothing_before_initialisation(void **state)
{
	pulse(0);
	assert_false(out.level);
	assert_int_equal(pic_acknowledge(pic), -1);
}

static void higher_priority_first(void **state)
{
	init(0x01);
	pulse(6);
	pulse(1);
	assert_true(out.level);
	assert_int_equal(pic_acknowledge(pic), 0x21);
	assert_false(out.level); /* 6 waits behind 1 */
	outb(m, 0x20, 0x20);
	assert_true(out.level);
	assert_int_equal(pic_acknowledge(pic), 0x26);
	pulse(1);
	assert_int_equal(pic_acknowledge(pic), 0x21); /* nests */
	outb(m, 0x20, 0x0b);
	assert_int_equal(inb(m, 0x20), 0x42); /* ISR */
	outb(m, 0x20, 0x20);
	assert_int_equal(inb(m, 0x20), 0x40); /* the non-specific EOI ended the higher one */
	outb(m, 0x20, 0x66);
	assert_int_equal(inb(m, 0x20), 0x00); /* specific */
}

static void masked_requests_wait(void **state)
{
	init(0x01);
	outb(m, 0x21, 0xff);
	pulse(3);
	assert_false(out.level);
	assert_int_equal(inb(m, 0x21), 0xff);
	outb(m, 0x20, 0x0a);
	assert_int_equal(inb(m, 0x20), 0x08); /* IRR */
	outb(m, 0x21, 0xf7);
	assert_true(out.level);
	assert_int_equal(pic_acknowledge(pic), 0x23);
}

static void cascade(void **state)
{
	init(0x01);
	pulse(8);
	pulse(12);
	assert_int_equal(pic_acknowledge(pic), 0x28);
	outb(m, 0xa0, 0x20);
	assert_false(out.level); /* the master's input 2 is still in service */
	outb(m, 0x20, 0x20);
	assert_true(out.level);
	assert_int_equal(pic_acknowledge(pic), 0x2c);
	outb(m, 0xa0, 0x20);
	outb(m, 0x20, 0x20);
	assert_int_equal(pic_acknowledge(pic), -1);
}

static void special_fully_nested(void **state)
{
	init(0x11);
	pulse(12);
	assert_int_equal(pic_acknowledge(pic), 0x2c);
	pulse(8);
	assert_int_equal(pic_acknowledge(pic), 0x28); /* a better one of the same slave gets through */
}

static void edges_need_edges_levels_repeat(void **state)
{
	init(0x01);
	pic_set_input(pic, 5, true);
	assert_int_equal(pic_acknowledge(pic), 0x25);
	outb(m, 0x20, 0x20);
	assert_int_equal(pic_acknowledge(pic), -1);
	outb(m, 0x4d0, 0xff);
	assert_int_equal(inb(m, 0x4d0), 0xf8); /* 0, 1, 2 cannot be level */
	assert_int_equal(pic_acknowledge(pic), 0x25);
	outb(m, 0x20, 0x20);
	assert_int_equal(pic_acknowledge(pic), 0x25);
	pic_set_input(pic, 5, false);
	outb(m, 0x20, 0x20);
	assert_int_equal(pic_acknowledge(pic), -1);
	outb(m, 0x4d1, 0xff);
	assert_int_equal(inb(m, 0x4d1), 0xde);
}

static void auto_eoi(void **state)
{
	init(0x03);
	pulse(4);
	assert_int_equal(pic_acknowledge(pic), 0x24);
	outb(m, 0x20, 0x0b);
	assert_int_equal(inb(m, 0x20), 0);
	/* With rotation the one that was served comes last. */
	outb(m, 0x20, 0x80);
	pulse(4);
	assert_int_equal(pic_acknowledge(pic), 0x24);
	pulse(4);
	pulse(5);
	assert_int_equal(pic_acknowledge(pic), 0x25);
	assert_int_equal(pic_acknowledge(pic), 0x24);
}

static void rotation(void **state)
{
	init(0x01);
	outb(m, 0x20, 0xc0 | 4); /* 4 is the lowest, 5 the highest */
	pulse(0);
	pulse(5);
	pulse(4);
	assert_int_equal(pic_acknowledge(pic), 0x25);
	outb(m, 0x20, 0xa0); /* rotate on non-specific EOI: 5 the lowest */
	assert_int_equal(pic_acknowledge(pic), 0x20);
	outb(m, 0x20, 0xe0); /* and on a specific one: 0 the lowest */
	pulse(5);
	assert_int_equal(pic_acknowledge(pic), 0x24);
}

static void special_mask(void **state)
{
	init(0x01);
	pulse(1);
	assert_int_equal(pic_acknowledge(pic), 0x21);
	pulse(7);
	assert_false(out.level);
	outb(m, 0x21, 0x02); /* masks what is in service */
	assert_false(out.level);
	outb(m, 0x20, 0x68);
	assert_true(out.level);
	assert_int_equal(pic_acknowledge(pic), 0x27);
}

static void poll(void **state)
{
	init(0x01);
	outb(m, 0x20, 0x0c);
	assert_int_equal(inb(m, 0x20), 0x00);
	pulse(3);
	outb(m, 0x20, 0x0c);
	assert_int_equal(inb(m, 0x20), 0x83);
	assert_false(out.level);
	outb(m, 0x20, 0x0b);
	assert_int_equal(inb(m, 0x20), 0x08);
}

static void icw1_starts_over(void **state)
{
	init(0x01);
	outb(m, 0x21, 0x0f);
	pulse(3);
	outb(m, 0x20, 0x11);
	outb(m, 0x21, 0x40);
	outb(m, 0x21, 0x04);
	outb(m, 0x21, 0x01);
	assert_int_equal(inb(m, 0x21), 0x00);
	assert_int_equal(pic_acknowledge(pic), -1); /* the edge is forgotten */
	pulse(3);
	assert_int_equal(pic_acknowledge(pic), 0x43);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_before_initialisation),
		TEST(higher_priority_first),
		TEST(masked_requests_wait),
		TEST(cascade),
		TEST(special_fully_nested),
		TEST(edges_need_edges_levels_repeat),
		TEST(auto_eoi),
		TEST(rotation),
		TEST(special_mask),
		TEST(poll),
		TEST(icw1_starts_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
