/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of PUSH and POP, which engines may check once and move the stack pointer for once: each of a run faults as if it were alone, with
 * what came before it done, the stack pointer where that left it, and nothing else; wherever in the run the stack's page ends, in code that
 * was executed often. The same where something between two of them faults. 64-bit code, and a program's 32-bit code.
 */
#include "lib.inc"
#define OFTEN 2500
#define FEW 100
#define N 8
#define WIN 0x40000000
#define BORDER WIN + 0x6000
#define LOW_PTE pt + 8 * 5
#define HIGH_PTE pt + 8 * 6
	/* Registers by number. */
	.macro SET_REGS
	movl $0x11, %eax
	movl $0x22, %ebx
	movabs $0x1111111133333333, %r11
	movabs $0x2222222244444444, %r15
	movl $0x55, %ecx
	movl $0x66, %edx
	movl $0x77, %esi
	.endm

	.text
	MODE 32
	.globl main
main:	movl $pd_w + P + W + U, pdpt + 8
	movl $pt + P + W + U, pd_w
	call enter_long
	MODE 64
	movq $fault_top, tss64 + 0x24 /* IST 1 */
	movb $1, idt64 + 14 * 16 + 4
	movq $low + P + W + U, LOW_PTE
	movq $high + P + W + U, HIGH_PTE

	movl $FEW, %r12d
	call rounds
	movl $OFTEN, %r12d
	call rounds

	/* ---- 32-bit code of the user's ---- */
	movl $OFTEN, times
	movl $BORDER + 0x800, %r8d
	movl $into_push32, %r9d
	call user
	EQ(l, $3, exc_vector)
	movl $OFTEN, times
	movl $BORDER + 0x800, %r8d
	movl $pop32, %r9d
	call user
	EQ(l, $3, exc_vector)
	movq $0, LOW_PTE
	invlpg BORDER - 1
	xorl %r14d, %r14d
1:	leaq BORDER(, %r14, 4), %r8
	movl $into_push32, %r9d
	movl $1, times
	call user
	EXC(14, 6)
	EQ(l, $BORDER - 4, exc_cr2)
	EQ(l, $BORDER, exc_rsp)
	movl push32_at(, %r14, 4), %eax
	EQ(l, %eax, exc_rip)
	xorl %ecx, %ecx
2:	cmpl %r14d, %ecx
	je 3f
	movl %r14d, %eax
	subl %ecx, %eax
	movl high - 4(, %rax, 4), %eax
	movl pushed32(, %rcx, 4), %edx
	EQ(l, %edx, %eax)
	incl %ecx
	jmp 2b
3:	incl %r14d
	cmpl $N, %r14d
	jne 1b
	movq $low + P + W + U, LOW_PTE
	movq $0, HIGH_PTE
	invlpg BORDER
	xorl %r14d, %r14d
1:	movl $BORDER, %r8d
	movl %r14d, %eax
	shll $2, %eax
	subl %eax, %r8d
	movl $pop32, %r9d
	movl $1, times
	call user
	EXC(14, 4)
	EQ(l, $BORDER, exc_cr2)
	EQ(l, $BORDER, exc_rsp)
	movl pop32_at(, %r14, 4), %eax
	EQ(l, %eax, exc_rip)
	incl %r14d
	cmpl $N, %r14d
	jne 1b
	jmp pass64

	/* At CPL 3, in compatibility mode: R9 with stack R8. */
user:	popq %rax
	movq %rax, back
	RESUME 1f
	movl $UDATA32, %eax
	movl %eax, %ds
	pushq $UDATA32
	pushq %r8
	pushq $2
	pushq $UCODE32
	pushq %r9
	iretq
1:	movl $stack_top, %esp
	movl $DATA32, %eax
	movl %eax, %ds
	jmp *back

	/* R12 times with a good stack, then with one that ends, each place in the run in turn. */
rounds:	popq %rax
	movq %rax, back
	movl $1f, %r13d
	movl $BORDER + 0x800, %esp
	movl %r12d, %ebp
	SET_REGS
	jmp push
1:	movl $1f, %r13d
	movl $BORDER + 0x800, %esp
	movl %r12d, %ebp
	jmp pop
1:	movl $1f, %r13d
	movl $BORDER + 0x800, %esp
	movl %r12d, %ebp
	movl $scratch, %edi
	movl $scratch, %esi
	movl $1, %ecx
	movl $5, %eax
	xorl %edx, %edx
	jmp between
1:	movl $1f, %r13d
	movl $BORDER + 0x800, %esp
	movl %r12d, %ebp
	SET_REGS
	jmp mix
1:	EQ(q, $BORDER + 0x800, %rsp)
	/* To and fro: with the border at each place, nothing faults. */
	xorl %r14d, %r14d
2:	leaq BORDER(, %r14, 8), %rsp
	subq $24, %rsp
	movq %rsp, %r8
	movl $1, %ebp
	movq $0x91, (%rsp)
	movq $0x92, 8(%rsp)
	movq $0x93, 16(%rsp)
	SET_REGS
	movl $1f, %r13d
	jmp mix
1:	EQ(q, %r8, %rsp)
	EQ(l, $0x91, %eax)
	EQ(l, $0x92, %ebx)
	EQ(l, $0x55, %edi)
	EQ(q, $0x55, 8(%rsp))
	EQ(q, $0x66, (%rsp))
	EQ(q, $0x77, -8(%rsp))
	incl %r14d
	cmpl $6, %r14d
	jne 2b
	movl $stack_top, %esp
	/* The last push is below it, and nothing is there. */
	movq $0, LOW_PTE
	invlpg BORDER - 8
	movl $BORDER, %esp
	movl $1, %ebp
	SET_REGS
	RESUME 3f
	jmp mix
3:	movq %rsp, %r8
	movl $stack_top, %esp
	EXC(14, 2)
	EQ(q, $BORDER, %r8)
	EQ(l, $x_at, exc_rip)
	EQ(q, $BORDER - 8, exc_cr2)
	EQ(q, $0x66, high)
	EQ(q, $0x55, high + 8)
	movq $low + P + W + U, LOW_PTE
	invlpg BORDER - 8
	movl $stack_top, %esp

	/* Pushes: what lies below the border is not there, or read-only. */
	xorl %r10d, %r10d
each:	movq %r10, LOW_PTE
	invlpg BORDER - 8
	xorl %r14d, %r14d
2:	movl $high, %edi
	movl $16, %ecx
	xorl %eax, %eax
	rep stosq
	leaq BORDER(, %r14, 8), %rsp
	movl $1, %ebp
	SET_REGS
	RESUME 3f
	jmp push
3:	movq %rsp, %rdi
	movl $stack_top, %esp
	EQ(q, $BORDER, %rdi)
	EQ(q, $BORDER - 8, exc_cr2)
	movl push_at(, %r14, 4), %eax
	EQ(l, %eax, exc_rip)
	movl %r10d, %eax
	andl $P, %eax
	orl $2, %eax
	EQ(l, %eax, exc_error)
	xorl %ecx, %ecx
4:	cmpl %r14d, %ecx
	je 5f
	movl %r14d, %eax
	subl %ecx, %eax
	movq high - 8(, %rax, 8), %rax
	movq pushed(, %rcx, 8), %rdx
	EQ(q, %rdx, %rax)
	incl %ecx
	jmp 4b
5:	EQ(q, $0, high(, %r14, 8))
	incl %r14d
	cmpl $N, %r14d
	jne 2b
	testl %r10d, %r10d
	movl $low + P, %r10d
	jz each
	movq $low + P + W + U, LOW_PTE
	invlpg BORDER - 8

	/* Pops: what lies above it is not there. */
	movq $0, HIGH_PTE
	invlpg BORDER
	xorl %r14d, %r14d
2:	movl $BORDER, %edi
	movl %r14d, %eax
	shll $3, %eax
	subl %eax, %edi
	movq %rdi, %rsp
	xorl %ecx, %ecx
3:	cmpl %r14d, %ecx
	je 4f
	leal 0x100(%rcx), %eax
	movq %rax, (%rdi, %rcx, 8)
	incl %ecx
	jmp 3b
4:	movl $1, %ebp
	SET_REGS
	movl $0x88, %edi
	RESUME 5f
	jmp pop
5:	movq %rax, got
	movq %rbx, got + 8
	movq %r11, got + 16
	movq %r15, got + 24
	movq %rcx, got + 32
	movq %rdx, got + 40
	movq %rsi, got + 48
	movq %rdi, got + 56
	movq %rsp, %rdi
	movl $stack_top, %esp
	EXC(14, 0)
	EQ(q, $BORDER, %rdi)
	EQ(q, $BORDER, exc_cr2)
	movl pop_at(, %r14, 4), %eax
	EQ(l, %eax, exc_rip)
	xorl %ecx, %ecx
6:	leal 0x100(%rcx), %eax
	cmpl %r14d, %ecx
	jb 7f
	movq popped_not(, %rcx, 8), %rax
7:	EQ(q, %rax, got(, %rcx, 8))
	incl %ecx
	cmpl $N, %ecx
	jne 6b
	incl %r14d
	cmpl $N, %r14d
	jne 2b
	movq $high + P + W + U, HIGH_PTE
	invlpg BORDER

	/* Something else faults. */
	xorl %r14d, %r14d
2:	movl $BORDER + 0x800, %esp
	movl $1, %ebp
	movl $scratch, %edi
	movl $scratch, %esi
	movl $1, %ecx
	testl %r14d, %r14d
	jnz 3f
	movl $0x7fff0000, %edi
3:	cmpl $1, %r14d
	jne 3f
	movl $0x7fff0000, %esi
3:	cmpl $2, %r14d
	jne 3f
	xorl %ecx, %ecx
3:	xorl %edx, %edx
	movl $5, %eax
	RESUME 4f
	jmp between
4:	movq %rsp, %rdi
	movl $stack_top, %esp
	movl between_at(, %r14, 8), %eax
	EQ(l, %eax, exc_rip)
	movslq between_at + 4(, %r14, 8), %rax
	leaq BORDER + 0x800(%rax), %rax
	EQ(q, %rax, %rdi)
	incl %r14d
	cmpl $3, %r14d
	jne 2b
	jmp *back

	/* RBP times. */
push:	pushq %rax
p1:	pushq %rbx
p2:	pushq $0x7
p3:	pushq %r11
p4:	pushq %r15
p5:	pushq %rcx
p6:	pushq %rdx
p7:	pushq %rsi
	addq $64, %rsp
	decl %ebp
	jnz push
	jmp *%r13
pop:	popq %rax
q1:	popq %rbx
q2:	popq %r11
q3:	popq %r15
q4:	popq %rcx
q5:	popq %rdx
q6:	popq %rsi
q7:	popq %rdi
	subq $64, %rsp
	decl %ebp
	jnz pop
	jmp *%r13
mix:	popq %rax
	popq %rbx
	pushq %rcx
	pushq %rdx
x_at:	pushq %rsi
	popq %rsi
	popq %rdx
	popq %rdi
	pushq %rdi
	pushq %rdx
	decl %ebp
	jnz mix
	jmp *%r13
between: pushq %rax
	pushq %rbx
	movq %rdi, %r9
m1:	movq (%rdi), %r8
	pushq %r8
	pushq %rcx
	pushq %rdx
m2:	addl %r8d, (%rsi)
	popq %rdx
	popq %rcx
	movl $1, %r8d
	orl %r8d, %ebx
m3:	divl %ecx
	popq %r8
	movl $5, %eax
	xorl %edx, %edx
	movl $1, %ecx
	movl $scratch, %esi
	movl $scratch, %edi
	popq %rbx
	popq %rax
	decl %ebp
	jnz between
	jmp *%r13

	MODE 32
into_push32:
	movl $0x11, %eax
	movl $0x22, %ebx
	movl $0x33, %ecx
	movl $0x44, %edx
	movl $0x55, %esi
	movl $0x66, %edi
	movl $0x88, %ebp
push32:	pushl %eax
u1:	pushl %ebx
u2:	pushl $0x7
u3:	pushl %ecx
u4:	pushl %edx
u5:	pushl %esi
u6:	pushl %edi
u7:	pushl %ebp
	addl $32, %esp
	decl times
	jnz into_push32
	int3
pop32:	popl %eax
v1:	popl %ebx
v2:	popl %ecx
v3:	popl %edx
v4:	popl %esi
v5:	popl %edi
v6:	popl %ebp
v7:	popl %eax
	subl $32, %esp
	decl times
	jnz pop32
	int3

	.data
	.balign 8
pushed: .quad 0x11, 0x22, 0x7, 0x1111111133333333, 0x2222222244444444, 0x55, 0x66, 0x77
popped_not: .quad 0x11, 0x22, 0x1111111133333333, 0x2222222244444444, 0x55, 0x66, 0x77, 0x88
push_at: .long push, p1, p2, p3, p4, p5, p6, p7
pop_at:	.long pop, q1, q2, q3, q4, q5, q6, q7
push32_at: .long push32, u1, u2, u3, u4, u5, u6, u7
pop32_at: .long pop32, v1, v2, v3, v4, v5, v6, v7
pushed32: .long 0x11, 0x22, 0x7, 0x33, 0x44, 0x55, 0x66, 0x88
between_at: .long m1, -16, m2, -40, m3, -24
	.bss
	.balign 4096
back:	.skip 8
times:	.skip 4
	.balign 8
got:	.skip 64
	.balign 4096
pd_w:	.skip 4096
pt:	.skip 4096
low:	.skip 4096
high:	.skip 4096
	.skip 4096
fault_top:
