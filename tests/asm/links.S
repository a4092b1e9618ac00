/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jumps from a page that all address spaces have in common to one that each has of its own, by four CPUs at once, with two address spaces
 * each, between which they change. Whoever remembers where such a jump leads must not do so for another CPU or another space.
 * cpus: 4
 * timeout: 120
 */
#include "lib.inc"
#define CPUS   4
#define SPACES (2 * CPUS)
#define ENTRIES 8
#define ROUNDS 60000
#define WIN    0x40000000
#include "smp.inc"

	.bss
	.balign 4096
tables:	.skip SPACES * 4 * 4096 /* PML4, PDPT, page directory, page table of each */
own:	.skip SPACES * 4096
patched: .skip CPUS * 4096
both:	.skip 4096

	.text
	MODE 32
	.globl main
main:	map_apic
	call enter_long
	MODE 64
	/* The page in common: at 64 k a call of the other page's entry k, at 64 k + 32 a jump there. */
	movl $both, %edi
	movl $ENTRIES, %ecx
1:	movb $0xe8, (%rdi)
	movl $4096 - 5, 1(%rdi)
	movb $0xc3, 5(%rdi)
	movb $0xe9, 32(%rdi)
	movl $4096 - 37, 33(%rdi)
	addl $64, %edi
	loop 1b
	/* Each space's own: MOV EAX, space << 8 | k; and back to the common page, which returns. */
	xorl %ebp, %ebp
2:	movl %ebp, %edi
	shll $12, %edi
	addl $own, %edi
	xorl %ecx, %ecx
3:	movl %ebp, %eax
	shll $8, %eax
	orl %ecx, %eax
	movb $0xb8, (%rdi)
	movl %eax, 1(%rdi)
	movb $0xe9, 5(%rdi)
	movl $-4096 - 5, 6(%rdi) /* to 64 k + 5: the RET behind the call */
	addl $64, %edi
	incl %ecx
	cmpl $ENTRIES, %ecx
	jne 3b
	/* And its tables. */
	movl %ebp, %edi
	shll $14, %edi
	addl $tables, %edi
	leal 4096 + P + W + U(%rdi), %eax
	movl %eax, (%rdi)
	movl $pdpt, %esi
	leal 4096(%rdi), %edx
	movl $4, %ecx
4:	movq (%rsi), %rax
	movq %rax, (%rdx)
	addl $8, %esi
	addl $8, %edx
	loop 4b
	leal 2 * 4096 + P + W + U(%rdi), %eax
	movl %eax, 4096 + 8(%rdi)
	leal 3 * 4096 + P + W + U(%rdi), %eax
	movl %eax, 2 * 4096(%rdi)
	movl $both + P + W + U, 3 * 4096(%rdi)
	movl %ebp, %eax
	shll $12, %eax
	addl $own + P + W + U, %eax
	movl %eax, 3 * 4096 + 8(%rdi)
	incl %ebp
	cmpl $SPACES, %ebp
	jne 2b
	start_cpus

work:	call barrier
	xorl %r12d, %r12d
	leal (%rbx, %rbx), %ebp /* the space */
	call enter
round:	leal 5(%rbx, %rbx), %eax /* each at its own pace */
	shll $4, %eax
	movl %eax, %ecx
	movl %r12d, %eax
	xorl %edx, %edx
	divl %ecx
	testl %edx, %edx
	jnz 1f
	xorl $1, %ebp
	call enter
1:	xorl %ecx, %ecx
2:	movl %ecx, %esi
	shll $6, %esi
	addl $WIN, %esi
	movl %ebp, %edi
	shll $8, %edi
	orl %ecx, %edi
	call *%rsi
	EQ(l, %edi, %eax)
	addl $32, %esi
	call *%rsi
	EQ(l, %edi, %eax)
	incl %ecx
	cmpl $ENTRIES, %ecx
	jne 2b
	/* Now and then something that has a translator look up, in the same space: code that the CPU changes. */
	testl $15, %r12d
	jnz 3f
	movl %ebx, %edi
	shll $12, %edi
	addl $patched, %edi
	movl %r12d, 1(%rdi)
	movb $0xb8, (%rdi)
	movb $0xc3, 5(%rdi)
	call *%rdi
	EQ(l, %r12d, %eax)
3:	incl %r12d
	cmpl $ROUNDS, %r12d
	jne round
	call barrier
	testl %ebx, %ebx
	jz pass64
	cli
4:	hlt
	jmp 4b

enter:	movl %ebp, %eax
	shll $14, %eax
	addl $tables, %eax
	movq %rax, %cr3
	ret
