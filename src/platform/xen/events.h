/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event channels: ports on which a vCPU is told that something has happened; bits in shared_info (2-level) or queues in frames
 * of the guest's (FIFO). The other end is another vCPU (IPI), a virtual interrupt (VIRQ), or a back end of ours. Locks itself; any thread.
 */
#pragma once
#include "platform/xen/domain.h"

int events_create(struct xen_domain *d, struct error *err);
void events_destroy(struct xen_domain *d);
void events_reset_cpu(struct xen_domain *d, unsigned cpu); /* VCPUOP_down and up again: VIRQs and IPIs stay */

/* A port for a back end of ours that is bound from the start (xenstore 1, console 2, in the order of the calls). notify: the
 * guest has sent on it; on the vCPU's thread that sends, with events' lock held: it notes that, and wakes who works. -ENOSPC. */
int events_offer(struct xen_domain *d, void (*notify)(void *arg), void *arg);
/* A back end binds to a port that the guest allocated for domain 0 (alloc_unbound). 0; -EINVAL: it is no such port. */
int events_bind(struct xen_domain *d, u32 port, void (*notify)(void *arg), void *arg);
/* After it returns notify is not called any more. Until then the port is the back end's, even if the guest has closed it. */
void events_unbind(struct xen_domain *d, u32 port);
/* The guest is told on its port, if that is still open. */
void events_raise(struct xen_domain *d, u32 port);
void events_raise_virq(struct vcpu *v, unsigned virq); /* VIRQ_TIMER, VIRQ_DEBUG: the vCPU's own. Any thread */

/* vcpu_info of v says: an upcall is pending, and not masked. */
bool events_deliverable(const struct vcpu *v);
/* The guest has changed its mask, or vcpu_info has moved: posts EV_INTR when something is deliverable. */
void events_recheck(struct vcpu *v);

/* intc_ops.pending: an upcall is deliverable, or the vCPU is halted in SCHEDOP_poll and that is over: then it is halted no longer.
 * On v's thread. */
bool events_pending(struct vcpu *v);

hypercall_fn hypercall_event_channel_op;
/* SCHEDOP_poll: waits until one of the ports is pending, an upcall is deliverable, or the time (ns since boot, 0: none) has come. It
 * returns what the hypercall returns, with v->halted set if there is something to wait for. On v's thread. */
s64 events_poll(struct vcpu *v, u64 ports_gla, unsigned n, u64 timeout);

/* timer.c: VCPUOP_* 4 to 9 and 13: timers, runstate and time areas; -ENOSYS for others. set_timer_op. */
s64 timer_vcpu_op(struct vcpu *v, unsigned cmd, unsigned cpu, u64 arg_gla);
hypercall_fn hypercall_set_timer_op;

/* time.c: fills in the time of a vCPU's info (again, once that has moved) and the wall clock of shared_info. */
void time_publish(struct xen_domain *d, unsigned cpu);
void time_describe(const struct vcpu *v, struct vcpu_time_info *t); /* the same, but for the version */
/* The vCPU goes over to RUNSTATE_running, _blocked, ...; nothing if it is there already. On v's thread. */
void runstate_enter(struct vcpu *v, int state);
