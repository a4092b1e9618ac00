/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoded instruction: one compact record that Zydis fills once and that every engine and src/emulate read.
 *
 * Operands stand in the order of the manual (destination first); explicit ones and those that the manual names though
 * the encoding implies them (AL in `add al, imm`, CL in `shl r, cl`, 1 in `shl r, 1`) count; hidden ones (RAX of MUL,
 * RSI of MOVS, the stack) do not. At most one operand is memory. A general register is a byte offset into vcpu.r[], so
 * that AH is an offset like any other; every other register is its number.
 */
#pragma once
#include "util/types.h"

struct vcpu;
struct insn;
/* What an engine may hang on a record: its handler. */
typedef void insn_run_fn(struct vcpu *v, const struct insn *i);

enum operand_kind { OPK_NONE, OPK_REG, OPK_MEM, OPK_IMM };

/* insn.flags */
#define INSN_REP   0x01u /* F3 as a repeat prefix (REP, REPE) */
#define INSN_REPNE 0x02u /* F2 as a repeat prefix */
#define INSN_LOCK  0x04u
#define INSN_END   0x08u /* the instruction leaves its successor in vcpu.rip (a branch, or its row says OP_END, or REP) */
#define INSN_VEX   0x10u /* VEX encoded: the destination's upper bits are zeroed */
#define INSN_MOFFS 0x20u /* memory operand is at the absolute offset in imm */
#define INSN_MEM   0x40u /* has a memory operand (base, index, scale, disp, seg are valid) */
#define INSN_CROSS 0x80u /* its bytes reach into the next page */

/* clang-format off */
struct insn {
	insn_run_fn *run;     /* the engine's; the decoder leaves it alone */
	u16 op;		      /* enum op: the row of op_table */
	u8 len;		      /* bytes, 1 to 15 */
	u8 kinds;	      /* enum operand_kind of operands 0..3, two bits each, operand 0 lowest */
	u8 flags;	      /* INSN_* */
	u8 size;	      /* bytes of operand 0; without operands the effective operand size; 0 for above 128 */
	u8 size2;	      /* bytes of operand 1, 0 if there is none */
	u8 seg : 3;	      /* effective segment of the memory operand (enum seg), overrides applied */
	u8 asize : 2;	      /* log2 of the effective address size in bytes: 1, 2, 3; 0: see op_ea */
	u8 osize : 2;	      /* log2 of the effective operand size in bytes: 0 to 3 */
	u8 r[4];	      /* register of operand k where its kind is OPK_REG */
	u8 base, index;	      /* byte offsets into vcpu.r[]: a register, SLOT_ZERO or SLOT_CODE; index is a vector number in VSIB */
	u8 scale;	      /* 0..3: index << scale */
	u8 msize;	      /* bytes of the memory operand, 0 for above 128 */
	s32 disp;	      /* displacement; rel of a direct branch; selector of a far pointer; level of ENTER */
	u16 off;	      /* offset of the first byte in its 4 KiB page (linear) */
	u16 n;		      /* instructions before it in its trace; the engine's */
	union {
		u64 imm;			/* immediate, sign-extended to 64 bits where the manual extends it; x87: FOP */
		const struct insn *target;	/* engine's: where a direct branch goes, once known */
	};
};
/* clang-format on */
_Static_assert(sizeof(struct insn) == 40, "the record is sized for the cache");

static inline enum operand_kind insn_kind(const struct insn *i, unsigned k)
{
	return (enum operand_kind)(i->kinds >> (2 * k) & 3);
}

/* Byte offset of a slot in vcpu.r[]. */
#define SLOT(n)	  ((u8)((n)*8))
#define SLOT_ZERO SLOT(16) /* always 0: absent base or index */
#define SLOT_CODE SLOT(17) /* RIP-relative base. See vcpu.r. */

/* Code size: what CS.D, CS.L, EFER.LMA and CR0.PE make of the bytes. */
enum code_size { CODE_16, CODE_32, CODE_64 };

/* What the decoder knows beside the record: only translators and tests want it. */
struct insn_info {
	u32 flags_read; /* FL_* arithmetic flags */
	u32 flags_written; /* set, cleared or modified, or left undefined */
	u32 flags_undefined;
	u32 flags_maybe; /* written only in some cases (shift by a count of zero, repeated string of length zero) */
};

enum decode_status {
	DECODE_OK,
	DECODE_MORE, /* more than n bytes needed; with n == 15 the instruction is too long (#GP) */
	DECODE_INVALID, /* #UD; insn.len holds how many bytes were seen */
};

/*
 * Decodes the instruction at bytes[0..n), n at most 15. `off` is the first byte's offset in its page; RIP-relative
 * operands become SLOT_CODE with disp adjusted by off + len, so that a record is good at any linear page.
 * info may be NULL. Thread-safe. An encoding that Zydis knows and op_table lacks is DECODE_INVALID; whether the CPU
 * model has the instruction is the caller's business (insn_feature).
 */
enum decode_status insn_decode(struct insn *i, struct insn_info *info, const u8 *bytes, unsigned n, enum code_size mode,
			       unsigned off);

/*
 * Encodings that differ in displacement and immediate alone are decoded alike: insn_decode() of what may have been decoded before.
 * known: NULL, or one of the caller's own, for one thread at a time; to be freed.
 */
struct insn_shapes;
struct insn_shapes *insn_shapes_create(void); /* NULL: no memory */
enum decode_status insn_decode_like(struct insn_shapes *known, struct insn *i, struct insn_info *info, const u8 *bytes,
				    unsigned n, enum code_size mode, unsigned off);

/* For shape.c: where an encoding's displacement and immediate lie, and what the record makes of them. */
enum imm_kind { IMM_NONE, IMM_SIGNED, IMM_UNSIGNED, IMM_RELATIVE };
struct insn_layout {
	u8 head; /* bytes in front of them, which tell all the rest; 0: more than these does */
	u8 disp, imm; /* bytes of each */
	u8 kind; /* enum imm_kind */
	bool shift; /* flags_maybe depends on the immediate */
};
/* insn_decode(), and the layout if all is well. layout, and info, may be NULL. */
enum decode_status insn_decode_layout(struct insn *i, struct insn_info *info, struct insn_layout *layout,
				      const u8 *bytes, unsigned n, enum code_size mode, unsigned off);

/* Intel-syntax text of the instruction at bytes, as if at linear address rip; returns its length in bytes or 0. */
unsigned insn_format(char *text, size_t size, const u8 *bytes, unsigned n, enum code_size mode, u64 rip);
