/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hardware task switch (SDM vol. 3, ch. 8): JMP and CALL to a TSS, IRET back through the link, a task gate in the IDT; what is saved and
 * loaded, busy bits, NT, CR0.TS, and the faults of a bad TSS.
 */
#include "lib.inc"
#define TSS_A TSS32
#define TSS_B SPARE
#define GATE_B (SPARE + 8)
#define SHORT (SPARE + 16)
#define T(field) tss_b + field
#define LINK 0
#define EIP 32
#define EFLAGS 36
#define EAX 40
#define ECX 44
#define ESP 56
#define ES 72
#define CS 76
#define SS 80
#define DS 84
#define FS 88
#define GS 92
#define LDT 96
#define TRAP 100
#define BUSY(selector, is) movl gdt + selector + 4, %edx; andl $0x200, %edx; EQ(l, $(is), %edx)
	.text
	MODE 32
	.globl main
main:	movl $TSS_A, %eax
	ltr %ax
	BUSY(TSS_A, 0x200)
	movl $tss_b, %eax
	movw $0x67, gdt + TSS_B
	movw %ax, gdt + TSS_B + 2
	shrl $16, %eax
	movb %al, gdt + TSS_B + 4
	movb $0x89, gdt + TSS_B + 5
	movb %ah, gdt + TSS_B + 7
	movl $TSS_B << 16, gdt + GATE_B
	movl $0x8500, gdt + GATE_B + 4
	movl gdt + TSS_B, %eax
	movw $0x66, %ax
	movl %eax, gdt + SHORT
	movl gdt + TSS_B + 4, %eax
	movl %eax, gdt + SHORT + 4
	movl $task_b, T(EIP)
	movl $0x1002, T(EFLAGS)
	movl $0xb0b0, T(EAX)
	movl $ring0_top, T(ESP)
	movl $CODE32, T(CS)
	movl $DATA32, T(SS)
	movl $DATA32, T(DS)
	movl $DATA32, T(ES)
	movl $DATA32, T(FS)

	/* CALL: the link, NT, both busy. Returns by IRET. */
	movl $0xa0a0, %eax
	movl $0xaaaa, %ecx
	clts
	lcall $TSS_B, $0
back:	EQ(l, $0xa0a0, %eax) /* our own registers again */
	EQ(l, $0xaaaa, %ecx)
	EQ(l, $0xb0b1, result)
	BUSY(TSS_A, 0x200)
	BUSY(TSS_B, 0)
	pushfl
	popl %edx
	testl $0x4000, %edx
	jz 1f
	FAIL
1:	/* B's state was saved when it left: EIP behind its IRET. */
	EQ(l, $b_again, T(EIP))
	EQ(l, $0xb0b1, T(EAX))
	movl %cr0, %edx
	testl $8, %edx
	jnz 1f
	FAIL
1:	str %edx
	EQ(w, $TSS_A, %dx)
	/* It goes on where it was: JMP this time, which leaves A available. */
	ljmp $TSS_B, $0
jumped:	EQ(l, $2, result)
	BUSY(TSS_A, 0x200)
	BUSY(TSS_B, 0)
	/* Through a task gate in the GDT. */
	lcall $GATE_B, $0
	EQ(l, $3, result)
	/* A task gate for #UD: the error code would go to B's stack; EIP saved in A is that of UD2. */
	movl $TSS_B << 16, idt32 + 8 * 6
	movl $0x8500, idt32 + 8 * 6 + 4
fault:	ud2
	EQ(l, $4, result)
	EQ(l, $fault, saved_eip)
	/* #GP through a task gate pushes its error code on B's stack. */
	movl idt32 + 8 * 13, %eax
	movl %eax, saved13
	movl idt32 + 8 * 13 + 4, %eax
	movl %eax, saved13 + 4
	movl $TSS_B << 16, idt32 + 8 * 13
	movl $0x8500, idt32 + 8 * 13 + 4
	movl $0x7f8, %eax
	movl %eax, %fs
	EQ(l, $5, result)
	EQ(l, $0x7f8, saved_error)
	movl saved13, %eax
	movl %eax, idt32 + 8 * 13
	movl saved13 + 4, %eax
	movl %eax, idt32 + 8 * 13 + 4

	/* Busy: #GP(TSS). */
	orb $2, gdt + TSS_B + 5
	FAULTS(13, TSS_B, ljmp $TSS_B, $0)
	andb $~2, gdt + TSS_B + 5
	/* Not present: #NP; too short: #TS. */
	andb $0x7f, gdt + TSS_B + 5
	FAULTS(11, TSS_B, ljmp $TSS_B, $0)
	orb $0x80, gdt + TSS_B + 5
	FAULTS(10, SHORT, ljmp $SHORT, $0)
	/* A bad segment in the new task: #TS(selector), reported in the new task. */
	movl $0x7f0, T(FS)
	movl $bad, T(EIP)
	RESUME 2f
	ljmp $TSS_B, $0
	FAIL
2:	EXC(10, 0x7f0)
	str %edx
	EQ(w, $TSS_B, %dx)
	jmp pass32
bad:	FAIL

	/* Task B. Each entry continues behind the last IRET or JMP. */
task_b:	EQ(l, $0xb0b0, %eax)
	EQ(l, $ring0_top, %esp)
	str %edx
	EQ(w, $TSS_B, %dx)
	BUSY(TSS_A, 0x200)
	BUSY(TSS_B, 0x200)
	EQ(w, $TSS_A, T(LINK))
	EQ(l, $back, tss32 + EIP)
	EQ(l, $0xa0a0, tss32 + EAX)
	pushfl
	popl %edx
	testl $0x4000, %edx
	jnz 1f
	FAIL
1:	incl %eax
	movl %eax, result
	iretl
b_again: /* By JMP: no NT, A not busy. */
	pushfl
	popl %edx
	testl $0x4000, %edx
	jz 1f
	FAIL
1:	BUSY(TSS_A, 0)
	movl $2, result
	ljmp $TSS_A, $0
	movl $3, result
	iretl
	movl $4, result
	movl tss32 + EIP, %edx
	movl %edx, saved_eip
	addl $2, tss32 + EIP
	iretl
	movl $5, result
	popl saved_error
	addl $2, tss32 + EIP
	iretl
	FAIL

	.section .data
	.balign 128
tss_b:	.fill 25, 4, 0
	.word 0, 0x68
result:	.long 0
saved_eip: .long 0
saved_error: .long 0
saved13: .long 0, 0
