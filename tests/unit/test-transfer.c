/* SPDX-License-Identifier: Apache-2.0 */
/* Far transfers, call gates, task switches and segment loads in legacy protected mode (SDM vol. 3 ch. 5 and 7). */
#include "sys-guest.h"

#define LE16(x)		(u8)(x), (u8)((x) >> 8)
#define LE32(x)		LE16(x), LE16((u32)(x) >> 16)
#define JMPF(sel, off)	0xea, LE32(off), LE16(sel)
#define CALLF(sel, off) 0x9a, LE32(off), LE16(sel)

static void direct(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	assert_int_equal(RUN(g, JMPF(CS_CONF | 3, 0x12345)), OK);
	assert_int_equal(v->seg[SEG_CS].selector, CS_CONF);
	assert_int_equal(v->rip, 0x12345);
	assert_true(get64(g, GDT + CS_CONF) >> 40 & 1); /* accessed */
	assert_int_equal(RUN(g, JMPF(CS16, 0x1000)), OK);
	assert_int_equal(v->code_size, CODE_16);

	v = guest_protected(state, 0);
	assert_int_equal(RUN(g, CALLF(CS0, HANDLER)), OK);
	assert_int_equal(get32(g, STACK0 - 4), CS0);
	assert_int_equal(get32(g, STACK0 - 8), CODE + 7);
	assert_int_equal(RUN(g, 0xcb), OK);
	assert_int_equal(v->rip, CODE + 7);
	assert_int_equal(v->r[RSP], STACK0);
}

static void direct_errors(void **state)
{
	struct guest *g = *state;
	static const struct {
		u16 selector;
		u32 offset;
		unsigned cpl;
		int vector;
		u32 error;
	} cases[] = { { 0, 0, 0, EXC_GP, 0 },
		      { 3, 0, 0, EXC_GP, 0 },
		      { DS0, 0, 0, EXC_GP, DS0 },
		      { 0x7f8, 0, 0, EXC_GP, 0x7f8 },
		      { 0x0c, 0, 0, EXC_GP, 0x0c },
		      { CS_ABSENT, 0, 0, EXC_NP, CS_ABSENT },
		      { CS3, 0, 0, EXC_GP, CS3 & ~3 },
		      { CS0 | 1, 0, 0, EXC_GP, CS0 },
		      { CS0, 0, 3, EXC_GP, CS0 },
		      { CS_SMALL, 0x1000, 0, EXC_GP, 0 },
		      { CS_SMALL, 0xfff, 0, OK, 0 },
		      { CS_CONF, 0, 3, OK, 0 },
		      { SEL_A, 0, 0, EXC_GP, SEL_A }, /* busy */
		      { SEL_LDT, 0, 0, EXC_GP, SEL_LDT },
		      { SEL_B, 0, 3, EXC_GP, SEL_B },
		      { GATE0 & ~3, 0, 3, EXC_GP, CS0 }, /* JMP cannot go inward */
		      { GATE_SAME, 0, 3, EXC_GP, GATE_SAME } };

	for (unsigned k = 0; k < ARRAY_SIZE(cases); k++) {
		struct vcpu *v = guest_protected(state, cases[k].cpl);
		assert_int_equal(RUN(g, JMPF(cases[k].selector, cases[k].offset)), cases[k].vector);
		assert_int_equal(v->cpl, cases[k].cpl);
		if (cases[k].vector == OK) {
			assert_int_equal(v->rip, cases[k].offset);
		} else {
			assert_int_equal(v->event.error, cases[k].error);
			assert_int_equal(v->rip, CODE);
		}
	}
}

static void call_gates(void **state)
{
	struct vcpu *v = guest_protected(state, 3);
	struct guest *g = *state;

	put32(g, STACK3 - 12, 0x11);
	put32(g, STACK3 - 8, 0x22);
	put32(g, STACK3 - 4, 0x33);
	v->r[RSP] = STACK3 - 12;
	assert_int_equal(RUN(g, CALLF(GATE1, 0xffff)), OK);
	assert_int_equal(v->cpl, 1);
	assert_int_equal(v->rip, HANDLER);
	assert_int_equal(v->seg[SEG_CS].selector, CS1);
	assert_int_equal(v->seg[SEG_SS].selector, DS1);
	assert_int_equal(v->r[RSP], STACK1 - 28);
	assert_int_equal(get32(g, STACK1 - 4), DS3);
	assert_int_equal(get32(g, STACK1 - 8), STACK3 - 12);
	assert_int_equal(get32(g, STACK1 - 12), 0x33);
	assert_int_equal(get32(g, STACK1 - 16), 0x22);
	assert_int_equal(get32(g, STACK1 - 20), 0x11);
	assert_int_equal(get32(g, STACK1 - 24), CS3);
	assert_int_equal(get32(g, STACK1 - 28), CODE + 7);
	assert_int_equal(RUN(g, 0xca, 12, 0), OK); /* RETF 12 */
	assert_int_equal(v->cpl, 3);
	assert_int_equal(v->r[RSP], STACK3);
	assert_int_equal(v->seg[SEG_SS].selector, DS3);

	v = guest_protected(state, 0);
	assert_int_equal(RUN(g, CALLF(GATE_SAME, 0)), OK); /* a 16-bit gate, no change of level */
	assert_int_equal(v->rip, HANDLER & 0xffff);
	assert_int_equal(get32(g, STACK0 - 4), ((CODE + 7) & 0xffff) | CS0 << 16);

	v = guest_protected(state, 3);
	put32(g, TSS_A + 16, DS0); /* wrong level */
	assert_int_equal(RUN(g, CALLF(GATE1, 0)), EXC_TS);
	assert_int_equal(v->event.error, DS0);
	set_gdt(g, GATE1, gate_desc(CS1, HANDLER, SYS_CALL32, 2, 0));
	assert_int_equal(RUN(g, CALLF(GATE1, 0)), EXC_GP);
	assert_int_equal(v->event.error, GATE1 & ~3);
	set_gdt(g, GATE1, gate_desc(CS1, HANDLER, SYS_CALL32, 3, 0) & ~BIT(47));
	assert_int_equal(RUN(g, CALLF(GATE1, 0)), EXC_NP);
	set_gdt(g, GATE1, gate_desc(0, HANDLER, SYS_CALL32, 3, 0));
	assert_int_equal(RUN(g, CALLF(GATE1, 0)), EXC_GP);
	assert_int_equal(v->event.error, 0);
	assert_int_equal(v->r[RSP], STACK3);
}

static void far_in_real_mode(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	vcpu_reset(v);
	segment_set_real(v, SEG_CS, 0x1000);
	v->rip = 0;
	v->r[RSP] = 0x8000;
	assert_int_equal(RUN(g, 0x9a, LE16(0x345), LE16(0x2000)), OK);
	assert_int_equal(v->seg[SEG_CS].base, 0x20000);
	assert_int_equal(v->rip, 0x345);
	assert_int_equal(get32(g, 0x7ffc), 0x10000005);
	assert_int_equal(RUN(g, 0xca, 4, 0), OK);
	assert_int_equal(v->rip, 5);
	assert_int_equal(v->r[RSP], 0x8004);
	/* Into protected mode and a 32-bit segment, as boot code does. */
	v->gdtr = (struct table_reg){ GDT, GDT_END };
	assert_int_equal(RUN(g, 0x0f, 0x22, 0xc0), OK); /* MOV CR0, EAX: 0 clears nothing that matters */
	v->r[RAX] = CR0_PE;
	assert_int_equal(RUN(g, 0x0f, 0x22, 0xc0), OK);
	assert_int_equal(v->mode, MODE_PROTECTED);
	assert_int_equal(v->code_size, CODE_16);
	assert_int_equal(RUN(g, 0x66, JMPF(CS0, CODE)), OK);
	assert_int_equal(v->code_size, CODE_32);
	assert_int_equal(v->rip, CODE);
}

/* ---- tasks ---- */
static void make_task_b(struct guest *g)
{
	put32(g, TSS_B + 0x20, HANDLER); /* EIP */
	put32(g, TSS_B + 0x24, FL_1 | FL_ZF);
	put32(g, TSS_B + 0x28, 0xaaaa0001); /* EAX */
	put32(g, TSS_B + 0x38, STACK3);
	for (unsigned k = 0; k < 6; k++)
		put32(g, TSS_B + 0x48 + 4 * k, k == 1 ? CS3 : DS3);
	put32(g, TSS_B + 0x60, SEL_LDT);
}

static void task_call_and_return(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	make_task_b(g);
	v->r[RBX] = 0x55667788;
	v->dr[7] |= 0x3;
	assert_int_equal(RUN(g, CALLF(SEL_B, 0)), OK);
	assert_int_equal(v->rip, HANDLER);
	assert_int_equal(v->cpl, 3);
	assert_int_equal(v->tr.selector, SEL_B);
	assert_int_equal(v->ldtr.base, LDT);
	assert_int_equal(v->r[RAX], 0xaaaa0001);
	assert_int_equal(v->r[RSP], STACK3);
	assert_int_equal(v->rflags, FL_1 | FL_ZF | FL_NT);
	assert_true(v->cr0 & CR0_TS);
	assert_int_equal(v->dr[7] & 0x3, 2); /* the local enable went */
	assert_int_equal(get32(g, TSS_B) & 0xffff, SEL_A);
	assert_int_equal(get32(g, TSS_A + 0x20), CODE + 7);
	assert_int_equal(get32(g, TSS_A + 0x34), 0x55667788);
	assert_int_equal(get32(g, TSS_A + 0x4c), CS0);
	assert_int_equal(get64(g, GDT + SEL_A) >> 40 & 0xf, SYS_TSS32_BUSY);
	assert_int_equal(get64(g, GDT + SEL_B) >> 40 & 0xf, SYS_TSS32_BUSY);

	v->r[RAX] = 0xbbbb0002;
	assert_int_equal(RUN(g, 0xcf), OK); /* IRET with NT */
	assert_int_equal(v->rip, CODE + 7);
	assert_int_equal(v->cpl, 0);
	assert_int_equal(v->tr.selector, SEL_A);
	assert_int_equal(v->r[RBX], 0x55667788);
	assert_int_equal(v->rflags & FL_NT, 0);
	assert_int_equal(get32(g, TSS_B + 0x28), 0xbbbb0002);
	assert_int_equal(get32(g, TSS_B + 0x24), FL_1 | FL_ZF);
	assert_int_equal(get64(g, GDT + SEL_B) >> 40 & 0xf, SYS_TSS32);
}

static void task_gate_with_error(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	make_task_b(g);
	put32(g, TSS_B + 0x64, 1); /* T */
	set_idt(g, EXC_GP, gate_desc(SEL_B, 0, SYS_TASK_GATE, 0, 0));
	assert_int_equal(deliver_to(g, (struct cpu_event){ .vector = EXC_GP,
							   .type = EVENT_EXCEPTION,
							   .has_error = true,
							   .error = 0x77 }),
			 OK);
	assert_int_equal(v->r[RSP], STACK3 - 4);
	assert_int_equal(get32(g, STACK3 - 4), 0x77);
	assert_int_equal(get32(g, TSS_A + 0x20), CODE);
	assert_int_equal(v->pending_db, DR6_BT);
	v->unwind = &g->landing;
	if (!setjmp(g->landing))
		debug_trap_check(v);
	assert_int_equal(v->event.vector, EXC_DB);
	assert_int_equal(v->dr[6], DR6_FIXED | DR6_BT);
}

static void task_jump_16(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	put16(g, TSS_C + 14, 0x1234); /* IP */
	put16(g, TSS_C + 16, FL_1 | FL_CF);
	put16(g, TSS_C + 18, 0x5678); /* AX */
	put16(g, TSS_C + 26, 0x4000); /* SP */
	put16(g, TSS_C + 34, DS0);
	put16(g, TSS_C + 36, CS16);
	put16(g, TSS_C + 38, DS0);
	put16(g, TSS_C + 40, DS0);
	assert_int_equal(RUN(g, JMPF(SEL_C, 0)), OK);
	assert_int_equal(v->rip, 0x1234);
	assert_int_equal(v->code_size, CODE_16);
	assert_int_equal(v->r[RAX] & 0xffff, 0x5678);
	assert_int_equal(v->rflags, FL_1 | FL_CF);
	assert_int_equal(v->seg[SEG_FS].selector, 0);
	assert_int_equal(get64(g, GDT + SEL_A) >> 40 & 0xf, SYS_TSS32);
	assert_int_equal(get64(g, GDT + SEL_C) >> 40 & 0xf, SYS_TSS16_BUSY);
	/* and back, through a far jump in 16-bit code; the 16-bit format was saved */
	put32(g, TSS_A + 0x4c, CS0);
	put32(g, TSS_A + 0x50, DS0);
	put32(g, TSS_A + 0x20, CODE);
	assert_int_equal(RUN(g, 0xea, LE16(0), LE16(SEL_A)), OK);
	assert_int_equal(v->rip, CODE);
	assert_int_equal(get32(g, TSS_C + 14) & 0xffff, 0x1239);
	assert_int_equal(get32(g, TSS_C + 36) & 0xffff, CS16);
}

static void task_errors(void **state)
{
	struct guest *g = *state;
	struct vcpu *v = guest_protected(state, 0);

	make_task_b(g);
	set_gdt(g, SEL_B, seg_desc(TSS_B, 0x66, 0x0089)); /* too short */
	assert_int_equal(RUN(g, JMPF(SEL_B, 0)), EXC_TS);
	assert_int_equal(v->event.error, SEL_B);
	assert_int_equal(v->tr.selector, SEL_A);
	set_gdt(g, SEL_B, seg_desc(TSS_B, 0x67, 0x0009));
	assert_int_equal(RUN(g, JMPF(SEL_B, 0)), EXC_NP);
	v->rflags |= FL_NT; /* IRET to a task that is not busy */
	put16(g, TSS_A, SEL_C);
	assert_int_equal(RUN(g, 0xcf), EXC_TS);
	assert_int_equal(v->event.error, SEL_C);

	static const struct {
		unsigned offset;
		u16 selector;
		int vector;
		u32 error;
	} cases[] = {
		{ 0x4c, 0, EXC_TS, 0 },
		{ 0x4c, DS3, EXC_TS, DS3 & ~3 },
		{ 0x4c, CS_ABSENT, EXC_NP, CS_ABSENT },
		{ 0x50, DS0, EXC_TS, DS0 },
		{ 0x50, 0, EXC_TS, 0 },
		{ 0x54, CS_ABSENT, EXC_TS, CS_ABSENT },
		{ 0x54, DS_ABSENT, EXC_TS, DS_ABSENT },
		{ 0x60, CS0, EXC_TS, CS0 },
		{ 0x60, 0x2c, EXC_TS, 0x2c },
		{ 0x58, 0x7f8, EXC_TS, 0x7f8 },
	};
	for (unsigned k = 0; k < ARRAY_SIZE(cases); k++) {
		v = guest_protected(state, 0);
		make_task_b(g);
		put16(g, TSS_B + cases[k].offset, cases[k].selector);
		assert_int_equal(RUN(g, JMPF(SEL_B, 0)), cases[k].vector);
		assert_int_equal(v->event.error, cases[k].error);
		/* The fault is the new task's. */
		assert_int_equal(v->tr.selector, SEL_B);
		assert_int_equal(v->rip, HANDLER);
	}
}

/* ---- segment registers ---- */
static void segment_loads(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;
	static const struct {
		u8 modrm; /* MOV Sreg, AX */
		u16 selector;
		int vector;
		u32 error;
	} cases[] = { { 0xd8, DS0, OK, 0 },
		      { 0xd8, 0, OK, 0 },
		      { 0xd8, 3, OK, 0 },
		      { 0xd8, CS0, OK, 0 },
		      { 0xd8, SEL_A, EXC_GP, SEL_A },
		      { 0xd8, 0x7f8, EXC_GP, 0x7f8 },
		      { 0xd8, DS_ABSENT, EXC_NP, DS_ABSENT },
		      { 0xd8, DS0 | 3, EXC_GP, DS0 },
		      { 0xd0, 0, EXC_GP, 0 },
		      { 0xd0, CS0, EXC_GP, CS0 },
		      { 0xd0, DS3, EXC_GP, DS3 & ~3 },
		      { 0xd0, DS_ABSENT, EXC_SS, DS_ABSENT },
		      { 0xd0, DS0, OK, 0 } };

	for (unsigned k = 0; k < ARRAY_SIZE(cases); k++) {
		v = guest_protected(state, 0);
		v->r[RAX] = cases[k].selector;
		assert_int_equal(RUN(g, 0x8e, cases[k].modrm), cases[k].vector);
		if (cases[k].vector != OK)
			assert_int_equal(v->event.error, cases[k].error);
	}
	assert_true(v->shadow && v->shadow_ss); /* the last was MOV SS */
	assert_int_equal(RUN(g, 0x8c, 0xd0), OK); /* MOV EAX, SS */
	assert_int_equal(v->r[RAX], DS0);
	assert_int_equal(RUN(g, 0x06), OK); /* PUSH ES */
	assert_int_equal(v->r[RSP], STACK0 - 4);
	assert_int_equal(RUN(g, 0x1f), OK); /* POP DS */
	assert_int_equal(v->r[RSP], STACK0);
	put32(g, 0x7000, 0xcafe0000);
	put16(g, 0x7004, DS_DOWN);
	assert_int_equal(RUN(g, 0x0f, 0xb5, 0x05, LE32(0x7000)), OK); /* LGS EAX */
	assert_int_equal(v->r[RAX], 0xcafe0000);
	assert_int_equal(v->seg[SEG_GS].selector, DS_DOWN);
}

static int access_fault(struct guest *g, unsigned seg, u64 ea, unsigned len, enum seg_use use)
{
	g->v->unwind = &g->landing;
	if (setjmp(g->landing))
		return g->v->event.vector;
	segment_linear(g->v, seg, ea, len, use);
	return OK;
}

static void segment_limits(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	segment_load(v, SEG_DS, DS_DOWN);
	assert_int_equal(access_fault(g, SEG_DS, 0x7fff, 1, SEG_READ), EXC_GP);
	assert_int_equal(access_fault(g, SEG_DS, 0x8000, 4, SEG_WRITE), OK);
	assert_int_equal(access_fault(g, SEG_DS, 0xfffffffe, 4, SEG_READ), EXC_GP);
	assert_int_equal(access_fault(g, SEG_CS, 0, 4, SEG_READ), OK);
	assert_int_equal(access_fault(g, SEG_CS, 0, 4, SEG_WRITE), EXC_GP);
	segment_load(v, SEG_ES, 0);
	assert_int_equal(access_fault(g, SEG_ES, 0, 1, SEG_READ), EXC_GP);
	v->seg[SEG_SS].limit = 0xfff;
	assert_int_equal(access_fault(g, SEG_SS, 0xffd, 4, SEG_READ), EXC_SS);
	assert_int_equal(access_fault(g, SEG_SS, 0xffc, 4, SEG_READ), OK);
}

static void selectors(void **state)
{
	struct vcpu *v = guest_protected(state, 3);
	struct guest *g = *state;

	v->r[RCX] = DS3;
	assert_int_equal(RUN(g, 0x0f, 0x02, 0xc1), OK); /* LAR EAX, ECX */
	assert_int_equal(v->r[RAX], 0xcff200);
	assert_true(flags_get(v) & FL_ZF);
	assert_int_equal(RUN(g, 0x0f, 0x03, 0xc1), OK); /* LSL */
	assert_int_equal(v->r[RAX], 0xffffffff);
	v->r[RCX] = DS0;
	assert_int_equal(RUN(g, 0x0f, 0x02, 0xc1), OK);
	assert_false(flags_get(v) & FL_ZF);
	assert_int_equal(RUN(g, 0x0f, 0x00, 0xe1), OK); /* VERR CX */
	assert_false(flags_get(v) & FL_ZF);
	v->r[RCX] = CS_CONF;
	assert_int_equal(RUN(g, 0x0f, 0x00, 0xe1), OK);
	assert_true(flags_get(v) & FL_ZF);
	assert_int_equal(RUN(g, 0x0f, 0x00, 0xe9), OK); /* VERW CX */
	assert_false(flags_get(v) & FL_ZF);
	v->r[RCX] = 0x10;
	v->r[RAX] = 3;
	assert_int_equal(RUN(g, 0x63, 0xc1), OK); /* ARPL CX, AX */
	assert_int_equal(v->r[RCX], 0x13);
	assert_true(flags_get(v) & FL_ZF);
	assert_int_equal(RUN(g, 0x0f, 0x00, 0xd1), EXC_GP); /* LLDT */

	v = guest_protected(state, 0);
	v->r[RCX] = SEL_LDT;
	assert_int_equal(RUN(g, 0x0f, 0x00, 0xd1), OK);
	assert_int_equal(v->ldtr.base, LDT);
	v->r[RCX] = SEL_B;
	assert_int_equal(RUN(g, 0x0f, 0x00, 0xd9), OK); /* LTR */
	assert_int_equal(get64(g, GDT + SEL_B) >> 40 & 0xf, SYS_TSS32_BUSY);
	assert_int_equal(RUN(g, 0x0f, 0x00, 0xd9), EXC_GP);
	assert_int_equal(v->event.error, SEL_B);
	assert_int_equal(RUN(g, 0x0f, 0x00, 0xc8), OK); /* STR EAX */
	assert_int_equal(v->r[RAX], SEL_B);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(direct, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(direct_errors, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(call_gates, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(far_in_real_mode, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(task_call_and_return, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(task_gate_with_error, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(task_jump_16, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(task_errors, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(segment_loads, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(segment_limits, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(selectors, guest_new, guest_free),
	};

	return cmocka_run_group_tests_name("transfer", tests, NULL, NULL);
}
