/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that changes itself: the next instruction, the same page, another page, an instruction across two pages, through another linear
 * address, by a string instruction, and a loop whose body is rewritten while hot. A processor that finds the store in its
 * pipeline starts over (SDM vol. 3, 11.6); a jump follows each store where the manual asks for one, but the first two.
 */
#include "lib.inc"
#define WIN 0x40000000
	.text
	MODE 32
	.globl main
main:	movl $pd2 + P + W + U, pdpt + 8
	movl $pt + P + W + U, pd2
	movl $area + P + W, pt
	movl $area + 0x1000 + P + W, pt + 8
	call enter_long
	MODE 64
	/* The very next instruction: MOV EAX, 1 becomes MOV EAX, 2. */
	movl $100, %ecx
	xorl %edx, %edx
1:	movb %cl, next + 1
next:	movl $0, %eax
	EQ(l, %ecx, %eax)
	decl %ecx
	jnz 1b

	/* Same page, further on, in a hot loop. */
	movl $0, %ecx
2:	movl %ecx, %eax
	andl $0x7f, %eax
	movb %al, patch + 2
	jmp 3f
	.skip 40, 0x90
3:	xorl %eax, %eax
patch:	addl $0, %eax /* 83 C0 ib */
	movl %ecx, %edx
	andl $0x7f, %edx
	EQ(l, %edx, %eax)
	incl %ecx
	cmpl $2000, %ecx
	jne 2b

	/* Another page: a function is written, called, rewritten. */
	movl $area, %ebx
	movl $0, %ecx
4:	movb $0xb8, (%rbx) /* MOV EAX, imm32; RET */
	movl %ecx, 1(%rbx)
	movb $0xc3, 5(%rbx)
	call *%rbx
	EQ(l, %ecx, %eax)
	incl %ecx
	cmpl $300, %ecx
	jne 4b

	/* Across two pages: opcode and two bytes here, the rest there. The second page is rewritten, then the first. */
	movl $area + 0xffd, %ebx
	movl $0x0000b8, %eax
	movl $0, %ecx
5:	movb $0xb8, (%rbx)
	movw %cx, 1(%rbx)
	movw $0, 3(%rbx)
	movb $0xc3, 5(%rbx)
	call *%rbx
	EQ(l, %ecx, %eax)
	movb $0x55, 4(%rbx)
	call *%rbx
	movl %ecx, %edx
	orl $0x55000000, %edx
	EQ(l, %edx, %eax)
	movb $0xb9, (%rbx) /* now MOV ECX */
	pushq %rcx
	call *%rbx
	movl %ecx, %edx
	popq %rcx
	movl %ecx, %esi
	orl $0x55000000, %esi
	EQ(l, %esi, %edx)
	incl %ecx
	cmpl $100, %ecx
	jne 5b

	/* Through another linear address of the same memory. */
	movl $0, %ecx
	movl $area, %ebx
	movb $0xb8, (%rbx)
	movb $0xc3, 5(%rbx)
6:	movl %ecx, WIN + 1
	call *%rbx
	EQ(l, %ecx, %eax)
	movl $WIN, %esi
	call *%rsi
	EQ(l, %ecx, %eax)
	incl %ecx
	cmpl $100, %ecx
	jne 6b

	/* By a string instruction that overwrites the code behind itself, and by a locked one. */
	movl $with, %esi
	movl $strnext, %edi
	movl $5, %ecx
	cld
	rep movsb
strnext: movl $1, %eax
	EQ(l, $2, %eax)
	movl $0x01000000, %eax
	lock xaddl %eax, lockpatch + 1
lockpatch: movl $3, %eax
	EQ(l, $0x01000003, %eax)
	/* An SSE store. */
	movups newcode, %xmm0
	movups %xmm0, ssepatch
ssepatch: movl $1, %eax
	.skip 11, 0x90
	EQ(l, $9, %eax)
	/* A branch that becomes none, and one that turns round. */
	movl $0, %ecx
7:	xorl %eax, %eax
	movb $0xeb, branch
	call turn
	EQ(l, $1, %eax)
	movb $0x90, branch
	movb $0x90, branch + 1
	call turn
	EQ(l, $2, %eax)
	movb $8, branch + 1
	incl %ecx
	cmpl $50, %ecx
	jne 7b
	/* A call's target is rewritten while its return address is on the stack. */
	call self
	EQ(l, $7, %eax)
	jmp pass64
turn:	xorl %eax, %eax
branch:	jmp 8f
	.byte 0xb8, 2, 0, 0, 0 /* MOV EAX, 2; RET */
	ret
	nop
	nop
8:	movl $1, %eax
	ret
self:	movb $7, after + 1
	movb $0xc3, self
after:	movl $0, %eax
	ret

	.section .bss
	.balign 4096
area:	.skip 2 * 4096
pd2:	.skip 4096
pt:	.skip 4096
	.section .data
with:	movl $2, %eax
newcode: movl $9, %eax
	.skip 11, 0x90
