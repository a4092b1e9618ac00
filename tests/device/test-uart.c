/* SPDX-License-Identifier: Apache-2.0 */
/* The 16550A: registers, FIFOs and triggers, each interrupt and their order, loopback, flow control of the back end. */
#include "fixture.h"

#include <string.h>

#define BASE 0x3f8

struct wire { /* a back end that takes `room` bytes */
	struct chardev dev;
	u8 got[256];
	size_t len, room;
	unsigned resumed;
};

static struct machine *m;
static struct device *uart;
static struct sink irq;
static struct wire wire;

static size_t wire_write(struct chardev *c, const u8 *data, size_t len)
{
	struct wire *w = (struct wire *)c;
	size_t n = MIN(len, w->room);

	memcpy(w->got + w->len, data, n);
	w->len += n;
	w->room -= n;
	return n;
}

static void wire_resume(struct chardev *c)
{
	((struct wire *)c)->resumed++;
}

static const struct chardev_ops wire_ops = { wire_write, wire_resume };

static int setup(void **state)
{
	m = fixture_machine(1);
	wire = (struct wire){ .dev.ops = &wire_ops, .room = sizeof(wire.got) };
	uart = uart_new(m, BASE, sink_line(&irq, m), &wire.dev, NULL);
	assert_non_null(uart);
	outb(m, BASE + 4, 0x0b); /* DTR, RTS, OUT2 */
	assert_int_equal(wire.resumed, 1); /* what came before RTS may come now */
	wire.resumed = 0;
	return 0;
}

static int teardown(void **state)
{
	device_destroy(uart);
	assert_null(wire.dev.front.receive);
	machine_free(m);
	return 0;
}

static size_t type(const char *text)
{
	return wire.dev.front.receive(wire.dev.front.arg, (const u8 *)text, strlen(text));
}

static void registers(void **state)
{
	outb(m, BASE + 7, 0x5a);
	assert_int_equal(inb(m, BASE + 7), 0x5a);
	outb(m, BASE + 3, 0x83);
	outb(m, BASE, 0x0c);
	outb(m, BASE + 1, 0x01);
	assert_int_equal(inb(m, BASE), 0x0c);
	assert_int_equal(inb(m, BASE + 1), 0x01);
	outb(m, BASE + 3, 0x03);
	outb(m, BASE + 1, 0xff);
	assert_int_equal(inb(m, BASE + 1), 0x0f);
	outb(m, BASE + 4, 0xff);
	assert_int_equal(inb(m, BASE + 4), 0x1f);
	assert_int_equal(inb(m, BASE + 2) & 0xc0, 0);
	outb(m, BASE + 2, 0x01);
	assert_int_equal(inb(m, BASE + 2) & 0xc0, 0xc0);
}

static void sends(void **state)
{
	assert_int_equal(inb(m, BASE + 5), 0x60);
	for (const char *p = "hello"; *p; p++)
		outb(m, BASE, (u8)*p);
	assert_memory_equal(wire.got, "hello", 5);
	assert_int_equal(inb(m, BASE + 5), 0x60);
}

static void transmitter_interrupt(void **state)
{
	outb(m, BASE + 1, 0x02);
	assert_true(irq.level); /* empty when turned on */
	assert_int_equal(inb(m, BASE + 2), 0x02);
	assert_false(irq.level); /* reading IIR was enough */
	assert_int_equal(inb(m, BASE + 2), 0x01);
	outb(m, BASE, 'x');
	assert_true(irq.level);
	outb(m, BASE + 4, 0x03); /* OUT2 off */
	assert_false(irq.level);
}

static void slow_back_end_fills_the_fifo(void **state)
{
	wire.room = 2;
	outb(m, BASE + 2, 0x01);
	outb(m, BASE + 1, 0x02);
	inb(m, BASE + 2);
	for (unsigned i = 0; i < 6; i++)
		outb(m, BASE, (u8)('a' + i));
	inb(m, BASE + 2);
	assert_int_equal(inb(m, BASE + 5), 0x00); /* neither THRE nor TEMT */
	assert_false(irq.level);
	wire.room = 3;
	wire.dev.front.writable(wire.dev.front.arg);
	assert_int_equal(inb(m, BASE + 5), 0x00);
	wire.room = 10;
	wire.dev.front.writable(wire.dev.front.arg);
	assert_int_equal(inb(m, BASE + 5), 0x60);
	assert_true(irq.level);
	assert_int_equal(wire.len, 6);
	assert_memory_equal(wire.got, "abcdef", 6);
	wire.room = 0;
	for (unsigned i = 0; i < 100; i++)
		outb(m, BASE, 'z');
	wire.room = 100;
	wire.dev.front.writable(wire.dev.front.arg);
	assert_int_equal(wire.len, 6 + 16); /* the rest ran over */
}

static void receives_without_fifo(void **state)
{
	outb(m, BASE + 1, 0x01);
	assert_int_equal(type("ab"), 1);
	assert_true(irq.level);
	assert_int_equal(inb(m, BASE + 2), 0x04);
	assert_int_equal(inb(m, BASE + 5), 0x61);
	assert_int_equal(wire.resumed, 0);
	assert_int_equal(inb(m, BASE), 'a');
	assert_int_equal(wire.resumed, 1);
	assert_false(irq.level);
	assert_int_equal(inb(m, BASE + 5), 0x60);
}

static void trigger_and_timeout(void **state)
{
	outb(m, BASE + 2, 0x81); /* FIFOs, trigger at 8 */
	outb(m, BASE + 1, 0x01);
	assert_int_equal(type("1234567"), 7);
	assert_false(irq.level);
	fixture_pass(m, 300000);
	assert_false(irq.level);
	fixture_pass(m, 100000); /* four characters at 115200 baud are 347 us */
	assert_true(irq.level);
	assert_int_equal(inb(m, BASE + 2), 0xcc);
	assert_int_equal(inb(m, BASE), '1');
	assert_false(irq.level);
	assert_int_equal(type("89"), 2);
	assert_int_equal(inb(m, BASE + 2), 0xc4);
	assert_int_equal(type("abcdefghijkl"), 8); /* 16 in all */
	for (const char *p = "23456789abcdefgh"; *p; p++)
		assert_int_equal(inb(m, BASE), *p);
	assert_int_equal(inb(m, BASE + 5) & 1, 0);
	assert_int_equal(wire.resumed, 1);
	type("x");
	outb(m, BASE + 2, 0x83);
	assert_int_equal(inb(m, BASE + 5) & 1, 0); /* cleared */
}

static void input_waits_for_rts(void **state)
{
	outb(m, BASE + 4, 0x00);
	assert_int_equal(type("early"), 0);
	outb(m, BASE + 4, 0x02);
	assert_int_equal(wire.resumed, 1);
	assert_int_equal(type("early"), 1);
}

static void loopback(void **state)
{
	inb(m, BASE + 6);
	outb(m, BASE + 4, 0x1a); /* loop, RTS, OUT2 */
	assert_int_equal(inb(m, BASE + 6) & 0xf0, 0x90); /* CTS, DCD */
	outb(m, BASE, 0xa5);
	assert_int_equal(wire.len, 0);
	assert_int_equal(inb(m, BASE + 5) & 1, 1);
	outb(m, BASE, 0x5a);
	assert_int_equal(inb(m, BASE + 5) & 2, 2); /* overrun */
	assert_int_equal(inb(m, BASE + 5) & 2, 0); /* reading clears it */
	assert_int_equal(inb(m, BASE), 0xa5);
	assert_int_equal(type("q"), 0);
	outb(m, BASE + 4, 0x0b);
	assert_int_equal(wire.resumed, 1);
}

static void interrupt_priorities(void **state)
{
	outb(m, BASE + 4, 0x13);
	outb(m, BASE, 1);
	outb(m, BASE, 2);
	outb(m, BASE + 4, 0x0b); /* modem lines change too */
	outb(m, BASE + 1, 0x0f);
	assert_int_equal(inb(m, BASE + 2), 0x06);
	inb(m, BASE + 5);
	assert_int_equal(inb(m, BASE + 2), 0x04);
	inb(m, BASE);
	assert_int_equal(inb(m, BASE + 2), 0x02);
	assert_int_equal(inb(m, BASE + 2), 0x00);
	inb(m, BASE + 6);
	assert_int_equal(inb(m, BASE + 2), 0x01);
	assert_false(irq.level);
}

static void without_back_end(void **state)
{
	struct device *d = uart_new(m, 0x2f8, (struct irq_line){ 0 }, NULL, NULL);

	outb(m, 0x2f8, 'x');
	assert_int_equal(inb(m, 0x2fd), 0x60);
	assert_int_equal(inb(m, 0x2fe), 0);
	device_destroy(d);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(registers),
		TEST(sends),
		TEST(transmitter_interrupt),
		TEST(slow_back_end_fills_the_fifo),
		TEST(receives_without_fifo),
		TEST(trigger_and_timeout),
		TEST(input_waits_for_rts),
		TEST(loopback),
		TEST(interrupt_priorities),
		TEST(without_back_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
