/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event delivery and IRET in every mode: frames, stacks, flags, error codes, double faults (SDM vol. 3 ch. 6 and
 * 20).
 */
#include "sys-guest.h"

static const struct cpu_event extint = { .vector = 0x30, .type = EVENT_EXTINT };
static const struct cpu_event gp = { .vector = EXC_GP, .type = EVENT_EXCEPTION, .has_error = true, .error = 0x1234 };

static void same_level(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	set_idt(g, 0x30, gate_desc(CS0, HANDLER, SYS_INT32, 0, 0));
	v->rflags |= FL_NT | FL_TF | FL_AC;
	flags_logic(v, 4, 0);
	assert_int_equal(deliver_to(g, extint), OK);
	assert_int_equal(v->rip, HANDLER);
	assert_int_equal(v->r[RSP], STACK0 - 12);
	assert_int_equal(get32(g, STACK0 - 12), CODE);
	assert_int_equal(get32(g, STACK0 - 8), CS0);
	assert_int_equal(get32(g, STACK0 - 4), FL_1 | FL_IF | FL_NT | FL_TF | FL_AC | FL_ZF | FL_PF);
	assert_int_equal(v->rflags & (FL_IF | FL_TF | FL_NT | FL_AC), FL_AC);
	v->rflags &= ~(u64)FL_NT;
	assert_int_equal(RUN(g, 0xcf), OK);
	assert_int_equal(v->rip, CODE);
	assert_int_equal(v->r[RSP], STACK0);
	assert_int_equal(v->rflags, FL_1 | FL_IF | FL_NT | FL_TF | FL_AC | FL_ZF | FL_PF);
}

static void trap_gate_16(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	set_idt(g, EXC_GP, gate_desc(CS0, HANDLER, SYS_TRAP16, 0, 0));
	v->rip = 0x1234;
	assert_int_equal(deliver_to(g, gp), OK);
	assert_int_equal(v->rip, HANDLER & 0xffff);
	assert_int_equal(v->r[RSP], STACK0 - 8);
	assert_int_equal(get64(g, STACK0 - 8),
			 0x1234ull | 0x1234ull << 16 | (u64)CS0 << 32 | (u64)(FL_1 | FL_IF) << 48);
	assert_true(v->rflags & FL_IF);
}

static void to_inner_level_and_back(void **state)
{
	struct vcpu *v = guest_protected(state, 3);
	struct guest *g = *state;

	set_idt(g, EXC_GP, gate_desc(CS0, HANDLER, SYS_INT32, 0, 0));
	assert_int_equal(deliver_to(g, gp), OK);
	assert_int_equal(v->cpl, 0);
	assert_int_equal(v->seg[SEG_SS].selector, DS0);
	assert_int_equal(v->r[RSP], STACK0 - 24);
	assert_int_equal(get32(g, STACK0 - 24), 0x1234);
	assert_int_equal(get32(g, STACK0 - 20), CODE);
	assert_int_equal(get32(g, STACK0 - 16), CS3);
	assert_int_equal(get32(g, STACK0 - 12), FL_1 | FL_IF | FL_RF);
	assert_int_equal(get32(g, STACK0 - 8), STACK3);
	assert_int_equal(get32(g, STACK0 - 4), DS3);
	assert_int_equal(v->seg[SEG_DS].selector, DS3);

	segment_load(v, SEG_ES, DS0);
	v->r[RSP] += 4;
	assert_int_equal(RUN(g, 0xcf), OK);
	assert_int_equal(v->cpl, 3);
	assert_int_equal(v->rip, CODE);
	assert_int_equal(v->seg[SEG_SS].selector, DS3);
	assert_int_equal(v->r[RSP], STACK3);
	assert_int_equal(v->seg[SEG_DS].selector, DS3);
	assert_int_equal(v->seg[SEG_ES].selector, 0); /* level 0's segment is gone */
	assert_true(v->seg[SEG_ES].ar & AR_UNUSABLE);
	assert_true(v->rflags & FL_IF);
	assert_false(v->rflags & FL_RF); /* no breakpoints: not kept */
}

static void software_interrupts(void **state)
{
	struct vcpu *v = guest_protected(state, 3);
	struct guest *g = *state;

	set_idt(g, 0x80, gate_desc(CS0, HANDLER, SYS_TRAP32, 3, 0));
	set_idt(g, 0x81, gate_desc(CS0, HANDLER, SYS_TRAP32, 0, 0));
	assert_int_equal(RUN(g, 0xcd, 0x81), EXC_GP);
	assert_int_equal(v->event.error, 0x81 * 8 + 2);
	assert_int_equal(v->rip, CODE);
	assert_int_equal(RUN(g, 0xcd, 0x82), EXC_GP); /* an empty gate */
	assert_int_equal(v->event.error, 0x82 * 8 + 2);
	assert_int_equal(RUN(g, 0xcd, 0x80), OK);
	assert_int_equal(get32(g, STACK0 - 20), CODE + 2);
	assert_int_equal(v->cpl, 0);
	assert_true(v->rflags & FL_IF);

	v = guest_protected(state, 3);
	set_idt(g, EXC_DB, gate_desc(CS0, HANDLER, SYS_TRAP32, 0, 0));
	assert_int_equal(RUN(g, 0xf1), OK); /* INT1 passes any gate */
	assert_int_equal(v->rip, HANDLER);
	v = guest_protected(state, 3);
	assert_int_equal(RUN(g, 0xce), OK); /* INTO without OF */
	assert_int_equal(v->rip, CODE + 1);
	flags_set(v, FL_OF);
	assert_int_equal(RUN(g, 0xce), EXC_GP);
	assert_int_equal(v->event.error, EXC_OF * 8 + 2);
}

static void gate_errors(void **state)
{
	struct vcpu *v = guest_protected(state, 3);
	struct guest *g = *state;

	assert_int_equal(deliver_to(g, extint), EXC_GP);
	assert_int_equal(v->event.error, 0x30 * 8 + 3);
	set_idt(g, 0x30, gate_desc(CS0, HANDLER, SYS_INT32, 0, 0) & ~BIT(47));
	assert_int_equal(deliver_to(g, extint), EXC_NP);
	assert_int_equal(v->event.error, 0x30 * 8 + 3);
	set_idt(g, 0x30, gate_desc(0, HANDLER, SYS_INT32, 0, 0));
	assert_int_equal(deliver_to(g, extint), EXC_GP);
	assert_int_equal(v->event.error, 1);
	set_idt(g, 0x30, gate_desc(CS_ABSENT, HANDLER, SYS_INT32, 0, 0));
	assert_int_equal(deliver_to(g, extint), EXC_NP);
	assert_int_equal(v->event.error, CS_ABSENT | 1);
	set_idt(g, 0x30, gate_desc(DS0, HANDLER, SYS_INT32, 0, 0));
	assert_int_equal(deliver_to(g, extint), EXC_GP);
	assert_int_equal(v->event.error, DS0 | 1);
	set_idt(g, 0x30, gate_desc(0x7f8, HANDLER, SYS_INT32, 0, 0)); /* beyond the GDT */
	assert_int_equal(deliver_to(g, extint), EXC_GP);
	assert_int_equal(v->event.error, 0x7f8 | 1);
	set_idt(g, 0x30, gate_desc(0x0c, HANDLER, SYS_INT32, 0, 0)); /* in an LDT that is not there */
	assert_int_equal(deliver_to(g, extint), EXC_GP);
	assert_int_equal(v->event.error, 0x0c | 1);
	v->idtr.limit = 0x30 * 8 + 6;
	assert_int_equal(deliver_to(g, extint), EXC_GP);
	assert_int_equal(v->event.error, 0x30 * 8 + 3);
	assert_int_equal(v->rip, CODE);
	assert_int_equal(v->r[RSP], STACK3);
}

static void stack_errors(void **state)
{
	struct vcpu *v = guest_protected(state, 3);
	struct guest *g = *state;

	set_idt(g, 0x30, gate_desc(CS0, HANDLER, SYS_INT32, 0, 0));
	put32(g, TSS_A + 8, 0);
	assert_int_equal(deliver_to(g, extint), EXC_TS);
	assert_int_equal(v->event.error, 1);
	put32(g, TSS_A + 8, DS3);
	assert_int_equal(deliver_to(g, extint), EXC_TS);
	assert_int_equal(v->event.error, (DS3 & ~3) | 1);
	put32(g, TSS_A + 8, DS_ABSENT);
	assert_int_equal(deliver_to(g, extint), EXC_SS);
	assert_int_equal(v->event.error, DS_ABSENT | 1);
	put32(g, TSS_A + 8, DS_DOWN); /* valid above 7fffh */
	put32(g, TSS_A + 4, 0x8000);
	assert_int_equal(deliver_to(g, extint), EXC_SS);
	assert_int_equal(v->event.error, DS_DOWN | 1);
	put32(g, TSS_A + 4, 0x8014);
	assert_int_equal(deliver_to(g, extint), OK);
	assert_int_equal(v->r[RSP], 0x8000);

	v = guest_protected(state, 3);
	set_idt(g, 0x30, gate_desc(CS0, HANDLER, SYS_INT32, 0, 0));
	v->tr.limit = 8;
	assert_int_equal(deliver_to(g, extint), EXC_TS);
	assert_int_equal(v->event.error, SEL_A | 1);
	v = guest_protected(state, 3);
	set_idt(g, 0x30, gate_desc(CS_SMALL, HANDLER, SYS_INT32, 0, 0)); /* entry point beyond the segment */
	assert_int_equal(deliver_to(g, extint), EXC_GP);
	assert_int_equal(v->event.error, 1);
	assert_int_equal(v->cpl, 3);
}

static void real_mode(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	memset(g->m->ram, 0, 0x1000);
	vcpu_reset(v);
	mmu_flush_all(v);
	segment_set_real(v, SEG_CS, 0x1000);
	segment_set_real(v, SEG_SS, 0x0900);
	v->rip = 0x10;
	v->r[RSP] = 0xabcd0004;
	v->rflags |= FL_IF | FL_TF;
	put32(g, 0x21 * 4, 0x20000345);
	assert_int_equal(RUN(g, 0xcd, 0x21), OK);
	assert_int_equal(v->seg[SEG_CS].base, 0x20000);
	assert_int_equal(v->rip, 0x345);
	assert_int_equal(v->r[RSP], 0xabcdfffe); /* SP wraps, the upper half stays */
	assert_int_equal(get32(g, 0x9000) >> 16, FL_1 | FL_IF | FL_TF);
	assert_int_equal(get32(g, 0x9000) & 0xffff, 0x1000);
	assert_int_equal(get32(g, 0x9000 + 0xfffe) & 0xffff, 0x12);
	assert_int_equal(v->rflags & (FL_IF | FL_TF), 0);
	assert_int_equal(RUN(g, 0xcf), OK);
	assert_int_equal(v->seg[SEG_CS].selector, 0x1000);
	assert_int_equal(v->rip, 0x12);
	assert_int_equal(v->r[RSP], 0xabcd0004);
	assert_int_equal(v->rflags, FL_1 | FL_IF | FL_TF);
	v->idtr.limit = 0x21 * 4 + 2;
	assert_int_equal(RUN(g, 0xcd, 0x21), EXC_GP);
	v->r[RSP] = 1; /* a word at ffffh does not fit */
	v->idtr.limit = 0x3ff;
	assert_int_equal(RUN(g, 0xcd, 0x21), EXC_SS);
}

/* Puts the vCPU into virtual-8086 mode by IRET from level 0. */
static struct vcpu *enter_v86(void **state, u32 flags)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;
	const u32 frame[] = { 0x10, 0x1000, FL_VM | FL_1 | flags, 0x200, 0x900, 0xe000, 0xd000, 0xf000, 0x1234 };

	memcpy(at(g, STACK0 - 64), frame, sizeof(frame));
	v->r[RSP] = STACK0 - 64;
	assert_int_equal(RUN(g, 0xcf), OK);
	assert_int_equal(v->mode, MODE_V86);
	return v;
}

static void virtual_8086(void **state)
{
	struct guest *g = *state;
	struct vcpu *v = enter_v86(state, FL_IF);

	assert_int_equal(v->cpl, 3);
	assert_int_equal(v->seg[SEG_CS].base, 0x10000);
	assert_int_equal(v->seg[SEG_SS].base, 0x9000);
	assert_int_equal(v->seg[SEG_ES].selector, 0xe000);
	assert_int_equal(v->seg[SEG_DS].selector, 0xd000);
	assert_int_equal(v->seg[SEG_FS].selector, 0xf000);
	assert_int_equal(v->seg[SEG_GS].base, 0x12340);
	assert_int_equal(v->seg[SEG_GS].ar, 0xf3);
	assert_int_equal(v->r[RSP], 0x200);
	assert_int_equal(RUN(g, 0xcd, 0x21), EXC_GP); /* IOPL 0 */
	assert_int_equal(v->event.error, 0);
	assert_int_equal(RUN(g, 0xfa), EXC_GP);
	assert_int_equal(RUN(g, 0x9c), EXC_GP);
	assert_int_equal(RUN(g, 0xcf), EXC_GP);

	set_idt(g, EXC_GP, gate_desc(CS0, HANDLER, SYS_INT32, 0, 0));
	assert_int_equal(deliver_to(g, gp), OK);
	assert_int_equal(v->mode, MODE_PROTECTED);
	assert_int_equal(v->cpl, 0);
	assert_int_equal(v->r[RSP], STACK0 - 40);
	assert_int_equal(get32(g, STACK0 - 4), 0x1234);
	assert_int_equal(get32(g, STACK0 - 8), 0xf000);
	assert_int_equal(get32(g, STACK0 - 12), 0xd000);
	assert_int_equal(get32(g, STACK0 - 16), 0xe000);
	assert_int_equal(get32(g, STACK0 - 20), 0x900);
	assert_int_equal(get32(g, STACK0 - 24), 0x200);
	assert_int_equal(get32(g, STACK0 - 28), FL_VM | FL_1 | FL_IF | FL_RF);
	assert_true(v->seg[SEG_DS].ar & AR_UNUSABLE);
	assert_int_equal(v->seg[SEG_GS].selector, 0);

	enter_v86(state, FL_IF);
	set_idt(g, EXC_GP, gate_desc(CS1, HANDLER, SYS_INT32, 0, 0)); /* must be level 0 */
	assert_int_equal(deliver_to(g, gp), EXC_GP);
	assert_int_equal(v->event.error, (CS1 & ~3) | 1);
}

static void virtual_8086_extensions(void **state)
{
	struct guest *g = *state;
	struct vcpu *v = enter_v86(state, 0);

	v->cr4 = CR4_VME;
	put16(g, TSS_A + 102, 0x88); /* redirection bitmap at 68h: all zero, so to the task's IVT */
	put32(g, 0x21 * 4, 0x20000345);
	assert_int_equal(RUN(g, 0xfb), OK); /* STI sets VIF */
	assert_int_equal(v->rflags & (FL_VIF | FL_IF), FL_VIF);
	assert_int_equal(RUN(g, 0xcd, 0x21), OK);
	assert_int_equal(v->mode, MODE_V86);
	assert_int_equal(v->seg[SEG_CS].selector, 0x2000);
	assert_int_equal(v->rip, 0x345);
	assert_int_equal(v->rflags & FL_VIF, 0);
	assert_int_equal(get32(g, 0x9000 + 0x1fe) & 0xffff, FL_1 | FL_IF | FL_IOPL);
	assert_int_equal(RUN(g, 0xcf), OK);
	assert_int_equal(v->rflags & (FL_VIF | FL_IOPL), FL_VIF);
	assert_int_equal(v->rip, 0x13);
	v->rflags |= FL_VIP;
	v->rflags &= ~(u64)FL_VIF;
	assert_int_equal(RUN(g, 0xfb), EXC_GP);
	*at(g, TSS_A + 0x68 + 0x21 / 8) = 1 << (0x21 & 7); /* now the monitor wants it */
	assert_int_equal(RUN(g, 0xcd, 0x21), EXC_GP);
}

static void iret_errors(void **state)
{
	struct guest *g = *state;
	struct {
		u32 ip, cs, flags, sp, ss;
		int vector;
		u32 error;
	} cases[] = {
		{ CODE, 0, 2, 0, 0, EXC_GP, 0 },
		{ CODE, DS0, 2, 0, 0, EXC_GP, DS0 },
		{ CODE, 0x7f8, 2, 0, 0, EXC_GP, 0x7f8 },
		{ CODE, CS_ABSENT, 2, 0, 0, EXC_NP, CS_ABSENT },
		{ CODE, CS3 & ~3, 2, 0, 0, EXC_GP, CS3 & ~3 },
		{ 0x1000, CS_SMALL, 2, 0, 0, EXC_GP, 0 },
		{ CODE, CS3, 2, STACK3, 0, EXC_GP, 0 },
		{ CODE, CS3, 2, STACK3, DS0, EXC_GP, DS0 },
		{ CODE, CS3, 2, STACK3, DS0 | 3, EXC_GP, DS0 },
		{ CODE, CS3, 2, STACK3, CS3, EXC_GP, CS3 & ~3 },
		{ CODE, CS3, 2, STACK3, DS3, OK, 0 },
		{ CODE, CS_CONF | 3, 2, STACK3, DS3, OK, 0 },
	};

	for (unsigned k = 0; k < ARRAY_SIZE(cases); k++) {
		struct vcpu *v = guest_protected(state, 0);
		v->r[RSP] = STACK0 - 20;
		memcpy(at(g, STACK0 - 20), &cases[k], 20);
		assert_int_equal(RUN(g, 0xcf), cases[k].vector);
		if (cases[k].vector != OK) {
			assert_int_equal(v->event.error, cases[k].error);
			assert_int_equal(v->r[RSP], STACK0 - 20);
			assert_int_equal(v->cpl, 0);
		}
	}
	/* From level 3 neither IOPL nor, below it, IF can be changed. */
	struct vcpu *v = guest_protected(state, 3);
	const u32 frame[] = { CODE, CS3, FL_1 | FL_IOPL | FL_CF };
	memcpy(at(g, STACK3 - 12), frame, 12);
	v->r[RSP] = STACK3 - 12;
	assert_int_equal(RUN(g, 0xcf), OK);
	assert_int_equal(v->rflags, FL_1 | FL_IF | FL_CF);
}

static void nmi_blocking(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	set_idt(g, EXC_NMI, gate_desc(CS0, HANDLER, SYS_INT32, 0, 0));
	assert_int_equal(deliver_to(g, (struct cpu_event){ .vector = EXC_NMI, .type = EVENT_NMI }), OK);
	assert_true(v->nmi_blocked);
	assert_int_equal(RUN(g, 0xcf), OK);
	assert_false(v->nmi_blocked);
}

static void combining(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	static const struct {
		u8 first, second;
		int gives; /* -1: triple fault */
	} cases[] = { { EXC_GP, EXC_GP, EXC_DF }, { EXC_GP, EXC_PF, EXC_PF }, { EXC_PF, EXC_GP, EXC_DF },
		      { EXC_PF, EXC_PF, EXC_DF }, { EXC_DE, EXC_NP, EXC_DF }, { EXC_DB, EXC_GP, EXC_GP },
		      { EXC_UD, EXC_PF, EXC_PF }, { EXC_DF, EXC_GP, -1 },     { EXC_DF, EXC_PF, -1 },
		      { EXC_MF, EXC_SS, EXC_SS } };

	for (unsigned k = 0; k < ARRAY_SIZE(cases); k++) {
		struct cpu_event first = { true, cases[k].first, EVENT_EXCEPTION };
		v->event = (struct cpu_event){ true, cases[k].second, EVENT_EXCEPTION, .cr2 = 0x777 };
		assert_int_equal(combine_exceptions(v, &first), cases[k].gives >= 0);
		if (cases[k].gives >= 0)
			assert_int_equal(v->event.vector, cases[k].gives);
		if (cases[k].gives == EXC_DF)
			assert_true(v->event.has_error && !v->event.error);
	}
	v->event = (struct cpu_event){ true, EXC_GP, EVENT_EXCEPTION };
	assert_true(combine_exceptions(v, &extint));
	assert_int_equal(v->event.vector, EXC_GP);
}

static void page_fault_sets_cr2(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	set_idt(g, EXC_PF, gate_desc(CS0, HANDLER, SYS_INT32, 0, 0));
	assert_int_equal(deliver_to(g, (struct cpu_event){ .vector = EXC_PF,
							   .type = EVENT_EXCEPTION,
							   .has_error = true,
							   .error = PF_W,
							   .cr2 = 0xdead000 }),
			 OK);
	assert_int_equal(v->cr2, 0xdead000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(same_level, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(trap_gate_16, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(to_inner_level_and_back, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(software_interrupts, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(gate_errors, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(stack_errors, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(real_mode, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(virtual_8086, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(virtual_8086_extensions, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(iret_errors, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(nmi_blocking, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(combining, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(page_fault_sets_cr2, guest_new, guest_free),
	};

	return cmocka_run_group_tests_name("delivery", tests, NULL, NULL);
}
