/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue of encodings: walks all opcodes of the four maps, with each mandatory prefix, W and VEX length, and keeps what
 * the decoder assigns to a row. It asks our decoder, so that an encoding that a row lacks by mistake shows as a host that
 * runs what we call undefined (raw-byte cases), and one too many as the reverse.
 */
#include <stdlib.h>
#include <string.h>

#include "case.h"
#include "encode.h"
#include "x86/ops.h"

static bool add(struct forms *f, const struct form *form)
{
	if (!(f->count & (f->count - 1))) {
		struct form *grown = realloc(f->all, (f->count ? 2 * f->count : 1) * sizeof(*grown));
		if (!grown)
			return false;
		f->all = grown;
	}
	f->all[f->count++] = *form;
	return true;
}

/* All ModRM bytes matter where the third field is opcode as well (x87, 0F 01, 0F AE); elsewhere rm is 0, memory or register. */
static bool modrm_counts(const struct form *form, unsigned modrm)
{
	bool whole = (form->map == 0 && form->opcode >= 0xd8 && form->opcode <= 0xdf) ||
		     (form->map == 1 && (form->opcode == 0x01 || form->opcode == 0xae));

	unsigned rm = form->vex && form->map == 2 && (form->opcode & 0xfc) == 0x90 ? 4
										   : 0; /* gathers need a SIB byte */

	return modrm < 0xc0 ? (modrm & 0xc7) == rm : whole || (modrm & 7) == 0;
}

static bool try_opcode(struct forms *f, struct form form)
{
	for (unsigned modrm = 0; modrm < 256; modrm++) {
		u8 bytes[15] = { 0 };
		struct insn i;

		form.modrm = (u8)modrm;
		if (!modrm_counts(&form, modrm))
			continue;
		encode_form(&form, bytes);
		if (insn_decode(&i, NULL, bytes, sizeof(bytes), CODE_64, 0) != DECODE_OK)
			continue;
		form.op = i.op;
		form.has_modrm = encode_has_modrm(bytes);
		if (!add(f, &form))
			return false;
		if (!form.has_modrm)
			break;
	}
	return true;
}

static int by_op(const void *a, const void *b)
{
	const struct form *x = a, *y = b;
	return (x->op > y->op) - (x->op < y->op);
}

int forms_find(struct forms *f)
{
	struct form form = { 0 };

	memset(f, 0, sizeof(*f));
	for (unsigned n = 0; n < 3 * 4 * 4 * 2 * 256; n++) {
		form.opcode = (u8)n;
		form.w = n >> 8 & 1;
		form.prefix = n >> 9 & 3;
		form.map = n >> 11 & 3;
		form.vex = (u8)(n >> 13);
		/* 66, F2 and F3 are prefixes, and escapes lead elsewhere: no opcodes of their own. */
		if ((form.vex && !form.map) || (!form.vex && encode_is_escape(form.map, form.opcode)))
			continue;
		if (!try_opcode(f, form))
			return -1;
		form.asize = !form.vex && !form.map && form.opcode == 0xe3; /* JRCXZ and JECXZ are two rows */
		if (form.asize && !try_opcode(f, form))
			return -1;
		form.asize = false;
	}
	qsort(f->all, f->count, sizeof(*f->all), by_op);
	_Static_assert(NR_OPS < ARRAY_SIZE(f->first), "struct forms has room for every row");
	for (unsigned k = f->count; k-- > 0;)
		f->first[f->all[k].op] = k;
	f->first[NR_OPS] = f->count;
	for (unsigned op = NR_OPS; op-- > 0;)
		if (!f->count || f->all[f->first[op]].op != op)
			f->first[op] = f->first[op + 1];
	return 0;
}
