/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code at the edges of where code can be. Proves: an instruction that begins inside its segment's limit, or below the end of canonical
 * addresses, and ends past it raises #GP at its own address, whatever lies there (SDM vol. 3, 5.3; vol. 1, 3.3.7.1); code that runs off
 * the end of canonical addresses raises it at the address behind.
 */
#include "lib.inc"
	.set EDGE, 0x800000000000
	.text
	MODE 32
	.globl main
main:	/* A code segment of 1002h bytes at 300000h. */
	movl $0x00001001, gdt + SPARE
	movl $0x00409b30, gdt + SPARE + 4
	movb $0x90, 0x300ffc
	movb $0xb9, 0x300ffd	/* MOV ECX, 32 bits: ends with the limit */
	movl $0x12345678, 0x300ffe
	/* An instruction that ends with the limit is fine, what follows is not. */
	movb $0xea, 0x300100	/* handlers return into that segment: JMP far out of it */
	movl $1f, 0x300101
	movw $CODE32, 0x300105
	movl $0x100, exc_resume
	ljmp $SPARE, $0xffc
1:	EQ(l, $13, exc_vector)
	EQ(l, $0x12345678, %ecx)
	EQ(l, $0x1002, exc_rip)
	/* One byte on it ends past the limit. */
	movl $0x345678b9, 0x300ffe
	movl $2f, 0x300101
	movl $0x100, exc_resume
	xorl %ecx, %ecx
	ljmp $SPARE, $0xffe
2:	EQ(l, $13, exc_vector)
	EQ(l, $0, %ecx)
	EQ(l, $0xffe, exc_rip)
	call enter_long
	MODE 64
	/* The last page below the edge is the one at 3ff000h. */
	movl $pdpt + P + W, pml4 + 8 * 255
	movl $pd + P + W, pdpt + 8 * 511
	movl $0x200000 + P + W + PS, pd + 8 * 511
	movq %cr3, %rax
	movq %rax, %cr3
	movw $0x9090, 0x3ffffe
	movabs $EDGE - 2, %rax
	RESUME 2f
	jmp *%rax
2:	EQ(l, $13, exc_vector)
	movabs $EDGE, %rax
	EQ(q, %rax, exc_rip)
	movb $0xb8, 0x3fffff
	movabs $EDGE - 1, %rax
	RESUME 3f
	jmp *%rax
3:	EQ(l, $13, exc_vector)
	movabs $EDGE - 1, %rax
	EQ(q, %rax, exc_rip)
	jmp pass64
