/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each exception in 64-bit code: vector, error code, saved RIP (SDM vol. 3, 6.15), and that the instruction has done nothing. What exists
 * in 32-bit code alone (INTO, BOUND) is in exceptions32.S, page faults are in paging4.S.
 */
#include "lib.inc"
#define NP_CODE (SPARE + 0x00)	/* present bit clear */
#define NP_DATA (SPARE + 0x08)
#define RO_DATA (SPARE + 0x10)
#define BAD_TSS (SPARE + 0x20)	/* two slots: not a TSS */
	.text
	MODE 32
	.globl main
main:	call enter_long
	MODE 64
	movl $0x0000ffff, gdt + NP_CODE
	movl $0x00af1b00, gdt + NP_CODE + 4
	movl $0x0000ffff, gdt + NP_DATA
	movl $0x00cf1300, gdt + NP_DATA + 4
	movl $0x0000ffff, gdt + RO_DATA
	movl $0x00cf9100, gdt + RO_DATA + 4
	movl $0x00000067, gdt + BAD_TSS
	movl $0x00008200, gdt + BAD_TSS + 4 /* an LDT */

	/* #DE: by zero, and a quotient that does not fit; operands stay. */
	movl $7, %eax
	movl $3, %edx
	xorl %ecx, %ecx
	FAULTS(0, 0, divl %ecx)
	EQ(l, $7, %eax)
	EQ(l, $3, %edx)
	movl $3, %ecx
	FAULTS(0, 0, divl %ecx)
	movq $0x8000000000000000, %rax
	cqto
	movq $-1, %rcx
	FAULTS(0, 0, idivq %rcx)

	/* #BP is a trap; INT n too. */
	TRAPS(3, int3)
	TRAPS(4, int $4)
	TRAPS(3, .byte 0xcd, 3)
	/* #UD */
	FAULTS(6, 0, ud2)
	FAULTS(6, 0, .byte 0x0f, 0x0b)
	FAULTS(6, 0, .byte 0x06) /* PUSH ES */
	FAULTS(6, 0, .byte 0xf0, 0x90) /* LOCK NOP */
	FAULTS(6, 0, .byte 0xf0, 0x01, 0xc0) /* LOCK ADD EAX, EAX */
	FAULTS(6, 0, .byte 0xc5, 0xc0, 0xff, 0xff) /* VEX, no such opcode */

	/* #NM: x87 with TS or EM, SSE with TS, WAIT with TS and MP. */
	movq %cr0, %rbx
	orq $CR0_TS, %rbx
	movq %rbx, %cr0
	FAULTS(7, 0, fnop)
	FAULTS(7, 0, movaps %xmm0, %xmm1)
	FAULTS(7, 0, fwait)
	andq $~2, %rbx
	movq %rbx, %cr0
	fwait
	clts
	fnop
	movq %cr0, %rbx
	testl $CR0_TS, %ebx
	jz 1f
	FAIL
1:	orq $2, %rbx
	movq %rbx, %cr0
	/* #UD: SSE with EM. */
	orq $4, %rbx
	movq %rbx, %cr0
	FAULTS(6, 0, movaps %xmm0, %xmm1)
	FAULTS(7, 0, fnop)
	andq $~4, %rbx
	movq %rbx, %cr0

	/* #GP(0): privilege is not at stake, reserved bits and addresses are. */
	movq $0x800000000000, %rbx
	FAULTS(13, 0, movb (%rbx), %al)
	FAULTS(13, 0, movb %al, (%rbx))
	movq $0x7fffffffffff, %rbx
	FAULTS(13, 0, movl 1(%rbx), %eax)
	movq %cr0, %rbx
	btsq $32, %rbx
	FAULTS(13, 0, movq %rbx, %cr0)
	movq %cr4, %rbx
	btsq $31, %rbx
	FAULTS(13, 0, movq %rbx, %cr4)
	movq %cr4, %rbx
	andq $~CR4_PAE, %rbx
	FAULTS(13, 0, movq %rbx, %cr4)
	movq %cr0, %rbx
	andq $~1, %rbx /* PG without PE */
	FAULTS(13, 0, movq %rbx, %cr0)
	movl $0x12345, %ecx
	FAULTS(13, 0, rdmsr)
	FAULTS(13, 0, wrmsr)
	movl $MSR_EFER, %ecx
	rdmsr
	orl $0x80000000, %edx
	FAULTS(13, 0, wrmsr)
	movl $scratch + 4, %ebx
	FAULTS(13, 0, movaps (%rbx), %xmm0)
	FAULTS(13, 0, cmpxchg16b (%rbx))
	movl $0xffff0000, scratch
	FAULTS(13, 0, ldmxcsr scratch)

	/* #SS(0): a stack address that is not canonical. */
	movq %rsp, %rbp
	movq $0x800000000000, %rbx
	xchgq %rbx, %rbp
	FAULTS(12, 0, movb (%rbp), %al)
	movq %rbx, %rbp

	/* #GP(selector): beyond the table; wrong type. */
	movl $0x7f8, %eax
	FAULTS(13, 0x7f8, movl %eax, %ds)
	movl $0x7fb, %eax /* the error code has no RPL */
	FAULTS(13, 0x7f8, movl %eax, %es)
	movl $CODE64 | 4, %eax /* there is no LDT */
	FAULTS(13, CODE64 | 4, movl %eax, %ds)
	xorl %eax, %eax
	movl $RO_DATA, %eax
	FAULTS(13, RO_DATA, movl %eax, %ss)
	movl $UDATA, %eax
	FAULTS(13, UDATA & ~3, movl %eax, %ss)
	/* A null SS is right at CPL 0 in 64-bit code. */
	xorl %eax, %eax
	movl %eax, %ss
	movl $DATA32, %eax
	movl %eax, %ss
	/* #NP(selector), #SS(selector) */
	movl $NP_DATA, %eax
	FAULTS(11, NP_DATA, movl %eax, %ds)
	FAULTS(12, NP_DATA, movl %eax, %ss)
	movq %rsp, %rbx
	pushq $NP_CODE
	pushq $0
	FAULTS(11, NP_CODE, lretq)
	movq %rbx, %rsp
	pushq $DATA32
	pushq $0
	FAULTS(13, DATA32, lretq)
	movq %rbx, %rsp
	/* LTR: not a TSS, and a busy one. */
	movl $BAD_TSS, %eax
	FAULTS(13, BAD_TSS, ltr %ax)
	movl $TSS64, %eax
	FAULTS(13, TSS64, ltr %ax)

	/* A gate that is not present: #NP with the vector and IDT bit; INT n of a gate beyond the limit: #GP. */
	movb $0x6e, idt64 + 16 * 0x50 + 5
	FAULTS(11, 0x50 * 8 + 2, int $0x50)
	movb $0xee, idt64 + 16 * 0x50 + 5
	movw $16 * 0x40 - 1, idt_ptr64
	lidt idt_ptr64
	FAULTS(13, 0x50 * 8 + 2, int $0x50)
	movw $16 * 256 - 1, idt_ptr64
	lidt idt_ptr64
	/* An exception through such a gate has EXT set, and the first exception is benign: no double fault. */
	movb $0x6e, idt64 + 16 * 6 + 5
	FAULTS(11, 6 * 8 + 3, ud2)
	movb $0xee, idt64 + 16 * 6 + 5
	/* Contributory and contributory: double fault, error code 0. RIP is that of the instruction. */
	movl $0x12345, %ecx
	movb $0x6e, idt64 + 16 * 13 + 5
	FAULTS(8, 0, rdmsr)
	movb $0xee, idt64 + 16 * 13 + 5

	/* #MF at the next waiting instruction, with that one's address; FNxxx pass. */
	fninit
	movl $0x37b, scratch /* zero divide unmasked */
	fldcw scratch
	fldz
	fld1
	fdiv %st(1), %st
	fnstsw %ax
	FAULTS(16, 0, fld1)
	FAULTS(16, 0, fwait)
	fnclex
	fld1
	fninit
	/* #XM; with OSXMMEXCPT clear, #UD. */
	movl $0x1d80, scratch
	ldmxcsr scratch
	xorps %xmm0, %xmm0
	movss one, %xmm1
	FAULTS(19, 0, divss %xmm0, %xmm1)
	EQ(l, $0x3f800000, one)
	movq %cr4, %rbx
	andq $~CR4_OSXMMEXCPT, %rbx
	movq %rbx, %cr4
	FAULTS(6, 0, divss %xmm0, %xmm1)
	orq $CR4_OSXMMEXCPT, %rbx
	movq %rbx, %cr4
	movl $0x1f80, scratch
	ldmxcsr scratch

	/* #AC at CPL 3 alone, with AM and AC. */
	movq %cr0, %rbx
	orq $CR0_AM, %rbx
	movq %rbx, %cr0
	pushfq
	orl $0x40000, (%rsp)
	popfq
	movl scratch + 1, %eax
	RESUME checked
	pushq $UDATA
	pushq $user_top
	pushq $0x40002
	pushq $UCODE64
	pushq $user
	iretq
user:	movl scratch + 4, %eax
unaligned:
	movl scratch + 1, %eax
	FAIL
checked:
	EXC(17, 0)
	EQ(l, $unaligned, exc_rip)
	EQ(l, $UCODE64, exc_cs)

	/* At CPL 3: privileged instructions are #GP(0), as is INT n through a gate of DPL 0 with its vector. */
	.macro user_fault vector, error, insn:vararg
	RESUME 88f
	pushq $UDATA
	pushq $user_top
	pushq $2
	pushq $UCODE64
	pushq $99f
	iretq
99:	\insn
	ud2
88:	EXC(\vector, \error)
	EQ(l, $99b, exc_rip)
	.endm
	movb $0x8e, idt64 + 16 * 0x51 + 5
	user_fault 13, 0x28a, int $0x51 /* 51h * 8 + 2 */
	user_fault 13, 0, hlt
	user_fault 13, 0, cli
	user_fault 13, 0, inb $0x80, %al
	user_fault 13, 0, outl %eax, %dx
	user_fault 13, 0, movq %cr0, %rax
	user_fault 13, 0, movq %rax, %cr3
	user_fault 13, 0, movq %db7, %rax
	user_fault 13, 0, rdmsr
	user_fault 13, 0, wbinvd
	user_fault 13, 0, lgdt gdt_ptr
	user_fault 13, 0, lmsw %ax
	user_fault 13, 0, clts
	user_fault 13, 0, swapgs
	user_fault 6, 0, sysretq /* EFER.SCE is clear */
	user_fault 13, 0, ltr %ax
	user_fault 13, 0, invlpg scratch
	jmp pass64

	.section .data
	.balign 4
one:	.float 1.0
