/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What outlives an entry, and the lock. src/mmu does the work (mmu.h, "frames that are tables"); here is who waits.
 *
 * Whoever waits touches no guest memory meanwhile and says so (mmu_leave), so vCPUs that wait for each other, or for the lock, do not wait
 * for ever: a vCPU that is away has nothing to flush before it comes back, and looks at what was posted to it when it does.
 */
#include "platform/xen/mm-internal.h"

void mm_lock(struct xen_domain *d)
{
	struct vcpu *v = vcpu_current();

	if (likely(!pthread_mutex_trylock(&d->mm->lock)))
		return;
	bool was_here = mmu_go_away(v);
	pthread_mutex_lock(&d->mm->lock);
	mmu_come_back(v, was_here);
}

void mm_unlock(struct xen_domain *d)
{
	pthread_mutex_unlock(&d->mm->lock);
}

#define PARTS_MAX 4096

/* A stop waits for the end of a hypercall, as that is where the guest can go on later. */
int hypercall_breathe(struct vcpu *v)
{
	u32 events = atomic_load_explicit(&v->events, memory_order_relaxed);

	if (likely(!(events & (EV_STOP | EV_TLB | EV_FLUSH | EV_WRITES))))
		return 0;
	mmu_come_back(v, mmu_go_away(v));
	return events & EV_STOP && ++xen_cpu_of(v)->parts > PARTS_MAX ? -EAGAIN : 0;
}

void flush_before_table(struct xen_domain *d, u64 mfn)
{
	mmu_protect_page(d->machine, ram_page_index(d->machine, frame_host(d, mfn)));
}

void flush_after_table(struct xen_domain *d, u64 mfn, bool root)
{
	mmu_unprotect_page(d->machine, ram_page_index(d->machine, frame_host(d, mfn)), root);
}

void flush_cpus(struct vcpu *v, u64 cpus, u64 gla)
{
	struct machine *m = v->machine;
	bool own = cpus & BIT(v->id);

	cpus &= m->config.cpus < 64 ? BIT(m->config.cpus) - 1 : ~0ull;
	mmu_flush_others(v, cpus & ~BIT(v->id), gla);
	if (own && gla == FLUSH_ALL)
		mmu_flush_stale(v);
	else if (own)
		mmu_flush_page(v, gla);
}

/* No more than the bytes that this domain's vCPUs have bits in. */
int flush_read_mask(struct vcpu *v, u64 gla, u64 *cpus)
{
	*cpus = 0;
	return guest_read(v, gla, cpus, (v->machine->config.cpus + 7) / 8);
}
