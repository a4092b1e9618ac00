/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Execution where there is no memory. Such an address reads as FFh, and FF FF is no instruction: #UD with the address saved, each time.
 * Also a jump to the last bytes of RAM, so that an instruction would reach beyond it, and to the APIC's page.
 */
#include "lib.inc"
#define NOWHERE 0xb0000000
	.text
	MODE 32
	.globl main
main:	movl $NOWHERE, %ebx
	RESUME 1f
	jmp *%ebx
1:	EXC(6, 0)
	EQ(l, $NOWHERE, exc_rip)
	movl $NOWHERE + 0xfff, %ebx
	RESUME 2f
	jmp *%ebx
2:	EXC(6, 0)
	EQ(l, $NOWHERE + 0xfff, exc_rip)
	/* Paging on, the same through a mapping of physical memory that is not there. */
	call enter_long
	MODE 64
	movl $NOWHERE + P + W + PS, pd + 8 * 511
	movl $0x3fe00000, %ebx
	invlpg (%rbx)
	RESUME 3f
	jmp *%rbx
3:	EXC(6, 0)
	EQ(l, $0x3fe00000, exc_rip)
	EQ(l, $-1, (%rbx))
	movl $5, (%rbx)
	EQ(l, $-1, (%rbx))
	/* Page tables where there is no memory: all ones, so reserved bits are set. */
	movl $NOWHERE + P + W, pdpt + 8
	movl $0x40000000, %ebx
	FAULTS(14, 9, movl (%rbx), %eax)
	jmp pass64
