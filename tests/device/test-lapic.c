/* SPDX-License-Identifier: Apache-2.0 */
/* Local APICs: priorities and EOI, timer modes, IPIs and destinations, errors, x2APIC, relocation, the PICs on
 * LINT0. */
#include "fixture.h"

#include "x86/msr.h"

#define ID	  0x20
#define TPR	  0x80
#define PPR	  0xa0
#define EOI	  0xb0
#define LDR	  0xd0
#define DFR	  0xe0
#define SVR	  0xf0
#define ISR	  0x100
#define IRR	  0x200
#define ESR	  0x280
#define ICR	  0x300
#define ICR_HIGH  0x310
#define LVT_TIMER 0x320
#define LVT_LINT0 0x350
#define LVT_ERROR 0x370
#define INITIAL	  0x380
#define CURRENT	  0x390
#define DIVIDE	  0x3e0

static struct machine *m;
static struct device *intc;

static int setup(void **state)
{
	m = fixture_machine(4);
	intc = intc_new(m, NULL);
	assert_non_null(intc);
	for (unsigned i = 0; i < 4; i++) {
		vcpu_set_current(m->vcpu[i]);
		writel(m, LAPIC_BASE + SVR, 0x1ff);
		m->vcpu[i]->events = 0;
	}
	vcpu_set_current(m->vcpu[0]);
	return 0;
}

static int teardown(void **state)
{
	vcpu_set_current(NULL);
	device_destroy(intc);
	assert_null(m->intc);
	machine_free(m);
	return 0;
}

static u32 get(u32 reg)
{
	return readl(m, LAPIC_BASE + reg);
}

static void set(u32 reg, u32 value)
{
	writel(m, LAPIC_BASE + reg, value);
}

/* What the CPU would take now; it must have been told if there is something. */
static int take(unsigned cpu)
{
	struct vcpu *v = m->vcpu[cpu];
	bool told = atomic_fetch_and(&v->events, ~EV_INTR) & EV_INTR, pending = m->intc->pending(v);
	int vector = m->intc->acknowledge(v);

	assert_int_equal(pending, vector >= 0);
	if (vector >= 0)
		assert_true(told);
	return vector;
}

static void message(u8 dest, u8 vector)
{
	intc_message(intc, LAPIC_BASE | (u64)dest << 12, vector);
}

static void wrmsr(u32 msr, u64 value)
{
	assert_true(m->intc->write_msr(m->vcpu[0], msr, value));
}

static u64 rdmsr(u32 msr)
{
	u64 value = 0;

	assert_true(m->intc->read_msr(m->vcpu[0], msr, &value));
	return value;
}

static void priorities(void **state)
{
	message(0, 0x41);
	message(0, 0x52);
	message(0, 0x53);
	assert_int_equal(get(IRR + 0x20), 0x000c0000 | 1u << (0x41 - 0x40));
	assert_int_equal(take(0), 0x53);
	assert_int_equal(get(PPR), 0x50);
	assert_int_equal(get(ISR + 0x20), 1u << (0x53 - 0x40));
	assert_int_equal(take(0), -1); /* same class waits */
	message(0, 0x61);
	assert_int_equal(take(0), 0x61);
	set(EOI, 0);
	assert_int_equal(take(0), -1);
	set(EOI, 0);
	assert_int_equal(take(0), 0x52);
	set(EOI, 0);
	assert_int_equal(take(0), 0x41);
	set(EOI, 0);
	set(EOI, 0); /* nothing in service: no effect */
	assert_int_equal(take(0), -1);
}

static void task_priority(void **state)
{
	set(TPR, 0x50);
	message(0, 0x5f);
	assert_false(m->vcpu[0]->events & EV_INTR);
	assert_int_equal(take(0), -1);
	assert_int_equal(m->intc->get_tpr(m->vcpu[0]), 5);
	m->intc->set_tpr(m->vcpu[0], 4);
	assert_int_equal(get(TPR), 0x40);
	assert_int_equal(get(PPR), 0x40);
	assert_int_equal(take(0), 0x5f);
	assert_int_equal(get(PPR), 0x50);
}

static void software_disabled(void **state)
{
	set(LVT_TIMER, 0x30);
	set(SVR, 0xff);
	assert_int_equal(get(LVT_TIMER), 0x10030);
	message(0, 0x41);
	assert_int_equal(take(0), -1);
	set(LVT_TIMER, 0x30);
	assert_int_equal(get(LVT_TIMER), 0x10030); /* stays masked */
	set(SVR, 0x1ff);
	assert_int_equal(take(0), -1); /* was not accepted */
}

static void timer_one_shot(void **state)
{
	set(DIVIDE, 0x3); /* by 16 */
	set(LVT_TIMER, 0x40);
	set(INITIAL, 1000);
	fixture_pass(m, 8000);
	assert_int_equal(get(CURRENT), 500);
	fixture_pass(m, 7999);
	assert_int_equal(take(0), -1);
	fixture_pass(m, 1);
	assert_int_equal(take(0), 0x40);
	set(EOI, 0);
	assert_int_equal(get(CURRENT), 0);
	fixture_pass(m, SEC);
	assert_int_equal(take(0), -1);
	set(INITIAL, 1000);
	set(INITIAL, 0); /* stops */
	fixture_pass(m, SEC);
	assert_int_equal(take(0), -1);
}

static void timer_periodic(void **state)
{
	set(DIVIDE, 0xb); /* by 1 */
	set(LVT_TIMER, 0x20040);
	set(INITIAL, 1000000);
	for (unsigned i = 0; i < 5; i++) {
		fixture_pass(m, MS);
		assert_int_equal(take(0), 0x40);
		set(EOI, 0);
	}
	fixture_pass(m, 250000);
	assert_int_equal(get(CURRENT), 750000);
	set(LVT_TIMER, 0x30040); /* masked: counts on */
	fixture_pass(m, 3 * MS);
	assert_int_equal(take(0), -1);
	assert_int_equal(get(CURRENT), 750000);
	set(DIVIDE, 0x0); /* by 2 */
	fixture_pass(m, 2 * 250000);
	assert_int_equal(get(CURRENT), 500000);
}

static void timer_tsc_deadline(void **state)
{
	set(LVT_TIMER, 0x40040);
	set(INITIAL, 5); /* ignored in this mode */
	m->vcpu[0]->tsc_offset = 1000000;
	wrmsr(MSR_TSC_DEADLINE, 1000000 + 700);
	assert_int_equal(rdmsr(MSR_TSC_DEADLINE), 1000700);
	fixture_pass(m, 699);
	assert_int_equal(take(0), -1);
	fixture_pass(m, 1);
	assert_int_equal(take(0), 0x40);
	set(EOI, 0);
	assert_int_equal(rdmsr(MSR_TSC_DEADLINE), 0);
	wrmsr(MSR_TSC_DEADLINE, 5); /* past: at once */
	assert_int_equal(take(0), 0x40);
	set(EOI, 0);
	wrmsr(MSR_TSC_DEADLINE, ~0ull);
	wrmsr(MSR_TSC_DEADLINE, 0); /* disarms */
	fixture_pass(m, SEC);
	assert_int_equal(take(0), -1);
	wrmsr(MSR_TSC_DEADLINE, 2 * SEC);
	set(LVT_TIMER, 0x00040); /* so does leaving the mode */
	fixture_pass(m, 2 * SEC);
	assert_int_equal(take(0), -1);
	wrmsr(MSR_TSC_DEADLINE, 5);
	assert_int_equal(rdmsr(MSR_TSC_DEADLINE), 0);
}

static void ipi_destinations(void **state)
{
	set(ICR_HIGH, 2u << 24);
	set(ICR, 0x4000 | 0x41);
	assert_int_equal(take(2), 0x41);
	set(ICR, 0x44000 | 0x42); /* self */
	assert_int_equal(take(0), 0x42);
	set(ICR, 0xc4000 | 0x43); /* all but self */
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(take(i), i == 2 ? -1 : 0x43); /* 2 still serves 41h */
	assert_int_equal(take(0), -1);
	set(ICR, 0x84000 | 0x91); /* all */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(take(i), 0x91);
	set(ICR_HIGH, 0xffu << 24);
	set(ICR, 0x4000 | 0xa1);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(take(i), 0xa1);
	set(ICR_HIGH, 9u << 24);
	set(ICR, 0x4000 | 0xb1); /* nobody */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(take(i), -1);
}

static void logical_destinations(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		vcpu_set_current(m->vcpu[i]);
		set(LDR, 1u << (24 + i));
	}
	vcpu_set_current(m->vcpu[0]);
	set(ICR_HIGH, 0x0au << 24);
	set(ICR, 0x4800 | 0x41);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(take(i), i & 1 ? 0x41 : -1);
	for (unsigned i = 0; i < 4; i++) { /* clusters 0 and 1, two CPUs each */
		vcpu_set_current(m->vcpu[i]);
		set(DFR, 0x0fffffff);
		set(LDR, (i / 2) << 28 | 1u << (24 + i % 2));
	}
	vcpu_set_current(m->vcpu[0]);
	set(ICR_HIGH, 0x13u << 24);
	set(ICR, 0x4800 | 0x51);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(take(i), i >= 2 ? 0x51 : -1);
}

static void lowest_priority(void **state)
{
	unsigned taken[4] = { 0 };

	set(TPR, 0x80);
	for (unsigned n = 0; n < 6; n++) {
		set(ICR_HIGH, 0xffu << 24);
		set(ICR, 0x4100 | 0x41);
		for (unsigned i = 0; i < 4; i++) {
			if (take(i) < 0)
				continue;
			taken[i]++;
			vcpu_set_current(m->vcpu[i]);
			set(EOI, 0);
			vcpu_set_current(m->vcpu[0]);
		}
	}
	assert_int_equal(taken[0], 0);
	assert_int_equal(taken[1] + taken[2] + taken[3], 6);
	for (unsigned i = 1; i < 4; i++)
		assert_true(taken[i] >= 1);
}

static void init_sipi_nmi(void **state)
{
	set(ICR_HIGH, 1u << 24);
	set(ICR, 0xc500); /* INIT assert */
	assert_int_equal(m->vcpu[1]->events & EV_INIT, EV_INIT);
	set(ICR, 0x8500); /* de-assert: nothing */
	set(ICR, 0x4600 | 0x9a);
	assert_int_equal(m->vcpu[1]->events & EV_SIPI, EV_SIPI);
	assert_int_equal(m->vcpu[1]->sipi_vector, 0x9a);
	assert_int_equal(m->vcpu[2]->events, 0);
	set(ICR, 0xc4000 | 0x400);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(m->vcpu[i]->events & EV_NMI, EV_NMI);
	assert_int_equal(m->vcpu[0]->events & EV_NMI, 0);
}

static void errors(void **state)
{
	set(LVT_ERROR, 0x50);
	set(ICR, 0x44000 | 0x05);
	assert_int_equal(take(0), 0x50);
	set(EOI, 0);
	assert_int_equal(get(ESR), 0);
	set(ESR, 0);
	assert_int_equal(get(ESR), 0x20);
	set(ESR, 0);
	assert_int_equal(get(ESR), 0);
	message(0, 0x03);
	assert_int_equal(take(0), 0x50);
	set(EOI, 0);
	assert_int_equal(get(0x3f0), 0); /* not there in xAPIC mode */
	assert_int_equal(take(0), 0x50);
	set(EOI, 0);
	set(ESR, 0);
	assert_int_equal(get(ESR), 0xc0);
	set(LVT_ERROR, 0x01); /* an error entry that is itself illegal */
	set(ICR, 0x44000 | 0x05);
	assert_int_equal(take(0), -1);
}

static void x2apic(void **state)
{
	u64 value;

	vcpu_set_current(m->vcpu[3]);
	set(ICR_HIGH, 0);
	vcpu_set_current(m->vcpu[0]);
	assert_false(m->intc->read_msr(m->vcpu[0], 0x802, &value));
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | BIT(10));
	assert_int_equal(get(ID), 0xffffffff); /* no MMIO any more */
	assert_int_equal(rdmsr(0x802), 0);
	assert_int_equal(rdmsr(0x80d), 1);
	assert_int_equal(rdmsr(0x803) & 0xff, 0x14);
	wrmsr(0x808, 0x20);
	assert_int_equal(rdmsr(0x80a), 0x20);
	wrmsr(0x830, (u64)2 << 32 | 0x4000 | 0x41);
	assert_int_equal(take(2), 0x41);
	assert_int_equal(rdmsr(0x830), (u64)2 << 32 | 0x4000 | 0x41);
	wrmsr(0x83f, 0x66);
	assert_int_equal(take(0), 0x66);
	wrmsr(0x80b, 0);
	assert_false(m->intc->write_msr(m->vcpu[0], 0x80b, 1));
	assert_false(m->intc->write_msr(m->vcpu[0], 0x828, 1));
	assert_false(m->intc->write_msr(m->vcpu[0], 0x802, 0));
	assert_false(m->intc->write_msr(m->vcpu[0], 0x808, 0x100));
	assert_false(m->intc->write_msr(m->vcpu[0], 0x839, 0));
	assert_false(m->intc->read_msr(m->vcpu[0], 0x80b, &value));
	assert_false(m->intc->read_msr(m->vcpu[0], 0x80e, &value));
	assert_false(m->intc->read_msr(m->vcpu[0], 0x831, &value));
	assert_false(m->intc->read_msr(m->vcpu[0], 0x8ff, &value));
	/* Back only by way of disabled. */
	assert_false(m->intc->write_msr(m->vcpu[0], MSR_APIC_BASE, LAPIC_BASE | BIT(11)));
	wrmsr(MSR_APIC_BASE, LAPIC_BASE);
	assert_false(m->intc->write_msr(m->vcpu[0], MSR_APIC_BASE, LAPIC_BASE | BIT(11) | BIT(10)));
	wrmsr(MSR_APIC_BASE, LAPIC_BASE | BIT(11));
	assert_int_equal(get(SVR), 0xff); /* reset */
}

static void relocation(void **state)
{
	u64 value;

	wrmsr(MSR_APIC_BASE, 0xd0000000 | BIT(11));
	assert_int_equal(rdmsr(MSR_APIC_BASE), 0xd0000000 | BIT(11) | BIT(8)); /* still the boot CPU */
	assert_int_equal(get(SVR), 0xffffffff);
	assert_int_equal(readl(m, 0xd0000000 + SVR), 0x1ff);
	vcpu_set_current(m->vcpu[1]);
	assert_int_equal(get(ID), 1u << 24); /* the others are where they were */
	assert_int_equal(readl(m, 0xd0000000 + SVR), 0xffffffff);
	assert_false(m->intc->write_msr(m->vcpu[0], MSR_APIC_BASE, BIT(52)));
	assert_false(m->intc->write_msr(m->vcpu[0], MSR_APIC_BASE, LAPIC_BASE | 1));
	assert_true(m->intc->read_msr(m->vcpu[1], MSR_APIC_BASE, &value));
	assert_int_equal(value, LAPIC_BASE | BIT(11));
}

static void init_pic(void)
{
	static const u8 bytes[][2] = { { 0x20, 0x11 }, { 0x21, 0x30 }, { 0x21, 4 }, { 0x21, 1 } };

	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
		outb(m, bytes[i][0], bytes[i][1]);
}

static void pic_through_lint0(void **state)
{
	struct irq_line line = intc_isa_line(intc, 4);

	init_pic();
	irq_set(&line, true); /* vCPU 0 is in virtual-wire mode from the start */
	message(0, 0x61);
	assert_int_equal(take(1), -1);
	assert_int_equal(take(0), 0x34);
	assert_true(m->vcpu[0]->events & EV_INTR);
	assert_int_equal(take(0), 0x61);
	outb(m, 0x20, 0x20);
	irq_set(&line, false);
	set(LVT_LINT0, 0x10700); /* masked */
	irq_set(&line, true);
	assert_int_equal(take(0), -1);
	set(LVT_LINT0, 0x700);
	assert_int_equal(take(0), 0x34);
	outb(m, 0x20, 0x20);
	irq_set(&line, false);
	/* With the APIC off altogether LINT0 is the INTR pin. */
	set(LVT_LINT0, 0x10700);
	wrmsr(MSR_APIC_BASE, LAPIC_BASE);
	irq_set(&line, true);
	assert_int_equal(take(0), 0x34);
}

static void lint0_as_nmi(void **state)
{
	struct irq_line line = intc_isa_line(intc, 4);

	init_pic();
	set(LVT_LINT0, 0x400);
	irq_set(&line, true);
	assert_int_equal(m->vcpu[0]->events & EV_NMI, EV_NMI);
	assert_int_equal(take(0), -1);
}

static void init_resets_registers(void **state)
{
	set(TPR, 0x30);
	message(0, 0x91);
	set(LVT_TIMER, 0x20040);
	set(INITIAL, 1000);
	m->intc->reset(m->vcpu[0]);
	assert_int_equal(get(TPR), 0);
	assert_int_equal(get(SVR), 0xff);
	assert_int_equal(get(LVT_TIMER), 0x10000);
	assert_int_equal(get(CURRENT), 0);
	assert_false(m->intc->pending(m->vcpu[0]));
	assert_int_equal(clock_next_deadline(m->clock), ~0ull);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(priorities),
		TEST(task_priority),
		TEST(software_disabled),
		TEST(timer_one_shot),
		TEST(timer_periodic),
		TEST(timer_tsc_deadline),
		TEST(ipi_destinations),
		TEST(logical_destinations),
		TEST(lowest_priority),
		TEST(init_sipi_nmi),
		TEST(errors),
		TEST(x2apic),
		TEST(relocation),
		TEST(pic_through_lint0),
		TEST(lint0_as_nmi),
		TEST(init_resets_registers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
