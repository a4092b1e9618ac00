/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that engines have a short way for: MOV to CR3, INVLPG, WRMSR, CPUID, RDTSCP, XSAVE and XRSTOR. Each in a loop, from
 * several registers and addresses, with vector registers in use beside it, and then with what makes it fault.
 */
#include "lib.inc"
#define OFTEN 2000
#define CR4_TSD 4
#define CR4_OSXSAVE 0x40000
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS 0xc0000102
#define MSR_TSC_AUX 0xc0000103
#define MAP_AT (32 << 20)	/* pt: two pages, changed all the time */
/* As user code, then back with the exception recorded. */
#define USER(label)			\
	pushq $UDATA;			\
	pushq $user_top;		\
	pushq $2;			\
	pushq $UCODE64;			\
	pushq $label;			\
	iretq
#define KERNEL				\
	movl $DATA32, %eax;		\
	movl %eax, %ds

	.text
	MODE 32
	.globl main
main:	call enter_long
	MODE 64
	movq $pt + P + W + U, pd + 8 * 16
	movq $scratch + P + W + U, pt
	movq $0x1111, scratch
	movq $0x2222, scratch + 4096

	/* ---- CR3: what is mapped anew is seen behind it, whatever has been accessed before ---- */
	movl $pml4, %r11d
	movl $pml4, %r15d
	movl $OFTEN, %ebp
	movl $MAP_AT, %esi
1:	movq $scratch + P + W + U, pt
	movq %r11, %cr3
	EQ(l, $0x1111, (%rsi))
	movq $scratch + 4096 + P + W + U, pt
	movq %r15, %cr3
	EQ(l, $0x2222, (%rsi))
	movq %r11, %rax
	movq $scratch + P + W + U, pt
	movq %rax, %cr3
	EQ(l, $0x1111, (%rsi))
	movq %rsp, %rbx
	movq %r11, %rsp
	movq %rsp, %cr3
	movq %rbx, %rsp
	EQ(l, $0x1111, (%rsi))
	decl %ebp
	jnz 1b
	movl $pml4, %ecx
	movq %cr3, %rax
	EQ(q, %rcx, %rax)
	movabs $0x4000000000000000, %rax
	orq %rcx, %rax
	FAULTS(13, 0, movq %rax, %cr3)
	movq %cr3, %rax
	EQ(q, %rcx, %rax)
	RESUME 2f
	USER(1f)
1:	movq %rax, %cr3
	FAIL
2:	EXC(13, 0)
	EQ(l, $1b, exc_rip)
	KERNEL

	/* ---- INVLPG ---- */
	movl $OFTEN, %ebp
	movq $MAP_AT - 0x1000, %r11
	movl $0x100, %r15d
1:	movq $scratch + P + W + U, pt
	invlpg (%rsi)
	EQ(l, $0x1111, (%rsi))
	movq $scratch + 4096 + P + W + U, pt
	invlpg (%r11, %r15, 8)
	invlpg 0x800(%r11, %r15, 8)
	EQ(l, $0x2222, (%rsi))
	movq $scratch + P + W + U, pt
	invlpg MAP_AT + 0xfff
	EQ(l, $0x1111, (%rsi))
	decl %ebp
	jnz 1b
	movabs $0x800000000000, %rbx
	invlpg (%rbx) /* no address: nothing */
	movl $MSR_GS_BASE, %ecx
	movl $MAP_AT, %eax
	xorl %edx, %edx
	wrmsr
	movl $OFTEN, %ebp
	xorl %ebx, %ebx
1:	movq $scratch + 4096 + P + W + U, pt
	invlpg %gs:(%rbx)
	EQ(l, $0x2222, (%rsi))
	movq $scratch + P + W + U, pt
	invlpg %gs:0x123(%rbx)
	EQ(l, $0x1111, (%rsi))
	decl %ebp
	jnz 1b
	RESUME 2f
	USER(1f)
1:	invlpg (%rsi)
	FAIL
2:	EXC(13, 0)
	EQ(l, $1b, exc_rip)
	KERNEL
	/* Of the page that runs: code at MAP_AT puts another page there, whose code differs behind the INVLPG. */
	movl $two, %esi
	movl $scratch, %edi
	movl $code - two, %ecx
	rep movsb
	movl $scratch + 4096, %edi
	movl $code - two, %ecx
	movl $two, %esi
	rep movsb
	movb $2, scratch + 4096 + (the_imm - two)
	movl $OFTEN, %ebp
1:	movq $scratch + P + W + U, pt
	invlpg MAP_AT
	movl $MAP_AT, %ebx
	callq *%rbx
	EQ(l, $2, %eax)
	movq $scratch + 4096 + P + W + U, pt
	invlpg MAP_AT
	callq *%rbx
	EQ(l, $2, %eax)
	decl %ebp
	jnz 1b
	jmp msrs

two:	movq $scratch + 4096 + P + W + U, pt
	invlpg (%rbx)
	.byte 0xb8
the_imm: .long 1 /* movl $1, %eax */
	ret
code:

	/* ---- WRMSR ---- */
msrs:	movl $OFTEN, %ebp
1:	movl $MSR_FS_BASE, %ecx
	movl %ebp, %eax
	movl $0x7fff, %edx
	wrmsr
	rdmsr
	EQ(l, %ebp, %eax)
	EQ(l, $0x7fff, %edx)
	movl $MSR_KERNEL_GS, %ecx
	movl $-1, %edx
	wrmsr
	rdmsr
	EQ(l, %ebp, %eax)
	EQ(l, $-1, %edx)
	movl $MSR_GS_BASE, %ecx
	movl $scratch, %eax
	xorl %edx, %edx
	movq $0x4444, scratch + 8192
	wrmsr
	EQ(l, $0x4444, %gs:8192)
	decl %ebp
	jnz 1b
	movl $0x8000, %edx
	FAULTS(13, 0, wrmsr)
	movl $MSR_FS_BASE, %ecx
	FAULTS(13, 0, wrmsr)
	movl $0xdead, %ecx
	FAULTS(13, 0, wrmsr)
	RESUME 2f
	USER(1f)
1:	wrmsr
	FAIL
2:	EXC(13, 0)
	EQ(l, $1b, exc_rip)
	KERNEL

	/* ---- CPUID, RDTSCP: registers, and what the block has in vector registers ---- */
	movl $MSR_TSC_AUX, %ecx
	movl $0x1234, %eax
	xorl %edx, %edx
	wrmsr
	xorl %eax, %eax
	cpuid
	movl %ebx, %r12d
	movl %ecx, %r13d
	movl %edx, %r14d
	movq $77, %rax
	movq %rax, %xmm3
	movl $OFTEN, %ebp
1:	movq $-1, %rbx
	movq $-1, %rdx
	movq %rbx, %rcx
	xorl %eax, %eax
	movl $6, %esi
	movq %rbp, %r8
	movq %rbp, %r11
	movq %rbp, %r15
	paddq %xmm3, %xmm3
	psubq %xmm3, %xmm3
	movq %rbp, %xmm3
	stc
	cpuid
	jc 2f
	FAIL
2:	movq %xmm3, %r9
	EQ(q, %r12, %rbx)
	EQ(q, %r13, %rcx)
	EQ(q, %r14, %rdx)
	EQ(q, %rbp, %r8)
	EQ(q, %rbp, %r9)
	EQ(q, %rbp, %r11)
	EQ(q, %rbp, %r15)
	EQ(l, $6, %esi)
	decl %ebp
	jnz 1b
	movl $OFTEN, %ebp
	xorl %r10d, %r10d
1:	movq %rbp, %xmm3
	movq $-1, %rcx
	movq $-1, %rax
	movq $-1, %rdx
	movq %rbp, %rbx
	stc
	rdtscp
	jc 2f
	FAIL
2:	shlq $32, %rdx
	orq %rdx, %rax
	EQ(q, $0x1234, %rcx)
	movq %rax, %rcx
	rdtsc
	shlq $32, %rdx
	orq %rdx, %rax
	cmpq %rcx, %rax
	jae 2f
	FAIL
2:	cmpq %r10, %rcx
	jae 2f
	FAIL
2:	movq %rax, %r10
	movq %xmm3, %rax
	EQ(q, %rbp, %rax)
	EQ(q, %rbp, %rbx)
	decl %ebp
	jnz 1b
	/* The user's: while CR4.TSD is clear, so often that there is a short way; then set, from the same places. The kernel may go on. */
	movl $3, %r13d
3:	movl $OFTEN, %ebp
	RESUME 2f
	USER(tsc)
2:	EXC(3, 0)
	KERNEL
	movq %cr4, %rax
	orl $CR4_TSD, %eax
	movq %rax, %cr4
	rdtscp
	rdtsc
	movl $1, %ebp
	movq $-1, %rax
	movq %rax, %rdx
	RESUME 2f
	USER(tsc)
2:	EXC(13, 0)
	EQ(l, $tsc, exc_rip)
	EQ(q, $-1, %rdx)
	KERNEL
	RESUME 2f
	USER(tscp)
2:	EXC(13, 0)
	EQ(l, $tscp, exc_rip)
	KERNEL
	movq %cr4, %rax
	andl $~CR4_TSD, %eax
	movq %rax, %cr4
	decl %r13d
	jnz 3b

	/* ---- XSAVE, XRSTOR ---- */
	movl $1, %eax
	cpuid
	testl $1 << 26, %ecx
	jz pass64
	movl $area, %edi
	FAULTS(6, 0, xsave64 (%rdi))
	movq %cr4, %rax
	orl $CR4_OSXSAVE, %eax
	movq %rax, %cr4
	xorl %ecx, %ecx
	xorl %edx, %edx
	movl $3, %eax
	xsetbv
	movl $OFTEN, %ebp
	movl $area, %r11d
	movl $area - 64, %r15d
1:	movq %rbp, %xmm0
	movq %rbp, %xmm15
	movl $3, %eax
	xsave64 (%rdi)
	pxor %xmm0, %xmm0
	pxor %xmm15, %xmm15
	xrstor64 (%r11)
	movq %xmm0, %rcx
	EQ(q, %rbp, %rcx)
	movq %xmm15, %rcx
	EQ(q, %rbp, %rcx)
	movq %rbp, %xmm7
	movl $2, %eax
	xsave 64(%r15)
	xorps %xmm7, %xmm7
	xrstor64 (%rdi)
	movq %xmm7, %rcx
	EQ(q, %rbp, %rcx)
	EQ(q, %rbp, 160 + 7 * 16(%rdi))
	decl %ebp
	jnz 1b
	FAULTS(13, 0, xsave64 8(%rdi))
	FAULTS(13, 0, xrstor64 8(%rdi))
	movl $0x40000000, %ebx
	FAULTS(14, 2, xsave64 (%rbx))
	EQ(q, %rbx, exc_cr2)
	FAULTS(14, 0, xrstor64 (%rbx))
	movq $0, pt + 8
	movq $scratch + P + W + U, pt
	movq %cr3, %rax
	movq %rax, %cr3
	movl $3, %eax
	movl $MAP_AT + 4096 - 512, %ebx	/* its end is not there */
	FAULTS(14, 2, xsave64 (%rbx))
	movl $MAP_AT + 4096, %ecx
	EQ(q, %rcx, exc_cr2)
	/* A header with reserved bits, an MXCSR with some; nothing is loaded. */
	movq $5, %rcx
	movq %rcx, %xmm0
	movq $1, 520(%rdi)
	FAULTS(13, 0, xrstor64 (%rdi))
	movq $0, 520(%rdi)
	movl $0x10000, 24(%rdi)
	FAULTS(13, 0, xrstor64 (%rdi))
	movq %xmm0, %rcx
	EQ(q, $5, %rcx)
	/* One that unmasks exceptions counts at once: the quotient by 0 in the same block. */
	movl $0x1d80, 24(%rdi)
	movq %cr4, %rcx
	xrstor64 (%rdi)
	movl $1, %ecx
	cvtsi2sdl %ecx, %xmm0
	pxor %xmm1, %xmm1
	FAULTS(19, 0, divsd %xmm1, %xmm0)
	movl $0x1f80, 24(%rdi)
	xrstor64 (%rdi)
	divsd %xmm1, %xmm0
	/* TS: #NM. */
	movq %cr0, %rax
	orl $CR0_TS, %eax
	movq %rax, %cr0
	FAULTS(7, 0, xsave64 (%rdi))
	FAULTS(7, 0, xrstor64 (%rdi))
	clts
	jmp pass64

tsc:	rdtsc
tscp:	rdtscp
	shlq $32, %rdx
	orq %rdx, %rax
	decl %ebp
	jnz tsc
	int3

	.bss
	.balign 4096
pt:	.skip 4096
	.balign 64
	.skip 64
area:	.skip 4096
