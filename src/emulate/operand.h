/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operands, for the integer files: plain and atomic access to host memory that backs guest RAM, at any alignment, and
 * read-modify-write of guest memory. Private to src/emulate.
 */
#pragma once
#include "emulate/emulate.h"

typedef u64 modify_fn(u64 old, void *arg);

static inline u64 host_load(const void *p, unsigned size)
{
	switch (size) {
	case 8: return *(const volatile u64_una *)p;
	case 4: return *(const volatile u32_una *)p;
	case 2: return *(const volatile u16_una *)p;
	default: return *(const volatile u8 *)p;
	}
}

static inline void host_store(void *p, unsigned size, u64 value)
{
	switch (size) {
	case 8: *(volatile u64_una *)p = value; break;
	case 4: *(volatile u32_una *)p = (u32)value; break;
	case 2: *(volatile u16_una *)p = (u16)value; break;
	default: *(volatile u8 *)p = (u8)value;
	}
}

/* Bytes of the effective address and operand size. */
static inline unsigned asize_bytes(const struct insn *i)
{
	return 1u << i->asize;
}
static inline unsigned osize_bytes(const struct insn *i)
{
	return 1u << i->osize;
}
/* Sign-extended operand, the form in which machine/flags.h keeps it. */
static inline s64 op_read_signed(struct vcpu *v, const struct insn *i, unsigned k)
{
	return sign_extend(op_read(v, i, k), i->size);
}

/* SF, ZF and PF of a result (SDM vol. 1, 3.4.3.1). */
static inline u32 flags_of_result(u64 r, unsigned size)
{
	r &= mask_size(size);
	return (r ? 0 : FL_ZF) | (r >> (8 * size - 1) ? FL_SF : 0) | (__builtin_parity((u8)r) ? 0 : FL_PF);
}

/* op_modify() on memory at seg:ea. */
u64 mem_modify(struct vcpu *v, unsigned seg, u64 ea, unsigned size, bool locked, modify_fn *fn, void *arg);

/* Width of the stack pointer in bytes, its value, and its update: the bits beyond the width stay (SDM vol. 1, 6.2.3). */
static inline unsigned stack_size(const struct vcpu *v)
{
	return v->code_size == CODE_64 ? 8 : v->seg[SEG_SS].ar & AR_DB ? 4 : 2;
}
static inline u64 stack_pointer(const struct vcpu *v)
{
	return reg_read(v, SLOT(RSP), stack_size(v));
}
static inline void stack_set(struct vcpu *v, u64 sp)
{
	reg_write(v, SLOT(RSP), stack_size(v), sp);
}
/* An item of osize bytes at SS:sp, RSP left alone. */
u64 stack_load(struct vcpu *v, u64 sp, unsigned osize);
void stack_store(struct vcpu *v, u64 sp, u64 value, unsigned osize);
/* Address of the item at SS:sp, checked to be writable. */
u64 stack_probe(struct vcpu *v, u64 sp, unsigned osize);
