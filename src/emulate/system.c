/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tells a guest about its CPU and time, and what makes the CPU wait: CPUID, RDTSC, RDTSCP, RDPID, RDPMC, HLT,
 * MONITOR, MWAIT.
 */
#include <time.h>

#include "emulate/descriptor.h"
#include "x86/msr.h"

static bool apic_enabled(struct vcpu *v)
{
	const struct intc_ops *ops = v->machine->intc;
	u64 base = 0;

	return ops && ops->read_msr && ops->read_msr(v, MSR_APIC_BASE, &base) && base & BIT(11);
}

void exec_cpuid(struct vcpu *v, const struct insn *i)
{
	struct cpuid_context ctx = {
		.apic_id = v->id,
		.cpus = v->machine->config.cpus ? v->machine->config.cpus : 1,
		.tsc_hz = CLOCK_TSC_HZ,
		.apic_hz = CLOCK_TSC_HZ,
		.osxsave = v->cr4 & CR4_OSXSAVE,
		.ospke = v->cr4 & CR4_PKE,
		.apic_on = apic_enabled(v),
		.xcr0 = v->xcr0,
		.xss = v->msr.xss,
	};
	struct cpuid_regs r = cpuid_query(v->model, &ctx, (u32)v->r[RAX], (u32)v->r[RCX]);

	/* Serializing: stores are visible by its end, and what others have made of the code that follows is seen (SDM vol. 3, 8.3). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (atomic_load(&v->events))
		v->stop_now = true;
	v->r[RAX] = r.eax;
	v->r[RBX] = r.ebx;
	v->r[RCX] = r.ecx;
	v->r[RDX] = r.edx;
}

u64 cpu_tsc(struct vcpu *v)
{
	return clock_now(v->machine->clock) + (u64)v->tsc_offset;
}

static void read_tsc(struct vcpu *v)
{
	if (v->cpl && v->cr4 & CR4_TSD && v->cr0 & CR0_PE)
		vcpu_raise_error(v, EXC_GP, 0);
	u64 now = cpu_tsc(v);
	v->r[RAX] = (u32)now;
	v->r[RDX] = now >> 32;
}

void exec_rdtsc(struct vcpu *v, const struct insn *i)
{
	read_tsc(v);
}

void exec_rdtscp(struct vcpu *v, const struct insn *i)
{
	read_tsc(v);
	v->r[RCX] = (u32)v->msr.tsc_aux;
}

void exec_rdpid(struct vcpu *v, const struct insn *i)
{
	reg_write(v, i->r[0], v->code_size == CODE_64 ? 8 : 4, (u32)v->msr.tsc_aux);
}

/* Leaf 0Ah shows no counters, so every index is beyond the last. */
void exec_rdpmc(struct vcpu *v, const struct insn *i)
{
	vcpu_raise_error(v, EXC_GP, 0);
}

void exec_hlt(struct vcpu *v, const struct insn *i)
{
	if (v->cpl)
		vcpu_raise_error(v, EXC_GP, 0);
	v->halted = true;
	v->stop_now = true;
	v->rip = vcpu_next_rip(v, i);
}

/* ---- MONITOR, MWAIT ---- */
#define MONITOR_LINE  64u
#define MWAIT_POLL_NS 50000

static void check_monitor(struct vcpu *v, u32 extensions)
{
	if (v->cpl)
		vcpu_raise(v, EXC_UD);
	if ((u32)v->r[RCX] & ~extensions)
		vcpu_raise_error(v, EXC_GP, 0);
}

static u64 line_sum(struct vcpu *v)
{
	const u8 *line = ram_ptr(v->machine, v->monitor_gpa, MONITOR_LINE);
	u64 sum = 0;

	for (unsigned k = 0; line && k < MONITOR_LINE; k += 8)
		sum = (sum << 7 | sum >> 57) ^ __atomic_load_n((const u64 *)(line + k), __ATOMIC_RELAXED);
	return sum;
}

void exec_monitor(struct vcpu *v, const struct insn *i)
{
	u64 gpa, ea = reg_read(v, SLOT(RAX), 1u << i->asize);

	check_monitor(v, 0);
	u64 gla = segment_linear(v, i->seg, ea, 1, SEG_READ);
	mmu_probe_read(v, gla, 1, MMU_EXPLICIT);
	v->monitor_gpa = mmu_translate(v, gla, &gpa) ? gpa & ~(u64)(MONITOR_LINE - 1) : ~0ull;
	v->monitor_sum = line_sum(v);
}

/*
 * MWAIT may end for any reason (SDM vol. 2, MWAIT), so it need not know who writes the line: if nothing has changed
 * since MONITOR it gives the host's CPU away for a moment and returns; guests loop.
 */
void exec_mwait(struct vcpu *v, const struct insn *i)
{
	bool armed = v->monitor_gpa != ~0ull;

	check_monitor(v, 1);
	bool changed = armed && line_sum(v) != v->monitor_sum;
	if (armed && !changed && !v->machine->config.deterministic && !atomic_load(&v->events))
		nanosleep(&(struct timespec){ .tv_nsec = MWAIT_POLL_NS }, NULL);
	v->monitor_gpa = ~0ull;
	v->rip = vcpu_next_rip(v, i);
}
