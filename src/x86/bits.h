/* SPDX-License-Identifier: Apache-2.0 */
/* Architectural constants: EFLAGS, control registers, EFER, exception vectors, page-table bits (Intel SDM vol. 3 ch. 2, 4, 6). */
#pragma once
#include "util/types.h"

enum gpr { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NR_GPR };
enum seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, NR_SEG };

#define FL_CF	      0x1u
#define FL_1	      0x2u /* always set */
#define FL_PF	      0x4u
#define FL_AF	      0x10u
#define FL_ZF	      0x40u
#define FL_SF	      0x80u
#define FL_TF	      0x100u
#define FL_IF	      0x200u
#define FL_DF	      0x400u
#define FL_OF	      0x800u
#define FL_IOPL	      0x3000u
#define FL_IOPL_SHIFT 12
#define FL_NT	      0x4000u
#define FL_RF	      0x10000u
#define FL_VM	      0x20000u
#define FL_AC	      0x40000u
#define FL_VIF	      0x80000u
#define FL_VIP	      0x100000u
#define FL_ID	      0x200000u
#define FL_ARITH      (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)
#define FL_ALL	      (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | FL_VIF | FL_VIP | FL_ID)

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR4_VME	       BIT(0)
#define CR4_PVI	       BIT(1)
#define CR4_TSD	       BIT(2)
#define CR4_DE	       BIT(3)
#define CR4_PSE	       BIT(4)
#define CR4_PAE	       BIT(5)
#define CR4_MCE	       BIT(6)
#define CR4_PGE	       BIT(7)
#define CR4_PCE	       BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP       BIT(11)
#define CR4_LA57       BIT(12)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)
#define CR4_PKE	       BIT(22)
#define CR4_PKS	       BIT(24)

#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

#define XCR0_X87  BIT(0)
#define XCR0_SSE  BIT(1)
#define XCR0_AVX  BIT(2)
#define XCR0_PKRU BIT(9)

/* Debug registers (SDM vol. 3, 18.2). */
#define DR6_B(n)	    (1u << (n))
#define DR6_ALL_B	    0xfull /* DR6_B(0) to DR6_B(3) */
#define DR6_BD		    BIT(13) /* general detect */
#define DR6_BS		    BIT(14) /* single step */
#define DR6_BT		    BIT(15) /* task switch */
#define DR6_FIXED	    0xffff0ff0u
#define DR7_ENABLE_ANY	    0xffu
#define DR7_ENABLED(dr7, n) ((dr7) >> (2 * (n)) & 3)
#define DR7_RW(dr7, n)	    ((dr7) >> (16 + 4 * (n)) & 3) /* 0 code, 1 write, 2 I/O, 3 read or write */
#define DR7_LEN(dr7, n)	    ((dr7) >> (18 + 4 * (n)) & 3) /* 0: 1 byte, 1: 2, 2: 8, 3: 4 */
#define DR7_GD		    BIT(13)
#define DR7_FIXED	    BIT(10)

enum vector {
	EXC_DE = 0,
	EXC_DB = 1,
	EXC_NMI = 2,
	EXC_BP = 3,
	EXC_OF = 4,
	EXC_BR = 5,
	EXC_UD = 6,
	EXC_NM = 7,
	EXC_DF = 8,
	EXC_TS = 10,
	EXC_NP = 11,
	EXC_SS = 12,
	EXC_GP = 13,
	EXC_PF = 14,
	EXC_MF = 16,
	EXC_AC = 17,
	EXC_MC = 18,
	EXC_XM = 19,
};

/* Page-fault error code (SDM vol. 3, 4.7). */
#define PF_P	0x1u
#define PF_W	0x2u
#define PF_U	0x4u
#define PF_RSVD 0x8u
#define PF_I	0x10u
#define PF_PK	0x20u

/* Page-table entry bits (SDM vol. 3, 4.5). */
#define PTE_P  BIT(0)
#define PTE_W  BIT(1)
#define PTE_U  BIT(2)
#define PTE_A  BIT(5)
#define PTE_D  BIT(6)
#define PTE_PS BIT(7)
#define PTE_G  BIT(8)
#define PTE_NX BIT(63)

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096ull
#define PAGE_MASK  (~(PAGE_SIZE - 1))

/* Segment access rights, in the layout of a descriptor's bits 8..23 moved to 0 (SDM vol. 3, 3.4.5; the same as VMX uses),
 * with AR_UNUSABLE for a null selector. */
#define AR_TYPE	       0x000fu
#define AR_ACCESSED    0x0001u
#define AR_WRITE       0x0002u /* data: writable */
#define AR_READ	       0x0002u /* code: readable */
#define AR_EXPAND_DOWN 0x0004u /* data */
#define AR_CONFORMING  0x0004u /* code */
#define AR_CODE	       0x0008u
#define AR_S	       0x0010u /* code or data, not system */
#define AR_DPL	       0x0060u
#define AR_DPL_SHIFT   5
#define AR_P	       0x0080u
#define AR_AVL	       0x1000u
#define AR_L	       0x2000u
#define AR_DB	       0x4000u
#define AR_G	       0x8000u
#define AR_UNUSABLE    0x10000u
