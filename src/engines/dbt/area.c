/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's area: the words of translations that generated code touches and that differ by vCPU. Keys of links, counts of entries, slots,
 * the jump cache, lists of filled slots. All areas have one layout, and what has one place in all of them is one word for C, and one
 * operand for generated code: where there is one vCPU an address below 2 GiB; else relative to the vCPU, so to GS, as the area lies in the
 * room behind the vCPU that the machine leaves there.
 *
 * All of it begins as zeros, and takes memory when it is touched. What belongs to a generation becomes zeros again, on each vCPU's own thread,
 * before the generation's memory is used again (passes.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engines/dbt/dbt-internal.h"

#define TOUCHED_SIZE(code) ((code) / 8)
#define SLOTS_SIZE(code)   ((code) / 4)
#define LOW_SIZE	   ((sizeof(struct low) + PAGE_SIZE - 1) & PAGE_MASK)
#define BEHIND_VCPU	   ((sizeof(struct vcpu) + PAGE_SIZE - 1) & PAGE_MASK)
#define HUGE_CPUS	   4 /* with more vCPUs what each takes counts */

static size_t size_of(const struct dbt *d)
{
	return JUMP_CACHE_SIZE + TOUCHED_SIZE(d->code_size) + SLOTS_SIZE(d->code_size) + LOW_SIZE;
}

static u32 first_place(const struct dbt *d)
{
	return d->many ? (u32)BEHIND_VCPU : (u32)(u64)d->low_memory;
}

void area_layout(struct dbt *d)
{
	d->jump = first_place(d);
	d->low = d->jump + (u32)JUMP_CACHE_SIZE;
	d->touched = d->touched_next = d->low + (u32)LOW_SIZE;
	d->slots = d->slots_next = d->touched_end = d->touched + (u32)TOUCHED_SIZE(d->code_size);
	d->slots_end = d->slots + (u32)SLOTS_SIZE(d->code_size);
}

static int map(struct dbt_cpu *c, void *at, struct error *err)
{
	if (mmap(at, size_of(c->dbt), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		 -1, 0) == MAP_FAILED)
		return error_set(err, errno, "no memory for what the translator keeps of a CPU: %s", strerror(errno));
	return 0;
}

int area_create(struct vcpu *v, struct error *err)
{
	struct dbt_cpu *c = cpu_of(v);
	struct dbt *d = c->dbt;

	c->base = d->many ? (u8 *)v : NULL;
	if (d->many && v->machine->config.vcpu_room < AREA_ROOM)
		return error_set(err, ENOMEM, "the machine leaves the translator no room beside its CPUs");
	if (map(c, area_at(c, d->jump), err))
		return err->code;
	c->jump = area_at(c, d->jump);
	c->low = area_at(c, d->low);
	madvise(c->jump, size_of(d),
		d->small_pages || v->machine->config.cpus > HUGE_CPUS ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
	c->jump[0].key = jump_empty(0); /* the rest is as if forgotten */
	c->jump_block = calloc(1u << JUMP_CACHE_BITS, sizeof(struct block *));
	return c->jump_block ? 0 : error_set(err, ENOMEM, "no memory for what the translator keeps of a CPU");
}

/* The machine frees the room. */
void area_destroy(struct vcpu *v)
{
	struct dbt_cpu *c = cpu_of(v);

	if (c->jump)
		mmap(c->jump, size_of(c->dbt), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		     0);
	free(c->jump_block);
	c->jump = NULL;
	c->low = NULL;
}

void area_clear(struct dbt_cpu *c, const struct span *s)
{
	if (madvise(area_at(c, s->begin), s->end - s->begin, MADV_DONTNEED))
		memset(area_at(c, s->begin), 0, s->end - s->begin);
}
