/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HLT with interrupts off and nothing that could send an NMI: the guest is dead, the VMM is not, and --timeout ends the run.
 * expect-status: 124
 * timeout: 2
 */
#include "lib.inc"
	.text
	MODE 32
	.globl main
main:	cli
1:	hlt
	jmp 1b
