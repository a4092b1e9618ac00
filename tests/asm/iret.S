/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IRETQ of a 64-bit kernel (SDM vol. 2, IRET): to itself and to user code, so often that engines have made a shortcut of it, and with
 * every frame, descriptor and flag that the shortcut must not take. All of them go through one IRETQ.
 */
#include "lib.inc"
#define OFTEN 200
#define APIC 0xfee00000
#define NOT_PRESENT (SPARE + 0)
#define FRESH (SPARE + 8)	/* code whose accessed bit is clear */
#define READ_ONLY (SPARE + 16)
#define USER_SS_NP (SPARE + 24)
#define CONFORMING (SPARE + 32)
#define BOTH_SIZES (SPARE + 40)
#define USER_DPL0 (SPARE + 48)
#define FL_TF 0x100
#define FL_NT 0x4000
#define FL_RF 0x10000
#define FL_VM 0x20000
#define FL_AC 0x40000
#define FL_ID 0x200000

#define FRAME(ip, cs_, fl, sp, ss_)		\
	movq $(ip), f_rip;			\
	movq $(cs_), f_cs;			\
	movq $(fl), f_flags;			\
	movq $(sp), f_rsp;			\
	movq $(ss_), f_ss
/* It faults, at the IRETQ and with RSP at the frame. */
#define BAD(vector, error)			\
	RESUME 88f;				\
	jmp do_iret;				\
88:	EXC(vector, error)			\
	EQ(l, $the_iret, exc_rip)		\
	EQ(l, $stack_top - 40, exc_rsp)		\
	movl $stack_top, %esp
#define WARM movl $OFTEN, %r15d

	.text
	MODE 32
	.globl main
main:	movl $0x00af1b00, %eax
	movl $0x0000ffff, gdt + NOT_PRESENT
	movl %eax, gdt + NOT_PRESENT + 4
	movl $0x0000ffff, gdt + FRESH
	movl $0x00af9a00, gdt + FRESH + 4
	movl $0x0000ffff, gdt + READ_ONLY
	movl $0x00cff100, gdt + READ_ONLY + 4
	movl $0x0000ffff, gdt + USER_SS_NP
	movl $0x00cf7300, gdt + USER_SS_NP + 4
	movl $0x0000ffff, gdt + CONFORMING
	movl $0x00af9f00, gdt + CONFORMING + 4
	movl $0x0000ffff, gdt + BOTH_SIZES
	movl $0x00effb00, gdt + BOTH_SIZES + 4
	call enter_long
	MODE 64

	/* To itself, SS a data segment. */
	WARM
1:	FRAME(2f, CODE64, 0x8d7, stack_top - 64, DATA32)
	jmp do_iret
2:	pushfq
	EQ(q, $0x8d7, (%rsp))
	EQ(l, $stack_top - 72, %esp)
	movl %ss, %eax
	EQ(w, $DATA32, %ax)
	movl %cs, %eax
	EQ(w, $CODE64, %ax)
	movl $stack_top, %esp
	decl %r15d
	jnz 1b
	/* SS null, as an interrupt of user code leaves it; all registers stay. */
	WARM
1:	FRAME(2f, CODE64, 2, stack_top - 64, 0)
	movq $0x1111, %rax
	movq $-2, %rcx
	movq $0x123456789, %rdx
	movq $11, %r11
	jmp do_iret
2:	EQ(l, $0x1111, %eax)
	EQ(q, $-2, %rcx)
	movabs $0x123456789, %rbx
	EQ(q, %rbx, %rdx)
	EQ(q, $11, %r11)
	movl %ss, %eax
	EQ(w, $0, %ax)
	pushq %rax
	pushfq
	EQ(q, $0x46, (%rsp))
	movl $DATA32, %eax
	movl %eax, %ss
	movl $stack_top, %esp
	decl %r15d
	jnz 1b

	/* To user code, with data segments of every kind: those that it may not use become null. */
	WARM
1:	FRAME(2f, UCODE64, 0x246, user_top - 8, UDATA)
	movl $DATA32, %eax
	testl $1, %r15d
	jz 3f
	movl $UDATA, %eax
3:	testl $2, %r15d
	jz 3f
	xorl %eax, %eax
3:	movl %eax, %es
	movl %eax, %gs
	xchgl %eax, %ebx
	jmp do_iret
2:	movl %cs, %eax
	EQ(w, $UCODE64, %ax)
	movl %ss, %eax
	EQ(w, $UDATA, %ax)
	movl %ds, %ecx
	EQ(w, $0, %cx)
	EQ(l, $user_top - 8, %esp)
	pushfq
	popq %rax
	EQ(l, $0x246, %eax)
	cmpl $UDATA, %ebx
	je 3f
	xorl %ebx, %ebx
3:	movl %es, %eax
	EQ(w, %bx, %ax)
	movl %gs, %eax
	EQ(w, %bx, %ax)
	/* It is user code: none of these. */
	RESUME 4f
	int3
4:	EQ(l, $3, exc_vector)
	EQ(w, $UCODE64, exc_cs)
	decl %r15d
	jnz 1b
	movl $DATA32, %eax
	movl %eax, %ds

	/* Whom to return to: addresses. */
	FRAME(0, CODE64, 2, stack_top, DATA32)
	movabs $0x800000000000, %rax
	movq %rax, f_rip
	BAD(13, 0)
	movabs $0xffff7fffffffffff, %rax
	movq %rax, f_rip
	BAD(13, 0)
	movq $UCODE64, f_cs
	movq $UDATA, f_ss
	BAD(13, 0)
	/* CS: null, beyond the table, of no LDT, not code, levels that do not fit, not present, of both sizes. */
	FRAME(8f, 0, 2, stack_top, DATA32)
	BAD(13, 0)
	movq $3, f_cs
	BAD(13, 0)
	movq $0xfff8, f_cs
	BAD(13, 0xfff8)
	movq $UCODE64 | 4, f_cs
	BAD(13, (UCODE64 | 4) & ~3)
	movq $DATA32, f_cs
	BAD(13, DATA32)
	movq $CODE64 | 3, f_cs
	BAD(13, CODE64)
	movq $CODE64 | 1, f_cs
	BAD(13, CODE64)
	movq $UCODE64 & ~3, f_cs
	BAD(13, UCODE64 & ~3)
	movq $NOT_PRESENT, f_cs
	BAD(11, NOT_PRESENT)
	movq $BOTH_SIZES | 3, f_cs
	BAD(13, BOTH_SIZES)
	/* SS: null for user code, another RPL, read-only, not present, code. */
	FRAME(8f, UCODE64, 2, user_top, 0)
	BAD(13, 0)
	movq $3, f_ss
	BAD(13, 0)
	movq $UDATA & ~3, f_ss
	BAD(13, UDATA & ~3)
	movq $READ_ONLY | 3, f_ss
	BAD(13, READ_ONLY)
	movq $USER_SS_NP | 3, f_ss
	BAD(12, USER_SS_NP)
	movq $UCODE64, f_ss
	BAD(13, UCODE64 & ~3)
	movq $0xfffb, f_ss
	BAD(13, 0xfff8)
	FRAME(8f, CODE64, 2, stack_top, UDATA)
	BAD(13, UDATA & ~3)
	movq $3, f_ss
	BAD(13, 0)
	/* A descriptor that is another from one time to the next. */
	FRAME(8f, UCODE64, 2, user_top, UDATA)
	movb $0x9b, gdt + (UCODE64 & ~7) + 5
	BAD(13, UCODE64 & ~3)
	movb $0xfb, gdt + (UCODE64 & ~7) + 5
	movb $0xf1, gdt + (UDATA & ~7) + 5
	BAD(13, UDATA & ~3)
	movb $0xf3, gdt + (UDATA & ~7) + 5
	/* A table that ends before it; and one entry 0 of which would do. */
	movw $(UCODE64 & ~7) + 6, gdt_ptr
	lgdt gdt_ptr
	BAD(13, UCODE64 & ~3)
	movw $(UCODE64 & ~7) + 7, gdt_ptr
	lgdt gdt_ptr
	RESUME 5f
	jmp do_iret
8:	int3
5:	EQ(l, $3, exc_vector)
	movl $DATA32, %eax
	movl %eax, %ds
	movq gdt + CODE64, %rax
	movq %rax, gdt
	movw $SPARE + 24 * 8 - 1, gdt_ptr
	lgdt gdt_ptr
	FRAME(8b, 0, 2, stack_top, DATA32)
	BAD(13, 0)
	movq $0, gdt

	/* The accessed bit is set on the way. A conforming segment serves inner levels. */
	FRAME(6f, FRESH, 2, stack_top, DATA32)
	jmp do_iret
6:	EQ(b, $0x9b, gdt + FRESH + 5)
	movl %cs, %eax
	EQ(w, $FRESH, %ax)
	FRAME(6f, CONFORMING | 3, 2, user_top, UDATA)
	RESUME 7f
	jmp do_iret
6:	movl %cs, %eax
	EQ(w, $CONFORMING | 3, %ax)
	int3
7:	EQ(l, $3, exc_vector)
	movl $DATA32, %eax
	movl %eax, %ds
	FRAME(6f, CODE64, 2, stack_top, DATA32)
	jmp do_iret
6:	/* To compatibility mode. */
	FRAME(6f, UCODE32, 2, user_top, UDATA)
	RESUME 7f
	jmp do_iret
	MODE 32
6:	movl $5, %eax
	.byte 0x48 /* DEC EAX in 32-bit code */
	cmpl $4, %eax
	je 6f
	ud2
6:	int3
	MODE 64
7:	EQ(l, $3, exc_vector)
	movl $DATA32, %eax
	movl %eax, %ds

	/* Flags. NT in RFLAGS: #GP(0) in IA-32e mode; in the image it is loaded. */
	FRAME(6f, CODE64, FL_NT | 2, stack_top, DATA32)
	jmp do_iret
6:	pushfq
	popq %rax
	EQ(l, $FL_NT | 2, %eax)
	movl $stack_top, %esp
	movq $2, f_flags
	BAD(13, 0)
	pushq $2
	popfq
	/* TF: a trap behind the next instruction. */
	movl $OFTEN, %ebx
1:	FRAME(6f, UCODE64, FL_TF | 2, user_top, UDATA)
	RESUME 7f
	jmp do_iret
6:	nop
8:	FAIL
7:	EXC(1, 0)
	EQ(l, $8b, exc_rip)
	movl $DATA32, %eax
	movl %eax, %ds
	decl %ebx
	jnz 1b
	/* RF and VM leave no trace; ID, IOPL do. */
	movl $OFTEN, %ebx
1:	FRAME(6f, CODE64, FL_RF | FL_VM | FL_ID | 0x3002, stack_top, DATA32)
	jmp do_iret
6:	pushfq
	popq %rax
	EQ(l, $FL_ID | 0x3002, %eax)
	FRAME(6f, CODE64, FL_RF | FL_ID | 0x3002, stack_top, DATA32)
	jmp do_iret
6:	pushfq
	popq %rax
	EQ(l, $FL_ID | 0x3002, %eax)
	decl %ebx
	jnz 1b
	/* AC: user code's accesses are checked from here on, and no longer. */
	movq %cr0, %rax
	orl $CR0_AM, %eax
	movq %rax, %cr0
	movl $OFTEN, %ebx
1:	FRAME(6f, UCODE64, FL_AC | 2, user_top, UDATA)
	RESUME 7f
	jmp do_iret
6:	movl scratch + 1, %eax
	FAIL
7:	EXC(17, 0)
	EQ(l, $6b, exc_rip)
	pushq $2
	popfq
	movl $DATA32, %eax
	movl %eax, %ds
	movq $2, f_flags
	movq $6f, f_rip
	RESUME 7f
	jmp do_iret
6:	movl scratch + 1, %eax
	int3
7:	EQ(l, $3, exc_vector)
	movl $DATA32, %eax
	movl %eax, %ds
	decl %ebx
	jnz 1b
	/* And the supervisor's view, where SMAP is there: AC in the image suspends it. */
	movl $7, %eax
	xorl %ecx, %ecx
	cpuid
	testl $1 << 20, %ebx
	jz no_smap
	movl $OFTEN, %ebp
1:	andl $~U, pd
	movq $scratch + P + W + U, pt_user
	movq $pt_user + P + W + U, pd + 8 * 16	/* at 32 MiB: a user page */
	movq %cr4, %rax
	orl $CR4_SMAP, %eax
	movq %rax, %cr4
	FRAME(6f, CODE64, 2, stack_top, DATA32)
	jmp do_iret
6:	movl $32 << 20, %esi
	FAULTS(14, 1, movl (%rsi), %eax)
	movq $6f, f_rip
	movq $FL_AC | 2, f_flags
	jmp do_iret
6:	movl (%rsi), %eax
	movq $6f, f_rip
	movq $2, f_flags
	jmp do_iret
6:	FAULTS(14, 1, movl (%rsi), %eax)
	movq %cr4, %rax
	andl $~CR4_SMAP, %eax
	movq %rax, %cr4
	orl $U, pd
	movq $(32 << 20) + P + W + U + PS, pd + 8 * 16
	movq %cr3, %rax
	movq %rax, %cr3
	decl %ebp
	jnz 1b
no_smap:
	/* The frame: across two pages, not mapped. */
	movl $OFTEN, %ebx
1:	FRAME(6f, CODE64, 0x43, stack_top, DATA32)
	movl $scratch + 4096 + 16, %esp
	jmp push_frame
6:	pushfq
	popq %rax
	EQ(l, $0x43, %eax)
	decl %ebx
	jnz 1b
	/* Its first page is not there; what the fault pushes lies below. Nor its second. */
	movq $scratch + P + W, pt_user
	movq $0, pt_user + 8
	movq $pt_user + P + W, pd + 8 * 16
	movq %cr3, %rax
	movq %rax, %cr3
	movl $(32 << 20) + 4096, %esp
	RESUME 7f
	jmp the_iret
7:	EXC(14, 0)
	EQ(l, $the_iret, exc_rip)
	EQ(l, $(32 << 20) + 4096, exc_cr2)
	EQ(l, $(32 << 20) + 4096, exc_rsp)
	movl $(32 << 20) + 4096 - 16, %esp
	RESUME 7f
	jmp the_iret
7:	EXC(14, 0)
	EQ(l, $(32 << 20) + 4096, exc_cr2)
	EQ(l, $(32 << 20) + 4096 - 16, exc_rsp)
	movl $stack_top, %esp
	jmp more

	/* Pushes the frame on the main stack and takes it. */
do_iret: movl $stack_top, %esp
push_frame:
	pushq f_ss
	pushq f_rsp
	pushq f_flags
	pushq f_cs
	pushq f_rip
the_iret: iretq

more:	/* User code's own IRETQ: to its level; inward is #GP. */
	WARM
1:	FRAME(6f, UCODE64, 2, user_top, UDATA)
	RESUME 7f
	jmp do_iret
6:	pushq $UDATA
	pushq $user_top - 64
	pushq $0x93
	pushq $UCODE64
	pushq $8f
	iretq
8:	pushfq
	EQ(q, $0x93, (%rsp))
	EQ(l, $user_top - 72, %esp)
	pushq $UDATA
	pushq $user_top - 64
	pushq $2
	pushq $CODE64
	pushq $8b
9:	iretq
	FAIL
7:	EXC(13, CODE64)
	EQ(l, $9b, exc_rip)
	movl $DATA32, %eax
	movl %eax, %ds
	decl %r15d
	jnz 1b
	/* An interrupt that waits comes in when IF is loaded, and not before: an IPI to itself. */
	movl $2, irq_eoi
	movl $APIC, %esi
	movq $pd_apic + P + W, pdpt + 8 * 3
	movq %rsi, %rax
	orl $P + W + PS, %eax
	movq %rax, pd_apic + 8 * 503
	movl $0x1ff, 0xf0(%rsi)
	WARM
1:	movl irq_count, %ebp
	movl $0x44040, 0x300(%rsi) /* self, vector 40h */
2:	testl $1 << 12, 0x300(%rsi)
	jnz 2b
	FRAME(6f, CODE64, 2, stack_top, DATA32)
	jmp do_iret
6:	EQ(l, %ebp, irq_count)
	movq $0x202, f_flags
	movq $6f, f_rip
	jmp do_iret
6:	incl %ebp
	EQ(l, %ebp, irq_count)
	cli
	decl %r15d
	jnz 1b
	jmp pass64

	.data
	.balign 8
f_rip:	.quad 0
f_cs:	.quad 0
f_flags: .quad 0
f_rsp:	.quad 0
f_ss:	.quad 0
	.bss
	.balign 4096
pt_user: .skip 4096
pd_apic: .skip 4096
