/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accesses to memory in regions. The first access of several to one object looks ahead and checks for all of them: from the lowest
 * byte to the highest, for writing if any writes. The translation stays in a register, and the others need nothing. A check that
 * does not pass has changed nothing, so a plain block can go on at its instruction, one access after the other.
 *
 * Checks are made against a slot of the window's own, or where accesses wander through the TLB. Windows end where control may
 * come from elsewhere, and with every call of C: nothing else can change what a linear address is.
 */
#include "engines/dbt/count.h"
#include "engines/dbt/region.h"

#define SPAN_MAX 256 /* bytes of a window: the more, the more often it crosses pages */
#define LOOK_MAX 64 /* instructions ahead */

/* ---- what instructions access ---- */

static struct access access_of(const struct tr *t, const struct values *v, const struct insn *i, unsigned n, bool write)
{
	struct access a = { .seg = i->seg < SEG_FS ? 0 : i->seg, .n = (u8)n, .write = write, .scale = i->scale };

	/* In 32-bit code an offset that wraps is checked for each access on its own, where there is a base. */
	if ((i->flags & INSN_MOFFS) || i->asize != tr_word_log(t) || (!t->wide && a.seg))
		return a;
	unsigned base = i->base >> 3, index = i->index >> 3;
	a.base = v->number[base];
	a.index = v->number[index];
	if (i->index == SLOT_ZERO)
		a.scale = 0;
	a.off = i->disp + v->offset[base] + v->offset[index] * (1 << a.scale);
	a.merges = true;
	return a;
}

struct insn stack_operand(const struct tr *t, unsigned base, s32 disp)
{
	return (struct insn){
		.base = SLOT(base), .index = SLOT_ZERO, .disp = disp, .asize = (u8)(tr_word_log(t) & 3), .seg = SEG_SS
	};
}

static struct access stack_access(const struct tr *t, const struct values *v, unsigned base, s32 disp, bool write)
{
	struct insn i = stack_operand(t, base, disp);

	return access_of(t, v, &i, tr_word(t), write);
}

unsigned accesses(const struct tr *t, const struct values *v, unsigned k, struct access a[2])
{
	const struct insn *i = &t->insn[k];
	bool special = t->native[k] == NATIVE_SPECIAL;
	unsigned n = 0;

	if (t->native[k] == NATIVE_NONE || t->native[k] == NATIVE_SYSTEM)
		return 0;
	if ((i->flags & INSN_MEM) && i->op != OP_LEA && !insn_is_hint(i))
		a[n++] = access_of(t, v, i, i->msize,
				   !special && (t->native[k] == NATIVE_X87 ? tr_x87_stores(i) : tr_writes_memory(i)));
	if (!special)
		return n;
	switch (i->op) {
	case OP_PUSH:
	case OP_CALL: a[n++] = stack_access(t, v, RSP, -(s32)tr_word(t), true); break;
	case OP_POP:
	case OP_RET: a[n++] = stack_access(t, v, RSP, 0, false); break;
	case OP_LEAVE: a[n++] = stack_access(t, v, RBP, 0, false); break;
	default: break;
	}
	return n;
}

static bool same_object(const struct access *a, const struct access *b)
{
	return b->merges && a->base == b->base && a->index == b->index && a->scale == b->scale && a->seg == b->seg;
}

/* A window for access `a` of the current instruction and what follows. */
static struct window look_ahead(const struct tr *t, const struct access *a)
{
	struct window w = { .base = a->base,
			    .index = a->index,
			    .scale = a->scale,
			    .seg = a->seg,
			    .write = a->write,
			    .lo = a->off,
			    .hi = a->off + a->n };
	struct values v = t->region->now;
	bool certain = true; /* the instruction runs if this one does */

	for (unsigned k = t->k; a->merges && k < t->n && k < t->k + LOOK_MAX; k++) {
		struct access other[2];
		unsigned n = accesses(t, &v, k, other);
		if (k > t->k && t->region->starts[k])
			break;
		for (unsigned m = 0; m < n; m++) {
			s64 lo = MIN(w.lo, other[m].off), hi = MAX(w.hi, other[m].off + other[m].n);
			if (!same_object(a, &other[m]) || hi - lo > SPAN_MAX ||
			    (other[m].write && !w.write && !certain))
				continue;
			w.lo = lo;
			w.hi = hi;
			w.write |= other[m].write;
			w.left++;
		}
		if (t->native[k] == NATIVE_NONE || t->native[k] == NATIVE_SYSTEM)
			break;
		if (insn_is_jcc(&t->insn[k]))
			certain = false;
		values_step(t, &v, k);
	}
	if (w.left)
		w.left--; /* the access itself */
	return w;
}

/* ---- registers ---- */

void windows_forget(struct tr *t)
{
	for (unsigned r = 0; t->region && r < NR_GPR; r++)
		t->region->in[r].live = false;
	shares_forget(t);
}

void tr_clobber(struct tr *t, unsigned reg)
{
	if (t->region && reg < NR_GPR)
		t->region->in[reg].live = false;
	shares_clobber(t, reg);
}

/* What would be lost with what the register holds. */
static unsigned worth(const struct tr *t, unsigned reg)
{
	const struct window *w = &t->region->in[reg];

	return w->live ? w->left : 0;
}

/* The register of outs, but for those in `avoid`, that holds the least; NO_REG if none is left. */
static unsigned cheapest(const struct tr *t, u32 avoid)
{
	unsigned best = NO_REG;

	for (unsigned r = 0; r < NR_GPR; r++)
		if (t->outs & ~avoid & 1u << r && (best == NO_REG || worth(t, r) < worth(t, best)))
			best = r;
	return best;
}

static unsigned temp(struct tr *t, u32 avoid)
{
	unsigned r = avoid >> t->s1 & 1 ? cheapest(t, avoid) : t->s1;

	tr_clobber(t, r);
	return r;
}

unsigned tr_beside(struct tr *t, const struct mem *m)
{
	u32 used = 0;

	if (m->base != NO_REG)
		used |= 1u << m->base;
	if (m->index != NO_REG)
		used |= 1u << m->index;
	if (!(used >> t->s1 & 1))
		return t->s1;
	unsigned r = t->region ? cheapest(t, used) : used >> t->s2 & 1 ? NO_REG : t->s2;
	tr_clobber(t, r);
	return r;
}

/* ---- checks ---- */

static void to_plain(struct tr *t)
{
	struct emit *c = t->c;
	struct exit *x = meta_alloc(t->d, sizeof(*x));

	*x = (struct exit){ .from = t->b, .next_own = t->b->exits, .target = t->insn[t->k].off, .plain = true };
	t->b->exits = x;
	x->hot_at = tr_link_jump(t, c);
	x->hot_home = emit_here(c);
	tr_to_c(c, x, t->d->to.bail);
}

void bail_here(struct tr *t)
{
	tr_uncount(t);
	tr_to_canonical(t, t->c);
	to_plain(t);
}

void tr_bail(struct tr *t, u8 *jump, const struct slot_use *use)
{
	struct emit *c = t->c;
	u8 *counted;

	e_patch(jump, c->to_run, emit_here(c));
	if (!use) {
		bail_here(t);
		return;
	}
	tr_uncount(t);
	tr_to_canonical(t, c);
	e_alu_imm_m(c, ALU_CMP, 4, at_place(t->d, SLOT_FIELD(use->slot, count)), SLOT_DUE);
	counted = e_jcc(c, CC_Z, 0);
	to_plain(t);
	e_patch(counted, c->to_run, emit_here(c));
	tr_to_c(c, use, t->d->to.hot);
}

/* The window's first byte, as an operand; it lies `back` before i's. */
static struct insn window_begin(const struct insn *i, s64 back)
{
	struct insn first = *i;

	first.disp = (s32)(i->disp - back);
	return first;
}

/* Its linear address into a. */
static void address_of_window(struct tr *t, unsigned a, const struct insn *i, s64 back)
{
	struct insn first = window_begin(i, back);

	tr_linear(t, a, &first);
}

static bool fits(const struct insn *i, const struct access *a, const struct window *w)
{
	s64 disp = i->disp - (a->off - w->lo);

	return disp == (s32)disp;
}

/* What is remembered of an access: an instruction's operand and what it does to the stack are two. */
static unsigned place_of(const struct tr *t, const struct insn *i)
{
	const struct insn *now = &t->insn[t->k];

	return now->off + (i != now);
}

/* The compare with a slot, whose place is returned; a becomes the offset in what the slot covers. */
static u32 check_slot(struct tr *t, unsigned a, const struct window *w, const struct insn *i, s64 back)
{
	struct slot_use *use = slot_use_new(t->d, slot_alloc(t->d), (unsigned)(w->hi - w->lo), t->b, t->insn[t->k].off,
					    w->write);

	use->name = (u16)place_of(t, i);
	use->back = emit_here(t->h);
	address_of_window(t, a, i, back);
	tr_bail(t, tr_compare_slot(t, a, use, w->write), use);
	return use->slot;
}

/* Kernels change tasks and with them their stacks too often for what is not in a loop. */
static bool slot_pays(const struct tr *t)
{
	return tr_cpl(t) == 3 || t->region->at->weight >= LOOP_WEIGHT;
}

/* Makes window w true, its register `hold`, or `a` if there is none; returns the operand. */
static struct mem open_window(struct tr *t, struct window *w, unsigned hold, unsigned a, const struct insn *i, s64 back)
{
	struct emit *h = t->h;
	bool wanders = place_wanders(t->d, t->b->page, place_of(t, i)) || !slot_pays(t);
	unsigned reg = hold == NO_REG ? a : hold;

	tr_save_flags(t, a);
	t->host_ok = false;
	if (wanders) {
		unsigned other = hold == NO_REG ? cheapest(t, 1u << a) : a;
		tr_clobber(t, other);
		address_of_window(t, reg, i, back);
		tr_bail(t, tr_tlb_compare(t, reg, other, (unsigned)(w->hi - w->lo), w->write), NULL);
		w->delta = !w->left &&
			   tr_is_base_alone(t, i); /* others may name the object by a register that is out */
		if (w->delta)
			return tr_tlb_operand(t, reg, other, i);
		struct insn first = window_begin(i, back);
		tr_tlb_host(t, reg, other, &first);
		return at_reg(reg, (s32)back);
	}
	u32 slot = check_slot(t, a, w, i, back);
	if (hold == NO_REG) {
		e_op_place(h, t->d, 0x03, 8, a, SLOT_FIELD(slot, host));
	} else if (tr_is_base_alone(t, i)) {
		w->delta = true;
		e_op_place(h, t->d, 0x8b, 8, hold, SLOT_FIELD(slot, delta));
		return (struct mem){ .base = i->base >> 3, .index = (u8)hold, .disp = i->disp };
	} else {
		e_op_place(h, t->d, 0x8b, 8, hold, SLOT_FIELD(slot, host));
		e_op_rr(h, 0x03, 8, hold, a);
	}
	return at_reg(reg, (s32)back);
}

/* A window that an access lies in; returns its register. */
static unsigned find_window(const struct tr *t, const struct access *a)
{
	for (unsigned r = 0; a->merges && r < NR_GPR; r++) {
		const struct window *w = &t->region->in[r];
		if (w->live && w->base == a->base && w->index == a->index && w->scale == a->scale && w->seg == a->seg &&
		    a->off >= w->lo && a->off + a->n <= w->hi && (w->write || !a->write))
			return r;
	}
	return NO_REG;
}

static struct mem use_window(struct tr *t, unsigned reg, const struct access *a, const struct insn *i, u32 avoid)
{
	struct window *w = &t->region->in[reg];
	unsigned base = i->base >> 3;

	w->left -= w->left > 0;
	if (!w->delta)
		return at_reg(reg, (s32)(a->off - w->lo));
	if (reg_is_out(t, base)) {
		base = temp(t, avoid | 1u << reg);
		e_load(t->h, 8, base, at_gs(GPR_AT(i->base >> 3)));
	}
	return (struct mem){ .base = (u8)base, .index = (u8)reg, .disp = i->disp };
}

/* Legacy vector instructions fault on an unaligned operand; whether they do, the plain block finds out. */
static void check_alignment(struct tr *t, struct mem *m, unsigned align)
{
	unsigned a;

	if (!align)
		return;
	a = tr_beside(t, m);
	if (a == NO_REG) { /* both registers are in the address: it becomes one */
		tr_save_flags_spilled(t);
		a = m->base;
		e_lea(t->h, 8, a, *m);
		*m = at_reg(a, 0);
	} else {
		tr_save_flags(t, a);
		e_lea(t->h, 8, a, *m);
	}
	e_op_rr(t->h, 0xf7, 4, 0, a);
	e32(t->h, align - 1);
	tr_bail(t, e_jcc(t->h, CC_NZ, 0), NULL);
	t->host_ok = false;
}

static struct mem operand(struct tr *t, const struct insn *i, unsigned n, bool write, u32 avoid, unsigned align)
{
	struct access a = access_of(t, &t->region->now, i, n, write);
	unsigned reg = find_window(t, &a), hold = NO_REG;
	struct mem m;

	if (reg != NO_REG && !(avoid >> reg & 1) &&
	    (!(avoid >> t->s1 & 1) || !t->region->in[reg].delta || !reg_is_out(t, i->base >> 3))) {
		m = use_window(t, reg, &a, i, avoid);
		check_alignment(t, &m, align);
		return m;
	}
	struct window w = look_ahead(t, &a);
	if (!fits(i, &a, &w)) {
		w.lo = a.off;
		w.hi = a.off + n;
		w.write = write;
		w.left = 0;
	}
	unsigned work = temp(t, avoid);
	unsigned least = cheapest(t, avoid | 1u << work);
	if (least != NO_REG && (worth(t, least) == 0 || w.left > worth(t, least)))
		hold = least;
	if (hold != NO_REG)
		tr_clobber(t, hold);
	m = open_window(t, &w, hold, work, i, a.off - w.lo);
	if (hold != NO_REG && a.merges) {
		w.live = true;
		t->region->in[hold] = w;
	}
	check_alignment(t, &m, align);
	return m;
}

struct mem window_operand(struct tr *t, u32 avoid, bool write, unsigned align)
{
	const struct insn *i = &t->insn[t->k];

	return operand(t, i, i->msize, write, avoid, align);
}

struct mem window_stack(struct tr *t, unsigned base, s32 disp, unsigned n, bool write)
{
	struct insn i = stack_operand(t, base, disp);

	return operand(t, &i, n, write, 0, 0);
}

bool window_has_stack(const struct tr *t, unsigned base, s32 disp, bool write)
{
	struct access a = stack_access(t, &t->region->now, base, disp, write);

	return find_window(t, &a) != NO_REG;
}
