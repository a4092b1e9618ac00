/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of functions whose first instruction is a load, each called so often that engines make shortcuts of it; then each, the last first,
 * with an address that these cannot serve, one after the other and nothing else between. It is run with a cache of code that is too
 * small for all, so that it gets full just where a shortcut is left.
 */
#include "lib.inc"
#define CODE (32 << 20)
#define EACH 16		/* bytes of a function */
#define COUNT 4096	/* they end with the 64 KiB that they begin in */
#define OFTEN 1500
	.text
	MODE 32
	.globl main
main:	call enter_long
	MODE 64
	movl $CODE, %edi
	movl $COUNT, %ecx
1:	movl $function, %esi
	movq (%rsi), %rax
	movq %rax, (%rdi)
	addl $EACH, %edi
	decl %ecx
	jnz 1b
	movabs $0x1122334455667788, %rax
	movq %rax, scratch
	movq %rax, scratch + 4092

	xorl %r13d, %r13d
2:	movl %r13d, %r8d
	imull $EACH, %r8d, %r8d
	addl $CODE, %r8d
	movl $scratch, %ebx
	movl $OFTEN, %ebp
3:	call *%r8
	decl %ebp
	jnz 3b
	incl %r13d
	cmpl $COUNT, %r13d
	jne 2b

	movl $scratch + 4092, %ebx
	movabs $0x1122334455667789, %r12
4:	decl %r13d
	js 5f
	movl %r13d, %r8d
	imull $EACH, %r8d, %r8d
	addl $CODE, %r8d
	call *%r8
	EQ(q, %r12, %rax)
	jmp 4b
5:	jmp pass64

	.balign 8
function: movq (%rbx), %rax
	incq %rax
	ret
	.skip 8
