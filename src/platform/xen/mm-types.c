/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames' types and counts. mm-internal.h has the invariants.
 *
 * A frame that becomes a table is BUSY while its entries are validated, one after the other; what was taken is given up again where one
 * of them may not be. Levels only go down, so recursion is at most four deep and a frame never meets itself: a table that names
 * itself, or one of its own level, is refused (Xen's optional linear page tables are not offered).
 */
#include <string.h>

#include "platform/xen/mm-internal.h"

static bool cas(struct frame *f, u64 *seen, u64 next)
{
	return atomic_compare_exchange_weak(&f->word, seen, next);
}

int frame_get(struct xen_mm *mm, u64 mfn, bool writable)
{
	struct frame *f = frame_of(mm, mfn);
	u64 w, next;

	if (!f)
		return -EINVAL;
	w = atomic_load_explicit(&f->word, memory_order_relaxed);
	do {
		if (!(w & (F_OWNED | F_SHARED)) || word_refs(w) >= F_COUNT_MAX)
			return -EINVAL;
		next = w + F_REF;
		if (!writable)
			continue;
		if (!(w & (F_OWNED | F_SHARED_RW)) || word_type(w) > FRAME_WRITABLE)
			return -EINVAL;
		next = word_with_type(next, FRAME_WRITABLE) + F_USE;
	} while (!cas(f, &w, next));
	return 0;
}

static void pool_put(struct xen_domain *d, u64 mfn)
{
	struct xen_mm *mm = d->mm;

	ram_discard(d->machine, mfn << PAGE_SHIFT, PAGE_SIZE);
	pthread_mutex_lock(&mm->pool_lock);
	mm->pool[mm->pooled++] = mfn;
	pthread_mutex_unlock(&mm->pool_lock);
}

static bool is_free(u64 w)
{
	return !word_refs(w) && !(w & (F_OWNED | F_SHARED));
}

void frame_put(struct xen_domain *d, u64 mfn, bool writable)
{
	struct frame *f = &d->mm->frame[mfn];
	u64 w = atomic_load_explicit(&f->word, memory_order_relaxed), next;

	do {
		next = w - F_REF;
		if (writable) {
			next -= F_USE;
			if (!word_uses(next))
				next = word_with_type(next, FRAME_NONE);
		}
	} while (!cas(f, &w, next));
	if (unlikely(is_free(next)))
		pool_put(d, mfn);
}

int frame_release(struct xen_domain *d, u64 mfn)
{
	struct frame *f = frame_of(d->mm, mfn);
	u64 w, next;

	if (!f)
		return -EINVAL;
	w = atomic_load(&f->word);
	do {
		if (!(w & F_OWNED))
			return -EINVAL;
		if (w & F_PINNED)
			return -EBUSY;
		next = w & ~F_OWNED;
	} while (!cas(f, &w, next));
	atomic_fetch_sub(&d->mm->total, 1);
	d->mm->m2p[mfn] = M2P_NONE;
	if (is_free(next))
		pool_put(d, mfn);
	return 0;
}

bool table_use(struct frame *f, enum frame_type level)
{
	u64 w = atomic_load_explicit(&f->word, memory_order_relaxed);

	do {
		if (word_type(w) != level || w & F_BUSY)
			return false;
	} while (!cas(f, &w, w + F_USE + F_REF));
	return true;
}

void table_unuse(struct xen_domain *d, u64 mfn)
{
	struct frame *f = &d->mm->frame[mfn];
	u64 w = atomic_load_explicit(&f->word, memory_order_relaxed);

	while (word_uses(w) > 1)
		if (cas(f, &w, w - F_USE - F_REF))
			return;
	mm_lock(d);
	type_put(d, mfn);
	mm_unlock(d);
}

/* ---- under the lock ---- */

/* The first and the end of the entries that are the guest's to fill. */
static bool entry_is_hidden(enum frame_type level, unsigned i)
{
	return level == FRAME_L4 && i - HIDDEN_SLOT < HIDDEN_SLOTS;
}

static void entries_put(struct xen_domain *d, const u64 *p, enum frame_type level, unsigned end)
{
	for (unsigned i = 0; i < end; i++) {
		u64 e = entry_load(&p[i]);

		if (e & PTE_P && !entry_is_hidden(level, i))
			entry_put(d, e, level);
	}
}

static void show_hidden(struct xen_domain *d, u64 *l4)
{
	memset(l4 + HIDDEN_SLOT, 0, HIDDEN_SLOTS * sizeof(*l4));
	l4[HIDDEN_SLOT] = d->mm->hidden;
	machine_written(d->machine, l4 + HIDDEN_SLOT, HIDDEN_SLOTS * sizeof(*l4));
}

static int validate(struct xen_domain *d, u64 *p, enum frame_type type)
{
	int r;

	if (type == FRAME_DESCRIPTOR)
		return descriptors_validate(p);
	for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
		u64 e = entry_load(&p[i]);

		if (!(e & PTE_P) || entry_is_hidden(type, i)) /* most are empty */
			continue;
		r = entry_get(d, e, type);
		if (r) {
			entries_put(d, p, type, i);
			return r;
		}
	}
	if (type == FRAME_L4)
		show_hidden(d, p);
	return 0;
}

/* Ends a table: it is BUSY, its entries are given up. */
static void become_plain(struct xen_domain *d, u64 mfn)
{
	struct frame *f = &d->mm->frame[mfn];
	u64 w, next;

	flush_after_table(d, mfn, word_type(atomic_load(&f->word)) == FRAME_L4);
	w = atomic_load(&f->word);
	do
		next = word_with_type(w & ~F_BUSY, FRAME_NONE) - F_USE - F_REF;
	while (!cas(f, &w, next));
	if (is_free(next))
		pool_put(d, mfn);
}

static int promote(struct xen_domain *d, u64 mfn, enum frame_type type)
{
	struct frame *f = &d->mm->frame[mfn];
	int r;

	flush_before_table(d, mfn);
	r = validate(d, table_host(d, mfn), type);
	if (r)
		become_plain(d, mfn);
	else
		atomic_fetch_and(&f->word, ~F_BUSY);
	return r;
}

int type_get(struct xen_domain *d, u64 mfn, enum frame_type type)
{
	struct frame *f = frame_of(d->mm, mfn);
	u64 w, next;

	if (!f)
		return -EINVAL;
	w = atomic_load(&f->word);
	do {
		if (!(w & F_OWNED) || w & F_BUSY || word_refs(w) >= F_COUNT_MAX)
			return -EINVAL;
		if (word_type(w) != type && word_type(w) != FRAME_NONE)
			return -EINVAL;
		next = word_with_type(w, type) + F_USE + F_REF;
		if (word_type(w) == FRAME_NONE)
			next |= F_BUSY;
	} while (!cas(f, &w, next));
	return next & F_BUSY ? promote(d, mfn, type) : 0;
}

void type_put(struct xen_domain *d, u64 mfn)
{
	struct frame *f = &d->mm->frame[mfn];
	u64 w = atomic_load(&f->word), next;

	do
		next = word_uses(w) > 1 ? w - F_USE - F_REF : w | F_BUSY;
	while (!cas(f, &w, next));
	if (!(next & F_BUSY))
		return;
	enum frame_type type = word_type(w);
	u64 *p = table_host(d, mfn);
	if (type != FRAME_DESCRIPTOR)
		entries_put(d, p, type, TABLE_ENTRIES);
	if (type == FRAME_L4)
		memset(p + HIDDEN_SLOT, 0, HIDDEN_SLOTS * sizeof(*p));
	become_plain(d, mfn);
}

int type_pin(struct xen_domain *d, u64 mfn, enum frame_type type)
{
	int r = type_get(d, mfn, type);

	if (r)
		return r;
	if (atomic_fetch_or(&d->mm->frame[mfn].word, F_PINNED) & F_PINNED) {
		type_put(d, mfn);
		return -EINVAL;
	}
	return 0;
}

int type_unpin(struct xen_domain *d, u64 mfn)
{
	struct frame *f = frame_of(d->mm, mfn);

	if (!f || !(atomic_fetch_and(&f->word, ~F_PINNED) & F_PINNED))
		return -EINVAL;
	type_put(d, mfn);
	return 0;
}
