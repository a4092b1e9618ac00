/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that are page tables which their guest may not write (machine.deprivileged), and flushes that one vCPU wants of others.
 *
 * Why no store goes astray: a vCPU whose walk allowed a store notes that it may write to the page (machine.write_cpus, mmu.recent, and where
 * it has a fast write mmu.writer), then looks at PAGE_TABLE; whoever makes the page a table sets PAGE_TABLE, then looks who may write. So
 * either the writer sees the table and walks again, which finds no writable entry any more, or it is seen, drops its fast writes between
 * two instructions (EV_WRITES), and is waited for. Why no walk goes astray: a walk is announced before it reads the first entry, and whoever ends a table, after the last entry that
 * refers to it is gone, waits for the walks that he finds announced.
 *
 * Those who wait are away meanwhile (mmu_leave), so nobody waits for them.
 */
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>

#include "mmu/mmu-internal.h"

static u64 writers_size(const struct machine *m)
{
	return (m->low_size + m->high_size) / PAGE_SIZE * sizeof(*m->write_cpus);
}

int mmu_track_writers(struct machine *m)
{
	void *p;

	if (m->config.cpus == 1)
		return 0;
	p = mmap(NULL, writers_size(m), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	m->write_cpus = p;
	return 0;
}

void mmu_untrack_writers(struct machine *m)
{
	if (m->write_cpus)
		munmap((void *)m->write_cpus, writers_size(m));
	m->write_cpus = NULL;
}

/* ---- waiting ---- */

/* Hosts with fewer CPUs than the guest has not yet run whom we wait for. */
static void relax(unsigned *turns)
{
	if (++*turns < 200)
		__builtin_ia32_pause();
	else
		sched_yield();
}

bool mmu_go_away(struct vcpu *v)
{
	bool was_here = v && v->mmu && atomic_load_explicit(&v->mmu->epoch, memory_order_relaxed) != EPOCH_AWAY;

	if (was_here)
		mmu_leave(v);
	return was_here;
}

void mmu_come_back(struct vcpu *v, bool was_here)
{
	u32 events;

	if (!was_here)
		return;
	mmu_enter(v);
	events = atomic_load(&v->events) & (EV_TLB | EV_FLUSH | EV_WRITES);
	if (!events)
		return;
	atomic_fetch_and(&v->events, ~events);
	if (events & EV_TLB)
		mmu_flush_all(v);
	if (events & EV_FLUSH)
		mmu_take_flushes(v);
	if (events & EV_WRITES)
		mmu_drop_writes(v);
}

static bool is_away(const struct vcpu *v)
{
	return atomic_load(&v->mmu->epoch) == EPOCH_AWAY;
}

/* One that is away, asleep perhaps, is left so: it looks at its events when it comes back. */
static void post_quietly(struct vcpu *v, u32 events)
{
	struct machine *m = v->machine;

	if (!is_away(v)) {
		vcpu_post(v, events);
		return;
	}
	atomic_fetch_or(&v->events, events);
	if (!is_away(v) && atomic_load(&m->running) && m->vcpu_ops->kick)
		m->vcpu_ops->kick(v);
}

static struct vcpu *other(struct machine *m, const struct vcpu *v, unsigned k)
{
	struct vcpu *o = m->vcpu[k];

	return o && o != v && o->mmu ? o : NULL;
}

/* ---- tables ---- */

/* Returns who has dropped them. Not those that are away: they will, but only for pages that are tables then. */
static u64 await_writers(struct machine *m, struct vcpu *v, u64 cpus)
{
	u64 epoch = atomic_fetch_add(&m->code_epoch, 1) + 1;
	unsigned turns = 0;
	struct vcpu *o;
	bool was_here;
	u64 seen, done = 0;

	for (unsigned k = 0; k < m->config.cpus; k++)
		if ((o = other(m, v, k)))
			post_quietly(o, EV_WRITES);
	if (v && v->mmu)
		code_epoch_seen(v, epoch);
	was_here = mmu_go_away(v);
	for (; cpus; cpus &= cpus - 1) {
		o = other(m, v, (unsigned)__builtin_ctzll(cpus));
		while (o && (seen = atomic_load(&o->mmu->epoch)) < epoch)
			relax(&turns);
		if (o && seen != EPOCH_AWAY)
			done |= BIT(o->id);
	}
	mmu_come_back(v, was_here);
	return done;
}

void mmu_protect_page(struct machine *m, u64 page_index)
{
	u8 old = atomic_fetch_or(&m->code_pages[page_index], PAGE_TABLE);
	struct vcpu *v = vcpu_current();
	u64 cpus = m->write_cpus ? atomic_load(&m->write_cpus[page_index]) : 0, others, done;
	struct vcpu *o;

	if (!cpus && (m->write_cpus || !(old & PAGE_WRITTEN)))
		return;
	if (v && v->mmu)
		tlb_drop_writer(v, page_index);
	others = v ? cpus & ~BIT(v->id) : cpus;
	done = cpus & ~others;
	for (u64 left = others; left; left &= left - 1) { /* most wrote there long ago */
		o = other(m, v, (unsigned)__builtin_ctzll(left));
		if (!o || !tlb_may_write(o, page_index))
			others &= ~(left & -left);
	}
	if (others)
		done |= await_writers(m, v, others);
	if (done)
		atomic_fetch_and(&m->write_cpus[page_index], ~done);
	if (done == cpus)
		atomic_fetch_and(&m->code_pages[page_index], (u8)~PAGE_WRITTEN);
}

/* What is below a root is only in translations of contexts that have this root, but for its upper half, which was compared with the
 * next one's, or will be. Any other table lost the entry by which walks came to it, and that was counted. */
void mmu_unprotect_page(struct machine *m, u64 page_index, bool root)
{
	struct vcpu *v = vcpu_current(), *o;
	unsigned turns = 0;
	u64 seen;

	for (unsigned k = 0; m->write_cpus && k < m->config.cpus; k++) {
		o = other(m, v, k);
		seen = o ? atomic_load(&o->mmu->walks) : 0;
		while (seen & 1 && atomic_load(&o->mmu->walks) == seen)
			relax(&turns);
	}
	atomic_fetch_and(&m->code_pages[page_index], (u8) ~(PAGE_TABLE | PAGE_WALKED | PAGE_WALKED << 1));
	if (root)
		atomic_fetch_add(&m->roots_ended[page_index % ROOT_HASHES], 1);
}

/* ---- what has changed ---- */

/*
 * Why nothing is overlooked: a walk marks a table before it reads an entry of it, an entry is changed before the mark is looked at. A
 * translation that allows less than its entry is no harm: it is walked again before it is a fault.
 */
static bool restricts(u64 old, u64 next)
{
	const u64 less = PTE_W | PTE_U | PTE_A | PTE_D;

	if (!(old & PTE_P))
		return false;
	return !(next & PTE_P) || ((old ^ next) & (WALK_ADDR_MASK | PTE_PS)) || (old & ~next & less) ||
	       (next & ~old & PTE_NX);
}

/* Programs and kernels change their data's entries all the time, those of their code hardly ever. */
static bool restricts_code(u64 old, u64 next)
{
	return !(old & PTE_NX) && (!(next & PTE_P) || ((old ^ next) & (WALK_ADDR_MASK | PTE_PS)) ||
				   (old & ~next & PTE_U) || next & PTE_NX);
}

void mmu_table_changed(struct machine *m, const u64 *entry, u64 old, u64 next, u64 gla)
{
	struct vcpu *v = vcpu_current();
	bool known = gla != MMU_FLUSH_ALL && v && v->mmu, code = restricts_code(old, next);
	u8 state;

	if (!restricts(old, next))
		return;
	state = atomic_load(&m->code_pages[ram_page_index(m, (const u8 *)entry)]);
	if (known)
		mmu_flush_page(v, gla);
	for (unsigned half = 0; half < 2; half++) {
		if (!(state & PAGE_WALKED << half))
			continue;
		if (code) /* first: who finds the other as it was finds this one so too */
			atomic_fetch_add(&m->code_changes[half], 1);
		u64 n = atomic_fetch_add(&m->table_changes[half], 1);
		/* Of the upper half that was all there was to be done here: kernels protect pages of theirs all the time. */
		if (known && !code && half && gla >> 63 && v->mmu->seen_high == n)
			v->mmu->seen_high = n + 1;
	}
}

/* ---- flushes ---- */

/* Returns the number that the vCPU's `taken` reaches when it is done. */
static u64 put_flush(struct flush_mail *b, u64 gla)
{
	u64 ticket;

	pthread_mutex_lock(&b->lock);
	b->all |= gla == MMU_FLUSH_ALL || b->pages == FLUSH_MAILS;
	if (!b->all)
		b->page[b->pages++] = gla;
	ticket = ++b->posted;
	pthread_mutex_unlock(&b->lock);
	return ticket;
}

void mmu_flush_others(struct vcpu *v, u64 cpus, u64 gla)
{
	struct machine *m = v->machine;
	u64 ticket[MACHINE_MAX_CPUS];
	unsigned turns = 0;
	bool was_here;

	for (unsigned k = 0; k < m->config.cpus; k++) {
		if (!(cpus >> k & 1) || !other(m, v, k))
			cpus &= ~BIT(k);
		else
			ticket[k] = put_flush(&m->vcpu[k]->mmu->flushes, gla);
	}
	if (!cpus)
		return;
	for (unsigned k = 0; k < m->config.cpus; k++)
		if (cpus >> k & 1)
			post_quietly(m->vcpu[k], EV_FLUSH);
	was_here = mmu_go_away(v);
	for (unsigned k = 0; k < m->config.cpus; k++)
		while (cpus >> k & 1 && atomic_load(&m->vcpu[k]->mmu->flushes.taken) < ticket[k] &&
		       !is_away(m->vcpu[k]))
			relax(&turns);
	mmu_come_back(v, was_here);
}

void mmu_take_flushes(struct vcpu *v)
{
	struct flush_mail *b = &v->mmu->flushes;
	u64 page[FLUSH_MAILS], posted;
	unsigned pages;
	bool all;

	pthread_mutex_lock(&b->lock);
	all = b->all;
	pages = b->pages;
	posted = b->posted;
	for (unsigned k = 0; k < pages; k++)
		page[k] = b->page[k];
	b->all = false;
	b->pages = 0;
	pthread_mutex_unlock(&b->lock);
	if (all)
		mmu_flush_stale(v);
	for (unsigned k = 0; !all && k < pages; k++)
		mmu_flush_page(v, page[k]);
	atomic_store(&b->taken, posted);
}
