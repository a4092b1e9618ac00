/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's local APIC in the kernel: its state to and from the project's device. It is loaded when the vCPU is made, before any
 * runs, for the first that does may send to all; from then on it is the kernel's, also while the vCPU stands, and what comes
 * meanwhile is not lost.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engines/kvm/kvm-internal.h"
#include "machine/offload.h"

#define REG_TPR	   0x08
#define REG_STRIDE 16

_Static_assert(sizeof(struct kvm_lapic_state) == 64 * REG_STRIDE, "a register is 32 bits in 16 bytes");

static int failed(const struct vcpu *v, struct error *err)
{
	return error_set(err, errno, "KVM and the local APIC of CPU %u: %s", v->id, strerror(errno));
}

static int set_base(struct vcpu *v, u64 base, u64 tpr, struct error *err)
{
	struct kvm_cpu *k = cpu_of(v);
	struct kvm_sregs s;

	k->apic_base = base;
	k->cr8 = tpr >> 4;
	if (ioctl(k->fd, KVM_GET_SREGS, &s) < 0)
		return failed(v, err);
	s.apic_base = base;
	s.cr8 = k->cr8;
	return ioctl(k->fd, KVM_SET_SREGS, &s) < 0 ? failed(v, err) : 0;
}

int kvm_lapic_load(struct vcpu *v, struct error *err)
{
	struct kvm_cpu *k = cpu_of(v);
	struct kvm_lapic_state page = { 0 };
	struct lapic_state s;
	int r;

	v->machine->intc->irqchip->save_lapic(v, &s);
	for (unsigned n = 0; n < ARRAY_SIZE(s.reg); n++)
		memcpy(page.regs + REG_STRIDE * n, &s.reg[n], sizeof(s.reg[n]));
	r = set_base(v, s.base, s.reg[REG_TPR], err);
	if (r)
		return r;
	if (ioctl(k->fd, KVM_SET_LAPIC, &page) < 0)
		return failed(v, err);
	k->lapic_loaded = true;
	v->machine->intc->irqchip->load_lapic(v, &s); /* the device rests */
	return s.tsc_deadline ? tsc_deadline_load(v, s.tsc_deadline, err) : 0;
}

int kvm_lapic_save(struct vcpu *v, struct error *err)
{
	struct kvm_cpu *k = cpu_of(v);
	struct kvm_lapic_state page;
	struct lapic_state s = { .base = k->apic_base };
	int r;

	if (!k->lapic_loaded)
		return 0;
	if (ioctl(k->fd, KVM_GET_LAPIC, &page) < 0)
		return failed(v, err);
	for (unsigned n = 0; n < ARRAY_SIZE(s.reg); n++)
		memcpy(&s.reg[n], page.regs + REG_STRIDE * n, sizeof(s.reg[n]));
	r = tsc_deadline_save(v, &s.tsc_deadline, err);
	if (!r)
		v->machine->intc->irqchip->load_lapic(v, &s);
	return r;
}
