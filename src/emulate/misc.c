/* SPDX-License-Identifier: Apache-2.0 */
/* Flag bits, random numbers, fences, BOUND, undefined opcodes and what does nothing. */
#include <sched.h>
#include <sys/random.h>

#include "emulate/operand.h"

/* How often a CPU pauses before it yields: sooner where vCPUs outnumber the host's CPUs and the one that it waits for may need
 * this one's; later where that one most likely runs. */
#define PAUSES_CROWDED 32
#define PAUSES_ROOMY   4096

void exec_nop(struct vcpu *v, const struct insn *i)
{
}

/* A spinning CPU may keep the one that it waits for from a host CPU. */
void exec_pause(struct vcpu *v, const struct insn *i)
{
	const struct machine *m = v->machine;
	unsigned patience = m->config.cpus > m->host_cpus ? PAUSES_CROWDED : PAUSES_ROOMY;

	if (m->config.cpus > 1 && ++v->pauses % patience == 0)
		sched_yield();
}

void exec_clc(struct vcpu *v, const struct insn *i)
{
	flags_set(v, flags_get(v) & ~FL_CF);
}

void exec_stc(struct vcpu *v, const struct insn *i)
{
	flags_set(v, flags_get(v) | FL_CF);
}

void exec_cmc(struct vcpu *v, const struct insn *i)
{
	flags_set(v, flags_get(v) ^ FL_CF);
}

void exec_cld(struct vcpu *v, const struct insn *i)
{
	v->rflags &= ~(u64)FL_DF;
}

void exec_std(struct vcpu *v, const struct insn *i)
{
	v->rflags |= FL_DF;
}

/* In 64-bit code a feature of its own. */
static void check_lahf(struct vcpu *v)
{
	if (v->code_size == CODE_64 && !cpu_can(v, FEAT_LAHF64))
		vcpu_raise(v, EXC_UD);
}

void exec_lahf(struct vcpu *v, const struct insn *i)
{
	check_lahf(v);
	reg_write(v, SLOT(RAX) + 1, 1, (flags_get(v) & 0xff) | FL_1);
}

void exec_sahf(struct vcpu *v, const struct insn *i)
{
	check_lahf(v);
	flags_set(v, (flags_get(v) & FL_OF) | (u8)(v->r[RAX] >> 8));
}

/* Undocumented, on every CPU: AL of the carry. */
void exec_salc(struct vcpu *v, const struct insn *i)
{
	reg_write(v, SLOT(RAX), 1, flags_cf(v) ? 0xff : 0);
}

void exec_bound(struct vcpu *v, const struct insn *i)
{
	u64 ea = op_ea(v, i), gla = segment_linear(v, i->seg, ea, 2 * i->size, SEG_READ);
	s64 low = sign_extend(mmu_load(v, gla, i->size, MMU_EXPLICIT), i->size);
	s64 high = sign_extend(mmu_load(v, gla + i->size, i->size, MMU_EXPLICIT), i->size);
	s64 index = op_read_signed(v, i, 0);

	if (index < low || index > high)
		vcpu_raise(v, EXC_BR);
}

/* A deterministic machine draws from the vCPU's own sequence (SplitMix64), so that each run sees the same numbers. */
static u64 random_number(struct vcpu *v)
{
	u64 x;

	if (!clock_deterministic(v->machine->clock) && getrandom(&x, sizeof(x), GRND_NONBLOCK) == sizeof(x))
		return x;
	x = (v->random += 0x9e3779b97f4a7c15) ^ (u64)v->id << 56;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* There is always a number: CF set, the other flags clear. */
void exec_rdrand(struct vcpu *v, const struct insn *i)
{
	op_write(v, i, 0, random_number(v));
	flags_set(v, FL_CF);
}

void exec_ud(struct vcpu *v, const struct insn *i)
{
	vcpu_raise(v, EXC_UD);
}

/* Guest accesses are host accesses in the same order, so only the store buffer is left to drain. */
void exec_fence(struct vcpu *v, const struct insn *i)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Caches are coherent here; what shows is that the line is checked as a byte's load would be (SDM vol. 2, CLFLUSH). */
void exec_clflush(struct vcpu *v, const struct insn *i)
{
	mmu_probe_read(v, op_linear(v, i, 1, SEG_READ), 1, MMU_EXPLICIT);
}
