/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Privileged instructions of a guest kernel, which at CPL 3 fault: those that kernels use all the same are done here, for what they
 * may mean to a guest that has no control registers of its own. Which they are is found out by decoding anew: none is frequent.
 */

#include "emulate/emulate.h"

#include "platform/xen/traps.h"
#include "x86/msr.h"

#define XEN_LEAF    0x40000000u
#define XEN_LEAVES  3
#define XEN_VERSION (4u << 16 | 17)

static bool next_is(struct vcpu *v, const u8 *bytes, unsigned n)
{
	u8 code[16];

	if (v->code_size != CODE_64 || !mmu_try_read(v, v->rip, code, n))
		return false;
	for (unsigned k = 0; k < n; k++)
		if (code[k] != bytes[k])
			return false;
	return true;
}

/* Xen's own leaves: its name, its version; no features. */
static bool xen_leaf(struct vcpu *v)
{
	u32 leaf = (u32)v->r[RAX], out[4] = { 0 };

	switch (leaf) {
	case XEN_LEAF:
		out[0] = XEN_LEAF + XEN_LEAVES - 1;
		out[1] = XEN_CPUID_SIGNATURE_EBX;
		out[2] = XEN_CPUID_SIGNATURE_ECX;
		out[3] = XEN_CPUID_SIGNATURE_EDX;
		break;
	case XEN_LEAF + 1: out[0] = XEN_VERSION; break;
	case XEN_LEAF + 2: break;
	default: return false;
	}
	v->r[RAX] = out[0];
	v->r[RBX] = out[1];
	v->r[RCX] = out[2];
	v->r[RDX] = out[3];
	return true;
}

bool emulate_cpuid(struct vcpu *v)
{
	static const u8 prefixed[] = { 0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2 };
	struct insn i = { .len = sizeof(prefixed) };

	if (!next_is(v, prefixed, sizeof(prefixed)))
		return false;
	xen_cpu_of(v)->counts.cpuids++;
	if (!xen_leaf(v))
		exec_cpuid(v, &i);
	v->rip += sizeof(prefixed);
	return true;
}

struct access {
	const struct insn *insn;
	u64 value;
};

static void run_msr_read(struct vcpu *v, void *arg)
{
	((struct access *)arg)->value = msr_read(v, (u32)v->r[RCX]);
}

/* A kernel that has no handler for #GP yet is not to die of an MSR that we lack. */
static bool tolerant(const struct vcpu *v)
{
	return !xen_cpu_of(v)->traps[EXC_GP].address;
}

static bool read_msr(struct vcpu *v)
{
	struct access a = { 0 };

	if (!try_run(v, run_msr_read, &a) && !tolerant(v))
		return false;
	v->r[RAX] = (u32)a.value;
	v->r[RDX] = a.value >> 32;
	return true;
}

/* CR4.TSD is about programs. */
static bool read_tsc(struct vcpu *v, bool with_aux)
{
	u64 now = cpu_tsc(v);

	v->r[RAX] = (u32)now;
	v->r[RDX] = now >> 32;
	if (with_aux)
		v->r[RCX] = (u32)v->msr.tsc_aux;
	return true;
}

static bool set_base(u64 *base, u64 value)
{
	if (!is_canonical(value))
		return false;
	*base = value;
	return true;
}

static bool write_msr(struct vcpu *v)
{
	u64 value = (u32)v->r[RAX] | v->r[RDX] << 32;

	switch ((u32)v->r[RCX]) {
	case MSR_FS_BASE: return set_base(&v->seg[SEG_FS].base, value);
	case MSR_GS_BASE: return set_base(&v->seg[SEG_GS].base, value);
	case MSR_KERNEL_GS_BASE: return set_base(&v->msr.kernel_gs_base, value);
	case MSR_TSC_AUX: v->msr.tsc_aux = (u32)value; return !(value >> 32);
	/* What is ours stays as it is; kernels write what they have read. */
	case MSR_EFER:
	case MSR_PAT:
	case MSR_STAR:
	case MSR_LSTAR:
	case MSR_CSTAR:
	case MSR_SFMASK:
	case MSR_SYSENTER_CS:
	case MSR_SYSENTER_ESP:
	case MSR_SYSENTER_EIP:
	case MSR_SPEC_CTRL:
	case MSR_PRED_CMD:
	case MSR_UCODE_REV:
	case MSR_UCODE_LOAD: return true;
	default: return tolerant(v);
	}
}

static bool move_to_cr(struct vcpu *v, const struct insn *i)
{
	u64 value = reg_read(v, i->r[1], 8), allowed = 0;

	switch (i->r[0]) {
	case 0: v->cr0 = (v->cr0 & ~(u64)CR0_TS) | (value & CR0_TS); break;
	case 4:
		allowed = CR4_TSD | CR4_DE | (cpu_can(v, FEAT_XSAVE) ? CR4_OSXSAVE : 0) |
			  (cpu_can(v, FEAT_FSGSBASE) ? CR4_FSGSBASE : 0);
		v->cr4 = (v->cr4 & ~allowed) | (value & allowed);
		break;
	default: return false;
	}
	simd_update(v);
	return true;
}

static bool move_from_cr(struct vcpu *v, const struct insn *i)
{
	u64 value;

	switch (i->r[1]) {
	case 0: value = v->cr0; break;
	case 2: value = atomic_load(&xen_cpu_of(v)->info)->arch.cr2; break;
	case 3: value = v->cr3; break;
	case 4: value = v->cr4; break;
	default: return false;
	}
	reg_write(v, i->r[0], 8, value);
	return true;
}

static void run_xsetbv(struct vcpu *v, void *arg)
{
	exec_xsetbv(v, arg);
}

/* It has no operand in memory, so a level without its view is nothing that anybody sees. */
static bool set_xcr0(struct vcpu *v, struct insn *i)
{
	u64 rip = v->rip;
	bool ok;

	v->cpl = 0;
	ok = try_run(v, run_xsetbv, i);
	v->cpl = 3;
	v->rip = rip;
	return ok;
}

static bool execute(struct vcpu *v, struct insn *i)
{
	struct xen_counts *counts = &xen_cpu_of(v)->counts;

	switch (i->op) {
	case OP_RDMSR: counts->msrs++; return read_msr(v);
	case OP_WRMSR: counts->msrs++; return write_msr(v);
	case OP_MOV_TO_CR: counts->controls++; return move_to_cr(v, i);
	case OP_MOV_FROM_CR: counts->controls++; return move_from_cr(v, i);
	case OP_RDTSC:
	case OP_RDTSCP: counts->others++; return read_tsc(v, i->op == OP_RDTSCP);
	case OP_CLTS:
		counts->controls++;
		v->cr0 &= ~(u64)CR0_TS;
		simd_update(v);
		return true;
	case OP_XSETBV: counts->others++; return set_xcr0(v, i);
	/* A kernel that has asked for I/O privilege may; but there is no IF of its own for it to change. */
	case OP_CLI:
	case OP_STI: counts->others++; return xen_cpu_of(v)->iopl > 0;
	case OP_WBINVD:
	case OP_INVD: counts->others++; return true; /* no caches */
	default: return false;
	}
}

struct decoding {
	struct insn insn;
	u8 bytes[15];
};

static void run_decode(struct vcpu *v, void *arg)
{
	struct decoding *d = arg;

	code_decode_at_rip(v, &d->insn, d->bytes);
}

bool emulate_privileged(struct vcpu *v)
{
	struct decoding d;

	if (v->code_size != CODE_64 || !try_run(v, run_decode, &d) || !execute(v, &d.insn))
		return false;
	v->rip = vcpu_next_rip(v, &d.insn);
	return true;
}
