/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hostile.S does with plain loads, stores and stacks, with everything else that addresses memory: strings and their REP forms, XLAT, bit
 * strings, masked moves and gathers, x87, MMX, the state of FXSAVE and XSAVE, far pointers, tables, branches through memory, frames of RET and
 * IRET, ENTER and LEAVE; by the supervisor and by the user, from places that were executed often with good addresses. Each must
 * raise what the architecture says, at its instruction, with nothing written where a good address would have led.
 */
#include "lib.inc"
#define OFTEN 1200
#define GOOD scratch + 1024
#define PORT 0xed
#define CR4_OSXSAVE 0x40000
/* A row's flags: only CPL 0; RSI, RDI good whatever the address; what it needs. */
#define ROW_KERNEL 1
#define ROW_RSI 2
#define ROW_RDI 4
#define ROW_AVX2 8
#define ROW_XSAVE 16
#define ROW_BACKWARD 32
	/* RBX, RSI, RDI: the address. RCX: 8, RAX: 3, RDX: a port. What comes first and last is about other things. */
	.macro ROW error, flags, first, insn, last
	.pushsection .data, 1
	.long 98f, 99f, \error, \flags
	.popsection
98:	\first
99:	\insn
	\last
	ret
	.endm

	.text
	MODE 32
	.globl main
main:	call enter_long
	MODE 64
	movl $1, %eax
	cpuid
	xorl %r15d, %r15d	/* flags of rows that cannot be */
	testl $1 << 26, %ecx
	jnz 1f
	movl $ROW_XSAVE | ROW_AVX2, %r15d
	jmp 2f
1:	movq %cr4, %rax
	orl $CR4_OSXSAVE, %eax
	movq %rax, %cr4
	xorl %ecx, %ecx
	xorl %edx, %edx
	movl $7, %eax
	xsetbv
	movl $7, %eax
	cpuid
	testl $1 << 5, %ebx
	jnz 2f
	orl $ROW_AVX2, %r15d
2:	movl %r15d, lacks

	/* ---- every row, at CPL 0 and 3, with every address ---- */
	movl $0, %r14d		/* CPL */
level:	movl $rows, %ebp
each:	testl %r14d, %r14d
	jz 1f
	testl $ROW_KERNEL, 12(%rbp)
	jnz next
1:	movl lacks, %eax
	testl %eax, 12(%rbp)
	jnz next
	call fill
	movl $GOOD, %r9d
	movl $OFTEN, %r15d
	call go
	call sum
	movq %rax, before
	movl $wild, %r10d
try:	movq (%r10), %r9
	movl $1, %r15d
	movl $0, exc_vector
	movq $0, exc_cr2
	RESUME back
	jmp go_on
back:	cld
	movl $stack_top, %esp
	movl $DATA32, %eax
	movl %eax, %ds
	movl 8(%r10), %eax
	EQ(l, %eax, exc_vector)
	movl 4(%rbp), %eax
	EQ(l, %eax, exc_rip)
	cmpl $14, exc_vector
	jne 1f
	movl 8(%rbp), %eax
	movl %r14d, %ecx
	andl $1, %ecx
	leal (%rax, %rcx, 4), %eax
	EQ(l, %eax, exc_error)
	movq exc_cr2, %rax
	subq (%r10), %rax
	cmpq $64, %rax
	jb 1f
	FAIL
1:	call sum
	EQ(q, %rax, before)
	addq $16, %r10
	cmpl $wild_end, %r10d
	jne try
next:	addl $16, %ebp
	cmpl $rows_end, %ebp
	jne each
	addl $3, %r14d
	cmpl $3, %r14d
	je level

	/* ---- stacks: RSP, or RBP, is the address; faults are delivered on another stack ---- */
	movq $fault_top, tss64 + 0x24 /* IST 1 */
	movb $1, idt64 + 12 * 16 + 4
	movb $1, idt64 + 13 * 16 + 4
	movb $1, idt64 + 14 * 16 + 4
	movl $stack_places, %ebp
1:	movl (%rbp), %r8d
	movl $OFTEN, %r15d
	movl $3f, %r13d
2:	/* A frame that RET, far RET and IRET can use. */
	movl $GOOD, %esp
	movq %r13, (%rsp)
	movl %cs, %eax
	movq %rax, 8(%rsp)
	movq $2, 16(%rsp)
	movq $GOOD, 24(%rsp)
	movl %ss, %eax
	movq %rax, 32(%rsp)
	movq %rbp, %r12
	movq %rsp, %rbp
	jmp *%r8
3:	movq %r12, %rbp
	decl %r15d
	jnz 2b
	movl $stack_top, %esp
	call sum
	movq %rax, before
	movl $wild_stacks, %r9d
4:	movq (%r9), %rsp
	movq %rbp, %r12
	movl 4(%rbp), %eax	/* what is accessed lies so much below */
	addq %rax, %rsp
	movq %rsp, %rbp
	movq %rsp, %rbx
	RESUME 5f
	movl $0, exc_vector
	movq $0, exc_cr2
	jmp *%r8
5:	movq %rsp, %rcx
	movl $stack_top, %esp
	EQ(q, %rbx, %rbp)
	movq %r12, %rbp
	EQ(q, %rbx, %rcx)
	movl 8(%r9), %eax
	EQ(l, %eax, exc_vector)
	EQ(l, %r8d, exc_rip)
	cmpl $14, %eax
	je 6f
	EQ(l, $0, exc_error)
	jmp 7f
6:	movq exc_cr2, %rax
	subq (%r9), %rax
	cmpq $64, %rax
	jb 7f
	FAIL
7:	call sum
	EQ(q, %rax, before)
	addq $16, %r9
	cmpl $wild_stacks_end, %r9d
	jne 4b
	addl $8, %ebp
	cmpl $stack_places_end, %ebp
	jne 1b
	movb $0, idt64 + 12 * 16 + 4
	movb $0, idt64 + 13 * 16 + 4
	movb $0, idt64 + 14 * 16 + 4

	/* ---- several accesses that share a check: the page is the last one, or the first, that is there ---- */
	movl $pd_w + P + W + U, pdpt + 8
	movl $pt_w + P + W + U, pd_w
	movl $scratch + P + W, pt_w + 8 * 5
	movl $3, %r14d
1:	movl $OFTEN, %r15d
2:	movl $GOOD, %ebx
	call object
	movl $GOOD, %ebx
	call object_back
	decl %r15d
	jnz 2b
	/* RBX: 32 bytes below the end, then less, so that the last access, the one before and so on is the one that faults. */
	movl $0x40006000 - 32, %ebx
	movl $object_ends, %r12d
3:	RESUME 4f
	call object
4:	movl $stack_top, %esp
	movl (%r12), %eax
	testl %eax, %eax
	jz 5f
	EQ(l, %eax, exc_rip)
	EQ(l, $14, exc_vector)
	EQ(q, $0x40006000, exc_cr2)
	movl 4(%r12), %eax
	EQ(l, %eax, exc_error)
	addl $8, %r12d
	addl $8, %ebx
	jmp 3b
5:	movl $0x40005000 + 32, %ebx
	movl $object_back_ends, %r12d
3:	RESUME 4f
	call object_back
4:	movl $stack_top, %esp
	movl (%r12), %eax
	testl %eax, %eax
	jz 5f
	EQ(l, %eax, exc_rip)
	EQ(l, $14, exc_vector)
	movl 4(%r12), %eax
	EQ(l, %eax, exc_error)
	addl $8, %r12d
	subl $8, %ebx
	jmp 3b
5:	decl %r14d
	jnz 1b

	/* ---- bit strings: the offset is what is wild ---- */
	movl $OFTEN, %r15d
1:	movl $GOOD, %ebx
	movl $64, %ecx
	call bit_set
	call bit_test
	decl %r15d
	jnz 1b
	movl $GOOD, %ebx
	movabs $0x7fffffffffffffff, %rcx
	RESUME 2f
	call bit_set
	FAIL
2:	EXC(13, 0)
	EQ(l, $bit_set, exc_rip)
	movl $stack_top, %esp
	movabs $0x8000000000000000, %rcx
	RESUME 2f
	call bit_test
	FAIL
2:	EXC(13, 0)
	movl $stack_top, %esp
	movabs $0x200000000, %rcx	/* a gigabyte on: not mapped but for the first pages */
	RESUME 2f
	call bit_set
	FAIL
2:	EXC(14, 2)
	EQ(l, $bit_set, exc_rip)
	movl $stack_top, %esp
	/* Negative: back to a good one. */
	movl $GOOD + 4096, %ebx
	movq $-8 * 4096, %rcx
	movq $0, GOOD
	call bit_set
	EQ(q, $1, GOOD)

	/* ---- strings that run into what is not there, forward and backward: what came before is done ---- */
	movl $4, %r15d
1:	movl $0x40005f00, %edi
	movl $GOOD, %esi
	movl $512, %ecx
	RESUME 2f
	rep movsb
	FAIL
2:	EXC(14, 2)
	EQ(l, $256, %ecx)
	EQ(q, $0x40006000, %rdi)
	EQ(q, $GOOD + 256, %rsi)
	EQ(q, %rdi, exc_cr2)
	std
	movl $0x40005100 - 8, %edi
	movl $64, %ecx
	RESUME 2f
	rep stosq
	FAIL
2:	cld
	EXC(14, 2)
	EQ(l, $32, %ecx)
	EQ(q, $0x40004ff8, %rdi)
	EQ(q, %rdi, exc_cr2)
	movl $0x40005ff0, %esi
	movl $GOOD, %edi
	movl $16, %ecx
	RESUME 2f
	rep movsl
	FAIL
2:	EXC(14, 0)
	EQ(l, $12, %ecx)
	EQ(q, $0x40006000, exc_cr2)
	/* A count that is no count: it faults where it must, and at once. */
	movl $0x40005ff0, %edi
	movq $-1, %rcx
	RESUME 2f
	rep stosb
	FAIL
2:	EXC(14, 2)
	EQ(q, $-17, %rcx)
	decl %r15d
	jnz 1b

	/* ---- jumps to nowhere ---- */
	movl $OFTEN, %r15d
	movl $just_ret, %ebx
1:	call jump
	call call_it
	decl %r15d
	jnz 1b
	movabs $0x800000000000, %rbx
	RESUME 2f
	call jump
	FAIL
2:	EXC(13, 0)
	EQ(l, $jump, exc_rip)
	RESUME 2f
	call call_it
	FAIL
2:	EXC(13, 0)
	EQ(l, $call_it, exc_rip)
	movl $stack_top, %esp
	movabs $0x7ffffffff000, %rbx
	RESUME 2f
	call jump
	FAIL
2:	EXC(14, 0x10)
	EQ(q, %rbx, exc_rip)
	EQ(q, %rbx, exc_cr2)
	movl $stack_top, %esp
	movabs $0x100000000, %rbx
	leaq just_ret(%rbx), %rbx
	RESUME 2f
	call call_it
	FAIL
2:	EXC(14, 0x10)
	EQ(q, %rbx, exc_rip)
	jmp pass64

jump:	jmp *%rbx
call_it: call *%rbx
just_ret: ret
bit_set: btsq %rcx, (%rbx)
	ret
bit_test: btq %rcx, (%rbx)
	ret
	/* Forty bytes from RBX on, written last; and the same from RBX down. */
object:	movl $3, %ecx
1:	movq (%rbx), %rax
o1:	addq 8(%rbx), %rax
o2:	movq 16(%rbx), %rdx
o3:	movq %rax, 24(%rbx)
o4:	movq %rdx, 32(%rbx)
	decl %ecx
	jnz 1b
	ret
object_back:
	movl $3, %ecx
1:	movq -8(%rbx), %rax
b1:	addq -16(%rbx), %rax
b2:	movq -24(%rbx), %rdx
b3:	movq %rax, -32(%rbx)
b4:	movq %rdx, -40(%rbx)
	decl %ecx
	jnz 1b
	ret

	/* R15 times the row at RBP with address R9, at CPL R14. */
go:	popq %rax
	movq %rax, gone_from
	RESUME 1f
	jmp go_on
1:	EQ(l, $3, exc_vector)
	movl $stack_top, %esp
	movl $DATA32, %eax
	movl %eax, %ds
	jmp *gone_from
go_on:	testl %r14d, %r14d
	jz work
	pushq $UDATA
	pushq $user_top
	pushq $0x3002
	pushq $UCODE64
	pushq $work
	iretq
work:	movl 12(%rbp), %r11d
	movl (%rbp), %r8d
1:	movq %r9, %rbx
	movq %r9, %rsi
	movq %r9, %rdi
	movl $8, %ecx
	movl $3, %eax
	movl $PORT, %edx
	testl $ROW_RSI, %r11d
	jz 2f
	movl $GOOD, %esi
2:	testl $ROW_RDI, %r11d
	jz 2f
	movl $GOOD, %edi
2:	call *%r8
	decl %r15d
	jnz 1b
	int3

	/* What good addresses lead to. */
fill:	movl $scratch, %edi
	xorl %eax, %eax
	movl $4096, %ecx
	rep stosb
	ret
	/* RAX: of that. */
sum:	movl $scratch, %esi
	movl $512, %ecx
	xorl %eax, %eax
1:	rolq $7, %rax
	addq (%rsi), %rax
	addl $8, %esi
	decl %ecx
	jnz 1b
	ret

	/* ---- the rows ---- */
	.data 1
	.balign 8
rows:	.text
	ROW 0, 0, , "lodsq"
	ROW 2, 0, , "stosq"
	ROW 0, ROW_RDI, , "movsq"
	ROW 2, ROW_RSI, , "movsq"
	ROW 0, ROW_RDI, , "movsb"
	ROW 0, ROW_RDI, , "cmpsl"
	ROW 0, ROW_RSI, , "cmpsb"
	ROW 0, 0, , "scasw"
	ROW 0, 0, , "rep lodsb"
	ROW 2, 0, , "rep stosb"
	ROW 2, 0, , "rep stosq"
	ROW 0, ROW_RDI, , "rep movsb"
	ROW 2, ROW_RSI, , "rep movsb"
	ROW 0, ROW_RDI, , "rep movsq"
	ROW 2, ROW_RSI, , "rep movsq"
	ROW 0, ROW_RDI, , "repe cmpsb"
	ROW 0, 0, , "repne scasb"
	ROW 2, ROW_RSI, "std", "rep movsb", "cld"
	ROW 2, 0, , "insb"
	ROW 0, 0, , "outsb"
	ROW 2, 0, , "rep insl"
	ROW 0, 0, , "rep outsl"
	ROW 0, 0, , "xlatb"
	ROW 0, 0, , "btl %ecx, (%rbx)"
	ROW 2, 0, , "btsq %rcx, (%rbx)"
	ROW 2, 0, , "lock btcl %ecx, (%rbx)"
	ROW 2, 0, , "lock cmpxchg8b (%rbx)"
	ROW 2, 0, "movl $1, %ecx", "cmpxchg16b (%rbx)"
	ROW 2, 0, , "lock xaddq %rax, (%rbx)"
	ROW 2, 0, , "xchgb %al, (%rbx)"
	ROW 2, 0, , "cmpxchgl %ecx, (%rbx)"
	ROW 2, 0, , "shldq $5, %rax, (%rbx)"
	ROW 0, 0, , "imulq $3, (%rbx), %rax"
	ROW 0, 0, , "mulq (%rbx)"
	ROW 2, 0, , "setz (%rbx)"
	ROW 0, 0, , "cmovzq (%rbx), %rax"
	ROW 0, 0, , "cmovnzq (%rbx), %rax"
	ROW 0, 0, , "movzbl (%rbx), %eax"
	ROW 2, 0, "pushq $5", "popq (%rbx)"
	ROW 2, 0, , "movnti %rax, (%rbx)"
	ROW 0, 0, "fninit", "fldt (%rbx)", "fninit"
	ROW 0, 0, "fninit", "fildll (%rbx)", "fninit"
	ROW 0, 0, "fninit; fld1", "fadds (%rbx)", "fninit"
	ROW 0, 0, "fninit", "fbld (%rbx)", "fninit"
	ROW 2, 0, "fninit; fld1", "fstpt (%rbx)"
	ROW 2, 0, "fninit; fld1", "fistpll (%rbx)"
	ROW 2, 0, , "fnstcw (%rbx)"
	ROW 0, 0, , "fldcw (%rbx)", "fninit"
	ROW 2, 0, "fninit", "fnstenv (%rbx)", "fninit"
	ROW 0, 0, , "fldenv (%rbx)", "fninit"
	ROW 2, 0, "fninit", "fnsave (%rbx)"
	ROW 0, 0, , "frstor (%rbx)", "fninit"
	ROW 0, 0, "fninit", "movq (%rbx), %mm1", "emms"
	ROW 2, 0, "fninit", "movq %mm1, (%rbx)", "emms"
	ROW 2, 0, "fninit; pcmpeqd %mm2, %mm2", "maskmovq %mm2, %mm1", "emms"
	ROW 2, 0, "pcmpeqd %xmm2, %xmm2", "maskmovdqu %xmm2, %xmm1"
	ROW 0, 0, , "movaps (%rbx), %xmm1"
	ROW 2, 0, , "movntdq %xmm1, (%rbx)"
	ROW 0, 0, , "addsd (%rbx), %xmm1", "xorps %xmm1, %xmm1"
	ROW 0, 0, , "cvtsi2sdl (%rbx), %xmm1"
	ROW 0, 0, , "pcmpistri $0, (%rbx), %xmm1"
	ROW 0, 0, , "ldmxcsr (%rbx)"
	ROW 2, 0, , "stmxcsr (%rbx)"
	ROW 2, 0, , "fxsave (%rbx)"
	ROW 0, 0, , "fxrstor (%rbx)", "fninit"
	ROW 2, ROW_XSAVE, , "xsave (%rbx)"
	ROW 0, ROW_XSAVE, , "xrstor (%rbx)", "fninit"
	ROW 2, ROW_XSAVE, , "xsave64 (%rbx)"
	ROW 0, ROW_AVX2, , "vmovups (%rbx), %ymm1"
	ROW 2, ROW_AVX2, , "vmovups %ymm1, (%rbx)"
	ROW 0, ROW_AVX2, , "vpbroadcastd (%rbx), %ymm1"
	ROW 0, ROW_AVX2, "vpcmpeqd %ymm2, %ymm2, %ymm2", "vpmaskmovd (%rbx), %ymm2, %ymm1"
	ROW 2, ROW_AVX2, "vpcmpeqd %ymm2, %ymm2, %ymm2", "vpmaskmovd %ymm1, %ymm2, (%rbx)"
	ROW 0, ROW_AVX2, "vpcmpeqd %ymm2, %ymm2, %ymm2; vpxor %ymm1, %ymm1, %ymm1", "vpgatherdd %ymm2, (%rbx, %ymm1, 4), %ymm3"
	ROW 0, ROW_AVX2, "vpcmpeqd %ymm2, %ymm2, %ymm2; vmovq %rbx, %xmm1; vpbroadcastq %xmm1, %ymm1", "vpgatherqq %ymm2, (, %ymm1, 1), %ymm3"
	ROW 0, ROW_AVX2, "vpcmpeqd %xmm2, %xmm2, %xmm2; vpxor %xmm1, %xmm1, %xmm1", "vgatherdpd %xmm2, (%rbx, %xmm1, 8), %xmm3"
	ROW 0, 0, , "lfs (%rbx), %eax"
	ROW 0, 0, , "movw (%rbx), %gs"
	ROW 2, 0, , "movw %ds, (%rbx)"
	ROW 2, 0, , "sgdt (%rbx)"
	ROW 2, 0, , "sldt (%rbx)"
	ROW 2, 0, , "smsw (%rbx)"
	ROW 0, 0, , "larw (%rbx), %ax"
	ROW 0, 0, , "verr (%rbx)"
	ROW 0, ROW_KERNEL, , "lldt (%rbx)"
	ROW 0, ROW_KERNEL, "call far_to_back", "lcalll *(%rbx)"
	ROW 0, ROW_KERNEL, "call far_to_ret", "ljmpl *(%rbx)"
	ROW 0, 0, "call near_to_ret", "call *(%rbx)"
	ROW 0, 0, "call near_to_ret", "jmp *(%rbx)"
	.data 1
rows_end:
	.text
far_back: lretl
near_to_ret:
	movq $just_ret, GOOD
	ret
far_to_back:
	movl $far_back, GOOD
	movw $CODE64, GOOD + 4
	ret
far_to_ret:
	movl $just_ret, GOOD
	movw $CODE64, GOOD + 4
	ret

	/* ---- the stack's places: the instruction is the first of each ---- */
s_ret:	ret
s_ret_i: ret $24
s_lret:	lretq
s_iret:	iretq
s_leave: leave
	jmp *%r13
s_enter: enter $16, $0
	jmp *%r13
s_pop_m: popq scratch
	jmp *%r13
s_push_fs: pushq %fs
	jmp *%r13
s_call_m: call *call_to
call_to_here: jmp *%r13

	.data
	.balign 8
	/* Aligned, so that nothing else is wrong with them. */
wild:	.quad 0x800000000000, 13, 0xffff7fffffffffc0, 13, 0x8000000000000000, 13, GOOD + 0x8000000000000000, 13
	.quad GOOD + 0x1000000000000, 13, 0x123456789abcdec0, 13
	.quad 0x40000000, 14, GOOD + 0x100000000, 14, GOOD + 0x8000000000, 14, 0x7fffffffe000, 14
	.quad 0xffff800000000000, 14, 0xfffffffffffff000, 14, 0xffffffff80000000, 14
wild_end:
wild_stacks:
	.quad 0x800000000000, 12, 0xffff7ffffffffff8, 12, 0x8000000000000000, 12, 0x123456789abcdef0, 12
	.quad GOOD + 0x8000000000000000, 12, GOOD + 0x1000000000000, 12
	.quad 0x40000000, 14, GOOD + 0x100000000, 14, 0x7fffffffe000, 14, 0xffff800000000000, 14, 0xffffffff80000000, 14
wild_stacks_end:
stack_places:
	.long s_ret, 0, s_ret_i, 0, s_lret, 0, s_iret, 0, s_leave, 0, s_enter, 8, s_pop_m, 0, s_push_fs, 8, s_call_m, 8
stack_places_end:
object_ends: .long o4, 2, o3, 2, o2, 0, o1, 0, 0
object_back_ends: .long b4, 2, b3, 2, b2, 0, b1, 0, 0
	.balign 8
call_to: .quad call_to_here
	.bss
	.balign 4096
pd_w:	.skip 4096
pt_w:	.skip 4096
before:	.skip 8
gone_from: .skip 8
lacks:	.skip 4
	.balign 4096
	.skip 4096
fault_top:
