/* SPDX-License-Identifier: Apache-2.0 */
/* x87 compares and tests: FCOM, FUCOM, FICOM, FTST, FXAM to the condition codes, FCOMI and FUCOMI to EFLAGS. */
#include "emulate/x87.h"

static unsigned pops(const struct insn *i)
{
	switch (i->op) {
	case OP_FCOMP:
	case OP_FUCOMP:
	case OP_FICOMP:
	case OP_FCOMIP:
	case OP_FUCOMIP: return 1;
	case OP_FCOMPP:
	case OP_FUCOMPP: return 2;
	default: return 0;
	}
}

static bool quiet(const struct insn *i)
{
	switch (i->op) {
	case OP_FUCOM:
	case OP_FUCOMP:
	case OP_FUCOMPP:
	case OP_FUCOMI:
	case OP_FUCOMIP: return true;
	default: return false;
	}
}

static enum x87_form mem_form(const struct insn *i)
{
	if (i->op == OP_FICOM || i->op == OP_FICOMP)
		return i->msize == 2 ? FORM_I16 : FORM_I32;
	return i->msize == 4 ? FORM_M32 : FORM_M64;
}

/*
 * Where the outcome goes. An empty register gives "unordered", as an invalid operand does, also with the exception
 * unmasked.
 */
static void set_codes(struct vcpu *v, u16 cc)
{
	v->x87.sw = (u16)((v->x87.sw & ~(SW_C0 | SW_C2 | SW_C3)) | (cc & (SW_C0 | SW_C2 | SW_C3)));
}
static void set_eflags(struct vcpu *v, u16 cc)
{
	flags_set(v, (cc & SW_C3 ? FL_ZF : 0) | (cc & SW_C2 ? FL_PF : 0) | (cc & SW_C0 ? FL_CF : 0));
}
#define UNORDERED (SW_C0 | SW_C2 | SW_C3)

/* Compares ST with a register or memory; false if an unmasked exception left it undone. */
static bool compare(struct vcpu *v, const struct insn *i, u16 *cc)
{
	unsigned other = i->op == OP_FCOMPP || i->op == OP_FUCOMPP ? 1 : i->r[0] | i->r[1]; /* one of the two is ST */
	bool mem = i->flags & INSN_MEM;
	struct x87_io io;

	x87_wait(v);
	if (mem)
		io.mem = x87_load(v, i, i->msize);
	else
		x87_note(v);
	*cc = UNORDERED;
	if (x87_empty(v, 0) || (!mem && x87_empty(v, other)))
		return x87_underflow(v, i);
	x87_io_words(v, &io);
	io.a = x87_st(v, 0);
	io.b = x87_st(v, mem ? 0 : other);
	*cc = mem ? x87_host_compare[mem_form(i)](&io) : quiet(i) ? x87_host_ucom(&io) : x87_host_compare[FORM_ST](&io);
	return x87_signal(v, i, *cc & ~SW_C1);
}

void exec_x87_compare(struct vcpu *v, const struct insn *i)
{
	u16 cc;
	bool done = compare(v, i, &cc);

	set_codes(v, cc);
	for (unsigned n = done ? pops(i) : 0; n; n--)
		x87_pop(v);
}

void exec_x87_compare_flags(struct vcpu *v, const struct insn *i)
{
	u16 cc;
	bool done = compare(v, i, &cc);

	set_eflags(v, cc);
	if (done && pops(i))
		x87_pop(v);
}

void exec_ftst(struct vcpu *v, const struct insn *i)
{
	struct x87_io io;
	u16 cc = UNORDERED;

	x87_wait(v);
	x87_note(v);
	if (x87_empty(v, 0)) {
		x87_underflow(v, i);
	} else {
		x87_io_words(v, &io);
		io.a = x87_st(v, 0);
		cc = x87_host_tst(&io);
		x87_signal(v, i, cc & ~SW_C1);
	}
	set_codes(v, cc);
}

/*
 * SDM vol. 2, FXAM: unsupported 000, NaN 001, normal 010, infinity 011, zero 100, empty 101, denormal 110 (C3 C2 C0).
 */
static u16 examine(const struct f80 *x)
{
	unsigned e = x->e & 0x7fff;

	if (e == 0)
		return x->m ? SW_C3 | SW_C2 : SW_C3;
	if (!(x->m >> 63))
		return 0;
	if (e != 0x7fff)
		return SW_C2;
	return x->m << 1 ? SW_C0 : SW_C2 | SW_C0;
}

void exec_fxam(struct vcpu *v, const struct insn *i)
{
	const struct f80 *x = x87_st(v, 0);
	u16 cc;

	x87_wait(v);
	x87_note(v);
	cc = x87_empty(v, 0) ? SW_C3 | SW_C0 : examine(x);
	v->x87.sw = (u16)((v->x87.sw & ~SW_CC) | cc | (x->e >> 15 ? SW_C1 : 0));
}
