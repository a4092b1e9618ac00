/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaving a block. A direct exit begins as a jump to a stub in the cold part that asks C for its target; C links it by
 * patching the jump (cache.c). Exits that go backward look at v->events on their way, so that no loop runs for ever.
 */
#include "engines/dbt/count.h"
#include "engines/dbt/translate.h"

u8 *tr_poll_jump(struct emit *e)
{
	e_alu_imm_m(e, ALU_CMP, 4, at_gs(VCPU(events)), 0);
	return e_jcc(e, CC_NZ, 0);
}

void tr_align_link(struct tr *t, struct emit *e, unsigned ahead)
{
	if (t->d->many)
		e_align_displacement(e, ahead);
}

u8 *tr_link_jump(struct tr *t, struct emit *e)
{
	tr_align_link(t, e, 1);
	u8 *at = e_jmp(e, 0);

	e_patch(at, e->to_run, emit_here(e));
	return at;
}

/* An interrupt that IF holds off is nothing to leave for: on at `back`. */
static void unless_masked(struct emit *e, u64 back)
{
	e_op_rm(e, 0xf7, 4, 0, at_gs(VCPU(events)));
	e32(e, ~EV_INTR);
	u8 *other = e_jcc(e, CC_NZ, 0);
	e_op_rm(e, 0xf7, 4, 0, at_gs(VCPU(rflags)));
	e32(e, FL_IF);
	e_jcc(e, CC_Z, back);
	e_patch(other, e->to_run, emit_here(e));
}

/* Target in this page: linked for good. */
static void stub_near(struct tr *t, struct exit *x, bool backward)
{
	struct emit *c = t->c;
	u8 *due = NULL;
	u64 polled = 0;
	bool region = !tr_is_canonical(t);

	if (x->flags_host)
		flags_save(c, t->s1);
	tr_to_canonical(t, c);
	if (region && !backward) { /* the way there is no single jump */
		x->jump_at = tr_link_jump(t, c);
		x->jump_home = emit_here(c);
	}
	if (backward) {
		if (!region)
			x->poll = emit_here(c);
		due = tr_poll_jump(c);
		polled = emit_here(c);
		x->jump_at = tr_link_jump(t, c);
		x->jump_home = emit_here(c);
	}
	tr_to_c(c, x, t->d->to.link);
	if (due) {
		e_patch(due, c->to_run, emit_here(c));
		unless_masked(c, polled);
		tr_to_c(c, x, t->d->to.poll);
	}
}

/* Target in another page: good while this page's linear address and the code space are those of the link. */
static void stub_cross(struct tr *t, struct exit *x, bool backward)
{
	struct emit *c = t->c;
	u8 *due = NULL;
	u64 polled = 0;

	x->key = touched_alloc(t->d, t->d->many ? 16 : 8);
	if (x->flags_host)
		flags_save(c, t->s1);
	tr_to_canonical(t, c);
	if (backward) {
		due = tr_poll_jump(c);
		polled = emit_here(c);
	}
	/* What is stored comes from the key, not from what is compared: tr_load_page(). */
	e_load(c, 8, OUT_A, at_place(t->d, x->key));
	e_alu_m(c, ALU_XOR, 8, OUT_A, at_gs(SPACE_AT(t->half)));
	e_alu_m(c, ALU_CMP, 8, OUT_A, at_gs(PAGE_AT));
	u8 *other = e_jcc(c, CC_NZ, 0);
	e_lea(c, tr_word(t), OUT_A, at_reg(OUT_A, (s32)(x->target & (s64)PAGE_MASK)));
	e_store(c, 8, OUT_A, at_gs(PAGE_AT));
	x->jump_at = tr_link_jump(t, c);
	x->jump_home = emit_here(c);
	if (t->d->many) { /* the link was taken away behind the compare */
		e_lea(c, tr_word(t), OUT_A, at_reg(OUT_A, -(s32)(x->target & (s64)PAGE_MASK)));
		e_store(c, 8, OUT_A, at_gs(PAGE_AT));
	}
	e_patch(other, c->to_run, emit_here(c));
	e_load(c, 8, OUT_A, at_gs(PAGE_AT));
	e_lea(c, tr_word(t), OUT_A, at_reg(OUT_A, (s32)x->target));
	e_store(c, 8, OUT_A, at_gs(VCPU(rip)));
	if (!t->wide)
		e_mov_imm32(c, OUT_B, jump_key(t->b->mode));
	e_alu_imm_m(c, ALU_SUB, 1, t->d->many ? at_place(t->d, x->key + 8) : at_abs(&x->misses), 8);
	e_jcc(c, CC_AE, t->wide ? t->d->to.jump : t->d->to.jump32);
	tr_to_c(c, x, t->d->to.cross_link);
	if (due) {
		e_patch(due, c->to_run, emit_here(c));
		unless_masked(c, polled);
		tr_to_c(c, x, t->d->to.poll);
	}
}

void tr_exit_at(struct tr *t, const struct insn *i, s64 target, u8 *at)
{
	struct exit *x = meta_alloc(t->d, sizeof(*x));
	s64 end = (s64)i->off + i->len;
	bool backward = target < end;

	at = tr_count_exit(t, at);
	*x = (struct exit){
		.from = t->b,
		.next_own = t->b->exits,
		.hot_at = at,
		.hot_home = emit_here(t->c),
		.target = target,
		.from_off = (u16)(target == end ? end : i->off),
		.misses = EXIT_LINK_NOW,
		.flags_host = t->host_ok && !t->mem_ok,
		.crosses = target < 0 || target > (s64)PAGE_SIZE - 15,
		.call = i->op == OP_CALL && target != end,
	};
	t->b->exits = x;
	e_patch(at, t->h->to_run, x->hot_home);
	if (x->crosses)
		stub_cross(t, x, backward || !t->wide); /* forward leads back to the beginning, behind 4 GiB */
	else
		stub_near(t, x, backward);
}

void tr_exit(struct tr *t, const struct insn *i, s64 target, int cc)
{
	tr_align_link(t, t->h, cc < 0 ? 1 : 2);
	tr_exit_at(t, i, target, cc < 0 ? e_jmp(t->h, 0) : e_jcc(t->h, (unsigned)cc, 0));
}

u8 *tr_find_jump(struct tr *t, unsigned target, unsigned entry)
{
	struct emit *h = t->h;

	jump_index(h, entry, target);
	e_alu_m(h, ALU_XOR, 8, target, at_gs(SPACE_AT(t->half)));
	if (!t->wide)
		e_alu_imm(h, ALU_XOR, 8, target, (s32)jump_key(t->b->mode));
	e_alu_m(h, ALU_CMP, 8, target, jump_field(t->d, entry, offsetof(struct jump_entry, key)));
	return e_jcc(h, CC_NZ, 0);
}

void tr_page_of_key(struct tr *t, unsigned key)
{
	e_alu_m(t->h, ALU_XOR, 8, key, at_gs(SPACE_AT(t->half)));
	if (!t->wide)
		e_alu_imm(t->h, ALU_XOR, 8, key, (s32)jump_key(t->b->mode));
}

void tr_exit_indirect(struct tr *t)
{
	struct emit *c = t->c;

	e_patch(tr_find_jump(t, OUT_A, OUT_B), c->to_run, emit_here(c));
	e_alu_m(c, ALU_XOR, 8, OUT_A, at_gs(SPACE_AT(t->half)));
	if (!t->wide)
		e_alu_imm(c, ALU_XOR, 8, OUT_A, (s32)jump_key(t->b->mode));
	e_store(c, 8, OUT_A, at_gs(VCPU(rip)));
	tr_to_c(c, tr_site(t), t->d->to.miss);
	tr_page_of_key(t, OUT_A);
	jump_take(t->h, t->d, OUT_B, OUT_A);
}

void tr_poll(struct tr *t)
{
	struct emit *c = t->c;
	u8 *due;

	tr_save_flags(t, t->s1);
	due = tr_poll_jump(t->h);
	e_patch(due, c->to_run, emit_here(c));
	unless_masked(c, emit_here(t->h));
	tr_to_canonical(t, c);
	tr_to_c(c, tr_site(t), t->d->to.poll_site);
	t->host_ok = false;
}

void tr_leave_at(struct tr *t, s64 target, u64 thunk)
{
	struct exit *x = meta_alloc(t->d, sizeof(*x));

	*x = (struct exit){ .from = t->b, .next_own = t->b->exits, .target = target };
	t->b->exits = x;
	tr_to_canonical(t, t->c);
	tr_to_c(t->c, x, thunk);
}

void tr_poll_edge(struct tr *t, u8 *due, s64 target, u64 back)
{
	e_patch(due, t->c->to_run, emit_here(t->c));
	unless_masked(t->c, back);
	tr_leave_at(t, target, t->d->to.poll);
}
