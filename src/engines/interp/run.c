/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers that belong to no instruction: calling src/emulate, following jumps, leaving to the loop.
 *
 * Each is entered with v->r[17] (SLOT_CODE) set for the current page and v->left counting as interp-internal.h tells, and ends
 * in a tail call or a return to the loop with v->rip at the next instruction and v->left normalised (nothing owed).
 */
#include <string.h>

#include "engines/interp/interp-internal.h"

/* Something wants the loop's attention before another instruction runs. */
static inline bool wants_out(const struct vcpu *v)
{
	u32 events = atomic_load_explicit(&v->events, memory_order_relaxed);

	return v->stop_now || v->halted || v->shadow || v->left <= 0 ||
	       (events && ((events & ~EV_INTR) || (v->rflags & FL_IF)));
}

/* Deterministic clocks stand at the instruction that looks at them. */
static void set_clock(struct vcpu *v, const struct insn *i)
{
	struct interp *in = interp_of(v);

	clock_set(v->machine->clock, in->base_insns + (u64)(in->quantum - (v->left - i->n)));
}

static inline void call_exec(struct vcpu *v, const struct insn *i)
{
	struct interp *in = interp_of(v);

	v->rip = v->r[17] + i->off;
	v->cur = i;
	v->stats.emulated++;
	if (unlikely(in->deterministic))
		set_clock(v, i);
	op_exec[i->op](v, i);
}

/* The end of a quantum is as good a moment as any: what the code here does stands for what the quantum did. */
static void sample_accesses(struct vcpu *v, const struct insn *i)
{
	unsigned insns = 0, accesses = 0;

	for (; i->op && insns < TRACE_MAX; i++, insns++)
		accesses += (i->flags & INSN_MEM) || insn_has_hidden_memory(i) || i->op == OP_CALL || i->op == OP_RET;
	if (insns)
		v->stats.accesses += (u64)interp_of(v)->quantum * accesses / insns;
}

void run_leave_before(struct vcpu *v, const struct insn *i)
{
	sample_accesses(v, i);
	v->rip = v->r[17] + i->off;
	v->left -= i->n;
	v->cur = &interp_of(v)->none;
}

void run_leave_after(struct vcpu *v, const struct insn *i)
{
	v->rip = v->r[17] + i->off;
	v->rip = vcpu_next_rip(v, i);
	v->left -= i->n + 1;
	v->cur = &interp_of(v)->none;
}

void run_generic(struct vcpu *v, const struct insn *i)
{
	call_exec(v, i);
	if (unlikely(v->stop_now))
		return run_leave_after(v, i);
	return i[1].run(v, i + 1);
}

void run_end(struct vcpu *v, const struct insn *i)
{
	call_exec(v, i);
	v->left -= i->n + 1;
	v->cur = &interp_of(v)->none;
	return run_continue(v);
}

/* For insn_changes_flags_only(): goes on in the trace unless the change lets something in. */
void run_through(struct vcpu *v, const struct insn *i)
{
	call_exec(v, i);
	if (unlikely(wants_out(v)))
		return run_leave_after(v, i);
	return i[1].run(v, i + 1);
}

void run_continue(struct vcpu *v)
{
	struct interp *in = interp_of(v);

	if (unlikely(wants_out(v)))
		return;
	u64 gla = code_linear(v, v->rip);
	const struct jump_entry *e = &in->jump[v->code_size][jump_hash(gla)];
	const struct insn *rec = e->rec;
	if (unlikely(e->key != (gla ^ mmu_code_space(v, gla))))
		rec = code_lookup(v, gla);
	v->r[17] = v->rip - rec->off;
	v->left += rec->n;
	return rec->run(v, rec);
}

/* 64-bit code only. */
void run_jump(struct vcpu *v, const struct insn *i, u64 rip)
{
	struct interp *in = interp_of(v);
	const struct jump_entry *e = &in->jump[CODE_64][jump_hash(rip)];

	v->left -= i->n + 1;
	if (likely(e->key == (rip ^ mmu_code_space(v, rip)) && v->left > 0 &&
		   !atomic_load_explicit(&v->events, memory_order_relaxed))) {
		const struct insn *rec = e->rec;
		v->r[17] = rip & PAGE_MASK;
		v->left += rec->n;
		return rec->run(v, rec);
	}
	v->rip = rip;
	v->cur = &in->none;
	return run_continue(v);
}

/* Inside its page the branch is linked to its target for good: the records of a page are dropped together. */
void run_branch(struct vcpu *v, const struct insn *i)
{
	u64 off = (u64)i->off + i->len + (u64)(s64)i->disp;

	if (off < PAGE_SIZE) {
		v->rip = v->r[17] + i->off;
		v->cur = i;
		const struct insn *t = code_link(v, i, (unsigned)off);
		if (t) {
			((struct insn *)i)->target = t;
			v->left -= i->n + 1 - t->n;
			if (unlikely(v->left < 0))
				return run_leave_before(v, t);
			return t->run(v, t);
		}
	}
	return run_jump(v, i, v->r[17] + off);
}

void run_goto(struct vcpu *v, const struct insn *i)
{
	const struct insn *t = i->target;

	if (unlikely(!t)) { /* the record before it, a real one, vouches for the page */
		v->rip = v->r[17] + i->off;
		v->cur = i;
		t = code_link(v, i - 1, i->off);
		if (!t) {
			v->left -= i->n;
			v->cur = &interp_of(v)->none;
			return run_continue(v);
		}
		((struct insn *)i)->target = t;
	}
	v->left -= i->n - t->n;
	return t->run(v, t);
}

void run_page_end(struct vcpu *v, const struct insn *i)
{
	v->rip = v->r[17] + PAGE_SIZE;
	if (v->code_size != CODE_64)
		v->rip = (u32)v->rip;
	v->left -= i->n;
	v->cur = &interp_of(v)->none;
	return run_continue(v);
}

/*
 * Stands where a breakpoint of the debugger has the same offset in its page; whether it is this page is for the loop to
 * find out, as records know no linear address.
 */
void run_break(struct vcpu *v, const struct insn *i)
{
	v->rip = v->r[17] + i->off;
	v->left -= i->n;
	v->cur = &interp_of(v)->none;
	interp_of(v)->at_break = true;
}

/* What the bytes at v->rip are could not be decoded: longer than 15 bytes (#GP) or no instruction (#UD). */
void run_invalid(struct vcpu *v, const struct insn *i)
{
	v->rip = v->r[17] + i->off;
	v->cur = i;
	if (i->len == 15)
		vcpu_raise_error(v, EXC_GP, 0);
	vcpu_raise(v, EXC_UD);
}

/* Executes a copy of *i, a record outside the arena, with v->rip at it; leaves v->rip at the next instruction. */
static void exec_single(struct vcpu *v, const struct insn *insn)
{
	struct interp *in = interp_of(v);
	const struct insn *i = &in->single;

	in->single = *insn;
	v->r[17] = v->rip - i->off;
	v->cur = i;
	if (in->deterministic)
		set_clock(v, i);
	op_exec[i->op](v, i);
	if (!(i->flags & INSN_END))
		v->rip = vcpu_next_rip(v, i);
	v->left--;
}

/* The copy is good while the bytes in both pages, wherever they are mapped now, are what was decoded. */
static const struct insn *cross_lookup(struct vcpu *v, u64 gla)
{
	struct cross_entry *c = &interp_of(v)->cross[(gla >> PAGE_SHIFT) % CROSS_ENTRIES];
	u8 bytes[16];

	if (c->gla == gla && c->code_size == v->code_size && c->insn.len) {
		code_check_end(v, c->insn.len);
		code_fetch(v, gla, bytes, c->insn.len);
		if (memcmp(bytes, c->bytes, c->insn.len) == 0)
			return &c->insn;
	}
	c->insn.len = 0;
	code_decode_at_rip(v, &c->insn, c->bytes);
	c->gla = gla;
	c->code_size = v->code_size;
	return &c->insn;
}

void run_cross(struct vcpu *v, const struct insn *i)
{
	v->rip = v->r[17] + i->off;
	v->left -= i->n;
	v->cur = &interp_of(v)->none;
	exec_single(v, cross_lookup(v, code_linear(v, v->rip)));
	return run_continue(v);
}

static __attribute__((noinline)) void exec_uncached(struct vcpu *v)
{
	struct insn insn;
	u8 bytes[15];

	code_decode_at_rip(v, &insn, bytes);
	exec_single(v, &insn);
}

/* Without locals, whose addresses escape, as that would make a true call of the last: a spinning CPU would use up its stack. */
void run_uncached(struct vcpu *v, const struct insn *i)
{
	if (unlikely(v->machine->debug.breaks))
		return run_break(v, i);
	v->rip = v->r[17] + i->off;
	v->cur = &interp_of(v)->none;
	exec_uncached(v);
	return run_continue(v);
}

void run_step(struct vcpu *v)
{
	struct insn insn;
	u8 bytes[15];
	u64 gla = code_linear(v, v->rip);

	if (v->code_size == CODE_64 ? !is_canonical(gla) : v->rip > v->seg[SEG_CS].limit)
		vcpu_raise_error(v, EXC_GP, 0);
	code_decode_at_rip(v, &insn, bytes);
	exec_single(v, &insn);
}
