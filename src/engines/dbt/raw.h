/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An instruction's encoding, taken apart so that it can be written again with another memory operand, or for 64-bit code. The
 * decoder has accepted it before; here only its bytes are sorted (SDM vol. 2, 2.1 to 2.3).
 */
#pragma once
#include "engines/dbt/emit.h"

struct raw {
	bool p66, pf2, pf3, lock, a67;
	u8 rex; /* 0: none */
	u8 vex; /* 0, or how many bytes its prefix has */
	u8 v[3]; /* the VEX prefix */
	u8 map; /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
	u8 opcode;
	bool has_modrm;
	u8 modrm;
	u8 imm_at, len; /* offset of the immediate, and where it ends */
	const u8 *bytes;
};

/* wide: 64-bit code. What 32-bit code encodes otherwise is taken as 64-bit code has it. */
void raw_parse(struct raw *r, const u8 *bytes, unsigned len, bool wide);
static inline unsigned raw_reg(const struct raw *r)
{
	bool high = r->vex ? !(r->v[1] & 0x80) : r->rex & 4;
	return (r->modrm >> 3 & 7) | (unsigned)high << 3;
}
/* The register that stands where a memory operand could, or NO_REG. */
static inline unsigned raw_rm(const struct raw *r)
{
	bool high = r->vex == 3 ? !(r->v[1] & 0x20) : !r->vex && r->rex & 1;
	return r->has_modrm && r->modrm >= 0xc0 ? (r->modrm & 7) | (unsigned)high << 3 : NO_REG;
}
static inline unsigned raw_vvvv(const struct raw *r)
{
	return ~(r->v[r->vex - 1] >> 3) & 15;
}
/* Writes it with m in place of its memory operand; reg is the other ModRM operand's number, mostly raw_reg(). */
void raw_emit_mem(struct emit *e, const struct raw *r, unsigned reg, struct mem m);
/* Writes one without a memory operand. */
void raw_emit_plain(struct emit *e, const struct raw *r);
