/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address dispatch, for ports and for MMIO alike. Regions are kept sorted and never overlap, so that one binary search
 * finds the only candidate. The table is fixed once the machine runs; lookups take no lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "machine/machine.h"

/* Index of the first region that begins above addr. */
static unsigned first_above(const struct bus *b, u64 addr)
{
	unsigned lo = 0, hi = b->count;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		if (b->regions[mid].base <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int bus_add(struct bus *b, const struct region *r, struct error *err)
{
	u64 last = r->base + r->len - 1;
	unsigned at = first_above(b, last);
	struct region *grown;

	if (!r->len || last < r->base)
		return error_set(err, EINVAL, "region %s is empty or wraps around", r->name);
	if (at && b->regions[at - 1].base + (b->regions[at - 1].len - 1) >= r->base)
		return error_set(err, EEXIST, "region %s at %#" PRIx64 " overlaps %s", r->name, r->base,
				 b->regions[at - 1].name);
	grown = realloc(b->regions, (b->count + 1) * sizeof(*grown));
	if (!grown)
		return error_set(err, ENOMEM, "no memory for region %s", r->name);
	b->regions = grown;
	memmove(grown + at + 1, grown + at, (b->count - at) * sizeof(*grown));
	grown[at] = *r;
	b->count++;
	return 0;
}

const struct region *bus_find(const struct bus *b, u64 addr)
{
	unsigned i = first_above(b, addr);
	const struct region *r = i ? &b->regions[i - 1] : NULL;

	return r && addr - r->base < r->len ? r : NULL;
}

/* The region that takes the access whole, or NULL; *split says that it must go out in bytes instead. */
static const struct region *resolve(const struct bus *b, u64 addr, unsigned size, bool *split)
{
	unsigned i = first_above(b, addr);
	const struct region *r = i ? &b->regions[i - 1] : NULL;
	const struct region *next = i < b->count ? &b->regions[i] : NULL;

	*split = size > 1 && next && next->base - addr < size;
	if (r && addr - r->base < r->len) {
		*split = size > r->len - (addr - r->base) || (r->width && size > r->width);
		return r;
	}
	return b->fallback.ops ? &b->fallback : NULL;
}

u64 bus_read(const struct bus *b, u64 addr, unsigned size)
{
	u64 value = 0, all = size >= 8 ? ~0ull : (1ull << (8 * size)) - 1;
	bool split;
	const struct region *r = resolve(b, addr, size, &split);

	if (!split)
		return r && r->ops->read ? r->ops->read(r->dev, addr - r->base, size) & all : all;
	for (unsigned i = 0; i < size; i++)
		value |= bus_read(b, addr + i, 1) << (8 * i);
	return value;
}

void bus_write(const struct bus *b, u64 addr, unsigned size, u64 value)
{
	u64 all = size >= 8 ? ~0ull : (1ull << (8 * size)) - 1;
	bool split;
	const struct region *r = resolve(b, addr, size, &split);

	if (!split) {
		if (r && r->ops->write)
			r->ops->write(r->dev, addr - r->base, size, value & all);
		return;
	}
	for (unsigned i = 0; i < size; i++)
		bus_write(b, addr + i, 1, value >> (8 * i) & 0xff);
}
