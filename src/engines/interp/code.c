/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoded code: records in an arena, found by physical page and offset.
 *
 * A page that has records is marked (mmu_mark_code), so that no store reaches it but through the slow path, which calls
 * code_written. A store that hits decoded bytes drops the whole page's records from the tables; the records themselves stay
 * in the arena until it is full, so whoever is executing one may finish it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engines/interp/interp-internal.h"

static void jumps_clear(struct interp *in)
{
	/* An empty slot's key belongs to an address that hashes to the slot's neighbour. */
	for (unsigned m = 0; m < ARRAY_SIZE(in->jump); m++)
		for (unsigned k = 0; k < ARRAY_SIZE(in->jump[m]); k++)
			in->jump[m][k].key = k ^ 1;
}

static struct code_page *page_find(struct interp *in, u64 index, u8 code_size)
{
	struct code_page *p = in->pages[index];

	while (p && p->code_size != code_size)
		p = p->next;
	return p;
}

static struct code_page *page_get(struct vcpu *v, u64 index)
{
	struct interp *in = interp_of(v);
	struct code_page *p = page_find(in, index, v->code_size);

	if (p)
		return p;
	p = in->spare;
	if (p)
		in->spare = p->next;
	else
		p = malloc(sizeof(*p));
	if (!p) { /* as good as full: start over with what the arena had */
		code_forget_all(v);
		p = in->spare;
		if (!p)
			abort();
		in->spare = p->next;
	}
	memset(p, 0, sizeof(*p));
	p->index = index;
	p->code_size = v->code_size;
	p->next = in->pages[index];
	in->pages[index] = p;
	p->epoch = mmu_mark_code(v, index, true);
	return p;
}

static void page_drop(struct vcpu *v, u64 index)
{
	struct interp *in = interp_of(v);
	struct code_page *p;

	while ((p = in->pages[index])) {
		in->pages[index] = p->next;
		p->next = in->spare;
		in->spare = p;
	}
	mmu_mark_code(v, index, false);
}

void code_forget_all(struct vcpu *v)
{
	struct interp *in = interp_of(v);

	for (u64 k = 0; k < in->page_count; k++)
		if (in->pages[k])
			page_drop(v, k);
	in->arena_used = 1;
	in->flushes++;
	jumps_clear(in);
}

static bool page_covers(const struct code_page *p, unsigned offset, unsigned len)
{
	for (unsigned k = offset; k < offset + len && k < PAGE_SIZE; k++)
		if (p->covered[k / 64] >> (k % 64) & 1)
			return true;
	return false;
}

void code_forget_range(struct vcpu *v, u64 page_index, unsigned offset, unsigned len)
{
	struct interp *in = interp_of(v);

	for (struct code_page *p = in->pages[page_index]; p; p = p->next) {
		if (!page_covers(p, offset, len))
			continue;
		page_drop(v, page_index);
		jumps_clear(in);
		v->stop_now = true;
		v->stats.smc++;
		return;
	}
}

static void spaces_reset(struct vcpu *v)
{
	jumps_clear(interp_of(v));
}

const struct mmu_hooks code_hooks = { .code_written = code_forget_range, .spaces_reset = spaces_reset };

/* Fetches from devices, and from pages that others may still store to unnoticed, are not cached: the record runs whatever is
 * at the instruction pointer. */
static const struct insn uncached = { .run = run_uncached };

/*
 * The page may be mapped elsewhere by now, or the record dropped: the link is only good if the page's table still leads to
 * the record that asks.
 */
const struct insn *code_link(struct vcpu *v, const struct insn *from, unsigned off)
{
	struct interp *in = interp_of(v);
	u64 gpa;
	const u8 *host = mmu_fetch(v, code_linear(v, v->r[17] + from->off), &gpa);

	if (!host || in->arena_used > ARENA_RECORDS - 2 * TRACE_MAX)
		return NULL;
	struct code_page *p = page_find(in, ram_page_index(v->machine, host), v->code_size);
	if (!p || in->arena + p->entry[from->off] != from)
		return NULL;
	if (!p->entry[off])
		trace_build(v, p, host - from->off, off);
	return in->arena + p->entry[off];
}

const struct insn *code_lookup(struct vcpu *v, u64 gla)
{
	struct interp *in = interp_of(v);
	u64 gpa;
	unsigned off = gla & ~PAGE_MASK;

	v->stats.lookups++;
	if (v->code_size == CODE_64 ? !is_canonical(gla) : v->rip > v->seg[SEG_CS].limit)
		vcpu_raise_error(v, EXC_GP, 0);
	const u8 *host = mmu_fetch(v, gla, &gpa);
	if (!host)
		return &uncached;
	if (in->arena_used > ARENA_RECORDS - 2 * TRACE_MAX)
		code_forget_all(v);
	struct code_page *p = page_get(v, ram_page_index(v->machine, host));
	if (unlikely(!p->settled) && !(p->settled = mmu_code_settled(v, p->epoch)))
		return &uncached;
	if (!p->entry[off])
		trace_build(v, p, host - off, off);
	const struct insn *rec = in->arena + p->entry[off];
	struct jump_entry *e = &in->jump[v->code_size][jump_hash(gla)];
	e->key = gla ^ mmu_code_space(v, gla);
	e->rec = rec;
	return rec;
}

int code_create(struct vcpu *v, struct error *err)
{
	struct interp *in = interp_of(v);
	struct machine *m = v->machine;

	in->page_count = (m->low_size + m->high_size) >> PAGE_SHIFT;
	in->pages = calloc(in->page_count, sizeof(*in->pages));
	in->arena = mmap(NULL, ARENA_RECORDS * sizeof(struct insn), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!in->pages || in->arena == MAP_FAILED)
		return error_set(err, ENOMEM, "no memory for decoded code of CPU %u", v->id);
	in->arena_used = 1;
	jumps_clear(in);
	mmu_set_hooks(v, &code_hooks);
	return 0;
}

void code_destroy(struct vcpu *v)
{
	struct interp *in = interp_of(v);
	struct code_page *p;

	for (u64 k = 0; in->pages && k < in->page_count; k++)
		if (in->pages[k])
			page_drop(v, k);
	while ((p = in->spare)) {
		in->spare = p->next;
		free(p);
	}
	free(in->pages);
	if (in->arena && in->arena != MAP_FAILED)
		munmap(in->arena, ARENA_RECORDS * sizeof(struct insn));
}
