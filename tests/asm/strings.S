/* SPDX-License-Identifier: Apache-2.0 */
/*
 * String instructions that fault in the middle: the registers say how far they came, RIP is the instruction's, and it goes on from there
 * (SDM vol. 2, REP). Also both directions, overlaps, page-at-a-time corners, and string I/O.
 */
#include "lib.inc"
#define WIN 0x40000000
	.text
	MODE 32
	.globl main
main:	movl $pd2 + P + W + U, pdpt + 8
	movl $pt + P + W + U, pd2
	movl $scratch + P + W, pt
	movl $scratch + 0x1000 + P + W, pt + 16 /* page 1 is missing */
	call enter_long
	MODE 64
	cld
	/* STOSB into the hole: 16 bytes done. */
	movl $WIN + 0xff0, %edi
	movl $100, %ecx
	movl $0x5a, %eax
	FAULTS(14, 2, rep stosb)
	EQ(l, $84, %ecx)
	EQ(l, $WIN + 0x1000, %edi)
	EQ(l, $WIN + 0x1000, exc_cr2)
	EQ(b, $0x5a, scratch + 0xfff)
	/* Mapped now, it goes on. */
	movl $scratch + 0x2000 + P + W, pt + 8
	invlpg WIN + 0x1000
	rep stosb
	EQ(l, $0, %ecx)
	EQ(l, $WIN + 0x1054, %edi)
	EQ(b, $0x5a, scratch + 0x2053)
	EQ(b, $0, scratch + 0x2054)
	movl $0, pt + 8
	invlpg WIN + 0x1000
	/* MOVSQ whose source has the hole, an element across it: the element is not moved. */
	movl $WIN + 0xfec, %esi
	movl $scratch + 0x3000, %edi
	movl $10, %ecx
	FAULTS(14, 0, rep movsq)
	EQ(l, $8, %ecx)
	EQ(l, $WIN + 0xffc, %esi)
	EQ(l, $scratch + 0x3010, %edi)
	EQ(l, $WIN + 0x1000, exc_cr2)
	/* Downwards into the hole. */
	movl $WIN + 0x2008, %edi
	movl $5, %ecx
	std
	FAULTS(14, 2, rep stosl)
	cld
	EQ(l, $2, %ecx)
	EQ(l, $WIN + 0x1ffc, %edi)
	/* CMPSB: the fault comes before what would have differed behind it. */
	movl $WIN + 0xffe, %esi
	movl $scratch + 0xffe, %edi
	movl $10, %ecx
	FAULTS(14, 0, repe cmpsb)
	EQ(l, $8, %ecx)
	EQ(l, $WIN + 0x1000, %esi)
	/* A count of zero touches nothing; nor changes flags. */
	xorl %ecx, %ecx
	movl $WIN + 0x1000, %edi
	stc
	repne scasb
	jc 1f
	FAIL
1:	EQ(l, $WIN + 0x1000, %edi)
	/* Overlap upwards by one byte: the first byte spreads. */
	movb $0x77, scratch
	movl $scratch, %esi
	movl $scratch + 1, %edi
	movl $5000, %ecx
	rep movsb
	EQ(b, $0x77, scratch + 5000)
	EQ(b, $0x77, scratch + 2500)
	/* By four with elements of eight. */
	movl $0x11223344, scratch
	movl $0x55667788, scratch + 4
	movl $scratch, %esi
	movl $scratch + 4, %edi
	movl $3, %ecx
	rep movsq
	EQ(l, $0x11223344, scratch + 4)
	EQ(l, $0x55667788, scratch + 8)
	EQ(l, $0x55667788, scratch + 12)
	/* Downwards over itself is a plain move. */
	movl $scratch + 0x1003, %esi
	movl $scratch + 0x1007, %edi
	movl $0x01020304, scratch + 0x1000
	movl $4, %ecx
	std
	rep movsb
	cld
	EQ(l, $0x01020304, scratch + 0x1004)
	/* A 32-bit address size counts ECX alone and clears the upper halves. */
	movq $0x700000002, %rcx
	movl $scratch, %edi
	btsq $35, %rdi
	addr32 rep stosb
	EQ(q, $0, %rcx)
	EQ(q, $scratch + 2, %rdi)
	/* INSB from the debug port 80h to a missing page: faults before the port is read; OUTSB from one. */
	movl $0x80, %edx
	movl $WIN + 0x1000, %edi
	movl $1, %ecx
	FAULTS(14, 2, rep insb)
	EQ(l, $1, %ecx)
	movl $WIN + 0x1000, %esi
	FAULTS(14, 0, rep outsb)
	movb $0x3c, scratch
	movl $scratch, %esi
	outsb
	movl $scratch + 8, %edi
	movl $4, %ecx
	rep insb
	EQ(l, $0x3c3c3c3c, scratch + 8)
	/* SCASB across a page boundary finds its byte. */
	movl $scratch + 0xf00, %edi
	movl $scratch + 0xf00, %esi
	movl $0x400, %ecx
	movb $0, %al
	rep stosb
	movb $9, scratch + 0x1010
	movl $scratch + 0xf00, %edi
	movl $0x400, %ecx
	movb $9, %al
	repne scasb
	jz 1f
	FAIL
1:	EQ(l, $scratch + 0x1011, %edi)
	EQ(l, $0x400 - 0x111, %ecx)
	jmp pass64

	.section .bss
	.balign 4096
pd2:	.skip 4096
pt:	.skip 4096
