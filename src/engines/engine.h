/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two contracts of an engine. Lifecycle: every engine. vCPU operations (machine.h): the five that have a CPU; a
 * container leaves `vcpu` NULL. A row of the registry whose engine is not part of this build has no probe, and says so.
 */
#pragma once
#include "machine/machine.h"

/* What its guests find: a PC, or the interface of Xen's PV guests. */
enum engine_platform { ENGINE_PC, ENGINE_XEN };

struct engine {
	const char *name; /* as --engine takes it */
	const char *technique; /* the textbook's word for it */
	const char *summary; /* one line */
	/* 0 when this host can run it; else negative errno, and why not. NULL: not built yet. */
	int (*probe)(struct error *why);
	const struct vcpu_ops *vcpu;
	enum engine_platform platform;
	/* It has no CPU of its own and runs on this one's: all that follows, probe and vcpu are the core's. NULL: its own. */
	const struct engine *core;
	/* It sees each instruction, so that it can count (--deterministic), tell (--trace) and stop at (--gdb) any of them. */
	bool each_instruction;
	bool tells; /* of its translations: machine_config.perf_map, .dump */
	bool checks; /* it can run in lock-step with the reference: machine_config.check */
	/* Guest code is the CPU's own: RAM in huge pages pays, and a kernel unpacks itself as fast as the host can. */
	bool native;
	size_t vcpu_room; /* address space that it wants behind each of several vCPUs: machine_config.vcpu_room */
	/* Clears the bits (by enum feature) of what it cannot give a guest on this host. Optional: all can be given. */
	void (*limit_features)(u64 feature[2]);
	/* Prints the engine's figures after a run, for -v. Optional. */
	void (*stats)(struct machine *m, void (*line)(const char *fmt, ...));
};

/* Whose vCPUs the guest runs on, and who can do what with them. */
static inline const struct engine *engine_core(const struct engine *e)
{
	return e->core ? e->core : e;
}

/* All six, in the order in which they are listed. */
extern const struct engine *const engines[];
extern const unsigned engine_count;
/* NAME, or NAME,core=CORE for one that runs on another's CPU. "auto" or NULL: kvm, else dbt, else interp, the first that probes well and, where that is asked for, sees each instruction.
 * err: unknown, not built, or not usable and why. */
const struct engine *engine_find(const char *name, bool each_instruction, struct error *err);
