/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions decoded before, by their bytes: compilers write the same few thousand again and again, and decoding is the dearest part
 * of translating code that then runs a few times only.
 */
#include <stdlib.h>

#include "engines/dbt/dbt-internal.h"

#define DECODED_BITS 12

struct decoded {
	u8 bytes[15];
	u8 mode; /* enum code_size */
	u8 len; /* 0: none */
	struct insn insn;
	struct insn_info info;
};

struct decoded *decoded_create(void)
{
	return calloc(1u << DECODED_BITS, sizeof(struct decoded));
}

static struct decoded *entry_of(struct dbt *d, const u8 *bytes)
{
	u32 first;

	memcpy(&first, bytes, sizeof(first));
	return &d->decoded[first * 0x9e3779b1u >> (32 - DECODED_BITS)];
}

enum decode_status dbt_decode(struct vcpu *v, struct insn *i, struct insn_info *info, const u8 *bytes, unsigned n,
			      unsigned off)
{
	struct decoded *e;
	enum decode_status s;

	if (n < 15)
		return code_decode(v, i, info, bytes, n, off);
	e = entry_of(dbt_of(v), bytes);
	if (e->len && e->mode == v->code_size && memcmp(e->bytes, bytes, e->len) == 0) {
		*i = e->insn;
		*info = e->info;
		i->off = (u16)off;
		if (i->base == SLOT_CODE)
			i->disp += (s32)off; /* it was decoded at offset 0 */
		return DECODE_OK;
	}
	s = code_decode(v, i, info, bytes, n, off);
	/* The displacement of what is relative to the instruction pointer may not fit before it is moved: left out. */
	if (s != DECODE_OK || op_facts[i->op].attr & OP_BRANCH || (i->asize == 0 && i->flags & INSN_MEM) ||
	    (i->base == SLOT_CODE && (i->disp > INT32_MAX / 2 || i->disp < INT32_MIN / 2)))
		return s;
	*e = (struct decoded){ .mode = (u8)v->code_size, .len = i->len, .insn = *i, .info = *info };
	memcpy(e->bytes, bytes, i->len);
	if (i->base == SLOT_CODE)
		e->insn.disp -= (s32)off;
	return s;
}
