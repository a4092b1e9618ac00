/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMCALL: hypercalls with the numbers and registers of KVM's (Linux, Documentation/virt/kvm/x86/hypercalls.rst), of which those
 * are here that need no memory shared beforehand. RAX: number, RBX, RCX, RDX, RSI: arguments; RAX: result.
 */
#include "emulate/operand.h"

enum { CALL_VAPIC_POLL_IRQ = 1, CALL_KICK_CPU = 5, CALL_SEND_IPI = 10, CALL_SCHED_YIELD = 11 };
#define CALL_ENOSYS (-1000ll)
#define CALL_EPERM  (-1ll)

/* Two bitmaps of APIC IDs from `first` on, and an interrupt command. Returns how many there are of those. */
static s64 send_ipis(struct vcpu *v, const u64 map[2], u64 first, u32 icr, unsigned bits)
{
	const struct intc_ops *intc = v->machine->intc;
	s64 reached = 0;

	for (unsigned k = 0; k < 2 * bits; k++) {
		u64 id = first + k;
		if (!(map[k / bits] >> (k % bits) & 1) || id >= v->machine->config.cpus)
			continue;
		intc->send(v, (u32)id, icr);
		reached++;
	}
	return reached;
}

static s64 call(struct vcpu *v, u64 mask, unsigned bits)
{
	u64 arg[4] = { v->r[RBX] & mask, v->r[RCX] & mask, v->r[RDX] & mask, v->r[RSI] & mask };

	if (v->cpl)
		return CALL_EPERM;
	switch (v->r[RAX] & mask) {
	case CALL_VAPIC_POLL_IRQ: return 0;
	case CALL_KICK_CPU:
	case CALL_SCHED_YIELD: return 0; /* HLT and PAUSE do all that they ask for */
	case CALL_SEND_IPI: return v->machine->intc ? send_ipis(v, arg, arg[2], (u32)arg[3], bits) : CALL_ENOSYS;
	default: return CALL_ENOSYS;
	}
}

void exec_vmcall(struct vcpu *v, const struct insn *i)
{
	bool wide = v->code_size == CODE_64;
	s64 result = call(v, wide ? ~0ull : 0xffffffff, wide ? 64 : 32);

	reg_write(v, SLOT(RAX), wide ? 8 : 4, (u64)result);
}
