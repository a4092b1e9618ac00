/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops that access one page so often that engines have made a shortcut of its translation, which is made untrue then by each means there
 * is: INVLPG, CR3, CR4.PGE, INVPCID, fewer rights, CR0.WP, RFLAGS.AC under SMAP, another privilege, a data breakpoint; and pages that
 * get code, so that stores to them must be seen. The very next access must see it (SDM vol. 3, 4.10.4), and nothing reach the page
 * that was there before.
 */
#include "lib.inc"
#define OFTEN 200
#define ROUNDS 24
#define WIN 0x40000000
#define PAGE(n) pages + 0x1000 * (n)

	.text
	MODE 32
	.globl main
main:	movl $pd_w + P + W + U, pdpt + 8
	movl $pt + P + W + U, pd_w
	call enter_long
	MODE 64
	movl $WIN, %ebx
	xorl %r12d, %r12d	/* the page behind it */
	/* How it is flushed: R13, with R15 for what INVPCID's number is. */
	movl $kinds, %r13d
	movl $7, %eax
	xorl %ecx, %ecx
	cpuid
	movl %ebx, %r15d
	movl $WIN, %ebx
each:	movl (%r13), %eax
	cmpl $flush_invpcid, %eax
	jne 1f
	testl $1 << 10, %r15d
	jz 3f
1:	movl $ROUNDS, %ebp
2:	call warm
	movl %r12d, %r14d
	incl %r12d
	andl $15, %r12d
	movl (%r13), %eax
	call *%rax
	call work
	decl %ebp
	jnz 2b
3:	addl $4, %r13d
	cmpl $kinds_end, %r13d
	jne each

	/* ---- rights: taken away, and what is read goes on being read ---- */
	movl $ROUNDS, %ebp
1:	call warm
	btrq $1, pt
	invlpg (%rbx)
	RESUME 2f
	call use
	FAIL
2:	EXC(14, 3)
	EQ(l, $use_store, exc_rip)
	movl $stack_top, %esp
	movl %r12d, %eax
	call look
	decl %ebp
	jnz 1b
	movl $ROUNDS, %ebp
1:	call warm
	movq $0, pt
	movq %cr3, %rax
	movq %rax, %cr3
	RESUME 2f
	call use
	FAIL
2:	EXC(14, 0)
	EQ(l, $use, exc_rip)
	movl $stack_top, %esp
	decl %ebp
	jnz 1b
	/* CR0.WP. */
	movl $ROUNDS, %ebp
1:	movq %cr0, %rax
	btrq $16, %rax
	movq %rax, %cr0
	call map
	btrq $1, pt
	invlpg (%rbx)
	call work
	call work
	movq %cr0, %rax
	btsq $16, %rax
	movq %rax, %cr0
	RESUME 2f
	call use
	FAIL
2:	EXC(14, 3)
	EQ(l, $use_store, exc_rip)
	movl $stack_top, %esp
	decl %ebp
	jnz 1b

	/* ---- SMAP: the page is a program's ---- */
	testl $1 << 20, %r15d
	jz no_smap
	/* No other page is. */
	movl $512, %ecx
	movl $pd, %edi
1:	btrq $2, (%rdi)
	addl $8, %edi
	decl %ecx
	jnz 1b
	movq %cr4, %rax
	orl $CR4_SMAP, %eax
	movq %rax, %cr4
	movl $ROUNDS, %ebp
1:	stac
	call warm
	clac
	RESUME 2f
	call use
	FAIL
2:	EXC(14, 1)
	EQ(l, $use, exc_rip)
	RESUME 2f
	movl $OFTEN, %ecx
	call use_loop
	FAIL
2:	EXC(14, 1)
	EQ(l, $use_loop, exc_rip)
	movl $stack_top, %esp
	/* One of its own behind the same address; then that one's again. */
	btrq $2, pt
	invlpg (%rbx)
	call work
	call work
	btsq $2, pt
	invlpg (%rbx)
	RESUME 2f
	call use
	FAIL
2:	EXC(14, 1)
	movl $stack_top, %esp
	decl %ebp
	jnz 1b
	movq %cr4, %rax
	andl $~CR4_SMAP, %eax
	movq %rax, %cr4
	movl $512, %ecx
	movl $pd, %edi
1:	btsq $2, (%rdi)
	addl $8, %edi
	decl %ecx
	jnz 1b
	movq %cr3, %rax
	movq %rax, %cr3
no_smap:

	/* ---- privilege: the supervisor's page, and the user who runs the same code ---- */
	movl $ROUNDS, %ebp
1:	call warm
	RESUME 2f
	pushq $UDATA
	pushq $user_top
	pushq $2
	pushq $UCODE64
	pushq $user
	iretq
2:	EXC(3, 0)
	movl $DATA32, %eax
	movl %eax, %ds
	btrq $2, pt
	invlpg (%rbx)
	call work
	RESUME 2f
	pushq $UDATA
	pushq $user_top
	pushq $2
	pushq $UCODE64
	pushq $user
	iretq
2:	EXC(14, 5)
	EQ(l, $use_loop, exc_rip)
	movl $DATA32, %eax
	movl %eax, %ds
	decl %ebp
	jnz 1b

	/* ---- a data breakpoint ---- */
	movl $ROUNDS, %ebp
1:	call warm
	leaq 16(%rbx), %rax
	movq %rax, %dr0
	movl $0x90202, %eax	/* four bytes, written; G0 */
	movq %rax, %dr7
	RESUME 2f
	call use
	FAIL
2:	EXC(1, 0)
	EQ(l, $use_next, exc_rip)
	xorl %eax, %eax
	movq %rax, %dr7
	movl $stack_top, %esp
	decl %ebp
	jnz 1b

	/* ---- a row of pages, one of which changes: by INVLPG of it; by CR3, while the others are global ---- */
	movq %cr4, %rax
	orl $CR4_PGE, %eax
	movq %rax, %cr4
	movl $ROUNDS, %ebp
1:	xorl %r9d, %r9d
	call row
	call walk
	call walk
	movl $8, %r9d
	movl $PAGE(8) + P + W + U, pt + 8 * 18
	testb $1, %bpl
	jz 2f
	invlpg WIN + 0x12000
	jmp 3f
2:	movq %cr3, %rax
	movq %rax, %cr3
3:	call walk
	movl $PAGE(2) + P + W + U, pt + 8 * 18
	movl $PAGE(9) + P + W + U + G, pt + 8 * 17
	invlpg WIN + 0x12000
	invlpg WIN + 0x11000
	movl $10, %r9d
	call walk
	decl %ebp
	jnz 1b
	movq %cr4, %rax
	andl $~CR4_PGE, %eax
	movq %rax, %cr4

	/* ---- pages get code: functions behind loops that write them ---- */
	movl $ROUNDS * 4, %ebp
1:	incl %r12d
	andl $15, %r12d
	call map
	invlpg (%rbx)
	movl %ebp, %edi
	call write
	leaq 64(%rbx), %r8
	call *%r8
	EQ(l, %ebp, %eax)
	leal 0x1000(%rbp), %edi
	call write
	call *%r8
	leal 0x1000(%rbp), %edi
	EQ(l, %edi, %eax)
	/* By another address. */
	movl %r12d, %r9d
	shll $12, %r9d
	addl $pages + 64, %r9d
	leal 0x2000(%rbp), %edi
	call write
	call *%r9
	leal 0x2000(%rbp), %edi
	EQ(l, %edi, %eax)
	decl %ebp
	jnz 1b
	jmp pass64

	/* ---- WIN leads to page R12 ---- */
map:	movl %r12d, %eax
	shll $12, %eax
	leaq pages + P + W + U(%rax), %rax
	movq %rax, pt
	ret
flush_page:
	call map
	invlpg 0x321(%rbx)
	ret
flush_cr3:
	call map
	movq %cr3, %rax
	movq %rax, %cr3
	ret
	/* A global page, with CR4.PGE. */
flush_pge:
	movq %cr4, %rax
	orl $CR4_PGE, %eax
	movq %rax, %cr4
	btsq $8, pt
	pushq %r12
	movl %r14d, %r12d
	call work
	call work
	popq %r12
	call map
	movq %cr4, %rax
	andl $~CR4_PGE, %eax
	movq %rax, %cr4
	ret
flush_invpcid:
	call map
	movl %ebp, %eax
	andl $3, %eax
	movq %rbx, descriptor + 8
	invpcid descriptor, %rax
	ret
	/* The level above it leads to another table. */
flush_pd:
	call map
	movq pt, %rax
	movq %rax, pt2
	movl $pt2 + P + W + U, pd_w
	movq %cr3, %rax
	movq %rax, %cr3
	call work
	movl $pt + P + W + U, pd_w
	movq $0, pt2
	movq %cr3, %rax
	movq %rax, %cr3
	ret

	/* Pages 0 to 3 behind WIN + 10000h, all but the third global. */
row:	movl $PAGE(0) + P + W + U + G, pt + 8 * 16
	movl $PAGE(1) + P + W + U + G, pt + 8 * 17
	movl $PAGE(2) + P + W + U, pt + 8 * 18
	movl $PAGE(3) + P + W + U + G, pt + 8 * 19
	invlpg WIN + 0x10000
	invlpg WIN + 0x11000
	invlpg WIN + 0x12000
	invlpg WIN + 0x13000
	ret
	/* Counts up in them; R9: 0, or 8: the third is page 8, or 10: the second is page 9. What is behind it now counts alone. */
walk:	movl $16, %edi
1:	movl $WIN + 0x10000, %r8d
	movl $64, %ecx
2:	incq (%r8)
	addq $256, %r8
	decl %ecx
	jnz 2b
	decl %edi
	jnz 1b
	addl $16, counted
	addl $16, counted + 12
	testl %r9d, %r9d
	jnz 3f
	addl $16, counted + 4
	addl $16, counted + 8
3:	cmpl $8, %r9d
	jne 3f
	addl $16, counted + 4
	addl $16, counted + 16
3:	cmpl $10, %r9d
	jne 3f
	addl $16, counted + 8
	addl $16, counted + 20
3:	xorl %ecx, %ecx
4:	movl row_pages(, %rcx, 4), %edi
	movl counted(, %rcx, 4), %eax
	EQ(l, %eax, 0xf00(%rdi))
	incl %ecx
	cmpl $6, %ecx
	jne 4b
	ret

	/* Hot, with page R12 there. */
warm:	call map
	invlpg (%rbx)
	call work
	call work
	call work
	ret

	/* What use does to page R12: checked at the page's own address; no other page has changed. */
work:	movl %r12d, %r9d
	shll $12, %r9d
	addl $pages, %r9d
	movq %r12, (%r9)
	movq $0, 8(%r9)
	movq $0, 16(%r9)
	movl %r14d, %r8d
	shll $12, %r8d
	movq pages + 16(%r8), %r8
	call use
	EQ(l, $1, 8(%r9))
	EQ(q, $OFTEN, 16(%r9))
	imull $OFTEN, %r12d, %eax
	EQ(q, %rax, %rdx)
	cmpl %r14d, %r12d
	je 1f
	movl %r14d, %eax
	shll $12, %eax
	EQ(q, %r8, pages + 16(%rax))
1:	ret

use:	movq (%rbx), %rdx
	xorl %edx, %edx
	movl $OFTEN, %ecx
use_loop:
	movq (%rbx), %rax
	addq %rax, %rdx
use_store:
	movq %rcx, 8(%rbx)
	incq 16(%rbx)
use_next:
	decl %ecx
	jnz use_loop
	ret
	/* Loads alone; EAX is what there is. */
look:	movl $OFTEN, %ecx
1:	cmpl %eax, (%rbx)
	jne 2f
	decl %ecx
	jnz 1b
	ret
2:	FAIL
user:	movl $OFTEN, %ecx
	call use_loop
	int3

	/* MOV EAX, EDI; RET behind WIN + 64, again and again. */
write:	movl $OFTEN, %ecx
	movl %edi, %edx
	shlq $8, %rdx
	orq code, %rdx
1:	movq %rdx, 64(%rbx)
	decl %ecx
	jnz 1b
	ret

	.data
	.balign 8
code:	.byte 0xb8, 0, 0, 0, 0, 0xc3, 0, 0
row_pages: .long PAGE(0), PAGE(1), PAGE(2), PAGE(3), PAGE(8), PAGE(9)
counted: .skip 24
kinds:	.long flush_page, flush_cr3, flush_pge, flush_invpcid, flush_pd
kinds_end:
	.balign 16
descriptor: .quad 0, 0
	.bss
	.balign 4096
pd_w:	.skip 4096
pt:	.skip 4096
pt2:	.skip 4096
pages:	.skip 4096 * 16
