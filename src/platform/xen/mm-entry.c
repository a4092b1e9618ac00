/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of page tables: what may be in one, and how one is changed, by mmu_update, update_va_mapping, or a store of the guest
 * kernel's to an L1 table that it has mapped read-only ("writable page tables": to the guest it looks as if it could write there).
 *
 * An entry changes by one atomic exchange, after what the new one refers to has been taken and before what the old one
 * referred to is given up; a use of the table keeps it one meanwhile. MMUs set accessed and dirty bits at any time.
 * Nothing here flushes TLBs: the ABI leaves that to the guest.
 */
#include <string.h>

#include "platform/xen/mm-internal.h"

#define ENTRY_ADDRESS (BIT(52) - PAGE_SIZE)

/* Whether two entries refer to the same in the same way, so that one can take the other's place. */
static bool entry_same_use(u64 a, u64 b, enum frame_type level)
{
	u64 matter = ENTRY_ADDRESS | PTE_P | (level == FRAME_L1 ? PTE_W : PTE_PS);

	return !((a ^ b) & matter) || !((a | b) & PTE_P);
}

int entry_get(struct xen_domain *d, u64 e, enum frame_type level)
{
	if (!(e & PTE_P))
		return 0;
	if (level == FRAME_L1)
		return frame_get(d->mm, entry_mfn(e), e & PTE_W);
	if (e & PTE_PS)
		return -EINVAL;
	return type_get(d, entry_mfn(e), level - 1);
}

void entry_put(struct xen_domain *d, u64 e, enum frame_type level)
{
	if (!(e & PTE_P))
		return;
	if (level == FRAME_L1)
		frame_put(d, entry_mfn(e), e & PTE_W);
	else
		type_put(d, entry_mfn(e));
}

/* The table is in use as one of this level. keep: bits of the old entry that the new one keeps. gla: what it maps, ~0: unknown. */
static int entry_set(struct xen_domain *d, u64 *p, enum frame_type level, u64 e, u64 keep, u64 gla)
{
	u64 old = entry_load(p), next = e | (old & keep);
	int r;

	if (entry_same_use(old, next, level) &&
	    __atomic_compare_exchange_n(p, &old, next, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
		mmu_table_changed(d->machine, p, old, next, gla);
		table_written(d->machine, p);
		return 0;
	}
	r = entry_get(d, e, level);
	if (r)
		return r;
	if (keep)
		do
			next = e | (old & keep);
		while (!__atomic_compare_exchange_n(p, &old, next, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	else
		old = __atomic_exchange_n(p, e, __ATOMIC_SEQ_CST);
	mmu_table_changed(d->machine, p, old, keep ? next : e, gla);
	entry_put(d, old, level);
	table_written(d->machine, p);
	return 0;
}

/* ---- mmu_update ---- */

static int plain_write(struct xen_domain *d, u64 mfn, unsigned index, u64 value)
{
	u64 *p;

	if (frame_get(d->mm, mfn, true))
		return -EINVAL;
	p = table_host(d, mfn) + index;
	__atomic_store_n(p, value, __ATOMIC_SEQ_CST);
	machine_written(d->machine, p, 8);
	frame_put(d, mfn, true);
	return 0;
}

static int update_high(struct xen_domain *d, u64 mfn, enum frame_type level, unsigned index, u64 e, u64 keep)
{
	int r;

	if (level == FRAME_L4 && index - HIDDEN_SLOT < HIDDEN_SLOTS)
		return -EINVAL;
	mm_lock(d);
	if (table_use(frame_of(d->mm, mfn), level)) {
		r = entry_set(d, table_host(d, mfn) + index, level, e, keep, ~0ull);
		type_put(d, mfn);
	} else {
		r = -EINVAL;
	}
	mm_unlock(d);
	return r;
}

static int update_l1(struct xen_domain *d, u64 mfn, unsigned index, u64 e, u64 keep, u64 gla)
{
	int r;

	if (!table_use(frame_of(d->mm, mfn), FRAME_L1))
		return -EAGAIN;
	r = entry_set(d, table_host(d, mfn) + index, FRAME_L1, e, keep, gla);
	table_unuse(d, mfn);
	return r;
}

/* What is under promotion or demotion now will be something afterwards. */
static enum frame_type settled_type(struct xen_domain *d, struct frame *f)
{
	u64 w = atomic_load_explicit(&f->word, memory_order_relaxed);

	if (unlikely(w & F_BUSY)) {
		mm_lock(d);
		w = atomic_load(&f->word);
		mm_unlock(d);
	}
	return word_type(w);
}

static int update_entry(struct vcpu *v, u64 address, u64 e, u64 keep)
{
	struct xen_domain *d = xen_of(v);
	u64 mfn = address >> PAGE_SHIFT;
	unsigned index = (address & ~PAGE_MASK) / 8;
	struct frame *f = frame_of(d->mm, mfn);
	enum frame_type type;
	int r;

	if (!f)
		return -EINVAL;
	do {
		type = settled_type(d, f);
		if (type == FRAME_L1)
			r = update_l1(d, mfn, index, e, keep, ~0ull);
		else if (type >= FRAME_L2 && type <= FRAME_L4)
			r = update_high(d, mfn, type, index, e, keep);
		else
			r = type == FRAME_DESCRIPTOR ? -EINVAL : plain_write(d, mfn, index, e);
	} while (r == -EAGAIN);
	return r;
}

static int update_m2p(struct vcpu *v, u64 address, u64 pfn)
{
	struct xen_mm *mm = xen_of(v)->mm;
	struct frame *f = frame_of(mm, address >> PAGE_SHIFT);

	if (!f || !(atomic_load(&f->word) & F_OWNED))
		return -EINVAL;
	__atomic_store_n(&mm->m2p[address >> PAGE_SHIFT], pfn, __ATOMIC_RELAXED);
	return 0;
}

static int update_one(struct vcpu *v, const struct mmu_update *u)
{
	u64 address = u->ptr & ~7ull;

	switch (u->ptr & 7) {
	case MMU_NORMAL_PT_UPDATE:
	case MMU_PT_UPDATE_NO_TRANSLATE: return update_entry(v, address, u->val, 0);
	case MMU_PT_UPDATE_PRESERVE_AD: return update_entry(v, address, u->val, PTE_A | PTE_D);
	case MMU_MACHPHYS_UPDATE: return update_m2p(v, address, u->val);
	default: return -EINVAL;
	}
}

#define CONTINUED 0x80000000u /* of counts, Xen's own: MMU_UPDATE_PREEMPTED */
#define BATCH	  32u

/* Requests take effect one after the other, up to the first that is refused; the number goes to done. */
s64 hypercall_mmu_update(struct vcpu *v, const u64 arg[6])
{
	u32 count = (u32)arg[1] & ~CONTINUED, done = 0;
	struct mmu_update u[BATCH];
	s64 r = 0;

	if ((u32)arg[3] != DOMID_SELF && (u32)arg[3] != XEN_DOMID)
		return -EPERM;
	while (done < count && !r) {
		u32 n = MIN(count - done, BATCH);

		r = guest_read(v, arg[0] + done * sizeof(*u), u, n * sizeof(*u));
		for (u32 k = 0; k < n && !r; k++) {
			r = update_one(v, &u[k]);
			xen_cpu_of(v)->counts.updates++;
			done += !r;
			r = r ? r : hypercall_breathe(v);
		}
	}
	if (arg[2] && guest_write(v, arg[2], &done, sizeof(done)) && !r)
		r = -EFAULT;
	return r;
}

/* ---- update_va_mapping ---- */

/* The tables may change meanwhile: then what is found is some frame, and it is for the update to see what that is. */
u64 entry_find(struct vcpu *v, u64 gla, unsigned *index)
{
	struct xen_domain *d = xen_of(v);
	u64 mfn = v->cr3 >> PAGE_SHIFT;

	for (unsigned shift = 39; shift > 12; shift -= 9) {
		const u64 *p = frame_of(d->mm, mfn) ? table_host(d, mfn) : NULL;
		u64 e = p ? entry_load(&p[gla >> shift & (TABLE_ENTRIES - 1)]) : 0;

		if (!(e & PTE_P))
			return 0;
		mfn = entry_mfn(e);
	}
	*index = gla >> 12 & (TABLE_ENTRIES - 1);
	return mfn;
}

static s64 flush_as_told(struct vcpu *v, u64 gla, u64 flags)
{
	u64 cpus = BIT(v->id), mask = flags & ~(UVMF_FLUSHTYPE_MASK | UVMF_ALL);

	if (!(flags & UVMF_FLUSHTYPE_MASK))
		return 0;
	if (flags & UVMF_ALL)
		cpus = FLUSH_ALL;
	else if (mask && flush_read_mask(v, mask, &cpus))
		return -EFAULT;
	flush_cpus(v, cpus, (flags & UVMF_FLUSHTYPE_MASK) == UVMF_INVLPG ? gla : FLUSH_ALL);
	return 0;
}

s64 hypercall_update_va_mapping(struct vcpu *v, const u64 arg[6])
{
	struct xen_domain *d = xen_of(v);
	unsigned index = 0;
	u64 mfn = entry_find(v, arg[0], &index);
	struct frame *f = frame_of(d->mm, mfn);
	int r;

	if (!mfn || !f || settled_type(d, f) != FRAME_L1)
		return -EINVAL;
	r = update_l1(d, mfn, index, arg[1], 0, arg[0] & PAGE_MASK);
	if (r)
		return -EINVAL;
	xen_cpu_of(v)->counts.updates++;
	return flush_as_told(v, arg[0], arg[2]);
}

/* ---- stores ---- */

bool mm_is_l1_table(struct xen_domain *d, u64 gpa)
{
	struct frame *f = frame_of(d->mm, gpa >> PAGE_SHIFT);

	return f && word_type(atomic_load_explicit(&f->word, memory_order_relaxed)) == FRAME_L1;
}

/* An exchange that only takes place if the entry still is what was seen. Takes and gives as entry_set(). */
static int entry_exchange(struct xen_domain *d, u64 *p, u64 *seen, u64 e)
{
	bool same = entry_same_use(*seen, e, FRAME_L1);
	u64 old = *seen;
	int r = same ? 0 : entry_get(d, e, FRAME_L1);

	if (r)
		return r;
	if (!__atomic_compare_exchange_n(p, seen, e, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
		if (!same)
			entry_put(d, e, FRAME_L1);
		return -EAGAIN;
	}
	mmu_table_changed(d->machine, p, old, e, ~0ull);
	if (!same)
		entry_put(d, old, FRAME_L1);
	table_written(d->machine, p);
	return 0;
}

static int store_part(struct xen_domain *d, u64 gpa, unsigned size, u64 value, u64 *old)
{
	u64 *p = (u64 *)ram_ptr(d->machine, gpa & ~7ull, 8);
	unsigned shift = 8 * (gpa & 7);
	u64 mask = (size == 8 ? ~0ull : BIT(8 * size) - 1) << shift, seen = entry_load(p);
	int r;

	do {
		if (old && (seen & mask) != (*old << shift & mask)) {
			*old = (seen & mask) >> shift;
			return 0;
		}
		r = entry_exchange(d, p, &seen, (seen & ~mask) | (value << shift & mask));
	} while (r == -EAGAIN);
	return r;
}

int mm_table_store(struct vcpu *v, u64 gpa, unsigned size, u64 value, u64 *old)
{
	struct xen_domain *d = xen_of(v);
	u64 mfn = gpa >> PAGE_SHIFT;
	struct frame *f = frame_of(d->mm, mfn);
	int r;

	if (!f || (gpa & 7) + size > 8)
		return -EINVAL;
	while (!table_use(f, FRAME_L1))
		if (settled_type(d, f) != FRAME_L1)
			return -EAGAIN;
	r = store_part(d, gpa, size, value, old);
	table_unuse(d, mfn);
	return r;
}
