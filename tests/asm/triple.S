/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fault without an IDT: #GP in delivering it, a double fault, and in delivering that the shutdown (SDM vol. 3, 6.15, #DF). The run ends
 * with the status of a triple fault.
 * expect-status: 3
 */
#include "lib.inc"
	.text
	MODE 32
	.globl main
main:	lidt none
	ud2
	jmp fail32
	.section .data
none:	.word 0
	.long 0
