/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where time is the count of instructions, a timer goes off at its instruction: set from the middle of a block and due in a loop, in code that
 * runs often, for each of many delays. A nanosecond is an instruction, and so is the delivery of an interrupt. Of the translator alone: others
 * look for interrupts less often.
 * options: --deterministic
 */
#include "lib.inc"
#include "timing.inc"
#define OFTEN 3000
#define VECTOR 0x40
#define DELAY 100
	.text
	MODE 32
	.globl main
main:	call enter_long
	MODE 64
	APIC_ON

	movl $tick, %eax
	movw %ax, idt64 + 16 * VECTOR
	shrl $16, %eax
	movw %ax, idt64 + 16 * VECTOR + 6
	movl $VECTOR, 0x320(%rsi)
	sti
	movl $OFTEN, %ebp
1:	movq $0, ticked
	NOW
	movq %rax, %r8
	leal DELAY(%rbp), %ebx
	movl %ebx, 0x380(%rsi)
2:	incl %ecx
	cmpq $0, ticked
	je 2b
	movq ticked, %rax
	subq %r8, %rax
	addl $6, %ebx
	EQ(l, %ebx, %eax)
	decl %ebp
	jnz 1b
	jmp pass64

tick:	pushq %rax
	pushq %rdx
	NOW
	subq $2, %rax
	movq %rax, ticked
	movl $0, 0xb0(%rsi)
	popq %rdx
	popq %rax
	iretq

	.data
	.balign 8
ticked:	.quad 0
	.bss
	.balign 4096
pd_apic: .skip 4096
