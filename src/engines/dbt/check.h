/* SPDX-License-Identifier: Apache-2.0 */
/* Lock-step with the reference, as the loop sees it: check.c tells how. Without --check, d->check is NULL and none of it is called. */
#pragma once
#include "engines/dbt/dbt-internal.h"

/* After the engine itself has been created. */
int check_create(struct vcpu *v, struct error *err);
void check_destroy(struct vcpu *v);
/* run() begins, and ends: whatever else changed the guest meanwhile is taken over. */
void check_enter(struct vcpu *v);
int check_leave(struct vcpu *v, struct error *err); /* -1: they differ, and so does the run end */
/* Around everything that the loop has the CPU do: an event's delivery (NULL: instructions). */
void check_begin(struct vcpu *v, const struct cpu_event *delivery);
void check_end(struct vcpu *v);
bool check_failed(const struct vcpu *v);
/* How many instructions may run before states are compared. */
u64 check_stretch(const struct vcpu *v);
/* Around what may wait for other threads. */
void check_pause(struct vcpu *v);
void check_resume(struct vcpu *v);
bool check_repeats(const struct vcpu *v); /* what has been done already is done again: clocks and devices stand still */
