/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What generated code calls by the short way (thunks-system.c): instructions that kernels run often and that only C can do. What
 * is called finds the registers that C may destroy, RBX and the two that always are there in v->r[], and no others; so it must
 * not raise, but for those at the end of the file, which find all. It returns where to go on: at the site's `resume`; at `moved`, if
 * what runs next is not what the block goes on with; or, having changed nothing that anybody could have heard, at `slow`, for src/emulate to
 * do all of it. Where instructions are counted, whoever is asked for the count meanwhile finds it from v->cur.
 */
#include "engines/dbt/count.h"

/* The code space that the site's block runs in. */
static u64 space_of(const struct vcpu *v, const struct site *s)
{
	return v->code_space[!!(s->block->mode & MODE_HIGH)];
}

/* Clocks and lock-step's notes go by the number of this instruction. */
static void begin(struct vcpu *v, const struct site *s)
{
	if (likely(!dbt_of(v)->counts))
		return;
	v->rip = v->r[17] + s->insn.off;
	v->cur = &s->insn;
	count_look(v);
}

static void end(struct vcpu *v)
{
	if (unlikely(dbt_of(v)->counts))
		v->cur = &cpu_of(v)->none;
}

static u64 done(struct vcpu *v, const struct site *s, u64 space_before)
{
	struct dbt *d = dbt_of(v);
	bool stays = space_of(v, s) == space_before && !wants_out(v);

	end(v);
	cpu_of(v)->stats->direct++;
	return likely(stays) ? s->resume : d->to.moved;
}

/* The instruction is done, and something wants the loop, or its successor is to be looked up. */
u64 dbt_moved(struct vcpu *v, struct site *s)
{
	v->rip = v->r[17] + s->insn.off + s->insn.len;
	if (v->code_size != CODE_64)
		v->rip = (u32)v->rip;
	count_leave(v, s->block, s->insn.n + 1u);
	cpu_of(v)->stats->ends++;
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

u64 dbt_direct_cpuid(struct vcpu *v, struct site *s)
{
	u64 space = space_of(v, s);

	exec_cpuid(v, &s->insn);
	return done(v, s, space);
}

/* Whoever may use all ports, and no breakpoint on one. */
static bool ports_are_free(const struct vcpu *v)
{
	return v->cpl <= (v->rflags & FL_IOPL) >> FL_IOPL_SHIFT && !(v->cr4 & CR4_DE);
}

static u16 port_of(const struct vcpu *v, const struct insn *i, unsigned k)
{
	return insn_kind(i, k) == OPK_IMM ? (u8)i->imm : (u16)v->r[RDX];
}

u64 dbt_direct_in(struct vcpu *v, struct site *s)
{
	u64 space = space_of(v, s);

	if (unlikely(!ports_are_free(v)))
		return dbt_of(v)->to.slow;
	begin(v, s);
	reg_write(v, SLOT(RAX), s->insn.size, io_read(v, port_of(v, &s->insn, 1), s->insn.size));
	return done(v, s, space);
}

u64 dbt_direct_out(struct vcpu *v, struct site *s)
{
	unsigned size = s->insn.size2;
	u64 space = space_of(v, s);

	if (unlikely(!ports_are_free(v)))
		return dbt_of(v)->to.slow;
	begin(v, s);
	io_write(v, port_of(v, &s->insn, 0), size, reg_read(v, SLOT(RAX), size));
	return done(v, s, space);
}

u64 dbt_direct_tsc(struct vcpu *v, struct site *s)
{
	begin(v, s);
	u64 now = cpu_tsc(v);
	end(v);
	return now;
}

/* ---- with all registers stored, so that they may fault ---- */

/* An MSR that is refused has been asked: not by src/emulate once more. */
u64 dbt_direct_wrmsr(struct vcpu *v, struct site *s)
{
	u64 space = space_of(v, s);

	begin(v, s);
	if (unlikely(!msr_set(v, (u32)v->r[RCX], (u32)v->r[RAX] | v->r[RDX] << 32))) {
		v->rip = v->r[17] + s->insn.off;
		v->cur = &s->insn;
		vcpu_raise_error(v, EXC_GP, 0);
	}
	return done(v, s, space);
}

static u64 devices_and_code(const struct vcpu *v)
{
	return v->stats.exits_mmio + cpu_of(v)->stats->code_stores;
}

/* MOV from or to memory, of the kind that went to a device or beside code before. */
u64 dbt_outside(struct vcpu *v, struct site *s)
{
	const struct insn *i = &s->insn;
	u64 page = v->r[17], space = space_of(v, s), before = devices_and_code(v);

	v->rip = page + i->off;
	v->cur = i;
	if (unlikely(dbt_of(v)->counts))
		count_look(v);
	op_exec[OP_MOV](v, i);
	v->cur = &cpu_of(v)->none;
	v->r[17] = page;
	bool anew = devices_and_code(v) == before && place_note(v, s, false);
	cpu_of(v)->stats->direct++;
	if (likely(!anew && space_of(v, s) == space && !wants_out(v)))
		return s->resume;
	return dbt_moved(v, s);
}

/* XSAVE, XRSTOR and their like. What they load can change the mode. */
u64 dbt_direct_xstate(struct vcpu *v, struct site *s)
{
	u64 page = v->r[17], space = space_of(v, s);

	v->rip = page + s->insn.off;
	v->cur = &s->insn;
	op_exec[s->insn.op](v, &s->insn);
	v->cur = &cpu_of(v)->none;
	v->r[17] = page; /* op_ea may have set it for another use */
	if (unlikely((s->block->mode & ~(MODE_HIGH | MODE_PLAIN)) != mode_of(v)))
		return dbt_of(v)->to.moved;
	return done(v, s, space);
}
