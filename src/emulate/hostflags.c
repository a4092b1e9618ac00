/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flags that the manuals leave undefined (SDM vol. 1 app. A). CPUs differ in them, so they are this host's: its own instruction is run
 * on the operands. So a guest sees the same flags whether an instruction is emulated or executed, as translated code is.
 *
 * Each asm loads the flags with SAHF (and OF by 7Fh + 1), then the operands, runs the instruction, and reads them with LAHF and SETO.
 */
#include "emulate/hostflags.h"

#define IN  "addb $127, %%al\n\tsahf\n\t"
#define OUT "\n\tlahf\n\tseto %%al"

#define BY_OTHER(insn, suffix, mod) \
	asm(IN insn suffix " %" mod "[b], %" mod "[x]" OUT : "+a"(ax), [x] "+r"(x) : [b] "r"(b) : "cc")
#define BY_CL(insn, suffix, mod) asm(IN insn suffix " %%cl, %" mod "[x]" OUT : "+a"(ax), [x] "+r"(x) : "c"(b) : "cc")
#define DOUBLE(insn, suffix, mod) \
	asm(IN insn suffix " %%cl, %" mod "[b], %" mod "[x]" OUT : "+a"(ax), [x] "+r"(x) : "c"(c), [b] "r"(b) : "cc")
#define THREE(insn, suffix, mod)                                        \
	asm(IN insn suffix " %" mod "[b], %" mod "[a], %" mod "[x]" OUT \
	    : "+a"(ax), [x] "=&r"(x)                                    \
	    : [a] "r"(a), [b] "r"(b)                                    \
	    : "cc")
#define ONE_OF(insn, suffix, mod) \
	asm(IN insn suffix " %" mod "[a], %" mod "[x]" OUT : "+a"(ax), [x] "=&r"(x) : [a] "r"(a) : "cc")
/* c:a with b. */
#define WIDE(insn, suffix, mod)                                                        \
	asm(IN "mov %[a], %%rax\n\tmov %[c], %%rdx\n\t" insn suffix " %" mod "[b]" OUT \
	    : "+a"(ax)                                                                 \
	    : [a] "r"(a), [b] "r"(b), [c] "r"(c)                                       \
	    : "rdx", "cc")

#define SIZES_2(form, insn)                   \
	do {                                  \
		if (size == 8)                \
			form(insn, "q", "q"); \
		else                          \
			form(insn, "l", "k"); \
	} while (0)
#define SIZES_3(form, insn)                   \
	do {                                  \
		if (size == 2)                \
			form(insn, "w", "w"); \
		else                          \
			SIZES_2(form, insn);  \
	} while (0)
#define SIZES_4(form, insn)                   \
	do {                                  \
		if (size == 1)                \
			form(insn, "b", "b"); \
		else                          \
			SIZES_3(form, insn);  \
	} while (0)

static u64 run(u16 op, unsigned size, u64 ax, u64 a, u64 b, u64 c)
{
	u64 x = a;

	switch (op) {
	case OP_SHL: SIZES_4(BY_CL, "shl"); break;
	case OP_SHR: SIZES_4(BY_CL, "shr"); break;
	case OP_SAR: SIZES_4(BY_CL, "sar"); break;
	case OP_SHLD: SIZES_3(DOUBLE, "shld"); break;
	case OP_SHRD: SIZES_3(DOUBLE, "shrd"); break;
	case OP_BSF: SIZES_3(ONE_OF, "bsf"); break;
	case OP_BSR: SIZES_3(ONE_OF, "bsr"); break;
	case OP_TZCNT: SIZES_3(ONE_OF, "tzcnt"); break;
	case OP_LZCNT: SIZES_3(ONE_OF, "lzcnt"); break;
	case OP_BLSI: SIZES_2(ONE_OF, "blsi"); break;
	case OP_BLSMSK: SIZES_2(ONE_OF, "blsmsk"); break;
	case OP_BLSR: SIZES_2(ONE_OF, "blsr"); break;
	case OP_ANDN: SIZES_2(THREE, "andn"); break;
	case OP_BEXTR: SIZES_2(THREE, "bextr"); break;
	case OP_BZHI: SIZES_2(THREE, "bzhi"); break;
	default: SIZES_3(BY_OTHER, "imul"); break;
	}
	return ax;
}

static u64 run_wide(u16 op, unsigned size, u64 ax, u64 a, u64 b, u64 c)
{
	switch (op) {
	case OP_MUL: SIZES_4(WIDE, "mul"); break;
	case OP_IMUL: SIZES_4(WIDE, "imul"); break;
	case OP_DIV: SIZES_4(WIDE, "div"); break;
	default: SIZES_4(WIDE, "idiv"); break;
	}
	return ax;
}

static bool host_lacks(u16 op)
{
	switch (op) {
	case OP_TZCNT:
	case OP_BLSI:
	case OP_BLSMSK:
	case OP_BLSR:
	case OP_ANDN:
	case OP_BEXTR: return !__builtin_cpu_supports("bmi");
	case OP_BZHI: return !__builtin_cpu_supports("bmi2");
	case OP_LZCNT: return !__builtin_cpu_supports("lzcnt");
	default: return false;
	}
}

/* AH and AL as LAHF and SETO give them, and as IN takes them. */
static u64 to_ax(u32 flags)
{
	return (flags & 0xff) << 8 | (flags & FL_OF ? 1 : 0);
}
static u32 from_ax(u64 ax)
{
	return ((u32)(ax >> 8) & (FL_ARITH & 0xff)) | (ax & 1 ? FL_OF : 0);
}

u32 host_flags(const struct vcpu *v, u16 op, unsigned size, u64 a, u64 b, u64 c)
{
	u32 before = flags_get(v);

	return host_lacks(op) ? before : from_ax(run(op, size, to_ax(before), a, b, c));
}

u32 host_flags_wide(const struct vcpu *v, u16 op, unsigned size, u64 low, u64 high, u64 by)
{
	return from_ax(run_wide(op, size, to_ax(flags_get(v)), low, by, high));
}
