/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs of a guest against its kernel: they run at the same level, so what keeps them apart is their own tables and what the VMM does
 * with what traps.
 */
#include "kit.h"

#define CODE	  0x1000
#define DATA	  0x3000
#define STACK_TOP 0x5000

/* One program a row of 64 bytes, assembled here, run there. */
__asm__(".section .data\n.balign 4096\n.globl programs\nprograms:\n"
	".macro PROGRAM code\n.balign 64\n\\code\nud2\n.endm\n"
	"PROGRAM \"syscall\"\n" /* 0 */
	"PROGRAM \"movq (%rax), %rax; syscall\"\n" /* 1: a load */
	"PROGRAM \"movq %rax, (%rax); syscall\"\n" /* 2: a store */
	"PROGRAM \"jmp *%rax\"\n" /* 3 */
	"PROGRAM \"cli\"\n" /* 4: privileged, up to 17 */
	"PROGRAM \"sti\"\n"
	"PROGRAM \"hlt\"\n"
	"PROGRAM \"inb $0x60, %al\"\n"
	"PROGRAM \"outl %eax, $0xf4\"\n"
	"PROGRAM \"movq %rax, %cr3\"\n"
	"PROGRAM \"movq %cr0, %rax\"\n"
	"PROGRAM \"movl $0xc0000101, %ecx; rdmsr\"\n"
	"PROGRAM \"movl $0xc0000101, %ecx; wrmsr\"\n"
	"PROGRAM \"movq %rax, %dr7\"\n"
	"PROGRAM \"swapgs\"\n"
	"PROGRAM \"lgdt (%rax)\"\n"
	"PROGRAM \"invlpg (%rax)\"\n"
	"PROGRAM \"sysretq\"\n"
	"PROGRAM \"ud2; .byte 0x78, 0x65, 0x6e; cpuid; syscall\"\n" /* 18 */
	"PROGRAM \"int $0x80\"\n" /* 19 */
	"PROGRAM \"int3\"\n" /* 20 */
	"PROGRAM \"pushq $0xe030; pushq $0x1000; lretq\"\n" /* 21: RPL 0 */
	"PROGRAM \"pushq $0; pushq %rax; pushq $2; pushq $0xe030; pushq $0x1000; iretq\"\n" /* 22 */
	"PROGRAM \"sysenter\"\n" /* 23 */
	"PROGRAM \"movq %gs:0, %rax; syscall\"\n" /* 24 */
	"PROGRAM \"pushfq; orq $0x3200, (%rsp); popfq; pushfq; popq %rax; syscall\"\n" /* 25 */
	"PROGRAM \"inb $0x61, %al; syscall\"\n" /* 26 */
	"PROGRAM \"inl $0x7e, %eax; syscall\"\n" /* 27 */
	".balign 4096\n.text\n");
extern u8 programs[];

static u64 data[512] __attribute__((aligned(4096))), stack[512] __attribute__((aligned(4096)));

static s64 run(unsigned program, u64 rax)
{
	return run_user(CODE + program * 64, STACK_TOP, rax);
}

static void memory(void)
{
	EQ(BY_SYSCALL, run(1, DATA));
	EQ(BY_SYSCALL, run(2, DATA + 8));
	EQ(DATA + 8, data[1]);
	FAULTS(EXC_PF, PF_P | PF_U | PF_W, run(2, CODE));
	/* The kernel's: not even there. */
	FAULTS(EXC_PF, PF_U, run(1, PTR(data)));
	FAULTS(EXC_PF, PF_U | PF_W, run(2, PTR(data)));
	FAULTS(EXC_PF, PF_U | PF_I, run(3, PTR(guest_main)));
	FAULTS(EXC_PF, PF_U, run(1, start_info->mfn_list));
	/* Known to the kernel's translations a moment ago. */
	for (unsigned k = 0; k < 100; k++) {
		PASSES(attempt(load64, data));
		PASSES(attempt(store64, data, 1));
		EQ(EXC_PF, run(1 + k % 2, PTR(data)));
	}
	/* And the other way round. */
	FAULTS(EXC_PF, 0, attempt(load64, DATA));
	EQ(EXC_PF, attempt(store64, DATA, 0));
	/* Frames' numbers and descriptors are the kernel's to know. */
	EQ(EXC_PF, run(1, 0xffff800000000000));
	EQ(EXC_PF, run(1, 0xffff807fc0000000 + 14 * PAGE));
	EQ(EXC_PF, run(2, 0xffff807fc0000000 + 14 * PAGE));
	/* A page table that it sees read-only is not its own to write, whatever the value. */
	user_map(0x6000, pte_of(user_l1, RO));
	FAULTS(EXC_PF, PF_P | PF_U | PF_W, run(2, 0x6000));
	EQ(BY_SYSCALL, run(1, 0x6000));
	user_map(0x6000, 0);
	FAULTS(EXC_PF, PF_U, run(1, 0x6000));
	EQ(EXC_GP, run(1, 1ull << 47));
}

static void instructions(void)
{
	for (unsigned p = 4; p < 18; p++)
		FAULTS(EXC_GP, 0, run(p, DATA));
	EQ(BY_SYSCALL, run(18, 0x40000000));
	EQ(0x80, run(19, 0));
	EQ(EXC_BP, run(20, 0));
	FAULTS(EXC_GP, 0xe030, run(21, 0));
	FAULTS(EXC_GP, 0xe030, run(22, STACK_TOP));
	s64 r = run(23, 0);
	CHECK(r == EXC_UD || r == EXC_GP);
	EQ(BY_SYSCALL, run(25, 0));
	EQ(0, (this_cpu()->flags | this_cpu()->rax) & 0x3000);
}

/* Whatever is in its registers, it is a system call of the kernel's. */
static void system_calls(void)
{
	struct cpu *c = this_cpu();
	u64 mfn = mfn_of(data);

	data[0] = mfn * PAGE; /* an mmu_update, should anybody read it as one */
	for (u64 nr = 0; nr < 70; nr++) {
		EQ(BY_SYSCALL, run(0, nr));
		EQ(CODE + 2, c->rip);
		EQ(STACK_TOP, c->sp);
		EQ(FLAT_USER_CS, c->cs & 0xffff);
	}
	EQ(mfn * PAGE, data[0]);
}

/* Each has its GS base, and they change places with the views. */
static void bases(void)
{
	EQ(0, hypercall(__HYPERVISOR_set_segment_base, SEGBASE_GS_USER, DATA));
	EQ(0, hypercall(__HYPERVISOR_set_segment_base, SEGBASE_GS_KERNEL, PTR(data)));
	EQ(BY_SYSCALL, run(24, 0));
	EQ(0, hypercall(__HYPERVISOR_set_segment_base, SEGBASE_GS_USER, PTR(data)));
	EQ(EXC_PF, run(24, 0));
	EQ(0, hypercall(__HYPERVISOR_set_segment_base, SEGBASE_GS_KERNEL, DATA));
	EQ(0, hypercall(__HYPERVISOR_set_segment_base, SEGBASE_GS_USER, DATA));
	EQ(BY_SYSCALL, run(24, 0));
	EQ(0, hypercall(__HYPERVISOR_set_segment_base, SEGBASE_GS_KERNEL, 0));
}

static s64 set_iopl(u32 iopl)
{
	struct physdev_set_iopl set = { iopl };

	return hypercall(__HYPERVISOR_physdev_op, PHYSDEVOP_set_iopl, &set);
}

static s64 set_bitmap(u64 where, u32 ports)
{
	struct physdev_set_iobitmap set = { .nr_ports = ports };

	set_xen_guest_handle(set.bitmap, (u8 *)where);
	return hypercall(__HYPERVISOR_physdev_op, PHYSDEVOP_set_iobitmap, &set);
}

static void ports(void)
{
	EQ(-XEN_EINVAL, set_iopl(4));
	EQ(0, set_iopl(3));
	EQ(BY_SYSCALL, run(26, 0));
	FAULTS(EXC_GP, 0, run(4, 0)); /* but not this */
	EQ(0, set_iopl(1));
	EQ(EXC_GP, run(26, 0));
	EQ(-XEN_EINVAL, set_bitmap(PTR(data), 65537));
	for (unsigned k = 0; k < 16; k++)
		data[k] = ~0ull;
	data[1] &= ~(1ull << (0x61 - 64));
	EQ(0, set_bitmap(PTR(data), 0x80));
	EQ(BY_SYSCALL, run(26, 0));
	EQ(EXC_GP, run(27, 0)); /* over the map's end */
	data[1] = 0;
	EQ(EXC_GP, run(27, 0));
	static const u64 wild[] = { 8, DATA, 1ull << 47, ~0ull - 12, -PAGE, 0xffff800000000000 - 12 };
	for (unsigned k = 0; k < ARRAY(wild); k++) {
		EQ(0, set_bitmap(wild[k], 0x80));
		EQ(EXC_GP, run(26, 0));
	}
	EQ(0, set_bitmap(0, 0));
	EQ(0, set_iopl(0));
}

/* What one program has where the other has something else, through tables that come, go, and are another's after. */
static u64 four[512] __attribute__((aligned(4096))), three[512] __attribute__((aligned(4096))),
	two[512] __attribute__((aligned(4096))), one[512] __attribute__((aligned(4096))),
	other[512] __attribute__((aligned(4096)));

static void make_other(const void *page)
{
	u64 *const tables[] = { four, three, two, one };

	for (unsigned k = 0; k < 4; k++) {
		EQ(0, make_rw(tables[k]));
		memset(tables[k], 0, PAGE);
		tables[k][0] = k < 3 ? pte_of(tables[k + 1], RW) : 0;
		if (k == 3) {
			one[CODE / PAGE] = pte_of(programs, RO);
			one[DATA / PAGE] = pte_of(page, RW);
		}
	}
	for (unsigned k = 0; k < 4; k++)
		EQ(0, make_ro(tables[k]));
	EQ(0, pin(4, four));
}

static void expect(const void *root, u64 value)
{
	EQ(0, mmu_op(MMUEXT_NEW_USER_BASEPTR, mfn_of(root), 0));
	EQ(BY_SYSCALL, run(1, DATA));
	EQ(value, this_cpu()->rax);
}

static void address_spaces(void)
{
	for (unsigned k = 0; k < 200; k++) {
		data[0] = 1000 + k;
		other[0] = 2000 + k;
		stack[0] = 3000 + k;
		make_other(other);
		expect(user_l4, 1000 + k);
		expect(four, 2000 + k);
		expect(user_l4, 1000 + k);
		EQ(0, unpin(four)); /* all four are memory again, and then tables with other entries */
		make_other(stack);
		expect(four, 3000 + k);
		EQ(0, update_entry(one, DATA / PAGE, pte_of(data, RW)));
		EQ(0, mmu_op(MMUEXT_INVLPG_LOCAL, DATA, 0));
		expect(four, 1000 + k);
		EQ(0, update_entry(one, DATA / PAGE, 0));
		EQ(0, mmu_op(MMUEXT_TLB_FLUSH_LOCAL, 0, 0));
		FAULTS(EXC_PF, PF_U, run(1, DATA));
		/* None in between, and then the same one, that is another. */
		EQ(0, update_entry(one, DATA / PAGE, pte_of(data, RW)));
		expect(four, 1000 + k);
		EQ(0, mmu_op(MMUEXT_NEW_USER_BASEPTR, 0, 0));
		EQ(0, unpin(four));
		make_other(other);
		expect(four, 2000 + k);
		expect(user_l4, 1000 + k);
		EQ(0, unpin(four));
	}
}

/* Without tables of its own a program sees nothing, not the kernel's instead. */
static void no_tables(void)
{
	EQ(0, mmu_op(MMUEXT_NEW_USER_BASEPTR, 0, 0));
	EQ(EXC_PF, run_user(PTR(programs), PTR(&stack[512]), 0));
	EQ(0, mmu_op(MMUEXT_NEW_USER_BASEPTR, mfn_of(user_l4), 0));
	EQ(BY_SYSCALL, run(0, 0));
}

void guest_main(const char *which)
{
	user_map(CODE, pte_of(programs, RO));
	user_map(DATA, pte_of(data, RW));
	user_map(STACK_TOP - PAGE, pte_of(stack, RW));
	memory();
	instructions();
	system_calls();
	bases();
	ports();
	address_spaces();
	no_tables();
}
