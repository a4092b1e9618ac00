/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IRETQ of a 64-bit kernel without C: back to itself, or to 64-bit user code. A shared piece of code with the site in OUT_A and flags
 * in memory. It reads the frame and the descriptors of CS and SS through the TLB, and takes those that such kernels have: flat
 * segments whose accessed bit is set, or at CPL 0 a null SS. Everything else goes on in src/emulate, which does all of it, before
 * anything has changed. Semantics: emulate/iret.c.
 */
#include "emulate/descriptor.h"
#include "engines/dbt/dbt-internal.h"

#define FRAME_SIZE 40
/* Of RFLAGS as it is: tasks and views that are not plain, RF, whose bits the popped image would have to be mixed with. */
#define ODD_FLAGS  (FL_AC | FL_RF | FL_VM | FL_NT)
/* In the popped image: a trap behind the next instruction, or a view that is not plain. RF is dropped: no breakpoint is on here. */
#define ODD_IMAGE  (FL_TF | FL_AC | FL_VM | FL_NT)

/* Descriptors in memory: base 0, limit FFFFFh, and the attributes in bits 40 to 47 and 52 to 55. */
#define FLAT_DESCRIPTOR(ar, cpl) (0x000f00000000ffffull | (u64)((ar) | (cpl) << AR_DPL_SHIFT) << 40)

#define SAVED(k) at_gs(WORD(save) + 8 * (size_t)(k))
#define FRAME(k) at_reg(RAX, 8 * (k))
enum { FRAME_RIP, FRAME_CS, FRAME_FLAGS, FRAME_RSP, FRAME_SS };

struct ways { /* to the slow one, with RAX, RCX and RDX to be loaded again */
	u8 *out[32];
	unsigned n;
};

static void out_if(struct ways *w, struct emit *e, unsigned cc)
{
	w->out[w->n++] = e_jcc(e, cc, 0);
}

/* Linear address in a: its host address instead, of n bytes to read in a view of the TLB. Destroys entry. */
static void host_address(struct emit *e, struct ways *w, unsigned a, unsigned entry, unsigned n, struct mem view)
{
	e_mov_rr(e, 4, entry, a);
	e_shift_imm(e, SHIFT_SHR, 4, entry, PAGE_SHIFT - 5);
	e_alu_imm(e, ALU_AND, 4, entry, (TLB_SIZE - 1) << 5);
	e_alu_m(e, ALU_ADD, 8, entry, view);
	e_alu_m(e, ALU_SUB, 8, a, at_reg(entry, offsetof(struct tlb_entry, rd)));
	e_alu_imm(e, ALU_CMP, 8, a, (s32)(PAGE_SIZE - n));
	out_if(w, e, CC_A);
	e_alu_m(e, ALU_ADD, 8, a, at_reg(entry, offsetof(struct tlb_entry, rd)));
	e_alu_m(e, ALU_ADD, 8, a, at_reg(entry, offsetof(struct tlb_entry, delta)));
}

static void check_state(struct emit *e, const struct dbt *d)
{
	e_op_rm(e, 0xf7, 4, 0, at_gs(VCPU(rflags)));
	e32(e, ODD_FLAGS);
	e_jcc(e, CC_NZ, d->to.slow);
	e_alu_imm_m(e, ALU_CMP, 1, at_gs(VCPU(nmi_blocked)), 0);
	e_jcc(e, CC_NZ, d->to.slow);
	e_alu_imm_m(e, ALU_CMP, 1, at_gs(WORD(x87_loaded)), 0); /* storing it looks up which CS it ran with */
	e_jcc(e, CC_NZ, d->to.slow);
}

/* What waits, unless it is an interrupt that the image, too, holds off. */
static void check_events(struct emit *e, struct ways *w)
{
	e_load(e, 4, OUT_B, at_gs(VCPU(events)));
	e_op_rr(e, 0x85, 4, OUT_B, OUT_B);
	u8 *none = e_jcc(e, CC_Z, 0);
	e_alu_imm(e, ALU_CMP, 4, OUT_B, EV_INTR);
	out_if(w, e, CC_NZ);
	e_op_rm(e, 0xf7, 4, 0, FRAME(FRAME_FLAGS));
	e32(e, FL_IF);
	out_if(w, e, CC_NZ);
	e_patch(none, e->to_run, emit_here(e));
}

/* WORD(arg): the view in which the supervisor's implicit accesses are, those to descriptors. The current one is it where SMAP is on. */
static void find_view(struct emit *e)
{
	e_load(e, 8, OUT_B, at_gs(VCPU(tlb)));
	e_op_rm(e, 0xf7, 4, 0, at_gs(VCPU(cr4)));
	e32(e, CR4_SMAP);
	u8 *smap = e_jcc(e, CC_NZ, 0);
	e_alu_imm(e, ALU_SUB, 8, OUT_B, TLB_VIEW_BYTES);
	e_patch(smap, e->to_run, emit_here(e));
	e_store(e, 8, OUT_B, at_gs(WORD(arg)));
}

/* RAX: the frame's host address; WORD(tmp): the target. */
static void check_frame(struct emit *e, struct ways *w)
{
	e_mov_rr(e, 8, RAX, RSP);
	host_address(e, w, RAX, OUT_B, FRAME_SIZE, at_gs(VCPU(tlb)));
	e_op_rm(e, 0xf7, 4, 0, FRAME(FRAME_FLAGS));
	e32(e, ODD_IMAGE);
	out_if(w, e, CC_NZ);
	check_events(e, w);
	e_load(e, 8, RDX, FRAME(FRAME_RIP));
	e_mov_rr(e, 8, OUT_B, RDX);
	e_shift_imm(e, SHIFT_SHL, 8, OUT_B, 16);
	e_shift_imm(e, SHIFT_SAR, 8, OUT_B, 16);
	e_op_rr(e, 0x3b, 8, OUT_B, RDX);
	out_if(w, e, CC_NZ);
	e_store(e, 8, RDX, at_gs(WORD(tmp)));
}

/* The selector in RCX: not null, of the GDT, with the CPL as its RPL, and its descriptor is this. Destroys RDX and OUT_B. */
static void check_descriptor(struct emit *e, struct ways *w, u64 descriptor, unsigned cpl)
{
	e_mov_rr(e, 4, OUT_B, RCX);
	e_alu_imm(e, ALU_AND, 4, OUT_B, SEL_TI | SEL_RPL);
	e_alu_imm(e, ALU_CMP, 4, OUT_B, (s32)cpl);
	out_if(w, e, CC_NZ);
	e_alu_imm(e, ALU_CMP, 4, RCX, 8);
	out_if(w, e, CC_B);
	e_mov_rr(e, 4, OUT_B, RCX);
	e_alu_imm(e, ALU_OR, 4, OUT_B, 7);
	e_op_rm(e, 0x3b, 2, OUT_B, at_gs(VCPU(gdtr.limit)));
	out_if(w, e, CC_A);
	e_alu_imm(e, ALU_XOR, 4, OUT_B, 7);
	e_alu_m(e, ALU_ADD, 8, OUT_B, at_gs(VCPU(gdtr.base)));
	host_address(e, w, OUT_B, RDX, 8, at_gs(WORD(arg)));
	e_mov_imm64(e, RDX, descriptor);
	e_alu_m(e, ALU_CMP, 8, RDX, at_reg(OUT_B, 0));
	out_if(w, e, CC_NZ);
}

/* Segments that an outer level may not use become null: here there must be none. */
static void check_data_segments(struct emit *e, struct ways *w)
{
	static const u8 data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

	for (unsigned k = 0; k < sizeof(data); k++) {
		e_load(e, 4, OUT_B, at_gs(VCPU(seg) + data[k] * sizeof(struct segment) + offsetof(struct segment, ar)));
		e_op_rr(e, 0xf7, 4, 0, OUT_B);
		e32(e, AR_UNUSABLE);
		u8 *null = e_jcc(e, CC_NZ, 0);
		e_op_rr(e, 0xf7, 4, 2, OUT_B); /* not: DPL 3 leaves no bit of it */
		e_op_rr(e, 0xf7, 4, 0, OUT_B);
		e32(e, AR_DPL);
		out_if(w, e, CC_NZ);
		e_patch(null, e->to_run, emit_here(e));
	}
}

static struct mem selector(unsigned seg)
{
	return at_gs(VCPU(seg) + seg * sizeof(struct segment) + offsetof(struct segment, selector));
}

/* From the frame in RAX: the flags; destroys RCX, RDX and both outs. */
static void load_flags(struct emit *e)
{
	e_load(e, 4, OUT_A, FRAME(FRAME_FLAGS));
	e_mov_rr(e, 4, OUT_B, OUT_A);
	e_alu_imm(e, ALU_AND, 4, OUT_B, (s32)(FL_ALL & ~(FL_ARITH | FL_RF | FL_VM)));
	e_alu_imm(e, ALU_OR, 4, OUT_B, FL_1);
	e_store(e, 8, OUT_B, at_gs(VCPU(rflags)));
	flags_from_image(e);
}

static void load_selectors(struct emit *e)
{
	e_load(e, 2, OUT_B, FRAME(FRAME_CS));
	e_store(e, 2, OUT_B, selector(SEG_CS));
	e_load(e, 2, OUT_B, FRAME(FRAME_SS));
	e_store(e, 2, OUT_B, selector(SEG_SS));
}

static void go(struct emit *e, u64 jump)
{
	load_selectors(e);
	e_load(e, 8, RSP, FRAME(FRAME_RSP));
	e_load(e, 8, OUT_A, at_gs(WORD(tmp)));
	e_store(e, 8, OUT_A, at_gs(VCPU(rip)));
	e_load(e, 8, RAX, SAVED(0));
	e_load(e, 8, RCX, SAVED(1));
	e_load(e, 8, RDX, SAVED(2));
	e_jmp(e, jump);
}

static void to_user(struct emit *e, struct ways *w, const struct dbt *d)
{
	check_descriptor(e, w, FLAT_DESCRIPTOR(AR_FLAT_CODE | AR_L, 3), 3);
	e_op_rm(e, 0x0fb7, 4, RCX, FRAME(FRAME_SS));
	check_descriptor(e, w, FLAT_DESCRIPTOR(AR_FLAT_DATA, 3), 3);
	check_data_segments(e, w);
	load_flags(e);
	thunk_change_level(e, 3);
	thunk_set_flat(e, SEG_CS, AR_FLAT_CODE | AR_L | 3 << AR_DPL_SHIFT);
	thunk_set_flat(e, SEG_SS, AR_FLAT_DATA | 3 << AR_DPL_SHIFT);
	go(e, d->to.jump);
}

/* SS is null where an interrupt of user code had led here. */
static void to_kernel(struct emit *e, struct ways *w, const struct dbt *d)
{
	check_descriptor(e, w, FLAT_DESCRIPTOR(AR_FLAT_CODE | AR_L, 0), 0);
	e_op_rm(e, 0x0fb7, 4, RCX, FRAME(FRAME_SS));
	e_op_rr(e, 0x85, 4, RCX, RCX);
	u8 *null = e_jcc(e, CC_Z, 0);
	check_descriptor(e, w, FLAT_DESCRIPTOR(AR_FLAT_DATA, 0), 0);
	thunk_set_flat(e, SEG_SS, AR_FLAT_DATA);
	u8 *both = e_jmp(e, 0);
	e_patch(null, e->to_run, emit_here(e));
	thunk_set_segment(e, SEG_SS, 0, AR_UNUSABLE);
	e_patch(both, e->to_run, emit_here(e));
	load_flags(e);
	thunk_set_flat(e, SEG_CS, AR_FLAT_CODE | AR_L);
	go(e, d->to.jump_high);
}

u64 emit_iret(struct emit *e, const struct dbt *d)
{
	u64 here = emit_here(e);
	struct ways w = { .n = 0 };

	check_state(e, d);
	for (unsigned k = 0; k < 3; k++)
		e_store(e, 8, (const u8[]){ RAX, RCX, RDX }[k], SAVED(k));
	check_frame(e, &w);
	find_view(e);
	e_op_rm(e, 0x0fb7, 4, RCX, FRAME(FRAME_CS));
	e_op_rr(e, 0xf7, 4, 0, RCX);
	e32(e, SEL_RPL);
	u8 *kernel = e_jcc(e, CC_Z, 0);
	to_user(e, &w, d);
	e_patch(kernel, e->to_run, emit_here(e));
	to_kernel(e, &w, d);
	for (unsigned k = 0; k < w.n; k++)
		e_patch(w.out[k], e->to_run, emit_here(e));
	e_load(e, 8, RAX, SAVED(0));
	e_load(e, 8, RCX, SAVED(1));
	e_load(e, 8, RDX, SAVED(2));
	e_jmp(e, d->to.slow);
	return here;
}
