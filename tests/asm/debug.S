/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug exceptions (SDM vol. 3, 17): single-step, code and data breakpoints, RF, DR6, DR7.GD, ICEBP, the shadow of MOV SS, DR4 and DR5.
 * The #DB handler is this file's own: it notes DR6 and the saved RIP, and goes on.
 */
#include "lib.inc"
#define DR7(x) movl $(x), %eax; movq %rax, %db7
	.text
	MODE 32
	.globl main
main:	call enter_long
	MODE 64
	movl $db, %eax
	movw %ax, idt64 + 16
	shrl $16, %eax
	movw %ax, idt64 + 22

	/* Single-step: a trap behind each instruction, but not behind the POPF that sets TF. BS in DR6. */
	pushfq
	orl $0x100, (%rsp)
	popfq
	nop			/* trap 1: saves s1 */
s1:	movl $5, %ecx		/* trap 2 */
s2:	pushfq			/* trap 3; pushes TF set */
s3:	popq %rax
	pushq $2		/* clears TF: the POPF itself still traps */
	popfq
s4:	nop
	EQ(l, $6, traps)
	EQ(l, $s1, rips)
	EQ(l, $s2, rips + 4)
	EQ(l, $s3, rips + 8)
	EQ(l, $s4, rips + 20)
	EQ(l, $0xffff4ff0, dr6)
	testl $0x100, %eax
	jnz 1f
	FAIL
1:	/* A taken branch under TF saves its target; a repeated string instruction traps once an iteration. */
	movl $0, traps
	movl $3, %ecx
	movl $scratch, %edi
	pushfq
	orl $0x100, (%rsp)
	popfq
	jmp 2f
	nop
2:	rep stosb
	pushq $2
	popfq
	EQ(l, $2b, rips)
	EQ(l, $2b, rips + 4)
	EQ(l, $2b, rips + 8)
	EQ(l, $6, traps) /* jmp, three iterations, push, popf */

	/* A code breakpoint is a fault; IRET with RF runs the instruction. */
	movl $0, traps
	movl $c1, %eax
	movq %rax, %db0
	DR7(0x401)
	movl $1, set_rf
c1:	movl $7, %ebx
	EQ(l, $7, %ebx)
	EQ(l, $1, traps)
	EQ(l, $c1, rips)
	EQ(l, $0xffff0ff1, dr6)
	/* RF is set in the saved flags of every fault but this one (17.3.1.1). */
	testl $0x10000, flags
	jz 1f
	FAIL
1:	FAULTS(6, 0, ud2)
	testl $0x10000, exc_flags
	jnz 1f
	FAIL
1:	movl $0, set_rf
	/* Disabled: nothing. */
	DR7(0x400)
	movl $0, traps
	movl $c1, %eax
	movq %rax, %db0
	nop
	EQ(l, $0, traps)

	/* A data breakpoint is a trap behind the access: on writes, 4 bytes. Reads do not trip it. */
	movl $scratch + 8, %eax
	movq %rax, %db1
	DR7(0x00d00400 | 4)
	movl scratch + 8, %eax
	EQ(l, $0, traps)
	movl $1, scratch + 8
w1:	nop
	EQ(l, $1, traps)
	EQ(l, $w1, rips)
	EQ(l, $0xffff0ff2, dr6)
	EQ(l, $1, scratch + 8)
	movb $2, scratch + 11 /* overlaps */
	movq $3, scratch + 4
	movw $4, scratch + 12 /* does not */
	EQ(l, $3, traps)
	/* Read or write, one byte; a string instruction too. */
	movl $0, traps
	DR7(0x00300400 | 4)
	movb scratch + 8, %al
w2:	nop
	EQ(l, $1, traps)
	EQ(l, $w2, rips)
	movl $scratch, %esi
	movl $scratch + 64, %edi
	movl $16, %ecx
	rep movsb
	EQ(l, $2, traps)
	EQ(l, $0, %ecx)
	EQ(l, $scratch + 80, %edi)
	/* A push, an SSE load, a locked add. */
	movl $0, traps
	DR7(0x00d00400 | 4)
	lock addl $1, scratch + 8
	movups %xmm0, scratch
	movups scratch, %xmm0
	EQ(l, $2, traps)
	DR7(0x400)
	movl $1, scratch + 8
	EQ(l, $2, traps)

	/* MOV SS delays a data breakpoint on its own operand to behind the next instruction. */
	movl $0, traps
	movl $DATA32, scratch + 8
	DR7(0x00f00400 | 4)
	movw scratch + 8, %ss
m1:	nop
m2:	nop
	EQ(l, $1, traps)
	EQ(l, $m2, rips)
	DR7(0x400)

	/* ICEBP is #DB as a trap, without any DR6 bit. */
	movl $0, traps
	.byte 0xf1
i1:	EQ(l, $1, traps)
	EQ(l, $i1, rips)
	testl $0xf00f, dr6
	jz 1f
	FAIL
1:	/* GD: an access to a debug register is a fault with BD; the handler sees GD clear. */
	movl $0, traps
	DR7(0x2400)
	movl $1, skip3
g1:	movq %db0, %rax
	EQ(l, $1, traps)
	EQ(l, $g1, rips)
	EQ(l, $0xffff2ff0, dr6)
	EQ(l, $0x400, dr7)
	/* DR4 and DR5: DR6 and DR7, with CR4.DE #UD. */
	movl $0, skip3
	DR7(0x400)
	.byte 0x0f, 0x21, 0xe8 /* MOV RAX, DR5 */
	EQ(l, $0x400, %eax)
	movq %cr4, %rax
	orl $8, %eax
	movq %rax, %cr4
	FAULTS(6, 0, .byte 0x0f, 0x21, 0xe8)
	/* The upper half of DR7 and DR6 is reserved. */
	btsq $32, %rax
	FAULTS(13, 0, movq %rax, %db7)
	FAULTS(13, 0, movq %rax, %db6)
	/* INT n clears TF for the handler; a fault under TF traps only once the instruction has run. */
	jmp pass64

db:	pushq %rax
	pushq %rcx
	movl traps, %ecx
	movq 16(%rsp), %rax
	cmpl $1, skip3
	jne 1f
	addq $3, 16(%rsp)
1:	andl $15, %ecx
	movl %eax, rips(, %rcx, 4)
	incl traps
	movq %db6, %rax
	movl %eax, dr6
	movl $0xffff0ff0, %eax
	movq %rax, %db6
	movq %db7, %rax
	movl %eax, dr7
	movq 32(%rsp), %rax
	movl %eax, flags
	cmpl $1, set_rf
	jne 2f
	orl $0x10000, 32(%rsp)
2:	popq %rcx
	popq %rax
	iretq

	.section .data
traps:	.long 0
dr6:	.long 0
dr7:	.long 0
flags:	.long 0
set_rf:	.long 0
skip3:	.long 0
rips:	.fill 16, 4, 0
