/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guests of this folder share: small PV kernels which do what no kernel should, and look whether they are told so. A guest has
 * guest_main(), which returns if all was well; CHECK, EQ and FAULTS end the run otherwise. Event channels stay masked but in
 * wait_upcall().
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define __XEN_INTERFACE_VERSION__ 0x00040e00
/* clang-format off: the first is what the others need */
#include <xen/xen.h>
#include <xen/callback.h>
#include <xen/errno.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/physdev.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/version.h>
/* clang-format on */

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define PAGE	 4096ull
#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))

/* At the low end of its stack: kit.S */
struct cpu {
	u64 resume; /* an attempt's stack pointer; 0: none */
	u64 vector, error, rip, cs, flags, sp, ss, rax; /* of what entered the kernel last */
	u64 upcalls;
};
struct cpu *this_cpu(void);

#define EXC_DB	    1
#define EXC_BP	    3
#define EXC_UD	    6
#define EXC_TS	    10
#define EXC_NP	    11
#define EXC_SS	    12
#define EXC_GP	    13
#define EXC_PF	    14
#define BY_SYSCALL  0x100
#define BY_FAILSAFE 0x102
#define NOTHING	    (-1)

#define PF_P 1
#define PF_W 2
#define PF_U 4
#define PF_I 16

#define PTE_P  1ull
#define PTE_W  2ull
#define PTE_U  4ull
#define PTE_A  0x20ull
#define PTE_D  0x40ull
#define PTE_PS 0x80ull
#define PTE_NX (1ull << 63)
#define RO     (PTE_P | PTE_U | PTE_A)
#define RW     (RO | PTE_W | PTE_D)

void *memset(void *to, int value, size_t n), *memcpy(void *to, const void *from, size_t n);

/* ---- what a guest has and gives ---- */
void guest_main(const char *which);
/* On a further CPU, which boot_cpu() has started. */
void guest_cpu(unsigned cpu);

/* ---- the kit ---- */
extern struct start_info *start_info;
extern struct shared_info *shared;
extern u8 zero_page[PAGE];

#define PTR(p) ((u64)(p))
s64 hypercall_with(u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e);
#define HYPERCALL(nr, a, b, c, d, e, ...) hypercall_with(nr, (u64)(a), (u64)(b), (u64)(c), (u64)(d), (u64)(e))
#define hypercall(...)			  HYPERCALL(__VA_ARGS__, 0, 0, 0, 0, 0, 0) /* up to five arguments */

void print(const char *fmt, ...); /* %s %d %x, all 64-bit but %s */
_Noreturn void fail(const char *file, int line, const char *what, u64 want, u64 have);
_Noreturn void quit(unsigned status);
u64 any(void); /* the next of always the same numbers that mean nothing */
#define CHECK(x)                                                 \
	do {                                                     \
		if (!(x))                                        \
			fail(__FILE_NAME__, __LINE__, #x, 1, 0); \
	} while (0)
#define EQ(want, x)                                                      \
	do {                                                             \
		u64 want_ = (u64)(want), have_ = (u64)(x);               \
		if (want_ != have_)                                      \
			fail(__FILE_NAME__, __LINE__, #x, want_, have_); \
	} while (0)
/* An attempt that raises this vector with this error code. */
#define FAULTS(vector_, error_, x)             \
	do {                                   \
		EQ(vector_, x);                \
		EQ(error_, this_cpu()->error); \
	} while (0)
#define PASSES(x) EQ(NOTHING, x)

s64 attempt_with(const void *fn, u64 a, u64 b, u64 c);
#define ATTEMPT(fn, a, b, c, ...) attempt_with(fn, (u64)(a), (u64)(b), (u64)(c))
#define attempt(...)		  ATTEMPT(__VA_ARGS__, 0, 0, 0, 0) /* up to three arguments */
s64 attempt_iret(const u64 frame[9]);
s64 attempt_call(void (*fn)(void), u64 sp);
void store8(void), store16(void), store32(void), store64(void), load64(void), xchg64(void), cmpxchg64(void),
	bts64(void), add64(void), or8(void), cmpxchg128(void), movs(void), stos(void), store128(void), fxsave64(void),
	push64(void);
/* Goes to a program at rip; what brings it back. */
s64 run_user(u64 rip, u64 sp, u64 rax);

/* ---- memory ---- */
u64 mfn_of(const void *p); /* of the kernel's image and what is mapped with it */
u64 mfn_of_pfn(u64 pfn);
u64 pte_of(const void *p, u64 flags);
s64 map_as(const void *p, u64 pte); /* update_va_mapping, and INVLPG */
s64 make_ro(const void *p);
s64 make_rw(const void *p);
s64 mmu_op(unsigned cmd, u64 arg1, u64 arg2); /* one mmuext_op */
s64 pin(unsigned level, const void *table);
s64 unpin(const void *table);
s64 update(u64 machine_address, u64 value); /* one mmu_update */
s64 update_entry(const void *table, unsigned index, u64 value);
u64 *kernel_l4(void);

/* Page tables of programs: user_map() maps a page of ours where the program sees it, below 2 MiB; made and loaded at first. */
void user_map(u64 gla, u64 pte);
extern u64 user_l4[512], user_l3[512], user_l2[512], user_l1[512];

/* ---- CPUs, events ---- */
void boot_cpu(unsigned cpu);
s64 event_op(unsigned cmd, void *arg);
s64 send_event(u32 port);
s64 close_port(u32 port);
s64 alloc_port(domid_t dom, domid_t remote, u32 *port);
void wait_upcall(u64 count); /* until this CPU has had so many in all */
static inline void relax(void)
{
	__asm__ volatile("pause" ::: "memory");
}
