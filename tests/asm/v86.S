/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual-8086 mode (SDM vol. 3, ch. 20.2): entered by IRET with VM; real-mode addresses under paging-less protection; CLI, STI, PUSHF, POPF,
 * INT n and IRET are #GP(0) with IOPL below 3; I/O asks the TSS's bitmap whatever IOPL; exceptions leave it through the inner stack
 * with GS, FS, DS, ES pushed, and clear those registers.
 */
#include "lib.inc"
#define V86 0x20000
	.text
	MODE 32
	.globl main
main:	movl $TSS32, %eax
	ltr %ax
	/* Enters at low label `to` with the given flags; comes back by a fault whose vector, error, saved IP and CS are checked. */
	.macro v86 flags, to, vector, error, at
	RESUME 88f
	pushl $0x9000	/* GS */
	pushl $0xa000	/* FS */
	pushl $0x920	/* DS */
	pushl $0x930	/* ES */
	pushl $0x700	/* SS */
	pushl $0x1000	/* ESP */
	pushl $\flags
	pushl $0	/* CS: low addresses are its offsets */
	pushl $\to
	iretl
88:	EXC(\vector, \error)
	EQ(l, $\at, exc_rip)
	EQ(l, $0, exc_cs)
	movl exc_flags, %eax
	andl $V86, %eax
	EQ(l, $V86, %eax)
	.endm
	v86 V86 + 2, v_segments, 3, 0, v_segments_end
	EQ(l, $0x920, seen)
	EQ(l, $0x12345678, seen + 4)
	EQ(l, $0x930, seen + 8)
	/* What the delivery pushed and cleared: the frame is at the top of the inner stack. */
	EQ(l, $0x9000, ring0_top - 4)
	EQ(l, $0xa000, ring0_top - 8)
	EQ(l, $0, ring0_top - 12) /* it has loaded DS itself */
	EQ(l, $0x930, ring0_top - 16)
	EQ(l, $0x700, ring0_top - 20)
	movl %fs, %eax
	EQ(w, $0, %ax)
	movl %gs, %eax
	EQ(w, $0, %ax)
	/* IOPL 0: sensitive instructions. */
	v86 V86 + 2, v_cli, 13, 0, v_cli
	v86 V86 + 2, v_sti, 13, 0, v_sti
	v86 V86 + 2, v_pushf, 13, 0, v_pushf
	v86 V86 + 2, v_popf, 13, 0, v_popf
	v86 V86 + 2, v_int, 13, 0, v_int
	v86 V86 + 2, v_iret, 13, 0, v_iret
	v86 V86 + 2, v_hlt, 13, 0, v_hlt
	/* Not there in V86 mode: #UD. */
	v86 V86 + 2, v_arpl, 6, 0, v_arpl
	v86 V86 + 2, v_lldt, 6, 0, v_lldt
	v86 V86 + 2, v_mov_cr, 13, 0, v_mov_cr
	/* I/O: no bitmap in the TSS. With IOPL 3 still not. */
	v86 V86 + 2, v_in, 13, 0, v_in
	v86 V86 + 0x3002, v_in, 13, 0, v_in
	/* Past the 64 KiB of a segment. */
	v86 V86 + 2, v_limit, 13, 0, v_limit
	/* IOPL 3: CLI, STI, PUSHF, POPF work, and INT n goes through the IDT. */
	v86 V86 + 0x3002, v_iopl3, 0x1f, 0, v_iopl3_end
	/* A bitmap that allows port 80h. */
	movl $0xffffffff, tss32 + 0x68
	movl $0xffffffff, tss32 + 0x6c
	movl $0xffffffff, tss32 + 0x70
	movl $0xffffffff, tss32 + 0x74
	movl $0xfffffffe, tss32 + 0x78
	movw $0x7f, gdt + TSS32
	andb $~2, gdt + TSS32 + 5
	movl $TSS32, %eax
	ltr %ax
	v86 V86 + 2, v_in, 3, 0, v_in_end
	/* A word needs both ports' bits. */
	v86 V86 + 2, v_inw, 13, 0, v_inw
	jmp pass32

	.section .low
	MODE 16
v_segments:
	/* DS 920h, ES 930h, FS A000h, GS 9000h, SS 700h. */
	movl $0x12345678, 0x120
	movl %es:0x20, %ebx
	movw %ds, %ax
	movzwl %ax, %eax
	movw $0, %cx
	movw %cx, %ds
	movl %eax, seen_low
	movl %ebx, seen_low + 4
	movw %es, %ax
	movzwl %ax, %eax
	movl %eax, seen_low + 8
	int3
v_segments_end:
v_cli:	cli
v_sti:	sti
v_pushf: pushfw
v_popf:	popfw
v_int:	int $0x60
v_iret:	iretw
v_hlt:	hlt
v_arpl:	.byte 0x63, 0xc8
v_lldt:	.byte 0x0f, 0x00, 0xd0
v_mov_cr: .byte 0x0f, 0x20, 0xc0
v_in:	inb $0x80, %al
	int3
v_in_end:
v_inw:	inw $0x80, %ax
v_limit: movl %ds:0xffff, %eax
v_iopl3:
	cli
	sti
	cli
	pushfw
	popfw
	int $0x1f
v_iopl3_end:
	.globl seen_low
seen_low: .long 0, 0, 0
	.set seen, seen_low
