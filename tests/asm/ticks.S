/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two timers tick: the local APIC's, periodic, and the interval timer's through the I/O APIC. The guest ends when it has seen both
 * often, and whoever started it does not hold it: tests/kvm moves it between engines meanwhile and looks at what it counts.
 */
#include "lib.inc"
#define APIC	0xfee00000
#define IOAPIC	0xfec00000
#define BOARD	0x50000 /* what is shared with the test: tests/kvm/test-kvm-machine.c */
#define HOLD	BOARD + 4
#define APICS	BOARD + 8
#define PITS	BOARD + 12
#define ROUNDS	BOARD + 16
#define PAGES	0x60000 /* eight, written in turn */
#define ENOUGH	20
#define OUT(port, value) movb $(value), %al; outb %al, $(port)
#define REDIRECT(reg, value) movl $(reg), IOAPIC; movl $(value), IOAPIC + 0x10
#define GATE(vector, label) movl $label, %eax; movw %ax, idt32 + 8 * (vector); shrl $16, %eax; movw %ax, idt32 + 8 * (vector) + 6
	.text
	MODE 32
	.globl main
apic_tick:
	incl APICS
	movl $0, APIC + 0xb0
	iretl
pit_tick:
	incl PITS
	movl $0, APIC + 0xb0
	iretl
main:	GATE(0x40, apic_tick)
	GATE(0x50, pit_tick)
	movl $0x1ff, APIC + 0xf0
	movl $0, APIC + 0x80
	/* About 2 ms each. */
	movl $0xb, APIC + 0x3e0
	movl $0x20040, APIC + 0x320
	movl $2000000, APIC + 0x380
	REDIRECT(0x15, 0)
	REDIRECT(0x14, 0x50)
	OUT(0x43, 0x34)
	OUT(0x40, 2386 & 255)
	OUT(0x40, 2386 >> 8)
	xorl %ebx, %ebx
1:	sti
	hlt
	cli
	incl ROUNDS
	addl $0x1000, %ebx
	andl $0x7000, %ebx
	incl PAGES(%ebx)
	cmpl $ENOUGH, APICS
	jb 1b
	cmpl $ENOUGH, PITS
	jb 1b
	cmpl $0, HOLD
	jne 1b
	inb $0x21, %al
	EQ(b, $0xff, %al)
	movl $0x14, IOAPIC
	EQ(b, $0x50, IOAPIC + 0x10)
	EQ(l, $2000000, APIC + 0x380)
	jmp pass32
