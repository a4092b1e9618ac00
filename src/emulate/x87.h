/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87: the register stack, status and control words, exceptions (Intel SDM vol. 1 ch. 8).
 *
 * The guest's stack, tags, condition codes, exceptions and pointers are ours; only the arithmetic on one or two 80-bit
 * numbers is the host's (x87-host.c), with the guest's rounding, precision and masks, so that results are those of
 * hardware.
 *
 * Every x87 exec function goes through the same steps: x87_wait (or x87_ready for the FN... control instructions),
 * access to memory, x87_note, stack faults, arithmetic, x87_signal, and then results, which are left out if x87_signal
 * says so. Whatever may fault on memory comes before the first of them that changes v->x87.
 *
 * SW_ES is true exactly while an exception flag is set that the control word does not mask: x87_update_es after loading
 * either.
 */
#pragma once
#include "emulate/emulate.h"

#define SW_IE	     0x0001u
#define SW_DE	     0x0002u
#define SW_ZE	     0x0004u
#define SW_OE	     0x0008u
#define SW_UE	     0x0010u
#define SW_PE	     0x0020u
#define SW_SF	     0x0040u
#define SW_ES	     0x0080u
#define SW_C0	     0x0100u
#define SW_C1	     0x0200u
#define SW_C2	     0x0400u
#define SW_C3	     0x4000u
#define SW_B	     0x8000u
#define SW_EXC	     0x003fu /* as the masks in the control word */
#define SW_PRE	     (SW_IE | SW_DE | SW_ZE) /* found before the result: unmasked, there is none */
#define SW_CC	     (SW_C0 | SW_C1 | SW_C2 | SW_C3)
#define SW_TOP	     0x3800u
#define SW_TOP_SHIFT 11

#define CW_INIT	   0x037fu
#define CW_ONE	   0x0040u /* always set */
#define CW_DEFINED 0x1f3fu /* what software can change */

#define F80_INDEFINITE ((struct f80){ 0xc000000000000000, 0xffff })

/* An exception is pending and the instruction waits: #MF, or with CR0.NE clear the FERR# line (SDM vol. 1, 8.7). */
void x87_pending(struct vcpu *v);

static inline void x87_ready(struct vcpu *v)
{
	if (unlikely(v->cr0 & (CR0_EM | CR0_TS)))
		vcpu_raise(v, EXC_NM);
}
static inline void x87_wait(struct vcpu *v)
{
	x87_ready(v);
	if (unlikely(v->x87.sw & SW_ES))
		x87_pending(v);
}

static inline unsigned x87_phys(const struct vcpu *v, unsigned n)
{
	return ((v->x87.sw >> SW_TOP_SHIFT) + n) & 7;
}
static inline struct f80 *x87_st(struct vcpu *v, unsigned n)
{
	return &v->x87.fpr[x87_phys(v, n)];
}
static inline bool x87_empty(const struct vcpu *v, unsigned n)
{
	return !(v->x87.tag >> x87_phys(v, n) & 1);
}
static inline void x87_set(struct vcpu *v, unsigned n, struct f80 x)
{
	unsigned p = x87_phys(v, n);
	v->x87.fpr[p].m = x.m; /* not in one 16-byte move: FSTP's two stores could not be forwarded to its load */
	v->x87.fpr[p].e = x.e;
	v->x87.tag |= (u8)(1u << p);
}
static inline void x87_free(struct vcpu *v, unsigned n)
{
	v->x87.tag &= (u8) ~(1u << x87_phys(v, n));
}
static inline void x87_turn(struct vcpu *v, unsigned by) /* adds to TOP */
{
	v->x87.sw = (u16)((v->x87.sw & ~SW_TOP) | (((v->x87.sw & SW_TOP) + (by << SW_TOP_SHIFT)) & SW_TOP));
}
static inline void x87_push(struct vcpu *v, struct f80 x)
{
	x87_turn(v, 7);
	x87_set(v, 0, x);
}
static inline void x87_pop(struct vcpu *v)
{
	x87_free(v, 0);
	x87_turn(v, 1);
}

static inline void x87_update_es(struct vcpu *v)
{
	bool es = v->x87.sw & ~v->x87.cw & SW_EXC;
	v->x87.sw = (u16)((v->x87.sw & ~(SW_ES | SW_B)) | (es ? SW_ES | SW_B : 0));
}

/* Pointers to the instruction, and with x87_note_mem to its operand (SDM vol. 1, 8.1.8). */
static inline void x87_note(struct vcpu *v)
{
	v->x87.fip = v->rip;
	v->x87.fcs = v->seg[SEG_CS].selector;
}
static inline void x87_note_mem(struct vcpu *v, const struct insn *i, u64 ea)
{
	x87_note(v);
	v->x87.fdp = ea;
	v->x87.fds = v->seg[i->seg].selector;
}

/* What an unmasked exception does beside setting its flag. */
void x87_unmasked(struct vcpu *v, const struct insn *i);

/*
 * Ends an instruction's arithmetic: `sw` holds its exception flags, SW_SF and SW_C1; C1 becomes what it says. False if
 * the instruction must leave its destination and the stack as they were.
 */
static inline bool x87_signal(struct vcpu *v, const struct insn *i, u16 sw)
{
	u16 open = sw & ~v->x87.cw & SW_EXC;

	v->x87.sw = (u16)((v->x87.sw & ~SW_C1) | (sw & (SW_EXC | SW_SF | SW_C1)));
	if (likely(!open))
		return true;
	x87_unmasked(v, i);
	return !(open & SW_PRE);
}
/* Stack faults (SDM vol. 1, 8.5.1.1). As x87_signal: true if masked, and the result is then the indefinite. */
static inline bool x87_underflow(struct vcpu *v, const struct insn *i)
{
	return x87_signal(v, i, SW_IE | SW_SF);
}
static inline bool x87_overflow(struct vcpu *v, const struct insn *i)
{
	return x87_signal(v, i, SW_IE | SW_SF | SW_C1);
}

/* Memory operand of `size` bytes up to 8, for reading; also notes the pointers. */
static inline u64 x87_load(struct vcpu *v, const struct insn *i, unsigned size)
{
	u64 ea = op_ea(v, i);
	u64 x = mmu_load(v, segment_linear(v, i->seg, ea, size, SEG_READ), size, MMU_EXPLICIT);
	x87_note_mem(v, i, ea);
	return x;
}

/* ---- the host's arithmetic: x87-host.c ---- */
struct x87_io {
	const struct f80 *a, *b; /* ST and the other operand */
	u64 mem; /* a memory operand of up to 8 bytes, or what a store made of a */
	struct f80 bcd; /* FBLD's operand, FBSTP's result */
	struct f80 r, r2; /* results: ST and ST(1) as the instruction leaves them */
	u16 cw, sw; /* the guest's */
};
static inline void x87_io_words(const struct vcpu *v, struct x87_io *io)
{
	io->cw = v->x87.cw;
	io->sw = v->x87.sw;
}
/*
 * Runs one operation; returns the status word, which may show flags that the guest's has. With an unmasked O or U
 * exception r has the exponent adjusted.
 */
typedef u16 x87_host_fn(struct x87_io *io);

enum x87_arith { ARITH_ADD, ARITH_MUL, ARITH_SUB, ARITH_SUBR, ARITH_DIV, ARITH_DIVR, NR_ARITH };
enum x87_form { FORM_ST, FORM_M32, FORM_M64, FORM_I16, FORM_I32, NR_FORM };
extern x87_host_fn *const x87_host_arith[NR_FORM][NR_ARITH]; /* r = a op (b or mem) */
extern x87_host_fn *const x87_host_compare[NR_FORM]; /* condition codes; any NaN is invalid */
x87_host_fn x87_host_ucom, x87_host_tst;
x87_host_fn x87_host_load32, x87_host_load64, x87_host_loadbcd; /* r = mem or bcd */
x87_host_fn x87_host_store32, x87_host_store64, x87_host_storebcd; /* mem or bcd = a */
x87_host_fn x87_host_ist16, x87_host_ist32, x87_host_ist64;
x87_host_fn x87_host_istt16, x87_host_istt32, x87_host_istt64;
x87_host_fn x87_host_ld1, x87_host_ldz, x87_host_ldpi, x87_host_ldl2t, x87_host_ldl2e, x87_host_ldlg2, x87_host_ldln2;
x87_host_fn x87_host_sqrt, x87_host_rndint, x87_host_2xm1, x87_host_sin, x87_host_cos; /* r = f(a) */
x87_host_fn x87_host_sincos, x87_host_ptan, x87_host_xtract; /* r, r2 = f(a): r is the new ST */
x87_host_fn x87_host_yl2x, x87_host_yl2xp1, x87_host_patan, x87_host_prem, x87_host_prem1,
	x87_host_scale; /* r = f(a, b) */

/* ---- state images, shared with fpstate.c: x87-control.c ---- */
void x87_init(struct vcpu *v); /* FNINIT; registers keep their contents */
