/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time that is the count of instructions, to the instruction, as each way of looking at it tells it: RDTSC and RDTSCP, MSRs, ports, the
 * local APIC's registers; from the middle of blocks, in loops that run often, behind branches that leave blocks early. A nanosecond is an
 * instruction.
 * options: --deterministic
 */
#include "lib.inc"
#include "timing.inc"
#define OFTEN 3000
#define MSR_TSC 0x10
#define PM_TIMER 0x608
#define PM_HZ 3579545
#define NSEC 1000000000
	.text
	MODE 32
	.globl main
main:	call enter_long
	MODE 64
	APIC_ON

	/* ---- RDTSC, RDTSCP: R8, R9 times, some of the instructions between them not executed ---- */
	movl $OFTEN, %ebp
1:	NOW
	movq %rax, %r8
	testb $1, %bpl
	jz 2f
	nop
	nop
2:	rdtscp
	shlq $32, %rdx
	orq %rdx, %rax
	subq %r8, %rax
	movl %ebp, %ecx
	andl $1, %ecx
	leal 6(, %rcx, 2), %ecx
	EQ(l, %ecx, %eax)
	decl %ebp
	jnz 1b

	/* A whole loop, calls and returns in it: what a round takes is always the same. */
	movl $OFTEN, %ebp
	NOW
	leaq -6(%rax), %r8	/* as if from the round before */
1:	call two
	NOW
	movq %rax, %r9
	subq %r8, %rax
	movq %r9, %r8
	EQ(l, $13, %eax)
	decl %ebp
	jnz 1b

	/* ---- the counter written: it goes on from the instruction that does it ---- */
	movl $OFTEN, %ebp
1:	movl $MSR_TSC, %ecx
	movl %ebp, %eax
	xorl %edx, %edx
	wrmsr
	nop
	NOW
	subl %ebp, %eax
	EQ(l, $2, %eax)
	/* And read as an MSR. */
	NOW
	movq %rax, %r8
	rdmsr
	subl %r8d, %eax
	EQ(l, $4, %eax)
	decl %ebp
	jnz 1b

	/* ---- the APIC's timer by MOV ---- */
	movl $OFTEN, %ebp
1:	movl $1000000, %eax
	movl %eax, 0x380(%rsi)
	nop
	movl 0x390(%rsi), %ecx
	addl $2, %ecx
	EQ(l, %eax, %ecx)
	movl 0x390(%rsi), %ecx
	addl $6, %ecx
	EQ(l, %eax, %ecx)
	decl %ebp
	jnz 1b

	/* ---- ports: the ACPI timer's ticks end at their instruction. R12: the clock less the counter ---- */
	call origin
	movl $OFTEN, %ebp
1:	NOW
	leaq 6(%rax, %r12), %rax	/* when the timer will be read */
	movl $PM_TIMER, %edx
	movq %rax, %r8
	inl %dx, %eax
	movl %eax, %r9d
	movl $PM_HZ, %eax
	mulq %r8
	movl $NSEC, %ecx
	divq %rcx
	andl $0xffffff, %eax
	movl %r9d, %ecx
	andl $0xffffff, %ecx
	EQ(l, %eax, %ecx)
	decl %ebp
	jnz 1b

	/* ---- x2APIC: the same by WRMSR ---- */
	movl $1, %eax
	cpuid
	testl $1 << 21, %ecx
	jz pass64
	movl $0x1b, %ecx
	rdmsr
	orl $0x400, %eax
	wrmsr
	movl $0x832, %ecx
	movl $0x10000, %eax
	xorl %edx, %edx
	wrmsr
	movl $OFTEN, %ebp
1:	movl $0x838, %ecx
	movl $1000000, %eax
	xorl %edx, %edx
	wrmsr
	movl $0x839, %ecx
	nop
	rdmsr
	addl $3, %eax
	EQ(l, $1000000, %eax)
	decl %ebp
	jnz 1b
	/* One that is refused is asked for once, and nothing else happens. */
	movl $OFTEN, %ebp
1:	movl $0x832, %ecx
	movl $-1, %eax
	FAULTS(13, 0, wrmsr)
	movl $0x802, %ecx
	FAULTS(13, 0, wrmsr)
	subl $10, %ebp
	jnz 1b
	jmp pass64

two:	nop
	ret

	/* R12 = the machine's clock less the counter, from the offset that the counter's MSR keeps. */
origin:	movl $0x3b, %ecx /* TSC_ADJUST: what was added */
	rdmsr
	shlq $32, %rdx
	orq %rdx, %rax
	negq %rax
	movq %rax, %r12
	ret

	.bss
	.balign 4096
pd_apic: .skip 4096
