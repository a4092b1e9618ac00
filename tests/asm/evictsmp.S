/* SPDX-License-Identifier: Apache-2.0 */
/*
 * More code than a small code cache has room for, as evict.S has it, run by four CPUs at once, each in its own order: translations go while
 * others run them, and are made again by whoever comes first. Between the rounds one CPU changes some of the functions.
 * cpus: 4
 * timeout: 120
 */
#include "lib.inc"
#define CPUS 4
#define CODE (32 << 20)
#define EACH 256		/* bytes of a function */
#define COUNT 8192		/* a power of 2 */
#define ROUNDS 3
#define CHANGED 64		/* every how many functions one is changed */
#include "smp.inc"

	.bss
	.balign 4096
flags:	.skip 4096 * CPUS

	.text
	MODE 32
	.globl main
main:	map_apic
	call enter_long
	MODE 64
	/* Functions; each knows its number. */
	movl $CODE, %edi
	xorl %ebp, %ebp
1:	movl $template, %esi
	movq %rdi, %rbx
	movl $template_end - template, %ecx
	rep movsb
	movl %ebp, number - template(%rbx)
	leaq EACH(%rbx), %rdi
	incl %ebp
	cmpl $COUNT, %ebp
	jne 1b
	/* The last one's neighbour is the first. */
	movl $-(COUNT - 1) * EACH - (template_end - template), follower - template(%rbx)

	start_cpus

work:	movl %ebx, %r10d
	shll $12, %r10d
	addl $flags, %r10d
	movl $ROUNDS, %r15d
round:	call barrier
	imull $1999, %ebx, %r14d /* which function */
	xorl %eax, %eax		/* what they compute */
	xorl %r13d, %r13d	/* what it should be */
	movl $COUNT, %r12d
2:	movl %r14d, %edi
	imull $EACH, %edi, %edi
	addl $CODE, %edi
	movl %r10d, %esi
	callq *%rdi
	/* The same of this one and its neighbour: numbers come from data. */
	movl %r14d, %ecx
	call reckon
	leal 1(%r14), %ecx
	andl $COUNT - 1, %ecx
	call reckon
	EQ(l, %r13d, %eax)
	/* All of them, without pattern. */
	imull $1664525, %r14d, %r14d
	addl $1013904223, %r14d
	andl $COUNT - 1, %r14d
	decl %r12d
	jnz 2b
	call barrier
	testl %ebx, %ebx
	jnz 4f
	/* Some are other ones now. */
	xorl %ecx, %ecx
3:	imull $EACH, %ecx, %edi
	addl $0x10000, CODE + (number - template)(%rdi)
	addl $CHANGED, %ecx
	cmpl $COUNT, %ecx
	jb 3b
	addl $0x10000, more
4:	decl %r15d
	jnz round
	call barrier
	testl %ebx, %ebx
	jz pass64
	cli
5:	hlt
	jmp 5b

#include "functions.inc"
	.data
more:	.long 0
