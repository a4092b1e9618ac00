/* SPDX-License-Identifier: Apache-2.0 */
/* mmuext_op (xen.h): pins, roots, flushes, LDTs. Operations take effect one after the other, up to the first that is refused. */
#include <string.h>

#include "platform/xen/mm-internal.h"

#define CONTINUED 0x80000000u
#define BATCH	  16u

static int pin(struct vcpu *v, const struct mmuext_op *op)
{
	struct xen_domain *d = xen_of(v);
	int r;

	mm_lock(d);
	r = op->cmd == MMUEXT_UNPIN_TABLE ? type_unpin(d, op->arg1.mfn)
					  : type_pin(d, op->arg1.mfn, FRAME_L1 + (op->cmd - MMUEXT_PIN_L1_TABLE));
	mm_unlock(d);
	return r;
}

/* ---- roots ---- */

/* Takes the new one before the old one goes, as they are often the same. */
static int replace_root(struct vcpu *v, u64 *root, u64 mfn)
{
	struct xen_domain *d = xen_of(v);
	u64 old = *root;
	int r = 0;

	if (mfn == old)
		return 0;
	if (!mfn || !frame_of(d->mm, mfn) || !table_use(frame_of(d->mm, mfn), FRAME_L4)) {
		mm_lock(d);
		r = mfn ? type_get(d, mfn, FRAME_L4) : 0;
		mm_unlock(d);
	}
	if (!r)
		*root = mfn;
	return r;
}

/* A vCPU that stands, which another one sets up, has its registers set, and flushes when it goes. The user's view shares the TLB with the
 * kernel's. */
static void load_roots(struct vcpu *v, bool kernel)
{
	struct xen_mm *mm = xen_of(v)->mm;
	u64 cr3 = mm->kernel_root[v->id] << PAGE_SHIFT;

	v->user_cr3 = mm->user_root[v->id] << PAGE_SHIFT;
	/* The programs' root is looked at when they are returned to. */
	if (v == vcpu_current()) {
		if (kernel)
			mmu_set_cr3(v, cr3);
		return;
	}
	v->cr3 = cr3;
	atomic_fetch_or(&v->events, EV_TLB);
}

static int set_root(struct vcpu *v, u64 *root, u64 mfn)
{
	u64 old = *root;
	int r = replace_root(v, root, mfn);

	if (r)
		return r;
	load_roots(v, root == &xen_of(v)->mm->kernel_root[v->id]);
	if (old && old != mfn)
		table_unuse(xen_of(v), old);
	return 0;
}

static int set_kernel_root(struct vcpu *v, u64 mfn)
{
	return mfn ? set_root(v, &xen_of(v)->mm->kernel_root[v->id], mfn) : -EINVAL;
}

static int set_user_root(struct vcpu *v, u64 mfn)
{
	return set_root(v, &xen_of(v)->mm->user_root[v->id], mfn);
}

int mm_set_roots(struct vcpu *v, u64 kernel_mfn, u64 user_mfn)
{
	int r = set_kernel_root(v, kernel_mfn);

	return r ? r : set_user_root(v, user_mfn);
}

/* ---- flushes ---- */

static int flush_many(struct vcpu *v, const struct mmuext_op *op, u64 gla)
{
	u64 cpus;

	if (flush_read_mask(v, (u64)op->arg2.vcpumask.p, &cpus))
		return -EFAULT;
	flush_cpus(v, cpus, gla);
	return 0;
}

static int set_ldt(struct vcpu *v, const struct mmuext_op *op)
{
	u32 entries = op->arg2.nr_ents;

	if (entries > 8192 || op->arg1.linear_addr & ~PAGE_MASK)
		return -EINVAL;
	ldt_set(v, op->arg1.linear_addr, entries);
	return 0;
}

/* ---- pages ---- */

static int clear_page(struct vcpu *v, const struct mmuext_op *op)
{
	struct xen_domain *d = xen_of(v);
	u8 *p = mm_get(d, op->arg1.mfn, FRAME_WRITABLE);

	if (!p)
		return -EINVAL;
	memset(p, 0, PAGE_SIZE);
	machine_written(d->machine, p, PAGE_SIZE);
	mm_put(d, op->arg1.mfn, FRAME_WRITABLE);
	return 0;
}

static int copy_page(struct vcpu *v, const struct mmuext_op *op)
{
	struct xen_domain *d = xen_of(v);
	const u8 *from = mm_get(d, op->arg2.src_mfn, FRAME_NONE);
	u8 *to = from ? mm_get(d, op->arg1.mfn, FRAME_WRITABLE) : NULL;

	if (to) {
		memmove(to, from, PAGE_SIZE);
		machine_written(d->machine, to, PAGE_SIZE);
		mm_put(d, op->arg1.mfn, FRAME_WRITABLE);
	}
	if (from)
		mm_put(d, op->arg2.src_mfn, FRAME_NONE);
	return to ? 0 : -EINVAL;
}

static int do_op(struct vcpu *v, const struct mmuext_op *op)
{
	switch (op->cmd) {
	case MMUEXT_PIN_L1_TABLE:
	case MMUEXT_PIN_L2_TABLE:
	case MMUEXT_PIN_L3_TABLE:
	case MMUEXT_PIN_L4_TABLE:
	case MMUEXT_UNPIN_TABLE: return pin(v, op);
	case MMUEXT_NEW_BASEPTR: return set_kernel_root(v, op->arg1.mfn);
	case MMUEXT_NEW_USER_BASEPTR: return set_user_root(v, op->arg1.mfn);
	case MMUEXT_TLB_FLUSH_LOCAL: flush_cpus(v, BIT(v->id), FLUSH_ALL); return 0;
	case MMUEXT_INVLPG_LOCAL: flush_cpus(v, BIT(v->id), op->arg1.linear_addr); return 0;
	case MMUEXT_TLB_FLUSH_MULTI: return flush_many(v, op, FLUSH_ALL);
	case MMUEXT_INVLPG_MULTI: return flush_many(v, op, op->arg1.linear_addr);
	case MMUEXT_TLB_FLUSH_ALL: flush_cpus(v, ~0ull, FLUSH_ALL); return 0;
	case MMUEXT_INVLPG_ALL: flush_cpus(v, ~0ull, op->arg1.linear_addr); return 0;
	case MMUEXT_FLUSH_CACHE: /* for domains with devices of their own */
	case MMUEXT_FLUSH_CACHE_GLOBAL: return -EACCES;
	case MMUEXT_SET_LDT: return set_ldt(v, op);
	case MMUEXT_CLEAR_PAGE: return clear_page(v, op);
	case MMUEXT_COPY_PAGE: return copy_page(v, op);
	default: return -ENOSYS;
	}
}

/* For figures, as of those hypercalls that tell their operation in a register. */
static void note(struct vcpu *v, unsigned cmd)
{
	xen_cpu_of(v)->counts.sub[__HYPERVISOR_mmuext_op][MIN(cmd, XEN_SUB_OPS - 1u)]++;
}

s64 hypercall_mmuext_op(struct vcpu *v, const u64 arg[6])
{
	u32 count = (u32)arg[1] & ~CONTINUED, done = 0;
	struct mmuext_op op[BATCH];
	s64 r = 0;

	if ((u32)arg[3] != DOMID_SELF && (u32)arg[3] != XEN_DOMID)
		return -EPERM;
	while (done < count && !r) {
		u32 n = MIN(count - done, BATCH);

		r = guest_read(v, arg[0] + done * sizeof(*op), op, n * sizeof(*op));
		for (u32 k = 0; k < n && !r; k++) {
			r = do_op(v, &op[k]);
			note(v, op[k].cmd);
			done += !r;
			r = r ? r : hypercall_breathe(v);
		}
	}
	if (arg[2] && guest_write(v, arg[2], &done, sizeof(done)) && !r)
		r = -EFAULT;
	return r;
}
