/* SPDX-License-Identifier: Apache-2.0 */
/* x87 functions of one or two registers: roots, rounding, remainders, scaling, trigonometry, logarithms. */
#include "emulate/x87.h"

/* One row an operation. */
struct function {
	x87_host_fn *host;
	u8 args; /* 1: ST; 2: ST and ST(1) */
	bool pop; /* the result replaces ST(1) */
	bool push; /* the host's r goes on top of r2 */
	u16 codes; /* condition codes it defines beside C1 */
};

#define PARTIAL (SW_C0 | SW_C2 | SW_C3)

static bool is_nan(const struct f80 *x)
{
	return (x->e & 0x7fff) == 0x7fff && x->m << 1;
}

static const struct function *function_of(unsigned op)
{
	static const struct function sqrt = { x87_host_sqrt, 1 }, rndint = { x87_host_rndint, 1 },
				     f2xm1 = { x87_host_2xm1, 1 }, sin = { x87_host_sin, 1, .codes = SW_C2 },
				     cos = { x87_host_cos, 1, .codes = SW_C2 },
				     prem = { x87_host_prem, 2, .codes = PARTIAL },
				     prem1 = { x87_host_prem1, 2, .codes = PARTIAL }, scale = { x87_host_scale, 2 },
				     yl2x = { x87_host_yl2x, 2, .pop = true },
				     yl2xp1 = { x87_host_yl2xp1, 2, .pop = true },
				     patan = { x87_host_patan, 2, .pop = true },
				     sincos = { x87_host_sincos, 1, .push = true, .codes = SW_C2 },
				     ptan = { x87_host_ptan, 1, .push = true, .codes = SW_C2 },
				     xtract = { x87_host_xtract, 1, .push = true };

	switch (op) {
	case OP_FSQRT: return &sqrt;
	case OP_FRNDINT: return &rndint;
	case OP_F2XM1: return &f2xm1;
	case OP_FSIN: return &sin;
	case OP_FCOS: return &cos;
	case OP_FPREM: return &prem;
	case OP_FPREM1: return &prem1;
	case OP_FSCALE: return &scale;
	case OP_FYL2X: return &yl2x;
	case OP_FYL2XP1: return &yl2xp1;
	case OP_FPATAN: return &patan;
	case OP_FSINCOS: return &sincos;
	case OP_FPTAN: return &ptan;
	default: return &xtract;
	}
}

static void results(struct vcpu *v, const struct function *f, struct f80 r, struct f80 r2)
{
	if (f->push) {
		x87_set(v, 0, r2);
		x87_push(v, r);
	} else {
		if (f->pop)
			x87_pop(v);
		x87_set(v, 0, r);
	}
}

void exec_x87_function(struct vcpu *v, const struct insn *i)
{
	const struct function *f = function_of(i->op);
	struct x87_io io;
	u16 sw, codes;
	bool done;

	x87_wait(v);
	x87_note(v);
	v->x87.sw &= (u16) ~(f->codes & SW_C2);
	if (x87_empty(v, 0) || (f->args == 2 && x87_empty(v, 1))) {
		if (x87_underflow(v, i))
			results(v, f, F80_INDEFINITE, F80_INDEFINITE);
		return;
	}
	if (f->push && !x87_empty(v, 7)) {
		if (x87_overflow(v, i))
			results(v, f, F80_INDEFINITE, F80_INDEFINITE);
		return;
	}
	x87_io_words(v, &io);
	io.a = x87_st(v, 0);
	io.b = x87_st(v, f->args == 2 ? 1 : 0);
	sw = f->host(&io);
	done = x87_signal(v, i, sw);
	codes = done && !is_nan(&io.r) ? f->codes : f->codes & SW_C2; /* without a quotient C0 and C3 stay */
	v->x87.sw = (u16)((v->x87.sw & ~codes) | (sw & codes));
	if (!done)
		return;
	if ((sw & f->codes & SW_C2) && f->args == 1)
		return; /* out of the range of FSIN and the like: nothing happened */
	results(v, f, io.r, io.r2);
}
