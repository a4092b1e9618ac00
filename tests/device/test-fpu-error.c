/* SPDX-License-Identifier: Apache-2.0 */
/* FERR# to IRQ 13 and port F0h. */
#include "fixture.h"

static struct machine *m;
static struct device *fpu;
static struct sink irq;

static int setup(void **state)
{
	m = fixture_machine(1);
	fpu = fpu_error_new(m, sink_line(&irq, m), NULL);
	assert_non_null(fpu);
	return 0;
}

static int teardown(void **state)
{
	device_destroy(fpu);
	machine_free(m);
	return 0;
}

static void port_lowers_the_line(void **state)
{
	irq_set(&m->ferr, true);
	assert_true(irq.level);
	outb(m, 0xf1, 0); /* another port of the block does as well, as on a 387 */
	assert_false(irq.level);
	irq_set(&m->ferr, true);
	outb(m, 0xf0, 0xff);
	assert_false(irq.level);
}

static void reset_lowers_the_line(void **state)
{
	irq_set(&m->ferr, true);
	fpu->ops->reset(fpu);
	assert_false(irq.level);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(port_lowers_the_line), TEST(reset_lowers_the_line) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
