/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fast system calls (SYSCALL, SYSRET, SYSENTER, SYSEXIT), SWAPGS, and the FS and GS bases as registers. On Intel's
 * CPUs, SYSCALL and SYSRET exist in 64-bit mode only; on AMD's in compatibility mode (and legacy mode, which we leave
 * out) too, where SYSCALL enters at CSTAR (APM vol. 3, SYSCALL). Segments get fixed contents, whatever the tables say
 * (SDM vol. 2, SYSCALL).
 */
#include "emulate/descriptor.h"

static void set_flat(struct vcpu *v, u16 cs, u16 ss, unsigned cpl, bool wide)
{
	u32 dpl = cpl << AR_DPL_SHIFT;

	v->seg[SEG_CS] = (struct segment){ .limit = ~0u,
					   .ar = AR_FLAT_CODE | dpl | (wide ? AR_L : AR_DB),
					   .selector = (u16)((cs & ~SEL_RPL) | cpl) };
	v->seg[SEG_SS] =
		(struct segment){ .limit = ~0u, .ar = AR_FLAT_DATA | dpl, .selector = (u16)((ss & ~SEL_RPL) | cpl) };
	set_cpl(v, (u8)cpl);
	vcpu_update_mode(v);
}

static void need_long_mode_and_sce(struct vcpu *v)
{
	bool mode = v->mode == MODE_LONG || (v->mode == MODE_COMPAT && cpu_can(v, FEAT_AMD));

	if (!mode || !(v->efer & EFER_SCE))
		vcpu_raise(v, EXC_UD);
}

void exec_syscall(struct vcpu *v, const struct insn *i)
{
	if (unlikely(v->machine->deprivileged)) {
		if (v->mode != MODE_LONG) /* no way in, whoever made the CPU: CSTAR is nobody's */
			vcpu_raise(v, EXC_UD);
		v->machine->deprivileged->syscall(v, vcpu_next_rip(v, i));
		return;
	}
	need_long_mode_and_sce(v);
	u64 target = v->mode == MODE_LONG ? v->msr.lstar : v->msr.cstar;
	v->r[RCX] = vcpu_next_rip(v, i);
	v->r[R11] = flags_settle(v) & ~(u64)FL_RF;
	u16 cs = (u16)(v->msr.star >> 32) & ~SEL_RPL;
	set_rflags(v, 0, v->msr.sfmask | FL_RF);
	set_flat(v, cs, (u16)(cs + 8), 0, true);
	v->rip = target;
}

void exec_sysret(struct vcpu *v, const struct insn *i)
{
	bool wide = i->osize == 3;

	need_long_mode_and_sce(v);
	if (v->cpl || (wide && !is_canonical(v->r[RCX])))
		vcpu_raise_error(v, EXC_GP, 0);
	u16 base = (u16)(v->msr.star >> 48);
	set_flat(v, (u16)(base + (wide ? 16 : 0)), (u16)(base + 8), 3, wide);
	set_rflags(v, v->r[R11], FL_ALL & ~(FL_RF | FL_VM));
	v->rip = wide ? v->r[RCX] : (u32)v->r[RCX];
	if (v->rflags & FL_TF) { /* unlike after POPF and IRET, the step is this instruction's */
		v->pending_db |= DR6_BS;
		v->stop_now = true;
	}
}

static void need_sysenter(struct vcpu *v)
{
	if (!(v->cr0 & CR0_PE) || !(v->msr.sysenter_cs & ~(u64)SEL_RPL))
		vcpu_raise_error(v, EXC_GP, 0);
}

void exec_sysenter(struct vcpu *v, const struct insn *i)
{
	bool wide = long_active(v);

	need_sysenter(v);
	set_rflags(v, 0, FL_VM | FL_IF | FL_RF);
	u16 cs = (u16)v->msr.sysenter_cs & ~SEL_RPL;
	set_flat(v, cs, (u16)(cs + 8), 0, wide);
	v->r[RSP] = wide ? v->msr.sysenter_esp : (u32)v->msr.sysenter_esp;
	v->rip = wide ? v->msr.sysenter_eip : (u32)v->msr.sysenter_eip;
}

void exec_sysexit(struct vcpu *v, const struct insn *i)
{
	bool wide = i->osize == 3;
	u64 ip = v->r[RDX], sp = v->r[RCX];

	need_sysenter(v);
	if (v->cpl || (wide && (!is_canonical(ip) || !is_canonical(sp))))
		vcpu_raise_error(v, EXC_GP, 0);
	u16 cs = (u16)v->msr.sysenter_cs;
	cs = (u16)(cs + (wide ? 32 : 16));
	set_flat(v, cs, (u16)(cs + 8), 3, wide);
	v->r[RSP] = wide ? sp : (u32)sp;
	v->rip = wide ? ip : (u32)ip;
}

void exec_swapgs(struct vcpu *v, const struct insn *i)
{
	if (v->mode != MODE_LONG)
		vcpu_raise(v, EXC_UD);
	if (v->cpl)
		vcpu_raise_error(v, EXC_GP, 0);
	u64 base = v->seg[SEG_GS].base;
	v->seg[SEG_GS].base = v->msr.kernel_gs_base;
	v->msr.kernel_gs_base = base;
}

static void need_fsgsbase(struct vcpu *v)
{
	if (v->mode != MODE_LONG || !(v->cr4 & CR4_FSGSBASE))
		vcpu_raise(v, EXC_UD);
}

static void read_base(struct vcpu *v, const struct insn *i, unsigned seg)
{
	need_fsgsbase(v);
	reg_write(v, i->r[0], i->size, v->seg[seg].base);
}

static void write_base(struct vcpu *v, const struct insn *i, unsigned seg)
{
	need_fsgsbase(v);
	u64 base = reg_read(v, i->r[0], i->size);
	if (!is_canonical(base))
		vcpu_raise_error(v, EXC_GP, 0);
	v->seg[seg].base = base;
}

void exec_rdfsbase(struct vcpu *v, const struct insn *i)
{
	read_base(v, i, SEG_FS);
}
void exec_rdgsbase(struct vcpu *v, const struct insn *i)
{
	read_base(v, i, SEG_GS);
}
void exec_wrfsbase(struct vcpu *v, const struct insn *i)
{
	write_base(v, i, SEG_FS);
}
void exec_wrgsbase(struct vcpu *v, const struct insn *i)
{
	write_base(v, i, SEG_GS);
}
