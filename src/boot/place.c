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

static int place_segment(const struct placement *p, const struct elf_segment *s, struct error *err)
{
	if (s->gpa < PLACE_END && PLACE_FIRST < s->gpa + s->mem_len)
		return error_set(err, EINVAL, "wants memory at %#" PRIx64 ", which the loader needs", s->gpa);
	u8 *to = place_ptr(p, s->gpa, s->mem_len);
	if (!to)
		return error_set(err, ENOMEM,
				 "wants memory from %#" PRIx64 " to %#" PRIx64 ", which a machine with %" PRIu64
				 " MiB does not have; try a larger --mem",
				 s->gpa, s->gpa + s->mem_len, ram_mib(p));
	ram_populate(p->m, to, s->mem_len);
	memcpy(to, s->data, s->file_len);
	memset(to + s->file_len, 0, s->mem_len - s->file_len);
	return 0;
}

int place_kernel(struct placement *p, struct error *err)
{
	if (!place_is_free(p, PLACE_FIRST, PLACE_END - PLACE_FIRST))
		return error_set(err, ENOMEM,
				 "memory of %" PRIu64 " MiB is too small to load a kernel; try a larger --mem",
				 ram_mib(p));
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
	memcpy(to, initrd->data, initrd->len);
	p->initrd_gpa = best;
	p->initrd_len = initrd->len;
	return 0;
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
