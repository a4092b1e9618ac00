/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instruction table: one row an instruction, in the four .def files beside this one.
 *     INSN(zydis mnemonic, feature, attributes, exec function in src/emulate)
 *     INSN_AS(name, zydis mnemonic, variant, feature, attributes, exec)
 * INSN is the plain variant, named as its mnemonic. INSN_AS is for what shares a mnemonic but is another instruction (MOV to a
 * control register, string MOVSD beside SSE2's); the decoder picks the row whose variant its operands call for.
 * The row drives decoding (Zydis' mnemonic to enum op), CPUID gating (feature), trace building (attributes), execution
 * (exec) and the differential tests, which take every row that user code can run. Flags read and written come from Zydis.
 */
#pragma once
#include "util/types.h"
#include "x86/feature.h"

/* Attributes. */
#define OP_END	  0x01u /* leaves the next address in vcpu.rip: control transfers, mode and mapping changes, I/O waits */
#define OP_BRANCH 0x02u /* direct or indirect near jump, call, return, Jcc, LOOP: implies OP_END */
#define OP_SYS	  0x04u /* privileged, sensitive or machine state: the differential tests leave it out */
#define OP_LOCK	  0x08u /* may carry LOCK with a memory destination */
#define OP_NEEDNT 0x10u /* result differs between CPUs (CPUID, RDTSC, RDRAND, RCPPS): compared loosely or not at all */

/* What tells rows of one mnemonic apart. */
enum op_variant {
	VAR_PLAIN,
	VAR_SEG, /* the first operand is a segment register: MOV to it, PUSH, POP */
	VAR_SEG_OF, /* MOV from a segment register */
	VAR_CR, /* MOV to a control register */
	VAR_CR_OF, /* MOV from one */
	VAR_DR, /* MOV to a debug register */
	VAR_DR_OF, /* MOV from one */
	VAR_FAR, /* far JMP, CALL, RET */
	VAR_STR, /* the string instruction: MOVSD, CMPSD */
	VAR_MMX, /* an MMX register operand, where the mnemonic exists for XMM too: PADDB */
	VAR_GPR, /* MOVQ, VMOVQ between XMM and a general register */
	VAR_MMX_GPR, /* MOVD, MOVQ from a general register to MMX */
	VAR_GPR_MMX, /* the same, towards the general register */
};

enum op {
	OP_NONE,
#define INSN(m, feature, attr, exec)		       OP_##m,
#define INSN_AS(name, m, variant, feature, attr, exec) OP_##name,
#include "x86/ops-int.def"
	OP_INT_LIMIT, /* integer rows are below; takes no number of its own */
	OP_INT_LAST = OP_INT_LIMIT - 1,
#include "x86/ops-sys.def"
#include "x86/ops-x87.def"
#include "x86/ops-vec.def"
#undef INSN
#undef INSN_AS
	NR_OPS,
};

/* What the decoder and CPU models need of a row. */
struct op_fact {
	u16 mnemonic; /* ZydisMnemonic */
	u8 variant; /* enum op_variant */
	u8 feature; /* enum feature */
	u8 attr; /* OP_* */
	const char *name;
};
extern const struct op_fact op_facts[NR_OPS];
