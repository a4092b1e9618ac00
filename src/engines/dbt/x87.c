/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's x87 and MMX registers in the host's, as vector registers are: blocks with such instructions load them when they are
 * entered, and C, which finds them in v->x87, has them stored first (thunks.c). FNSAVE and FRSTOR move them, so that the host's x87 is
 * as the ABI wants it whenever C runs. No exception is unmasked in the host: see MODE_X87.
 *
 * The pointers to the last instruction and its operand are not the host's to know: generated code notes them.
 */
#include "emulate/x87.h"
#include "engines/dbt/dbt-internal.h"

/* What FNSAVE writes in 64-bit code. */
struct __attribute__((packed)) image {
	u16 cw, unused0, sw, unused1, tag, unused2;
	u32 pointers[4];
	u8 st[8][10];
};

#define NOTHING_NOTED ~0ull

static u16 full_tags(u8 tag)
{
	u16 full = 0;

	for (unsigned p = 0; p < 8; p++)
		full |= (u16)((tag >> p & 1 ? 0 : 3) << (2 * p)); /* valid, zero or special: the CPU finds out */
	return full;
}

u64 dbt_load_x87(struct vcpu *v, u64 then)
{
	struct words *w = words_of(v);
	struct image i = { .cw = v->x87.cw, .sw = v->x87.sw, .tag = full_tags(v->x87.tag) };

	for (unsigned k = 0; k < 8; k++)
		memcpy(i.st[k], x87_st(v, k), 10);
	w->x87_ip = w->x87_dp = NOTHING_NOTED;
	w->x87_loaded = true;
	__asm__ volatile("frstor %0" : : "m"(i) : "memory");
	return then;
}

void dbt_store_x87(struct vcpu *v)
{
	struct words *w = words_of(v);
	struct image i;

	__asm__ volatile("fnsave %0" : "=m"(i) : : "memory");
	w->x87_loaded = false;
	v->x87.cw = (u16)((i.cw & CW_DEFINED) | CW_ONE);
	v->x87.sw = i.sw;
	v->x87.tag = x87_tag_abridged(i.tag);
	for (unsigned k = 0; k < 8; k++)
		memcpy(x87_st(v, k), i.st[k], 10);
	if (w->x87_ip != NOTHING_NOTED) {
		v->x87.fip = w->x87_ip;
		v->x87.fcs = v->seg[SEG_CS].selector;
	}
	if (w->x87_dp != NOTHING_NOTED) {
		v->x87.fdp = w->x87_dp;
		v->x87.fds = v->seg[w->x87_seg].selector;
	}
}
