/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The platform's life: its parts made and released, the vCPUs' hooks and what stands for an interrupt controller, crashes.
 *
 * Parts belong to a domain, and a reset makes a new one: so all but the machine's ports is made when the guest is loaded.
 */
#include "platform/xen/xen.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/devices.h"
#include "platform/xen/backends.h"
#include "platform/xen/build.h"
#include "platform/xen/console.h"
#include "platform/xen/events.h"
#include "platform/xen/grants.h"
#include "platform/xen/hypercall.h"
#include "platform/xen/mm.h"
#include "platform/xen/store.h"
#include "platform/xen/toolstack.h"
#include "platform/xen/traps.h"

#define UPCALL_VECTOR 0xf3 /* what figures show of upcalls; Linux' own number for them */
#define OWN_FRAMES    (2 + GRANT_FRAMES) /* shared_info, spare vcpu_infos, grant table */

u64 xen_ram_size(u64 mem, unsigned cpus)
{
	return mem + (mm_overhead(mem >> PAGE_SHIFT, cpus, OWN_FRAMES) << PAGE_SHIFT);
}

void xen_limit_features(u64 feature[2])
{
	/* What a kernel at CPL 3 cannot use, or has been told by the ABI not to expect. */
	static const enum feature hidden[] = { FEAT_VME,     FEAT_PSE,	   FEAT_PSE36,	FEAT_PGE,	   FEAT_PCID,
					       FEAT_MTRR,    FEAT_APIC,	   FEAT_X2APIC, FEAT_MONITOR,	   FEAT_PDPE1GB,
					       FEAT_PKU,     FEAT_PKS,	   FEAT_SMEP,	FEAT_SMAP,	   FEAT_UMIP,
					       FEAT_MCE,     FEAT_INVPCID, FEAT_XSAVES, FEAT_TSC_DEADLINE, FEAT_SEP,
					       FEAT_FSGSBASE /* kernels would read MSRs at each switch */ };

	for (unsigned k = 0; k < ARRAY_SIZE(hidden); k++)
		feature[hidden[k] / 64] &= ~BIT(hidden[k] % 64);
}

/* ---- crashes ---- */

void xen_crash(struct vcpu *v, const char *fmt, ...)
{
	struct xen_domain *d = xen_of(v);
	va_list ap;

	pthread_mutex_lock(&d->lock);
	if (!*d->crash) {
		va_start(ap, fmt);
		vsnprintf(d->crash, sizeof(d->crash), fmt, ap);
		va_end(ap);
	}
	pthread_mutex_unlock(&d->lock);
	machine_end(v->machine, END_CRASHED, 0);
	v->stop_now = true;
}

const char *xen_crash_reason(const struct machine *m)
{
	const struct xen_domain *d = m->platform;

	return *d->crash ? d->crash : NULL;
}

/* ---- the vCPUs' hooks ---- */

static bool is_table(struct vcpu *v, u64 gpa)
{
	return mm_is_l1_table(xen_of(v), gpa);
}

static bool table_store(struct vcpu *v, u64 gpa, unsigned size, u64 value, u64 *old)
{
	struct xen_counts *counts = &xen_cpu_of(v)->counts;
	bool ok = !mm_table_store(v, gpa, size, value, old);

	counts->table_stores++;
	counts->table_refusals += !ok;
	return ok;
}

static const struct deprivileged_ops deprivileged = {
	.syscall = traps_syscall,
	.deliver = traps_deliver,
	.may_use_port = ports_allowed,
	.is_table = is_table,
	.table_store = table_store,
	.start = cpus_start,
};

/* ---- in an interrupt controller's place: upcalls ---- */

static bool pending(struct vcpu *v)
{
	return events_pending(v) || !xen_cpu_of(v)->up;
}

/* The mask is closed here, so that nothing looks pending any more; the frame tells that it was open. */
static int acknowledge(struct vcpu *v)
{
	struct xen_cpu *c = xen_cpu_of(v);

	if (unlikely(!c->up)) {
		v->halted = false;
		v->wait_sipi = true;
		runstate_enter(v, RUNSTATE_offline);
		return -1;
	}
	if (!events_deliverable(v))
		return -1;
	__atomic_store_n(&atomic_load(&c->info)->evtchn_upcall_mask, 1, __ATOMIC_RELAXED);
	return UPCALL_VECTOR;
}

static u8 get_tpr(struct vcpu *v)
{
	return 0;
}

static void set_tpr(struct vcpu *v, u8 tpr)
{
}

static const struct intc_ops intc = {
	.acknowledge = acknowledge,
	.pending = pending,
	.get_tpr = get_tpr,
	.set_tpr = set_tpr,
};

/* ---- parts ---- */

static void release_parts(struct xen_domain *d)
{
	backends_destroy(d);
	if (d->grants)
		grants_destroy(d);
	if (d->console)
		console_destroy(d);
	if (d->store)
		store_destroy(d);
	if (d->events)
		events_destroy(d);
	if (d->mm)
		mm_destroy(d);
	for (unsigned k = 0; k < d->cpus; k++) {
		free(d->cpu[k].initial);
		d->cpu[k].initial = NULL;
	}
}

static void make_cpu(struct xen_domain *d, unsigned k, struct vcpu_info *spare)
{
	struct xen_cpu *c = &d->cpu[k];

	*c = (struct xen_cpu){ .v = d->machine->vcpu[k], .singleshot = { .deadline = ~0ull } };
	c->up = c->initialised = k == 0;
	atomic_store(&c->info, k < XEN_MAX_CPUS ? &d->shared->vcpu_info[k] : &spare[k - XEN_MAX_CPUS]);
	atomic_load(&c->info)->evtchn_upcall_mask = 1;
	c->v->wait_sipi = k != 0;
}

/* Frames of ours, and the vCPUs' part in shared_info. */
static int make_frames(struct xen_domain *d, u64 *grants_mfn, struct error *err)
{
	u64 mfn[OWN_FRAMES];

	for (unsigned k = 0; k < OWN_FRAMES; k++) {
		mfn[k] = mm_alloc(d);
		if (!mfn[k])
			return error_set(err, ENOMEM, "no memory for the domain's shared frames");
	}
	d->shared_mfn = mfn[0];
	d->shared = (struct shared_info *)ram_ptr(d->machine, mfn[0] << PAGE_SHIFT, PAGE_SIZE);
	mm_share(d, mfn[0], true);
	for (unsigned k = 0; k < d->cpus; k++)
		make_cpu(d, k, (struct vcpu_info *)ram_ptr(d->machine, mfn[1] << PAGE_SHIFT, PAGE_SIZE));
	*grants_mfn = MIN(mfn[2], mfn[OWN_FRAMES - 1]); /* they follow each other, whichever way */
	return 0;
}

static int make_back_ends(struct xen_domain *d, const struct build_pages *pages, u64 grants_mfn, struct error *err)
{
	int r = store_create(d, pages->store_mfn, err);

	if (!r)
		r = console_create(d, pages->console_mfn, d->config.console, err);
	if (!r)
		r = grants_create(d, grants_mfn, err);
	if (!r)
		r = toolstack_create(d, d->config.balloon, err);
	if (!r)
		r = backends_create(d, err);
	if (r)
		return r;
	pages->start->store_evtchn = store_port(d);
	pages->start->console.domU.evtchn = console_port(d);
	for (unsigned k = 0; k < d->cpus; k++)
		time_publish(d, k);
	return 0;
}

int xen_boot(struct machine *m, const struct boot_config *c, struct error *err)
{
	struct xen_domain *d = m->platform;
	struct build_pages pages;
	u64 grants_mfn = 0;
	int r;

	release_parts(d);
	device_reset(d->status);
	r = mm_create(d, err);
	if (!r)
		r = make_frames(d, &grants_mfn, err);
	if (!r)
		r = events_create(d, err);
	if (!r)
		r = build_domain(d, c, &pages, err);
	d->used = true;
	d->early_console = !r && pages.early_console;
	return r ? r : make_back_ends(d, &pages, grants_mfn, err);
}

int xen_create(struct machine *m, const struct xen_config *cfg, struct error *err)
{
	struct xen_domain *d = calloc(1, sizeof(*d));

	if (!d)
		return error_set(err, ENOMEM, "no memory");
	m->platform = d;
	d->machine = m;
	d->cpus = m->config.cpus;
	d->config = *cfg;
	d->frames = cfg->mem >> PAGE_SHIFT;
	pthread_mutex_init(&d->lock, NULL);
	m->deprivileged = &deprivileged;
	m->intc = &intc;
	d->status = guest_status_new(m, err);
	d->debug = d->status ? debug_ports_new(m, cfg->debug_exit, err) : NULL;
	if (!d->debug) {
		xen_destroy(m);
		return err->code;
	}
	if (toolstack_list(d, err) || mm_add_inspect(d, err)) {
		xen_destroy(m);
		return err->code;
	}
	guest_status_on_ready(d->status, cfg->console_ready, cfg->console_arg);
	return 0;
}

void xen_destroy(struct machine *m)
{
	struct xen_domain *d = m->platform;

	if (!d)
		return;
	release_parts(d);
	device_destroy(d->debug);
	device_destroy(d->status);
	pthread_mutex_destroy(&d->lock);
	free(d);
	m->platform = NULL;
}

int xen_guest_status(const struct machine *m)
{
	const struct xen_domain *d = m->platform;

	return guest_status_get(d->status);
}
