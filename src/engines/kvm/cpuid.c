/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest's CPUID says: the project's CPU model, cut down to what KVM can give on this host. The kernel keeps what
 * changes while a guest runs (OSXSAVE, the APIC's enable bit, the size of the XSAVE area) up to date by itself.
 *
 * The clock that KVM offers to Linux guests has its leaves at 40000100h, behind the project's own at 40000000h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engines/kvm/kvm-internal.h"
#include "util/cleanup.h"
#include "x86/msr.h"

#define MAX_ENTRIES 256

/* Linux's Documentation/virt/kvm/x86/cpuid.rst. */
#define KVM_LEAF		   0x40000100u
#define KVM_FEATURES		   (KVM_LEAF + 1)
#define KVM_CLOCKSOURCE2	   BIT(3)
#define KVM_CLOCKSOURCE_STABLE	   BIT(24)
#define KVM_FEATURES_BY_THE_KERNEL 0x40000001u

struct kvm_cpuid2 *cpuid_supported(int kvm, struct error *err)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + MAX_ENTRIES * sizeof(c->entries[0]));

	if (!c) {
		error_set(err, ENOMEM, "no memory for KVM's CPUID leaves");
		return NULL;
	}
	c->nent = MAX_ENTRIES;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c) == 0)
		return c;
	error_set(err, errno, "KVM does not tell which CPU features it gives: %s", strerror(errno));
	free(c);
	return NULL;
}

static struct cpuid_regs supported_leaf(void *arg, u32 leaf, u32 subleaf)
{
	const struct kvm_cpuid2 *c = arg;

	for (u32 i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function == leaf && (e->index == subleaf || !(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return (struct cpuid_regs){ e->eax, e->ebx, e->ecx, e->edx };
	}
	return (struct cpuid_regs){ 0 };
}

bool kvm_has_irqchip(int kvm)
{
	static const int needed[] = { KVM_CAP_IRQCHIP,		 KVM_CAP_PIT2,	     KVM_CAP_IRQ_ROUTING,
				      KVM_CAP_SIGNAL_MSI,	 KVM_CAP_X2APIC_API, KVM_CAP_MP_STATE,
				      KVM_CAP_TSC_DEADLINE_TIMER };

	for (unsigned i = 0; i < ARRAY_SIZE(needed); i++)
		if (ioctl(kvm, KVM_CHECK_EXTENSION, needed[i]) <= 0)
			return false;
	return true;
}

bool kvm_scales_tsc(int kvm)
{
	return ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0;
}

/*
 * What a local APIC has needs no support by the CPU. The deadline timer of the project's own compares the guest's TSC with the
 * machine's clock, which takes both to tick alike; the kernel's goes by the TSC.
 */
void kvm_limit_features(u64 feature[2])
{
	static const u8 ours[] = { FEAT_APIC, FEAT_X2APIC, FEAT_ARAT, FEAT_TSC_DEADLINE };
	_cleanup_fd_ int kvm = kvm_open(NULL);
	_cleanup_free_ struct kvm_cpuid2 *c = kvm < 0 ? NULL : cpuid_supported(kvm, NULL);
	u64 keep[2] = { 0 };

	if (!c)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(ours); i++)
		if (ours[i] != FEAT_TSC_DEADLINE || kvm_has_irqchip(kvm) || kvm_scales_tsc(kvm))
			keep[ours[i] / 64] |= feature[ours[i] / 64] & BIT(ours[i] % 64);
	cpuid_limit(feature, supported_leaf, c);
	/* Their rights lie where the host's CPU has them in an XSAVE image, which is not where the model says. */
	feature[FEAT_PKU / 64] &= ~BIT(FEAT_PKU % 64);
	feature[FEAT_PKS / 64] &= ~BIT(FEAT_PKS % 64);
	feature[0] |= keep[0];
	feature[1] |= keep[1];
}

/* ---- the table for a vCPU ---- */
struct table {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entry[MAX_ENTRIES];
};

static void add(struct table *t, u32 leaf, u32 sub, bool indexed, struct cpuid_regs r)
{
	if (t->head.nent < MAX_ENTRIES)
		t->entry[t->head.nent++] = (struct kvm_cpuid_entry2){
			.function = leaf,
			.index = sub,
			.flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = r.eax,
			.ebx = r.ebx,
			.ecx = r.ecx,
			.edx = r.edx,
		};
}

static void add_range(struct table *t, const struct vcpu *v, const struct cpuid_context *c, u32 first, u32 last)
{
	for (u32 leaf = first; leaf <= last; leaf++) {
		bool indexed = leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd;

		for (u32 sub = 0; sub < (indexed ? 5 : 1); sub++)
			add(t, leaf, sub, indexed, cpuid_query(v->model, c, leaf, sub));
	}
}

static void add_clock(struct table *t, const struct kvm_vm *vm)
{
	u32 can = supported_leaf(vm->supported, KVM_FEATURES_BY_THE_KERNEL, 0).eax;
	struct cpuid_regs name = { .eax = KVM_FEATURES };

	if (!(can & KVM_CLOCKSOURCE2))
		return;
	memcpy(&name.ebx, "KVMKVMKVM\0\0\0", 12);
	add(t, KVM_LEAF, 0, false, name);
	add(t, KVM_FEATURES, 0, false,
	    (struct cpuid_regs){ .eax = can & (u32)(KVM_CLOCKSOURCE2 | KVM_CLOCKSOURCE_STABLE) });
}

static void cut_physical_bits(struct table *t, u8 bits)
{
	for (u32 i = 0; i < t->head.nent; i++)
		if (t->entry[i].function == 0x80000008)
			t->entry[i].eax = (t->entry[i].eax & ~0xffu) | bits;
}

int cpuid_load(struct vcpu *v, struct error *err)
{
	const struct kvm_vm *vm = cpu_of(v)->vm;
	const struct cpuid_context c = {
		.apic_id = v->id,
		.cpus = v->machine->config.cpus,
		.tsc_hz = vm->tsc_khz * 1000,
		.apic_hz = CLOCK_TSC_HZ,
		.apic_on = true,
		.xcr0 = v->xcr0,
	};
	_cleanup_free_ struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return error_set(err, ENOMEM, "no memory for CPUID leaves");
	add_range(t, v, &c, 0, cpuid_query(v->model, &c, 0, 0).eax);
	add_range(t, v, &c, 0x40000000, 0x40000000);
	add_range(t, v, &c, 0x40000010, cpuid_query(v->model, &c, 0x40000000, 0).eax);
	add_range(t, v, &c, 0x80000000, cpuid_query(v->model, &c, 0x80000000, 0).eax);
	add_clock(t, vm);
	cut_physical_bits(t, vm->physical_bits);
	if (ioctl(cpu_of(v)->fd, KVM_SET_CPUID2, t) < 0)
		return error_set(err, errno, "KVM does not take the CPU model '%s': %s", v->model->name,
				 strerror(errno));
	return 0;
}
