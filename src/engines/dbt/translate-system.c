/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sensitive instructions that kernels run all the time, done in place: none may run as itself, as the host would let the guest see
 * or change the host's state, or fault. Whatever is unusual about one goes the slow way, before anything has changed.
 */
#include "engines/dbt/translate.h"

#define VIEW_KEEPS (FL_TF | FL_DF | FL_NT | FL_AC | FL_ID | FL_RF)

/* Where those are that reading has no side effect on. */
static size_t control_register(const struct insn *i)
{
	switch (i->r[1]) {
	case 0: return VCPU(cr0);
	case 2: return VCPU(cr2);
	case 3: return VCPU(cr3);
	case 4: return VCPU(cr4);
	default: return 0;
	}
}

/* A load or store that is known to go to a device, or beside code: C does it, and nothing is looked for in the TLB first. */
static bool is_outside(const struct tr *t, const struct insn *i)
{
	return i->op == OP_MOV && i->flags & INSN_MEM && !t->d->counts && place_is_outside(t->d, t->b->page, i->off);
}

static bool moves_xstate(const struct insn *i)
{
	switch (i->op) {
	case OP_XSAVE:
	case OP_XSAVE64:
	case OP_XSAVEOPT:
	case OP_XSAVEOPT64:
	case OP_XSAVEC:
	case OP_XSAVEC64:
	case OP_XSAVES:
	case OP_XSAVES64:
	case OP_XRSTOR:
	case OP_XRSTOR64:
	case OP_XRSTORS:
	case OP_XRSTORS64: return true;
	default: return false;
	}
}

bool tr_can_system(const struct tr *t, unsigned k)
{
	const struct insn *i = &t->insn[k];

	if (is_outside(t, i))
		return true;
	switch (i->op) {
	case OP_PUSHFD:
	case OP_POPFD:
	case OP_PUSHFQ:
	case OP_POPFQ: return i->osize == tr_word_log(t);
	case OP_CLD: return true;
	case OP_RDTSC:
	case OP_RDTSCP: return !t->d->counts && !t->v->machine->config.check && !t->v->machine->config.deterministic;
	case OP_MOV_FROM_CR: return tr_cpl(t) == 0 && control_register(i);
	case OP_RDFSBASE:
	case OP_RDGSBASE:
	case OP_WRFSBASE:
	case OP_WRGSBASE: return true;
	case OP_MOV_FROM_SEG: return insn_kind(i, 0) == OPK_REG || tr_can_address(i);
	case OP_CLI:
	case OP_STI:
	case OP_CLAC:
	case OP_STAC:
	case OP_SWAPGS: return tr_cpl(t) == 0;
	case OP_SYSCALL: return tr_cpl(t) == 3 && !t->v->machine->deprivileged;
	case OP_IRETQ:
	case OP_SYSRET: return tr_cpl(t) == 0 && i->osize == 3;
	case OP_MOV_TO_CR: return tr_cpl(t) == 0 && t->wide && i->r[0] == 3;
	case OP_INVLPG: return tr_cpl(t) == 0 && t->wide;
	case OP_WRMSR: return tr_cpl(t) == 0 && t->wide && !t->d->counts;
	case OP_CPUID: return true;
	case OP_IN:
	case OP_OUT: return !t->d->counts;
	default: return moves_xstate(i) ? t->wide : tr_can_string(t, i);
	}
}

bool tr_system_reads_flags(const struct insn *i)
{
	return i->op == OP_PUSHFQ || i->op == OP_PUSHFD || i->op == OP_SYSCALL;
}

bool tr_system_writes_flags(const struct insn *i)
{
	return i->op == OP_POPFQ || i->op == OP_POPFD || i->op == OP_SYSRET || i->op == OP_IRETQ;
}

static struct mem rflags(void)
{
	return at_gs(VCPU(rflags));
}

static void cli(struct tr *t)
{
	tr_save_flags(t, OUT_A);
	e_alu_imm_m(t->h, ALU_AND, 4, rflags(), (s32)~FL_IF);
	t->host_ok = false;
}

/* The shadow needs no step of its own unless something waits to be delivered: an event that comes later comes after it. */
static void sti(struct tr *t)
{
	tr_save_flags(t, OUT_A);
	e_alu_imm_m(t->h, ALU_CMP, 4, at_gs(VCPU(events)), 0);
	tr_slow_jump(t, CC_NZ);
	e_alu_imm_m(t->h, ALU_OR, 4, rflags(), FL_IF);
	t->host_ok = false;
}

static void cld(struct tr *t)
{
	tr_save_flags(t, OUT_A);
	e_alu_imm_m(t->h, ALU_AND, 4, rflags(), (s32)~FL_DF);
	t->host_ok = false;
}

/* AC chooses between the supervisor's two views where CR4.SMAP is set. */
static void change_ac(struct tr *t, bool set)
{
	struct emit *h = t->h;
	u8 *same, *no_smap;

	tr_save_flags(t, OUT_A);
	e_op_rm(h, 0xf7, 4, 0, rflags());
	e32(h, FL_AC);
	same = e_jcc(h, set ? CC_NZ : CC_Z, 0);
	e_alu_imm_m(h, ALU_XOR, 4, rflags(), FL_AC);
	e_op_rm(h, 0xf7, 4, 0, at_gs(VCPU(cr4)));
	e32(h, CR4_SMAP);
	no_smap = e_jcc(h, CC_Z, 0);
	e_alu_imm_m(h, set ? ALU_ADD : ALU_SUB, 8, at_gs(VCPU(tlb)), TLB_VIEW_BYTES);
	e_patch(same, h->to_run, emit_here(h));
	e_patch(no_smap, h->to_run, emit_here(h));
	t->host_ok = false;
}

static void swapgs(struct tr *t)
{
	struct mem base = at_gs(VCPU(seg) + SEG_GS * sizeof(struct segment)), kernel = at_gs(VCPU(msr.kernel_gs_base));

	e_load(t->h, 8, OUT_A, base);
	e_load(t->h, 8, OUT_B, kernel);
	e_store(t->h, 8, OUT_B, base);
	e_store(t->h, 8, OUT_A, kernel);
}

/* To memory it is always 16 bits. */
static void mov_from_seg(struct tr *t, const struct insn *i)
{
	struct mem selector = at_gs(VCPU(seg[0].selector) + i->r[1] * sizeof(struct segment));
	unsigned to = i->r[0] >> 3;

	if (insn_kind(i, 0) == OPK_MEM) {
		struct mem m = tr_address(t, 0, true, 0);
		unsigned with = tr_beside(t, &m);
		e_op_rm(t->h, 0x0fb7, 4, with, selector);
		e_store(t->h, 2, with, m);
	} else if (i->size == 2) {
		e_load(t->h, 2, to, selector);
		if (reg_is_out(t, to))
			e_store(t->h, 2, to, at_gs(GPR_AT(to)));
	} else {
		e_op_rm(t->h, 0x0fb7, 4, to, selector);
		if (reg_is_out(t, to))
			e_store(t->h, 8, to, at_gs(GPR_AT(to)));
	}
}

static void pushf(struct tr *t)
{
	struct emit *h = t->h;
	unsigned n = tr_word(t);
	struct mem top;

	tr_save_flags(t, OUT_A);
	flags_image(h);
	e_store(h, 8, OUT_A, at_gs(WORD(tmp)));
	t->host_ok = false;
	top = tr_stack(t, RSP, -(s32)n, n, true);
	unsigned with = tr_beside(t, &top);
	e_load(h, 8, with, at_gs(WORD(tmp)));
	e_store(h, n, with, top);
	e_lea(h, n, RSP, at_reg(RSP, -(s32)n));
}

/* In place when only arithmetic flags change, and the supervisor's IF unless it is set while something waits. */
static void popf(struct tr *t)
{
	struct emit *h = t->h;
	unsigned n = tr_word(t);
	struct mem top = tr_stack(t, RSP, 0, n, false);
	bool supervisor = tr_cpl(t) == 0;

	e_load(h, n, OUT_A, top);
	e_load(h, 4, OUT_B, rflags());
	e_op_rr(h, 0x33, 4, OUT_B, OUT_A);
	e_op_rr(h, 0xf7, 4, 0, OUT_B);
	e32(h, VIEW_KEEPS | FL_IOPL | (supervisor ? 0 : FL_IF));
	tr_slow_jump(t, CC_NZ);
	if (supervisor) {
		e_alu_imm_m(h, ALU_CMP, 4, at_gs(VCPU(events)), 0);
		u8 *none = e_jcc(h, CC_Z, 0);
		e_op_rr(h, 0xf7, 4, 0, OUT_A);
		e32(h, FL_IF);
		tr_slow_jump(t, CC_NZ);
		e_patch(none, h->to_run, emit_here(h));
		e_alu_imm(h, ALU_AND, 4, OUT_B, FL_IF);
		e_op_rm(h, 0x31, 4, OUT_B, rflags());
	}
	flags_from_image(h);
	e_lea(h, n, RSP, at_reg(RSP, (s32)n));
	t->host_ok = false;
	t->mem_ok = true;
}

static void load_register(struct tr *t, unsigned to, unsigned size, struct mem from)
{
	e_load(t->h, size, to, from);
	if (reg_is_out(t, to))
		e_store(t->h, 8, to, at_gs(GPR_AT(to)));
}

/* RDFSBASE and its like: where CR4 allows them, and for what is canonical. */
static void segment_base(struct tr *t, const struct insn *i)
{
	bool gs = i->op == OP_RDGSBASE || i->op == OP_WRGSBASE, write = i->op == OP_WRFSBASE || i->op == OP_WRGSBASE;
	struct mem base = at_gs(VCPU(seg) + (gs ? SEG_GS : SEG_FS) * sizeof(struct segment));
	unsigned reg = i->r[0] >> 3;
	struct emit *h = t->h;

	tr_save_flags(t, OUT_A);
	e_op_rm(h, 0xf7, 4, 0, at_gs(VCPU(cr4)));
	e32(h, CR4_FSGSBASE);
	tr_slow_jump(t, CC_Z);
	if (!write) {
		load_register(t, reg, i->size, base);
	} else {
		if (reg_is_out(t, reg))
			e_load(h, i->size, OUT_A, at_gs(GPR_AT(reg)));
		else
			e_mov_rr(h, i->size, OUT_A, reg);
		e_mov_rr(h, 8, OUT_B, OUT_A);
		e_shift_imm(h, SHIFT_SHL, 8, OUT_B, 16);
		e_shift_imm(h, SHIFT_SAR, 8, OUT_B, 16);
		e_op_rr(h, 0x3b, 8, OUT_B, OUT_A);
		tr_slow_jump(t, CC_NZ);
		e_store(h, 8, OUT_A, base);
	}
	t->host_ok = false;
}

/* A thunk that finds its operand, in OUT_A, in words.arg. */
static void call_with_arg(struct tr *t, u64 thunk)
{
	e_store(t->h, 8, OUT_A, at_gs(WORD(arg)));
	tr_call(t, thunk);
}

static void mov_to_cr3(struct tr *t, const struct insn *i)
{
	unsigned reg = i->r[1] >> 3;

	tr_save_flags(t, OUT_A);
	if (reg_is_out(t, reg))
		e_load(t->h, 8, OUT_A, at_gs(GPR_AT(reg)));
	else
		e_mov_rr(t->h, 8, OUT_A, reg);
	call_with_arg(t, t->d->to.direct_cr3);
}

static void invlpg(struct tr *t, const struct insn *i)
{
	tr_save_flags(t, OUT_A);
	tr_linear(t, OUT_A, i);
	t->host_ok = false;
	call_with_arg(t, t->d->to.direct_invlpg);
}

bool tr_system(struct tr *t)
{
	const struct insn *i = &t->insn[t->k];

	windows_forget(t); /* their registers are used */
	if (is_outside(t, i)) {
		tr_site(t)->outside = true;
		tr_call(t, t->d->to.outside);
		return true;
	}
	switch (i->op) {
	case OP_CLI: cli(t); return true;
	case OP_STI: sti(t); return true;
	case OP_CLD: cld(t); return true;
	case OP_STAC: change_ac(t, true); return true;
	case OP_CLAC: change_ac(t, false); return true;
	case OP_SWAPGS: swapgs(t); return true;
	case OP_MOV_FROM_SEG: mov_from_seg(t, i); return true;
	case OP_PUSHFD:
	case OP_PUSHFQ: pushf(t); return true;
	case OP_SYSCALL: tr_call(t, t->d->to.syscall); return true;
	case OP_SYSRET: tr_call(t, t->d->to.sysret); return true;
	case OP_IRETQ: tr_call(t, t->d->to.iret); return true;
	case OP_RDTSC: tr_call(t, t->d->to.tsc); return true;
	case OP_RDTSCP: tr_call(t, t->d->to.tscp); return true;
	case OP_MOV_TO_CR: mov_to_cr3(t, i); return true;
	case OP_INVLPG: invlpg(t, i); return true;
	case OP_WRMSR: tr_call(t, t->d->to.direct_wrmsr); return true;
	case OP_CPUID: tr_call(t, t->d->to.direct_cpuid); return true;
	case OP_IN: tr_call(t, t->d->to.direct_in); return true;
	case OP_OUT: tr_call(t, t->d->to.direct_out); return true;
	case OP_MOV_FROM_CR: load_register(t, i->r[0] >> 3, tr_word(t), at_gs(control_register(i))); return true;
	case OP_RDFSBASE:
	case OP_RDGSBASE:
	case OP_WRFSBASE:
	case OP_WRGSBASE: segment_base(t, i); return true;
	case OP_POPFD:
	case OP_POPFQ: popf(t); return true;
	default: break;
	}
	if (moves_xstate(i))
		tr_call(t, t->d->to.direct_xstate);
	else
		tr_string(t);
	return true;
}
