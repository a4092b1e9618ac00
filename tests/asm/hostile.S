/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses that are meant to lead out of the guest's memory, from places that were executed so often with good ones that engines
 * have made shortcuts of them. Each must raise what the architecture says, at its instruction, with nothing written; what wraps round to a good
 * address must get there. Also strings across the end of RAM, FS and GS bases at the extremes, and stacks at both ends of memory and
 * outside of it.
 */
#include "lib.inc"
#define RAM_END 0x10000000	/* 256 MiB */
#define OFTEN 3000
#define CR4_FSGSBASE 0x10000
	.text
	MODE 32
	.globl main
main:	call enter_long
	MODE 64
	movq %cr4, %rax
	orl $CR4_FSGSBASE, %eax
	movq %rax, %cr4
	movq %rsp, %r12
	movq $0x11223344, scratch + 64

	/* Every place with every address. */
	movl $places, %ebp
each:	movl (%rbp), %r8d
	movl $OFTEN, %r15d
	movl $scratch + 64, %ebx
warm:	xorl %eax, %eax
	callq *%r8
	decl %r15d
	jnz warm
	movl $wild, %r9d
try:	movq (%r9), %rbx
	movl $back, exc_resume
	movl $0, exc_vector
	movq $0, exc_cr2
	callq *%r8
	FAIL
back:	movq %r12, %rsp
	movl 8(%r9), %eax
	EQ(l, %eax, exc_vector)
	EQ(l, %r8d, exc_rip)
	cmpl $14, %eax
	jne 1f
	movl 4(%rbp), %eax
	EQ(l, %eax, exc_error)
	EQ(q, %rbx, exc_cr2)
1:	addq $16, %r9
	cmpl $wild_end, %r9d
	jne try
	/* A good one again, after all of them. */
	movl $scratch + 64, %ebx
	callq *%r8
	addl $8, %ebp
	cmpl $places_end, %ebp
	jne each

	/* Displacements that wrap: past the end of the address space to a good address, and from a good one to nowhere. */
	movl $OFTEN, %r15d
2:	movq $scratch + 64 - 0x7ffffff0, %rbx
	movl 0x7ffffff0(%rbx), %eax
	decl %r15d
	jnz 2b
	movl $0x5a5a5a5a, scratch + 64
	movq $scratch + 64 - 0x7ffffff0, %rbx
	movl 0x7ffffff0(%rbx), %eax
	EQ(l, $0x5a5a5a5a, %eax)
	movq $-8, %rbx
	movl scratch + 64 + 8(%rbx), %eax
	EQ(l, $0x5a5a5a5a, %eax)
	movabs $0x7fffffffffff, %rbx
	FAULTS(13, 0, movl 1(%rbx), %eax)
	FAULTS(13, 0, movl %eax, 0x7fffffff(%rbx))
	FAULTS(13, 0, movl (%rbx, %rbx, 8), %eax)

	/* Strings that run across the end of RAM: nothing is there, so it reads as ones and what is written is lost. */
	movl $RAM_END - 64, %edi
	movl $0x77, %eax
	movl $256, %ecx
	rep stosb
	EQ(l, $0, %ecx)
	EQ(l, $RAM_END + 192, %edi)
	EQ(b, $0x77, RAM_END - 1)
	movl $RAM_END - 4, %esi
	movl $scratch + 128, %edi
	movl $8, %ecx
	rep movsb
	movabs $0xffffffff77777777, %rax
	EQ(q, %rax, scratch + 128)
	movl $RAM_END - 2, %ebx
	EQ(l, $0xffff7777, (%rbx))
	movl $0x12345678, (%rbx)
	EQ(w, $0x5678, (%rbx))
	/* And into a page that is not mapped: what came before it is done. */
	movl $0x3ffffff0, %edi
	movl $64, %ecx
	movl $3f, exc_resume
	rep stosb
	FAIL
3:	EQ(l, $14, exc_vector)
	EQ(l, $48, %ecx)
	movl $0x40000000, %eax
	EQ(q, %rax, %rdi)
	EQ(q, %rax, exc_cr2)
	/* Off the end of canonical addresses. */
	movabs $0x800000000000, %rdi
	movl $8, %ecx
	FAULTS(13, 0, rep stosb)
	EQ(l, $8, %ecx)

	/* Segment bases: the sum is what counts. */
	movl $0x5a5a5a5a, scratch + 64
	movq $-1, %rax
	wrgsbase %rax
	wrfsbase %rax
	EQ(l, $0x5a5a5a5a, %gs:scratch + 65)
	EQ(l, $0x5a5a5a5a, %fs:scratch + 65)
	movabs $0x7fffffffffff, %rax
	wrgsbase %rax
	wrfsbase %rax
	xorl %ebx, %ebx
	FAULTS(13, 0, movl %gs:1(%rbx), %eax)
	FAULTS(13, 0, movl %eax, %fs:1(%rbx))
	FAULTS(13, 0, movl %gs:(%rbx), %eax)
	movabs $0xffff800000000000, %rax
	wrgsbase %rax
	FAULTS(13, 0, movl %gs:-1(%rbx), %eax)
	FAULTS(14, 0, movl %gs:(%rbx), %eax)
	EQ(q, %rax, exc_cr2)
	/* What a program puts there is nothing that an engine keeps there. */
	movl $OFTEN, %r15d
4:	movq $scratch, %rax
	wrgsbase %rax
	movl %gs:64, %ecx
	EQ(l, $0x5a5a5a5a, %ecx)
	decl %r15d
	jnz 4b

	/* ---- stacks; faults are delivered on another one ---- */
	movq $fault_top, tss64 + 0x24 /* IST 1 */
	movb $1, idt64 + 12 * 16 + 4
	movb $1, idt64 + 13 * 16 + 4
	movb $1, idt64 + 14 * 16 + 4
	movl $stack_places, %ebp
5:	movl (%rbp), %r8d
	movl $OFTEN, %r15d
	/* Often with a good one. R13: where the place goes on. */
	movl $6f, %r13d
6:	movl $stack_top - 256, %esp
	movl $stack_top - 256, %ebx
	movq $2, (%rsp)
	decl %r15d
	jz 8f
	jmp *%r8
7:	FAIL
8:	movl $wild_stacks, %r9d
	movl $7b, %r13d
9:	movq (%r9), %rsp
	addq 4(%rbp), %rsp
	movq %rsp, %rbx
	movl $1f, exc_resume
	movl $0, exc_vector
	movq $0, exc_cr2
	jmp *%r8
1:	movq %rsp, %rcx
	movl $stack_top, %esp
	movl 8(%r9), %eax
	EQ(l, %eax, exc_vector)
	EQ(l, %r8d, exc_rip)
	EQ(q, %rbx, %rcx)
	cmpl $14, %eax
	je 2f
	EQ(l, $0, exc_error)
	jmp 3f
2:	movq (%r9), %rcx
	EQ(q, %rcx, exc_cr2)
3:	addq $16, %r9
	cmpl $wild_stacks_end, %r9d
	jne 9b
	addl $12, %ebp
	cmpl $stack_places_end, %ebp
	jne 5b

	/* From the first address down to the last: the page there is one of RAM. */
	movq $pdpt_top + P + W, pml4 + 8 * 511
	movq $pd_top + P + W, pdpt_top + 8 * 511
	movq $pt_top + P + W, pd_top + 8 * 511
	movq $scratch + 4096 + P + W, pt_top + 8 * 511
	movl $OFTEN, %r15d
4:	movl $16, %esp
	pushq $1
	pushq %r15
	EQ(q, $0, %rsp)
	pushq $3
	EQ(q, $-8, %rsp)
	EQ(q, $3, scratch + 8192 - 8)
	pushfq
	movq %r15, -8(%rsp)
	EQ(q, %r15, scratch + 8192 - 24)
	popq %rax
	popq %rcx
	popq %rdx
	EQ(q, $8, %rsp)
	popq %rbx
	EQ(l, $3, %ecx)
	EQ(q, %r15, %rdx)
	EQ(l, $1, %ebx)
	/* Calls and frames likewise. */
	movl $8, %esp
	call 5f
	jmp 6f
5:	pushq %rbp
	movq %rsp, %rbp
	subq $16, %rsp
	movq %r15, -16(%rbp)
	EQ(q, $-8, %rbp)
	EQ(q, %r15, scratch + 8192 - 24)
	leave
	ret
6:	EQ(q, $8, %rsp)
	/* One access that reaches from the last byte over the first. */
	movl $4, %esp
	movabs $0x1122334455667788, %rax
	pushq %rax
	EQ(q, $-4, %rsp)
	EQ(l, $0x55667788, scratch + 8192 - 4)
	EQ(l, $0x11223344, 0)
	popq %rcx
	EQ(q, %rax, %rcx)
	decl %r15d
	jnz 4b
	movl $stack_top, %esp
	jmp pass64

	/* Stack instructions, the first of each place; R13 is where to go on. */
s_push:	pushq %rax
	jmp *%r13
s_push_i: pushq $5
	jmp *%r13
s_push_m: pushq scratch
	jmp *%r13
s_pop:	popq %rax
	jmp *%r13
s_pushf: pushfq
	jmp *%r13
s_popf:	popfq
	jmp *%r13
s_call:	call 1f
1:	jmp *%r13
s_call_i: call *%r13
s_mov:	movq (%rsp), %rax
	jmp *%r13
s_mov_w: movq %rax, (%rsp)
	jmp *%r13

	/* The instruction is the first of each; RBX is the address. */
load1:	movb (%rbx), %al
	ret
load4:	movl (%rbx), %eax
	ret
load8:	movq (%rbx), %rax
	ret
load16:	movups (%rbx), %xmm0
	ret
store1:	movb %al, (%rbx)
	ret
store4:	movl %eax, (%rbx)
	ret
store8:	movq %rax, (%rbx)
	ret
store16: movups %xmm0, (%rbx)
	ret
modify:	addl %eax, (%rbx)
	ret
locked:	lock addl %eax, (%rbx)
	ret
compare: cmpl $5, (%rbx)
	ret
push_m:	pushq (%rbx)
	popq %rax
	ret

	.data
	.balign 8
places:	.long load1, 0, load4, 0, load8, 0, load16, 0, store1, 2, store4, 2, store8, 2, store16, 2, modify, 2, locked, 2, compare, 0, push_m, 0
places_end:
	/* Addresses, and what they raise. */
	.balign 8
wild:	.quad 0x800000000000, 13, 0xffff7fffffffffff, 13, 0xffff7ffffffffff0, 13, 0x8000000000000000, 13, scratch + 0x8000000000000040, 13
	.quad scratch + 0x1000000000040, 13, 0x123456789abcdef0, 13
	.quad 0x40000000, 14, scratch + 0x100000040, 14, scratch + 0x8000000040, 14, 0x7fffffffff00, 14
	.quad 0xffff800000000000, 14, 0xfffffffffffff000, 14, 0xffffffffffffff00, 14, 0xffffffff80000000, 14
wild_end:
	/* Places, and what RSP is above the address that they access. */
	.balign 8
stack_places:
	.long s_push
	.quad 8
	.long s_push_i
	.quad 8
	.long s_push_m
	.quad 8
	.long s_pop
	.quad 0
	.long s_pushf
	.quad 8
	.long s_popf
	.quad 0
	.long s_call
	.quad 8
	.long s_call_i
	.quad 8
	.long s_mov
	.quad 0
	.long s_mov_w
	.quad 0
stack_places_end:
	.balign 8
wild_stacks:
	.quad 0x800000000000, 12, 0x7ffffffffffc, 12, 0xffff7ffffffffff8, 12, 0x8000000000000000, 12, 0x123456789abcdef0, 12
	.quad stack_top - 256 + 0x8000000000000000, 12, stack_top - 256 + 0x1000000000000, 12
	.quad 0x40000000, 14, stack_top - 256 + 0x100000000, 14, 0x7ffffffffff0, 14, 0xffff800000000000, 14, 0xffffffff80000000, 14
wild_stacks_end:
	.bss
	.balign 4096
pdpt_top: .skip 4096
pd_top:	.skip 4096
pt_top:	.skip 4096
	.skip 4096
fault_top:
