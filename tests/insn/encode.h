/* SPDX-License-Identifier: Apache-2.0 */
/* From a form to bytes, and what the bytes then mean to Zydis. */
#pragma once
#include <Zydis/Zydis.h>

#include "case.h"

/* Prefixes, opcode and ModRM of the plain form; returns their length. */
unsigned encode_form(const struct form *f, u8 *bytes);
bool encode_is_escape(unsigned map, unsigned opcode);
bool encode_has_modrm(const u8 bytes[15]);

/* One instruction under construction. */
struct draft {
	u8 bytes[15];
	unsigned len;
	struct insn i;
	ZydisDecodedInstruction d;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
};
/* Random registers, addressing, prefixes and immediates for a form. false: try again. */
bool encode_random(struct rng *r, const struct form *f, struct draft *out);
/* Decodes what is in bytes, both ways. false if it is not an instruction. */
bool draft_decode(struct draft *d);
