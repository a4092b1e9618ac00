/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's x87 as arithmetic unit: one function an operation, from and to memory.
 *
 * A function leaves the host's x87 as the ABI wants it: empty stack, all exceptions masked, extended precision. Two
 * paths. The quick one serves guests that mask all exceptions. As clearing the host's status is slow (40 ns), flags
 * that the guest's status has anyhow may stay in it. The other one loads unmasked exceptions too, for only so does the
 * host adjust the exponent of an overflown result; nothing between there and FNSAVE, which clears all of it, checks for
 * pending exceptions, so that no signal comes of it.
 */
#include "emulate/x87.h"

/* What FNSAVE writes in 64-bit and 32-bit code. */
struct __attribute__((packed)) saved {
	u32 env[7];
	u8 st[8][10];
};

#define CW_USED 0x0f3f /* masks, precision, rounding */
#define CW_HOST CW_INIT

static void result(struct f80 *r, const u8 *st)
{
	__builtin_memcpy(&r->m, st, 8);
	__builtin_memcpy(&r->e, st + 8, 2);
}

static inline void load_cw(u16 cw)
{
	__asm__ volatile("fldcw %0" : : "m"(cw));
}

/* Loads the guest's control word; returns whether the host's has to be put back. */
static inline bool enter(const struct x87_io *io)
{
	if (likely((io->cw & CW_USED) == (CW_HOST & CW_USED)))
		return false;
	load_cw(io->cw);
	return true;
}

/* Flags new to the guest may be old ones of the host's: then its status is cleared and the operation done over. */
static inline bool again(const struct x87_io *io, u16 sw, bool *cleared)
{
	if (likely(!(sw & ~io->sw & SW_EXC)) || *cleared)
		return false;
	__asm__ volatile("fnclex");
	*cleared = true;
	return true;
}

#define RESULTS [sw] "=a"(sw), [mem] "+m"(io->mem), [bcd] "+m"(io->bcd)
/* Operands in registers: none, ST, ST and another. Commas first. */
#define NONE
#define A	 , [a] "m"(*io->a)
#define AB	 A, [b] "m"(*io->b)
#define CLOBBERS "st", "st(1)", "st(2)", "memory"

#define SLOW(text, ...)                                                                     \
	struct saved s;                                                                     \
	__asm__ volatile("fnclex\n\tfldcw %[cw]\n\t" text "\n\tfnstsw %[sw]\n\tfnsave %[s]" \
			 : RESULTS, [s] "=m"(s)                                             \
			 : [cw] "m"(io->cw)__VA_ARGS__                                      \
			 : CLOBBERS);                                                       \
	result(&io->r, s.st[0]);                                                            \
	result(&io->r2, s.st[1])

/*
 * text runs the operation, from operands that it leaves alone; tail empties the stack. What follows the function is
 * there for the semicolon.
 */
#define HOST(name, operands, text, tail)                                          \
	u16 name(struct x87_io *io)                                               \
	{                                                                         \
		bool back, cleared = false;                                       \
		u16 sw;                                                           \
		if (likely((io->cw & SW_EXC) == SW_EXC)) {                        \
			back = enter(io);                                         \
			do {                                                      \
				__asm__ volatile(text "\n\tfnstsw %[sw]\n\t" tail \
						 : RESULTS, [r] "=m"(io->r)       \
						 : [cw] "m"(io->cw)operands       \
						 : CLOBBERS);                     \
			} while (again(io, sw, &cleared));                        \
			if (unlikely(back))                                       \
				load_cw(CW_HOST);                                 \
		} else {                                                          \
			SLOW(text, operands);                                     \
		}                                                                 \
		return sw;                                                        \
	}                                                                         \
	x87_host_fn name

/* Where results leave a stack whose depth varies, or are two. */
#define HOST_SLOW(name, operands, text) \
	u16 name(struct x87_io *io)     \
	{                               \
		u16 sw;                 \
		SLOW(text, operands);   \
		return sw;              \
	}                               \
	x87_host_fn name

/* ST op ST(1), where ST(1) is left behind; ST op memory; a function of ST. */
#define BINARY(name, insn) HOST(name, AB, "fldt %[b]\n\tfldt %[a]\n\t" insn, "fstpt %[r]\n\tfstp %%st(0)")
#define UNARY(name, insn)  HOST(name, A, "fldt %[a]\n\t" insn, "fstpt %[r]")

#define ARITH(op, iop)                                \
	static BINARY(op##_st, #op " %%st(1), %%st"); \
	static UNARY(op##_m32, #op "s %[mem]");       \
	static UNARY(op##_m64, #op "l %[mem]");       \
	static UNARY(op##_i16, #iop "s %[mem]");      \
	static UNARY(op##_i32, #iop "l %[mem]")

ARITH(fadd, fiadd);
ARITH(fmul, fimul);
ARITH(fsub, fisub);
ARITH(fsubr, fisubr);
ARITH(fdiv, fidiv);
ARITH(fdivr, fidivr);

#define FORM(form)                                                                             \
	{                                                                                      \
		fadd_##form, fmul_##form, fsub_##form, fsubr_##form, fdiv_##form, fdivr_##form \
	}
x87_host_fn *const x87_host_arith[NR_FORM][NR_ARITH] = {
	[FORM_ST] = FORM(st),	[FORM_M32] = FORM(m32), [FORM_M64] = FORM(m64),
	[FORM_I16] = FORM(i16), [FORM_I32] = FORM(i32),
};

/* Masked, an invalid compare pops as any other; unmasked it leaves that to FNSAVE. */
static HOST(com_st, AB, "fldt %[b]\n\tfldt %[a]\n\tfcompp", "");
static HOST(com_m32, A, "fldt %[a]\n\tfcomps %[mem]", "");
static HOST(com_m64, A, "fldt %[a]\n\tfcompl %[mem]", "");
static HOST(com_i16, A, "fldt %[a]\n\tficomps %[mem]", "");
static HOST(com_i32, A, "fldt %[a]\n\tficompl %[mem]", "");
x87_host_fn *const x87_host_compare[NR_FORM] = { com_st, com_m32, com_m64, com_i16, com_i32 };
HOST(x87_host_ucom, AB, "fldt %[b]\n\tfldt %[a]\n\tfucompp", "");
HOST(x87_host_tst, A, "fldt %[a]\n\tftst", "fstp %%st(0)");

HOST(x87_host_load32, NONE, "flds %[mem]", "fstpt %[r]");
HOST(x87_host_load64, NONE, "fldl %[mem]", "fstpt %[r]");
HOST(x87_host_loadbcd, NONE, "fbld %[bcd]", "fstpt %[r]");
HOST(x87_host_store32, A, "fldt %[a]\n\tfstps %[mem]", "");
HOST(x87_host_store64, A, "fldt %[a]\n\tfstpl %[mem]", "");
HOST(x87_host_storebcd, A, "fldt %[a]\n\tfbstp %[bcd]", "");
HOST(x87_host_ist16, A, "fldt %[a]\n\tfistps %[mem]", "");
HOST(x87_host_ist32, A, "fldt %[a]\n\tfistpl %[mem]", "");
HOST(x87_host_ist64, A, "fldt %[a]\n\tfistpll %[mem]", "");
HOST(x87_host_istt16, A, "fldt %[a]\n\tfisttps %[mem]", "");
HOST(x87_host_istt32, A, "fldt %[a]\n\tfisttpl %[mem]", "");
HOST(x87_host_istt64, A, "fldt %[a]\n\tfisttpll %[mem]", "");

UNARY(x87_host_sqrt, "fsqrt");
UNARY(x87_host_rndint, "frndint");
UNARY(x87_host_2xm1, "f2xm1");
UNARY(x87_host_sin, "fsin");
UNARY(x87_host_cos, "fcos");
BINARY(x87_host_prem, "fprem");
BINARY(x87_host_prem1, "fprem1");
BINARY(x87_host_scale, "fscale");
HOST(x87_host_yl2x, AB, "fldt %[b]\n\tfldt %[a]\n\tfyl2x", "fstpt %[r]");
HOST(x87_host_yl2xp1, AB, "fldt %[b]\n\tfldt %[a]\n\tfyl2xp1", "fstpt %[r]");
HOST(x87_host_patan, AB, "fldt %[b]\n\tfldt %[a]\n\tfpatan", "fstpt %[r]");
HOST_SLOW(x87_host_sincos, A, "fldt %[a]\n\tfsincos");
HOST_SLOW(x87_host_ptan, A, "fldt %[a]\n\tfptan");
HOST_SLOW(x87_host_xtract, A, "fldt %[a]\n\tfxtract");

HOST(x87_host_ld1, NONE, "fld1", "fstpt %[r]");
HOST(x87_host_ldz, NONE, "fldz", "fstpt %[r]");
HOST(x87_host_ldpi, NONE, "fldpi", "fstpt %[r]");
HOST(x87_host_ldl2t, NONE, "fldl2t", "fstpt %[r]");
HOST(x87_host_ldl2e, NONE, "fldl2e", "fstpt %[r]");
HOST(x87_host_ldlg2, NONE, "fldlg2", "fstpt %[r]");
HOST(x87_host_ldln2, NONE, "fldln2", "fstpt %[r]");
