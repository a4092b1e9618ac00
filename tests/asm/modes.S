/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Through all modes and back: 32-bit protected, long, compatibility, long, protected, 16-bit protected, real, protected.
 * Proves: CS.L and CS.D choose the code size, CR0.PG with EFER.LME activates long mode and leaves it (SDM vol. 3, 9.8.5), the
 * hidden base of a real-mode segment survives the switch, INT n through the real-mode table (20.1.4).
 */
#include "lib.inc"
	.text
	MODE 32
	.globl main
main:	call enter_long
	MODE 64
	movq $0x123456789abcdef0, %rax
	shrq $32, %rax
	EQ(l, $0x12345678, %eax)
	/* LMA shows. */
	movl $MSR_EFER, %ecx
	rdmsr
	andl $0x500, %eax
	EQ(l, $0x500, %eax)
	movq $-1, %rbx
	pushq $CODE32
	pushq $compat
	lretq
	MODE 32
compat:	/* 48 is DEC EAX here. */
	movl $5, %eax
	.byte 0x48
	EQ(l, $4, %eax)
	/* A register written in compatibility mode loses its upper half on the way back only if written. */
	ljmp $CODE64, $back
	MODE 64
back:	EQ(q, $-1, %rbx)
	EQ(q, $4, %rax)
	movl $prot, %ebx
	jmp leave_long
	MODE 32
prot:	movl $MSR_EFER, %ecx
	rdmsr
	testl $0x400, %eax
	jz 1f
	FAIL
1:	/* Paging off, long mode off; 16-bit code with a 32-bit stack. */
	movl $low16, %eax
	ljmp $CODE16, $low16

	.section .low
	MODE 16
low16:	movw $0x1234, %ax
	.byte 0xb8, 0x78, 0x56 /* MOV AX, imm16 */
	EQ(w, $0x5678, %ax)
	movw $DATA16, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $0x7000, %sp
	lidt %cs:real_idt
	movl %cr0, %eax
	andb $~1, %al
	movl %eax, %cr0
	ljmp $0, $real
real:	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	/* A segment's base is its selector times 16. */
	movl $0xcafebabe, 0x9230
	movw $0x920, %ax
	movw %ax, %fs
	EQ(l, $0xcafebabe, %fs:0x30)
	/* An address past FFFF:000F reaches beyond 1 MiB, as A20 is on. */
	movw $0xffff, %ax
	movw %ax, %gs
	movl %gs:0x10, %ebx
	/* INT 60h through the table at 0. */
	movl $handler, 0x60 * 4
	movl $0, %ebx
	pushfw
	popw %cx
	sti
	int $0x60
after:	EQ(l, $0x600d, %ebx)
	/* The handler ran with IF clear and saw the right return address. */
	EQ(w, $after, %dx)
	pushfw
	popw %ax
	testw $0x200, %ax
	jnz 1f
	FAIL
1:	cli
	/* #DE in real mode saves the address of DIV and pushes no error code. */
	movl $divide, 0
	xorw %cx, %cx
	movw %sp, %bp
d1:	divw %cx
	FAIL
d2:	EQ(w, %bp, %sp)
	lgdtl gdt16
	movl %cr0, %eax
	orb $1, %al
	movl %eax, %cr0
	ljmpl $CODE32, $again
handler:
	movl $0x600d, %ebx
	popw %dx
	pushw %dx
	pushfw
	popw %ax
	testw $0x200, %ax
	jz 1f
	movl $1, %ebx
1:	iretw
divide:	popw %ax
	EQ(w, $d1, %ax)
	pushw $d2
	iretw
real_idt:
	.word 0x3ff
	.long 0
gdt16:	.word 0xff
	.long gdt

	.text
	MODE 32
again:	movl $DATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $stack_top, %esp
	lidt idt_ptr32
	FAULTS(6, 0, ud2)
	jmp pass32
