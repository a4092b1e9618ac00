/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fast system calls: SYSCALL and SYSRET in 64-bit code, SYSENTER and SYSEXIT, their selectors, masks and faults (SDM vol. 2).
 */
#include "lib.inc"
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084
#define WRITE(msr, high, low) movl $(msr), %ecx; movl $(low), %eax; movl $(high), %edx; wrmsr
	.text
	MODE 32
	.globl main
main:	call enter_long
	MODE 64
	/* Off: #UD. */
	FAULTS(6, 0, syscall)
	movl $MSR_EFER, %ecx
	rdmsr
	orl $1, %eax
	wrmsr
	/* SYSRET: SS = STAR[63:48] + 8, CS + 16 for 64-bit code. */
	WRITE(MSR_STAR, (0x3b << 16) | CODE64, 0)
	WRITE(MSR_LSTAR, 0, entry)
	WRITE(MSR_SFMASK, 0, 0x40600)
	/* LSTAR takes canonical addresses only. */
	movl $MSR_LSTAR, %ecx
	movl $0x8000, %edx
	FAULTS(13, 0, wrmsr)

	movl $user, %ecx
	movl $0x3202 - 0x3000, %r11d
	movq %rsp, %r15
	cli
	sysretq
user:	/* CPL 3 with RFLAGS from R11. */
	movl %cs, %eax
	EQ(w, $UCODE64, %ax)
	movl %ss, %eax
	EQ(w, $UDATA, %ax)
	movl $user_top, %esp
	pushfq
	popq %rax
	andl $0x3700, %eax
	EQ(l, $0x200, %eax)
	pushq $0
	std
	stc
	syscall
back:	FAIL

	/* CPL 0 without a stack switch; RCX and R11 hold what was, SFMASK has cleared bits. */
entry:	movl %cs, %eax
	EQ(w, $CODE64, %ax)
	movl %ss, %eax
	EQ(w, $CODE64 + 8, %ax)
	EQ(l, $back, %ecx)
	EQ(l, $user_top - 8, %esp)
	testl $0x400, %r11d
	jnz 1f
	FAIL
1:	pushfq
	popq %rax
	testl $0x600, %eax
	jz 1f
	FAIL
1:	movq %r15, %rsp
	movl $DATA32, %eax
	movl %eax, %ss
	cld
	/* SYSRET to a non-canonical address. Intel: #GP(0) at CPL 0. AMD: the fault is the user's; so it is not tried.
	 * SYSRET at CPL 3 is #GP(0). */
	RESUME 2f
	movl $bad, %ecx
	movl $2, %r11d
	sysretq
bad:	sysretq
2:	EXC(13, 0)
	EQ(l, $bad, exc_rip)
	/* SYSRETL: compatibility mode, CS = STAR[63:48]. */
	RESUME 3f
	movl $compat, %ecx
	movl $2, %r11d
	sysretl
	MODE 32
compat:	movl %cs, %eax
	cmpw $0x3b, %ax
	jne 4f
	movl $5, %eax
	.byte 0x48 /* DEC EAX in 32-bit code */
	cmpl $4, %eax
	jne 4f
	int3
4:	ud2
	MODE 64
3:	EQ(l, $3, exc_vector)

	/* SYSENTER: off while its CS MSR is null; then CS, SS + 8, RIP and RSP from MSRs, IF cleared. */
	WRITE(0x174, 0, 0)
	FAULTS(13, 0, sysenter)
	WRITE(0x174, 0, CODE64)
	WRITE(0x175, 0, stack_top)
	WRITE(0x176, 0, enter)
	pushq $UDATA
	pushq $user_top
	pushq $0x202
	pushq $UCODE64
	pushq $5f
	iretq
5:	sysenter
	FAIL
enter:	movl %cs, %eax
	EQ(w, $CODE64, %ax)
	movl %ss, %eax
	EQ(w, $CODE64 + 8, %ax)
	EQ(l, $stack_top, %esp)
	pushfq
	popq %rax
	testl $0x200, %eax
	jz 6f
	FAIL
6:	/* SYSEXIT in 64-bit code: CS = MSR + 32 with RPL 3, SS + 40. */
	movl $DATA32, %eax
	movl %eax, %ss
	RESUME 7f
	movl $exited, %edx
	movl $user_top, %ecx
	sysexitq
exited:	movl %cs, %eax
	cmpw $((CODE64 + 32) | 3), %ax
	jne 8f
	movl %ss, %eax
	cmpw $((CODE64 + 40) | 3), %ax
	jne 8f
	cmpl $user_top, %esp
	jne 8f
	int3
8:	ud2
7:	EQ(l, $3, exc_vector)
	/* At CPL 3: #GP(0). */
	RESUME 9f
	pushq $UDATA
	pushq $user_top
	pushq $2
	pushq $UCODE64
	pushq $10f
	iretq
10:	sysexitl
9:	EXC(13, 0)
	EQ(l, $10b, exc_rip)
	/* SWAPGS. */
	WRITE(0xc0000101, 1, 2)
	WRITE(0xc0000102, 3, 4)
	swapgs
	movl $0xc0000101, %ecx
	rdmsr
	EQ(l, $4, %eax)
	EQ(l, $3, %edx)
	movl $0xc0000102, %ecx
	rdmsr
	EQ(l, $2, %eax)
	EQ(l, $1, %edx)
	jmp pass64
