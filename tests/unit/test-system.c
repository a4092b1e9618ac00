/* SPDX-License-Identifier: Apache-2.0 */
/* Long mode, fast system calls, control and debug registers, MSRs, ports, flags and CPUID. */
#include "sys-guest.h"
#include "x86/msr.h"

#define LE32(x) (u8)(x), (u8)((x) >> 8), (u8)((u32)(x) >> 16), (u8)((u32)(x) >> 24)

static int wrmsr(struct guest *g, u32 msr, u64 value)
{
	g->v->r[RCX] = msr;
	g->v->r[RAX] = (u32)value;
	g->v->r[RDX] = value >> 32;
	return RUN(g, 0x0f, 0x30);
}

static int rdmsr(struct guest *g, u32 msr, u64 *value)
{
	g->v->r[RCX] = msr;
	int r = RUN(g, 0x0f, 0x32);
	*value = (u32)g->v->r[RAX] | g->v->r[RDX] << 32;
	return r;
}

/*
 * From 32-bit protected mode, as a kernel does it: PAE, CR3, EFER.LME, CR0.PG, far jump. Identity map of 1 GiB, user
 * too.
 */
static struct vcpu *guest_long(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	put64(g, PML4, (PML4 + 0x1000) | PTE_P | PTE_W | PTE_U);
	put64(g, PML4 + 0x1000, PTE_P | PTE_W | PTE_U | PTE_PS);
	v->r[RAX] = CR4_PAE;
	assert_int_equal(RUN(g, 0x0f, 0x22, 0xe0), OK);
	v->r[RAX] = PML4;
	assert_int_equal(RUN(g, 0x0f, 0x22, 0xd8), OK);
	assert_int_equal(wrmsr(g, MSR_EFER, EFER_LME | EFER_SCE | EFER_NXE), OK);
	v->r[RAX] = CR0_PE | CR0_PG | CR0_WP | CR0_NE;
	assert_int_equal(RUN(g, 0x0f, 0x22, 0xc0), OK);
	assert_int_equal(v->efer, EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE);
	assert_int_equal(v->mode, MODE_COMPAT);
	assert_int_equal(RUN(g, 0xea, LE32(CODE), CS64, 0), OK);
	assert_int_equal(v->mode, MODE_LONG);
	put64(g, TSS_A + 4, STACK0); /* RSP0 */
	put64(g, TSS_A + 36, STACK1 + 8); /* IST1, misaligned on purpose */
	put32(g, IDT + 16 * 0x30, (u32)gate_desc(CS64, HANDLER, SYS_INT32, 0, 0));
	return v;
}

static void set_long_gate(struct guest *g, unsigned vector, unsigned type, unsigned dpl, unsigned ist, u16 selector,
			  u64 offset)
{
	put64(g, IDT + 16 * vector, gate_desc(selector, (u32)offset, type, dpl, ist));
	put64(g, IDT + 16 * vector + 8, offset >> 32);
}

static void to_user(struct vcpu *v)
{
	load_flat(v, SEG_CS, CS64_3, 0xa0fb);
	load_flat(v, SEG_SS, DS3, 0xc0f3);
	set_cpl(v, 3);
	vcpu_update_mode(v);
	v->r[RSP] = STACK3;
}

static const struct cpu_event gp = { .vector = EXC_GP, .type = EVENT_EXCEPTION, .has_error = true, .error = 0x1230 };

static void long_delivery(void **state)
{
	struct vcpu *v = guest_long(state);
	struct guest *g = *state;

	v->idtr.limit = 0xfff;
	set_long_gate(g, EXC_GP, SYS_INT32, 0, 0, CS64, HANDLER);
	to_user(v);
	v->rip = CODE;
	v->rflags |= FL_IF;
	assert_int_equal(deliver_to(g, gp), OK);
	assert_int_equal(v->cpl, 0);
	assert_int_equal(v->seg[SEG_SS].selector, 0);
	assert_int_equal(v->r[RSP], STACK0 - 48);
	const u64 want[] = { 0x1230, CODE, CS64_3, FL_1 | FL_IF | FL_RF, STACK3, DS3 };
	assert_memory_equal(at(g, STACK0 - 48), want, sizeof(want));
	assert_false(v->rflags & FL_IF);
	v->r[RSP] += 8;
	assert_int_equal(RUN(g, 0x48, 0xcf), OK); /* IRETQ */
	assert_int_equal(v->cpl, 3);
	assert_int_equal(v->rip, CODE);
	assert_int_equal(v->r[RSP], STACK3);
	assert_int_equal(v->seg[SEG_SS].selector, DS3);

	/* IST, same level: the old stack is not touched, the new one is aligned. */
	v = guest_long(state);
	v->idtr.limit = 0xfff;
	set_long_gate(g, EXC_GP, SYS_TRAP32, 0, 1, CS64, HANDLER);
	v->r[RSP] = 0x7777;
	v->rflags |= FL_IF;
	assert_int_equal(deliver_to(g, gp), OK);
	assert_int_equal(v->r[RSP], STACK1 - 48);
	assert_int_equal(get64(g, STACK1 - 16), 0x7777);
	assert_true(v->rflags & FL_IF);
	v->r[RSP] += 8;
	assert_int_equal(RUN(g, 0x48, 0xcf), OK);
	assert_int_equal(v->r[RSP], 0x7777);
	assert_int_equal(v->cpl, 0);
}

static void long_delivery_errors(void **state)
{
	struct vcpu *v = guest_long(state);
	struct guest *g = *state;

	v->idtr.limit = 16 * EXC_GP + 14;
	assert_int_equal(deliver_to(g, gp), EXC_GP);
	assert_int_equal(v->event.error, EXC_GP * 8 + 3);
	v->idtr.limit = 0xfff;
	set_long_gate(g, EXC_GP, SYS_TASK_GATE, 0, 0, CS64, HANDLER);
	assert_int_equal(deliver_to(g, gp), EXC_GP);
	set_long_gate(g, EXC_GP, SYS_INT16, 0, 0, CS64, HANDLER);
	assert_int_equal(deliver_to(g, gp), EXC_GP);
	assert_int_equal(v->event.error, EXC_GP * 8 + 3);
	set_long_gate(g, EXC_GP, SYS_INT32, 0, 0, CS0, HANDLER); /* a 32-bit code segment */
	assert_int_equal(deliver_to(g, gp), EXC_GP);
	assert_int_equal(v->event.error, CS0 | 1);
	set_long_gate(g, EXC_GP, SYS_INT32, 0, 0, CS64, 1ull << 60);
	assert_int_equal(deliver_to(g, gp), EXC_GP);
	assert_int_equal(v->event.error, 1);
	set_long_gate(g, EXC_GP, SYS_INT32, 0, 1, CS64, HANDLER);
	put64(g, TSS_A + 36, 1ull << 60);
	assert_int_equal(deliver_to(g, gp), EXC_SS);
	assert_int_equal(v->event.error, 1);
	v->tr.limit = 40;
	assert_int_equal(deliver_to(g, gp), EXC_TS);
	assert_int_equal(v->event.error, SEL_A | 1);
	assert_int_equal(RUN(g, 0xcd, 0x30), EXC_GP);
	v->rflags |= FL_NT;
	assert_int_equal(RUN(g, 0x48, 0xcf), EXC_GP);
}

static void fast_calls(void **state)
{
	struct vcpu *v = guest_long(state);
	struct guest *g = *state;

	assert_int_equal(wrmsr(g, MSR_STAR, (u64)(CS64_3 - 16) << 48 | (u64)CS64 << 32), OK);
	assert_int_equal(wrmsr(g, MSR_LSTAR, HANDLER), OK);
	assert_int_equal(wrmsr(g, MSR_LSTAR, 1ull << 63), EXC_GP);
	assert_int_equal(wrmsr(g, MSR_SFMASK, FL_IF | FL_DF), OK);
	to_user(v);
	v->rip = CODE;
	v->rflags |= FL_IF;
	flags_set(v, FL_CF);
	assert_int_equal(RUN(g, 0x0f, 0x05), OK);
	assert_int_equal(v->cpl, 0);
	assert_int_equal(v->rip, HANDLER);
	assert_int_equal(v->r[RCX], CODE + 2);
	assert_int_equal(v->r[R11], FL_1 | FL_IF | FL_CF);
	assert_int_equal(v->rflags & FL_IF, 0);
	assert_int_equal(v->seg[SEG_CS].selector, CS64);
	assert_int_equal(v->seg[SEG_SS].selector, CS64 + 8);
	assert_int_equal(RUN(g, 0x48, 0x0f, 0x07), OK);
	assert_int_equal(v->cpl, 3);
	assert_int_equal(v->rip, CODE + 2);
	assert_int_equal(v->seg[SEG_CS].selector, CS64_3);
	assert_int_equal(v->seg[SEG_SS].selector, (CS64_3 - 8) | 3);
	assert_true(v->rflags & FL_IF);
	assert_int_equal(RUN(g, 0x48, 0x0f, 0x07), EXC_GP);
	assert_int_equal(RUN(g, 0x0f, 0x01, 0xf8), EXC_GP); /* SWAPGS */
	v->efer &= ~EFER_SCE;
	assert_int_equal(RUN(g, 0x0f, 0x05), EXC_UD);

	v->msr.sysenter_cs = CS64;
	v->msr.sysenter_eip = HANDLER;
	v->msr.sysenter_esp = STACK0;
	assert_int_equal(RUN(g, 0x0f, 0x34), OK);
	assert_int_equal(v->cpl, 0);
	assert_int_equal(v->r[RSP], STACK0);
	v->r[RDX] = CODE;
	v->r[RCX] = STACK3;
	assert_int_equal(RUN(g, 0x48, 0x0f, 0x35), OK);
	assert_int_equal(v->cpl, 3);
	assert_int_equal(v->seg[SEG_CS].selector, (CS64 + 32) | 3);
	v->msr.sysenter_cs = 0;
	assert_int_equal(RUN(g, 0x0f, 0x34), EXC_GP);
}

static void long_transfers(void **state)
{
	struct vcpu *v = guest_long(state);
	struct guest *g = *state;

	to_user(v);
	v->rip = CODE;
	put64(g, 0x7000, 0x1234);
	put16(g, 0x7008, GATE64);
	v->r[RBX] = 0x7000;
	assert_int_equal(RUN(g, 0x48, 0xff, 0x1b), OK); /* CALL FAR [RBX] through a 64-bit gate */
	assert_int_equal(v->cpl, 0);
	assert_int_equal(v->rip, HANDLER);
	assert_int_equal(v->seg[SEG_SS].selector, 0);
	const u64 want[] = { CODE + 3, CS64_3, STACK3, DS3 };
	assert_int_equal(v->r[RSP], STACK0 - 32);
	assert_memory_equal(at(g, STACK0 - 32), want, sizeof(want));
	assert_int_equal(RUN(g, 0x48, 0xcb), OK);
	assert_int_equal(v->cpl, 3);
	assert_int_equal(v->rip, CODE + 3);
	put16(g, 0x7008, SEL_B); /* no task switches in long mode */
	set_gdt(g, SEL_B, seg_desc(TSS_B, 0x67, 0x00e9));
	assert_int_equal(RUN(g, 0x48, 0xff, 0x1b), EXC_GP);

	/* IRETQ to compatibility mode, and to a non-canonical address. */
	v = guest_long(state);
	u64 frame[] = { CODE, CS3, FL_1, STACK3, DS3 };
	memcpy(at(g, STACK0 - 40), frame, sizeof(frame));
	v->r[RSP] = STACK0 - 40;
	assert_int_equal(RUN(g, 0x48, 0xcf), OK);
	assert_int_equal(v->mode, MODE_COMPAT);
	assert_int_equal(v->code_size, CODE_32);
	v = guest_long(state);
	frame[0] = 1ull << 47;
	frame[1] = CS64_3;
	memcpy(at(g, STACK0 - 40), frame, sizeof(frame));
	v->r[RSP] = STACK0 - 40;
	assert_int_equal(RUN(g, 0x48, 0xcf), EXC_GP);
	assert_int_equal(v->cpl, 0);
	/* a null SS is good for 64-bit level 0 only */
	frame[0] = CODE;
	frame[1] = CS64;
	frame[4] = 0;
	memcpy(at(g, STACK0 - 40), frame, sizeof(frame));
	assert_int_equal(RUN(g, 0x48, 0xcf), OK);
	frame[1] = CS64_3;
	memcpy(at(g, STACK0 - 40), frame, sizeof(frame));
	v->r[RSP] = STACK0 - 40;
	assert_int_equal(RUN(g, 0x48, 0xcf), EXC_GP);
}

static int mov_cr(struct guest *g, unsigned n, u64 value)
{
	g->v->r[RAX] = value;
	return RUN(g, 0x0f, 0x22, (u8)(0xc0 | n << 3));
}

static void control_registers(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	assert_int_equal(mov_cr(g, 0, CR0_PG), EXC_GP);
	assert_int_equal(mov_cr(g, 0, CR0_PE | CR0_NW), EXC_GP);
	assert_int_equal(mov_cr(g, 4, BIT(13)), EXC_GP); /* VMXE */
	assert_int_equal(mov_cr(g, 4, CR4_PCIDE), EXC_GP);
	assert_int_equal(mov_cr(g, 0, CR0_PE | CR0_TS), OK);
	assert_int_equal(v->cr0, CR0_PE | CR0_TS | CR0_ET);
	assert_int_equal(RUN(g, 0x0f, 0x06), OK); /* CLTS */
	assert_int_equal(v->cr0, CR0_PE | CR0_ET);
	v->r[RAX] = 0xfffe;
	assert_int_equal(RUN(g, 0x0f, 0x01, 0xf0), OK); /* LMSW cannot clear PE */
	assert_int_equal(v->cr0, CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET);

	v = guest_long(state);
	assert_int_equal(mov_cr(g, 0, CR0_PE), EXC_GP); /* PG off in 64-bit mode */
	assert_int_equal(mov_cr(g, 0, v->cr0 | BIT(32)), EXC_GP);
	assert_int_equal(mov_cr(g, 4, 0), EXC_GP); /* PAE off in long mode */
	assert_int_equal(mov_cr(g, 3, BIT(50)), EXC_GP);
	assert_int_equal(mov_cr(g, 3, BIT(63) | PML4), EXC_GP);
	assert_int_equal(mov_cr(g, 4, v->cr4 | CR4_PCIDE | CR4_SMEP | CR4_FSGSBASE), OK);
	assert_int_equal(mov_cr(g, 3, BIT(63) | PML4 | 5), OK);
	assert_int_equal(v->cr3, PML4 | 5);
	assert_int_equal(wrmsr(g, MSR_EFER, EFER_NXE), EXC_GP); /* LME off under paging */
	assert_int_equal(RUN(g, 0x44, 0x0f, 0x20, 0xc0), OK); /* MOV RAX, CR8 without any APIC */
	assert_int_equal(v->r[RAX], 0);
	v->r[RBX] = 0xffff800000001000;
	assert_int_equal(RUN(g, 0xf3, 0x48, 0x0f, 0xae, 0xdb), OK); /* WRGSBASE RBX */
	assert_int_equal(v->seg[SEG_GS].base, 0xffff800000001000);
	v->r[RBX] = BIT(50);
	assert_int_equal(RUN(g, 0xf3, 0x48, 0x0f, 0xae, 0xdb), EXC_GP);
	to_user(v);
	assert_int_equal(RUN(g, 0x0f, 0x20, 0xc0), EXC_GP);
	assert_int_equal(RUN(g, 0x0f, 0x01, 0xe0), OK); /* SMSW */
	v->cr4 |= CR4_UMIP;
	assert_int_equal(RUN(g, 0x0f, 0x01, 0xe0), EXC_GP);
}

static void msrs(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;
	u64 x;

	assert_int_equal(rdmsr(g, 0xdeadbeef, &x), EXC_GP);
	assert_int_equal(wrmsr(g, 0xdeadbeef, 0), EXC_GP);
	assert_int_equal(rdmsr(g, MSR_PAT, &x), OK);
	assert_int_equal(x, 0x0007040600070406);
	assert_int_equal(wrmsr(g, MSR_PAT, 0x0207040600070406), EXC_GP);
	assert_int_equal(wrmsr(g, MSR_PAT, 0x0407050600070106), OK);
	assert_int_equal(rdmsr(g, MSR_PAT, &x), OK);
	assert_int_equal(x, 0x0407050600070106);
	assert_int_equal(wrmsr(g, MSR_EFER, BIT(12)), EXC_GP);
	assert_int_equal(wrmsr(g, MSR_MTRR_PHYSBASE0 + 3, 0x3fffc0000800), OK);
	assert_int_equal(wrmsr(g, MSR_MTRR_PHYSBASE0 + 3, 0x3fffc0000801), EXC_GP);
	assert_int_equal(wrmsr(g, MSR_MTRR_DEF_TYPE, 0xc06), OK);
	assert_int_equal(wrmsr(g, MSR_MTRR_DEF_TYPE, 0xc02), EXC_GP);
	assert_int_equal(wrmsr(g, MSR_ARCH_CAPABILITIES, 0), EXC_GP);
	assert_int_equal(wrmsr(g, MSR_MC0_CTL + 1, 1), EXC_GP);
	assert_int_equal(wrmsr(g, MSR_TSC, 1000000), OK);
	assert_int_equal(rdmsr(g, MSR_TSC, &x), OK);
	assert_int_equal(x, 1000000); /* deterministic: no time has passed */
	assert_int_equal(wrmsr(g, MSR_TSC_ADJUST, 500), OK);
	assert_int_equal(RUN(g, 0x0f, 0x31), OK);
	assert_int_equal(v->r[RAX], 500);
	v = guest_protected(state, 3);
	assert_int_equal(rdmsr(g, MSR_TSC, &x), EXC_GP);
	v->cr4 = CR4_TSD;
	assert_int_equal(RUN(g, 0x0f, 0x31), EXC_GP);
}

static void interrupt_flag(void **state)
{
	struct vcpu *v = guest_protected(state, 3);
	struct guest *g = *state;

	assert_int_equal(RUN(g, 0xfa), EXC_GP);
	assert_int_equal(RUN(g, 0xf4), EXC_GP);
	put32(g, STACK3 - 4, FL_IOPL | FL_NT | FL_ID | FL_AC);
	v->r[RSP] -= 4;
	assert_int_equal(RUN(g, 0x9d), OK);
	assert_int_equal(v->rflags, FL_1 | FL_IF | FL_NT | FL_ID | FL_AC);
	v->cr4 = CR4_PVI;
	assert_int_equal(RUN(g, 0xfb), OK);
	assert_true(v->rflags & FL_VIF);
	assert_int_equal(RUN(g, 0xfa), OK);
	assert_false(v->rflags & FL_VIF);

	v = guest_protected(state, 0);
	assert_int_equal(RUN(g, 0xfa), OK);
	assert_false(v->rflags & FL_IF);
	assert_false(v->shadow);
	assert_int_equal(RUN(g, 0xfb), OK);
	assert_true(v->shadow && !v->shadow_ss);
	v->shadow = false;
	assert_int_equal(RUN(g, 0xfb), OK); /* IF was set: no shadow */
	assert_false(v->shadow);
	flags_logic(v, 4, 0);
	assert_int_equal(RUN(g, 0x9c), OK);
	assert_int_equal(get32(g, STACK0 - 4), FL_1 | FL_IF | FL_ZF | FL_PF);
	assert_int_equal(RUN(g, 0xf4), OK);
	assert_true(v->halted);
}

/* ---- debugging ---- */
static void debug_registers(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	v->r[RAX] = ~0u;
	assert_int_equal(RUN(g, 0x0f, 0x23, 0xf0), OK);
	assert_int_equal(v->dr[6], 0xffffeff0 | 0xf);
	v->dr[6] = DR6_FIXED;
	assert_int_equal(RUN(g, 0x0f, 0x21, 0xe0), OK); /* DR4 is DR6 */
	assert_int_equal(v->r[RAX], DR6_FIXED);
	v->cr4 = CR4_DE;
	assert_int_equal(RUN(g, 0x0f, 0x21, 0xe0), EXC_UD);
	v->dr[7] |= DR7_GD;
	assert_int_equal(RUN(g, 0x0f, 0x21, 0xf0), EXC_DB);
	assert_int_equal(v->dr[6], DR6_FIXED | DR6_BD);
	set_idt(g, EXC_DB, gate_desc(CS0, HANDLER, SYS_INT32, 0, 0));
	assert_int_equal(deliver_to(g, v->event), OK);
	assert_false(v->dr[7] & DR7_GD);
}

static void breakpoints(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	v->dr[1] = CODE;
	v->dr[7] = DR7_FIXED | 4;
	v->rip = CODE;
	assert_true(debug_breakpoints_on(v));
	assert_true(debug_code_breakpoint(v));
	assert_int_equal(v->dr[6], DR6_FIXED | 2);
	v->rflags |= FL_RF;
	assert_false(debug_code_breakpoint(v));
	assert_false(v->rflags & FL_RF); /* used up */
	v->rip = CODE + 1;
	assert_false(debug_code_breakpoint(v));

	/* IRET keeps RF while there are breakpoints. */
	const u32 frame[] = { CODE, CS0, FL_1 | FL_RF };
	memcpy(at(g, STACK0 - 12), frame, 12);
	v->r[RSP] = STACK0 - 12;
	assert_int_equal(RUN(g, 0xcf), OK);
	assert_true(v->rflags & FL_RF);

	/* single step */
	v->rip = CODE;
	assert_int_equal(RUN(g, 0x90), OK);
	debug_single_step(v, CODE);
	assert_true(v->stop_now);
	assert_int_equal(v->pending_db, DR6_BS);
	v->shadow = v->shadow_ss = true; /* held back by MOV SS */
	debug_trap_check(v);
	assert_int_equal(v->pending_db, DR6_BS);
	v->shadow = false;
	if (!setjmp(g->landing))
		debug_trap_check(v);
	assert_int_equal(v->event.vector, EXC_DB);
	assert_true(v->dr[6] & DR6_BS);
}

/* ---- ports ---- */
static u64 port_value;
static u64 port_read(void *dev, u64 offset, unsigned size)
{
	return port_value++;
}
static void port_write(void *dev, u64 offset, unsigned size, u64 value)
{
	port_value = value;
}
static const struct region_ops port_ops = { port_read, port_write };

static void ports(void **state)
{
	struct guest *g = *state;
	const struct region r = { .base = 0x100, .len = 8, .ops = &port_ops, .name = "test" };
	struct error err;
	assert_int_equal(bus_add(&g->m->pio, &r, &err), 0);

	struct vcpu *v = guest_protected(state, 3);
	v->r[RDX] = 0x100;
	v->r[RAX] = 0x11223344;
	*at(g, TSS_A + 0x68 + 0x100 / 8) = 0xf0; /* 100h to 103h are allowed */
	assert_int_equal(RUN(g, 0xef), OK);
	assert_int_equal(port_value, 0x11223344);
	v->r[RDX] = 0x102;
	assert_int_equal(RUN(g, 0xef), EXC_GP);
	assert_int_equal(RUN(g, 0x66, 0xed), OK);
	assert_int_equal(v->r[RAX], 0x11223344); /* IN AX keeps the rest: 3344h was read */
	v->tr.limit = 0x68 + 0x100 / 8; /* the second byte of the bitmap's pair is missing */
	assert_int_equal(RUN(g, 0xec), EXC_GP);

	v = guest_protected(state, 0);
	port_value = 1;
	v->r[RDX] = 0x100;
	v->r[RDI] = 0x7000;
	v->r[RCX] = 3;
	assert_int_equal(RUN(g, 0xf3, 0x6d), OK); /* REP INSD */
	assert_int_equal(v->rip, CODE + 2);
	assert_int_equal(v->r[RDI], 0x700c);
	assert_int_equal(v->r[RCX], 0);
	assert_int_equal(get32(g, 0x7008), 3);
	v->r[RSI] = 0x7008;
	v->r[RCX] = 3;
	v->rflags |= FL_DF;
	v->events = EV_INTR; /* one element, then out */
	assert_int_equal(RUN(g, 0xf3, 0x6f), OK);
	assert_int_equal(v->rip, CODE + 2);
	assert_int_equal(v->r[RCX], 2);
	assert_int_equal(v->r[RSI], 0x7004);
	v->events = 0;
	assert_int_equal(RUN(g, 0xf3, 0x6f), OK);
	assert_int_equal(v->rip, CODE + 4);
	assert_int_equal(port_value, 1);
}

/* ---- CPUID ---- */
static void cpuid(void **state)
{
	const struct cpuid_context c = {
		.apic_id = 2, .cpus = 3, .tsc_hz = 1000000000, .apic_hz = 1000000000, .osxsave = true, .xcr0 = 7
	};
	const struct cpu_model *m = cpu_model_find(NULL, NULL);
	struct error err;

	assert_string_equal(m->name, "default");
	assert_null(cpu_model_find("z80", &err));
	assert_non_null(strstr(err.text, "x86-64-v2"));
	struct cpuid_regs r = cpuid_query(m, &c, 0, 0);
	assert_memory_equal(&r.ebx, "Genu", 4);
	assert_memory_equal(&r.edx, "ineI", 4);
	r = cpuid_query(m, &c, 1, 0);
	assert_int_equal(r.ebx >> 24, 2);
	assert_true(r.ecx & BIT(27) && r.ecx & BIT(31) && r.ecx & BIT(28));
	assert_true(r.edx & BIT(28));
	r = cpuid_query(m, &c, 0xb, 1);
	assert_int_equal(r.eax, 2);
	assert_int_equal(r.ebx, 3);
	r = cpuid_query(m, &c, 0xd, 0);
	assert_int_equal(r.eax, 7);
	assert_int_equal(r.ebx, 832);
	r = cpuid_query(m, &c, 0x15, 0);
	assert_true(r.eax == 1 && r.ebx == 1 && r.ecx == 1000000000);
	r = cpuid_query(m, &c, 0x40000000, 0);
	assert_memory_equal(&r.ebx, "SextantVMMSx", 12);
	r = cpuid_query(m, &c, 0x80000008, 0);
	assert_int_equal(r.eax, 0x302e);
	r = cpuid_query(m, &c, 0x12345678, 0); /* beyond the last basic leaf: as the last */
	assert_int_equal(r.eax, 1000);
	r = cpuid_query(cpu_model_find("x86-64-v2", &err), &c, 1, 0);
	assert_false(r.ecx & BIT(28));
	assert_true(r.ecx & BIT(20));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(long_delivery, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(long_delivery_errors, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(fast_calls, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(long_transfers, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(control_registers, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(msrs, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(interrupt_flag, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(debug_registers, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(breakpoints, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(ports, guest_new, guest_free),
		cmocka_unit_test(cpuid),
	};

	return cmocka_run_group_tests_name("system", tests, NULL, NULL);
}
