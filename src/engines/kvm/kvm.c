/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's face: making and releasing vCPUs, kicks, and the descriptor. */
#include "engines/kvm/kvm.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engines/kvm/kvm-internal.h"

/* IA32_MCG_CAP as src/emulate has it: SDM vol. 3, 16.3.1.1. */
#define MCG_BANKS	8
#define MCG_CTL_PRESENT BIT(8)

static void nothing(int sig)
{
	(void)sig;
}

/*
 * A signal that only interrupts: vCPU threads take it, others have it blocked. Its disposition is the process's, so each
 * vCPU may set it: they all set the same.
 */
static int allow_kicks(struct error *err)
{
	struct sigaction action = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	if (sigaction(SIGRTMIN, &action, NULL) || pthread_sigmask(SIG_UNBLOCK, &set, NULL))
		return error_set(err, errno, "cannot set up the signal that interrupts vCPUs: %s", strerror(errno));
	return 0;
}

static int set_tsc_rate(struct vcpu *v, struct error *err)
{
	struct kvm_cpu *k = cpu_of(v);
	int khz;

	if (k->vm->interp_tsc && ioctl(k->fd, KVM_SET_TSC_KHZ, CLOCK_TSC_HZ / 1000) < 0)
		return error_set(err, errno, "KVM does not make the TSC tick at 1 GHz: %s", strerror(errno));
	khz = ioctl(k->fd, KVM_GET_TSC_KHZ, 0);
	if (khz <= 0)
		return error_set(err, ENODEV, "KVM does not know the rate of the TSC: this host's is not stable");
	k->vm->tsc_khz = (u64)khz;
	return 0;
}

/* The banks that the project's CPU models have. */
static int set_machine_check(struct vcpu *v, struct error *err)
{
	u64 capability = MCG_BANKS | MCG_CTL_PRESENT;

	if (ioctl(cpu_of(v)->fd, KVM_X86_SETUP_MCE, &capability) < 0)
		return error_set(err, errno, "KVM does not give machine-check banks: %s", strerror(errno));
	return 0;
}

static int fill(struct vcpu *v, struct error *err)
{
	struct kvm_cpu *k = cpu_of(v);
	int r;

	k->vm = vm_get(v->machine, err);
	if (!k->vm)
		return err->code;
	k->fd = ioctl(k->vm->fd, KVM_CREATE_VCPU, v->id);
	if (k->fd < 0)
		return error_set(err, errno, "KVM cannot make CPU %u: %s%s", v->id, strerror(errno),
				 errno == EINVAL ? " (a machine has no more CPUs than the kernel allows)" : "");
	k->run = mmap(NULL, k->vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
	if (k->run == MAP_FAILED) {
		k->run = NULL;
		return error_set(err, errno, "cannot share CPU %u's page with KVM: %s", v->id, strerror(errno));
	}
	r = allow_kicks(err);
	r = r ? r : set_tsc_rate(v, err);
	r = r ? r : cpuid_load(v, err);
	r = r ? r : set_machine_check(v, err);
	if (r)
		return r;
	msrs_find_own(v);
	if (!k->vm->irqchip)
		return 0;
	r = kvm_lapic_load(v, err);
	return r ? r : irqchip_lapic_loaded(v->machine, k->vm, err);
}

static void kvm_destroy(struct vcpu *v)
{
	struct kvm_cpu *k = cpu_of(v);

	if (!k)
		return;
	if (k->vm && k->vm->irqchip)
		kvm_lapic_save(v, NULL); /* for whoever runs it next; if it fails the device has what it had */
	if (k->run)
		munmap(k->run, k->vm->run_size);
	if (k->fd >= 0)
		close(k->fd);
	if (k->vm)
		vm_put(v->machine, k->vm);
	free(k);
	v->engine = NULL;
}

static int kvm_create(struct vcpu *v, struct error *err)
{
	const struct machine_config *config = &v->machine->config;
	struct kvm_cpu *k;
	int r;

	if (config->deterministic || config->trace)
		return error_set(err, ENOTSUP,
				 "engine kvm cannot do --%s: the CPU itself runs the guest; use --engine interp",
				 config->trace ? "trace" : "deterministic");
	k = calloc(1, sizeof(*k));
	if (!k)
		return error_set(err, ENOMEM, "no memory for CPU %u", v->id);
	k->fd = -1;
	k->stale = true;
	k->thread = pthread_self();
	v->engine = k;
	r = fill(v, err);
	if (r)
		kvm_destroy(v);
	return r;
}

static void kvm_kick(struct vcpu *v)
{
	struct kvm_cpu *k = cpu_of(v);

	__atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (atomic_load(&k->inside) && !pthread_equal(k->thread, pthread_self()))
		pthread_kill(k->thread, SIGRTMIN);
}

static const struct vcpu_ops kvm_vcpu_ops = {
	.create = kvm_create,
	.destroy = kvm_destroy,
	.run = kvm_cpu_run,
	.kick = kvm_kick,
	.log_writes = kvm_log_writes,
	.take_written = kvm_take_written,
	.debugs = true,
};

const struct engine engine_kvm = {
	.name = "kvm",
	.technique = "hardware-assisted virtualization",
	.summary = "the CPU's own guest mode, through /dev/kvm",
	.probe = kvm_probe,
	.native = true,
	.limit_features = kvm_limit_features,
	.vcpu = &kvm_vcpu_ops,
	.stats = kvm_stats,
};
