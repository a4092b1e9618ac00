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

	/* R13 = what function ECX makes of it. */
reckon:	movl %ecx, %edx
	testl $CHANGED - 1, %ecx
	jnz 4f
	addl more, %edx
4:	addl %edx, %r13d
	testl $4, %r13d
	jz 5f
	xorl $0x5a5a, %r13d
	leal 3(%r13, %r13, 2), %r13d
5:	rorl $7, %r13d
	ret

	/* Does its part, and has its neighbour do its own. ESI leads to 0 the first time, 1 the second. */
template:
	.byte 0x05 /* addl $number, %eax */
number:	.long 0
	testl $4, %eax
	jz 6f
	xorl $0x5a5a, %eax
	leal 3(%rax, %rax, 2), %eax
6:	rorl $7, %eax
	xorl $1, (%rsi)
	jnz 7f
	ret
7:	.byte 0xe9 /* jmp to the neighbour */
follower: .long EACH - (8f - template)
8:
template_end:
	.data
more:	.long 0
