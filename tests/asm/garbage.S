/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Garbage to every port and every register of the APIC pages: reads and writes of each size with pseudo-random values. Whatever the
 * devices make of it, the VMM must live: no crash, no hang, and the guest still runs at the end. Left out are the ports that are
 * meant to end the machine: keyboard controller and fast reset (60h, 64h, 92h), debug exit (F4h to F7h), reset control (CF9h and
 * its neighbours), and the ACPI registers (600h to 63Fh). Runs with interrupts off.
 * timeout: 60
 */
#include "lib.inc"
	.text
	MODE 32
	.globl main
main:	movl $0x12345678, %ebp
	movl $2, %esi
sweep:	xorl %edx, %edx
port:	movl %edx, %eax
	cmpl $0x60, %edx
	jb 1f
	cmpl $0x64, %edx
	jbe next
1:	cmpl $0x8f, %edx
	jb 1f
	cmpl $0x92, %edx
	jbe next
1:	cmpl $0xf1, %edx
	jb 1f
	cmpl $0xf7, %edx
	jbe next
1:	cmpl $0xcf6, %edx
	jb 1f
	cmpl $0xcff, %edx
	jbe next
1:	cmpl $0x5fd, %edx
	jb 1f
	cmpl $0x640, %edx
	jb next
1:	inb %dx, %al
	inw %dx, %ax
	inl %dx, %eax
	call random
	outb %al, %dx
	call random
	outw %ax, %dx
	call random
	outl %eax, %dx
	inb %dx, %al
next:	incl %edx
	cmpl $0x10000, %edx
	jne port
	decl %esi
	jnz sweep

	/* Local APIC and I/O APIC pages: each byte offset, each size, then far beyond RAM. */
	movl $0xfee00000, %ebx
	call page
	movl $0xfec00000, %ebx
	call page
	movl $0xfed00000, %ebx
	call page
	movl $0xd0000000, %ebx
	call page
	/* I/O APIC: all indices. */
	xorl %ecx, %ecx
1:	movl %ecx, 0xfec00000
	call random
	movl %eax, 0xfec00010
	movl 0xfec00010, %eax
	incl %ecx
	cmpl $0x140, %ecx
	jne 1b
	/* Still alive; the serial port may be in any state, so that it is told nothing. */
	xorl %eax, %eax
	outl %eax, $EXIT_PORT
2:	hlt
	jmp 2b

page:	xorl %ecx, %ecx
1:	movl (%ebx, %ecx), %eax
	movw (%ebx, %ecx), %ax
	movb (%ebx, %ecx), %al
	/* Not the interrupt command register's low half: INIT to itself would be obeyed. */
	cmpl $0xfee00000, %ebx
	jne 2f
	cmpl $0x2fd, %ecx
	jb 2f
	cmpl $0x304, %ecx
	jb 3f
2:	call random
	movb %al, (%ebx, %ecx)
	call random
	movw %ax, (%ebx, %ecx)
	call random
	movl %eax, (%ebx, %ecx)
	call random
	lock xaddl %eax, (%ebx, %ecx)
3:	incl %ecx
	cmpl $0x1000, %ecx
	jne 1b
	ret

	/* EAX: the next of a xorshift sequence. */
random:	movl %ebp, %eax
	shll $13, %eax
	xorl %eax, %ebp
	movl %ebp, %eax
	shrl $17, %eax
	xorl %eax, %ebp
	movl %ebp, %eax
	shll $5, %eax
	xorl %eax, %ebp
	movl %ebp, %eax
	ret
