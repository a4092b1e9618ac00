/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's x87 as arithmetic unit: one function an operation, from and to memory.
 *
 * A function leaves the host's x87 as the ABI wants it: empty stack, all exceptions masked, extended precision. Two paths.
 * The quick one serves the control word that nearly all code has and which is the ABI's too. The other loads the guest's,
 * unmasked exceptions included, for only so does the host adjust the exponent of an overflown result; nothing between there
 * and FNSAVE, which clears all of it, checks for pending exceptions, so that no signal comes of it.
 */
#include "emulate/x87.h"

/* What FNSAVE writes in 64-bit and 32-bit code. */
struct __attribute__((packed)) saved {
	u32 env[7];
	u8 st[8][10];
};

#define QUICK_MASK 0x0f3f
#define QUICK	   (0x037f & QUICK_MASK)

static void result(struct f80 *r, const u8 *st)
{
	__builtin_memcpy(&r->m, st, 8);
	__builtin_memcpy(&r->e, st + 8, 2);
}

#define RESULTS	 [sw] "=a"(sw), [mem] "+m"(io->mem), [bcd] "+m"(io->bcd)
#define OPERANDS [a] "m"(io->a), [b] "m"(io->b), [cw] "m"(io->cw)
#define CLOBBERS "st", "st(1)", "st(2)", "memory"

#define SLOW(text)                                                                          \
	struct saved s;                                                                     \
	__asm__ volatile("fnclex\n\tfldcw %[cw]\n\t" text "\n\tfnstsw %[sw]\n\tfnsave %[s]" \
			 : RESULTS, [s] "=m"(s)                                             \
			 : OPERANDS                                                         \
			 : CLOBBERS);                                                       \
	result(&io->r, s.st[0]);                                                            \
	result(&io->r2, s.st[1])

/* text runs the operation; tail, without touching the status, empties the stack again. */
#define HOST(name, text, tail)                                                         \
	u16 name(struct x87_io *io)                                                    \
	{                                                                              \
		u16 sw;                                                                \
		if (likely((io->cw & QUICK_MASK) == QUICK)) {                          \
			__asm__ volatile("fnclex\n\t" text "\n\tfnstsw %[sw]\n\t" tail \
					 : RESULTS, [r] "=m"(io->r)                    \
					 : OPERANDS                                    \
					 : CLOBBERS);                                  \
		} else {                                                               \
			SLOW(text);                                                    \
		}                                                                      \
		return sw;                                                             \
	}

/* Where results leave a stack whose depth varies, or are two. */
#define HOST_SLOW(name, text)       \
	u16 name(struct x87_io *io) \
	{                           \
		u16 sw;             \
		SLOW(text);         \
		return sw;          \
	}

/* ST op ST(1), where ST(1) is left behind; ST op memory; a function of ST. */
#define BINARY(name, insn) HOST(name, "fldt %[b]\n\tfldt %[a]\n\t" insn, "fstpt %[r]\n\tfstp %%st(0)")
#define UNARY(name, insn)  HOST(name, "fldt %[a]\n\t" insn, "fstpt %[r]")

#define ARITH(op, iop)                                                                                    \
	static BINARY(op##_st, #op " %%st(1), %%st") static UNARY(op##_m32, #op "s %[mem]") static UNARY( \
		op##_m64, #op "l %[mem]") static UNARY(op##_i16, #iop "s %[mem]") static UNARY(op##_i32,  \
											       #iop "l %[mem]")

ARITH(fadd, fiadd)
ARITH(fmul, fimul)
ARITH(fsub, fisub)
ARITH(fsubr, fisubr)
ARITH(fdiv, fidiv)
ARITH(fdivr, fidivr)

#define FORM(form)                                                                             \
	{                                                                                      \
		fadd_##form, fmul_##form, fsub_##form, fsubr_##form, fdiv_##form, fdivr_##form \
	}
x87_host_fn *const x87_host_arith[NR_FORM][NR_ARITH] = {
	[FORM_ST] = FORM(st),	[FORM_M32] = FORM(m32), [FORM_M64] = FORM(m64),
	[FORM_I16] = FORM(i16), [FORM_I32] = FORM(i32),
};

/* Masked, an invalid compare pops as any other; unmasked it leaves that to FNSAVE. */
static HOST(com_st, "fldt %[b]\n\tfldt %[a]\n\tfcompp",
	    "") static HOST(com_m32, "fldt %[a]\n\tfcomps %[mem]",
			    "") static HOST(com_m64, "fldt %[a]\n\tfcompl %[mem]",
					    "") static HOST(com_i16, "fldt %[a]\n\tficomps %[mem]",
							    "") static HOST(com_i32, "fldt %[a]\n\tficompl %[mem]", "")
	x87_host_fn *const x87_host_compare[NR_FORM] = { com_st, com_m32, com_m64, com_i16, com_i32 };
HOST(x87_host_ucom, "fldt %[b]\n\tfldt %[a]\n\tfucompp", "")
HOST(x87_host_tst, "fldt %[a]\n\tftst", "fstp %%st(0)")

HOST(x87_host_load32, "flds %[mem]", "fstpt %[r]")
HOST(x87_host_load64, "fldl %[mem]", "fstpt %[r]")
HOST(x87_host_loadbcd, "fbld %[bcd]", "fstpt %[r]")
HOST(x87_host_store32, "fldt %[a]\n\tfstps %[mem]", "")
HOST(x87_host_store64, "fldt %[a]\n\tfstpl %[mem]", "")
HOST(x87_host_storebcd, "fldt %[a]\n\tfbstp %[bcd]", "")
HOST(x87_host_ist16, "fldt %[a]\n\tfistps %[mem]", "")
HOST(x87_host_ist32, "fldt %[a]\n\tfistpl %[mem]", "")
HOST(x87_host_ist64, "fldt %[a]\n\tfistpll %[mem]", "")
HOST(x87_host_istt16, "fldt %[a]\n\tfisttps %[mem]", "")
HOST(x87_host_istt32, "fldt %[a]\n\tfisttpl %[mem]", "")
HOST(x87_host_istt64, "fldt %[a]\n\tfisttpll %[mem]", "")

UNARY(x87_host_sqrt, "fsqrt")
UNARY(x87_host_rndint, "frndint")
UNARY(x87_host_2xm1, "f2xm1")
UNARY(x87_host_sin, "fsin")
UNARY(x87_host_cos, "fcos")
BINARY(x87_host_prem, "fprem")
BINARY(x87_host_prem1, "fprem1")
BINARY(x87_host_scale, "fscale")
HOST(x87_host_yl2x, "fldt %[b]\n\tfldt %[a]\n\tfyl2x", "fstpt %[r]")
HOST(x87_host_yl2xp1, "fldt %[b]\n\tfldt %[a]\n\tfyl2xp1", "fstpt %[r]")
HOST(x87_host_patan, "fldt %[b]\n\tfldt %[a]\n\tfpatan", "fstpt %[r]")
HOST_SLOW(x87_host_sincos, "fldt %[a]\n\tfsincos")
HOST_SLOW(x87_host_ptan, "fldt %[a]\n\tfptan")
HOST_SLOW(x87_host_xtract, "fldt %[a]\n\tfxtract")

HOST(x87_host_ld1, "fld1", "fstpt %[r]")
HOST(x87_host_ldz, "fldz", "fstpt %[r]")
HOST(x87_host_ldpi, "fldpi", "fstpt %[r]")
HOST(x87_host_ldl2t, "fldl2t", "fstpt %[r]")
HOST(x87_host_ldl2e, "fldl2e", "fstpt %[r]")
HOST(x87_host_ldlg2, "fldlg2", "fstpt %[r]")
HOST(x87_host_ldln2, "fldln2", "fstpt %[r]")
