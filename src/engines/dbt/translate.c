/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translating a block: decode onward until control leaves for good or the page ends; backwards, find which flags anybody can
 * see; then write host code, instruction by instruction.
 *
 * A flag is dead where every way on overwrites it before something reads it. Exits and whatever src/emulate does of system
 * instructions read all. Faults of memory accesses do not, unless exact_flags is set: an exception frame may then
 * hold a stale value of a flag that the program itself cannot see any more.
 */
#include <stdlib.h>
#include <x86intrin.h>

#include "engines/dbt/count.h"
#include "engines/dbt/region.h"
#include "engines/dbt/translate.h"
#include "machine/control.h"

bool tr_ends_block(const struct insn *i)
{
	switch (i->op) {
	case OP_NONE:
	case OP_JMP:
	case OP_CALL:
	case OP_RET:
	case OP_JMP_FAR:
	case OP_CALL_FAR:
	case OP_RET_FAR:
	case OP_INT:
	case OP_INT1:
	case OP_INT3:
	case OP_IRET:
	case OP_IRETD:
	case OP_IRETQ:
	case OP_SYSCALL:
	case OP_SYSRET:
	case OP_SYSENTER:
	case OP_SYSEXIT:
	case OP_UD0:
	case OP_UD1:
	case OP_UD2:
	case OP_HLT:
	case OP_MWAIT: return true;
	default: return false;
	}
}

/* Decodes at off into t->insn[t->n]; false: the block ends before it. */
static bool take(struct tr *t, const u8 *host, unsigned off)
{
	struct insn *i = &t->insn[t->n];
	unsigned room = (unsigned)MIN(15, PAGE_SIZE - off);
	const u8 *bytes = host + off;
	enum decode_status s = code_decode(t->v, i, &t->info[t->n], bytes, room, off);

	if (s == DECODE_MORE && room < 15) {
		t->end_crosses = true;
		if (t->n || t->b->page2 == ~0ull)
			return false;
		memcpy(t->crossing, bytes, room);
		memcpy(t->crossing + room, t->v->machine->ram + (t->b->page2 << PAGE_SHIFT), 15 - room);
		bytes = t->crossing;
		s = code_decode(t->v, i, &t->info[0], bytes, 15, off);
		t->end_crosses = false;
	}
	if (s != DECODE_OK) {
		if (t->n)
			return false;
		*i = (struct insn){ .off = (u16)off, .len = s == DECODE_MORE ? 15 : 1, .flags = INSN_END };
		t->info[0] = (struct insn_info){ 0 };
	}
	tr_open_flags(t, t->n);
	i->n = (u16)t->n;
	t->bytes[t->n] = bytes;
	return true;
}

bool tr_breaks_at(const struct tr *t, unsigned off)
{
	const struct machine *m = t->v->machine;

	return unlikely(m->debug.breaks) && machine_breaks_at_offset(m, off);
}

/* There is a block already for what comes, and this one goes on there; or a debugger's breakpoint may be there, and no translation is
 * to run on past it. */
static bool block_ends_before(const struct tr *t, unsigned off)
{
	if (tr_breaks_at(t, off))
		return true;
	return place_begins(t->d, t->b->page, off) && block_find(t->d, t->b->page, off, t->b->mode, ~0ull);
}

static void decode_block(struct tr *t, const u8 *host, unsigned off)
{
	unsigned first = off;

	while (off < PAGE_SIZE && t->n < BLOCK_INSNS && (off == first || !block_ends_before(t, off)) &&
	       take(t, host, off)) {
		off += t->insn[t->n].len;
		if (tr_ends_block(&t->insn[t->n++]))
			break;
	}
	t->end = off;
}

/* ---- flags ---- */

static bool may_fault(const struct insn *i)
{
	return (i->flags & INSN_MEM) || i->op >= OP_INT_LIMIT || (i->op >= OP_MOVSB && i->op <= OP_SCASQ) ||
	       (i->op >= OP_PUSH && i->op <= OP_RET) || i->op == OP_DIV || i->op == OP_IDIV;
}

u32 tr_live_before(const struct tr *t, unsigned k)
{
	const struct insn *i = &t->insn[k];
	const struct insn_info *f = &t->info[k];
	u32 live = t->live[k];

	if (!t->native[k] && (i->op < OP_INT_LIMIT || (op_facts[i->op].attr & OP_SYS)))
		return FL_ARITH;
	if (t->d->exact_flags && may_fault(i))
		return FL_ARITH;
	if (t->native[k] == NATIVE_SYSTEM)
		return tr_system_reads_flags(i) ? FL_ARITH : tr_system_writes_flags(i) ? 0 : live;
	return (live & ~(f->flags_written & ~f->flags_maybe)) | f->flags_read;
}

static bool is_exit(const struct insn *i)
{
	return op_facts[i->op].attr & OP_BRANCH;
}

static void find_live(struct tr *t)
{
	u32 live = FL_ARITH;

	for (unsigned k = t->n; k-- > 0;) {
		t->live[k] = live;
		live = tr_live_before(t, k);
		if (is_exit(&t->insn[k]))
			live = FL_ARITH;
	}
	t->b->live_in = live != 0 || t->d->exact_flags; /* lock-step looks at every entry */
}

void tr_save_flags(struct tr *t, unsigned with)
{
	if (t->host_ok && !t->mem_ok && tr_live_before(t, t->k)) {
		tr_clobber(t, with);
		flags_save(t->h, with);
		t->mem_ok = true;
	}
}

void tr_save_flags_spilled(struct tr *t)
{
	if (t->host_ok && !t->mem_ok && tr_live_before(t, t->k)) {
		e_store(t->h, 8, R8, at_gs(WORD(tmp)));
		flags_save(t->h, R8);
		e_load(t->h, 8, R8, at_gs(WORD(tmp)));
		t->mem_ok = true;
	}
}

void tr_want_flags(struct tr *t, unsigned with)
{
	if (!t->host_ok)
		flags_restore(t->h, with);
	t->host_ok = true;
}

void tr_want_flags_spilled(struct tr *t)
{
	if (!t->host_ok) {
		e_store(t->h, 8, RAX, at_gs(WORD(tmp)));
		flags_load(t->h);
		e_load(t->h, 8, RAX, at_gs(WORD(tmp)));
	}
	t->host_ok = true;
}

void tr_flags_written(struct tr *t)
{
	if (t->info[t->k].flags_written & t->live[t->k]) {
		t->host_ok = true;
		t->mem_ok = false;
	}
}

/* ---- instructions that C does ---- */

unsigned tr_uncounted(const struct tr *t)
{
	return (t->region ? t->region->at->first + t->region->at->n : t->n) - (t->k + 1);
}

struct site *tr_site(struct tr *t)
{
	if (!t->site) {
		t->site = meta_alloc(t->d, sizeof(*t->site));
		t->site->insn = t->insn[t->k];
		t->site->insn.n = (u16)(t->n - tr_uncounted(t) - 1);
		t->site->block = t->b;
		t->site->fast = t->native[t->k] != NATIVE_NONE;
	}
	return t->site;
}

void tr_slow_jump_at(struct tr *t, u8 *at)
{
	t->slow_outs = t->outs;
	t->slow[t->nslow++] = at;
}

void tr_slow_jump(struct tr *t, unsigned cc)
{
	tr_slow_jump_at(t, e_jcc(t->h, cc, 0));
}

void tr_load_then(struct tr *t, u64 thunk, u64 then)
{
	e_mov_imm32(t->c, OUT_A, (u32)then);
	u8 *imm = t->c->p - 4;
	e_jmp(t->c, thunk);
	if (!then)
		memcpy(imm, &(u32){ (u32)emit_here(t->c) }, 4);
}

/* The way back from C into the block, where flags are expected where they are now. */
static void resume(struct tr *t)
{
	struct site *s = tr_site(t);
	bool flags = t->host_ok && t->live[t->k], moves = !tr_is_canonical(t);

	s->resume = emit_here(t->h);
	if (t->region || t->native[t->k] == NATIVE_NONE || t->native[t->k] == NATIVE_SYSTEM)
		windows_forget(t);
	else
		shares_resume(t);
	if (tr_ends_block(&t->insn[t->k])) {
		s->resume = 0;
		return;
	}
	if (!flags && !t->uses_vec && !t->uses_x87 && !moves)
		return;
	u64 back = s->resume;
	s->resume = emit_here(t->c);
	if (t->uses_x87)
		tr_load_then(t, t->d->to.load_x87, flags || moves || t->uses_vec ? 0 : back);
	if (t->uses_vec)
		tr_load_then(t, t->d->to.load_vec, flags || moves ? 0 : back);
	if (flags)
		flags_restore(t->c, OUT_A);
	tr_from_canonical(t, t->c);
	if (flags || moves)
		e_jmp(t->c, back);
}

static void finish_slow(struct tr *t)
{
	struct emit *c = t->c;

	if (!t->nslow)
		return;
	for (unsigned k = 0; k < t->nslow; k++)
		e_patch(t->slow[k], c->to_run, emit_here(c));
	u32 outs = t->outs;
	t->outs = t->slow_outs;
	tr_to_canonical(t, c);
	t->outs = outs;
	tr_to_c(c, tr_site(t), t->d->to.slow);
	resume(t);
}

void tr_call(struct tr *t, u64 thunk)
{
	tr_save_flags(t, t->s1);
	tr_to_canonical(t, t->h);
	tr_to_c(t->h, tr_site(t), thunk);
	t->host_ok = false;
	t->mem_ok = true;
	resume(t);
}

void tr_helper(struct tr *t)
{
	tr_call(t, t->d->to.slow);
}

/* ---- the block ---- */

static bool needs_page(const struct insn *i)
{
	return i->op == OP_CALL || (i->base == SLOT_CODE && (i->flags & INSN_MEM));
}

static void choose(struct tr *t)
{
	for (unsigned k = 0; k < t->n; k++) {
		t->native[k] = NATIVE_NONE;
		if (!mode_is_translated(t->b->mode) || (!t->wide && !tr_legacy_allows(t, k)))
			continue;
		if (tr_can_system(t, k))
			t->native[k] = NATIVE_SYSTEM;
		else if (tr_can_special(t, k))
			t->native[k] = NATIVE_SPECIAL;
		else if (tr_can_copy(t, k))
			t->native[k] = NATIVE_COPY;
		else if (tr_can_vector(t, k))
			t->native[k] = NATIVE_VECTOR;
		else if (tr_can_x87(t, k))
			t->native[k] = NATIVE_X87;
		t->uses_vec |= t->native[k] == NATIVE_VECTOR;
		t->uses_x87 |= t->native[k] == NATIVE_X87;
		t->uses_page |= t->native[k] != NATIVE_NONE && needs_page(&t->insn[k]);
	}
}

void tr_insn(struct tr *t)
{
	t->at[t->k] = emit_here(t->h);
	bool done = false;

	t->nslow = 0;
	t->site = NULL;
	switch (t->native[t->k]) {
	case NATIVE_SYSTEM:
		done = tr_system(t);
		windows_forget(t);
		break;
	case NATIVE_SPECIAL: done = tr_special(t); break;
	case NATIVE_COPY: done = tr_copy(t, false, 0); break;
	case NATIVE_VECTOR: done = tr_vector(t); break;
	case NATIVE_X87: done = tr_x87(t); break;
	default: break;
	}
	if (done)
		finish_slow(t);
	else
		tr_helper(t);
}

/* Registers of the kind whose word says so hold the guest's from here on; between blocks. */
static void want_loaded(struct tr *t, size_t loaded, u64 thunk)
{
	e_alu_imm_m(t->h, ALU_CMP, 1, at_gs(loaded), 0);
	e_patch(e_jcc(t->h, CC_Z, 0), t->h->to_run, emit_here(t->c));
	tr_load_then(t, thunk, emit_here(t->h));
}

/* Returns the jump for when it was entered often: the count, which began as 0, carries. */
static u8 *count_entry(struct tr *t, const struct block *b)
{
	if (t->d->heat <= 1)
		return e_jmp(t->h, 0);
	e_alu_imm_m(t->h, ALU_ADD, HEAT_SIZE, at_place(t->d, b->heat), heat_step(t->d));
	return e_jcc(t->h, CC_B, 0);
}

void tr_load_page(struct tr *t, unsigned reg)
{
	e_load(t->h, 8, reg, t->page ? at_place(t->d, t->page) : at_gs(PAGE_AT));
}

/* The block's own word for its page is right from here on. */
static void check_page(struct tr *t)
{
	t->page = touched_alloc(t->d, 8);
	e_load(t->h, 8, OUT_A, at_place(t->d, t->page));
	e_alu_m(t->h, ALU_CMP, 8, OUT_A, at_gs(PAGE_AT));
	e_patch(e_jcc(t->h, CC_NZ, 0), t->h->to_run, emit_here(t->c));
	e_load(t->c, 8, OUT_A, at_gs(PAGE_AT));
	e_store(t->c, 8, OUT_A, at_place(t->d, t->page));
	e_jmp(t->c, emit_here(t->h));
}

/* Entries: with flags in memory; with flags in EFLAGS. */
static void begin(struct tr *t)
{
	struct block *b = t->b;

	b->code = b->code_h = emit_here(t->h);
	t->mem_ok = true;
	if (b->live_in) {
		b->code_h = emit_here(t->c);
		flags_save(t->c, OUT_A);
		e_jmp(t->c, b->code);
	}
	if (!b->hot && !(b->mode & MODE_PLAIN) && mode_is_translated(b->mode)) {
		b->heat = touched_alloc(t->d, HEAT_SIZE);
		b->since = __rdtsc();
		e_patch(count_entry(t, b), t->h->to_run, emit_here(t->c));
		tr_to_c(t->c, b, t->d->to.promote);
	}
	t->page = 0;
	if (t->uses_page)
		check_page(t);
	if (!t->region)
		tr_count_stretch(t, t->n, b->off);
	if (t->uses_x87) /* before the vectors, as it drops them */
		want_loaded(t, WORD(x87_loaded), t->d->to.load_x87);
	if (t->uses_vec)
		want_loaded(t, WORD(vec_loaded), t->d->to.load_vec);
}

/* Control runs on behind the last instruction. */
static void fall_out(struct tr *t)
{
	const struct insn *last = &t->insn[t->n - 1];

	if (tr_ends_block(last))
		return;
	t->k = t->n - 1;
	if (mode_is_translated(t->b->mode)) {
		tr_exit(t, last, t->end, -1);
		return;
	}
	e_load(t->h, 8, OUT_A, at_gs(PAGE_AT));
	e_lea(t->h, 4, OUT_A, at_reg(OUT_A, (s32)t->end));
	e_store(t->h, 8, OUT_A, at_gs(VCPU(rip)));
	e_jmp(t->h, t->d->to.lookup);
}

static void plain(struct tr *t)
{
	find_live(t);
	begin(t);
	shares_begin(t);
	for (t->k = 0; t->k < t->n;) {
		unsigned run = tr_stack_run(t);
		if (run) {
			tr_stack_many(t, run);
			continue;
		}
		tr_insn(t);
		t->k++;
	}
	fall_out(t);
}

/* Bytes of the page that were translated. */
static void note_extent(struct tr *t)
{
	struct block *b = t->b;
	unsigned end = t->end;

	b->first = b->off;
	if (end == b->off) /* undecodable: whatever its bytes become */
		end = b->off + 15u;
	for (unsigned k = 0; k < t->n; k++) {
		b->first = MIN(b->first, t->insn[k].off);
		end = MAX(end, (unsigned)t->insn[k].off + t->insn[k].len);
	}
	b->end = (u16)MIN(end, PAGE_SIZE);
	b->insns = (u16)t->n;
	b->code_end = emit_here(t->h);
}

/* A translation's working memory is large, and used again without being cleared. */
static struct tr *begin_translation(struct vcpu *v, unsigned half)
{
	struct dbt *d = dbt_of(v);
	struct tr *t = d->tr;

	t->v = v;
	t->d = d;
	t->h = &d->hot;
	t->c = &d->cold;
	t->half = half;
	t->outs = CANONICAL_OUTS;
	t->s1 = OUT_A;
	t->s2 = OUT_B;
	t->n = t->k = 0;
	t->sp = 0;
	t->end_crosses = t->uses_vec = t->uses_x87 = t->uses_page = t->host_ok = t->mem_ok = false;
	t->region = NULL;
	t->shares.on = false;
	return t;
}

struct block *translate(struct vcpu *v, u64 gla, u16 mode, const u8 *host, u64 page, u64 page2)
{
	struct dbt *d = dbt_of(v);
	u8 place = vcpu_at(v, PLACE_TRANSLATE);
	struct tr *t = begin_translation(v, gla >> 63);
	struct block *b = t->b = meta_alloc(d, sizeof(*b));
	unsigned off = gla & ~PAGE_MASK;

	u64 hot = emit_here(t->h), cold = emit_here(t->c);

	t->wide = (mode & MODE_CODE_SIZE) == CODE_64;
	*b = (struct block){ .page = page, .page2 = page2, .off = (u16)off, .mode = mode };
	b->hot = mode_is_translated(mode) && !(mode & MODE_PLAIN) && block_is_hot(d, page, off) &&
		 memory_ready_for_region(d);
	if (b->hot && region_find(t, host, off)) {
		choose(t);
		region_choose_outs(t);
		region_live(t);
		begin(t);
		region_emit(t);
		t->end = off + 1u;
	} else {
		decode_block(t, host, off);
		choose(t);
		plain(t);
	}
	note_extent(t);
	block_enter(v, b);
	d->stats.blocks++;
	d->stats.insns += t->n;
	d->stats.bytes += b->code_end - b->code;
	if (unlikely(d->tells))
		tell_translation(t, gla, hot, cold);
	vcpu_at(v, place);
	return b;
}

struct tr *tr_create(void)
{
	return calloc(1, sizeof(struct tr));
}
