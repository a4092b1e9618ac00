/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A jump to itself with interrupts off, and a hundred thousand faults before it: --timeout ends what no event can.
 * expect-status: 124
 * timeout: 2
 */
#include "lib.inc"
	.text
	MODE 32
	.globl main
main:	movl $100000, %ecx
1:	FAULTS(6, 0, ud2)
	decl %ecx
	jnz 1b
2:	jmp 2b
