/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PV guest for tests of its platform's events, store and devices, without a kernel: a domain over fixture_machine(), whose linear
 * addresses are guest physical ones and whose frames are all its own, but for those that a test takes from it. These functions take the
 * place of the platform's memory management, so that a test says what a frame may be used for, and sees that each use ends.
 */
#pragma once
#include "fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "platform/xen/events.h"
#include "platform/xen/mm.h"

#define GUEST_FRAMES   4096u
#define GUEST_SHARED   1u /* frames */
#define GUEST_STORE    2u
#define GUEST_CONSOLE  3u
#define GUEST_ARG      0x5000ull /* where hypercalls' arguments are */
#define GUEST_GRANTS   16u /* ... and 32 frames from here are the grant table's */
#define GUEST_HEAP     64u
#define GUEST_UNMAPPED 0xff0000ull /* from this address on nothing can be read or written by linear address */

static struct machine *m;
static struct xen_domain *d;
static int frame_uses[GUEST_FRAMES]; /* that mm_get() gave and mm_put() has not got back */
static bool frame_foreign[GUEST_FRAMES], frame_table[GUEST_FRAMES]; /* not the guest's; a page table */

int guest_read(struct vcpu *v, u64 gla, void *buf, u64 len)
{
	if (!len)
		return 0;
	return gla + len > GUEST_UNMAPPED || gla + len < gla ? -EFAULT : machine_read(m, gla, buf, len);
}

int guest_write(struct vcpu *v, u64 gla, const void *buf, u64 len)
{
	return gla + len > GUEST_UNMAPPED || gla + len < gla ? -EFAULT : machine_write(m, gla, buf, len);
}

u8 *mm_get(struct xen_domain *dom, u64 mfn, enum frame_type as)
{
	if (mfn >= GUEST_FRAMES || frame_foreign[mfn] || (as == FRAME_WRITABLE && frame_table[mfn]))
		return NULL;
	frame_uses[mfn]++;
	return ram_ptr(m, mfn << PAGE_SHIFT, PAGE_SIZE);
}

void mm_put(struct xen_domain *dom, u64 mfn, enum frame_type as)
{
	assert_true(mfn < GUEST_FRAMES && frame_uses[mfn] > 0);
	frame_uses[mfn]--;
}

void mm_share(struct xen_domain *dom, u64 mfn, bool writable)
{
	frame_foreign[mfn] = true;
}

u64 mm_total_pages(struct xen_domain *dom)
{
	return GUEST_FRAMES;
}

static inline void *frame(u64 mfn)
{
	return ram_ptr(m, mfn << PAGE_SHIFT, PAGE_SIZE);
}

static inline struct vcpu_info *guest_info(unsigned cpu)
{
	return &d->shared->vcpu_info[cpu];
}

/* A hypercall with a structure as its second argument, which is read back. */
static inline s64 guest_call(unsigned cpu, hypercall_fn *fn, u64 op, void *arg, size_t size)
{
	u64 a[6] = { op, GUEST_ARG };
	s64 r;

	assert_int_equal(machine_write(m, GUEST_ARG, arg, size), 0);
	r = fn(m->vcpu[cpu], a);
	machine_read(m, GUEST_ARG, arg, size);
	return r;
}
#define guest_event_op(cpu, op, arg) guest_call(cpu, hypercall_event_channel_op, op, arg, sizeof(*(arg)))

/* What was rung for is done: works ring for each other. */
static inline void guest_settle(void)
{
	for (unsigned i = 0; i < 1000 && clock_next_deadline(m->clock) <= clock_now(m->clock); i++)
		clock_run_timers(m->clock);
}

static inline void guest_send(u32 port)
{
	struct {
		u32 port;
	} a = { port };

	assert_int_equal(guest_event_op(0, 4 /* EVTCHNOP_send */, &a), 0);
	guest_settle();
}

/* Whether the port was raised; it is no more. 2-level. */
static inline bool guest_raised(u32 port)
{
	return __atomic_fetch_and(&d->shared->evtchn_pending[port / 64], ~BIT(port % 64), __ATOMIC_SEQ_CST) &
	       BIT(port % 64);
}

static inline void guest_start(unsigned cpus)
{
	struct error err = { 0 };

	m = fixture_machine(cpus);
	memset(frame_uses, 0, sizeof(frame_uses));
	memset(frame_foreign, 0, sizeof(frame_foreign));
	memset(frame_table, 0, sizeof(frame_table));
	d = calloc(1, sizeof(*d));
	m->platform = d;
	d->machine = m;
	d->cpus = cpus;
	d->frames = GUEST_FRAMES;
	d->shared = frame(GUEST_SHARED);
	for (unsigned i = 0; i < cpus; i++) {
		d->cpu[i].v = m->vcpu[i];
		d->cpu[i].info = guest_info(i);
	}
	if (events_create(d, &err))
		fail_msg("%s", err.text);
}

/* Nothing holds a frame any more. */
static inline void guest_stop(void)
{
	events_destroy(d);
	for (unsigned i = 0; i < GUEST_FRAMES; i++)
		assert_int_equal(frame_uses[i], 0);
	free(d);
	machine_free(m);
}
