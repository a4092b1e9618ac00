/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guests' common part in assembly: notes, entry, ways into the kernel, attempts that may fault, the way to a program.
 *
 * A CPU's stack is 64 KiB, aligned, with its struct cpu (kit.h) at the low end: so a trap finds it by the stack pointer. What enters the
 * kernel is noted there; if an attempt is under way it ends with the vector as its result, whether the kernel or a program was
 * interrupted. An upcall is counted and returns.
 */
#define __ASSEMBLY__ 1
#include <xen/elfnote.h>
#include <xen/xen.h>

#define STACK	   0x10000
#define CPU_RESUME 0
#define CPU_VECTOR 8 /* then error, rip, cs, flags, sp, ss, rax */

	.macro NOTE type, value
	.long 4, 8, \type
	.asciz "Xen"
	.quad \value
	.endm
	.section .note.xen, "a", @note
	.long 4, 6, XEN_ELFNOTE_GUEST_OS
	.asciz "Xen"
	.asciz "linux" /* as it is entered like that one */
	.balign 4
	NOTE XEN_ELFNOTE_ENTRY, start
	NOTE XEN_ELFNOTE_VIRT_BASE, 0xffffffff80000000
	NOTE XEN_ELFNOTE_INIT_P2M, 0x8000000000

	.text
	.globl start
start:	leaq stacks + STACK(%rip), %rsp
	xorl %ebp, %ebp
	movq %rsi, %rdi
	call kit_main
1:	jmp 1b

	/* A further CPU: RDI is its number, its context has set the stack. */
	.globl start_cpu
start_cpu:
	xorl %ebp, %ebp
	call kit_cpu
1:	jmp 1b

	/* ---- ways in: [RSP] RCX, R11, what else is in front of RIP, RIP, CS, RFLAGS, RSP, SS ---- */
	.balign 16
	.globl stubs
stubs:
	.set n, 0
	.rept 256
	.balign 16
	pushq $n
	.if n == 8 || (n >= 10 && n <= 14) || n == 17
	jmp with_error
	.else
	jmp without_error
	.endif
	.set n, n + 1
	.endr
	.globl enter_syscall, enter_failsafe, enter_event
enter_syscall:
	pushq $0x100
without_error:
	pushq %rbx
	pushq %rax
	xorl %eax, %eax
	leaq 40(%rsp), %rbx
	jmp note
enter_failsafe: /* before RIP: DS, ES, FS, GS */
	pushq $0x102
	pushq %rbx
	pushq %rax
	xorl %eax, %eax
	leaq 72(%rsp), %rbx
	jmp note
with_error:
	pushq %rbx
	pushq %rax
	movq 40(%rsp), %rax
	leaq 48(%rsp), %rbx
	/* RAX error, RBX where RIP is, [RSP] RAX, RBX, vector, RCX, R11 */
note:	pushq %rdi
	movq %rsp, %rdi
	andq $-STACK, %rdi
	movq %rax, CPU_VECTOR + 8(%rdi)
	movq 24(%rsp), %rax
	movq %rax, CPU_VECTOR(%rdi)
	movq 8(%rsp), %rax
	movq %rax, CPU_VECTOR + 56(%rdi)
	.irp k, 0, 8, 16, 24, 32
	movq \k(%rbx), %rax
	movq %rax, CPU_VECTOR + 16 + \k(%rdi)
	.endr
	movq CPU_RESUME(%rdi), %rax
	testq %rax, %rax
	jz unexpected
	movq $0, CPU_RESUME(%rdi)
	movq %rax, %rsp
	movq CPU_VECTOR(%rdi), %rax
	cld
	jmp leave_attempt
unexpected:
	andq $-16, %rsp
	call kit_unexpected

enter_event:
	pushq %rax
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %rbp
	movq %rsp, %rbp
	movq %rsp, %rdi
	andq $-STACK, %rdi
	andq $-16, %rsp
	cld
	call kit_event
	movq %rbp, %rsp
	popq %rbp
	popq %r10
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rdx
	popq %rax
	popq %rcx
	popq %r11
	pushq $0
	pushq %rcx
	pushq %r11
	pushq %rax
	movl $__HYPERVISOR_iret, %eax
	syscall
	ud2

	/* ---- attempts ---- */

	.macro BEGIN_ATTEMPT
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, %rax
	andq $-STACK, %rax
	movq %rsp, CPU_RESUME(%rax)
	.endm

	/* s64 attempt_with(fn, a, b, c): calls fn(a, b, c); -1: nothing entered the kernel, else the vector */
	.globl attempt_with
attempt_with:
	BEGIN_ATTEMPT
	movq %rdi, %rax
	movq %rsi, %rdi
	movq %rdx, %rsi
	movq %rcx, %rdx
	subq $8, %rsp
	call *%rax
	addq $8, %rsp
	movq %rsp, %rax
	andq $-STACK, %rax
	movq $0, CPU_RESUME(%rax)
	movq $-1, %rax
leave_attempt:
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	/* s64 attempt_iret(const u64 frame[9]): the hypercall iret with this frame; the vector of what enters the kernel then */
	.globl attempt_iret
attempt_iret:
	BEGIN_ATTEMPT
	movq %rdi, %rbx
	leaq -1024(%rsp), %rsi /* a program's traps come here */
	andq $-16, %rsi
	movl $FLAT_KERNEL_SS, %edi
	movl $__HYPERVISOR_stack_switch, %eax
	syscall
	movl $9, %ecx
1:	pushq -8(%rbx, %rcx, 8)
	loop 1b
	movl $__HYPERVISOR_iret, %eax
	movq $0x1234, %rdi
	syscall
	ud2

	/* s64 attempt_call(fn, sp): calls fn on that stack; only for what does not return */
	.globl attempt_call
attempt_call:
	BEGIN_ATTEMPT
	movq %rsi, %rsp
	jmp *%rdi

	/* ---- what is attempted: address, value ---- */
	.globl store8, store16, store32, store64, load64, xchg64, cmpxchg64, bts64, add64, cmpxchg128, movs, stos, store128, fxsave64, push64, or8
store8:	movb %sil, (%rdi)
	ret
store16: movw %si, (%rdi)
	ret
store32: movl %esi, (%rdi)
	ret
store64: movq %rsi, (%rdi)
	ret
load64:	movq (%rdi), %rax
	ret
xchg64:	xchgq %rsi, (%rdi)
	ret
cmpxchg64: /* whatever is there */
	movq (%rdi), %rax
	lock cmpxchgq %rsi, (%rdi)
	ret
bts64:	lock btsq %rsi, (%rdi)
	ret
add64:	addq %rsi, (%rdi)
	ret
or8:	lock orb %sil, (%rdi)
	ret
cmpxchg128:
	movq %rbx, %r8
	movq (%rdi), %rax
	movq 8(%rdi), %rdx
	movq %rsi, %rbx
	movq %rdx, %rcx
	lock cmpxchg16b (%rdi)
	movq %r8, %rbx
	ret
	/* rep movs: to, from, quadwords */
movs:	movq %rdx, %rcx
	rep movsq
	ret
	/* rep stos: to, value, quadwords */
stos:	movq %rdx, %rcx
	movq %rsi, %rax
	rep stosq
	ret
store128:
	movq %rsi, %xmm0
	movups %xmm0, (%rdi)
	ret
fxsave64:
	fxsaveq (%rdi)
	ret
push64:	movq %rsp, %rax
	leaq 8(%rdi), %rsp
	pushq %rsi
	movq %rax, %rsp
	ret

	.section .bss
	.balign STACK
	.globl stacks
stacks:	.skip STACK * 4
