/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software TLB's upkeep: contexts by PCID, views by privilege, filling and flushing (SDM vol. 3, 4.10).
 *
 * An empty tag is a page that belongs to another pair, so that the one compare of the fast path fails. A TLB may forget
 * what it likes: flushes here sometimes take more than the architecture asks, never less.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mmu/mmu-internal.h"

#define PIECE_SHIFT 21
#define HUGE_PAGE   (1ul << PIECE_SHIFT)
#define HOT_FILLS   4096 /* of a piece, that becomes a huge page of the host's */

static void entry_clear(struct tlb_entry *e, unsigned slot)
{
	e->rd = e->wr = tlb_empty_tag(slot);
	e->delta = -e->rd;
	e->info = 0;
}

static void view_clear(struct tlb_entry *view)
{
	for (unsigned s = 0; s < TLB_SIZE; s++)
		entry_clear(&view[s], s);
}

/* 0 stands for no mark: writers.c. */
static void count_drop(_Atomic u32 *drops)
{
	u32 next = (*drops + 1) & (UINT32_MAX >> 1);

	atomic_store_explicit(drops, next ? next : 1, memory_order_release);
}

void mmu_dropped(struct vcpu *v, u64 gla, enum mmu_drop what)
{
	struct mmu *m = v->mmu;

	if (!m->hooks || !m->hooks->dropped)
		return;
	m->hooks->dropped(v, gla, what);
	if (what == MMU_DROP_LOCAL || what == MMU_DROP_ALL)
		count_drop(&m->drops[0]);
	if (what == MMU_DROP_ALL)
		count_drop(&m->drops[1]);
}

/* ---- code spaces ---- */

static unsigned filter_bit(u64 gla)
{
	return (unsigned)((gla >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> (64 - FILTER_BITS));
}

static void publish_spaces(struct vcpu *v)
{
	struct mmu *m = v->mmu;
	u64 user = !vcpu_is_supervisor(v);

	v->code_space[0] = ((u64)m->now->space << 1 | user) << 48;
	v->code_space[1] = ((u64)m->high_space << 1 | user) << 48;
}

/* A number that nothing keyed so far carries. There are 15 bits: when they run out, all begin again. */
static u16 new_space(struct vcpu *v)
{
	struct mmu *m = v->mmu;

	if (++m->last_space < 0x8000)
		return m->last_space;
	if (m->hooks)
		m->hooks->spaces_reset(v);
	m->last_space = 0;
	for (unsigned k = 0; k < TLB_CONTEXTS; k++)
		m->context[k].space = ++m->last_space;
	m->high_space = ++m->last_space;
	return ++m->last_space;
}

static void low_space_changed(struct vcpu *v, struct tlb_context *c)
{
	memset(c->executed, 0, sizeof(c->executed));
	c->space = new_space(v);
}

static void high_space_changed(struct vcpu *v)
{
	struct mmu *m = v->mmu;

	memset(m->high_executed, 0, sizeof(m->high_executed));
	m->high_local = false;
	m->high_space = new_space(v);
}

void fetch_note(struct vcpu *v, u64 gla, bool global)
{
	struct mmu *m = v->mmu;
	unsigned bit = filter_bit(gla);

	if (gla >> 63) {
		m->high_executed[bit / 64] |= BIT(bit % 64);
		m->high_local |= !global;
	} else {
		m->now->executed[bit / 64] |= BIT(bit % 64);
		m->now->low_global |= global;
	}
}

/* ---- filling ---- */

struct tlb_entry *tlb_view(struct vcpu *v, enum mmu_access how)
{
	if (how == MMU_EXPLICIT)
		return v->tlb;
	return context_view(v->mmu->now, how == MMU_USER ? VIEW_USER : VIEW_KERNEL);
}

/* Keys of the filter: pieces of 2 MiB, and gigabytes. */
static u64 large_piece(u64 gla)
{
	return gla >> LARGE_SHIFT;
}
static u64 large_gigabyte(u64 gla)
{
	return ~(gla >> 30);
}
static unsigned large_bit(u64 key)
{
	return (unsigned)(key * 0x9e3779b97f4a7c15ull >> (64 - LARGE_BITS));
}
static bool large_has(const struct tlb_context *c, u64 key)
{
	unsigned bit = large_bit(key);

	return c->large[bit / 64] >> (bit % 64) & 1;
}

void tlb_note_large(struct tlb_context *c, u64 gla, unsigned shift)
{
	unsigned bit = large_bit(shift == 30 ? large_gigabyte(gla) : large_piece(gla));

	c->large[bit / 64] |= BIT(bit % 64);
	c->largest = MAX(c->largest, (u8)shift);
}

/* While entries change places: one of them may be in neither. The translator's code does the same. */
static void begin_moving(struct vcpu *v)
{
	atomic_store_explicit(&v->tlb_moves, v->tlb_moves + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
}

static void end_moving(struct vcpu *v)
{
	atomic_store_explicit(&v->tlb_moves, v->tlb_moves + 1, memory_order_release);
}

/* What is entered again and again is accessed all over, so the host's TLB, and the tables behind it, are short as well. */
static void note_fill(struct vcpu *v, const u8 *host)
{
	u64 offset = (u64)(host - v->machine->ram);
	u16 *fills = &v->mmu->piece_fills[offset >> PIECE_SHIFT];

	if (unlikely(*fills < HOT_FILLS) && ++*fills == HOT_FILLS)
		ram_make_huge(v->machine, offset);
}

struct tlb_entry *tlb_find(struct vcpu *v, struct tlb_entry *view, u64 gla)
{
	struct tlb_entry *e = tlb_slot(view, gla), *o = tlb_other(view, e);

	if (!tlb_hits(e->rd, gla, 1) && tlb_hits(o->rd, gla, 1)) {
		struct tlb_entry was = *e;
		begin_moving(v);
		*e = *o;
		*o = was;
		end_moving(v);
	}
	return e;
}

/* In a page's slot. What lies there, perhaps nothing, replaces what was displaced before, but for the page itself. */
static void make_room(struct vcpu *v, struct tlb_entry *view, struct tlb_entry *e, u64 page)
{
	struct tlb_entry *o = tlb_other(view, e);

	if (e->rd == page || (!tlb_host(e) && o->rd != page)) {
		tlb_note_evicted(v, e);
		return;
	}
	tlb_note_evicted(v, o);
	begin_moving(v);
	*o = *e;
	entry_clear(e, (unsigned)(e - view));
	end_moving(v);
}

void tlb_fill(struct vcpu *v, u64 gla, enum mmu_access how, const struct walk *w, u8 *page_host)
{
	struct mmu *m = v->mmu;
	struct tlb_context *c = m->now;
	struct tlb_entry *view = tlb_view(v, how);
	u64 page = gla & PAGE_MASK;

	if (view == m->none || (m->watching && watch_on_page(v, gla)))
		return;
	struct tlb_entry *e = tlb_slot(view, gla);
	unsigned slot = (unsigned)(e - view);
	make_room(v, view, e, page);
	e->rd = page;
	e->wr = tlb_empty_tag(slot);
	bool told = v->machine->tap && v->machine->tap->stores; /* of each store */
	if (w->writable && likely(!told) && page_writable(v, ram_page_index(v->machine, page_host)) == WRITABLE_FAST)
		e->wr = page;
	e->delta = (u64)page_host - page;
	ram_use(v->machine, page_host);
	note_fill(v, page_host);
	if (e->wr == page)
		tlb_note_writer(v, e);
	e->info = (w->gpa & PAGE_MASK) | (w->global ? TLB_GLOBAL : 0) | (w->shift > 12 ? TLB_LARGE : 0);
	if (w->shift > 12)
		tlb_note_large(c, gla, w->shift);
	c->low_global |= w->global && !(gla >> 63);
	unsigned which = (unsigned)((view - c->entry) / TLB_SIZE);
	v->stats.tlb_fills[which]++;
	if (!w->global && c->fills < ARRAY_SIZE(c->filled))
		c->filled[c->fills] = (u16)(which << TLB_BITS | slot % TLB_HALF);
	c->fills += !w->global && c->fills <= ARRAY_SIZE(c->filled);
}

/* ---- flushing ---- */

/* What is kept beside the entries. */
static void spots_clear(struct tlb_context *c)
{
	for (unsigned k = 0; k < SPOTS; k++)
		c->spot[k].page = 1;
}

static void fetch_clear(struct tlb_context *c)
{
	for (unsigned k = 0; k < FETCH_SIZE; k++)
		c->fetch[0][k].page = c->fetch[1][k].page = 1;
}

static void clear_local(struct tlb_context *c, unsigned k)
{
	if (!(c->entry[k].info & TLB_GLOBAL))
		entry_clear(&c->entry[k], k & (TLB_SIZE - 1));
}

static void context_flush_data(struct vcpu *v, struct tlb_context *c)
{
	if (c->fills <= ARRAY_SIZE(c->filled)) {
		for (unsigned k = 0; k < c->fills; k++) {
			clear_local(c, c->filled[k]);
			clear_local(c, c->filled[k] + TLB_HALF);
		}
	} else {
		for (unsigned k = 0; k < NR_VIEWS * TLB_SIZE; k++)
			clear_local(c, k);
	}
	c->fills = 0;
	fetch_clear(c);
	spots_clear(c);
	mmu_dropped(v, 0, MMU_DROP_LOCAL);
}

static void context_flush_local(struct vcpu *v, struct tlb_context *c)
{
	context_flush_data(v, c);
	low_space_changed(v, c);
	if (v->mmu->high_local)
		high_space_changed(v);
}

static void context_flush_all_data(struct vcpu *v, struct tlb_context *c)
{
	for (unsigned k = 0; k < NR_VIEWS; k++)
		view_clear(context_view(c, k));
	memset(c->large, 0, sizeof(c->large));
	c->largest = 0;
	c->low_global = false;
	c->fills = 0;
	fetch_clear(c);
	spots_clear(c);
	mmu_dropped(v, 0, MMU_DROP_ALL);
}

static void context_flush_all(struct vcpu *v, struct tlb_context *c)
{
	context_flush_all_data(v, c);
	low_space_changed(v, c);
}

void mmu_flush_all(struct vcpu *v)
{
	struct mmu *m = v->mmu;

	if (!m)
		return;
	for (unsigned k = 0; k < TLB_CONTEXTS; k++)
		if (m->context[k].used)
			context_flush_all(v, &m->context[k]);
	high_space_changed(v);
	mmu_update_view(v);
}

/* Whether gla may lie in a large page that was entered; log2 of its size, or of a larger one's, if so. */
static unsigned large_at(const struct tlb_context *c, u64 gla)
{
	bool is = c->largest && large_has(c, large_piece(gla));

	if (c->largest == 22)
		is |= large_has(c, large_piece(gla ^ BIT(LARGE_SHIFT)));
	if (c->largest == 30)
		is |= large_has(c, large_gigabyte(gla));
	return is ? c->largest : 0;
}

static void drop_large(struct tlb_context *c, u64 gla, unsigned shift)
{
	/* The slots of one large page follow each other, or it takes all; and those half a view away. */
	unsigned n = shift <= 22 ? MIN(1u << (shift - PAGE_SHIFT), TLB_HALF) : TLB_HALF;
	unsigned first = (unsigned)(gla >> PAGE_SHIFT) & (TLB_HALF - 1) & ~(n - 1);

	for (unsigned k = 0; k < 2 * NR_VIEWS * n; k++) {
		unsigned slot = first + k % n + k / n % 2 * TLB_HALF;
		struct tlb_entry *e = &context_view(c, k / n / 2)[slot];
		if ((e->info & TLB_LARGE) && (e->rd >> shift == gla >> shift || e->wr >> shift == gla >> shift))
			entry_clear(e, slot);
	}
	fetch_clear(c);
}

/* Whether it was large. */
static bool context_flush_page(struct vcpu *v, struct tlb_context *c, u64 gla)
{
	unsigned bit = filter_bit(gla), fetch_slot = gla >> PAGE_SHIFT & (FETCH_SIZE - 1), large = large_at(c, gla);

	for (unsigned w = 0; w < NR_VIEWS; w++) {
		struct tlb_entry *e = tlb_find(v, context_view(c, w), gla);
		if (tlb_hits(e->rd, gla, 1) || tlb_hits(e->wr, gla, 1))
			entry_clear(e, (unsigned)(e - context_view(c, w)));
	}
	c->fetch[0][fetch_slot].page = c->fetch[1][fetch_slot].page = 1;
	spots_clear(c);
	if (large)
		drop_large(c, gla, large);
	if (!(gla >> 63) && (large || (c->executed[bit / 64] & BIT(bit % 64))))
		low_space_changed(v, c);
	return large;
}

/* Out of one context, or none; a global page out of all. */
static void flush_page(struct vcpu *v, struct tlb_context *of, u64 gla)
{
	struct mmu *m = v->mmu;
	unsigned bit = filter_bit(gla);
	bool large = false;

	for (unsigned k = 0; k < TLB_CONTEXTS; k++) {
		struct tlb_context *c = &m->context[k];
		if (c->used && (c == of || gla >> 63 || c->low_global))
			large |= context_flush_page(v, c, gla);
	}
	mmu_dropped(v, gla, large ? MMU_DROP_ALL : MMU_DROP_PAGE);
	if ((gla >> 63) && (large || (m->high_executed[bit / 64] & BIT(bit % 64))))
		high_space_changed(v);
	publish_spaces(v);
}

/* INVLPG is about this PCID's pages, and global ones (SDM vol. 3, 4.10.4.1). */
void mmu_flush_page(struct vcpu *v, u64 gla)
{
	flush_page(v, v->mmu->now, gla);
}

/* ---- contexts ---- */

static struct tlb_context *context_find(struct mmu *m, u16 pcid)
{
	for (unsigned k = 0; k < TLB_CONTEXTS; k++)
		if (m->context[k].used && m->context[k].pcid == pcid)
			return &m->context[k];
	return NULL;
}

/* The context of the PCID that was not used for longest, emptied of its own entries; global ones serve any PCID. */
static struct tlb_context *context_take(struct vcpu *v, u16 pcid)
{
	struct mmu *m = v->mmu;
	struct tlb_context *c = &m->context[0];

	for (unsigned k = 1; k < TLB_CONTEXTS; k++)
		if (m->context[k].used < c->used)
			c = &m->context[k];
	if (c->used)
		context_flush_local(v, c);
	else
		context_flush_all(v, c);
	c->pcid = pcid;
	return c;
}

static void context_enter(struct vcpu *v, u16 pcid, bool keep)
{
	struct mmu *m = v->mmu;
	struct tlb_context *c = context_find(m, pcid);

	if (c && !keep)
		context_flush_local(v, c);
	if (!c)
		c = context_take(v, pcid);
	if (m->high_local && c != m->now)
		high_space_changed(v);
	if (c != m->now)
		mmu_dropped(v, 0, MMU_DROP_LOCAL);
	c->used = ++m->stamp;
	m->now = c;
	mmu_update_view(v);
}

/* ---- contexts by root, where all changes of tables are seen: tables.c ---- */

struct seen { /* of the machine's counts */
	u64 low, high, low_code, high_code;
};

/* Changes of code are counted first. */
static struct seen look(const struct machine *m)
{
	struct seen s;

	s.low = atomic_load(&m->table_changes[0]);
	s.high = atomic_load(&m->table_changes[1]);
	s.low_code = atomic_load(&m->code_changes[0]);
	s.high_code = atomic_load(&m->code_changes[1]);
	return s;
}

static _Atomic u64 *root_ended(struct machine *m, u64 root)
{
	const u8 *host = ram_ptr(m, root & PAGE_MASK, PAGE_SIZE);

	return &m->roots_ended[host ? ram_page_index(m, host) % ROOT_HASHES : 0];
}

static void context_is_as(struct vcpu *v, struct tlb_context *c, const struct seen *s)
{
	if (c->seen_code != s->low_code)
		low_space_changed(v, c);
	c->seen = s->low;
	c->seen_code = s->low_code;
}

static void flush_stale_context(struct vcpu *v, struct tlb_context *c, const struct seen *s)
{
	context_flush_data(v, c);
	context_is_as(v, c, s);
}

static void flush_stale_all(struct vcpu *v, const struct seen *s)
{
	struct mmu *m = v->mmu;

	for (unsigned k = 0; k < TLB_CONTEXTS; k++) {
		if (!m->context[k].used)
			continue;
		context_flush_all_data(v, &m->context[k]);
		context_is_as(v, &m->context[k], s);
	}
	if (m->seen_high_code != s->high_code)
		high_space_changed(v);
	m->seen_high = s->high;
	m->seen_high_code = s->high_code;
}

void mmu_flush_stale(struct vcpu *v)
{
	struct seen s = look(v->machine);

	if (v->mmu->seen_high != s.high)
		flush_stale_all(v, &s);
	else if (v->mmu->now->seen != s.low)
		flush_stale_context(v, v->mmu->now, &s);
	publish_spaces(v);
}

static struct tlb_context *context_of_root(struct mmu *m, u64 root)
{
	for (unsigned k = 0; k < TLB_CONTEXTS; k++)
		if (m->context[k].used && m->context[k].root == root)
			return &m->context[k];
	return NULL;
}

/* Whether two roots have the same upper half; what is not RAM has none. */
static bool same_upper_half(struct machine *m, u64 a, u64 b)
{
	const u64 *p = (const u64 *)ram_ptr(m, a & PAGE_MASK, PAGE_SIZE),
		  *q = (const u64 *)ram_ptr(m, b & PAGE_MASK, PAGE_SIZE);
	u64 differ = 0;

	if (!p || !q)
		return false;
	for (unsigned k = 256; k < 512; k++)
		differ |= (p[k] ^ q[k]) & ~(u64)(PTE_A | PTE_D);
	return !differ;
}

static struct tlb_context *take_for_root(struct vcpu *v, u64 root, const struct seen *s)
{
	struct tlb_context *c = context_take(v, 0);

	c->root = root;
	c->user_root = 0;
	c->seen = s->low;
	c->seen_code = s->low_code;
	return c;
}

/* The programs' root may follow: mmu_update_view() looks whether it is the context's. */
static void set_root(struct vcpu *v, u64 root)
{
	struct mmu *m = v->mmu;
	struct tlb_context *c = context_of_root(m, root);
	u64 ended = atomic_load(root_ended(v->machine, root));
	struct seen s = look(v->machine);

	if (!same_upper_half(v->machine, m->now->root, root)) {
		high_space_changed(v);
		flush_stale_all(v, &s);
	}
	if (!c)
		c = take_for_root(v, root, &s);
	else if (c->seen_root != ended)
		context_flush_local(v, c);
	else if (c->seen != s.low)
		flush_stale_context(v, c, &s);
	c->seen_root = ended;
	if (m->high_local && c != m->now)
		high_space_changed(v);
	if (c != m->now)
		mmu_dropped(v, 0, MMU_DROP_LOCAL);
	c->used = ++m->stamp;
	m->now = c;
	mmu_update_view(v);
}

/* What programs see is another root's, or the same frame's in a new life. */
static void check_user_root(struct vcpu *v)
{
	struct tlb_context *c = v->mmu->now;
	u64 ended = v->user_cr3 ? atomic_load(root_ended(v->machine, v->user_cr3)) : 0;

	if (likely(c->user_root == v->user_cr3 && c->seen_user_root == ended))
		return;
	c->user_root = v->user_cr3;
	c->seen_user_root = ended;
	context_flush_local(v, c);
}

void mmu_set_cr3(struct vcpu *v, u64 cr3)
{
	if (unlikely(v->machine->deprivileged != NULL)) {
		v->cr3 = cr3;
		set_root(v, cr3);
		return;
	}
	bool pcide = v->cr4 & CR4_PCIDE;
	u64 value = pcide ? cr3 & ~BIT(63) : cr3;

	if ((v->cr0 & CR0_PG) && (v->cr4 & CR4_PAE) && !(v->efer & EFER_LMA))
		pdptes_load(v, value); /* a #GP leaves CR3 as it was */
	v->cr3 = value;
	context_enter(v, pcide ? cr3 & 0xfff : 0, pcide && (cr3 >> 63));
}

void mmu_invpcid(struct vcpu *v, unsigned type, u16 pcid, u64 gla)
{
	struct mmu *m = v->mmu;
	struct tlb_context *c;

	switch (type) {
	case 0: flush_page(v, context_find(m, pcid), gla); return;
	case 1:
		c = context_find(m, pcid);
		if (c)
			context_flush_local(v, c);
		break;
	case 2: mmu_flush_all(v); return;
	default:
		for (unsigned k = 0; k < TLB_CONTEXTS; k++)
			if (m->context[k].used)
				context_flush_local(v, &m->context[k]);
	}
	publish_spaces(v);
}

void mmu_update_view(struct vcpu *v)
{
	struct mmu *m = v->mmu;

	if (!m)
		return;
	bool user = !vcpu_is_supervisor(v);
	if (user && unlikely(v->machine->deprivileged != NULL))
		check_user_root(v);
	if (user && (v->tlb == m->none) != (v->cr0 & CR0_AM && v->rflags & FL_AC))
		mmu_dropped(v, 0, MMU_DROP_ALL);
	if (user)
		v->tlb = (v->cr0 & CR0_AM) && (v->rflags & FL_AC) ? m->none : context_view(m->now, VIEW_USER);
	else
		v->tlb = context_view(m->now,
				      (v->cr4 & CR4_SMAP) && !(v->rflags & FL_AC) ? VIEW_KERNEL : VIEW_KERNEL_NO_SMAP);
	publish_spaces(v);
}

void mmu_set_hooks(struct vcpu *v, const struct mmu_hooks *hooks)
{
	v->mmu->hooks = hooks;
}

static void destroy(struct mmu *m)
{
	free(m->writer);
	free(m->piece_fills);
	free(m->evicted);
	free(m);
}

/* The TLB is looked up by every access to memory: in a huge page its entries cost the host's TLB one of its own. */
static struct mmu *allocate(u64 ram_size, bool told)
{
	size_t size = (sizeof(struct mmu) + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	struct mmu *m = aligned_alloc(HUGE_PAGE, size);

	if (!m)
		return NULL;
	madvise(m, size, MADV_HUGEPAGE);
	/* Zeros, and of contexts that are never used no memory. */
	if (madvise(m, size, MADV_DONTNEED))
		memset(m, 0, sizeof(*m));
	m->writer = calloc(ram_size >> PAGE_SHIFT, sizeof(*m->writer));
	m->piece_fills = calloc((ram_size >> PIECE_SHIFT) + 1, sizeof(*m->piece_fills));
	if (told)
		m->evicted = calloc(ram_size >> PAGE_SHIFT, sizeof(*m->evicted));
	if (m->writer && m->piece_fills && (m->evicted || !told))
		return m;
	destroy(m);
	return NULL;
}

int mmu_create(struct vcpu *v, struct error *err)
{
	struct mmu *m = allocate(v->machine->low_size + v->machine->high_size, v->machine->write_cpus);

	if (!m)
		return error_set(err, ENOMEM, "no memory for the TLB of CPU %u", v->id);
	pthread_mutex_init(&m->mail.lock, NULL);
	pthread_mutex_init(&m->flushes.lock, NULL);
	m->epoch = EPOCH_AWAY;
	m->epoch_seen = atomic_load(&v->machine->code_epoch);
	for (unsigned k = 0; k < RECENT_WRITES; k++)
		m->recent[k] = ~0ull;
	m->drops[0] = m->drops[1] = 1;
	v->mmu = m;
	view_clear(m->none);
	context_enter(v, 0, false);
	high_space_changed(v);
	mmu_update_watchpoints(v);
	mmu_update_view(v);
	return 0;
}

void mmu_destroy(struct vcpu *v)
{
	if (v->mmu) {
		pthread_mutex_destroy(&v->mmu->mail.lock);
		pthread_mutex_destroy(&v->mmu->flushes.lock);
		destroy(v->mmu);
	}
	v->mmu = NULL;
	v->tlb = NULL;
}
