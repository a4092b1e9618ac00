/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads and stores that go to a device, or beside code, so often that engines make a shortcut for them; then the same ones to RAM, to where
 * they fault, and to a page that has changed meanwhile. And IN and OUT, with and without the right to.
 */
#include "lib.inc"
#define OFTEN 500
#define APIC 0xfee00000
#define LVT 0x350		/* a register that keeps what is written */
#define MAP_AT (32 << 20)
#define PORT 0xed		/* nothing there: reads as ones */
/* rbx: address. 1b and 2b: one load, one store of 32 bits. */
	.text
	MODE 32
	.globl main
main:	call enter_long
	MODE 64
	movq $pt + P + W + U, pd + 8 * 16
	movl $APIC, %esi
	movq $pd_apic + P + W + U, pdpt + 8 * 3
	movq %rsi, %rax
	orl $P + W + PS, %eax
	movq %rax, pd_apic + 8 * 503
	movl $0x1ff, 0xf0(%rsi)

	/* A device only, then RAM only, then both in turn. */
	movl $3, %r12d
1:	movl $OFTEN, %ebp
2:	movl $APIC + LVT, %ebx
	movl %ebp, %eax
	andl $0xff, %eax
	orl $0x10000, %eax
	call store
	movl %eax, %r8d
	xorl %eax, %eax
	call load
	EQ(l, %r8d, %eax)
	decl %ebp
	jnz 2b
	movl $OFTEN, %ebp
2:	movl $scratch + 8, %ebx
	movl %ebp, %eax
	call store
	xorl %eax, %eax
	call load
	EQ(l, %ebp, %eax)
	decl %ebp
	jnz 2b
	decl %r12d
	jnz 1b
	movl $OFTEN, %ebp
2:	movl $APIC + LVT, %ebx
	movl $0x100fe, %eax
	call store
	call load
	EQ(l, $0x100fe, %eax)
	movl $scratch + 4094, %ebx	/* across pages, too */
	movl %ebp, %eax
	call store
	call load
	EQ(l, %ebp, %eax)
	decl %ebp
	jnz 2b
	/* Other sizes and registers, from a place of their own. */
	movl $OFTEN, %ebp
	movl $APIC + LVT, %r15d
2:	movl $0x10077, (%r15)
	movl (%r15), %r13d
	EQ(l, $0x10077, %r13d)
	movl (%r15), %r11d
	EQ(l, $0x10077, %r11d)
	movq $-1, %r14
	movl (%r15), %r14d
	movl $0x10077, %eax
	EQ(q, %rax, %r14)
	movl %r11d, (%r15)
	decl %ebp
	jnz 2b

	/* It faults at such a place as anywhere. */
	movl $OFTEN, %ebp
2:	movl (%rsi), %eax
	movl (%rsi), %eax
	decl %ebp
	jnz 2b
	movl $APIC + LVT, %ebx
	movl $OFTEN, %ebp
2:	call load
	movl %eax, %eax
	call store
	decl %ebp
	jnz 2b
	movl $0x40000000, %ebx
	RESUME 3f
	call load
	FAIL
3:	EXC(14, 0)
	EQ(l, $load, exc_rip)
	EQ(q, %rbx, exc_cr2)
	RESUME 3f
	call store
	FAIL
3:	EXC(14, 2)
	EQ(l, $store, exc_rip)
	movabs $0x800000000000, %rbx
	RESUME 3f
	call store
	FAIL
3:	EXC(13, 0)
	movl $stack_top, %esp
	/* Of user code, which must not: the same address has been translated for the supervisor. */
	movl $APIC + LVT, %ebx
	RESUME 3f
	pushq $UDATA
	pushq $user_top
	pushq $2
	pushq $UCODE64
	pushq $store
	iretq
3:	EXC(14, 7)
	EQ(l, $store, exc_rip)
	movl $DATA32, %eax
	movl %eax, %ds
	movl $stack_top, %esp

	/* A page that is the device's, then RAM, then not there, then read-only; INVLPG each time. */
	movl $OFTEN, %ebp
2:	movq $APIC + P + W, %rax
	movl $APIC + P + W, %eax
	movq %rax, pt
	movl $MAP_AT + LVT, %ebx
	invlpg (%rbx)
	movl $0x100aa, %eax
	call store
	movq $scratch + P + W, pt
	invlpg (%rbx)
	movl %ebp, %eax
	call store
	EQ(l, %ebp, scratch + LVT)
	movl $APIC + P + W, %eax
	movq %rax, pt
	invlpg (%rbx)
	call load
	EQ(l, $0x100aa, %eax)
	movq $0, pt
	invlpg (%rbx)
	RESUME 3f
	call load
	FAIL
3:	EXC(14, 0)
	movl $APIC + P, %eax
	movq %rax, pt
	call load
	EQ(l, $0x100aa, %eax)
	RESUME 3f
	call store
	FAIL
3:	EXC(14, 3)
	movl $stack_top, %esp
	decl %ebp
	jnz 2b

	/* A global page of a device's, in several address spaces: INVLPG in one is for all. */
	movl $1, %eax
	cpuid
	testl $1 << 17, %ecx
	jz no_pcid
	movq %cr4, %rax
	orl $CR4_PGE | CR4_PCIDE, %eax
	movq %rax, %cr4
	movl $1, %r13d
	shlq $63, %r13
	movl $OFTEN, %ebp
	movl $MAP_AT + LVT, %ebx
2:	movl $APIC + P + W + G, %eax
	movq %rax, pt
	invlpg (%rbx)
	call load
	EQ(l, $0x100aa, %eax)
	leaq pml4 + 1(%r13), %rax
	movq %rax, %cr3
	call load
	EQ(l, $0x100aa, %eax)
	movq $scratch + P + W + G, pt
	movl %ebp, scratch + LVT
	invlpg (%rbx)
	call load
	EQ(l, %ebp, %eax)
	leaq pml4(%r13), %rax
	movq %rax, %cr3
	call load
	EQ(l, %ebp, %eax)
	decl %ebp
	jnz 2b
no_pcid:
	movl $0, pt
	/* Beside code: data in the page of a function that is called all the time; then the function itself. */
	movl $code, %esi
	movl $scratch, %edi
	movl $code_end - code, %ecx
	rep movsb
	movl $OFTEN, %ebp
	movl $scratch, %r8d
2:	movl $scratch + 256, %ebx
	movl %ebp, %eax
	call store2
	EQ(l, %ebp, scratch + 256)
	call *%r8
	EQ(l, $5, %eax)
	decl %ebp
	jnz 2b
	movl $OFTEN, %ebp
2:	movl $scratch + 1, %ebx
	movl %ebp, %eax
	call store2
	call *%r8
	EQ(l, %ebp, %eax)
	movl $scratch + 256, %ebx
	call store2
	decl %ebp
	jnz 2b
	/* And read-only by now. */
	movq $scratch + P + W, pt
	movl $MAP_AT, %ebx
	invlpg (%rbx)
	movl $OFTEN, %ebp
2:	movl $MAP_AT + 256, %ebx
	call store2
	call *%r8
	decl %ebp
	jnz 2b
	movq $scratch + P, pt
	invlpg (%rbx)
	RESUME 3f
	call store2
	FAIL
3:	EXC(14, 3)
	EQ(l, $store2, exc_rip)
	movl $stack_top, %esp

	/* ---- ports ---- */
	movl $OFTEN, %ebp
2:	movl $PORT, %edx
	movabs $0x1122334455667788, %rax
	inb %dx, %al
	movabs $0x11223344556677ff, %rcx
	EQ(q, %rcx, %rax)
	inw $PORT, %ax
	movabs $0x112233445566ffff, %rcx
	EQ(q, %rcx, %rax)
	inl %dx, %eax
	movl $-1, %ecx
	EQ(q, %rcx, %rax)
	outb %al, $PORT
	outl %eax, %dx
	decl %ebp
	jnz 2b
	/* User code: IOPL 3 allows all, else the TSS's bitmap, of which there is none. */
	movl $OFTEN, %ebp
2:	RESUME 3f
	pushq $UDATA
	pushq $user_top
	pushq $0x3002
	pushq $UCODE64
	pushq $4f
	iretq
4:	inb %dx, %al
	outb %al, %dx
	int3
3:	EQ(l, $3, exc_vector)
	RESUME 3f
	pushq $UDATA
	pushq $user_top
	pushq $2
	pushq $UCODE64
	pushq $4b
	iretq
3:	EXC(13, 0)
	EQ(l, $4b, exc_rip)
	movl $DATA32, %eax
	movl %eax, %ds
	decl %ebp
	jnz 2b
	jmp pass64

load:	movl (%rbx), %eax
	ret
store:	movl %eax, (%rbx)
	ret
store2:	movl %eax, (%rbx)
	ret
	/* movl $5, %eax; ret */
code:	.byte 0xb8
	.long 5
	ret
code_end:
	.bss
	.balign 4096
pt:	.skip 4096
pd_apic: .skip 4096
