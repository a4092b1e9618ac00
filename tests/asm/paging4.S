/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 4-level paging: what each combination of rights and access gives, with error code and CR2; 4 KiB, 2 MiB and 1 GiB pages; NX, reserved
 * bits, WP, SMEP, SMAP, accessed and dirty bits (SDM vol. 3, 4.5 to 4.8).
 *
 * The window at 40000000h has its own page table: PT entry n is `pt + 8 * n`, address 40000000h + n * 1000h.
 */
#include "lib.inc"
#define WIN 0x40000000
#define PAGE(n) (WIN + 0x1000 * n)
#define NX63(n) movl $0x80000000, pt + 8 * n + 4
	.text
	MODE 32
	.globl main
main:	movl $pd2 + P + W + U, pdpt + 8
	movl $pt + P + W + U, pd2
	call enter_long
	MODE 64
	movl $scratch, %r8d
	movl $code, %r9d

	/* Not present: read, write, fetch. */
	movl $PAGE(0), %ebx
	FAULTS(14, 0, movl (%rbx), %eax)
	EQ(l, $PAGE(0), exc_cr2)
	FAULTS(14, 2, movl %eax, 8(%rbx))
	EQ(l, $PAGE(0) + 8, exc_cr2)
	FAULTS(14, 2, incl (%rbx)) /* read-modify-write is a write */
	FAULTS(14, 0, cmpl $0, (%rbx))
	/* A fetch saves the target's address, which is also CR2. */
	RESUME 1f
	jmp *%rbx
1:	EXC(14, 0x10)
	EQ(l, $PAGE(0), exc_rip)
	EQ(l, $PAGE(0), exc_cr2)
	/* Across a page: CR2 is the second page's first byte. */
	leal P + W(%r8), %eax
	movl %eax, pt + 8
	movl $PAGE(2) - 2, %ebx
	movl $0x11111111, scratch + 0xffc
	FAULTS(14, 2, movl %eax, (%rbx))
	EQ(l, $PAGE(2), exc_cr2)
	EQ(l, $0x11111111, scratch + 0xffc) /* nothing was written */
	FAULTS(14, 0, movq (%rbx), %rax)
	EQ(l, $PAGE(2), exc_cr2)

	/* Supervisor, read-only: WP decides. */
	leal P(%r8), %eax
	movl %eax, pt + 8 * 3
	movl $PAGE(3), %ebx
	movl (%rbx), %eax
	FAULTS(14, 3, movl %eax, (%rbx))
	movq %cr0, %rcx
	andq $~CR0_WP, %rcx
	movq %rcx, %cr0
	movl %eax, (%rbx)
	orq $CR0_WP, %rcx
	movq %rcx, %cr0
	FAULTS(14, 3, movl %eax, (%rbx))

	/* NX: a fetch is 11h with the page present, data goes. */
	leal P + W(%r9), %eax
	movl %eax, pt + 8 * 4
	movl $PAGE(4), %ebx
	call *%rbx
	NX63(4)
	invlpg (%rbx)
	RESUME 2f
	call *%rbx
2:	addq $8, %rsp
	EXC(14, 0x11)
	EQ(l, $PAGE(4), exc_rip)
	movl (%rbx), %eax
	/* Without EFER.NXE the bit is reserved: 9 for a read, 19h never, as there is no I bit then. */
	movl $MSR_EFER, %ecx
	rdmsr
	andl $~0x800, %eax
	wrmsr
	FAULTS(14, 9, movl (%rbx), %eax)
	RESUME 3f
	call *%rbx
3:	addq $8, %rsp
	EXC(14, 9)
	movl $MSR_EFER, %ecx
	rdmsr
	orl $0x800, %eax
	wrmsr

	/* Reserved: an address bit beyond MAXPHYADDR (51 is, with any real width), PS in a PML4 entry, low bits of a large page. */
	movl $0x00080000, pt + 8 * 5 + 4
	leal P + W(%r8), %eax
	movl %eax, pt + 8 * 5
	movl $PAGE(5), %ebx
	FAULTS(14, 9, movl (%rbx), %eax)
	FAULTS(14, 0xb, movl %eax, (%rbx))
	EQ(l, $PAGE(5), exc_cr2)
	movl $0x00200000 + 0x2000 + P + W + PS, pd2 + 8 /* bit 13 of a 2 MiB page */
	movl $WIN + 0x200000, %ebx
	FAULTS(14, 9, movl (%rbx), %eax)
	movl $P + W + PS, pml4 + 8
	movq $1 << 39, %rbx
	FAULTS(14, 9, movl (%rbx), %eax)
	movl $0, pml4 + 8

	/* 2 MiB and 1 GiB pages reach the same memory; PAT's bit 12 is not reserved. */
	movl $0x5a5a5a5a, scratch
	movl $P + W + PS + 0x1000, pd2 + 8
	movl $WIN + 0x200000, %ebx
	invlpg (%rbx)
	EQ(l, $0x5a5a5a5a, scratch + 0x200000 + WIN)
	movl $P + W + PS, pdpt + 16
	movl $scratch, %ebx
	btsq $31, %rbx
	EQ(l, $0x5a5a5a5a, (%rbx))
	EQ(l, $P + W + PS + A, pdpt + 16)

	/* Rights of all levels count: U and W must be in each. */
	movl $pt2 + P + U, pd2 + 16
	leal P + W + U(%r8), %eax
	movl %eax, pt2
	movl $WIN + 0x400000, %ebx
	FAULTS(14, 3, movl %eax, (%rbx))

	/* Accessed and dirty: a read sets A in every level, a write D in the last; a fault sets neither. */
	leal P + W(%r8), %eax
	movl %eax, pt + 8 * 6
	movl $PAGE(6), %ebx
	movl (%rbx), %eax
	leal P + W + A(%r8), %eax
	EQ(l, %eax, pt + 8 * 6)
	movl %eax, (%rbx)
	leal P + W + A + D(%r8), %eax
	EQ(l, %eax, pt + 8 * 6)
	leal P(%r8), %eax
	movl %eax, pt + 8 * 7
	movl $PAGE(7), %ebx
	FAULTS(14, 3, movl %eax, (%rbx))
	testl $D, pt + 8 * 7
	jz 4f
	FAIL
4:	testl $A, pd2
	jnz 5f
	FAIL
5:
	/* CPL 3: U everywhere. */
	.macro user error, cr2, insn:vararg
	RESUME 88f
	pushq $UDATA
	pushq $user_top
	pushq $2
	pushq $UCODE64
	pushq $99f
	iretq
99:	\insn
	ud2
88:	EXC(14, \error)
	EQ(l, $99b, exc_rip)
	EQ(l, $(\cr2), exc_cr2)
	.endm
	leal P + W(%r8), %eax
	movl %eax, pt + 8 * 8
	leal P + U(%r8), %eax
	movl %eax, pt + 8 * 9
	movl $PAGE(8), %ebx
	movl $PAGE(9), %esi
	user 5, PAGE(8), movl (%rbx), %eax
	user 7, PAGE(8), movl %eax, (%rbx)
	user 7, PAGE(9)+4, movl %eax, 4(%rsi)
	movl $PAGE(0), %ebx
	user 4, PAGE(0), movl (%rbx), %eax
	user 6, PAGE(0), movl %eax, (%rbx)
	movl $PAGE(8), %ebx
	RESUME 6f
	pushq $UDATA
	pushq $user_top
	pushq $2
	pushq $UCODE64
	pushq $PAGE(8)
	iretq
6:	EXC(14, 0x15)
	EQ(l, $PAGE(8), exc_rip)

	/* SMAP: the supervisor may not touch the user's data unless AC; SMEP: nor run its code. */
	movl $pml4, %eax
	movl $7, %eax
	xorl %ecx, %ecx
	cpuid
	movl %ebx, %ebp
	/* The guest's own memory becomes the supervisor's first. */
	movl $pd, %edi
	movl $512, %ecx
7:	andl $~U, (%rdi)
	addl $8, %edi
	loop 7b
	movq %cr3, %rax
	movq %rax, %cr3
	movl $PAGE(10), %ebx
	leal P + W + U(%r9), %eax
	movl %eax, pt + 8 * 10
	testl $1 << 20, %ebp
	jz nosmap
	movq %cr4, %rax
	orl $CR4_SMAP, %eax
	movq %rax, %cr4
	FAULTS(14, 1, movl (%rbx), %eax)
	FAULTS(14, 3, movl %eax, (%rbx))
	stac
	movl (%rbx), %eax
	movl %eax, (%rbx)
	clac
	FAULTS(14, 1, movl (%rbx), %eax)
	call *%rbx /* code is SMEP's business */
nosmap:	testl $1 << 7, %ebp
	jz nosmep
	movq %cr4, %rax
	orl $CR4_SMEP, %eax
	movq %rax, %cr4
	RESUME 8f
	call *%rbx
8:	addq $8, %rsp
	EXC(14, 0x11)
	EQ(l, $PAGE(10), exc_rip)
nosmep:	movq %cr4, %rax
	andl $~(CR4_SMEP | CR4_SMAP), %eax
	movq %rax, %cr4
	call *%rbx
	jmp pass64

	.section .bss
	.balign 4096
pd2:	.skip 4096
pt:	.skip 4096
pt2:	.skip 4096
	.section .data
	.balign 4096
code:	ret
	.balign 4096
