/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hypercalls' arguments: pointers that lead nowhere or to what may not be written, counts that no memory holds, numbers that mean nothing. Each
 * gets its errno, and at once.
 */
#include "kit.h"

#include <xen/grant_table.h>

#define TABLE static u64 __attribute__((aligned(4096)))

TABLE pages[3 * 512]; /* the last of them goes away */
TABLE table[512], data[512], info[512];
#define END PTR(&pages[1024])

/* ---- pointers ---- */

#define BAD ~0ull /* in a row: the pointer */
static const struct call {
	u64 nr, arg[4];
	s64 other; /* what else a pointer may bring, if the call has a use for it */
} calls[] = {
	{ __HYPERVISOR_set_trap_table, { BAD } },
	{ __HYPERVISOR_mmu_update, { BAD, 1, 0, DOMID_SELF } },
	{ __HYPERVISOR_mmu_update, { BAD, 0x7fffffff, 0, DOMID_SELF } },
	{ __HYPERVISOR_mmu_update, { BAD, 0xffffffff, 0, DOMID_SELF } },
	{ __HYPERVISOR_mmuext_op, { BAD, 1, 0, DOMID_SELF } },
	{ __HYPERVISOR_mmuext_op, { BAD, 0x7fffffff, 0, DOMID_SELF } },
	{ __HYPERVISOR_set_gdt, { BAD, 7000 } },
	{ __HYPERVISOR_multicall, { BAD, 1 } },
	{ __HYPERVISOR_multicall, { BAD, 1u << 20 } },
	{ __HYPERVISOR_memory_op, { XENMEM_memory_map, BAD } },
	{ __HYPERVISOR_memory_op, { XENMEM_machphys_mapping, BAD } },
	{ __HYPERVISOR_memory_op, { XENMEM_decrease_reservation, BAD } },
	{ __HYPERVISOR_memory_op, { XENMEM_increase_reservation, BAD }, -XEN_ENOSYS },
	{ __HYPERVISOR_memory_op, { XENMEM_populate_physmap, BAD } },
	{ __HYPERVISOR_memory_op, { XENMEM_exchange, BAD } },
	{ __HYPERVISOR_memory_op, { XENMEM_current_reservation, BAD }, -XEN_EPERM },
	{ __HYPERVISOR_xen_version, { XENVER_extraversion, BAD } },
	{ __HYPERVISOR_xen_version, { XENVER_capabilities, BAD } },
	{ __HYPERVISOR_xen_version, { XENVER_get_features, BAD } },
	{ __HYPERVISOR_console_io, { CONSOLEIO_write, 100, BAD } },
	{ __HYPERVISOR_grant_table_op, { GNTTABOP_setup_table, BAD, 1 } },
	{ __HYPERVISOR_grant_table_op, { GNTTABOP_query_size, BAD, 1 } },
	{ __HYPERVISOR_grant_table_op, { GNTTABOP_set_version, BAD, 1 } },
	{ __HYPERVISOR_grant_table_op, { GNTTABOP_map_grant_ref, BAD, 1 } },
	{ __HYPERVISOR_grant_table_op, { GNTTABOP_copy, BAD, 4096 } },
	{ __HYPERVISOR_vcpu_op, { VCPUOP_initialise, 0, BAD }, -XEN_EEXIST },
	{ __HYPERVISOR_vcpu_op, { VCPUOP_register_vcpu_info, 0, BAD } },
	{ __HYPERVISOR_vcpu_op, { VCPUOP_get_runstate_info, 0, BAD } },
	{ __HYPERVISOR_vcpu_op, { VCPUOP_register_runstate_memory_area, 0, BAD } },
	{ __HYPERVISOR_vcpu_op, { VCPUOP_set_singleshot_timer, 0, BAD } },
	{ __HYPERVISOR_vcpu_op, { VCPUOP_register_vcpu_time_memory_area, 0, BAD } },
	{ __HYPERVISOR_sched_op, { SCHEDOP_shutdown, BAD } },
	{ __HYPERVISOR_sched_op, { SCHEDOP_poll, BAD } },
	{ __HYPERVISOR_callback_op, { CALLBACKOP_register, BAD } },
	{ __HYPERVISOR_callback_op, { CALLBACKOP_unregister, BAD } },
	{ __HYPERVISOR_event_channel_op, { EVTCHNOP_bind_virq, BAD } },
	{ __HYPERVISOR_event_channel_op, { EVTCHNOP_alloc_unbound, BAD } },
	{ __HYPERVISOR_event_channel_op, { EVTCHNOP_init_control, BAD } },
	{ __HYPERVISOR_event_channel_op, { EVTCHNOP_send, BAD } },
	{ __HYPERVISOR_physdev_op, { PHYSDEVOP_set_iopl, BAD } },
	{ __HYPERVISOR_physdev_op, { PHYSDEVOP_set_iobitmap, BAD } },
};

static void pointers(void)
{
	/* Not there; not canonical, just so and by far; across the hole; past the last address; the first byte there, the rest not. */
	const u64 bad[] = {
		8,     1ull << 47, 0x7ffffffffff8, 0xffff7ffffffffff8, 1ull << 63, 0xffff8000ffffff00 + (1ull << 40),
		-4ull, END - 1,	   END - 3
	};

	EQ(0, hypercall(__HYPERVISOR_update_va_mapping, END, 0, UVMF_INVLPG));
	for (unsigned k = 0; k < ARRAY(calls); k++) {
		const struct call *c = &calls[k];
		for (unsigned b = 0; b < ARRAY(bad); b++) {
			u64 a[4];
			for (unsigned i = 0; i < 4; i++)
				a[i] = c->arg[i] == BAD ? bad[b] : c->arg[i];
			s64 r = hypercall(c->nr, a[0], a[1], a[2], a[3]);
			if (r != -XEN_EFAULT && !(c->other && r == c->other)) {
				print("call %d, operation %d, pointer %x\n", c->nr, c->arg[0], bad[b]);
				EQ(-XEN_EFAULT, r);
			}
		}
	}
}

/* What would be written to: memory that the kernel may only read, and page tables. */
static void outputs(void)
{
	static const struct call writers[] = {
		{ __HYPERVISOR_memory_op, { XENMEM_machphys_mapping, BAD } },
		{ __HYPERVISOR_xen_version, { XENVER_extraversion, BAD } },
		{ __HYPERVISOR_grant_table_op, { GNTTABOP_query_size, BAD, 1 } },
		{ __HYPERVISOR_vcpu_op, { VCPUOP_get_runstate_info, 0, BAD } },
		{ __HYPERVISOR_vcpu_op, { VCPUOP_register_runstate_memory_area, 0, BAD } },
	};
	u64 *const places[] = { table, data };

	EQ(0, make_ro(table));
	EQ(0, pin(1, table));
	data[0] = PTR(table); /* where an address is wanted */
	EQ(0, make_ro(data));
	for (unsigned p = 0; p < 2; p++)
		for (unsigned k = 0; k < ARRAY(writers); k++) {
			u64 a[4];
			for (unsigned i = 0; i < 4; i++)
				a[i] = writers[k].arg[i] == BAD ? PTR(places[p]) : writers[k].arg[i];
			EQ(-XEN_EFAULT, hypercall(writers[k].nr, a[0], a[1], a[2], a[3]));
		}
	for (unsigned k = 0; k < 512; k++)
		EQ(0, table[k]);
	EQ(0, unpin(table));
	EQ(0, make_rw(table));
	EQ(0, make_rw(data));
}

/* ---- counts ---- */

static u32 done;

static void counts(void)
{
	struct mmu_update *u = (struct mmu_update *)pages;
	struct mmuext_op *op = (struct mmuext_op *)pages;
	unsigned n = 2 * PAGE / sizeof(*u);

	for (unsigned k = 0; k < n; k++)
		u[k] = (struct mmu_update){ mfn_of(data) * PAGE, k };
	EQ(-XEN_EFAULT, hypercall(__HYPERVISOR_mmu_update, u, 0x7fffffff, &done, DOMID_SELF));
	EQ(n, done);
	EQ(n - 1, data[0]);
	u[5].ptr = 1; /* no frame */
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_mmu_update, u, n, &done, DOMID_SELF));
	EQ(5, done);
	EQ(0, hypercall(__HYPERVISOR_mmu_update, 8, 0, &done, DOMID_SELF));
	EQ(0, done);
	EQ(-XEN_EPERM, hypercall(__HYPERVISOR_mmu_update, u, 1, &done, 5));
	EQ(-XEN_EPERM, hypercall(__HYPERVISOR_mmu_update, u, 1, &done, 5ull << 16 | DOMID_SELF));
	EQ(-XEN_EFAULT, hypercall(__HYPERVISOR_mmu_update, u, 1, 8, DOMID_SELF));
	n = 2 * PAGE / sizeof(*op);
	for (unsigned k = 0; k < n; k++)
		op[k] = (struct mmuext_op){ .cmd = MMUEXT_CLEAR_PAGE, .arg1.mfn = mfn_of(data) };
	EQ(-XEN_EFAULT, hypercall(__HYPERVISOR_mmuext_op, op, 0x7fffffff, &done, DOMID_SELF));
	CHECK(done <= n && done > n - 32); /* they may be fetched several at once */
	EQ(0, data[0]);
	op[3].cmd = 99;
	EQ(-XEN_ENOSYS, hypercall(__HYPERVISOR_mmuext_op, op, n, &done, DOMID_SELF));
	EQ(3, done);
	EQ(-XEN_EPERM, hypercall(__HYPERVISOR_mmuext_op, op, 1, &done, 0));
}

static struct multicall_entry *calls_at(u64 gla)
{
	return (struct multicall_entry *)gla;
}

static void multicalls(void)
{
	struct multicall_entry *e = calls_at(PTR(pages));
	unsigned n = 2 * PAGE / sizeof(*e);

	memset(pages, 0, 2 * PAGE);
	for (unsigned k = 0; k < n; k++)
		e[k] = (struct multicall_entry){ .op = __HYPERVISOR_xen_version };
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_multicall, e, 0xffffffff));
	EQ(-XEN_EFAULT, hypercall(__HYPERVISOR_multicall, e, 0x100000));
	CHECK(e[0].result > 0x40000);
	e[0].op = __HYPERVISOR_multicall; /* itself */
	e[0].args[0] = PTR(e);
	e[0].args[1] = n;
	e[1].op = __HYPERVISOR_iret;
	e[2].op = 1ull << 40;
	e[3].op = ~0ull;
	EQ(0, hypercall(__HYPERVISOR_multicall, e, 5));
	for (unsigned k = 0; k < 4; k++)
		EQ(-XEN_ENOSYS, e[k].result);
	/* Its own entries go away under it. */
	e = calls_at(PTR(&pages[512]));
	e[0] = (struct multicall_entry){ .op = __HYPERVISOR_update_va_mapping,
					 .args = { PTR(e), pte_of(e, RO), UVMF_INVLPG } };
	EQ(-XEN_EFAULT, hypercall(__HYPERVISOR_multicall, e, 2));
	EQ(0, make_rw(e));
}

/* ---- numbers ---- */

static void numbers(void)
{
	static const u64 none[] = { 6,	11, 16, 19, 22, 27,   28,	  31,	      41,   47,
				    48, 55, 63, 64, 65, 1000, 1ull << 31, 1ull << 32, ~0ull };
	static const u64 with_operations[] = { __HYPERVISOR_memory_op,	 __HYPERVISOR_xen_version,
					       __HYPERVISOR_console_io,	 __HYPERVISOR_grant_table_op,
					       __HYPERVISOR_vcpu_op,	 __HYPERVISOR_sched_op,
					       __HYPERVISOR_callback_op, __HYPERVISOR_event_channel_op,
					       __HYPERVISOR_physdev_op };
	static const u64 ops[] = { 31, 32, 63, 255, 1ull << 31, 1ull << 32, 1ull << 32 | 1, ~0ull };

	for (unsigned k = 0; k < ARRAY(none); k++)
		EQ(-XEN_ENOSYS, hypercall(none[k], 0, 0, 0, 0, 0));
	for (unsigned k = 0; k < ARRAY(with_operations); k++)
		for (unsigned o = 0; o < ARRAY(ops); o++) {
			/* memory_op's upper bits and numbers of 32 bits may be cut off; a pointer to nowhere then says so */
			s64 r = hypercall(with_operations[k], ops[o], 0, 8, 0);
			CHECK(r == -XEN_ENOSYS || r == -XEN_EFAULT || r == -XEN_EINVAL);
		}
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_set_debugreg, 4, 0));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_set_debugreg, 8, 0));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_set_debugreg, ~0ull, 0));
	EQ(-XEN_EPERM, hypercall(__HYPERVISOR_set_debugreg, 0, 1ull << 47));
	EQ(-XEN_EPERM, hypercall(__HYPERVISOR_set_debugreg, 7, 2 << 16));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_get_debugreg, 5));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_get_debugreg, ~0ull));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_set_segment_base, 0, 1ull << 47));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_set_segment_base, 1, 1ull << 63));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_set_segment_base, 4, 0));
	EQ(0, hypercall(__HYPERVISOR_set_segment_base, SEGBASE_GS_USER_SEL, 0xdff8));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_vm_assist, 0, 64));
	EQ(-XEN_ENOSYS, hypercall(__HYPERVISOR_vm_assist, 9, 1));
}

/* ---- entries ---- */

static s64 set_callback(unsigned type, u64 address)
{
	struct callback_register reg = { .type = (u16)type, .address = address };

	return hypercall(__HYPERVISOR_callback_op, CALLBACKOP_register, &reg);
}

static void entries(void)
{
	struct trap_info *t = (struct trap_info *)pages;

	for (unsigned k = 0; k < 512; k++)
		t[k] = (struct trap_info){ .vector = 200, .flags = 3, .address = PTR(data) };
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_set_trap_table, t)); /* no end */
	t[0].address = 1ull << 47;
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_set_trap_table, t));
	EQ(-XEN_EINVAL, set_callback(CALLBACKTYPE_event, 1ull << 47));
	EQ(-XEN_EINVAL, set_callback(CALLBACKTYPE_syscall, 0x7fffffffffffffff));
	EQ(-XEN_ENOSYS, set_callback(99, PTR(data)));
	EQ(-XEN_ENOSYS, set_callback(0xffff, PTR(data)));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_set_callbacks, 0, 0, 1ull << 47));
}

/* ---- CPUs ---- */

static s64 register_info(u64 mfn, u32 offset)
{
	struct vcpu_register_vcpu_info reg = { .mfn = mfn, .offset = offset };

	return hypercall(__HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, 0, &reg);
}

static void cpus(void)
{
	static const u64 ids[] = { 1, 31, 32, 63, 64, 65, 1ull << 31, 1ull << 32, ~0ull };
	struct sched_poll poll = { .nr_ports = ~0u };
	struct sched_shutdown shutdown = { .reason = 77 };
	u32 port = ~0u;

	for (unsigned k = 0; k < ARRAY(ids); k++)
		for (u64 cmd = 0; cmd < 15; cmd++)
			EQ(-XEN_ENOENT, hypercall(__HYPERVISOR_vcpu_op, cmd, ids[k], data));
	EQ(-XEN_EINVAL, register_info(mfn_of(info), PAGE - sizeof(struct vcpu_info) + 8));
	EQ(-XEN_EINVAL, register_info(mfn_of(info), PAGE));
	EQ(-XEN_EINVAL, register_info(mfn_of(info), ~0u - 7));
	EQ(-XEN_EINVAL, register_info(mfn_of(info), 4));
	EQ(-XEN_EINVAL, register_info(mfn_of(kernel_l4()), 0));
	EQ(-XEN_EINVAL, register_info(0, 0));
	EQ(-XEN_EINVAL, register_info(1ull << 40, 0));
	EQ(0, make_ro(info));
	EQ(0, pin(1, info));
	EQ(-XEN_EINVAL, register_info(mfn_of(info), 0));
	EQ(0, unpin(info));
	EQ(0, register_info(mfn_of(info), PAGE - sizeof(struct vcpu_info)));
	EQ(-XEN_EINVAL, register_info(mfn_of(info), 0));
	EQ(-XEN_EINVAL, pin(1, info)); /* never a table again */
	EQ(-XEN_EINVAL, set_callback(CALLBACKTYPE_event, 1ull << 47));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, &poll));
	set_xen_guest_handle(poll.ports, &port);
	poll.nr_ports = 1;
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, &poll));
	EQ(-XEN_EINVAL, hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, &shutdown));
	/* An area of times that is not there any more, or is a table. */
	u64 area = PTR(data);
	EQ(0, hypercall(__HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, 0, &area));
	EQ(0, map_as(data, 0));
	poll = (struct sched_poll){ .timeout = 1 };
	EQ(0, hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, &poll));
	EQ(0, make_rw(data));
}

/* ---- privileged instructions ---- */

static void hlt(void)
{
	__asm__ volatile("hlt");
}
static void sti(void)
{
	__asm__ volatile("sti");
}
static void swapgs(void)
{
	__asm__ volatile("swapgs");
}
static void sysret(void)
{
	__asm__ volatile("sysretq");
}
static void lidt(void)
{
	__asm__ volatile("lidt (%rdi)");
}
static void ltr(void)
{
	__asm__ volatile("ltr %di");
}
static void lldt(void)
{
	__asm__ volatile("lldt %di");
}
static void invlpg(void)
{
	__asm__ volatile("invlpg (%rdi)");
}
static void set_cr0(void)
{
	__asm__ volatile("movq %rdi, %cr0");
}
static void set_cr3(void)
{
	__asm__ volatile("movq %rdi, %cr3");
}
static void set_cr4(void)
{
	__asm__ volatile("movq %rdi, %cr4");
}
static void get_cr4(u64 *to)
{
	__asm__ volatile("movq %%cr4, %0" : "=r"(*to));
}
static void set_cr8(void)
{
	__asm__ volatile("movq %rdi, %cr8");
}
static void set_dr7(void)
{
	__asm__ volatile("movq %rdi, %dr7");
}
static void wrmsr(u64 msr, u64 value)
{
	__asm__ volatile("wrmsr" ::"c"((u32)msr), "a"((u32)value), "d"((u32)(value >> 32)));
}
static void rdmsr(u64 msr)
{
	u32 a, d;

	__asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"((u32)msr));
}
static void int_n(void)
{
	__asm__ volatile("int $0x80");
}
static void in(u64 port, u32 *to)
{
	__asm__ volatile("inl %1, %0" : "=a"(*to) : "d"((u16)port));
}
static void ins(u64 port, void *to)
{
	__asm__ volatile("insl" : "+D"(to) : "d"((u16)port) : "memory");
}

static void privileged(void)
{
	void *const refused[] = { hlt, sti, swapgs, sysret, lidt, ltr, lldt, invlpg, set_cr3, set_cr8, set_dr7 };
	u64 before, after;
	u32 value = 0;

	for (unsigned k = 0; k < ARRAY(refused); k++) {
		EQ(EXC_GP, attempt(refused[k], data));
		EQ(0, this_cpu()->error);
	}
	get_cr4(&before);
	attempt(set_cr0, 0); /* paging stays on, and what follows shows it */
	attempt(set_cr4, ~0ull);
	attempt(set_cr4, 0);
	get_cr4(&after);
	EQ(0, (before ^ after) & ~0x50004ull);
	attempt(set_cr4, before);
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store64, kernel_l4(), 0));
	FAULTS(EXC_GP, 0, attempt(wrmsr, 0xc0000100, 1ull << 47));
	FAULTS(EXC_GP, 0, attempt(wrmsr, 0x12345678, 0));
	FAULTS(EXC_GP, 0, attempt(rdmsr, 0x12345678));
	attempt(wrmsr, 0xc0000080, 0); /* EFER, LSTAR, STAR: nothing comes of it */
	attempt(wrmsr, 0xc0000082, 0x1000);
	attempt(wrmsr, 0xc0000081, 0);
	CHECK(hypercall(__HYPERVISOR_xen_version, XENVER_version) > 0);
	EQ(0x80, attempt(int_n));
	/* Whatever there is to read, it is read, or is none. */
	for (u64 msr = 0; msr < 0x1400; msr++) {
		s64 low = attempt(rdmsr, msr), high = attempt(rdmsr, 0xc0000000 + msr);
		CHECK((low == NOTHING || low == EXC_GP) && (high == NOTHING || high == EXC_GP));
	}
	for (u64 port = 0; port < 0x10000; port++)
		PASSES(attempt(in, port, &value));
	PASSES(attempt(in, 0x60, &value));
	EQ(~0u, value);
	/* A string of a port's into a page table is validated as a store is. */
	EQ(0, make_ro(table));
	EQ(0, pin(1, table));
	FAULTS(EXC_PF, PF_P | PF_W, attempt(ins, 0x60, table));
	EQ(0, table[0]);
	EQ(0, unpin(table));
	EQ(0, make_rw(table));
}

/* Those that are privileged or close to it, with prefixes and operands of all kinds. */
static u8 code[PAGE] __attribute__((aligned(4096)));

static unsigned random_instruction(u8 *p)
{
	static const u8 prefixes[] = { 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x40, 0x41, 0x44, 0x48, 0x4d };
	static const u8 one[] = { 0xf4, 0xfa, 0xfb, 0x6c, 0x6d, 0x6e, 0x6f, 0xec, 0xed, 0xee, 0xef, 0xcd, 0xcc, 0xf1 };
	static const u8 two[] = { 0x00, 0x01, 0x02, 0x03, 0x06, 0x07, 0x08, 0x09, 0x20, 0x21, 0x22, 0x23, 0x30,
				  0x31, 0x32, 0x33, 0x34, 0x35, 0xa2, 0xaa, 0xae, 0xc7, 0x0b, 0xff, 0x78, 0x79 };
	unsigned n = 0;

	while (any() % 3 == 0 && n < 4)
		p[n++] = prefixes[any() % ARRAY(prefixes)];
	bool wide = any() % 4;
	if (wide)
		p[n++] = 0x0f;
	u8 op = p[n++] = wide ? two[any() % ARRAY(two)] : one[any() % ARRAY(one)];
	if (wide ? (op > 3 && op < 0x10) || (op & 0xf8) == 0x30 || op == 0xa2 || op == 0xaa : op != 0xcd) {
		p[n++] = 0xc3; /* no operand that is told */
		return n;
	}
	p[n++] = any() % 2 ? 0xc0 | (u8)any() : (u8)(any() & 0x3f);
	/* RSP as an operand would be this stack's end. */
	if ((p[n - 1] & 7) == 4)
		p[n - 1] ^= 3;
	if ((p[n - 1] >> 3 & 7) == 4 && (p[n - 2] & 0xfe) == 2)
		p[n - 1] ^= 3 << 3;
	for (unsigned k = 0; k < 8; k++)
		p[n++] = k < 3 ? 0 : 0x90;
	p[n++] = 0xc3;
	return n;
}

/* All registers lead to memory that may be written to; ports to nothing. */
static void run_code(void)
{
	__asm__ volatile(
		"pushq %%rbx; pushq %%rbp; pushq %%r12; pushq %%r13; pushq %%r14; pushq %%r15\n"
		"movq %0, %%rbx; movq %%rbx, %%rsi; movq %%rbx, %%rdi; movq %%rbx, %%rbp; movq %%rbx, %%r8; movq "
		"%%rbx, %%r9\n"
		"movq %%rbx, %%r10; movq %%rbx, %%r11; movq %%rbx, %%r12; movq %%rbx, %%r13; movq %%rbx, %%r14\n"
		"movq %%rbx, %%r15; movl $0x60, %%edx; movl $4, %%ecx; movl $0x80000000, %%eax\n"
		"call %c1\n"
		"popq %%r15; popq %%r14; popq %%r13; popq %%r12; popq %%rbp; popq %%rbx" ::"i"(pages),
		"i"(code)
		: "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
}

static void random_privileged(void)
{
	for (unsigned k = 0; k < 20000; k++) {
		unsigned n = random_instruction(code);
		s64 how = attempt(run_code);

		if (how > 31 && how != 0x80 && how != 0xc0 && !(how <= 0xff && this_cpu()->rip - PTR(code) < n)) {
			print("%x %x %x %x %x\n", (u64)code[0], (u64)code[1], (u64)code[2], (u64)code[3], (u64)code[4]);
			EQ(0, how);
		}
	}
	CHECK(hypercall(__HYPERVISOR_xen_version, XENVER_version) > 0);
	FAULTS(EXC_PF, PF_P | PF_W, attempt(store64, kernel_l4(), 0));
}

void guest_main(const char *which)
{
	pointers();
	outputs();
	counts();
	multicalls();
	numbers();
	entries();
	privileged();
	EQ(0, make_rw(&pages[1024]));
	random_privileged();
	cpus();
}
