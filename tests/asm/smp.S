/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four CPUs: INIT and SIPI, IPIs that wake from HLT, locked and plain counters, the ordering that x86 promises (message passing, and
 * store buffering with fences and with locked instructions), another CPU's TLB after a shootdown by IPI, and code that another
 * CPU changes, after it has been told and while it runs it; all four change code of their own beside each other (SDM vol. 3, 8.1.3, 8.2.3, 8.4.4, 4.10.5).
 * cpus: 4
 * timeout: 120
 */
#include "lib.inc"
#define CPUS	 4
#define ROUNDS	 20000
#define CHANGES	 600
#define SLOW_CHANGES 16
#define RUNS	 6000	/* between two slow ones */
#define WIN	 0x40000000
#include "smp.inc"

	.data
	.balign 4096 /* a page without code: stores are fast */
locked:	.quad 0
	.balign 64
plain:	.quad 0
	.balign 64
flag:	.quad 0
	.balign 64
datum:	.quad 0
	.balign 64
x:	.quad 0
	.balign 64
y:	.quad 0
	.balign 64
saw:	.quad 0, 0, 0, 0
	.balign 64
both:	.quad 0
woken:	.long 0
flushed: .long 0
which:	.long 0
	.balign 64
runs:	.quad 0, 0, 0, 0
	.balign 4096
	.globl main
	.bss
	.balign 4096
pd1:	.skip 4096
pt:	.skip 4096
page_a:	.skip 4096
page_b:	.skip 4096
code:	.skip 4096
code_run: .skip 4096
code_own: .skip 4096

	.text
	MODE 32
main:	movl $pd1 + P + W, pdpt + 8
	movl $pt + P + W, pd1
	movl $page_a + P + W, pt
	map_apic
	call enter_long
	MODE 64
	start_cpus

	/* What all do; EBX: number. */
work:	call atomics
	call barrier
	call litmus
	call barrier
	call halts
	call barrier
	call shootdown
	call barrier
	call changed_code
	call barrier
	call changed_while_run
	call barrier
	call beside_each_other
	call barrier
	testl %ebx, %ebx
	jz 1f
	cli
2:	hlt
	jmp 2b
1:	jmp pass64

	/* The locked counter loses nothing, whatever the instruction; neither does an exchange that guards the plain one. */
atomics:
	movl $ROUNDS, %ecx
1:	lock incq locked
	lock addq $1, locked
	movl $1, %eax
	lock xaddq %rax, locked
	movq locked, %rax
2:	leaq 1(%rax), %rdx
	lock cmpxchgq %rdx, locked
	jne 2b
3:	movl $1, %eax
	xchgl %eax, flag
	testl %eax, %eax
	jz 4f
	pause
	jmp 3b
4:	incq plain
	movl $0, flag
	loop 1b
	movl phase, %esi
	call barrier
	EQ(q, $4 * ROUNDS * CPUS, locked)
	EQ(q, $ROUNDS * CPUS, plain)
	ret

	/* CPU 0 and 1. */
litmus:	cmpl $1, %ebx
	ja 9f
	je reader
	movl $1, %ecx
1:	movq %rcx, datum	/* message passing: the datum is there when the flag is */
	movq %rcx, flag
	incl %ecx
	cmpl $ROUNDS, %ecx
	jne 1b
	jmp 2f
reader:	xorl %edx, %edx
1:	movq flag, %rax
	movq datum, %rcx
	cmpq %rax, %rcx
	jb 8f
	cmpl $ROUNDS - 1, %eax
	jne 1b
	/* Store buffering: with a fence or a locked instruction between store and load, not both read zero. */
2:	movl $ROUNDS / 4, %ecx
3:	call pair
	testl %ebx, %ebx
	jnz 4f
	movq $1, x
	testl $1, %ecx
	jz 5f
	mfence
	jmp 6f
5:	lock orl $0, -8(%rsp)
6:	movq y, %rax
	movq %rax, saw
	jmp 7f
4:	movq $1, y
	testl $1, %ecx
	jz 5f
	mfence
	jmp 6f
5:	lock orl $0, -8(%rsp)
6:	movq x, %rax
	movq %rax, saw + 8
7:	call pair
	movq saw, %rax
	orq saw + 8, %rax
	jz 8f
	call pair
	testl %ebx, %ebx
	jnz 7f
	movq $0, x
	movq $0, y
7:	decl %ecx
	jnz 3b
9:	ret
8:	FAIL

	/* The two meet. */
pair:	movl both + 4, %edx
	movl $1, %eax
	lock xaddl %eax, both
	testl %eax, %eax
	jz 1f
	movl $0, both
	incl both + 4
	ret
1:	pause
	cmpl %edx, both + 4
	je 1b
	ret

	/* CPU 0 wakes each of the others a hundred times from HLT. */
halts:	testl %ebx, %ebx
	jz 2f
	movl $100, %ecx
1:	sti
	hlt
	cli
	lock incl woken
	loop 1b
	ret
2:	xorl %ecx, %ecx
3:	movl $0xc4000 + 0x40, 0x300(%r8)
	movl woken, %eax
	movl $20000, %edx
4:	pause
	cmpl $100 * (CPUS - 1), woken
	je 5f
	decl %edx
	jnz 4b
	jmp 3b
5:	ret

	/* CPU 1 reads a page that CPU 0 maps elsewhere; what it read before the answer to the IPI may be old, after it not. */
shootdown:
	cmpl $1, %ebx
	ja 9f
	je 2f
	movq $0xaa, page_a
	movq $0xbb, page_b
	call pair
	xorl %ecx, %ecx
1:	call pair
	movl $page_b + P + W, pt
	movl $1, which
	WAIT(flushed, 1)
	call pair
	movl $page_a + P + W, pt
	invlpg WIN
	movl $0, flushed
	call pair
	incl %ecx
	cmpl $200, %ecx
	jne 1b
	ret
2:	call pair	/* the pages are filled */
	xorl %ecx, %ecx
3:	invlpg WIN
	EQ(q, $0xaa, WIN)
	call pair
	WAIT(which, 1)
	movl $0, which
	invlpg WIN
	EQ(q, $0xbb, WIN)
	movl $1, flushed
	call pair
	call pair
	incl %ecx
	cmpl $200, %ecx
	jne 3b
9:	ret

	/* CPU 0 writes MOV EAX, n; RET where CPU 1 has executed it before; CPU 1 serializes, and jumps there. */
changed_code:
	cmpl $1, %ebx
	ja 9f
	movl $1, %ecx
	movl $code, %esi
1:	testl %ebx, %ebx
	jnz 2f
	movb $0xb8, (%rsi)
	movl %ecx, 1(%rsi)
	movb $0xc3, 5(%rsi)
	movl %ecx, datum
	jmp 3f
2:	pause
	cmpl %ecx, datum
	jne 2b
	pushq %rcx
	pushq %rbx
	xorl %eax, %eax
	cpuid
	popq %rbx
	popq %rcx
	movl $code, %esi
	call *%rsi
	EQ(l, %ecx, %eax)
	call *%rsi
	EQ(l, %ecx, %eax)
3:	call pair
	incl %ecx
	cmpl $500, %ecx
	jne 1b
9:	ret

	/* CPU 0 changes the immediate of MOV EAX, n; RET, all of it at once, while the others execute it: none ever sees what was before what
	 * it has seen, and all see the last in the end. At first it waits until each has executed the new one often, as engines make no shortcut
	 * of code while it is written; then not. */
changed_while_run:
	movl $code_run, %esi
	testl %ebx, %ebx
	jnz 4f
	movb $0xb8, 3(%rsi)
	movl $1, 4(%rsi)
	movb $0xc3, 8(%rsi)
	movq $0, runs + 8
	movq $0, runs + 16
	movq $0, runs + 24
	call barrier
	movl $2, %ecx
1:	movl %ecx, 4(%rsi)
	cmpl $SLOW_CHANGES, %ecx
	ja 3f
	movl $1, %edx
2:	movq runs(, %rdx, 8), %rax
	addq $RUNS, %rax
5:	pause
	cmpq %rax, runs(, %rdx, 8)
	jb 5b
	incl %edx
	cmpl $CPUS, %edx
	jne 2b
3:	incl %ecx
	cmpl $CHANGES + 1, %ecx
	jne 1b
	ret
4:	call barrier
	movl $code_run + 3, %esi
	xorl %ecx, %ecx
5:	call *%rsi
	incq runs(, %rbx, 8)
	cmpl %ecx, %eax
	jae 6f
	FAIL
6:	movl %eax, %ecx
	cmpl $CHANGES, %eax
	jb 5b
	EQ(l, $CHANGES, %eax)
	ret

	/* Each changes and calls a function of its own, few times often and then often few times; all are in one page, with data of each beside. */
beside_each_other:
	movl %ebx, %esi
	shll $5, %esi
	addl $code_own, %esi
	movb $0xb8, (%rsi)
	movb $0xc3, 5(%rsi)
	movl $1, %ecx
1:	movl %ecx, 1(%rsi)
	movl $2, %edx
	cmpl $SLOW_CHANGES, %ecx
	ja 2f
	movl $RUNS, %edx
2:	call *%rsi
	EQ(l, %ecx, %eax)
	decl %edx
	jnz 2b
	incl code_own + 2048(, %rbx, 4)
	lock incl code_own + 3072
	incl %ecx
	cmpl $CHANGES + 1, %ecx
	jne 1b
	EQ(l, $CHANGES, code_own + 2048(, %rbx, 4))
	call barrier
	EQ(l, $CHANGES * CPUS, code_own + 3072)
	ret
