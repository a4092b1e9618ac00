/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may write to a page of RAM fast: which entries of a vCPU's TLB, what its engine may still remember of those that are gone, and stores
 * that are under way. Asked on the day that the page gets decoded code (code.c) or becomes a page table (tables.c), by this vCPU or,
 * of page tables, another one.
 */
#include "mmu/mmu-internal.h"

/* Another vCPU that makes the page a table sees it here, or it is seen to be one after this. */
static void note_recent(struct vcpu *v, u64 index)
{
	struct mmu *m = v->mmu;
	_Atomic u64 *last = &m->recent[(m->recent_next - 1) % RECENT_WRITES];

	if (!(atomic_load_explicit(&v->machine->write_cpus[index], memory_order_relaxed) & BIT(v->id)))
		atomic_fetch_or(&v->machine->write_cpus[index], BIT(v->id));
	if (atomic_load_explicit(last, memory_order_relaxed) != index)
		atomic_exchange(&m->recent[m->recent_next++ % RECENT_WRITES], index);
}

enum writable page_writable(struct vcpu *v, u64 index)
{
	struct machine *m = v->machine;
	_Atomic u8 *page = &m->code_pages[index];

	if (unlikely(m->write_cpus))
		note_recent(v, index);
	u8 state = atomic_load_explicit(page, memory_order_relaxed);
	if (state == 0)
		state = atomic_fetch_or(page, PAGE_WRITTEN);
	if (unlikely(state & PAGE_TABLE))
		return WRITABLE_NOT;
	return state & PAGE_HAS_CODE ? WRITABLE_CODE : WRITABLE_FAST;
}

/* The first entry of a pair; the other one lies TLB_HALF behind it. */
static struct tlb_entry *numbered(struct mmu *m, unsigned n)
{
	return context_view(&m->context[n / (NR_VIEWS * TLB_HALF)], n / TLB_HALF % NR_VIEWS) + n % TLB_HALF;
}

static unsigned number_of(const struct mmu *m, const struct tlb_entry *e)
{
	unsigned n = (unsigned)(e - m->now->entry);

	return (unsigned)(m->now - m->context) * NR_VIEWS * TLB_HALF + n / TLB_SIZE * TLB_HALF + n % TLB_HALF;
}

static bool writes_to(const struct tlb_entry *e, const u8 *host)
{
	return tlb_host(e) == host && e->wr == e->rd;
}

static bool pair_writes_to(const struct tlb_entry *pair, const u8 *host)
{
	return writes_to(pair, host) || writes_to(pair + TLB_HALF, host);
}

void tlb_note_writer(struct vcpu *v, const struct tlb_entry *e)
{
	struct mmu *m = v->mmu;
	u32 *writer = m->writer[ram_page_index(v->machine, tlb_host(e))], *room = NULL;
	unsigned n = number_of(m, e);

	if (writer[0] == MANY_WRITERS)
		return;
	for (unsigned k = 0; k < WRITERS; k++) {
		if (writer[k] == n + 1)
			return;
		const struct tlb_entry *pair = writer[k] ? numbered(m, writer[k] - 1u) : NULL;
		if (!pair || !pair_writes_to(pair, tlb_host(e)))
			room = &writer[k];
	}
	if (room)
		*room = n + 1;
	else
		writer[0] = MANY_WRITERS;
}

static void drop_writer(struct mmu *m, unsigned n, const u8 *host)
{
	struct tlb_entry *pair = numbered(m, n);

	for (unsigned k = 0; k < TLB_SIZE; k += TLB_HALF)
		if (writes_to(&pair[k], host))
			pair[k].wr = tlb_empty_tag(n % TLB_HALF);
}

static u32 evicted_mark(const struct mmu *m, bool global)
{
	return atomic_load_explicit(&m->drops[global], memory_order_relaxed) << 1 | global;
}

/* The order matters: what has left `recent` has been noted as a writer before. */
bool tlb_may_write(const struct vcpu *o, u64 page_index)
{
	struct mmu *m = o->mmu;
	const u8 *host = o->machine->ram + (page_index << PAGE_SHIFT);
	u32 mark, moves, n;

	if (!m->evicted)
		return true;
	for (unsigned k = 0; k < RECENT_WRITES; k++)
		if (atomic_load_explicit(&m->recent[k], memory_order_relaxed) == page_index)
			return true;
	atomic_thread_fence(memory_order_acquire);
	moves = atomic_load(&o->tlb_moves);
	for (unsigned k = 0; k < WRITERS; k++) {
		n = __atomic_load_n(&m->writer[page_index][k], __ATOMIC_RELAXED);
		if (n == MANY_WRITERS || (n && pair_writes_to(numbered(m, n - 1u), host)))
			return true;
	}
	/* While the entries of a pair change places, one of them is in neither. */
	atomic_thread_fence(memory_order_acquire);
	if (moves & 1 || atomic_load_explicit(&o->tlb_moves, memory_order_relaxed) != moves)
		return true;
	/* An entry that was found to be another page's: tlb_note_evicted() came before. */
	atomic_thread_fence(memory_order_acquire);
	n = __atomic_load_n(&m->writer[page_index][0], __ATOMIC_RELAXED);
	mark = __atomic_load_n(&m->evicted[page_index], __ATOMIC_RELAXED);
	return n == MANY_WRITERS || (mark && mark == evicted_mark(m, mark & 1));
}

/*
 * Engines remember translations of their own, which outlast the entry that they are copies of: until they are told to drop all, or
 * those that are not global. So a page is marked with the number of times that has been.
 */
void tlb_note_evicted(struct vcpu *v, const struct tlb_entry *e)
{
	struct mmu *m = v->mmu;
	u32 *mark, was;
	bool global = e->info & TLB_GLOBAL;
	u64 page;

	if (likely(!m->evicted) || !m->hooks || !m->hooks->dropped || !tlb_host(e) || e->wr != e->rd)
		return;
	page = ram_page_index(v->machine, tlb_host(e));
	mark = &m->evicted[page];
	was = *mark;
	/* Copies of both kinds have no mark. */
	if (was && (was & 1) != global && was == evicted_mark(m, was & 1))
		__atomic_store_n(&m->writer[page][0], MANY_WRITERS, __ATOMIC_RELAXED);
	__atomic_store_n(mark, evicted_mark(m, global), __ATOMIC_RELAXED);
	atomic_thread_fence(memory_order_release);
}

void tlb_drop_writer(struct vcpu *v, u64 page_index)
{
	struct mmu *m = v->mmu;
	const u8 *host = v->machine->ram + (page_index << PAGE_SHIFT);
	u32 *writer = m->writer[page_index];
	bool many = writer[0] == MANY_WRITERS;

	for (unsigned n = 0; many && n < TLB_CONTEXTS * NR_VIEWS * TLB_HALF; n++)
		drop_writer(m, n, host);
	for (unsigned k = 0; k < WRITERS; k++) {
		if (writer[k] && !many)
			drop_writer(m, writer[k] - 1u, host);
		writer[k] = 0;
	}
	mmu_dropped(v, page_index, MMU_DROP_WRITES);
}
