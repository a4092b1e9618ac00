/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guests' common part: entry, descriptor tables, exception stubs for 32- and 64-bit code, serial output, the way into long mode.
 *
 * The stubs record what happened (exc_*). If a guest has set exc_resume they return there, with the interrupted code's segments and
 * stack; an interrupt (vector 20h and up) is counted, acknowledged as irq_eoi says, and returns where it came from.
 * Anything else is a failure.
 */
#include "lib.inc"

	/* PVH entry (Xen's x86/HVM direct boot ABI): 32-bit flat protected mode at `start`. */
	.section .note.pvh, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long start

	.section .data
	.balign 16
	.globl gdt, gdt_ptr, idt_ptr32, idt_ptr64, tss64, tss32
gdt:	.quad 0
	.quad 0x00cf9b000000ffff /* 08 code 32 */
	.quad 0x00cf93000000ffff /* 10 data */
	.quad 0x00af9b000000ffff /* 18 code 64 */
	.quad 0x00009b000000ffff /* 20 code 16 */
	.quad 0x000093000000ffff /* 28 data 16 */
	.quad 0x00cff3000000ffff /* 30 user data */
	.quad 0x00cffb000000ffff /* 38 user code 32 */
	.quad 0x00cff3000000ffff /* 40 user data again */
	.quad 0x00affb000000ffff /* 48 user code 64 */
	.quad 0, 0		 /* 50 64-bit TSS */
	.quad 0			 /* 60 32-bit TSS */
	.fill 24, 8, 0		 /* 68 */
gdt_end:
gdt_ptr:
	.word gdt_end - gdt - 1
	.quad gdt
idt_ptr32:
	.word 256 * 8 - 1
	.quad idt32
idt_ptr64:
	.word 256 * 16 - 1
	.quad idt64
	.balign 16
tss64:	.long 0
	.quad ring0_top		 /* RSP0 */
	.fill 22, 4, 0
	.word 0, 0x68		 /* no I/O bitmap */
tss32:	.long 0, ring0_top, DATA32
	.fill 22, 4, 0
	.word 0, 0x68		 /* no I/O bitmap */

	.globl exc_vector, exc_error, exc_rip, exc_cs, exc_flags, exc_rsp, exc_cr2, exc_resume, exc_count
	.globl irq_count, irq_eoi, irq_vector
exc_vector: .quad -1
exc_error: .quad 0
exc_rip: .quad 0
exc_cs:	.quad 0
exc_flags: .quad 0
exc_rsp: .quad 0
exc_cr2: .quad 0
exc_resume: .quad 0
exc_count: .quad 0
resume_at: .quad 0
irq_count: .quad 0
irq_vector: .quad 0
irq_eoi: .quad 0		 /* 0 none, 1 both PICs, 2 local APIC */
hex:	.ascii "0123456789abcdef"
t_fail:	.asciz "FAIL line "
t_vec:	.asciz ", last exception "
t_err:	.asciz " error "
t_rip:	.asciz " rip "
t_cr2:	.asciz " cr2 "
t_ok:	.asciz "ok\n"

	.section .bss
	.balign 4096
	.globl pml4, pdpt, pd, idt32, idt64, stack_top, ring0_top, user_top, scratch
pml4:	.skip 4096
pdpt:	.skip 4096
pd:	.skip 4096
idt32:	.skip 256 * 8
idt64:	.skip 256 * 16
	.skip 16384
stack_top:
	.skip 8192
ring0_top:
	.skip 8192
user_top:
	.balign 4096
scratch: .skip 4 * 4096

	.text
	MODE 32
	.globl start
start:	cli
	cld
	/* Firmware leaves the timer ticking, at a vector that is #DF's. */
	movb $0xff, %al
	outb %al, $0x21
	outb %al, $0xa1
	movl $stack_top, %esp
	lgdt gdt_ptr
	ljmp $CODE32, $1f
1:	movl $DATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %fs
	movl %eax, %gs
	movl %eax, %ss
	movl $low_from, %esi
	movl $low_start, %edi
	movl $low_end, %ecx
	subl %edi, %ecx
	rep movsb
	call build_idt
	lidt idt_ptr32
	call build_tss
	call build_pages
	xorl %eax, %eax
	xorl %ebp, %ebp
	jmp main

	/* All gates are interrupt gates; DPL 3, so that INT n works from everywhere. */
build_idt:
	movl $stubs32, %eax
	movl $idt32, %edi
	movl $256, %ecx
1:	movw %ax, (%edi)
	movw $CODE32, 2(%edi)
	movl %eax, %edx
	movw $0xee00, %dx
	movl %edx, 4(%edi)
	addl $16, %eax
	addl $8, %edi
	loop 1b
	movl $stubs64, %eax
	movl $idt64, %edi
	movl $256, %ecx
1:	movw %ax, (%edi)
	movw $CODE64, 2(%edi)
	movl %eax, %edx
	movw $0xee00, %dx
	movl %edx, 4(%edi)
	addl $16, %eax
	addl $16, %edi
	loop 1b
	ret

build_tss:
	movl $tss64, %eax
	movl $0x00000067, gdt + TSS64
	movl $0x00008900, gdt + TSS64 + 4
	movw %ax, gdt + TSS64 + 2
	shrl $16, %eax
	movb %al, gdt + TSS64 + 4
	movb %ah, gdt + TSS64 + 7
	movl $tss32, %eax
	movl $0x00000067, gdt + TSS32
	movl $0x00008900, gdt + TSS32 + 4
	movw %ax, gdt + TSS32 + 2
	shrl $16, %eax
	movb %al, gdt + TSS32 + 4
	movb %ah, gdt + TSS32 + 7
	ret

	/* The first gigabyte one to one in 2 MiB pages, for users too. */
build_pages:
	movl $pdpt + P + W + U, pml4
	movl $pd + P + W + U, pdpt
	movl $pd, %edi
	movl $P + W + U + PS, %eax
	movl $512, %ecx
1:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 1b
	ret

	/* Long mode on; returns to the caller in 64-bit code. Interrupt table and TSS are the 64-bit ones. */
	.globl enter_long
enter_long:
	popl %ebx
	movl %cr4, %eax
	orl $CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT, %eax
	movl %eax, %cr4
	movl $pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $0x900, %eax /* LME, NXE */
	wrmsr
	movl %cr0, %eax
	orl $CR0_PG | CR0_WP | 0x22, %eax /* MP, NE */
	movl %eax, %cr0
	ljmp $CODE64, $1f
	MODE 64
1:	lidt idt_ptr64
	movl $TSS64, %eax
	ltr %ax
	movl %ebx, %ebx
	jmp *%rbx

	/* ---- 32-bit exceptions ---- */
	MODE 32
	.balign 16
stubs32:
	.set n, 0
	.rept 256
	.balign 16
	.if !(n == 8 || (n >= 10 && n <= 14) || n == 17)
	pushl $0
	.endif
	pushl $n
	jmp common32
	.set n, n + 1
	.endr

	/* Stack: vector, error, EIP, CS, EFLAGS, and from outer levels ESP, SS and for V86 four more. */
common32:
	cmpl $0xff, (%esp)
	je fail32
	cmpl $0x20, (%esp)
	jae irq32
	pushal
	pushl %ds
	pushl %es
	movl $DATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	leal 40(%esp), %esi /* at the vector */
	movl (%esi), %eax
	movl %eax, exc_vector
	movl 4(%esi), %eax
	movl %eax, exc_error
	movl 8(%esi), %eax
	movl %eax, exc_rip
	movl 12(%esi), %eax
	movl %eax, exc_cs
	movl 16(%esi), %eax
	movl %eax, exc_flags
	movl 20(%esi), %eax
	movl %eax, exc_rsp
	movl %cr2, %eax
	movl %eax, exc_cr2
	incl exc_count
	movl exc_resume, %eax
	testl %eax, %eax
	jz unexpected32
	movl $0, exc_resume
	/* From an outer level or V86 mode: go on at this level, on the main stack. */
	testb $3, 12(%esi)
	jnz 2f
	testl $0x20000, 16(%esi)
	jnz 2f
	movl %eax, 8(%esi)
	andl $~0x10000, 16(%esi)
	popl %es
	popl %ds
	popal
	addl $8, %esp
	iretl
2:	movl %eax, resume_at
	popl %es
	popl %ds
	popal
	movl $stack_top, %esp
	pushl %eax
	movl $DATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	popl %eax
	jmp *resume_at
irq32:	pushl %eax
	movl 4(%esp), %eax
	movl %eax, irq_vector
	incl irq_count
	cmpl $1, irq_eoi
	jne 1f
	movb $0x20, %al
	outb %al, $0xa0
	outb %al, $0x20
1:	cmpl $2, irq_eoi
	jne 1f
	movl $0, 0xfee000b0
1:	popl %eax
	addl $8, %esp
	iretl
unexpected32:
	xorl %edi, %edi
	.globl fail32
fail32:	movl %cs, %eax
	testb $3, %al
	jz 1f
	int $0xff
1:	movl $DATA32, %eax
	movl %eax, %ss
	movl $stack_top, %esp
	movl %eax, %ds
	movl %edi, %eax
	movl $t_fail, %esi
	call text32
	call number32
	movl $t_vec, %esi
	call text32
	movl exc_vector, %eax
	call number32
	movl $t_err, %esi
	call text32
	movl exc_error, %eax
	call number32
	movl $t_rip, %esi
	call text32
	movl exc_rip, %eax
	call number32
	movl $t_cr2, %esi
	call text32
	movl exc_cr2, %eax
	call number32
	movb $'\n', %al
	call char32
	movl $1, %eax
	jmp quit32
	.globl pass32
pass32:	movl $t_ok, %esi
	call text32
	xorl %eax, %eax
quit32:	outl %eax, $EXIT_PORT
1:	cli
	hlt
	jmp 1b

char32:	pushl %edx
	pushl %eax
	movw $0x3fd, %dx
1:	inb %dx, %al
	testb $0x20, %al
	jz 1b
	popl %eax
	movw $0x3f8, %dx
	outb %al, %dx
	popl %edx
	ret
	/* ESI: text. EAX stays. */
	.globl text32
text32:	pushl %eax
1:	lodsb
	testb %al, %al
	jz 2f
	call char32
	jmp 1b
2:	popl %eax
	ret
	/* EAX in hexadecimal. */
	.globl number32
number32:
	pushl %ecx
	movl $8, %ecx
1:	roll $4, %eax
	pushl %eax
	andl $15, %eax
	movb hex(%eax), %al
	call char32
	popl %eax
	loop 1b
	popl %ecx
	ret

	/* ---- 64-bit exceptions ---- */
	MODE 64
	.balign 16
stubs64:
	.set n, 0
	.rept 256
	.balign 16
	.if !(n == 8 || (n >= 10 && n <= 14) || n == 17)
	pushq $0
	.endif
	pushq $n
	jmp common64
	.set n, n + 1
	.endr

common64:
	cmpl $0xff, (%rsp)
	je fail64
	cmpl $0x20, (%rsp)
	jae irq64
	pushq %rax
	pushq %rsi
	leaq 16(%rsp), %rsi
	movq (%rsi), %rax
	movq %rax, exc_vector
	movq 8(%rsi), %rax
	movq %rax, exc_error
	movq 16(%rsi), %rax
	movq %rax, exc_rip
	movq 24(%rsi), %rax
	movq %rax, exc_cs
	movq 32(%rsi), %rax
	movq %rax, exc_flags
	movq 40(%rsi), %rax
	movq %rax, exc_rsp
	movq %cr2, %rax
	movq %rax, exc_cr2
	incl exc_count
	movl exc_resume, %eax
	testl %eax, %eax
	jz unexpected64
	movl $0, exc_resume
	testb $3, 24(%rsi)
	jz 1f
	/* From an outer level: go on at this one, on the main stack. */
	popq %rsi
	addq $8, %rsp
	movl $stack_top, %esp
	jmp *%rax
1:	movq %rax, 16(%rsi)
	andl $~0x10000, 32(%rsi)
	popq %rsi
	popq %rax
	addq $16, %rsp
	iretq
irq64:	pushq %rax
	movl 8(%rsp), %eax
	movl %eax, irq_vector
	incl irq_count
	cmpl $1, irq_eoi
	jne 1f
	movb $0x20, %al
	outb %al, $0xa0
	outb %al, $0x20
1:	cmpl $2, irq_eoi
	jne 1f
	movl $0xfee000b0, %eax
	movl $0, (%rax)
1:	popq %rax
	addq $16, %rsp
	iretq
unexpected64:
	xorl %edi, %edi
	.globl fail64, pass64, leave_long
fail64:	movl %cs, %eax
	testb $3, %al
	jz 1f
	int $0xff /* from outer levels this is the way in */
1:	movl $fail32, %ebx
	jmp leave_long
pass64:	movl $pass32, %ebx
	/* To 32-bit code at EBX, paging off. */
leave_long:
	movl $stack_top, %esp
	pushq $CODE32
	pushq $1f
	lretq
	MODE 32
1:	movl $DATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %cr4, %ecx
	andl $~CR4_PCIDE, %ecx /* which forbids to clear PG */
	movl %ecx, %cr4
	movl %cr0, %eax
	andl $~CR0_PG, %eax
	movl %eax, %cr0
	movl $MSR_EFER, %ecx
	rdmsr
	andl $~0x100, %eax
	wrmsr
	lidt idt_ptr32
	jmp *%ebx

	/* ---- real mode ---- */
	.section .low, "awx"
	MODE 16
	.globl fail16
fail16:	movl %edi, %eax
	orl $1, %eax
	outl %eax, $EXIT_PORT
1:	hlt
	jmp 1b
	.text
	MODE 32
