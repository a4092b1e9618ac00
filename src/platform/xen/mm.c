/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The domain's frames as a whole: making and giving them, the machine-to-physical table, uses by others than page tables. The last frames
 * of the machine's RAM are ours: the machine-to-physical table, the tables that show it, and what mm_alloc() takes.
 */
#include <stdlib.h>
#include <string.h>

#include "platform/xen/mm-internal.h"

#define LOW_FRAMES (LOW_RAM_LIMIT >> PAGE_SHIFT)
#define HIGH_FRAME (HIGH_RAM_BASE >> PAGE_SHIFT)
#define PTES_PAGE  (PAGE_SIZE / 8)
#define TABLES_L1  ((MACHINE_MAX_CPUS * (GDT_PAGES + LDT_PAGES)) / TABLE_ENTRIES)
#define OWN_FIXED \
	(1 + 1 + 1 + TABLES_L1 + 2) /* L3, L2 of the descriptor tables, zeros, selectors; and mfn 0, a spare */
#define SHOWN (PTE_P | PTE_A)

static u64 pages_for(u64 n, u64 per_page)
{
	return (n + per_page - 1) / per_page;
}

static u64 limit_for(u64 frames)
{
	return frames > LOW_FRAMES ? frames + HIGH_FRAME - LOW_FRAMES : frames;
}

/* M2P for that many frames: the table, its L1s, its L2s. */
static u64 m2p_frames(u64 limit)
{
	u64 pages = pages_for(limit, PTES_PAGE), l1s = pages_for(pages, PTES_PAGE);

	return pages + l1s + pages_for(l1s, PTES_PAGE);
}

u64 mm_overhead(u64 domain_frames, unsigned cpus, unsigned others)
{
	u64 fixed = OWN_FIXED + others, total = domain_frames + fixed;

	/* It has to show its own frames too. */
	total += m2p_frames(limit_for(total + m2p_frames(limit_for(total)) + 3));
	return total - domain_frames;
}

u64 mm_nth(const struct xen_domain *d, u64 i)
{
	return ram_gpa(d->machine, d->machine->ram + ((i + 1) << PAGE_SHIFT)) >> PAGE_SHIFT; /* 0 means none to some */
}

u64 mm_free_frames(const struct xen_domain *d)
{
	return d->mm->next - 1;
}

/* Downwards from the end, in one piece. */
static u64 take(struct xen_domain *d, u64 frames)
{
	struct machine *m = d->machine;
	u8 *host;

	if (d->mm->next <= frames)
		return 0;
	d->mm->next -= frames;
	host = m->ram + (d->mm->next << PAGE_SHIFT);
	memset(host, 0, frames << PAGE_SHIFT);
	machine_written(m, host, frames << PAGE_SHIFT);
	return ram_gpa(m, host) >> PAGE_SHIFT;
}

u64 mm_alloc(struct xen_domain *d)
{
	return atomic_load(&d->mm->total) ? 0 : take(d, 1);
}

/* ---- slot 256 ---- */

/* A table that maps pieces that follow each other in RAM, but for the hole. */
static u64 map_pieces(struct xen_domain *d, u64 first_mfn, u64 n)
{
	u64 tables = pages_for(n, PTES_PAGE), mfn = take(d, tables);
	u8 *first = frame_host(d, first_mfn);
	u64 *p = mfn ? table_host(d, mfn) : NULL;

	for (u64 i = 0; p && i < n; i++)
		p[i] = ram_gpa(d->machine, first + (i << PAGE_SHIFT)) | SHOWN;
	return mfn;
}

static void make_selectors(u64 *page)
{
	page[4] = 0x00cffb000000ffff; /* 0xe023: FLAT_RING3_CS32 */
	page[5] = 0x00cff3000000ffff; /* 0xe02b: FLAT_RING3_SS32, _DS32 */
	page[6] = 0x00affb000000ffff; /* 0xe033: FLAT_RING3_CS64 */
}

static void show_table(u64 *table, unsigned slot, u64 mfn)
{
	table[slot] = mfn << PAGE_SHIFT | SHOWN;
}

/* The vCPUs' descriptor tables: zeros, but for the page of selectors. Returns their L2's mfn. */
static u64 make_tables(struct xen_domain *d)
{
	struct xen_mm *mm = d->mm;
	u64 l2 = take(d, 1), l1;

	mm->zero_mfn = take(d, 1);
	mm->gdt_mfn = take(d, 1);
	for (unsigned k = 0; k < TABLES_L1; k++) {
		l1 = take(d, 1);
		if (!l1 || !l2)
			return 0;
		mm->table_l1[k] = table_host(d, l1);
		show_table(table_host(d, l2), k, l1);
		for (unsigned i = 0; i < TABLE_ENTRIES; i++)
			show_table(mm->table_l1[k], i,
				   i % (GDT_PAGES + LDT_PAGES) == GDT_OWN ? mm->gdt_mfn : mm->zero_mfn);
	}
	make_selectors(table_host(d, mm->gdt_mfn));
	return l2;
}

static int make_hidden(struct xen_domain *d)
{
	struct xen_mm *mm = d->mm;
	u64 pages = pages_for(mm->limit, PTES_PAGE), m2p = take(d, pages), l1, l2, l3, tables;

	if (!m2p)
		return -ENOMEM;
	mm->m2p = table_host(d, m2p);
	memset(mm->m2p, 0xff, pages << PAGE_SHIFT);
	l1 = map_pieces(d, m2p, pages);
	l2 = l1 ? map_pieces(d, l1, pages_for(pages, PTES_PAGE)) : 0;
	l3 = l2 ? map_pieces(d, l2, pages_for(pages_for(pages, PTES_PAGE), PTES_PAGE)) : 0;
	tables = make_tables(d);
	if (!l3 || !tables)
		return -ENOMEM;
	show_table(table_host(d, l3), TABLE_ENTRIES - 1, tables);
	mm->hidden = l3 << PAGE_SHIFT | SHOWN;
	return 0;
}

u64 mm_hidden_entry(const struct xen_domain *d)
{
	return d->mm->hidden;
}

/* ---- making ---- */

int mm_create(struct xen_domain *d, struct error *err)
{
	struct machine *m = d->machine;
	u64 frames = m->config.ram_size >> PAGE_SHIFT;
	struct xen_mm *mm = calloc(1, sizeof(*mm));

	if (!mm)
		return error_set(err, ENOMEM, "no memory for the frames' types");
	d->mm = mm;
	pthread_mutex_init(&mm->lock, NULL);
	pthread_mutex_init(&mm->pool_lock, NULL);
	mm->limit = limit_for(frames);
	mm->next = frames;
	mm->frame = calloc(mm->limit, sizeof(*mm->frame));
	mm->pool = calloc(frames, sizeof(*mm->pool));
	if (!mm->frame || !mm->pool || mmu_track_writers(m) || make_hidden(d)) {
		mm_destroy(d);
		return error_set(err, ENOMEM, "no memory for the types of %llu frames", (unsigned long long)frames);
	}
	return 0;
}

void mm_destroy(struct xen_domain *d)
{
	struct xen_mm *mm = d->mm;

	if (!mm)
		return;
	for (u64 mfn = 0; mm->frame && mfn < mm->limit; mfn++)
		if (word_type(mm->frame[mfn].word) > FRAME_WRITABLE)
			flush_after_table(d, mfn, true);
	mmu_untrack_writers(d->machine);
	pthread_mutex_destroy(&mm->lock);
	pthread_mutex_destroy(&mm->pool_lock);
	free(mm->frame);
	free(mm->pool);
	free(mm);
	d->mm = NULL;
}

void mm_give(struct xen_domain *d, u64 mfn, u64 pfn)
{
	struct xen_mm *mm = d->mm;

	__atomic_store_n(&mm->m2p[mfn], pfn, __ATOMIC_RELAXED);
	atomic_store(&mm->frame[mfn].word, F_OWNED);
	atomic_fetch_add(&mm->total, 1);
	mm->initial += !mm->built;
}

void mm_share(struct xen_domain *d, u64 mfn, bool writable)
{
	atomic_store(&d->mm->frame[mfn].word, F_SHARED | (writable ? F_SHARED_RW : 0));
}

int mm_pin_initial(struct xen_domain *d, u64 l4_mfn, struct error *err)
{
	d->mm->built = true;
	if (type_pin(d, l4_mfn, FRAME_L4))
		return error_set(err, EINVAL, "the domain's first page tables are not in order");
	return 0;
}

/* ---- uses ---- */

/* As a table or descriptors nobody but page tables uses one. */
u8 *mm_get(struct xen_domain *d, u64 mfn, enum frame_type as)
{
	if (as > FRAME_WRITABLE || frame_get(d->mm, mfn, as == FRAME_WRITABLE))
		return NULL;
	atomic_fetch_add_explicit(&d->mm->held_refs, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&d->mm->held_writes, as == FRAME_WRITABLE, memory_order_relaxed);
	ram_use(d->machine, frame_host(d, mfn));
	return frame_host(d, mfn);
}

void mm_put(struct xen_domain *d, u64 mfn, enum frame_type as)
{
	atomic_fetch_sub_explicit(&d->mm->held_refs, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&d->mm->held_writes, as == FRAME_WRITABLE, memory_order_relaxed);
	frame_put(d, mfn, as == FRAME_WRITABLE);
}

u64 mm_total_pages(struct xen_domain *d)
{
	return atomic_load(&d->mm->total);
}
