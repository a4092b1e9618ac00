/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The assembler: writes the few dozen forms of host instructions that translations consist of. Code is written through
 * one mapping and runs in another (cache.c); `p` is the writable address, `p + to_run` where the CPU will see the byte.
 */
#pragma once
#include <string.h>

#include "util/types.h"
#include "x86/bits.h"

struct emit {
	u8 *p, *end;
	s64 to_run;
};

#define NO_REG 0xff

/* An operand in memory: base, index (or NO_REG), displacement; gs: relative to the vCPU. */
struct mem {
	u8 base, index, scale;
	bool gs;
	s32 disp;
};

static inline u64 emit_here(const struct emit *e)
{
	return (u64)(e->p + e->to_run);
}
static inline void e8(struct emit *e, unsigned x)
{
	*e->p++ = (u8)x;
}
static inline void e32(struct emit *e, u32 x)
{
	memcpy(e->p, &x, 4);
	e->p += 4;
}
static inline void e64(struct emit *e, u64 x)
{
	memcpy(e->p, &x, 8);
	e->p += 8;
}

/* ModRM, SIB and displacement for a memory operand. */
static inline void e_modrm_mem(struct emit *e, unsigned reg, const struct mem *m)
{
	unsigned r = (reg & 7) << 3, b = m->base & 7;

	if (m->base == NO_REG) { /* absolute, or index alone */
		e8(e, r | 4);
		e8(e, m->scale << 6 | (m->index == NO_REG ? 4 : m->index & 7) << 3 | 5);
		e32(e, (u32)m->disp);
		return;
	}
	unsigned mod = m->disp == 0 && b != 5 ? 0 : m->disp == (s8)m->disp ? 0x40 : 0x80;
	if (m->index != NO_REG || b == 4) {
		e8(e, mod | r | 4);
		e8(e, m->scale << 6 | (m->index == NO_REG ? 4 : m->index & 7) << 3 | b);
	} else {
		e8(e, mod | r | b);
	}
	if (mod == 0x40)
		e8(e, (u8)m->disp);
	else if (mod == 0x80)
		e32(e, (u32)m->disp);
}

static inline void e_rex(struct emit *e, unsigned w, unsigned reg, unsigned index, unsigned base, bool force)
{
	unsigned rex = w << 3 | (reg >> 3 & 1) << 2 | (index == NO_REG ? 0 : (index >> 3 & 1) << 1) |
		       (base == NO_REG ? 0 : base >> 3 & 1);

	if (rex || force)
		e8(e, 0x40 | rex);
}

/* size: of the operand, 1 to 8; the opcode is the caller's choice but for prefix 66 and REX.W. */
static inline void e_op_rm(struct emit *e, unsigned op, unsigned size, unsigned reg, struct mem m)
{
	if (m.gs)
		e8(e, 0x65);
	if (size == 2)
		e8(e, 0x66);
	e_rex(e, size == 8, reg, m.index, m.base, size == 1 && reg >= 4);
	if (op > 0xff)
		e8(e, op >> 8);
	e8(e, op);
	e_modrm_mem(e, reg, &m);
}
static inline void e_op_rr(struct emit *e, unsigned op, unsigned size, unsigned reg, unsigned rm)
{
	if (size == 2)
		e8(e, 0x66);
	e_rex(e, size == 8, reg, NO_REG, rm, size == 1 && (reg >= 4 || rm >= 4));
	if (op > 0xff)
		e8(e, op >> 8);
	e8(e, op);
	e8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static inline struct mem at_gs(size_t offset)
{
	return (struct mem){ .base = NO_REG, .index = NO_REG, .gs = true, .disp = (s32)offset };
}
static inline struct mem at_gs_reg(unsigned reg, size_t offset)
{
	return (struct mem){ .base = (u8)reg, .index = NO_REG, .gs = true, .disp = (s32)offset };
}
static inline struct mem at_reg(unsigned reg, s32 disp)
{
	return (struct mem){ .base = (u8)reg, .index = NO_REG, .disp = disp };
}
/* An address below 2 GiB. */
static inline struct mem at_abs(const void *p)
{
	return (struct mem){ .base = NO_REG, .index = NO_REG, .disp = (s32)(u64)p };
}

static inline void e_mov_rr(struct emit *e, unsigned size, unsigned to, unsigned from)
{
	e_op_rr(e, 0x8b, size, to, from);
}
static inline void e_load(struct emit *e, unsigned size, unsigned to, struct mem m)
{
	e_op_rm(e, 0x8b, size, to, m);
}
static inline void e_store(struct emit *e, unsigned size, unsigned from, struct mem m)
{
	e_op_rm(e, size == 1 ? 0x88 : 0x89, size, from, m);
}
static inline void e_movzx_byte(struct emit *e, unsigned to, struct mem m)
{
	e_op_rm(e, 0x0fb6, 4, to, m);
}
static inline void e_movzx_word(struct emit *e, unsigned to, unsigned from)
{
	e_op_rr(e, 0x0fb7, 4, to, from);
}
static inline void e_lea(struct emit *e, unsigned size, unsigned to, struct mem m)
{
	e_op_rm(e, 0x8d, size, to, m);
}
static inline void e_mov_imm32(struct emit *e, unsigned to, u32 x)
{
	e_rex(e, 0, 0, NO_REG, to, false);
	e8(e, 0xb8 | (to & 7));
	e32(e, x);
}
static inline void e_mov_imm64(struct emit *e, unsigned to, u64 x)
{
	if (x <= ~0u) {
		e_mov_imm32(e, to, (u32)x);
		return;
	}
	e_rex(e, 1, 0, NO_REG, to, false);
	e8(e, 0xb8 | (to & 7));
	e64(e, x);
}
/* Stores a sign-extended 32-bit immediate. */
static inline void e_store_imm(struct emit *e, unsigned size, s32 x, struct mem m)
{
	e_op_rm(e, size == 1 ? 0xc6 : 0xc7, size, 0, m);
	if (size == 1)
		e8(e, (u8)x);
	else
		e32(e, (u32)x);
}
/* A register and memory within 2 GiB of the code, addressed off the instruction pointer; no immediate follows. */
static inline void e_op_rip(struct emit *e, unsigned op, unsigned size, unsigned reg, const void *at)
{
	e_rex(e, size == 8, reg, NO_REG, NO_REG, false);
	if (op > 0xff)
		e8(e, op >> 8);
	e8(e, op);
	e8(e, (reg & 7) << 3 | 5);
	e32(e, (u32)((u64)at - (emit_here(e) + 4)));
}
/* Group 1 (ADD 0, OR 1, AND 4, SUB 5, XOR 6, CMP 7) with an immediate. */
static inline void e_alu_imm(struct emit *e, unsigned op, unsigned size, unsigned reg, s32 x)
{
	bool small = x == (s8)x;

	e_op_rr(e, size == 1 ? 0x80 : small ? 0x83 : 0x81, size, op, reg);
	if (small || size == 1)
		e8(e, (u8)x);
	else
		e32(e, (u32)x);
}
static inline void e_alu_imm_m(struct emit *e, unsigned op, unsigned size, struct mem m, s32 x)
{
	bool small = x == (s8)x;

	e_op_rm(e, size == 1 ? 0x80 : small ? 0x83 : 0x81, size, op, m);
	e8(e, (u8)x);
	if (small || size == 1)
		return;
	e8(e, (u8)(x >> 8));
	if (size == 2)
		return;
	e8(e, (u8)(x >> 16));
	e8(e, (u8)(x >> 24));
}
#define ALU_ADD 0
#define ALU_OR	1
#define ALU_AND 4
#define ALU_SUB 5
#define ALU_XOR 6
#define ALU_CMP 7
/* reg = reg op memory. */
static inline void e_alu_m(struct emit *e, unsigned op, unsigned size, unsigned reg, struct mem m)
{
	e_op_rm(e, op << 3 | 3, size, reg, m);
}
/* RORX: a rotation that leaves the flags alone. */
static inline void e_rorx(struct emit *e, unsigned to, unsigned from, unsigned count)
{
	e8(e, 0xc4);
	e8(e, (to & 8 ? 0 : 0x80) | 0x40 | (from & 8 ? 0 : 0x20) | 3);
	e8(e, 0x80 | 0x78 | 3);
	e8(e, 0xf0);
	e8(e, 0xc0 | (to & 7) << 3 | (from & 7));
	e8(e, count);
}
static inline void e_shift_imm(struct emit *e, unsigned op, unsigned size, unsigned reg, unsigned count)
{
	e_op_rr(e, 0xc1, size, op, reg);
	e8(e, count);
}
#define SHIFT_SHL 4
#define SHIFT_SHR 5
#define SHIFT_SAR 7

/* Jumps with 32-bit displacements; return the address of the displacement, for e_patch. */
static inline u8 *e_jmp(struct emit *e, u64 to)
{
	e8(e, 0xe9);
	u8 *at = e->p;
	e32(e, (u32)(to - (emit_here(e) + 4)));
	return at;
}
static inline u8 *e_jcc(struct emit *e, unsigned cc, u64 to)
{
	e8(e, 0x0f);
	e8(e, 0x80 | cc);
	u8 *at = e->p;
	e32(e, (u32)(to - (emit_here(e) + 4)));
	return at;
}
/* Points the jump whose displacement is at `at` to run-time address `to`. One store, as it may be running. */
static inline void e_patch(u8 *at, s64 to_run, u64 to)
{
	u32 displacement = (u32)(to - ((u64)at + (u64)to_run + 4));

	__asm__ volatile("movl %1, %0" : "=m"(*(u32_una *)at) : "r"(displacement) : "memory");
}
/* So that the displacement of a jump, which follows after `ahead` bytes, lies in eight aligned bytes. */
static inline void e_align_displacement(struct emit *e, unsigned ahead)
{
	static const u8 nop[4][3] = { { 0 }, { 0x90 }, { 0x66, 0x90 }, { 0x0f, 0x1f, 0x00 } };
	unsigned at = (unsigned)((u64)e->p + ahead) & 7, n = at > 4 ? 8 - at : 0;

	memcpy(e->p, nop[n], n);
	e->p += n;
}
static inline void e_jmp_reg(struct emit *e, unsigned reg)
{
	e_rex(e, 0, 0, NO_REG, reg, false);
	e8(e, 0xff);
	e8(e, 0xe0 | (reg & 7));
}
static inline void e_jmp_mem(struct emit *e, struct mem m)
{
	e_op_rm(e, 0xff, 4, 4, m);
}
#define CC_O  0
#define CC_B  2
#define CC_AE 3
#define CC_Z  4
#define CC_NZ 5
#define CC_BE 6
#define CC_A  7
#define CC_S  8
