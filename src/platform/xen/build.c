/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The domain builder: what a 64-bit PV kernel finds when it is entered (xen/xen.h, "Domain building"; xen/elfnote.h).
 *
 * By page frame number, in this order: nothing up to the kernel, the kernel where its file says (p_paddr), start_info, xenstore's page, the
 * console's page, page tables, a stack; up to here, rounded up, all is mapped from the kernel's VIRT_BASE on. Then, not mapped there: the initial
 * file system, and the list of machine frames (p2m), which is mapped where the kernel's INIT_P2M note says, with the tables for that.
 *
 * The machine's frames are given to the domain rotated, so that no frame has the same number in both worlds, while neighbours stay
 * neighbours for the TLB's sake.
 */
#include "platform/xen/build.h"

#include <errno.h>
#include <string.h>

#include "boot/kernel.h"
#include "emulate/descriptor.h"
#include "platform/xen/mm.h"
#include "util/cleanup.h"

#define MAPPED_SLACK (512u << 10)
#define MAPPED_ALIGN (4ull << 20)
#define ENTRIES	     512u /* of a page table */
#define L1_SPAN	     (ENTRIES * PAGE_SIZE)
#define L2_SPAN	     (ENTRIES * L1_SPAN)
#define L3_SPAN	     (ENTRIES * L2_SPAN)
#define TABLE_FLAGS  (PTE_P | PTE_W | PTE_U | PTE_A)
#define PAGE_FLAGS   (PTE_P | PTE_W | PTE_A)
#define PAGES(bytes) (((bytes) + PAGE_SIZE - 1) >> PAGE_SHIFT)

struct builder {
	struct xen_domain *d;
	u64 rotation;
	u64 virt_base, p2m_gla;
	/* pfns */
	u64 kernel_end, start_info, store, console, tables, stack, mapped_end, initrd, p2m, end;
	u64 ntables, np2m, np2m_tables;
	u64 next_table; /* pfn of the next table to be made */
	u64 l4; /* pfn */
	bool listed; /* the tables that are being made map the list */
};

void build_reset_cpu(struct vcpu *v)
{
	vcpu_reset(v);
	v->wait_sipi = false;
	v->guest_kernel = true;
	v->cpl = 3;
	v->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	/* Kernels take OSXSAVE, which they find set, for the word that XSAVE is there. */
	v->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | (cpu_has(v->model, FEAT_XSAVE) ? CR4_OSXSAVE : 0);
	v->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
	v->rflags = FL_1 | FL_IF;
	v->x87.cw = 0x37f;
	v->x87.tag = 0;
	for (unsigned k = 0; k < NR_SEG; k++)
		v->seg[k] = segment_null(0);
	v->seg[SEG_CS] = (struct segment){ .limit = ~0u,
					   .ar = AR_FLAT_CODE | AR_L | 3 << AR_DPL_SHIFT,
					   .selector = FLAT_KERNEL_CS };
	v->seg[SEG_SS] =
		(struct segment){ .limit = ~0u, .ar = AR_FLAT_DATA | 3 << AR_DPL_SHIFT, .selector = FLAT_KERNEL_SS };
	vcpu_update_mode(v);
}

/* ---- frames ---- */

static u64 mfn_of(const struct builder *b, u64 pfn)
{
	return mm_nth(b->d, (pfn + b->rotation) % b->d->frames);
}

static u8 *page(const struct builder *b, u64 pfn)
{
	u8 *host = ram_ptr(b->d->machine, mfn_of(b, pfn) << PAGE_SHIFT, PAGE_SIZE);

	ram_use(b->d->machine, host);
	return host;
}

/* Neither 0 nor such that a hole in the machine's memory brings a frame back to its number. */
static u64 choose_rotation(const struct xen_domain *d)
{
	u64 r = d->frames / 3 | 1;

	while (mm_nth(d, d->frames - 1) - (d->frames - 1) == d->frames - r)
		r++;
	return r;
}

static void copy_in(const struct builder *b, u64 gpa, const u8 *from, u64 len)
{
	for (u64 k = 0, n; k < len; k += n) {
		u64 at = gpa + k;

		n = MIN(len - k, PAGE_SIZE - (at & ~PAGE_MASK));
		memcpy(page(b, at >> PAGE_SHIFT) + (at & ~PAGE_MASK), from + k, n);
	}
}

static void give_frames(const struct builder *b)
{
	for (u64 pfn = 0; pfn < b->d->frames; pfn++)
		mm_give(b->d, mfn_of(b, pfn), pfn);
}

/* ---- the plan ---- */

static u64 tables_for(u64 bytes, u64 span)
{
	return (bytes + span - 1) / span;
}

/* The tables map themselves, so how many they are depends on it. */
static void plan_mapped(struct builder *b)
{
	u64 fixed = b->kernel_end + 3, l1 = 1, bytes;

	for (;;) {
		b->ntables = 2 + tables_for(l1, ENTRIES) + l1; /* L4, L3, L2s, L1s */
		bytes = ((fixed + b->ntables + 1) << PAGE_SHIFT) + MAPPED_SLACK;
		bytes = (bytes + MAPPED_ALIGN - 1) & ~(MAPPED_ALIGN - 1);
		if (tables_for(bytes, L1_SPAN) <= l1)
			break;
		l1 = tables_for(bytes, L1_SPAN);
	}
	b->start_info = b->kernel_end;
	b->store = b->start_info + 1;
	b->console = b->store + 1;
	b->tables = b->next_table = b->console + 1;
	b->stack = b->tables + b->ntables;
	b->mapped_end = bytes >> PAGE_SHIFT;
}

static void plan_rest(struct builder *b, u64 initrd_len)
{
	u64 bytes = b->d->frames * sizeof(u64);

	b->initrd = b->mapped_end;
	b->p2m = b->initrd + PAGES(initrd_len);
	b->np2m = PAGES(bytes);
	b->np2m_tables = 1 + tables_for(bytes, L2_SPAN) + tables_for(bytes, L1_SPAN);
	b->end = b->p2m + b->np2m + b->np2m_tables;
}

static int too_little(const struct xen_domain *d, u64 pages, struct error *err)
{
	return error_set(err, ENOMEM,
			 "kernel and initial file system take %llu MiB, the guest has %llu; try a larger --mem",
			 (unsigned long long)(pages >> (20 - PAGE_SHIFT)) + 1,
			 (unsigned long long)(d->frames << PAGE_SHIFT) >> 20);
}

/* Whether so many bytes can be mapped from there on by one table of level 3, as the plan counts them. */
static bool good_base(u64 gla, u64 bytes)
{
	u64 room = L3_SPAN - (gla & (L3_SPAN - 1));

	return is_canonical(gla) && !(gla & (L2_SPAN - 1)) && bytes <= room &&
	       !(gla >= HYPERVISOR_VIRT_START && gla < HYPERVISOR_VIRT_END);
}

static int check_plan(const struct builder *b, struct error *err)
{
	if (b->end >= b->d->frames)
		return too_little(b->d, b->end, err);
	if (!good_base(b->virt_base, b->mapped_end << PAGE_SHIFT) || !good_base(b->p2m_gla, b->np2m << PAGE_SHIFT) ||
	    (b->virt_base ^ b->p2m_gla) < L3_SPAN)
		return error_set(err, EINVAL, "corrupt: the addresses in its Xen notes make no sense");
	return 0;
}

static int check_kernel(const struct xen_domain *d, const struct kernel *k, struct error *err)
{
	const struct elf_image *e = &k->elf;

	if (!e->is64 || !e->has_xen)
		return error_set(err, ENOEXEC, "is no 64-bit kernel for Xen PV guests: it has no such ELF note");
	if (!e->xen.init_p2m)
		return error_set(err, ENOEXEC, "is too old: it has no INIT_P2M note");
	if (e->xen.paddr_offset || e->first < PAGE_SIZE)
		return error_set(err, ENOEXEC, "wants to be at an address where this builder does not put kernels");
	if (!is_canonical(e->xen.entry))
		return error_set(err, EINVAL, "corrupt: its entry is no address");
	if (e->end >= d->frames << PAGE_SHIFT)
		return too_little(d, e->end >> PAGE_SHIFT, err);
	return 0;
}

/* ---- page tables ---- */

static u64 *table(const struct builder *b, u64 pfn)
{
	return (u64 *)page(b, pfn);
}

static u64 new_table(struct builder *b)
{
	return b->next_table++;
}

/* The table of the next level for gla, made where there is none; both by pfn. */
static u64 descend(struct builder *b, u64 pfn, u64 gla, unsigned shift, u64 (*pfn_of)(const struct builder *, u64))
{
	u64 *e = table(b, pfn) + (gla >> shift & (ENTRIES - 1)), next;

	if (*e & PTE_P)
		return pfn_of(b, (*e & (BIT(52) - PAGE_SIZE)) >> PAGE_SHIFT);
	next = new_table(b);
	*e = mfn_of(b, next) << PAGE_SHIFT | TABLE_FLAGS;
	return next;
}

/* Of a table that was made here: there are few. */
static u64 table_pfn(const struct builder *b, u64 mfn)
{
	for (u64 pfn = b->tables; pfn < b->stack; pfn++)
		if (mfn_of(b, pfn) == mfn)
			return pfn;
	for (u64 pfn = b->p2m + b->np2m; pfn < b->end; pfn++)
		if (mfn_of(b, pfn) == mfn)
			return pfn;
	return b->l4;
}

static bool is_table(const struct builder *b, u64 pfn)
{
	return (pfn >= b->tables && pfn < b->stack) || (pfn >= b->p2m + b->np2m && pfn < b->end);
}

/* n pages from pfn on, at gla. */
static void map(struct builder *b, u64 gla, u64 pfn, u64 n)
{
	u64 l1 = 0;

	for (u64 k = 0; k < n; k++, gla += PAGE_SIZE, pfn++) {
		u64 flags = is_table(b, pfn) ? PAGE_FLAGS & ~(u64)PTE_W : PAGE_FLAGS;

		if (!k || !(gla & (L1_SPAN - 1))) {
			u64 l3 = descend(b, b->l4, gla, 39, table_pfn);
			u64 l2 = descend(b, l3, gla, 30, table_pfn);
			l1 = descend(b, l2, gla, 21, table_pfn);
		}
		table(b, l1)[gla >> PAGE_SHIFT & (ENTRIES - 1)] = mfn_of(b, pfn) << PAGE_SHIFT | flags;
	}
}

static void make_tables(struct builder *b)
{
	b->l4 = new_table(b);
	map(b, b->virt_base, 0, b->mapped_end);
	b->next_table = b->p2m + b->np2m;
	map(b, b->p2m_gla, b->p2m, b->np2m);
}

static void make_p2m(const struct builder *b)
{
	for (u64 pfn = 0; pfn < b->d->frames; pfn++)
		((u64 *)page(b, b->p2m + pfn / ENTRIES))[pfn % ENTRIES] = mfn_of(b, pfn);
}

/* ---- what the kernel is told ---- */

static u64 gla_of(const struct builder *b, u64 pfn)
{
	return b->virt_base + (pfn << PAGE_SHIFT);
}

static int make_start_info(const struct builder *b, const char *cmdline, u64 initrd_len, struct start_info **out,
			   struct error *err)
{
	struct start_info *s = (struct start_info *)page(b, b->start_info);

	if (strlen(cmdline) >= MAX_GUEST_CMDLINE)
		return error_set(err, E2BIG, "the command line has %zu bytes, a PV guest's kernel takes %d",
				 strlen(cmdline), MAX_GUEST_CMDLINE - 1);
	strcpy(s->magic, "xen-3.0-x86_64");
	s->nr_pages = b->d->frames;
	s->shared_info = b->d->shared_mfn << PAGE_SHIFT;
	s->store_mfn = mfn_of(b, b->store);
	s->console.domU.mfn = mfn_of(b, b->console);
	s->pt_base = gla_of(b, b->l4);
	s->nr_pt_frames = b->ntables;
	s->mfn_list = b->p2m_gla;
	s->first_p2m_pfn = b->p2m;
	s->nr_p2m_frames = b->np2m + b->np2m_tables;
	if (initrd_len) {
		s->flags |= SIF_MOD_START_PFN;
		s->mod_start = b->initrd;
		s->mod_len = initrd_len;
	}
	memcpy(s->cmd_line, cmdline, strlen(cmdline) + 1);
	*out = s;
	return 0;
}

static void load_kernel(const struct builder *b, const struct elf_image *e)
{
	for (unsigned k = 0; k < e->segs; k++)
		copy_in(b, e->seg[k].gpa, e->seg[k].data, e->seg[k].file_len);
}

/* Memory is zero: that of a new machine, or of one that was reset. */
static void clear(struct xen_domain *d)
{
	for (u64 k = 0; d->used && k < d->frames; k++)
		ram_discard(d->machine, mm_nth(d, k) << PAGE_SHIFT, PAGE_SIZE);
}

static int start_cpu(const struct builder *b, const struct elf_image *e, struct error *err)
{
	struct vcpu *v = b->d->machine->vcpu[0];

	build_reset_cpu(v);
	mm_reset_cpu(v);
	if (mm_set_roots(v, mfn_of(b, b->l4), 0))
		return error_set(err, EINVAL, "its first page tables are no page tables");
	v->rip = e->xen.entry;
	v->r[RSP] = gla_of(b, b->stack + 1);
	v->r[RSI] = gla_of(b, b->start_info);
	return 0;
}

int build_domain(struct xen_domain *d, const struct boot_config *c, struct build_pages *pages, struct error *err)
{
	struct builder b = { .d = d };
	_cleanup_kernel_ struct kernel k = KERNEL_NONE;
	_cleanup_blob_ struct blob initrd = { 0 };
	_cleanup_free_ char *cmdline = NULL;
	int r = kernel_read(&k, c->kernel, d->frames << PAGE_SHIFT, err);

	if (!r && check_kernel(d, &k, err))
		r = error_wrap(err, "kernel %s", c->kernel);
	if (!r)
		r = kernel_cmdline(&cmdline, c, err);
	if (!r && kernel_initrd(&initrd, &k, c, d->frames << PAGE_SHIFT, err))
		r = kernel_initrd_wrap(c, err);
	if (r)
		return r;
	b.rotation = choose_rotation(d);
	b.virt_base = k.elf.xen.virt_base;
	b.p2m_gla = k.elf.xen.init_p2m;
	b.kernel_end = PAGES(k.elf.end);
	plan_mapped(&b);
	plan_rest(&b, initrd.len);
	if (check_plan(&b, err))
		return error_wrap(err, "kernel %s", c->kernel);
	clear(d);
	give_frames(&b);
	load_kernel(&b, &k.elf);
	copy_in(&b, b.initrd << PAGE_SHIFT, initrd.data, initrd.len);
	make_tables(&b);
	make_p2m(&b);
	r = make_start_info(&b, cmdline, initrd.len, &pages->start, err);
	if (!r)
		r = mm_pin_initial(d, mfn_of(&b, b.l4), err);
	if (!r)
		r = start_cpu(&b, &k.elf, err);
	pages->early_console = strstr(cmdline, "earlyprintk=xen");
	pages->store_mfn = mfn_of(&b, b.store);
	pages->console_mfn = mfn_of(&b, b.console);
	return r;
}
