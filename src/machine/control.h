/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Controlling a machine that runs: holding its vCPUs, letting some of them go or step, breakpoints, reset. What a debugger and
 * a monitor stand on.
 *
 * A vCPU that stands is out of its engine's run(): its struct is complete and true, and may be changed. While all stand
 * the host-paced clock stands too, so that a guest that is looked at sees no jump of time.
 *
 * Threads: everything here is for any thread but a vCPU's own, which would wait for itself; before machine_run() all vCPUs
 * stand.
 */
#pragma once
#include "machine/machine.h"

enum hold {
	HOLD_USER, /* the machine was stopped, and waits for machine_go(); twice is as once */
	HOLD_LOOK, /* somebody looks at it for a moment; nests */
};
/* Every vCPU stands when it returns. */
void machine_hold(struct machine *m, enum hold why);
void machine_release(struct machine *m, enum hold why);
static inline bool machine_held(const struct machine *m)
{
	return m->control.user;
}

/* Ends HOLD_USER: vCPUs of `run` go, those of `step` do a step, the others stand. pass: a breakpoint that a vCPU has stopped at
 * does not stop it again. Forgets the vCPUs' stops. */
void machine_go(struct machine *m, u64 run, u64 step, bool pass);
#define ALL_VCPUS (~0ull)

/* Called on the I/O thread when HOLD_USER has come into force and every vCPU stands: after a breakpoint, watchpoint or step
 * (v->debug.stop says which vCPU's), or by machine_stop(). Observers come and go on the I/O thread, or before and after machine_run(). */
struct stop_observer {
	void (*stopped)(void *arg);
	void *arg;
	struct stop_observer *next;
};
void machine_observe_stops(struct machine *m, struct stop_observer *o);
void machine_unobserve_stops(struct machine *m, struct stop_observer *o);
/* Holds for the user, and tells all observers but one (NULL: all). The I/O thread only. */
void machine_stop(struct machine *m, const struct stop_observer *except);

/* Reset, and boot again, as machine.boot does; a hold stays in force. Where that fails the machine ends. -ENOSYS: it cannot. */
int machine_reset(struct machine *m);

/* While every vCPU stands. -ENOSPC, -EINVAL (a length of 0, or one that wraps); adding one that is there, or removing one that is
 * not, changes nothing. */
int machine_add_point(struct machine *m, const struct debug_point *p);
void machine_remove_point(struct machine *m, const struct debug_point *p);
void machine_clear_points(struct machine *m);

/* The vCPU's registers or memory maps were changed from outside: what is derived from them follows. While it stands. */
void machine_vcpu_changed(struct vcpu *v);

/* ---- for engines ---- */
static inline bool point_breaks(const struct debug_point *p)
{
	return p->kind <= POINT_HARDWARE;
}
bool machine_breaks_at(const struct machine *m, u64 gla);
/* Some breakpoint has this offset in its page. */
bool machine_breaks_at_offset(const struct machine *m, unsigned offset);

/* ---- for lifecycle.c ---- */
int control_create(struct machine *m, struct error *err);
void control_destroy(struct machine *m);
/* A vCPU's thread goes into its engine, once nothing holds it; false: the machine has ended. And out of it. */
bool control_enter(struct vcpu *v);
void control_leave(struct vcpu *v);
