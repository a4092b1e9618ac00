/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vocabulary of fast handlers: operands, memory through the TLB, and the step to the next record.
 *
 * A handler is an always-inlined body with constant arguments (operation, size, form, address form, flags wanted) under a
 * name; the compiler makes each a few dozen bytes. Until a handler has passed its last check it changes nothing, so the slow
 * path may do the whole instruction afresh. Only flat 64-bit code uses handlers that touch memory.
 */
#pragma once
#include "engines/interp/interp-internal.h"

#define BODY static inline __attribute__((always_inline)) void
#define FAST static void
/* A handler that is a body with some arguments. */
#define HANDLER(name, ...)                              \
	FAST name(struct vcpu *v, const struct insn *i) \
	{                                               \
		__VA_ARGS__;                            \
	}

/* How the effective address is made: base + disp; + index << scale; the same with the segment's base (FS, GS). */
enum addr { ADDR_B, ADDR_X, ADDR_S, NR_ADDR };
/* Operand forms: register-register, register-immediate, register-memory, memory-register, memory-immediate. */
enum form { FORM_RR, FORM_RI, FORM_RM, FORM_MR, FORM_MI, NR_FORM };

/* The record's address is opaque to the compiler, which else computes it twice. */
#define SKIP(n)                                     \
	do {                                        \
		const struct insn *next_ = i + (n); \
		asm("" : "+r"(next_));              \
		return next_->run(v, next_);        \
	} while (0)
#define NEXT()	   SKIP(1)
#define SLOW()	   return run_generic(v, i)
#define SLOW_END() return run_end(v, i)

static inline __attribute__((always_inline)) u64 get(const struct vcpu *v, u8 off, unsigned size)
{
	const u8 *p = (const u8 *)v->r + off;
	return size == 8 ? *(const u64 *)p : size == 4 ? *(const u32 *)p : size == 2 ? *(const u16 *)p : *p;
}
/* Sign-extended, as lazy flags want it. */
static inline __attribute__((always_inline)) s64 get_signed(const struct vcpu *v, u8 off, unsigned size)
{
	const u8 *p = (const u8 *)v->r + off;
	return size == 8 ? *(const s64 *)p : size == 4 ? *(const s32 *)p : size == 2 ? *(const s16 *)p : *(const s8 *)p;
}
static inline __attribute__((always_inline)) void put(struct vcpu *v, u8 off, unsigned size, u64 x)
{
	u8 *p = (u8 *)v->r + off;
	if (size == 8)
		*(u64 *)p = x;
	else if (size == 4)
		*(u64 *)p = (u32)x;
	else if (size == 2)
		*(u16 *)p = (u16)x;
	else
		*p = (u8)x;
}

static inline __attribute__((always_inline)) u64 ea_of(const struct vcpu *v, const struct insn *i, enum addr addr)
{
	u64 ea = get(v, i->base, 8) + (u64)(s64)i->disp;
	if (addr != ADDR_B)
		ea += get(v, i->index, 8) << i->scale;
	if (addr == ADDR_S)
		ea += v->seg[i->seg].base;
	return ea;
}

/* Whether the TLB serves an access of size bytes, and its host address. */
static inline __attribute__((always_inline)) bool tlb_read(const struct vcpu *v, u64 gla, unsigned size, u8 **p)
{
	const struct tlb_entry *e = tlb_slot(v->tlb, gla);
	*p = (u8 *)(gla + e->delta); /* no pointer until the compare has passed */
	return likely(gla - e->rd <= PAGE_SIZE - size);
}
static inline __attribute__((always_inline)) bool tlb_write(const struct vcpu *v, u64 gla, unsigned size, u8 **p)
{
	const struct tlb_entry *e = tlb_slot(v->tlb, gla);
	*p = (u8 *)(gla + e->delta); /* no pointer until the compare has passed */
	return likely(gla - e->wr <= PAGE_SIZE - size);
}

static inline __attribute__((always_inline)) u64 mem_get(const u8 *p, unsigned size)
{
	return size == 8   ? *(const volatile u64_una *)p
	       : size == 4 ? *(const volatile u32_una *)p
	       : size == 2 ? *(const volatile u16_una *)p
			   : *(const volatile u8 *)p;
}
static inline __attribute__((always_inline)) void mem_put(u8 *p, unsigned size, u64 x)
{
	if (size == 8)
		*(volatile u64_una *)p = x;
	else if (size == 4)
		*(volatile u32_una *)p = (u32)x;
	else if (size == 2)
		*(volatile u16_una *)p = (u16)x;
	else
		*(volatile u8 *)p = (u8)x;
}
static inline __attribute__((always_inline)) s64 extend(u64 x, unsigned size)
{
	return size == 8 ? (s64)x : size == 4 ? (s32)x : size == 2 ? (s16)x : (s8)x;
}

/* The carry flag; no kind needs a call. */
static inline __attribute__((always_inline)) bool carry(const struct vcpu *v)
{
	u64 a = (u64)v->lazy.a, b = (u64)v->lazy.b;
	unsigned shift;
	switch ((u8)v->lazy.kind) {
	case FLAGS_SUB: return a < b;
	case FLAGS_LAHF: return a >> 8 & 1;
	case FLAGS_ADD: shift = (u8)(v->lazy.kind >> 8); return (u64)((s64)((a + b) << shift) >> shift) < a;
	case FLAGS_KNOWN: return v->rflags & FL_CF;
	default: return v->lazy.kind & FLAGS_KEPT_CF;
	}
}

/* Makes the lazy flags the LAHF kind, in which one of them is one bit: for instructions that change only CF or OF. */
#define LAHF_CF 0x100
#define LAHF_OF 0x1
static inline __attribute__((always_inline)) s64 lahf_form(struct vcpu *v)
{
	if (likely((u8)v->lazy.kind == FLAGS_LAHF))
		return v->lazy.a;
	u32 f = flags_get(v);
	flags_lazy(v, FLAGS_LAHF, 8, 0, 0);
	return (s64)((f & 0xff) << 8 | (f & FL_OF ? LAHF_OF : 0));
}

/* Condition cc, quickly when the last flags came of a compare, subtraction or logic operation. */
static inline __attribute__((always_inline)) bool compare_condition(s64 a, s64 b, unsigned shift, unsigned cc)
{
	bool t;
	switch (cc >> 1) {
	case 1: t = (u64)a < (u64)b; break;
	case 2: t = a == b; break;
	case 3: t = (u64)a <= (u64)b; break;
	case 4: t = (s64)(((u64)a - (u64)b) << shift) < 0; break;
	case 6: t = a < b; break;
	default: t = a <= b; break;
	}
	return t != (cc & 1);
}
static inline __attribute__((always_inline)) bool cc_is_compare(unsigned cc)
{
	return cc >> 1 != 0 && cc >> 1 != 5; /* not O, not P */
}

/* Taken direct branch: linked targets lie in the same page. */
BODY branch_to_target(struct vcpu *v, const struct insn *i)
{
	const struct insn *t = i->target;
	if (unlikely(!t))
		return run_branch(v, i);
	v->left -= i->n + 1 - t->n;
	if (unlikely(v->left < 0))
		return run_leave_before(v, t);
	return t->run(v, t);
}

/* Tables that select.c reads; NULL where there is no fast handler. Sizes are indexed by log2 of bytes. */
#define CASES_4(X, ...) X(1, __VA_ARGS__) X(2, __VA_ARGS__) X(4, __VA_ARGS__) X(8, __VA_ARGS__)
enum alu { ALU_ADD, ALU_SUB, ALU_AND, ALU_OR, ALU_XOR, ALU_CMP, ALU_TEST, ALU_ADC, ALU_SBB, NR_ALU };
extern insn_run_fn *const alu_handlers[NR_ALU][4][2][NR_FORM][NR_ADDR]; /* op, size, flags wanted, form, address */
insn_run_fn *select_alu(const struct insn *i, bool flags_live);
insn_run_fn *select_move(const struct insn *i);
insn_run_fn *select_unary(const struct insn *i, bool flags_live);
insn_run_fn *select_shift(const struct insn *i, bool flags_live);
insn_run_fn *select_multiply(const struct insn *i, bool flags_live);
insn_run_fn *select_bits(const struct insn *i);
insn_run_fn *select_branch(const struct insn *i);
insn_run_fn *select_vector(const struct insn *i);
insn_run_fn *select_system(const struct insn *i);

/* Of handlers name_4 and name_8, the one of the operand's size. */
#define BY_SIZE_4_8(name) (i->size == 4 ? name##_4 : i->size == 8 ? name##_8 : NULL)

/* Form of a two-operand instruction, or NR_FORM. */
static inline enum form form_of(const struct insn *i)
{
	switch (i->kinds) {
	case OPK_REG | OPK_REG << 2: return FORM_RR;
	case OPK_REG | OPK_IMM << 2: return FORM_RI;
	case OPK_REG | OPK_MEM << 2: return FORM_RM;
	case OPK_MEM | OPK_REG << 2: return FORM_MR;
	case OPK_MEM | OPK_IMM << 2: return FORM_MI;
	default: return NR_FORM;
	}
}
/* Address form, or NR_ADDR for what only the slow path can do. */
static inline enum addr addr_of(const struct insn *i)
{
	if (i->asize != 3 || (i->flags & INSN_MOFFS))
		return NR_ADDR;
	if (i->seg == SEG_FS || i->seg == SEG_GS)
		return ADDR_S;
	return i->index == SLOT_ZERO ? ADDR_B : ADDR_X;
}
static inline unsigned size_log2(unsigned size)
{
	return size == 8 ? 3 : size == 4 ? 2 : size == 2 ? 1 : 0;
}
