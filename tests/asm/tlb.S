/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables that change under the TLB (SDM vol. 3, 4.10). After INVLPG, a load of CR3, a change of CR4.PGE or INVPCID the new
 * translation must be used, for loads, stores and fetches; more rights need no invalidation when a fault says so; another
 * PCID's entries must not be used, and bit 63 of CR3 keeps one's own.
 */
#include "lib.inc"
#define WIN 0x40000000
#define ONE scratch
#define TWO scratch + 0x1000
	.text
	MODE 32
	.globl main
main:	movl $pd2 + P + W + U, pdpt + 8
	movl $pt + P + W + U, pd2
	call enter_long
	MODE 64
	movl $0x11111111, ONE
	movl $0x22222222, TWO
	movl $WIN, %ebx
	/* INVLPG: loads and stores. */
	movl $ONE + P + W, pt
	EQ(l, $0x11111111, (%rbx))
	movl $TWO + P + W, pt
	invlpg 123(%rbx) /* any address of the page */
	EQ(l, $0x22222222, (%rbx))
	movl $0x33333333, (%rbx)
	EQ(l, $0x33333333, TWO)
	movl $ONE + P + W, pt
	invlpg (%rbx)
	movl $0x44444444, (%rbx)
	EQ(l, $0x33333333, TWO)
	EQ(l, $0x44444444, ONE)
	/* CR3. */
	movl $TWO + P + W, pt
	movq %cr3, %rax
	movq %rax, %cr3
	EQ(l, $0x33333333, (%rbx))
	/* Fetches: the same linear address, other code. */
	movl $code1 + P + W, pt + 8
	movl $WIN + 0x1000, %esi
	call *%rsi
	EQ(l, $1, %eax)
	movl $code2 + P + W, pt + 8
	invlpg (%rsi)
	call *%rsi
	EQ(l, $2, %eax)
	/* And by changing a level above. */
	movl $code1 + P + W, pt2 + 8
	movl $ONE + P + W, pt2
	movl $pt2 + P + W, pd2
	movq %cr3, %rax
	movq %rax, %cr3
	call *%rsi
	EQ(l, $1, %eax)
	EQ(l, $0x44444444, (%rbx))
	movl $pt + P + W + U, pd2
	movq %cr3, %rax
	movq %rax, %cr3
	/* Fewer rights after INVLPG: read-only, then gone. */
	movl $TWO + P, pt
	invlpg (%rbx)
	FAULTS(14, 3, movl %eax, (%rbx))
	movl $0, pt
	invlpg (%rbx)
	FAULTS(14, 0, movl (%rbx), %eax)
	/* More rights without INVLPG: a not-present entry is never cached; a fault drops the stale one. */
	movl $TWO + P, pt
	EQ(l, $0x33333333, (%rbx))
	movl $TWO + P + W, pt
	RESUME 1f
	movl $0x55555555, (%rbx)
	movl $0, exc_resume
1:	movl $0x55555555, (%rbx)
	EQ(l, $0x55555555, TWO)
	/* D is set though the entry was cached by a read. */
	movl $TWO + P + W, pt
	invlpg (%rbx)
	movl (%rbx), %eax
	movl %eax, (%rbx)
	testl $D, pt
	jnz 1f
	FAIL
1:
	/* Global pages: INVLPG drops them; so does a change of PGE. CR3 need not. */
	movq %cr4, %rax
	orl $CR4_PGE, %eax
	movq %rax, %cr4
	movl $ONE + P + W + G, pt
	invlpg (%rbx)
	EQ(l, $0x44444444, (%rbx))
	movl $TWO + P + W + G, pt
	invlpg (%rbx)
	EQ(l, $0x55555555, (%rbx))
	movl $ONE + P + W + G, pt
	movq %cr4, %rax
	xorl $CR4_PGE, %eax
	movq %rax, %cr4
	EQ(l, $0x44444444, (%rbx))
	movl $ONE + P + W, pt
	invlpg (%rbx)

	/* A large page goes with INVLPG of any of its addresses. */
	movl $0x66666666, 0x200000 + ONE
	movl $P + W + PS, pd2 + 8
	EQ(l, $0x44444444, 0x200000 + ONE(%rbx))
	movl $0x200000 + P + W + PS, pd2 + 8
	invlpg 0x3ff000(%rbx)
	EQ(l, $0x66666666, 0x200000 + ONE(%rbx))

	/* PCIDs. */
	movl $1, %eax
	cpuid
	testl $1 << 17, %ecx
	jz done
	movq %cr4, %rax
	orl $CR4_PCIDE, %eax
	movq %rax, %cr4
	/* PCIDE cannot be set with another PCID in CR3, nor long mode left with it: the first is tried. */
	movl $7, %ecx
	xorl %eax, %eax
	cpuid
	movl $7, %eax
	xorl %ecx, %ecx
	cpuid
	movl %ebx, %ebp
	movl $WIN, %ebx
	/* PCID 1 sees ONE, PCID 2 TWO, by tables of their own below one PML4 each. */
	movl $pdpt_b + P + W + U, pml4_b
	movl $pd + P + W + U, pdpt_b
	movl $pd_b + P + W + U, pdpt_b + 8
	movl $pt_b + P + W + U, pd_b
	movl $TWO + P + W, pt_b
	movl $pml4 + 1, %eax
	movl $pml4_b + 2, %ecx
	movq %rax, %cr3
	EQ(l, $0x44444444, (%rbx))
	movq %rcx, %cr3
	EQ(l, $0x55555555, (%rbx))
	btsq $63, %rax
	btsq $63, %rcx
	movq %rax, %cr3
	EQ(l, $0x44444444, (%rbx))
	movq %rcx, %cr3
	EQ(l, $0x55555555, (%rbx))
	/* Bit 63 does not read back. */
	movq %cr3, %rdx
	EQ(l, $pml4_b + 2, %edx)
	shrq $63, %rdx
	EQ(l, $0, %edx)
	/* INVLPG is the current PCID's; INVPCID type 0 another's. */
	movl $ONE + P + W, pt_b
	invlpg (%rbx)
	EQ(l, $0x44444444, (%rbx))
	testl $1 << 10, %ebp
	jz nopcid
	movl $TWO + P + W, pt /* PCID 1's entry is stale until dropped */
	movq $1, descriptor
	movq %rbx, descriptor + 8
	xorl %edx, %edx
	invpcid descriptor, %rdx
	movq %rax, %cr3
	EQ(l, $0x55555555, (%rbx))
	movl $ONE + P + W, pt
	movl $1, %edx /* all of a PCID */
	invpcid descriptor, %rdx
	EQ(l, $0x44444444, (%rbx))
	movl $TWO + P + W, pt
	movl $2, %edx /* all */
	invpcid descriptor, %rdx
	EQ(l, $0x55555555, (%rbx))
	movl $ONE + P + W, pt
	movl $3, %edx /* all but global ones */
	invpcid descriptor, %rdx
	EQ(l, $0x44444444, (%rbx))
	movl $4, %edx
	FAULTS(13, 0, invpcid descriptor, %rdx)
	movq $0x1001, descriptor /* reserved bits of the PCID */
	xorl %edx, %edx
	FAULTS(13, 0, invpcid descriptor, %rdx)
nopcid:	/* A global page is every PCID's: INVLPG takes it out of all. */
	movq %cr4, %rdx
	orl $CR4_PGE, %edx
	movq %rdx, %cr4
	movl $ONE + P + W + G, pt
	movl $ONE + P + W + G, pt_b
	movq %rcx, %cr3
	EQ(l, $0x44444444, (%rbx))
	movq %rax, %cr3
	EQ(l, $0x44444444, (%rbx))
	movl $TWO + P + W + G, pt
	movl $TWO + P + W + G, pt_b
	invlpg (%rbx)
	EQ(l, $0x55555555, (%rbx))
	movq %rcx, %cr3
	EQ(l, $0x55555555, (%rbx))
	movq %cr4, %rdx
	xorl $CR4_PGE, %edx
	movq %rdx, %cr4
	movl $pml4, %eax
	movq %rax, %cr3
done:	jmp pass64

	.section .bss
	.balign 4096
pd2:	.skip 4096
pt:	.skip 4096
pt2:	.skip 4096
pml4_b:	.skip 4096
pdpt_b:	.skip 4096
pd_b:	.skip 4096
pt_b:	.skip 4096
	.section .data
	.balign 16
descriptor: .quad 0, 0
	.balign 4096
code1:	movl $1, %eax
	ret
	.balign 4096
code2:	movl $2, %eax
	ret
	.balign 4096
