/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel cannot go on after: its domain ends, alone, at once, and for a reason that is told.
 *
 * case: stack: no stack to enter its kernel on at 0x.*
 * case: stack-nowhere: no stack to enter its kernel on at 0x.*
 * case: stack-table: no stack to enter its kernel on at 0x.*
 * case: stack-readonly: no stack to enter its kernel on at 0x.*
 * case: stack-shared-out: no stack to enter its kernel on at 0x.*
 * case: push-table: no stack to enter its kernel on at 0x.*
 * case: iret: iret without a frame at 0x.*
 * case: no-handler: exception 6 .* which its kernel has no handler for
 * case: handler-nowhere: no stack to enter its kernel on at 0x.*
 * case: handler-itself: no stack to enter its kernel on at 0x.*
 * case: no-event: a kernel without entry for what happened at 0x.*
 * case: no-syscall: a kernel without entry for what happened at 0x.*
 * case: no-failsafe: a kernel without entry for what happened at 0x.*
 * case: user-stack: no stack to enter its kernel on at 0x.*
 * case: root: no stack to enter its kernel on at 0x.*
 * case: code: no stack to enter its kernel on at 0x.*
 * case: cpu-root: CPU 1 cannot start with the state that its kernel has given it
 * case: cpu-gdt: CPU 1 cannot start with the state that its kernel has given it
 * case: cpu-rip: CPU 1 cannot start with the state that its kernel has given it
 * case: cpu-stack: no stack to enter its kernel on at 0x.*
 * case: cpu-handlers: no stack to enter its kernel on at 0x.*
 * case: cpu-no-handlers: exception .* which its kernel has no handler for
 * case: says-so
 *
 * cpus: 2
 */
#include "kit.h"

static u64 page[512] __attribute__((aligned(4096)));

static void ud2(void)
{
	__asm__ volatile("ud2");
}

static void stack(void)
{
	attempt_call(ud2, 0x1000);
}
static void stack_nowhere(void)
{
	attempt_call(ud2, 0x8000000000000000);
}
static void stack_table(void)
{
	EQ(0, make_ro(page));
	EQ(0, pin(1, page));
	attempt_call(ud2, PTR(page) + 2048);
}
static void stack_readonly(void)
{
	EQ(0, make_ro(page));
	attempt_call(ud2, PTR(page) + 2048);
}
static void stack_shared_out(void)
{
	attempt_call(ud2, 0xffff800000001000);
}
static void push_table(void)
{
	EQ(0, make_ro(page));
	EQ(0, pin(4, page));
	attempt(push64, PTR(page) + 2048, 1);
}

static void no_iret(void)
{
	__asm__ volatile("movq $0x1000, %%rsp; movl %0, %%eax; syscall" ::"i"(__HYPERVISOR_iret));
}

static void set_trap(unsigned vector, u64 address)
{
	struct trap_info t[2] = { { .vector = (u8)vector, .cs = FLAT_KERNEL_CS, .address = address } };

	EQ(0, hypercall(__HYPERVISOR_set_trap_table, t));
}

static void no_handler(void)
{
	EQ(0, hypercall(__HYPERVISOR_set_trap_table, 0));
	ud2();
}
/* The handler's own fault leads there again, until the stack is used up. */
static void handler_nowhere(void)
{
	set_trap(EXC_PF, 0x1000);
	attempt(load64, 8);
}
static void handler_itself(void)
{
	set_trap(EXC_UD, PTR(ud2));
	ud2();
}

static void set_callbacks(u64 event, u64 failsafe, u64 syscall)
{
	EQ(0, hypercall(__HYPERVISOR_set_callbacks, event, failsafe, syscall));
}
static void no_event(void)
{
	set_callbacks(0, 0, 0);
	shared->vcpu_info[0].evtchn_upcall_pending = 1;
	shared->vcpu_info[0].evtchn_upcall_mask = 0;
	hypercall(__HYPERVISOR_xen_version, 0);
}
static void no_syscall(void)
{
	page[0] = 0x050f;
	user_map(0x1000, pte_of(page, RO));
	set_callbacks(0, 0, 0);
	run_user(0x1000, 0x1000, 0);
}
static void no_failsafe(void)
{
	const u64 frame[9] = { 0, 0, 0, 0, 0x1000, 0x33, 2, 0x1000, 0x2b };

	set_callbacks(0, 0, 0);
	attempt_iret(frame);
}
static void user_stack(void)
{
	const u64 f[9] = { 0, 0, 0, 0, 0x1000, FLAT_USER_CS, 2, 0x8000, FLAT_USER_SS };

	page[0] = 0x0b0f;
	user_map(0x1000, pte_of(page, RO));
	EQ(0, hypercall(__HYPERVISOR_stack_switch, FLAT_KERNEL_SS, 0x1000));
	__asm__ volatile("subq $72, %%rsp; movq %%rsp, %%rdi; movl $9, %%ecx; rep movsq; movl %0, %%eax; syscall" ::"i"(
				 __HYPERVISOR_iret),
			 "S"(f));
}

/* Its own memory is gone with the old tables, or its code alone. */
static void root(void)
{
	EQ(0, make_ro(page));
	EQ(0, pin(4, page));
	mmu_op(MMUEXT_NEW_BASEPTR, mfn_of(page), 0);
}
static void code(void)
{
	static struct multicall_entry unmap[8];

	for (unsigned k = 0; k < ARRAY(unmap); k++) /* all at once: what is left would go on */
		unmap[k] = (struct multicall_entry){ .op = __HYPERVISOR_update_va_mapping,
						     .args = { 0xffffffff80100000 + k * PAGE, 0, UVMF_INVLPG } };
	hypercall(__HYPERVISOR_multicall, unmap, ARRAY(unmap));
}

/* ---- another CPU, from a context that is no good ---- */

static struct vcpu_guest_context context;
static u64 stack_pages[2][512] __attribute__((aligned(4096))); /* the lower one is not there */

static void start(void)
{
	EQ(0, hypercall(__HYPERVISOR_vcpu_op, VCPUOP_initialise, 1, &context));
	EQ(0, hypercall(__HYPERVISOR_vcpu_op, VCPUOP_up, 1));
	for (;;)
		hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield);
}
/* One that would do, but that it ends at once in an exception. */
static void prepare(void)
{
	context.user_regs.rip = PTR(ud2);
	context.user_regs.rsp = PTR(stack_pages[2]);
	EQ(0, map_as(stack_pages[0], 0));
	context.ctrlreg[3] = mfn_of(kernel_l4()) * PAGE;
}
static void cpu_root(void)
{
	prepare();
	context.ctrlreg[3] = mfn_of(page) * PAGE;
	start();
}
static void cpu_gdt(void)
{
	prepare();
	context.gdt_frames[0] = mfn_of(page);
	context.gdt_ents = 512;
	start();
}
static void cpu_rip(void)
{
	prepare();
	context.user_regs.rip = 1ull << 47;
	start();
}
static void cpu_stack(void)
{
	prepare();
	for (unsigned k = 0; k < 32; k++)
		context.trap_ctxt[k] = (struct trap_info){ .vector = (u8)k, .address = PTR(ud2) };
	context.user_regs.rsp = 1ull << 47;
	start();
}
static void cpu_handlers(void)
{
	prepare();
	for (unsigned k = 0; k < 32; k++)
		context.trap_ctxt[k] = (struct trap_info){ .vector = (u8)k, .address = 1ull << 47 };
	start();
}
static void cpu_no_handlers(void)
{
	prepare();
	start();
}

static void says_so(void)
{
	struct sched_shutdown s = { .reason = SHUTDOWN_crash };

	hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, &s);
}

static bool same(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return *a == *b;
}

void guest_main(const char *which)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} cases[] = {
		{ "stack", stack },
		{ "stack-nowhere", stack_nowhere },
		{ "stack-table", stack_table },
		{ "stack-readonly", stack_readonly },
		{ "stack-shared-out", stack_shared_out },
		{ "push-table", push_table },
		{ "iret", no_iret },
		{ "no-handler", no_handler },
		{ "handler-nowhere", handler_nowhere },
		{ "handler-itself", handler_itself },
		{ "no-event", no_event },
		{ "no-syscall", no_syscall },
		{ "no-failsafe", no_failsafe },
		{ "user-stack", user_stack },
		{ "root", root },
		{ "code", code },
		{ "cpu-root", cpu_root },
		{ "cpu-gdt", cpu_gdt },
		{ "cpu-rip", cpu_rip },
		{ "cpu-stack", cpu_stack },
		{ "cpu-handlers", cpu_handlers },
		{ "cpu-no-handlers", cpu_no_handlers },
		{ "says-so", says_so },
	};

	for (unsigned k = 0; k < ARRAY(cases); k++)
		if (same(which, cases[k].name))
			cases[k].fn();
	fail("crash", 0, which, 0, 0);
}
