/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paging in 32-bit code: 2-level with 4 KiB and 4 MiB pages (CR4.PSE), then PAE with 2 MiB pages, NX and the PDPTE registers
 * (SDM vol. 3, 4.3, 4.4). PDPTEs are loaded with CR3, not when they are used.
 */
#include "lib.inc"
#define WIN 0x40000000
	.text
	MODE 32
	.globl main
main:	movl $TSS32, %eax
	ltr %ax
	/* 2-level: the first 4 MiB by a page table, the next by a large page, WIN by its own table. */
	movl $low_pt, %edi
	movl $P + W + U, %eax
	movl $1024, %ecx
1:	movl %eax, (%edi)
	addl $0x1000, %eax
	addl $4, %edi
	loop 1b
	movl $low_pt + P + W + U, dir
	movl $0x400000 + P + W + PS, dir + 4
	movl $win_pt + P + W + U, dir + (WIN >> 20)
	movl $scratch + P + W, win_pt
	movl $scratch + P + U, win_pt + 4
	movl $0x12345678, scratch
	/* Without PSE bit 7 of a directory entry says nothing. */
	movl $dir, %eax
	movl %eax, %cr3
	movl %cr0, %eax
	orl $CR0_PG | CR0_WP, %eax
	movl %eax, %cr0
	EQ(l, $0x12345678, WIN)
	movl $0x23456789, WIN
	EQ(l, $0x23456789, scratch)
	FAULTS(14, 3, movl %eax, WIN + 0x1004)
	EQ(l, $WIN + 0x1004, exc_cr2)
	FAULTS(14, 0, movl WIN + 0x2000, %eax)
	FAULTS(14, 2, movl %eax, WIN + 0x400000)
	EQ(l, $WIN + 0x400000, exc_cr2)
	/* A fetch is not told from a read here: no NX. */
	RESUME 2f
	movl $WIN + 0x2000, %eax
	jmp *%eax
2:	EXC(14, 0)
	EQ(l, $WIN + 0x2000, exc_rip)
	/* Accessed and dirty. */
	EQ(l, $scratch + P + W + A + D, win_pt)
	testl $A, dir + (WIN >> 20)
	jnz 3f
	FAIL
3:	/* A large page, once PSE is on. */
	movl %cr4, %eax
	orl $CR4_PSE, %eax
	movl %eax, %cr4
	movl $0x5a5a0001, 0x400000
	movl $0x400000 + P + W + PS, dir + (WIN >> 20) + 4
	movl $WIN + 0x400000, %ebx
	invlpg (%ebx)
	EQ(l, $0x5a5a0001, (%ebx))
	movl $0, (%ebx)
	EQ(l, $0x400000 + P + W + PS + A + D, dir + (WIN >> 20) + 4)
	/* Bit 21 is reserved in a large page (PSE-36 takes those below). */
	movl $0x600000 + P + W + PS, dir + (WIN >> 20) + 8
	FAULTS(14, 9, movl WIN + 0x800000, %eax)
	/* CPL 3. DS must be one that it may keep. */
	movl $UDATA32, %eax
	movl %eax, %ds
	RESUME 4f
	pushl $UDATA32
	pushl $user_top
	pushl $2
	pushl $UCODE32
	pushl $5f
	iretl
5:	movl WIN + 0x1000, %ecx
6:	movl WIN, %ecx
	ud2
4:	EXC(14, 5)
	EQ(l, $6b, exc_rip)
	EQ(l, $0x23456789, %ecx)

	/* PAE. */
	movl %cr0, %eax
	andl $~CR0_PG, %eax
	movl %eax, %cr0
	movl $low_pd + P, pdpt4
	movl $win_pd + P, pdpt4 + 8
	movl $0, %eax
	movl %eax, pdpt4 + 12
	movl $P + W + U + PS, low_pd
	movl $0x200000 + P + W + U + PS, low_pd + 8
	movl $0x400000 + P + W + U + PS, low_pd + 16
	movl $win_pt + P + W + U, win_pd
	movl $0, win_pd + 4
	movl $scratch + P + W, win_pt
	movl $0, win_pt + 4
	movl $code + P + W, win_pt + 8
	movl $0, win_pt + 12
	movl %cr4, %eax
	orl $CR4_PAE, %eax
	movl %eax, %cr4
	movl $pdpt4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $0x800, %eax
	wrmsr
	movl %cr0, %eax
	orl $CR0_PG, %eax
	movl %eax, %cr0
	movl $0x3456789a, scratch
	EQ(l, $0x3456789a, WIN)
	FAULTS(14, 2, movl %eax, WIN + 0x200000)
	movl $WIN + 0x1000, %ebx
	call *%ebx
	movl $0x80000000, win_pt + 12
	invlpg (%ebx)
	RESUME 7f
	call *%ebx
7:	popl %eax
	EXC(14, 0x11)
	/* A reserved bit of an entry: 62 is among 52..62. */
	movl $0x40000000, win_pt + 4
	movl $WIN, %ebx
	invlpg (%ebx)
	FAULTS(14, 9, movl (%ebx), %eax)
	movl $0, win_pt + 4
	invlpg (%ebx)
	/* The PDPTE registers: a change in memory is not seen until CR3 is loaded. */
	movl $0, pdpt4 + 8
	invlpg (%ebx)
	EQ(l, $0x3456789a, WIN)
	movl %cr3, %eax
	movl %eax, %cr3
	FAULTS(14, 0, movl WIN, %eax)
	/* Reserved bits in a present PDPTE: MOV to CR3 is #GP(0), and CR3 stays. */
	movl $win_pd + P + W, pdpt4 + 8
	movl %cr3, %ebx
	movl $pdpt4, %eax
	FAULTS(13, 0, movl %eax, %cr3)
	movl $0, pdpt4 + 8
	movl %cr0, %eax
	andl $~CR0_PG, %eax
	movl %eax, %cr0
	jmp pass32

	.section .bss
	.balign 4096
dir:	.skip 4096
low_pt:	.skip 4096
win_pt:	.skip 4096
low_pd:	.skip 4096
win_pd:	.skip 4096
pdpt4:	.skip 32
	.section .data
	.balign 4096
code:	ret
	.balign 4096
