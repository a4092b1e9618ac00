/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fast handlers of the sensitive instructions that kernels run all the time: CLI and STI around every critical section. The shadow
 * of STI needs no step of its own unless something waits to be delivered: an event that comes later comes after it.
 */
#include "engines/interp/fast.h"

FAST cli(struct vcpu *v, const struct insn *i)
{
	if (unlikely(v->cpl))
		SLOW_END();
	v->rflags &= ~(u64)FL_IF;
	NEXT();
}

FAST sti(struct vcpu *v, const struct insn *i)
{
	if (unlikely(v->cpl || atomic_load_explicit(&v->events, memory_order_relaxed)))
		SLOW_END();
	v->rflags |= FL_IF;
	NEXT();
}

insn_run_fn *select_system(const struct insn *i)
{
	switch (i->op) {
	case OP_CLI: return cli;
	case OP_STI: return sti;
	default: return NULL;
	}
}
