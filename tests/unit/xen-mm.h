/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PV domain for tests of its memory management, without a kernel: a machine with tables as the domain builder makes them, hypercalls called
 * directly. The domain has FRAMES frames in an order of their own; pfn n is mapped at gla_of(n), tables read-only.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "platform/xen/mm-internal.h"
#include <xen/memory.h>

enum { FRAMES = 1024, PFN_L4 = 0, PFN_L3, PFN_L2, PFN_L1, PFN_ARGS = 8, PFN_LIST = 16 };
#define VIRT 0xffffffff80000000ull
#define RW   (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)
#define RO   (PTE_P | PTE_U | PTE_A)
#define NOTE 0x20000000ull /* entries that are not present may hold anything */

static struct machine *m;
static struct xen_domain *d;
static u64 shown_mfn; /* a frame of ours that may be read */
static _Thread_local struct vcpu *v; /* this thread's */
#define PFN_ARG	 (PFN_ARGS + 2 * v->id) /* hypercalls' arguments */
#define PFN_DONE (PFN_ARG + 1) /* where mmu_update tells how far it came */

/* A permutation: neighbours are no neighbours. */
static inline u64 mfn_of(u64 pfn)
{
	return mm_nth(d, (pfn * 5 + 3) % FRAMES);
}
static inline u64 gla_of(u64 pfn)
{
	return VIRT + (pfn << PAGE_SHIFT);
}
static inline u64 *frame_at(u64 pfn)
{
	return table_host(d, mfn_of(pfn));
}
static inline u64 entry(u64 pfn, u64 flags)
{
	return mfn_of(pfn) << PAGE_SHIFT | flags;
}
/* Machine address of the L1 entry that maps the pfn. */
static inline u64 *l1_entry(u64 pfn)
{
	return frame_at(PFN_L1 + pfn / 512) + pfn % 512;
}
static inline u64 l1_address(u64 pfn)
{
	return (mfn_of(PFN_L1 + pfn / 512) << PAGE_SHIFT) + pfn % 512 * 8;
}

static inline u64 word_of(u64 pfn)
{
	return d->mm->frame[mfn_of(pfn)].word;
}
#define assert_frame(pfn, type, uses, refs)                             \
	do {                                                            \
		assert_int_equal(word_type(word_of(pfn)), type);        \
		assert_int_equal(word_uses(word_of(pfn)), (u64)(uses)); \
		assert_int_equal(word_refs(word_of(pfn)), (u64)(refs)); \
	} while (0)

static inline void assert_checks(void)
{
	struct error err = { 0 };

	if (mm_check(d, &err))
		fail_msg("%s", err.text);
}

static inline bool is_table(struct vcpu *c, u64 gpa)
{
	return mm_is_l1_table(d, gpa);
}
static inline bool table_store(struct vcpu *c, u64 gpa, unsigned size, u64 value, u64 *old)
{
	return !mm_table_store(c, gpa, size, value, old);
}
static const struct deprivileged_ops test_ops = { .is_table = is_table, .table_store = table_store };

static inline void build_tables(void)
{
	frame_at(PFN_L4)[511] = entry(PFN_L3, RW);
	frame_at(PFN_L3)[510] = entry(PFN_L2, RW);
	for (unsigned k = 0; k < FRAMES / 512; k++)
		frame_at(PFN_L2)[k] = entry(PFN_L1 + k, RW);
	for (unsigned p = 0; p < FRAMES; p++)
		*l1_entry(p) = entry(p, p < PFN_L1 + FRAMES / 512 ? RO : RW);
}

/* A kernel's state in long mode, after the domain builder. */
static inline void start_cpu(struct vcpu *c)
{
	struct error err = { 0 };

	c->wait_sipi = false;
	c->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_NE;
	c->cr4 = CR4_PAE;
	c->efer = EFER_LME | EFER_LMA | EFER_NXE;
	c->cpl = 3;
	c->guest_kernel = true;
	c->seg[SEG_CS].ar = AR_P | AR_S | AR_CODE | AR_L;
	vcpu_update_mode(c);
	assert_int_equal(mmu_create(c, &err), 0);
	vcpu_set_current(c);
	mm_reset_cpu(c);
	assert_int_equal(mm_set_roots(c, mfn_of(PFN_L4), 0), 0);
}

static inline void guest_start(unsigned cpus)
{
	struct machine_config config = { .cpus = cpus,
					 .model = cpu_models,
					 .ram_size = (FRAMES + mm_overhead(FRAMES, cpus, 2)) << PAGE_SHIFT };
	struct error err = { 0 };

	m = machine_new(&config, &err);
	assert_non_null(m);
	d = calloc(1, sizeof(*d));
	m->platform = d;
	m->deprivileged = &test_ops;
	d->machine = m;
	d->cpus = cpus;
	if (mm_create(d, &err))
		fail_msg("%s", err.text);
	d->shared_mfn = mm_alloc(d);
	mm_share(d, d->shared_mfn, true);
	shown_mfn = mm_alloc(d);
	mm_share(d, shown_mfn, false);
	assert_true(mm_free_frames(d) >= FRAMES);
	for (u64 p = 0; p < FRAMES; p++)
		mm_give(d, mfn_of(p), p);
	build_tables();
	if (mm_pin_initial(d, mfn_of(PFN_L4), &err))
		fail_msg("%s", err.text);
	for (unsigned k = cpus; k--;)
		start_cpu(m->vcpu[k]);
	v = m->vcpu[0];
	assert_checks();
}

static inline void guest_stop(void)
{
	assert_checks();
	for (unsigned k = 0; k < m->config.cpus; k++)
		mmu_destroy(m->vcpu[k]);
	vcpu_set_current(NULL);
	mm_destroy(d);
	free(d);
	machine_free(m);
}

/* ---- hypercalls ---- */

static inline s64 mmu_update_n(const struct mmu_update *u, unsigned n, u32 *done)
{
	u64 arg[6] = { gla_of(PFN_ARG), n, gla_of(PFN_DONE), DOMID_SELF };
	s64 r;

	memcpy(frame_at(PFN_ARG), u, n * sizeof(*u));
	r = hypercall_mmu_update(v, arg);
	if (done)
		*done = *(u32 *)frame_at(PFN_DONE);
	return r;
}
static inline s64 mmu_update(u64 ptr, u64 value)
{
	struct mmu_update u = { ptr, value };

	return mmu_update_n(&u, 1, NULL);
}
/* Of the entry that maps the pfn. */
static inline s64 set_pte(u64 pfn, u64 value)
{
	return mmu_update(l1_address(pfn), value);
}
/* Entry i of the table at pfn. */
static inline s64 set_entry(u64 pfn, unsigned i, u64 value)
{
	return mmu_update((mfn_of(pfn) << PAGE_SHIFT) + 8 * i, value);
}

static inline s64 mmuext(unsigned cmd, u64 arg1, u64 arg2)
{
	struct mmuext_op op = { .cmd = cmd };
	u64 arg[6] = { gla_of(PFN_ARG), 1, 0, DOMID_SELF };

	op.arg1.mfn = arg1;
	op.arg2.src_mfn = arg2;
	memcpy(frame_at(PFN_ARG), &op, sizeof(op));
	return hypercall_mmuext_op(v, arg);
}
static inline s64 pin(unsigned level, u64 pfn)
{
	return mmuext(MMUEXT_PIN_L1_TABLE + level - 1, mfn_of(pfn), 0);
}
static inline s64 unpin(u64 pfn)
{
	return mmuext(MMUEXT_UNPIN_TABLE, mfn_of(pfn), 0);
}
static inline s64 va_mapping(u64 gla, u64 value, u64 flags)
{
	u64 arg[6] = { gla, value, flags };

	return hypercall_update_va_mapping(v, arg);
}
static inline s64 update_descriptor(u64 address, u64 desc)
{
	u64 arg[6] = { address, desc };

	return hypercall_update_descriptor(v, arg);
}
static inline s64 memory_op(unsigned op, void *arg, size_t size)
{
	u64 a[6] = { op, gla_of(PFN_ARG) };
	s64 r;

	memcpy(frame_at(PFN_ARG), arg, size);
	r = hypercall_memory_op(v, a);
	memcpy(arg, frame_at(PFN_ARG), size);
	return r;
}

/* ---- accesses of the guest kernel's, by linear address ---- */

#define NO_FAULT (-1)
enum access { LOAD, STORE, CMPXCHG, CMPXCHG16, PROBE };
static u64 loaded; /* what LOAD or CMPXCHG saw */

static inline void access_now(enum access how, u64 gla, unsigned size, u64 value, u64 old)
{
	u64 pair[2] = { 0, 0 };

	switch (how) {
	case LOAD: loaded = mmu_load(v, gla, size, MMU_EXPLICIT); break;
	case STORE: mmu_store(v, gla, size, value, MMU_EXPLICIT); break;
	case CMPXCHG: loaded = mmu_cmpxchg(v, gla, size, old, value); break;
	case CMPXCHG16: mmu_cmpxchg16(v, gla, pair, pair); break;
	case PROBE: mmu_probe_write(v, gla, size, MMU_EXPLICIT); break;
	}
}
/* The error code of the page fault that the access raises. */
static __attribute__((noinline)) int fault_of(enum access how, u64 gla, unsigned size, u64 value, u64 old)
{
	jmp_buf landing;

	v->unwind = &landing;
	if (setjmp(landing))
		return v->event.vector == EXC_PF ? (int)v->event.error : -2;
	access_now(how, gla, size, value, old);
	return NO_FAULT;
}
static inline int store(u64 gla, unsigned size, u64 value)
{
	return fault_of(STORE, gla, size, value, 0);
}
static inline int load(u64 gla)
{
	return fault_of(LOAD, gla, 8, 0, 0);
}
static inline int cmpxchg(u64 gla, u64 old, u64 value)
{
	return fault_of(CMPXCHG, gla, 8, value, old);
}
