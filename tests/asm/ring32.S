/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop of jumps that all go forward: the last one wraps at 4 GiB. --timeout ends it.
 * expect-status: 124
 * timeout: 2
 */
#include "lib.inc"
#define B 0x60000000
#define C 0xc0000000
	.text
	MODE 32
	.globl main
main:	movl $P + W + PS, %eax
	movl %eax, dir
	movl %eax, dir + (B >> 20)
	movl %eax, dir + (C >> 20)
	movl $dir, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orl $CR4_PSE, %eax
	movl %eax, %cr4
	movl %cr0, %eax
	orl $CR0_PG, %eax
	movl %eax, %cr0
first:	.byte 0xe9
	.long B + second - 1f
1:	ud2
second:	.byte 0xe9
	.long C - B + third - 1f
1:	ud2
third:	.byte 0xe9
	.long first - 1f - C
1:	ud2
	.bss
	.balign 4096
dir:	.skip 4096
