/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locked operations at every alignment, across cache lines and pages whose second half is missing or read-only: all or nothing
 * (SDM vol. 3, 8.1.2). Comparing exchanges check for write access even when they do not write.
 */
#include "lib.inc"
#define WIN 0x40000000
	.text
	MODE 32
	.globl main
main:	movl $pd2 + P + W + U, pdpt + 8
	movl $pt + P + W + U, pd2
	movl $scratch + P + W, pt
	movl $scratch + 0x2000 + P + W, pt + 8 /* linear neighbours, physically apart */
	movl $scratch + 0x1000 + P, pt + 16 /* read-only */
	call enter_long
	MODE 64
	/* Every offset around the page boundary, 2, 4 and 8 bytes. */
	movl $WIN + 0xff0, %ebx
1:	movq $0x1122334455667788, %rax
	movq %rax, (%rbx)
	movq $0x0101010101010101, %rcx
	lock xaddq %rcx, (%rbx)
	EQ(q, %rax, %rcx)
	movq $0x1223344556677889, %rdx
	EQ(q, %rdx, (%rbx))
	movq %rdx, %rax
	movl $5, %ecx
	lock cmpxchgq %rcx, (%rbx)
	jnz no
	EQ(q, $5, (%rbx))
	lock cmpxchgl %edx, (%rbx) /* EAX differs */
	jz no
	EQ(l, $5, %eax)
	lock incw (%rbx)
	EQ(q, $6, (%rbx))
	movl $0x7777, %ecx
	xchgl %ecx, 1(%rbx)
	EQ(l, $0, %ecx)
	EQ(q, $0x777706, (%rbx))
	lock btsl $31, (%rbx)
	jc no
	lock cmpxchg8b (%rbx)
	incl %ebx
	cmpl $WIN + 0x1008, %ebx
	jne 1b
	/* CMPXCHG16B. */
	movl $WIN + 0x20, %esi
	movq $1, (%rsi)
	movq $2, 8(%rsi)
	movl $1, %eax
	movl $2, %edx
	movl $3, %ebx
	movl $4, %ecx
	lock cmpxchg16b (%rsi)
	jnz no
	EQ(q, $3, (%rsi))
	EQ(q, $4, 8(%rsi))
	lock cmpxchg16b (%rsi)
	jz no
	EQ(q, $3, %rax)
	EQ(q, $4, %rdx)
	FAULTS(13, 0, lock cmpxchg16b 8(%rsi))
	/* Into a read-only page, and across into one: a write fault, and nothing has changed. */
	movl $WIN + 0x2000, %esi
	movl $9, %eax
	FAULTS(14, 3, lock cmpxchgl %ecx, (%rsi)) /* though it would not store */
	EQ(l, $WIN + 0x2000, exc_cr2)
	movl $0x44444444, WIN + 0x1ffc
	FAULTS(14, 3, lock addq $1, -4(%rsi))
	EQ(l, $WIN + 0x2000, exc_cr2)
	EQ(l, $0x44444444, WIN + 0x1ffc)
	FAULTS(14, 3, xchgl %ecx, -2(%rsi))
	EQ(l, $4, %ecx)
	/* And into nothing. */
	FAULTS(14, 2, lock incl WIN + 0x2fff + 1)
	/* LOCK is undefined without a memory destination, or on what cannot have it. */
	FAULTS(6, 0, .byte 0xf0, 0x89, 0x06)
	FAULTS(6, 0, .byte 0xf0, 0x39, 0x06)
	FAULTS(6, 0, .byte 0xf0, 0x0f, 0xa3, 0x06)
	FAULTS(6, 0, .byte 0xf0, 0x87, 0xc8)
	jmp pass64
no:	FAIL

	.section .bss
	.balign 4096
pd2:	.skip 4096
pt:	.skip 4096
