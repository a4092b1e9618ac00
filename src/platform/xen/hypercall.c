/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of hypercalls, and multicall, which is several at once. A hypercall is a function call out of the guest's code: no state
 * changes but RAX and what it is for. Numbers that are not here give -ENOSYS, as older versions of Xen do: guests cope.
 */
#include "platform/xen/hypercall.h"

#include "emulate/emulate.h"
#include "platform/xen/events.h"
#include "platform/xen/grants.h"
#include "platform/xen/mm.h"
#include "platform/xen/traps.h"

struct row {
	const char *name;
	hypercall_fn *fn;
	bool operations; /* the first argument says which */
};

static const struct row table[XEN_HYPERCALLS] = {
	[__HYPERVISOR_set_trap_table] = { "set_trap_table", hypercall_set_trap_table },
	[__HYPERVISOR_mmu_update] = { "mmu_update", hypercall_mmu_update },
	[__HYPERVISOR_set_gdt] = { "set_gdt", hypercall_set_gdt },
	[__HYPERVISOR_stack_switch] = { "stack_switch", hypercall_stack_switch },
	[__HYPERVISOR_set_callbacks] = { "set_callbacks", hypercall_set_callbacks },
	[__HYPERVISOR_fpu_taskswitch] = { "fpu_taskswitch", hypercall_fpu_taskswitch },
	[__HYPERVISOR_set_debugreg] = { "set_debugreg", hypercall_set_debugreg },
	[__HYPERVISOR_get_debugreg] = { "get_debugreg", hypercall_get_debugreg },
	[__HYPERVISOR_update_descriptor] = { "update_descriptor", hypercall_update_descriptor },
	[__HYPERVISOR_memory_op] = { "memory_op", hypercall_memory_op, true },
	[__HYPERVISOR_multicall] = { "multicall", hypercall_multicall },
	[__HYPERVISOR_update_va_mapping] = { "update_va_mapping", hypercall_update_va_mapping },
	[__HYPERVISOR_set_timer_op] = { "set_timer_op", hypercall_set_timer_op },
	[__HYPERVISOR_xen_version] = { "xen_version", hypercall_xen_version, true },
	[__HYPERVISOR_console_io] = { "console_io", hypercall_console_io, true },
	[__HYPERVISOR_grant_table_op] = { "grant_table_op", hypercall_grant_table_op, true },
	[__HYPERVISOR_vm_assist] = { "vm_assist", hypercall_vm_assist },
	[__HYPERVISOR_vcpu_op] = { "vcpu_op", hypercall_vcpu_op, true },
	[__HYPERVISOR_set_segment_base] = { "set_segment_base", hypercall_set_segment_base, true },
	[__HYPERVISOR_mmuext_op] = { "mmuext_op", hypercall_mmuext_op },
	[__HYPERVISOR_sched_op] = { "sched_op", hypercall_sched_op, true },
	[__HYPERVISOR_callback_op] = { "callback_op", hypercall_callback_op, true },
	[__HYPERVISOR_event_channel_op] = { "event_channel_op", hypercall_event_channel_op, true },
	[__HYPERVISOR_physdev_op] = { "physdev_op", hypercall_physdev_op, true },
};

const char *hypercall_name(unsigned nr)
{
	return nr == __HYPERVISOR_iret ? "iret" : nr < XEN_HYPERCALLS ? table[nr].name : NULL;
}

bool hypercall_has_operations(unsigned nr)
{
	return nr < XEN_HYPERCALLS && table[nr].operations;
}

static inline s64 call(struct vcpu *v, u64 nr, const u64 arg[6])
{
	struct xen_counts *count = &xen_cpu_of(v)->counts;

	if (unlikely(nr >= XEN_HYPERCALLS))
		return -XEN_ENOSYS;
	count->call[nr]++;
	if (unlikely(!table[nr].fn))
		return -XEN_ENOSYS;
	if (table[nr].operations)
		count->sub[nr][MIN(arg[0], (u64)(XEN_SUB_OPS - 1))]++;
	return table[nr].fn(v, arg);
}

void hypercall(struct vcpu *v, u64 next)
{
	const u64 arg[6] = { v->r[RDI], v->r[RSI], v->r[RDX], v->r[R10], v->r[R8], v->r[R9] };
	u64 nr = v->r[RAX];

	v->rip = next;
	xen_cpu_of(v)->parts = 0;
	if (nr == __HYPERVISOR_iret) {
		hypercall_iret(v);
	} else {
		s64 result = call(v, nr, arg);
		v->r[RAX] = (u64)result;
	}
	/* The guest opens its mask by itself, and looks; what became pending in between is for us to see. */
	if (unlikely(events_deliverable(v)))
		atomic_fetch_or(&v->events, EV_INTR);
}

/* ---- multicall ---- */

#define BATCH	  32
#define CALLS_MAX (1u << 20) /* of one multicall: no guest's has more */

/* None of them may be a multicall, which would nest without end, or iret. */
static s64 one(struct vcpu *v, const struct multicall_entry *e)
{
	u64 arg[6];

	if (e->op == __HYPERVISOR_multicall || e->op == __HYPERVISOR_iret)
		return -XEN_ENOSYS;
	for (unsigned k = 0; k < ARRAY_SIZE(arg); k++)
		arg[k] = e->args[k];
	return call(v, e->op, arg);
}

s64 hypercall_multicall(struct vcpu *v, const u64 arg[6])
{
	struct multicall_entry e[BATCH];
	u64 gla = arg[0], left = (u32)arg[1];

	if (left > CALLS_MAX)
		return -XEN_EINVAL;
	while (left) {
		u64 n = MIN(left, (u64)BATCH);

		if (guest_read(v, gla, e, n * sizeof(*e)))
			return -XEN_EFAULT;
		for (u64 k = 0; k < n; k++) {
			s64 result = one(v, &e[k]);

			if (hypercall_breathe(v))
				return -XEN_EAGAIN;
			if (guest_write(v, gla + k * sizeof(*e) + offsetof(struct multicall_entry, result), &result,
					sizeof(result)))
				return -XEN_EFAULT;
		}
		gla += n * sizeof(*e);
		left -= n;
	}
	return 0;
}
