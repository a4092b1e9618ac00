/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptor tables: no frame of one is written but through validation, no descriptor leads to more privilege, selectors that mean nothing fault.
 * with: --cpu default,+amd */
#include "kit.h"

#define TABLE static u64 __attribute__((aligned(4096)))

#define CODE64	  0x00affb000000ffffull
#define CODE64_0  0x00af9b000000ffffull /* DPL 0 */
#define DATA	  0x00cff3000000ffffull
#define DATA_0	  0x00cf92000000ffffull /* DPL 0, not accessed */
#define ABSENT	  0x00cf73000000ffffull
#define CALL_GATE 0x0000ec00e0331000ull
#define INTR_GATE 0x0000ee00e0331000ull
#define TRAP_GATE 0x0000ef00e0331000ull
#define TSS	  0x0000e90000000067ull
#define LDT	  0x0000e20000000fffull
#define TASK_GATE 0x0000e50000280000ull
#define EXEC_ONLY 0x00affa000000ffffull & ~(2ull << 40)

TABLE gdt[512], ldt[512], data[512], table[512];

static s64 set_gdt(u64 mfn, unsigned entries)
{
	return hypercall(__HYPERVISOR_set_gdt, &mfn, entries);
}

static s64 update_descriptor(const void *where, u64 desc)
{
	return hypercall(__HYPERVISOR_update_descriptor, mfn_of(where) * PAGE + (PTR(where) & (PAGE - 1)), desc);
}

static void load_fs(u64 selector)
{
	__asm__ volatile("movl %0, %%fs" ::"r"((u32)selector));
}
static void load_ds(u64 selector)
{
	__asm__ volatile("movl %0, %%ds" ::"r"((u32)selector));
}
static void load_ss(u64 selector)
{
	__asm__ volatile("movl %0, %%ss" ::"r"((u32)selector));
}
static void far_jump(u64 selector)
{
	struct __attribute__((packed)) {
		u32 offset;
		u16 selector;
	} to = { 0x1000, (u16)selector };

	__asm__ volatile("ljmpl *%0" ::"m"(to));
}
static void far_return(u64 selector)
{
	__asm__ volatile("pushq %0; pushq $1f; lretq; 1:" ::"r"(selector) : "memory");
}

static void frames(void)
{
	static const u64 gates[] = { CALL_GATE, INTR_GATE, TRAP_GATE, TSS, LDT, TASK_GATE, CALL_GATE | 3ull << 45 };

	EQ(-XEN_EINVAL, set_gdt(mfn_of(gdt), 512)); /* writable */
	EQ(-XEN_EINVAL, set_gdt(mfn_of(kernel_l4()), 512));
	EQ(-XEN_EINVAL, set_gdt(start_info->shared_info / PAGE, 512));
	EQ(-XEN_EINVAL, set_gdt(0, 512));
	EQ(-XEN_EINVAL, set_gdt(~0ull, 512));
	EQ(-XEN_EINVAL, set_gdt(mfn_of(gdt), 8192));
	EQ(-XEN_EINVAL, set_gdt(mfn_of(gdt), ~0u));
	EQ(-XEN_EFAULT, hypercall(__HYPERVISOR_set_gdt, 8, 512));
	for (unsigned k = 0; k < ARRAY(gates); k++) {
		gdt[511] = gates[k];
		EQ(0, make_ro(gdt));
		EQ(-XEN_EINVAL, set_gdt(mfn_of(gdt), 512));
		EQ(0, make_rw(gdt));
		EQ(gates[k], gdt[511]);
	}
	gdt[1] = CODE64_0;
	gdt[2] = DATA_0;
	gdt[3] = ABSENT;
	gdt[4] = EXEC_ONLY;
	gdt[511] = 0;
	/* The TLB knows the page as one that may be written. */
	EQ(0, hypercall(__HYPERVISOR_update_va_mapping, gdt, pte_of(gdt, RO), UVMF_NONE));
	EQ(0, set_gdt(mfn_of(gdt), 512));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store64, &gdt[1], CALL_GATE));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(or8, &gdt[1], 0));
	EQ(-XEN_EINVAL, make_rw(gdt));
	EQ(CODE64, gdt[1]); /* where the kernel runs, and as if used */
	EQ(DATA, gdt[2]);
	EQ(-XEN_EINVAL, update(mfn_of(gdt) * PAGE + 8, CALL_GATE));
	EQ(-XEN_EINVAL, pin(1, gdt));
}

static void descriptors(void)
{
	EQ(-XEN_EINVAL, update_descriptor(&gdt[5], CALL_GATE));
	EQ(-XEN_EINVAL, update_descriptor(&gdt[5], TSS));
	EQ(-XEN_EINVAL, update_descriptor(&gdt[5], INTR_GATE));
	EQ(0, gdt[5]);
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_update_descriptor, mfn_of(gdt) * PAGE + 4, DATA));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_update_descriptor, 0, DATA));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_update_descriptor, ~7ull, DATA));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_update_descriptor, 1ull << 51, DATA));
	EQ(-XEN_EINVAL, update_descriptor(kernel_l4(), DATA));
	EQ(0, make_ro(table));
	EQ(0, pin(1, table));
	EQ(-XEN_EINVAL, update_descriptor(table, pte_of(data, RO)));
	EQ(0, unpin(table));
	EQ(0, update_descriptor(&gdt[5], DATA_0));
	EQ(DATA, gdt[5]);
	EQ(0, update_descriptor(&data[5], DATA)); /* memory that may become one */
	EQ(DATA, data[5]);
}

static void selectors(void)
{
	PASSES(attempt(load_fs, 0));
	PASSES(attempt(load_fs, 3));
	PASSES(attempt(load_fs, 5 * 8 + 3));
	PASSES(attempt(load_fs, 5 * 8));
	PASSES(attempt(load_fs, FLAT_RING3_DS64));
	FAULTS(EXC_GP, 6 * 8, attempt(load_fs, 6 * 8 + 3));
	FAULTS(EXC_NP, 3 * 8, attempt(load_fs, 3 * 8 + 3));
	FAULTS(EXC_GP, 4 * 8, attempt(load_fs, 4 * 8 + 3));
	FAULTS(EXC_GP, 0xdff8, attempt(load_fs, 0xdffb));
	FAULTS(EXC_GP, 0xe008, attempt(load_fs, 0xe00b));
	FAULTS(EXC_GP, 0xfff8, attempt(load_fs, 0xfffb));
	FAULTS(EXC_GP, 0xfffc, attempt(load_fs, 0xffff)); /* LDT: none */
	FAULTS(EXC_GP, 4, attempt(load_ds, 7));
	FAULTS(EXC_GP, 6 * 8, attempt(load_ds, 6 * 8 + 3));
	FAULTS(EXC_GP, 0, attempt(load_ss, 3));
	FAULTS(EXC_GP, 5 * 8, attempt(load_ss, 5 * 8)); /* RPL 0 at CPL 3 */
	FAULTS(EXC_SS, 3 * 8, attempt(load_ss, 3 * 8 + 3));
	FAULTS(EXC_GP, 8, attempt(far_return, 8)); /* RPL 0 */
	FAULTS(EXC_GP, 6 * 8, attempt(far_return, 6 * 8 + 3));
	FAULTS(EXC_GP, 5 * 8, attempt(far_jump, 5 * 8 + 3));
	PASSES(attempt(far_return, 8 + 3));
	PASSES(attempt(far_return, FLAT_RING3_CS64));
	PASSES(attempt(load_ss, FLAT_RING3_SS64));
	/* What is taken away. */
	PASSES(attempt(load_fs, 5 * 8 + 3));
	EQ(0, set_gdt(0, 0));
	FAULTS(EXC_GP, 5 * 8, attempt(load_fs, 5 * 8 + 3));
	EQ(0, make_rw(gdt));
	PASSES(attempt(store64, &gdt[1], CALL_GATE));
}

static void local_tables(void)
{
	ldt[1] = DATA_0;
	EQ(-XEN_EINVAL, mmu_op(MMUEXT_SET_LDT, PTR(ldt), 8193));
	EQ(-XEN_EINVAL, mmu_op(MMUEXT_SET_LDT, PTR(ldt), ~0u));
	EQ(-XEN_EINVAL, mmu_op(MMUEXT_SET_LDT, PTR(ldt) + 8, 512));
	/* What cannot be one may be refused now, or be found out when it is used. */
	mmu_op(MMUEXT_SET_LDT, PTR(ldt), 512); /* writable */
	FAULTS(EXC_GP, 8 + 4, attempt(load_fs, 8 + 7));
	mmu_op(MMUEXT_SET_LDT, 1ull << 47, 512);
	FAULTS(EXC_GP, 8 + 4, attempt(load_fs, 8 + 7));
	mmu_op(MMUEXT_SET_LDT, -PAGE, 8192);
	mmu_op(MMUEXT_SET_LDT, 0xffff800000000000, 8192);
	FAULTS(EXC_GP, 8 + 4, attempt(load_fs, 8 + 7));
	mmu_op(MMUEXT_SET_LDT, PTR(kernel_l4()), 512);
	FAULTS(EXC_GP, 8 + 4, attempt(load_fs, 8 + 7));
	EQ(0, mmu_op(MMUEXT_SET_LDT, 0, 0));
	EQ(0, make_ro(ldt));
	EQ(0, mmu_op(MMUEXT_SET_LDT, PTR(ldt), 512));
	PASSES(attempt(load_fs, 8 + 7));
	FAULTS(EXC_GP, 2 * 8 + 4, attempt(load_fs, 2 * 8 + 7));
	EQ(-XEN_EINVAL, make_rw(ldt));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store64, &ldt[1], CALL_GATE));
	EQ(-XEN_EINVAL, update_descriptor(&ldt[2], LDT));
	EQ(0, update_descriptor(&ldt[2], DATA));
	PASSES(attempt(load_fs, 2 * 8 + 7));
	EQ(0, mmu_op(MMUEXT_SET_LDT, 0, 0));
	FAULTS(EXC_GP, 8 + 4, attempt(load_fs, 8 + 7));
	EQ(0, make_rw(ldt));
	PASSES(attempt(load_fs, 0));
}

/* ---- the hypercall iret ---- */

static u64 user_code[512] __attribute__((aligned(4096))) = { 0x050f, 0x050f90 }; /* SYSCALL; NOP, SYSCALL */
#define CODE 0x1000

__asm__(".text; step_here: syscall; ud2");
extern u8 step_here[];

static void returns(void)
{
	static const u64 wild[] = { 1ull << 47, 0xffff7fffffffffff, 1ull << 63 };
	const u64 good[9] = { 1, 2, 3, 0, CODE, FLAT_USER_CS, 2, 0x8000, FLAT_USER_SS };
	u64 f[9];

	user_map(CODE, pte_of(user_code, RO));
	EQ(BY_SYSCALL, attempt_iret(good));
	EQ(CODE + 2, this_cpu()->rip);
	EQ(0x8000, this_cpu()->sp);
	static const u16 bad_cs[] = { 3, 0x33, 0xe02b, 0xe03b, 0xffff, 0xe00b, 7 };
	for (unsigned k = 0; k < ARRAY(bad_cs); k++) {
		memcpy(f, good, sizeof(f));
		f[5] = bad_cs[k];
		EQ(BY_FAILSAFE, attempt_iret(f));
	}
	static const u16 bad_ss[] = { 0x33, 0xe033, 0xffff, 0xe00b, 7 };
	for (unsigned k = 0; k < ARRAY(bad_ss); k++) {
		memcpy(f, good, sizeof(f));
		f[8] = bad_ss[k];
		EQ(BY_FAILSAFE, attempt_iret(f));
	}
	for (unsigned k = 0; k < ARRAY(wild); k++) {
		memcpy(f, good, sizeof(f));
		f[7] = wild[k]; /* a program's affair until it uses it */
		EQ(BY_SYSCALL, attempt_iret(f));
		f[4] = wild[k];
		EQ(EXC_GP, attempt_iret(f));
		f[5] = FLAT_KERNEL_CS & ~3u; /* stays in the kernel, with a good stack */
		f[7] = PTR(this_cpu()) + 0x8000;
		EQ(EXC_GP, attempt_iret(f));
	}
	/* Flags: what a program may not have it does not get. */
	memcpy(f, good, sizeof(f));
	f[6] = ~0ull & ~0x100ull; /* but for TF */
	EQ(BY_SYSCALL, attempt_iret(f));
	EQ(0, this_cpu()->flags & (3 << 12 | 1 << 17 | 1 << 19 | 1 << 20));
	f[4] = CODE + 8;
	f[6] = 0x102;
	EQ(EXC_DB, attempt_iret(f));
	/* The kernel itself step by step, through a hypercall. */
	f[0] = __HYPERVISOR_xen_version;
	f[4] = PTR(step_here);
	f[5] = FLAT_KERNEL_CS & ~3u;
	f[7] = PTR(this_cpu()) + 0x8000;
	EQ(EXC_DB, attempt_iret(f));
	EQ(PTR(step_here) + 2, this_cpu()->rip);
}

/* 32-bit code has no way in by SYSCALL: least of all one that a CPU's own registers know. */
static void compatible(void)
{
	u64 f[9] = { 1, 2, 3, 0, CODE, FLAT_USER_CS32, 2, 0x8000, FLAT_USER_SS };

	EQ(EXC_UD, attempt_iret(f));
	EQ(CODE, this_cpu()->rip);
	f[4] = 1ull << 32 | CODE; /* above what it can address */
	s64 how = attempt_iret(f);
	CHECK(how == EXC_UD || how == EXC_GP);
	f[5] = FLAT_USER_CS32 & ~3u; /* as the kernel, whose low half is empty */
	f[4] = CODE;
	f[7] = PTR(this_cpu()) + 0x8000;
	how = attempt_iret(f);
	CHECK(how == EXC_PF || how == EXC_GP || how == BY_FAILSAFE);
}

void guest_main(const char *which)
{
	frames();
	descriptors();
	selectors();
	local_tables();
	returns();
	compatible();
}
