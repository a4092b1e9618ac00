/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing operands, and the stack. A read-modify-write of memory asks for the right to write before it reads, so
 * that its page fault says "write" (SDM vol. 3, 4.7) and so that nothing can fail after the new value is known.
 */
#include "emulate/operand.h"

u64 op_read(struct vcpu *v, const struct insn *i, unsigned k)
{
	unsigned size = op_size(i, k);

	switch (insn_kind(i, k)) {
	case OPK_REG: return reg_read(v, i->r[k], size);
	case OPK_MEM: return mmu_load(v, op_linear(v, i, size, SEG_READ), size, MMU_EXPLICIT);
	default: return i->imm & mask_size(i->size);
	}
}

void op_write(struct vcpu *v, const struct insn *i, unsigned k, u64 value)
{
	unsigned size = op_size(i, k);

	if (insn_kind(i, k) == OPK_REG)
		reg_write(v, i->r[k], size, value);
	else
		mmu_store(v, op_linear(v, i, size, SEG_WRITE), size, value & mask_size(size), MMU_EXPLICIT);
}

/* The host's own LOCK CMPXCHG, at any alignment: what the guest's instruction would be. */
static u64 host_cmpxchg(void *p, unsigned size, u64 old, u64 new_value)
{
	switch (size) {
	case 8:
		asm volatile("lock cmpxchgq %2, %1" : "+a"(old), "+m"(*(u64_una *)p) : "r"(new_value) : "memory", "cc");
		return old;
	case 4: {
		u32 o = (u32)old;
		asm volatile("lock cmpxchgl %2, %1"
			     : "+a"(o), "+m"(*(u32_una *)p)
			     : "r"((u32)new_value)
			     : "memory", "cc");
		return o;
	}
	case 2: {
		u16 o = (u16)old;
		asm volatile("lock cmpxchgw %2, %1"
			     : "+a"(o), "+m"(*(u16_una *)p)
			     : "r"((u16)new_value)
			     : "memory", "cc");
		return o;
	}
	default: {
		u8 o = (u8)old;
		asm volatile("lock cmpxchgb %2, %1" : "+a"(o), "+m"(*(u8 *)p) : "q"((u8)new_value) : "memory", "cc");
		return o;
	}
	}
}

static u64 modify_locked(struct vcpu *v, u64 gla, u8 *p, unsigned size, modify_fn *fn, void *arg)
{
	u64 mask = mask_size(size), old, was;

	if (p) {
		for (old = host_load(p, size);; old = was) {
			was = host_cmpxchg(p, size, old, fn(old, arg) & mask);
			if (was == old)
				return old;
		}
	}
	mmu_probe_write(v, gla, size, MMU_EXPLICIT);
	for (old = mmu_load(v, gla, size, MMU_EXPLICIT);; old = was) {
		was = mmu_cmpxchg(v, gla, size, old, fn(old, arg) & mask);
		if (was == old)
			return old;
	}
}

u64 mem_modify(struct vcpu *v, unsigned seg, u64 ea, unsigned size, bool locked, modify_fn *fn, void *arg)
{
	u64 gla = segment_linear(v, seg, ea, size, SEG_WRITE);
	u8 *p = mmu_direct_write(v, gla, size, MMU_EXPLICIT);
	u64 old;

	if (locked)
		return modify_locked(v, gla, p, size, fn, arg);
	if (p) {
		old = host_load(p, size);
		host_store(p, size, fn(old, arg));
		return old;
	}
	mmu_probe_write(v, gla, size, MMU_EXPLICIT);
	old = mmu_load(v, gla, size, MMU_EXPLICIT);
	mmu_store(v, gla, size, fn(old, arg) & mask_size(size), MMU_EXPLICIT);
	return old;
}

u64 op_modify(struct vcpu *v, const struct insn *i, bool always_locked, modify_fn *fn, void *arg)
{
	if (insn_kind(i, 0) == OPK_REG) {
		u64 old = reg_read(v, i->r[0], i->size);
		reg_write(v, i->r[0], i->size, fn(old, arg));
		return old;
	}
	return mem_modify(v, i->seg, op_ea(v, i), i->size, always_locked || (i->flags & INSN_LOCK), fn, arg);
}

u64 stack_load(struct vcpu *v, u64 sp, unsigned osize)
{
	sp &= mask_size(stack_size(v));
	return mmu_load(v, segment_linear(v, SEG_SS, sp, osize, SEG_READ), osize, MMU_EXPLICIT);
}

u64 stack_probe(struct vcpu *v, u64 sp, unsigned osize)
{
	u64 gla = segment_linear(v, SEG_SS, sp & mask_size(stack_size(v)), osize, SEG_WRITE);

	mmu_probe_write(v, gla, osize, MMU_EXPLICIT);
	return gla;
}

void stack_store(struct vcpu *v, u64 sp, u64 value, unsigned osize)
{
	u64 gla = segment_linear(v, SEG_SS, sp & mask_size(stack_size(v)), osize, SEG_WRITE);

	mmu_store(v, gla, osize, value & mask_size(osize), MMU_EXPLICIT);
}

void push(struct vcpu *v, u64 value, unsigned osize)
{
	u64 sp = stack_pointer(v) - osize;

	stack_store(v, sp, value, osize);
	stack_set(v, sp);
}

u64 pop(struct vcpu *v, unsigned osize)
{
	u64 sp = stack_pointer(v);
	u64 value = stack_load(v, sp, osize);

	stack_set(v, sp + osize);
	return value;
}
