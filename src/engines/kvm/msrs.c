/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model-specific registers. What KVM has a register for lives in the kernel while the guest runs; the rest comes out as an
 * exit and is answered by src/emulate from struct vcpu, so that a guest finds the same MSRs on every engine. Which is which
 * the kernel is asked once per vCPU, by reading them.
 *
 * IA32_TSC is the machine's clock and an offset. Where the CPU cannot scale, the guest's TSC ticks at the host's rate
 * instead, and is converted here.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "emulate/emulate.h"
#include "engines/kvm/kvm-internal.h"
#include "x86/msr.h"

/* Runs of MSRs with consecutive numbers whose values are consecutive fields. */
static const struct msr_run {
	u32 number;
	u16 count, offset;
} runs[] = {
#define RUN(n, count, field)                           \
	{                                              \
		n, count, offsetof(struct vcpu, field) \
	}
	RUN(MSR_SYSENTER_CS, 1, msr.sysenter_cs),
	RUN(MSR_SYSENTER_ESP, 1, msr.sysenter_esp),
	RUN(MSR_SYSENTER_EIP, 1, msr.sysenter_eip),
	RUN(MSR_STAR, 1, msr.star),
	RUN(MSR_LSTAR, 1, msr.lstar),
	RUN(MSR_CSTAR, 1, msr.cstar),
	RUN(MSR_SFMASK, 1, msr.sfmask),
	RUN(MSR_KERNEL_GS_BASE, 1, msr.kernel_gs_base),
	RUN(MSR_TSC_AUX, 1, msr.tsc_aux),
	RUN(MSR_PAT, 1, msr.pat),
	RUN(MSR_MISC_ENABLE, 1, msr.misc_enable),
	RUN(MSR_SPEC_CTRL, 1, msr.spec_ctrl),
	RUN(MSR_TSC_ADJUST, 1, msr.tsc_adjust),
	RUN(MSR_MCG_STATUS, 1, msr.mcg_status),
	RUN(MSR_MCG_CTL, 1, msr.mcg_ctl),
	RUN(MSR_UCODE_REV, 1, msr.ucode_rev),
	RUN(MSR_DEBUGCTL, 1, msr.debugctl),
	RUN(MSR_MTRR_DEF_TYPE, 1, msr.mtrr_def_type),
	RUN(MSR_MTRR_FIX64K, 1, msr.mtrr_fixed[0]),
	RUN(MSR_MTRR_FIX16K_80000, 2, msr.mtrr_fixed[1]),
	RUN(MSR_MTRR_FIX4K_C0000, 8, msr.mtrr_fixed[3]),
	RUN(MSR_MTRR_PHYSBASE0, 16, msr.mtrr_var),
	RUN(MSR_MC0_CTL, 32, msr.mc),
#undef RUN
};
#define MAX_MSRS 96

struct msr_list {
	struct kvm_msrs head;
	struct kvm_msr_entry entry[MAX_MSRS];
	u64 *field[MAX_MSRS];
};
_Static_assert(offsetof(struct msr_list, entry) == offsetof(struct kvm_msrs, entries), "the kernel's array");

static bool is_own(const struct kvm_cpu *k, unsigned i)
{
	return k->own_msrs[i / 64] >> (i % 64) & 1;
}

/* The list of all, or of those that are in the kernel. */
static void make_list(struct vcpu *v, struct msr_list *l, bool all)
{
	unsigned i = 0;

	l->head = (struct kvm_msrs){ 0 };
	for (unsigned r = 0; r < ARRAY_SIZE(runs); r++) {
		for (unsigned n = 0; n < runs[r].count; n++, i++) {
			u32 at = l->head.nmsrs;

			if (!all && !is_own(cpu_of(v), i))
				continue;
			l->entry[at] = (struct kvm_msr_entry){ .index = runs[r].number + n };
			l->field[at] = (u64 *)((u8 *)v + runs[r].offset) + n;
			l->head.nmsrs++;
		}
	}
}

/* One at a time: KVM_GET_MSRS ends at the first that is not there. Done when a vCPU is made, some 80 short calls. */
void msrs_find_own(struct vcpu *v)
{
	struct kvm_cpu *k = cpu_of(v);
	struct msr_list l;
	u32 from = 0, n;

	make_list(v, &l, true);
	for (n = l.head.nmsrs; from < n;) {
		struct msr_list part = { .head.nmsrs = n - from };

		memcpy(part.entry, l.entry + from, (n - from) * sizeof(l.entry[0]));
		int got = ioctl(k->fd, KVM_GET_MSRS, &part);
		for (int i = 0; i < got; i++, from++)
			k->own_msrs[from / 64] |= BIT(from % 64);
		from++; /* this one is not */
	}
}

/* ---- the clock ---- */
static u64 guest_tsc(const struct kvm_vm *vm, u64 ns)
{
	return vm->interp_tsc ? ns : (u64)((unsigned __int128)ns * vm->tsc_khz / 1000000);
}

static u64 clock_of_tsc(const struct kvm_vm *vm, u64 tsc)
{
	return vm->interp_tsc ? tsc : (u64)((unsigned __int128)tsc * 1000000 / vm->tsc_khz);
}

static int write_one(struct vcpu *v, u32 msr, u64 value, struct error *err)
{
	struct msr_list l = { .head.nmsrs = 1, .entry[0] = { .index = msr, .data = value } };

	if (ioctl(cpu_of(v)->fd, KVM_SET_MSRS, &l) != 1)
		return error_set(err, EIO, "KVM does not take %#llx in MSR %#x", (unsigned long long)value, msr);
	return 0;
}

static int read_tsc(struct vcpu *v, u64 *tsc, struct error *err)
{
	struct msr_list l = { .head.nmsrs = 1, .entry[0] = { .index = MSR_TSC } };

	if (ioctl(cpu_of(v)->fd, KVM_GET_MSRS, &l) != 1)
		return error_set(err, EIO, "KVM does not give the guest's TSC");
	*tsc = l.entry[0].data;
	return 0;
}

/* A TSC that goes on in the kernel while nobody changes it is better than one that is set anew. */
static int tsc_load(struct vcpu *v, struct error *err)
{
	struct kvm_cpu *k = cpu_of(v);

	if (k->tsc_offset == v->tsc_offset && k->tsc_loaded)
		return 0;
	k->tsc_offset = v->tsc_offset;
	k->tsc_loaded = true;
	return write_one(v, MSR_TSC, guest_tsc(k->vm, clock_now(v->machine->clock) + (u64)v->tsc_offset), err);
}

static int tsc_save(struct vcpu *v, struct error *err)
{
	struct kvm_cpu *k = cpu_of(v);
	u64 tsc, now = clock_now(v->machine->clock);
	int r = read_tsc(v, &tsc, err);

	if (!r)
		k->tsc_offset = v->tsc_offset = (s64)(clock_of_tsc(k->vm, tsc) - now);
	return r;
}

/* The guest sets its TSC, or moves it by IA32_TSC_ADJUST; each moves the other along (SDM vol. 3, 17.17.3). */
static int tsc_written(struct vcpu *v, u32 msr, u64 value, struct error *err)
{
	struct msr_list l = { .head.nmsrs = 2, .entry = { { .index = MSR_TSC }, { .index = MSR_TSC_ADJUST } } };
	u64 delta;
	int r;

	if (ioctl(cpu_of(v)->fd, KVM_GET_MSRS, &l) != 2)
		return error_set(err, EIO, "KVM does not give the guest's TSC");
	delta = value - l.entry[msr == MSR_TSC ? 0 : 1].data;
	r = write_one(v, MSR_TSC, l.entry[0].data + delta, err);
	if (!r)
		r = write_one(v, MSR_TSC_ADJUST, l.entry[1].data + delta, err);
	return r ? r : tsc_save(v, err);
}

/* Of the kernel's local APIC. */
int tsc_deadline_load(struct vcpu *v, u64 deadline, struct error *err)
{
	return write_one(v, MSR_TSC_DEADLINE, deadline ? guest_tsc(cpu_of(v)->vm, deadline) : 0, err);
}

int tsc_deadline_save(struct vcpu *v, u64 *deadline, struct error *err)
{
	struct msr_list l = { .head.nmsrs = 1, .entry[0] = { .index = MSR_TSC_DEADLINE } };

	*deadline = 0;
	if (!cpu_has(v->model, FEAT_TSC_DEADLINE))
		return 0;
	if (ioctl(cpu_of(v)->fd, KVM_GET_MSRS, &l) != 1)
		return error_set(err, EIO, "KVM does not give CPU %u's TSC deadline", v->id);
	if (l.entry[0].data)
		*deadline = clock_of_tsc(cpu_of(v)->vm, l.entry[0].data);
	return 0;
}

/* ---- all of them ---- */

/* The range masks are as wide as the guest's physical addresses. */
static u64 as_kvm_takes_it(const struct kvm_cpu *k, const struct kvm_msr_entry *e, u64 value)
{
	bool mtrr_mask = e->index >= MSR_MTRR_PHYSBASE0 && e->index < MSR_MTRR_PHYSBASE0 + 16;

	return mtrr_mask ? value & (BIT(k->vm->physical_bits) - 1) : value;
}

int msrs_load(struct vcpu *v, struct error *err)
{
	struct kvm_cpu *k = cpu_of(v);
	struct msr_list l;
	int set;

	make_list(v, &l, false);
	for (u32 i = 0; i < l.head.nmsrs; i++)
		l.entry[i].data = as_kvm_takes_it(k, &l.entry[i], *l.field[i]);
	set = ioctl(k->fd, KVM_SET_MSRS, &l);
	if (set < 0)
		return error_set(err, errno, "KVM does not take MSRs: %s", strerror(errno));
	if ((u32)set < l.head.nmsrs)
		return error_set(err, EIO, "KVM does not take %#llx in MSR %#x", (unsigned long long)l.entry[set].data,
				 l.entry[set].index);
	return tsc_load(v, err);
}

int msrs_save(struct vcpu *v, struct error *err)
{
	struct msr_list l;

	make_list(v, &l, false);
	if (ioctl(cpu_of(v)->fd, KVM_GET_MSRS, &l) != (int)l.head.nmsrs)
		return error_set(err, EIO, "KVM does not give all MSRs");
	for (u32 i = 0; i < l.head.nmsrs; i++)
		*l.field[i] = l.entry[i].data;
	return tsc_save(v, err);
}

/* ---- exits ---- */
int msr_exit_read(struct vcpu *v, struct error *err)
{
	struct kvm_run *run = cpu_of(v)->run;
	jmp_buf landing;

	run->msr.error = 1;
	v->unwind = &landing;
	if (!setjmp(landing)) {
		run->msr.data = msr_read(v, run->msr.index);
		run->msr.error = 0;
	}
	v->unwind = NULL;
	v->event.valid = false;
	return 0;
}

int msr_exit_write(struct vcpu *v, struct error *err)
{
	struct kvm_run *run = cpu_of(v)->run;
	u32 msr = run->msr.index;
	jmp_buf landing;

	run->msr.error = 1;
	if (msr == MSR_TSC || (msr == MSR_TSC_ADJUST && cpu_can(v, FEAT_TSC_ADJUST))) {
		run->msr.error = 0;
		return tsc_written(v, msr, run->msr.data, err);
	}
	v->unwind = &landing;
	if (!setjmp(landing)) {
		msr_write(v, msr, run->msr.data);
		run->msr.error = 0;
	}
	v->unwind = NULL;
	v->event.valid = false;
	return msr == MSR_APIC_BASE && !run->msr.error ? apic_base_load(v, err) : 0;
}
