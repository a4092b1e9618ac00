/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages with decoded code, and who must hear of a store to one. mmu.h has the contract.
 *
 * Why nothing is missed: a vCPU that will store fast sets PAGE_WRITTEN and looks at PAGE_HAS_CODE in one atomic operation, and
 * marking sets the one and takes the other in one. So either the writer sees the code and goes the slow way, or the marker sees
 * the writer, posts EV_WRITES, and waits (mmu_code_settled) until the writer has passed a point between two instructions. On the
 * slow way the bytes are stored first and the owners looked up after a fence; marking enters the owner before it reads the bytes.
 */
#include "mmu/mmu-internal.h"

static void post_others(struct vcpu *v, u32 events)
{
	struct machine *m = v->machine;

	for (unsigned k = 0; k < m->config.cpus; k++)
		if (m->vcpu[k] && m->vcpu[k] != v)
			vcpu_post(m->vcpu[k], events);
}

static void drop_context_writes(struct machine *m, struct tlb_context *c)
{
	for (unsigned k = 0; k < NR_VIEWS * TLB_SIZE; k++) {
		struct tlb_entry *e = &c->entry[k];

		if (tlb_host(e) && e->wr == e->rd &&
		    (m->code_pages[ram_page_index(m, tlb_host(e))] & (PAGE_HAS_CODE | PAGE_TABLE)))
			e->wr = tlb_empty_tag(k & (TLB_SIZE - 1));
	}
}

void mmu_drop_writes(struct vcpu *v)
{
	u64 epoch = atomic_load(&v->machine->code_epoch);

	mmu_dropped(v, 0, MMU_DROP_ALL);
	for (unsigned k = 0; k < TLB_CONTEXTS; k++)
		if (v->mmu->context[k].used)
			drop_context_writes(v->machine, &v->mmu->context[k]);
	v->mmu->epoch_seen = epoch;
	atomic_store(&v->mmu->epoch, epoch);
}

/* v has dropped what the number asks it for. If there is more before it, it will hear. */
void code_epoch_seen(struct vcpu *v, u64 epoch)
{
	if (v->mmu->epoch_seen != epoch - 1) {
		vcpu_post(v, EV_WRITES);
		return;
	}
	v->mmu->epoch_seen = epoch;
	if (atomic_load(&v->mmu->epoch) != EPOCH_AWAY)
		atomic_store(&v->mmu->epoch, epoch);
}

static bool is_shared(const struct vcpu *v)
{
	return v->mmu->hooks && v->mmu->hooks->shared;
}

/* Whose bits a page with code of v's has. */
static u64 owners(const struct vcpu *v)
{
	return is_shared(v) ? ~0ull >> (64 - v->machine->config.cpus) : BIT(v->id);
}

u64 mmu_mark_code(struct vcpu *v, u64 page_index, bool has_code)
{
	struct machine *m = v->machine;
	u64 cpus = owners(v), epoch = 0;
	u8 old = 0;

	pthread_mutex_lock(&m->code_lock);
	if (!has_code) {
		/* Others may not have dropped their fast writes yet, and will not once it has no code. */
		if (!(atomic_fetch_and(&m->code_cpus[page_index], ~cpus) & ~cpus)) {
			atomic_fetch_or(&m->code_pages[page_index], PAGE_WRITTEN);
			atomic_fetch_and(&m->code_pages[page_index], (u8)~PAGE_HAS_CODE);
		}
	} else {
		atomic_fetch_or(&m->code_cpus[page_index], cpus);
		old = atomic_fetch_or(&m->code_pages[page_index], PAGE_HAS_CODE);
		atomic_fetch_and(&m->code_pages[page_index], (u8)~PAGE_WRITTEN);
		if (old & PAGE_WRITTEN)
			epoch = atomic_fetch_add(&m->code_epoch, 1) + 1;
	}
	pthread_mutex_unlock(&m->code_lock);
	if (old & PAGE_WRITTEN) {
		tlb_drop_writer(v, page_index);
		code_epoch_seen(v, epoch);
		post_others(v, EV_WRITES);
	}
	/* A page that another vCPU marked before may not be settled either: the latest number covers it. */
	return atomic_load(&m->code_epoch);
}

bool mmu_code_settled(const struct vcpu *v, u64 epoch)
{
	const struct machine *m = v->machine;

	/* Where another vCPU may have marked it. What v itself did is done. */
	if (is_shared(v) && atomic_load(&v->events) & EV_WRITES)
		return false;
	for (unsigned k = 0; k < m->config.cpus; k++) {
		const struct vcpu *o = m->vcpu[k];

		if (o != v && o && o->mmu && atomic_load(&o->mmu->epoch) < epoch)
			return false;
	}
	return true;
}

/* Whoever enters looks at its events before it touches memory: those posted to it while it was away count. */
void mmu_enter(struct vcpu *v)
{
	atomic_store(&v->mmu->epoch, v->mmu->epoch_seen);
}

void mmu_leave(struct vcpu *v)
{
	atomic_store(&v->mmu->epoch, EPOCH_AWAY);
}

/* ---- mail ---- */

/* Locked. One more range of a page that is in already makes its range longer. */
static void put(struct code_mail *b, u64 page, unsigned first, unsigned end)
{
	for (unsigned k = 0; k < b->items; k++) {
		if (b->item[k].page != page)
			continue;
		b->item[k].first = MIN(b->item[k].first, first);
		b->item[k].end = MAX(b->item[k].end, end);
		return;
	}
	if (b->items == CODE_MAILS) {
		b->lost = true;
		return;
	}
	b->item[b->items].page = page;
	b->item[b->items].first = first;
	b->item[b->items++].end = end;
}

void mmu_mail_code(struct vcpu *to, u64 page_index, unsigned offset, unsigned len)
{
	struct code_mail *b = &to->mmu->mail;

	pthread_mutex_lock(&b->lock);
	put(b, page_index, offset, offset + len);
	pthread_mutex_unlock(&b->lock);
	vcpu_post(to, EV_CODE);
}

void mmu_memory_changed(struct vcpu *v, u64 gpa, u64 len)
{
	for (u64 end = gpa + len, next; gpa < end; gpa = next) {
		const u8 *host = ram_ptr(v->machine, gpa, 1);

		next = MIN(end, (gpa | ~PAGE_MASK) + 1);
		if (host && (atomic_load(&v->machine->code_cpus[ram_page_index(v->machine, host)]) & BIT(v->id)))
			mmu_mail_code(v, ram_page_index(v->machine, host), gpa & ~PAGE_MASK, (unsigned)(next - gpa));
	}
}

static void written(struct vcpu *v, u64 page, unsigned first, unsigned end)
{
	if (v->mmu->hooks)
		v->mmu->hooks->code_written(v, page, first, end - first);
}

static void all_written(struct vcpu *v)
{
	struct machine *m = v->machine;
	u64 pages = (m->low_size + m->high_size) >> PAGE_SHIFT;

	for (u64 page = 0; page < pages; page++)
		if (atomic_load_explicit(&m->code_cpus[page], memory_order_relaxed) & BIT(v->id))
			written(v, page, 0, PAGE_SIZE);
}

void mmu_take_code_mail(struct vcpu *v)
{
	struct code_mail *b = &v->mmu->mail, got;

	pthread_mutex_lock(&b->lock);
	got = *b;
	b->items = 0;
	b->lost = false;
	pthread_mutex_unlock(&b->lock);
	if (got.lost)
		return all_written(v);
	for (unsigned k = 0; k < got.items; k++)
		written(v, got.item[k].page, got.item[k].first, got.item[k].end);
}

/* A store of v's is done. */
void code_was_written(struct vcpu *v, u64 page, unsigned offset, unsigned len)
{
	struct machine *m = v->machine;
	u64 cpus;

	written(v, page, offset, offset + len);
	if (m->config.cpus == 1 || is_shared(v))
		return;
	atomic_thread_fence(memory_order_seq_cst);
	for (cpus = atomic_load(&m->code_cpus[page]) & ~BIT(v->id); cpus; cpus &= cpus - 1)
		mmu_mail_code(m->vcpu[__builtin_ctzll(cpus)], page, offset, len);
}
