/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of the code cache: for code and for what C keeps about it, both below 2 GiB, so that addresses fit 32 bits; and places in the
 * vCPUs' areas (area.c). Each of these is cut into as many parts, and the n-th of all are generation n.
 *
 * No page of it is ever writable and executable: one memfd is mapped twice, to write and to run. Kernels jump about in
 * megabytes of code: where the host gives huge pages, they cost it fewer misses of its TLB, and fewer page faults on the way.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engines/dbt/region.h"
#include "util/cleanup.h"

#define CODE_MIN	(4u << 20)
#define CODE_FEW	(128u << 20) /* for up to FEW_CPUS */
#define FEW_CPUS	4
#define CODE_MAX	(256u << 20) /* MAP_32BIT gives a GiB, for this and the other one */
#define HUGE_FROM	(64u << 20) /* caches below have small pages */
#define META_SIZE(code) ((code) / 2 * 3)
#define HOT_SHARE(size) ((size) / 2)
#define ROOM_INSN	512 /* no instruction needs more of hot or cold code, or of what C keeps */
#define ROOM_CODE	(BLOCK_INSNS * ROOM_INSN)
#define ROOM_REGION	(REGION_INSNS * ROOM_INSN)
#define ROOM_TOUCHED	16384
#define ROOM_SLOTS	(REGION_INSNS * 2 * sizeof(struct slot))
#define PART_MIN	(4 * ROOM_REGION)

#define HUGE_PAGE (2u << 20)
#define RESERVED  65536u /* shares of the code's size are multiples of it, so of pages */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

void *meta_alloc(struct dbt *d, size_t size)
{
	void *p = d->meta_next;

	d->meta_next += (size + 15) & ~(size_t)15;
	memset(p, 0, size);
	return p;
}

u32 touched_alloc(struct dbt *d, size_t size)
{
	u32 place = (d->touched_next + (u32)size - 1) & ~((u32)size - 1);

	d->touched_next = place + (u32)size;
	return place;
}

u32 slot_alloc(struct dbt *d)
{
	u32 place = d->slots_next;

	d->slots_next += sizeof(struct slot);
	return place;
}

/* ---- generations ---- */

/* Part k of n of what lies between two addresses. */
static struct part part_of(u8 *begin, u8 *end, unsigned k, unsigned n)
{
	size_t size = ((size_t)(end - begin) / n) & ~(size_t)63;

	return (struct part){ begin + k * size, k + 1 == n ? end : begin + (k + 1) * size };
}

/* Whole pages, as each is cleared by itself. */
static struct span span_of(u32 begin, u32 end, unsigned k, unsigned n)
{
	u32 size = (end - begin) / n & (u32)PAGE_MASK;

	return (struct span){ begin + k * size, k + 1 == n ? end : begin + (k + 1) * size };
}

void memory_divide(struct dbt *d)
{
	size_t hot = (size_t)(d->hot.end - d->code_rw);
	unsigned n = (unsigned)MAX(2, MIN(GENERATIONS, hot / PART_MIN));

	d->generations = n;
	for (unsigned k = 0; k < n; k++) {
		d->generation[k].hot = part_of(d->hot.p, d->hot.end, k, n);
		d->generation[k].cold = part_of(d->cold.p, d->cold.end, k, n);
		d->generation[k].meta = part_of(d->meta_next, d->meta_end, k, n);
		d->generation[k].touched = span_of(d->touched, d->touched_end, k, n);
		d->generation[k].slots = span_of(d->slots, d->slots_end, k, n);
	}
	memory_enter(d, 0);
}

u64 memory_used(const struct dbt *d)
{
	u64 used = 0;

	for (unsigned k = 0; k < d->generations; k++) {
		const struct generation *g = &d->generation[k];
		if (k == d->now)
			used += (u64)(d->hot.p - g->hot.begin) + (u64)(d->cold.p - g->cold.begin);
		else if (g->blocks)
			used += (u64)(g->hot.end - g->hot.begin) + (u64)(g->cold.end - g->cold.begin);
	}
	return used;
}

void memory_enter(struct dbt *d, unsigned generation)
{
	const struct generation *g = &d->generation[generation];

	d->now = generation;
	d->hot.p = g->hot.begin;
	d->hot.end = g->hot.end;
	d->cold.p = g->cold.begin;
	d->cold.end = g->cold.end;
	d->meta_next = g->meta.begin;
	d->meta_end = g->meta.end;
	d->touched_next = g->touched.begin;
	d->touched_end = g->touched.end;
	d->slots_next = g->slots.begin;
	d->slots_end = g->slots.end;
	d->next = d->generations;
}

void memory_leave(struct dbt *d)
{
	d->hot.end = d->hot.p;
}

/* ---- huge pages ---- */

/* A shared mapping gets one when it is asked for after its first page is there. */
static bool make_huge(const struct dbt *d, u8 *rw)
{
	u8 *rx = d->code_rx + (rw - d->code_rw);

	return madvise(rw, PAGE_SIZE, MADV_POPULATE_WRITE) == 0 && madvise(rw, HUGE_PAGE, MADV_COLLAPSE) == 0 &&
	       madvise(rx, HUGE_PAGE, MADV_COLLAPSE) == 0;
}

/* Makes the pages that e will soon reach huge, once. Where the host does not, its pages come one by one. */
static void advance(struct dbt *d, const struct emit *e, u8 **ready, const u8 *end)
{
	if (likely(e->p + ROOM_REGION <= *ready) || *ready >= end)
		return;
	while (*ready + HUGE_PAGE <= e->p) /* the rest of a part that was not filled */
		*ready += HUGE_PAGE;
	if (!d->small_pages && !make_huge(d, *ready))
		d->small_pages = true;
	*ready += HUGE_PAGE;
}

static bool has_room(const struct dbt *d, s64 room)
{
	return d->hot.end - d->hot.p >= room && d->cold.end - d->cold.p >= room && d->meta_end - d->meta_next >= room &&
	       d->touched_end - d->touched_next >= ROOM_TOUCHED && d->slots_end - d->slots_next >= ROOM_SLOTS;
}

bool memory_is_short(const struct dbt *d)
{
	const struct generation *g = &d->generation[d->now];

	return !has_room(d, MIN(g->hot.end - g->hot.begin, g->cold.end - g->cold.begin) / 4);
}

bool memory_ready_for_region(const struct dbt *d)
{
	return has_room(d, ROOM_REGION);
}

bool memory_ready(struct dbt *d)
{
	if (!has_room(d, ROOM_CODE))
		return false;
	advance(d, &d->hot, &d->hot_ready, d->generation[d->generations - 1].hot.end);
	advance(d, &d->cold, &d->cold_ready, d->generation[d->generations - 1].cold.end);
	return true;
}

/* ---- making ---- */

static void *map(size_t size, int prot, int flags, int fd)
{
	void *p = mmap(NULL, size, prot, flags | MAP_NORESERVE, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Room for huge pages: reserved first, then cut to what is aligned. low: MAP_32BIT or 0. */
static void *map_aligned(size_t size, int prot, int flags, int fd, int low)
{
	u8 *room = map(size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | low, -1), *at;

	if (!room)
		return NULL;
	at = (u8 *)(((u64)room + HUGE_PAGE - 1) & ~(u64)(HUGE_PAGE - 1));
	if (at > room)
		munmap(room, (size_t)(at - room));
	munmap(at + size, (size_t)(room + HUGE_PAGE - at));
	if (mmap(at, size, prot, flags | MAP_NORESERVE | MAP_FIXED, fd, 0) == MAP_FAILED) {
		munmap(at, size);
		return NULL;
	}
	return at;
}

static void *map_data(size_t size)
{
	return map_aligned(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, MAP_32BIT);
}

static int map_all(struct dbt *d, struct error *err)
{
	_cleanup_fd_ int fd = memfd_create("code", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)d->code_size))
		return error_set(err, errno, "cannot make the code cache: %s", strerror(errno));
	d->code_rw = map_aligned(d->code_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	d->code_rx = map_aligned(d->code_size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, MAP_32BIT);
	d->meta = map_data(META_SIZE(d->code_size));
	if (!d->many)
		d->low_memory = map_aligned(AREA_ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, MAP_32BIT);
	if (!d->code_rw || !d->code_rx || !d->meta || (!d->many && !d->low_memory))
		return error_set(err, ENOMEM, "no memory below 2 GiB for the code cache");
	return 0;
}

/* A limit on files counts for the memfd too. */
static u64 file_limit(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) ? RLIM_INFINITY : limit.rlim_cur;
}

int memory_create(struct dbt *d, const struct machine_config *config, struct error *err)
{
	u64 most = config->cpus > FEW_CPUS ? CODE_MAX : CODE_FEW;

	if (config->code_cache)
		most = MIN(most, config->code_cache);
	d->code_size = MIN(most, file_limit()) & ~(u64)(8 * RESERVED - 1);
	if (d->code_size < CODE_MIN)
		return error_set(err, EFBIG,
				 "the limit on files (ulimit -f) leaves no room for the code cache: %u MiB at least",
				 CODE_MIN >> 20);
	if (map_all(d, err))
		return err->code;
	s64 to_run = d->code_rx - d->code_rw;
	d->meta_next = d->meta;
	d->meta_end = d->meta + META_SIZE(d->code_size);
	area_layout(d);
	d->hot = (struct emit){ d->code_rw, d->code_rw + HOT_SHARE(d->code_size), to_run };
	d->cold = (struct emit){ d->hot.end, d->code_rw + d->code_size, to_run };
	d->hot_ready = d->hot.p;
	d->cold_ready = d->cold.p;
	d->small_pages = d->code_size < HUGE_FROM;
	if (!d->small_pages)
		madvise(d->meta, META_SIZE(d->code_size), MADV_HUGEPAGE);
	return 0;
}

void memory_destroy(struct dbt *d)
{
	if (d->code_rw)
		munmap(d->code_rw, d->code_size);
	if (d->code_rx)
		munmap(d->code_rx, d->code_size);
	if (d->meta)
		munmap(d->meta, META_SIZE(d->code_size));
	if (d->low_memory)
		munmap(d->low_memory, AREA_ROOM);
}
