/* SPDX-License-Identifier: Apache-2.0 */
/* The PV platform's memory management: what a guest may do with its page tables, and above all what it may not. */
#include "xen-mm.h"

/* An empty page that may become a table: mapped read-only. */
static u64 make_table(u64 pfn)
{
	memset(frame_at(pfn), 0, PAGE_SIZE);
	assert_int_equal(set_pte(pfn, entry(pfn, RO)), 0);
	return pfn;
}

static void initial(void **state)
{
	guest_start(1);
	assert_frame(PFN_L4, FRAME_L4, 2, 3); /* pinned, a root; and mapped */
	assert_frame(PFN_L3, FRAME_L3, 1, 2);
	assert_frame(PFN_L1, FRAME_L1, 1, 2);
	assert_frame(17, FRAME_WRITABLE, 1, 1);
	assert_int_equal(frame_at(PFN_L4)[256], mm_hidden_entry(d));
	assert_int_equal(mm_total_pages(d), FRAMES);
	guest_stop();
}

static void m2p_is_shown(void **state)
{
	u64 gla;

	guest_start(1);
	gla = M2P_BASE + 8 * mfn_of(77);
	assert_int_equal(mmu_load(v, gla, 8, MMU_EXPLICIT), 77);
	assert_int_equal(store(gla, 8, 1), PF_P | PF_W);
	assert_int_equal(mmu_update(mfn_of(77) << PAGE_SHIFT | MMU_MACHPHYS_UPDATE, 99), 0);
	assert_int_equal(mmu_load(v, gla, 8, MMU_EXPLICIT), 99);
	/* Beyond the last frame; frames of ours. */
	assert_int_equal(load(M2P_BASE + ((8 * d->mm->limit + 4095) & PAGE_MASK)), 0);
	assert_int_equal(mmu_update(d->shared_mfn << PAGE_SHIFT | MMU_MACHPHYS_UPDATE, 1), -EINVAL);
	assert_int_equal(mmu_update(d->mm->limit << PAGE_SHIFT | MMU_MACHPHYS_UPDATE, 1), -EINVAL);
	/* Programs see none of it, even if their root is there. */
	make_table(20);
	assert_int_equal(pin(4, 20), 0);
	assert_int_equal(mmuext(MMUEXT_NEW_USER_BASEPTR, mfn_of(20), 0), 0);
	v->guest_kernel = false;
	mmu_update_view(v);
	assert_int_equal(load(gla), PF_P | PF_U);
	v->guest_kernel = true;
	mmu_update_view(v);
	guest_stop();
}

static void mapping(void **state)
{
	guest_start(1);
	assert_int_equal(set_pte(100, entry(200, RW)), 0);
	assert_frame(100, FRAME_NONE, 0, 0);
	assert_frame(200, FRAME_WRITABLE, 2, 2);
	assert_int_equal(set_pte(100, entry(200, RO)), 0);
	assert_frame(200, FRAME_WRITABLE, 1, 2);
	assert_int_equal(set_pte(100, NOTE), 0);
	assert_int_equal(*l1_entry(100), NOTE);
	assert_frame(200, FRAME_WRITABLE, 1, 1);
	/* Accessed and dirty stay, if that is wanted. */
	assert_int_equal(set_pte(100, entry(100, RW)), 0);
	assert_int_equal(set_pte(100, entry(100, PTE_P | PTE_W)), 0);
	assert_int_equal(*l1_entry(100), entry(100, PTE_P | PTE_W));
	assert_int_equal(store(gla_of(100), 8, 1), NO_FAULT);
	assert_int_equal(*l1_entry(100), entry(100, PTE_P | PTE_W | PTE_A | PTE_D));
	assert_int_equal(mmu_update(l1_address(100) | MMU_PT_UPDATE_PRESERVE_AD, entry(100, PTE_P)), 0);
	assert_int_equal(*l1_entry(100), entry(100, PTE_P | PTE_A | PTE_D));
	/* Requests up to the first bad one take effect. */
	struct mmu_update u[40];
	u32 done;
	for (unsigned k = 0; k < 40; k++)
		u[k] = (struct mmu_update){ l1_address(100 + k), entry(300 + k, RO) };
	u[36].val = entry(PFN_L1, RW);
	assert_int_equal(mmu_update_n(u, 40, &done), -EINVAL);
	assert_int_equal(done, 36);
	assert_int_equal(*l1_entry(135), entry(335, RO));
	assert_int_equal(*l1_entry(136), entry(136, RW));
	guest_stop();
}

static void refused_mappings(void **state)
{
	guest_start(1);
	/* Tables of every level, for writing. */
	for (unsigned p = PFN_L4; p <= PFN_L1 + 1; p++) {
		assert_int_equal(set_pte(100, entry(p, RW)), -EINVAL);
		assert_int_equal(va_mapping(gla_of(p), entry(p, RW), 0), -EINVAL);
		assert_int_equal(store(gla_of(PFN_L1) + 100 * 8, 8, entry(p, RW)), PF_P | PF_W);
	}
	/* Frames that are not the domain's: ours, beyond the end, beyond all addresses. */
	u64 foreign[] = { 0,
			  mm_hidden_entry(d) >> PAGE_SHIFT,
			  ram_gpa(m, d->mm->m2p) >> PAGE_SHIFT,
			  d->mm->gdt_mfn,
			  d->mm->limit,
			  d->mm->limit + 12345,
			  BIT(34),
			  BIT(39),
			  BIT(40) - 1 };
	for (unsigned k = 0; k < ARRAY_SIZE(foreign); k++) {
		assert_int_equal(set_pte(100, foreign[k] << PAGE_SHIFT | RO), -EINVAL);
		assert_int_equal(set_pte(100, foreign[k] << PAGE_SHIFT | RW), -EINVAL);
		assert_int_equal(va_mapping(gla_of(100), foreign[k] << PAGE_SHIFT | RO, 0), -EINVAL);
		assert_int_equal(store(gla_of(PFN_L1) + 100 * 8, 8, foreign[k] << PAGE_SHIFT | RO), PF_P | PF_W);
		assert_int_equal(mmuext(MMUEXT_PIN_L1_TABLE, foreign[k], 0), -EINVAL);
		assert_int_equal(mmuext(MMUEXT_PIN_L4_TABLE, foreign[k], 0), -EINVAL);
		assert_int_equal(mmuext(MMUEXT_UNPIN_TABLE, foreign[k], 0), -EINVAL);
		assert_int_equal(mmuext(MMUEXT_NEW_BASEPTR, foreign[k], 0), -EINVAL);
		assert_int_equal(mmuext(MMUEXT_CLEAR_PAGE, foreign[k], 0), -EINVAL);
		assert_int_equal(mmuext(MMUEXT_COPY_PAGE, foreign[k], mfn_of(100)), -EINVAL);
		assert_int_equal(mmuext(MMUEXT_COPY_PAGE, mfn_of(100), foreign[k]), -EINVAL);
		assert_int_equal(mmu_update(foreign[k] << PAGE_SHIFT, 1), -EINVAL);
		assert_int_equal(update_descriptor(foreign[k] << PAGE_SHIFT, 0), -EINVAL);
		assert_null(mm_get(d, foreign[k], FRAME_NONE));
	}
	assert_int_equal(*l1_entry(100), entry(100, RW));
	/* What is shared is, as it is. */
	assert_int_equal(set_pte(100, d->shared_mfn << PAGE_SHIFT | RW), 0);
	assert_int_equal(store(gla_of(100), 4, 7), NO_FAULT);
	assert_int_equal(mmuext(MMUEXT_PIN_L1_TABLE, d->shared_mfn, 0), -EINVAL);
	assert_int_equal(set_pte(101, shown_mfn << PAGE_SHIFT | RO), 0);
	assert_int_equal(set_pte(101, shown_mfn << PAGE_SHIFT | RW), -EINVAL);
	assert_null(mm_get(d, shown_mfn, FRAME_WRITABLE));
	assert_int_equal(mm_alloc(d), 0);
	guest_stop();
}

static void other_domains(void **state)
{
	static const u64 bad[] = { 0, DOMID_IO, DOMID_XEN, 5, 0x17ff0, ~0ull };
	u64 arg[6] = { 0, 1, 0 };

	guest_start(1);
	arg[0] = gla_of(PFN_ARG);
	for (unsigned k = 0; k < ARRAY_SIZE(bad); k++) {
		struct xen_memory_reservation r = { .domid = (domid_t)bad[k] };
		struct xen_memory_domain dom = { (domid_t)bad[k] };

		arg[3] = bad[k];
		assert_int_equal(hypercall_mmu_update(v, arg), -EPERM);
		assert_int_equal(hypercall_mmuext_op(v, arg), -EPERM);
		if (dom.domid == DOMID_SELF)
			continue;
		assert_int_equal(memory_op(XENMEM_decrease_reservation, &r, sizeof(r)), -EPERM);
		assert_int_equal(memory_op(XENMEM_populate_physmap, &r, sizeof(r)), -EPERM);
		assert_int_equal(memory_op(XENMEM_current_reservation, &dom, sizeof(dom)), -EPERM);
	}
	guest_stop();
}

static void pinning(void **state)
{
	guest_start(1);
	/* Mapped writable: no table. */
	memset(frame_at(20), 0, PAGE_SIZE);
	for (unsigned level = 1; level <= 4; level++)
		assert_int_equal(pin(level, 20), -EINVAL);
	make_table(20);
	assert_int_equal(pin(1, 20), 0);
	assert_frame(20, FRAME_L1, 1, 2);
	assert_int_equal(pin(1, 20), -EINVAL); /* twice */
	assert_int_equal(pin(2, 20), -EINVAL); /* as something else */
	assert_int_equal(set_pte(20, entry(20, RW)), -EINVAL);
	assert_int_equal(unpin(20), 0);
	assert_int_equal(unpin(20), -EINVAL);
	assert_int_equal(set_pte(20, entry(20, RW)), 0);
	assert_int_equal(unpin(PFN_L3), -EINVAL);
	/* The first tables are pinned; a root stays a table without that. */
	assert_int_equal(unpin(PFN_L4), 0);
	assert_frame(PFN_L4, FRAME_L4, 1, 2);
	assert_int_equal(set_pte(PFN_L4, entry(PFN_L4, RW)), -EINVAL);
	assert_int_equal(pin(4, PFN_L4), 0);
	guest_stop();
}

/* A second address space: L4 30, L3 31, L2 32, L1 33. */
static void make_space(void)
{
	for (unsigned p = 30; p <= 33; p++)
		make_table(p);
	assert_int_equal(set_entry(30, 5, entry(31, RW)), 0);
	assert_int_equal(set_entry(31, 6, entry(32, RW)), 0);
	assert_int_equal(set_entry(32, 7, entry(33, RW)), 0);
	assert_int_equal(set_entry(33, 8, entry(50, RW)), 0);
	assert_int_equal(set_entry(33, 9, entry(33, RO)), 0);
}

static void promotion(void **state)
{
	guest_start(1);
	make_space();
	assert_frame(31, FRAME_NONE, 0, 1);
	assert_int_equal(pin(4, 30), 0);
	assert_frame(30, FRAME_L4, 1, 2);
	assert_frame(31, FRAME_L3, 1, 2);
	assert_frame(32, FRAME_L2, 1, 2);
	assert_frame(33, FRAME_L1, 1, 3);
	assert_frame(50, FRAME_WRITABLE, 2, 2);
	assert_checks();
	/* Used once more by another entry; what still is in use stays. */
	assert_int_equal(set_entry(32, 8, entry(33, RW)), 0);
	assert_frame(33, FRAME_L1, 2, 4);
	assert_int_equal(set_entry(32, 7, 0), 0);
	assert_frame(33, FRAME_L1, 1, 3);
	assert_int_equal(set_entry(30, 5, 0), 0);
	for (unsigned p = 31; p <= 33; p++)
		assert_int_equal(word_type(word_of(p)), FRAME_NONE);
	assert_frame(50, FRAME_WRITABLE, 1, 1);
	assert_int_equal(unpin(30), 0);
	guest_stop();
}

/* One bad entry anywhere: all is as before. */
static void refused_promotion(void **state)
{
	static const struct {
		unsigned table, index;
		u64 flags;
		unsigned pfn;
	} bad[] = {
		{ 30, 0, RW, PFN_L2 }, /* a table of a level that is not the next */
		{ 30, 1, RW, 30 }, /* itself */
		{ 30, 1, RO, 30 }, /* itself, read-only: a linear page table */
		{ 30, 2, RO, PFN_L4 }, /* another of its level */
		{ 31, 3, RW | PTE_PS, 60 }, /* large pages */
		{ 32, 4, RW | PTE_PS, 60 }, { 32, 4, RW, 32 },	     { 32, 511, RW, 60 }, /* writable memory */
		{ 33, 511, RW, 33 }, /* itself, writable */
		{ 33, 511, RW, 32 },	    { 33, 511, RW, PFN_L4 }, { 31, 511, RW, 33 }, /* used as two things */
	};

	guest_start(1);
	make_space();
	for (unsigned k = 0; k < ARRAY_SIZE(bad); k++) {
		u64 *p = frame_at(bad[k].table) + bad[k].index, was = *p;

		*p = entry(bad[k].pfn, bad[k].flags);
		assert_int_equal(pin(4, 30), -EINVAL);
		for (unsigned t = 30; t <= 33; t++)
			assert_int_equal(word_type(word_of(t)), FRAME_NONE);
		assert_frame(50, FRAME_WRITABLE, 1, 1);
		assert_checks();
		*p = was;
	}
	assert_int_equal(pin(4, 30), 0);
	/* The same by update. */
	for (unsigned k = 0; k < ARRAY_SIZE(bad) - 1; k++)
		assert_int_equal(set_entry(bad[k].table, bad[k].index, entry(bad[k].pfn, bad[k].flags)), -EINVAL);
	/* A large page in the place of the table with the same frame. */
	assert_int_equal(set_entry(32, 7, entry(33, RW | PTE_PS)), -EINVAL);
	for (unsigned slot = 256; slot < 272; slot++) {
		assert_int_equal(set_entry(30, slot, entry(31, RW)), -EINVAL);
		assert_int_equal(set_entry(30, slot, 0), -EINVAL);
	}
	assert_int_equal(set_entry(30, 255, entry(31, RW)), 0);
	assert_int_equal(set_entry(30, 272, entry(31, RW)), 0);
	guest_stop();
}

/* What a guest leaves in the slots that are ours is no entry. */
static void hidden_slots(void **state)
{
	guest_start(1);
	make_table(30);
	for (unsigned slot = 256; slot < 272; slot++)
		frame_at(30)[slot] = entry(PFN_L2, RW);
	assert_int_equal(pin(4, 30), 0);
	assert_int_equal(frame_at(30)[256], mm_hidden_entry(d));
	for (unsigned slot = 257; slot < 272; slot++)
		assert_int_equal(frame_at(30)[slot], 0);
	assert_int_equal(unpin(30), 0);
	assert_int_equal(frame_at(30)[256], 0);
	guest_stop();
}

static void roots(void **state)
{
	guest_start(1);
	make_space();
	assert_int_equal(mmuext(MMUEXT_NEW_BASEPTR, 0, 0), -EINVAL);
	assert_int_equal(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(PFN_L3), 0), -EINVAL);
	assert_int_equal(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(60), 0), -EINVAL);
	assert_int_equal(mmuext(MMUEXT_NEW_USER_BASEPTR, mfn_of(60), 0), -EINVAL);
	/* A frame that becomes an L4 by that; user and kernel may have the same. */
	assert_int_equal(mmuext(MMUEXT_NEW_USER_BASEPTR, mfn_of(30), 0), 0);
	assert_int_equal(v->user_cr3, mfn_of(30) << PAGE_SHIFT);
	assert_frame(30, FRAME_L4, 1, 2);
	assert_int_equal(mmuext(MMUEXT_NEW_USER_BASEPTR, mfn_of(PFN_L4), 0), 0);
	assert_frame(30, FRAME_NONE, 0, 1);
	assert_int_equal(mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
	assert_int_equal(v->user_cr3, 0);
	/* The kernel's own memory is there in another address space. */
	assert_int_equal(set_entry(30, 511, frame_at(PFN_L4)[511]), 0);
	assert_int_equal(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(30), 0), 0);
	assert_int_equal(v->cr3, mfn_of(30) << PAGE_SHIFT);
	assert_frame(PFN_L4, FRAME_L4, 1, 2);
	assert_int_equal(mmu_load(v, 5ull << 39 | 6ull << 30 | 7 << 21 | 9 << 12 | 8 * 8, 8, MMU_EXPLICIT),
			 entry(50, RW));
	assert_int_equal(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(PFN_L4), 0), 0);
	guest_stop();
}

/* ---- stores to tables that are mapped read-only ---- */

static void stores(void **state)
{
	u64 gla = gla_of(PFN_L1) + 8 * 100, old;

	guest_start(1);
	assert_int_equal(store(gla, 8, entry(200, RO)), NO_FAULT);
	assert_int_equal(*l1_entry(100), entry(200, RO));
	assert_frame(200, FRAME_WRITABLE, 1, 2);
	assert_int_equal(store(gla, 8, 0), NO_FAULT);
	assert_frame(200, FRAME_WRITABLE, 1, 1);
	/* Parts of an entry; one that would make it wrong. */
	assert_int_equal(store(gla, 8, entry(200, RO)), NO_FAULT);
	assert_int_equal(store(gla, 1, RW), NO_FAULT);
	assert_int_equal(*l1_entry(100), entry(200, RW));
	assert_frame(200, FRAME_WRITABLE, 2, 2);
	assert_int_equal(store(gla + 6, 2, 0xffff), PF_P | PF_W);
	assert_int_equal(store(gla + 4, 4, 0x80000000), NO_FAULT); /* NX */
	assert_int_equal(*l1_entry(100), entry(200, RW | PTE_NX));
	/* Compare and exchange. */
	old = entry(200, RW | PTE_NX);
	assert_int_equal(cmpxchg(gla, old, entry(201, RW)), NO_FAULT);
	assert_int_equal(loaded, old);
	assert_int_equal(*l1_entry(100), entry(201, RW));
	assert_int_equal(cmpxchg(gla, old, entry(202, RW)), NO_FAULT);
	assert_int_equal(loaded, entry(201, RW));
	assert_int_equal(*l1_entry(100), entry(201, RW));
	assert_frame(202, FRAME_WRITABLE, 1, 1);
	assert_int_equal(cmpxchg(gla, entry(201, RW), entry(PFN_L4, RW)), PF_P | PF_W);
	/* Over two entries, and over the end of the page: half of it could be refused. */
	assert_int_equal(cmpxchg(gla + 4, 0, 0), PF_P | PF_W);
	assert_int_equal(fault_of(CMPXCHG16, gla_of(PFN_L1) + 16 * 50, 16, 0, 0), PF_P | PF_W);
	assert_null(mmu_direct_write(v, gla, 8, MMU_EXPLICIT));
	assert_int_equal(fault_of(PROBE, gla, 8, 0, 0), NO_FAULT);
	/* Higher tables, and programs. */
	for (unsigned p = PFN_L4; p < PFN_L1; p++)
		assert_int_equal(store(gla_of(p) + 64, 8, 0), PF_P | PF_W);
	guest_stop();
}

/* A page that turns into a table while translations for writing are in the TLB. */
static void stale_translations(void **state)
{
	guest_start(1);
	memset(frame_at(20), 0, PAGE_SIZE);
	assert_int_equal(store(gla_of(20), 8, 0), NO_FAULT);
	assert_int_equal(set_pte(20, entry(20, RO)), 0); /* and no flush */
	assert_int_equal(store(gla_of(20), 8, 0), NO_FAULT); /* old translations may serve */
	assert_int_equal(pin(1, 20), 0);
	assert_int_equal(store(gla_of(20), 8, entry(PFN_L4, RW)), PF_P | PF_W);
	assert_int_equal(frame_at(20)[0], 0);
	guest_stop();
}

static void va_mappings(void **state)
{
	guest_start(1);
	assert_int_equal(va_mapping(gla_of(100), entry(200, RW), UVMF_INVLPG), 0);
	assert_int_equal(*l1_entry(100), entry(200, RW));
	frame_at(200)[0] = 42;
	assert_int_equal(mmu_load(v, gla_of(100), 8, MMU_EXPLICIT), 42);
	frame_at(201)[0] = 43;
	assert_int_equal(va_mapping(gla_of(100), entry(201, RW), UVMF_TLB_FLUSH | UVMF_ALL), 0);
	assert_int_equal(mmu_load(v, gla_of(100), 8, MMU_EXPLICIT), 43);
	*frame_at(PFN_ARG) = 1;
	assert_int_equal(va_mapping(gla_of(100), entry(200, RW), UVMF_INVLPG | gla_of(PFN_ARG)), 0);
	assert_int_equal(mmu_load(v, gla_of(100), 8, MMU_EXPLICIT), 42);
	/* No table there; ours; a mask that is not there. */
	assert_int_equal(va_mapping(0, entry(200, RW), 0), -EINVAL);
	assert_int_equal(va_mapping(M2P_BASE, entry(200, RW), 0), -EINVAL);
	assert_int_equal(va_mapping(TABLES_BASE, entry(200, RW), 0), -EINVAL);
	assert_int_equal(va_mapping(gla_of(100), entry(200, RW), UVMF_INVLPG | 0x1000), -EFAULT);
	guest_stop();
}

static void untyped_update(void **state)
{
	guest_start(1);
	assert_int_equal(set_entry(100, 3, 0x1234), 0);
	assert_int_equal(frame_at(100)[3], 0x1234);
	assert_frame(100, FRAME_WRITABLE, 1, 1);
	assert_int_equal(mmu_update((mfn_of(100) << PAGE_SHIFT) | 7, 1), -EINVAL);
	assert_int_equal(mmu_update((mfn_of(100) << PAGE_SHIFT) | 5, 1), -EINVAL);
	guest_stop();
}

/* ---- arguments ---- */

static void bad_arguments(void **state)
{
	guest_start(1);
	/* The page after this one is not there. */
	assert_int_equal(set_pte(101, 0), 0);
	mmu_flush_all(v);
	u64 end = gla_of(101);
	struct mmu_update *u = (struct mmu_update *)(frame_at(100) + 510);
	u64 arg[6] = { end - 16, 2, 0, DOMID_SELF };

	*u = (struct mmu_update){ l1_address(102), entry(200, RO) };
	assert_int_equal(hypercall_mmu_update(v, arg), -EFAULT);
	arg[1] = 1;
	assert_int_equal(hypercall_mmu_update(v, arg), 0);
	arg[2] = end - 2; /* done */
	assert_int_equal(hypercall_mmu_update(v, arg), -EFAULT);
	for (unsigned k = 0; k < 2; k++) {
		hypercall_fn *fn = k ? hypercall_mmuext_op : hypercall_mmu_update;
		static const u64 bad[] = { 0, 0x800000000000, 0xffff7fffffffffff, M2P_BASE - 8, ~0ull - 7, 1ull << 63 };

		for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
			u64 a[6] = { bad[i], 3, 0, DOMID_SELF };

			assert_int_equal(fn(v, a), -EFAULT);
			a[1] = 0x7fffffff;
			assert_int_equal(fn(v, a), -EFAULT);
			a[1] = 0;
			assert_int_equal(fn(v, a), 0);
		}
		u64 a[6] = { end - 24, 1, 0, DOMID_SELF };
		memset(frame_at(100) + 509, 0xff, 24);
		assert_int_equal(fn(v, a), k ? -ENOSYS : -EINVAL);
	}
	assert_int_equal(mmuext(MMUEXT_TLB_FLUSH_MULTI, 0, 0x1000), -EFAULT);
	assert_int_equal(mmuext(MMUEXT_SET_LDT, 1, 5), -EINVAL);
	assert_int_equal(mmuext(MMUEXT_SET_LDT, gla_of(100), 8193), -EINVAL);
	assert_int_equal(mmuext(MMUEXT_MARK_SUPER, mfn_of(100), 0), -ENOSYS);
	guest_stop();
}

static void counts_end(void **state)
{
	struct frame *f;

	guest_start(1);
	f = &d->mm->frame[mfn_of(200)];
	f->word += (F_COUNT_MAX - 1) * F_REF; /* one more is what it has */
	assert_int_equal(set_pte(100, entry(200, RO)), -EINVAL);
	assert_int_equal(set_pte(100, entry(200, RW)), -EINVAL);
	assert_null(mm_get(d, mfn_of(200), FRAME_NONE));
	f->word -= (F_COUNT_MAX - 1) * F_REF;
	make_table(20);
	assert_int_equal(pin(1, 20), 0);
	f = &d->mm->frame[mfn_of(20)];
	f->word += (F_COUNT_MAX - 2) * F_REF;
	assert_int_equal(set_entry(PFN_L2, 100, entry(20, RW)), -EINVAL);
	assert_int_equal(set_entry(20, 0, entry(300, RW)), 0); /* it can be changed all the same */
	f->word -= (F_COUNT_MAX - 2) * F_REF;
	guest_stop();
}

/* More to do than anybody has time for, and somebody wants the vCPU to stop. */
static void endless(void **state)
{
	u64 arg[6] = { 0, 0x7fffffff, 0, DOMID_SELF };
	struct mmu_update *u;

	guest_start(1);
	arg[0] = gla_of(256);
	for (unsigned p = 256; p < 512; p++) {
		u = (struct mmu_update *)frame_at(p);
		for (unsigned k = 0; k < PAGE_SIZE / sizeof(*u); k++)
			u[k] = (struct mmu_update){ l1_address(100), entry(100, RW) };
	}
	atomic_fetch_or(&v->events, EV_STOP);
	assert_int_equal(hypercall_mmu_update(v, arg), -EAGAIN);
	/* What a guest does at once is done. */
	arg[1] = 512;
	d->cpu[0].parts = 0;
	assert_int_equal(hypercall_mmu_update(v, arg), 0);
	guest_stop();
}

/* ---- descriptor tables ---- */

#define DESC_KERNEL	  0x00af9b000000ffffull
#define DESC_NOT_ACCESSED 0x00cff2000000ffffull
#define DESC_TSS	  0x0000890000000067ull
#define DESC_GATE	  0x00008c0000080000ull

static s64 set_gdt(u64 pfn, u64 entries)
{
	u64 arg[6] = { gla_of(PFN_ARG), entries };

	for (unsigned k = 0; k < 20; k++)
		frame_at(PFN_ARG)[k] = mfn_of(pfn + k);
	return hypercall_set_gdt(v, arg);
}

static u64 gdt_read(u16 selector)
{
	return mmu_load(v, v->gdtr.base + (selector & ~7u), 8, MMU_SUPERVISOR);
}

static void descriptors(void **state)
{
	guest_start(1);
	assert_int_equal(gdt_read(0xe033), 0x00affb000000ffff);
	assert_int_equal(gdt_read(0xe02b), 0x00cff3000000ffff);
	assert_int_equal(gdt_read(0x10), 0);
	assert_int_equal(set_gdt(40, 16), -EINVAL); /* mapped writable */
	make_table(40);
	make_table(41);
	frame_at(40)[2] = DESC_KERNEL;
	frame_at(40)[3] = DESC_NOT_ACCESSED;
	for (unsigned k = 0; k < 2; k++) {
		frame_at(40)[100] = k ? DESC_TSS : DESC_GATE;
		assert_int_equal(set_gdt(40, 16), -EINVAL);
	}
	frame_at(40)[100] = DESC_GATE & ~BIT(47);
	assert_int_equal(set_gdt(40, 16), 0);
	assert_frame(40, FRAME_DESCRIPTOR, 1, 2);
	assert_int_equal(gdt_read(0x10), DESC_KERNEL | 3ull << 45);
	assert_int_equal(gdt_read(0x18), DESC_NOT_ACCESSED | BIT(40));
	assert_int_equal(gdt_read(0xe033), 0x00affb000000ffff);
	assert_int_equal(set_pte(40, entry(40, RW)), -EINVAL);
	assert_int_equal(store(gla_of(40), 8, 0), PF_P | PF_W);
	assert_int_equal(set_entry(40, 0, 0), -EINVAL);
	assert_int_equal(pin(1, 40), -EINVAL);
	/* One descriptor. */
	u64 at = (mfn_of(40) << PAGE_SHIFT) + 8 * 5;
	assert_int_equal(update_descriptor(at, DESC_KERNEL), 0);
	assert_int_equal(gdt_read(0x28), DESC_KERNEL | 3ull << 45);
	assert_int_equal(update_descriptor(at, DESC_TSS), -EINVAL);
	assert_int_equal(update_descriptor(at + 1, 0), -EINVAL);
	assert_int_equal(update_descriptor(l1_address(100), 0), -EINVAL);
	assert_int_equal(update_descriptor(mfn_of(300) << PAGE_SHIFT, DESC_KERNEL), 0);
	assert_int_equal(frame_at(300)[0], DESC_KERNEL | 3ull << 45);
	/* Others in their place; too many. */
	assert_int_equal(set_gdt(41, 512), 0);
	assert_frame(40, FRAME_NONE, 0, 1);
	assert_int_equal(set_gdt(41, 513), -EINVAL);
	assert_frame(41, FRAME_DESCRIPTOR, 1, 2);
	assert_int_equal(set_gdt(41, 14 * 512 + 1), -EINVAL);
	assert_int_equal(set_gdt(41, 0), 0);
	assert_int_equal(gdt_read(0x10), 0);
	guest_stop();
}

static void ldt(void **state)
{
	guest_start(1);
	make_table(40);
	make_table(41);
	frame_at(40)[1] = DESC_KERNEL;
	assert_int_equal(mmuext(MMUEXT_SET_LDT, gla_of(40), 600), 0);
	assert_frame(40, FRAME_DESCRIPTOR, 1, 2);
	assert_frame(41, FRAME_DESCRIPTOR, 1, 2);
	assert_int_equal(v->ldtr.limit, 600 * 8 - 1);
	assert_int_equal(mmu_load(v, v->ldtr.base + 8, 8, MMU_SUPERVISOR), DESC_KERNEL | 3ull << 45);
	/* Writable pages, and none at all, hold no descriptors. */
	assert_int_equal(mmuext(MMUEXT_SET_LDT, gla_of(42), 8192), 0);
	assert_int_equal(mmu_load(v, v->ldtr.base + 8, 8, MMU_SUPERVISOR), 0);
	assert_frame(40, FRAME_NONE, 0, 1);
	assert_int_equal(mmuext(MMUEXT_SET_LDT, 0x1000, 8192), 0);
	assert_int_equal(mmuext(MMUEXT_SET_LDT, 0, 0), 0);
	assert_true(v->ldtr.ar & AR_UNUSABLE);
	guest_stop();
}

/* ---- memory_op ---- */

static void ballooning(void **state)
{
	struct xen_memory_reservation r = { .nr_extents = 4, .domid = DOMID_SELF };
	struct xen_memory_domain dom = { DOMID_SELF };
	u64 *list, given[4];

	guest_start(1);
	list = frame_at(PFN_LIST);
	r.extent_start.p = (void *)gla_of(PFN_LIST);
	for (unsigned k = 0; k < 4; k++) {
		given[k] = list[k] = mfn_of(500 + k);
		frame_at(500 + k)[0] = 99;
	}
	/* One is still mapped when it is given back: it is not free before that ends. */
	for (unsigned k = 1; k < 4; k++)
		assert_int_equal(set_pte(500 + k, 0), 0);
	assert_int_equal(memory_op(XENMEM_decrease_reservation, &r, sizeof(r)), 4);
	assert_int_equal(mm_total_pages(d), FRAMES - 4);
	assert_int_equal(memory_op(XENMEM_current_reservation, &dom, sizeof(dom)), FRAMES - 4);
	assert_int_equal(memory_op(XENMEM_maximum_reservation, &dom, sizeof(dom)), FRAMES);
	assert_int_equal(d->mm->pooled, 3);
	assert_int_equal(d->mm->m2p[given[0]], M2P_NONE);
	assert_int_equal(set_pte(600, given[1] << PAGE_SHIFT | RO), -EINVAL);
	assert_int_equal(set_pte(600, given[0] << PAGE_SHIFT | RO), -EINVAL);
	assert_int_equal(memory_op(XENMEM_decrease_reservation, &r, sizeof(r)), 0); /* twice */
	assert_int_equal(set_pte(500, 0), 0);
	assert_int_equal(d->mm->pooled, 4);
	/* And back: zeroed, as other pages. */
	for (unsigned k = 0; k < 4; k++)
		list[k] = 700 + k;
	r.nr_extents = 5;
	assert_int_equal(memory_op(XENMEM_populate_physmap, &r, sizeof(r)), 4);
	for (unsigned k = 0; k < 4; k++) {
		assert_int_equal(d->mm->m2p[list[k]], 700 + k);
		assert_int_equal(table_host(d, list[k])[0], 0);
	}
	assert_int_equal(set_pte(600, list[2] << PAGE_SHIFT | RW), 0);
	assert_int_equal(mm_total_pages(d), FRAMES);
	guest_stop();
}

static void refused_ballooning(void **state)
{
	struct xen_memory_reservation r = { .nr_extents = 1, .domid = DOMID_SELF };
	u64 *list;

	guest_start(1);
	list = frame_at(PFN_LIST);
	r.extent_start.p = (void *)gla_of(PFN_LIST);
	u64 bad[] = { 0, d->shared_mfn, d->mm->limit, ~0ull, mfn_of(PFN_L4) };
	for (unsigned k = 0; k < ARRAY_SIZE(bad); k++) {
		list[0] = bad[k];
		assert_int_equal(memory_op(XENMEM_decrease_reservation, &r, sizeof(r)), 0);
		assert_int_equal(mm_total_pages(d), FRAMES);
	}
	/* A table that is in use may go: it stays what it is until it is not. */
	make_space();
	assert_int_equal(pin(4, 30), 0);
	list[0] = mfn_of(33);
	assert_int_equal(memory_op(XENMEM_decrease_reservation, &r, sizeof(r)), 1);
	assert_int_equal(word_type(word_of(33)), FRAME_L1);
	assert_int_equal(set_entry(32, 9, entry(33, RW)), -EINVAL);
	assert_int_equal(set_pte(33, 0), 0);
	assert_int_equal(unpin(30), 0);
	assert_int_equal(d->mm->pooled, 1);
	r.extent_order = 10;
	assert_int_equal(memory_op(XENMEM_decrease_reservation, &r, sizeof(r)), -EINVAL);
	r.extent_order = 1;
	assert_int_equal(memory_op(XENMEM_populate_physmap, &r, sizeof(r)), 0);
	r.extent_order = 0;
	r.extent_start.p = (void *)0x1000;
	assert_int_equal(memory_op(XENMEM_populate_physmap, &r, sizeof(r)), 0);
	assert_int_equal(memory_op(XENMEM_decrease_reservation, &r, sizeof(r)), 0);
	r.nr_extents = ~0ull;
	assert_int_equal(memory_op(XENMEM_decrease_reservation, &r, sizeof(r)), -EINVAL);
	assert_int_equal(memory_op(62, &r, sizeof(r)), -ENOSYS);
	guest_stop();
}

static void maps(void **state)
{
	struct xen_memory_map map = { .nr_entries = 8 };
	struct xen_machphys_mapping mapping;

	guest_start(1);
	map.buffer.p = (void *)gla_of(PFN_LIST);
	assert_int_equal(memory_op(XENMEM_memory_map, &map, sizeof(map)), 0);
	assert_int_equal(map.nr_entries, 1);
	assert_int_equal(frame_at(PFN_LIST)[0], 0);
	assert_int_equal(frame_at(PFN_LIST)[1], FRAMES << PAGE_SHIFT);
	assert_int_equal((u32)frame_at(PFN_LIST)[2], 1);
	assert_int_equal(memory_op(XENMEM_machphys_mapping, &mapping, sizeof(mapping)), 0);
	assert_int_equal(mapping.v_start, M2P_BASE);
	assert_int_equal(mapping.max_mfn, d->mm->limit - 1);
	guest_stop();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(initial),
		cmocka_unit_test(m2p_is_shown),
		cmocka_unit_test(mapping),
		cmocka_unit_test(refused_mappings),
		cmocka_unit_test(other_domains),
		cmocka_unit_test(pinning),
		cmocka_unit_test(promotion),
		cmocka_unit_test(refused_promotion),
		cmocka_unit_test(hidden_slots),
		cmocka_unit_test(roots),
		cmocka_unit_test(stores),
		cmocka_unit_test(stale_translations),
		cmocka_unit_test(va_mappings),
		cmocka_unit_test(untyped_update),
		cmocka_unit_test(bad_arguments),
		cmocka_unit_test(endless),
		cmocka_unit_test(counts_end),
		cmocka_unit_test(descriptors),
		cmocka_unit_test(ldt),
		cmocka_unit_test(ballooning),
		cmocka_unit_test(refused_ballooning),
		cmocka_unit_test(maps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
