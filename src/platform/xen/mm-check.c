/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts what the tables, pins, roots and descriptor tables refer to from scratch, and compares it with the frames' words: for tests, and for
 * whoever looks at a machine that stands. What mm_get() handed out is known as a sum only.
 */
#include <stdlib.h>

#include "platform/xen/mm-internal.h"
#include "util/cleanup.h"

struct found {
	u32 refs, writes, as[FRAME_DESCRIPTOR + 1]; /* as: uses as a table of that level, as descriptors */
};

struct check {
	struct xen_domain *d;
	struct found *found;
	u64 held_refs, held_writes; /* beyond what was found */
	struct error *err;
};

static void note(struct check *c, u64 mfn, enum frame_type as)
{
	struct found *f;

	if (!mfn || mfn >= c->d->mm->limit)
		return;
	f = &c->found[mfn];
	f->refs++;
	f->as[as] += as != FRAME_NONE;
}

static int count_entry(struct check *c, u64 table, unsigned i, enum frame_type level, u64 e)
{
	u64 mfn = entry_mfn(e);

	if (!(e & PTE_P) || (level == FRAME_L4 && i - HIDDEN_SLOT < HIDDEN_SLOTS))
		return 0;
	if (mfn >= c->d->mm->limit || (level > FRAME_L1 && e & PTE_PS))
		return error_set(c->err, EINVAL, "frame %#llx, entry %u of an L%u: %#llx", (unsigned long long)table, i,
				 level - FRAME_L1 + 1, (unsigned long long)e);
	if (level > FRAME_L1)
		note(c, mfn, level - 1);
	else
		note(c, mfn, e & PTE_W ? FRAME_WRITABLE : FRAME_NONE);
	return 0;
}

static int count_tables(struct check *c)
{
	struct xen_mm *mm = c->d->mm;

	for (u64 mfn = 0; mfn < mm->limit; mfn++) {
		u64 w = mm->frame[mfn].word;
		enum frame_type level = word_type(w);

		if (w & F_PINNED)
			note(c, mfn, level);
		if (level < FRAME_L1 || level > FRAME_L4)
			continue;
		const u64 *p = table_host(c->d, mfn);
		for (unsigned i = 0; i < TABLE_ENTRIES; i++)
			if (count_entry(c, mfn, i, level, p[i]))
				return -EINVAL;
	}
	return 0;
}

static void count_cpus(struct check *c)
{
	struct xen_mm *mm = c->d->mm;

	for (unsigned k = 0; k < c->d->machine->config.cpus; k++) {
		note(c, mm->kernel_root[k], FRAME_L4);
		note(c, mm->user_root[k], FRAME_L4);
		for (unsigned i = 0; i < GDT_PAGES; i++)
			note(c, mm->gdt_mfns[k][i], FRAME_DESCRIPTOR);
		for (unsigned i = 0; i < LDT_PAGES; i++)
			note(c, mm->ldt_mfns[k][i], FRAME_DESCRIPTOR);
	}
}

static int wrong(struct check *c, u64 mfn, const char *what)
{
	u64 w = c->d->mm->frame[mfn].word;
	const struct found *f = &c->found[mfn];

	return error_set(c->err, EINVAL,
			 "frame %#llx: %s: type %u, %llu uses, %llu references%s; found %u writes, %u references",
			 (unsigned long long)mfn, what, word_type(w), (unsigned long long)word_uses(w),
			 (unsigned long long)word_refs(w), w & F_BUSY ? ", busy" : "", f->writes, f->refs);
}

static int compare(struct check *c, u64 mfn)
{
	struct xen_domain *d = c->d;
	u64 w = d->mm->frame[mfn].word, uses;
	struct found *f = &c->found[mfn];
	enum frame_type type = word_type(w);
	const u8 *host = frame_host(d, mfn);

	if (w & F_BUSY)
		return wrong(c, mfn, "busy while nobody works on it");
	if ((type == FRAME_NONE) != !word_uses(w))
		return wrong(c, mfn, "a type without uses, or uses without a type");
	for (unsigned t = FRAME_WRITABLE; t <= FRAME_DESCRIPTOR; t++)
		if (f->as[t] && t != type)
			return wrong(c, mfn, "used as what it is not");
	uses = f->as[type];
	f->writes = f->as[FRAME_WRITABLE];
	if (word_uses(w) < uses || word_refs(w) < f->refs || (type > FRAME_WRITABLE && word_uses(w) != uses))
		return wrong(c, mfn, "wrong counts");
	c->held_refs += word_refs(w) - f->refs;
	c->held_writes += type == FRAME_WRITABLE ? word_uses(w) - uses : 0;
	bool table = host && d->machine->code_pages[ram_page_index(d->machine, host)] & PAGE_TABLE;
	if (table != (type > FRAME_WRITABLE))
		return wrong(c, mfn, "not protected as its type wants it");
	return 0;
}

int mm_check(struct xen_domain *d, struct error *err)
{
	_cleanup_free_ struct found *found = calloc(d->mm->limit, sizeof(*found));
	struct check c = { .d = d, .found = found, .err = err };
	int r;

	if (!found)
		return error_set(err, ENOMEM, "no memory to count frames");
	r = count_tables(&c);
	count_cpus(&c);
	for (u64 mfn = 0; !r && mfn < d->mm->limit; mfn++)
		r = compare(&c, mfn);
	if (!r && (c.held_refs != d->mm->held_refs || c.held_writes != d->mm->held_writes))
		r = error_set(err, EINVAL, "%llu references and %llu writes by others, not %llu and %llu",
			      (unsigned long long)c.held_refs, (unsigned long long)c.held_writes,
			      (unsigned long long)d->mm->held_refs, (unsigned long long)d->mm->held_writes);
	return r;
}
