/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table's entries are the guest's to write, but for the two bits that say that we use them; both sides change flags by atomic
 * operations. What an entry said when its first use began holds until the last use has ended, whatever it says by then.
 */
#include "platform/xen/grants.h"

#include <errno.h>
#include <stdlib.h>
#include <xen/grant_table.h>

#include "platform/xen/mm.h"

#define FRAME_ENTRIES (PAGE_SIZE / sizeof(struct grant_entry_v1))
#define ENTRIES	      (GRANT_FRAMES * FRAME_ENTRIES)
#define TRIES	      16 /* when the guest changes an entry meanwhile */
#define BATCH_MAX     4096u /* of operations that only get an error each */

struct active {
	u64 mfn;
	u32 uses, writers;
};
struct xen_grants {
	pthread_mutex_t lock;
	struct grant_entry_v1 *table; /* ours to the end; the guest has seen the first `frames` of it */
	u64 first_mfn;
	_Atomic u32 frames;
	struct active active[ENTRIES];
};

/* ---- uses ---- */

static bool grants(u32 word, bool write)
{
	u16 flags = (u16)word, domid = (u16)(word >> 16);

	return (flags & (GTF_type_mask | GTF_sub_page)) == GTF_permit_access && domid == 0 &&
	       !(write && flags & GTF_readonly);
}

/* Flags and domain change together. */
static bool mark(struct grant_entry_v1 *e, bool write)
{
	u32 *word = (u32 *)&e->flags, w = __atomic_load_n(word, __ATOMIC_SEQ_CST);
	u32 bits = GTF_reading | (write ? GTF_writing : 0);

	for (unsigned i = 0; i < TRIES && grants(w, write); i++)
		if (__atomic_compare_exchange_n(word, &w, w | bits, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return true;
	return false;
}

static int begin(struct xen_grants *t, struct grant *g)
{
	struct grant_entry_v1 *e = &t->table[g->ref];
	struct active *a = &t->active[g->ref];

	if (!mark(e, g->write))
		return -EINVAL;
	if (!a->uses++)
		a->mfn = __atomic_load_n(&e->frame, __ATOMIC_SEQ_CST);
	a->writers += g->write;
	g->mfn = a->mfn;
	return 0;
}

static void end(struct xen_grants *t, const struct grant *g)
{
	struct active *a = &t->active[g->ref];
	u16 done = 0;

	a->writers -= g->write;
	if (!a->writers)
		done |= GTF_writing;
	if (!--a->uses)
		done |= GTF_reading;
	__atomic_fetch_and(&t->table[g->ref].flags, (u16)~done, __ATOMIC_SEQ_CST);
}

int grant_get(struct xen_domain *d, u32 ref, bool write, struct grant *g)
{
	struct xen_grants *t = d->grants;
	int r;

	if (ref >= t->frames * FRAME_ENTRIES)
		return -EINVAL;
	*g = (struct grant){ .ref = ref, .write = write };
	pthread_mutex_lock(&t->lock);
	r = begin(t, g);
	pthread_mutex_unlock(&t->lock);
	if (r)
		return r;
	g->host = mm_get(d, g->mfn, write ? FRAME_WRITABLE : FRAME_NONE);
	if (g->host)
		return 0;
	pthread_mutex_lock(&t->lock);
	end(t, g);
	pthread_mutex_unlock(&t->lock);
	return -EINVAL;
}

/* The frame first: once its bits are clear the guest may think that it can be a page table. */
void grant_put(struct xen_domain *d, const struct grant *g)
{
	struct xen_grants *t = d->grants;

	mm_put(d, g->mfn, g->write ? FRAME_WRITABLE : FRAME_NONE);
	pthread_mutex_lock(&t->lock);
	end(t, g);
	pthread_mutex_unlock(&t->lock);
}

/* ---- the hypercall ---- */

static s16 check_domain(domid_t dom)
{
	return dom == DOMID_SELF || dom == XEN_DOMID ? GNTST_okay : dom ? GNTST_bad_domain : GNTST_permission_denied;
}

static s64 setup_table(struct vcpu *v, u64 gla)
{
	struct xen_grants *t = xen_of(v)->grants;
	struct gnttab_setup_table op;
	u64 mfn[GRANT_FRAMES], list;
	u32 had;

	if (guest_read(v, gla, &op, sizeof(op)))
		return -EFAULT;
	op.status = check_domain(op.dom);
	if (!op.status && op.nr_frames > GRANT_FRAMES)
		op.status = GNTST_general_error;
	if (!op.status) {
		list = (u64)op.frame_list.p;
		for (u32 i = 0; i < op.nr_frames; i++)
			mfn[i] = t->first_mfn + i;
		if (guest_write(v, list, mfn, op.nr_frames * sizeof(mfn[0])))
			return -EFAULT;
		had = atomic_load(&t->frames);
		while (had < op.nr_frames && !atomic_compare_exchange_weak(&t->frames, &had, op.nr_frames))
			;
	}
	return guest_write(v, gla, &op, sizeof(op)) ? -EFAULT : 0;
}

static s64 query_size(struct vcpu *v, u64 gla)
{
	struct gnttab_query_size op;

	if (guest_read(v, gla, &op, sizeof(op)))
		return -EFAULT;
	op.status = check_domain(op.dom);
	op.nr_frames = op.status ? 0 : xen_of(v)->grants->frames;
	op.max_nr_frames = op.status ? 0 : GRANT_FRAMES;
	return guest_write(v, gla, &op, sizeof(op)) ? -EFAULT : 0;
}

/* Version 1 is what there is. */
static s64 set_version(struct vcpu *v, u64 gla)
{
	struct gnttab_set_version op;

	if (guest_read(v, gla, &op, sizeof(op)))
		return -EFAULT;
	if (op.version != 1)
		return op.version == 2 ? -ENOSYS : -EINVAL;
	return guest_write(v, gla, &op, sizeof(op)) ? -EFAULT : 0;
}

static s64 get_version(struct vcpu *v, u64 gla)
{
	struct gnttab_get_version op;

	if (guest_read(v, gla, &op, sizeof(op)))
		return -EFAULT;
	if (check_domain(op.dom))
		return op.dom ? -ESRCH : -EPERM;
	op.version = 1;
	return guest_write(v, gla, &op, sizeof(op)) ? -EFAULT : 0;
}

/* What takes other domains' grants: each of the operations gets its error, as there are no such domains. */
static s64 refuse(struct vcpu *v, u64 gla, u64 count, size_t size, size_t at, s16 status)
{
	if (count > BATCH_MAX)
		return -EINVAL;
	for (u64 i = 0; i < count; i++)
		if (guest_write(v, gla + i * size + at, &status, sizeof(status)))
			return -EFAULT;
	return 0;
}
#define REFUSE(type, status_) refuse(v, arg[1], arg[2], sizeof(struct type), offsetof(struct type, status), status_)

/* (cmd, operations, how many) */
s64 hypercall_grant_table_op(struct vcpu *v, const u64 arg[6])
{
	switch (arg[0]) {
	case GNTTABOP_map_grant_ref: return REFUSE(gnttab_map_grant_ref, GNTST_bad_domain);
	case GNTTABOP_unmap_grant_ref: return REFUSE(gnttab_unmap_grant_ref, GNTST_bad_handle);
	case GNTTABOP_unmap_and_replace: return REFUSE(gnttab_unmap_and_replace, GNTST_bad_handle);
	case GNTTABOP_transfer: return REFUSE(gnttab_transfer, GNTST_bad_domain);
	case GNTTABOP_copy: return REFUSE(gnttab_copy, GNTST_bad_domain);
	case GNTTABOP_setup_table: return arg[2] == 1 ? setup_table(v, arg[1]) : -EINVAL;
	case GNTTABOP_query_size: return arg[2] == 1 ? query_size(v, arg[1]) : -EINVAL;
	case GNTTABOP_set_version: return set_version(v, arg[1]);
	case GNTTABOP_get_version: return get_version(v, arg[1]);
	default: return -ENOSYS;
	}
}

/* ---- making and releasing ---- */

int grants_create(struct xen_domain *d, u64 first_mfn, struct error *err)
{
	struct xen_grants *t = calloc(1, sizeof(*t));

	if (!t)
		return error_set(err, ENOMEM, "no memory for grant tables");
	pthread_mutex_init(&t->lock, NULL);
	t->first_mfn = first_mfn;
	t->frames = 1;
	t->table = (struct grant_entry_v1 *)ram_ptr(d->machine, first_mfn << PAGE_SHIFT, GRANT_FRAMES * PAGE_SIZE);
	d->grants = t;
	if (!t->table) {
		grants_destroy(d);
		return error_set(err, EINVAL, "the grant table's frames are no RAM");
	}
	for (u32 i = 0; i < GRANT_FRAMES; i++)
		mm_share(d, first_mfn + i, true);
	return 0;
}

void grants_destroy(struct xen_domain *d)
{
	struct xen_grants *t = d->grants;

	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	free(t);
	d->grants = NULL;
}
