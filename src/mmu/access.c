/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads and stores by linear address: the slow half of what engines do inline. Each access is resolved page by page to host
 * memory or MMIO; one that spans two pages checks both before it touches either.
 */
#include <string.h>

#include "mmu/mmu-internal.h"

static struct spot *spot_of(struct vcpu *v, u64 gla)
{
	return &v->mmu->now->spot[gla >> PAGE_SHIFT & (SPOTS - 1)];
}

/* A store of a CPU's is about to hit the page. */
static void tell_store(struct machine *m, u8 *page)
{
	if (unlikely(m->tap && m->tap->stores))
		m->tap->stores(m->tap, page);
}

static bool spot_find(struct vcpu *v, u64 gla, enum intent intent, enum mmu_access how, struct place *p)
{
	const struct spot *s = spot_of(v, gla);
	bool write = intent == INTENT_WRITE;

	if (s->page != (gla & PAGE_MASK) || s->view != tlb_view(v, how) || (write && !s->write) ||
	    intent == INTENT_FETCH)
		return false;
	if (s->host && page_writable(v, ram_page_index(v->machine, s->host)) != WRITABLE_CODE)
		return false; /* it has no code any more, so the TLB may have it; or it is a page table now */
	*p = (struct place){ .gpa = s->gpa | (gla & ~PAGE_MASK), .code = s->host && write };
	if (!s->host)
		return true;
	p->host = s->host + (gla & ~PAGE_MASK);
	if (write)
		tell_store(v->machine, s->host);
	return true;
}

static void spot_enter(struct vcpu *v, u64 gla, enum intent intent, enum mmu_access how, const struct walk *w, u8 *page)
{
	const struct tlb_entry *view = tlb_view(v, how);

	if (view == v->mmu->none)
		return;
	*spot_of(v, gla) = (struct spot){ gla & PAGE_MASK, view, w->gpa & PAGE_MASK, page,
					  w->writable || intent == INTENT_WRITE };
	v->mmu->now->low_global |= w->global && !(gla >> 63);
}

/* A store that the tables forbid: the platform may do it all the same. */
static bool table_place(struct vcpu *v, enum intent intent, u32 error, const struct walk *w, struct place *p)
{
	const struct deprivileged_ops *ops = v->machine->deprivileged;

	if (likely(!ops) || intent != INTENT_WRITE || error != (PF_P | PF_W) || w->shift != PAGE_SHIFT ||
	    !ram_ptr(v->machine, w->gpa & PAGE_MASK, PAGE_SIZE) || !ops->is_table(v, w->gpa))
		return false;
	*p = (struct place){ .gpa = w->gpa, .table = true };
	return true;
}

/* Where a walk has led. False: the page became a page table since the walk saw an entry that allows a store. */
static bool walked_place(struct vcpu *v, u64 gla, enum intent intent, enum mmu_access how, const struct walk *w,
			 struct place *p)
{
	struct machine *m = v->machine;
	u8 *page = ram_ptr(m, w->gpa & PAGE_MASK, PAGE_SIZE);

	*p = (struct place){ .gpa = w->gpa, .host = page ? page + (gla & ~PAGE_MASK) : NULL };
	if (!page) {
		spot_enter(v, gla, intent, how, w, NULL);
		return true;
	}
	tlb_fill(v, gla, how, w, page);
	if (intent != INTENT_WRITE)
		return true;
	tell_store(m, page);
	enum writable may = page_writable(v, ram_page_index(m, page));
	p->code = may == WRITABLE_CODE;
	if (p->code)
		spot_enter(v, gla, intent, how, w, page);
	return may != WRITABLE_NOT;
}

/* One walk more is enough, unless types of frames are wrong: then the guest may fault for ever, we may not loop for ever. */
#define WALKS_MAX 1000

bool mmu_try_resolve(struct vcpu *v, u64 gla, enum intent intent, enum mmu_access how, struct place *p, u32 *error)
{
	struct tlb_entry *e = tlb_find(v, tlb_view(v, how), gla);
	u64 tag = intent == INTENT_WRITE ? e->wr : e->rd;
	struct walk w;

	if (tlb_hits(tag, gla, 1)) {
		*p = (struct place){ .host = (u8 *)(gla + e->delta),
				     .gpa = (e->info & PAGE_MASK) | (gla & ~PAGE_MASK) };
		return true;
	}
	if (spot_find(v, gla, intent, how, p))
		return true;
	for (unsigned k = 0; k < WALKS_MAX; k++) {
		if (!mmu_walk(v, gla, intent, how, &w, error))
			return table_place(v, intent, *error, &w, p);
		if (likely(walked_place(v, gla, intent, how, &w, p)))
			return true;
	}
	*error = PF_P | PF_W;
	return false;
}

void mmu_resolve(struct vcpu *v, u64 gla, enum intent intent, enum mmu_access how, struct place *p)
{
	u32 error;

	if (!mmu_try_resolve(v, gla, intent, how, p, &error))
		vcpu_page_fault(v, gla, error);
}

/* #AC comes after page faults and only for CPL 3 (SDM vol. 3, 6.15): the view that never hits brings such accesses here. */
static void check_alignment(struct vcpu *v, u64 gla, unsigned size, enum mmu_access how)
{
	if (unlikely(v->tlb == v->mmu->none && how == MMU_EXPLICIT && (gla & (size - 1))))
		vcpu_raise_error(v, EXC_AC, 0);
}

static u64 host_load(const u8 *p, unsigned size)
{
	switch (size) {
	case 1: return *(const volatile u8 *)p;
	case 2: return *(const volatile u16_una *)p;
	case 4: return *(const volatile u32_una *)p;
	default: return *(const volatile u64_una *)p;
	}
}

static void host_store(u8 *p, unsigned size, u64 x)
{
	switch (size) {
	case 1: *(volatile u8 *)p = (u8)x; break;
	case 2: *(volatile u16_una *)p = (u16)x; break;
	case 4: *(volatile u32_una *)p = (u32)x; break;
	default: *(volatile u64_una *)p = x;
	}
}

static unsigned page_room(u64 gla)
{
	return (unsigned)(PAGE_SIZE - (gla & ~PAGE_MASK));
}

static u64 device_read(struct vcpu *v, u64 gpa, unsigned size)
{
	u8 place = vcpu_at(v, PLACE_DEVICE);
	u64 x = bus_read(&v->machine->mmio, gpa, size);

	vcpu_at(v, place);
	return x;
}

static void device_write(struct vcpu *v, u64 gpa, unsigned size, u64 x)
{
	u8 place = vcpu_at(v, PLACE_DEVICE);

	bus_write(&v->machine->mmio, gpa, size, x);
	vcpu_at(v, place);
}

/* ---- page tables that their guest may write to, validated ---- */

static _Noreturn void table_refused(struct vcpu *v, u64 gla)
{
	vcpu_page_fault(v, gla, PF_P | PF_W);
}

/* An entry at a time. What lies beside it in the guest's memory is not part of the store. */
static void table_write(struct vcpu *v, u64 gla, const struct place *p, const u8 *buf, unsigned len)
{
	for (unsigned k = 0, n; k < len; k += n) {
		u64 gpa = p->gpa + k, value = 0;
		n = MIN(len - k, 8 - (unsigned)(gpa & 7));
		memcpy(&value, buf + k, n);
		if (!v->machine->deprivileged->table_store(v, gpa, n, value, NULL))
			table_refused(v, gla + k);
	}
}

/* One entry, or a part of it. */
static u64 table_cmpxchg(struct vcpu *v, u64 gla, const struct place *p, unsigned size, u64 old, u64 new_value)
{
	u64 seen = old;

	if (!v->machine->deprivileged->table_store(v, p->gpa, size, new_value, &seen))
		table_refused(v, gla);
	return seen;
}

/* MMIO takes 1, 2, 4 or 8 bytes; other lengths go byte by byte. */
static void place_read(struct vcpu *v, const struct place *p, void *buf, unsigned len)
{
	if (p->host || unlikely(p->table)) {
		memcpy(buf, p->host ? p->host : ram_ptr(v->machine, p->gpa, len), len);
		return;
	}
	v->stats.exits_mmio++;
	if ((len & (len - 1)) == 0 && len <= 8) {
		u64 x = device_read(v, p->gpa, len);
		memcpy(buf, &x, len);
		return;
	}
	for (unsigned k = 0; k < len; k++)
		((u8 *)buf)[k] = (u8)device_read(v, p->gpa + k, 1);
}

static void code_written(struct vcpu *v, const struct place *p, unsigned len)
{
	code_was_written(v, ram_page_index(v->machine, p->host), p->gpa & ~PAGE_MASK, len);
}

static void place_write(struct vcpu *v, u64 gla, const struct place *p, const void *buf, unsigned len)
{
	if (p->host) {
		memcpy(p->host, buf, len);
		if (unlikely(p->code))
			code_written(v, p, len);
		return;
	}
	if (unlikely(p->table)) {
		table_write(v, gla, p, buf, len);
		return;
	}
	v->stats.exits_mmio++;
	if ((len & (len - 1)) == 0 && len <= 8) {
		u64 x = 0;
		memcpy(&x, buf, len);
		device_write(v, p->gpa, len, x);
		return;
	}
	for (unsigned k = 0; k < len; k++)
		device_write(v, p->gpa + k, 1, ((const u8 *)buf)[k]);
}

/* The one or two places of an access of at most a page; returns how many bytes lie in the first. */
static unsigned resolve_span(struct vcpu *v, u64 gla, unsigned len, enum intent intent, enum mmu_access how,
			     struct place p[2])
{
	unsigned first = MIN(len, page_room(gla));

	mmu_resolve(v, gla, intent, how, &p[0]);
	if (first < len) {
		u64 next = gla + first;
		if (v->code_size != CODE_64 && !(v->efer & EFER_LMA))
			next = (u32)next;
		mmu_resolve(v, next, intent, how, &p[1]);
	}
	if (unlikely(v->mmu->watching))
		watch_check(v, gla, len, intent == INTENT_WRITE);
	return first;
}

void mmu_read(struct vcpu *v, u64 gla, void *buf, unsigned len, enum mmu_access how)
{
	struct place p[2];
	unsigned first = resolve_span(v, gla, len, INTENT_READ, how, p);

	place_read(v, &p[0], buf, first);
	if (first < len)
		place_read(v, &p[1], (u8 *)buf + first, len - first);
}

void mmu_write(struct vcpu *v, u64 gla, const void *buf, unsigned len, enum mmu_access how)
{
	struct place p[2];
	unsigned first = resolve_span(v, gla, len, INTENT_WRITE, how, p);

	/* While one page's table is written to, the other may become one. */
	if (first < len && unlikely(p[0].table || p[1].table))
		table_refused(v, p[0].table ? gla : gla + first);
	place_write(v, gla, &p[0], buf, first);
	if (first < len)
		place_write(v, gla + first, &p[1], (const u8 *)buf + first, len - first);
}

/* A page at a time; false: it would fault, or is no RAM. do_copy false: only looks. */
static bool try_pages(struct vcpu *v, u64 gla, void *buf, u64 len, enum intent intent, bool do_copy)
{
	struct place p;
	u32 error;
	u8 *b = buf;

	for (u64 k = 0, n; k < len; k += n) {
		n = MIN(len - k, (u64)page_room(gla + k));
		if (!mmu_try_resolve(v, gla + k, intent, MMU_EXPLICIT, &p, &error) || !p.host)
			return false;
		if (!do_copy)
			continue;
		if (intent == INTENT_READ)
			memcpy(b + k, p.host, n);
		else
			place_write(v, gla + k, &p, b + k, (unsigned)n);
	}
	return true;
}

static bool try_access(struct vcpu *v, u64 gla, void *buf, u64 len, enum intent intent)
{
	/* An end beyond the last address wraps; half the address space is a hole. */
	if (len > BIT(32) || (s64)(gla << 16) >> 16 != (s64)gla || (s64)((gla + len) << 16) >> 16 != (s64)(gla + len))
		return false;
	/* One page is looked at as it is copied. */
	if (len > page_room(gla) && !try_pages(v, gla, buf, len, intent, false))
		return false;
	return try_pages(v, gla, buf, len, intent, true);
}

bool mmu_try_read(struct vcpu *v, u64 gla, void *buf, u64 len)
{
	const struct tlb_entry *e = tlb_slot(v->tlb, gla);

	if (likely(len <= PAGE_SIZE && tlb_hits(e->rd, gla, (unsigned)len))) {
		memcpy(buf, (u8 *)(gla + e->delta), len);
		return true;
	}
	return try_access(v, gla, buf, len, INTENT_READ);
}

bool mmu_try_write(struct vcpu *v, u64 gla, const void *buf, u64 len)
{
	const struct tlb_entry *e = tlb_slot(v->tlb, gla);

	if (likely(len <= PAGE_SIZE && tlb_hits(e->wr, gla, (unsigned)len))) {
		memcpy((u8 *)(gla + e->delta), buf, len);
		return true;
	}
	return try_access(v, gla, (void *)buf, len, INTENT_WRITE);
}

u64 mmu_load(struct vcpu *v, u64 gla, unsigned size, enum mmu_access how)
{
	struct tlb_entry *e = tlb_slot(tlb_view(v, how), gla);

	if (likely(tlb_hits(e->rd, gla, size)))
		return host_load((u8 *)(gla + e->delta), size);
	check_alignment(v, gla, size, how);
	if (size <= page_room(gla)) {
		struct place p[2];
		resolve_span(v, gla, size, INTENT_READ, how, p);
		if (p[0].host)
			return host_load(p[0].host, size);
		v->stats.exits_mmio++;
		return device_read(v, p[0].gpa, size) & (size == 8 ? ~0ull : BIT(8 * size) - 1);
	}
	u64 x = 0;
	mmu_read(v, gla, &x, size, how);
	return x;
}

void mmu_store(struct vcpu *v, u64 gla, unsigned size, u64 value, enum mmu_access how)
{
	struct tlb_entry *e = tlb_slot(tlb_view(v, how), gla);

	if (likely(tlb_hits(e->wr, gla, size))) {
		host_store((u8 *)(gla + e->delta), size, value);
		return;
	}
	check_alignment(v, gla, size, how);
	struct place p[2];
	if (size <= page_room(gla)) {
		resolve_span(v, gla, size, INTENT_WRITE, how, p);
		if (p[0].host) {
			host_store(p[0].host, size, value);
			if (unlikely(p[0].code))
				code_written(v, &p[0], size);
			return;
		}
		place_write(v, gla, &p[0], &value, size);
		return;
	}
	mmu_write(v, gla, &value, size, how);
}

void mmu_probe_write(struct vcpu *v, u64 gla, unsigned len, enum mmu_access how)
{
	struct place p;

	mmu_resolve(v, gla, INTENT_WRITE, how, &p);
	if (len > page_room(gla))
		mmu_resolve(v, gla + page_room(gla), INTENT_WRITE, how, &p);
}

void mmu_probe_read(struct vcpu *v, u64 gla, unsigned len, enum mmu_access how)
{
	struct place p;

	mmu_resolve(v, gla, INTENT_READ, how, &p);
	if (len > page_room(gla))
		mmu_resolve(v, gla + page_room(gla), INTENT_READ, how, &p);
}

static u8 *direct(struct vcpu *v, u64 gla, unsigned len, enum intent intent, enum mmu_access how)
{
	struct place p;

	mmu_resolve(v, gla, intent, how, &p);
	if (len > page_room(gla) || p.code || (v->tlb == v->mmu->none && how == MMU_EXPLICIT) ||
	    (v->mmu->watching && watch_on_page(v, gla)))
		return NULL;
	return p.host;
}

u8 *mmu_direct_write(struct vcpu *v, u64 gla, unsigned len, enum mmu_access how)
{
	return direct(v, gla, len, INTENT_WRITE, how);
}

u8 *mmu_direct_read(struct vcpu *v, u64 gla, unsigned len, enum mmu_access how)
{
	return direct(v, gla, len, INTENT_READ, how);
}

/* ---- atomics ---- */

static bool host_cmpxchg(u8 *p, unsigned size, u64 *old, u64 new_value)
{
	bool same;

	/* By hand, as the builtins may assume alignment; the CPU's LOCK does not. */
	switch (size) {
	case 1:
		asm volatile("lock cmpxchgb %3, %1"
			     : "+a"(*old), "+m"(*p), "=@ccz"(same)
			     : "q"((u8)new_value)
			     : "memory");
		break;
	case 2:
		asm volatile("lock cmpxchgw %w3, %1"
			     : "+a"(*old), "+m"(*(u16_una *)p), "=@ccz"(same)
			     : "r"(new_value)
			     : "memory");
		break;
	case 4:
		asm volatile("lock cmpxchgl %k3, %1"
			     : "+a"(*old), "+m"(*(u32_una *)p), "=@ccz"(same)
			     : "r"(new_value)
			     : "memory");
		break;
	default:
		asm volatile("lock cmpxchgq %3, %1"
			     : "+a"(*old), "+m"(*(u64_una *)p), "=@ccz"(same)
			     : "r"(new_value)
			     : "memory");
	}
	return same;
}

u64 mmu_cmpxchg(struct vcpu *v, u64 gla, unsigned size, u64 old, u64 new_value)
{
	struct place p[2];
	u64 mask = size == 8 ? ~0ull : BIT(8 * size) - 1;

	check_alignment(v, gla, size, MMU_EXPLICIT);
	unsigned first = resolve_span(v, gla, size, INTENT_WRITE, MMU_EXPLICIT, p);
	if (unlikely(v->mmu->watching))
		watch_check(v, gla, size, false);
	if (first == size && p[0].host) {
		u64 seen = old & mask;
		host_cmpxchg(p[0].host, size, &seen, new_value);
		if (unlikely(p[0].code))
			code_written(v, &p[0], size);
		return seen & mask;
	}
	if (unlikely(p[0].table) && first == size && (p[0].gpa & 7) + size <= 8)
		return table_cmpxchg(v, gla, &p[0], size, old & mask, new_value & mask);
	/* Parts of two entries are not exchanged in one go. */
	if (unlikely(p[0].table))
		table_refused(v, gla);
	if (unlikely(first < size && p[1].table))
		table_refused(v, gla + first);
	/* Two pages, or a device: no host instruction does this, so all who split a lock take turns. */
	u64 seen = 0;
	pthread_mutex_lock(&v->machine->bus_lock);
	place_read(v, &p[0], &seen, first);
	if (first < size)
		place_read(v, &p[1], (u8 *)&seen + first, size - first);
	u64 put = seen == (old & mask) ? new_value : seen;
	place_write(v, gla, &p[0], &put, first);
	if (first < size)
		place_write(v, gla + first, &p[1], (u8 *)&put + first, size - first);
	pthread_mutex_unlock(&v->machine->bus_lock);
	return seen;
}

bool mmu_cmpxchg16(struct vcpu *v, u64 gla, u64 old[2], const u64 new_value[2])
{
	struct place p[2];
	bool same;

	resolve_span(v, gla, 16, INTENT_WRITE, MMU_EXPLICIT, p);
	if (unlikely(v->mmu->watching))
		watch_check(v, gla, 16, false);
	if (unlikely(p[0].table))
		table_refused(v, gla);
	if (!p[0].host) {
		u64 seen[2];
		place_read(v, &p[0], seen, 16);
		same = seen[0] == old[0] && seen[1] == old[1];
		place_write(v, gla, &p[0], same ? new_value : seen, 16);
		memcpy(old, seen, 16);
		return same;
	}
	asm volatile("lock cmpxchg16b %1"
		     : "=@ccz"(same), "+m"(*(u128 *)p[0].host), "+a"(old[0]), "+d"(old[1])
		     : "b"(new_value[0]), "c"(new_value[1])
		     : "memory");
	if (unlikely(p[0].code))
		code_written(v, &p[0], 16);
	return same;
}

/* ---- fetch ---- */

const u8 *mmu_fetch(struct vcpu *v, u64 gla, u64 *gpa)
{
	struct fetch_entry *f = &v->mmu->now->fetch[vcpu_is_supervisor(v)][gla >> PAGE_SHIFT & (FETCH_SIZE - 1)];
	u64 offset = gla & ~PAGE_MASK;

	if (f->page != (gla & PAGE_MASK)) {
		struct walk w;
		u32 error;
		if (!mmu_walk(v, gla, INTENT_FETCH, MMU_EXPLICIT, &w, &error))
			vcpu_page_fault(v, gla, error);
		v->stats.fetch_walks++;
		f->page = gla & PAGE_MASK;
		f->gpa = w.gpa & PAGE_MASK;
		f->host = ram_ptr(v->machine, f->gpa, PAGE_SIZE);
		fetch_note(v, gla, w.global);
		if (w.shift > 12) /* INVLPG of any of its addresses must find it */
			tlb_note_large(v->mmu->now, gla, w.shift);
	}
	*gpa = f->gpa | offset;
	return f->host ? f->host + offset : NULL;
}
