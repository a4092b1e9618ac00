/* SPDX-License-Identifier: Apache-2.0 */
/* The VM of a machine: what it is made of, and which MSRs come out to us. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engines/kvm/kvm-internal.h"
#include "util/cleanup.h"
#include "x86/msr.h"

/*
 * Comes out: what KVM itself would answer with #GP, for it may be one of ours, and what belongs to the project's local APIC
 * and clock, and IA32_FEATURE_CONTROL, which is locked from the start. A clear bit in a range's map is an MSR that comes out.
 */
static int filter_msrs(struct kvm_vm *vm, struct error *err)
{
	static const u64 none = 0;
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args[0] = KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER,
	};
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges = { /* the last two are the kernel's along with the local APIC */
			{ KVM_MSR_FILTER_WRITE, 1, MSR_TSC, (u8 *)&none },
			{ KVM_MSR_FILTER_WRITE, 1, MSR_TSC_ADJUST, (u8 *)&none },
			{ KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, 1, MSR_FEATURE_CONTROL, (u8 *)&none },
			{ KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, 1, MSR_APIC_BASE, (u8 *)&none },
			{ KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, 1, MSR_TSC_DEADLINE, (u8 *)&none },
		},
	};

	if (vm->irqchip)
		filter.ranges[3].nmsrs = filter.ranges[4].nmsrs = 0;
	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0 || ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter) < 0)
		return error_set(err, errno, "KVM does not let us have MSRs: %s", strerror(errno));
	return 0;
}

static u8 physical_bits(const struct kvm_cpuid2 *c)
{
	for (u32 i = 0; i < c->nent; i++)
		if (c->entries[i].function == 0x80000008)
			return (u8)MIN(c->entries[i].eax & 0xff, GPA_BITS);
	return 36; /* SDM vol. 2, CPUID: where the leaf is absent */
}

static int check_memory(const struct machine *m, const struct kvm_vm *vm, struct error *err)
{
	u64 end = m->high_size ? HIGH_RAM_BASE + m->high_size : m->low_size;

	if (end <= BIT(vm->physical_bits))
		return 0;
	return error_set(err, EINVAL, "this host's CPU has physical addresses of %u bits: a guest has at most %llu MiB",
			 vm->physical_bits,
			 (unsigned long long)(BIT(vm->physical_bits) - HIGH_RAM_BASE + LOW_RAM_LIMIT) >> 20);
}

static void vm_free(struct kvm_vm *vm)
{
	if (vm->fd >= 0)
		close(vm->fd);
	free(vm->supported);
	free(vm);
}

static int fill(struct machine *m, struct kvm_vm *vm, struct error *err)
{
	_cleanup_fd_ int kvm = kvm_open(err);
	int r;

	if (kvm < 0)
		return err->code;
	vm->supported = cpuid_supported(kvm, err);
	if (!vm->supported)
		return err->code;
	vm->physical_bits = physical_bits(vm->supported);
	r = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2);
	vm->blocks_irqs = r > 0 && r & KVM_GUESTDBG_BLOCKIRQ;
	vm->sregs2 = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_SREGS2) > 0;
	vm->interp_tsc = kvm_scales_tsc(kvm);
	r = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (r < (int)sizeof(struct kvm_run))
		return error_set(err, ENODEV, "KVM gives a vCPU %d bytes, too little to share", r);
	vm->run_size = (u32)r;
	vm->fd = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return error_set(err, errno, "KVM cannot make a virtual machine: %s%s", strerror(errno),
				 errno == EBUSY ? " (another hypervisor has the CPU)" : "");
	vm->irqchip = kvm_has_irqchip(kvm) && m->intc && m->intc->irqchip;
	r = check_memory(m, vm, err);
	r = r ? r : memory_add(m, vm, err);
	r = r ? r : filter_msrs(vm, err);
	return r || !vm->irqchip ? r : irqchip_create(m, vm, err);
}

struct kvm_vm *vm_get(struct machine *m, struct error *err)
{
	struct kvm_vm *vm;

	pthread_mutex_lock(&m->lock);
	vm = m->engine;
	if (!vm) {
		vm = calloc(1, sizeof(*vm));
		if (!vm) {
			error_set(err, ENOMEM, "no memory for a virtual machine");
		} else {
			vm->fd = -1;
			if (fill(m, vm, err)) {
				vm_free(vm);
				vm = NULL;
			}
		}
	}
	if (vm)
		vm->users++;
	m->engine = vm;
	pthread_mutex_unlock(&m->lock);
	return vm;
}

void vm_put(struct machine *m, struct kvm_vm *vm)
{
	pthread_mutex_lock(&m->lock);
	if (--vm->users == 0) {
		irqchip_leave(m, vm);
		vm_free(vm);
		m->engine = NULL;
	}
	pthread_mutex_unlock(&m->lock);
}
