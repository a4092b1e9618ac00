/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87 loads, stores and moves: FLD, FILD, FBLD, constants, FST, FIST, FISTTP, FBSTP, FXCH, FCMOVcc, signs and the
 * stack's top.
 */
#include <string.h>

#include "emulate/x87.h"

static struct f80 from_int(s64 x)
{
	u64 m = x < 0 ? -(u64)x : (u64)x;
	unsigned shift;

	if (!m)
		return (struct f80){ 0, 0 };
	shift = (unsigned)__builtin_clzll(m);
	return (struct f80){ m << shift, (u16)((x < 0 ? 0x8000 : 0) | (0x3fff + 63 - shift)) };
}

/* ST(7) is where a push goes. True if it is in use: a fault, that is done with when this returns. */
static bool push_overflows(struct vcpu *v, const struct insn *i)
{
	if (likely(x87_empty(v, 7)))
		return false;
	if (x87_overflow(v, i))
		x87_push(v, F80_INDEFINITE);
	return true;
}

static void push_exact(struct vcpu *v, const struct insn *i, struct f80 x)
{
	if (push_overflows(v, i))
		return;
	v->x87.sw &= (u16)~SW_C1;
	x87_push(v, x);
}

static void push_converted(struct vcpu *v, const struct insn *i, struct x87_io *io, x87_host_fn *fn)
{
	if (push_overflows(v, i))
		return;
	x87_io_words(v, io);
	/* Hardware loads a denormal even if DE is unmasked. */
	if (x87_signal(v, i, fn(io)) || !(v->x87.sw & ~v->x87.cw & SW_IE))
		x87_push(v, io->r);
}

/* Ten bytes are aligned when they are at a multiple of eight (SDM vol. 3, table 6-7). */
static u64 align_ten(struct vcpu *v, u64 gla)
{
	if (unlikely(v->rflags & FL_AC) && (v->cr0 & CR0_AM) && v->cpl == 3 && (gla & 7))
		vcpu_raise_error(v, EXC_AC, 0);
	return gla;
}

/* Ten bytes of memory: an 80-bit real or packed BCD. */
static struct f80 load_ten(struct vcpu *v, const struct insn *i)
{
	u64 ea = op_ea(v, i);
	struct f80 x = { 0 };

	mmu_read(v, align_ten(v, segment_linear(v, i->seg, ea, 10, SEG_READ)), &x, 10, MMU_EXPLICIT);
	x87_note_mem(v, i, ea);
	return x;
}

static void load_register(struct vcpu *v, const struct insn *i)
{
	struct f80 x;

	x87_note(v);
	if (x87_empty(v, i->r[0])) {
		if (x87_underflow(v, i))
			x87_push(v, F80_INDEFINITE);
		return;
	}
	x = *x87_st(v, i->r[0]);
	push_exact(v, i, x);
}

void exec_fld(struct vcpu *v, const struct insn *i)
{
	struct x87_io io;

	x87_wait(v);
	if (!(i->flags & INSN_MEM)) {
		load_register(v, i);
	} else if (i->msize == 10) {
		push_exact(v, i, load_ten(v, i));
	} else {
		io.mem = x87_load(v, i, i->msize);
		push_converted(v, i, &io, i->msize == 4 ? x87_host_load32 : x87_host_load64);
	}
}

void exec_fild(struct vcpu *v, const struct insn *i)
{
	x87_wait(v);
	push_exact(v, i, from_int(sign_extend(x87_load(v, i, i->msize), i->msize)));
}

void exec_fbld(struct vcpu *v, const struct insn *i)
{
	struct x87_io io;

	x87_wait(v);
	io.bcd = load_ten(v, i);
	push_converted(v, i, &io, x87_host_loadbcd);
}

static x87_host_fn *constant(unsigned op)
{
	switch (op) {
	case OP_FLD1: return x87_host_ld1;
	case OP_FLDL2T: return x87_host_ldl2t;
	case OP_FLDL2E: return x87_host_ldl2e;
	case OP_FLDPI: return x87_host_ldpi;
	case OP_FLDLG2: return x87_host_ldlg2;
	case OP_FLDLN2: return x87_host_ldln2;
	default: return x87_host_ldz;
	}
}

/* The rounding of the inexact ones follows the control word. */
void exec_x87_constant(struct vcpu *v, const struct insn *i)
{
	struct x87_io io;

	x87_wait(v);
	x87_note(v);
	push_converted(v, i, &io, constant(i->op));
}

/*
 * Stores `size` bytes at the memory operand, with the exceptions that making them raised. Memory comes first, as it may
 * fault; where an exception forbids the store the access is still checked.
 */
static void store(struct vcpu *v, const struct insn *i, const struct f80 *data, unsigned size, u16 sw, bool pop)
{
	u64 ea = op_ea(v, i);
	u64 gla = segment_linear(v, i->seg, ea, size, SEG_WRITE);
	bool done = !(sw & ~v->x87.cw & (SW_EXC & ~SW_PE));

	if (size == 10)
		align_ten(v, gla);
	if (!done)
		mmu_probe_write(v, gla, size, MMU_EXPLICIT);
	else if (size == 10)
		mmu_write(v, gla, data, 10, MMU_EXPLICIT);
	else
		mmu_store(v, gla, size, data->m, MMU_EXPLICIT);
	x87_note_mem(v, i, ea);
	x87_signal(v, i, sw);
	if (done && pop)
		x87_pop(v);
}

/* Stores what `fn` makes of ST, or `indefinite` if ST is empty. */
static void store_converted(struct vcpu *v, const struct insn *i, x87_host_fn *fn, u64 indefinite, bool pop)
{
	struct x87_io io = { .cw = v->x87.cw, .sw = v->x87.sw, .a = x87_st(v, 0) };
	struct f80 data = { indefinite, 0 };
	u16 sw = SW_IE | SW_SF;

	if (!x87_empty(v, 0)) {
		sw = fn(&io);
		data.m = io.mem;
	}
	store(v, i, &data, i->msize, sw & (SW_EXC | SW_SF | SW_C1), pop);
}

static void store_register(struct vcpu *v, const struct insn *i, bool pop)
{
	struct f80 x = *x87_st(v, 0);

	x87_note(v);
	if (x87_empty(v, 0)) {
		if (!x87_underflow(v, i))
			return;
		x = F80_INDEFINITE;
	}
	v->x87.sw &= (u16)~SW_C1;
	x87_set(v, i->r[0], x);
	if (pop)
		x87_pop(v);
}

void exec_fst(struct vcpu *v, const struct insn *i)
{
	bool pop = i->op != OP_FST, empty;

	x87_wait(v);
	empty = x87_empty(v, 0);
	if (!(i->flags & INSN_MEM))
		store_register(v, i, pop);
	else if (i->msize == 4)
		store_converted(v, i, x87_host_store32, 0xffc00000, pop);
	else if (i->msize == 8)
		store_converted(v, i, x87_host_store64, 0xfff8000000000000, pop);
	else
		store(v, i, empty ? &F80_INDEFINITE : x87_st(v, 0), 10, empty ? SW_IE | SW_SF : 0, pop);
}

/* Undocumented: as FSTP ST(i), but if ST is empty it only pops. */
void exec_fstpnce(struct vcpu *v, const struct insn *i)
{
	x87_wait(v);
	if (!x87_empty(v, 0)) {
		store_register(v, i, true);
		return;
	}
	x87_note(v);
	v->x87.sw &= (u16)~SW_C1;
	x87_pop(v);
}

void exec_fist(struct vcpu *v, const struct insn *i)
{
	bool cut = i->op == OP_FISTTP, pop = i->op != OP_FIST;

	x87_wait(v);
	if (i->msize == 2)
		store_converted(v, i, cut ? x87_host_istt16 : x87_host_ist16, 0x8000, pop);
	else if (i->msize == 4)
		store_converted(v, i, cut ? x87_host_istt32 : x87_host_ist32, 0x80000000, pop);
	else
		store_converted(v, i, cut ? x87_host_istt64 : x87_host_ist64, BIT(63), pop);
}

void exec_fbstp(struct vcpu *v, const struct insn *i)
{
	struct x87_io io = {
		.cw = v->x87.cw, .sw = v->x87.sw, .a = x87_st(v, 0), .bcd = { 0xc000000000000000, 0xffff }
	};
	u16 sw = SW_IE | SW_SF;

	x87_wait(v);
	if (!x87_empty(v, 0))
		sw = x87_host_storebcd(&io);
	store(v, i, &io.bcd, 10, sw & (SW_EXC | SW_SF | SW_C1), true);
}

void exec_fxch(struct vcpu *v, const struct insn *i)
{
	unsigned n = i->r[0];
	struct f80 a = *x87_st(v, 0), b = *x87_st(v, n);

	x87_wait(v);
	x87_note(v);
	if (x87_empty(v, 0) || x87_empty(v, n)) {
		if (!x87_underflow(v, i))
			return;
		a = x87_empty(v, 0) ? F80_INDEFINITE : a;
		b = x87_empty(v, n) ? F80_INDEFINITE : b;
	}
	v->x87.sw &= (u16)~SW_C1;
	x87_set(v, n, a);
	x87_set(v, 0, b);
}

static unsigned condition(unsigned op)
{
	switch (op) {
	case OP_FCMOVB: return 2;
	case OP_FCMOVNB: return 3;
	case OP_FCMOVE: return 4;
	case OP_FCMOVNE: return 5;
	case OP_FCMOVBE: return 6;
	case OP_FCMOVNBE: return 7;
	case OP_FCMOVU: return 10;
	default: return 11;
	}
}

void exec_fcmov(struct vcpu *v, const struct insn *i)
{
	x87_wait(v);
	x87_note(v);
	if (x87_empty(v, 0) || x87_empty(v, i->r[1])) {
		if (x87_underflow(v, i))
			x87_set(v, 0, F80_INDEFINITE);
		return;
	}
	if (flags_condition(v, condition(i->op)))
		*x87_st(v, 0) = *x87_st(v, i->r[1]);
}

/* FABS, FCHS: NaNs and unsupported formats too, without exception. */
void exec_x87_sign(struct vcpu *v, const struct insn *i)
{
	x87_wait(v);
	x87_note(v);
	if (x87_empty(v, 0)) {
		if (x87_underflow(v, i))
			x87_set(v, 0, F80_INDEFINITE);
		return;
	}
	v->x87.sw &= (u16)~SW_C1;
	x87_st(v, 0)->e = i->op == OP_FABS ? x87_st(v, 0)->e & 0x7fff : x87_st(v, 0)->e ^ 0x8000;
}

/* FINCSTP, FDECSTP, FFREE, FFREEP, FNOP. */
void exec_x87_stack(struct vcpu *v, const struct insn *i)
{
	x87_wait(v);
	x87_note(v);
	if (i->op == OP_FNOP)
		return;
	v->x87.sw &= (u16)~SW_C1;
	switch (i->op) {
	case OP_FINCSTP: x87_turn(v, 1); break;
	case OP_FDECSTP: x87_turn(v, 7); break;
	case OP_FFREE: x87_free(v, i->r[0]); break;
	default: x87_free(v, i->r[0]); x87_pop(v);
	}
}
