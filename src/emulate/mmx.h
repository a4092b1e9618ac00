/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How MMX instructions enter the x87 state they share (Intel SDM vol. 1, 9.5; vol. 3, 12.1 and 22.18).
 *
 * An instruction first calls mmx_check (faults in the architecture's order), then does whatever may fault on memory,
 * then mmx_touch, which sets TOP to 0 and all tags to valid; one without a memory operand calls mmx_enter, which is
 * both. After that MMn is physical register n.
 */
#pragma once
#include "emulate/x87.h"

static inline void mmx_check(struct vcpu *v)
{
	if (unlikely(v->cr0 & (CR0_EM | CR0_TS)))
		vcpu_raise(v, v->cr0 & CR0_EM ? EXC_UD : EXC_NM);
	if (unlikely(v->x87.sw & SW_ES))
		x87_pending(v);
}
static inline void mmx_touch(struct vcpu *v)
{
	v->x87.sw &= (u16)~SW_TOP;
	v->x87.tag = 0xff;
}
static inline void mmx_enter(struct vcpu *v)
{
	mmx_check(v);
	mmx_touch(v);
}
static inline u64 mmx_read(const struct vcpu *v, unsigned n)
{
	return v->x87.fpr[n & 7].m;
}
/* A written register's exponent becomes all ones. */
static inline void mmx_write(struct vcpu *v, unsigned n, u64 x)
{
	v->x87.fpr[n & 7] = (struct f80){ x, 0xffff };
}
