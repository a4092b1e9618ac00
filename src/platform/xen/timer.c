/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vCPU asks of time (xen/vcpu.h): its one-shot timer, which set_timer_op is an older way to set, and the areas in which it
 * wants to see its times. A periodic timer is refused: kernels that use it ask for one-shot timers first.
 */
#include <errno.h>

#include "platform/xen/events.h"

static void set_timer(struct vcpu *v, u64 deadline)
{
	timer_arm(v->machine->clock, &xen_cpu_of(v)->singleshot, deadline);
}

static void stop_timer(struct vcpu *v)
{
	timer_cancel(v->machine->clock, &xen_cpu_of(v)->singleshot);
}

/* (absolute ns; 0: none) */
s64 hypercall_set_timer_op(struct vcpu *v, const u64 arg[6])
{
	if (arg[0])
		set_timer(v, arg[0]);
	else
		stop_timer(v);
	return 0;
}

static s64 set_singleshot(struct vcpu *v, u64 gla)
{
	struct vcpu_set_singleshot_timer set;

	if (guest_read(v, gla, &set, sizeof(set)))
		return -EFAULT;
	if (set.flags & VCPU_SSHOTTMR_future && set.timeout_abs_ns < clock_now(v->machine->clock))
		return -ETIME;
	set_timer(v, set.timeout_abs_ns);
	return 0;
}

static s64 get_runstate(struct vcpu *v, const struct xen_cpu *of, u64 gla)
{
	struct vcpu_runstate_info r = of->runstate;

	r.time[r.state & 3] += clock_now(v->machine->clock) - r.state_entry_time;
	return guest_write(v, gla, &r, sizeof(r)) ? -EFAULT : 0;
}

/* A CPU may be told of its area before it is up. */
static s64 register_runstate(struct vcpu *v, struct xen_cpu *of, u64 gla)
{
	struct vcpu_register_runstate_memory_area area;

	if (guest_read(v, gla, &area, sizeof(area)) || guest_write(v, area.addr.p, &of->runstate, sizeof(of->runstate)))
		return -EFAULT;
	of->runstate_gla = area.addr.p;
	return 0;
}

/* The times do not change after, so nothing has to follow. */
static s64 register_time(struct vcpu *v, const struct xen_cpu *of, u64 gla)
{
	struct vcpu_register_time_memory_area area;
	struct vcpu_time_info t = { .version = 2 };

	if (guest_read(v, gla, &area, sizeof(area)))
		return -EFAULT;
	time_describe(of->v, &t);
	return guest_write(v, area.addr.p, &t, sizeof(t)) ? -EFAULT : 0;
}

s64 timer_vcpu_op(struct vcpu *v, unsigned cmd, unsigned cpu, u64 arg_gla)
{
	struct xen_domain *d = xen_of(v);
	bool own = cpu == v->id;

	if (cpu >= d->cpus)
		return -ENOENT;
	switch (cmd) {
	case VCPUOP_get_runstate_info: return get_runstate(v, &d->cpu[cpu], arg_gla);
	case VCPUOP_register_runstate_memory_area: return register_runstate(v, &d->cpu[cpu], arg_gla);
	case VCPUOP_set_periodic_timer: return -EINVAL;
	case VCPUOP_stop_periodic_timer: return 0;
	case VCPUOP_set_singleshot_timer: return own ? set_singleshot(v, arg_gla) : -EINVAL;
	case VCPUOP_stop_singleshot_timer:
		if (!own)
			return -EINVAL;
		stop_timer(v);
		return 0;
	case VCPUOP_register_vcpu_time_memory_area: return register_time(v, &d->cpu[cpu], arg_gla);
	default: return -ENOSYS;
	}
}
