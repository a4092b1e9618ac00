/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_op (memory.h): what the domain has, where the machine-to-physical table is, and ballooning. A frame that the guest gives back
 * is the domain's no longer; it goes to the pool, and its memory to the host, once nothing refers to it.
 */
#include "platform/xen/mm-internal.h"
#include <xen/memory.h>

#define ORDER_MAX 9 /* pages of 2 MiB are the largest that anybody asks for */

static s64 memory_map(struct vcpu *v, u64 gla)
{
	struct xen_memory_map map;
	struct __attribute__((packed)) {
		u64 base, len;
		u32 type;
	} all = { 0, xen_of(v)->mm->initial << PAGE_SHIFT, 1 };

	if (guest_read(v, gla, &map, sizeof(map)))
		return -EFAULT;
	if (!map.nr_entries)
		return -EINVAL;
	map.nr_entries = 1;
	if (guest_write(v, (u64)map.buffer.p, &all, sizeof(all)) || guest_write(v, gla, &map, sizeof(map)))
		return -EFAULT;
	return 0;
}

static s64 machphys_mapping(struct vcpu *v, u64 gla)
{
	struct xen_mm *mm = xen_of(v)->mm;
	struct xen_machphys_mapping map = { M2P_BASE, M2P_BASE + mm->limit * 8, mm->limit - 1 };

	return guest_write(v, gla, &map, sizeof(map)) ? -EFAULT : 0;
}

static s64 reservation(struct vcpu *v, u64 gla, u64 pages)
{
	struct xen_memory_domain dom;

	if (guest_read(v, gla, &dom, sizeof(dom)))
		return -EFAULT;
	return dom.domid == DOMID_SELF || dom.domid == XEN_DOMID ? (s64)pages : -EPERM;
}

/* ---- extents ---- */

static int read_reservation(struct vcpu *v, u64 gla, struct xen_memory_reservation *r)
{
	if (guest_read(v, gla, r, sizeof(*r)))
		return -EFAULT;
	if (r->domid != DOMID_SELF && r->domid != XEN_DOMID)
		return -EPERM;
	return r->extent_order > ORDER_MAX || r->nr_extents > ~0u ? -EINVAL : 0;
}

static s64 decrease_reservation(struct vcpu *v, u64 gla)
{
	struct xen_domain *d = xen_of(v);
	struct xen_memory_reservation r;
	int e = read_reservation(v, gla, &r);
	u64 i, mfn;

	if (e)
		return e;
	for (i = 0; i < r.nr_extents && !hypercall_breathe(v); i++) {
		if (guest_read(v, (u64)r.extent_start.p + i * sizeof(mfn), &mfn, sizeof(mfn)))
			break;
		for (u64 k = 0; k < BIT(r.extent_order); k++)
			if (frame_release(d, mfn + k))
				return (s64)i;
	}
	return (s64)i;
}

/* A frame of the pool; 0: it is empty. */
static u64 pool_take(struct xen_mm *mm)
{
	u64 mfn;

	pthread_mutex_lock(&mm->pool_lock);
	mfn = mm->pooled ? mm->pool[--mm->pooled] : 0;
	pthread_mutex_unlock(&mm->pool_lock);
	return mfn;
}

static void pool_return(struct xen_mm *mm, u64 mfn)
{
	pthread_mutex_lock(&mm->pool_lock);
	mm->pool[mm->pooled++] = mfn;
	pthread_mutex_unlock(&mm->pool_lock);
}

/* Frames of the pool are in no order: extents of more than one page cannot be had. */
static s64 populate_physmap(struct vcpu *v, u64 gla)
{
	struct xen_domain *d = xen_of(v);
	struct xen_memory_reservation r;
	int e = read_reservation(v, gla, &r);
	u64 i, pfn, mfn;

	if (e)
		return e;
	for (i = 0; i < r.nr_extents && !r.extent_order && !hypercall_breathe(v); i++) {
		u64 at = (u64)r.extent_start.p + i * sizeof(pfn);

		if (guest_read(v, at, &pfn, sizeof(pfn)))
			break;
		mfn = pool_take(d->mm);
		if (!mfn)
			break;
		if (guest_write(v, at, &mfn, sizeof(mfn))) {
			pool_return(d->mm, mfn);
			break;
		}
		mm_give(d, mfn, pfn);
	}
	return (s64)i;
}

/* For devices that want memory in a row, or low: none of ours does, so nothing is exchanged. */
static s64 exchange(struct vcpu *v, u64 gla)
{
	struct xen_memory_exchange x;

	if (guest_read(v, gla, &x, sizeof(x)))
		return -EFAULT;
	if (x.in.domid != x.out.domid || (x.in.domid != DOMID_SELF && x.in.domid != XEN_DOMID))
		return -EPERM;
	x.nr_exchanged = 0;
	return guest_write(v, gla, &x, sizeof(x)) ? -EFAULT : -ENOMEM;
}

s64 hypercall_memory_op(struct vcpu *v, const u64 arg[6])
{
	struct xen_mm *mm = xen_of(v)->mm;

	switch (arg[0] & 0x3f) { /* above it: where a continued call goes on, Xen's own */
	case XENMEM_memory_map: return memory_map(v, arg[1]);
	case XENMEM_machphys_mapping: return machphys_mapping(v, arg[1]);
	case XENMEM_maximum_ram_page: return (s64)mm->limit - 1;
	case XENMEM_current_reservation: return reservation(v, arg[1], mm_total_pages(xen_of(v)));
	case XENMEM_maximum_reservation: return reservation(v, arg[1], mm->initial);
	case XENMEM_decrease_reservation: return decrease_reservation(v, arg[1]);
	case XENMEM_populate_physmap: return populate_physmap(v, arg[1]);
	case XENMEM_exchange: return exchange(v, arg[1]);
	default: return -ENOSYS;
	}
}
