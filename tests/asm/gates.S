/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Far transfers between rings (SDM vol. 3, 5.8): a 32-bit call gate with parameters to an inner stack and RETF n back; conforming code;
 * privilege checks of gates and segments; LAR, LSL, VERR, VERW, ARPL; a 64-bit call gate.
 */
#include "lib.inc"
#define GATE (SPARE + 0x00)	/* call gate, DPL 3, 3 parameters */
#define GATE0 (SPARE + 0x08)	/* the same, DPL 0 */
#define CONF (SPARE + 0x10)	/* conforming code, DPL 0 */
#define NPGATE (SPARE + 0x18)
#define GATE64 (SPARE + 0x20)	/* two slots */
	.text
	MODE 32
	.globl main
main:	movl $TSS32, %eax
	ltr %ax
	movl $inner, %eax
	movw %ax, gdt + GATE
	movw $CODE32, gdt + GATE + 2
	movw $0xec03, gdt + GATE + 4
	shrl $16, %eax
	movw %ax, gdt + GATE + 6
	movl gdt + GATE, %eax
	movl %eax, gdt + GATE0
	movl gdt + GATE + 4, %eax
	andl $~0x6000, %eax
	movl %eax, gdt + GATE0 + 4
	movl gdt + GATE, %eax
	movl %eax, gdt + NPGATE
	movl gdt + GATE + 4, %eax
	andl $~0x8000, %eax
	movl %eax, gdt + NPGATE + 4
	movl $0x0000ffff, gdt + CONF
	movl $0x00cf9f00, gdt + CONF + 4

	/* From CPL 0 a gate to CPL 0: no stack switch, no parameters copied. */
	movl %esp, %ebp
	lcall $GATE, $0
same:	EQ(l, %ebp, %esp)
	EQ(l, $1, calls)
	FAULTS(11, NPGATE, lcall $NPGATE, $0)
	FAULTS(13, CODE32, ljmp $CODE32 + 1, $0) /* RPL above CPL */
	FAULTS(13, DATA32, ljmp $DATA32, $0)
	FAULTS(13, 0, ljmp $0, $0)
	FAULTS(13, UCODE32 & ~3, lcall $UCODE32 & ~3, $0) /* DPL 3 is not CPL 0 */
	/* Rights of selectors. */
	movl $UDATA, %eax
	larl %eax, %ecx
	jnz no
	EQ(l, $0x00cff300, %ecx)
	lsll %eax, %ecx
	jnz no
	EQ(l, $-1, %ecx)
	movl $0x7f0, %eax
	larl %eax, %ecx
	jz no
	movl $GATE, %eax
	larl %eax, %ecx
	jnz no
	lsll %eax, %ecx /* a gate has no limit */
	jz no
	movl $CODE32, %eax
	verr %ax
	jnz no
	verw %ax
	jz no
	movl $0x10, %eax
	movl $0x13, %ecx
	arpl %cx, %ax
	jnz no
	EQ(l, $0x13, %eax)
	arpl %cx, %ax
	jz no

	/* CPL 3: through the gate with three parameters. */
	movl $UDATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %fs
	RESUME done
	pushl $UDATA32
	pushl $user_top
	pushl $0x2
	pushl $UCODE32
	pushl $user
	iretl
no:	FAIL
user:	movl $DATA32 | 3, %eax
	movl $0x33333333, %ebx
	pushl $0x11111111
	pushl $0x22222222
	pushl %ebx
	movl %esp, %ebp
	lcall $GATE, $0
uback:	/* RETF 12 has dropped the parameters from both stacks. */
	addl $12, %ebp
	cmpl %ebp, %esp
	jne ubad
	cmpl $2, calls
	jne ubad
	/* The inner level loaded FS with its own data: null now. */
	movl %fs, %eax
	testw %ax, %ax
	jnz ubad
	/* Conforming code runs at the caller's level. */
	lcall $CONF, $conforming
	cmpl $UCODE32 & 3, seen_cpl
	jne ubad
	int3
ubad:	ud2
done:	EQ(l, $3, exc_vector)
	/* From CPL 3: a gate of DPL 0, and an inner segment directly. */
	.macro user_fault vector, error, insn:vararg
	movl $UDATA32, %eax
	movl %eax, %ds
	RESUME 88f
	pushl $UDATA32
	pushl $user_top
	pushl $2
	pushl $UCODE32
	pushl $99f
	iretl
99:	\insn
	ud2
88:	EXC(\vector, \error)
	EQ(l, $99b, exc_rip)
	.endm
	user_fault 13, GATE0, lcall $GATE0, $0
	user_fault 13, CODE32, ljmp $CODE32, $0
	user_fault 13, CODE32, lcall $CODE32, $0

	/* 64-bit: a gate of 16 bytes to 64-bit code; RETF brings SS back. */
	movl $DATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	call enter_long
	MODE 64
	movl $inner64, %eax
	movw %ax, gdt + GATE64
	movw $CODE64, gdt + GATE64 + 2
	movw $0xec00, gdt + GATE64 + 4
	shrl $16, %eax
	movw %ax, gdt + GATE64 + 6
	movl $0, gdt + GATE64 + 8
	movl $0, gdt + GATE64 + 12
	movl $GATE64, pointer + 4
	lcall *pointer
	EQ(l, $3, calls)
	RESUME 4f
	pushq $UDATA
	pushq $user_top
	pushq $2
	pushq $UCODE64
	pushq $1f
	iretq
1:	lcall *pointer
2:	cmpl $4, calls
	jne 3f
	cmpl $user_top, %esp
	jne 3f
	movl %ss, %eax
	cmpw $UDATA, %ax
	jne 3f
	int3
3:	ud2
4:	EQ(l, $3, exc_vector)
	/* The upper half's type must be 0. */
	movl $0x100, gdt + GATE64 + 12
	FAULTS(13, GATE64, lcall *pointer)
	jmp pass64

	MODE 32
inner:	incl calls
	movl %cs, %eax
	testb $3, %al
	jnz 1f
	cmpl $1, calls
	jne 2f
	cmpl $same, (%esp)
	jne 1f
	lret
2:	/* Frame: EIP, CS, parameters, ESP, SS; the parameters in their order. */
	EQ(l, $ring0_top - 7 * 4, %esp)
	EQ(l, $uback, (%esp))
	EQ(l, $UCODE32, 4(%esp))
	EQ(l, $0x33333333, 8(%esp))
	EQ(l, $0x22222222, 12(%esp))
	EQ(l, $0x11111111, 16(%esp))
	EQ(l, %ebp, 20(%esp))
	EQ(l, $UDATA32, 24(%esp))
	movl $DATA32, %eax
	movl %eax, %fs
	lret $12
1:	FAIL
conforming:
	movl %cs, %eax
	andl $3, %eax
	movl %eax, seen_cpl
	lret
	MODE 64
inner64:
	incl calls
	movl %cs, %eax
	EQ(w, $CODE64, %ax)
	lretq

	.section .data
calls:	.long 0
seen_cpl: .long -1
pointer: .long 0, 0
