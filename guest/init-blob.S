/* SPDX-License-Identifier: Apache-2.0 */
/* The init program as data: src/boot/initramfs.c puts it into guests. INIT_FILE is the built program. */
	.section .rodata
	.balign 16
	.globl guest_init_start, guest_init_end
guest_init_start:
	.incbin INIT_FILE
guest_init_end:
	.section .note.GNU-stack, "", @progbits
