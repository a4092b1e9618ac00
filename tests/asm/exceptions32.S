/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions of 32-bit code: INTO, BOUND, segment limits and types, a stack segment's limit, and delivery to an inner stack through the TSS. */
#include "lib.inc"
#define SMALL (SPARE + 0x00)	/* limit FFFh */
#define DOWN (SPARE + 0x08)	/* expand-down, limit FFFh */
#define EXEC_ONLY (SPARE + 0x10)
	.text
	MODE 32
	.globl main
main:	movl $0x00000fff, gdt + SMALL
	movl $0x00409300, gdt + SMALL + 4
	movl $0x00000fff, gdt + DOWN
	movl $0x00409700, gdt + DOWN + 4
	movl $0x0000ffff, gdt + EXEC_ONLY
	movl $0x00cf9900, gdt + EXEC_ONLY + 4
	movl $TSS32, %eax
	ltr %ax

	/* INTO: a trap, only with OF. */
	xorl %eax, %eax
	into
	movb $0x7f, %al
	addb $1, %al
	TRAPS(4, into)
	/* BOUND: a fault. */
	movl $0, scratch
	movl $9, scratch + 4
	movl $9, %eax
	boundl %eax, scratch
	movl $10, %eax
	FAULTS(5, 0, boundl %eax, scratch)

	/* Limits: the last byte counts; with FS the fault is #GP(0). */
	movl $SMALL, %eax
	movl %eax, %fs
	movb %fs:0xfff, %al
	movl %fs:0xffc, %eax
	FAULTS(13, 0, movb %fs:0x1000, %al)
	FAULTS(13, 0, movl %fs:0xffd, %eax)
	FAULTS(13, 0, movl %eax, %fs:0xfffffffe)
	/* Expand-down: above the limit is in. */
	movl $DOWN, %eax
	movl %eax, %fs
	FAULTS(13, 0, movb %fs:0xfff, %al)
	FAULTS(13, 0, movl %fs:0xffd, %eax)
	movl %fs:0x1000, %eax
	/* A code segment cannot be written, an execute-only one not read; not even loaded. */
	FAULTS(13, 0, movl %eax, %cs:scratch)
	movl $EXEC_ONLY, %eax
	FAULTS(13, EXEC_ONLY, movl %eax, %fs)
	/* A null selector loads, and faults when used. */
	xorl %eax, %eax
	movl %eax, %fs
	FAULTS(13, 0, movb %fs:0, %al)
	FAULTS(13, 0, movl %eax, %ss)
	/* #SS(0) by the stack's limit. */
	movl %esp, %ebx
	movl $SMALL, %eax
	movl %eax, %ss
	movl $0x1001, %esp
	movl $1f, exc_resume
	movl $DATA32, %ecx
	/* The fault's own frame needs a good stack: it is taken at CPL 3 below. Here reading through EBP must do. */
	movl %ecx, %ss
	movl %ebx, %esp
	movl $0, exc_resume
1:
	/* At CPL 3: #SS(0), delivered on the TSS's stack with the outer SS:ESP in the frame. */
	RESUME inner
	pushl $UDATA32
	pushl $user_top
	pushl $2
	pushl $UCODE32
	pushl $outer
	iretl
outer:	movl $0xfffffffe, %ebp
wrap:	movl (%ebp), %eax /* beyond 4 GiB: the limit */
	ud2
inner:	EXC(12, 0)
	EQ(l, $wrap, exc_rip)
	EQ(l, $UCODE32, exc_cs)
	EQ(l, $user_top, exc_rsp)
	/* IRET to the outer level nulls segment registers that it may not use: checked from outside. */
	movl $DATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %fs
	RESUME 2f
	pushl $UDATA32
	pushl $user_top
	pushl $0x3002 /* IOPL 3 */
	pushl $UCODE32
	pushl $3f
	iretl
3:	movl %fs, %eax
	movl %eax, %esi
	sti /* IOPL allows */
	cli
	movl $0xffff, %edx
	inb $0x80, %al
	int3
	ud2
2:	EQ(l, $3, exc_vector)
	EQ(w, $0, %si)
	movl $DATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	jmp pass32
