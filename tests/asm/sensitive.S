/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that x86 lets a program execute though they show, or depend on, what is its system's: flags, descriptor tables, selectors, CR0,
 * MXCSR; far transfers and interrupts. An engine that executes guest code on the CPU itself would have them tell of the host, or
 * do nothing in silence. Each must tell of this machine: in 32-bit protected mode, compatibility mode and 64-bit code; at CPL 0, at CPL 3, and at CPL 3
 * with IOPL 3; the first time and again and again. What is privileged must fault at CPL 3. Selectors are such that Linux has others there, or none.
 */
#include "lib.inc"
#define TIMES 1200
#define FL_IF 0x200
#define FL_IOPL 0x3000
#define CR4_OSXSAVE 0x40000
#define MSR_TSC_AUX 0xc0000103
#define FLIPS 0x244cd5		/* ID, AC, NT, and the arithmetic flags with DF */
#define S_DATA (SPARE + 0x18)	/* 80h: 4096 bytes at scratch */
#define S_LDT (SPARE + 0x20)	/* two slots */
#define S_RO (SPARE + 0x30)
#define S_XO (SPARE + 0x38)
#define S_NONE (SPARE + 0x40)	/* not present */
#define S_KERNEL (SPARE + 0x48)
#define S_GATE (SPARE + 0x50)
#define S_IN_LDT 0x0f
#define AR_MASK 0x00f0ff00

	/* Flags to and from EAX. */
	.macro GETF
	.if M == 64
	pushfq
	popq %rax
	.else
	pushfl
	popl %eax
	.endif
	.endm
	.macro SETF
	.if M == 64
	pushq %rax
	popfq
	.else
	pushl %eax
	popfl
	.endif
	.endm

	.macro SENSITIVE
	/* ---- PUSHF, POPF, CLI, STI ---- */
	GETF
	andl $FL_IF | FL_IOPL, %eax
	EQ(l, %eax, want_flags)
	xorl %edi, %edi
1:	GETF
	movl %eax, %edx
	movl flips(, %edi, 4), %ecx
	xorl %ecx, %eax
	SETF
	GETF
	movl %eax, %esi
	movl may_flip, %eax
	orl $FLIPS, %eax
	andl %eax, %ecx
	xorl %edx, %ecx
	movl %edx, %eax
	SETF
	EQ(l, %ecx, %esi)
	GETF
	xorl %edx, %eax
	andl $~0x8d5, %eax	/* EQ has changed the arithmetic ones */
	EQ(l, $0, %eax)
	incl %edi
	cmpl $8, %edi
	jne 1b
	testl $FL_IF, may_flip
	jz 1f
	sti
	nop
	GETF
	cli
	andl $FL_IF, %eax
	NE(l, $0, %eax)
	GETF
	testl $FL_IF, %eax
	jz 1f
	FAIL
1:	movl want_flags, %ecx
	GETF
	andl $~(FL_IF | FL_IOPL), %eax
	orl %ecx, %eax
	SETF

	/* ---- tables and registers of the system's ---- */
	movl $-1, seen
	movl $-1, seen + 4
	movl $-1, seen + 8
	sgdt seen
	movl want_gdt, %eax
	EQ(l, %eax, seen + 2)
	movw want_gdt + 4, %ax
	EQ(w, %ax, seen)
	.if M == 64
	EQ(l, $0, seen + 6)
	.else
	EQ(w, $-1, seen + 6)
	.endif
	sidt seen
	movl want_idt, %eax
	EQ(l, %eax, seen + 2)
	movw want_idt + 4, %ax
	EQ(w, %ax, seen)
	movl $-1, %eax
	sldt %eax
	EQ(l, $S_LDT, %eax)
	movl $-1, seen
	sldt seen
	EQ(l, $0xffff0000 + S_LDT, seen)
	str %eax
	EQ(l, want_tr, %eax)
	movl $-1, seen
	str seen
	movw want_tr, %ax
	EQ(w, %ax, seen)
	movl $0, %eax
	smsw %eax
	EQ(l, want_cr0, %eax)
	movl $-1, %eax
	smsw %ax
	movw want_cr0, %cx
	EQ(w, %cx, %ax)
	movl $-1, seen
	smsw seen
	EQ(w, %cx, seen)
	EQ(w, $-1, seen + 2)

	/* ---- selectors ---- */
	movl $-1, %eax
	movl %cs, %eax
	EQ(l, want_cs, %eax)
	movl $-1, %eax
	movw %cs, %ax
	movl want_cs, %ecx
	orl $0xffff0000, %ecx
	EQ(l, %ecx, %eax)
	movl %ss, %eax
	EQ(l, want_ss, %eax)
	movl %ds, %eax
	EQ(l, want_ds, %eax)
	movl $-1, seen
	movw %es, seen
	movw want_ds, %cx
	EQ(w, %cx, seen)
	EQ(w, $-1, seen + 2)
	.if M == 32
	pushl %cs
	popl %eax
	EQ(w, want_cs, %ax)
	pushl %ss
	popl %eax
	EQ(w, want_ss, %ax)
	pushl %ds
	popl %eax
	EQ(w, want_ds, %ax)
	pushl %es
	popl %es
	.endif
	/* FS and GS: what is loaded is the descriptor's base. */
	movl $0x12345678, scratch + 4
	movl $S_DATA + 3, %ecx
	movl %ecx, %fs
	movl $0, %eax
	movl %fs:4, %eax
	EQ(l, $0x12345678, %eax)
	movl %fs, %eax
	EQ(l, $S_DATA + 3, %eax)
	movl %ecx, %gs
	movl %gs:4, %eax
	EQ(l, $0x12345678, %eax)
	xorl %eax, %eax
	movl %eax, %gs
	.if M == 64
	pushq %fs
	popq %rax
	EQ(q, $S_DATA + 3, %rax)
	pushq %gs
	popq %rax
	EQ(q, $0, %rax)
	pushq $S_DATA + 2
	popq %gs
	.else
	pushl %fs
	popl %eax
	EQ(w, $S_DATA + 3, %ax)
	pushl %gs
	popl %eax
	EQ(w, $0, %ax)
	pushl $S_DATA + 2
	popl %gs
	.endif
	movl %gs:4, %eax
	EQ(l, $0x12345678, %eax)
	movl %gs, %eax
	EQ(l, $S_DATA + 2, %eax)
	lfs pointer, %ecx
	EQ(l, $0x11223344, %ecx)
	movl %fs, %ecx
	EQ(l, $S_IN_LDT, %ecx)
	movl %fs:8, %eax	/* its base is scratch, too */
	lgs pointer, %ecx
	movl %gs:4, %eax
	EQ(l, $0x12345678, %eax)
	.if M == 32
	pushl %ds
	les pointer, %ecx
	movl %es:4, %eax
	EQ(l, $0x12345678, %eax)
	popl %es
	.endif

	/* ---- LAR, LSL, VERR, VERW ---- */
	movl $S_DATA, %ecx
	lar %ecx, %eax
	jnz 7f
	andl $AR_MASK, %eax
	EQ(l, $0x0040f300, %eax)
	lsl %ecx, %eax
	jnz 7f
	EQ(l, $0xfff, %eax)
	movl $S_IN_LDT, %ecx
	lsl %ecx, %eax
	jnz 7f
	EQ(l, $0x123, %eax)
	verw %cx
	jnz 7f
	movl $S_RO, %ecx
	lsl %ecx, %eax
	jnz 7f
	EQ(l, $-1, %eax)
	verr %cx
	jnz 7f
	verw %cx
	jz 7f
	movl $S_XO, %ecx
	verr %cx
	jz 7f
	lar %ecx, %eax
	jnz 7f
	andl $AR_MASK, %eax
	EQ(l, $0x00c0f900, %eax)
	/* Here is the user's data segment, in Linux the user's code. */
	movl $UDATA32, %ecx
	lar %ecx, %eax
	jnz 7f
	andl $AR_MASK, %eax
	EQ(l, $0x00c0f300, %eax)
	verw %cx
	jnz 7f
	movl $UCODE32, %ecx
	lar %ecx, %eax
	jnz 7f
	andl $AR_MASK, %eax
	EQ(l, $0x00c0fb00, %eax)
	/* Not present, of another level, a gate, none at all. */
	movl $S_NONE, %ecx
	movl $0x5a, %eax
	lar %ecx, %eax
	jnz 7f
	testl $0x8000, %eax
	jnz 7f
	movl $S_KERNEL, %ecx
	movl $0x5a, %eax
	lsl %ecx, %eax
	setz %al
	movzbl %al, %eax
	EQ(l, want_kernel, %eax)
	verr %cx
	setz %al
	movzbl %al, %eax
	EQ(l, want_kernel, %eax)
	movl $S_GATE, %ecx
	lar %ecx, %eax
	jnz 7f
	movl $0x5a, %eax
	lsl %ecx, %eax
	jz 7f
	EQ(l, $0x5a, %eax)
	verr %cx
	jz 7f
	movl $0xfff8, %ecx
	lar %ecx, %eax
	jz 7f
	EQ(l, $0x5a, %eax)
	jmp 8f
7:	FAIL
8:
	/* ---- interrupts and far transfers ---- */
	movl irq_count, %edx
	int $0x30
	incl %edx
	EQ(l, %edx, irq_count)
	EQ(l, $0x30, irq_vector)
	movl want_cs, %eax
	movw %ax, far_call + 4
	movw %ax, far_jump + 4
	.if M == 64
	movq %rsp, %rsi
	movl $far_64, far_call
	movl $far_64_on, far_jump
	.else
	movl %esp, %esi
	movl $far_32, far_call
	movl $far_32_on, far_jump
	.endif
	xorl %edx, %edx
	lcalll *far_call
	EQ(l, $1, %edx)
	.if M == 64
	EQ(q, %rsi, %rsp)
	.else
	EQ(l, %esi, %esp)
	.endif
	ljmpl *far_jump
	FAIL
	.if M == 64
far_64:	incl %edx
	movl want_cs, %eax
	EQ(l, %eax, 4(%rsp))
	lretl
far_64_on:
	movl %ss, %eax
	pushq %rax
	pushq %rsi
	pushfq
	movl %cs, %eax
	pushq %rax
	pushq $9f
	iretq
	FAIL
9:	EQ(q, %rsi, %rsp)
	.else
far_32:	incl %edx
	movl want_cs, %eax
	EQ(w, %ax, 4(%esp))
	lretl
far_32_on:
	pushfl
	pushl %cs
	pushl $9f
	iretl
	FAIL
9:	EQ(l, %esi, %esp)
	.endif
	movl %cs, %eax
	EQ(l, want_cs, %eax)
	GETF
	andl $FL_IF | FL_IOPL, %eax
	EQ(l, %eax, want_flags)

	/* ---- XCR0, the number that the system keeps in each CPU ---- */
	.if M == 64
	testl $1 << 26, features
	jz 1f
	xorl %ecx, %ecx
	movl $-1, %edx
	xgetbv
	EQ(l, $3, %eax)
	EQ(l, $0, %edx)
1:	testl $1 << 22, features + 4
	jz 1f
	movq $-1, %rax
	rdpid %rax
	EQ(q, $0x1234567, %rax)
1:	testl $1 << 27, features + 8
	jz 1f
	rdtscp
	EQ(q, $0x1234567, %rcx)
1:
	.endif

	/* ---- the state of SSE and x87 ---- */
	ldmxcsr odd_mxcsr
	stmxcsr seen
	EQ(l, $0x9fc2, seen)
	fldcw odd_cw
	fxsave image
	EQ(l, $0x9fc2, image + 24)
	EQ(w, $0x0f7f, image)
	fnstcw seen
	EQ(w, $0x0f7f, seen)
	fnstenv image
	EQ(w, $0x0f7f, image)
	ldmxcsr plain_mxcsr
	fninit
	ret
	.endm

	.text
	MODE 32
	.globl main
main:	/* Descriptors. */
	movl $scratch, %eax
	shll $16, %eax
	orl $0x0fff, %eax
	movl %eax, gdt + S_DATA
	movl $scratch, %eax
	shrl $16, %eax
	orl $0x0040f300, %eax
	movl %eax, gdt + S_DATA + 4
	movl $scratch, %eax
	shll $16, %eax
	orl $0x0123, %eax
	movl %eax, ldt + 8
	movl gdt + S_DATA + 4, %eax
	movl %eax, ldt + 12
	movl $ldt, %eax
	shll $16, %eax
	orl $0xf, %eax
	movl %eax, gdt + S_LDT
	movl $ldt, %eax
	shrl $16, %eax
	orl $0x8200, %eax
	movl %eax, gdt + S_LDT + 4
	movl $0x0000ffff, gdt + S_RO
	movl $0x00cff100, gdt + S_RO + 4
	movl $0x0000ffff, gdt + S_XO
	movl $0x00cff900, gdt + S_XO + 4
	movl $0x0000ffff, gdt + S_NONE
	movl $0x00cf7300, gdt + S_NONE + 4
	movl $0x0000ffff, gdt + S_KERNEL
	movl $0x00cf9300, gdt + S_KERNEL + 4
	movl $CODE32 << 16, gdt + S_GATE
	movl $0x0000ec00, gdt + S_GATE + 4
	movl $S_LDT, %eax
	lldt %ax
	movl $TSS32, %eax
	ltr %ax
	movl %cr0, %eax
	orl $0x22, %eax
	movl %eax, %cr0
	movl %cr4, %eax
	orl $CR4_OSFXSR | CR4_OSXMMEXCPT, %eax
	movl %eax, %cr4

	/* ---- 32-bit protected mode ---- */
	movl gdt_ptr + 2, %eax
	movl %eax, want_gdt
	movw gdt_ptr, %ax
	movw %ax, want_gdt + 4
	movl idt_ptr32 + 2, %eax
	movl %eax, want_idt
	movw idt_ptr32, %ax
	movw %ax, want_idt + 4
	movl $TSS32, want_tr
	movl %cr0, %eax
	movl %eax, want_cr0
	call supervisor
	movl $TIMES, %ebp
1:	call sensitive32
	decl %ebp
	jnz 1b
	movl $0, %ebx		/* IOPL */
2:	call user
	movl %ebx, want_flags
	movl %ebx, %eax
	shrl $12, %eax
	andl $1, %eax
	shll $9, %eax		/* IF, with IOPL 3 */
	movl %eax, may_flip
	movl $UDATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	movl $TIMES, times
	RESUME 3f
	pushl $UDATA32
	pushl $user_top
	movl %ebx, %eax
	orl $2, %eax
	pushl %eax
	pushl $UCODE32
	pushl $user32
	iretl
3:	EQ(l, $3, exc_vector)
	addl $FL_IOPL, %ebx
	cmpl $FL_IOPL, %ebx
	je 2b
	/* What is privileged. */
	movl $priv32, %esi
1:	RESUME 3f
	movl $UDATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	pushl $UDATA32
	pushl $user_top
	pushl $2
	pushl $UCODE32
	pushl (%esi)
	iretl
3:	EXC(13, 0)
	movl (%esi), %eax
	EQ(l, %eax, exc_rip)
	addl $4, %esi
	cmpl $priv32_end, %esi
	jne 1b

	/* ---- in long mode ---- */
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	call enter_long
	MODE 64
	movl $S_LDT, %eax
	lldt %ax
	movl idt_ptr64 + 2, %eax
	movl %eax, want_idt
	movw idt_ptr64, %ax
	movw %ax, want_idt + 4
	movl $TSS64, want_tr
	movq %cr0, %rax
	movl %eax, want_cr0
	movl $MSR_EFER, %ecx
	rdmsr
	orl $1, %eax	/* SCE, or SYSRET is none */
	wrmsr
	movl $1, %eax
	cpuid
	movl %ecx, features
	movl $7, %eax
	xorl %ecx, %ecx
	cpuid
	movl %ecx, features + 4
	movl $0x80000001, %eax
	cpuid
	movl %edx, features + 8
	testl $1 << 26, features
	jz 1f
	movq %cr4, %rax
	orl $CR4_OSXSAVE, %eax
	movq %rax, %cr4
	xorl %ecx, %ecx
	movl $3, %eax
	xorl %edx, %edx
	xsetbv
1:	testl $1 << 27, features + 8
	jz 1f
	movl $MSR_TSC_AUX, %ecx
	movl $0x1234567, %eax
	xorl %edx, %edx
	wrmsr
1:	call supervisor64
	movl $CODE64, want_cs
	movl $TIMES, %ebp
1:	call sensitive64
	decl %ebp
	jnz 1b
	/* R13: entry and CS, R12: IOPL. */
	movl $contexts, %r13d
1:	movl $0, %r12d
2:	call user_64
	movl 4(%r13), %eax
	movl %eax, want_cs
	movl %r12d, want_flags
	movl %r12d, %eax
	shrl $12, %eax
	andl $1, %eax
	shll $9, %eax
	movl %eax, may_flip
	movl $UDATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	movl $TIMES, times
	RESUME 3f
	pushq $UDATA32
	pushq $user_top
	leaq 2(%r12), %rax
	pushq %rax
	movl 4(%r13), %eax
	pushq %rax
	movl (%r13), %eax
	pushq %rax
	iretq
3:	EQ(l, $3, exc_vector)
	addl $FL_IOPL, %r12d
	cmpl $FL_IOPL, %r12d
	je 2b
	addl $8, %r13d
	cmpl $contexts_end, %r13d
	jne 1b
	/* What is privileged: R12, R13. */
	movl $privs, %r13d
1:	movl (%r13), %r12d
2:	RESUME 3f
	movl $UDATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	pushq $UDATA32
	pushq $user_top
	pushq $2
	movl 8(%r13), %eax
	pushq %rax
	movl (%r12), %eax
	pushq %rax
	iretq
3:	EXC(13, 0)
	movl (%r12), %eax
	EQ(l, %eax, exc_rip)
	addl $4, %r12d
	cmpl 4(%r13), %r12d
	jne 2b
	addl $12, %r13d
	cmpl $privs_end, %r13d
	jne 1b
	movl $DATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	jmp pass64

	/* What CPL 0 is to see. */
	MODE 32
supervisor:
	movl $CODE32, want_cs
	movl $DATA32, want_ss
	movl $DATA32, want_ds
	movl $0, want_flags
	movl $FL_IF | FL_IOPL, may_flip
	movl $1, want_kernel
	ret
user:	movl $UCODE32, want_cs
	movl $UDATA32, want_ss
	movl $UDATA32, want_ds
	movl $0, want_kernel
	ret
sensitive32:
	SENSITIVE
user32:	call sensitive32
	decl times
	jnz user32
	int3

	MODE 64
supervisor64:
	movl $DATA32, want_ds
	movl %ss, %eax
	movl %eax, want_ss
	movl %ds, %eax
	movl %eax, want_ds
	movl $0, want_flags
	movl $FL_IF | FL_IOPL, may_flip
	movl $1, want_kernel
	ret
user_64:
	movl $UDATA32, want_ss
	movl $UDATA32, want_ds
	movl $0, want_kernel
	ret
sensitive64:
	SENSITIVE
user64:	call sensitive64
	decl times
	jnz user64
	int3

	/* ---- what faults at CPL 3 ---- */
	.macro PRIV insn:vararg
	.pushsection .data, 1
	.long 99f
	.popsection
99:	\insn
	FAIL
	.endm
	.macro PRIVILEGED
	PRIV hlt
	PRIV clts
	PRIV cli
	PRIV sti
	PRIV lgdt gdt_ptr
	PRIV lidt gdt_ptr
	PRIV lldt %ax
	PRIV ltr %ax
	PRIV lmsw %ax
	PRIV wbinvd
	PRIV invd
	PRIV invlpg scratch
	PRIV rdmsr
	PRIV wrmsr
	PRIV inb $0x80, %al
	PRIV outb %al, $0x80
	PRIV insb
	PRIV outsb
	PRIV rdpmc
	.if M == 64
	PRIV movq %cr0, %rax
	PRIV movq %rax, %cr0
	PRIV movq %cr2, %rax
	PRIV movq %rax, %cr3
	PRIV movq %cr4, %rax
	PRIV movq %cr8, %rax
	PRIV movq %dr7, %rax
	PRIV movq %rax, %dr0
	PRIV swapgs
	PRIV xsetbv
	PRIV sysretq
	.else
	PRIV movl %cr0, %eax
	PRIV movl %eax, %cr0
	PRIV movl %cr3, %eax
	PRIV movl %eax, %cr4
	PRIV movl %dr7, %eax
	PRIV movl %eax, %dr0
	.endif
	.endm

	.data 1
	.balign 8
priv32:
	.text
	MODE 32
	PRIVILEGED
	.data 1
priv32_end:
priv64:
	.text
	MODE 64
	PRIVILEGED
	.data 1
priv64_end:

	.data
	.balign 8
contexts: .long user64, UCODE64, user32, UCODE32
contexts_end:
privs:	.long priv64, priv64_end, UCODE64, priv32, priv32_end, UCODE32
privs_end:
pointer: .long 0x11223344
	.word S_IN_LDT
	.balign 8
flips:	.long FLIPS | FL_IF | FL_IOPL, 0x8d5 | FL_IF, 0x8d5 | FL_IOPL, 0x8d5, 0x400, 0x4000, 0x40000, 0x200000
odd_mxcsr: .long 0x9fc2
plain_mxcsr: .long 0x1f80
odd_cw:	.word 0x0f7f
	.bss
	.balign 4096
ldt:	.skip 16
want_flags: .skip 4
may_flip: .skip 4
want_gdt: .skip 8
want_idt: .skip 8
want_tr: .skip 4
want_cr0: .skip 4
want_cs: .skip 4
want_ss: .skip 4
want_ds: .skip 4
want_kernel: .skip 4
times:	.skip 4
features: .skip 12
far_call: .skip 8
far_jump: .skip 8
seen:	.skip 16
	.balign 16
image:	.skip 512
