/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that contend for one place: in the TLB, where those 8 and 16 MiB apart share a pair of entries, and in what engines remember of the
 * stack, where it goes to and fro over the border of two pages. Used in turn so often that engines have made shortcuts of them, then
 * mapped elsewhere, made read-only, taken away: INVLPG of one must be seen by the next access to it, and change nothing about the other;
 * a load of CR3 is for both. By the supervisor and, the stack, by the user.
 */
#include "lib.inc"
#define FEW 200
#define OFTEN 3000
#define WIN 0x40000000
#define WIN_A WIN
#define WIN_B WIN + (16 << 20)	/* A's place */
#define WIN_C WIN + (8 << 20)	/* the other one of the pair */
#define STACK WIN + 0x5000	/* the border of two pages */
#define OTHER WIN + 0x8000	/* another stack's */
#define PAGE(n) pages + 0x1000 * (n)
#define PTE(n) PAGE(n) + P + W + U
#define SET(pte, value) movq $(value), pte
#define FRESH(gla) invlpg gla
	.text
	MODE 32
	.globl main
main:	movl $pd_w + P + W + U, pdpt + 8
	movl $pt_a + P + W + U, pd_w
	movl $pt_b + P + W + U, pd_w + 8 * 8
	movl $pt_c + P + W + U, pd_w + 8 * 4
	call enter_long
	MODE 64
	movq $fault_top, tss64 + 0x24 /* IST 1 */
	movb $1, idt64 + 14 * 16 + 4

	movq %cr4, %rax
	orl $CR4_PGE, %eax
	movq %rax, %cr4

	/* ---- the TLB: as code that runs now and then, as hot code with time between the changes, and with less than shortcuts are good for ---- */
	xorl %r14d, %r14d
	movl $FEW, %ebp
	call contend
	movl $31, %r14d
	movl $OFTEN, %ebp
	call contend
	xorl %r14d, %r14d
	movl $OFTEN, %ebp
	call contend

	/* ---- the supervisor's stack ---- */
	movl $FEW, %ebp
	call stacks
	movl $OFTEN, %ebp
	call stacks

	/* ---- the user's: RBP times; R12, R13: the pages of RAM at both sides ---- */
	movl $FEW, %ebp
	movl $4, %r12d
	movl $5, %r13d
1:	movl %r12d, %eax
	movl $pt_a + 8 * 4, %edi
	call map
	movl %r13d, %eax
	movl $pt_a + 8 * 5, %edi
	call map
	FRESH(STACK - 1)
	testb $1, %bpl
	jz 2f
	FRESH(STACK)
	jmp 3f
2:	movq %cr3, %rax
	movq %rax, %cr3
3:	RESUME 5f
	pushq $UDATA
	pushq $STACK + 16
	pushq $2
	pushq $UCODE64
	pushq $user
	iretq
5:	EXC(3, 0)
	movl $DATA32, %eax
	movl %eax, %ds
	call check
	/* Read-only below the border. */
	testb $7, %bpl
	jnz 6f
	btrq $1, pt_a + 8 * 4
	FRESH(STACK - 1)
	RESUME 5f
	pushq $UDATA
	pushq $STACK + 16
	pushq $2
	pushq $UCODE64
	pushq $user
	iretq
5:	EXC(14, 7)
	EQ(q, $STACK - 8, exc_cr2)
	EQ(l, $user_third, exc_rip)
	EQ(q, $STACK, exc_rsp)
	movl $DATA32, %eax
	movl %eax, %ds
6:	xchgl %r12d, %r13d
	xorl $2, %r12d
	decl %ebp
	jnz 1b
	jmp pass64

	/* What the user does: RBP pushed so that the border is in the middle. */
user:	movl $40, %ecx
7:	pushq %rbp
	pushq $2
user_third:
	pushq %rcx
	call 8f
	popq %rax
	popq %rdx
	popq %rbx
	decl %ecx
	jnz 7b
	int3
8:	ret

	/* The border's words, in pages R12 below and R13 above it: RBP, 2 | 1, the last return address. */
check:	movl %r12d, %eax
	shll $12, %eax
	movl %r13d, %edx
	shll $12, %edx
	EQ(q, %rbp, pages + 8(%rdx))
	EQ(q, $2, pages(%rdx))
	EQ(q, $1, pages + 0xff8(%rax))
	ret

	/* The entry at RDI leads to page EAX. */
map:	shll $12, %eax
	addl $PTE(0), %eax
	movq %rax, (%rdi)
	ret

	/* RBP times, with a change where R14's bits of its are 0; R12, R13: A's and B's pages. */
contend:
	movl $0, %r12d
	movl $1, %r13d
	movb $1, stale
	SET(pt_c, PTE(7))
	movq $0x777, PAGE(7)
	movq %cr3, %rax
	movq %rax, %cr3
	movl $WIN_C, %esi
	movl $WIN_B, %edi
	movl $WIN_A, %ebx
1:	btrl $0, stale
	jc 2f
	testl %r14d, %ebp
	jnz 3f
2:	xchgl %r12d, %r13d
	xorl $2, %r12d
	movl %r12d, %eax
	pushq %rdi
	movl $pt_a, %edi
	call map
	btsq $8, pt_a	/* this one is global */
	movl %r13d, %eax
	movl $pt_b, %edi
	call map
	popq %rdi
	/* Either each by itself or, by a new CR3, the one that is not global. */
	testb $1, %r12b
	jz 2f
	FRESH((%rbx))
	FRESH(123(%rdi))
	jmp 3f
2:	movq (%rbx), %rax	/* B is the one that is displaced */
	movq %cr3, %rax
	movq %rax, %cr3
	FRESH((%rbx))
3:	movl $3, %ecx
	movq %rbp, %r11
	leaq 1(%rbp), %r15
4:	movq %rbp, (%rbx)
	movq %r11, 8(%rbx)
	movq %r15, (%rdi)
	addq %r15, (%rdi)
	movq %rcx, 8(%rdi)
	movq %rcx, 16(%rbx)
	movq (%rbx), %r8
	EQ(q, %rbp, %r8)
	movq 8(%rbx), %r15
	EQ(q, %rbp, %r15)
	movq (%rdi), %r8
	leaq 2(%rbp, %rbp), %r9
	EQ(q, %r9, %r8)
	testb $2, %bpl
	jz 9f
	movq (%rsi), %r8	/* takes the place of what was displaced */
	EQ(q, $0x777, %r8)
9:	leaq 1(%rbp), %r15
	decl %ecx
	jnz 4b
	movl %r12d, %eax
	shll $12, %eax
	EQ(q, %rbp, pages(%rax))
	EQ(q, %rbp, pages + 8(%rax))
	EQ(q, $1, pages + 16(%rax))
	movl %r13d, %eax
	shll $12, %eax
	EQ(q, %r9, pages(%rax))
	EQ(q, $1, pages + 8(%rax))
	/* B read-only, A as before; then B not there. */
	leal 7(, %r14, 8), %eax
	testl %eax, %ebp
	jnz 6f
	movb $1, stale
	btrq $1, pt_b
	FRESH((%rdi))
	movq $3, (%rbx)
	RESUME 5f
	movq %rbp, (%rdi)
	FAIL
5:	EXC(14, 3)
	EQ(q, %rdi, exc_cr2)
	EQ(q, %r9, (%rdi))
	EQ(q, $3, (%rbx))
	SET(pt_b, 0)
	FRESH((%rdi))
	EQ(q, $3, (%rbx))
	FAULTS(14, 0, movq (%rdi), %rax)
	FAULTS(14, 2, movq %rax, (%rdi))
	/* The same of A, while it is displaced. */
	SET(pt_b, PTE(6))
	movq (%rdi), %rax
	btrq $1, pt_a
	FRESH((%rbx))
	movq %rbp, (%rdi)
	FAULTS(14, 3, movq %rax, (%rbx))
6:	decl %ebp
	jnz 1b
	ret

	/* RBP times, on a stack whose pages change; in between some work on another one. */
stacks:	popq %rax
	movq %rax, back
	movl $4, %r12d
	movl $5, %r13d
	SET(pt_a + 8 * 7, PTE(8))
	SET(pt_a + 8 * 8, PTE(9))
1:	movl $stack_top, %esp
	movl %r12d, %eax
	movl $pt_a + 8 * 4, %edi
	call map
	movl %r13d, %eax
	movl $pt_a + 8 * 5, %edi
	call map
	testb $1, %bpl
	jz 2f
	FRESH(STACK - 1)
	FRESH(STACK)
	jmp 3f
2:	movq %cr3, %rax
	movq %rax, %cr3
3:	movl $OTHER + 16, %esp
	movl %ebp, %ecx
	andl $31, %ecx
	incl %ecx
4:	call push
	decl %ecx
	jnz 4b
	movl $STACK + 16, %esp
	movl $24, %ecx
4:	pushq %rbp
	pushq $2
	pushq %rcx
	call push
	popq %rax
	EQ(l, %ecx, %eax)
	popq %rax
	popq %rax
	decl %ecx
	jnz 4b
	EQ(q, $STACK + 16, %rsp)
	movl $stack_top, %esp
	call check
	/* Read-only or gone below the border, then above it. */
	testb $7, %bpl
	jnz 7f
	movl $STACK, %esp
	btrq $1, pt_a + 8 * 4
	FRESH(STACK - 8)
	FAULTS(14, 3, pushq %rax)
	EQ(q, $STACK, %rsp)
	EQ(q, $STACK - 8, exc_cr2)
	btsq $1, pt_a + 8 * 4
	FRESH(STACK - 8)
	pushq $77
	popq %rax
	EQ(q, $77, %rax)
	movl $STACK + 8, %esp
	SET(pt_a + 8 * 5, 0)
	FRESH(STACK + 8)
	FAULTS(14, 2, pushq %rax)
	FAULTS(14, 0, popq %rax)
	EQ(q, $STACK + 8, exc_cr2)
	FAULTS(14, 2, call push)
	movl $STACK - 8, %esp
	popq %rax
	EQ(q, $77, %rax)
	movl $STACK - 8, %esp
	pushq $78
	popq %rax
	EQ(q, $78, %rax)
7:	xchgl %r12d, %r13d
	xorl $2, %r12d
	decl %ebp
	jnz 1b
	movl $stack_top, %esp
	jmp *back

push:	pushq %rbx
	pushq %rdx
	popq %rdx
	popq %rbx
	ret

	.data
	.balign 8
back:	.quad 0
	.bss
	.balign 4096
stale:	.long 0
	.balign 4096
pd_w:	.skip 4096
pt_a:	.skip 4096
pt_b:	.skip 4096
pt_c:	.skip 4096
pages:	.skip 4096 * 10
	.skip 4096
fault_top:
