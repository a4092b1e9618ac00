/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every guest starts with. A guest includes this, defines `main` (32-bit code, flat segments, paging off, interrupts off,
 * own GDT and IDT), and ends with a jump to pass32 or pass64, or in a FAIL. Exit: 0 to port F4h is a pass; on failure the serial port tells the source
 * line, and the last exception.
 *
 * MODE(n) chooses the code size for the assembler and for the macros. EQ and NE compare; FAULTS runs one instruction that must raise
 * exactly this vector with this error code, its own address saved, and goes on behind it. A register that the checks use: none.
 */
#pragma once

/* Selectors of lib.S's GDT. */
#define CODE32 0x08
#define DATA32 0x10
#define CODE64 0x18
#define CODE16 0x20
#define DATA16 0x28
#define UDATA32 0x33	/* user: order as SYSRET wants it */
#define UCODE32 0x3b
#define UDATA 0x43
#define UCODE64 0x4b
#define TSS64 0x50	/* two slots */
#define TSS32 0x60
#define SPARE 0x68	/* 24 more slots for guests: gdt + SPARE */

#define EXIT_PORT 0xf4
#define CR0_TS 8
#define CR0_WP 0x10000
#define CR0_AM 0x40000
#define CR0_PG 0x80000000
#define CR4_PSE 0x10
#define CR4_PAE 0x20
#define CR4_PGE 0x80
#define CR4_OSFXSR 0x200
#define CR4_OSXMMEXCPT 0x400
#define CR4_PCIDE 0x20000
#define CR4_SMEP 0x100000
#define CR4_SMAP 0x200000
#define MSR_EFER 0xc0000080
#define P 1
#define W 2
#define U 4
#define A 0x20
#define D 0x40
#define PS 0x80
#define G 0x100

	.macro MODE n
	.set M, \n
	.if \n == 64
	.code64
	.elseif \n == 32
	.code32
	.else
	.code16
	.endif
	.endm

	.macro FAIL_AT line
	movl $\line, %edi
	.if M == 64
	jmp fail64
	.elseif M == 32
	jmp fail32
	.else
	jmp fail16
	.endif
	.endm

	/* Code size of the label's address operand. */
	.macro RESUME label
	movl $\label, exc_resume
	.endm

#define FAIL FAIL_AT __LINE__
/* Operand of size suffix s (b, w, l, q) equals an immediate or register. */
#define EQ(s, want, have)	\
	cmp##s want, have;	\
	je 77f;			\
	FAIL_AT __LINE__;	\
77:
#define NE(s, want, have)	\
	cmp##s want, have;	\
	jne 77f;		\
	FAIL_AT __LINE__;	\
77:
/* The exception just recorded. */
#define EXC(vector, error)			\
	EQ(l, $(vector), exc_vector)		\
	EQ(l, $(error), exc_error)
#define FAULTS(vector, error, ...)		\
	RESUME 88f;				\
99:	__VA_ARGS__;				\
	FAIL_AT __LINE__;			\
88:	EXC(vector, error)			\
	EQ(l, $99b, exc_rip)
/* A trap: the address behind the instruction is saved. */
#define TRAPS(vector, ...)			\
	RESUME 88f;				\
	__VA_ARGS__;				\
99:	FAIL_AT __LINE__;			\
88:	EXC(vector, 0)				\
	EQ(l, $99b, exc_rip)
