/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The passages between generated code and C, generated once a vCPU as they name it.
 *
 * From generated code to C: guest registers go to v->r[], vector registers to v->v if they are loaded, and the host's stack is
 * taken back. C returns the run-time address to go on at: registers are loaded again and control goes there. What unwinds
 * (vcpu_raise) needs nothing of this: its landing is the loop's, and the state is complete.
 */
#include "engines/dbt/count.h"

static const u8 callee_saved[] = { RBX, RBP, R12, R13, R14, R15 };

static bool is_out(unsigned reg)
{
	return reg == OUT_A || reg == OUT_B;
}

void thunk_save_guest(struct emit *e)
{
	for (unsigned r = 0; r < NR_GPR; r++)
		if (!is_out(r))
			e_store(e, 8, r, at_gs(GPR_AT(r)));
}
static void load_guest(struct emit *e)
{
	for (unsigned r = 0; r < NR_GPR; r++)
		if (!is_out(r))
			e_load(e, 8, r, at_gs(GPR_AT(r)));
}

/* MOVUPS or, with YMM registers, VMOVUPS of all vector registers. */
static void move_vectors(struct emit *e, bool ymm, bool store)
{
	for (unsigned r = 0; r < 16; r++) {
		struct mem m = at_gs(VCPU(v) + 32 * r);
		e8(e, 0x65);
		if (ymm) {
			e8(e, 0xc5);
			e8(e, (r & 8 ? 0 : 0x80) | 0x7c);
		} else {
			e_rex(e, 0, r, NO_REG, 0, false);
			e8(e, 0x0f);
		}
		e8(e, store ? 0x11 : 0x10);
		e_modrm_mem(e, r, &m);
	}
}

static void vzeroupper(struct emit *e)
{
	e8(e, 0xc5);
	e8(e, 0xf8);
	e8(e, 0x77);
}

void thunk_save_vectors(struct emit *e, const struct dbt *d)
{
	e_alu_imm_m(e, ALU_CMP, 1, at_gs(WORD(vec_loaded)), 0);
	u8 *skip = e_jcc(e, CC_Z, 0);
	move_vectors(e, d->ymm, true);
	if (d->ymm)
		vzeroupper(e);
	e_store_imm(e, 1, 0, at_gs(WORD(vec_loaded)));
	e_patch(skip, e->to_run, emit_here(e));
}

/* fn(v, whatever is in RSI); RSP is the host's. */
static void call(struct emit *e, const struct vcpu *v, void *fn)
{
	e_mov_imm64(e, RDI, (u64)v);
	e_mov_imm64(e, RAX, (u64)fn);
	e8(e, 0xff); /* call rax */
	e8(e, 0xd0);
}

void thunk_at(struct emit *e, const struct vcpu *v, enum vcpu_place place)
{
	if (v->machine->config.verbose)
		e_store_imm(e, 1, place, at_gs(VCPU(place)));
}

/* Calls fn(v, OUT_A) and goes where it says. */
static u64 to_c(struct emit *e, struct vcpu *v, void *fn, enum vcpu_place place)
{
	u64 here = emit_here(e);

	thunk_at(e, v, place);
	thunk_save_guest(e);
	thunk_save_vectors(e, dbt_of(v));
	e_load(e, 8, RSP, at_gs(WORD(host_sp)));
	e_alu_imm_m(e, ALU_CMP, 1, at_gs(WORD(x87_loaded)), 0);
	u8 *skip = e_jcc(e, CC_Z, 0);
	e_mov_rr(e, 8, RBX, OUT_A);
	call(e, v, dbt_store_x87);
	e_mov_rr(e, 8, OUT_A, RBX);
	e_patch(skip, e->to_run, emit_here(e));
	e_mov_rr(e, 8, RSI, OUT_A);
	call(e, v, fn);
	thunk_at(e, v, PLACE_CODE);
	e_mov_rr(e, 8, OUT_A, RAX);
	load_guest(e);
	e_jmp_reg(e, OUT_A);
	return here;
}

/* u64 enter(u64 code): C's registers onto the stack, the guest's from v->r. */
static u64 emit_enter(struct emit *e)
{
	u64 here = emit_here(e);

	for (unsigned k = 0; k < sizeof(callee_saved); k++) {
		e_rex(e, 0, 0, NO_REG, callee_saved[k], false);
		e8(e, 0x50 | (callee_saved[k] & 7));
	}
	e_alu_imm(e, ALU_SUB, 8, RSP, 8); /* calls leave the stack aligned */
	e_store(e, 8, RSP, at_gs(WORD(host_sp)));
	e_mov_rr(e, 8, OUT_A, RDI);
	load_guest(e);
	e_jmp_reg(e, OUT_A);
	return here;
}

/* Guest registers are in v->r already, as C sent us here; the host's stack is not ours yet. */
static u64 emit_leave(struct emit *e)
{
	u64 here = emit_here(e);

	e_load(e, 8, RSP, at_gs(WORD(host_sp)));
	e_alu_imm(e, ALU_ADD, 8, RSP, 8);
	for (unsigned k = sizeof(callee_saved); k-- > 0;) {
		e_rex(e, 0, 0, NO_REG, callee_saved[k], false);
		e8(e, 0x58 | (callee_saved[k] & 7));
	}
	e8(e, 0xc3);
	return here;
}

static u64 emit_load_vec(struct emit *e, const struct dbt *d)
{
	u64 here = emit_here(e);

	e_alu_imm_m(e, ALU_CMP, 1, at_gs(WORD(vec_loaded)), 0);
	u8 *skip = e_jcc(e, CC_NZ, 0);
	move_vectors(e, d->ymm, false);
	e_store_imm(e, 1, 1, at_gs(WORD(vec_loaded)));
	e_patch(skip, e->to_run, emit_here(e));
	e_jmp_reg(e, OUT_A);
	return here;
}

void jump_index(struct emit *e, unsigned entry, unsigned target)
{
	struct mem scaled = { .base = NO_REG, .index = (u8)target, .scale = 4 - JUMP_PLACE_SHIFT };

	e_lea(e, 4, entry, scaled);
	e_alu_imm(e, ALU_AND, 4, entry, (s32)(JUMP_CACHE_SIZE - sizeof(struct jump_entry)));
}

void jump_set_page(struct emit *e, unsigned page)
{
	e_alu_imm(e, ALU_AND, 8, page, (s32)PAGE_MASK);
	e_store(e, 8, page, at_gs(PAGE_AT));
}

void jump_take(struct emit *e, const struct dbt *d, unsigned entry, unsigned page)
{
	jump_set_page(e, page);
	e_jmp_mem(e, jump_field(d, entry, offsetof(struct jump_entry, code)));
}

/* Target in OUT_A and in v->rip. */
static u64 emit_jump(struct emit *e, const struct dbt *d, u64 lookup, unsigned likely_half)
{
	u64 here = emit_here(e);
	struct mem key = jump_field(d, OUT_B, offsetof(struct jump_entry, key));

	jump_index(e, OUT_B, OUT_A);
	e_load(e, 8, OUT_A, at_gs(VCPU(rip)));
	/* code_space[rip >> 63]: kernels and users both come here. */
	e_alu_m(e, ALU_XOR, 8, OUT_A, at_gs(SPACE_AT(likely_half)));
	e_alu_m(e, ALU_CMP, 8, OUT_A, key);
	u8 *hit = e_jcc(e, CC_Z, 0);
	e_load(e, 8, OUT_A, at_gs(VCPU(rip)));
	e_alu_m(e, ALU_XOR, 8, OUT_A, at_gs(SPACE_AT(!likely_half)));
	e_alu_m(e, ALU_CMP, 8, OUT_A, key);
	e_jcc(e, CC_NZ, lookup);
	e_patch(hit, e->to_run, emit_here(e));
	e_load(e, 8, OUT_A, at_gs(VCPU(rip)));
	jump_take(e, d, OUT_B, OUT_A);
	return here;
}

/* The same of 32-bit code, whose key is in OUT_B: it lies in the lower half. */
static u64 emit_jump32(struct emit *e, const struct dbt *d, u64 lookup)
{
	u64 here = emit_here(e);

	e_op_rr(e, 0x33, 8, OUT_B, OUT_A);
	e_alu_m(e, ALU_XOR, 8, OUT_B, at_gs(SPACE_AT(0)));
	jump_index(e, OUT_A, OUT_A);
	e_alu_m(e, ALU_CMP, 8, OUT_B, jump_field(d, OUT_A, offsetof(struct jump_entry, key)));
	e_jcc(e, CC_NZ, lookup);
	e_load(e, 8, OUT_B, at_gs(VCPU(rip)));
	jump_take(e, d, OUT_A, OUT_B);
	return here;
}

/* RDX becomes the slot that is to be filled, of the pair that it points to; see tr_stack(). RAX is destroyed. */
static void choose_of_pair(struct emit *e)
{
	const s32 second = sizeof(struct slot);
	const struct mem hits = at_reg(RDX, second + (s32)offsetof(struct slot, hits));
	u8 *first[2];

	e_load(e, 4, RAX, hits);
	e_store_imm(e, 4, PAIR_HITS, hits);
	e_alu_imm(e, ALU_CMP, 4, RAX, 0);
	first[0] = e_jcc(e, CC_Z, 0);
	e_alu_imm_m(e, ALU_CMP, 8, at_reg(RDX, offsetof(struct slot, end)), 0);
	first[1] = e_jcc(e, CC_Z, 0);
	e_alu_imm(e, ALU_ADD, 8, RDX, second);
	for (unsigned k = 0; k < ARRAY_SIZE(first); k++)
		e_patch(first[k], e->to_run, emit_here(e));
}

/* From the TLB into the slot, and again. Registers and flags of no use to anybody: RAX the entry, RCX, RDX the slot, OUT_A the list. */
static u64 emit_fill(struct emit *e, const struct dbt *d, size_t tag, bool pair)
{
	static const u8 saved[] = { RAX, RCX, RDX, OUT_A, OUT_B };
	const struct mem slot_end = at_reg(RDX, offsetof(struct slot, end));
	u64 here = emit_here(e);
	u8 *out[4], *later[2];

	for (unsigned k = 0; k < 5; k++)
		e_store(e, 8, saved[k], at_gs(WORD(save) + 8 * k));
	e_load(e, 8, OUT_B, at_gs(WORD(fill_use)));
	e_load(e, 8, RCX, at_gs(WORD(fill_gla)));
	e_load(e, 8, RDX, at_reg(OUT_B, offsetof(struct slot_use, slot)));
	if (pair)
		choose_of_pair(e);
	e_mov_rr(e, 4, RAX, RCX);
	e_shift_imm(e, SHIFT_SHR, 4, RAX, PAGE_SHIFT - 5);
	e_alu_imm(e, ALU_AND, 4, RAX, (TLB_SIZE - 1) << 5);
	e_alu_m(e, ALU_ADD, 8, RAX, at_gs(VCPU(tlb)));
	e_alu_m(e, ALU_SUB, 8, RCX, at_reg(RAX, (s32)tag));
	e_alu_imm_m(e, ALU_SUB, 4, at_reg(RDX, offsetof(struct slot, count)), 1);
	out[0] = e_jcc(e, CC_Z, 0);
	e_alu_m(e, ALU_CMP, 8, RCX, at_reg(RDX, offsetof(struct slot, room)));
	out[1] = e_jcc(e, CC_AE, 0);
	e_op_rm(e, 0xf7, 4, 0, at_gs(VCPU(rflags))); /* test rflags, AC */
	e32(e, FL_AC);
	later[0] = e_jcc(e, CC_NZ, 0);
	/* Which list, and its bit in slot.listed. */
	e_mov_imm32(e, OUT_A, (u32)(u64)&d->low->filled[0]);
	e_mov_imm32(e, RCX, 1);
	e_op_rm(e, 0xf7, 4, 0, at_reg(RAX, offsetof(struct tlb_entry, info)));
	e32(e, TLB_GLOBAL);
	u8 *local = e_jcc(e, CC_Z, 0);
	e_mov_imm32(e, OUT_A, (u32)(u64)&d->low->filled[1]);
	e_mov_imm32(e, RCX, 2);
	e_patch(local, e->to_run, emit_here(e));
	e_op_rm(e, 0x85, 4, RCX, at_reg(RDX, offsetof(struct slot, listed)));
	u8 *listed = e_jcc(e, CC_NZ, 0);
	e_alu_imm_m(e, ALU_CMP, 4, at_reg(OUT_A, offsetof(struct filled, n)), FILLED_MAX);
	later[1] = e_jcc(e, CC_AE, 0);
	e_op_rm(e, 0x09, 4, RCX, at_reg(RDX, offsetof(struct slot, listed)));
	e_load(e, 4, RCX, at_reg(OUT_A, offsetof(struct filled, n)));
	e_store(e, 4, RDX,
		(struct mem){ .base = OUT_A, .index = RCX, .scale = 2, .disp = (s32)offsetof(struct filled, slot) });
	e_alu_imm_m(e, ALU_ADD, 4, at_reg(OUT_A, offsetof(struct filled, n)), 1);
	e_patch(listed, e->to_run, emit_here(e));
	e_load(e, 8, RCX, at_reg(RAX, (s32)tag));
	e_load(e, 8, RAX, at_reg(RAX, offsetof(struct tlb_entry, delta)));
	e_store(e, 8, RAX, at_reg(RDX, offsetof(struct slot, delta)));
	e_op_rr(e, 0x03, 8, RAX, RCX);
	e_store(e, 8, RAX, at_reg(RDX, offsetof(struct slot, host)));
	e_op_rr(e, 0xf7, 8, 3, RCX); /* neg */
	e_store(e, 8, RCX, at_reg(RDX, offsetof(struct slot, neg)));
	e_load(e, 8, RCX, at_reg(RDX, offsetof(struct slot, room)));
	e_store(e, 8, RCX, slot_end);
	e_load(e, 8, RAX, at_reg(OUT_B, offsetof(struct slot_use, back)));
	u8 *done = e_jmp(e, 0);
	/* Not by us: as if the count were used up, or just not now. */
	e_patch(later[1], e->to_run, emit_here(e));
	e_store_imm(e, 1, 1, at_gs(WORD(lists_full)));
	e_patch(later[0], e->to_run, emit_here(e));
	e_store_imm(e, 4, 0, at_reg(RDX, offsetof(struct slot, count)));
	for (unsigned k = 0; k < 2; k++)
		e_patch(out[k], e->to_run, emit_here(e));
	e_load(e, 8, RAX, at_reg(OUT_B, offsetof(struct slot_use, fail)));
	e_patch(done, e->to_run, emit_here(e));
	e_store(e, 8, RAX, at_gs(WORD(fill_use)));
	for (unsigned k = 0; k < 5; k++)
		e_load(e, 8, saved[k], at_gs(WORD(save) + 8 * k));
	e_jmp_mem(e, at_gs(WORD(fill_use)));
	return here;
}

/* The entries of RAX and RCX change places; RDX and `with` are destroyed. */
static void swap_entries(struct emit *e, unsigned with)
{
	e_alu_imm_m(e, ALU_ADD, 4, at_gs(VCPU(tlb_moves)), 1);
	for (unsigned k = 0; k < sizeof(struct tlb_entry); k += 8) {
		e_load(e, 8, RDX, at_reg(RAX, (s32)k));
		e_load(e, 8, with, at_reg(RCX, (s32)k));
		e_store(e, 8, with, at_reg(RAX, (s32)k));
		e_store(e, 8, RDX, at_reg(RCX, (s32)k));
	}
	e_alu_imm_m(e, ALU_ADD, 4, at_gs(VCPU(tlb_moves)), 1);
}

/* See tlb_other() in mmu.h, and thunks.displaced. */
static u64 emit_displaced(struct emit *e, unsigned a, unsigned b, size_t tag)
{
	static const u8 saved[] = { RAX, RCX, RDX };
	u64 here = emit_here(e);

	for (unsigned k = 0; k < ARRAY_SIZE(saved); k++)
		e_store(e, 8, saved[k], at_gs(WORD(save) + 8 * k));
	e_mov_rr(e, 4, RAX, a);
	e_shift_imm(e, SHIFT_SHR, 4, RAX, PAGE_SHIFT - 5);
	e_alu_imm(e, ALU_AND, 4, RAX, (TLB_SIZE - 1) << 5);
	e_mov_rr(e, 4, RCX, RAX);
	e_alu_imm(e, ALU_XOR, 4, RCX, TLB_HALF << 5);
	e_alu_m(e, ALU_ADD, 8, RAX, at_gs(VCPU(tlb)));
	e_alu_m(e, ALU_ADD, 8, RCX, at_gs(VCPU(tlb)));
	e_mov_rr(e, 8, RDX, a);
	e_alu_m(e, ALU_SUB, 8, RDX, at_reg(RCX, (s32)tag));
	e_alu_imm(e, ALU_CMP, 8, RDX, PAGE_SIZE - 1);
	u8 *none = e_jcc(e, CC_A, 0);
	e_store(e, 8, b, at_gs(WORD(tmp)));
	swap_entries(e, b);
	e_load(e, 8, b, at_gs(WORD(tmp)));
	e_load(e, 4, b, at_reg(b, -4));
	e_patch(none, e->to_run, emit_here(e));
	for (unsigned k = 0; k < ARRAY_SIZE(saved); k++)
		e_load(e, 8, saved[k], at_gs(WORD(save) + 8 * k));
	e_jmp_reg(e, b);
	return here;
}

void thunks_emit(struct vcpu *v)
{
	struct dbt *d = dbt_of(v);
	struct emit *e = &d->hot;
	struct thunks *t = &d->to;

	t->enter = emit_enter(e);
	t->leave = emit_leave(e);
	t->slow = to_c(e, v, dbt_slow, PLACE_EMULATE);
	t->link = to_c(e, v, dbt_link, PLACE_FIND);
	t->cross_link = to_c(e, v, dbt_cross_link, PLACE_FIND);
	t->poll = to_c(e, v, dbt_poll, PLACE_FIND);
	t->poll_site = to_c(e, v, dbt_poll_site, PLACE_EMULATE);
	t->miss = to_c(e, v, dbt_miss, PLACE_FIND);
	t->lookup = to_c(e, v, dbt_go_on, PLACE_FIND);
	t->promote = to_c(e, v, dbt_promote, PLACE_FIND);
	t->hot = to_c(e, v, dbt_hot, PLACE_FIND);
	t->bail = to_c(e, v, dbt_bail, PLACE_FIND);
	t->refill = to_c(e, v, dbt_refill, PLACE_EMULATE);
	t->fill[0] = emit_fill(e, d, offsetof(struct tlb_entry, rd), false);
	t->fill[1] = emit_fill(e, d, offsetof(struct tlb_entry, wr), false);
	t->fill_pair = emit_fill(e, d, offsetof(struct tlb_entry, wr), true);
	for (unsigned k = 0; k < 2; k++) {
		size_t tag = k ? offsetof(struct tlb_entry, wr) : offsetof(struct tlb_entry, rd);
		t->displaced[0][k] = emit_displaced(e, OUT_A, OUT_B, tag);
		t->displaced[1][k] = emit_displaced(e, OUT_B, OUT_A, tag);
	}
	t->load_vec = emit_load_vec(e, d);
	t->load_x87 = to_c(e, v, dbt_load_x87, PLACE_EMULATE);
	t->stop = to_c(e, v, dbt_stop, PLACE_FIND);
	t->jump = emit_jump(e, d, t->lookup, 0);
	t->jump_high = emit_jump(e, d, t->lookup, 1);
	t->jump32 = emit_jump32(e, d, t->lookup);
	t->syscall = emit_syscall(e, d);
	t->sysret = emit_sysret(e, d);
	t->iret = emit_iret(e, d);
	t->tsc = emit_tsc(e, v, false);
	t->tscp = emit_tsc(e, v, true);
	t->moved = to_c(e, v, dbt_moved, PLACE_FIND);
	t->direct_cr3 = emit_direct(e, v, dbt_direct_cr3, false);
	t->direct_invlpg = emit_direct(e, v, dbt_direct_invlpg, false);
	t->direct_wrmsr = emit_direct(e, v, dbt_direct_wrmsr, false);
	t->direct_cpuid = emit_direct(e, v, dbt_direct_cpuid, false);
	t->direct_in = emit_direct(e, v, dbt_direct_in, false);
	t->direct_out = emit_direct(e, v, dbt_direct_out, false);
	t->outside = to_c(e, v, dbt_outside, PLACE_EMULATE);
	t->direct_xstate = emit_direct(e, v, dbt_direct_xstate, true);
	for (unsigned k = 0; k < 4; k++) {
		t->rep_movs[k] = emit_rep_movs(e, d, k);
		t->rep_stos[k] = emit_rep_stos(e, d, k);
	}
}

/* What v->rflags has but for the arithmetic flags, and these from the form of LAHF and SETO. */
void flags_image(struct emit *e)
{
	e_load(e, 4, OUT_A, at_gs(VCPU(rflags)));
	e_alu_imm(e, ALU_AND, 4, OUT_A, (s32) ~(FL_ARITH | FL_RF | FL_VM));
	e_movzx_byte(e, OUT_B, at_gs(FLAGS_AT + 1));
	e_alu_imm(e, ALU_AND, 4, OUT_B, FL_ARITH & 0xff);
	e_op_rr(e, 0x0b, 4, OUT_A, OUT_B);
	e_movzx_byte(e, OUT_B, at_gs(FLAGS_AT));
	e_alu_imm(e, ALU_AND, 4, OUT_B, 1);
	e_shift_imm(e, SHIFT_SHL, 4, OUT_B, 11);
	e_op_rr(e, 0x0b, 4, OUT_A, OUT_B);
}

void flags_from_image(struct emit *e)
{
	e_store(e, 1, OUT_A, at_gs(FLAGS_AT + 1));
	e_shift_imm(e, SHIFT_SHR, 4, OUT_A, 11);
	e_alu_imm(e, ALU_AND, 4, OUT_A, 1);
	e_store(e, 1, OUT_A, at_gs(FLAGS_AT));
}

void flags_save(struct emit *e, unsigned with)
{
	e_mov_rr(e, 8, with, RAX);
	e8(e, 0x9f); /* lahf */
	e8(e, 0x0f); /* seto al */
	e8(e, 0x90);
	e8(e, 0xc0);
	e_store(e, 2, RAX, at_gs(FLAGS_AT));
	e_mov_rr(e, 8, RAX, with);
}

/* Destroys RAX. OF comes of 7Fh + 1. */
void flags_load(struct emit *e)
{
	e_op_rm(e, 0x0fb7, 4, RAX, at_gs(FLAGS_AT));
	e8(e, 0x04); /* add al, 7Fh */
	e8(e, 0x7f);
	e8(e, 0x9e); /* sahf */
}

void flags_restore(struct emit *e, unsigned with)
{
	e_mov_rr(e, 8, with, RAX);
	flags_load(e);
	e_mov_rr(e, 8, RAX, with);
}
