/* SPDX-License-Identifier: Apache-2.0 */
/* Puts kernel, initrd and command line into guest RAM, each only where the firmware's map has RAM. See place.h. */
#include "boot/place.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define LOW_MEMORY (1ull << 20) /* below it are the loader's places and the firmware's */
#define MIB(bytes) (((bytes) + (1u << 20) - 1) >> 20)

static u64 ram_mib(const struct placement *p)
{
	return (p->m->low_size + p->m->high_size) >> 20;
}

bool place_is_free(const struct placement *p, u64 gpa, u64 len)
{
	for (unsigned i = 0; i < p->firmware->ranges; i++) {
		const struct mem_range *r = &p->firmware->map[i];
		if (r->kind == MEM_RAM && gpa >= r->base && gpa - r->base < r->len && len <= r->len - (gpa - r->base))
			return ram_ptr(p->m, gpa, len);
	}
	return false;
}

u8 *place_ptr(const struct placement *p, u64 gpa, u64 len)
{
	return place_is_free(p, gpa, len) ? ram_ptr(p->m, gpa, len) : NULL;
}

static int no_such_memory(const struct placement *p, u64 first, u64 end, struct error *err)
{
	return error_set(err, ENOMEM,
			 "wants memory from %#" PRIx64 " to %#" PRIx64 ", which a machine with %" PRIu64
			 " MiB does not have; try a larger --mem",
			 first, end, ram_mib(p));
}

static int place_segment(const struct placement *p, const struct elf_segment *s, struct error *err)
{
	if (!p->roams && s->gpa < PLACE_END && PLACE_FIRST < s->gpa + s->mem_len)
		return error_set(err, EINVAL, "wants memory at %#" PRIx64 ", which the loader needs", s->gpa);
	u8 *to = place_ptr(p, s->gpa, s->mem_len);
	if (!to)
		return no_such_memory(p, s->gpa, s->gpa + s->mem_len, err);
	ram_populate(p->m, to, s->mem_len);
	if (!s->data) /* somebody else puts it there */
		return 0;
	memcpy(to, s->data, s->file_len);
	memset(to + s->file_len, 0, s->mem_len - s->file_len);
	return 0;
}

int place_kernel(struct placement *p, struct error *err)
{
	if (!p->roams && !place_is_free(p, PLACE_FIRST, PLACE_END - PLACE_FIRST))
		return error_set(err, ENOMEM,
				 "memory of %" PRIu64 " MiB is too small to load a kernel; try a larger --mem",
				 ram_mib(p));
	/* One that unpacks itself needs more than is loaded of it. */
	if (!p->roams && p->elf->segs == 1 && !place_is_free(p, p->elf->first, p->elf->end - p->elf->first))
		return no_such_memory(p, p->elf->first, p->elf->end, err);
	for (unsigned i = 0; i < p->elf->segs; i++) {
		int r = place_segment(p, &p->elf->seg[i], err);
		if (r)
			return r;
	}
	return 0;
}

/* The highest page in [first, end) from which len bytes fit; 0 if they do not. */
static u64 highest_fit(u64 first, u64 end, u64 len)
{
	if (end < first || len > end - first)
		return 0;
	u64 at = (end - len) & PAGE_MASK;
	return at >= first ? at : 0;
}

int place_initrd(struct placement *p, const struct blob *initrd, u64 limit, struct error *err)
{
	u64 best = 0;
	for (unsigned i = 0; i < p->firmware->ranges; i++) {
		const struct mem_range *r = &p->firmware->map[i];
		if (r->kind != MEM_RAM || r->base < LOW_MEMORY)
			continue;
		u64 end = MIN(r->base + r->len, limit + 1);
		best = MAX(best, highest_fit(r->base, MIN(end, p->elf->first), initrd->len));
		best = MAX(best, highest_fit(MAX(r->base, p->elf->end), end, initrd->len));
	}
	u8 *to = best ? place_ptr(p, best, initrd->len) : NULL;
	if (!to)
		return error_set(err, ENOMEM,
				 "%" PRIu64 " MiB of initial file system do not fit into %" PRIu64
				 " MiB of memory beside the kernel; try a larger --mem",
				 MIB((u64)initrd->len), ram_mib(p));
	ram_populate(p->m, to, initrd->len);
	if (initrd->data)
		memcpy(to, initrd->data, initrd->len);
	p->initrd_gpa = best;
	p->initrd_len = initrd->len;
	return 0;
}

/* Where the first thing that overlaps [gpa, gpa + len) ends; 0: nothing does. */
static u64 taken_until(const struct placement *p, u64 gpa, u64 len)
{
	for (unsigned i = 0; i < p->elf->segs; i++) {
		const struct elf_segment *s = &p->elf->seg[i];
		if (gpa < s->gpa + s->mem_len && s->gpa < gpa + len)
			return s->gpa + s->mem_len;
	}
	for (unsigned i = 0; i < p->takes; i++)
		if (gpa < p->taken[i].base + p->taken[i].len && p->taken[i].base < gpa + len)
			return p->taken[i].base + p->taken[i].len;
	return 0;
}

static void take(struct placement *p, u64 gpa, u64 len)
{
	p->taken[p->takes++] = (struct mem_range){ .base = gpa, .len = len, .kind = MEM_RAM };
}

static u64 page_up(u64 gpa)
{
	return (gpa + PAGE_SIZE - 1) & PAGE_MASK;
}

/* The lowest page at or above first, and below 4 GiB, from which len bytes are free; 0: none. */
static u64 lowest_free(const struct placement *p, u64 first, u64 len)
{
	for (unsigned i = 0; i < p->firmware->ranges; i++) {
		const struct mem_range *r = &p->firmware->map[i];
		u64 end = MIN(r->base + r->len, HIGH_RAM_BASE), at = page_up(MAX(r->base, first)), until;
		if (r->kind != MEM_RAM)
			continue;
		while (at < end && len <= end - at) {
			until = taken_until(p, at, len);
			if (!until)
				return at;
			at = page_up(until);
		}
	}
	return 0;
}

int place_module(struct placement *p, const struct blob *file, struct error *err)
{
	u64 gpa = lowest_free(p, MAX(p->elf->end, LOW_MEMORY), file->len);
	u8 *to = gpa ? place_ptr(p, gpa, file->len) : NULL;
	if (!to)
		return error_set(err, ENOMEM,
				 "a module of %" PRIu64 " MiB does not fit into %" PRIu64
				 " MiB of memory beside the kernel; try a larger --mem",
				 MIB((u64)file->len), ram_mib(p));
	ram_populate(p->m, to, file->len);
	memcpy(to, file->data, file->len);
	take(p, gpa, file->len);
	p->module[p->modules++] = (struct place_module){ .gpa = gpa, .len = file->len };
	return 0;
}

int place_block(struct placement *p, u64 len, u64 *gpa, u8 **host, struct error *err)
{
	u64 room = page_up(len);
	for (u64 at = LOW_MEMORY; room < LOW_MEMORY && at >= PLACE_FIRST + room; at -= PAGE_SIZE) {
		*gpa = at - room;
		*host = place_ptr(p, *gpa, len);
		if (!*host || taken_until(p, *gpa, len))
			continue;
		memset(*host, 0, len);
		take(p, *gpa, len);
		return 0;
	}
	return error_set(err, ENOMEM, "%" PRIu64 " bytes of boot information do not fit below 1 MiB beside the kernel",
			 len);
}

int place_cmdline(struct placement *p, const char *cmdline, size_t longest, struct error *err)
{
	size_t len = strlen(cmdline);
	longest = MIN(longest, CMDLINE_ROOM - 1);
	if (len > longest)
		return error_set(err, E2BIG, "the command line has %zu bytes, the kernel takes %zu", len, longest);
	memcpy(place_ptr(p, PLACE_CMDLINE, CMDLINE_ROOM), cmdline, len + 1);
	return 0;
}
