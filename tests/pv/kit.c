/* SPDX-License-Identifier: Apache-2.0 */
/* See kit.h. */
#include "kit.h"

#include <stdarg.h>

#define STACK	  0x10000
#define EXIT_PORT 0xf4
#define PASS	  33 /* `run` knows it too */
#define FAIL	  34
#define VIRT_BASE 0xffffffff80000000ull

/* Called by kit.S. */
void kit_main(struct start_info *si), kit_cpu(unsigned cpu), kit_event(struct cpu *c), kit_unexpected(void);

extern u8 stacks[], stubs[], enter_event[], enter_failsafe[], enter_syscall[], start_cpu[];

struct start_info *start_info;
static u8 shared_page[PAGE] __attribute__((aligned(4096)));
struct shared_info *shared = (struct shared_info *)shared_page;
u8 zero_page[PAGE] __attribute__((aligned(4096)));
static const u64 *p2m = (const u64 *)0x8000000000;

/* ---- the CPU ---- */

struct cpu *this_cpu(void)
{
	u64 sp;

	__asm__ volatile("mov %%rsp, %0" : "=r"(sp));
	return (struct cpu *)(sp & ~(STACK - 1ull));
}

s64 hypercall_with(u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e)
{
	register u64 r10 __asm__("r10") = d;
	register u64 r8 __asm__("r8") = e;
	s64 result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
}

void quit(unsigned status)
{
	for (;;)
		__asm__ volatile("outl %0, %1" ::"a"(status), "Nd"((u16)EXIT_PORT));
}

/* xorshift64: Marsaglia, "Xorshift RNGs" */
u64 any(void)
{
	static u64 state = 88172645463325252ull;

	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

/* ---- words ---- */

struct text {
	char bytes[400];
	unsigned n;
};

static void put(struct text *t, char c)
{
	if (t->n < sizeof(t->bytes))
		t->bytes[t->n++] = c;
}

static void put_number(struct text *t, u64 value, unsigned base)
{
	char digits[24];
	unsigned n = 0;

	do
		digits[n++] = "0123456789abcdef"[value % base];
	while (value /= base);
	while (n)
		put(t, digits[--n]);
}

static void put_word(struct text *t, char how, va_list *ap)
{
	if (how == 's') {
		for (const char *s = va_arg(*ap, const char *); *s; s++)
			put(t, *s);
		return;
	}
	u64 value = va_arg(*ap, u64);
	if (how == 'd' && (s64)value < 0) {
		put(t, '-');
		value = -value;
	}
	put_number(t, value, how == 'x' ? 16 : 10);
}

void print(const char *fmt, ...)
{
	struct text t = { .n = 0 };
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		if (*fmt == '%')
			put_word(&t, *++fmt, &ap);
		else
			put(&t, *fmt);
	}
	va_end(ap);
	hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, t.n, PTR(t.bytes));
}

void fail(const char *file, int line, const char *what, u64 want, u64 have)
{
	const struct cpu *c = this_cpu();

	print("FAIL %s:%d: %s: wanted %d, got %d (%x); last entry %x error %x rip %x cr2 %x\n", file, (u64)line, what,
	      want, have, have, c->vector, c->error, c->rip, shared->vcpu_info[0].arch.cr2);
	quit(FAIL);
}

void kit_unexpected(void)
{
	fail("kit", 0, "nothing enters the kernel", 0, this_cpu()->vector);
}

void kit_event(struct cpu *c)
{
	unsigned cpu = (unsigned)(((u64)c - PTR(stacks)) / STACK);

	__atomic_store_n(&shared->vcpu_info[cpu].evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&shared->vcpu_info[cpu].evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&c->upcalls, 1, __ATOMIC_SEQ_CST);
}

/* ---- memory ---- */

u64 mfn_of_pfn(u64 pfn)
{
	return p2m[pfn];
}

u64 mfn_of(const void *p)
{
	return p2m[(PTR(p) - VIRT_BASE) / PAGE];
}

u64 pte_of(const void *p, u64 flags)
{
	return mfn_of(p) * PAGE | flags;
}

s64 map_as(const void *p, u64 pte)
{
	return hypercall(__HYPERVISOR_update_va_mapping, PTR(p), pte, UVMF_INVLPG);
}

s64 make_ro(const void *p)
{
	return map_as(p, pte_of(p, RO));
}

s64 make_rw(const void *p)
{
	return map_as(p, pte_of(p, RW));
}

s64 mmu_op(unsigned cmd, u64 arg1, u64 arg2)
{
	struct mmuext_op op = { .cmd = cmd };

	op.arg1.linear_addr = arg1;
	*(u64 *)&op.arg2 = arg2;
	return hypercall(__HYPERVISOR_mmuext_op, PTR(&op), 1, 0, DOMID_SELF);
}

s64 pin(unsigned level, const void *table)
{
	return mmu_op(MMUEXT_PIN_L1_TABLE + level - 1, mfn_of(table), 0);
}

s64 unpin(const void *table)
{
	return mmu_op(MMUEXT_UNPIN_TABLE, mfn_of(table), 0);
}

s64 update(u64 machine_address, u64 value)
{
	struct mmu_update u = { machine_address, value };

	return hypercall(__HYPERVISOR_mmu_update, PTR(&u), 1, 0, DOMID_SELF);
}

s64 update_entry(const void *table, unsigned index, u64 value)
{
	return update(mfn_of(table) * PAGE + index * 8, value);
}

u64 *kernel_l4(void)
{
	return (u64 *)start_info->pt_base;
}

/* ---- programs ---- */

u64 user_l4[512] __attribute__((aligned(4096))), user_l3[512] __attribute__((aligned(4096))),
	user_l2[512] __attribute__((aligned(4096))), user_l1[512] __attribute__((aligned(4096)));

static void make_user(void)
{
	user_l4[0] = pte_of(user_l3, RW);
	user_l3[0] = pte_of(user_l2, RW);
	user_l2[0] = pte_of(user_l1, RW);
	u64 *tables[] = { user_l1, user_l2, user_l3, user_l4 };
	for (unsigned k = 0; k < 4; k++)
		EQ(0, make_ro(tables[k]));
	EQ(0, pin(4, user_l4));
	EQ(0, mmu_op(MMUEXT_NEW_USER_BASEPTR, mfn_of(user_l4), 0));
}

void user_map(u64 gla, u64 pte)
{
	if (!user_l4[0])
		make_user();
	EQ(0, update_entry(user_l1, (unsigned)(gla / PAGE), pte));
	EQ(0, mmu_op(MMUEXT_INVLPG_LOCAL, gla, 0));
}

s64 run_user(u64 rip, u64 sp, u64 rax)
{
	const u64 frame[9] = { rax, 0, 0, 0, rip, FLAT_USER_CS, 2, sp, FLAT_USER_SS };

	return attempt_iret(frame);
}

/* ---- events, CPUs ---- */

s64 event_op(unsigned cmd, void *arg)
{
	return hypercall(__HYPERVISOR_event_channel_op, cmd, PTR(arg));
}

s64 send_event(u32 port)
{
	struct evtchn_send s = { port };

	return event_op(EVTCHNOP_send, &s);
}

s64 close_port(u32 port)
{
	struct evtchn_close c = { port };

	return event_op(EVTCHNOP_close, &c);
}

s64 alloc_port(domid_t dom, domid_t remote, u32 *port)
{
	struct evtchn_alloc_unbound a = { .dom = dom, .remote_dom = remote };
	s64 r = event_op(EVTCHNOP_alloc_unbound, &a);

	*port = a.port;
	return r;
}

void wait_upcall(u64 count)
{
	struct cpu *c = this_cpu();

	while (__atomic_load_n(&c->upcalls, __ATOMIC_SEQ_CST) < count)
		EQ(0, hypercall(__HYPERVISOR_sched_op, SCHEDOP_block, 0));
	shared->vcpu_info[((u64)c - PTR(stacks)) / STACK].evtchn_upcall_mask = 1;
}

static void register_callback(unsigned type, const void *entry)
{
	struct callback_register reg = { .type = (u16)type, .flags = CALLBACKF_mask_events, .address = PTR(entry) };

	EQ(0, hypercall(__HYPERVISOR_callback_op, CALLBACKOP_register, PTR(&reg)));
}

static void fill_traps(struct trap_info *t)
{
	for (unsigned k = 0; k < 256; k++)
		t[k] = (struct trap_info){
			.vector = (u8)k, .flags = 7, .cs = FLAT_KERNEL_CS, .address = PTR(stubs) + k * 16
		};
}

static struct trap_info traps[257];

static void register_entries(void)
{
	fill_traps(traps);
	EQ(0, hypercall(__HYPERVISOR_set_trap_table, PTR(traps)));
	register_callback(CALLBACKTYPE_event, enter_event);
	register_callback(CALLBACKTYPE_failsafe, enter_failsafe);
	register_callback(CALLBACKTYPE_syscall, enter_syscall);
}

void boot_cpu(unsigned cpu)
{
	static struct vcpu_guest_context c;

	c = (struct vcpu_guest_context){ .flags = VGCF_IN_KERNEL, .kernel_ss = FLAT_KERNEL_SS };
	fill_traps(c.trap_ctxt);
	c.user_regs.rip = PTR(start_cpu);
	c.user_regs.rsp = PTR(stacks) + (cpu + 1) * STACK;
	c.user_regs.rdi = cpu;
	c.ctrlreg[3] = mfn_of(kernel_l4()) * PAGE;
	c.event_callback_eip = PTR(enter_event);
	c.failsafe_callback_eip = PTR(enter_failsafe);
	c.syscall_callback_eip = PTR(enter_syscall);
	EQ(0, hypercall(__HYPERVISOR_vcpu_op, VCPUOP_initialise, cpu, PTR(&c)));
	EQ(0, hypercall(__HYPERVISOR_vcpu_op, VCPUOP_up, cpu));
}

__attribute__((weak)) void guest_cpu(unsigned cpu)
{
}

void kit_cpu(unsigned cpu)
{
	guest_cpu(cpu);
	hypercall(__HYPERVISOR_vcpu_op, VCPUOP_down, cpu);
	for (;;)
		relax();
}

static const char *last_word(const char *line)
{
	const char *word = line;

	for (; *line; line++)
		if (*line == ' ')
			word = line + 1;
	return word;
}

void kit_main(struct start_info *si)
{
	start_info = si;
	register_entries();
	EQ(0, map_as(shared_page, si->shared_info | RW));
	guest_main(last_word((const char *)si->cmd_line));
	quit(PASS);
}

void *memset(void *to, int value, size_t n)
{
	u8 *p = to;

	while (n--)
		*p++ = (u8)value;
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	u8 *p = to;
	const u8 *q = from;

	while (n--)
		*p++ = *q++;
	return to;
}
