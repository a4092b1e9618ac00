/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accesses to one object that engines may check together: each faults on its own, in its order, with its own address and error code, and
 * all before it are done. Objects within a page, across two, and on the stack; the second page there, missing, read-only, a device's.
 */
#include "lib.inc"
#define MAP_AT (32 << 20)
#define LOW MAP_AT
#define HIGH (MAP_AT + 4096)
#define APIC 0xfee00000
#define LVT 0x350		/* a register that keeps what is written */
#define ROUNDS 40
	/* The page table entry of HIGH. */
	.macro SET_HIGH entry
	movl $\entry, %eax
	movq %rax, pt + 8
	invlpg HIGH
	.endm
	/* That of LOW. */
	.macro SET_LOW entry
	movl $\entry, %eax
	movq %rax, pt
	invlpg LOW
	.endm
	/* As a program, until it faults. */
	.macro USER where, rsp
	RESUME 3f
	pushq $UDATA
	pushq \rsp
	pushq $2
	pushq $UCODE64
	pushq $\where
	iretq
3:	movl $DATA32, %eax
	movl %eax, %ds
	.endm
	.text
	MODE 32
	.globl main
main:	call enter_long
	MODE 64
	movq $pt + P + W + U, pd + 8 * 16
	movl $APIC, %esi
	movl $0x1ff, %edx
	movq $pd_apic + P + W + U, pdpt + 8 * 3
	movq %rsi, %rax
	orl $P + W + PS, %eax
	movq %rax, pd_apic + 8 * 503
	movl %edx, 0xf0(%rsi)
	movl $ROUNDS, %ebp
again:	SET_LOW scratch + P + W
	SET_HIGH scratch + 4096 + P + W

	/* In one page, with the TLB empty: nothing but what is asked for. */
	movl $LOW + 256, %ebx
	movq $0x1111, %rcx
	call write4
	call read4
	EQ(q, $0x1111 * 4 + 6, %rax)
	EQ(q, $0x1114, scratch + 256 + 24)
	/* Across two pages: two of the four in each. */
	movl $HIGH - 16, %ebx
	movq $0x2222, %rcx
	call write4
	call read4
	EQ(q, $0x2222 * 4 + 6, %rax)
	EQ(q, $0x2225, scratch + 4096 + 8)

	/* The second page is missing: the first two are written, the third faults. */
	SET_HIGH 0
	movq $0x3333, %rcx
	RESUME 1f
	call write4
	FAIL
1:	EXC(14, 2)
	EQ(l, $write4_third, exc_rip)
	EQ(q, $HIGH, exc_cr2)
	EQ(q, $0x3334, scratch + 4096 - 8)
	EQ(q, $0x2224, scratch + 4096)
	RESUME 1f
	call read4
	FAIL
1:	EXC(14, 0)
	EQ(l, $read4_third, exc_rip)
	EQ(q, $HIGH, exc_cr2)
	EQ(q, $0x3333 * 2 + 1, %rax)
	/* Then the first is: the first access faults, even though a later one would not. */
	SET_HIGH scratch + 4096 + P + W
	SET_LOW 0
	RESUME 1f
	call read4
	FAIL
1:	EXC(14, 0)
	EQ(l, $read4, exc_rip)
	EQ(q, $HIGH - 16, exc_cr2)
	/* Downward: the first access is in the second page. */
	RESUME 1f
	call down4
	FAIL
1:	EXC(14, 2)
	EQ(l, $down4_third, exc_rip)
	EQ(q, $HIGH - 8, exc_cr2)
	SET_LOW scratch + P + W

	/* Read-only: what reads before it writes faults where it writes, and leaves the page clean till then. */
	SET_LOW scratch + P
	movl $LOW + 512, %ebx
	movq $5, scratch + 512
	movq $6, scratch + 520
	movl $2, %edi
2:	RESUME 1f
	call read_write
	FAIL
1:	EXC(14, 3)
	EQ(l, $rw_store, exc_rip)
	EQ(q, $LOW + 520, exc_cr2)
	EQ(q, $5, %rax)
	decl %edi
	jnz 2b
	SET_LOW scratch + P + W
	movl $3, %ecx
	testl %ecx, %ecx
	call read_maybe_write	/* does not */
	testl $D, pt
	jz 1f
	FAIL
1:	testl $A, pt
	jnz 1f
	FAIL
1:	xorl %ecx, %ecx
	call read_maybe_write
	testl $D, pt
	jnz 1f
	FAIL
1:
	/* An object on a device's page, and one half on it. */
	SET_HIGH APIC + P + W
	movl $HIGH + LVT - 8, %ebx
	movl $0x10042, %ecx
	call write_device
	EQ(l, $0x10042, %eax)
	movl $HIGH - 8, %ebx
	movq $77, scratch + 4096 - 8
	call read_half
	EQ(q, $77, %rax)
	SET_HIGH scratch + 4096 + P + W

	/* Stacks, a program's: pushes and pops over the border of two pages, and the lower one missing, and read-only. */
	SET_LOW scratch + P + W + U
	SET_HIGH scratch + 4096 + P + W + U
	USER pushes, $HIGH+16
	EQ(l, $3, exc_vector)
	EQ(q, $HIGH + 16, exc_rsp)
	EQ(q, $0x104, %rdi)
	EQ(q, $0x101, scratch + 4096 + 8)
	EQ(q, $0x104, scratch + 4096 - 16)
	SET_LOW 0
	USER pushes, $HIGH+16
	EXC(14, 6)
	EQ(l, $pushes_third, exc_rip)
	EQ(q, $HIGH - 8, exc_cr2)
	EQ(q, $HIGH, exc_rsp)
	SET_LOW scratch + P + U
	USER pushes, $HIGH+16
	EXC(14, 7)
	EQ(l, $pushes_third, exc_rip)
	EQ(q, $HIGH, exc_rsp)
	/* What is only read may be there. */
	movq $0x201, scratch + 4096 - 24
	movq $0x202, scratch + 4096 - 16
	movq $0x203, scratch + 4096 - 8
	movq $0x204, scratch + 4096
	USER pops, $HIGH-24
	EQ(l, $3, exc_vector)
	EQ(q, $0x80a, %rdi)
	EQ(q, $HIGH + 8, exc_rsp)
	SET_HIGH 0
	USER pops, $HIGH-24
	EXC(14, 4)
	EQ(l, $pops_fourth, exc_rip)
	EQ(q, $HIGH, exc_cr2)
	EQ(q, $0x606, %rdi)
	/* No canonical addresses. */
	movabs $0x800000000010, %rdx
	USER pushes, %rdx
	EXC(12, 0)
	movabs $0x7ffffffffff0, %rdx
	USER pops, %rdx
	EXC(14, 4)
	EQ(q, %rdx, exc_cr2)
	SET_LOW scratch + P + W
	SET_HIGH scratch + 4096 + P + W

	/* Registers that the object is named by change between its accesses. */
	movl $LOW + 1024, %ebx
	call moving
	EQ(q, $0x31, scratch + 1024)
	EQ(q, $0x32, scratch + 1032)
	EQ(q, $0x33, scratch + 1056)
	EQ(q, $0x34, scratch + 1048)
	/* Flags pass over them, and operands that have no host register of their own. */
	call flags
	EQ(l, $7, %eax)
	call others
	EQ(q, $0x6a, %rax)

	/* The mapping changes between two accesses, by the block itself. */
	movl $LOW, %ebx
	movq $0x51, scratch
	movq $0x52, scratch + 8
	movq $0x61, scratch + 8192
	movq $0x62, scratch + 8200
	call remap
	EQ(q, $0x51 + 0x62, %rax)

	/* An instruction with two accesses misses the TLB by the first: what the second would have shared nobody has checked. */
	SET_LOW scratch + P + W
	SET_HIGH scratch + 8192 + P + W
	movl $HIGH, %ebx
	movl $LOW, %edi
	movq $0x71, scratch
	movq $0x72, scratch + 8192
	call two
	EQ(q, $0x72, %rax)
	EQ(q, $0x71, %rdx)
	EQ(q, $0x71, scratch)
	SET_HIGH scratch + 4096 + P + W
	decl %ebp
	jnz again
	jmp pass64
two:	movq (%rdi), %rdx	/* shared, in a block of its own */
	movq 8(%rdi), %rcx
	invlpg (%rbx)
	jmp 1f
1:	pushq (%rbx)
	movq (%rsp), %rax
	movq %rbp, (%rsp)
	popq %rcx
	ret

read4:	movq (%rbx), %rax
	addq 8(%rbx), %rax
read4_third:
	addq 16(%rbx), %rax
	addq 24(%rbx), %rax
	ret
write4:	movq %rcx, (%rbx)
	leaq 1(%rcx), %rdx
	movq %rdx, 8(%rbx)
	incq %rdx
write4_third:
	movq %rdx, 16(%rbx)
	incq %rdx
	movq %rdx, 24(%rbx)
	ret
down4:	movq %rcx, 24(%rbx)
	movq %rcx, 16(%rbx)
down4_third:
	movq %rcx, 8(%rbx)
	movq %rcx, (%rbx)
	ret
read_write:
	movq (%rbx), %rax
rw_store:
	movq %rax, 8(%rbx)
	movq %rax, 16(%rbx)
	ret
read_maybe_write:
	movq (%rbx), %rax
	movq 8(%rbx), %rdx
	testl %ecx, %ecx
	jnz 1f
	movq %rax, 16(%rbx)
	movq %rax, 24(%rbx)
1:	ret
write_device:
	movl %ecx, 8(%rbx)
	movl 8(%rbx), %eax
	movl %eax, 8(%rbx)
	movl 8(%rbx), %eax
	ret
	/* The second from a device's page: its identification, whatever that is. */
read_half:
	movq (%rbx), %rax
	movl 8 + 0x20(%rbx), %edx
	movl 8 + 0x30(%rbx), %ecx
	ret
pushes:	pushq $0x101
	pushq $0x102
pushes_third:
	pushq $0x103
	pushq $0x104
	movq (%rsp), %rdi
	movq 8(%rsp), %rcx
	EQ(q, $0x103, %rcx)
	popq %rcx
	popq %rcx
	popq %rcx
	popq %rcx
	EQ(q, $0x101, %rcx)
	int3
pops:	popq %rdi
	popq %rcx
	popq %rsi
	addq %rcx, %rdi
	addq %rsi, %rdi
pops_fourth:
	popq %rcx
	addq %rcx, %rdi
	int3
moving:	movq $0x31, (%rbx)
	addq $8, %rbx
	movq $0x32, (%rbx)
	leaq 24(%rbx), %rdi
	movq $0x33, (%rdi)
	movq %rdi, %rbx
	subq $8, %rbx
	movq $0x34, (%rbx)
	ret
flags:	xorl %eax, %eax
	movl $LOW, %ebx
	movl $5, (%rbx)
	cmpl $5, (%rbx)
	movl 4(%rbx), %ecx	/* no flag is touched */
	setz %al
	stc
	movl 8(%rbx), %ecx
	movl 12(%rbx), %edx
	adcl $5, %eax
	ret
others:	movl $LOW, %ebx
	movl $0x35, %r11d
	movl $0x35, %r15d
	movq %r11, (%rbx)
	movq %r15, 8(%rbx)
	xorl %r11d, %r11d
	movq (%rbx), %r15
	addq 8(%rbx), %r15
	movq %r15, 16(%rbx)
	movq 16(%rbx), %r11
	movq %r11, %rax
	ret
remap:	movq (%rbx), %rax
	movl $scratch + 8192 + P + W, %ecx
	movq %rcx, pt
	invlpg (%rbx)
	addq 8(%rbx), %rax
	ret
	.bss
	.balign 4096
pt:	.skip 4096
pd_apic: .skip 4096
