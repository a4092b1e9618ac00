/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the KVM engine is built.
 *
 * The kernel runs guest code, and does the work of local APICs, I/O APIC, PICs and 8254 (irqchip.c, lapic.c); every other device is the
 * project's own, in this process. Where the kernel has no such controllers the project's do it: interrupts go in by
 * KVM_INTERRUPT when the vCPU can take one, and halts come out. MSRs that KVM does not know or that the filter names come out.
 *
 * A vCPU's state is in one of two places: in struct vcpu while kvm_cpu.stale is set, else in the kernel. state_load() and
 * state_save() move it. A VM belongs to its machine: the first vCPU's create() makes it, the last one's destroy() closes it.
 */
#pragma once
#include <linux/kvm.h>
#include <pthread.h>

#include "machine/machine.h"

struct irqchip_state;

struct kvm_vm {
	int fd;
	bool irqchip; /* interrupt controllers and interval timer are the kernel's: irqchip.c */
	_Atomic u32 lines; /* into them, as devices drive them */
	_Atomic unsigned lapics; /* that have been loaded */
	unsigned users; /* vCPUs that exist; under machine.lock */
	u32 run_size; /* of each vCPU's shared page */
	u64 tsc_khz; /* of the guest's TSC */
	u8 physical_bits; /* of guest-physical addresses that the host's CPU can translate */
	bool blocks_irqs; /* KVM_GUESTDBG_BLOCKIRQ, Linux 5.16: the kernel's interrupts wait during a step */
	bool sregs2; /* KVM_GET_SREGS2: PDPTEs are state */
	bool interp_tsc; /* the guest's TSC ticks as the machine's clock does */
	struct kvm_cpuid2 *supported;
};

struct kvm_cpu {
	int fd;
	struct kvm_vm *vm;
	struct kvm_run *run;
	pthread_t thread;
	bool stale; /* what the kernel has is not the vCPU's state: struct vcpu is */
	_Atomic bool inside; /* is, or is about to be, in KVM_RUN */
	s64 tsc_offset; /* vcpu.tsc_offset that the kernel's TSC stands for, once tsc_loaded */
	bool tsc_loaded;
	/* With vm->irqchip: the kernel has the local APIC; its base and task priority as they were when the vCPU last stood. */
	bool lapic_loaded;
	u64 apic_base, cr8;
	u64 own_msrs[2]; /* bit k: entry k of msrs.c's list is in the kernel, not in struct vcpu */
	/* debug.c */
	struct kvm_guest_debug debug; /* as the kernel has it while `debugging` */
	bool debugging, stepping; /* stepping: come out after each instruction */
	u8 registers, register_point[4]; /* debug registers in use, and the point that each is for */
};

static inline struct kvm_cpu *cpu_of(const struct vcpu *v)
{
	return v->engine;
}

/* ---- probe.c ---- */
/* An open /dev/kvm that can do all that the engine needs; -1 and why not. */
int kvm_open(struct error *why);
int kvm_probe(struct error *why);
const char *kvm_nested_paging(void); /* for people */

/* ---- vm.c ---- */
/* The machine's VM, made if there is none; each vCPU gets it once and puts it once. */
struct kvm_vm *vm_get(struct machine *m, struct error *err);
void vm_put(struct machine *m, struct kvm_vm *vm);

/* ---- memory.c ---- */
int memory_add(const struct machine *m, const struct kvm_vm *vm, struct error *err);
int kvm_log_writes(struct machine *m, bool on, struct error *err);
int kvm_take_written(struct machine *m, u64 *bitmap, struct error *err);

/* ---- cpuid.c ---- */
/* What KVM can give on this host; freed by the caller. NULL and err. */
struct kvm_cpuid2 *cpuid_supported(int kvm, struct error *err);
int cpuid_load(struct vcpu *v, struct error *err);
void kvm_limit_features(u64 feature[2]);
/* Whether the kernel can do the interrupt controllers' work, and move their state. */
bool kvm_has_irqchip(int kvm);
/* Whether the kernel can make a guest's TSC tick at another rate than the host's. */
bool kvm_scales_tsc(int kvm);

/* ---- state.c, fpu.c, msrs.c: between struct vcpu and the kernel ---- */
int state_load(struct vcpu *v, struct error *err);
int state_save(struct vcpu *v, struct error *err);
int fpu_load(struct vcpu *v, struct error *err);
int fpu_save(struct vcpu *v, struct error *err);
void msrs_find_own(struct vcpu *v);
int msrs_load(struct vcpu *v, struct error *err);
int msrs_save(struct vcpu *v, struct error *err);
/* KVM_EXIT_X86_RDMSR and WRMSR. */
int msr_exit_read(struct vcpu *v, struct error *err);
int msr_exit_write(struct vcpu *v, struct error *err);
/* IA32_APIC_BASE to the kernel, which shows its enable bit in CPUID. */
int apic_base_load(struct vcpu *v, struct error *err);

/* With vm->irqchip: RUNNABLE, halted, waiting for SIPI. */
int mp_state_load(struct vcpu *v, struct error *err);
int mp_state_save(struct vcpu *v, struct error *err);
/* IA32_TSC_DEADLINE in the machine's ticks. */
int tsc_deadline_load(struct vcpu *v, u64 deadline, struct error *err);
int tsc_deadline_save(struct vcpu *v, u64 *deadline, struct error *err);

/* ---- irqchip.c, lapic.c, doorbell.c: what the kernel does in devices' place (machine/offload.h) ---- */
/* Before any vCPU is made; sets machine.offload. */
int irqchip_create(struct machine *m, struct kvm_vm *vm, struct error *err);
/* A local APIC has been loaded for the first time; after the last the others are. */
int irqchip_lapic_loaded(struct machine *m, struct kvm_vm *vm, struct error *err);
/* The devices do the work from here on, from where the kernel was. The last vCPU has gone. */
void irqchip_leave(struct machine *m, struct kvm_vm *vm);
int kvm_lapic_load(struct vcpu *v, struct error *err);
int kvm_lapic_save(struct vcpu *v, struct error *err);
int doorbell(struct machine *m, u64 gpa, int fd, bool on);

/* ---- debug.c ---- */
/* At the beginning of a run(), while the state is in struct vcpu. */
void debug_prepare(struct vcpu *v);
/* After the state, as the kernel keeps the address that a step begins at. */
int debug_load(struct vcpu *v, struct error *err);
bool debug_holds_off(const struct vcpu *v);
void debug_stepped(struct vcpu *v); /* an instruction is done that KVM does not come out after: HLT */
void debug_exit(struct vcpu *v);

/* ---- run.c, exits.c ---- */
int kvm_cpu_run(struct vcpu *v, struct error *err);
/* Does what the vCPU left the guest for. -1 and err: the engine cannot go on. */
int exit_handle(struct vcpu *v, struct error *err);
void kvm_stats(struct machine *m, void (*line)(const char *fmt, ...));
