/* SPDX-License-Identifier: Apache-2.0 */
/*
 * More code than a small code cache has room for: thousands of functions, each of several blocks and with jumps to its neighbours, called
 * in an order without pattern, some of them changed from round to round. What they compute is computed without them too. It is run with a
 * cache that drops translations all the time.
 */
#include "lib.inc"
#define CODE (32 << 20)
#define EACH 256		/* bytes of a function */
#define COUNT 8192		/* a power of 2 */
#define ROUNDS 6
#define CHANGED 64		/* every how many functions one is changed */
	.text
	MODE 32
	.globl main
main:	call enter_long
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

	movl $ROUNDS, %r15d
round:	xorl %r14d, %r14d	/* which function */
	xorl %eax, %eax		/* what they compute */
	xorl %r13d, %r13d	/* what it should be */
	movl $COUNT, %r12d
2:	movl %r14d, %ebx
	imull $EACH, %ebx, %ebx
	addl $CODE, %ebx
	movl $scratch, %esi
	callq *%rbx
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
	/* Some are other ones now. */
	xorl %ecx, %ecx
3:	imull $EACH, %ecx, %ebx
	addl $0x10000, CODE + (number - template)(%rbx)
	addl $CHANGED, %ecx
	cmpl $COUNT, %ecx
	jb 3b
	addl $0x10000, more
	decl %r15d
	jnz round
	jmp pass64

#include "functions.inc"
	.data
more:	.long 0
