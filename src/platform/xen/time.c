/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What time it is, as the guest computes it from its TSC (xen/xen.h, vcpu_time_info). TSC and system time tick at one rate and
 * never part, so it is written once and stays true; that is what the stable flag says, and lets programs compute it as well.
 */
#include "platform/xen/events.h"

#define TSC_STABLE BIT(0) /* vcpu_time_info.flags: times of all vCPUs agree */

/* ns = (tsc << 1) * 2^31 >> 32 */
void time_describe(const struct vcpu *v, struct vcpu_time_info *t)
{
	u64 now = clock_now(v->machine->clock);

	t->tsc_timestamp = now + (u64)v->tsc_offset;
	t->system_time = now;
	t->tsc_to_system_mul = 0x80000000;
	t->tsc_shift = 1;
	t->flags = TSC_STABLE;
}

/* A reader takes what it has read if the version was even, and the same before and after. */
static void publish_time(const struct vcpu *v, struct vcpu_time_info *t)
{
	u32 version = __atomic_load_n(&t->version, __ATOMIC_RELAXED) & ~1u;

	__atomic_store_n(&t->version, version + 1, __ATOMIC_SEQ_CST);
	time_describe(v, t);
	__atomic_store_n(&t->version, version + 2, __ATOMIC_SEQ_CST);
}

static void publish_wall_clock(const struct xen_domain *d)
{
	u64 start = clock_wall_start(d->machine->clock);
	struct shared_info *s = d->shared;
	u32 version = __atomic_load_n(&s->wc_version, __ATOMIC_RELAXED) & ~1u;

	__atomic_store_n(&s->wc_version, version + 1, __ATOMIC_SEQ_CST);
	s->wc_sec = (u32)start;
	s->wc_sec_hi = (u32)(start >> 32);
	s->wc_nsec = 0;
	__atomic_store_n(&s->wc_version, version + 2, __ATOMIC_SEQ_CST);
}

void time_publish(struct xen_domain *d, unsigned cpu)
{
	struct vcpu_info *info = atomic_load(&d->cpu[cpu].info);

	if (info)
		publish_time(d->machine->vcpu[cpu], &info->time);
	publish_wall_clock(d);
}

/* ---- runstate ---- */

/* With VMASST_TYPE_runstate_update_flag a bit says that it is being written. An area that is not mapped any more is left alone. */
static void publish_runstate(struct vcpu *v, const struct xen_cpu *c)
{
	bool flag = atomic_load_explicit(&xen_of(v)->vm_assist, memory_order_relaxed) &
		    BIT(VMASST_TYPE_runstate_update_flag);
	u64 entry = c->runstate_gla + offsetof(struct vcpu_runstate_info, state_entry_time);
	u64 marked = c->runstate.state_entry_time | XEN_RUNSTATE_UPDATE;
	struct vcpu_runstate_info r = c->runstate;

	if (!flag) {
		guest_write(v, c->runstate_gla, &r, sizeof(r));
		return;
	}
	r.state_entry_time = marked;
	if (guest_write(v, entry, &marked, sizeof(marked)) || guest_write(v, c->runstate_gla, &r, sizeof(r)))
		return;
	guest_write(v, entry, &c->runstate.state_entry_time, sizeof(c->runstate.state_entry_time));
}

void runstate_enter(struct vcpu *v, int state)
{
	struct xen_cpu *c = xen_cpu_of(v);
	struct vcpu_runstate_info *r = &c->runstate;
	u64 now;

	if (r->state == state)
		return;
	now = clock_now(v->machine->clock);
	r->time[r->state] += now - r->state_entry_time;
	r->state = state;
	r->state_entry_time = now;
	if (c->runstate_gla)
		publish_runstate(v, c);
}
