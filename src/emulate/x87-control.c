/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87 control: exceptions, control and status words, the environment and the whole state in the formats of FNSTENV and
 * FNSAVE (Intel SDM vol. 1, 8.1.10), and EMMS.
 */
#include <string.h>

#include "emulate/mmx.h"

/*
 * Where software clears CR0.NE it wants IRQ 13. The line stays up until that interrupt's handler lowers it through port
 * F0h, after which IGNNE# lets x87 instructions run with the exception still pending: so the instruction goes on.
 */
void x87_pending(struct vcpu *v)
{
	if (v->cr0 & CR0_NE)
		vcpu_raise(v, EXC_MF);
	irq_set(&v->machine->ferr, true);
}

/* FOP is only kept for instructions that end so (fopcode compatibility mode off; SDM vol. 1, 8.1.9.1). */
void x87_unmasked(struct vcpu *v, const struct insn *i)
{
	v->x87.sw |= SW_ES | SW_B;
	v->x87.fop = (u16)(i->imm & 0x7ff);
	if (!(v->cr0 & CR0_NE))
		irq_set(&v->machine->ferr, true);
}

void x87_init(struct vcpu *v)
{
	v->x87.cw = CW_INIT;
	v->x87.sw = 0;
	v->x87.tag = 0;
	v->x87.fop = v->x87.fcs = v->x87.fds = 0;
	v->x87.fip = v->x87.fdp = 0;
}

static void set_cw(struct vcpu *v, u16 cw)
{
	v->x87.cw = (u16)((cw & CW_DEFINED) | CW_ONE);
	x87_update_es(v);
}

/* ---- words ---- */
void exec_fldcw(struct vcpu *v, const struct insn *i)
{
	x87_wait(v);
	set_cw(v, (u16)mmu_load(v, op_linear(v, i, 2, SEG_READ), 2, MMU_EXPLICIT));
}

void exec_fnstcw(struct vcpu *v, const struct insn *i)
{
	x87_ready(v);
	mmu_store(v, op_linear(v, i, 2, SEG_WRITE), 2, v->x87.cw, MMU_EXPLICIT);
}

void exec_fnstsw(struct vcpu *v, const struct insn *i)
{
	x87_ready(v);
	if (i->flags & INSN_MEM)
		mmu_store(v, op_linear(v, i, 2, SEG_WRITE), 2, v->x87.sw, MMU_EXPLICIT);
	else
		reg_write(v, SLOT(RAX), 2, v->x87.sw);
}

void exec_fnclex(struct vcpu *v, const struct insn *i)
{
	x87_ready(v);
	v->x87.sw &= (u16) ~(SW_EXC | SW_SF | SW_ES | SW_B);
}

void exec_fninit(struct vcpu *v, const struct insn *i)
{
	x87_ready(v);
	x87_init(v);
}

/* WAIT minds TS only together with MP, and EM not at all (SDM vol. 3, 2.5). */
void exec_fwait(struct vcpu *v, const struct insn *i)
{
	if ((v->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		vcpu_raise(v, EXC_NM);
	if (v->x87.sw & SW_ES)
		x87_pending(v);
}

/* FENI, FDISI, FSETPM: the 8087's and 287's, without effect since. */
void exec_x87_obsolete(struct vcpu *v, const struct insn *i)
{
	x87_ready(v);
}

/* ---- environment ---- */
struct env {
	u16 cw, sw, tag, fop, fcs, fds;
	u32 fip, fdp;
};

/* Real and virtual-8086 mode have linear addresses in place of selectors and offsets. */
static bool real_format(const struct vcpu *v)
{
	return v->mode == MODE_REAL || v->mode == MODE_V86;
}

/* `short_format`: 14 bytes in 16-bit words, else 28 in 32-bit ones, whose unused halves are all ones. */
static void env_pack(const struct vcpu *v, bool short_format, u32 w[7])
{
	const struct x87 *x = &v->x87;
	u32 ip = (u32)x->fip, dp = (u32)x->fdp, unused = short_format ? 0 : 0xffff0000;

	w[0] = x->cw | unused;
	w[1] = x->sw | unused;
	w[2] = x87_tag_full(v) | unused;
	if (real_format(v)) {
		ip += (u32)x->fcs << 4;
		dp += (u32)x->fds << 4;
		w[3] = (ip & 0xffff) | unused;
		w[4] = (ip >> 16 << 12) | x->fop;
		w[5] = (dp & 0xffff) | unused;
		w[6] = dp >> 16 << 12;
	} else {
		w[3] = ip;
		w[4] = x->fcs | (u32)x->fop << 16;
		w[5] = dp;
		w[6] = x->fds | unused;
	}
}

static void env_unpack(struct vcpu *v, bool short_format, const u32 w[7])
{
	struct x87 *x = &v->x87;

	x->tag = x87_tag_abridged((u16)w[2]);
	x->sw = (u16)w[1];
	if (real_format(v)) {
		x->fip = (w[3] & 0xffff) | (w[4] << 4 & (short_format ? 0xf0000 : 0xffff0000));
		x->fdp = (w[5] & 0xffff) | (w[6] << 4 & (short_format ? 0xf0000 : 0xffff0000));
		x->fcs = x->fds = 0;
		x->fop = w[4] & 0x7ff;
	} else {
		x->fip = w[3];
		x->fdp = w[5];
		x->fcs = (u16)w[4];
		x->fds = (u16)w[6];
		if (!short_format)
			x->fop = w[4] >> 16 & 0x7ff;
	}
	set_cw(v, (u16)w[0]);
}

/* The image of an environment as in memory; returns its length. */
static unsigned env_to_bytes(const struct vcpu *v, bool short_format, u8 *bytes)
{
	u32 w[7];
	u16 half[7];

	env_pack(v, short_format, w);
	if (!short_format) {
		memcpy(bytes, w, 28);
		return 28;
	}
	for (unsigned k = 0; k < 7; k++)
		half[k] = (u16)w[k];
	memcpy(bytes, half, 14);
	return 14;
}

static void env_from_bytes(struct vcpu *v, bool short_format, const u8 *bytes)
{
	u32 w[7];
	u16 half[7];

	if (short_format) {
		memcpy(half, bytes, 14);
		for (unsigned k = 0; k < 7; k++)
			w[k] = half[k];
	} else {
		memcpy(w, bytes, 28);
	}
	env_unpack(v, short_format, w);
}

void exec_fnstenv(struct vcpu *v, const struct insn *i)
{
	u8 bytes[28];
	unsigned n;

	x87_ready(v);
	n = env_to_bytes(v, i->msize == 14, bytes);
	mmu_write(v, op_linear(v, i, n, SEG_WRITE), bytes, n, MMU_EXPLICIT);
	set_cw(v, v->x87.cw | SW_EXC);
}

void exec_fldenv(struct vcpu *v, const struct insn *i)
{
	bool short_format = i->msize == 14;
	unsigned n = short_format ? 14 : 28;
	u8 bytes[28];

	x87_wait(v);
	mmu_read(v, op_linear(v, i, n, SEG_READ), bytes, n, MMU_EXPLICIT);
	env_from_bytes(v, short_format, bytes);
}

/* The registers follow the environment, ST first, ten bytes each. */
void exec_fnsave(struct vcpu *v, const struct insn *i)
{
	u8 bytes[108];
	unsigned n;

	x87_ready(v);
	n = env_to_bytes(v, i->msize == 94, bytes);
	for (unsigned k = 0; k < 8; k++, n += 10)
		memcpy(bytes + n, x87_st(v, k), 10);
	mmu_write(v, op_linear(v, i, n, SEG_WRITE), bytes, n, MMU_EXPLICIT);
	x87_init(v);
}

void exec_frstor(struct vcpu *v, const struct insn *i)
{
	bool short_format = i->msize == 94;
	unsigned n = short_format ? 94 : 108, at = short_format ? 14 : 28;
	u8 bytes[108];

	x87_wait(v);
	mmu_read(v, op_linear(v, i, n, SEG_READ), bytes, n, MMU_EXPLICIT);
	env_from_bytes(v, short_format, bytes);
	for (unsigned k = 0; k < 8; k++, at += 10)
		memcpy(x87_st(v, k), bytes + at, 10);
}

void exec_emms(struct vcpu *v, const struct insn *i)
{
	mmx_enter(v);
	v->x87.tag = 0;
}
