/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYSCALL and SYSRET without C: shared pieces of code that each of these instructions jumps to, with its site in OUT_A and flags in
 * memory. What is unusual (alignment checks or SMAP suspended, an address that is not canonical, an event that waits) goes on in
 * src/emulate before anything has changed. Semantics: emulate/syscall.c.
 *
 * RDTSC and what direct.c does call C, but not as others do: what they call cannot raise, so that C's own rules keep the registers
 * that a function must preserve, and the others alone are saved.
 */
#include "emulate/descriptor.h"
#include "engines/dbt/dbt-internal.h"

#define ODD_FLAGS  (FL_AC | FL_RF | FL_VM) /* of RFLAGS: the current view is not the plain one, or RF is to be kept */
#define KEPT_FLAGS (FL_ALL & ~(FL_ARITH | FL_RF | FL_VM)) /* what SYSRET loads into v->rflags */
#define USER_SPACE BIT(48) /* in code spaces: mmu_code_space() */

static void test_bits(struct emit *e, struct mem m, u32 bits)
{
	e_op_rm(e, 0xf7, 4, 0, m);
	e32(e, bits);
}

static void need_sce(struct emit *e, const struct dbt *d)
{
	test_bits(e, at_gs(VCPU(efer)), EFER_SCE);
	e_jcc(e, CC_Z, d->to.slow);
	e_alu_imm_m(e, ALU_CMP, 1, at_gs(WORD(x87_loaded)),
		    0); /* what CS its last instruction had, storing it looks up */
	e_jcc(e, CC_NZ, d->to.slow);
	test_bits(e, at_gs(VCPU(rflags)), ODD_FLAGS);
	e_jcc(e, CC_NZ, d->to.slow);
}

void thunk_change_level(struct emit *e, unsigned cpl)
{
	e_store_imm(e, 1, (s32)cpl, at_gs(VCPU(cpl)));
	e_mov_imm64(e, OUT_B, USER_SPACE);
	e_op_rm(e, 0x31, 8, OUT_B, at_gs(SPACE_AT(0)));
	e_op_rm(e, 0x31, 8, OUT_B, at_gs(SPACE_AT(1)));
	e_mov_imm32(e, OUT_B, TLB_VIEW_BYTES);
	test_bits(e, at_gs(VCPU(cr4)), CR4_SMAP);
	u8 *smap = e_jcc(e, CC_NZ, 0);
	e_op_rr(e, 0x03, 4, OUT_B, OUT_B);
	e_patch(smap, e->to_run, emit_here(e));
	e_op_rm(e, cpl ? 0x29 : 0x01, 8, OUT_B, at_gs(VCPU(tlb)));
}

void thunk_set_segment(struct emit *e, unsigned seg, u32 limit, u32 ar)
{
	size_t at = VCPU(seg) + seg * sizeof(struct segment);

	e_store_imm(e, 8, 0, at_gs(at + offsetof(struct segment, base)));
	e_mov_imm64(e, OUT_B, (u64)ar << 32 | limit);
	e_store(e, 8, OUT_B, at_gs(at + offsetof(struct segment, limit)));
}
_Static_assert(offsetof(struct segment, ar) == offsetof(struct segment, limit) + 4, "one store for both");

void thunk_set_flat(struct emit *e, unsigned seg, u32 ar)
{
	thunk_set_segment(e, seg, ~0u, ar);
}

static struct mem selector(unsigned seg)
{
	return at_gs(VCPU(seg) + seg * sizeof(struct segment) + offsetof(struct segment, selector));
}

/* SFMASK takes flags away, arithmetic ones too: SETO's is bit 0 of its byte. */
static void mask_flags(struct emit *e)
{
	e_load(e, 4, OUT_B, at_gs(VCPU(msr.sfmask)));
	e_op_rr(e, 0xf7, 4, 2, OUT_B); /* not */
	e_alu_imm(e, ALU_OR, 4, OUT_B, FL_1);
	e_op_rm(e, 0x21, 4, OUT_B, at_gs(VCPU(rflags)));
	e_op_rm(e, 0x20, 1, OUT_B, at_gs(FLAGS_AT + 1));
	e_shift_imm(e, SHIFT_SHR, 4, OUT_B, 11);
	e_op_rm(e, 0x20, 1, OUT_B, at_gs(FLAGS_AT));
}

u64 emit_syscall(struct emit *e, const struct dbt *d)
{
	u64 here = emit_here(e);

	need_sce(e, d);
	e_op_rm(e, 0x0fb7, 4, RCX, at_reg(OUT_A, offsetof(struct site, insn.off)));
	e_movzx_byte(e, OUT_B, at_reg(OUT_A, offsetof(struct site, insn.len)));
	e_op_rr(e, 0x03, 8, RCX, OUT_B);
	e_alu_m(e, ALU_ADD, 8, RCX, at_gs(PAGE_AT));
	flags_image(e);
	e_store(e, 8, OUT_A, at_gs(GPR_AT(R11)));
	mask_flags(e);
	thunk_change_level(e, 0);
	thunk_set_flat(e, SEG_CS, AR_FLAT_CODE | AR_L);
	thunk_set_flat(e, SEG_SS, AR_FLAT_DATA);
	e_op_rm(e, 0x0fb7, 4, OUT_B, at_gs(VCPU(msr.star) + 4));
	e_alu_imm(e, ALU_AND, 4, OUT_B, 0xfffc);
	e_store(e, 2, OUT_B, selector(SEG_CS));
	e_alu_imm(e, ALU_ADD, 4, OUT_B, 8);
	e_store(e, 2, OUT_B, selector(SEG_SS));
	e_load(e, 8, OUT_A, at_gs(VCPU(msr.lstar)));
	e_store(e, 8, OUT_A, at_gs(VCPU(rip)));
	e_jmp(e, d->to.jump_high);
	return here;
}

/* R11's image into RFLAGS and the arithmetic flags. Destroys OUT_A, OUT_B. */
static void load_flags(struct emit *e)
{
	e_load(e, 4, OUT_A, at_gs(GPR_AT(R11)));
	e_mov_rr(e, 4, OUT_B, OUT_A);
	e_alu_imm(e, ALU_AND, 4, OUT_B, (s32)KEPT_FLAGS);
	e_alu_imm(e, ALU_OR, 4, OUT_B, FL_1);
	e_store(e, 8, OUT_B, at_gs(VCPU(rflags)));
	flags_from_image(e);
}

u64 emit_sysret(struct emit *e, const struct dbt *d)
{
	u64 here = emit_here(e);

	need_sce(e, d);
	test_bits(e, at_gs(GPR_AT(R11)), FL_TF | FL_AC);
	e_jcc(e, CC_NZ, d->to.slow);
	e_alu_imm_m(e, ALU_CMP, 4, at_gs(VCPU(events)), 0); /* IF may let one in */
	e_jcc(e, CC_NZ, d->to.slow);
	e_mov_rr(e, 8, OUT_B, RCX);
	e_shift_imm(e, SHIFT_SHL, 8, OUT_B, 16);
	e_shift_imm(e, SHIFT_SAR, 8, OUT_B, 16);
	e_op_rr(e, 0x3b, 8, OUT_B, RCX);
	e_jcc(e, CC_NZ, d->to.slow);
	load_flags(e);
	thunk_change_level(e, 3);
	thunk_set_flat(e, SEG_CS, AR_FLAT_CODE | AR_L | 3 << AR_DPL_SHIFT);
	thunk_set_flat(e, SEG_SS, AR_FLAT_DATA | 3 << AR_DPL_SHIFT);
	e_op_rm(e, 0x0fb7, 4, OUT_B, at_gs(VCPU(msr.star) + 6));
	e_alu_imm(e, ALU_ADD, 4, OUT_B, 8);
	e_alu_imm(e, ALU_OR, 4, OUT_B, 3);
	e_store(e, 2, OUT_B, selector(SEG_SS));
	e_alu_imm(e, ALU_ADD, 4, OUT_B, 8);
	e_store(e, 2, OUT_B, selector(SEG_CS));
	e_mov_rr(e, 8, OUT_A, RCX);
	e_store(e, 8, OUT_A, at_gs(VCPU(rip)));
	e_jmp(e, d->to.jump);
	return here;
}

/* What a function may destroy, and RBX, which some of those that are called set. */
static const u8 caller_saved[] = { RAX, RBX, RCX, RDX, RSI, RDI, R8, R9, R10, RSP };

static void load_caller_saved(struct emit *e, const struct vcpu *v)
{
	thunk_at(e, v, PLACE_CODE);
	for (unsigned k = 0; k < sizeof(caller_saved); k++)
		e_load(e, 8, caller_saved[k], at_gs(GPR_AT(caller_saved[k])));
	e_load(e, 8, OUT_A, at_gs(WORD(tmp)));
}

/* fn(v, RSI), whose result is in RAX; the site, in OUT_A, goes to WORD(tmp). */
static void call_with_saved(struct emit *e, const struct dbt *d, struct vcpu *v, u64 fn)
{
	thunk_at(e, v, PLACE_EMULATE);
	for (unsigned k = 0; k < sizeof(caller_saved); k++)
		e_store(e, 8, caller_saved[k], at_gs(GPR_AT(caller_saved[k])));
	thunk_save_vectors(e, d); /* a function may destroy them, too */
	e_store(e, 8, OUT_A, at_gs(WORD(tmp)));
	e_mov_rr(e, 8, RSI, OUT_A);
	thunk_self(e, d, v);
	e_load(e, 8, RSP, at_gs(WORD(host_sp)));
	e_mov_imm64(e, RAX, fn);
	e8(e, 0xff); /* call rax */
	e8(e, 0xd0);
}

u64 emit_tsc(struct emit *e, const struct dbt *d, struct vcpu *v, bool aux)
{
	u64 here = emit_here(e);

	test_bits(e, at_gs(VCPU(cr4)), CR4_TSD);
	e_jcc(e, CC_NZ, d->to.slow);
	call_with_saved(e, d, v, d->counts ? (u64)dbt_direct_tsc : (u64)cpu_tsc);
	e_mov_rr(e, 8, OUT_B, RAX);
	load_caller_saved(e, v);
	e_mov_rr(e, 4, RAX, OUT_B);
	e_mov_rr(e, 8, RDX, OUT_B);
	e_shift_imm(e, SHIFT_SHR, 8, RDX, 32);
	if (aux)
		e_load(e, 4, RCX, at_gs(VCPU(msr.tsc_aux)));
	e_jmp_mem(e, at_reg(OUT_A, offsetof(struct site, resume)));
	return here;
}

/* fn says where to go on. raises: it finds all registers. So do all where lock-step may find a difference inside of any. */
u64 emit_direct(struct emit *e, const struct dbt *d, struct vcpu *v, u64 (*fn)(struct vcpu *, struct site *),
		bool raises)
{
	u64 here = emit_here(e);

	e_alu_imm_m(e, ALU_CMP, 1, at_gs(WORD(x87_loaded)), 0);
	e_jcc(e, CC_NZ, d->to.slow);
	if (raises || d->counts)
		thunk_save_guest(e);
	call_with_saved(e, d, v, (u64)fn);
	e_mov_rr(e, 8, OUT_B, RAX);
	load_caller_saved(e, v);
	e_jmp_reg(e, OUT_B);
	return here;
}
