/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts: PIT through the 8259s, the local APIC's timer, self-sent IPIs, NMI; HLT wakes; the shadow of STI; masking by
 * IF, TPR and the PIC's mask; NMI stays blocked until IRET (SDM vol. 3, 6.3, 6.7, 6.8, 10.5, 10.6).
 */
#include "lib.inc"
#define APIC 0xfee00000
/* IPIs travel: they arrive soon, not at once. */
#define ARRIVES(what, value) movl $200000000, %ecx; 66: cmpl $(value), what; je 67f; loop 66b; FAIL; 67:
#define OUT(port, value) movb $(value), %al; outb %al, $(port)
	.text
	MODE 32
	.globl main
main:	/* The APIC's page, uncached, at its own address. */
	movl $pd3 + P + W, pdpt + 24
	movl $APIC & ~0x1fffff, %eax
	orl $P + W + PS + 0x18, %eax
	movl %eax, pd3 + 8 * ((APIC >> 21) & 511)
	call enter_long
	MODE 64
	/* The 8259s at 20h and 28h, all masked but what is tested. */
	OUT(0x20, 0x11)
	OUT(0xa0, 0x11)
	OUT(0x21, 0x20)
	OUT(0xa1, 0x28)
	OUT(0x21, 4)
	OUT(0xa1, 2)
	OUT(0x21, 1)
	OUT(0xa1, 1)
	OUT(0xa1, 0xff)
	OUT(0x21, 0xff)
	/* The APIC on; LINT0 is ExtINT, LINT1 NMI. */
	movl $APIC, %r8d
	movl $0x1ff, 0xf0(%r8)
	movl $0x700, 0x350(%r8)
	movl $0x400, 0x360(%r8)
	movl $0, 0x80(%r8)

	/* PIT channel 0, mode 2, about 1 ms: HLT wakes, at the right vector, ten times. */
	movl $1, irq_eoi
	OUT(0x43, 0x34)
	OUT(0x40, 1193 & 255)
	OUT(0x40, 1193 >> 8)
	OUT(0x21, 0xfe)
	movl $10, %ecx
1:	sti
	hlt
	cli
	EQ(l, $0x20, irq_vector)
	decl %ecx
	jnz 1b
	/* Or more, where the host was slow and two came to one HLT. */
	cmpl $10, irq_count
	jae 1f
	FAIL
1:	/* A pending interrupt waits for IF; then comes once. */
	movl $0, irq_count
	OUT(0x43, 0x30)
	OUT(0x40, 100)
	OUT(0x40, 0)
	movl $2000000, %ecx
2:	OUT(0x20, 0x0a) /* read IRR */
	inb $0x20, %al
	testb $1, %al
	jnz 3f
	loop 2b
	FAIL
3:	EQ(l, $0, irq_count)
	/* STI's shadow: the instruction behind it runs first; so STI; CLI lets nothing in. */
	sti
	cli
	nop
	EQ(l, $0, irq_count)
	sti
	movl irq_count, %eax /* still in the shadow */
	nop
	cli
	EQ(l, $0, %eax)
	EQ(l, $1, irq_count)
	OUT(0x21, 0xff)

	/* The APIC timer, one shot, divided by 1. */
	movl $2, irq_eoi
	movl $0, irq_count
	movl $0xb, 0x3e0(%r8)
	movl $0x40, 0x320(%r8)
	movl $100000, 0x380(%r8)
	sti
	hlt
	cli
	EQ(l, $1, irq_count)
	EQ(l, $0x40, irq_vector)
	EQ(l, $0, 0x390(%r8))
	/* Periodic. */
	movl $0x20041, 0x320(%r8)
	movl $100000, 0x380(%r8)
	movl $5, %ecx
4:	sti
	hlt
	cli
	EQ(l, $0x41, irq_vector)
	decl %ecx
	jnz 4b
	movl $0x10000, 0x320(%r8)
	movl $0, 0x380(%r8)
	/* What may have come since. */
	sti
	nop
	nop
	cli

	/* A self IPI. */
	movl $0, irq_count
	movl $0x40061, 0x300(%r8)
	EQ(l, $0, irq_count)
	movl $1000, %ecx
7:	loop 7b
	sti
	nop
	EQ(l, $1, irq_count)
	EQ(l, $0x61, irq_vector)
	cli
	/* TPR holds back: class 6 with TPR 60h, class 7 passes. CR8 is TPR's upper half. */
	movl $6, %eax
	movq %rax, %cr8
	EQ(l, $0x60, 0x80(%r8))
	movl $0, irq_count
	movl $0x40063, 0x300(%r8)
	sti
	nop
	nop
	EQ(l, $0, irq_count)
	movl $0x40071, 0x300(%r8)
	ARRIVES(irq_vector, 0x71)
	xorl %eax, %eax
	movq %rax, %cr8
	nop
	nop
	cli
	EQ(l, $2, irq_count)
	EQ(l, $0x63, irq_vector)
	/* Two pending: the higher vector first. */
	movl $0x40064, 0x300(%r8)
	movl $0x40084, 0x300(%r8)
	sti
	nop
	movl irq_vector, %eax
	cli
	EQ(l, $0x64, irq_vector) /* the lower one last */

	/* NMI to itself: arrives with IF clear; a second one waits for IRET. */
	movl $nmi, %eax
	movw %ax, idt64 + 32
	shrl $16, %eax
	movw %ax, idt64 + 38
	cli
	movl $0x40400, 0x300(%r8)
	ARRIVES(nmis, 2)
	EQ(l, $1, nested)
	jmp pass64

	/* The first one sends itself another, which must not nest: `nested` is read before IRET. */
nmi:	pushq %rax
	incl nmis
	cmpl $1, nmis
	jne 1f
	movl $0x40400, 0x300(%r8)
	movl $10000, %eax
2:	decl %eax
	jnz 2b
	movl nmis, %eax
	movl %eax, nested
1:	popq %rax
	iretq

	.section .data
nmis:	.long 0
nested:	.long 0
	.section .bss
	.balign 4096
pd3:	.skip 4096
