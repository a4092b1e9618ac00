/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four CPUs change each other's code while all of them run it (SDM vol. 3, 8.1.3). Each owns two functions in a page that all functions share: MOV
 * EAX, n; RET. Now and then it makes n larger, runs the function at once (its own stores a CPU sees), and tells the others the number. They
 * serialize and call: what comes is never less than what they were told, and of the function that they called. There are three ways to
 * call: a direct call from another page, a jump inside the page, and an indirect call.
 * cpus: 4
 * timeout: 120
 */
#include "lib.inc"
#define CPUS	  4
#define FUNCTIONS (2 * CPUS)
#define ROUNDS	  8000
#define EVERY	  8 /* rounds a change */
#include "smp.inc"

	.data
	.balign 64
told:	.fill FUNCTIONS, 8, 0 /* in bits 8 and up; below is the function's number */
	.bss
	.balign 4096
code:	.skip 4096 /* function k at 64 k + 3, so that its constant is aligned; a jump to it at 64 k + 32 */

	.text
	MODE 32
	.globl main
main:	map_apic
	call enter_long
	MODE 64
	xorl %ecx, %ecx
	movl $code, %edi
1:	movb $0xb8, 3(%rdi)
	movl %ecx, 4(%rdi)
	movb $0xc3, 8(%rdi)
	movb $0xe9, 32(%rdi)
	movl $3 - 37, 33(%rdi)
	movl %ecx, told(, %rcx, 8)
	addl $64, %edi
	incl %ecx
	cmpl $FUNCTIONS, %ecx
	jne 1b
	start_cpus

work:	call barrier
	xorl %r12d, %r12d
round:	testl $EVERY - 1, %r12d
	jnz 1f
	leal (%rbx, %rbx), %ecx
	call change
	leal 1(%rbx, %rbx), %ecx
	call change
1:	xorl %ecx, %ecx
2:	call look
	incl %ecx
	cmpl $FUNCTIONS, %ecx
	jne 2b
	incl %r12d
	cmpl $ROUNDS, %r12d
	jne round
	call barrier
	testl %ebx, %ebx
	jz pass64
	cli
3:	hlt
	jmp 3b

	/* Function ECX, this CPU's own. */
change:	movl %ecx, %edi
	shll $6, %edi
	leal code + 3(%rdi), %edi
	movl told(, %rcx, 8), %r13d
	addl $0x100, %r13d
	movl %r13d, 1(%rdi)
	call *%rdi
	EQ(l, %r13d, %eax)
	movl %r13d, told(, %rcx, 8)
	ret

	/* Function ECX, whoever's. */
look:	movl told(, %rcx, 8), %r13d
	movl %ecx, %r14d
	movl %ebx, %r15d
	xorl %eax, %eax
	cpuid
	movl %r14d, %ecx
	movl %r15d, %ebx
	movl %ecx, %edi
	shll $6, %edi
	leal code + 3(%rdi), %esi
	call *%rsi
	call right
	leal code + 32(%rdi), %esi
	call *%rsi
	call right
	jmp *ways(, %rcx, 8)
	.balign 16
	.set k, 0
first:	.rept FUNCTIONS
	.balign 16
	call code + 64 * k + 3
	call right
	ret
	.set k, k + 1
	.endr

right:	EQ(b, %cl, %al)
	cmpl %r13d, %eax
	jae 1f
	FAIL
1:	ret

	.data
	.balign 8
	/* Where `look` goes on for each function: the calls are as long as each other. */
ways:	.set k, 0
	.rept FUNCTIONS
	.quad first + 16 * k
	.set k, k + 1
	.endr
