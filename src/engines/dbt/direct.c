/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What generated code calls by the short way (thunks-system.c): instructions that kernels run often and that only C can do. What
 * is called finds the registers that C may destroy, RBX and the two that always are there in v->r[], and no others; so it must
 * not raise, but for dbt_direct_xstate(), which finds all. It returns where to go on: at the site's `resume`; at `moved`, if
 * what runs next is not what the block goes on with; or, having changed nothing, at `slow`, for src/emulate to do all of it.
 */
#include "engines/dbt/count.h"

static u64 done(struct vcpu *v, const struct site *s, u64 space_before)
{
	struct dbt *d = dbt_of(v);
	bool stays = v->code_space[!!(s->block->mode & MODE_HIGH)] == space_before && !wants_out(v);

	d->stats->direct++;
	return likely(stays) ? s->resume : d->to.moved;
}

static u64 space_of(const struct vcpu *v, const struct site *s)
{
	return v->code_space[!!(s->block->mode & MODE_HIGH)];
}

/* The instruction is done, and something wants the loop, or its successor is to be looked up. */
u64 dbt_moved(struct vcpu *v, struct site *s)
{
	struct dbt *d = dbt_of(v);

	v->rip = v->r[17] + s->insn.off + s->insn.len;
	if (v->code_size != CODE_64)
		v->rip = (u32)v->rip;
	count_leave(v, s->block, s->insn.n + 1u);
	d->stats->ends++;
	return dbt_go_on(v);
}

u64 dbt_direct_cr3(struct vcpu *v, struct site *s)
{
	u64 value = words_of(v)->arg, keep = v->cr4 & CR4_PCIDE ? BIT(63) : 0, space = space_of(v, s);

	if (unlikely((value & ~keep) >> GPA_BITS))
		return dbt_of(v)->to.slow;
	mmu_set_cr3(v, value);
	return done(v, s, space);
}

u64 dbt_direct_invlpg(struct vcpu *v, struct site *s)
{
	u64 gla = words_of(v)->arg, space = space_of(v, s);

	if (likely(is_canonical(gla)))
		mmu_flush_page(v, gla);
	return done(v, s, space);
}

u64 dbt_direct_wrmsr(struct vcpu *v, struct site *s)
{
	u64 space = space_of(v, s);

	if (unlikely(!msr_set(v, (u32)v->r[RCX], (u32)v->r[RAX] | v->r[RDX] << 32)))
		return dbt_of(v)->to.slow;
	return done(v, s, space);
}

u64 dbt_direct_cpuid(struct vcpu *v, struct site *s)
{
	u64 space = space_of(v, s);

	exec_cpuid(v, &s->insn);
	return done(v, s, space);
}

/* XSAVE, XRSTOR and their like: all registers are in v->r[], so that they may fault. What they load can change the mode. */
u64 dbt_direct_xstate(struct vcpu *v, struct site *s)
{
	u64 page = v->r[17], space = space_of(v, s);

	v->rip = page + s->insn.off;
	v->cur = &s->insn;
	op_exec[s->insn.op](v, &s->insn);
	v->cur = &dbt_of(v)->none;
	v->r[17] = page; /* op_ea may have set it for another use */
	if (unlikely((s->block->mode & ~(MODE_HIGH | MODE_PLAIN)) != mode_of(v)))
		return dbt_of(v)->to.moved;
	return done(v, s, space);
}
