/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same 32-bit code with flat segments and with others, often enough that translators keep what they make of it; offsets that wrap at
 * 4 GiB, with and without a base; x87 state across changes of what may run.
 */
#include "lib.inc"
#define BASED (SPARE + 0x00)	/* data, base `there` */
#define SHORT (SPARE + 0x08)	/* data, limit 7 */
#define ROUNDS 3000
	.text
	MODE 32
	.globl main
main:	movl $there, %eax
	movl $0x0000ffff, gdt + BASED
	movw %ax, gdt + BASED + 2
	shrl $16, %eax
	movl $0x00cf9300, gdt + BASED + 4
	movb %al, gdt + BASED + 4
	movl $0x00000007, gdt + SHORT
	movl $0x00409300, gdt + SHORT + 4
	movl $there, %eax
	addl $here, %eax
	movl $100, (%eax)
	movl $4, %esi		/* all of it several times over, in both orders */
again:	call flat
	call with_ds
	call flat
	call with_es
	call with_ss
	call with_fs
	call wraps
	decl %esi
	jnz again
	call numbers
	jmp pass32

/* EAX: the sum over ROUNDS of what DS, ES, the stack and ESP-relative accesses find at offset `here` (1 there, 100 at `there` + here). */
sum:	xorl %eax, %eax
	movl $ROUNDS, %ecx
	movl $here, %ebx
1:	addl (%ebx), %eax
	addl here, %eax
	pushl %ebx
	popl %edx
	addl %es:(%edx), %eax
	decl %ecx
	jnz 1b
	ret

flat:	call sum
	EQ(l, $3 * ROUNDS, %eax)
	ret

with_ds:
	movl $BASED, %eax
	movl %eax, %ds
	call sum
	movl $DATA32, %edx
	movl %edx, %ds
	EQ(l, $201 * ROUNDS, %eax)
	ret

with_es:
	movl $BASED, %eax
	movl %eax, %es
	call sum
	movl $DATA32, %edx
	movl %edx, %es
	EQ(l, $102 * ROUNDS, %eax)
	ret

/* With a base, the stack is elsewhere. */
with_ss:
	movl %esp, %ebp
	movl $BASED, %eax
	movl %eax, %ss
	movl $stack_there - there, %esp
	call sum
	EQ(l, $stack_there - there, %esp)
	movl $DATA32, %edx
	movl %edx, %ss
	movl %ebp, %esp
	EQ(l, $3 * ROUNDS, %eax)
	EQ(l, $here, stack_there - 8)
	ret

sum_fs:	xorl %eax, %eax
	movl $ROUNDS, %ecx
	xorl %ebx, %ebx
1:	addl %fs:(%ebx), %eax
	addl %fs:4, %eax
	decl %ecx
	jnz 1b
	ret

with_fs:
	movl $BASED, %eax
	movl %eax, %fs
	call sum_fs
	EQ(l, $77 * ROUNDS, %eax)
	movl $SHORT, %eax
	movl %eax, %fs
	call sum_fs
	/* The limit counts again. */
	FAULTS(13, 0, addl %fs:5, %eax)
	movl $BASED, %eax
	movl %eax, %fs
	call sum_fs
	EQ(l, $77 * ROUNDS, %eax)
	ret

wraps:	movl $ROUNDS, %ecx
	movl $0xffffff00, %ebx
	movl $4, %edx
1:	EQ(l, $1, here + 0x100(%ebx))
	EQ(l, $2, here + 0x100 + 4 - 16(%ebx, %edx, 4))
	/* Base and offset together wrap; an operand across the last offset does not. */
	EQ(l, $33, %fs:-4)
	leal 0x7fffffff(%edx, %ebx, 8), %eax
	EQ(l, $0x7ffff803, %eax)
	decl %ecx
	jnz 1b
	movl $-4, %ebx
2:	movl %fs:(%ebx), %eax
	EQ(l, $33, %eax)
	incl %edx
	cmpl $ROUNDS, %edx
	jb 2b
	incl %ebx
	FAULTS(13, 0, movl %fs:(%ebx), %eax)
	ret

/* x87 registers and pointers stay while other code runs, and faults come when they are due. */
numbers:
	fninit
	movl $ROUNDS, %ecx
	fldz
1:	fld1
last:	faddp
	decl %ecx
	jnz 1b
	fistl number
	EQ(l, $ROUNDS, number)
	fnstenv env
	EQ(l, $number, env + 20)
	movl $1b, %eax
	fldt (%eax)
at:	fstp %st
	cpuid
	fnstenv env
	EQ(l, $at, env + 12)
	EQ(w, $CODE32, env + 16)
	EQ(w, $DATA32, env + 24)
	/* TS: #NM at the next, and then on as if nothing had been. */
	movl %cr0, %eax
	orl $CR0_TS, %eax
	movl %eax, %cr0
	FAULTS(7, 0, fld1)
	clts
	fistpl number
	EQ(l, $ROUNDS, number)
	/* An exception unmasked: the next waiting instruction raises it. NE is set by whoever started us, or here. */
	movl %cr0, %eax
	orl $0x20, %eax
	movl %eax, %cr0
	fninit
	movl $0x37b, number	/* zero divide */
	fldcw number
	fld1
	fldz
	fdivrp
	FAULTS(16, 0, fwait)
	fnclex
	fninit
	/* MMX and x87 share their registers. */
	movl $0x01020304, number
	movd number, %mm1
	paddb %mm1, %mm1
	movd %mm1, %eax
	EQ(l, $0x02040608, %eax)
	fnstenv env
	NE(w, $0xffff, env + 8)
	emms
	fnstenv env
	EQ(w, $0xffff, env + 8)
	ret

	.data
	.balign 4096
here:	.long 1, 2
	.balign 64
env:	.skip 28
number:	.long 0, 0
	.skip 128
stack_bottom:
	.skip 512
stack_there:
	.skip 64
	.long 33
there:	.long 33, 44
	.skip 4096
