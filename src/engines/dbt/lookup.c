/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What generated code calls, by way of thunks: instructions that src/emulate does, exits that are not linked yet, jumps
 * that the jump cache does not know, and looks at events. Each returns the run-time address at which the guest goes on;
 * the thunk for leaving is one of these.
 */
#include <sched.h>

#include "engines/dbt/count.h"
#include "machine/control.h"

/* Whether the jump cache is good: what 64-bit code's keys do not tell is CPL 3. */
static inline bool jumps_are_good(const struct dbt_cpu *c, u16 mode)
{
	return (mode & MODE_CODE_SIZE) != CODE_64 || !((c->mode ^ mode) & ~(MODE_CODE_SIZE | MODE_CPL));
}

/* Generated code wants flags in the LAHF form. */
static inline void flags_to_words(struct vcpu *v)
{
	if ((u8)v->lazy.kind == FLAGS_LAHF)
		return;
	u32 f = flags_get(v);
	flags_lazy(v, FLAGS_LAHF, 8, (s64)((f & 0xff) << 8 | (f & FL_OF ? 1 : 0)), 0);
}

/* Whether the rest of the page can be run without a look at the limit of CS. */
static inline bool page_is_in_segment(const struct vcpu *v, u16 mode)
{
	return mode_is_translated(mode) || v->r[17] + PAGE_SIZE - 1 <= v->seg[SEG_CS].limit;
}

/* What the loop will find. */
static enum leave cause(const struct vcpu *v)
{
	u32 events = atomic_load_explicit(&v->events, memory_order_relaxed);

	if (v->halted)
		return LEAVE_HALT;
	if (v->stop_now || v->shadow)
		return LEAVE_LOOK;
	if (events & EV_INTR && v->rflags & FL_IF)
		return LEAVE_INTERRUPT;
	return events ? LEAVE_EVENT : LEAVE_TIME;
}

static u64 leave(struct vcpu *v)
{
	struct dbt_cpu *c = cpu_of(v);

	c->stats->leaves++;
	c->stats->left_for[cause(v)]++;
	v->cur = &c->none;
	return c->dbt->to.leave;
}

/* The RAM page after the one at gla, where code is fetched from; ~0 where that is none. */
static u64 second_page(struct vcpu *v, u64 gla)
{
	u64 gpa;
	const u8 *host = mmu_fetch(v, gla, &gpa);

	return host ? ram_page_index(v->machine, host) : ~0ull;
}

/* The loop is to step over the instruction, and look again. */
static u64 leave_to_step(struct vcpu *v)
{
	v->stop_now = true;
	return dbt_of(v)->to.leave;
}

static u16 block_mode(u16 mode, u64 gla)
{
	return (u16)(mode | (gla >> 63 ? MODE_HIGH : 0));
}

static void set_jump(struct vcpu *v, struct block *b, u64 gla, u16 mode)
{
	unsigned k = jump_hash(gla);

	cpu_of(v)->jump[k] = (struct jump_entry){ .key = gla ^ mmu_code_space(v, gla) ^ jump_key(mode),
						  .code = b->code };
	cpu_of(v)->jump_block[k] = b;
}

static void enter_jump(struct vcpu *v, struct block *b, u64 gla, u16 mode)
{
	unsigned k = jump_hash(gla);

	set_jump(v, b, gla, mode);
	b->many_jumps |= b->entered && b->jump != k;
	__atomic_store_n(&b->jump, k, __ATOMIC_RELAXED);
	__atomic_store_n(&b->entered, true, __ATOMIC_RELEASE);
}

/* The same for what is in a jump cache already, of any vCPU, at the same place. */
static bool enter_known(struct vcpu *v, struct block *b, u64 gla, u16 mode)
{
	unsigned k = jump_hash(gla);

	if (!b || b->dead || !__atomic_load_n(&b->entered, __ATOMIC_ACQUIRE) ||
	    __atomic_load_n(&b->jump, __ATOMIC_RELAXED) != k)
		return false;
	set_jump(v, b, gla, mode);
	return true;
}

/* The block for v->rip, made if need be; NULL: not now. Nobody knows of blocks here, so it is where room is made. Under the lock. */
static struct block *block_for(struct vcpu *v, u64 gla, u16 mode, const u8 *host, u64 page2)
{
	struct dbt *d = dbt_of(v);
	u64 page = ram_page_index(v->machine, host);

	pass_locked(v);
	if (!cache_make_room(v))
		return NULL;
	if (unlikely(!page_settled(v, page) || (page2 != ~0ull && !page_settled(v, page2))))
		return NULL;
	struct block *b = block_find(d, page, gla & ~PAGE_MASK, block_mode(mode, gla), page2);
	if (!b)
		b = translate(v, gla, block_mode(mode, gla), host - (gla & ~PAGE_MASK), page, page2);
	if (page2 == ~0ull || mode_is_translated(mode))
		enter_jump(v, b, gla, mode);
	return b;
}

/*
 * Code that lies in no RAM page, or that somebody may be writing, is not translated: the loop steps over it. room: room is wanted, not what is
 * known already.
 */
static u64 find_slowly(struct vcpu *v, u64 gla, bool room)
{
	struct dbt *d = dbt_of(v);
	unsigned off = gla & ~PAGE_MASK;
	u64 gpa, page2 = ~0ull;

	cpu_of(v)->stats->lookups++;
	if (v->code_size == CODE_64 ? !is_canonical(gla) : v->rip > v->seg[SEG_CS].limit)
		vcpu_raise_error(v, EXC_GP, 0);
	if (unlikely(v->machine->debug.breaks) && machine_breaks_at_offset(v->machine, off)) {
		cpu_of(v)->at_break = true;
		return leave_to_step(v);
	}
	const u8 *host = mmu_fetch(v, gla, &gpa);
	u16 mode = mode_of(v);
	if (!host || !page_is_in_segment(v, mode))
		return leave_to_step(v);
	if (unlikely(!jumps_are_good(cpu_of(v), mode))) {
		cache_forget_jumps(v);
		cpu_of(v)->mode = mode;
	}
	if (off > PAGE_SIZE - 15) { /* its first instruction may go on in the next page */
		struct insn i;
		if (code_decode(v, &i, NULL, host, PAGE_SIZE - off, off) == DECODE_MORE) {
			code_check_end(v, PAGE_SIZE - off + 1);
			page2 = second_page(v, (gla & PAGE_MASK) + PAGE_SIZE);
			/* Where its segment may end inside it, the loop steps over it and looks. */
			if (page2 == ~0ull || (v->code_size != CODE_64 && v->rip + 14 > v->seg[SEG_CS].limit))
				return leave_to_step(v);
		}
	}
	pass(v);
	struct block *b = block_find(d, ram_page_index(v->machine, host), off, block_mode(mode, gla), page2);
	if (!room && enter_known(v, b, gla, mode))
		return b->code;
	dbt_lock(d);
	b = block_for(v, gla, mode, host, page2);
	dbt_unlock(d);
	if (likely(b))
		return b->code;
	if (d->many) /* another vCPU is waited for */
		sched_yield();
	return leave_to_step(v);
}

/*
 * Whether what the entry leads to is there in this address space too, as a program's code is after a fork: the same linear address,
 * and the same page there. All but the spaces' number is compared of the keys.
 */
static bool is_shared(struct vcpu *v, const struct jump_entry *e, u64 gla, u64 key, u16 mode)
{
	const struct block *b = cpu_of(v)->jump_block[jump_hash(gla)];
	u64 gpa;

	if ((e->key ^ key) << 15 || gla >> 47 || v->code_size != CODE_64 || b->mode != mode || b->page2 != ~0ull)
		return false;
	const u8 *host = mmu_fetch(v, gla, &gpa);
	return host && ram_page_index(v->machine, host) == b->page;
}

u64 dbt_find(struct vcpu *v)
{
	struct dbt_cpu *c = cpu_of(v);
	u64 gla = code_linear(v, v->rip);

	v->r[17] = v->rip - (gla & ~PAGE_MASK);
	u16 mode = mode_of(v);
	if (likely(jumps_are_good(c, mode) && page_is_in_segment(v, mode))) {
		struct jump_entry *e = &c->jump[jump_hash(gla)];
		u64 key = gla ^ mmu_code_space(v, gla) ^ jump_key(mode);
		if (likely(e->key == key))
			return e->code;
		if (is_shared(v, e, gla, key, mode)) {
			e->key = key;
			return e->code;
		}
	}
	return find_slowly(v, gla, false);
}

u64 dbt_go_on(struct vcpu *v)
{
	v->cur = &cpu_of(v)->none;
	if (unlikely(wants_out(v)))
		return leave(v);
	return dbt_find(v);
}

/* Longer than 15 bytes, or no instruction. */
static _Noreturn void raise_undecodable(struct vcpu *v, const struct insn *i)
{
	if (i->len == 15)
		vcpu_raise_error(v, EXC_GP, 0);
	vcpu_raise(v, EXC_UD);
}

/* What tells causes apart. */
struct marks {
	u64 fills, devices, code_stores;
};

static struct marks marks_of(const struct vcpu *v)
{
	const u64 *fills = v->stats.tlb_fills;

	return (struct marks){ fills[0] + fills[1] + fills[2], v->stats.exits_mmio, cpu_of(v)->stats->code_stores };
}

static enum slow_for slow_cause(const struct vcpu *v, const struct site *s, const struct marks *before)
{
	struct marks now = marks_of(v);

	if (now.devices != before->devices)
		return SLOW_DEVICE;
	if (now.code_stores != before->code_stores)
		return SLOW_CODE;
	if (!s->fast)
		return SLOW_NEVER_FAST;
	return now.fills != before->fills ? SLOW_TLB : SLOW_OTHER;
}

u64 dbt_slow(struct vcpu *v, struct site *s)
{
	const struct insn *i = &s->insn;
	struct dbt_cpu *c = cpu_of(v);

	c->stats->slow++;
	c->stats->by_op[i->op]++;
	slots_check_lists(v);
	u64 page = v->r[17];
	v->rip = page + i->off;
	v->cur = i;
	u64 next = vcpu_next_rip(v, i), space = mmu_code_space(v, next), drops = c->stats->slot_drops;
	if (unlikely(i->op == OP_NONE))
		raise_undecodable(v, i);
	if (unlikely(c->dbt->counts))
		count_look(v);
	struct marks before = marks_of(v);
	op_exec[i->op](v, i);
	enum slow_for why = slow_cause(v, s, &before);
	c->stats->slow_for[why]++;
	flags_to_words(v);
	v->cur = &c->none;
	if (!(i->flags & INSN_END))
		v->rip = next;
	v->r[17] = page; /* op_ea may have set it for another use */
	bool anew = s->fast && (why == SLOW_DEVICE || why == SLOW_CODE) && place_note(v, s, true);
	bool stays = !anew && v->rip == next && (s->block->mode & ~(MODE_HIGH | MODE_PLAIN)) == mode_of(v) &&
		     space == mmu_code_space(v, next) && drops == c->stats->slot_drops && s->resume;
	if (likely(stays && !wants_out(v)))
		return s->resume;
	count_leave(v, s->block, i->n + !count_paused(v, i, page + i->off));
	if (unlikely(wants_out(v)))
		return leave(v);
	c->stats->ends++;
	return dbt_find(v);
}

static u64 target_of(const struct vcpu *v, const struct exit *x)
{
	u64 target = v->r[17] + (u64)x->target;

	return v->code_size == CODE_64 ? target : (u32)target;
}

/* The block that dbt_find() has just found. */
static struct block *found(struct vcpu *v)
{
	struct dbt_cpu *c = cpu_of(v);
	unsigned place = jump_hash(v->rip);
	bool is_there = c->jump[place].key == (v->rip ^ mmu_code_space(v, v->rip) ^ jump_key(mode_of(v)));

	return is_there ? c->jump_block[place] : NULL;
}

/*
 * The page may be mapped elsewhere by now, or the block dropped: the link is only good if the block that asks is still
 * what its linear page leads to.
 */
u64 dbt_link(struct vcpu *v, struct exit *x)
{
	struct dbt *d = dbt_of(v);
	u64 reuses = cache_reuses(d);

	v->rip = target_of(v, x);
	v->cur = &cpu_of(v)->none;
	u64 code = dbt_find(v);
	if (code == d->to.leave)
		return code;
	struct block *to = found(v);
	dbt_lock(d);
	if (reuses == d->reuses && !x->from->dead && !x->to && to && !to->dead && to->page == x->from->page &&
	    to->page2 == ~0ull)
		exit_link(d, x, to);
	dbt_unlock(d);
	return code;
}

/* Whether the check would pass now. */
static bool tlb_passes(const struct vcpu *v, const struct refill *r, u64 first)
{
	const struct tlb_entry *e = tlb_slot(v->tlb, first);

	return first - (r->write ? e->wr : e->rd) <= PAGE_SIZE - r->span;
}

/* The plain block, or NULL if there is none and now is not the time to make one. Under the lock. */
static struct block *plain_for(struct vcpu *v, struct block *b, unsigned off, struct exit *x)
{
	struct dbt *d = dbt_of(v);
	u16 mode = b->mode | MODE_PLAIN;

	if (b->dead || !memory_ready(d) || !page_settled(v, b->page))
		return NULL;
	struct block *to = block_find(d, b->page, off, mode, ~0ull);
	if (!to)
		to = translate(v, v->rip, mode, v->machine->ram + (b->page << PAGE_SHIFT), b->page, ~0ull);
	if (x && !x->to)
		exit_link(d, x, to);
	return to;
}

u64 dbt_plain(struct vcpu *v, struct block *b, unsigned off, struct exit *x)
{
	struct dbt *d = dbt_of(v);

	v->cur = &cpu_of(v)->none;
	v->rip = v->r[17] + off;
	dbt_lock(d);
	const struct block *to = plain_for(v, b, off, x);
	dbt_unlock(d);
	if (likely(to))
		return to->code;
	/* Not by the jump cache: that leads to where this was called from, while nothing is made room for. */
	u64 gla = code_linear(v, v->rip);
	v->r[17] = v->rip - (gla & ~PAGE_MASK);
	return find_slowly(v, gla, true);
}

/* Faults as the access would. What cannot be in the TLB, or lies across pages, is for the plain block. */
u64 dbt_refill(struct vcpu *v, struct refill *r)
{
	struct dbt_cpu *c = cpu_of(v);
	u64 first = words_of(v)->fill_gla, gla = first + r->back, page = v->r[17], drops = c->stats->slot_drops;

	c->stats->refills++;
	slots_check_lists(v);
	if (unlikely(!is_canonical(gla) || (gla & ~PAGE_MASK) + r->n > PAGE_SIZE || tlb_passes(v, r, first)))
		return r->fail;
	v->rip = page + r->site->insn.off;
	v->cur = &r->site->insn;
	if (r->store)
		mmu_direct_write(v, gla, r->n, MMU_EXPLICIT);
	else
		mmu_direct_read(v, gla, r->n, MMU_EXPLICIT);
	v->cur = &c->none;
	/* The block goes on with what it has shared before, unless that was dropped. */
	return tlb_passes(v, r, first) && drops == c->stats->slot_drops ? r->again : r->fail;
}

u64 dbt_bail(struct vcpu *v, struct exit *x)
{
	cpu_of(v)->stats->bails++;
	return dbt_plain(v, x->from, (unsigned)x->target, x);
}

/* A direct branch to an address that is not canonical faults at the branch. */
static void check_target(struct vcpu *v, struct exit *x)
{
	if (likely(is_canonical(v->rip)))
		return;
	if (x->call)
		v->r[RSP] += 8;
	*exit_misses(cpu_of(v), x) = EXIT_LINK_NOW;
	v->rip = v->r[17] + x->from_off;
	if (x->from_off != x->target) /* the branch has not been executed */
		count_leave(v, x->from, x->from->insns - 1u);
	vcpu_raise_error(v, EXC_GP, 0);
}

u64 dbt_cross_link(struct vcpu *v, struct exit *x)
{
	struct dbt *d = dbt_of(v);
	u64 reuses = cache_reuses(d), from = v->r[17];

	v->rip = target_of(v, x);
	v->cur = &cpu_of(v)->none;
	check_target(v, x);
	u64 space = mmu_code_space(v, v->rip);
	u64 code = dbt_find(v);
	if (code == d->to.leave || (from ^ v->rip) >> 63)
		return code;
	struct block *to = found(v);
	dbt_lock(d);
	if (reuses == d->reuses && !x->from->dead && to && !to->dead)
		exit_link_across(v, x, to, from ^ space);
	dbt_unlock(d);
	return code;
}

u64 dbt_poll(struct vcpu *v, struct exit *x)
{
	cpu_of(v)->stats->polls++;
	v->rip = target_of(v, x);
	if (x->crosses)
		check_target(v, x);
	return dbt_go_on(v);
}

/* In front of a stretch that is longer than what may still run. */
u64 dbt_stop(struct vcpu *v, struct exit *x)
{
	v->rip = target_of(v, x);
	return leave(v);
}

u64 dbt_poll_site(struct vcpu *v, struct site *s)
{
	cpu_of(v)->stats->polls++;
	v->rip = v->r[17] + s->insn.off;
	if (wants_out(v)) {
		count_leave(v, s->block, s->insn.n);
		return leave(v);
	}
	return dbt_slow(v, s);
}

/* The branch has moved RSP already; one to an address that is not canonical has not happened. */
u64 dbt_miss(struct vcpu *v, struct site *s)
{
	cpu_of(v)->stats->misses++;
	if (unlikely(!is_canonical(v->rip))) {
		if (s->insn.op == OP_RET)
			v->r[RSP] -= 8 + (insn_kind(&s->insn, 0) == OPK_IMM ? (u16)s->insn.imm : 0);
		v->rip = v->r[17] + s->insn.off;
		count_leave(v, s->block, s->insn.n);
		vcpu_raise_error(v, EXC_GP, 0);
	}
	v->cur = &cpu_of(v)->none;
	return dbt_find(v);
}
